"""Which part of the account's positions this journal opened, and what it did not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from ..base_broker import PositionDifference
from ..domain.account import Position
from ..domain.instrument import Instrument
from ..domain.reports import OrderEventKind
from ..journal import ForeignPosition, Journal, instrument_key
from .book import ZERO
from .lifecycle import Lifecycle


def usable(owned: Decimal, foreign: Decimal) -> Decimal:
    """What may be sold (or bought back) of an owned position beside a foreign one of the other sign.

    100 owned with -40 moved by somebody else leave 60 in the account; with -150 they leave none of ours.
    """
    if owned * foreign >= 0:
        return owned
    left = owned + foreign
    return left if left * owned > 0 else ZERO


class Ownership:
    """Positions by account and contract: owned by booked fills and adoptions, foreign as last compared."""

    def __init__(self, journal: Journal, life: Lifecycle) -> None:
        self._journal = journal
        self._life = life
        self._foreign: dict[tuple[str, str], ForeignPosition] = {}

    def load(self) -> None:
        self._foreign = self._journal.foreign_positions()

    def tracked(self, account: str, instrument: Instrument) -> Decimal:
        """Signed quantity that this journal's fills and adoptions add up to, those not yet written included."""
        written = self._journal.holding(account, instrument)
        unwritten = self._life.writer.unwritten
        return written + unwritten.get((account, instrument_key(instrument)), ZERO) if unwritten else written

    def owned(self, account: str, instrument: Instrument) -> Decimal:
        """Signed quantity that may be reduced: `tracked`, less what somebody else took away from it."""
        return usable(self.tracked(account, instrument), self.foreign(account, instrument))

    def foreign(self, account: str, instrument: Instrument) -> Decimal:
        row = self._foreign.get((account, instrument_key(instrument)))
        return row.quantity if row is not None else ZERO

    def differences(self, positions: Iterable[Position]) -> list[PositionDifference]:
        """Where the broker's positions are not what this journal and the last comparison add up to.

        `positions` must be complete for the accounts it names: what it lacks there counts as flat.
        """
        self._life.writer.flush()
        held = {(row.account, instrument_key(row.instrument)): row for row in positions}
        accounts = {account for account, _ in held}
        holdings = self._journal.holdings()
        known = set(held) | {where for where in (*holdings, *self._foreign) if where[0] in accounts or not held}
        found = []
        for where in sorted(known):
            broker = held[where].quantity if where in held else ZERO
            tracked, foreign = holdings.get(where, ZERO), self._foreign_at(where)
            if broker != tracked + foreign:
                instrument = held[where].instrument if where in held else self._instrument(where)
                found.append(PositionDifference(where[0], instrument, tracked, broker, foreign))
        return found

    def _foreign_at(self, where: tuple[str, str]) -> Decimal:
        row = self._foreign.get(where)
        return row.quantity if row is not None else ZERO

    def _instrument(self, where: tuple[str, str]) -> Instrument:
        row = self._foreign.get(where)
        if row is not None:
            return row.instrument
        for fill in self._life.book.fills.values():
            if (fill.account, instrument_key(fill.instrument)) == where:
                return fill.instrument
        symbol, _sec_type, currency = where[1].split("|")[:3]
        return Instrument(symbol, currency=currency)

    def settle(self, positions: list[Position], since: float) -> list[PositionDifference]:
        """Take the broker's positions as the truth: what is neither ours nor known is foreign from here on.

        Contracts with an execution after monotonic `since` are left for the next comparison: the two messages race.
        While an order in the contract is UNKNOWN its difference is answered but not settled, as it may be that fill;
        unless booked fills explain the whole position: then nothing of it is foreign.
        The first comparison of an account is silent; later changes emit a POSITION event each (fault O40).
        """
        first = not self._foreign
        moved: list[PositionDifference] = []
        doubtful: list[PositionDifference] = []
        for row in self.differences(positions):
            if self._life.traded_at.get(instrument_key(row.instrument), -math.inf) >= since:
                continue
            in_doubt = row.broker != row.tracked and self._life.book.unknown_in(row.instrument) is not None
            (doubtful if in_doubt else moved).append(row)
        return doubtful + self._move(moved, positions, first)

    def _move(
        self, moved: list[PositionDifference], positions: list[Position], first: bool
    ) -> list[PositionDifference]:
        if not moved:
            return []
        rows = [ForeignPosition(row.account, row.instrument, row.broker - row.tracked) for row in moved]
        self._journal.set_foreign_positions(rows)
        for foreign in rows:
            self._foreign[foreign.account, instrument_key(foreign.instrument)] = foreign
        told = [row for row in moved if not first or row.tracked != 0]
        held = {(row.account, instrument_key(row.instrument)): row for row in positions}
        for row in told:
            position = held.get((row.account, instrument_key(row.instrument))) or Position(
                row.account, row.instrument, ZERO, ZERO
            )
            text = f"{row.instrument} in {row.account} is {row.broker}; {row.tracked} of it is this journal's"
            self._life.emit(OrderEventKind.POSITION, position=position, text=text)
        return told

    def forget_foreign(self, account: str, instrument: Instrument) -> None:
        """The foreign part was adopted."""
        where = (account, instrument_key(instrument))
        if where in self._foreign:
            self._foreign[where] = ForeignPosition(account, instrument, ZERO)
