"""News, the same over every broker that has it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.domain.market_data import StreamKind
from moondev_ibkr.brokers.domain.news import ArticleKind, Headline
from moondev_ibkr.brokers.errors import InvalidRequest, NoData, NoPermission, UnknownInstrument

from .gateway_world import GatewayWorld
from .portal_world import PortalWorld
from .world import OPEN, PaperWorld, World


@pytest.fixture
def broker(world: World) -> BaseBroker:
    if isinstance(world, PortalWorld):
        pytest.skip("the portal's refusal has a story of its own")
    return world.broker


async def test_headlines_come_newest_first_with_their_articles(broker: BaseBroker) -> None:
    codes = [provider.code for provider in await broker.news_providers()]
    rows = await broker.headlines("aapl", count=20)
    assert len(rows) == 20
    assert [row.time for row in rows] == sorted((row.time for row in rows), reverse=True)
    assert all(row.time <= OPEN and row.provider in codes for row in rows)
    assert rows[0].instrument.con_id == 265598
    # the broker's own remarks are not part of the text
    assert all(row.text.startswith("[Simulated] ") for row in rows)
    article = await broker.article(rows[0].provider, rows[0].article_id)
    assert article.kind is ArticleKind.TEXT
    assert rows[0].text in article.text


async def test_a_range_and_providers_choose(broker: BaseBroker) -> None:
    rows = await broker.headlines("AAPL", count=30)
    some = await broker.headlines("AAPL", start=rows[20].time, end=rows[5].time, count=300)
    assert some == rows[5:20]
    only = await broker.headlines("AAPL", providers=["PPRA"], count=5)
    assert {row.provider for row in only} == {"PPRA"}
    late = OPEN + timedelta(days=400)
    assert await broker.headlines("AAPL", start=late, count=5) == []


async def test_what_cannot_be_answered_has_its_error(broker: BaseBroker) -> None:
    with pytest.raises(NoPermission, match="DJNL"):
        await broker.headlines("AAPL", providers=["PPRW", "DJNL"])
    with pytest.raises(UnknownInstrument):
        await broker.headlines("NOSUCH")
    with pytest.raises(InvalidRequest):
        await broker.headlines("AAPL", count=301)
    with pytest.raises(NoData):
        await broker.article("PPRW", "PPRW$1-20260101-0")


async def test_both_brokers_tell_the_same() -> None:
    told = []
    for kind in (PaperWorld, GatewayWorld):
        world: World = kind()
        await world.open()
        try:
            rows = await world.broker.headlines("MSFT", count=50)
        finally:
            await world.close()
        told.append([(row.time, row.provider, row.article_id, row.text) for row in rows])
    assert told[0] == told[1]


async def test_news_is_streamed_as_it_is_published_and_nothing_else_with_it(world: World, broker: BaseBroker) -> None:
    stream = broker.stream(["AAPL", "MSFT"], [StreamKind.NEWS])
    published: list[Headline] = []

    async def take() -> None:
        async for event in stream:
            assert isinstance(event, Headline)
            published.append(event)

    taking = asyncio.ensure_future(take())
    await asyncio.sleep(0)
    await subscribed(world)
    # prices have ended by then, sessions go on
    await world.to(6 * 24 * 60)
    rows = [row for symbol in ("AAPL", "MSFT") for row in await broker.headlines(symbol, start=OPEN, count=300)]
    async with asyncio.timeout(5):
        while len(published) < len(rows):
            await asyncio.sleep(0.005)
    assert len(rows) > 1
    assert published == sorted(rows, key=lambda row: row.time)
    await stream.aclose()
    await taking


async def subscribed(world: World) -> None:
    """The gateway has read the subscription before its time moves on."""
    if isinstance(world, GatewayWorld):
        async with asyncio.timeout(5):
            while sum(len(session.numbers("quotes")) for session in world.gateway.door.sessions.values()) < 2:
                await asyncio.sleep(0.005)
