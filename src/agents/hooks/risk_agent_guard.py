"""The host's risk agent: it sees net liquidation, its model's answers are read as answers, and no disconnect can make
it liquidate. What it closes is what this journal owns."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from ...brokers.errors import BrokerError, ConfigurationError
from ..llm.answers import Word, risk_answer
from .desk import Desk
from .patches import Patches

log = logging.getLogger(__name__)

_METHODS = ("get_portfolio_value", "handle_limit_breach", "close_all_positions", "should_override_limit")


#: What the answers to each question may be, the one that changes nothing first.
_BREACH_WORDS: tuple[Word, Word] = ("HOLD_POSITIONS", "CLOSE_ALL")
_OVERRIDE_WORDS: tuple[Word, Word] = ("RESPECT_LIMIT", "OVERRIDE")


class _ExactClient:
    """A model's client in both shapes that the host calls, whose answers are what `word` makes of their text."""

    def __init__(self, client: Any, word: Callable[[object], str]) -> None:
        self._client, self._word = client, word
        self.messages = SimpleNamespace(create=self._message)
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._completion))

    def _message(self, **asked: Any) -> Any:
        return SimpleNamespace(content=self._word(self._client.messages.create(**asked).content))

    def _completion(self, **asked: Any) -> Any:
        told = self._client.chat.completions.create(**asked).choices[0].message.content
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=self._word(told)))])


class RiskAgentGuard:
    """Applied to `src.agents.risk_agent` right after its import."""

    def __init__(self, desk: Desk, patches: Patches) -> None:
        self._desk = desk
        self._patches = patches

    def apply(self, module: ModuleType) -> None:
        agent: Any = getattr(module, "RiskAgent", object)
        lacking = [name for name in _METHODS if not callable(getattr(agent, name, None))]
        if lacking:
            raise ConfigurationError(
                f"hook of {module.__name__}", f"it has no {', '.join(lacking)}", "this host is of another version"
            )
        # The host uses it and never imports it, so that any answer of its model ended in "close everything".
        if not hasattr(module, "re"):
            self._patches.set(module, "re", re)
        self._patches.set(agent, "get_portfolio_value", self._net_liquidation())
        self._patches.set(agent, "handle_limit_breach", self._breach(module, agent.handle_limit_breach))
        self._patches.set(agent, "close_all_positions", self._closing(agent.close_all_positions))
        self._patches.set(agent, "should_override_limit", self._override(agent.should_override_limit))

    def _net_liquidation(self) -> Callable[[Any], float]:
        def get_portfolio_value(agent: Any) -> float:
            """Net liquidation in the account's currency; raises instead of answering 0."""
            return self._desk.equity()

        return get_portfolio_value

    def _breach(self, module: ModuleType, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def handle_limit_breach(agent: Any, breach_type: str, current_value: float) -> Any:
            try:
                present = self._desk.equity()
            except BrokerError as error:
                self._desk.report(f"risk agent: {breach_type} is not acted upon, the account cannot be read: {error}")
                raise
            why_not = not_breached(module, breach_type, present, agent.start_balance)
            if why_not is not None:
                self._desk.report(f"risk agent: {breach_type} is not acted upon: {why_not}")
                return None
            agent._moondev_read_failures = self._desk.read_failures
            try:
                with self._exact_answers(agent, _BREACH_WORDS):
                    return original(agent, breach_type, current_value)
            finally:
                del agent._moondev_read_failures

        return handle_limit_breach

    def _override(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def should_override_limit(agent: Any, limit_type: str) -> Any:
            with self._exact_answers(agent, _OVERRIDE_WORDS):
                return original(agent, limit_type)

        return should_override_limit

    @contextlib.contextmanager
    def _exact_answers(self, agent: Any, words: tuple[Word, Word]) -> Iterator[None]:
        """Its models answer one bare word meanwhile. The host searches the text, or the printed form of the blocks
        that Claude answers with, in which no CLOSE_ALL with a reason behind it is found."""

        def word(text: object) -> str:
            log.info("the risk agent's model answers: %s", text)
            answer = risk_answer(text)
            if answer.word in words:
                return answer.word
            self._desk.report(f"risk agent: {answer.refused or answer.word}; taken as {words[0]}")
            return words[0]

        before = {name: vars(agent)[name] for name in ("client", "deepseek_client") if vars(agent).get(name)}
        for name, client in before.items():
            setattr(agent, name, _ExactClient(client, word))
        try:
            yield
        finally:
            for name, client in before.items():
                setattr(agent, name, client)

    def _closing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def close_all_positions(agent: Any) -> Any:
            before = getattr(agent, "_moondev_read_failures", self._desk.read_failures)
            if self._desk.read_failures != before:
                # The host's handler of any failure is to close everything; a failed read is no reason for it.
                self._desk.report("risk agent: nothing is closed, since reading the account failed meanwhile")
                return None
            self._desk.holdings()
            return original(agent)

        return close_all_positions


def not_breached(module: ModuleType, breach_type: str, value: float, start: float) -> str | None:
    """Why the host's limits do not say so, None when they do. The host takes a gain for a loss, and compares USD with a
    percentage. `value` and `start` are net liquidation now and at the agent's start."""
    change = value - start
    percent = change / start * 100 if start else 0.0
    if breach_type == "MINIMUM_BALANCE":
        least = float(module.MINIMUM_BALANCE_USD)
        return None if value < least else f"{value:.2f} USD is not below the least balance {least:.2f}"
    amount, unit, kind = (percent, "%", "PERCENT") if breach_type == "PNL_PERCENT" else (change, "USD", "USD")
    side = "GAIN" if amount > 0 else "LOSS"
    limit = float(getattr(module, f"MAX_{side}_{kind}", getattr(module, f"MAX_LOSS_{kind}")))
    return None if abs(amount) >= limit else f"the {side.lower()} of {abs(amount):.2f} {unit} is within {limit:.2f}"
