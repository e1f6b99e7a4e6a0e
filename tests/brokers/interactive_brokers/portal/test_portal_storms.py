"""Random orders under random faults of the portal, by seed: no order twice, no fill lost, nothing left in doubt."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.simulation.portal.orders import OrderDesk
from moondev_ibkr.brokers.simulation.portal.settings import OrderIds, Registry, SorFrames

from .rig import ACCOUNT, D, PortalWorld, limit, virtually

FAULTS: tuple[tuple[str, ...], ...] = (
    ("abort-before",),
    ("abort-after",),
    ("503-after",),
    ("reply-lost", "before"),
    ("reply-lost", "after"),
    ("auth-lost",),
    ("no-bridge",),
    ("cold",),
    ("drop-streams",),
    ("silent-return",),
    ("auth-lie",),
)
STEPS = 25


def world_of(rng: random.Random) -> PortalWorld:
    """Either reading of what is not known of the portal, with and without questions and limits."""
    settings: dict[str, Any] = {
        "order_ids": rng.choice(list(OrderIds)),
        "coid_registry": rng.choice(list(Registry)),
        "sor_frames": rng.choice(list(SorFrames)),
    }
    if rng.random() < 0.4:
        settings["questions"] = ("o354", "p12")
    client = {"longest_wait": 20.0, "confirm": frozenset({"o354", "p12"})}
    return PortalWorld(broker=True, paced=rng.random() < 0.4, client=client, **settings)


async def act(world: PortalWorld, rng: random.Random, number: int) -> None:
    """One thing that a trader does; what is refused is refused."""
    broker, chance = world.broker, rng.random()
    try:
        if chance < 0.5:
            await broker.place(limit(f"k{number}", price=rng.choice(["250", "264", "270"])))
        elif chance < 0.6:
            await broker.place(Bracket(limit(f"k{number}", price="251"), stop_price=D(240), target_price=D(300)))
        elif broker.open_orders() and chance < 0.8:
            await broker.cancel(rng.choice(broker.open_orders()).key)
        elif broker.open_orders():
            change = OrderChange(limit_price=D(rng.choice([249, 252, 271])))
            await broker.modify(rng.choice(broker.open_orders()).key, change)
    except BrokerError:
        return


async def disturb(world: PortalWorld, rng: random.Random) -> None:
    if rng.random() < 0.35:
        world.arm(*rng.choice(FAULTS))
    session = world.gateway.portal.session
    if session.authenticated and not session.bridge_down and rng.random() < 0.5:
        session.brokerage(OrderDesk).suppressed.clear()


async def calm(world: PortalWorld) -> None:
    """Nothing is disturbed any more, and quiet time has passed twice."""
    world.gateway.portal.faults.clear()
    await asyncio.sleep(300)
    await world.until(lambda: world.client.is_healthy, "the session to be back", 600)
    for _ in range(2):
        await world.broker.reconcile()
        await asyncio.sleep(90)


def check(world: PortalWorld) -> None:
    broker, exchange = world.broker, world.exchange
    taken = [row.ticket.order_ref for row in (*exchange.open_orders(), *exchange.completed_orders())]
    keys = [key for key in taken if key]
    assert len(keys) == len(set(keys)), "an order was sent twice"
    held = {row.instrument.symbol: row.quantity for row in exchange.positions(ACCOUNT)}
    assert held.get("AAPL", 0) == sum(fill.quantity * fill.side.sign for fill in broker.fills())
    assert len(exchange.open_orders()) == len(broker.open_orders())
    assert not [order.key for order in broker.orders() if order.state is OrderState.UNKNOWN]


@pytest.mark.parametrize("seed", range(12))
def test_q1_q3_q5_whatever_happens_the_books_agree_in_the_end(seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        async with world_of(rng) as world:
            for number in range(STEPS):
                await disturb(world, rng)
                await act(world, rng, number)
                world.advance(rng.choice([0, 5, 30]))
                await asyncio.sleep(rng.choice([0.01, 1, 7]))
            await calm(world)
            check(world)

    virtually(story())
