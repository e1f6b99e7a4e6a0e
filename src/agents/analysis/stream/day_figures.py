"""What the detectors have to know of a day before its ticks: hours, closes, ATR, and the usual volume by the minute."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import Protocol
from zoneinfo import ZoneInfo

from ....brokers.domain.instrument import Symbol
from ....brokers.domain.market_data import Bar, BarSize, BarSource
from ....brokers.domain.sessions import MarketHours, TradingDay
from ....brokers.errors import BrokerError, LinkError, NoData
from ..measures import ATR, true_ranges, wilder

#: Sessions that the usual volume is the median of, the fewest that will do, and the calendar days that hold them.
SESSIONS, FEWEST_SESSIONS, SESSION_SPAN = 20, 10, timedelta(days=33)
#: Closed daily bars that ATR14 is smoothed over, whenever in a day it is read; bars of today may come with them.
ATR_BARS = 60
DAILY_BARS = ATR_BARS + 2
#: Symbols asked one by one that are under way at once.
AT_ONCE = 16
#: Bars of the usual volume. A broker's history gives a week of these in one request, and a minute inside of one is read
#: on a straight line; M1 is exact to the minute and takes IB about seven times the requests.
VOLUME_BARS = BarSize.M5


class DayReader(Protocol):
    """The verbs of a broker that a day's figures are read by."""

    async def market_time(self) -> datetime: ...

    async def market_hours(self, symbol: Symbol, at: datetime | None = None) -> MarketHours: ...

    async def many_bars(
        self,
        symbols: Iterable[Symbol],
        size: BarSize = BarSize.D1,
        *,
        count: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
    ) -> dict[str, list[Bar] | BrokerError]: ...


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One symbol's figures of the exchange's `date`, read at `loaded_at` (market time). What is None or empty has its
    reason in `missing`, by the name of the figure.

    `usual[m]` is the median volume of earlier sessions from the open to the end of minute m; `traded` is today's own
    volume in regular hours up to `loaded_at`. `regular_close` is today's, known once its session has ended.
    """

    symbol: str
    date: date
    hours: MarketHours
    loaded_at: datetime
    previous_close: float | None = None
    regular_close: float | None = None
    atr: float | None = None
    usual: tuple[float, ...] = ()
    traded: float = 0.0
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def loaded_before_open(self) -> bool:
        return self.hours.day is None or self.loaded_at < self.hours.day.open

    def usual_volume(self, minute: int) -> float | None:
        """The median by the end of `minute` (0 begins at the open); None where there is none, or it is 0."""
        if not self.usual or minute < 0:
            return None
        return self.usual[min(minute, len(self.usual) - 1)] or None


async def load_days(
    reader: DayReader, symbols: Iterable[str], volume_bars: BarSize = VOLUME_BARS, *, at: datetime | None = None
) -> dict[str, DayFigures | BrokerError]:
    """The figures of the day of `at` (None: market time) for a list, in one round, keyed by the symbols given. A symbol
    whose hours cannot be told has its error as value. Raises LinkError when the link is lost: then nothing is known."""
    names = list(dict.fromkeys(symbols))
    if not names:
        return {}
    now = at or await reader.market_time()
    hours, daily, intraday = await asyncio.gather(
        _hours(reader, names, now),
        reader.many_bars(names, BarSize.D1, count=DAILY_BARS),
        reader.many_bars(names, volume_bars, start=now - SESSION_SPAN),
    )
    lost = [error for error in hours.values() if isinstance(error, LinkError)]
    if lost:
        raise lost[0]
    found: dict[str, DayFigures | BrokerError] = {}
    for name, told in hours.items():
        none = NoData(f"bars of {name}", "the broker left them out")
        found[name] = (
            told
            if isinstance(told, BrokerError)
            else day_figures(name, told, now, daily.get(name, none), intraday.get(name, none), volume_bars)
        )
    return found


async def load_hours_and_closes(
    reader: DayReader, names: Sequence[str], now: datetime
) -> dict[str, DayFigures | BrokerError]:
    """The figures that daily bars alone give (closes and ATR), for a list in one round."""
    hours, daily = await asyncio.gather(
        _hours(reader, names, now), reader.many_bars(names, BarSize.D1, count=DAILY_BARS)
    )
    unread = NoData("bars of minutes", "they were not asked for")
    found: dict[str, DayFigures | BrokerError] = {}
    for name, told in hours.items():
        bars = daily.get(name, NoData(f"daily bars of {name}", "the broker left them out"))
        found[name] = told if isinstance(told, BrokerError) else day_figures(name, told, now, bars, unread)
    return found


async def _hours(reader: DayReader, names: Sequence[str], now: datetime) -> dict[str, MarketHours | BrokerError]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> MarketHours | BrokerError:
        async with places:
            try:
                return await reader.market_hours(name, now)
            except BrokerError as error:
                return error

    return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))


def day_figures(
    symbol: str,
    hours: MarketHours,
    now: datetime,
    daily: Sequence[Bar] | BrokerError,
    intraday: Sequence[Bar] | BrokerError,
    volume_bars: BarSize = VOLUME_BARS,
) -> DayFigures:
    """The figures at `now` out of bars of regular hours, or out of the errors in their place; what came later is left
    out."""
    zone = ZoneInfo(hours.time_zone)
    today = now.astimezone(zone).date()
    missing: dict[str, str] = {}
    previous = closed = atr = None
    if isinstance(daily, BrokerError):
        missing |= dict.fromkeys(("previous_close", "atr"), str(daily))
    else:
        before = sorted((bar for bar in daily if bar.time.date() < today), key=lambda bar: bar.time)[-ATR_BARS:]
        previous = before[-1].close if before else None
        atr = wilder(true_ranges(before), ATR)
        missing |= {} if before else {"previous_close": "no daily bar before today"}
        missing |= {} if atr else {"atr": f"{len(before)} daily bars are too few"}
        if hours.day is not None and now >= hours.day.close:
            closed = next((bar.close for bar in daily if bar.time.date() == today), None)
    usual: tuple[float, ...] = ()
    traded = 0.0
    if isinstance(intraday, BrokerError):
        missing["usual"] = str(intraday)
    elif hours.day is None:
        missing["usual"] = "there is no session today"
    else:
        usual, traded = _volumes([bar for bar in intraday if bar.time < now], hours.day, zone, volume_bars)
        missing |= {} if usual else {"usual": f"fewer than {FEWEST_SESSIONS} sessions with volumes"}
    return DayFigures(symbol, today, hours, now, previous, closed, atr, usual, traded, missing)


def _volumes(bars: Sequence[Bar], day: TradingDay, zone: ZoneInfo, size: BarSize) -> tuple[tuple[float, ...], float]:
    """(usual volume by the minute, what today traded so far)."""
    sessions = _by_date(bars, zone)
    traded = sum(bar.volume or 0.0 for bar in sessions.pop(day.day, ()))
    earlier = [sessions[each] for each in sorted(sessions) if each < day.day][-SESSIONS:]
    start = day.open.astimezone(zone)
    length = (day.close - day.open) // timedelta(minutes=1)
    return usual_volumes(earlier, zone, start.hour * 60 + start.minute, length, size), traded


def usual_volumes(
    sessions: Sequence[Sequence[Bar]], zone: ZoneInfo, opens: int, length: int, size: BarSize
) -> tuple[float, ...]:
    """Median over sessions of the volume from the open to the end of each of `length` minutes; `opens` is the open's
    minute of the day in `zone`. Empty for fewer than FEWEST_SESSIONS whose every bar has a volume."""
    width = size.seconds // 60
    sums = [
        _running(bars, zone, opens, length, width)
        for bars in sessions
        if bars and all(bar.volume is not None for bar in bars)
    ]
    if len(sums) < FEWEST_SESSIONS:
        return ()
    return tuple(median(column) for column in zip(*sums, strict=True))


def _running(bars: Sequence[Bar], zone: ZoneInfo, opens: int, length: int, width: int) -> list[float]:
    """Volume by the end of each minute of one session, each bar's spread evenly over its minutes."""
    minutes = [0.0] * length
    for bar in bars:
        local = bar.time.astimezone(zone)
        first = local.hour * 60 + local.minute - opens
        # a bar begins on the clock, the first of a session at its open
        inside = range(max(first, 0), min(first + width - (first + opens) % width, length))
        for minute in inside:
            minutes[minute] += (bar.volume or 0.0) / len(inside)
    total = 0.0
    for minute, volume in enumerate(minutes):
        total += volume
        minutes[minute] = total
    return minutes


def _by_date(bars: Iterable[Bar], zone: ZoneInfo) -> dict[date, list[Bar]]:
    found: dict[date, list[Bar]] = {}
    for bar in bars:
        found.setdefault(bar.time.astimezone(zone).date(), []).append(bar)
    return found
