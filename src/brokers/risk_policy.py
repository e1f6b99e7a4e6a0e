"""The limits that no caller can change: one frozen policy, made by the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from .domain.instrument import normalize_symbol
from .errors import ConfigurationError, InvalidInstrument


@dataclass(frozen=True, slots=True)
class RiskPolicy:
    """All limits of the risk rules. Money in USD; other currencies are converted at the broker's rate.

    A limit is the largest value that still passes. Durations are market time.
    """

    #: Worst value of one contract's position: held, plus what works, plus this order.
    max_position_value: Decimal = Decimal(10_000)
    #: Sum of those over all contracts of the account, foreign positions included.
    max_exposure: Decimal = Decimal(50_000)
    #: Change of net liquidation since 00:00 ET less transfers, unrealised included; at or past it nothing is opened.
    max_daily_loss: Decimal = Decimal(5_000)
    #: One contract's position value as a share of net liquidation (0.25 = 25 %).
    max_concentration: Decimal = Decimal("0.25")
    #: Value of a single order.
    max_order_value: Decimal = Decimal(10_000)
    #: Shares of a single order.
    max_order_quantity: Decimal = Decimal(10_000)
    #: Lower position values for single symbols, by normalised symbol.
    symbol_limits: Mapping[str, Decimal] = field(default_factory=dict)
    #: Orders and modifies sent in the last 60 seconds, and since 00:00 ET; cancels are never counted.
    max_orders_per_minute: int = 60
    max_orders_per_day: int = 1_000
    #: Working orders of one contract and side (IB refuses above 15 to 20, fault O36).
    max_open_orders_per_side: int = 15
    #: How far beyond the touch an entry's price may reach, in basis points of the mid; also the widest spread, half of
    #: it, that a market order may meet.
    collar_bps: Decimal = Decimal(200)
    #: The same for exits, when there is a quote to measure by.
    exit_collar_bps: Decimal = Decimal(1_000)
    #: An older quote is stale; a quote further in the future than this is not believed either.
    max_quote_age: timedelta = timedelta(seconds=30)
    #: Whether delayed quotes count as fresh (paper accounts without subscriptions).
    allow_delayed_quotes: bool = False
    #: Nothing is opened in this long after the regular open.
    open_blackout: timedelta = timedelta(seconds=5)
    #: Same contract, side, quantity and prices again within this long is a duplicate.
    duplicate_window: timedelta = timedelta(seconds=5)
    #: One opening order of a contract, account and side in this long, and none while an earlier one works; 0 is off.
    entry_window: timedelta = timedelta(0)
    #: Whether a DAY limit order without outside_rth may wait at the broker for the open, measured by the last known
    #: price, when it comes outside the regular session.
    queue_outside_session: bool = False
    #: Names that may not be bought or shorted; what is held may still be left.
    restricted: frozenset[str] = frozenset()
    #: Nothing at all is sent but cancels.
    read_only: bool = False
    #: Whether a sell may open a short position.
    allow_short: bool = False
    #: Fewer day trades left than this, where the broker reports a finite number, and nothing is opened.
    min_day_trades_remaining: int = 1
    #: Excess liquidity that must remain after an order, by the broker's own what-if.
    margin_buffer: Decimal = Decimal(1_000)

    def __post_init__(self) -> None:
        for name in ("max_concentration", *_MONEY):
            if not (value := getattr(self, name)).is_finite() or value < 0:
                raise ConfigurationError(f"risk limit {name}={value}", "it must be a finite number, zero or above")
        for name in _COUNTS:
            if getattr(self, name) < 0:
                raise ConfigurationError(f"risk limit {name}={getattr(self, name)}", "it must be zero or above")
        for name in _DURATIONS:
            if getattr(self, name) < timedelta(0):
                raise ConfigurationError(f"risk limit {name}={getattr(self, name)}", "it must be zero or longer")
        limits = {_symbol("symbol_limits", symbol): limit for symbol, limit in self.symbol_limits.items()}
        object.__setattr__(self, "symbol_limits", MappingProxyType(limits))
        object.__setattr__(self, "restricted", frozenset(_symbol("restricted", text) for text in self.restricted))

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> RiskPolicy:
        """A policy from plain values by field name: numbers, text, lists; durations in seconds.

        Raises ConfigurationError, naming the field, for an unknown name or a value that cannot be.
        """
        known = {row.name for row in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigurationError(f"risk limit {unknown[0]!r}", "there is no such limit", f"one of {sorted(known)}")
        return cls(**{name: _convert(name, value) for name, value in values.items()})


_DURATIONS = ("max_quote_age", "open_blackout", "duplicate_window", "entry_window")
_COUNTS = ("max_orders_per_minute", "max_orders_per_day", "max_open_orders_per_side", "min_day_trades_remaining")
_FLAGS = ("queue_outside_session", "allow_delayed_quotes", "read_only", "allow_short")
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_MONEY = (
    "max_position_value",
    "max_exposure",
    "max_daily_loss",
    "max_order_value",
    "max_order_quantity",
    "collar_bps",
    "exit_collar_bps",
    "margin_buffer",
)


def _convert(name: str, value: Any) -> Any:
    try:
        if name == "restricted":
            return frozenset(_listed(value))
        if name == "symbol_limits":
            pairs = [part.split("=") for part in value.split(",")] if isinstance(value, str) else dict(value).items()
            return {symbol: Decimal(str(limit)) for symbol, limit in pairs}
        if name in _DURATIONS:
            return value if isinstance(value, timedelta) else timedelta(seconds=float(value))
        if name in _FLAGS:
            return value if isinstance(value, bool) else _WORDS[str(value).strip().lower()]
        number = Decimal(str(value))
        if name in _COUNTS:
            if number != number.to_integral_value():
                raise ValueError("not a whole number")
            return int(number)
        return number
    except (ValueError, TypeError, KeyError, InvalidOperation, OverflowError, AttributeError):
        raise ConfigurationError(f"risk limit {name}={value!r}", f"it is not {_kind(name)}") from None


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise TypeError("not a list")
    return list(value)


def _kind(name: str) -> str:
    kinds = {
        "restricted": "a list of symbols",
        "symbol_limits": "a table of symbols and USD, such as TSLA=2000,GME=500",
        **dict.fromkeys(_DURATIONS, "a number of seconds"),
        **dict.fromkeys(_FLAGS, "true or false"),
        **dict.fromkeys(_COUNTS, "a whole number"),
    }
    return kinds.get(name, "a number")


def _symbol(name: str, text: str) -> str:
    try:
        return normalize_symbol(text)
    except InvalidInstrument as error:
        raise ConfigurationError(f"risk limit {name}", str(error)) from None
