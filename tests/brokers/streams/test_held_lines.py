"""Conflation holds quotes back long enough, not much longer, and lets them go together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.streams.defaults import StreamDefaults
from moondev_ibkr.brokers.streams.hub import StreamHub

from tests.brokers.streams.feeds import AAPL, MSFT, QUOTES, Line, open_stream, run_virtually

SYMBOLS = [Instrument(f"S{number}", con_id=number) for number in range(1, 101)]
CONFLATION = 0.1


def test_a_quote_waits_for_its_conflation_and_an_eighth_longer_at_most():
    async def story() -> dict[str, list[float]]:
        hub, loop = StreamHub(StreamDefaults(conflation=CONFLATION)), asyncio.get_running_loop()
        stream, _ = open_stream(hub, *SYMBOLS, kinds=(QUOTES,))
        taken: defaultdict[str, list[float]] = defaultdict(list)
        turns: set[float] = set()

        async def consume() -> None:
            async for quote in stream:
                taken[quote.instrument.symbol].append(loop.time())
                turns.add(loop.time())

        consumer = asyncio.ensure_future(consume())
        lines = [Line(one) for one in SYMBOLS]
        begun = loop.time()
        for number in range(20_000):  # 2 000 changes a second, one symbol after another
            hub.on_lines([lines[number % len(lines)]])
            await asyncio.sleep(0.0005)
        stream.close()
        await consumer
        assert stream.counts.unaccounted == 0
        # the consumer wakes for each symbol's first quote, and from then on a bounded number of times
        assert len(turns) <= len(SYMBOLS) + 8 * (loop.time() - begun) / CONFLATION + 2
        return taken

    taken = run_virtually(story())
    assert len(taken) == len(SYMBOLS)
    for times in taken.values():
        pauses = [after - before for before, after in pairwise(times[:-1])]
        assert min(pauses) >= CONFLATION - 1e-6
        # a change comes every 50 ms, so the last 50 of a pause may be the market's
        assert max(pauses) <= CONFLATION * 9 / 8 + 0.05 + 1e-6
        assert len(pauses) >= 80


async def test_what_is_held_at_the_end_of_a_stream_is_delivered():
    hub = StreamHub(StreamDefaults(conflation=60.0))
    stream, _ = open_stream(hub, AAPL, MSFT, kinds=(QUOTES,))
    first, second = Line(AAPL), Line(MSFT)
    hub.on_lines([first, second])
    assert len(stream.take_all()) == 2
    first.last, second.last = 1.0, 2.0
    hub.on_lines([second, first])
    assert (stream.is_ready, stream.waiting) == (False, 2)
    stream.close()
    assert [quote.last async for quote in stream] == [2.0, 1.0]


@pytest.mark.parametrize("moved", [0.0, 0.0301])
def test_a_change_after_the_pause_is_not_held(moved):
    async def story() -> None:
        hub = StreamHub(StreamDefaults(conflation=0.03))
        stream, _ = open_stream(hub, AAPL, kinds=(QUOTES,))
        hub.on_lines([Line(AAPL, 1.0)])
        assert len(stream.take_all()) == 1
        await asyncio.sleep(moved)
        hub.on_lines([Line(AAPL, 2.0)])
        assert stream.is_ready is bool(moved)

    run_virtually(story())
