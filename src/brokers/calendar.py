"""When a market trades: sessions, half days and holidays, and IB's way of writing them.

Days come from pandas_market_calendars, a year at a time, on first use; after that a look-up is one bisection.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .domain.instrument import InstrumentDetails, SecType
from .domain.sessions import MarketHours, Session, TradingDay
from .errors import InvalidData, InvalidRequest

if TYPE_CHECKING:
    import pandas as pd

#: The years that calendars answer for; outside of them a session is UNKNOWN, not CLOSED.
FIRST_YEAR, LAST_YEAR = 1990, 2035


@dataclass(frozen=True, slots=True)
class Exchange:
    """A row of the table: the library's calendar, the exchange's time zone, whether it has hours before and after."""

    name: str
    library_name: str
    time_zone: str
    extended: bool


EXCHANGES: dict[str, Exchange] = {
    row.name: row
    for row in (
        Exchange("NYSE", "NYSE", "America/New_York", extended=True),
        Exchange("CME", "CME_Equity", "America/Chicago", extended=False),
    )
}


class MarketCalendar:
    """The trading days of one exchange. `NYSE` serves all US stocks and options, `CME` its index futures.

    Moments are aware; times given back are aware UTC. Naive moments are refused with InvalidRequest.
    """

    def __init__(self, exchange: str = "NYSE") -> None:
        if exchange not in EXCHANGES:
            raise InvalidRequest(f"calendar {exchange!r}", "there is no such calendar", f"use {' or '.join(EXCHANGES)}")
        self.exchange = EXCHANGES[exchange]
        self.zone = ZoneInfo(self.exchange.time_zone)
        self._tables: dict[int, _Table] = {}

    def trading_day(self, day: date) -> TradingDay | None:
        """Session times of `day` (the exchange's date), None when it does not trade or lies outside the calendar."""
        table = self._table(day.year)
        return None if table is None else table.by_date.get(day)

    def session_at(self, moment: datetime) -> Session:
        """The session at `moment`; UNKNOWN outside FIRST_YEAR..LAST_YEAR."""
        table = self._table(_aware(moment).year)
        if table is None:
            return Session.UNKNOWN
        day = table.at_or_before(moment)
        return Session.CLOSED if day is None else day.session_at(moment)

    def day_at(self, moment: datetime) -> TradingDay | None:
        """The trading day whose sessions, extended hours included, contain `moment`."""
        table = self._table(_aware(moment).year)
        day = None if table is None else table.at_or_before(moment)
        return day if day is not None and moment < day.post_close else None

    def today(self, moment: datetime) -> TradingDay | None:
        """The trading day of the exchange's date at `moment`; None on a day without trading."""
        return self.trading_day(_aware(moment).astimezone(self.zone).date())

    def next_open(self, moment: datetime) -> datetime:
        """The first regular open strictly after `moment`."""
        return self.next_day(moment).open

    def next_day(self, moment: datetime) -> TradingDay:
        """The first trading day whose regular open lies strictly after `moment`. Raises InvalidRequest outside."""
        days = self._required(moment).days
        return days[bisect_right(days, moment, key=lambda day: day.open)]

    def previous_close(self, moment: datetime) -> datetime:
        """The last regular close at or before `moment`."""
        return self.previous_day(moment).close

    def previous_day(self, moment: datetime) -> TradingDay:
        """The last trading day whose regular close lies at or before `moment`. Raises InvalidRequest outside."""
        days = self._required(moment).days
        return days[bisect_right(days, moment, key=lambda day: day.close) - 1]

    def trading_days(self, start: date, end: date) -> list[TradingDay]:
        """Trading days from `start` to `end`, both included. Raises InvalidRequest outside the calendar's years."""
        for day in (start, end):
            if not FIRST_YEAR <= day.year <= LAST_YEAR:
                raise _outside(day)
        years = range(start.year, end.year + 1)
        return [day for year in years for day in _load_year(self.exchange.name, year) if start <= day.day <= end]

    def days_between(self, start: date, end: date) -> int:
        """Trading days after `start` up to and including `end`: how many closes a position has lived through."""
        return len(self.trading_days(start + timedelta(days=1), end))

    # IB's way of writing hours

    def trading_hours(self, start: date, days: int = 6) -> str:
        """Extended hours as IB's contract details tell them, `days` calendar days from `start`, in `time_zone`."""
        return self._hours(start, days, extended=True)

    def liquid_hours(self, start: date, days: int = 6) -> str:
        """Regular hours in the same form."""
        return self._hours(start, days, extended=False)

    def _hours(self, start: date, days: int, *, extended: bool) -> str:
        parts = []
        for offset in range(days):
            day = start + timedelta(days=offset)
            row = self.trading_day(day)
            if row is None:
                parts.append(f"{day:%Y%m%d}:CLOSED")
                continue
            begin, end = (row.pre_open, row.post_close) if extended else (row.open, row.close)
            parts.append(f"{begin.astimezone(self.zone):%Y%m%d:%H%M}-{end.astimezone(self.zone):%Y%m%d:%H%M}")
        return ";".join(parts)

    def _table(self, year: int) -> _Table | None:
        """The days around `year`, loaded on first use; None where the calendar does not reach."""
        table = self._tables.get(year)
        if table is None and FIRST_YEAR <= year <= LAST_YEAR:
            years = (year - 1, year, year + 1)
            table = _Table([day for each in years for day in _load_year(self.exchange.name, each)])
            self._tables[year] = table
        return table

    def _required(self, moment: datetime) -> _Table:
        table = self._table(_aware(moment).year)
        if table is None:
            raise _outside(moment)
        return table


class _Table:
    """Three years of trading days, found by date or by bisection."""

    def __init__(self, days: list[TradingDay]) -> None:
        self.days = days
        self.by_date = {day.day: day for day in days}
        self._starts = [day.pre_open for day in days]

    def at_or_before(self, moment: datetime) -> TradingDay | None:
        """The last day whose sessions began at or before `moment`."""
        index = bisect_right(self._starts, moment) - 1
        return self.days[index] if index >= 0 else None


def _load_year(name: str, year: int) -> tuple[TradingDay, ...]:
    """One year's trading days."""
    return _load_decade(name, year - year % 10)[year]


@lru_cache(maxsize=64)
def _load_decade(name: str, first: int) -> dict[int, tuple[TradingDay, ...]]:
    """Ten years from the library, for which a single one takes it as long. Its import takes a second, hence so late."""
    import pandas_market_calendars

    exchange = EXCHANGES[name]
    calendar = pandas_market_calendars.get_calendar(exchange.library_name)
    extended = {"start": "pre", "end": "post"} if exchange.extended else {}
    with warnings.catch_warnings():
        # The library's own quarrel with pandas, which its caller can do nothing about.
        warnings.simplefilter("ignore")
        frame: pd.DataFrame = calendar.schedule(f"{first}-01-01", f"{first + 9}-12-31", **extended)
    index = cast("pd.DatetimeIndex", frame.index)
    return {year: _days(frame[index.year == year], exchange) for year in range(first, first + 10)}


def _days(frame: pd.DataFrame, exchange: Exchange) -> tuple[TradingDay, ...]:
    """The rows of one year, whose usual close tells which days end early."""
    opens, closes = _column(frame, "market_open"), _column(frame, "market_close")
    pres = _column(frame, "pre") if exchange.extended else opens
    posts = _column(frame, "post") if exchange.extended else closes
    dates = [stamp.date() for stamp in cast("pd.DatetimeIndex", frame.index)]
    zone = ZoneInfo(exchange.time_zone)
    usual = Counter(end.astimezone(zone).time() for end in closes).most_common(1)[0][0]
    return tuple(
        TradingDay(day, pre, begin, end, post, end.astimezone(zone).time() < usual)
        for day, pre, begin, end, post in zip(dates, pres, opens, closes, posts, strict=True)
    )


def _column(frame: pd.DataFrame, name: str) -> list[datetime]:
    return [stamp.to_pydatetime().astimezone(UTC) for stamp in frame[name]]


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidRequest(f"moment {moment!r}", "it has no time zone", "give an aware datetime")
    return moment


def _outside(moment: date) -> InvalidRequest:
    return InvalidRequest(f"{moment:%Y-%m-%d}", f"the calendar reaches from {FIRST_YEAR} to {LAST_YEAR}")


@lru_cache(maxsize=4)
def calendar_for(exchange: str = "NYSE") -> MarketCalendar:
    """The shared calendar of an exchange."""
    return MarketCalendar(exchange)


# Hours as a contract tells them

#: Zone names that gateways send and the zone database lacks or means otherwise (fault C27).
ZONE_ALIASES = {
    "EST": "America/New_York",
    "EST (Eastern Standard Time)": "America/New_York",
    "EST5EDT": "America/New_York",
    "CST": "America/Chicago",
    "CST (Central Standard Time)": "America/Chicago",
    "CST6CDT": "America/Chicago",
    "MST": "America/Denver",
    "PST": "America/Los_Angeles",
    "GMT": "UTC",
    "GB-Eire": "Europe/London",
    "MET": "Europe/Berlin",
    "MET (Middle Europe Time)": "Europe/Berlin",
    "JST": "Asia/Tokyo",
    "JST (Japan Standard Time)": "Asia/Tokyo",
    "HKT": "Asia/Hong_Kong",
}
_SPAN = re.compile(r"^(\d{8}):(\d{4})-(?:(\d{8}):)?(\d{4})$")
_CLOSED = re.compile(r"^(\d{8}):CLOSED$")


@dataclass(frozen=True)
class ContractHours:
    """Sessions by a contract's own hours: what it does not mention is UNKNOWN, which is not CLOSED.

    Spans are [start, end) in UTC, ascending; `known` are the dates, in `zone`, that the text speaks of.
    """

    zone: ZoneInfo
    trading: tuple[tuple[datetime, datetime], ...]
    liquid: tuple[tuple[datetime, datetime], ...]
    known: frozenset[date]

    def session_at(self, moment: datetime) -> Session:
        """The session at `moment`: PRE before that span's regular part, POST after it."""
        _aware(moment)
        if _within(self.liquid, moment) is not None:
            return Session.REGULAR
        span = _within(self.trading, moment)
        if span is None:
            return Session.CLOSED if moment.astimezone(self.zone).date() in self.known else Session.UNKNOWN
        regular = [start for start, _end in self.liquid if span[0] <= start < span[1]]
        if not regular:
            return Session.REGULAR if not self.liquid else Session.POST
        return Session.PRE if moment < regular[0] else Session.POST

    def trading_day(self, day: date, usual: TradingDay | None) -> TradingDay | None:
        """The sessions told of `day`, None where its regular hours are not told. `usual` is the calendar's word: it
        tells half days, and where a stock's day begins and ends inside hours that run through the night."""
        regular = [span for span in self.liquid if span[0].astimezone(self.zone).date() == day]
        if not regular:
            return None
        opens, closes = regular[0][0], regular[-1][1]
        around = [span for span in self.trading if span[0] <= closes and span[1] >= opens]
        begins = min([opens, *(start for start, _end in around)])
        ends = max([closes, *(end for _start, end in around)])
        if usual is not None and begins.astimezone(self.zone).date() < day:
            begins = min(opens, max(begins, usual.pre_open))
        if usual is not None and ends.astimezone(self.zone).date() > day:
            ends = max(closes, min(ends, usual.post_close))
        early = usual is not None and (usual.early_close or closes < usual.close)
        return TradingDay(day, begins, opens, closes, ends, early)

    @cached_property
    def days(self) -> tuple[date, ...]:
        """The dates spoken of, ascending."""
        return tuple(sorted(self.known))


def _within(spans: tuple[tuple[datetime, datetime], ...], moment: datetime) -> tuple[datetime, datetime] | None:
    index = bisect_right(spans, moment, key=lambda span: span[0]) - 1
    return spans[index] if index >= 0 and moment < spans[index][1] else None


@lru_cache(maxsize=1024)
def parse_hours(trading_hours: str, liquid_hours: str, time_zone: str) -> ContractHours:
    """Read IB's hours: `20250102:0400-20250102:2000;20250104:CLOSED`, also without the second date, or several spans
    a day divided by commas. Raises InvalidData for anything else, or for a zone that nobody knows.
    """
    name = ZONE_ALIASES.get(time_zone, time_zone)
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidData(f"time zone {time_zone!r}", "the zone database does not know it") from None
    trading, known = _parse_spans(trading_hours, zone)
    liquid, known_liquid = _parse_spans(liquid_hours, zone)
    return ContractHours(zone, trading, liquid, known | known_liquid)


def _parse_spans(text: str, zone: ZoneInfo) -> tuple[tuple[tuple[datetime, datetime], ...], frozenset[date]]:
    spans: list[tuple[datetime, datetime]] = []
    known: set[date] = set()
    for part in filter(None, (piece.strip() for entry in text.split(";") for piece in _pieces(entry))):
        try:
            closed, span = _CLOSED.match(part), _SPAN.match(part)
            if closed:
                known.add(datetime.strptime(closed[1], "%Y%m%d").replace(tzinfo=zone).date())
                continue
            if not span:
                raise ValueError("not a span of hours")
            start = _moment(span[1], span[2], zone)
            end = _moment(span[3] or span[1], span[4], zone)
        except ValueError as error:
            raise InvalidData(f"hours {part!r}", str(error)) from None
        if end <= start:
            raise InvalidData(f"hours {part!r}", "they end before they begin")
        spans.append((start, end))
        known |= {start.astimezone(zone).date(), end.astimezone(zone).date()}
    return tuple(sorted(spans)), frozenset(known)


def _pieces(entry: str) -> list[str]:
    """`20250102:0400-0930,0930-1600` gives the day's spans, each with its date."""
    head, *more = entry.strip().split(",")
    return [head, *(piece if ":" in piece else f"{head[:8]}:{piece}" for piece in more)]


def _moment(day: str, clock: str, zone: ZoneInfo) -> datetime:
    """2400 is the next midnight."""
    extra = timedelta(days=1) if clock == "2400" else timedelta(0)
    text = day + ("0000" if clock == "2400" else clock)
    local = datetime.strptime(text, "%Y%m%d%H%M").replace(tzinfo=zone)
    return (local + extra).astimezone(UTC)


def session_of(details: InstrumentDetails | None, moment: datetime, calendar: MarketCalendar) -> Session:
    """The contract's own hours first (they reach about a week), the calendar where they say nothing."""
    if details is not None and (details.trading_hours or details.liquid_hours):
        told = parse_hours(details.trading_hours, details.liquid_hours, details.time_zone).session_at(moment)
        if told is not Session.UNKNOWN:
            return told
    return calendar.session_at(moment)


def hours_of(details: InstrumentDetails, moment: datetime, calendar: MarketCalendar) -> MarketHours:
    """`session_of` with the day's session times, and OVERNIGHT for a stock whose hours run through the night."""
    session = session_of(details, moment, calendar)
    if not (details.trading_hours or details.liquid_hours):
        return MarketHours(session, calendar.today(moment), calendar.exchange.time_zone)
    told = parse_hours(details.trading_hours, details.liquid_hours, details.time_zone)
    date = moment.astimezone(told.zone).date()
    is_stock = details.instrument.sec_type is SecType.STOCK
    usual = calendar.trading_day(date) if is_stock else None
    day = told.trading_day(date, usual)
    if day is None and date not in told.known:
        day = calendar.trading_day(date)
    span = _within(told.trading, moment) or _within(told.liquid, moment)
    if is_stock and span is not None and calendar.session_at(moment) is Session.CLOSED:
        first, last = (edge.astimezone(told.zone).date() for edge in span)
        session = Session.OVERNIGHT if first != last else session
    return MarketHours(session, day, told.zone.key)
