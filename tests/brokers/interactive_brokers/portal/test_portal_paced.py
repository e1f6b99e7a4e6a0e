"""A whole trading day under the portal's own limits: nothing is ever answered 429, and nothing waits for long."""

from __future__ import annotations

import asyncio

from moondev_ibkr.brokers.domain.market_data import BarSize
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind

from .rig import D, PortalWorld, limit, virtually


def test_a_day_of_trading_keeps_every_limit() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with PortalWorld(broker=True, paced=True) as world:
            assert loop.time() - begun < 15
            broker = world.broker
            for number in range(8):
                asked = loop.time()
                placed = await broker.place(limit(f"k{number}", price="270" if number % 2 else "250"))
                assert placed.state is not OrderState.UNKNOWN
                assert loop.time() - asked < 1.0
            await broker.modify("k0", OrderChange(limit_price=D(249)))
            await broker.place(Bracket(limit("root", price="251"), stop_price=D(240), target_price=D(300)))
            await broker.bars("AAPL", BarSize.M5, count=200)
            await broker.quotes(["AAPL", "MSFT"])
            await broker.account()
            await broker.pnl()
            await broker.cancel_all()
            await world.until(lambda: not world.exchange.open_orders(), "the cancels")
            assert broker.order(leg_key("root", 1)).state is OrderState.CANCELLED
            await broker.reconcile()
            await world.until(lambda: all(fill.commission is not None for fill in broker.fills()), "every commission")
            assert len(broker.fills()) == 4
            await asyncio.sleep(3_600)
            assert world.client._lanes.answers[429] == 0
            assert world.count(LinkEventKind.LOST) == world.count(LinkEventKind.ALARM) == 0
            assert broker.manager.alarms == 0

    virtually(story())


def test_after_a_lost_session_the_limits_are_kept_as_well() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True, paced=True) as world:
            await world.broker.place(limit("k1"))
            world.arm("auth-lost")
            taken = await world.until(lambda: world.count(LinkEventKind.RESTORED) == 1, "the session to be back")
            assert taken < 15
            await world.until(lambda: world.broker.manager._desk.link.synced, "everything to be compared", 30)
            assert world.broker.order("k1").state.may_be_live
            assert world.client._lanes.answers[429] == 0

    virtually(story())
