"""Conflation: lines whose quotes are held back until enough time has passed since the one before."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Protocol

from ..domain.instrument import Instrument
from ..domain.market_data import Quote

#: Times in the length of a conflation at which lines are let go, together: else each would wake its consumer.
SLOTS = 8
#: Of a slot: what a time of the loop may be off by.
_ROUNDING = 1e-6


class Line(Protocol):
    """What a quote waits as: read when the consumer takes it. `last_update` is the loop's time of the last change."""

    @property
    def instrument(self) -> Instrument: ...

    @property
    def last_update(self) -> float | None: ...

    def quote(self) -> Quote: ...


class HeldLines:
    """Lines by contract number, each let go `conflation` seconds after the last quote of its contract was taken, and an
    eighth of that later at most. `let_go` is given those of one moment, in the order in which they came."""

    def __init__(self, conflation: float, let_go: Callable[[Iterable[Line]], None]) -> None:
        self._conflation = conflation
        self._slot = conflation / SLOTS
        self._let_go = let_go
        self._lines: dict[int, Line] = {}
        #: Slot of the loop's time -> the numbers that are let go at its end, and its timer.
        self._slots: dict[int, tuple[list[int], asyncio.TimerHandle]] = {}
        self._taken_at: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def note_taken(self, number: int) -> None:
        """A quote of this contract is delivered now."""
        self._taken_at[number] = asyncio.get_running_loop().time()

    def hold(self, number: int, line: Line) -> bool:
        """Hold the line of a contract that has none here; False where it need not wait."""
        loop = asyncio.get_running_loop()
        due = self._taken_at.get(number, 0.0) + self._conflation
        if due <= loop.time():
            return False
        slot = math.ceil(due / self._slot - _ROUNDING)
        held = self._slots.get(slot)
        if held is None:
            held = self._slots[slot] = [], loop.call_at(slot * self._slot, self._release, slot)
        held[0].append(number)
        self._lines[number] = line
        return True

    def replace(self, number: int, line: Line) -> bool:
        """Another line of a contract takes the place of the one held; False where none is."""
        if number not in self._lines:
            return False
        self._lines[number] = line
        return True

    def release_all(self) -> None:
        for slot in sorted(self._slots):
            self._release(slot)

    def _release(self, slot: int) -> None:
        numbers, timer = self._slots.pop(slot)
        timer.cancel()
        self._let_go([self._lines.pop(number) for number in numbers])
