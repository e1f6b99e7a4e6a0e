"""Events per second over a sliding window, from totals that are kept about once a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from ..domain.streams import Rate

#: Seconds that a rate is taken over, and between two totals that are kept.
WINDOW, APART = 10.0, 1.0


class RateMeter:
    """Counting is adding to `totals`, and nothing else. `look(now)` keeps the totals of that moment, monotonic seconds;
    whoever counts calls it; before `next_look` it has nothing to do."""

    def __init__(self, kinds: Iterable[str], window: float = WINDOW) -> None:
        self.window = window
        #: Kind -> events ever.
        self.totals: dict[str, int] = dict.fromkeys(kinds, 0)
        self.next_look = 0.0
        self._kept: deque[tuple[float, dict[str, int]]] = deque(maxlen=int(window / APART) + 2)

    def look(self, now: float) -> None:
        if now >= self.next_look or not self._kept:
            self._kept.append((now, dict(self.totals)))
            self.next_look = now + APART

    def report(self, now: float) -> Mapping[str, Rate]:
        """Over the window; over longer where nobody looked meanwhile, and over shorter before there is as much."""
        self.look(now)
        since, before = self._kept[0]
        for moment, totals in self._kept:
            if moment <= now - self.window:
                since, before = moment, totals
        span = now - since
        return {
            kind: Rate(total, (total - before[kind]) / span if span > 0 else 0.0) for kind, total in self.totals.items()
        }
