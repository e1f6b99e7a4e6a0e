"""A breaker: a host that keeps failing is left alone for a while, then tried with one question."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

#: Failures in a row that open it.
THRESHOLD = 3
#: Seconds that it stays open the first time; each failed try doubles them, up to the longest.
FIRST_REST, LONGEST_REST = 5.0, 120.0


class BreakerState(StrEnum):
    CLOSED = "closed"  #: questions pass
    OPEN = "open"  #: none does
    HALF_OPEN = "half_open"  #: one may pass, and its fate decides


class Breaker:
    """`clock` is monotonic seconds. Not for several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._rest = FIRST_REST
        self._opened: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        if self._opened is None:
            return BreakerState.CLOSED
        rested = self._clock() - self._opened >= self._rest
        return BreakerState.HALF_OPEN if rested else BreakerState.OPEN

    @property
    def passes(self) -> bool:
        """Whether a question may go to the host now."""
        state = self.state
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self._probing)

    def begin(self) -> bool:
        """A question goes to the host now. Whether it is the try that decides, which `end` is to be told."""
        probe = self._opened is not None
        self._probing = self._probing or probe
        return probe

    def end(self, good: bool | None, *, probe: bool) -> None:
        """How the question ended for the host; None for one that told nothing about it, such as a cancelled one."""
        if probe:
            self._probing = False
        if good:
            self._failures, self._rest, self._opened = 0, FIRST_REST, None
        elif good is False:
            self._failures += 1
            if probe:
                self._rest = min(self._rest * 2, LONGEST_REST)
                self._opened = self._clock()
            elif self._opened is None and self._failures >= THRESHOLD:
                self._opened = self._clock()
