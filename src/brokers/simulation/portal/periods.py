"""Periods and bar sizes of charts: IB's words, their limits, and which bars a period may have.

Source: client-portal.md section 2.2. Words are lower case. IB does not refuse others: a period that it cannot read is
served as one week and a bar that it cannot read as the period's usual one, and only the answer's `timePeriod` and
`barLength` tell. Bars finer or coarser than the period's step sizes are served at the nearest allowed one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...domain.market_data import BarSize
from .request import PortalRefusal

MOST_POINTS = 1000
#: Unit -> the largest number of it, and the unit of `bar_spans` with how many of those make one.
PERIOD_UNITS: dict[str, tuple[int, str, int]] = {
    "min": (30, "S", 60),
    "h": (8, "S", 3_600),
    "d": (1_000, "D", 1),
    "w": (792, "W", 1),
    "m": (182, "M", 1),
    "y": (15, "Y", 1),
}
BARS: dict[str, BarSize] = {
    "1min": BarSize.M1,
    "2min": BarSize.M2,
    "3min": BarSize.M3,
    "5min": BarSize.M5,
    "10min": BarSize.M10,
    "15min": BarSize.M15,
    "30min": BarSize.M30,
    "1h": BarSize.H1,
    "2h": BarSize.H2,
    "3h": BarSize.H3,
    "4h": BarSize.H4,
    "8h": BarSize.H8,
    "1d": BarSize.D1,
    "1w": BarSize.W1,
    "1m": BarSize.MONTH1,
}
DEFAULT_PERIOD = "1w"
_PERIOD = re.compile(r"(\d{1,4})(min|h|d|w|m|y)")
_DAY = 24 * 60
_MINUTES = {"min": 1, "h": 60, "d": _DAY, "w": 7 * _DAY, "m": 30 * _DAY, "y": 365 * _DAY}


@dataclass(frozen=True, slots=True)
class Steps:
    """Bars of periods up to `minutes` of calendar time: from `finest` to `coarsest`; `usual` when none is named."""

    minutes: int
    finest: BarSize
    coarsest: BarSize
    usual: BarSize


#: IB's step size table.
STEPS: tuple[Steps, ...] = (
    Steps(30, BarSize.M1, BarSize.M1, BarSize.M1),
    Steps(_DAY, BarSize.M1, BarSize.H8, BarSize.M1),
    Steps(7 * _DAY, BarSize.M10, BarSize.W1, BarSize.M15),
    Steps(31 * _DAY, BarSize.H1, BarSize.MONTH1, BarSize.H1),
    Steps(92 * _DAY, BarSize.H2, BarSize.MONTH1, BarSize.D1),
    Steps(183 * _DAY, BarSize.H4, BarSize.MONTH1, BarSize.D1),
    Steps(366 * _DAY, BarSize.H8, BarSize.MONTH1, BarSize.D1),
    Steps(3 * 366 * _DAY, BarSize.D1, BarSize.MONTH1, BarSize.D1),
    Steps(15 * 366 * _DAY, BarSize.W1, BarSize.MONTH1, BarSize.W1),
)


@dataclass(frozen=True, slots=True)
class Period:
    """`number` of `unit` as asked for ("1d" is 1 and "d")."""

    number: int
    unit: str

    @property
    def text(self) -> str:
        return f"{self.number}{self.unit}"

    @property
    def minutes(self) -> int:
        """Of calendar time, roughly."""
        return self.number * _MINUTES[self.unit]

    @property
    def span(self) -> tuple[int, str]:
        """The number and unit that `bar_spans.span_before` takes."""
        _, unit, many = PERIOD_UNITS[self.unit]
        return self.number * many, unit


def read_period(text: str) -> Period:
    """Raises PortalRefusal for a number that IB does not serve. What it cannot read is DEFAULT_PERIOD."""
    found = _PERIOD.fullmatch(text.strip()) or _PERIOD.fullmatch(DEFAULT_PERIOD)
    assert found is not None
    period = Period(int(found[1]), found[2])
    most = PERIOD_UNITS[period.unit][0]
    if not 1 <= period.number <= most:
        raise PortalRefusal(f"Invalid period {text!r}: 1{period.unit} to {most}{period.unit}", 500)
    return period


def bar_of(text: str, period: Period) -> BarSize:
    """The bars that are served when `text` is asked for."""
    steps = next((row for row in STEPS if period.minutes <= row.minutes), STEPS[-1])
    size = BARS.get(text.strip())
    if size is None:
        return steps.usual
    if size.seconds < steps.finest.seconds:
        return steps.finest
    return min(size, steps.coarsest, key=lambda one: one.seconds)
