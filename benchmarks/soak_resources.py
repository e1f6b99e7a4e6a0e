"""Memory, tasks and descriptors of the soak's own process, sampled while it runs, and whether they stayed flat."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from .memory import resident_bytes

#: Share of the time that is warm-up, and the longest that warm-up takes.
WARM_UP, LONGEST_WARM_UP = 0.25, 600.0
#: MB that the fitted line may rise in an hour, and beside that whatever the time: what the allocator keeps.
MB_AN_HOUR, MB_ALWAYS = 24.0, 6.0
#: Seconds of a warmed-up run below which a slope says nothing.
SHORTEST_SPAN = 30.0
TOP = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """`at` seconds since the start. `descriptors` None where the system does not tell."""

    at: float
    rss: int
    tasks: int
    descriptors: int | None
    #: Seconds that the event loop came too late to this sample.
    late: float


def descriptors() -> int | None:
    """Open file descriptors of this process; None where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        if Path(folder).is_dir():
            return len(os.listdir(folder))
    return None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much y rises for each x. ValueError with fewer than two different x."""
    middle_x, middle_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("a slope needs two points")
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread


@dataclass(slots=True)
class Resources:
    """Samples of a run that is to last `seconds`."""

    seconds: float
    samples: list[Sample] = field(default_factory=list)

    async def watch(self, every: float = 1.0) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        due = started
        while True:
            now = loop.time()
            self.samples.append(
                Sample(now - started, resident_bytes(), len(asyncio.all_tasks()), descriptors(), max(0.0, now - due))
            )
            due = now + every
            await asyncio.sleep(every)

    @property
    def warm(self) -> list[Sample]:
        """Samples after warm-up."""
        begins = min(self.seconds * WARM_UP, LONGEST_WARM_UP)
        return [sample for sample in self.samples if sample.at >= begins]

    def growth(self) -> tuple[float, float, float]:
        """(MB that the fitted line rises over the warmed-up time, MB allowed, seconds). ValueError when that time is
        too short for a slope."""
        warm = self.warm
        span = warm[-1].at - warm[0].at if warm else 0.0
        if span < SHORTEST_SPAN:
            raise ValueError(f"{span:.0f} s after warm-up are too few for a slope")
        risen = slope([(sample.at, sample.rss / 1e6) for sample in warm]) * span
        return risen, MB_ALWAYS + MB_AN_HOUR * span / 3600, span

    def more(self, of: str) -> float | None:
        """How many more `tasks` or `descriptors` the last quarter of the warmed-up time had than the first (medians);
        None where there are too few samples or the system does not tell."""
        values = [value for sample in self.warm if (value := getattr(sample, of)) is not None]
        quarter = len(values) // 4
        return median(values[-quarter:]) - median(values[:quarter]) if quarter >= 3 else None


async def growing(go_on: Callable[[], Awaitable[None]]) -> list[str]:
    """Where memory grows: the lines that hold more of it after `go_on` than before, most first."""
    tracemalloc.start(12)
    try:
        gc.collect()
        before = tracemalloc.take_snapshot()
        await go_on()
        gc.collect()
        found = tracemalloc.take_snapshot().compare_to(before, "lineno")
        return [str(row) for row in found[:TOP]]
    finally:
        tracemalloc.stop()
