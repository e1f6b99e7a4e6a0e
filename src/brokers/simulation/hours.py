"""When each venue trades: the session at a moment, its boundaries, and the day to which an order belongs."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from ..domain.instrument import Instrument, SecType
from ..domain.sessions import Session, TradingDay
from .models import TradingCalendar

NEW_YORK = ZoneInfo("America/New_York")
#: A longer closure than any in the stock market's history since 1933.
_LONGEST_CLOSURE = 15


class Venue(StrEnum):
    STOCKS = "stocks"
    FUTURES = "futures"


def venue_of(instrument: Instrument) -> Venue:
    return Venue.FUTURES if instrument.sec_type is SecType.FUTURE else Venue.STOCKS


#: Globex: the day opens at 18:00 New York time on the evening before and ends at 17:00, 13:15 on half days. The days on
#: which stocks rest have no futures session here (Globex trades part of some).
_GLOBEX_OPEN = time(18, 0)
_GLOBEX_CLOSE = time(17, 0)
_GLOBEX_EARLY_CLOSE = time(13, 15)


class Hours:
    """Sessions of both venues, derived from the stock market's calendar. All futures hours are REGULAR."""

    def __init__(self, calendar: TradingCalendar) -> None:
        self._calendar = calendar
        self._days: dict[tuple[Venue, date], TradingDay | None] = {}

    def day(self, venue: Venue, day: date) -> TradingDay | None:
        """Session times of `day`; None when the venue rests."""
        key = (venue, day)
        if key not in self._days:
            found = self._calendar.trading_day(day)
            self._days[key] = _globex(found) if found is not None and venue is Venue.FUTURES else found
        return self._days[key]

    def day_ending_after(self, venue: Venue, moment: datetime, *, extended: bool) -> TradingDay | None:
        """The first day whose regular (`extended`: extended) hours end after `moment`; None beyond the calendar."""
        start = moment.astimezone(NEW_YORK).date()
        for offset in range(_LONGEST_CLOSURE):
            day = self.day(venue, start + timedelta(days=offset))
            if day is not None and (day.post_close if extended else day.close) > moment:
                return day
        return None

    def session_at(self, venue: Venue, moment: datetime) -> Session:
        day = self.day_ending_after(venue, moment, extended=True)
        return Session.CLOSED if day is None else day.session_at(moment)

    def next_boundary(self, venue: Venue, moment: datetime) -> datetime | None:
        """The first change of session after `moment`; None beyond the calendar."""
        day = self.day_ending_after(venue, moment, extended=True)
        if day is None:
            return None
        return min(edge for edge in (day.pre_open, day.open, day.close, day.post_close) if edge > moment)

    def next_open(self, venue: Venue, moment: datetime, *, extended: bool = False) -> datetime | None:
        """The next opening of regular (`extended`: extended) hours after `moment`; None beyond the calendar."""
        start = moment.astimezone(NEW_YORK).date()
        for offset in range(_LONGEST_CLOSURE):
            day = self.day(venue, start + timedelta(days=offset))
            if day is not None and (day.pre_open if extended else day.open) > moment:
                return day.pre_open if extended else day.open
        return None

    def settlement_day(self, trade_date: date) -> date:
        """T+1: the stock market's next trading day (the next weekday beyond the calendar)."""
        for offset in range(1, _LONGEST_CLOSURE):
            day = trade_date + timedelta(days=offset)
            if self.day(Venue.STOCKS, day) is not None:
                return day
        return trade_date + timedelta(days=1)


def _globex(day: TradingDay) -> TradingDay:
    opened = datetime.combine(day.day - timedelta(days=1), _GLOBEX_OPEN, NEW_YORK)
    closed = datetime.combine(day.day, _GLOBEX_EARLY_CLOSE if day.early_close else _GLOBEX_CLOSE, NEW_YORK)
    start, end = opened.astimezone(day.open.tzinfo), closed.astimezone(day.open.tzinfo)
    return TradingDay(day.day, start, start, end, end, day.early_close)


def midnight_after(moment: datetime) -> datetime:
    """The next midnight in New York, in UTC order."""
    local = moment.astimezone(NEW_YORK).date() + timedelta(days=1)
    return datetime.combine(local, time(0), NEW_YORK).astimezone(moment.tzinfo)


def trade_date(moment: datetime) -> date:
    """The date in New York."""
    return moment.astimezone(NEW_YORK).date()
