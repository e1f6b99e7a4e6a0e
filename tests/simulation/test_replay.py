"""Replay: the path stays in its bar, volume is kept, the calendar rules, and nothing from ahead is ever served."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import InvalidData, InvalidRequest, NoData, UnknownInstrument
from moondev_ibkr.brokers.simulation.bars_files import parse_bars
from moondev_ibkr.brokers.simulation.market import TickKind
from moondev_ibkr.brokers.simulation.replay import HISTORY_BARS, ReplayPrices
from moondev_ibkr.brokers.simulation.walk import SourceBar, WalkStyle, walk

from .price_fakes import CENTS, MONDAY, Bars, WeekdayCalendar, at, daily, rising, weekdays

AAPL, MSFT = 265598, 272093
CALENDAR = WeekdayCalendar()


@st.composite
def bars(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    low = draw(st.integers(100, 100_000))
    high = low + draw(st.integers(0, 3_000))
    opened, closed = draw(st.integers(low, high)), draw(st.integers(low, high))
    return opened, high, low, closed, draw(st.integers(0, 10**9))


many_bars = st.lists(bars(), min_size=4, max_size=10)


@given(bar=bars(), prints=st.integers(4, 60), spread=st.integers(1, 6), seed=st.integers(), daily=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_walk_stays_in_its_bar_touches_its_corners_and_keeps_its_volume(
    bar: tuple[int, int, int, int, int], prints: int, spread: int, seed: int, daily: bool
) -> None:
    opened, high, low, closed, volume = bar
    source = SourceBar(at(MONDAY, "09:30"), at(MONDAY, "16:00"), opened, high, low, closed, volume, ends_session=daily)
    steps = walk(source, WalkStyle(prints, spread), CENTS, seed, "X")
    lasts = [raw[5] for raw in steps if raw[5] is not None]
    assert len(steps) == prints
    assert lasts[0] == opened
    assert lasts[-1] == closed
    assert (max(lasts), min(lasts)) == (high, low)
    assert sum(raw[6] for raw in steps) == volume
    assert all(low <= raw[1] <= raw[2] <= high for raw in steps)
    assert all(raw[1] < raw[2] for raw in steps) or high == low
    assert all(raw[1] <= raw[5] <= raw[2] for raw in steps if raw[5] is not None)
    times = [raw[0] for raw in steps]
    assert all(before < after for before, after in pairwise(times))
    assert times[0] == source.start
    assert times[-1] == source.end if daily else times[-1] < source.end


def test_the_walk_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    bar = SourceBar(at(MONDAY, "09:30"), at(MONDAY, "16:00"), 100, 150, 90, 120, 1000)
    style = WalkStyle(24)
    assert walk(bar, style, CENTS, 1, "X") == walk(bar, style, CENTS, 1, "X")
    assert walk(bar, style, CENTS, 1, "X") != walk(bar, style, CENTS, 2, "X")
    assert walk(bar, style, CENTS, 1, "X") != walk(bar, style, CENTS, 1, "Y")


@given(rows=many_bars, other=many_bars, seed=st.integers(0, 9), hours=st.floats(0, 7), cut=st.integers(2, 8))
@settings(max_examples=80, deadline=None)
def test_nothing_served_before_now_depends_on_what_lies_ahead(
    rows: Bars, other: Bars, seed: int, hours: float, cut: int
) -> None:
    """Two files that agree up to today and differ after it give the same steps and the same history until tonight."""
    cut = min(cut, len(rows) - 1)
    changed = [*rows[: cut + 1], *other]
    today = weekdays(cut + 1)[-1]
    now = at(today, "09:30") + timedelta(hours=hours)
    first, second = (
        ReplayPrices([daily("AAPL", each)], CALENDAR, start=weekdays(2)[1], seed=seed) for each in (rows, changed)
    )
    past = [[step for step in market.steps() if step.time <= now] for market in (first, second)]
    assert past[0] == past[1]
    for size in (BarSize.H1, BarSize.D1, BarSize.W1, BarSize.MONTH1):
        for source in BarSource:
            served = [
                market.history(
                    AAPL,
                    size,
                    source,
                    start=at(MONDAY, "00:00") - timedelta(days=9),
                    end=now + timedelta(days=30),
                    now=now,
                )
                for market in (first, second)
            ]
            assert served[0] == served[1]
            assert all(bar.time <= now for bar in served[0])
    ticks = [
        market.ticks(AAPL, TickKind.TRADES, end=now + timedelta(days=9), now=now, number=50)
        for market in (first, second)
    ]
    assert ticks[0] == ticks[1]
    assert all(step.time <= now for step in ticks[0])


@given(rows=many_bars, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_streamed_day_is_the_bar_of_the_file(rows: Bars, seed: int) -> None:
    market = ReplayPrices([daily("AAPL", rows)], CALENDAR, start=weekdays(2)[1], seed=seed)
    prints: dict[date, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for step in market.steps():
        if step.last is not None and step.last_size is not None:
            prints[step.time.date()].append((step.last, step.last_size))
    for day, (o, h, low, c, v) in list(zip(weekdays(len(rows)), rows, strict=True))[1:]:
        prices = [price for price, _ in prints[day]]
        assert [prices[0], max(prices), min(prices), prices[-1]] == [Decimal(x) / 100 for x in (o, h, low, c)]
        assert sum(size for _, size in prints[day]) == v


def test_history_has_the_bars_of_the_file_and_the_bar_of_today_is_open() -> None:
    market = ReplayPrices([daily("AAPL", rising(10))], CALENDAR, start=weekdays(8)[-1])
    now = market.start + timedelta(hours=2)
    found = market.history(AAPL, BarSize.D1, BarSource.TRADES, start=now - timedelta(days=60), end=now, now=now)
    assert [(bar.open, bar.close, bar.volume) for bar in found[:2]] == [
        (100.0, 100.15, 100_000),
        (100.2, 100.35, 100_001),
    ]
    assert [bar.complete for bar in found] == [True] * 7 + [False]
    assert found[-1].open == 101.4
    assert 0 < (found[-1].volume or 0) < 100_007
    evening = at(weekdays(8)[-1], "16:00")
    closed = market.history(
        AAPL, BarSize.D1, BarSource.TRADES, start=now - timedelta(days=60), end=evening, now=evening
    )
    assert closed[-1].complete
    assert (closed[-1].high, closed[-1].low, closed[-1].close, closed[-1].volume) == (102.3, 100.7, 101.55, 100_007)


def test_a_session_opens_and_closes_with_a_print_also_on_a_half_day() -> None:
    days = weekdays(4)
    market = ReplayPrices([daily("AAPL", rising(4))], WeekdayCalendar(half_days=[days[2]]), start=days[1])
    steps = list(market.steps())
    by_day = {day: [step for step in steps if step.time.date() == day] for day in days}
    assert by_day[days[0]] == []
    assert (by_day[days[1]][0].time, by_day[days[1]][-1].time) == (at(days[1], "09:30"), at(days[1], "16:00"))
    assert by_day[days[2]][-1].time == at(days[2], "13:00")
    assert market.start == at(days[1], "09:30")
    assert market.end == at(days[3], "16:00") == steps[-1].time


def test_two_hundred_bars_lie_behind_the_start_where_there_are_as_many() -> None:
    long, short = daily("AAPL", rising(230)), daily("MSFT", rising(21))
    assert ReplayPrices([long], CALENDAR).start == at(weekdays(HISTORY_BARS + 1)[-1], "09:30")
    assert ReplayPrices([short], CALENDAR).start == at(weekdays(11)[-1], "09:30")


def test_symbols_merge_in_time_order_and_each_is_quoted_from_the_start() -> None:
    days = weekdays(6)
    # MSFT does not trade on the first day of the replay.
    gappy = parse_bars(
        "MSFT",
        "date,open,high,low,close,volume\n"
        + "".join(f"{day},50,51,49,50,500\n" for day in (days[0], days[2], days[3])),
        "MSFT.csv",
    )
    market = ReplayPrices([daily("AAPL", rising(6)), gappy], CALENDAR, start=days[1])
    steps = list(market.steps())
    assert all(before.time <= after.time for before, after in pairwise(steps))
    first = {step.con_id: step for step in reversed(steps)}
    assert first[AAPL].time == first[MSFT].time == market.start
    assert (first[AAPL].last, first[MSFT].last) == (Decimal("100.20"), None)
    assert {step.time.date() for step in steps if step.con_id == MSFT and step.last is not None} == {days[2], days[3]}


def test_same_seed_same_steps_other_seed_other_steps() -> None:
    def run(seed: int) -> list[object]:
        return list(ReplayPrices([daily("AAPL", rising(5))], CALENDAR, start=weekdays(2)[1], seed=seed).steps())

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_intraday_bars_are_walked_inside_their_own_interval() -> None:
    day = weekdays(2)[1]
    clocks = ["09:30", "09:35", "09:40", "15:55"]
    lines = [f"{each} {clock},10,11,9,10.5,300" for each in weekdays(2) for clock in clocks]
    series = parse_bars("AAPL", "datetime,open,high,low,close,volume\n" + "\n".join(lines), "AAPL.csv")
    market = ReplayPrices([series], CALENDAR, start=day, prints=6)
    steps = [step for step in market.steps() if step.last is not None]
    inside = [
        sum(at(day, clock) <= step.time < at(day, clock) + timedelta(minutes=5) for step in steps) for clock in clocks
    ]
    assert inside == [6, 6, 6, 5]
    assert steps[-1].time == at(day, "16:00")
    found = market.history(
        AAPL, BarSize.M5, BarSource.TRADES, start=at(day, "09:30"), end=at(day, "20:00"), now=at(day, "16:00")
    )
    assert [bar.time for bar in found] == [at(day, clock) for clock in clocks]
    assert {(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in found} == {(10.0, 11.0, 9.0, 10.5, 300.0)}
    assert all(bar.complete for bar in found)


def test_extended_sessions_are_silent_unless_asked_for() -> None:
    days = weekdays(3)
    silent = ReplayPrices([daily("AAPL", rising(3))], CALENDAR, start=days[1])
    assert {session_of(step.time) for step in silent.steps()} <= {Session.REGULAR, "close"}
    quiet = ReplayPrices([daily("AAPL", rising(3))], CALENDAR, start=days[1], quiet=3)
    outside = [step for step in quiet.steps() if session_of(step.time) in (Session.PRE, Session.POST)]
    assert len(outside) == 3 + 3 + 3
    assert all(step.last is None and step.bid < step.ask for step in outside)
    # Before the open the market stands around yesterday's close.
    before = [step for step in outside if session_of(step.time) is Session.PRE]
    assert all(step.bid < Decimal("100.35") < step.ask for step in before)


def session_of(moment: object) -> object:
    day = CALENDAR.trading_day(moment.date())  # type: ignore[attr-defined]
    assert day is not None
    return "close" if moment == day.close else day.session_at(moment)  # type: ignore[arg-type]


def test_historical_ticks_come_from_the_walk() -> None:
    days = weekdays(5)
    market = ReplayPrices([daily("AAPL", rising(5))], CALENDAR, start=days[1])
    now = at(days[3], "12:00")
    streamed = [step for step in market.steps() if step.time <= now and step.last is not None]
    assert market.ticks(AAPL, TickKind.TRADES, end=now, now=now, number=30) == streamed[-30:]
    assert market.ticks(AAPL, TickKind.TRADES, start=market.start, now=now, number=30) == streamed[:30]
    quotes = market.ticks(AAPL, TickKind.BID_ASK, start=market.start, now=now, number=1000)
    mids = market.ticks(AAPL, TickKind.MIDPOINT, start=market.start, now=now, number=1000)
    assert len(streamed) >= len(quotes) >= len(mids) > 20
    assert all(a.bid + a.ask != b.bid + b.ask for a, b in pairwise(mids))


def test_a_row_on_a_closed_day_is_refused_unless_nothing_traded() -> None:
    days = weekdays(5)
    with pytest.raises(InvalidData, match=r"AAPL\.csv, row 4: the exchange was closed on Wednesday 2024-03-13"):
        ReplayPrices([daily("AAPL", rising(5))], WeekdayCalendar(closed=[days[2]]))
    filled = [*rising(2), (10_000, 10_000, 10_000, 10_000, 0), *rising(2)]
    market = ReplayPrices([daily("AAPL", filled)], WeekdayCalendar(closed=[days[2]]), start=days[1])
    assert {step.time.date() for step in market.steps()} == {days[1], days[3], days[4]}


def test_an_intraday_row_at_night_names_its_hour_and_the_zone() -> None:
    text = "datetime,open,high,low,close,volume\n"
    text += "".join(f"{MONDAY} {clock},1,1,1,1,5\n" for clock in ("09:30", "09:31", "23:00"))
    with pytest.raises(InvalidData, match=r"row 4: the exchange was closed on Monday 2024-03-11 at 23:00.*zone"):
        ReplayPrices([parse_bars("AAPL", text, "AAPL.csv")], CALENDAR)


@pytest.mark.parametrize("start", [date(2024, 3, 11), date(2020, 1, 1), date(2030, 1, 1)])
def test_a_start_that_the_bars_do_not_reach_is_refused(start: date) -> None:
    with pytest.raises(InvalidRequest, match="the bars reach from 2024-03-11 to 2024-03-15"):
        ReplayPrices([daily("AAPL", rising(5))], CALENDAR, start=start)


def test_files_that_do_not_overlap_are_refused() -> None:
    early, late = daily("AAPL", rising(10)), daily("MSFT", rising(10), date(2025, 3, 10))
    with pytest.raises(InvalidData, match=r"AAPL\.csv: they end on 2024-03-22, before another file"):
        ReplayPrices([early, late], CALENDAR)


def test_nothing_to_replay_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no bars"):
        ReplayPrices([], CALENDAR)


def test_history_before_the_first_bar_is_no_data_and_unknown_contracts_are_unknown() -> None:
    market = ReplayPrices([daily("AAPL", rising(5))], CALENDAR, start=weekdays(2)[1])
    early = at(MONDAY, "09:00")
    assert market.head_timestamp(AAPL) == at(MONDAY, "09:30")
    with pytest.raises(NoData, match="nothing has traded yet"):
        market.history(AAPL, BarSize.D1, BarSource.TRADES, start=early, end=early, now=early)
    with pytest.raises(UnknownInstrument):
        market.history(1, BarSize.D1, BarSource.TRADES, start=early, end=early, now=early)


def test_adjusted_closes_adjust_the_past_and_know_no_later_dividend() -> None:
    # A dividend of 10 % before the third day and of 50 % before the fifth.
    adjusted = [45, 45, 50, 50, 100]
    lines = [f"{day},100,100,100,100,{adj},5" for day, adj in zip(weekdays(5), adjusted, strict=True)]
    series = parse_bars("AAPL", "Date,Open,High,Low,Close,Adj Close,Volume\n" + "\n".join(lines), "AAPL.csv")
    market = ReplayPrices([series], CALENDAR, start=weekdays(2)[1])
    now = at(weekdays(4)[-1], "16:00")
    window = {"start": now - timedelta(days=30), "end": now, "now": now}
    closes = [bar.close for bar in market.history(AAPL, BarSize.D1, BarSource.ADJUSTED_LAST, **window)]
    assert closes == [90.0, 90.0, 100.0, 100.0]
    assert {bar.close for bar in market.history(AAPL, BarSize.D1, BarSource.TRADES, **window)} == {100.0}
    weeks = market.history(AAPL, BarSize.W1, BarSource.ADJUSTED_LAST, **window)
    assert [(bar.open, bar.close) for bar in weeks] == [(90.0, 100.0)]


@pytest.mark.parametrize("prints", [0, 3, -1])
def test_fewer_prints_than_corners_are_refused(prints: int) -> None:
    with pytest.raises(InvalidRequest, match="use 4 prints or more"):
        ReplayPrices([daily("AAPL", rising(5))], CALENDAR, prints=prints)
