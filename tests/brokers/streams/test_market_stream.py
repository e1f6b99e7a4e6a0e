"""Streams are bounded: quotes conflate, events drop the oldest with a count, markers never drop."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Gap, Lost, Quote, Resumed, StreamKind, Trade
from moondev_ibkr.brokers.streams.defaults import StreamDefaults
from moondev_ibkr.brokers.streams.hub import StreamHub

NOW = datetime(2025, 1, 2, 15, tzinfo=UTC)
AAPL = Instrument("AAPL", con_id=265598)
MSFT = Instrument("MSFT", con_id=272093)


@dataclass
class Line:
    """A quote line whose value moves under its reader."""

    instrument: Instrument
    last: float = 0.0
    last_update: float = 0.0

    def quote(self):
        return Quote(self.instrument, NOW, last=self.last)


def trade(number, instrument=AAPL):
    return Trade(instrument, NOW, float(number), 1.0)


def open_stream(hub, *instruments, kinds=(StreamKind.QUOTES,)):
    closed = []
    stream = hub.open(instruments, kinds, closed.append)
    return stream, closed


async def test_a_slow_consumer_gets_the_latest_quote_once_and_the_loss_is_counted():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL)
    line = Line(AAPL)
    for price in (1.0, 2.0, 3.0):
        line.last = price
        hub.on_lines([line])
    assert (await anext(stream)).last == 3.0
    assert stream.waiting == 0
    assert stream.counts.conflated == 2


@pytest.mark.parametrize("conflation", [0.0, 30.0])
async def test_a_poll_takes_the_place_of_the_line_that_was_given_up(conflation):
    hub = StreamHub(StreamDefaults(conflation=conflation))
    stream, _ = open_stream(hub, AAPL, MSFT)
    if conflation:
        hub.on_lines([Line(AAPL, 0.5)])
        assert (await anext(stream)).last == 0.5
    hub.on_lines([Line(AAPL, 1.0), Line(MSFT, 5.0)])
    hub.on_lines([Line(AAPL, 2.0)])
    await stream.aclose()
    assert {quote.instrument.symbol: quote.last for quote in stream.take_all()} == {"AAPL": 2.0, "MSFT": 5.0}
    assert stream.counts.conflated == 1


async def test_a_fast_consumer_gets_every_value():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL)
    line = Line(AAPL)
    seen = []
    for price in (1.0, 2.0, 3.0):
        line.last = price
        hub.on_lines([line])
        seen.append((await anext(stream)).last)
    assert seen == [1.0, 2.0, 3.0]
    assert stream.counts.conflated == 0


async def test_symbols_do_not_conflate_with_each_other_and_strangers_are_not_delivered():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL, MSFT)
    hub.on_lines([Line(AAPL, 1.0), Line(MSFT, 2.0), Line(replace(AAPL, con_id=9), 3.0)])
    assert [(quote.instrument.symbol, quote.last) for quote in stream.take_all()] == [("AAPL", 1.0), ("MSFT", 2.0)]


async def test_a_full_queue_drops_the_oldest_trades_but_never_a_marker():
    hub = StreamHub(StreamDefaults(buffer_size=3))
    stream, _ = open_stream(hub, AAPL, kinds=(StreamKind.TRADES,))
    gap = Gap(NOW, "tws", "1101")
    hub.mark(gap)
    for number in range(5):
        hub.on_trade(trade(number))
    resumed = Resumed(NOW, "tws", restored=1, failed=0)
    hub.mark(resumed)
    events = stream.take_all()
    assert events[0] == gap
    assert events[1] == Lost(NOW, 2, ("AAPL",))
    assert events[-1] == resumed
    assert [event.price for event in events[2:-1]] == [2.0, 3.0, 4.0]
    assert stream.counts.dropped == 2


async def test_one_slow_consumer_does_not_slow_another():
    hub = StreamHub(StreamDefaults(buffer_size=2))
    slow, _ = open_stream(hub, AAPL, kinds=(StreamKind.TRADES,))
    fast, _ = open_stream(hub, AAPL, kinds=(StreamKind.TRADES,))
    seen = []
    for number in range(4):
        hub.on_trade(trade(number))
        seen.append((await anext(fast)).price)
    assert seen == [0.0, 1.0, 2.0, 3.0]
    assert slow.counts.dropped == 2


async def test_markers_reach_only_the_streams_of_their_symbols():
    hub = StreamHub()
    apple, _ = open_stream(hub, AAPL)
    micro, _ = open_stream(hub, MSFT)
    hub.mark(Gap(NOW, "tws", "10182", ("AAPL",)))
    assert (apple.waiting, micro.waiting) == (1, 0)
    hub.mark(Gap(NOW, "tws", "link lost"))
    assert (apple.waiting, micro.waiting) == (2, 1)


async def test_a_consumer_that_waits_is_woken_and_a_closed_stream_ends():
    hub = StreamHub()
    stream, closed = open_stream(hub, AAPL)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    hub.on_lines([Line(AAPL, 7.0)])
    assert (await asyncio.wait_for(waiting, 1)).last == 7.0
    hub.on_lines([Line(AAPL, 8.0)])
    await stream.aclose()
    assert closed == [stream]
    assert [quote.last async for quote in stream] == [8.0]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert hub.streams == ()
    hub.on_lines([Line(AAPL, 9.0)])
    assert stream.waiting == 0


async def test_a_packet_of_many_lines_wakes_its_consumer_once():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL, MSFT)
    batches = []

    async def consume():
        async for quote in stream:
            batches.append([quote, *stream.take_all()])

    consumer = asyncio.ensure_future(consume())
    await asyncio.sleep(0)
    hub.on_lines([Line(AAPL, 1.0), Line(MSFT, 2.0)])
    hub.on_trade(trade(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [[quote.last for quote in batch] for batch in batches] == [[1.0, 2.0]]
    await stream.aclose()
    await asyncio.wait_for(consumer, 1)


async def test_a_consumer_that_gave_up_waiting_can_wait_again():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.001)
    hub.on_lines([Line(AAPL, 1.0)])
    assert (await anext(stream)).last == 1.0
    again = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    hub.on_lines([Line(AAPL, 2.0)])
    assert (await asyncio.wait_for(again, 1)).last == 2.0
