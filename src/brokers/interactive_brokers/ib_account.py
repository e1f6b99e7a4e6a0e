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
    #: The broker's position that the fills below come on top of, and the one it told last.
    base: Decimal = _ZERO
    told: Decimal = _ZERO
    fills: list[Decimal] = field(default_factory=list)
    #: Monotonic time of the latest message of either kind.
    at: float = 0.0

    def pending(self) -> Decimal:
        """What the fills add to the told position: nothing when it is not the sum of the first few of them, for then
        the broker is ahead of its own fills, or something else moved the position."""
        total = self.base
        counted = total == self.told
        for quantity in self.fills:
            total += quantity
            counted = counted or total == self.told
        return total - self.told if counted else _ZERO


class PositionBook:
    """Joins two streams that tell the same thing in either order, and counts it once. The broker's word wins: what
    stays unexplained for ten seconds is forgotten."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._entries: dict[Key, _Entry] = {}
        self._settled = False
        self._seen: dict[str, None] = {}

    def _entry(self, account: str, con_id: int) -> _Entry:
        entry = self._entries.setdefault((account, con_id), _Entry())
        now = self._monotonic()
        if now - entry.at > BELONG_TOGETHER:
            entry.base = entry.told
            entry.fills.clear()
        return entry

    def on_position(self, position: Position) -> None:
        """The broker's position of one contract."""
        entry = self._entry(position.account, position.instrument.con_id or 0)
        entry.told, entry.at = position.quantity, self._monotonic()
        if not self._settled:
            entry.base = position.quantity
            entry.fills.clear()

    def on_fill(self, fill: Fill) -> None:
        """One live execution; a repeat or a correction of one that was seen is left to the broker's own word."""
        base = exec_base_id(fill.exec_id)
        if base in self._seen:
            return
        self._seen[base] = None
        if len(self._seen) > 10_000:
            del self._seen[next(iter(self._seen))]
        entry = self._entry(fill.account, fill.instrument.con_id or 0)
        entry.fills.append(fill.quantity * fill.side.sign)
        entry.at = self._monotonic()

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
