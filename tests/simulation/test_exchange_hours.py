"""Sessions of both venues from one calendar, the project's own among them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.simulation.hours import Hours, Venue, midnight_after, trade_date

from .exchange_fakes import Weekdays, at

HOURS = Hours(Weekdays(half_days=[date(2026, 11, 27)], holidays=[date(2026, 11, 26)]))
MOMENTS = st.datetimes(datetime(2026, 3, 1), datetime(2026, 12, 20), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.sampled_from(Venue), MOMENTS)
def test_between_two_boundaries_the_session_stays(venue, moment):
    edge = HOURS.next_boundary(venue, moment)
    assert edge is not None
    assert edge > moment
    before = HOURS.session_at(venue, moment)
    assert HOURS.session_at(venue, moment + (edge - moment) / 2) is before
    assert HOURS.session_at(venue, edge) is not before


@pytest.mark.parametrize(
    ("venue", "moment", "session"),
    [
        (Venue.STOCKS, at("03:59:59"), Session.CLOSED),
        (Venue.STOCKS, at("04:00"), Session.PRE),
        (Venue.STOCKS, at("09:30"), Session.REGULAR),
        (Venue.STOCKS, at("16:00"), Session.POST),
        (Venue.STOCKS, at("20:00"), Session.CLOSED),
        (Venue.STOCKS, at("12:00", "2026-04-18"), Session.CLOSED),
        (Venue.STOCKS, at("13:00", "2026-11-27"), Session.POST),
        (Venue.FUTURES, at("16:59:59"), Session.REGULAR),
        (Venue.FUTURES, at("17:00"), Session.CLOSED),
        (Venue.FUTURES, at("18:00"), Session.REGULAR),
        (Venue.FUTURES, at("18:00", "2026-04-17"), Session.CLOSED),
        (Venue.FUTURES, at("17:59", "2026-04-19"), Session.CLOSED),
        (Venue.FUTURES, at("18:00", "2026-04-19"), Session.REGULAR),
        (Venue.FUTURES, at("13:15", "2026-11-27"), Session.CLOSED),
    ],
)
def test_sessions(venue, moment, session):
    assert HOURS.session_at(venue, moment) is session


def test_openings_settlement_and_days():
    friday = at("10:00", "2026-04-17")
    assert HOURS.next_open(Venue.STOCKS, friday) == at("09:30", "2026-04-20")
    assert HOURS.next_open(Venue.STOCKS, friday, extended=True) == at("04:00", "2026-04-20")
    assert HOURS.settlement_day(date(2026, 4, 17)) == date(2026, 4, 20)
    assert HOURS.settlement_day(date(2026, 11, 25)) == date(2026, 11, 27)
    assert midnight_after(at("23:59")) == at("00:00", "2026-04-16")
    assert midnight_after(at("00:00")) == at("00:00", "2026-04-16")
    assert trade_date(datetime(2026, 4, 16, 3, 59, tzinfo=UTC)) == date(2026, 4, 15)


def test_beyond_the_calendar_everything_rests():
    class Nothing:
        def trading_day(self, day: date) -> None:
            return None

    hours = Hours(Nothing())
    moment = at("10:00")
    assert hours.session_at(Venue.STOCKS, moment) is Session.CLOSED
    assert hours.next_boundary(Venue.STOCKS, moment) is None
    assert hours.next_open(Venue.FUTURES, moment) is None
    assert hours.settlement_day(moment.date()) == moment.date() + timedelta(days=1)


def test_with_the_projects_own_calendar():
    hours = Hours(MarketCalendar())
    good_friday = at("12:00", "2026-04-03")
    assert hours.session_at(Venue.STOCKS, good_friday) is Session.CLOSED
    day = hours.day(Venue.STOCKS, date(2026, 11, 27))
    assert day is not None
    assert (day.early_close, day.close) == (True, at("13:00", "2026-11-27"))
