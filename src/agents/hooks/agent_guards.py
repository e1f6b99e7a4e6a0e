"""Smaller guards of the host's agents: strategy agent, base agent, rebalancer, collector and scanners."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

from ...brokers.errors import ConfigurationError
from ..llm.answers import strategy_decisions
from .desk import Desk
from .host_bars import HostBars
from .host_timeframes import timeframe as find_timeframe
from .patches import Patches
from .routing import Route, Routing

#: Modes of the host's collector that ask for a number of bars; the others ask for days.
_BY_COUNT = frozenset({"HYPERLIQUID", "ASTER", "EXTENDED"})
#: Bars of one unit of a timeframe in the host's day and night.
_BARS_A_DAY: Mapping[str, float] = {"m": 1440, "H": 24, "D": 1, "W": 1 / 7, "M": 1 / 30}

#: Fetches the daily bars of a list in one batch, for the questions that follow.
Prefetch = Callable[[list[str]], None]


def strategy_agent(module: ModuleType, desk: Desk, patches: Patches) -> None:
    """Its model's decisions count only when they are exact: the host takes any mention of EXECUTE for a yes."""
    agent = _class(module, "StrategyAgent", "evaluate_signals")
    original: Callable[..., Any] = agent.evaluate_signals

    @functools.wraps(original)
    def evaluate_signals(self: Any, signals: Any, market_data: Any) -> Any:
        evaluation = original(self, signals, market_data)
        if not isinstance(evaluation, Mapping) or not signals:
            return evaluation
        told = f"{','.join(map(str, evaluation.get('decisions', ())))}\n{evaluation.get('reasoning', '')}"
        answers = strategy_decisions(told, len(signals))
        for signal, answer in zip(signals, answers, strict=True):
            if answer.refused is not None:
                desk.report(f"strategy {signal.get('strategy_name')}: {answer.refused}; taken as REJECT")
        return {**evaluation, "decisions": [str(answer.word) for answer in answers]}

    patches.set(agent, "evaluate_signals", evaluate_signals)


def base_agent(module: ModuleType, desk: Desk, patches: Patches) -> None:
    """An agent that asked for the exchange manager gets it or fails: the host goes on with Solana instead."""
    agent = _class(module, "BaseAgent", "__init__")
    original: Callable[..., None] = agent.__init__

    @functools.wraps(original)
    def __init__(self: Any, agent_type: str, use_exchange_manager: bool = False, **named: Any) -> None:
        original(self, agent_type, use_exchange_manager, **named)
        if use_exchange_manager and self.em is None:
            raise ConfigurationError(
                f"exchange manager of the {agent_type} agent",
                "it could not be made, and the host would go on with another exchange",
                "see the message above; the agent was not started",
            )

    patches.set(agent, "__init__", __init__)


def rebalancing_agent(module: ModuleType, desk: Desk, routing: Routing, patches: Patches) -> None:
    """It means `max_usd_order_size` as the amount to sell, where every other caller means a chunk of all of it."""
    helpers = getattr(module, "n", None)
    if helpers is None:
        raise ConfigurationError(f"hook of {module.__name__}", "it has no helpers n", "this host is of another version")

    class _Helpers(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            return getattr(helpers, name)

    def chunk_kill(token_mint_address: str, max_usd_order_size: float, slippage: float | None = None) -> str | None:
        """Sell that many USD of an owned position."""
        if routing.of(token_mint_address) is not Route.IB:
            return helpers.chunk_kill(token_mint_address, max_usd_order_size, slippage)  # type: ignore[no-any-return]
        order = desk.sell_usd(token_mint_address, max_usd_order_size, slippage)
        return order.key if order is not None else None

    patches.set(module, "n", _Helpers(chunk_kill=chunk_kill))


def ohlcv_collector(module: ModuleType, bars: HostBars, routing: Routing, patches: Patches) -> None:
    """The bars of all tokens come in one batch before the host asks for them one by one."""
    original: Callable[..., Any] | None = getattr(module, "collect_all_tokens", None)
    if original is None:
        raise ConfigurationError(f"hook of {module.__name__}", "it has no collect_all_tokens", "another version?")

    @functools.wraps(original)
    def collect_all_tokens(
        tokens: Any = None, days_back: Any = None, timeframe: Any = None, exchange: str = "SOLANA"
    ) -> Any:
        listed = module.MONITORED_TOKENS if tokens is None else tokens
        wanted = [token for token in listed if routing.of(token) is Route.IB]
        if len(wanted) > 1:
            chosen = module.DATA_TIMEFRAME if timeframe is None else timeframe
            days = module.DAYSBACK_4_DATA if days_back is None else days_back
            if exchange in _BY_COUNT:
                bars.lasts(wanted, chosen, max(bars_in(days, chosen), 1))
            else:
                bars.prefetch(wanted, chosen, days)
        return original(tokens, days_back, timeframe, exchange)

    patches.set(module, "collect_all_tokens", collect_all_tokens)


def bars_in(days: float, timeframe: str) -> int:
    """Bars that the host asks for in its symbol modes: whole bars of round-the-clock days, 0 for one longer than the
    days. Raises InvalidRequest for a timeframe that is none of the host's."""
    name = find_timeframe(timeframe).name
    return int(days * _BARS_A_DAY[name[-1]] / int(name[:-1]))


def scanner(module: ModuleType, prefetch: Prefetch, patches: Patches) -> None:
    """Every class of a scanner that scans a list gets the list's bars in one batch first."""
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "scan_all_symbols"):
            patches.set(value, "scan_all_symbols", _in_one_batch(value.scan_all_symbols, prefetch))


def _in_one_batch(original: Callable[..., Any], prefetch: Prefetch) -> Callable[..., Any]:
    @functools.wraps(original)
    def scan_all_symbols(self: Any, *args: Any, **named: Any) -> Any:
        wanted = [str(symbol) for symbol in getattr(self, "all_symbols", ())]
        if wanted:
            prefetch(wanted)
        return original(self, *args, **named)

    return scan_all_symbols


def _class(module: ModuleType, name: str, method: str) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, type) or not callable(getattr(found, method, None)):
        raise ConfigurationError(
            f"hook of {module.__name__}", f"it has no {name}.{method}", "this host is of another version"
        )
    return found
