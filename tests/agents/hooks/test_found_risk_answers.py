"""The risk agent's model: a CLOSE_ALL with its reasons closes, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from moondev_ibkr.agents.hooks.desk import Desk
from moondev_ibkr.agents.hooks.hook_settings import HookSettings
from moondev_ibkr.agents.hooks.host_broker import HostBroker
from moondev_ibkr.agents.hooks.patches import Patches
from moondev_ibkr.agents.hooks.risk_agent_guard import RiskAgentGuard
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.sync import LoopThread


class Block:
    """Prints itself as Claude's blocks of text do."""

    def __init__(self, text: str) -> None:
        self.type, self.text = "text", text

    def __repr__(self) -> str:
        return f"TextBlock(citations=None, text={self.text!r}, type='text')"


class RiskAgent:
    """Reads answers as the host does: the printed blocks, then the first line, or the word anywhere."""

    def __init__(self) -> None:
        self.start_balance = 1_000_000.0
        self.client: Any = None
        self.deepseek_client: Any = None
        self.closed = 0

    def get_portfolio_value(self) -> float:
        raise AssertionError("the guard replaces it")

    def _asked(self) -> str:
        if self.deepseek_client is not None:
            told = self.deepseek_client.chat.completions.create(model="m", messages=[])
            return str(told.choices[0].message.content)
        text = str(self.client.messages.create(model="m", messages=[]).content)
        return text.partition("text='")[2].partition("'")[0] or text

    def handle_limit_breach(self, breach_type: str, current_value: float) -> None:
        if self._asked().split("\n")[0].strip() == "CLOSE_ALL":
            self.close_all_positions()

    def should_override_limit(self, limit_type: str) -> bool:
        return "OVERRIDE" in self._asked().upper()

    def close_all_positions(self) -> None:
        self.closed += 1


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def agent(said: list[str]) -> Iterator[RiskAgent]:
    module = ModuleType("src.agents.risk_agent")
    vars(module).update(RiskAgent=RiskAgent, MAX_LOSS_USD=25, MAX_GAIN_USD=25, MINIMUM_BALANCE_USD=50)
    patches = Patches()
    with LoopThread("risk answers test") as loop:
        held = HostBroker(lambda: get_broker("paper"), loop=loop)
        RiskAgentGuard(Desk(held.sync, HookSettings(symbols=("AAPL",)), said.append), patches).apply(module)
        yield RiskAgent()
        patches.undo()
        held.close()


def claude(text: str) -> Any:
    return SimpleNamespace(messages=SimpleNamespace(create=lambda **asked: SimpleNamespace(content=[Block(text)])))


def deepseek(text: str) -> Any:
    told = SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=text))])
    return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=lambda **asked: told)))


@pytest.mark.parametrize(
    ("text", "closes"),
    [
        ("CLOSE_ALL", True),
        ("CLOSE_ALL\n\nThe market's falling.", True),
        ("**CLOSE_ALL**\nIt falls.", True),
        ("HOLD_POSITIONS\nIt recovers.", False),
        ("I would not CLOSE_ALL yet", False),
        ("CLOSE_ALL\nHOLD_POSITIONS", False),
        ("OVERRIDE", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("shape", ["client", "deepseek_client"])
def test_a_breach_closes_on_the_exact_word(
    agent: RiskAgent, said: list[str], text: str, closes: bool, shape: str
) -> None:
    client = (claude if shape == "client" else deepseek)(text)
    setattr(agent, shape, client)
    agent.handle_limit_breach("PNL_USD", -900_000.0)
    assert agent.closed == closes
    assert bool(said) == (not closes and not text.startswith("HOLD_POSITIONS"))
    assert getattr(agent, shape) is client, "the model's client was not given back"


@pytest.mark.parametrize(
    ("text", "lifts"),
    [("OVERRIDE: it recovers", True), ("RESPECT_LIMIT\nno OVERRIDE", False), ("no OVERRIDE please", False)],
)
def test_a_limit_is_lifted_by_the_exact_word_alone(agent: RiskAgent, text: str, lifts: bool) -> None:
    agent.client = claude(text)
    assert agent.should_override_limit("PNL_USD") is lifts
