"""What a benchmark answers: rows of the table, each with the design's aim beside it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .statistics import median, paired_ratio, ratios, spread

_COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Aim:
    """What design.md wants: `of` ("ratio" or "ours") against a limit; `text` is how the table prints it."""

    of: str
    sign: str
    limit: float
    text: str

    def met(self, ratio: float | None, ours: float) -> bool | None:
        value = ratio if self.of == "ratio" else ours
        return None if value is None else _COMPARE[self.sign](value, self.limit)


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `raw` and `ours` in `unit`; `ratio` in the direction that `ratio_means` says; None where there is no
    other side. `extra` holds whatever else was measured, numbers by name."""

    bench: str
    name: str
    unit: str
    ours: float
    raw: float | None = None
    ratio: float | None = None
    ratio_means: str = ""
    worst: float | None = None
    best: float | None = None
    aim: Aim | None = None
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        return None if self.aim is None else self.aim.met(self.ratio, self.ours)

    def as_data(self) -> dict[str, Any]:
        data = asdict(self)
        data["aim"] = self.aim.text if self.aim else None
        data["met"] = self.met
        return data


def faster(
    bench: str,
    name: str,
    unit: str,
    raw: Sequence[float],
    ours: Sequence[float],
    aim: Aim | None = None,
    **extra: float,
) -> Row:
    """A row of rates, one per round: more is better, the ratio is ours / raw."""
    worst, best = spread(ratios(ours, raw))
    ratio = paired_ratio(ours, raw)
    return Row(bench, name, unit, median(ours), median(raw), ratio, "ours / raw", worst, best, aim, extra)


def shorter(
    bench: str,
    name: str,
    unit: str,
    raw: Sequence[float],
    ours: Sequence[float],
    aim: Aim | None = None,
    **extra: float,
) -> Row:
    """A row of durations or sizes, one per round: less is better, the ratio is ours / raw."""
    best, worst = spread(ratios(ours, raw))
    ratio = paired_ratio(ours, raw)
    return Row(bench, name, unit, median(ours), median(raw), ratio, "ours / raw", worst, best, aim, extra)
