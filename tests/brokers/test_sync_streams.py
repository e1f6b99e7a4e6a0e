"""Streams for callers that do not wait on a loop: batches, callbacks on a thread of their own, the last value."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.market_data import MarketEvent, Quote, StreamKind
from moondev_ibkr.brokers.domain.tick_bars import BarRule
from moondev_ibkr.brokers.loop_thread import LoopThread
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.sync import SyncBroker

QUOTES = (StreamKind.QUOTES,)


class Market:
    """A paper broker on a background loop, whose time the test moves."""

    def __init__(self, loop: LoopThread) -> None:
        self._paper = PaperBroker.from_bars(speed=None, symbols=["AAPL", "MSFT"])
        self._loop = loop
        self.broker = SyncBroker(self._paper, loop, timeout=10)

    def pass_time(self, **span: float) -> None:
        async def later() -> None:
            await self._paper.advance_to(await self._paper.market_time() + timedelta(**span))

        self._loop.call(later(), 10)


@pytest.fixture
def market() -> Iterator[Market]:
    with LoopThread("loop of the market") as loop:
        made = Market(loop)
        with made.broker:
            day = made.broker.market_hours("AAPL")
            assert day is not None
            made.pass_time(hours=1)
            yield made


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_batches_are_a_plain_iterator_and_everything_is_accounted_for(market: Market) -> None:
    with market.broker.stream(["AAPL"], QUOTES) as stream:
        batches = stream.batches(5, 0.05)
        got: list[MarketEvent] = []
        while len(got) < 10:
            market.pass_time(hours=1)
            batch = batches.get(1.0)
            if batch is None:
                continue
            assert 1 <= len(batch) <= 5
            got += batch
        assert all(isinstance(event, Quote) for event in got)
        counts = stream.counts
        assert counts.unaccounted == 0
        assert counts.delivered >= len(got)


def test_a_handler_that_blocks_and_fails_holds_up_nobody(market: Market) -> None:
    """Fault C21, and C20: the loop goes on while a handler sleeps."""
    threads: set[str] = set()
    go_on, entered = threading.Event(), threading.Event()
    seen: list[MarketEvent] = []

    def slow(event: MarketEvent) -> None:
        threads.add(threading.current_thread().name)
        entered.set()
        assert go_on.wait(10)
        seen.append(event)
        raise ValueError("always")

    with market.broker.on_events(["AAPL"], QUOTES, slow) as callbacks:
        market.pass_time(days=2)
        assert entered.wait(10)
        assert market.broker.quote("AAPL").bid is not None, "the loop answers meanwhile"
        go_on.set()
        until(lambda: callbacks.failures >= 3)
        assert isinstance(callbacks.last_failure, ValueError)
        assert callbacks.counts.unaccounted == 0
        assert market.broker.get_statistics().failures >= 3
        assert callbacks.error is None
    assert threads == {"events for paper"}
    before = len(seen)
    market.pass_time(days=2)
    assert len(seen) == before
    assert market.broker.get_statistics().streams == ()


def test_a_stream_that_cannot_be_had_is_told_to_the_caller_of_a_handler(market: Market) -> None:
    with pytest.raises(Exception, match="BTC"):
        market.broker.on_events(["BTC"], QUOTES, print)


def test_the_last_value_bars_and_the_report(market: Market) -> None:
    assert market.broker.snapshot("NOBODY") is None
    snapshot = market.broker.snapshot("AAPL")
    assert snapshot is not None
    assert snapshot.quote is not None
    assert snapshot.quote == market.broker.quote("AAPL")
    bars = market.broker.tick_bars(["AAPL"], BarRule(ticks=1))
    following = bars.get(0.05)
    market.pass_time(days=2)
    bar = following or bars.get(10)
    assert bar is not None
    assert bar.bar.count == 1
    bars.close()
    assert {"tick", "batch"} <= set(market.broker.get_latency_report())
