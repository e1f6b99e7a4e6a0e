"""Symbols, tick grids, quotes, bar sizes, sessions, clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers import errors
from moondev_ibkr.brokers.domain.clock import ManualClock, MarketClock, SystemClock
from moondev_ibkr.brokers.domain.instrument import (
    Instrument,
    InstrumentDetails,
    PriceIncrement,
    Rounding,
    SecType,
    normalize_symbol,
)
from moondev_ibkr.brokers.domain.market_data import BarSize, Quote
from moondev_ibkr.brokers.domain.sessions import Session, TradingDay

WHEN = datetime(2024, 3, 4, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["brk-b", "BRK.B", "BRK B", " brk/b ", "BRK  B"])
def test_a_share_class_has_one_spelling(text):
    assert normalize_symbol(text) == "BRK B"


@pytest.mark.parametrize("text", ["", "   ", "A;DROP", "é", "A" * 31, None, 5])
def test_what_is_no_ticker_is_refused(text):
    with pytest.raises(errors.InvalidInstrument):
        normalize_symbol(text)


@given(st.from_regex(r"[A-Z]{1,5}", fullmatch=True))
def test_normalising_twice_changes_nothing(symbol):
    assert normalize_symbol(normalize_symbol(symbol.lower())) == symbol


def test_an_option_needs_its_three_parts():
    option = Instrument("AAPL", SecType.OPTION, expiry=date(2024, 6, 21), strike=Decimal(180), right="C")
    assert str(option) == "AAPL OPT 20240621 180 C"
    assert str(Instrument("aapl")) == "AAPL"
    for missing in ("expiry", "strike", "right"):
        parts = {"expiry": date(2024, 6, 21), "strike": Decimal(180), "right": "C", missing: None}
        with pytest.raises(errors.InvalidInstrument, match="expiry, strike and right"):
            Instrument("AAPL", SecType.OPTION, **parts)


BANDS = InstrumentDetails(
    Instrument("AAPL"),
    increments=(PriceIncrement(Decimal(0), Decimal("0.0001")), PriceIncrement(Decimal(1), Decimal("0.01"))),
)


def test_o26_the_tick_goes_by_the_orders_own_price():
    assert BANDS.increment_at(Decimal("0.99")) == Decimal("0.0001")
    assert BANDS.increment_at(Decimal(1)) == Decimal("0.01")
    assert BANDS.on_tick(Decimal("0.9999"))
    assert not BANDS.on_tick(Decimal("1.001"))


@given(st.decimals("0.0001", 10_000, places=6), st.sampled_from(Rounding))
def test_rounding_lands_on_the_grid_on_the_right_side(price, rounding):
    rounded = BANDS.round_price(price, rounding)
    step = BANDS.increment_at(price)
    assert rounded % step == 0
    assert abs(rounded - price) < step
    if rounding is Rounding.DOWN:
        assert rounded <= price
    if rounding is Rounding.UP:
        assert rounded >= price


@pytest.mark.parametrize(
    ("bid", "ask", "mid"), [(1.0, 2.0, 1.5), (None, 2.0, None), (1.0, None, None), (2.0, 1.0, None), (0.0, 1.0, None)]
)
def test_a_mid_needs_two_sides(bid, ask, mid):
    quote = Quote(Instrument("AAPL"), WHEN, bid=bid, ask=ask)
    assert quote.mid == mid
    assert quote.age(WHEN + timedelta(seconds=3)) == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1m", BarSize.M1),
        ("1M", BarSize.MONTH1),
        ("5m", BarSize.M5),
        ("1h", BarSize.H1),
        ("1H", BarSize.H1),
        ("1d", BarSize.D1),
        ("1D", BarSize.D1),
        ("1W", BarSize.W1),
        ("30s", BarSize.S30),
    ],
)
def test_short_bar_sizes(text, size):
    assert BarSize.parse(text) is size


@pytest.mark.parametrize("size", BarSize)
def test_ibs_own_spelling_is_accepted_and_has_a_length(size):
    assert BarSize.parse(size.value) is size
    assert size.seconds > 0
    assert size.is_intraday == (size.seconds < 86_400)


@pytest.mark.parametrize("text", ["7m", "1y", "", "min", "5 minutes"])
def test_h09_a_bar_size_that_the_broker_lacks_is_refused(text):
    with pytest.raises(errors.InvalidRequest):
        BarSize.parse(text)


def test_a_trading_day_knows_its_sessions():
    hour = lambda number: WHEN.replace(hour=number)  # noqa: E731
    day = TradingDay(WHEN.date(), hour(9), hour(14), hour(21), hour(23))
    told = [day.session_at(hour(number)) for number in (8, 9, 13, 14, 20, 21, 22, 23)]
    assert told == [
        Session.CLOSED,
        Session.PRE,
        Session.PRE,
        Session.REGULAR,
        Session.REGULAR,
        Session.POST,
        Session.POST,
        Session.CLOSED,
    ]


# Clocks


def test_the_manual_clock_moves_by_hand_and_never_back():
    clock = ManualClock(WHEN.astimezone(timezone(timedelta(hours=-5))), monotonic=5)
    clock.advance(2)
    assert (clock.now(), clock.monotonic()) == (WHEN + timedelta(seconds=2), 7)
    clock.set_now(WHEN + timedelta(days=1))
    assert clock.monotonic() == 7
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="go back"):
        clock.set_now(WHEN)
    with pytest.raises(ValueError, match="time zone"):
        ManualClock(WHEN.replace(tzinfo=None))


def test_market_time_runs_on_from_what_was_told():
    moments = iter([10.0, 12.0, 13.0, 20.0])
    clock = MarketClock(monotonic=lambda: next(moments), rate=2.0)
    clock.tell(WHEN)
    assert clock.now() == WHEN + timedelta(seconds=4)
    assert clock.monotonic() == 13.0
    with pytest.raises(ValueError, match="time zone"):
        clock.tell(WHEN.replace(tzinfo=None))


def test_c28_the_offset_to_the_machines_clock():
    clock = MarketClock()
    assert abs(clock.offset()) < timedelta(seconds=1)
    clock.tell(datetime.now(UTC) + timedelta(minutes=5))
    assert timedelta(minutes=4) < clock.offset() < timedelta(minutes=6)


def test_the_system_clock_is_utc():
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


# Errors


def test_the_drawn_tree_is_the_real_one():
    drawn = {
        line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if line.strip() and ("──" in line or line == "BrokerError")
    }
    real = {name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)}
    assert drawn == real


def test_an_error_says_what_why_and_what_next():
    error = errors.NotConnected("order k1", "the link is down", "wait", key="k1")
    assert str(error) == "order k1: the link is down (wait)"
    assert error.data == {"key": "k1"}
    refusal = errors.RiskRefusal("buy", "too much", rule="max_value", value=2, limit=1, largest=Decimal(5))
    assert str(refusal) == "buy: too much [rule max_value: value 2, limit 1, largest order that fits 5]"
    late = errors.DeadlineExceeded("quote", timedelta(seconds=2))
    assert str(late) == "quote: no answer within 2 s"
    assert errors.OrderRejected("o", "no", code=201).code == 201
    assert errors.RequestFailed("q", code=162).code == 162
    assert errors.ConnectFailed("c", kind="refused").kind == "refused"
    assert errors.StaleData("q", age=timedelta(seconds=1)).age == timedelta(seconds=1)
