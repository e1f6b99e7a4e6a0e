"""Modify and cancel."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import OrderChange
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerStatus, OrderEffect, OrderEventKind
from moondev_ibkr.brokers.errors import (
    CancelRejected,
    DeadlineExceeded,
    InvalidOrder,
    JournalError,
    ModifyRejected,
    NotConnected,
    NotOwned,
    OutcomeUnknown,
    RiskRefusal,
    TradingHalted,
)
from moondev_ibkr.brokers.orders import OrderSettings

S, K = OrderState, OrderEventKind


async def test_a_modify_is_checked_journalled_sent_and_confirmed_by_its_echo(bench):
    order = await bench.buy(10)
    changed = await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12), limit_price=Decimal(99)))
    assert (changed.intent.quantity, changed.intent.limit_price) == (12, 99)
    assert bench.gate.seen[-1][1].key == order.key
    assert bench.broker.modified[0].order_id == order.order_id
    assert len(bench.events(K.MODIFIED)) == 1
    await bench.settle()
    assert bench.journal.load_order(order.key).intent == changed.intent


async def test_a_modify_survives_a_restart_and_the_request_stays_what_was_asked(disk_bench):
    order = await disk_bench.buy(10, key="k1")
    await disk_bench.manager.modify("k1", OrderChange(quantity=Decimal(12)))
    await disk_bench.settle()
    await disk_bench.restart()
    assert disk_bench.manager.order("k1").intent.quantity == 12
    assert (await disk_bench.buy(10, key="k1")).order_id == order.order_id
    assert disk_bench.alarms() == []


async def test_o04_a_refused_modify_leaves_the_order_as_it_was(bench):
    order = await bench.buy(10)
    bench.broker.modify_answer = "refused"
    with pytest.raises(ModifyRejected) as caught:
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))
    assert caught.value.code == 201
    assert bench.manager.order(order.key) == order
    assert bench.events(K.MODIFY_REJECTED)[0].code == 201


async def test_a_modify_refused_by_risk_is_not_sent(bench):
    order = await bench.buy(10)
    bench.gate.refusal = RiskRefusal("buy", "too much", rule="max_value", value=2, limit=1)
    with pytest.raises(RiskRefusal):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))
    assert bench.broker.modified == []


async def test_o16_no_modify_on_an_unhealthy_link(bench):
    order = await bench.buy(10)
    bench.broker.is_healthy = False
    with pytest.raises(NotConnected):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))
    assert bench.manager.order(order.key).intent.quantity == 10
    bench.broker.is_healthy = True


async def test_q12_no_modify_while_halted(bench):
    order = await bench.buy(10)
    bench.manager.halt("panic")
    with pytest.raises(TradingHalted):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))


async def test_a_modify_that_changes_nothing_sends_nothing(bench):
    order = await bench.buy(10)
    assert await bench.manager.modify(order.key, OrderChange(quantity=Decimal(10))) == order
    assert bench.broker.modified == []


async def test_a_modify_below_what_is_filled_is_refused(bench):
    order = await bench.buy(10)
    bench.broker.fill(order.key, 5)
    with pytest.raises(InvalidOrder, match="5 of it are filled"):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(5)))


async def test_o21_an_ended_order_cannot_be_modified(bench):
    order = await bench.buy(10)
    bench.broker.fill(order.key, 10)
    with pytest.raises(ModifyRejected, match="FILLED"):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))


async def test_an_unanswered_modify_is_in_doubt_until_the_next_echo(make_bench):
    bench = make_bench(settings=OrderSettings(account="DU000001", ack_deadline=0.05))
    await bench.manager.start()
    order = await bench.buy(10)
    bench.broker.modify_answer = "applied-silently"
    with pytest.raises(OutcomeUnknown):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))
    with pytest.raises(ModifyRejected, match="under way"):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(13)))
    await bench.manager.reconcile()
    assert bench.manager.order(order.key).intent.quantity == 12
    assert len(bench.broker.modified) == 1
    await bench.stop()


@pytest.mark.parametrize(("answer", "quantity"), [("applied-silently", 12), ("lost", 10)])
async def test_a_modify_cut_off_by_the_link_is_settled_by_what_the_broker_shows(bench, answer, quantity):
    order = await bench.buy(10)
    bench.broker.modify_answer = answer
    modifying = asyncio.ensure_future(bench.manager.modify(order.key, OrderChange(quantity=Decimal(12))))
    await bench.settle()
    await bench.lose_link()
    with pytest.raises(OutcomeUnknown):
        await modifying
    await bench.restore_link()
    assert bench.manager.order(order.key).intent.quantity == quantity
    bench.broker.modify_answer = "echo"
    assert (await bench.manager.modify(order.key, OrderChange(quantity=Decimal(15)))).intent.quantity == 15


async def test_a_change_made_in_tws_is_taken_over_and_alarms(bench):
    from dataclasses import replace

    order = await bench.buy(10)
    held = bench.broker.held(order.key)
    held.wire = replace(held.wire, intent=replace(held.wire.intent, quantity=Decimal(20)))
    bench.broker.tell(held)
    assert bench.manager.order(order.key).intent.quantity == 20
    assert len(bench.alarms()) == 1


# Cancel


async def test_a_cancel_is_sent_and_answered_with_the_end(bench):
    order = await bench.buy(10)
    assert (await bench.manager.cancel(order.key)).state is S.CANCELLED
    assert bench.broker.cancelled == [(order.order_id, order.perm_id, 7)]


async def test_cancelling_twice_answers_the_same(bench):
    order = await bench.buy(10)
    await bench.manager.cancel(order.key)
    assert (await bench.manager.cancel(order.key)).state is S.CANCELLED
    assert len(bench.broker.cancelled) == 1


async def test_q10_a_cancel_passes_the_kill_switch_and_the_gate(bench):
    order = await bench.buy(10)
    bench.manager.halt("panic")
    bench.gate.refusal = RiskRefusal("x", "y", rule="r", value=1, limit=1)
    assert (await bench.manager.cancel(order.key)).state is S.CANCELLED


async def test_q10_a_cancel_passes_a_failing_journal(bench, monkeypatch):
    order = await bench.buy(10)
    await bench.settle()

    def full(observed):
        raise JournalError("writing", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.journal, "write", full)
        assert (await bench.manager.cancel(order.key)).state is S.CANCELLED
        await bench.settle()
    assert bench.manager.alarms >= 1


async def test_q10_a_cancel_passes_a_failing_database(disk_bench):
    order = await disk_bench.buy(10)
    await disk_bench.settle()
    disk_bench.journal.close()
    assert (await disk_bench.manager.cancel(order.key)).state is S.CANCELLED
    disk_bench.manager.halt("the journal is gone")
    await disk_bench.restart()
    assert disk_bench.manager.order(order.key).state is S.CANCELLED


async def test_q10_an_unknown_order_is_cancelled_too(bench):
    bench.broker.on_place = "silent"
    placing = asyncio.ensure_future(bench.buy(10, key="k1"))
    await bench.settle()
    bench.broker.failing = {"open_orders"}
    await bench.advance(3.0)
    assert (await placing).state is S.UNKNOWN
    assert (await bench.manager.cancel("k1")).state is S.CANCELLED
    bench.broker.failing = set()


async def test_a_cancel_while_the_link_is_down_is_kept_and_sent_when_it_is_back(bench):
    order = await bench.buy(10)
    await bench.lose_link()
    assert (await bench.manager.cancel(order.key)).state is S.WORKING
    await bench.restore_link()
    await bench.settle()
    assert bench.manager.order(order.key).state is S.CANCELLED


async def test_a_cancel_whose_answer_was_lost_is_sent_again_after_the_gap(bench):
    order = await bench.buy(10)
    bench.broker.cancel_answer = "none"
    await bench.manager.cancel(order.key)
    await bench.lose_link()
    bench.broker.cancel_answer = "cancel"
    await bench.restore_link()
    await bench.settle()
    assert bench.manager.order(order.key).state is S.CANCELLED


async def test_o05_a_refused_cancel_of_a_filled_order_answers_with_the_fill(bench):
    order = await bench.buy(10)
    bench.broker.execute(order.key, 10)
    assert (await bench.manager.cancel(order.key)).state is S.FILLED
    assert bench.position() == 10
    fill = bench.events(K.FILL)[0].fill
    assert fill.recovered


async def test_o05_a_refused_cancel_of_a_live_order_leaves_it_live(bench):
    order = await bench.buy(10)
    bench.broker.cancel_answer = "none"
    cancelling = asyncio.ensure_future(bench.manager.cancel(order.key))
    await bench.settle()
    bench.broker.error(order.order_id, 161, OrderEffect.CANCEL_REJECTED, "not in a cancellable state")
    with pytest.raises(CancelRejected, match="161"):
        await cancelling
    assert bench.manager.order(order.key).state is S.WORKING
    await bench.settle()
    assert len(bench.broker.cancelled) == 1


async def test_o31_a_cancel_answered_at_the_open_is_pending_meanwhile(bench):
    order = await bench.buy(10)
    bench.broker.cancel_answer = "none"
    assert (await bench.manager.cancel(order.key)).state is S.PENDING_CANCEL
    bench.broker.end(bench.broker.held(order.key))
    assert bench.manager.order(order.key).state is S.CANCELLED


async def test_cancel_all_takes_what_is_ours(bench, aapl):
    from moondev_ibkr.brokers.domain.instrument import Instrument

    a = await bench.buy(10)
    b = await bench.buy(10, instrument=Instrument("MSFT"))
    foreign = bench.broker.foreign("AAPL")
    bench.broker.tell(foreign)
    done = await bench.manager.cancel_all(aapl)
    assert [order.key for order in done] == [a.key]
    done = await bench.manager.cancel_all()
    assert [order.key for order in done] == [b.key]
    assert foreign.status is BrokerStatus.SUBMITTED


async def test_cancel_everything_takes_foreign_orders_too(bench):
    await bench.buy(10)
    foreign = bench.broker.foreign("AAPL")
    bench.broker.tell(foreign)
    await bench.manager.cancel_all(everything=True)
    assert bench.broker.global_cancels == 1
    assert foreign.status is BrokerStatus.CANCELLED
    assert bench.manager.open_orders() == []


async def test_q12_cancel_and_verify_proves_that_nothing_works(bench):
    keys = {(await bench.buy(10)).key, (await bench.buy(11)).key}
    outcome = await bench.manager.cancel_and_verify()
    assert set(outcome.cancelled) == keys
    assert outcome.still_working == ()


async def test_q12_what_cannot_be_verified_counts_as_working(bench):
    order = await bench.buy(10)
    bench.broker.failing = {"open_orders"}
    outcome = await bench.manager.cancel_and_verify()
    assert outcome.still_working == (order.key,)
    bench.broker.failing = set()


async def test_q12_what_does_not_end_is_named(bench):
    order = await bench.buy(10)
    bench.broker.cancel_answer = "none"
    outcome = await bench.manager.cancel_and_verify()
    assert outcome.still_working == (order.key,)


async def test_b7b_a_foreign_order_is_neither_cancelled_nor_changed(bench):
    bench.broker.tell(bench.broker.foreign("AAPL"))
    foreign = bench.manager.open_orders()[0]
    assert foreign.foreign
    with pytest.raises(NotOwned):
        await bench.manager.cancel(foreign.key)
    with pytest.raises(NotOwned):
        await bench.manager.modify(foreign.key, OrderChange(quantity=Decimal(1)))
    assert bench.broker.cancelled == []


async def test_wait_answers_with_the_end_or_raises(bench):
    order = await bench.buy(10)
    with pytest.raises(DeadlineExceeded, match="WORKING"):
        await bench.manager.wait(order.key, 0.01)
    waiting = asyncio.ensure_future(bench.manager.wait(order.key, 5))
    await bench.settle()
    bench.broker.fill(order.key, 10)
    assert (await waiting).state is S.FILLED
    assert (await bench.manager.wait(order.key, 0)).state is S.FILLED


async def test_a_cancel_on_a_link_that_ended_before_it_was_ready_is_sent_again(bench):
    """Found by the simulation: nobody tells of the end of such a link, and the order stayed PENDING_CANCEL."""
    order = await bench.buy(10, key="k1")
    await bench.lose_link()
    bench.broker.is_healthy = True
    bench.broker.cancel_answer = "silent"
    assert (await bench.manager.cancel(order.key)).state is OrderState.PENDING_CANCEL
    bench.broker.cancel_answer = "cancel"
    await bench.restore_link()
    assert bench.manager.order("k1").state is OrderState.CANCELLED
    assert len(bench.broker.cancelled) == 2


async def test_q12_cancels_are_verified_at_a_door_that_answers_slowly_by_its_own_limits(bench, monkeypatch):
    order = await bench.buy(10)
    told = bench.broker.open_orders

    async def after_a_while():
        await asyncio.sleep(bench.settings.cancel_deadline * 1.5)
        return await told()

    monkeypatch.setattr(bench.broker, "open_orders", after_a_while)
    assert (await bench.manager.cancel_and_verify()).still_working == (order.key,)
    bench.broker.reading_time = 5.0
    outcome = await bench.manager.cancel_and_verify()
    assert outcome.still_working == ()


async def test_a_change_that_was_confirmed_before_its_write_returned_does_not_wait_for_the_next_one(bench):
    """Found by the simulation: the portal's frame beat its answer, and the next change took the first one's place."""
    order = await bench.buy(10, key="k1", limit="100")
    writes = []

    async def slowly(wire):
        held = bench.broker.orders[wire.order_id]
        held.wire = wire
        bench.broker.tell(held)
        waits = asyncio.get_running_loop().create_future()
        writes.append(waits)
        await waits

    bench.broker.modify = slowly
    first = asyncio.create_task(bench.manager.modify(order.key, OrderChange(limit_price=Decimal(101))))
    await bench.settle()
    second = asyncio.create_task(bench.manager.modify(order.key, OrderChange(limit_price=Decimal(102))))
    await bench.settle()
    writes[1].set_result(None)
    assert (await second).intent.limit_price == 102
    writes[0].set_result(None)
    with pytest.raises(ModifyRejected):
        await first
    assert bench.manager.order("k1").intent.limit_price == 102


async def test_an_order_under_a_change_to_more_is_not_over_when_it_filled_as_it_was(bench):
    """Found by the simulation: the change had taken, its echo was lost, and one share worked on unwatched."""
    order = await bench.buy(10, key="k1", limit="100")
    bench.broker.modify_answer = "applied-silently"
    change = asyncio.create_task(bench.manager.modify(order.key, OrderChange(quantity=Decimal(11))))
    await bench.settle()
    bench.broker.fill("k1", 10)
    await bench.settle()
    assert bench.manager.order("k1").state is OrderState.WORKING
    bench.broker.tell(bench.broker.held("k1"))
    assert (await change).intent.quantity == 11
    bench.broker.fill("k1", 1)
    assert bench.manager.order("k1").state is OrderState.FILLED


async def test_an_order_that_filled_before_its_change_arrived_is_over(bench):
    order = await bench.buy(10, key="k1", limit="100")
    bench.broker.modify_answer = "lost"
    change = asyncio.create_task(bench.manager.modify(order.key, OrderChange(quantity=Decimal(11))))
    await bench.settle()
    bench.broker.fill("k1", 10)
    await bench.settle()
    assert bench.manager.order("k1").state is OrderState.FILLED
    with pytest.raises(ModifyRejected):
        await change
