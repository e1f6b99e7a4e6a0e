"""The host's trading agent: sane sizing, strict answers, and no row of an earlier cycle acted upon again.

Its own code runs; what is changed are its constants and what goes into and comes out of four of its methods.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

from ...brokers.errors import ConfigurationError
from ..llm.answers import Answer, swarm_vote, trading_answer
from .desk import Desk
from .patches import Patches

#: The mode in which the host's agent trades symbols (and compares the word exactly).
MODE = "ASTER"
#: Of the largest position that the limits allow, the part that the host may ask for: prices move until the order.
ROOM = Decimal("0.95")
_ACTIONS = frozenset({"BUY", "SELL", "NOTHING"})
_METHODS = ("run_trading_cycle", "analyze_market_data", "_calculate_swarm_consensus")


@contextlib.contextmanager
def in_symbol_mode() -> Iterator[None]:
    """The agent takes EXCHANGE from the config while it is imported, and leaves the process for a name that it does
    not know."""
    config: Any = sys.modules.get("src.config")
    if config is None:
        yield
        return
    before = config.EXCHANGE
    config.EXCHANGE = MODE
    try:
        yield
    finally:
        config.EXCHANGE = before


class TradingAgentGuard:
    """Applied to `src.agents.trading_agent` right after its import."""

    def __init__(self, desk: Desk, symbols: tuple[str, ...], patches: Patches) -> None:
        self._desk = desk
        self._symbols = symbols
        self._patches = patches

    def apply(self, module: ModuleType) -> None:
        """Raises ConfigurationError for an agent that lacks what is guarded: then it may not trade."""
        agent: Any = getattr(module, "TradingAgent", object)
        lacking = [name for name in _METHODS if not callable(getattr(agent, name, None))]
        lacking += [name for name in ("n", "SYMBOLS", "calculate_position_size") if not hasattr(module, name)]
        if lacking:
            raise ConfigurationError(
                f"hook of {module.__name__}", f"it has no {', '.join(lacking)}", "this host is of another version"
            )
        self._patches.set(module, "EXCHANGE", MODE)
        self._patches.fill_list(module.SYMBOLS, self._symbols)
        self._patches.set(module, "LEVERAGE", 1)
        if not hasattr(module, "CASH_PERCENTAGE"):
            # It is used by the host's allocation and defined nowhere in that file.
            config = sys.modules.get("src.config")
            self._patches.set(module, "CASH_PERCENTAGE", getattr(config, "CASH_PERCENTAGE", 20))
        self._patches.set(module, "calculate_position_size", self._sized(module.calculate_position_size))
        self._patches.set(agent, "run_trading_cycle", self._fresh_cycle(agent.run_trading_cycle))
        self._patches.set(agent, "analyze_market_data", self._strict(agent.analyze_market_data))
        self._patches.set(agent, "_calculate_swarm_consensus", self._strict_votes(agent._calculate_swarm_consensus))

    def _sized(self, original: Callable[[float], float]) -> Callable[[float], float]:
        """The host's percentage of the balance, brought down to what the limits allow, and said."""

        @functools.wraps(original)
        def calculate_position_size(account_balance: float) -> float:
            asked = float(original(account_balance))
            if asked <= 0:
                return asked
            room = float(largest_position(self._desk) * ROOM)
            if asked <= room:
                return asked
            self._desk.report(f"position size: the host asks for {asked:.2f} USD, the limits allow {room:.2f}")
            return room

        return calculate_position_size

    def _fresh_cycle(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def run_trading_cycle(agent: Any, strategy_signals: Any = None) -> Any:
            agent.recommendations_df = agent.recommendations_df.iloc[0:0].copy()
            return original(agent, strategy_signals)

        return run_trading_cycle

    def _strict(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def analyze_market_data(agent: Any, token: str, market_data: Any) -> Any:
            before = len(agent.recommendations_df)
            result = original(agent, token, market_data)
            self._correct(agent, before, result)
            return result

        return analyze_market_data

    def _correct(self, agent: Any, before: int, result: Any) -> None:
        """The new rows' actions become exactly one of the three words."""
        table = agent.recommendations_df
        for position in range(before, len(table)):
            label = table.index[position]
            told = table.at[label, "action"]
            answer = trading_answer(result) if isinstance(result, str) else trading_answer(told)
            if answer.refused is not None:
                self._reported(str(table.at[label, "token"]), answer)
            if told != answer.word:
                table.at[label, "action"] = str(answer.word)
                table.at[label, "confidence"] = 0 if answer.refused is not None else table.at[label, "confidence"]

    def _strict_votes(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def _calculate_swarm_consensus(agent: Any, swarm_result: Any) -> Any:
            return original(agent, self._voted(swarm_result))

        return _calculate_swarm_consensus

    def _voted(self, swarm_result: Any) -> Any:
        """The same result with every response as one bare word; a model that said nothing has no vote."""
        counted = copy.copy(swarm_result)
        counted["responses"] = {}
        for provider, row in swarm_result["responses"].items():
            vote = swarm_vote(row.get("response")) if row.get("success") else None
            if vote is not None and vote.refused is not None:
                self._reported(f"model {provider}", vote)
            said_nothing = vote is None or _is_empty(row.get("response"))
            word = "" if vote is None else {"NOTHING": "Do Nothing"}.get(str(vote.word), str(vote.word))
            counted["responses"][provider] = {**row, "success": not said_nothing, "response": word}
        return counted

    def _reported(self, whose: str, answer: Answer) -> None:
        self._desk.report(f"{whose}: {answer.refused}; taken as NOTHING")


def _is_empty(response: object) -> bool:
    return response is None or str(response).strip() in ("", "None")


def largest_position(desk: Desk) -> Decimal:
    """USD that one position may be worth by the account and the limits in force."""
    net = desk.account().net_liquidation or Decimal(0)
    limits = desk.broker().limits()
    caps = [Decimal(str(limits[name])) for name in ("max_position_value", "max_order_value", "max_exposure")]
    return min(net, net * Decimal(str(limits["max_concentration"])), *caps)
