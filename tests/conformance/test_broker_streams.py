"""Three views of a stream, the same for every broker: iterator and batches, callbacks, and the last value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.market_data import BidAsk, DataType, Depth, MarketEvent, Quote, StreamKind, Trade
from moondev_ibkr.brokers.domain.order import NewOrder, Side
from moondev_ibkr.brokers.domain.streams import StreamOptions
from moondev_ibkr.brokers.domain.tick_bars import BarRule
from moondev_ibkr.brokers.errors import InvalidRequest, NotSupported

from .world import PATH, World

QUOTES = (StreamKind.QUOTES,)
AT_ONCE = StreamOptions(conflation=0.0, batch_seconds=0.0)
#: Real seconds that an event may take to come through a socket.
DEADLINE = 10.0


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not done():
            await asyncio.sleep(0.005)


async def walk(world: World) -> None:
    for minutes, _ in PATH[:4]:
        await world.to(minutes + 0.5)


def bids(events: list[MarketEvent]) -> list[float | None]:
    return [event.bid for event in events if isinstance(event, Quote)]


async def test_batches_bring_the_path_and_everything_is_accounted_for(world: World) -> None:
    stream = world.broker.stream(["AAPL", "MSFT"], QUOTES, AT_ONCE)
    batches = stream.batches(3)
    seen: list[MarketEvent] = []

    async def consume() -> None:
        async for batch in batches:
            assert 1 <= len(batch) <= 3
            seen.extend(batch)

    consumer = asyncio.ensure_future(consume())
    await world.to(0.2)
    await until(lambda: seen)
    await walk(world)
    await until(lambda: 104.99 in bids(seen))
    await batches.aclose()
    await asyncio.wait_for(consumer, DEADLINE)
    counts = stream.counts
    assert counts.unaccounted == 0
    assert counts.delivered == len(seen) > 4
    assert {event.instrument.symbol for event in seen if isinstance(event, Quote)} == {"AAPL", "MSFT"}


async def test_callbacks_get_the_same_and_a_failing_one_harms_nobody_c21(world: World) -> None:
    seen: list[MarketEvent] = []
    failing = world.broker.on_events(["AAPL"], QUOTES, lambda event: 1 / 0, AT_ONCE)  # type: ignore[arg-type,return-value]
    good = world.broker.on_events(["AAPL"], QUOTES, seen.append, AT_ONCE)
    try:
        await world.to(0.2)
        await until(lambda: seen and failing.failures)
        await walk(world)
        await until(lambda: 104.99 in bids(seen))
        assert failing.failures > 1
        assert isinstance(failing.last_failure, ZeroDivisionError)
        assert (good.failures, good.error, failing.error) == (0, None, None)
        statistics = world.broker.get_statistics()
        assert statistics.failures == failing.failures
        assert len(statistics.streams) == 2
    finally:
        await failing.aclose()
        await good.aclose()
    assert world.broker.get_statistics().streams == ()


async def test_the_last_value_is_there_without_waiting_with_its_age_and_source(world: World) -> None:
    assert world.broker.snapshot("NOBODY") is None
    await world.to(0.2)
    await world.broker.quote("AAPL")
    stream = world.broker.stream(["AAPL"], QUOTES, AT_ONCE)
    await asyncio.wait_for(anext(stream), DEADLINE)
    await world.to(5.5)
    await until(lambda: (found := world.broker.snapshot("AAPL")) and found.quote and found.quote.bid == 97.99)
    found = world.broker.snapshot("AAPL")
    assert found is not None
    assert found.quote is not None
    assert found.age is not None
    assert found.age.total_seconds() >= 0
    assert found.quote.source != ""
    assert (found.quote.data_type, found.is_delayed) == (DataType.LIVE, False)
    assert found.instrument.symbol == "AAPL"
    assert (found.trade, found.bid_ask, found.depth) == (None, None, None)
    await stream.aclose()
    assert world.broker.snapshot("AAPL") is not None, "the value outlives the stream"


async def test_statistics_tell_rates_buffers_and_latencies_and_are_plain_json(world: World) -> None:
    stream = world.broker.stream(["AAPL"], QUOTES, StreamOptions(conflation=0.0, buffer_size=77))
    batches = stream.batches(100, 0.01)
    await world.to(0.2)
    await asyncio.wait_for(anext(batches), DEADLINE)
    await world.broker.place(NewOrder((await world.broker.details("AAPL")).instrument, Side.BUY, 5, key="one"))  # type: ignore[arg-type]
    await walk(world)
    await asyncio.wait_for(anext(batches), DEADLINE)
    statistics = world.broker.get_statistics()
    (row,) = statistics.streams
    assert (row.symbols, row.kinds, row.buffer_size, row.failures) == (1, ("QUOTES",), 77, 0)
    assert row.high_water >= 1
    assert row.counts == stream.counts
    assert statistics.counts.unaccounted == 0
    assert statistics.rates["QUOTES"].total >= 2
    assert statistics.rates["QUOTES"].per_second > 0
    assert statistics.rates["DEPTH"].total == 0
    assert {"tick", "batch", "gate", "place_to_ack"} <= set(statistics.latency)
    assert statistics.latency["tick"]["count"] >= 1
    assert statistics.latency == world.broker.latency_report() == world.broker.get_latency_report()
    told = json.loads(json.dumps(statistics.to_json()))
    assert told["streams"][0]["counts"]["received"] == row.counts.received
    await stream.aclose()
    assert world.broker.get_statistics().counts.received >= row.counts.received


async def test_a_stream_of_nothing_is_refused(world: World) -> None:
    for symbols, kinds in (([], QUOTES), (["AAPL"], ())):
        with pytest.raises(InvalidRequest):
            world.broker.stream(symbols, kinds)


async def test_trades_ticks_and_depth_name_their_source_and_come_once(world: World) -> None:
    wanted = (StreamKind.TRADES, StreamKind.TICK_BY_TICK, StreamKind.DEPTH)
    if world.broker.name == "portal":
        with pytest.raises(NotSupported):
            await anext(world.broker.stream(["AAPL"], wanted))
        wanted = (StreamKind.DEPTH,)
    seen: list[MarketEvent] = []
    callbacks = world.broker.on_events(["AAPL"], wanted, seen.append, AT_ONCE)
    kinds = {Trade, BidAsk, Depth} if len(wanted) > 1 else {Depth}
    try:
        for tenth in range(1, 100):
            await world.to(tenth / 10)
            await asyncio.sleep(0.005)
            if {type(event) for event in seen} == kinds:
                break
        await until(lambda: {type(event) for event in seen} == kinds)
        now = await world.broker.market_time()
        for event in seen:
            assert isinstance(event, Trade | BidAsk | Depth)
            assert event.source in ("paper", "tws", "portal", "ib")
            assert timedelta(0) <= event.age(now) < timedelta(minutes=11)
        trades = [event for event in seen if isinstance(event, Trade)]
        assert len(trades) == len({trade.time for trade in trades}), "one print is one event"
        snapshot = world.broker.snapshot("AAPL")
        assert snapshot is not None
        assert snapshot.depth == [event for event in seen if isinstance(event, Depth)][-1]
        assert snapshot.trade == (trades[-1] if trades else None)
    finally:
        await callbacks.aclose()


async def test_bars_are_made_of_trades_where_trades_are_streamed(world: World) -> None:
    bars = world.broker.tick_bars(["AAPL"], BarRule(ticks=2), AT_ONCE)
    first = asyncio.ensure_future(anext(bars))
    if world.broker.name == "portal":
        with pytest.raises(NotSupported):
            await asyncio.wait_for(first, DEADLINE)
        await bars.aclose()
        return
    for tenth in range(1, 100):
        await world.to(tenth / 10)
        await asyncio.sleep(0.005)
        if first.done():
            break
    row = await asyncio.wait_for(first, DEADLINE)
    assert (row.instrument.symbol, row.bar.count, row.bar.complete) == ("AAPL", 2, True)
    assert 90 < row.bar.low <= row.bar.close <= row.bar.high < 110
    await bars.aclose()
