"""Promise Q7: no error code ends an order unless the table says so; only statuses, open orders and executions do."""

import random
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.order import OrderChange
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import ModifyRejected, OrderRejected
from moondev_ibkr.brokers.interactive_brokers.ib_error_codes import (
    ERROR_CODES,
    ConnectionEffect,
    OrderEffect,
    OrderPhase,
    error_code,
)
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState

from .adapter_world import adapter_world, buy

WHOLE_RANGE = range(20_001)
#: The one code that ends an order that works, by IB's own list: the confirmation of a cancel.
ENDS_A_LIVE_ORDER = frozenset({202})
#: Held while shares are located: it shows as held, and works on once its status says so.
HOLDS = frozenset({404})
#: Codes that say that the link to IB or the farm is down or back: told of an order or not, they are about the session.
ABOUT_THE_LINK = frozenset(code for code, row in ERROR_CODES.items() if row.connection is not ConnectionEffect.NONE)


@asynccontextmanager
async def live_order():
    """A limit order that works, and how to send a code for it."""
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(limit=140))
        assert order.state is OrderState.WORKING
        (session,) = world.gateway.door.sessions.values()

        async def send(codes):
            for code in codes:
                session.error(order.order_id, code, f"code {code} out of nowhere")
            world.gateway.door.flush()
            await world.adapter.market_time()

        yield world, order, send


def sample():
    """Every code of the table and its neighbours, and a few hundred from anywhere; the same in every run."""
    near = {code + step for code in ERROR_CODES for step in (-1, 0, 1)}
    return sorted((near | set(random.Random(7).sample(WHOLE_RANGE, 500))) & set(WHOLE_RANGE))


async def fuzz(codes):
    async with live_order() as (world, order, send):
        events = world.adapter.order_events()
        harmless = [code for code in codes if code not in ENDS_A_LIVE_ORDER | ABOUT_THE_LINK | HOLDS]
        for start in range(0, len(harmless), 500):
            await send(harmless[start : start + 500])
            assert world.adapter.order(order.key).state is OrderState.WORKING, f"a code from {harmless[start]} on"
        await world.adapter.reconcile()
        await events.aclose()
        states = [event.order.state async for event in events if event.kind is OrderEventKind.STATE]
        assert states == []
        assert world.client.state is LinkState.READY
        assert (await world.adapter.cancel(order.key)).state is OrderState.CANCELLED


async def test_q7_a_sample_of_codes_leaves_a_live_order_alone():
    await fuzz(sample())


@pytest.mark.soak
async def test_q7_no_code_from_0_to_20000_ends_a_live_order():
    await fuzz(WHOLE_RANGE)


@pytest.mark.parametrize("code", sorted(ABOUT_THE_LINK))
async def test_q7_a_code_about_the_link_leaves_the_order_alone(code):
    async with live_order() as (world, order, _send):
        (session,) = world.gateway.door.sessions.values()
        session.error(order.order_id, code, f"about the link: port {world.gateway.tws_port}")
        world.gateway.door.flush()
        await world.gateway.advance_to(world.gateway.now + timedelta(seconds=1))
        world.arm("1102")
        await world.until(lambda: world.client.is_healthy, "the session")
        await world.adapter.reconcile()
        assert world.adapter.order(order.key).state is OrderState.WORKING


async def test_q7_202_on_a_live_order_is_a_confirmed_cancel():
    async with live_order() as (world, order, send):
        await send([202])
        assert world.adapter.order(order.key).state is OrderState.CANCELLED


def test_q7_the_table_ends_live_orders_by_202_alone():
    ending = {
        code
        for code in WHOLE_RANGE
        if error_code(code).order_effect(OrderPhase.LIVE) in (OrderEffect.REJECTED, OrderEffect.CANCELLED)
    }
    assert ending == ENDS_A_LIVE_ORDER


@pytest.mark.parametrize("code", [201, 110, 203, 321, 10243])
async def test_q7_a_refusal_ends_a_new_order_and_only_the_change_of_a_live_one(code):
    async with live_order() as (world, order, _send):
        world.arm("reject-order", str(code), "Order rejected - reason:scripted")
        with pytest.raises(OrderRejected) as refused:
            await world.adapter.place(buy(limit=139))
        assert refused.value.data["code"] == code
        world.arm("reject-order", str(code), "Order rejected - reason:scripted")
        with pytest.raises(ModifyRejected):
            await world.adapter.modify(order.key, OrderChange(limit_price=139))
        await world.adapter.reconcile()
        assert world.adapter.order(order.key).state is OrderState.WORKING
        assert world.adapter.order(order.key).intent.limit_price == 140


@pytest.mark.parametrize("code", [399, 2109, 10349, 10148, 9999])
async def test_o03_q7_a_warning_about_a_new_order_leaves_it_working(code):
    async with live_order() as (world, _order, _send):
        world.arm("warn-order", str(code), "a warning")
        placed = await world.adapter.place(buy(limit=139))
        await world.adapter.market_time()
        assert world.adapter.order(placed.key).state is OrderState.WORKING


async def test_o30_q7_a_locate_holds_an_order_and_its_status_lets_it_work_on():
    async with live_order() as (world, order, send):
        await send(HOLDS)
        assert world.adapter.order(order.key).state is OrderState.INACTIVE
        await world.adapter.reconcile()
        assert world.adapter.order(order.key).state is OrderState.WORKING
