"""Positions as they are this moment: what the broker told, and the fills that it has not counted in yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import accumulate

from ..domain.account import Position
from ..domain.order import Fill, exec_base_id
from ..errors import BrokerError

logger = logging.getLogger(__name__)

_ZERO = Decimal(0)
#: Seconds (monotonic) within which a fill and the broker's own position message belong together.
BELONG_TOGETHER = 10.0
#: Seconds (monotonic) by which the broker's position has the fill; a later one leaves the position in doubt.
COUNTED_WITHIN = 2.0
#: Real seconds that an order waits for positions asked again.
REFRESH_DEADLINE = 1.0
Key = tuple[str, int]


@dataclass(slots=True)
class _Entry:
    #: The broker's position that the fills below come on top of, and the one it told last.
    base: Decimal = _ZERO
    told: Decimal = _ZERO
    #: (signed quantity, monotonic time) of each fill that the broker's position is not known to hold.
    fills: list[tuple[Decimal, float]] = field(default_factory=list)
    #: The told position is not the base and the first few fills: it is ahead of our own, or another client traded.
    unexplained: bool = False
    #: Fills were forgotten, and the broker has told no position since.
    lost: bool = False
    #: How many fills were heard of in all.
    heard: int = 0
    #: Monotonic time of the latest message of either kind.
    at: float = 0.0

    def total(self) -> Decimal:
        return sum((quantity for quantity, _ in self.fills), self.base)

    def pending(self) -> Decimal:
        """What the fills add to the told position: nothing while that is unexplained, for the broker's word wins."""
        return _ZERO if self.unexplained else self.total() - self.told

    def tell(self, quantity: Decimal) -> None:
        """Fills once counted stay counted: a told position that looks like fewer is another client's trade."""
        self.told, self.lost = quantity, False
        totals = accumulate((traded for traded, _ in self.fills), initial=self.base)
        # what was unexplained once is explained by all fills alone: half of them may fit by chance
        least = len(self.fills) if self.unexplained else 0
        counted = next((number for number, total in enumerate(totals) if number >= least and total == quantity), None)
        self.unexplained = counted is None
        if counted is not None:
            self.base = quantity
            del self.fills[:counted]

    def add(self, quantity: Decimal, now: float) -> None:
        self.heard += 1
        self.fills.append((quantity, now))
        if self.unexplained and self.total() == self.told:
            self.start_at(self.told)

    def start_at(self, quantity: Decimal) -> None:
        """`quantity` is the truth, with every fill so far in it."""
        self.base = self.told = quantity
        self.fills.clear()
        self.unexplained = self.lost = False

    def expire(self) -> None:
        lost = self.lost or self.pending() != 0
        self.start_at(self.told)
        self.lost = lost

    def in_doubt(self, now: float) -> bool:
        is_late = self.pending() != 0 and now - self.fills[0][1] > COUNTED_WITHIN
        return self.unexplained or self.lost or is_late


class PositionBook:
    """Joins two streams that tell the same thing in either order, and counts it once. Own executions count at once,
    those of other clients with the broker's position. The broker's word wins: what stays unexplained for ten seconds
    is forgotten, and an order in a contract whose position is in doubt asks for it again first (`refresh`)."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._entries: dict[Key, _Entry] = {}
        self._settled = False
        self._seen: dict[str, None] = {}

    def _entry(self, account: str, con_id: int) -> _Entry:
        entry = self._entries.setdefault((account, con_id), _Entry())
        now = self._monotonic()
        if now - entry.at > BELONG_TOGETHER:
            entry.expire()
        return entry

    def on_position(self, position: Position) -> None:
        """The broker's position of one contract."""
        entry = self._entry(position.account, position.instrument.con_id or 0)
        entry.at = self._monotonic()
        if self._settled:
            entry.tell(position.quantity)
        else:
            entry.start_at(position.quantity)

    def on_fill(self, fill: Fill) -> None:
        """One live execution; a repeat or a correction of one that was seen is left to the broker's own word."""
        base = exec_base_id(fill.exec_id)
        if base in self._seen:
            return
        self._seen[base] = None
        if len(self._seen) > 10_000:
            del self._seen[next(iter(self._seen))]
        entry = self._entry(fill.account, fill.instrument.con_id or 0)
        entry.at = self._monotonic()
        entry.add(fill.quantity * fill.side.sign, entry.at)

    def in_doubt(self, account: str, con_id: int) -> bool:
        """Whether the position may be another than `current` says: our fills do not explain the broker's, or it has
        not counted one of them within two seconds."""
        return (account, con_id) in self._entries and self._entry(account, con_id).in_doubt(self._monotonic())

    async def refresh(self, account: str, con_id: int, ask: Callable[[], Awaitable[Sequence[Position]]]) -> None:
        """Read a position that is in doubt anew; `ask` is one question to the broker. Without an answer within a
        second the broker's last word stands, and the position stays in doubt."""
        try:
            async with asyncio.timeout(REFRESH_DEADLINE):
                while self.in_doubt(account, con_id):
                    entry = self._entries[account, con_id]
                    heard = entry.heard
                    rows = [row for row in await ask() if (row.account, row.instrument.con_id) == (account, con_id)]
                    # a fill that came meanwhile may be in the answer or not; a lost link has begun a new book
                    if entry.heard == heard and self._entries.get((account, con_id)) is entry:
                        entry.start_at(sum((row.quantity for row in rows), _ZERO))
        except (TimeoutError, BrokerError) as error:
            logger.warning("the position of contract %s in %s stays in doubt: %r", con_id, account, error)

    def pending(self, account: str, con_id: int) -> Decimal:
        """Signed quantity of fills that the broker's position does not hold yet."""
        if (account, con_id) not in self._entries:
            return _ZERO
        return self._entry(account, con_id).pending()

    def forget(self) -> None:
        """The link was lost: what is pending will be in the next full list."""
        self._entries.clear()
        self._settled = False

    def settle(self) -> None:
        """The full list is there: from now on a change that no fill explains is one whose fill is still to come."""
        self._settled = True

    def current(self, positions: list[Position], new: Callable[[str, int], Position | None]) -> list[Position]:
        """`positions` with the pending fills counted in; `new(account, con_id)` makes one that the broker has not
        told at all yet (quantity 0), None when its contract is not known."""
        found, keys = [], set()
        for position in positions:
            number = position.instrument.con_id or 0
            keys.add((position.account, number))
            pending = self.pending(position.account, number)
            found.append(replace(position, quantity=position.quantity + pending) if pending else position)
        for account, number in list(self._entries):
            pending = self.pending(account, number) if (account, number) not in keys else _ZERO
            fresh = new(account, number) if pending else None
            if fresh is not None:
                found.append(replace(fresh, quantity=pending))
        return [position for position in found if position.quantity]
