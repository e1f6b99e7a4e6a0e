"""Faults that a whole adapter meets at the TWS door (catalogue 1.1 and 1.2), on virtual time. The portal stands by."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.order import NewOrder, OrderChange, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import BrokerError, InvalidOrder, RiskRefusal
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState

from tests.brokers.interactive_brokers.portal.rig import D

from .portal_fault_world import AAPL, DoorsWorld, buy, virtual

LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)
#: TWS keeps the pen whatever happens to it.
STAYS = {"take_over_after": 1e6}


@virtual
async def test_c13_three_nights_of_resets_are_outlived_with_bounded_patience():
    async with DoorsWorld(policy=STAYS) as world:
        await world.adapter.place(buy("k1"))
        for _ in range(3):
            world.arm("1100")
            await world.until(lambda: world.tws.state is LinkState.BROKER_DOWN, "1100")
            await asyncio.sleep(60)
            world.arm("eof-on-connect")
            world.arm("reset")
            begun = world.network._numbers
            await asyncio.sleep(900)
            assert world.network._numbers - begun < 45, "a try every half a minute, and no storm"
            world.release("eof-on-connect")
            world.arm("1102")
            await world.until(lambda: world.adapter.health().can_trade, "the session to be back", 60)
        assert world.state("k1") in LIVE
        assert (world.pen, world.sent_to_tws()) == ("tws", 1)


@virtual
async def test_c20_a_slow_consumer_gets_every_order_event_and_only_the_newest_quote():
    async with DoorsWorld(policy=STAYS, prints=3_900) as world:
        stream, events = world.adapter.stream(["AAPL"]), world.adapter.order_events()
        assert isinstance(await anext(stream), Quote)
        for number in range(10):
            await world.adapter.wait((await world.adapter.place(buy(f"k{number}", 1, None))).key, 10)
            await asyncio.sleep(20)
        assert isinstance(await anext(stream), Quote)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(1)
        assert not waiting.done(), "quotes that nobody took are one quote, the newest"
        waiting.cancel()
        await events.aclose()
        filled = [event.fill.order_key async for event in events if event.kind is OrderEventKind.FILL]
        assert filled == [f"k{number}" for number in range(10)]
        await stream.aclose()


@virtual
async def test_o15_who_waits_for_an_order_hears_of_its_end_over_a_lost_link():
    async with DoorsWorld(policy=STAYS) as world:
        await world.adapter.place(buy("k1"))
        waiting = asyncio.create_task(world.adapter.wait("k1", 10_000))
        await world.lose_tws()
        await world.until(lambda: not world.tws.is_healthy, "the loss")
        (view,) = world.exchange.open_orders()
        world.exchange.cancel_perm(view.perm_id)
        world.release("eof-on-connect")
        done = await waiting
        assert (done.key, done.state) == ("k1", OrderState.CANCELLED)
        assert world.adapter.order("k1") == done


@virtual
async def test_o20_orders_placed_at_once_get_numbers_of_their_own():
    async with DoorsWorld(policy=STAYS) as world:
        placed = await asyncio.gather(*(world.adapter.place(buy(f"k{number}", 1)) for number in range(12)))
        assert len({order.order_id for order in placed}) == len({order.perm_id for order in placed}) == 12
        assert {order.state in LIVE for order in placed} == {True}
        assert len(world.exchange.open_orders()) == world.sent_to_tws() == 12


@virtual
async def test_o23_o33_what_cannot_be_is_refused_before_anything_leaves():
    async with DoorsWorld(policy=STAYS) as world:
        with pytest.raises(InvalidOrder):
            NewOrder(AAPL, Side.SELL, D(10), OrderType.STOP)
        await world.adapter.wait((await world.adapter.place(buy("k1", price=None))).key, 10)
        with pytest.raises(BrokerError):
            await world.adapter.modify("k1", OrderChange(quantity=D(20)))
        assert world.sent_to_tws() == 1
        assert (await world.adapter.positions())[0].quantity == 10


@virtual
async def test_o36_orders_of_one_side_are_counted_before_the_wire():
    async with DoorsWorld(policy=STAYS) as world:
        for number in range(15):
            await world.adapter.place(buy(f"k{number}", 1))
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(buy("k15", 1))
        assert refused.value.rule == "open_orders_per_side"
        assert world.sent_to_tws() == 15


@virtual
async def test_o42_order_ids_that_were_reset_in_tws_are_not_used_again():
    async with DoorsWorld(policy=STAYS) as world:
        first = [await world.adapter.place(buy(f"k{number}", 1)) for number in range(3)]
        world.arm("next-id-back", "3")
        await world.restart()
        again = await world.adapter.place(buy("k3", 1))
        assert again.order_id > max(order.order_id for order in first)
        assert again.state in LIVE
        assert len(world.exchange.open_orders()) == 4
