"""Brackets: no entry without its stop, whatever breaks in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import Bracket, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerStatus, OrderEffect, OrderEventKind
from moondev_ibkr.brokers.errors import NotConnected, RiskRefusal

S, K = OrderState, OrderEventKind


def bracket(bench, quantity=100, target="130"):
    entry = bench.order(quantity, key="b1", outside_rth=True)
    return Bracket(entry, Decimal(90), Decimal(target) if target else None)


def live(bench):
    return {
        held.key: int(held.wire.intent.quantity)
        for held in bench.broker.orders.values()
        if held.status not in (BrokerStatus.CANCELLED, BrokerStatus.FILLED)
    }


async def test_the_legs_go_out_in_one_chain_that_the_last_one_transmits(bench):
    order = await bench.manager.place(bracket(bench))
    assert order.key == "b1"
    sent = bench.broker.placed
    assert [wire.intent.key for wire in sent] == ["b1", "b1-1", "b1-2"]
    assert [wire.transmit for wire in sent] == [False, False, True]
    assert [wire.parent_id for wire in sent] == [0, order.order_id, order.order_id]
    assert {wire.intent.oca_group for wire in sent[1:]} == {"oca-b1"}
    assert [bench.manager.order(f"b1-{n}").parent_key for n in (1, 2)] == ["b1", "b1"]


async def test_o25_children_inherit_extended_hours(bench):
    await bench.manager.place(bracket(bench))
    assert all(wire.intent.outside_rth for wire in bench.broker.placed)


async def test_every_leg_is_durable_before_the_first_byte(bench):
    rows = []
    bench.broker.before_place = lambda wire: rows.append(len(bench.journal.load_orders()))
    await bench.manager.place(bracket(bench))
    assert rows == [3, 3, 3]


async def test_the_legs_pass_the_gate_as_exits_of_the_entry(bench):
    await bench.manager.place(bracket(bench))
    assert [(order.key, parent and parent.key) for order, _, parent, _ in bench.gate.seen] == [
        ("b1", None),
        ("b1-1", "b1"),
        ("b1-2", "b1"),
    ]


async def test_a_refused_bracket_sends_nothing(bench):
    bench.gate.refusal = RiskRefusal("b", "no", rule="r", value=1, limit=1)
    with pytest.raises(RiskRefusal):
        await bench.manager.place(bracket(bench))
    assert bench.broker.placed == []


async def test_o24_a_chain_that_breaks_before_anything_left_is_not_sent(bench):
    bench.broker.on_place = "refused"
    with pytest.raises(NotConnected):
        await bench.manager.place(bracket(bench))
    assert {order.state for order in bench.manager.orders()} == {S.NOT_SENT}


async def test_o24_a_chain_that_breaks_in_the_middle_takes_its_entry_back(bench):
    bench.broker.on_place = lambda wire: "refused" if wire.intent.key == "b1-1" else "answer"
    await bench.manager.place(bracket(bench))
    await bench.settle()
    assert bench.manager.order("b1").state is S.CANCELLED
    assert bench.manager.order("b1-2").state is S.NOT_SENT
    assert live(bench) == {}


async def test_o24_a_rejected_stop_takes_its_entry_back(bench):
    await bench.manager.place(bracket(bench, target=None))
    stop = bench.manager.order("b1-1")
    bench.broker.held("b1-1").status = BrokerStatus.CANCELLED
    bench.broker.error(stop.order_id, 201, OrderEffect.REJECTED, "no")
    await bench.advance(0.5)
    assert bench.manager.order("b1").state is S.CANCELLED


async def test_working_sells_of_a_bracket_grow_with_its_entry(bench, aapl):
    await bench.manager.place(bracket(bench))
    assert bench.manager.working_sells("DU000001", aapl) == 0
    bench.broker.fill("b1", 40)
    assert bench.manager.working_sells("DU000001", aapl) == 40
    bench.broker.fill("b1", 60)
    assert bench.manager.working_sells("DU000001", aapl) == 100


async def test_o50_exits_follow_what_is_filled(bench):
    await bench.manager.place(bracket(bench))
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)
    assert live(bench) == {"b1": 100, "b1-1": 40, "b1-2": 40}
    bench.broker.fill("b1", 60)
    await bench.advance(0.5)
    assert live(bench) == {"b1-1": 100, "b1-2": 100}
    assert {bench.manager.order(key).intent.quantity for key in ("b1-1", "b1-2")} == {100}


async def test_o50_fills_in_one_burst_need_no_resizing(bench):
    await bench.manager.place(bracket(bench))
    bench.broker.fill("b1", 40)
    bench.broker.fill("b1", 60)
    await bench.advance(0.5)
    assert bench.broker.modified == []


async def test_o22_an_exit_changed_after_its_parent_ended_names_no_parent(bench):
    from moondev_ibkr.brokers.domain.order import OrderChange

    await bench.manager.place(bracket(bench))
    await bench.manager.modify("b1-1", OrderChange(stop_price=Decimal(91)))
    bench.broker.fill("b1", 100)
    await bench.manager.modify("b1-1", OrderChange(stop_price=Decimal(92)))
    assert [wire.parent_id for wire in bench.broker.modified] == [bench.manager.order("b1").order_id, 0]


async def test_q17_a_stop_that_went_with_a_part_filled_entry_is_put_back(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)
    bench.broker.end(bench.broker.held("b1-1"))
    bench.broker.end(bench.broker.held("b1"))
    await bench.advance(0.5)
    stop = bench.manager.order("b1-3")
    assert (stop.state, stop.intent.quantity, stop.intent.stop_price) == (S.WORKING, 40, 90)
    assert stop.intent.oca_group == "oca-b1"
    assert bench.broker.placed[-1].parent_id == 0


async def test_q17_where_no_stop_is_accepted_the_position_is_closed(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)
    bench.broker.on_place = lambda wire: "silent" if wire.intent.type is OrderType.STOP else "answer"

    def refuse_stops(wire):
        if wire.intent.type is OrderType.STOP:
            bench.broker.held(wire.intent.key).status = BrokerStatus.CANCELLED
            bench.broker.soon(lambda: bench.broker.error(wire.order_id, 201, OrderEffect.REJECTED, "no stops"))

    bench.broker.after_place = refuse_stops
    bench.broker.end(bench.broker.held("b1-1"))
    bench.broker.end(bench.broker.held("b1"))
    await bench.advance(0.5)
    await bench.advance(0.5)
    last = bench.broker.placed[-1].intent
    assert (last.type, last.side, last.quantity, last.reduce_only) == (OrderType.MARKET, Side.SELL, 40, True)
    assert any("is being closed" in text for text in bench.alarms())


async def test_o43_a_stop_that_the_broker_cancels_alarms_and_is_not_guessed_anew(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 100)
    await bench.advance(0.5)
    bench.events()
    bench.broker.end(bench.broker.held("b1-1"))
    await bench.advance(0.5)
    assert any("ended stop b1-1" in text for text in bench.alarms())
    assert live(bench) == {}


async def test_o43_a_single_stop_too(bench):
    from moondev_ibkr.brokers.domain.order import NewOrder

    held = await bench.hold(10)
    stop = NewOrder(held.instrument, Side.SELL, Decimal(10), OrderType.STOP, stop_price=Decimal(80), reduce_only=True)
    await bench.manager.place(stop)
    bench.broker.end(bench.broker.held(stop.key))
    await bench.advance(0.5)
    assert any(f"ended stop {stop.key}" in text for text in bench.alarms())


async def test_a_stop_that_its_filled_target_cancels_is_no_alarm(bench):
    await bench.manager.place(bracket(bench))
    bench.broker.fill("b1", 100)
    await bench.advance(0.5)
    bench.events()
    bench.broker.fill("b1-2", 100, "130")
    bench.broker.end(bench.broker.held("b1-1"))
    await bench.advance(0.5)
    await bench.advance(10)
    assert bench.alarms() == []
    assert bench.position() == 0
    assert live(bench) == {}


async def test_a_stop_that_the_owner_cancels_stays_cancelled(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 100)
    await bench.advance(0.5)
    await bench.manager.cancel("b1-1")
    await bench.advance(10)
    assert live(bench) == {}
    assert bench.alarms() == []


async def test_exits_left_over_after_the_position_is_gone_are_cancelled(bench):
    """The OCA group should have done it; a stop left behind would open a short."""
    await bench.manager.place(bracket(bench))
    bench.broker.fill("b1", 100)
    bench.broker.fill("b1-2", 100, "130")
    await bench.advance(0.5)
    assert "b1-1" in live(bench)
    await bench.advance(5)
    assert live(bench) == {}


async def test_exits_that_fill_more_than_the_entry_alarm(bench):
    await bench.manager.place(bracket(bench))
    bench.broker.fill("b1", 100)
    bench.broker.fill("b1-1", 100, "90")
    bench.broker.fill("b1-2", 10, "130")
    await bench.advance(0.5)
    assert any("10 more than its entry" in text for text in bench.alarms())
    assert live(bench) == {}


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("filled", [0, 40, 100])
@pytest.mark.parametrize("legs_sent", [1, 2, 3])
async def test_q17_a_crash_between_legs_leaves_no_entry_unprotected(disk_bench, legs_sent, filled):
    bench = disk_bench

    def crash(wire):
        if len(bench.broker.placed) == legs_sent:
            raise Crash

    bench.broker.after_place = crash
    with pytest.raises(Crash):
        await bench.manager.place(bracket(bench))
    if filled:
        bench.broker.execute("b1", filled)
    await bench.restart()
    await bench.advance(5)
    await bench.advance(5)
    exits = {key: quantity for key, quantity in live(bench).items() if key != "b1"}
    if legs_sent == 1 and filled == 0:
        assert live(bench) == {}
        return
    if filled == 0:
        assert exits["b1-1"] == 100
    else:
        stops = [quantity for key, quantity in exits.items() if key in ("b1-1", "b1-3")]
        assert stops == [filled]
    assert bench.journal.verify() is None
    assert len([wire for wire in bench.broker.placed if wire.intent.key == "b1"]) == 1


async def test_protection_waits_for_the_link(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    await bench.lose_link()
    await bench.advance(0.5)
    assert bench.broker.modified == []
    await bench.restore_link()
    await bench.settle()
    assert live(bench) == {"b1": 100, "b1-1": 40}


async def test_a_check_that_an_unhealthy_link_holds_up_is_looked_at_again_later_not_all_the_time(bench):
    """Synchronised, but a start-up query has no answer yet: the timer must not fire again at once."""
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    bench.broker.is_healthy = False
    await bench.advance(0.5)
    deadlines = bench.manager._deadlines
    deadlines._fire()
    assert deadlines._timer_at >= bench.clock.monotonic() + bench.settings.retry_delay
    bench.broker.is_healthy = True
    await bench.advance(bench.settings.retry_delay)
    assert live(bench)["b1-1"] == 40


async def test_protection_passes_the_kill_switch(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.manager.halt("panic")
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)
    assert live(bench)["b1-1"] == 40


async def test_verify_protection_can_be_asked_for(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    await bench.manager.verify_protection()
    await bench.settle()
    assert live(bench)["b1-1"] == 40


async def test_o50_a_refused_resize_is_told_and_tried_again(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)
    bench.broker.modify_answer = "refused"
    bench.broker.fill("b1", 60)
    await bench.advance(0.5)
    assert any("covers 40 of 100" in text for text in bench.alarms())
    bench.broker.modify_answer = "echo"
    await bench.advance(5)
    assert live(bench) == {"b1-1": 100}


async def test_a_resize_cut_off_by_the_link_is_settled_by_what_the_broker_shows(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.modify_answer = "applied-silently"
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)
    await bench.lose_link()
    bench.broker.modify_answer = "echo"
    await bench.restore_link()
    assert bench.manager.order("b1-1").intent.quantity == 40
    assert bench.alarms() == []


async def test_q17_a_broker_that_refuses_everything_is_not_asked_for_ever(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)

    def refuse(wire):
        bench.broker.held(wire.intent.key).status = BrokerStatus.CANCELLED
        bench.broker.soon(lambda: bench.broker.error(wire.order_id, 201, OrderEffect.REJECTED, "closed"))

    bench.broker.on_place, bench.broker.after_place = "silent", refuse
    bench.broker.end(bench.broker.held("b1-1"))
    bench.broker.end(bench.broker.held("b1"))
    for _ in range(10):
        await bench.advance(1)
    assert [wire.intent.key for wire in bench.broker.placed[2:]] == ["b1-3", "b1-4", "b1-5"]
    for _ in range(100):
        await bench.advance(1)
    assert bench.broker.placed[-1].intent.key == "b1-9"
    assert any("stay without a stop" in text for text in bench.alarms())


async def test_q17_a_position_that_is_being_closed_is_not_closed_twice(bench):
    await bench.manager.place(bracket(bench, target=None))
    bench.broker.fill("b1", 40)
    await bench.advance(0.5)

    def refuse_stops(wire):
        if wire.intent.type is OrderType.STOP:
            bench.broker.held(wire.intent.key).status = BrokerStatus.CANCELLED
            bench.broker.soon(lambda: bench.broker.error(wire.order_id, 201, OrderEffect.REJECTED, "no stops"))

    bench.broker.on_place = lambda wire: "silent" if wire.intent.type is OrderType.STOP else "answer"
    bench.broker.after_place = refuse_stops
    bench.broker.end(bench.broker.held("b1-1"))
    bench.broker.end(bench.broker.held("b1"))
    await bench.advance(0.5)
    await bench.advance(0.5)
    bench.broker.fill("b1-4", 15)
    await bench.advance(10)
    assert bench.broker.placed[-1].intent.key == "b1-4"
    bench.broker.fill("b1-4", 25)
    await bench.advance(10)
    assert bench.position() == 0
    assert bench.broker.placed[-1].intent.key == "b1-4"


async def crash_with_nameless_exits(bench):
    """The whole bracket was taken; at the portal its exits carry no reference, and no process knows their numbers."""
    bench.broker.name, bench.broker.shown_doors = "portal", {"portal"}
    await bench.start()

    def crash(wire):
        if len(bench.broker.placed) == 3:
            raise Crash

    bench.broker.on_place, bench.broker.after_place = "silent", crash
    with pytest.raises(Crash):
        await bench.manager.place(bracket(bench))
    for held in bench.broker.orders.values():
        held.perm_id, held.client_id = -held.perm_id, -1
        if held.key != "b1":
            held.key = None
        held.wire = replace(held.wire, order_id=0, parent_id=0)


async def test_exits_without_reference_are_found_again_by_side_type_and_price(make_bench):
    bench = make_bench()
    await crash_with_nameless_exits(bench)
    await bench.restart()
    await bench.advance(5)
    await bench.advance(40)
    assert [order.state for order in bench.manager.orders()] == [S.WORKING] * 3
    assert not any(order.foreign for order in bench.manager.orders())
    assert len(bench.broker.placed) == 3, "a second stop was put beside the first"

    bench.broker.fill("b1", 40)
    await bench.advance(0.5)
    numbers = {bench.manager.order(key).perm_id for key in ("b1-1", "b1-2")}
    assert {wire.perm_id for wire in bench.broker.modified} == numbers
    assert all(number < 0 for number in numbers)
    await bench.stop()


async def test_an_order_that_ended_before_the_bracket_was_meant_is_not_its_exit(make_bench):
    bench = make_bench()
    await crash_with_nameless_exits(bench)
    # none of it was taken after all; yesterday's bracket had the same prices
    stale = [held.told(key=None, completed_time=bench.clock.now() - timedelta(days=1)) for held in exits_of(bench)]
    bench.broker.orders.clear()

    async def completed_orders():
        return [replace(told, status=BrokerStatus.CANCELLED, completed_status="Cancelled") for told in stale]

    bench.broker.completed_orders = completed_orders
    await bench.restart()
    await bench.advance(31)
    await bench.manager.reconcile()
    assert {order.state for order in bench.manager.orders()} == {S.NOT_SENT}
    await bench.stop()


def exits_of(bench):
    return [held for held in bench.broker.orders.values() if held.key is None]
