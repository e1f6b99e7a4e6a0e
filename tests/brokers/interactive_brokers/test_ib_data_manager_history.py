"""History: cut, paced, shared, cached, resumable; live bars close once and come back after a gap."""

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource, Trade
from moondev_ibkr.brokers.errors import (
    DeadlineExceeded,
    InvalidRequest,
    LinkLost,
    NoData,
    NoPermission,
    RequestFailed,
)
from moondev_ibkr.brokers.interactive_brokers.ib_history import HistoryStore, Series, chunks_of, merged, span_of
from moondev_ibkr.brokers.interactive_brokers.ib_live_bars import LiveBars

AAPL = Instrument("AAPL", con_id=265598)
DAYS = Series(AAPL, BarSize.D1)
MINUTES = Series(AAPL, BarSize.M1)
NOW = datetime(2025, 1, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def store(transport, pacer, clock):
    return HistoryStore(
        transport, pacer, clock, lambda _instrument, day: datetime(*day.timetuple()[:3], 21, tzinfo=UTC)
    )


def market(request, now=NOW):
    """One bar a minute or a day, for whatever stretch is asked."""
    number, unit = request.duration.split()
    span = {"S": timedelta(seconds=1), "D": timedelta(days=1), "W": timedelta(days=7), "M": timedelta(days=28)}
    span["Y"] = timedelta(days=365)
    end = request.end or now
    step = timedelta(seconds=request.size.seconds)
    first = end - int(number) * span[unit]
    at = datetime.fromtimestamp(-(-first.timestamp() // step.total_seconds()) * step.total_seconds(), UTC)
    bars = []
    while at < end:
        bars.append(Bar(at, 1.0, 2.0, 0.5, at.timestamp() % 997, 10.0))
        at += step
    return bars


async def test_a_count_is_answered_exactly_and_ascending(store, transport):
    transport.history = market
    bars = await store.bars(DAYS, count=200)
    assert len(bars) == 200
    assert [bar.time for bar in bars] == sorted({bar.time for bar in bars})
    assert len(transport.requests) == 1
    assert transport.requests[0].end is None


async def test_todays_bar_is_not_complete_until_its_session_is_over(store, transport, clock):
    transport.history = market
    assert [bar.complete for bar in await store.bars(DAYS, count=3)] == [True, True, False]
    clock.advance(6 * 3600)
    assert [bar.complete for bar in await store.bars(DAYS, count=3)] == [True, True, True]


async def test_h05_a_long_series_is_cut_into_requests_that_ib_allows(store, transport, pacer):
    transport.history = market
    start = NOW - timedelta(days=5)
    bars = await store.bars(MINUTES, start=start)
    assert [bar.time for bar in bars] == [start + timedelta(minutes=number) for number in range(5 * 1440)]
    assert {request.duration for request in transport.requests[1:]} == {"1 D"}
    assert len(pacer.turns) == len(transport.requests) == 6
    assert pacer.open == 0
    assert pacer.most_open <= 4


async def test_the_past_is_not_asked_for_twice(store, transport, clock):
    transport.history = market
    start = NOW - timedelta(days=5)
    await store.bars(MINUTES, start=start)
    clock.advance(20)
    before = len(transport.requests)
    await store.bars(MINUTES, start=start)
    assert len(transport.requests) == before + 1
    assert transport.requests[-1].end is None


async def test_the_same_question_within_fifteen_seconds_is_answered_from_memory(store, transport, clock):
    transport.history = market
    await store.bars(DAYS, count=10)
    clock.advance(14)
    await store.bars(DAYS, count=10)
    assert len(transport.requests) == 1
    clock.advance(2)
    await store.bars(DAYS, count=10)
    assert len(transport.requests) == 2


async def test_the_next_bar_makes_the_present_stale_at_once(store, transport, clock):
    transport.history = market
    await store.bars(DAYS, count=10)
    clock.set_now(NOW + timedelta(days=1))
    await store.bars(DAYS, count=10)
    assert len(transport.requests) == 2


async def test_concurrent_identical_requests_share_one(store, transport):
    transport.history = market
    answers = await asyncio.gather(*(store.bars(DAYS, count=10) for _ in range(8)))
    assert len(transport.requests) == 1
    assert all(answer == answers[0] for answer in answers)


async def test_what_had_arrived_is_kept_when_a_later_chunk_fails(store, transport):
    broken = {NOW.replace(hour=0) - timedelta(days=1), NOW.replace(hour=0) - timedelta(days=3)}

    def flaky(request):
        if request.end in broken:
            return DeadlineExceeded("bars", timedelta(seconds=60))
        return market(request)

    transport.history = flaky
    start = NOW - timedelta(days=5)
    with pytest.raises(DeadlineExceeded):
        await store.bars(MINUTES, start=start)
    asked = len(transport.requests)
    broken.clear()
    bars = await store.bars(MINUTES, start=start)
    assert len(bars) == 5 * 1440
    assert len(transport.requests) == asked + 2


async def test_h02_known_to_be_none_is_empty_and_not_known_is_an_error(store, transport):
    transport.history = NoData("bars of AAPL", "HMDS query returned no data", code=162)
    assert await store.bars(MINUTES, start=NOW - timedelta(hours=1)) == []
    transport.history = LinkLost("bars of AAPL")
    with pytest.raises(LinkLost):
        await store.bars(DAYS, count=5)


async def test_a_count_goes_further_back_when_days_are_missing_but_not_for_ever(store, transport):
    transport.history = lambda request: [bar for bar in market(request) if bar.time.day % 7 == 0]
    bars = await store.bars(DAYS, count=40)
    assert 1 < len(transport.requests) <= 4
    assert len(bars) == 40 or len(transport.requests) == 4
    transport.requests.clear()
    transport.history = []
    assert await store.bars(replace(DAYS, source=BarSource.BID), count=40) == []
    assert len(transport.requests) == 2


async def test_h13_adjusted_bars_are_one_request_that_ends_now(store, transport):
    transport.history = market
    adjusted = replace(DAYS, source=BarSource.ADJUSTED_LAST)
    await store.bars(adjusted, start=NOW - timedelta(days=1200))
    assert [(request.duration, request.end) for request in transport.requests] == [("4 Y", None)]
    with pytest.raises(InvalidRequest, match="ADJUSTED_LAST"):
        await store.bars(adjusted, start=NOW - timedelta(days=30), end=NOW - timedelta(days=10))


async def test_bid_ask_counts_twice(store, transport, pacer):
    transport.history = market
    await store.bars(replace(MINUTES, source=BarSource.BID_ASK), start=NOW - timedelta(hours=1))
    assert [turn.cost for turn in pacer.turns] == [2]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"count": 5, "start": NOW - timedelta(days=1)},
        {"count": 0},
        {"start": datetime(2025, 1, 1)},  # noqa: DTZ001
        {"start": NOW + timedelta(days=1)},
        {"start": NOW, "end": NOW - timedelta(days=1)},
    ],
)
async def test_impossible_requests_are_refused_before_they_are_sent(store, transport, arguments):
    with pytest.raises(InvalidRequest):
        await store.bars(DAYS, **arguments)
    assert not transport.requests


@pytest.mark.parametrize("size", list(BarSize))
def test_every_cut_covers_its_span_without_a_hole(size):
    start, end = NOW - timedelta(days=40), NOW
    chunks = chunks_of(start, end, size, open_end=True)
    assert chunks[0].end is None
    for newer, older in itertools.pairwise(chunks):
        assert older.end == newer.start
    assert chunks[-1].start <= start


@pytest.mark.parametrize("size", list(BarSize))
def test_a_span_holds_its_count_in_regular_hours(size):
    sessions = span_of(100, size, True).days * 5 / 7
    per_session = max(6.5 * 3600 // size.seconds, 1) if size.is_intraday else 86_400 / size.seconds
    assert sessions * per_session >= 60


def test_merging_keeps_the_later_answer(bar_of_day):
    old, new = bar_of_day(2, 100.0), bar_of_day(2, 101.0)
    assert merged([[bar_of_day(1), old], [new, bar_of_day(3)]]) == [bar_of_day(1), new, bar_of_day(3)]


async def test_h08_pages_of_trades_must_lead_on(store, transport):
    def page(at):
        return [Trade(AAPL, at + timedelta(seconds=second), 100.0, 1.0) for second in range(10)]

    transport.ticks = page
    end = NOW + timedelta(seconds=25)
    trades = await store.ticks(AAPL, NOW, end, limit=1000)
    assert [trade.time for trade in trades] == [NOW + timedelta(seconds=second) for second in range(25)]
    transport.ticks = lambda at: [Trade(AAPL, at - timedelta(seconds=5), 100.0, 1.0)]
    with pytest.raises(RequestFailed, match="ends at"):
        await store.ticks(AAPL, NOW, end, limit=1000)


# Live bars


async def series():
    return DAYS


async def take(bars, number):
    return [await asyncio.wait_for(anext(bars), 1) for _ in range(number)]


def shown(updates):
    return [(update.bar.time.day, update.bar.close, update.closed) for update in updates]


async def test_live_bars_are_history_then_one_subscription(store, transport, bar_of_day):
    transport.live_answers = [[bar_of_day(1), bar_of_day(2, 50.0)]]
    bars = LiveBars(transport, store, series, 1)
    assert shown(await take(bars, 2)) == [(1, 100.0, True), (2, 50.0, False)]
    listener = transport.live[0]
    listener.on_bar(bar_of_day(2, 51.0))
    listener.on_bar(bar_of_day(2, 52.0))
    assert shown(await take(bars, 1)) == [(2, 52.0, False)]
    store._clock.advance(86_400)
    listener.on_bar(bar_of_day(3, 60.0))
    assert shown(await take(bars, 2)) == [(2, 52.0, True), (3, 60.0, False)]
    assert transport.asked["live_bars"] == 1
    assert not transport.requests


async def test_a_bar_closes_with_its_session_and_a_revision_is_told(store, transport, clock, bar_of_day):
    transport.live_answers = [[bar_of_day(1), bar_of_day(2, 50.0)]]
    bars = LiveBars(transport, store, series, 1)
    await take(bars, 2)
    clock.advance(6.5 * 3600)
    transport.live[0].on_bar(bar_of_day(2, 55.0))
    transport.live[0].on_bar(bar_of_day(2, 55.0))
    transport.live[0].on_bar(bar_of_day(2, 55.5))
    assert shown(await take(bars, 2)) == [(2, 55.0, True), (2, 55.5, True)]


async def test_d02_a_dropped_subscription_is_made_again_and_the_gap_filled(store, transport, clock, bar_of_day):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    transport.live_answers = [
        [bar_of_day(1), bar_of_day(2, 50.0)],
        LinkLost("bars"),
        [bar_of_day(1), bar_of_day(2, 51.0), bar_of_day(3, 52.0), bar_of_day(4, 53.0)],
    ]
    bars = LiveBars(transport, store, series, 1, sleep)
    await take(bars, 2)
    clock.advance(2 * 86_400)
    transport.live[0].on_bars_ended(RequestFailed("bars", "10182", code=10182))
    assert shown(await take(bars, 3)) == [(2, 51.0, True), (3, 52.0, True), (4, 53.0, False)]
    assert bars.renewed == 1
    assert waits == [5.0]


async def test_a_missing_permission_ends_live_bars_with_its_error(store, transport, bar_of_day):
    transport.live_answers = [[bar_of_day(1)]]
    bars = LiveBars(transport, store, series, 1)
    await take(bars, 1)
    transport.live[0].on_bars_ended(NoPermission("bars", "354", code=354))
    with pytest.raises(NoPermission):
        await take(bars, 1)


async def test_closing_gives_the_subscription_and_its_place_back(store, transport, pacer, bar_of_day):
    transport.live_answers = [[bar_of_day(1), bar_of_day(2)]]
    bars = LiveBars(transport, store, series, 1)
    await take(bars, 2)
    assert pacer.open == 1
    await bars.aclose()
    assert pacer.open == 0
    assert transport.asked["unsubscribe"] == 1
    with pytest.raises(StopAsyncIteration):
        await take(bars, 1)


async def test_more_history_than_one_subscription_holds_is_filled_from_requests(store, transport):
    transport.history = market
    transport.live_answers = [market(DAYS.request("2 D", None))]
    bars = LiveBars(transport, store, series, 20)
    updates = await take(bars, 21)
    assert [update.closed for update in updates] == [True] * 20 + [False]
    assert [update.bar.time for update in updates] == sorted(update.bar.time for update in updates)
