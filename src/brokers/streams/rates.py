"""Events per second over a sliding window, from counters of whole seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..domain.streams import Rate

#: Whole seconds that a rate is taken over.
WINDOW = 10


class RateMeter:
    """Counts by kind. Times are monotonic seconds, and never go back."""

    def __init__(self, kinds: Iterable[str], window: int = WINDOW) -> None:
        self.window = window
        self._totals: dict[str, int] = dict.fromkeys(kinds, 0)
        self._seconds: dict[str, list[int]] = {kind: [0] * window for kind in self._totals}
        self._second = 0
        self._began: float | None = None

    def add(self, kind: str, number: int, now: float) -> None:
        second = int(now)
        if second != self._second:
            self._roll(second, now)
        self._totals[kind] += number
        self._seconds[kind][second % self.window] += number

    def _roll(self, second: int, now: float) -> None:
        """Empty the counters of the seconds that passed, at most all of them."""
        if self._began is None:
            self._began, self._second = now, second
            return
        for passed in range(max(self._second + 1, second - self.window + 1), second + 1):
            for counters in self._seconds.values():
                counters[passed % self.window] = 0
        self._second = max(self._second, second)

    def report(self, now: float) -> Mapping[str, Rate]:
        """Over the whole window, or over the time since the first event while that is shorter (a second at least)."""
        if self._began is None:
            return {kind: Rate(0, 0.0) for kind in self._totals}
        self._roll(int(now), now)
        # the present second has only begun
        span = max(1.0, min(self.window - 1 + now % 1.0, now - self._began))
        return {kind: Rate(total, sum(self._seconds[kind]) / span) for kind, total in self._totals.items()}
