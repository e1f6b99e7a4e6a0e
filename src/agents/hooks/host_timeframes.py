"""The host's timeframes as rows: which bars the broker is asked for, and how they are put together.

Putting together, so that a bar means the same whenever it is asked for:

* inside a day: counted from the session's open (09:30, or 04:00 with extended hours, New York). Six hours are
  09:30-15:30 and 15:30-16:00: the session's end closes its last bar, no bar reaches over a night;
* `3D`: three trading days, counted from the first day of each calendar year that the instrument traded; the year's
  end closes its last bar;
* weeks from Monday, months and quarters of the calendar.

A bar is `complete` once its last moment has passed; on a day that ends early the last bar counts as running until the
usual close, since an agent has no calendar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from zoneinfo import ZoneInfo

from ...brokers.domain.market_data import Bar, BarSize
from ...brokers.errors import InvalidRequest

NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)
#: First and last moment of a session in New York; True: regular hours, False: extended ones.
SESSION: Mapping[bool, tuple[time, time]] = MappingProxyType(
    {True: (time(9, 30), time(16, 0)), False: (time(4, 0), time(20, 0))}
)
#: A bar and the first moment that it does not cover.
_Ended = tuple[Bar, datetime]
#: Trading days a calendar year, rounded down, for estimates of a span that holds enough of them.
_SESSIONS_A_YEAR = 250


class Grouping(StrEnum):
    """Where a bar of several begins."""

    NONE = "as the broker gives them"
    SESSION = "from the session's open"
    TRADING_DAYS = "trading days from the year's first"
    WEEK = "from Monday"
    MONTH = "from the first of the month"
    QUARTER = "from the first of the quarter"


@dataclass(frozen=True, slots=True)
class Timeframe:
    """`together` bars of `size` make one bar; `grouping` says where one begins (weeks, months and quarters take the
    days that there are, whatever `together` says)."""

    name: str
    size: BarSize
    together: int = 1
    grouping: Grouping = Grouping.NONE

    @property
    def length(self) -> timedelta:
        """Nominal length of one bar."""
        return timedelta(seconds=self.size.seconds * self.together)

    @property
    def is_intraday(self) -> bool:
        return self.size.is_intraday

    def fetch_start(self, start: datetime) -> datetime:
        """The moment to ask from so that the first bar reaching into the span from `start` on comes whole."""
        if self.is_intraday:
            local = start.astimezone(NEW_YORK).date()
            return datetime.combine(local, time(), NEW_YORK).astimezone(UTC)
        return midnight(self._group_start(start.date()))

    def _group_start(self, day: date) -> date:
        if self.grouping is Grouping.WEEK or self.size is BarSize.W1:
            return day - timedelta(days=day.weekday())
        if self.grouping is Grouping.MONTH or self.size is BarSize.MONTH1:
            return day.replace(day=1)
        if self.grouping is Grouping.QUARTER:
            return day.replace(month=day.month - (day.month - 1) % 3, day=1)
        if self.grouping is Grouping.TRADING_DAYS:
            return day.replace(month=1, day=1)
        return day

    def end_of(self, bar: Bar, regular_hours: bool = True) -> datetime:
        """The first moment that `bar`, one of this timeframe, does not cover; a session's usual close ends it. Of
        trading days, the earliest that it can be."""
        if self.is_intraday:
            close = session_close(bar.time, regular_hours)
            end = bar.time + self.length
            return min(end, close) if bar.time < close else end
        if self.size is BarSize.MONTH1 or self.grouping is Grouping.MONTH:
            return midnight(_months_on(bar.time.date(), 1))
        if self.grouping is Grouping.QUARTER:
            return midnight(_months_on(bar.time.date(), 3))
        if self.size is BarSize.W1 or self.grouping is Grouping.WEEK:
            return midnight(bar.time.date() - timedelta(days=bar.time.weekday()) + timedelta(days=7))
        return bar.time + (DAY if self.grouping is Grouping.NONE else self.length)

    def span_for(self, bars: int, regular_hours: bool = True) -> timedelta:
        """A calendar span that holds at least `bars` of an ordinary market."""
        if self.is_intraday:
            first, last = SESSION[regular_hours]
            hours = (last.hour * 60 + last.minute - first.hour * 60 - first.minute) / 60
            per_session = max(1, int(hours * 3600 // self.length.total_seconds()))
            sessions = -(-bars // per_session)
        else:
            sessions = bars * max(1, round(self.length / DAY * 5 / 7) if self.length > 5 * DAY else self.together)
        return timedelta(days=int(sessions * 365 / _SESSIONS_A_YEAR) + 7)

    def reaching(self, bars: Sequence[Bar], start: datetime, now: datetime, regular_hours: bool = True) -> list[Bar]:
        """Bars of `size`, ascending and from `fetch_start(start)` on, as those bars of this timeframe that reach past
        `start`."""
        if self.grouping is Grouping.NONE:
            return [bar for bar in bars if self.end_of(bar, regular_hours) > start]
        groups = _GROUPERS[self.grouping](self, bars, now, regular_hours)
        return [made for made, end in groups if end > start]


def midnight(day: date) -> datetime:
    """The time that a bar of a whole day carries: midnight UTC of its day."""
    return datetime.combine(day, time(), UTC)


def session_open(moment: datetime, regular_hours: bool) -> datetime:
    """The usual open of the New York day of `moment`."""
    return _at(moment, SESSION[regular_hours][0])


def session_close(moment: datetime, regular_hours: bool) -> datetime:
    """The usual close of the New York day of `moment`."""
    return _at(moment, SESSION[regular_hours][1])


def _at(moment: datetime, clock: time) -> datetime:
    return datetime.combine(moment.astimezone(NEW_YORK).date(), clock, NEW_YORK).astimezone(UTC)


def _months_on(day: date, months: int) -> date:
    """The first of the month `months` after that of `day`."""
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def _from_open(frame: Timeframe, bars: Sequence[Bar], now: datetime, regular_hours: bool) -> list[_Ended]:
    groups: dict[datetime, list[Bar]] = {}
    for bar in bars:
        opened = session_open(bar.time, regular_hours)
        groups.setdefault(opened + (bar.time - opened) // frame.length * frame.length, []).append(bar)
    return [_made(frame, label, members, now, regular_hours) for label, members in groups.items()]


def _trading_days(frame: Timeframe, bars: Sequence[Bar], now: datetime, regular_hours: bool) -> list[_Ended]:
    years: dict[int, list[Bar]] = {}
    for bar in bars:
        years.setdefault(bar.time.year, []).append(bar)
    found = []
    for year, days in years.items():
        for first in range(0, len(days), frame.together):
            members = days[first : first + frame.together]
            ended = len(members) == frame.together or now >= midnight(date(year + 1, 1, 1))
            found.append((_merged(members[0].time, members, ended), members[-1].time + DAY))
    return found


def _calendar(frame: Timeframe, bars: Sequence[Bar], now: datetime, regular_hours: bool) -> list[_Ended]:
    groups: dict[date, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(frame._group_start(bar.time.date()), []).append(bar)
    return [_made(frame, midnight(label), members, now, regular_hours) for label, members in groups.items()]


_GROUPERS: Mapping[Grouping, Callable[[Timeframe, Sequence[Bar], datetime, bool], list[_Ended]]] = MappingProxyType(
    {
        Grouping.SESSION: _from_open,
        Grouping.TRADING_DAYS: _trading_days,
        Grouping.WEEK: _calendar,
        Grouping.MONTH: _calendar,
        Grouping.QUARTER: _calendar,
    }
)


def _made(frame: Timeframe, label: datetime, members: Sequence[Bar], now: datetime, regular_hours: bool) -> _Ended:
    bar = _merged(label, members, ended=True)
    end = frame.end_of(bar, regular_hours)
    return (bar if now >= end else replace(bar, complete=False)), end


def _merged(label: datetime, bars: Sequence[Bar], ended: bool) -> Bar:
    volumes = [bar.volume for bar in bars if bar.volume is not None]
    return Bar(
        label,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum(volumes) if len(volumes) == len(bars) else None,
        complete=ended and all(bar.complete for bar in bars),
    )


#: The host's fifteen, in its own spelling.
TIMEFRAMES: Mapping[str, Timeframe] = MappingProxyType(
    {
        row.name: row
        for row in (
            Timeframe("1m", BarSize.M1),
            Timeframe("3m", BarSize.M3),
            Timeframe("5m", BarSize.M5),
            Timeframe("15m", BarSize.M15),
            Timeframe("30m", BarSize.M30),
            Timeframe("1H", BarSize.H1),
            Timeframe("2H", BarSize.H2),
            Timeframe("4H", BarSize.H4),
            Timeframe("6H", BarSize.M30, 12, Grouping.SESSION),
            Timeframe("8H", BarSize.H8),
            Timeframe("12H", BarSize.M30, 24, Grouping.SESSION),
            Timeframe("1D", BarSize.D1),
            Timeframe("3D", BarSize.D1, 3, Grouping.TRADING_DAYS),
            Timeframe("1W", BarSize.W1),
            Timeframe("1M", BarSize.MONTH1),
        )
    }
)
#: Other spellings that the host makes of them: hours, days and weeks in lower case, and the month as a word.
_ALIASES: Mapping[str, str] = MappingProxyType(
    {name.lower(): name for name in TIMEFRAMES if name[-1] in "HDW"} | {"1month": "1M"}
)


def timeframe(word: str) -> Timeframe:
    """The row of a timeframe; `1M` is a month, `1m` a minute. Raises InvalidRequest naming the fifteen."""
    row = TIMEFRAMES.get(_ALIASES.get(word, word)) if isinstance(word, str) else None
    if row is None:
        raise InvalidRequest(f"timeframe {word!r}", "there is no such timeframe", f"use one of {', '.join(TIMEFRAMES)}")
    return row
