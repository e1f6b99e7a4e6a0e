"""Whatever happens, everything that a stream received is delivered, conflated, filtered, dropped or waits."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.market_data import Gap, Lost, Quote, Resumed, Trade
from moondev_ibkr.brokers.domain.streams import StreamOptions
from moondev_ibkr.brokers.streams.defaults import StreamDefaults
from moondev_ibkr.brokers.streams.hub import StreamHub

from tests.brokers.streams.feeds import AAPL, MSFT, NOW, QUOTES, TRADES, Line, open_stream, run_virtually, trade

GAP, RESUMED = Gap(NOW, "tws", "1101"), Resumed(NOW, "tws", restored=1, failed=0)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("quotes"), st.integers(1, 3)),
        st.tuples(st.just("trades"), st.integers(1, 9)),
        st.tuples(st.just("gap"), st.just(1)),
        st.tuples(st.just("take"), st.integers(1, 6)),
        st.tuples(st.just("take all"), st.just(1)),
        st.tuples(st.just("pass"), st.sampled_from([0.0, 0.04, 0.1, 1.0])),
    ),
    max_size=60,
)


class Story:
    """One consumer, and by its side what must have become of everything."""

    def __init__(self, options: StreamOptions, *, every_quote: bool) -> None:
        self.hub = StreamHub(StreamDefaults(buffer_size=4, every_quote=every_quote))
        self.stream, _ = open_stream(self.hub, AAPL, MSFT, kinds=(QUOTES, TRADES), options=options)
        self.lines = [Line(AAPL), Line(MSFT)]
        self.got: list[object] = []
        self.offered = self.trades = self.markers = 0

    async def step(self, kind: str, amount: float) -> None:
        if kind == "quotes":
            for line in self.lines[: int(amount)]:
                line.last = (line.last or 0.0) + 1.0
            self.hub.on_lines(self.lines[: int(amount)])
            self.offered += len(self.lines[: int(amount)])
        elif kind == "trades":
            for _ in range(int(amount)):
                self.trades += 1
                self.hub.on_trade(trade(self.trades, size=float(self.trades % 3)))
            self.offered += int(amount)
        elif kind == "gap":
            self.hub.mark(GAP)
            self.hub.mark(RESUMED)
            self.markers += 2
            self.offered += 2
        elif kind == "take":
            for _ in range(int(amount)):
                if self.stream.waiting and self.stream.is_ready:
                    try:
                        self.got.append(await asyncio.wait_for(anext(self.stream), 0.01))
                    except TimeoutError:  # all that was ready was filtered
                        break
        elif kind == "take all":
            self.got += self.stream.take_all()
        else:
            await asyncio.sleep(amount)
        self.check()

    def check(self) -> None:
        counts = self.stream.counts
        assert counts.received == self.offered
        assert counts.unaccounted == 0
        lost = [event for event in self.got if isinstance(event, Lost)]
        assert counts.delivered == len(self.got) - len(lost)
        assert counts.dropped >= sum(event.count for event in lost)
        assert min(counts.conflated, counts.filtered, counts.dropped, counts.waiting) >= 0

    async def end(self) -> None:
        self.stream.close()
        self.got += [event async for event in self.stream]
        self.check()
        counts = self.stream.counts
        assert counts.waiting == 0
        assert sum(event.count for event in self.got if isinstance(event, Lost)) == counts.dropped
        assert sum(isinstance(event, Gap | Resumed) for event in self.got) == self.markers
        prices = [event.price for event in self.got if isinstance(event, Trade)]
        assert prices == sorted(prices), "trades stay in order"
        assert all(event.size >= 1 for event in self.got if isinstance(event, Trade)) or not counts.filtered


@settings(max_examples=150, deadline=None)
@given(
    STEPS,
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)
def test_everything_received_is_accounted_for(steps, conflation, min_size, every_quote):
    async def story() -> None:
        told = Story(StreamOptions(conflation=conflation, min_size=min_size), every_quote=every_quote)
        for kind, amount in steps:
            await told.step(kind, amount)
        await told.end()

    run_virtually(story())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 7), st.integers(1, 9))
def test_batches_hand_over_every_trade_once_and_tell_of_the_rest(bursts, buffer_size, most):
    async def story() -> None:
        hub = StreamHub(StreamDefaults(buffer_size=buffer_size))
        stream, _ = open_stream(hub, AAPL, kinds=(TRADES,))
        got: list[object] = []

        async def consume() -> None:
            async for batch in stream.batches(most, 0.5):
                assert 1 <= len(batch) <= most
                got.extend(batch)
                await asyncio.sleep(0.3)

        consumer = asyncio.ensure_future(consume())
        number = 0
        for burst in bursts:
            for _ in range(burst):
                hub.on_trade(trade(number))
                number += 1
            await asyncio.sleep(0.2)
        stream.close()
        await consumer
        lost = sum(event.count for event in got if isinstance(event, Lost))
        prices = [event.price for event in got if isinstance(event, Trade)]
        assert len(prices) + lost == number == stream.counts.received
        assert prices == sorted(set(prices))
        assert stream.counts.unaccounted == 0

    run_virtually(story())


def test_a_consumer_that_never_takes_costs_no_memory():
    async def story() -> None:
        hub = StreamHub(StreamDefaults(buffer_size=10))
        stream, _ = open_stream(hub, AAPL, kinds=(QUOTES, TRADES))
        for number in range(10_000):
            hub.on_lines([Line(AAPL, float(number))])
            hub.on_trade(trade(number))
        assert len(stream._queue) <= 2 * 10 + 3
        first, *others = stream.take_all()
        assert isinstance(first, Quote)
        assert others[0] == Lost(NOW, 9_990, ("AAPL",))
        assert [event.price for event in others[1:]] == [float(number) for number in range(9_990, 10_000)]

    run_virtually(story())
