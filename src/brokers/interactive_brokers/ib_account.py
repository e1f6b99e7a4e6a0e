"""Positions as they are this moment: what the broker told, and the fills that it has not counted in yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ..domain.account import Position
from ..domain.order import Fill, exec_base_id

_ZERO = Decimal(0)
#: Seconds (monotonic) within which a fill and the broker's own position message belong together.
BELONG_TOGETHER = 10.0
Key = tuple[str, int]


@dataclass(slots=True)
class _Entry:
    told: Decimal = _ZERO
    #: Fills not yet seen in a position message: execution, signed quantity, when.
    pending: list[tuple[str, Decimal, float]] = field(default_factory=list)
    #: A change that the broker told before its fill arrived, and when.
    ahead: Decimal = _ZERO
    ahead_at: float = 0.0


class PositionBook:
    """Joins two streams that tell the same thing in either order, and counts it once. The broker's word wins: what
    stays unexplained for ten seconds is forgotten."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._entries: dict[Key, _Entry] = {}
        self._settled = False
        self._seen: dict[str, None] = {}

    def on_position(self, position: Position) -> None:
        """The broker's position of one contract."""
        entry = self._entries.setdefault((position.account, position.instrument.con_id or 0), _Entry())
        change = position.quantity - entry.told
        entry.told = position.quantity
        if not self._settled:
            return
        counted = _ZERO
        for place, (_, quantity, _) in enumerate(entry.pending, 1):
            counted += quantity
            if counted == change:
                del entry.pending[:place]
                return
        if change:
            entry.ahead, entry.ahead_at = entry.ahead + change, self._monotonic()

    def on_fill(self, fill: Fill) -> None:
        """One live execution; a repeat or a correction of one that was seen is left to the broker's own word."""
        base = exec_base_id(fill.exec_id)
        if base in self._seen:
            return
        self._seen[base] = None
        if len(self._seen) > 10_000:
            del self._seen[next(iter(self._seen))]
        entry = self._entries.setdefault((fill.account, fill.instrument.con_id or 0), _Entry())
        quantity = fill.quantity * fill.side.sign
        now = self._monotonic()
        is_recent = now - entry.ahead_at <= BELONG_TOGETHER
        if is_recent and entry.ahead * quantity > 0 and abs(entry.ahead) >= abs(quantity):
            entry.ahead -= quantity
            return
        entry.pending.append((base, quantity, now))

    def pending(self, account: str, con_id: int) -> Decimal:
        """Signed quantity of fills that the broker's position does not hold yet."""
        entry = self._entries.get((account, con_id))
        if entry is None or not entry.pending:
            return _ZERO
        oldest = self._monotonic() - BELONG_TOGETHER
        entry.pending = [row for row in entry.pending if row[2] >= oldest]
        return sum((quantity for _, quantity, _ in entry.pending), _ZERO)

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
