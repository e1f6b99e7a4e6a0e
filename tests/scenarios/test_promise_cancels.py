"""Promise Q10: a cancel passes in every state, and reaches the wire before whatever waits."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import RiskRefusal, TradingHalted
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.lanes import Lane
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from .adapter_world import QUICK, WIDE, adapter_world, buy
from .wire_tap import wire_tap

#: IB's own message rate on the gateway's side: what would break it is answered with error 100.
PATIENT = replace(QUICK, request_deadline=30, history_deadline=30, idle_before_probe=30, silent_before_order=30)


async def working(world, **fields):
    await world.adapter.quote("AAPL")
    return await world.adapter.place(buy(limit=140, **fields))


async def flood(world, lane, number=200):
    """Ask all of it at once, and wait until the rate limit holds the rest back."""
    asking = []
    if lane is Lane.QUERY:
        questions = (world.client.contract_details(Instrument(f"X{n}")) for n in range(number))
        asking = [asyncio.ensure_future(question) for question in questions]
    else:
        for _ in range(number):
            world.client._api.client.reqCurrentTime()
    await world.until(lambda: world.client._api.client.queue.throttled, "the rate limit")
    return asking


async def end(asking):
    for question in asking:
        question.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize("lane", [Lane.QUERY, Lane.ORDER], ids=lambda lane: lane.name)
async def test_q10_c23_a_cancel_overtakes_200_queued_requests(lane):
    async with adapter_world(settings=PATIENT) as world:
        order = await working(world)
        with wire_tap(world.gateway) as tap:
            asking = await flood(world, lane)
            queue = world.client._api.client.queue
            waiting = queue.depth(lane)
            assert waiting >= 150
            cancelled = await world.adapter.cancel(order.key)
            assert cancelled.state is OrderState.CANCELLED
            assert queue.depth(lane) >= waiting - 5, "the others were still waiting when it was done"
            place = tap.names.index("cancelOrder")
            assert place <= queue.limit.messages, "only what had left already was before it"
        await end(asking)


async def test_q10_c22_a_cancel_leaves_at_once_when_orders_have_used_up_the_rate():
    """The lanes keep a reserve for cancels; no time passes between asking and the bytes."""
    async with adapter_world(settings=PATIENT) as world:
        order = await working(world)
        queue = world.client._api.client.queue
        asking = await flood(world, Lane.ORDER)
        assert queue.depth(Lane.ORDER) > 100
        outgoing = world.client._api.client.cancelOrder(order.order_id)
        assert outgoing.sent_at is not None, "it was handed to the socket in the same turn of the loop"
        assert outgoing.sent_at - outgoing.queued_at <= 0.025
        await end(asking)


async def test_q10_the_whole_flood_keeps_ibs_message_rate():
    """The gateway counts as IB does: more than 50 messages in a second are answered with error 100."""
    async with adapter_world(settings=PATIENT, door=DoorSettings(port=0, message_rate=50)) as world:
        order = await working(world)
        asking = await flood(world, Lane.QUERY, 120)
        assert (await world.adapter.cancel(order.key)).state is OrderState.CANCELLED
        answers = await asyncio.wait_for(asyncio.gather(*asking), 20)
        assert answers == [[]] * 120
        assert world.client.state is LinkState.READY


async def test_q10_a_cancel_passes_the_kill_switch():
    async with adapter_world() as world:
        order = await working(world)
        world.adapter.manager.halt("drill")
        with pytest.raises(TradingHalted):
            await world.adapter.place(buy(limit=139))
        assert (await world.adapter.cancel(order.key)).state is OrderState.CANCELLED


async def test_q10_a_cancel_of_an_unknown_order_reaches_the_wire():
    async with adapter_world(connect=False) as world:
        now = [1000.0]
        world.clock._monotonic = lambda: now[0]
        await world.adapter.connect()
        await world.advance(60)
        world.arm("late-order", "3600")
        with wire_tap(world.gateway) as tap:
            placing = asyncio.ensure_future(working(world, key="slow"))
            await world.until(lambda: tap.count("placeOrder"), "the order to arrive")
            now[0] += 3
            world.adapter.manager.check_deadlines()
            assert (await placing).state is OrderState.UNKNOWN
            cancelling = asyncio.ensure_future(world.adapter.cancel("slow"))
            await world.until(lambda: tap.count("cancelOrder"), "the cancel to arrive")
            # IB answers 10147 for an order that it does not have yet; that settles nothing
            with pytest.raises(Exception, match="slow"):
                await cancelling
            assert world.adapter.order("slow").state is OrderState.UNKNOWN


async def test_q10_a_cancel_passes_a_blocked_symbol_and_the_limits():
    policy = replace(WIDE, max_orders_per_minute=1)
    async with adapter_world(policy=policy) as world:
        order = await working(world)
        with pytest.raises(RiskRefusal):
            await world.adapter.place(buy(limit=139))
        world.adapter.manager._life.block(order.instrument, "in doubt")
        assert (await world.adapter.cancel(order.key)).state is OrderState.CANCELLED


@pytest.mark.parametrize("how", ["1100", "reset"])
async def test_q10_a_cancel_asked_while_the_link_is_down_leaves_first_when_it_is_back(how):
    async with adapter_world() as world:
        order = await working(world)
        if how == "reset":
            world.arm("eof-on-connect")
        world.arm(how)
        await world.until(lambda: world.client.state is not LinkState.READY, "the link to be down")
        with wire_tap(world.gateway) as tap:
            waiting = await world.adapter.cancel(order.key)
            assert not waiting.is_terminal, "it was asked for, and nobody has confirmed it"
            if how == "reset":
                world.release("eof-on-connect")
            else:
                world.arm("1102")
            await world.until(lambda: world.adapter.order(order.key).state is OrderState.CANCELLED, "the cancel")
            assert tap.count("cancelOrder") == 1
            assert tap.count("placeOrder") == 0
        assert not world.gateway.exchange.open_orders()


async def test_q10_o08_a_fill_that_crosses_the_cancel_is_booked():
    async with adapter_world() as world:
        order = await working(world)
        world.arm("drop-answer", "cancelOrder")
        cancelling = asyncio.ensure_future(world.adapter.cancel(order.key))
        await world.until(lambda: world.adapter.order(order.key).state is OrderState.PENDING_CANCEL, "the cancel")
        await world.gateway.advance_to(world.gateway.now + timedelta(hours=30))
        await world.until(lambda: world.adapter.order(order.key).is_terminal, "an end")
        ended = await cancelling
        truth = world.gateway.exchange.order_by_perm(ended.perm_id)
        assert ended.filled == truth.filled
