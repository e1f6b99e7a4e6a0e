"""Implied volatility of a stock by strike and expiry: a level from its own past, a term structure, a smile."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from random import Random

from ..walk import seed_for

#: A stock's volatility where its past does not move, and bounds of every implied one.
_QUIET = 0.12
_LOWEST, _HIGHEST = 0.05, 3.0
_MONTH = 30 / 365


@dataclass(frozen=True, slots=True)
class Surface:
    """`level`: at the money, thirty days ahead, a year. `term`: how much higher the near end stands (share of the
    level). `skew` and `curve`: the smile over the standardised distance from the money."""

    level: float
    term: float
    skew: float
    curve: float

    def volatility(self, strike: float, spot: float, years: float) -> float:
        at_money = self.level * (1 + self.term * (exp(-years / 0.25) - exp(-_MONTH / 0.25)))
        distance = log(strike / spot) / (at_money * sqrt(max(years, 1 / 365)))
        distance = min(max(distance, -4.0), 4.0)
        return min(max(at_money * (1 + self.skew * distance + self.curve * distance * distance), _LOWEST), _HIGHEST)

    @property
    def thirty_days(self) -> float:
        """What IB's tick 24 tells of the underlying."""
        return self.level


def surface_of(symbol: str, seed: int, historical: float | None) -> Surface:
    """The surface of a day on whose eve the stock's 30-day volatility was `historical` (None: not known)."""
    chance = Random(seed_for("surface", seed, symbol))
    premium = 1.0 + 0.25 * chance.random()
    level = max(historical or 0.0, _QUIET + 0.1 * chance.random()) * premium
    return Surface(level, -0.1 + 0.3 * chance.random(), -0.03 - 0.05 * chance.random(), 0.01 + 0.015 * chance.random())
