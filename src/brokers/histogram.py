"""How durations are spread, in memory of fixed size: buckets whose bounds grow by about three percent."""

from __future__ import annotations

from array import array

#: Each power of two is cut into this many buckets, so that a value is told at most 1/32 too high.
_PARTS_BITS = 5
_PARTS = 1 << _PARTS_BITS
#: Nanoseconds with more bits than this (18 minutes) share the last bucket; `max` is exact all the same.
_MOST_BITS = 40
_BUCKETS = (_MOST_BITS - _PARTS_BITS + 1) << _PARTS_BITS


class Histogram:
    """Durations in seconds. Adding costs the same however many there are; the memory never grows (about 9 KB)."""

    __slots__ = ("_buckets", "count", "maximum", "total")

    def __init__(self) -> None:
        self._buckets = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        """A negative duration, of a clock that was set back, counts as 0."""
        nanoseconds = int(seconds * 1e9) if seconds > 0 else 0
        shift = nanoseconds.bit_length() - _PARTS_BITS - 1
        if shift > 0:
            place = (shift << _PARTS_BITS) + (nanoseconds >> shift)
            if place >= _BUCKETS:
                place = _BUCKETS - 1
        else:
            place = nanoseconds
        self._buckets[place] += 1
        self.count += 1
        self.total += seconds
        if seconds > self.maximum:
            self.maximum = seconds

    def quantile(self, share: float) -> float | None:
        """Seconds that `share` (0..1) of the durations do not exceed, at most 1/32 too high; None without any."""
        if not self.count:
            return None
        rank = max(1, round(share * self.count))
        seen = 0
        for place, held in enumerate(self._buckets):
            seen += held
            if seen >= rank:
                return min(_upper_bound(place) / 1e9, self.maximum)
        return self.maximum

    def report(self) -> dict[str, float]:
        """{count, p50, p95, p99, max} in milliseconds; empty without any duration."""
        if not self.count:
            return {}
        row: dict[str, float] = {"count": self.count}
        for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99)):
            row[name] = (self.quantile(share) or 0.0) * 1000
        return {**row, "max": self.maximum * 1000}


def _upper_bound(place: int) -> int:
    """The largest nanoseconds of a bucket."""
    if place < 2 * _PARTS:
        return place
    shift = (place >> _PARTS_BITS) - 1
    return ((place - (shift << _PARTS_BITS) + 1) << shift) - 1
