"""What the AEGS agent holds, read back from its own order keys, so that a restart needs no memory of its own.

An entry's key is `aegs-SYMBOL-YYYYMMDD`; every exit's key is the entry's, a dash, and what kind of exit it is
(1 the bracket's stop, 2 its target, `s…` a stop put back, `x…` a time exit).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from ...brokers.domain.order import Fill, Order

KEY_PREFIX = "aegs-"
#: The trading day that a moment belongs to is New York's.
EXCHANGE_ZONE = ZoneInfo("America/New_York")

_ENTRY_KEY = re.compile(r"aegs-[A-Z0-9-]+-\d{8}")


@dataclass(frozen=True, slots=True)
class Holding:
    """An open position that this agent entered. `entry_price` is the average of its fills, per share."""

    symbol: str
    key: str
    quantity: Decimal
    entry_price: Decimal
    entered: datetime

    def days(self, now: datetime) -> int:
        """Calendar days in New York since the first fill."""
        return (trading_date(now) - trading_date(self.entered)).days


def holdings(orders: Iterable[Order], fills: Iterable[Fill]) -> list[Holding]:
    """Entries' executions less those of their exits; what is left above zero."""
    fills = list(fills)
    open_positions = []
    for order in orders:
        if order.foreign or not is_entry_key(order.key):
            continue
        bought = [fill for fill in fills if fill.order_key == order.key]
        exits = [fill.quantity for fill in fills if (fill.order_key or "").startswith(f"{order.key}-")]
        entered = sum((fill.quantity for fill in bought), Decimal(0))
        quantity = entered - sum(exits, Decimal(0))
        if quantity > 0:
            cost = sum((fill.quantity * fill.price for fill in bought), Decimal(0))
            first = min(fill.time for fill in bought)
            open_positions.append(Holding(order.instrument.symbol, order.key, quantity, cost / entered, first))
    return open_positions


def entry_key(symbol: str, day: date) -> str:
    """One entry per symbol and day, whatever restarts: the key is made of both."""
    return f"{KEY_PREFIX}{re.sub('[^A-Z0-9]', '-', symbol)}-{day:%Y%m%d}"


def is_entry_key(key: str) -> bool:
    return _ENTRY_KEY.fullmatch(key) is not None


def trading_date(moment: datetime) -> date:
    """The New York date of `moment`."""
    return moment.astimezone(EXCHANGE_ZONE).date()
