"""Figures that come out of daily history: ranges, average volume, volatility."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from ..domain.market_data import Bar, BarSize, BarSource
from ..errors import BrokerError
from .market import PriceSource

TRADING_DAYS_A_YEAR = 252
_AVERAGE_DAYS = 90
_VOLATILITY_DAYS = 30


@dataclass(frozen=True, slots=True)
class WeekStats:
    """`ranges`: weeks -> (low, high). `average_volume` of 90 days in shares; None without history."""

    ranges: dict[int, tuple[float, float]] = field(default_factory=dict)
    average_volume: float | None = None


def _daily(source: PriceSource, con_id: int, now: datetime, days: int) -> list[Bar]:
    try:
        return source.history(con_id, BarSize.D1, BarSource.TRADES, start=now - timedelta(days=days), end=now, now=now)
    except BrokerError:
        return []


def week_stats(source: PriceSource, con_id: int, now: datetime) -> WeekStats:
    bars = _daily(source, con_id, now, 7 * 52)
    if not bars:
        return WeekStats()
    ranges = {}
    for weeks in (13, 26, 52):
        recent = [bar for bar in bars if bar.time >= now - timedelta(weeks=weeks)] or bars[-1:]
        ranges[weeks] = (min(bar.low for bar in recent), max(bar.high for bar in recent))
    volumes = [bar.volume or 0.0 for bar in bars[-_AVERAGE_DAYS:]]
    return WeekStats(ranges, sum(volumes) / len(volumes))


def historical_volatility(source: PriceSource, con_id: int, now: datetime) -> float | None:
    """Annualised standard deviation of 30 daily log returns (IB's 30-day historical volatility); None without them."""
    closes = [bar.close for bar in _daily(source, con_id, now, 60) if bar.complete and bar.close > 0]
    returns = [math.log(after / before) for before, after in pairwise(closes)]
    returns = returns[-_VOLATILITY_DAYS:]
    if len(returns) < 2:
        return None
    mean = sum(returns) / len(returns)
    variance = sum((value - mean) ** 2 for value in returns) / (len(returns) - 1)
    return math.sqrt(variance * TRADING_DAYS_A_YEAR)
