"""Taking over what this journal did not open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from ..domain.account import Position
from ..domain.instrument import Instrument
from ..domain.order import Order
from ..domain.order_states import OrderSignal, OrderState
from ..journal import ForeignPosition, IntentRow, OrderRow, instrument_key
from .book import Record
from .desk import Desk
from .ownership import Ownership


class Adoption:
    """A person's decision that a contract's FOREIGN orders and position belong to this journal from now on."""

    def __init__(self, desk: Desk, ownership: Ownership) -> None:
        self._desk = desk
        self._ownership = ownership

    def adopt(self, instrument: Instrument, positions: Sequence[Position]) -> list[Order]:
        """Durable in one transaction per account. Raises JournalError, and nothing is adopted then."""
        life, journal = self._desk.life, self._desk.journal
        life.writer.flush()
        adopted = [record for record in self._in_contract(instrument) if record.order.foreign]
        rows = [self._rows(record) for record in adopted]
        parts: list[ForeignPosition | None] = [*self._foreign_parts(instrument, positions)]
        for part in parts or [None]:
            journal.adopt(part, rows, self._desk.port.name)
            rows = []
            if part is not None:
                self._ownership.forget_foreign(part.account, part.instrument)
        for record in adopted:
            record.order = replace(record.order, foreign=False)
        self._close_missing(instrument)
        return [record.order for record in adopted]

    @staticmethod
    def _rows(record: Record) -> tuple[IntentRow, OrderRow]:
        return IntentRow(record.order.intent, record.account, record.key), record.row()

    def _in_contract(self, instrument: Instrument) -> list[Record]:
        key = instrument_key(instrument)
        return [record for record in self._desk.book.open.values() if instrument_key(record.order.instrument) == key]

    def _foreign_parts(self, instrument: Instrument, positions: Sequence[Position]) -> list[ForeignPosition]:
        """What the account holds of the contract beside the tracked position, where the broker shows none too."""
        key = instrument_key(instrument)
        held = {row.account: row.quantity for row in positions if instrument_key(row.instrument) == key}
        for account, where in self._desk.journal.holdings():
            if where == key:
                held.setdefault(account, Decimal(0))
        rests = {account: held[account] - self._ownership.tracked(account, instrument) for account in held}
        return [ForeignPosition(account, instrument, rest) for account, rest in rests.items() if rest]

    def _close_missing(self, instrument: Instrument) -> None:
        """An own order that is UNKNOWN and gone from the broker's books: the position was accepted as it is."""
        for record in self._in_contract(instrument):
            if record.order.state is OrderState.UNKNOWN and record.absent_since is not None:
                record.lives = dict.fromkeys(record.lives, False)
                reason = "settled by adopting the position as it is"
                self._desk.life.end_life(record, None, OrderSignal.CANCEL, reason)
