"""Bars out of steps: what was streamed equals what is read back, on IB's grid of intervals."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.market_data import VOLATILITY_SOURCES, Bar, BarSize, BarSource
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.history import LiveBar, bucket_at, exchange_date, midnight, schedule
from moondev_ibkr.brokers.simulation.market import PriceStep, TickKind
from moondev_ibkr.brokers.simulation.replay import ReplayPrices
from moondev_ibkr.brokers.simulation.synthetic import SyntheticPrices
from moondev_ibkr.brokers.simulation.tapes import WalkedPrices

from .price_fakes import MONDAY, WeekdayCalendar, at, daily, rising, weekdays

CALENDAR = WeekdayCalendar()
AAPL = 265598


def step(
    clock: str, last: str | None, size: int = 100, bid: str = "9.99", ask: str = "10.01", day: date = MONDAY
) -> PriceStep:
    return PriceStep(
        at(day, clock),
        1,
        Decimal(bid),
        Decimal(ask),
        Decimal(100),
        Decimal(100),
        None if last is None else Decimal(last),
        None if last is None else Decimal(size),
    )


def clock(bar: Bar) -> str:
    return f"{bar.time.astimezone(at(MONDAY, '09:30').tzinfo) - timedelta(hours=4):%H:%M:%S}"


@pytest.mark.parametrize(
    ("size", "clocks"),
    [
        (BarSize.H1, ["09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]),
        (BarSize.M30, [f"{h:02}:{m:02}" for h in range(9, 16) for m in (0, 30)][1:]),
        (BarSize.H2, ["09:30", "10:00", "12:00", "14:00"]),
        (BarSize.H4, ["09:30", "12:00"]),
    ],
)
def test_intraday_bars_start_on_the_clock_and_the_first_at_the_open(size: BarSize, clocks: list[str]) -> None:
    """As the recorded hours of AAPL: 09:30, 10:00, 11:00 … 15:00."""
    market = ReplayPrices([daily("AAPL", rising(3))], CALENDAR, start=weekdays(2)[1], prints=400)
    day = weekdays(2)[1]
    now = at(day, "20:00")
    bars = market.history(AAPL, size, BarSource.TRADES, start=at(day, "00:00"), end=now, now=now)
    assert [clock(bar)[:5] for bar in bars] == clocks
    assert all(bar.complete for bar in bars)
    assert sum(bar.volume or 0 for bar in bars) == 100_001


@pytest.mark.parametrize("regular_hours", [True, False])
@pytest.mark.parametrize("size", list(BarSize))
def test_buckets_cover_the_session_without_holes(size: BarSize, regular_hours: bool) -> None:
    day = WeekdayCalendar(half_days=[MONDAY]).trading_day(MONDAY)
    assert day is not None
    opens, closes = (day.open, day.close) if regular_hours else (day.pre_open, day.post_close)
    assert bucket_at(opens - timedelta(seconds=1), day, size, regular_hours, CALENDAR) is None
    assert bucket_at(closes + timedelta(seconds=1), day, size, regular_hours, CALENDAR) is None
    moment, seen = opens, 0
    while moment < closes and seen < 50:
        bucket = bucket_at(moment, day, size, regular_hours, CALENDAR)
        assert bucket is not None
        assert bucket.start <= moment < bucket.end
        assert bucket.holds(moment)
        assert size.is_intraday is False or bucket.start == moment
        assert bucket.end - bucket.start <= timedelta(seconds=size.seconds)
        moment, seen = bucket.end + timedelta(microseconds=0 if bucket.end != day.close else 1), seen + 1
        if bucket.end == day.close and not regular_hours and size.is_intraday:
            # The closing print is the last of its bar; one microsecond later the next bar has begun.
            following = bucket_at(moment, day, size, regular_hours, CALENDAR)
            assert following is not None
            assert following.start == day.close
            break


@pytest.mark.parametrize("source", [source for source in BarSource if source not in VOLATILITY_SOURCES])
@pytest.mark.parametrize("size", [BarSize.M5, BarSize.M30, BarSize.H1, BarSize.D1])
def test_streamed_bars_equal_the_history_read_afterwards(size: BarSize, source: BarSource) -> None:
    market = ReplayPrices([daily("AAPL", rising(5))], CALENDAR, start=weekdays(2)[1], prints=50)
    live = LiveBar(size, source, CALENDAR)
    streamed: list[Bar] = []
    for each in market.steps():
        streamed += live.feed(each)
    assert market.end is not None
    streamed += live.advance(market.end)
    read = market.history(AAPL, size, source, start=midnight(weekdays(2)[1]), end=market.end, now=market.end)
    assert streamed == read
    assert all(bar.complete for bar in read)
    assert len(read) >= 4


def test_the_live_bar_equals_the_incomplete_bar_of_history_at_every_moment() -> None:
    market = ReplayPrices([daily("AAPL", rising(4))], CALENDAR, start=weekdays(2)[1])
    live = LiveBar(BarSize.D1, BarSource.TRADES, CALENDAR)
    checked = 0
    for each in market.steps():
        live.feed(each)
        read = market.history(AAPL, BarSize.D1, BarSource.TRADES, start=midnight(MONDAY), end=each.time, now=each.time)
        day = CALENDAR.trading_day(exchange_date(each.time))
        assert day is not None
        if each.time < day.close:
            assert live.bar == read[-1]
            assert read[-1].complete is False
            checked += 1
    assert checked > 60


@pytest.mark.parametrize("regular_hours", [True, False])
@pytest.mark.parametrize(
    "market",
    [
        ReplayPrices([daily("AAPL", rising(9))], CALENDAR, start=weekdays(9)[7], quiet=3),
        ReplayPrices([daily("AAPL", rising(9, base=97, volume=11))], CALENDAR, start=weekdays(9)[7]),
        SyntheticPrices(CALENDAR, symbols=["AAPL"], start=weekdays(9)[7], halts=1.0),
        FlatPrices({"AAPL": 265}, CALENDAR, at(weekdays(9)[7], "11:00")),
    ],
)
def test_the_bar_of_a_day_that_is_over_is_the_bar_of_its_ticks(market: WalkedPrices, regular_hours: bool) -> None:
    now = at(weekdays(9)[-1], "20:00")
    for day in weekdays(9)[-4:]:
        live = LiveBar(BarSize.D1, BarSource.TRADES, CALENDAR, regular_hours=regular_hours)
        begin, end = at(day, "04:00"), at(day, "20:00")
        ticks = market.ticks(
            AAPL, TickKind.TRADES, start=begin, end=end, now=now, number=9999, regular_hours=regular_hours
        )
        (made,) = [bar for step in ticks for bar in live.feed(step)] + live.advance(end)
        (read,) = market.history(
            AAPL, BarSize.D1, BarSource.TRADES, start=midnight(day), end=end, now=now, regular_hours=regular_hours
        )
        assert read == made
        assert read.complete


def test_a_live_bar_goes_on_from_what_history_returned() -> None:
    market = ReplayPrices([daily("AAPL", rising(6))], CALENDAR, start=weekdays(2)[1])
    now = at(weekdays(4)[-1], "12:00")
    for size in (BarSize.D1, BarSize.W1, BarSize.MONTH1):
        read = market.history(AAPL, size, BarSource.TRADES, start=midnight(date(2024, 1, 1)), end=now, now=now)
        live = LiveBar(size, BarSource.TRADES, CALENDAR, current=read[-1])
        later = [each for each in market.steps() if now < each.time <= at(weekdays(4)[-1], "15:00")]
        for each in later:
            live.feed(each)
        then = later[-1].time
        wanted = market.history(AAPL, size, BarSource.TRADES, start=midnight(date(2024, 1, 1)), end=then, now=then)[-1]
        assert live.bar is not None
        assert (live.bar.time, live.bar.open, live.bar.high, live.bar.low, live.bar.close, live.bar.count) == (
            wanted.time,
            wanted.open,
            wanted.high,
            wanted.low,
            wanted.close,
            wanted.count,
        )
        assert live.bar.volume == wanted.volume
        assert live.bar.average == pytest.approx(wanted.average)


def test_the_closing_print_belongs_to_the_bar_that_it_closes() -> None:
    live = LiveBar(BarSize.M1, BarSource.TRADES, CALENDAR)
    assert live.feed(step("15:59:30", "10")) == []
    assert live.feed(step("16:00", "11")) == []
    (bar,) = live.advance(at(MONDAY, "16:00"))
    assert (clock(bar), bar.open, bar.close, bar.volume) == ("15:59:00", 10.0, 11.0, 200.0)
    assert live.bar is None


def test_the_closing_print_after_a_lull_still_closes_the_last_bar() -> None:
    live = LiveBar(BarSize.M1, BarSource.BID, CALENDAR)
    live.feed(step("15:57:30", "10"))
    closed = live.feed(step("16:00", "11", bid="10.50", ask="11.50")) + live.advance(at(MONDAY, "16:00"))
    assert [(clock(bar), bar.open, bar.close) for bar in closed] == [
        ("15:57:00", 9.99, 9.99),
        ("15:58:00", 9.99, 9.99),
        ("15:59:00", 9.99, 10.5),
    ]


def test_five_second_bars_come_every_five_seconds_whatever_happens() -> None:
    live = LiveBar(BarSize.S5, BarSource.TRADES, CALENDAR, fill=True)
    live.feed(step("10:00:01", "10"))
    bars = [bar for second in (5, 10, 15) for bar in live.advance(at(MONDAY, f"10:00:{second:02}"))]
    assert [(clock(bar), bar.close, bar.volume, bar.count) for bar in bars] == [
        ("10:00:00", 10.0, 100.0, 1),
        ("10:00:05", 10.0, 0.0, 0),
        ("10:00:10", 10.0, 0.0, 0),
    ]


def test_bars_of_trades_leave_silent_intervals_out() -> None:
    live = LiveBar(BarSize.M1, BarSource.TRADES, CALENDAR)
    closed = live.feed(step("10:00:01", "10")) + live.feed(step("10:05:01", "11")) + live.feed(step("10:06", None))
    assert [clock(bar) for bar in closed] == ["10:00:00", "10:05:00"]


def test_volume_average_and_count_are_of_the_prints() -> None:
    live = LiveBar(BarSize.M1, BarSource.TRADES, CALENDAR)
    for each in (step("10:00:01", "10", 100), step("10:00:02", None), step("10:00:03", "11", 300)):
        live.feed(each)
    bar = live.bar
    assert bar is not None
    assert (bar.volume, bar.average, bar.count, bar.complete) == (400.0, 10.75, 2, False)


def test_bid_ask_bars_average_both_sides_over_time() -> None:
    live = LiveBar(BarSize.M1, BarSource.BID_ASK, CALENDAR)
    live.feed(step("10:00:00", None, bid="10", ask="12"))
    live.feed(step("10:00:45", None, bid="14", ask="16"))
    (bar,) = live.advance(at(MONDAY, "10:01"))
    assert (bar.open, bar.high, bar.low, bar.close) == (11.0, 16.0, 10.0, 13.0)
    assert (bar.volume, bar.average, bar.count) == (None, None, None)


@pytest.mark.parametrize(
    ("source", "value"), [(BarSource.BID, 9.99), (BarSource.ASK, 10.01), (BarSource.MIDPOINT, 10.0)]
)
def test_quote_sources_take_their_side(source: BarSource, value: float) -> None:
    live = LiveBar(BarSize.M1, source, CALENDAR)
    live.feed(step("10:00", "10"))
    assert live.bar is not None
    assert (live.bar.open, live.bar.close) == (pytest.approx(value), pytest.approx(value))


def test_steps_outside_regular_hours_count_only_when_asked_for() -> None:
    early = step("08:00", "10")
    regular, all_hours = (LiveBar(BarSize.H1, BarSource.TRADES, CALENDAR, regular_hours=flag) for flag in (True, False))
    regular.feed(early)
    all_hours.feed(early)
    assert regular.bar is None
    assert all_hours.bar is not None
    assert clock(all_hours.bar) == "08:00:00"


def test_weeks_and_months_are_the_days_put_together() -> None:
    market = ReplayPrices([daily("AAPL", rising(12))], CALENDAR, start=weekdays(2)[1])
    now = at(weekdays(9)[-1], "11:00")
    days = market.history(AAPL, BarSize.D1, BarSource.TRADES, start=midnight(MONDAY), end=now, now=now)
    weeks = market.history(AAPL, BarSize.W1, BarSource.TRADES, start=midnight(MONDAY), end=now, now=now)
    assert [(bar.time.date(), bar.complete) for bar in weeks] == [(MONDAY, True), (MONDAY + timedelta(days=7), False)]
    for week, part in zip(weeks, (days[:5], days[5:]), strict=True):
        assert (week.open, week.close) == (part[0].open, part[-1].close)
        assert (week.high, week.low) == (max(bar.high for bar in part), min(bar.low for bar in part))
        assert week.volume == sum(bar.volume or 0 for bar in part)
    (month,) = market.history(
        AAPL, BarSize.MONTH1, BarSource.TRADES, start=midnight(date(2024, 3, 1)), end=now, now=now
    )
    assert (month.time.date(), month.open, month.close) == (date(2024, 3, 1), days[0].open, days[-1].close)
    # A week that began before the window is not in it.
    assert (
        len(market.history(AAPL, BarSize.W1, BarSource.TRADES, start=midnight(weekdays(2)[1]), end=now, now=now)) == 1
    )


def test_a_window_takes_the_bars_that_start_in_it() -> None:
    market = ReplayPrices([daily("AAPL", rising(5))], CALENDAR, start=weekdays(2)[1], prints=400)
    now = at(weekdays(5)[-1], "16:00")
    day = weekdays(3)[-1]
    hours = market.history(AAPL, BarSize.H1, BarSource.TRADES, start=at(day, "10:00"), end=at(day, "12:00"), now=now)
    assert [clock(bar) for bar in hours] == ["10:00:00", "11:00:00"]
    none = market.history(AAPL, BarSize.H1, BarSource.TRADES, start=at(day, "18:00"), end=at(day, "19:00"), now=now)
    assert none == []


def test_the_schedule_is_the_calendar() -> None:
    days = weekdays(5)
    calendar = WeekdayCalendar(closed=[days[1]], half_days=[days[2]])
    rows = schedule(calendar, days[0], days[4])
    assert [row.day for row in rows] == [days[0], days[2], days[3], days[4]]
    assert (rows[0].start, rows[0].end) == (at(days[0], "09:30"), at(days[0], "16:00"))
    assert rows[1].end == at(days[2], "13:00")
    assert schedule(calendar, days[0], days[0], regular_hours=False)[0].start == at(days[0], "04:00")
