"""The subscription budget on the wire: more symbols than lines, lines that IB refuses, positions, events, questions."""

import asyncio
from dataclasses import replace

import pytest
from moondev_ibkr.brokers.domain.market_data import BidAsk, Depth, Gap, Quote, Resumed, StreamKind, Trade
from moondev_ibkr.brokers.domain.subscriptions import Delivery, Tier
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import silent_lines
from moondev_ibkr.brokers.interactive_brokers.ib_line_budget_terms import TERMS
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from .adapter_world import QUICK, adapter_world, buy

SYMBOLS = tuple(f"A{chr(65 + number // 26)}{chr(65 + number % 26)}" for number in range(200))


def shrink(world, lines, **terms):
    """The allowance that the adapter believes in, and waits cut to what a story can take."""
    budget = world.adapter.data.lines.budget
    budget.terms = budget.allowance._terms = replace(
        TERMS, **{"poll_every": 0.05, "poll_spacing": 0.0, "least_cold": 0.0} | terms
    )
    world.adapter.data.lines.allowance = lines
    return world.adapter.data.lines


def quoted(world):
    (session,) = world.gateway.door.sessions.values()
    return session.count("quotes")


def tier_of(world, symbol):
    row = next(row for row in world.adapter.subscriptions().rows if row.symbol == symbol)
    return row.tier, row.delivery


async def collect(stream, wanted, seconds=20.0):
    """The first quotes that satisfy `wanted` of each symbol, until it is content."""
    found = {}
    async with asyncio.timeout(seconds):
        async for event in stream:
            if isinstance(event, Quote):
                found.setdefault(event.instrument.symbol, []).append(event)
                if wanted(found):
                    return found
    raise AssertionError("the stream ended")


async def test_d12_two_hundred_symbols_live_on_a_hundred_lines():
    door = DoorSettings(port=0, market_data_lines=100)
    # two hundred look-ups at fifty messages a second take a while
    patient = replace(QUICK, request_deadline=30.0)
    async with adapter_world(price_kind="synthetic", symbols=SYMBOLS, door=door, settings=patient) as world:
        shrink(world, 100)
        stream = world.adapter.stream(SYMBOLS, [StreamKind.QUOTES])
        found = await collect(stream, lambda found: len(found) == 200)
        polled = {name for name, quotes in found.items() if quotes[-1].polled}
        report = world.adapter.subscriptions()
        assert report.count(Tier.COLD) + report.count(Tier.WARM) == 200
        assert {row.symbol for row in report.rows if row.tier is Tier.WARM}.isdisjoint(polled)
        assert len(polled) >= 100
        assert report.refusals == 0, "IB was never asked for more than there is"
        assert quoted(world) + report.polling <= 90, "ten are kept for positions and open orders"
        await stream.aclose()
        await world.adapter.market_time()
        assert world.adapter.subscriptions().count(Tier.COLD) == 0


async def test_d12_a_lower_allowance_is_learnt_from_101_and_every_symbol_is_quoted_all_the_same():
    door = DoorSettings(port=0, market_data_lines=8)
    async with adapter_world(price_kind="synthetic", symbols=SYMBOLS[:24], door=door) as world:
        shrink(world, 24, reserved=0)
        stream = world.adapter.stream(SYMBOLS[:24], [StreamKind.QUOTES])
        found = await collect(stream, lambda found: len(found) == 24)
        assert all(quotes[0].bid for quotes in found.values())
        report = world.adapter.subscriptions()
        assert report.believed <= 8
        assert report.refusals >= 1
        assert not world.adapter.health().reason, "trading goes on"
        row = next(row for row in world.adapter.health().details if row[0] == "market data lines")
        assert row[1] is False
        assert "refused" in row[2]
        await stream.aclose()


async def test_what_is_held_and_what_is_ordered_keeps_a_line_and_gives_it_up_when_flat():
    async with adapter_world(price_kind="synthetic", symbols=("AAPL", "MSFT", *SYMBOLS[:20])) as world:
        lines = shrink(world, 12)
        await world.adapter.place(buy(symbol="AAPL"))
        resting = await world.adapter.place(buy(symbol="MSFT", limit=1))
        stream = world.adapter.stream(SYMBOLS[:20], [StreamKind.QUOTES])
        await anext(stream)
        lines.look()
        assert tier_of(world, "AAPL") == tier_of(world, "MSFT") == (Tier.HOT, Delivery.LINE)
        await world.adapter.cancel(resting.key)
        await world.until(lambda: not world.adapter.open_orders(), "the cancel")
        lines.look()
        assert all(row.tier is not Tier.HOT for row in world.adapter.subscriptions().rows if row.symbol == "MSFT")
        assert tier_of(world, "AAPL") == (Tier.HOT, Delivery.LINE)
        await stream.aclose()


async def test_an_event_gives_a_polled_symbol_a_line_and_its_quotes_are_live_from_then_on():
    async with adapter_world(price_kind="synthetic", symbols=SYMBOLS[:20]) as world:
        shrink(world, 12)
        stream = world.adapter.stream(SYMBOLS[:20], [StreamKind.QUOTES])
        await collect(stream, lambda found: len(found) == 20)
        cold = next(row.symbol for row in world.adapter.subscriptions().rows if row.tier is Tier.COLD)
        assert world.adapter.promote(cold, "VOLUME_SPIKE")
        row = next(row for row in world.adapter.subscriptions().rows if row.symbol == cold)
        assert (row.tier, row.why) == (Tier.HOT, "VOLUME_SPIKE")
        found = await collect(stream, lambda found: any(not quote.polled for quote in found.get(cold, [])))
        assert found[cold][-1].bid
        await world.advance(600)
        found = await collect(stream, lambda found: cold in found)
        assert not found[cold][0].polled
        assert not world.adapter.promote("NOSUCH", "event")
        await stream.aclose()


async def test_a_quote_is_answered_while_streams_have_every_line():
    async with adapter_world(price_kind="synthetic", symbols=(*SYMBOLS[:20], "AAPL")) as world:
        shrink(world, 12)
        stream = world.adapter.stream(SYMBOLS[:20], [StreamKind.QUOTES])
        await anext(stream)
        quote = await world.adapter.quote("AAPL")
        assert quote.polled
        assert quote.bid
        assert quote.age(world.clock.now()).total_seconds() < 1
        await stream.aclose()


@pytest.mark.parametrize("how", ["reset", "1101"])
async def test_d12_c02_a_lost_link_brings_back_lines_and_polls(how):
    async with adapter_world(price_kind="synthetic", symbols=SYMBOLS[:20]) as world:
        shrink(world, 12)
        stream = world.adapter.stream(SYMBOLS[:20], [StreamKind.QUOTES])
        await collect(stream, lambda found: len(found) == 20)
        lines = quoted(world)
        if how == "1101":
            world.arm("1100")
        world.arm(how)
        await world.until_restored()
        await world.advance(600)
        await collect(stream, lambda found: len(found) == 20)
        assert quoted(world) == lines
        assert world.adapter.subscriptions().refusals == 0
        await stream.aclose()


async def next_of(stream, kind, seconds=10.0):
    async with asyncio.timeout(seconds):
        async for event in stream:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the stream ended before a {kind.__name__}")


async def test_d01_a_competing_session_is_a_gap_that_ends_when_the_other_one_leaves(monkeypatch):
    monkeypatch.setattr(silent_lines, "FIRST_RETRY", 0.1)
    monkeypatch.setattr(silent_lines, "LONGEST_RETRY", 0.1)
    async with adapter_world() as world:
        stream = world.adapter.stream(["AAPL", "MSFT"], [StreamKind.QUOTES])
        await collect(stream, lambda found: len(found) == 2)
        world.arm("competing-session")
        gap = await next_of(stream, Gap)
        assert set(gap.symbols) == {"AAPL", "MSFT"}
        assert "another session" in gap.reason
        before = {line.request_id for line in world.client._market.lines()}
        await world.until(
            lambda: before.isdisjoint(line.request_id for line in world.client._market.lines()),
            "both to be asked again",
        )
        assert not stream.counts.unaccounted
        assert world.count(LinkEventKind.SUBSCRIPTIONS_RESTORED) == 0, "nothing came yet"
        world.release("competing-session")
        symbols = set()
        while symbols != {"AAPL", "MSFT"}:
            symbols |= set((await next_of(stream, Resumed)).symbols)
        assert (await next_of(stream, Quote)).bid
        assert world.count(LinkEventKind.LOST) == 0
        await stream.aclose()


@pytest.mark.parametrize("kind", [StreamKind.TRADES, StreamKind.TICK_BY_TICK, StreamKind.DEPTH])
async def test_d01_ticks_and_books_that_no_line_goes_with_come_back_after_a_competing_session(monkeypatch, kind):
    monkeypatch.setattr(silent_lines, "FIRST_RETRY", 0.1)
    monkeypatch.setattr(silent_lines, "LONGEST_RETRY", 0.1)
    async with adapter_world(price_kind="synthetic") as world:
        stream, events = world.adapter.stream(["AAPL", "MSFT"], [kind]), []
        task = asyncio.ensure_future(_read(stream, events))
        # IB's fifteen seconds between two requests are another story
        world.client._market._streams.pacer.seconds = -1.0
        feeds = 4 if kind is StreamKind.TICK_BY_TICK else 2
        await world.until(lambda: len(world.client._market._streams) == feeds, "the streams")
        await world.client.market_time()
        await world.advance(1800)
        await world.until(lambda: _symbols(events, Trade | BidAsk | Depth) == {"AAPL", "MSFT"}, "data of both")
        assert not world.client._market.lines()
        world.arm("competing-session")
        await world.until(lambda: _symbols(events, Gap) == {"AAPL", "MSFT"}, "the gap of both")
        told = len(events)
        await world.advance(600)
        await asyncio.sleep(0.3)
        assert not events[told:], "no value, and no second gap"
        world.release("competing-session")
        await world.client.market_time()
        moment = 0
        while _symbols(events, Resumed) != {"AAPL", "MSFT"} and moment < 50:
            await asyncio.sleep(0.1)
            await world.advance(300)
            moment += 1
        assert _symbols(events, Resumed) == {"AAPL", "MSFT"}
        assert [type(one) for one in events if isinstance(one, Gap)] == [Gap]
        told = len(events)
        await world.advance(1800)
        await world.until(
            lambda: _symbols(events[told:], Trade | BidAsk | Depth) == {"AAPL", "MSFT"}, "data of both again"
        )
        task.cancel()
        await stream.aclose()


async def test_ticks_are_asked_for_again_no_sooner_than_ib_allows_and_made_of_quotes_meanwhile():
    async with adapter_world(price_kind="synthetic", door=DoorSettings(port=0, tick_by_tick_seconds=15.0)) as world:
        ahead, loop = [0.0], asyncio.get_running_loop()
        world.clock._monotonic = world.gateway.door.monotonic = lambda: loop.time() + ahead[0]
        first = world.adapter.stream(["AAPL"], [StreamKind.TRADES])
        waiting = asyncio.ensure_future(anext(first))
        await world.until(lambda: len(world.client._market._streams) == 1, "the stream")
        await world.client.market_time()
        waiting.cancel()
        await first.aclose()
        again, events = world.adapter.stream(["AAPL"], [StreamKind.TRADES]), []
        task = asyncio.ensure_future(_read(again, events))
        feeds = world.adapter.data.streams.feeds
        await world.until(lambda: feeds._made and world.client._market.lines(), "ticks made of quotes")
        await world.client.market_time()
        await world.advance(1800)
        await world.until(lambda: events, "trades")
        assert {trade.source for trade in events} == {"tws quotes"}
        ahead[0] = 14.0
        world.adapter.data.lines.look()
        assert feeds._made
        ahead[0] = 16.0
        world.adapter.data.lines.look()
        assert not feeds._made
        await world.client.market_time()
        await world.advance(1800)
        await world.until(lambda: events[-1].source == "tws", "real ticks")
        assert world.count(LinkEventKind.STREAM_REFUSED) == 0
        task.cancel()
        await again.aclose()


async def _read(stream, events):
    async for event in stream:
        events.append(event)


def _symbols(events, kinds):
    """The symbols that these kinds of events name."""
    found = set()
    for event in events:
        if isinstance(event, kinds):
            found.update(event.symbols if isinstance(event, Gap | Resumed) else {event.instrument.symbol})
    return found


async def test_d01_q15_a_feed_that_was_asked_again_is_resumed_by_its_first_value_alone():
    async with adapter_world() as world:
        stream = world.adapter.stream(["AAPL"], [StreamKind.QUOTES])
        await collect(stream, lambda found: len(found) == 1)
        world.gateway.faults.silent_feed = True
        world.client.resubscribe_silent(asyncio.get_running_loop().time())
        assert (await next_of(stream, Gap)).symbols == ("AAPL",)
        await world.client.market_time()
        assert world.count(LinkEventKind.SUBSCRIPTIONS_RESTORED) == 0
        world.gateway.faults.silent_feed = False
        world.client.resubscribe_silent(asyncio.get_running_loop().time())
        assert (await next_of(stream, Resumed)).symbols == ("AAPL",)
        await stream.aclose()


async def test_d12_ticks_beyond_the_limit_are_made_of_quotes_and_become_real_when_there_is_room():
    symbols = SYMBOLS[:7]
    async with adapter_world(price_kind="synthetic", symbols=symbols) as world:
        streams = [world.adapter.stream([symbol], [StreamKind.TRADES]) for symbol in symbols]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        feeds = world.adapter.data.streams.feeds
        await world.until(
            lambda: len(feeds._feeds) == 7 and len(feeds._made) == 2, "five streams and two made of quotes"
        )
        await world.client.market_time()
        await world.advance(1800)
        trades = await asyncio.wait_for(asyncio.gather(*waiting), 5)
        assert {trade.source for trade in trades[:5]} == {"tws"}
        assert {trade.source for trade in trades[5:]} == {"tws quotes"}
        assert all(trade.price > 0 for trade in trades)
        await streams[0].aclose()
        assert len(feeds._made) == 1
        for stream in streams[1:]:
            await stream.aclose()
        assert not feeds._feeds
        assert not feeds._made
        assert not [row for row in world.adapter.subscriptions().rows if row.consumers]


async def test_d12_fewer_streams_of_ticks_are_learnt_from_10190():
    symbols = SYMBOLS[:4]
    door = DoorSettings(port=0, tick_by_tick_lines=2)
    async with adapter_world(price_kind="synthetic", symbols=symbols, door=door) as world:
        streams = [world.adapter.stream([symbol], [StreamKind.TRADES]) for symbol in symbols]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        feeds = world.adapter.data.streams.feeds
        await world.until(lambda: len(feeds._made) == 2, "what was refused to be made of quotes")
        assert world.adapter.subscriptions().to_json()["limits"] == {"tick_by_tick": [2, 2], "depth": [0, 3]}
        await world.client.market_time()
        await world.advance(1800)
        trades = await asyncio.wait_for(asyncio.gather(*waiting), 5)
        assert sorted(trade.source for trade in trades) == ["tws", "tws", "tws quotes", "tws quotes"]
        for stream in streams:
            await stream.aclose()


async def test_d12_one_book_more_than_there_may_be_is_refused_and_had_when_one_ends():
    symbols = SYMBOLS[:4]
    async with adapter_world(price_kind="synthetic", symbols=symbols) as world:
        books = world.adapter.stream(symbols[:3], [StreamKind.DEPTH])
        first = asyncio.ensure_future(anext(books))
        await world.until(lambda: world.adapter.data.streams.feeds.used(depth=True) == 3, "three books")
        more = world.adapter.stream(symbols[3:], [StreamKind.DEPTH])
        with pytest.raises(InvalidRequest, match="depth streams"):
            await anext(more)
        first.cancel()
        await books.aclose()
        again = world.adapter.stream(symbols[3:], [StreamKind.DEPTH])
        waiting = asyncio.ensure_future(anext(again))
        await world.until(lambda: world.adapter.data.streams.feeds.used(depth=True) == 1, "the book")
        await world.advance(600)
        assert isinstance(await asyncio.wait_for(waiting, 5), Depth)
        await again.aclose()
