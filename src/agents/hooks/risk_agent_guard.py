"""The host's risk agent: it sees net liquidation, its model's answers are read as answers, and no disconnect can make
it liquidate. What it closes is what this journal owns."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ...brokers.errors import BrokerError, ConfigurationError
from .desk import Desk
from .patches import Patches

_METHODS = ("get_portfolio_value", "handle_limit_breach", "close_all_positions", "should_override_limit")


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
                return original(agent, breach_type, current_value)
            finally:
                del agent._moondev_read_failures

        return handle_limit_breach

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
