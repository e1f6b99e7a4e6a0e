"""What every language model offers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Dict, Optional


@dataclass
class ModelResponse:
    content: str
    raw_response: Any
    model_name: str
    usage: Optional[Dict] = None


class BaseModel(ABC):
    def __init__(self, api_key: str, **kwargs):
        self.api_key = api_key
        self.client = None
        self.initialize_client(**kwargs)

    @abstractmethod
    def initialize_client(self, **kwargs) -> None:
        pass

    def generate_response(self, system_prompt, user_content, temperature=0.7, max_tokens=None):
        try:
            return self.client.chat(self.model_name, system_prompt, user_content, max_tokens or self.max_tokens)
        except Exception as e:
            if "503" in str(e):
                raise
            print(f"model failed: {e}")
            return None

    @abstractmethod
    def is_available(self) -> bool:
        pass

    @property
    @abstractmethod
    def model_type(self) -> str:
        pass
