"""Faults of executions and of queries (catalogue 1.2 and 1.5) met by the adapter over the portal."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderChange, OrderType, Side, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import NotSent
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind
from moondev_ibkr.brokers.simulation.events import Executed, StatusChanged
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

from tests.brokers.interactive_brokers.portal.rig import D

from .portal_fault_world import AAPL, ACCOUNT, ORDER, PortalOnly, limit, virtual

LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)
FILLED, CANCELLED = OrderState.FILLED, OrderState.CANCELLED
TICKET = {"conid": AAPL.con_id, "orderType": "LMT", "price": 270, "side": "BUY", "quantity": 10, "tif": "DAY"}


def execution(world: PortalOnly, key: str, number: int, size: float) -> dict[str, object]:
    """A row of `str` that the exchange never made."""
    return {
        "execution_id": f"0000e0d5.6576fd38.{number:02d}.01",
        "order_id": world.number(key),
        "order_ref": key,
        "side": "B",
        "size": size,
        "price": "250.00",
        "account": ACCOUNT,
        "conid": AAPL.con_id,
        "symbol": "AAPL",
        "sec_type": "STK",
        "trade_time_r": int(world.gateway.now.timestamp() * 1000),
    }


def fills(world: PortalOnly, key: str) -> list[tuple[int, bool]]:
    """What was told of an order's fills: (shares, recovered), in order."""
    told = world.heard.of(OrderEventKind.FILL)
    return [(int(event.fill.quantity), event.recovered) for event in told if event.fill.order_key == key]


async def lose_session(world: PortalOnly) -> None:
    """The brokerage session is gone and does not come back before `maintenance` is released."""
    world.arm("maintenance")
    await world.until(lambda: not world.client.is_healthy, "the loss to be noticed")


async def regain(world: PortalOnly) -> float:
    """Seconds from the session's return to the end of the reading after it."""
    runs = world.adapter.manager._reconciler.completed_runs
    world.release("maintenance")
    await world.until(lambda: world.client.is_healthy, "the session to be back", 400)
    return await world.until(lambda: world.adapter.manager._reconciler.completed_runs > runs, "what was missed")


# Executions


@virtual
async def test_o10_p13_a_fill_is_told_by_its_execution_and_never_by_a_status():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.tell("sor", {"orderId": world.number("k1"), "status": "Submitted", "filledQuantity": 4.0})
        await asyncio.sleep(0.1)
        assert world.adapter.order("k1").filled == 0
        world.tell("str", execution(world, "k1", 1, 4.0))
        await asyncio.sleep(0.1)
        assert (world.adapter.order("k1").filled, world.adapter.order("k1").state) == (D(4), OrderState.WORKING)
        assert fills(world, "k1") == [(4, False)]


@virtual
async def test_o10_a_fill_without_any_status_ends_the_order():
    async with PortalOnly() as world:
        world.exchange.faults.drop_next(StatusChanged, count=10)
        placed = await world.adapter.place(limit("k1", price="270"))
        assert (await world.adapter.wait(placed.key, 5)).state is FILLED
        assert fills(world, "k1") == [(10, False)]


@virtual
async def test_o19_an_execution_that_comes_before_its_order_is_shown_is_booked_once():
    async with PortalOnly() as world:
        world.exchange.faults.hold(StatusChanged)
        world.arm("delay", "2", "POST /orders")
        placing = asyncio.create_task(world.adapter.place(limit("k1", price="270")))
        await world.until(lambda: world.held == 10, "the fill")
        await asyncio.sleep(1)
        world.exchange.faults.release()
        world.wire.settle()
        await placing
        assert (await world.adapter.wait("k1", 5)).filled == 10
        await world.adapter.reconcile()
        assert fills(world, "k1") == [(10, False)]
        assert not [order for order in world.adapter.orders() if order.foreign]


@virtual
async def test_o11_the_fill_is_told_at_once_and_its_fee_amended_later():
    async with PortalOnly() as world:
        world.arm("fail", "503", "/iserver/account/trades")
        await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        first = world.heard.of(OrderEventKind.FILL)[0]
        assert first.fill.commission is None, "the stream tells no commission"
        await world.until(lambda: world.adapter.order("k1").commission is not None, "the commission")
        assert world.adapter.order("k1").commission > 0
        assert len(world.heard.of(OrderEventKind.COMMISSION)) == 1
        assert fills(world, "k1") == [(10, False)]


@virtual
async def test_o12_what_a_new_stream_repeats_is_booked_once():
    async with PortalOnly() as world:
        await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        for count in (2, 3):
            world.arm("drop-streams")
            await world.until(lambda count=count: world.client._stream.opened == count, "the stream to be back")
            await asyncio.sleep(5)
        await world.adapter.reconcile()
        assert fills(world, "k1") == [(10, False)]
        assert world.adapter.order("k1").filled == world.held == 10


@virtual
async def test_o13_a_correction_replaces_what_it_corrects():
    async with PortalOnly() as world:
        await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        (fill,) = world.adapter.fills()
        world.exchange.correct_execution(fill.exec_id, price=D("264.50"))
        world.wire.settle()
        await world.until(lambda: world.adapter.fills()[0].price == D("264.50"), "the correction")
        await world.adapter.reconcile()
        assert world.adapter.order("k1").filled == 10
        assert len(world.adapter.fills()) == 1
        assert len(world.heard.of(OrderEventKind.FILL_CORRECTED)) == 1


@virtual
async def test_o14_o15_p12_q6_a_fill_that_was_missed_is_told_once_to_the_handle_that_waits_for_it():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1", price="264"))
        waiting = asyncio.create_task(world.adapter.wait("k1", 1_000))
        await lose_session(world)
        world.gateway.portal.faults.maintenance = False
        world.other_client("POST", f"{ORDER}{world.number('k1')}", body=TICKET)
        world.gateway.portal.session.end_brokerage()
        world.gateway.portal.faults.maintenance = True
        assert world.held == 10
        assert await regain(world) <= 5
        done = await waiting
        assert (done.key, done.state, done.filled) == ("k1", FILLED, D(10))
        assert fills(world, "k1") == [(10, True)]
        # the portal forgets ended orders with their session, and its order status answers 503 then
        assert not [name for _, name in world.wire.calls if "/order/status/" in name]


@virtual
async def test_o18_an_exits_execution_carries_no_reference_and_finds_its_leg():
    async with PortalOnly() as world:
        await world.adapter.place(Bracket(limit("root", price="270"), stop_price=D(240), target_price=D(300)))
        await world.adapter.wait("root", 5)
        target = leg_key("root", 2)
        await world.until(lambda: world.adapter.order(target).state in LIVE, "the target")
        await world.adapter.modify(target, OrderChange(limit_price=D(264)))
        await world.adapter.wait(target, 5)
        assert fills(world, target) == [(10, False)]
        assert world.held == 0
        stop = await world.adapter.wait(leg_key("root", 1), 5)
        assert (stop.state, stop.filled) == (CANCELLED, D(0))


@virtual
async def test_o37_more_than_was_ordered_is_booked_and_alarms():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.tell("str", execution(world, "k1", 1, 8.0), execution(world, "k1", 2, 5.0))
        await asyncio.sleep(0.1)
        assert world.adapter.order("k1").filled == 13
        assert fills(world, "k1") == [(8, False), (5, False)]
        assert any("k1" in text for text in world.heard.alarms)


@virtual
async def test_o09_a_stale_frame_does_not_bring_an_order_back():
    async with PortalOnly() as world:
        await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        world.tell("sor", {"orderId": world.number("k1"), "status": "Submitted", "filledQuantity": 0.0})
        await asyncio.sleep(5)
        await world.adapter.reconcile()
        order = world.adapter.order("k1")
        assert (order.state, order.filled) == (FILLED, D(10))
        ends = [event for event in world.heard.of(OrderEventKind.STATE) if event.order.state.is_terminal]
        assert len(ends) == 1


@virtual
async def test_o06_o08_a_fill_beats_the_cancel_that_it_crossed():
    async with PortalOnly(cash=10**6) as world:
        await world.adapter.place(limit("k1", 740, "265.01"))
        world.exchange.faults.hold(Executed)
        before = world.held
        world.advance(30)
        world.wire.settle()
        assert world.held > before
        await world.adapter.cancel("k1")
        world.exchange.faults.release()
        world.wire.settle()
        await world.adapter.reconcile()
        order = world.adapter.order("k1")
        assert (order.state, order.filled) == (CANCELLED, world.held)
        assert sum(size for size, _ in fills(world, "k1")) == world.held < 740


# Orders and positions of others


@virtual
async def test_o17_o40_a_manual_trade_moves_the_position_and_not_the_orders():
    async with PortalOnly() as world:
        world.exchange.place_manual(OrderTicket(0, 0, AAPL.con_id, Side.BUY, D(100), OrderType.MARKET))
        world.wire.settle()
        await world.until(lambda: world.held == 100, "the trade")
        await world.adapter.reconcile()
        (position,) = await world.adapter.positions()
        assert position.quantity == 100
        assert world.adapter.fills() == []
        assert not [order for order in world.adapter.orders() if not order.foreign]
        with pytest.raises(BrokerError):
            await world.adapter.place(NewOrder(AAPL, Side.SELL, D(50), OrderType.MARKET, reduce_only=True))
        assert await world.adapter.flatten() == []
        assert world.held == 100


@virtual
async def test_o44_a_forced_close_alarms_and_is_not_ours():
    async with PortalOnly() as world:
        await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        world.exchange.liquidate(ACCOUNT, AAPL.con_id)
        world.wire.settle()
        await world.until(lambda: world.held == 0, "the forced close")
        await world.adapter.reconcile()
        # positions may lag behind executions for a moment
        await asyncio.sleep(3)
        await world.adapter.reconcile()
        assert await world.adapter.positions() == []
        (moved,) = world.heard.of(OrderEventKind.POSITION)
        assert moved.position.quantity == 0
        assert world.adapter.manager.owned_position(ACCOUNT, moved.position.instrument) == 0


# What is not known is not empty


@pytest.mark.parametrize("path", ["/iserver/account/orders", "/iserver/account/trades", "positions"])
@pytest.mark.parametrize("how", ["503", "no session", "not a list"])
@virtual
async def test_o39_q13_a_query_that_fails_changes_nothing(path, how):
    async with PortalOnly() as world:
        await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        await world.adapter.place(limit("k2"))
        await world.client.settled()
        before = (world.adapter.orders(), world.adapter.fills(), await world.adapter.positions())
        call = f"GET {path}"
        if path == "positions":
            await world.adapter.reconcile()
            call = next(name for _, name in reversed(world.wire.calls) if "/positions" in name)
        answers = {"503": ("", 503), "no session": ('{"error":"no session"}', 200), "not a list": ("7", 200)}
        text, status = answers[how]
        world.answer(call, text, status)
        with pytest.raises(BrokerError):
            await world.adapter.reconcile()
        assert (world.adapter.orders(), world.adapter.fills()) == before[:2]
        await world.until(lambda: world.client.is_healthy, "the session to be well")
        await world.adapter.reconcile()
        assert (world.adapter.orders(), world.adapter.fills(), await world.adapter.positions()) == before


@virtual
async def test_p08_a_list_that_another_program_has_filtered_is_not_believed():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.other_client("GET", "/iserver/account/orders", {"filters": "filled"})
        for _ in range(3):
            await world.adapter.reconcile()
            await asyncio.sleep(40)
        assert world.adapter.order("k1").state in LIVE
        assert world.adapter.in_doubt(AAPL) is None


@virtual
async def test_p08_a_new_session_begins_cold_and_is_warmed_before_it_is_believed():
    async with PortalOnly(paced=True) as world:
        await world.adapter.place(limit("k1"))
        await world.adapter.wait((await world.adapter.place(limit("k2", price="270"))).key, 5)
        world.arm("auth-lost")
        await world.until(lambda: world.count(LinkEventKind.RESTORED), "the session to be back")
        await asyncio.sleep(60)
        assert (world.adapter.order("k1").state in LIVE, world.adapter.order("k2").state) == (True, FILLED)
        assert world.adapter.in_doubt(AAPL) is None
        assert (await world.adapter.positions())[0].quantity == 10


@virtual
async def test_p12_orders_of_all_accounts_are_read_without_choosing_one():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        world.arm("fail", "503", "/iserver/account/order/status")
        await world.adapter.reconcile()
        await world.adapter.cancel("k1")
        assert (await world.adapter.wait("k1", 5)).state is CANCELLED
        chosen = [name for _, name in world.wire.calls if name == "POST /iserver/account"]
        assert chosen == [], "the chosen account belongs to every program of this login"


@virtual
async def test_p13_parts_by_polling_add_up_to_what_the_ledger_holds():
    async with PortalOnly(cash=10**6) as world:
        world.arm("drop-streams")
        world.wire.open = refuse_stream
        await world.until(lambda: not world.client.stream_is_open, "the stream to end")
        await world.adapter.quote(AAPL)
        placed = await world.adapter.place(limit("k1", 700, "270"))
        seen = []
        for _ in range(60):
            world.advance(15)
            await asyncio.sleep(6)
            seen.append(world.adapter.order("k1").filled)
            assert seen[-1] <= world.held
        assert (await world.adapter.wait(placed.key, 5)).filled == world.held == 700
        assert len(set(seen)) > 2
        assert sum(size for size, _ in fills(world, "k1")) == 700


async def refuse_stream(*_: object, **__: object) -> None:
    raise NotSent("no stream here")


@virtual
async def test_o02_q4_new_exposure_waits_until_the_lost_orders_are_read():
    async with PortalOnly() as world:
        await lose_session(world)
        placing = asyncio.create_task(world.adapter.place(limit("k1")))
        await asyncio.sleep(1)
        assert world.placings == 0
        await asyncio.gather(placing, return_exceptions=True)
        assert isinstance(placing.exception(), BrokerError)
        await regain(world)
        assert (await world.adapter.place(limit("k2"))).state in LIVE
        assert world.refs == ["k2"]
