"""Faults of orders (catalogue 1.2) met by the adapter over the portal: changes, cancels, brackets, and what is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange, OrderType, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import (
    CancelRejected,
    MismatchDetected,
    ModifyRejected,
    NotConnected,
    NotOwned,
    RiskRefusal,
)
from moondev_ibkr.brokers.journal import Journal

from tests.brokers.interactive_brokers.portal.rig import START, D

from .portal_fault_world import AAPL, ORDER, PLACING, PortalOnly, limit, virtual

LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)


# Changes


@virtual
async def test_o04_a_refused_change_leaves_the_order_as_it_was():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.exchange.faults.reject_next(201, "Order rejected - reason: price")
        with pytest.raises(ModifyRejected):
            await world.adapter.modify("k1", OrderChange(limit_price=D(251)))
        order = world.adapter.order("k1")
        assert (order.state in LIVE, order.intent.limit_price) == (True, D(250))
        (view,) = world.exchange.open_orders()
        assert view.ticket.limit_price == 250


@virtual
async def test_o16_a_change_is_not_sent_while_the_session_is_lost_and_no_second_order_appears():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.arm("maintenance")
        await world.until(lambda: not world.client.is_healthy, "the loss to be noticed")
        with pytest.raises(NotConnected):
            await world.adapter.modify("k1", OrderChange(limit_price=D(251)))
        world.release("maintenance")
        await world.until(lambda: world.client.is_healthy, "the session to be back")
        assert world.wire.count(f"POST {ORDER}{world.number('k1')}") == 0
        assert world.refs == ["k1"]


@virtual
async def test_o16_q8_a_second_number_for_one_reference_alarms_blocks_and_both_are_cancelled():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        number = world.number("k1")
        base = {"conid": AAPL.con_id, "acct": "DU0000001", "side": "BUY", "totalSize": 10.0, "filledQuantity": 0.0}
        world.tell(
            "sor",
            {**base, "orderId": number + 1, "order_ref": "k1", "status": "Submitted", "price": "250.00",
             "origOrderType": "LIMIT", "timeInForce": "CLOSE", "remainingQuantity": 10.0},
        )  # fmt: skip
        took = await world.until(lambda: world.adapter.in_doubt(AAPL), "the fork to be noticed")
        assert took <= 1
        assert any("several permIds" in text for text in world.heard.alarms)
        with pytest.raises(RiskRefusal):
            await world.adapter.place(limit("k2"))
        cancelling = asyncio.create_task(world.adapter.cancel("k1"))
        await world.until(
            lambda: world.wire.count(f"DELETE {ORDER}{number}") and world.wire.count(f"DELETE {ORDER}{number + 1}"),
            "a cancel for each life",
        )
        cancelling.cancel()
        await asyncio.gather(cancelling, return_exceptions=True)


@virtual
async def test_o21_a_change_starts_from_what_the_broker_shows():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        ticket = {"conid": AAPL.con_id, "orderType": "LMT", "price": 249, "side": "BUY", "quantity": 10, "tif": "DAY"}
        world.other_client("POST", f"{ORDER}{world.number('k1')}", body=ticket)
        await world.until(lambda: world.adapter.order("k1").intent.limit_price == 249, "the change made elsewhere")
        changed = await world.adapter.modify("k1", OrderChange(quantity=D(12)))
        assert (changed.intent.limit_price, changed.intent.quantity) == (D(249), D(12))
        (view,) = world.exchange.open_orders()
        assert (view.ticket.limit_price, view.ticket.quantity) == (D(249), D(12))


@virtual
async def test_o22_o25_an_exit_is_changed_after_its_parent_has_ended_and_works_in_extended_hours_as_it_did():
    async with PortalOnly() as world:
        entry = limit("root", price="270", outside_rth=True)
        await world.adapter.place(Bracket(entry, stop_price=D(240), target_price=D(300)))
        await world.adapter.wait("root", 5)
        stop = leg_key("root", 1)
        await world.until(lambda: world.adapter.order(stop).state in LIVE, "the stop")
        changed = await world.adapter.modify(stop, OrderChange(stop_price=D(245)))
        assert changed.intent.stop_price == 245
        assert {view.ticket.outside_rth for view in world.exchange.open_orders()} == {True}
        assert world.adapter.order(stop).state in LIVE


# Cancels


@pytest.mark.parametrize("paced", [False, True])
@virtual
async def test_o05_a_refused_cancel_leaves_the_order_live_and_says_so(paced):
    async with PortalOnly(paced=paced) as world:
        await world.adapter.place(limit("k1"))
        world.arm("fail", "400", "DELETE /order", '{"error"', '"Order cannot be cancelled now"}')
        with pytest.raises(CancelRejected):
            await world.adapter.cancel("k1")
        assert world.adapter.order("k1").state in LIVE
        assert len(world.heard.of(OrderEventKind.CANCEL_REJECTED)) == 1
        assert (await world.adapter.cancel("k1")).state is OrderState.CANCELLED


@virtual
async def test_o05_o08_a_cancel_that_crosses_the_fill_answers_with_the_fill():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.wire.calls.clear()
        change = {"conid": AAPL.con_id, "orderType": "LMT", "price": 270, "side": "BUY", "quantity": 10, "tif": "DAY"}
        cancelling = asyncio.create_task(world.adapter.cancel("k1"))
        await asyncio.sleep(0)
        world.other_client("POST", f"{ORDER}{world.number('k1')}", body=change)
        assert (await cancelling).state is OrderState.FILLED
        assert world.adapter.order("k1").filled == world.held == 10


@virtual
async def test_o31_a_cancel_whose_answer_does_not_come_is_pending_and_neither_dead_nor_forgotten():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.tell("sor", {"orderId": world.number("k1"), "status": "PendingCancel"})
        await world.until(lambda: world.adapter.order("k1").state is OrderState.PENDING_CANCEL, "the status")
        await asyncio.sleep(600)
        assert world.adapter.order("k1").state.may_be_live
        assert (await world.adapter.cancel("k1")).state is OrderState.CANCELLED


@virtual
async def test_o35_an_order_of_another_program_is_seen_and_left_alone():
    async with PortalOnly() as world:
        ticket = {"conid": AAPL.con_id, "orderType": "LMT", "price": 250, "side": "BUY", "quantity": 10, "tif": "DAY"}
        world.other_client("POST", PLACING.partition(" ")[2], body={"orders": [{**ticket, "cOID": "theirs"}]})
        await world.until(lambda: world.adapter.open_orders(), "the order of the other program")
        (order,) = world.adapter.open_orders()
        assert order.foreign
        with pytest.raises(NotOwned):
            await world.adapter.cancel(order.key)
        await world.adapter.cancel_all()
        assert world.refs == ["theirs"]
        assert not [name for _, name in world.wire.calls if name.startswith("DELETE")]


# Brackets


@pytest.mark.parametrize("fault", ["abort-before", "abort-after"])
@virtual
async def test_o24_q17_a_bracket_leaves_in_one_request_so_that_its_entry_is_never_alone(fault):
    async with PortalOnly() as world:
        world.arm(fault)
        await world.adapter.place(Bracket(limit("root", price="260"), stop_price=D(240), target_price=D(300)))
        legs = [leg_key("root", number) for number in (0, 1, 2)]
        for _ in range(120):
            working = [view.ticket for view in world.exchange.open_orders()]
            assert len(working) in (0, 3), "an entry without its stop"
            await asyncio.sleep(0.5)
        assert all(world.adapter.order(key).is_terminal for key in legs)
        assert (world.exchange.open_orders(), world.placings) == ([], 1)


@virtual
async def test_o50_exits_follow_what_is_filled():
    async with PortalOnly(cash=10**6) as world:
        await world.adapter.place(Bracket(limit("root", 500, "270"), stop_price=D(240), target_price=D(300)))
        for _ in range(40):
            world.advance(30)
            await asyncio.sleep(1)
            stops = [v for v in world.exchange.open_orders() if v.ticket.type is OrderType.STOP]
            assert all(view.ticket.quantity <= 500 for view in stops)
        assert world.adapter.order("root").state is OrderState.FILLED
        (stop,) = [view for view in world.exchange.open_orders() if view.ticket.type is OrderType.STOP]
        assert stop.ticket.quantity == world.held == 500
        assert world.adapter.manager.alarms == 0


@virtual
async def test_o43_a_stop_that_the_broker_ends_alarms():
    async with PortalOnly() as world:
        await world.adapter.place(Bracket(limit("root", price="270"), stop_price=D(240)))
        await world.adapter.wait("root", 5)
        stop = leg_key("root", 1)
        await world.until(lambda: world.adapter.order(stop).state in LIVE, "the stop")
        (view,) = world.exchange.open_orders()
        world.exchange.cancel_perm(view.perm_id)
        world.wire.settle()
        await world.until(lambda: any("stop" in text for text in world.heard.alarms), "the alarm")


# What is told about an order


@virtual
async def test_o32_q9_an_echo_of_another_contract_halts_the_symbol():
    async with PortalOnly() as world:
        real = world.wire.exchange

        async def misrouted(call):
            if call.method == "POST" and call.path.endswith("/orders"):
                call = replace(call, body={"orders": [{**call.body["orders"][0], "conid": 272093}]})
            return await real(call)

        world.wire.exchange = misrouted
        with pytest.raises(MismatchDetected, match="conId"):
            await world.adapter.place(limit("k1"))
        with pytest.raises(RiskRefusal):
            await world.adapter.place(limit("k2"))
        assert world.refs == ["k1"]


@virtual
async def test_o07_o30_inactive_is_held_and_may_revive():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.tell("sor", {"orderId": world.number("k1"), "status": "Inactive"})
        await world.until(lambda: not world.adapter.order("k1").state.is_terminal, "the status to be applied")
        await asyncio.sleep(5)
        assert world.adapter.order("k1").state in LIVE, "the broker's books show it at work"
        assert world.refs == ["k1"]


@virtual
async def test_o03_o29_a_warning_ends_nothing():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.tell("sor", {"orderId": world.number("k1"), "status": "WarnState"})
        await asyncio.sleep(5)
        assert world.adapter.order("k1").state in LIVE
        assert not [event for event in world.heard.events if event.order and event.order.state.is_terminal]


@pytest.mark.parametrize("again", [False, True])
@virtual
async def test_o41_o42_p08_a_restart_makes_no_orders_and_its_numbers_only_rise(again):
    journal = Journal(":memory:", now=lambda: START)
    world = PortalOnly(journal=journal)
    await world.adapter.connect()
    ticket = {"conid": AAPL.con_id, "orderType": "LMT", "price": 250, "side": "BUY", "quantity": 1, "tif": "DAY"}
    world.other_client("POST", PLACING.partition(" ")[2], body={"orders": [ticket]})
    placed = await world.adapter.place(limit("k1"))
    await world.until(lambda: len(world.adapter.open_orders()) == 2, "the foreign order")
    before = {order.key for order in world.adapter.open_orders()}
    await world.adapter.disconnect()
    if again:
        world.gateway.portal.session.end_brokerage()
    other = PortalOnly(journal=journal, gateway=world.gateway)
    await other.adapter.connect()
    assert other.state("k1") in LIVE, "the first reading is a warm one (fault P08)"
    assert other.adapter.manager.alarms == 0
    other.client._own.next_order_id = 1
    assert {order.key for order in other.adapter.open_orders()} == before
    assert other.placings == 0
    later = await other.adapter.place(limit("k2"))
    assert later.order_id > placed.order_id
    await other.adapter.disconnect()
    journal.close()


@virtual
async def test_o34_a_what_if_that_tells_no_figures_has_none():
    async with PortalOnly() as world:
        world.answer(f"{PLACING}/whatif", '{"amount": {"commission": "NaN"}, "initial": {"change": ""}}')
        answer = await world.adapter.what_if(limit("k1"))
        assert (answer.commission, answer.initial_margin_change, answer.excess_liquidity_after) == (None, None, None)
