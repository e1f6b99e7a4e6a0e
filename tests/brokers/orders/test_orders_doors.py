"""One order manager, two doors: names that each gives an order, whose silence proves something, and the pen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import Bracket
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerOrder, BrokerStatus
from moondev_ibkr.brokers.errors import DoorFenced, RiskRefusal

PORTAL_NAME, OTHER_PORTAL_NAME = -602801486, -602801487


async def in_doubt(bench, mode):
    """An order sent through TWS whose link ends before any answer: its key."""
    bench.broker.on_place = mode
    placing = asyncio.ensure_future(bench.buy(10, key="doubt"))
    await bench.settle()
    await bench.lose_link()
    assert (await placing).state is OrderState.UNKNOWN
    bench.broker.on_place = "answer"
    bench.broker.is_healthy = True
    bench.alarms()
    return "doubt"


async def change_door(bench, *, portal_shows_tws_orders=True):
    """The portal takes the pen: the same broker, told about under the portal's numbers."""
    lease = bench.manager._desk.journal.switch_door("portal")
    bench.manager.change_door(lease)
    bench.broker.name = "portal"
    bench.broker.shown_doors = {"portal", "tws"} if portal_shows_tws_orders else {"portal"}
    bench.manager.on_link_restored("orders go through the portal")
    await bench.settle()


async def test_q8_the_name_that_the_other_door_gives_an_order_is_no_fork(bench):
    order = await bench.buy(10)
    held = bench.broker.held(order.key)
    bench.broker.tell(replace(held, perm_id=PORTAL_NAME))
    assert bench.alarms() == []
    assert bench.manager.order(order.key).state is OrderState.WORKING
    await bench.manager.cancel(order.key)
    assert bench.broker.cancelled[-1][1] == PORTAL_NAME


async def test_q8_two_orders_of_one_key_at_the_other_door_are_a_fork(bench):
    order = await bench.buy(10)
    held = bench.broker.held(order.key)
    for name in (PORTAL_NAME, OTHER_PORTAL_NAME):
        bench.broker.tell(replace(held, perm_id=name))
    assert [text for text in bench.alarms() if "several permIds" in text]
    await bench.manager.cancel(order.key)
    assert {cancel[1] for cancel in bench.broker.cancelled} == {PORTAL_NAME, OTHER_PORTAL_NAME}


async def test_q8_a_second_permid_is_a_fork_even_after_the_other_door_told_its_name(bench):
    order = await bench.buy(10)
    held = bench.broker.held(order.key)
    bench.broker.tell(replace(held, perm_id=PORTAL_NAME))
    bench.broker.tell(replace(held, perm_id=4242))
    assert [text for text in bench.alarms() if "several permIds" in text]


async def test_both_names_of_an_order_are_known_after_a_restart(disk_bench):
    order = await disk_bench.buy(10)
    held = disk_bench.broker.held(order.key)
    disk_bench.broker.tell(replace(held, perm_id=PORTAL_NAME))
    await disk_bench.settle()
    await disk_bench.restart()
    disk_bench.alarms()
    disk_bench.broker.tell(held)
    disk_bench.broker.tell(replace(held, perm_id=PORTAL_NAME))
    assert disk_bench.alarms() == []
    assert disk_bench.manager.order(order.key).state is OrderState.WORKING


async def test_q18_an_intent_of_a_process_that_missed_the_change_of_doors_is_fenced(bench):
    bench.manager._desk.journal.switch_door("portal")
    with pytest.raises(DoorFenced, match="portal"):
        await bench.buy(10)
    assert bench.broker.placed == []


async def test_q4_p17_an_order_in_doubt_blocks_its_symbol_until_the_new_door_has_shown_it(bench, aapl):
    await in_doubt(bench, "silent")
    bench.broker.failing = {"open_orders"}
    await change_door(bench)
    assert [doubt.door for doubt in bench.manager.doubts()] == ["tws"]
    bench.broker.failing = set()
    await bench.manager.reconcile()
    assert bench.manager.doubts() == []
    assert bench.manager.blocked(aapl) is None


async def test_q4_p17_absence_at_a_door_that_does_not_show_the_others_orders_proves_nothing(bench, aapl):
    await in_doubt(bench, "lost")
    await change_door(bench, portal_shows_tws_orders=False)
    for _ in range(4):
        await bench.advance(60)
        await bench.manager.reconcile()
    (doubt,) = bench.manager.doubts()
    assert "the broker never showed it" in doubt.evidence
    with pytest.raises(RiskRefusal, match="UNKNOWN"):
        await bench.buy(5)


async def test_q4_absence_at_a_door_that_shows_the_others_orders_counts(bench):
    key = await in_doubt(bench, "lost")
    await change_door(bench)
    for _ in range(2):
        await bench.advance(31)
        await bench.manager.reconcile()
    assert bench.manager.order(key).state is OrderState.NOT_SENT
    assert (await bench.buy(10)).state is OrderState.WORKING


async def test_a_working_order_that_the_new_door_does_not_show_stays_what_it_was(bench):
    order = await bench.buy(10)
    bench.broker.orders.clear()
    await change_door(bench, portal_shows_tws_orders=False)
    await bench.advance(60)
    await bench.manager.reconcile()
    assert bench.manager.order(order.key).state is OrderState.WORKING
    assert bench.alarms() == []


@pytest.mark.parametrize(("door", "is_ours"), [("tws", False), ("portal", True)])
async def test_an_order_without_reference_is_an_exit_of_ours_only_where_exits_carry_none(
    make_bench, fake, door, is_ours
):
    """The portal's children have no reference of their own; through TWS every order of ours has one."""
    broker = fake()
    broker.name, broker.shown_doors = door, {door}
    bench = await make_bench(broker=broker).start()
    bench.broker.on_place = "lost"
    placing = asyncio.ensure_future(bench.manager.place(Bracket(bench.order(10), stop_price=Decimal(90))))
    await bench.settle()
    await bench.lose_link()
    await placing
    bench.broker.on_place = "answer"
    stop = next(order for order in bench.manager.orders() if order.leg == 1)
    told = BrokerOrder(
        PORTAL_NAME if door == "portal" else 4242,
        0,
        0,
        "DU000001",
        stop.instrument,
        stop.intent.side,
        stop.intent.quantity,
        stop.intent.type,
        "STP",
        stop_price=Decimal(90),
        status=BrokerStatus.PRE_SUBMITTED,
    )
    bench.broker.is_healthy = True
    bench.manager.on_broker_order(told)
    assert (bench.manager.order(stop.key).state is OrderState.PRE_SUBMITTED) is is_ours
    assert any(order.foreign for order in bench.manager.open_orders()) is not is_ours
    await bench.stop()


async def test_q13_an_exit_is_not_called_gone_while_an_open_order_without_reference_may_be_it(make_bench, fake):
    """It was changed by a process that died before it could write that down: its price is not the one that is known."""
    broker = fake()
    broker.name, broker.shown_doors = "portal", {"portal"}
    bench = await make_bench(broker=broker).start()
    bracket = Bracket(bench.order(10), stop_price=Decimal(90), target_price=Decimal(120))
    placed = await bench.manager.place(bracket)
    await bench.settle()
    target = next(order for order in bench.manager.orders() if order.leg == 2)
    held = bench.broker.held(target.key)
    del bench.broker.orders[target.order_id]
    nameless = bench.broker.foreign("AAPL", 10)
    nameless.wire = replace(
        nameless.wire, intent=replace(held.wire.intent, limit_price=Decimal(125), quantity=Decimal(11))
    )
    nameless.key = None
    for _ in range(4):
        await bench.lose_link()
        await bench.restore_link()
        await bench.advance(31)
        await bench.manager.reconcile()
    assert bench.manager.order(target.key).state is OrderState.UNKNOWN
    bench.broker.end(nameless)
    for _ in range(3):
        await bench.advance(31)
        await bench.manager.reconcile()
    assert bench.manager.order(target.key).state is OrderState.CANCELLED
    assert bench.manager.order(placed.key).state is OrderState.WORKING
    await bench.stop()
