"""Things to do after so many seconds of monotonic time: a queue that the server empties, or a test by hand."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from itertools import count

log = logging.getLogger(__name__)


class Alarm:
    """Handle of one planned action."""

    __slots__ = ("_action", "at")

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self._action = None

    @property
    def cancelled(self) -> bool:
        return self._action is None

    def ring(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


class Alarms:
    """Equal moments ring in the order in which they were set. Times are seconds of the injected monotonic clock.

    `on_earlier` is called when an alarm is set that rings before all others. `failures` counts actions that failed.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._heap: list[tuple[float, int, Alarm]] = []
        self._number = count()
        self.failures = 0
        self.on_earlier: Callable[[], None] = lambda: None

    def after(self, seconds: float, action: Callable[[], None]) -> Alarm:
        alarm = Alarm(self._monotonic() + seconds, action)
        before = self.next_time()
        heapq.heappush(self._heap, (alarm.at, next(self._number), alarm))
        if before is None or alarm.at < before:
            self.on_earlier()
        return alarm

    def next_time(self) -> float | None:
        """When the next one rings; None when none is set."""
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> int:
        """Rings what is due now; returns how many that were."""
        done, now = 0, self._monotonic()
        while (due := self.next_time()) is not None and due <= now:
            alarm = heapq.heappop(self._heap)[2]
            try:
                alarm.ring()
            except Exception:  # the boundary of one planned action
                self.failures += 1
                log.exception("what was planned for %.3f s failed", alarm.at)
            done += 1
        return done

    def clear(self) -> None:
        self._heap.clear()
