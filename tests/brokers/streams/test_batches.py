"""Batches end by size, by time, and at once where a marker stands."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.market_data import Gap
from moondev_ibkr.brokers.domain.streams import StreamOptions
from moondev_ibkr.brokers.errors import InvalidRequest, UsageError
from moondev_ibkr.brokers.streams.defaults import StreamDefaults
from moondev_ibkr.brokers.streams.hub import StreamHub
from moondev_ibkr.brokers.streams.open_stream import OpenStream

from tests.brokers.streams.feeds import AAPL, NOW, TRADES, open_stream, run_virtually, trade


class Consumer:
    """Takes batches of one stream; `got` holds (seconds since the start, how many)."""

    def __init__(self, hub: StreamHub, *bounds: float, options: StreamOptions | None = None) -> None:
        self.stream, _ = open_stream(hub, AAPL, kinds=(TRADES,), options=options)
        self.batches = self.stream.batches(*bounds)
        self.got: list[tuple[float, int]] = []
        self.began = asyncio.get_running_loop().time()
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async for batch in self.batches:
            self.got.append((round(asyncio.get_running_loop().time() - self.began, 6), len(batch)))

    async def end(self) -> list[tuple[float, int]]:
        await self.batches.aclose()
        await self.task
        return self.got


async def pour(hub: StreamHub, *, every: float, number: int) -> None:
    for place in range(number):
        hub.on_trade(trade(place))
        await asyncio.sleep(every)


def test_a_batch_ends_with_its_time_and_the_time_begins_with_its_first_event():
    async def story() -> None:
        hub = StreamHub()
        consumer = Consumer(hub, 1_000, 0.1)
        await asyncio.sleep(1.0)
        await pour(hub, every=0.03, number=7)
        await asyncio.sleep(1.0)
        assert await consumer.end() == [(1.1, 4), (1.22, 3)]

    run_virtually(story())


def test_a_full_batch_is_handed_over_at_once():
    async def story() -> None:
        hub = StreamHub()
        consumer = Consumer(hub, 3, 60.0)
        await pour(hub, every=0.01, number=7)
        assert consumer.got == [(0.02, 3), (0.05, 3)]
        assert await consumer.end() == [(0.02, 3), (0.05, 3), (0.07, 1)]

    run_virtually(story())


def test_a_gap_does_not_wait_for_the_rest_of_its_batch():
    async def story() -> None:
        hub = StreamHub()
        consumer = Consumer(hub, 1_000, 60.0)
        await pour(hub, every=0.01, number=2)
        hub.mark(Gap(NOW, "tws", "1101"))
        await asyncio.sleep(0.001)
        assert consumer.got == [(0.02, 3)]
        assert await consumer.end() == [(0.02, 3)]

    run_virtually(story())


def test_what_came_while_the_consumer_was_busy_does_not_wait_again():
    async def story() -> None:
        hub = StreamHub()
        stream, _ = open_stream(hub, AAPL, kinds=(TRADES,))
        batches, loop = stream.batches(100, 0.1), asyncio.get_running_loop()
        hub.on_trade(trade(1))
        await anext(batches)
        await asyncio.sleep(0.5)
        hub.on_trade(trade(2))
        asked = loop.time()
        assert len(await anext(batches)) == 1
        assert loop.time() == asked

    run_virtually(story())


def test_a_batch_of_no_time_takes_what_is_there():
    async def story() -> None:
        hub = StreamHub()
        consumer = Consumer(hub, 100, 0.0)
        await pour(hub, every=1.0, number=3)
        assert [number for _, number in await consumer.end()] == [1, 1, 1]

    run_virtually(story())


def test_bounds_come_from_the_consumer_s_options_then_from_the_profile():
    async def story() -> None:
        hub = StreamHub(StreamDefaults(batch_seconds=0.2, batch_events=50))
        chosen = Consumer(hub, options=StreamOptions(batch_seconds=0.05))
        plain = Consumer(hub)
        await pour(hub, every=0.3, number=1)
        assert await chosen.end() == [(0.05, 1)]
        assert await plain.end() == [(0.2, 1)]

    run_virtually(story())


def test_how_long_a_batch_took_is_told():
    async def story() -> None:
        hub = StreamHub()
        consumer = Consumer(hub, 1_000, 0.1)
        await pour(hub, every=1.0, number=4)
        await consumer.end()
        row = hub.latencies()["batch"]
        assert row["count"] == 4
        assert row["p50"] == pytest.approx(100, rel=0.05)

    run_virtually(story())


async def test_bounds_that_cannot_be_are_refused():
    stream, _ = open_stream(StreamHub(), AAPL, kinds=(TRADES,))
    for bounds in ((0, None), (None, -1.0)):
        with pytest.raises(InvalidRequest):
            stream.batches(*bounds)
    for wrong in ({"buffer_size": 0}, {"conflation": -1.0}, {"min_size": float("nan")}):
        with pytest.raises(InvalidRequest):
            StreamOptions(**wrong)


async def test_a_second_task_on_one_stream_is_told_so():
    stream, _ = open_stream(StreamHub(), AAPL, kinds=(TRADES,))
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    with pytest.raises(UsageError):
        await anext(stream)
    with pytest.raises(UsageError):
        await anext(stream.batches(10, 1.0))
    stream.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_stream_that_is_closed_before_its_first_step_subscribes_to_nothing():
    asked: list[int] = []

    async def subscribe() -> None:
        asked.append(1)

    stream = OpenStream(subscribe)
    batches = stream.batches()
    await batches.aclose()
    assert [batch async for batch in batches] == []
    assert [event async for event in stream] == []
    assert asked == []
