"""The client of Anthropic, as far as the agents use it."""

from dataclasses import dataclass

from src import wire


@dataclass
class TextBlock:
    text: str
    type: str = "text"


@dataclass
class Message:
    content: list


class Messages:
    def create(self, model, max_tokens, temperature, messages):
        return Message([TextBlock(wire.ask("llm", "anthropic", model=model, user=messages[0]["content"]))])


class Anthropic:
    def __init__(self, api_key=None):
        self.api_key = api_key
        self.messages = Messages()
