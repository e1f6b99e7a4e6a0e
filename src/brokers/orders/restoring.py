"""Orders out of the journal: at the start, and those that other processes put there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from ..domain.order import Fill, Order
from ..domain.order_states import OrderSignal, OrderState
from ..errors import JournalError
from ..journal import OrderRow
from .book import ZERO, Record
from .desk import Desk

UNANSWERED = frozenset({OrderState.INTENT, OrderState.SENT})


class Restorer:
    """Turns journal rows into records."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        #: Number of the change up to which everything was taken over; looking one order up does not count.
        self._last_change = 0

    def load_all(self) -> None:
        """Every order and execution of the journal. Raises JournalError."""
        journal, book = self._desk.journal, self._desk.book
        by_order: dict[str, list[Fill]] = {}
        for fill in journal.load_fills():
            book.fills[fill.base_id] = fill
            if fill.order_key:
                by_order.setdefault(fill.order_key, []).append(fill)
        for row in journal.load_orders():
            self._last_change = max(self._last_change, row.changed)
            self._add(row, by_order.get(row.intent.key, []))

    def load(self, key: str) -> Record | None:
        """An order of another process that shares the journal; None when there is none, or the journal fails."""
        journal, book = self._desk.journal, self._desk.book
        try:
            row = journal.load_order(key)
            if row is None:
                return None
            fills = journal.load_fills(key)
        except JournalError as failure:
            self._desk.note_journal_failure(failure)
            return None
        for fill in fills:
            book.fills.setdefault(fill.base_id, fill)
        return self._add(row, fills)

    def refresh(self) -> None:
        """Take over what other processes wrote since. Raises JournalError."""
        book = self._desk.book
        if self._desk.looked_until is not None:
            # Read before the orders: what is written in between is looked at again.
            self._desk.looked_until = self._desk.journal.last_event()
        for row in self._desk.journal.load_orders(self._last_change):
            self._last_change = max(self._last_change, row.changed)
            record = book.records.get(row.intent.key)
            if record is None:
                self.load(row.intent.key)
            elif row.client_id != self._desk.port.client_id and not record.order.state.is_terminal:
                filled = max(self._filled(row.intent.key), record.order.filled)
                record.order = replace(
                    record.order, state=row.state, intent=row.intent, reason=row.reason, filled=filled
                )
                if row.state.is_terminal:
                    record.lives = dict.fromkeys(record.lives, False)
                book.refresh(record)

    def _filled(self, key: str) -> Decimal:
        """What the journal's executions of an order add up to; they are booked from here on."""
        fills = self._desk.journal.load_fills(key)
        for fill in fills:
            self._desk.book.fills.setdefault(fill.base_id, fill)
        return sum((fill.quantity for fill in fills), ZERO)

    def _add(self, row: OrderRow, fills: Sequence[Fill]) -> Record:
        filled = sum((fill.quantity for fill in fills), ZERO)
        cost = sum((fill.quantity * fill.price for fill in fills), ZERO)
        fees = [fill.commission for fill in fills if fill.commission is not None]
        order = Order(
            row.intent,
            row.state,
            filled=filled,
            average_price=cost / filled if filled else None,
            commission=sum(fees, ZERO) if fees else None,
            order_id=row.order_id,
            perm_id=next(iter(_lives(row.perm_ids)), None),
            client_id=row.client_id,
            parent_key=row.parent_key,
            leg=row.leg,
            reason=row.reason,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        record = Record(
            order, row.request or row.intent, row.intent.account or row.account, pending=row.pending, cost=cost
        )
        ended = row.state.is_terminal
        record.names = set(row.perm_ids)
        record.lives = dict.fromkeys(_lives(row.perm_ids), not ended)
        record.door = row.door
        record.acknowledged = record.echo_checked = bool(row.perm_ids)
        record.cancel_asked = row.cancel_asked
        record.cancel_kept = row.cancel_asked and not ended
        record.told_filled = filled
        record.first_fill_due = False
        self._desk.book.add(record)
        if row.state in UNANSWERED and not self._is_elsewhere(row.client_id):
            self._desk.life.apply(record, OrderSignal.LINK_LOST, "left unanswered by an earlier process")
        if not ended and row.pending is None and ZERO < order.intent.quantity <= filled:
            # the executions were written, by another process perhaps, and what they made of the order was not
            self._desk.life.apply(record, OrderSignal.FILL)
        return record

    def _is_elsewhere(self, client_id: int | None) -> bool:
        """Whether another living process sent it and still watches over it."""
        if client_id is None or client_id == self._desk.port.client_id:
            return False
        return self._desk.journal.is_client_alive(client_id)


def _lives(names: Sequence[int]) -> Sequence[int]:
    """The permIds under which an order lives: the door's that told last, all of them when that door told several."""
    if not names:
        return ()
    return [name for name in names if (name < 0) is (names[-1] < 0)]
