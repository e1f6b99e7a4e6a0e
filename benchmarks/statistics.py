"""The arithmetic of every row: percentiles of samples, ratios of paired rounds.

A round measures both sides within moments of each other, so its ratio is fair on a busy machine where absolute figures
are not. The ratio of a row is the median over its rounds; best and worst round tell how far to trust it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

__all__ = ["median", "paired_ratio", "percentile", "ratios", "spread"]


def percentile(samples: Iterable[float], percent: float) -> float:
    """The smallest sample that at least `percent` of 100 do not exceed. ValueError when there is none."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("no samples: nothing was measured")
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """`over` / `under`, round by round. ValueError when the rounds do not pair up."""
    return [one / other for one, other in zip(over, under, strict=True)]


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median(ratios(over, under))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest."""
    return min(values), max(values)
