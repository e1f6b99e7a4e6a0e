"""A pool as the first of two doors: what its data gateways do must neither delay nor cause a change of doors."""

from __future__ import annotations

import asyncio
from typing import Any

from moondev_ibkr.brokers.interactive_brokers.ib_door_pair import DoorPair
from moondev_ibkr.brokers.interactive_brokers.ib_failover import Failover
from moondev_ibkr.brokers.interactive_brokers.ib_failover_policy import FailoverPolicy, Users
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkScope, LinkState
from moondev_ibkr.brokers.journal import Journal

from .rig import ALL, FakeGateway, PoolWorld, virtually


class Portal(FakeGateway):
    name = "portal"


async def over(world: PoolWorld) -> tuple[Failover, FakeGateway, list[Any]]:
    """A failover of two users over the pool and a portal, connected."""
    portal = Portal("portal")
    pair = DoorPair(world.pool, portal, world.clock)  # type: ignore[arg-type]
    told: list[Any] = []
    pair.add_link_listener(told.append)
    journal = Journal(":memory:", now=world.clock.now)
    failover = Failover(pair, journal, FailoverPolicy(Users.TWO), world.clock)
    await failover.connect()
    await asyncio.sleep(1)
    told.clear()
    return failover, portal, told


def test_a_data_gateway_that_comes_back_does_not_stop_the_take_over() -> None:
    async def story(world: PoolWorld) -> None:
        failover, portal, _ = await over(world)
        world.gateways[1].lose()
        world.gateways[0].lose()
        await asyncio.sleep(5)
        world.gateways[1].come_back()
        assert failover.pair.live is world.pool
        await asyncio.sleep(6)
        assert failover.pair.live is portal  # type: ignore[comparison-overlap]
        await failover.disconnect()

    virtually(story, connect=False)


def test_a_lost_data_gateway_changes_no_doors_and_its_gap_is_told_through_them() -> None:
    async def story(world: PoolWorld) -> None:
        failover, _, told = await over(world)
        for one in ALL[:3]:
            failover.pair.subscribe_quotes(one)
        carried = world.pool.lines.symbols_at(world.pool.members[1])
        world.gateways[1].lose()
        assert [(event.kind, event.symbols) for event in told] == [
            (LinkEventKind.FARM_DOWN, carried),
            (LinkEventKind.SUBSCRIPTIONS_RESTORED, carried),
        ]
        assert {event.scope for event in told} == {LinkScope.DATA}
        await asyncio.sleep(60)
        assert failover.pair.live is failover.pair.data is world.pool
        assert failover.pair.data_moves == 0
        await failover.disconnect()

    virtually(story, connect=False)


def test_data_stays_in_the_pool_while_its_order_gateway_is_away_for_a_moment() -> None:
    async def story(world: PoolWorld) -> None:
        failover, _, told = await over(world)
        world.gateways[0].lose()
        assert failover.pair.data is world.pool
        assert [(event.kind, event.scope) for event in told] == [(LinkEventKind.LOST, LinkScope.ORDERS)]
        world.gateways[0].come_back()
        await asyncio.sleep(30)
        assert failover.pair.live is world.pool
        await failover.disconnect()

    virtually(story, connect=False)


def test_data_goes_to_the_portal_when_no_gateway_is_left() -> None:
    async def story(world: PoolWorld) -> None:
        failover, portal, _ = await over(world)
        failover.pair.subscribe_quotes(ALL[0])
        world.gateways[0].lose()
        world.gateways[1].lose()
        assert failover.pair.data is world.pool
        world.gateways[2].lose()
        assert failover.pair.data is portal  # type: ignore[comparison-overlap]
        assert list(portal.lines) == [1]
        assert portal.state is LinkState.READY
        await failover.disconnect()

    virtually(story, connect=False)
