"""Executions matched first in, first out: which shares are still open and at what price, and what closed the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ...brokers.domain.instrument import Instrument
from ...brokers.domain.order import Fill, Order, Side


@dataclass(frozen=True, slots=True)
class Lot:
    """Shares that one execution opened and nothing has closed. `quantity` is signed: negative is short."""

    opened: Fill
    quantity: Decimal

    @property
    def price(self) -> Decimal:
        return self.opened.price


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Shares that `opened` brought in and `closed` took out again. `quantity` > 0; the opening side gives the sign."""

    opened: Fill
    closed: Fill
    quantity: Decimal

    @property
    def was_long(self) -> bool:
        return self.opened.side is Side.BUY


def owned_fills(orders: Iterable[Order], fills: Iterable[Fill]) -> list[Fill]:
    """The executions of orders that this journal opened or adopted, in the order in which they happened."""
    keys = {order.key for order in orders if not order.foreign}
    # IB tells whole seconds: within one, the order that was numbered first traded first.
    return sorted(
        (fill for fill in fills if fill.order_key in keys),
        key=lambda fill: (fill.time, abs(fill.perm_id or 0), fill.exec_id),
    )


def match(fills: Iterable[Fill]) -> tuple[list[Lot], list[RoundTrip]]:
    """Open lots and round trips, oldest first; accounts and contracts are kept apart. `fills` are in time order."""
    books: dict[Hashable, deque[Lot]] = {}
    trips: list[RoundTrip] = []
    for fill in fills:
        lots = books.setdefault((fill.account, contract_key(fill.instrument)), deque())
        left = fill.quantity
        while left and lots and lots[0].opened.side is not fill.side:
            first = lots.popleft()
            closed = min(left, abs(first.quantity))
            trips.append(RoundTrip(first.opened, fill, closed))
            left -= closed
            if closed < abs(first.quantity):
                lots.appendleft(Lot(first.opened, first.quantity + fill.side.sign * closed))
        if left:
            lots.append(Lot(fill, fill.side.sign * left))
    return [lot for lots in books.values() for lot in lots], trips


def contract_key(instrument: Instrument) -> Hashable:
    """What tells two contracts apart: the broker's number where it is known."""
    return instrument.con_id if instrument.con_id is not None else str(instrument)


def average_price(parts: Iterable[tuple[Decimal, Decimal]]) -> Decimal | None:
    """The average of (quantity, price) pairs by absolute quantity; None for no shares at all."""
    total, cost = Decimal(0), Decimal(0)
    for quantity, price in parts:
        total += abs(quantity)
        cost += abs(quantity) * price
    return cost / total if total else None


def entered(lots: Iterable[Lot]) -> datetime | None:
    """When the oldest of the lots was opened (aware UTC); None for no lots."""
    return min((lot.opened.time for lot in lots), default=None)
