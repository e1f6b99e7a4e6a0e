"""Each performance profile changes what is measured: rates, batch times and buffers, on a virtual clock."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.market_data import Lost
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.streams.defaults import StreamDefaults
from moondev_ibkr.brokers.streams.hub import StreamHub
from moondev_ibkr.config.profiles import PROFILES, ProfileName

from tests.brokers.streams.feeds import AAPL, MSFT, QUOTES, TRADES, Line, open_stream, run_virtually, trade

#: Profile -> quotes per second of each symbol that ticks a thousand times a second, and milliseconds of a batch.
EXPECTED = {
    ProfileName.ULTRA_LOW_LATENCY: (1_000, 1),
    ProfileName.LOW_LATENCY: (100, 20),
    ProfileName.BALANCED: (10, 100),
    ProfileName.HIGH_THROUGHPUT: (4, 500),
}
SECONDS = 4


async def tick(hub: StreamHub, seconds: float) -> None:
    """Two symbols, each changing once a millisecond."""
    lines = [Line(AAPL), Line(MSFT)]
    loop = asyncio.get_running_loop()
    for number in range(int(seconds * 1000)):
        for line in lines:
            line.last, line.last_update = float(number), loop.time()
        hub.on_lines(lines)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("name", list(ProfileName))
def test_a_profile_sets_how_often_quotes_come(name):
    async def story() -> int:
        hub = StreamHub(StreamDefaults.of(name))
        stream, _ = open_stream(hub, AAPL, MSFT, kinds=(QUOTES,))
        got = 0

        async def consume() -> None:
            nonlocal got
            async for _ in stream:
                got += 1

        consumer = asyncio.ensure_future(consume())
        await tick(hub, SECONDS)
        stream.close()
        await consumer
        assert stream.counts.unaccounted == 0
        assert (stream.counts.conflated > 0) == (PROFILES[name].conflation_ms > 0)
        return got

    rate, _ = EXPECTED[name]
    assert run_virtually(story()) / 2 / SECONDS == pytest.approx(rate, rel=0.12)


@pytest.mark.parametrize("name", list(ProfileName))
def test_a_profile_sets_how_long_a_batch_takes(name):
    async def story() -> list[float]:
        hub = StreamHub(StreamDefaults.of(name))
        stream, _ = open_stream(hub, AAPL, MSFT, kinds=(TRADES,))
        loop, pauses, last = asyncio.get_running_loop(), [], 0.0

        async def consume() -> None:
            nonlocal last
            async for batch in stream.batches():
                pauses.append((loop.time() - last, len(batch)))
                last = loop.time()

        consumer, last = asyncio.ensure_future(consume()), loop.time()
        for number in range(SECONDS * 1000):
            hub.on_trade(trade(number))
            hub.on_trade(trade(number, MSFT))
            await asyncio.sleep(0.001)
        stream.close()
        await consumer
        assert sum(number for _, number in pauses) == SECONDS * 2000
        assert hub.latencies()["batch"]["p50"] == pytest.approx(EXPECTED[name][1], rel=0.05)
        return [pause * 1000 for pause, _ in pauses[1:-1]]

    pauses = run_virtually(story())
    assert sum(pauses) / len(pauses) == pytest.approx(EXPECTED[name][1], abs=1.1)


@pytest.mark.parametrize("name", list(ProfileName))
def test_a_profile_sets_how_far_a_consumer_may_fall_behind_and_how_full_a_batch_gets(name):
    async def story() -> None:
        hub, profile = StreamHub(StreamDefaults.of(name)), PROFILES[name]
        stream, _ = open_stream(hub, AAPL, kinds=(TRADES,))
        for number in range(profile.buffer_size + 7):
            hub.on_trade(trade(number))
        (lost, *first) = await anext(stream.batches())
        assert isinstance(lost, Lost)
        assert lost.count == 7 == stream.counts.dropped
        assert 1 + len(first) == profile.batch_events
        assert stream.counts.waiting + len(first) == profile.buffer_size

    run_virtually(story())


def test_the_rows_of_the_design_stand():
    table = {name: (row.conflation_ms, row.batch_ms) for name, row in PROFILES.items()}
    assert table[ProfileName.ULTRA_LOW_LATENCY] == (0, 1)
    assert table[ProfileName.LOW_LATENCY] == (10, 20)
    assert table[ProfileName.BALANCED] == (100, 100)
    sizes = [(row.batch_events, row.buffer_size) for row in PROFILES.values()]
    assert all(batch <= buffer for batch, buffer in sizes)
    assert max(table.values()) == table[ProfileName.HIGH_THROUGHPUT]


async def test_the_paper_broker_takes_a_profile_by_its_name():
    async with get_broker("paper", speed=None, profile="low_latency") as broker:
        stream = broker.stream(["AAPL"])
        assert stream.settings == StreamDefaults.of("low_latency", every_quote=True)
        await stream.aclose()
    with pytest.raises(ConfigurationError):
        get_broker("paper", profile="as_fast_as_light")
