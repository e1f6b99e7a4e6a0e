"""Two clients trade one account, and ours reads its position as it is: it never sells what the other has sold."""

from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import WireOrder
from moondev_ibkr.brokers.errors import RiskRefusal

from .adapter_world import ACCOUNT, QUICK, WIDE, adapter_world, buy

LONG_ONLY = replace(WIDE, allow_short=False)


class Stranger:
    """Another client of the same account, with no journal of ours."""

    def __init__(self, world, client):
        self._world = world
        self._client = client

    async def trade(self, quantity, side):
        """Filled at once, and told to both clients when this returns."""
        instrument = (await self._world.adapter.details("AAPL")).instrument
        order = replace(buy(quantity, side=side), instrument=instrument)
        await self._client.place(WireOrder(self._client.next_order_id, order, ACCOUNT))
        await self._client.market_time()
        await self._world.client.market_time()


@asynccontextmanager
async def shared_account():
    async with adapter_world(policy=LONG_ONLY) as world:
        await world.adapter.quote("AAPL")
        client = type(world.client)(replace(QUICK, client_id=8, port=world.gateway.tws_port))
        await client.connect()
        try:
            yield world, Stranger(world, client)
        finally:
            await client.disconnect()


async def filled(world, quantity, side=Side.BUY):
    order = await world.adapter.place(buy(quantity, side=side))
    done = await world.adapter.wait(order.key, 2)
    assert done.state is OrderState.FILLED
    await world.client.market_time()


def read(world):
    return sum((row.quantity for row in world.adapter.cached_positions(ACCOUNT)), Decimal(0))


def held(world):
    return sum((row.quantity for row in world.gateway.exchange.positions(ACCOUNT)), Decimal(0))


async def test_what_the_other_sold_of_ours_is_not_sold_again():
    async with shared_account() as (world, stranger):
        await filled(world, 10)
        await stranger.trade(10, Side.SELL)
        assert read(world) == held(world) == 0
        with pytest.raises(RiskRefusal, match="nothing left"):
            await world.adapter.place(buy(10, side=Side.SELL))
        assert held(world) == 0, "sold short"


async def test_what_the_other_bought_is_still_there_after_our_sale():
    async with shared_account() as (world, stranger):
        await filled(world, 10)
        await stranger.trade(10, Side.BUY)
        await filled(world, 10, Side.SELL)
        assert read(world) == held(world) == 10
        await world.adapter.adopt("AAPL")
        await filled(world, 10, Side.SELL)
        assert read(world) == held(world) == 0


async def test_only_a_position_in_doubt_is_asked_for_before_an_order(monkeypatch):
    async with shared_account() as (world, stranger):
        asked = []
        ask = world.client.positions
        monkeypatch.setattr(world.client, "positions", lambda: asked.append(1) or ask())
        await filled(world, 10)
        await filled(world, 5)
        assert asked == []
        await stranger.trade(40, Side.BUY)
        await filled(world, 5, Side.SELL)
        assert asked == [1]
        assert read(world) == held(world) == 50
