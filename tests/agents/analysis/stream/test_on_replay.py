"""Stream events over the shipped bars, replayed by the paper broker with driven time: what agents get is what pandas
finds in the same quotes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from moondev_ibkr.agents.analysis.stream.day_figures import load_days
from moondev_ibkr.agents.analysis.stream_events import DETECTORS, StreamEvent, StreamEventKind, stream_to_agents
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker

from tests.agents.analysis.stream.plain_pandas import expected

SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
#: A daily bar is walked in 24 prints: longer windows and lower thresholds than a live market needs.
TABLE = {
    kind: replace(row, threshold=threshold, window=window)
    for kind, threshold, window in (
        (StreamEventKind.VOLUME_SPIKE, 1.05, timedelta(0)),
        (StreamEventKind.PRICE_SURGE, 0.4, timedelta(hours=1)),
        (StreamEventKind.SPREAD_TIGHTENING, 0.9, timedelta(hours=2)),
        (StreamEventKind.NEW_HIGH, 0.0, timedelta(0)),
        (StreamEventKind.GAP, 0.5, timedelta(0)),
        (StreamEventKind.VOLATILITY_SURGE, 0.5, timedelta(0)),
    )
    for row in (DETECTORS[kind],)
}


async def test_agents_get_what_pandas_finds_in_three_replayed_days() -> None:
    kinds: set[StreamEventKind] = set()
    async with PaperBroker.from_bars(speed=None, symbols=SYMBOLS) as broker:
        for _ in range(3):
            kinds |= await one_day(broker)
    assert kinds >= {StreamEventKind.VOLUME_SPIKE, StreamEventKind.PRICE_SURGE, StreamEventKind.NEW_HIGH}
    assert kinds >= {StreamEventKind.GAP, StreamEventKind.VOLATILITY_SURGE}


async def test_figures_of_an_earlier_moment_know_nothing_of_what_came_after() -> None:
    async with PaperBroker.from_bars(speed=None, symbols=["AAPL"]) as broker:
        day = MarketCalendar().next_day(await broker.market_time())
        await broker.advance_to(day.open - timedelta(minutes=1))
        before = (await load_days(broker, ["AAPL"]))["AAPL"]
        await broker.advance_to(day.close + timedelta(hours=1))
        again = (await load_days(broker, ["AAPL"], at=day.open - timedelta(minutes=1)))["AAPL"]
        late = (await load_days(broker, ["AAPL"]))["AAPL"]
    assert not isinstance(before, BrokerError)
    assert not isinstance(late, BrokerError)
    assert again == before
    assert (before.traded, before.regular_close) == (0.0, None)
    assert late.traded > 0
    assert late.regular_close is not None


async def one_day(broker: PaperBroker) -> set[StreamEventKind]:
    day = MarketCalendar().next_day(await broker.market_time())
    await broker.advance_to(day.open - timedelta(minutes=1))
    figures = await load_days(broker, SYMBOLS)
    seen: list[Quote] = []
    async with stream_to_agents(broker, SYMBOLS, table=TABLE) as events:
        feed = events.agent("one")
        watching = asyncio.create_task(collect(broker, seen))
        await settle()
        while await broker.market_time() < day.close + timedelta(minutes=1):
            await broker.advance_to(await broker.market_time() + timedelta(minutes=7))
            await settle()
        watching.cancel()
        assert events.quotes == len(seen) > 100
    got = [event async for event in feed if isinstance(event, StreamEvent)]
    for symbol in SYMBOLS:
        told = figures[symbol]
        assert not isinstance(told, BrokerError)
        quotes = [quote for quote in seen if quote.instrument.symbol == symbol]
        wanted = [(quotes[index].time, kind) for index, kind, _value in expected(quotes, told, rows=TABLE)]
        assert [(event.time, event.kind) for event in got if event.symbol == symbol] == wanted
    return {event.kind for event in got}


async def collect(broker: PaperBroker, seen: list[Quote]) -> None:
    async for event in broker.stream(SYMBOLS):
        assert isinstance(event, Quote)
        seen.append(event)


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)
