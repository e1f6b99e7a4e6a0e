"""Events on their way to agents: filters, slow agents, failing handlers, promotion, and what a gap takes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from moondev_ibkr.agents.analysis.stream.agent_feed import AgentFeed
from moondev_ibkr.agents.analysis.stream_events import EventsLost, StreamEvent, StreamEventKind, stream_to_agents
from moondev_ibkr.brokers.calendar import MarketCalendar, hours_of
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Bar, Gap, Lost, MarketEvent, Quote, Resumed
from moondev_ibkr.brokers.errors import LinkLost, NoData, UnknownInstrument

OPEN = datetime(2026, 4, 15, 13, 30, tzinfo=UTC)
CALENDAR = MarketCalendar()
SURGE, HIGH = StreamEventKind.PRICE_SURGE, StreamEventKind.NEW_HIGH


class Feed:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[MarketEvent | Exception | None] = asyncio.Queue()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> MarketEvent:
        item = await self.queue.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopAsyncIteration
        return item

    async def batches(self) -> AsyncIterator[list[MarketEvent]]:
        async for event in self:
            yield [event]

    async def aclose(self) -> None:
        self.queue.put_nowait(None)


class Source:
    """A broker of a quiet market: 100 dollars for a month, and whatever the test streams."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.rounds = 0
        self.now = OPEN

    async def market_time(self) -> datetime:
        return self.now

    async def market_hours(self, symbol, at=None):
        if symbol == "NONE":
            raise UnknownInstrument("contract NONE", "there is none")
        return hours_of(InstrumentDetails(Instrument(symbol)), at or self.now, CALENDAR)

    async def many_bars(self, symbols, size, *, count=None, start=None, **_: object):
        self.rounds += 1
        days = CALENDAR.trading_days((self.now - timedelta(days=40)).date(), (self.now - timedelta(days=1)).date())
        midnight = [datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC) for day in days]
        times = midnight if not size.is_intraday else [day.open for day in days]
        return {symbol: [Bar(time, 100, 101, 99, 100, 1_000_000) for time in times] for symbol in symbols}

    def stream(self, symbols: Iterable[str], kinds=()) -> Feed:
        self.asked = list(symbols)
        return self.feed

    async def say(self, *events: MarketEvent | Exception) -> None:
        for event in events:
            self.feed.queue.put_nowait(event)
        for _ in range(30):
            await asyncio.sleep(0)


def quote(seconds: float, last: float, symbol: str = "AAA") -> Quote:
    return Quote(Instrument(symbol), OPEN + timedelta(seconds=seconds), last=last)


async def test_an_agent_iterates_over_what_it_asked_for_and_another_is_called() -> None:
    source, called = Source(), []
    async with stream_to_agents(source, ["aaa", "BBB"], called.append) as events:
        highs = events.agent("highs", kinds={HIGH})
        bees = events.agent("bees", symbols=["bbb"])
        await source.say(quote(1, 100), quote(2, 100.5), quote(3, 104), quote(4, 100, "BBB"), quote(5, 95, "BBB"))
        await source.say(quote(6, 90, "BBB"))
    assert [(event.kind, event.symbol) async for event in highs] == []
    assert [(event.kind, event.symbol) async for event in bees if event.kind is SURGE] == [(SURGE, "BBB")]
    assert [(event.symbol, round(event.value, 2)) for event in called if event.kind is SURGE] == [
        ("AAA", 3.48),
        ("BBB", -5.26),
    ]


async def test_quotes_that_were_lost_on_the_way_are_counted() -> None:
    source = Source()
    async with stream_to_agents(source, ["AAA"]) as events:
        await source.say(quote(1, 100), Lost(OPEN, 7, ("AAA",)), quote(2, 100))
        assert (events.statistics()["quotes"], events.statistics()["lost"]) == (2, 7)


async def test_a_slow_agent_loses_its_oldest_events_is_told_and_costs_nobody_else() -> None:
    slow, quick = AgentFeed("slow", limit=2), AgentFeed("quick")
    made = [StreamEvent(SURGE, "AAA", OPEN + timedelta(seconds=n), float(n), 3.0, "") for n in range(5)]
    gap = Gap(OPEN, "test", "cable")
    for event in made[:2]:
        slow.offer(event), quick.offer(event)
    slow.mark(gap)
    for event in made[2:]:
        slow.offer(event), quick.offer(event)
    slow.end(), quick.end()
    assert [event async for event in slow] == [EventsLost("slow", 3, OPEN), gap, *made[3:]]
    assert [event async for event in quick] == made
    assert (slow.dropped, quick.dropped) == (3, 0)


async def test_a_handler_that_raises_is_counted_and_goes_on() -> None:
    source, seen = Source(), []

    async def fails(event: object) -> None:
        seen.append(event)
        raise ValueError("mine")

    async with stream_to_agents(source, ["AAA", "BBB"], fails) as events:
        await source.say(quote(1, 100), quote(1, 100, "BBB"), quote(2, 100.5), quote(2, 100.5, "BBB"))
        await source.say(quote(3, 110), quote(4, 110, "BBB"))
        told = events.statistics()
    assert len(seen) == told["agents"]["on_event"]["failed"] >= 2


async def test_every_event_asks_for_promotion_and_a_broken_callback_ends_nothing() -> None:
    source, promoted = Source(), []

    def promote(symbol: str, event: StreamEvent) -> None:
        promoted.append((symbol, event.kind))
        raise RuntimeError("budget")

    async with stream_to_agents(source, ["AAA"], promote=promote) as events:
        feed = events.agent("one")
        await source.say(quote(1, 100), quote(2, 100.5), quote(3, 104))
    got = [(event.symbol, event.kind) async for event in feed]
    assert ("AAA", SURGE) in got
    assert got == promoted
    assert events.failures["promotion"] == len(got)


async def test_without_a_callback_the_brokers_own_promotion_is_asked() -> None:
    source, promoted = Source(), []
    source.promote = lambda symbol, event: promoted.append((symbol, event.kind))
    async with stream_to_agents(source, ["AAA"]) as events:
        await source.say(quote(1, 100), quote(2, 100.5), quote(3, 104))
    assert ("AAA", SURGE) in promoted
    assert "promotion" not in events.failures


async def test_no_event_is_invented_over_a_gap() -> None:
    source = Source()
    async with stream_to_agents(source, ["AAA"]) as events:
        feed = events.agent("one", kinds={SURGE})
        gap, back = Gap(OPEN, "test", "cable"), Resumed(OPEN + timedelta(seconds=4), "test", 1, 0)
        # 4 % in two seconds, but nobody saw how it came about
        await source.say(quote(1, 100), quote(2, 100.5), gap, back, quote(4, 104.6), quote(5, 104.7))
        await source.say(quote(6, 108))
        assert source.rounds == 4
        await source.say(gap, back)
        assert source.rounds == 6
    got = [event async for event in feed]
    assert got[:2] == [gap, back]
    assert [round(event.value, 2) for event in got[2:] if isinstance(event, StreamEvent)] == [3.15]


async def test_a_new_day_gets_its_own_figures() -> None:
    source = Source()
    async with stream_to_agents(source, ["AAA"]) as events:
        await source.say(quote(1, 100))
        watch = events._watches["AAA"]
        source.now += timedelta(days=1)
        await source.say(quote(86_400 - 3_600, 100))
        assert watch.day is not None
        assert watch.day.date == (OPEN + timedelta(days=1)).date()


async def test_a_symbol_that_does_not_exist_is_told_and_the_others_are_watched() -> None:
    source = Source()
    async with stream_to_agents(source, ["AAA", "NONE"]) as events:
        assert source.asked == ["AAA"]
        assert isinstance(events.errors["NONE"], UnknownInstrument)
    before = asyncio.all_tasks()
    with pytest.raises(NoData):
        await stream_to_agents(source, ["NONE"], print).__aenter__()
    assert asyncio.all_tasks() == before


async def test_a_stream_that_fails_raises_in_every_agents_hand() -> None:
    source = Source()
    async with stream_to_agents(source, ["AAA"]) as events:
        feed = events.agent("one")
        await source.say(LinkLost("stream", "the cable"))
        with pytest.raises(LinkLost):
            await anext(feed)
        with pytest.raises(LinkLost):
            await anext(events.agent("late"))
