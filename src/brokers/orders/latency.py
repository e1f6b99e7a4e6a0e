"""How long each stage of an order took."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from enum import StrEnum

#: Samples kept per stage: the latest ones.
KEPT = 10_000


class Stage(StrEnum):
    GATE = "gate"  #: the risk rules, in process
    JOURNAL = "journal"  #: writing the intent, the disk's sync left out
    JOURNAL_SYNC = "journal_sync"  #: the commit with its sync to the disk
    PLACE_TO_SENT = "place_to_sent"
    PLACE_TO_ACK = "place_to_ack"
    PLACE_TO_FILL = "place_to_fill"
    CANCEL_TO_SENT = "cancel_to_sent"


class LatencyRecorder:
    """The latest samples of every stage, in seconds."""

    def __init__(self) -> None:
        self._samples: dict[Stage, deque[float]] = {stage: deque(maxlen=KEPT) for stage in Stage}
        self._counts: dict[Stage, int] = dict.fromkeys(Stage, 0)

    def add(self, stage: Stage, seconds: float) -> None:
        self._samples[stage].append(seconds)
        self._counts[stage] += 1

    def samples(self, stage: Stage) -> tuple[float, ...]:
        """The latest samples, oldest first, in seconds."""
        return tuple(self._samples[stage])

    def report(self) -> dict[str, dict[str, float]]:
        """Stage -> {count, p50, p95, p99, max}, milliseconds over the latest samples; stages without any left out."""
        return {
            stage.value: distribution(samples, self._counts[stage])
            for stage, samples in self._samples.items()
            if samples
        }


def distribution(samples: Collection[float], count: int) -> dict[str, float]:
    """{count, p50, p95, p99, max} of at least one duration in seconds, as milliseconds; `count` ever taken."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    row: dict[str, float] = {"count": count}
    for name, quantile in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        row[name] = ordered[round(last * quantile)] * 1000
    return row
