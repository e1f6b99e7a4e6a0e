"""Trading days against dates checked by hand, sessions, and IB's way of writing hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.calendar import (
    LAST_YEAR,
    MarketCalendar,
    calendar_for,
    parse_hours,
    session_of,
)
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import InvalidData, InvalidRequest

NEW_YORK = ZoneInfo("America/New_York")
nyse = MarketCalendar("NYSE")
cme = MarketCalendar("CME")


def eastern(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


#: Days on which the NYSE did not trade.
CLOSED = [
    "2006-01-02",
    "2006-01-16",
    "2006-02-20",
    "2006-04-14",
    "2006-05-29",
    "2006-07-04",
    "2006-09-04",
    "2006-11-23",
    "2006-12-25",
    "2007-01-01",
    "2007-01-02",
    "2007-04-06",
    "2007-11-22",
    "2008-03-21",
    "2010-12-24",
    "2011-04-22",
    "2012-01-02",
    "2012-04-06",
    "2012-10-29",
    "2012-10-30",
    "2012-12-25",
    "2013-03-29",
    "2013-11-28",
    "2013-12-25",
    "2023-06-19",
    "2023-11-23",
    "2024-03-29",
    "2025-01-09",
    "2025-06-19",
    "2026-04-03",
    "2026-06-19",
    "2026-07-03",
    "2026-11-26",
    "2026-12-25",
    "2027-01-01",
    "2027-03-26",
    "2027-06-18",
    "2027-07-05",
    "2027-11-25",
    "2027-12-24",
    "2026-11-28",
    "2026-11-29",
]
#: Days that closed at 13:00.
HALF = [
    "2006-07-03",
    "2006-11-24",
    "2007-07-03",
    "2007-11-23",
    "2007-12-24",
    "2008-07-03",
    "2009-11-27",
    "2009-12-24",
    "2012-07-03",
    "2012-11-23",
    "2012-12-24",
    "2013-07-03",
    "2013-11-29",
    "2013-12-24",
    "2023-07-03",
    "2023-11-24",
    "2024-07-03",
    "2024-11-29",
    "2024-12-24",
    "2025-07-03",
    "2025-11-28",
    "2025-12-24",
    "2026-11-27",
    "2026-12-24",
    "2027-11-26",
]
#: Full days next to them.
FULL = [
    "2007-01-03",
    "2008-12-26",
    "2010-12-23",
    "2012-10-26",
    "2012-10-31",
    "2021-06-18",
    "2025-01-10",
    "2026-07-02",
    "2027-12-23",
]


@pytest.mark.parametrize("day", CLOSED)
def test_holidays_and_closures(day):
    assert nyse.trading_day(date.fromisoformat(day)) is None
    assert nyse.session_at(eastern(f"{day}T12:00")) is Session.CLOSED


@pytest.mark.parametrize("day", HALF)
def test_half_days_close_at_one_and_post_ends_at_five(day):
    row = nyse.trading_day(date.fromisoformat(day))
    assert row is not None
    assert row.early_close
    assert row.close == eastern(f"{day}T13:00")
    assert row.post_close == eastern(f"{day}T17:00")


@pytest.mark.parametrize("day", FULL)
def test_full_days(day):
    row = nyse.trading_day(date.fromisoformat(day))
    assert row is not None
    assert not row.early_close
    assert (row.pre_open, row.open) == (eastern(f"{day}T04:00"), eastern(f"{day}T09:30"))
    assert (row.close, row.post_close) == (eastern(f"{day}T16:00"), eastern(f"{day}T20:00"))


@pytest.mark.parametrize(("year", "days"), [(2006, 251), (2012, 250), (2013, 252), (2024, 252), (2026, 251)])
def test_days_of_a_year(year, days):
    assert len(nyse.trading_days(date(year, 1, 1), date(year, 12, 31))) == days


@pytest.mark.parametrize(
    ("moment", "session"),
    [
        ("2026-11-20T03:59:59", Session.CLOSED),
        ("2026-11-20T04:00:00", Session.PRE),
        ("2026-11-20T09:29:59", Session.PRE),
        ("2026-11-20T09:30:00", Session.REGULAR),
        ("2026-11-20T15:59:59", Session.REGULAR),
        ("2026-11-20T16:00:00", Session.POST),
        ("2026-11-20T20:00:00", Session.CLOSED),
        ("2026-11-27T13:00:00", Session.POST),
        ("2026-11-27T16:59:59", Session.POST),
        ("2026-11-27T17:00:00", Session.CLOSED),
        ("2026-03-09T09:30:00", Session.REGULAR),  # the Monday after clocks went forward
        ("2026-11-02T09:30:00", Session.REGULAR),  # and back
        ("2026-12-31T19:00:00", Session.POST),  # already next year in UTC
        ("1989-06-01T12:00:00", Session.UNKNOWN),
        ("2036-06-02T12:00:00", Session.UNKNOWN),
    ],
)
def test_session_at(moment, session):
    assert nyse.session_at(eastern(moment)) is session


@settings(deadline=None)  # a year's first look-up loads it
@given(st.integers(0, 25 * 365 * 86_400))
def test_a_moment_lies_where_its_day_says(seconds):
    moment = datetime(2005, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    day = nyse.day_at(moment)
    assert nyse.session_at(moment) is (Session.CLOSED if day is None else day.session_at(moment))
    after, before = nyse.next_day(moment), nyse.previous_day(moment)
    assert before.close <= moment < after.open
    assert nyse.days_between(before.day, after.day) in (1, 2)  # 2: the session under way lies between


def test_neighbours_over_a_holiday_and_a_year_end():
    assert nyse.next_open(eastern("2026-11-25T16:00")) == eastern("2026-11-27T09:30")
    assert nyse.next_open(eastern("2026-11-27T09:30")) == eastern("2026-11-30T09:30")
    assert nyse.previous_close(eastern("2026-11-27T12:59:59")) == eastern("2026-11-25T16:00")
    assert nyse.previous_close(eastern("2026-11-27T13:00")) == eastern("2026-11-27T13:00")
    assert nyse.next_open(eastern("2012-10-26T18:00")) == eastern("2012-10-31T09:30")
    assert nyse.previous_day(eastern("2026-01-01T12:00")).day == date(2025, 12, 31)
    assert nyse.next_day(eastern("2025-12-31T19:59")).day == date(2026, 1, 2)
    assert nyse.today(eastern("2026-11-27T23:00")) == nyse.trading_day(date(2026, 11, 27))
    assert nyse.today(eastern("2026-11-28T12:00")) is None


def test_days_between_counts_closes_lived_through():
    assert nyse.days_between(date(2026, 11, 25), date(2026, 11, 25)) == 0
    assert nyse.days_between(date(2026, 11, 25), date(2026, 11, 30)) == 2
    assert nyse.days_between(date(2012, 10, 26), date(2012, 10, 31)) == 1
    assert nyse.trading_days(date(2026, 11, 30), date(2026, 11, 25)) == []


def test_what_lies_outside_is_refused_or_unknown():
    assert nyse.trading_day(date(1950, 1, 3)) is None
    assert nyse.day_at(eastern("1950-01-03T12:00")) is None
    for call in (nyse.next_open, nyse.previous_close):
        with pytest.raises(InvalidRequest):
            call(eastern(f"{LAST_YEAR + 1}-06-01T12:00"))
    with pytest.raises(InvalidRequest):
        nyse.trading_days(date(1900, 1, 1), date(2026, 1, 1))
    with pytest.raises(InvalidRequest, match="time zone"):
        nyse.session_at(datetime(2026, 11, 20, 12))  # noqa: DTZ001
    with pytest.raises(InvalidRequest, match="no such calendar"):
        MarketCalendar("LSE")


def test_index_futures_trade_through_the_night():
    monday = cme.trading_day(date(2026, 11, 30))
    assert monday is not None
    assert monday.open == datetime(2026, 11, 29, 23, 0, tzinfo=UTC)  # Sunday 17:00 in Chicago
    assert monday.close == datetime(2026, 11, 30, 22, 0, tzinfo=UTC)
    assert cme.session_at(datetime(2026, 11, 30, 3, 0, tzinfo=UTC)) is Session.REGULAR
    assert cme.session_at(datetime(2026, 11, 30, 22, 30, tzinfo=UTC)) is Session.CLOSED
    short = cme.trading_day(date(2026, 11, 27))
    assert short is not None
    assert short.early_close
    assert not monday.early_close


def test_one_calendar_is_shared():
    assert calendar_for("NYSE") is calendar_for("NYSE")


# IB's hours


def test_hours_as_ib_writes_them():
    assert nyse.liquid_hours(date(2026, 11, 25), 4) == (
        "20261125:0930-20261125:1600;20261126:CLOSED;20261127:0930-20261127:1300;20261128:CLOSED"
    )
    assert nyse.trading_hours(date(2026, 11, 26), 2) == "20261126:CLOSED;20261127:0400-20261127:1700"
    assert cme.trading_hours(date(2026, 11, 30), 1) == "20261129:1700-20261130:1600"


@settings(deadline=None)
@given(st.dates(date(2006, 1, 1), date(2027, 12, 20)), st.integers(0, 6 * 24 * 60 - 1))
def test_hours_read_back_say_what_the_calendar_says(day, minute):
    hours = parse_hours(nyse.trading_hours(day), nyse.liquid_hours(day), "US/Eastern")
    moment = datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC) + timedelta(minutes=minute)
    if moment.astimezone(NEW_YORK).date() in hours.known:
        assert hours.session_at(moment) is nyse.session_at(moment)


def test_days_that_the_hours_do_not_mention_are_unknown_not_closed():
    hours = parse_hours("20261127:0400-20261127:1700;20261128:CLOSED", "20261127:0930-20261127:1300", "US/Eastern")
    assert hours.session_at(eastern("2026-11-28T12:00")) is Session.CLOSED
    assert hours.session_at(eastern("2026-11-27T23:00")) is Session.CLOSED
    assert hours.session_at(eastern("2026-11-30T12:00")) is Session.UNKNOWN
    assert hours.session_at(eastern("2026-11-26T12:00")) is Session.UNKNOWN
    assert hours.days == (date(2026, 11, 27), date(2026, 11, 28))


def test_the_contract_is_asked_before_the_calendar():
    details = InstrumentDetails(
        Instrument("AAPL"), time_zone="US/Eastern", trading_hours="20261120:CLOSED", liquid_hours="20261120:CLOSED"
    )
    assert session_of(details, eastern("2026-11-20T12:00"), nyse) is Session.CLOSED  # an unforeseen closure
    assert session_of(details, eastern("2026-11-23T12:00"), nyse) is Session.REGULAR  # not told: the calendar
    assert session_of(None, eastern("2026-11-20T12:00"), nyse) is Session.REGULAR


def test_other_spellings_of_hours():
    old = parse_hours("20090507:0700-1830,1830-2330;20090508:CLOSED", "20090507:0930-1600", "EST")
    assert old.session_at(eastern("2009-05-07T08:00")) is Session.PRE
    assert old.session_at(eastern("2009-05-07T12:00")) is Session.REGULAR
    assert old.session_at(eastern("2009-05-07T17:00")) is Session.POST
    assert old.session_at(eastern("2009-05-07T20:00")) is Session.POST
    midnight = parse_hours("20260105:0000-20260105:2400", "", "GMT")
    assert midnight.session_at(datetime(2026, 1, 5, 23, 59, tzinfo=UTC)) is Session.REGULAR
    assert midnight.session_at(datetime(2026, 1, 6, 0, 0, tzinfo=UTC)) is not Session.REGULAR
    future = parse_hours("20261129:1700-20261130:1600", "20261130:0830-20261130:1500", "US/Central")
    assert future.session_at(datetime(2026, 11, 30, 3, 0, tzinfo=UTC)) is Session.PRE


@pytest.mark.parametrize(
    "text", ["nonsense", "20261127:0930", "20261127:0930-20261127:0900", "20261327:0930-20261327:1600", "2026:CLOSED"]
)
def test_hours_that_cannot_be_are_refused(text):
    with pytest.raises(InvalidData, match="hours"):
        parse_hours(text, "", "US/Eastern")


@pytest.mark.parametrize("zone", ["Mitteleuropäische Zeit", "", "../etc/passwd"])
def test_a_zone_that_nobody_knows(zone):
    with pytest.raises(InvalidData, match="time zone"):
        parse_hours("20261127:CLOSED", "", zone)
