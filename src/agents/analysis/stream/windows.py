"""Windows over event time whose cost per tick does not grow with their length. Times are microseconds since 1970."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class SlidingExtremes:
    """Lowest and highest price of the last `length` microseconds, the present one included: (now - length, now].

    Every price enters and leaves each side once, so a tick costs the same however long the window is. A side holds
    strictly rising or falling prices, so never more entries than there are price steps in the window's range.
    """

    __slots__ = ("_falling", "_length", "_rising")

    def __init__(self, length: int) -> None:
        self._length = length
        self._rising: deque[tuple[int, float]] = deque()
        self._falling: deque[tuple[int, float]] = deque()

    def add(self, at: int, price: float) -> tuple[float, float]:
        """(lowest, highest) with `price` at `at`; times may not go back."""
        rising, falling, edge = self._rising, self._falling, at - self._length
        while rising and rising[-1][1] >= price:
            rising.pop()
        rising.append((at, price))
        while falling and falling[-1][1] <= price:
            falling.pop()
        falling.append((at, price))
        while rising[0][0] <= edge:
            rising.popleft()
        while falling[0][0] <= edge:
            falling.popleft()
        return rising[0][1], falling[0][1]

    def clear(self) -> None:
        self._rising.clear()
        self._falling.clear()


class SlotMedian:
    """Median of what was in force at the end of each of the last `slots` closed slots of `width` microseconds.

    A slot without a tick keeps the value before it; one that ended with None counts for nothing. Sampling by time
    weighs a value by how long it stood, and bounds the work whatever the number of ticks.
    """

    __slots__ = ("_present", "_slot", "_slots", "_sorted", "_values", "_width")

    def __init__(self, width: int, slots: int) -> None:
        self._width, self._slots = width, slots
        self._values: deque[float | None] = deque()
        self._sorted: list[float] = []
        self._slot: int | None = None
        self._present: float | None = None

    def add(self, at: int, value: float | None) -> None:
        """`value` is in force from `at` on."""
        slot = at // self._width
        if self._slot is not None:
            for _ in range(min(slot - self._slot, self._slots)):
                self._close()
        self._slot, self._present = slot, value

    def _close(self) -> None:
        if len(self._values) == self._slots:
            oldest = self._values.popleft()
            if oldest is not None:
                del self._sorted[bisect_left(self._sorted, oldest)]
        self._values.append(self._present)
        if self._present is not None:
            insort(self._sorted, self._present)

    @property
    def filled(self) -> int:
        """Closed slots with a value."""
        return len(self._sorted)

    def median(self) -> float | None:
        """None while no closed slot has a value."""
        values = self._sorted
        if not values:
            return None
        middle = len(values) // 2
        return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2

    def clear(self) -> None:
        self._values.clear()
        self._sorted.clear()
        self._slot = self._present = None


class SessionRange:
    """Highest and lowest print of a session so far.

    A range followed from the open takes prints alone. One that begins later (`from_open` False: a late start, or a gap)
    also takes the source's own high and low for `settle` microseconds; without them `whole` stays False, since nobody
    knows what the missed part reached.
    """

    __slots__ = ("_from_open", "_settle", "_settled_at", "_told", "high", "low")

    def __init__(self, settle: int) -> None:
        self._settle = settle
        self.restart()

    def restart(self) -> None:
        self.high: float | None = None
        self.low: float | None = None
        self._from_open = self._told = False
        self._settled_at: int | None = None

    def broken(self) -> None:
        """Something may have been missed; what is known stays, and has to be settled anew."""
        self._from_open = self._told = False
        self._settled_at = None

    def begin(self, at: int, *, from_open: bool) -> None:
        """Once before the first tick after `restart` or `broken`."""
        self._from_open, self._settled_at = from_open, at + self._settle

    @property
    def begun(self) -> bool:
        return self._settled_at is not None

    def whole(self, at: int) -> bool:
        """Whether the range is the session's whole one at `at`."""
        return self._from_open or (self._told and self._settled_at is not None and at >= self._settled_at)

    def add(self, at: int, price: float | None, told_high: float | None, told_low: float | None) -> None:
        if not self._from_open and self._settled_at is not None and at < self._settled_at:
            self._told = self._told or (told_high is not None and told_low is not None)
            for told in (told_high, told_low):
                if told is not None and told > 0:
                    self._stretch(told)
        if price is not None:
            self._stretch(price)

    def _stretch(self, price: float) -> None:
        if self.high is None or price > self.high:
            self.high = price
        if self.low is None or price < self.low:
            self.low = price
