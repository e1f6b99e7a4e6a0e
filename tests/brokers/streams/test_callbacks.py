"""A handler is called with every event; what it raises is its own (fault C21)."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.errors import NoPermission
from moondev_ibkr.brokers.streams.callbacks import Callbacks
from moondev_ibkr.brokers.streams.defaults import StreamDefaults
from moondev_ibkr.brokers.streams.hub import StreamHub
from moondev_ibkr.brokers.streams.open_stream import OpenStream

from tests.brokers.streams.feeds import AAPL, TRADES, open_stream, trade

AT_ONCE = StreamDefaults(batch_seconds=0.0)


async def until(done, deadline: float = 2.0) -> None:
    async with asyncio.timeout(deadline):
        while not done():
            await asyncio.sleep(0)


async def test_a_handler_that_fails_is_counted_and_gets_the_next_event(caplog):
    hub = StreamHub(AT_ONCE)
    stream, _ = open_stream(hub, AAPL, kinds=(TRADES,))
    other, _ = open_stream(hub, AAPL, kinds=(TRADES,))
    seen = []

    def handler(event):
        seen.append(event.price)
        if event.price == 2:
            raise ValueError("two")

    async with Callbacks(stream, handler, "prices") as callbacks:
        for price in (1, 2, 3):
            hub.on_trade(trade(price))
        await until(lambda: len(seen) == 3)
        assert seen == [1, 2, 3]
        assert callbacks.failures == 1
        assert str(callbacks.last_failure) == "two"
        assert callbacks.counts.delivered == 3
        assert hub.failures() == 1
        assert stream.statistics().failures == 1
    assert "a handler of prices failed on Trade" in caplog.text
    assert len(other.take_all()) == 3
    assert callbacks.error is None


async def test_a_coroutine_is_awaited_and_its_failure_counted():
    hub = StreamHub(AT_ONCE)
    stream, _ = open_stream(hub, AAPL, kinds=(TRADES,))
    seen = []

    async def handler(event):
        await asyncio.sleep(0)
        seen.append(event.price)
        raise RuntimeError("always")

    async with Callbacks(stream, handler, "prices") as callbacks:
        for price in (1, 2):
            hub.on_trade(trade(price))
        await until(lambda: callbacks.failures == 2)
    assert seen == [1, 2]


async def test_after_closing_the_handler_is_called_no_more():
    hub = StreamHub(AT_ONCE)
    stream, closed = open_stream(hub, AAPL, kinds=(TRADES,))
    seen = []
    callbacks = Callbacks(stream, seen.append, "prices")
    hub.on_trade(trade(1))
    await until(lambda: seen)
    hub.on_trade(trade(2))
    await callbacks.aclose()
    hub.on_trade(trade(3))
    await asyncio.sleep(0)
    assert [event.price for event in seen] == [1]
    assert closed == [stream]


async def test_a_handler_may_end_its_own_subscription():
    hub = StreamHub(AT_ONCE)
    stream, closed = open_stream(hub, AAPL, kinds=(TRADES,))
    seen = []

    async def handler(event):
        seen.append(event.price)
        await callbacks.aclose()

    callbacks = Callbacks(stream, handler, "prices")
    for price in (1, 2):
        hub.on_trade(trade(price))
    await asyncio.wait_for(callbacks.wait(), 2)
    assert seen == [1]
    assert closed == [stream]


async def test_a_stream_that_cannot_be_had_is_told_and_not_swallowed():
    async def refused():
        raise NoPermission("quotes", "not subscribed")

    callbacks = Callbacks(OpenStream(refused), print, "prices")
    with pytest.raises(NoPermission):
        await asyncio.wait_for(callbacks.wait(), 2)
    assert isinstance(callbacks.error, NoPermission)
    await callbacks.aclose()
