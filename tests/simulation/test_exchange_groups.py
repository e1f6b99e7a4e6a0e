"""Brackets and OCA groups: children that wait, shrink, and die with their parent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.order import OrderType
from moondev_ibkr.brokers.simulation.models import ChildSizing
from moondev_ibkr.brokers.simulation.tickets import OcaType, TriggerMethod

from .exchange_fakes import START, D, Pit, step

SECOND = timedelta(seconds=1)


def market(*rows, size=1000):
    return [step(START + SECOND * number, *row, size=size) for number, row in enumerate(rows)]


def bracket(pit, entry=100, stop=95, target=110, quantity=100, **stop_fields):
    parent = pit.buy(quantity, entry, transmit=False)
    fields = {"stop_price": stop, "parent_id": parent, "transmit": False, **stop_fields}
    child = pit.order("SELL", quantity, OrderType.STOP, **fields)
    pit.order("SELL", quantity, OrderType.LIMIT, limit_price=target, parent_id=parent)
    return parent, child


def test_the_last_child_transmits_the_family_and_children_wait_for_the_parent():
    pit = Pit(*market((101, "101.02", 101), ("99.98", "100.00", 100), (109, "109.02", 109), (110, "110.02", 110)))
    bracket(pit)
    assert pit.tape == ["1 PreSubmitted 0/100", "2 PreSubmitted 0/100", "3 PreSubmitted 0/100", "1 Submitted 0/100"]
    assert [row.why_held for row in pit.exchange.open_orders()] == ["", "child,trigger", "child"]
    pit.run(START + SECOND)
    assert [pit.status(number) for number in (1, 2, 3)] == ["Filled", "PreSubmitted", "Submitted"]
    pit.run(START + 3 * SECOND)
    assert pit.fills == [(100, D(100)), (-100, D(110))]
    assert [pit.status(number) for number in (1, 2, 3)] == ["Filled", "Cancelled", "Filled"]
    assert pit.exchange.order(1, 2).parent_perm_id == pit.exchange.order(1, 1).perm_id


def test_the_stop_cancels_the_target():
    pit = Pit(*market((99, "99.50", 99), (94, "94.02", 94)))
    bracket(pit)
    pit.run(START + SECOND)
    assert pit.fills == [(100, D("99.50")), (-100, D(94))]
    assert pit.status(3) == "Cancelled"


def test_children_die_with_a_parent_that_never_filled():
    pit = Pit(*market((101, "101.02", 101)))
    parent, _ = bracket(pit)
    pit.exchange.cancel(1, parent)
    assert pit.exchange.open_orders() == []
    assert pit.codes == [202, 202, 202]


@pytest.mark.parametrize(
    ("sizing", "after_stop"), [(ChildSizing.FILLED, 0), (ChildSizing.FULL, -60), (ChildSizing.WHOLE, 40)]
)
def test_a_stop_that_triggers_while_its_parent_is_part_filled(sizing, after_stop):
    pit = Pit(
        step(START, "99.90", "100.00", "99.95", ask_size=40),
        step(START + SECOND, 94, "100.50"),
        child_sizing=sizing,
    )
    bracket(pit, quantity=100, trigger_method=TriggerMethod.BID_ASK)
    assert pit.position() == 40
    pit.run(START + SECOND)
    assert pit.position() == after_stop


def test_children_grow_with_the_parent_and_the_sibling_shrinks_with_the_exit():
    pit = Pit(
        step(START, "99.90", "100.00", "99.95", ask_size=40),
        step(START + SECOND, 110, "110.02", 110, size=30),
        step(START + 2 * SECOND, "99.90", "100.00", "99.95", ask_size=40),
        step(START + 3 * SECOND, 94, "100.50"),
    )
    bracket(pit, quantity=100, trigger_method=TriggerMethod.BID_ASK)
    pit.run(START + SECOND)
    assert pit.position() == 10
    assert pit.exchange.order(1, 2).ticket.quantity == 70
    pit.run(START + 2 * SECOND)
    assert pit.position() == 50
    pit.run(START + 3 * SECOND)
    assert pit.position() == 0


def test_a_parent_cancelled_when_part_filled_leaves_protection_for_what_it_bought():
    pit = Pit(step(START, "99.90", "100.00", "99.95", ask_size=40), step(START + SECOND, 94, "94.02", 94))
    parent, stop = bracket(pit, quantity=100)
    pit.exchange.cancel(1, parent)
    assert pit.exchange.order(1, stop).remaining == 40
    pit.run(START + SECOND)
    assert pit.position() == 0


def test_a_child_needs_a_live_parent():
    pit = Pit(*market((99, "99.50", 99)))
    pit.order("SELL", 10, OrderType.STOP, stop_price=90, parent_id=55)
    pit.buy(10)
    pit.order("SELL", 10, OrderType.STOP, stop_price=90, parent_id=2)
    assert pit.codes == [135, 135]


def test_after_the_parent_is_gone_a_change_must_not_name_it():
    pit = Pit(*market((99, "99.50", 99)))
    _, stop = bracket(pit)
    assert pit.position() == 100
    pit.order("SELL", 100, OrderType.STOP, stop_price=96, parent_id=1, order_id=stop)
    assert pit.codes == [135]
    pit.order("SELL", 100, OrderType.STOP, stop_price=96, order_id=stop)
    assert pit.codes == [135]
    assert pit.exchange.order(1, stop).ticket.stop_price == 96


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (OcaType.CANCEL_WITH_BLOCK, "Cancelled 0/100"),
        (OcaType.REDUCE_WITH_BLOCK, "PreSubmitted 0/70"),
        (OcaType.REDUCE_WITHOUT_BLOCK, "PreSubmitted 0/70"),
    ],
)
def test_oca_types(kind, left):
    pit = Pit(*market((100, "100.02", 100)), step(START + SECOND, 110, "110.02", 110, size=30))
    pit.buy(100)
    pit.order("SELL", 100, OrderType.STOP, stop_price=90, oca_group="exit", oca_type=kind)
    pit.order("SELL", 100, OrderType.LIMIT, limit_price=110, oca_group="exit", oca_type=kind)
    pit.run(START + SECOND)
    stop = pit.exchange.order(1, 2)
    assert f"{stop.status.value} {stop.filled:f}/{stop.remaining:f}" == left
    assert pit.position() == 70


def test_an_oca_group_ends_with_the_fill_of_one():
    pit = Pit(*market((100, "100.02", 100), (110, "110.02", 110)))
    pit.buy(100)
    pit.order("SELL", 100, OrderType.STOP, stop_price=90, oca_group="exit")
    pit.order("SELL", 100, OrderType.LIMIT, limit_price=110, oca_group="exit")
    pit.order("SELL", 50, OrderType.LIMIT, limit_price=120, oca_group="other")
    pit.run(START + SECOND)
    assert [pit.status(number) for number in (2, 3, 4)] == ["Cancelled", "Filled", "Submitted"]
    assert pit.position() == 0


def test_a_parent_that_is_refused_takes_its_children_along():
    pit = Pit(*market((99, "99.50", 99)), cash=1_000)
    bracket(pit)
    assert pit.tape == [
        "1 Inactive 0/100",
        "1 error 201",
        "2 Inactive 0/100",
        "2 error 135",
        "3 Inactive 0/100",
        "3 error 135",
    ]
    assert pit.exchange.open_orders() == []


def test_children_of_a_parent_that_fills_at_once_go_to_work_at_once():
    pit = Pit(*market((99, "99.50", 99)))
    bracket(pit)
    assert [pit.status(number) for number in (1, 2, 3)] == ["Filled", "PreSubmitted", "Submitted"]
    assert pit.exchange.order(1, 2).why_held == "trigger"
