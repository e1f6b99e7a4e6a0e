"""A small calendar and small series for the price tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from moondev_ibkr.brokers.domain.instrument import PriceIncrement
from moondev_ibkr.brokers.domain.sessions import TradingDay
from moondev_ibkr.brokers.simulation.bars_files import BarSeries, parse_bars
from moondev_ibkr.brokers.simulation.history import EXCHANGE_ZONE
from moondev_ibkr.brokers.simulation.walk import Grid

MONDAY = date(2024, 3, 11)
CENTS = Grid((PriceIncrement(Decimal(0), Decimal("0.01")),))


class WeekdayCalendar:
    """Every weekday trades from 09:30 to 16:00, `half_days` until 13:00, `closed` not at all."""

    def __init__(self, closed: Iterable[date] = (), half_days: Iterable[date] = ()) -> None:
        self.closed, self.half_days = set(closed), set(half_days)

    def trading_day(self, day: date) -> TradingDay | None:
        if day.weekday() > 4 or day in self.closed:
            return None
        half = day in self.half_days
        times = (time(4), time(9, 30), time(13) if half else time(16), time(17) if half else time(20))
        return TradingDay(day, *(local(day, clock) for clock in times), early_close=half)

    def trading_days(self, start: date, end: date) -> Sequence[TradingDay]:
        every = (self.trading_day(start + timedelta(days=n)) for n in range((end - start).days + 1))
        return [day for day in every if day is not None]


def local(day: date, clock: time) -> datetime:
    """Exchange time as aware UTC."""
    return datetime.combine(day, clock, EXCHANGE_ZONE).astimezone(UTC)


def at(day: date, text: str) -> datetime:
    return local(day, time.fromisoformat(text))


def weekdays(count: int, first: date = MONDAY) -> list[date]:
    days = (first + timedelta(days=n) for n in range(count * 2))
    return [day for day in days if day.weekday() < 5][:count]


Bars = Sequence[tuple[int, int, int, int, int]]


def daily(symbol: str, bars: Bars, first: date = MONDAY) -> BarSeries:
    """A daily series of (open, high, low, close in cents, volume)."""
    lines = ["Date,Open,High,Low,Close,Volume"]
    for day, (o, h, low, c, v) in zip(weekdays(len(bars), first), bars, strict=True):
        lines.append(f"{day},{o / 100:.2f},{h / 100:.2f},{low / 100:.2f},{c / 100:.2f},{v}")
    return parse_bars(symbol, "\n".join(lines), f"{symbol}.csv")


def rising(count: int, base: int = 10_000, volume: int = 100_000) -> list[tuple[int, int, int, int, int]]:
    """Bars that climb by 20 cents a day."""
    return [
        (base + 20 * n, base + 20 * n + 90, base + 20 * n - 70, base + 20 * n + 15, volume + n) for n in range(count)
    ]
