"""The host's ExchangeManager, to which "ib" is one more exchange."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pandas as pd

from ...brokers.domain.order import Order
from ...brokers.errors import ConfigurationError
from .data_reads import DataReads
from .desk import Desk
from .indicators import robinhood_columns
from .patches import Patches
from .shapes import PositionDict, adapter_frame, order_dict, position_dict

IB_NAMES = ("ib", "ibkr")
#: What the host's agents call on it; a host whose class lacks one is of another version.
METHODS = (
    *("market_buy", "market_sell", "get_position", "get_token_balance_usd", "close_position", "ai_entry", "chunk_kill"),
    *("get_current_price", "get_account_value", "get_balance", "get_all_positions", "set_leverage", "get_data"),
    "fetch_wallet_holdings",
)


class IBExchange:
    """The manager's methods over the desk. A refused order raises, since the host's agents report success on any
    answer; reads raise rather than answer zeros. Nothing connects before the first call."""

    def __init__(self, desk: Desk, data: DataReads) -> None:
        self._desk = desk
        self._data = data

    def market_buy(self, symbol: str, usd_amount: float) -> dict[str, Any] | None:
        return _answer(self._desk.buy(symbol, usd_amount))

    def market_sell(self, symbol: str, percent: float) -> dict[str, Any] | None:
        """`percent` of the owned position, 0 to 100."""
        return _answer(self._desk.sell_part(symbol, percent))

    def get_position(self, symbol: str) -> PositionDict:
        return position_dict(symbol, self._desk.holding(symbol))

    def get_token_balance_usd(self, symbol: str) -> float:
        held = self._desk.holding(symbol)
        return abs(held.value) if held is not None else 0.0

    def close_position(self, symbol: str) -> dict[str, Any] | None:
        return _answer(self._desk.close(symbol))

    def ai_entry(self, symbol: str, usd_amount: float) -> dict[str, Any] | None:
        """Up to a position of `usd_amount`: the host's agents pass the size that they want to hold."""
        return _answer(self._desk.buy_to(symbol, usd_amount))

    def chunk_kill(
        self, symbol: str, max_order_size: float | None = None, slippage: float | None = None
    ) -> dict[str, Any] | None:
        return self.close_position(symbol)

    def get_current_price(self, symbol: str) -> float:
        return self._data.price(symbol)

    def get_account_value(self) -> float:
        return self._desk.equity()

    def get_balance(self) -> float:
        return self._desk.cash()

    def get_all_positions(self) -> list[dict[str, Any]]:
        return [{**position_dict(row.symbol, row), "value_usd": row.value} for row in self._desk.holdings()]

    def set_leverage(self, symbol: str, leverage: float) -> dict[str, Any]:
        return {"success": True, "message": "stocks are bought for their full value", "actual_leverage": 1}

    def get_data(self, symbol: str, days_back: float, timeframe: str) -> pd.DataFrame:
        return robinhood_columns(self._data.frame(symbol, timeframe, days_back))

    def fetch_wallet_holdings(self, wallet_address: str | None = None) -> pd.DataFrame:
        return adapter_frame(self._desk.holdings())


def _answer(order: Order | None) -> dict[str, Any] | None:
    return order_dict(order) if order is not None else None


def hook(module: ModuleType, exchange: IBExchange, patches: Patches) -> None:
    """Replace the module's class by a subclass. Raises ConfigurationError for one that lacks a method."""
    base = getattr(module, "ExchangeManager", None)
    if not isinstance(base, type):
        raise ConfigurationError(f"hook of {module.__name__}", "it has no class ExchangeManager", "another version?")
    lacking = [name for name in METHODS if not hasattr(base, name)]
    if lacking:
        raise ConfigurationError(
            f"hook of {module.__name__}", f"its ExchangeManager lacks {', '.join(lacking)}", "another version?"
        )
    patches.set(module, "ExchangeManager", _subclass(base, exchange))


def _subclass(base: type, exchange: IBExchange) -> type:
    def __init__(self: Any, exchange_name: str | None = None, **named: Any) -> None:
        chosen = named.pop("exchange", exchange_name)
        if chosen is None:
            chosen = getattr(sys.modules.get("src.config"), "EXCHANGE", None)
        if isinstance(chosen, str) and chosen.lower() in IB_NAMES:
            self.exchange, self.account, self.ib = "ib", None, exchange
        else:
            base.__init__(self, chosen, **named)  # type: ignore[misc]

    def routed(name: str) -> Any:
        original = getattr(base, name)

        def call(self: Any, *args: Any, **named: Any) -> Any:
            mine = self.__dict__.get("ib")
            return original(self, *args, **named) if mine is None else getattr(mine, name)(*args, **named)

        call.__name__ = name
        call.__doc__ = getattr(exchange, name).__doc__ or original.__doc__
        return call

    methods: dict[str, Any] = {name: routed(name) for name in METHODS}
    doc = base.__doc__
    return type(
        base.__name__, (base,), {"__init__": __init__, "__module__": base.__module__, "__doc__": doc, **methods}
    )
