"""Two processes on one journal: each changes what it placed, as an order id means nothing to another client."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerStatus
from moondev_ibkr.brokers.errors import ModifyRejected


@pytest.fixture
async def pair(make_bench, fake):
    """A process as client 7, another as client 8; both see one broker's books."""
    first = make_bench()
    second = make_bench(broker=fake(8))
    for name in ("orders", "executions_"):
        setattr(second.broker, name, getattr(first.broker, name))
    await first.start()
    await second.start()
    yield first, second
    await second.stop()
    await first.stop()


async def bracket_of(bench, filled=0):
    await bench.manager.place(Bracket(bench.order(100, key="b1"), Decimal(95)))
    if filled:
        bench.broker.fill("b1", filled)
    await bench.settle()


async def test_a_living_process_resizes_its_own_exits_and_nobody_else_does(pair):
    first, second = pair
    lease = first.journal.lease_client_id(7)
    await bracket_of(first, filled=40)
    await second.manager.reconcile()
    await second.advance(10)
    await second.settle()
    assert second.broker.modified == []
    assert second.broker.placed == []
    await first.advance(0.5)
    assert [wire.intent.quantity for wire in first.broker.modified] == [40]
    lease.release()


async def test_what_a_dead_process_left_is_not_changed_under_its_order_id_either(pair):
    first, second = pair
    await bracket_of(first, filled=40)
    await second.manager.reconcile()
    await second.advance(10)
    await second.settle()
    assert second.broker.modified == []
    assert second.broker.cancelled == []


async def test_q17_a_dead_process_s_position_gets_its_stop_from_the_living_one(pair):
    first, second = pair
    await bracket_of(first, filled=40)
    for key in ("b1", "b1-1"):
        first.broker.held(key).status = BrokerStatus.CANCELLED
    first.die()
    await second.manager.reconcile()
    await second.advance(10)
    assert [(wire.intent.key, wire.intent.quantity) for wire in second.broker.placed] == [("b1-3", 40)]
    assert second.broker.modified == []


async def test_a_change_by_another_client_is_refused_with_the_reason(pair):
    first, second = pair
    await first.buy(10, key="k1")
    await first.settle()
    await second.manager.reconcile()
    with pytest.raises(ModifyRejected, match="client 7 of this journal placed it"):
        await second.manager.modify("k1", OrderChange(limit_price=Decimal(101)))
    assert second.broker.modified == []
    moved = await first.manager.modify("k1", OrderChange(limit_price=Decimal(101)))
    assert moved.intent == replace(moved.intent, limit_price=Decimal(101))


async def test_looking_one_order_up_does_not_hide_what_was_written_before_it(pair):
    """Found by the simulation: of a bracket whose target was heard of first, the stop stayed unknown."""
    first, second = pair
    await first.manager.place(Bracket(first.order(100, key="b1"), Decimal(95), Decimal(120)))
    await first.settle()
    assert second.manager._restorer.load("b1-2") is not None
    # its door does not show them: the journal alone tells
    second.broker.orders = {}
    await second.manager.reconcile()
    assert {order.key for order in second.manager.orders()} >= {"b1", "b1-1", "b1-2"}


async def test_an_order_that_its_process_made_larger_is_not_over_for_the_other_one(pair):
    """Found by the simulation: what the second process remembered of it was the quantity before."""
    first, second = pair
    await first.buy(10, key="k1")
    await first.settle()
    await second.manager.reconcile()
    await first.manager.modify("k1", OrderChange(quantity=Decimal(11)))
    await first.settle()
    first.broker.execute("k1", 10)
    await second.manager._reconciler.run()
    await second.settle()
    assert second.manager.order("k1").intent.quantity == 11
    assert second.manager.order("k1").state is OrderState.WORKING
