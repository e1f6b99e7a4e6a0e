"""Faults of orders (catalogue 1.2) and promise Q17, scripted at the gateway and met over a real socket."""

import asyncio
import time
from dataclasses import replace
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import CancelRejected, ModifyRejected, OrderRejected, RiskRefusal

from .adapter_world import QUICK, adapter_world, buy
from .wire_tap import wire_tap

#: The link may be silent for a story's length without being probed.
CALM = replace(QUICK, idle_before_probe=30, silent_before_order=30)


async def ready(world):
    await world.adapter.quote("AAPL")
    return world.adapter.order_events()


def later(world):
    """Real seconds that the deadlines of the world are ahead; the story adds to them."""
    ahead = [0.0]
    world.clock._monotonic = lambda: time.monotonic() + ahead[0]
    return ahead


async def told(events, kind):
    """What a stream holds of one kind, read to its end."""
    await events.aclose()
    return [event async for event in events if event.kind is kind]


async def test_o05_a_refused_cancel_leaves_the_order_live_and_says_so():
    async with adapter_world() as world:
        events = await ready(world)
        order = await world.adapter.place(buy(limit=140))
        world.arm("refuse-cancel", "161")
        with pytest.raises(CancelRejected):
            await world.adapter.cancel(order.key)
        assert world.adapter.order(order.key).state is OrderState.WORKING
        assert len(await told(events, OrderEventKind.CANCEL_REJECTED)) == 1
        assert (await world.adapter.cancel(order.key)).state is OrderState.CANCELLED


async def test_o05_10147_for_an_order_that_is_done_is_settled_by_a_look():
    async with adapter_world() as world:
        await ready(world)
        order = await world.adapter.place(buy(limit=140))
        world.arm("mute", "orderStatus", "5")
        world.gateway.exchange.cancel_perm(order.perm_id)
        assert (await world.adapter.cancel(order.key)).state is OrderState.CANCELLED


@pytest.mark.parametrize("ended", ["filled", "cancelled"])
async def test_o09_a_stale_status_does_not_bring_an_order_back(ended):
    async with adapter_world() as world:
        events = await ready(world)
        world.arm("status-after-terminal")
        if ended == "filled":
            order = await world.adapter.wait((await world.adapter.place(buy())).key, 2)
        else:
            order = await world.adapter.cancel((await world.adapter.place(buy(limit=140))).key)
        await world.adapter.market_time()
        await world.adapter.reconcile()
        last = world.adapter.order(order.key)
        assert last.state is (OrderState.FILLED if ended == "filled" else OrderState.CANCELLED)
        assert last.filled == (10 if ended == "filled" else 0)
        states = [event.order.state for event in await told(events, OrderEventKind.STATE)]
        assert sum(state.is_terminal for state in states) == 1


async def test_o10_o14_a_fill_that_only_the_status_tells_is_asked_for_and_told_once():
    async with adapter_world() as world:
        events = await ready(world)
        world.arm("drop-execution")
        order = await world.adapter.place(buy())
        assert order.filled == 0, "a status books nothing"
        await world.until(lambda: world.adapter.order(order.key).state is OrderState.FILLED, "the execution", 5)
        fills = await told(events, OrderEventKind.FILL)
        assert [(event.fill.quantity, event.recovered) for event in fills] == [(10, True)]
        assert world.adapter.order(order.key).commission is not None


async def test_o11_a_late_commission_amends_a_fill_that_was_told_at_once():
    async with adapter_world() as world:
        events = await ready(world)
        world.arm("late-commission", "5")
        order = await world.adapter.wait((await world.adapter.place(buy())).key, 2)
        assert (order.filled, order.commission) == (10, None)
        await world.advance(6)
        assert world.adapter.order(order.key).commission > 0
        fills = world.journal.load_fills(order.key)
        assert [fill.commission for fill in fills] == [world.adapter.order(order.key).commission]
        assert len(await told(events, OrderEventKind.FILL)) == 1


async def test_o10_a_late_execution_is_booked_when_it_comes():
    async with adapter_world(settings=CALM) as world:
        events = await ready(world)
        world.arm("late-execution", "1")
        order = await world.adapter.place(buy())
        await world.advance(2)
        await world.until(lambda: world.adapter.order(order.key).state is OrderState.FILLED, "the execution")
        await world.adapter.reconcile()
        assert len(await told(events, OrderEventKind.FILL)) == 1
        assert world.adapter.order(order.key).filled == 10


async def test_o16_q8_a_second_perm_id_alarms_blocks_and_both_are_cancelled():
    async with adapter_world() as world:
        events = await ready(world)
        order = await world.adapter.place(buy(limit=140))
        world.arm("fork-perm-id")
        (session,) = world.gateway.door.sessions.values()
        await world.adapter.reconcile()
        await world.until(lambda: world.adapter.in_doubt(order.instrument), "the fork to be noticed")
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(buy(1, limit=138))
        assert refused.value.rule == "in_doubt"
        with pytest.raises(ModifyRejected):
            await world.adapter.modify(order.key, OrderChange(limit_price=Decimal(138)))
        with wire_tap(world.gateway) as tap:
            cancelling = asyncio.ensure_future(world.adapter.cancel(order.key))
            await world.until(lambda: tap.count("cancelOrder") >= 2, "a cancel for each life")
            cancelling.cancel()
            await asyncio.gather(cancelling, return_exceptions=True)
        alarms = [event.text for event in await told(events, OrderEventKind.ALARM)]
        assert any("permId" in text for text in alarms)
        assert session.client_id == 7


async def test_c19_an_order_message_that_cannot_be_read_is_followed_by_a_look():
    async with adapter_world() as world:
        events = await ready(world)
        order = await world.adapter.place(buy(limit=140))
        world.arm("mute", "orderStatus", "2")
        world.gateway.exchange.cancel_perm(order.perm_id)
        world.arm("malformed-message")
        await world.until(lambda: world.adapter.order(order.key).state is OrderState.CANCELLED, "the look")
        assert world.client.malformed_orders == 1
        assert world.client.is_healthy
        assert any("could not be read" in event.text for event in await told(events, OrderEventKind.ALARM))


async def test_c19_an_unknown_message_harms_nobody():
    async with adapter_world() as world:
        await ready(world)
        order = await world.adapter.place(buy(limit=140))
        world.arm("unknown-message")
        await world.adapter.market_time()
        assert world.client.is_healthy
        assert world.adapter.order(order.key).state is OrderState.WORKING


async def test_a_read_only_session_refuses_orders_with_ibs_word():
    async with adapter_world() as world:
        await ready(world)
        world.arm("read-only")
        with pytest.raises(OrderRejected) as refused:
            await world.adapter.place(buy(limit=140))
        assert refused.value.data["code"] == 321
        assert not world.gateway.exchange.open_orders()


async def test_o44_a_forced_close_alarms_and_is_not_ours():
    async with adapter_world() as world:
        events = await ready(world)
        await world.adapter.wait((await world.adapter.place(buy())).key, 2)
        ahead = later(world)
        world.arm("liquidate", "AAPL")
        await world.advance(1)
        await world.adapter.reconcile()
        ahead[0] += 3  # positions may lag behind executions for a moment
        await world.adapter.reconcile()
        assert await world.adapter.positions() == []
        moved = await told(events, OrderEventKind.POSITION)
        assert [event.position.quantity for event in moved] == [0]
        account = world.adapter.accounts()[0]
        assert world.adapter.manager.owned_position(account, moved[0].position.instrument) == 0


async def test_o37_o12_every_fill_told_twice_is_booked_once():
    async with adapter_world() as world:
        events = await ready(world)
        world.arm("duplicate-execution", "3")
        for _ in range(3):
            await world.adapter.wait((await world.adapter.place(buy())).key, 2)
        await world.adapter.reconcile()
        (position,) = await world.adapter.positions()
        account = world.adapter.accounts()[0]
        assert world.journal.holding(account, position.instrument) == position.quantity == 30
        await events.aclose()
        kinds = [event.kind async for event in events]
        assert kinds.count(OrderEventKind.FILL) == 3
        assert kinds.count(OrderEventKind.FILL_CORRECTED) == 0


# Q17 and O24: an entry never stands alone


def is_stop(ticket):
    return ticket.type is OrderType.STOP


def protected(world):
    """A stop covers what is held, and no entry works without one."""
    rows = world.gateway.exchange.open_orders()
    covered = sum(row.ticket.quantity for row in rows if is_stop(row.ticket))
    entries = [row for row in rows if row.ticket.side is Side.BUY]
    return covered >= sum(row.quantity for row in world.gateway.exchange.positions()) and (covered or not entries)


@pytest.mark.parametrize("limit", [135, 145], ids=["entry rests", "entry would fill"])
async def test_o24_q17_an_entry_whose_stop_is_refused_does_not_work(limit):
    async with adapter_world() as world:
        await ready(world)
        world.gateway.exchange.faults.reject_next(201, "Order rejected - reason:no stop for you", where=is_stop)
        placed = await world.adapter.place(Bracket(buy(limit=limit), Decimal(120), Decimal(160)))
        await world.until(lambda: world.adapter.order(placed.key).is_terminal, "the entry's end", 5)
        await world.until(lambda: protected(world), "protected, cancelled or flat", 5)
        assert not any(row.ticket.side is Side.BUY for row in world.gateway.exchange.open_orders())


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_o24_q17_a_link_that_dies_between_the_legs_leaves_no_entry_alone(number):
    async with adapter_world() as world:
        await ready(world)
        reset_on_order(world, number)
        await world.adapter.place(Bracket(buy(limit=145), Decimal(120), Decimal(160)))
        await world.until_restored()
        await world.until(lambda: protected(world), "protected, cancelled or flat", 5)
        await world.until(lambda: all(not unsure(order) for order in world.adapter.orders()), "every leg known", 5)


def unsure(order):
    return order.state in (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN, OrderState.PENDING_CANCEL)


def reset_on_order(world, number):
    """RST when the order of this number arrives; those before it are served."""
    door, left = world.gateway.door, [number]
    serve = door.serve

    def count(session, request):
        if type(request).__name__ == "PlaceOrderRequest":
            left[0] -= 1
            if left[0] == 0:
                world.arm("reset")
            if left[0] <= 0:
                return
        serve(session, request)

    door.serve = count


async def test_o43_a_stop_that_the_broker_ends_alarms():
    async with adapter_world() as world:
        events = await ready(world)
        placed = await world.adapter.place(Bracket(buy(limit=145), Decimal(120), Decimal(160)))
        await world.adapter.wait(placed.key, 2)
        (stop,) = [order for order in world.adapter.open_orders() if order.leg == 1]
        world.gateway.exchange.cancel_perm(stop.perm_id)
        world.gateway.server.settle()
        await world.until(lambda: world.adapter.order(stop.key).is_terminal, "the stop's end")
        await asyncio.sleep(0)
        await world.until(lambda: world.adapter.manager.alarms, "the alarm", 5)
        alarms = [event.text for event in await told(events, OrderEventKind.ALARM)]
        assert any(stop.key in text for text in alarms)


async def test_o17_a_manual_trade_moves_the_position_and_not_the_orders():
    async with adapter_world() as world:
        events = await ready(world)
        await world.adapter.wait((await world.adapter.place(buy())).key, 2)
        ahead = later(world)
        world.arm("manual-order", "AAPL", "-4")
        await world.advance(1)
        await world.adapter.reconcile()
        ahead[0] += 3
        await world.adapter.reconcile()
        (position,) = await world.adapter.positions()
        assert position.quantity == 6
        assert len(await told(events, OrderEventKind.POSITION)) == 1
