"""Where a moment lies: the contract's own hours first, then the calendar; half days, nights, and the unknown."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar, hours_of
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails, SecType
from moondev_ibkr.brokers.domain.sessions import Session

NEW_YORK = ZoneInfo("America/New_York")
CALENDAR = MarketCalendar()
#: The day after Thanksgiving: the regular session ends at 13:00, the one after it at 17:00.
HALF_DAY = date(2026, 11, 27)
PLAIN = "20261126:CLOSED;20261127:0400-20261127:1700;20261128:CLOSED;20261130:0400-20261130:2000"
LIQUID = "20261126:CLOSED;20261127:0930-20261127:1300;20261128:CLOSED;20261130:0930-20261130:1600"
#: A contract that trades from the evening before until the next.
NIGHT = "20261129:2000-20261130:2000"


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=NEW_YORK).astimezone(UTC)


def stock(trading: str = "", liquid: str = "") -> InstrumentDetails:
    return InstrumentDetails(Instrument("AAPL"), trading_hours=trading, liquid_hours=liquid)


@pytest.mark.parametrize("details", [stock(PLAIN, LIQUID), stock()], ids=["contract", "calendar"])
@pytest.mark.parametrize(
    ("moment", "session"),
    [
        (at(27, 3, 59), Session.CLOSED),
        (at(27, 4), Session.PRE),
        (at(27, 9, 30), Session.REGULAR),
        (at(27, 12, 59), Session.REGULAR),
        (at(27, 13), Session.POST),
        (at(27, 16, 59), Session.POST),
        (at(27, 17), Session.CLOSED),
        (at(26, 12), Session.CLOSED),
    ],
)
def test_a_half_day_is_the_same_by_contract_and_by_calendar(
    details: InstrumentDetails, moment: datetime, session: Session
) -> None:
    assert hours_of(details, moment, CALENDAR).session is session


@pytest.mark.parametrize("details", [stock(PLAIN, LIQUID), stock()], ids=["contract", "calendar"])
def test_the_day_says_when_it_ends_early(details: InstrumentDetails) -> None:
    day = hours_of(details, at(27, 11), CALENDAR).day
    assert day is not None
    assert (day.day, day.close, day.post_close, day.early_close) == (HALF_DAY, at(27, 13), at(27, 17), True)
    full = hours_of(details, at(30, 11), CALENDAR).day
    assert full is not None
    assert not full.early_close
    assert hours_of(details, at(26, 11), CALENDAR).day is None


def test_the_contract_knows_of_a_close_that_the_calendar_does_not() -> None:
    told = hours_of(stock("20261130:0400-20261130:1500", "20261130:0930-20261130:1200"), at(30, 12, 30), CALENDAR)
    assert told.session is Session.POST
    assert told.day is not None
    assert told.day.early_close


def test_hours_through_the_night_are_overnight_and_not_before_the_open() -> None:
    details = stock(NIGHT, "20261130:0930-20261130:1600")
    assert hours_of(details, at(30, 1), CALENDAR).session is Session.OVERNIGHT
    assert hours_of(details, at(29, 21), CALENDAR).session is Session.OVERNIGHT
    told = hours_of(details, at(30, 5), CALENDAR)
    assert told.session is Session.PRE
    assert told.day is not None
    assert told.day.pre_open == at(30, 4)


def test_a_future_that_trades_at_night_is_in_its_regular_session() -> None:
    future = InstrumentDetails(
        Instrument("MES", SecType.FUTURE, exchange="CME"), trading_hours=NIGHT, liquid_hours=NIGHT
    )
    assert hours_of(future, at(30, 1), CALENDAR).session is Session.REGULAR


def test_beyond_both_nothing_is_known() -> None:
    told = hours_of(stock(PLAIN, LIQUID), datetime(2040, 1, 3, 15, tzinfo=UTC), CALENDAR)
    assert (told.session, told.day) == (Session.UNKNOWN, None)
