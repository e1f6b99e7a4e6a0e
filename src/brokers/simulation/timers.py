"""Things to do at a market time: a queue that the gateway's clock empties between the exchange's own events."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from datetime import datetime
from itertools import count

log = logging.getLogger(__name__)

Action = Callable[[], None]


class Timer:
    """Handle of one planned action."""

    __slots__ = ("_action", "at")

    def __init__(self, at: datetime, action: Action) -> None:
        self.at = at
        self._action: Action | None = action

    def cancel(self) -> None:
        self._action = None

    @property
    def cancelled(self) -> bool:
        return self._action is None

    def run(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


class MarketTimers:
    """Same moments run in the order in which they were planned. Times are aware, market time."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Timer]] = []
        self._number = count()
        #: Actions that failed; each was logged, and the others ran.
        self.failures = 0

    def at(self, moment: datetime, action: Action) -> Timer:
        timer = Timer(moment, action)
        heapq.heappush(self._heap, (moment, next(self._number), timer))
        return timer

    def next_time(self) -> datetime | None:
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_until(self, moment: datetime) -> int:
        """Runs what is due at `moment` or before; returns how many actions that were."""
        done = 0
        while (due := self.next_time()) is not None and due <= moment:
            timer = heapq.heappop(self._heap)[2]
            try:
                timer.run()
            except Exception:  # the boundary of one planned action
                self.failures += 1
                log.exception("what was planned for %s failed", timer.at)
            done += 1
        return done
