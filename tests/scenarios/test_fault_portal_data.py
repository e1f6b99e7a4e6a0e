"""Faults of quotes and streams (catalogue 1.1 and 1.5) met by the adapter over the portal."""

from __future__ import annotations

import asyncio

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.market_data import Gap, Quote, Resumed
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings

from tests.brokers.interactive_brokers.portal.rig import START, D

from .portal_fault_world import AAPL, PLACING, PortalOnly, limit, next_of, virtual

LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)


def now() -> float:
    return asyncio.get_running_loop().time()


def busy_gateway() -> Gateway:
    """A market that prints once a second."""
    prices = FlatPrices({"AAPL": 265.0, "MSFT": 408.0}, calendar_for(), START, prints=23_400)
    settings = GatewaySettings(clock=ClockMode.CONTROL, portal=PortalSettings(port=None, requests_per_second=0))
    return Gateway(settings, prices=prices, monotonic=asyncio.get_running_loop().time)


@virtual
async def test_c02_c03_a_lost_stream_is_a_gap_that_ends_and_orders_go_on_meanwhile():
    async with PortalOnly() as world:
        stream = world.adapter.stream(["AAPL"])
        assert isinstance(await next_of(stream, Quote), Quote)
        world.arm("drop-streams")
        assert (await next_of(stream, Gap)).source == "portal"
        assert (await world.adapter.place(limit("k1"))).state in LIVE
        resumed = await next_of(stream, Resumed)
        assert (resumed.restored, resumed.failed) == (1, 0)
        world.advance(120)
        assert isinstance(await next_of(stream, Quote), Quote)
        assert world.count(LinkEventKind.LOST) == 0
        await stream.aclose()


@virtual
async def test_c20_a_slow_consumer_gets_every_order_event_and_only_the_newest_quote():
    async with PortalOnly() as world:
        stream, events = world.adapter.stream(["AAPL"]), world.adapter.order_events()
        await next_of(stream, Quote)
        for number in range(10):
            placed = await world.adapter.place(limit(f"k{number}", 1, "270"))
            await world.adapter.wait(placed.key, 5)
            world.advance(60)
            await asyncio.sleep(1)
        assert isinstance(await anext(stream), Quote)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(1)
        assert not waiting.done(), "quotes that nobody took are one quote, the newest"
        waiting.cancel()
        await events.aclose()
        filled = {event.fill.order_key async for event in events if event.fill is not None}
        assert filled == {f"k{number}" for number in range(10)}
        await stream.aclose()


@virtual
async def test_p06_a_line_is_renewed_before_the_portal_ends_it():
    async with PortalOnly(stream_seconds=600.0) as world:
        stream = world.adapter.stream(["AAPL"])
        for _ in range(50):
            await next_of(stream, Quote)
            world.advance(300)
            await asyncio.sleep(60)
        assert world.count(LinkEventKind.FARM_DOWN) == 0
        await stream.aclose()


@virtual
async def test_p06_q15_a_line_that_ended_all_the_same_is_asked_for_again_within_half_a_minute():
    async with PortalOnly(gateway=busy_gateway()) as world:
        world.clock.rate = 1.0
        stream = world.adapter.stream(["AAPL"])
        await next_of(stream, Quote)
        gap = asyncio.create_task(next_of(stream, Gap))
        for _ in range(60):
            world.advance(1)
            await asyncio.sleep(1)
        assert not gap.done(), "a feed that speaks is not disturbed"
        world.arm("expire-quotes")
        begun = now()
        while not gap.done():
            world.advance(1)
            await asyncio.sleep(1)
        assert now() - begun <= 31
        assert (await next_of(stream, Resumed)).restored == 1
        world.advance(2)
        assert isinstance(await next_of(stream, Quote), Quote)
        await stream.aclose()


@virtual
async def test_p09_a_snapshot_is_asked_for_until_its_prices_are_there():
    async with PortalOnly() as world:
        for _ in range(2):
            quote = await world.client.snapshot(AAPL, 11)
            assert (quote.bid, quote.ask, quote.last) == (264.99, 265.01, 265.0)
            world.arm("cold")
        assert PLACING not in {name for _, name in world.wire.calls}
        assert D(quote.bid or 0) > 0
