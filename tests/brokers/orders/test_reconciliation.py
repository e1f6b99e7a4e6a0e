"""UNKNOWN orders, gaps, restarts: evidence decides, and failed queries change nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerStatus, OrderEffect, OrderEventKind
from moondev_ibkr.brokers.errors import BrokerError, NotConnected, RequestFailed, RiskRefusal
from moondev_ibkr.brokers.orders import OrderSettings

S, K = OrderState, OrderEventKind
QUERIES = ["open_orders", "completed_orders", "executions", "positions"]


async def place_unanswered(bench, mode="silent", key="k1"):
    """An order that got no answer within the deadline, while the broker cannot be asked."""
    bench.broker.on_place = mode
    bench.broker.failing = {"open_orders"}
    placing = asyncio.ensure_future(bench.buy(10, key=key))
    await bench.settle()
    await bench.advance(3.0)
    order = await placing
    bench.broker.on_place = "answer"
    bench.broker.failing = set()
    return order


async def test_o01_o02_no_answer_within_3_s_is_unknown_and_alarms(bench):
    bench.broker.on_place = "lost"
    placing = asyncio.ensure_future(bench.buy(10, key="k1"))
    await bench.settle()
    await bench.advance(2.9)
    assert not placing.done()
    await bench.advance(0.1)
    order = await placing
    assert order.state is S.UNKNOWN
    assert "no answer" in order.reason
    assert any("UNKNOWN" in text for text in bench.alarms())


async def test_q3_an_unknown_order_is_never_sent_again(bench):
    await place_unanswered(bench, "lost")
    for _ in range(3):
        await bench.manager.reconcile()
        await bench.advance(40)
    assert len(bench.broker.placed) == 1


async def test_q3_new_exposure_is_blocked_and_reductions_pass(bench, aapl):
    await bench.hold(20)
    await place_unanswered(bench, "lost", key="doubt")
    assert "doubt" in bench.manager.blocked(aapl)
    with pytest.raises(RiskRefusal) as caught:
        await bench.buy(1)
    assert caught.value.rule == "in_doubt"
    with pytest.raises(RiskRefusal) as caught:
        await bench.sell(21)
    assert caught.value.largest == 20
    assert (await bench.sell(20)).state is S.WORKING
    from moondev_ibkr.brokers.domain.instrument import Instrument

    assert (await bench.buy(1, instrument=Instrument("MSFT"))).state is S.WORKING


async def test_an_unknown_sell_counts_against_what_may_be_sold(bench):
    await bench.hold(20)
    bench.broker.on_place = "lost"
    bench.broker.failing = {"open_orders"}
    placing = asyncio.ensure_future(bench.sell(15, key="doubt"))
    await bench.settle()
    await bench.advance(3.0)
    await placing
    with pytest.raises(RiskRefusal) as caught:
        await bench.sell(6)
    assert caught.value.largest == 5


@pytest.mark.parametrize("evidence", ["open", "filled", "cancelled", "late echo", "late status", "late fill"])
async def test_q4_unknown_ends_by_positive_evidence(bench, evidence):
    await place_unanswered(bench)
    held = bench.broker.held("k1")
    if evidence == "filled":
        bench.broker.execute("k1", 10)
    if evidence == "cancelled":
        held.status = BrokerStatus.CANCELLED
    if evidence == "late echo":
        bench.broker.tell(held)
    elif evidence == "late status":
        bench.manager.on_status(bench.broker.status(held))
        bench.manager.on_broker_order(held.told())
    elif evidence == "late fill":
        bench.broker.fill("k1", 10)
    else:
        await bench.manager.reconcile()
    expected = {"filled": S.FILLED, "late fill": S.FILLED, "cancelled": S.CANCELLED}.get(evidence, S.WORKING)
    assert bench.manager.order("k1").state is expected
    assert bench.manager.blocked(bench.manager.order("k1").instrument) is None


async def test_q4_absence_on_the_same_link_proves_nothing(bench):
    await place_unanswered(bench, "lost")
    for _ in range(4):
        await bench.manager.reconcile()
        await bench.advance(100)
    assert bench.manager.order("k1").state is S.UNKNOWN


async def test_q4_two_clean_readings_on_a_later_link_quiet_time_apart_prove_absence(bench):
    await place_unanswered(bench, "lost")
    await bench.lose_link()
    await bench.restore_link()
    assert bench.manager.order("k1").state is S.UNKNOWN
    await bench.advance(29)
    await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.UNKNOWN
    await bench.advance(1)
    await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.NOT_SENT
    assert (await bench.buy(10)).state is S.WORKING


async def test_q4_absence_is_not_proven_while_the_position_shows_a_trade_that_nothing_explains(bench):
    """Found by the simulation: filled at a door that the readings do not show, it was declared NOT_SENT."""
    await place_unanswered(bench, "lost")
    bench.broker.foreign_position["AAPL"] = Decimal(10)
    await bench.lose_link()
    await bench.restore_link()
    for _ in range(3):
        await bench.advance(31)
        await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.UNKNOWN
    del bench.broker.foreign_position["AAPL"]
    await bench.advance(31)
    await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.NOT_SENT


async def test_q4_a_foreign_position_that_is_gone_does_not_keep_an_order_in_doubt(bench):
    """Found by the simulation: the doubt kept the difference from being settled, and the difference kept the doubt."""
    bench.broker.foreign_position["AAPL"] = Decimal(5)
    await bench.manager.reconcile()
    await place_unanswered(bench, "lost")
    del bench.broker.foreign_position["AAPL"]
    await bench.lose_link()
    await bench.restore_link()
    await bench.advance(31)
    await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.NOT_SENT


async def test_q4_a_strangers_trade_of_before_the_start_is_no_trace_of_an_order(make_bench):
    """Found by killing processes: its position counted only after a second comparison, and a crash came before."""
    bench = make_bench()
    bench.broker.foreign("AAPL", 10).key = "stranger"
    bench.broker.execute("stranger", 10, order_key=None, order_id=0, client_id=0)
    bench.clock.advance(60)
    await bench.start()
    await place_unanswered(bench, "lost")
    await bench.restart()
    await bench.advance(31)
    await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.NOT_SENT
    await bench.stop()


async def test_q4_a_failed_reading_does_not_count_as_clean(bench):
    await place_unanswered(bench, "lost")
    await bench.lose_link()
    await bench.restore_link()
    await bench.advance(30)
    bench.broker.failing = {"completed_orders"}
    with pytest.raises(RequestFailed):
        await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.UNKNOWN
    bench.broker.failing = set()


async def test_q4_delayed_truth_an_order_that_appears_20_s_late_is_found(bench):
    wire = []
    bench.broker.before_place = wire.append
    await place_unanswered(bench, "lost")
    await bench.lose_link()
    await bench.restore_link()
    await bench.advance(20)
    held = bench.broker.accept(wire[0])
    await bench.advance(10)
    await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.WORKING
    assert bench.manager.order("k1").perm_id == held.perm_id


async def test_an_order_thought_absent_that_turns_up_alarms_and_can_be_cancelled(bench, aapl):
    wire = []
    bench.broker.before_place = wire.append
    await place_unanswered(bench, "lost")
    await bench.lose_link()
    await bench.restore_link()
    await bench.advance(30)
    await bench.manager.reconcile()
    assert bench.manager.order("k1").state is S.NOT_SENT
    held = bench.broker.accept(wire[0])
    bench.broker.tell(held)
    assert any("NOT_SENT and the broker shows it" in text for text in bench.alarms())
    assert bench.manager.blocked(aapl)
    assert [order.key for order in bench.manager.open_orders()] == ["k1"]
    await bench.manager.cancel("k1")
    await bench.settle()
    assert held.status is BrokerStatus.CANCELLED
    assert bench.manager.open_orders() == []


@pytest.mark.parametrize("mode", ["unknown", "unknown-lost"])
async def test_q3_a_write_that_breaks_is_unknown_at_once(bench, mode):
    bench.broker.on_place = mode
    bench.broker.failing = {"open_orders"}
    order = await bench.buy(10, key="k1")
    assert order.state is S.UNKNOWN
    assert len(bench.broker.placed) == 1
    bench.broker.failing = set()


async def test_q3_an_order_in_flight_when_the_link_ends_is_unknown_at_once(bench):
    bench.broker.on_place = "silent"
    placing = asyncio.ensure_future(bench.buy(10, key="k1"))
    await bench.settle()
    await bench.lose_link()
    assert (await placing).state is S.UNKNOWN
    await bench.restore_link()
    assert bench.manager.order("k1").state is S.WORKING
    assert [event.recovered for event in bench.events(K.STATE)][-1] is True


# Gaps


async def test_q6_c01_o14_what_was_missed_is_told_once_and_flagged(bench):
    filled, cancelled = await bench.buy(10), await bench.buy(11)
    await bench.lose_link()
    bench.broker.execute(filled.key, 10)
    bench.broker.held(cancelled.key).status = BrokerStatus.CANCELLED
    bench.events()
    await bench.restore_link()
    events = bench.events()
    assert [event.fill.recovered for event in events if event.kind is K.FILL] == [True]
    states = {event.order.key: event for event in events if event.kind is K.STATE}
    assert states[filled.key].order.state is S.FILLED
    assert states[cancelled.key].order.state is S.CANCELLED
    assert all(event.recovered for event in events)
    await bench.manager.reconcile()
    assert bench.events() == []


async def test_q6_live_events_after_the_gap_are_not_flagged(bench):
    order = await bench.buy(10)
    await bench.lose_link()
    await bench.restore_link()
    bench.events()
    bench.broker.fill(order.key, 10)
    assert {event.recovered for event in bench.events()} == {False}


async def test_c01_messages_inside_the_gap_still_count(bench):
    order = await bench.buy(10)
    bench.manager.on_link_lost("1100")
    bench.broker.fill(order.key, 10)
    assert bench.manager.order(order.key).state is S.FILLED
    await bench.restore_link()
    assert len(bench.events(K.FILL)) == 1


@pytest.mark.parametrize("query", QUERIES)
async def test_q13_o39_a_failed_query_changes_nothing(bench, query):
    order = await bench.hold(10)
    working = await bench.buy(5)
    bench.events()
    bench.broker.failing = {query}
    bench.broker.orders.clear()
    with pytest.raises(RequestFailed):
        await bench.manager.reconcile()
    assert bench.position() == 10
    assert bench.manager.order(working.key) == working
    assert bench.manager.order(order.key).state is S.FILLED
    assert bench.events() == []
    bench.broker.failing = set()


@pytest.mark.parametrize("query", QUERIES)
async def test_c09_nothing_new_is_sent_before_the_gap_has_been_read(make_bench, query):
    bench = make_bench(settings=OrderSettings(account="DU000001", sync_deadline=0.05, retry_delay=0.2))
    await bench.manager.start()
    await bench.lose_link()
    bench.broker.failing = {query}
    await bench.restore_link()
    with pytest.raises(NotConnected, match="gap"):
        await bench.buy(10)
    assert bench.broker.placed == []
    bench.broker.failing = set()
    await asyncio.sleep(0.25)
    assert (await bench.buy(10)).state is S.WORKING
    await bench.stop()


async def test_an_order_waits_for_the_reading_under_way(bench):
    await bench.lose_link()
    bench.broker.is_healthy = True
    bench.manager.on_link_restored("1102")
    assert (await bench.buy(10)).state is S.WORKING


async def test_an_order_waits_for_a_reading_that_the_doors_own_limits_slow_down(make_bench, monkeypatch):
    bench = make_bench(settings=OrderSettings(account="DU000001", sync_deadline=0.05))
    await bench.start()
    told = bench.broker.open_orders

    async def after_a_while():
        await asyncio.sleep(0.15)
        return await told()

    monkeypatch.setattr(bench.broker, "open_orders", after_a_while)
    await bench.lose_link()
    await bench.restore_link()
    with pytest.raises(NotConnected, match="not been compared"):
        await bench.buy(10)
    bench.broker.reading_time = 5.0
    assert (await bench.buy(10)).state is S.WORKING
    await bench.stop()


async def test_start_raises_when_the_broker_cannot_be_asked(make_bench):
    bench = make_bench()
    bench.broker.failing = {"executions"}
    with pytest.raises(RequestFailed):
        await bench.manager.start()
    await bench.stop()


async def test_a_live_order_that_vanishes_is_unknown_and_alarms(bench):
    order = await bench.buy(10)
    bench.broker.orders.clear()
    bench.clock.advance(1)
    await bench.manager.reconcile()
    assert bench.manager.order(order.key).state is S.UNKNOWN
    assert any("gone from the broker's books" in text for text in bench.alarms())


async def test_a_vanished_order_without_a_trace_ends_cancelled_after_quiet_time(disk_bench):
    order = await disk_bench.buy(10)
    await disk_bench.settle()
    disk_bench.broker.orders.clear()
    await disk_bench.restart()
    assert disk_bench.manager.order(order.key).state is S.UNKNOWN
    await disk_bench.advance(30)
    await disk_bench.manager.reconcile()
    assert disk_bench.manager.order(order.key).state is S.CANCELLED
    assert disk_bench.manager.order(order.key).filled == 0


async def test_a_vanished_order_whose_position_moved_waits_for_a_person(disk_bench, aapl):
    """A stop that filled over a long weekend: IB tells no execution of it any more."""
    await disk_bench.hold(10)
    stop = await disk_bench.sell(10)
    await disk_bench.settle()
    disk_bench.broker.orders.clear()
    disk_bench.broker.foreign_position["AAPL"] = Decimal(-10)
    await disk_bench.restart()
    await disk_bench.advance(30)
    differences = await disk_bench.manager.reconcile()
    assert [(row.tracked, row.broker) for row in differences] == [(10, 0)]
    assert disk_bench.manager.order(stop.key).state is S.UNKNOWN
    await disk_bench.manager.adopt(aapl)
    assert disk_bench.manager.order(stop.key).state is S.CANCELLED
    assert disk_bench.position() == 0
    assert disk_bench.manager.blocked(aapl) is None
    assert disk_bench.journal.verify() is None


# Forks, foreign orders, positions


async def test_q8_o16_two_permids_alarm_and_both_can_be_cancelled(bench, aapl):
    order = await bench.buy(10)
    first = bench.broker.held(order.key)
    second = replace(first, perm_id=4242)
    bench.broker.orders[9999] = second
    bench.broker.tell(second)
    assert any("several permIds" in text for text in bench.alarms())
    assert bench.manager.blocked(aapl)
    bench.broker.cancel_answer = "none"
    await bench.manager.cancel(order.key)
    assert {perm for _, perm, _ in bench.broker.cancelled} == {first.perm_id, 4242}
    first.status = BrokerStatus.CANCELLED
    bench.manager.on_status(bench.broker.status(first))
    assert bench.manager.order(order.key).state is S.PENDING_CANCEL
    fill = replace(bench.broker.execute(order.key, 10), perm_id=4242)
    bench.manager.on_execution(fill)
    assert bench.manager.order(order.key).state is S.FILLED
    assert bench.manager.open_orders() == []


async def test_q8_a_forked_order_that_filled_once_is_still_watched(bench):
    order = await bench.buy(10)
    second = replace(bench.broker.held(order.key), perm_id=4242)
    bench.broker.orders[9999] = second
    bench.broker.tell(second)
    bench.broker.fill(order.key, 10)
    assert [o.key for o in bench.manager.open_orders()] == [order.key]
    await bench.manager.cancel(order.key)
    assert bench.broker.cancelled[-1][1] == 4242


async def test_o17_b7b_a_manual_order_is_seen_and_foreign(bench):
    held = bench.broker.foreign("AAPL", 5)
    bench.broker.tell(held)
    order = bench.manager.open_orders()[0]
    assert (order.foreign, order.intent.quantity, order.key) == (True, 5, f"foreign-{held.perm_id}")
    assert bench.manager.working_sells("DU000001", order.instrument) == 0
    held.status = BrokerStatus.CANCELLED
    bench.manager.on_status(bench.broker.status(held))
    assert bench.manager.open_orders() == []


async def test_o41_foreign_orders_keep_their_name_over_restarts(disk_bench):
    disk_bench.broker.foreign("AAPL", 5)
    await disk_bench.manager.reconcile()
    before = [order.key for order in disk_bench.manager.orders()]
    await disk_bench.restart()
    assert [order.key for order in disk_bench.manager.orders()] == before


async def test_an_order_type_that_we_do_not_know_is_shown_with_a_remark(bench):
    held = bench.broker.foreign("AAPL", 5)
    bench.manager.on_broker_order(held.told(type=None, type_text="REL", limit_price=None))
    assert "REL" in bench.manager.open_orders()[0].intent.reason


async def test_a_foreign_order_gone_from_the_open_orders_is_forgotten(bench):
    held = bench.broker.foreign("AAPL", 5)
    await bench.manager.reconcile()
    assert len(bench.manager.open_orders()) == 1
    del bench.broker.orders[-held.perm_id]
    await bench.manager.reconcile()
    assert bench.manager.orders() == []


async def test_adopt_makes_orders_and_position_ours(disk_bench, aapl):
    disk_bench.broker.foreign_position["AAPL"] = Decimal(50)
    disk_bench.broker.foreign("AAPL", 5)
    await disk_bench.manager.reconcile()
    assert disk_bench.position() == 0
    adopted = await disk_bench.manager.adopt(aapl)
    assert [order.foreign for order in adopted] == [False]
    assert disk_bench.position() == 50
    await disk_bench.restart()
    assert disk_bench.position() == 50
    assert disk_bench.manager.order(adopted[0].key).foreign is False
    assert disk_bench.manager.working_sells("DU000001", aapl) == 5
    await disk_bench.manager.cancel(adopted[0].key)
    assert disk_bench.broker.cancelled
    assert disk_bench.journal.verify() is None


async def test_the_first_look_at_foreign_positions_is_silent_and_later_moves_are_told(bench):
    bench.broker.foreign_position = {"AAPL": Decimal(50)}
    assert await bench.manager.reconcile() == []
    assert bench.events(K.POSITION) == []
    bench.broker.foreign_position = {"AAPL": Decimal(30)}
    differences = await bench.manager.reconcile()
    assert [(row.tracked, row.broker, row.foreign) for row in differences] == [(0, 30, 50)]
    assert [event.position.quantity for event in bench.events(K.POSITION)] == [30]
    assert await bench.manager.reconcile() == []


async def test_o40_an_owned_position_that_moves_without_an_order_is_told_and_not_oversold(bench):
    await bench.hold(100)
    bench.broker.foreign_position = {"AAPL": Decimal(-40)}
    await bench.advance(5)
    differences = await bench.manager.reconcile()
    assert [(row.tracked, row.broker) for row in differences] == [(100, 60)]
    assert bench.position() == 60
    bench.broker.foreign_position = {"AAPL": Decimal(-150)}
    await bench.manager.reconcile()
    assert bench.position() == 0


async def test_position_differences_changes_nothing(bench):
    from moondev_ibkr.brokers.domain.account import Position

    order = await bench.hold(100)
    told = [Position("DU000001", order.instrument, Decimal(70), Decimal(100))]
    for _ in range(2):
        rows = bench.manager.position_differences(told)
        assert [(row.tracked, row.broker, row.foreign) for row in rows] == [(100, 70, 0)]


async def test_working_sells_counts_an_oca_group_once(bench, aapl):
    await bench.hold(100)
    await bench.sell(100, limit="120", oca_group="g", reduce_only=True)
    await bench.sell(100, limit="130", oca_group="g", reduce_only=True)
    assert bench.manager.working_sells("DU000001", aapl) == 100
    await bench.sell(5)
    assert bench.manager.working_sells("DU000001", aapl) == 105


# Restarts


async def test_c11_q16_order_ids_only_rise_even_when_the_broker_goes_back(disk_bench):
    disk_bench.broker.next_order_id = 38103
    first = await disk_bench.buy()
    disk_bench.broker.next_order_id = 38099
    second = await disk_bench.buy()
    await disk_bench.restart()
    disk_bench.broker.next_order_id = 1
    third = await disk_bench.buy()
    assert [first.order_id, second.order_id, third.order_id] == [38103, 38104, 38105]


async def test_c25_orders_and_fills_are_there_after_a_restart(disk_bench):
    order = await disk_bench.buy(10)
    disk_bench.broker.fill(order.key, 4)
    await disk_bench.settle()
    before = disk_bench.manager.order(order.key)
    await disk_bench.restart()
    after = disk_bench.manager.order(order.key)
    assert (after.state, after.filled, after.average_price, after.commission) == (S.WORKING, 4, 100, 1)
    assert after.created_at == before.created_at
    assert disk_bench.alarms() == []


async def test_messages_sent_and_recent_orders_count_over_restarts(disk_bench):
    from datetime import timedelta

    since = disk_bench.clock.now() - timedelta(minutes=1)
    await disk_bench.buy(1)
    await disk_bench.restart()
    await disk_bench.buy(2)
    assert disk_bench.manager.messages_sent(since) == 2
    assert [order.intent.quantity for order in disk_bench.manager.recent_orders(since)] == [2, 1]
    later = disk_bench.clock.now() + timedelta(seconds=1)
    disk_bench.clock.advance(5)
    await disk_bench.buy(3)
    assert disk_bench.manager.messages_sent(later) == 1
    assert [order.intent.quantity for order in disk_bench.manager.recent_orders(later)] == [3]


class Crash(BaseException):
    """The process ends here."""


STEPS = [
    "before the intent's commit",
    "after the intent's commit",
    "before the first byte",
    "after the last byte",
    "before the answer is written",
]


def arm(bench, step):
    def crash(*_):
        raise Crash

    database = bench.journal.database
    commit = database._commit

    def commit_then_crash():
        commit()
        raise Crash

    if step == "before the intent's commit":
        database._commit = crash
    elif step == "after the intent's commit":
        database._commit = commit_then_crash
    elif step == "before the first byte":
        bench.broker.before_place = crash
    elif step == "after the last byte":
        bench.broker.after_place = crash
    else:
        bench.journal.write = crash


@pytest.mark.parametrize("fate", ["live", "filled", "cancelled"])
@pytest.mark.parametrize("step", STEPS)
async def test_q1_a_crash_at_any_step_leaves_at_most_one_order_and_the_restart_knows(disk_bench, step, fate):
    bench = disk_bench
    request = bench.order(10, key="k1")
    arm(bench, step)
    bench.broker.on_place = "silent" if step == "after the last byte" else "answer"
    if step == "before the answer is written":
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await place_until_crash(bench, request)
    else:
        with pytest.raises(Crash):
            await bench.manager.place(request)
    bench.broker.on_place = "answer"
    arrived = len(bench.broker.orders)
    assert arrived == (1 if step in STEPS[3:] else 0)
    if arrived and fate == "filled":
        bench.broker.execute("k1", 10)
    if arrived and fate == "cancelled":
        bench.broker.held("k1").status = BrokerStatus.CANCELLED
    await bench.restart()
    assert len(bench.broker.orders) == arrived
    if step == "before the intent's commit":
        assert bench.manager.orders() == []
        return
    if arrived:
        expected = {"live": S.WORKING, "filled": S.FILLED, "cancelled": S.CANCELLED}[fate]
        assert bench.manager.order("k1").state is expected
        assert bench.position() == (10 if fate == "filled" else 0)
    else:
        assert bench.manager.order("k1").state is S.UNKNOWN
        await bench.advance(30)
        await bench.manager.reconcile()
        assert bench.manager.order("k1").state is S.NOT_SENT
    again = await bench.manager.place(request)
    assert again.key == "k1"
    assert len(bench.broker.orders) == arrived
    assert bench.journal.verify() is None


async def place_until_crash(bench, request):
    """The journal's writer crashes in the loop's own callback, as the whole process would."""
    import contextlib

    placing = asyncio.ensure_future(bench.manager.place(request))
    with contextlib.suppress(Crash):
        await bench.settle()
    placing.cancel()


async def test_c07_the_same_client_id_comes_back_after_a_restart(disk_bench):
    lease = disk_bench.journal.lease_client_id(7)
    assert lease.client_id == 7
    assert disk_bench.journal.lease_client_id(7).client_id == 8
    lease.release()
    assert disk_bench.journal.lease_client_id(7).client_id == 7


async def test_an_order_of_another_living_process_is_left_to_it(make_bench, fake):
    one, two = make_bench(), make_bench(broker=fake(client_id=8))
    lease = one.journal.lease_client_id(7)
    await one.manager.start()
    one.broker.on_place = "silent"
    placing = asyncio.ensure_future(one.buy(10, key="k1"))
    await one.settle()
    await two.manager.start()
    assert two.manager.order("k1").state is S.SENT
    one.broker.tell(one.broker.held("k1"))
    await placing
    await one.settle()
    await two.manager.reconcile()
    assert two.manager.order("k1").state is S.WORKING
    lease.release()
    await one.stop()
    await two.stop()


async def test_events_go_to_every_stream_in_order_and_none_is_dropped(bench):
    other = bench.manager.events()
    order = await bench.buy(10)
    for _ in range(5):
        bench.broker.fill(order.key, 1)
    mine = bench.events()
    assert other.backlog == other.most_behind == len(mine)
    assert [await anext(other) for _ in mine] == mine
    await other.aclose()
    bench.broker.fill(order.key, 1)
    assert other.backlog == 0
    with pytest.raises(StopAsyncIteration):
        await anext(other)


async def test_event_streams_end_with_the_manager(make_bench):
    bench = make_bench()
    await bench.manager.start()
    stream = bench.manager.events()
    waiting = asyncio.ensure_future(anext(stream))
    await bench.settle()
    await bench.stop()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_background_failure_is_counted_and_ends_only_itself(bench):
    async def broken():
        raise BrokerError("x")

    bench.manager._desk.spawn(broken(), "a test")
    await bench.settle()
    assert bench.manager._desk.task_failures == 1
    assert (await bench.buy(10)).state is S.WORKING


async def test_an_error_for_an_order_with_side_effects_is_told_with_its_code(bench):
    order = await bench.buy(10)
    bench.broker.error(order.order_id, 201, OrderEffect.REJECTED, "margin")
    event = bench.events(K.STATE)[-1]
    assert (event.order.state, event.text) == (S.REJECTED, "201: margin")
    assert order.intent.side is Side.BUY


async def test_a_status_that_no_execution_ever_backs_alarms(bench):
    from moondev_ibkr.brokers.domain.reports import StatusReport

    order = await bench.buy(10)
    told = StatusReport(order.order_id, 7, order.perm_id, BrokerStatus.SUBMITTED, Decimal(4), Decimal(6))
    bench.manager.on_status(told)
    await bench.advance(1)
    await bench.settle()
    assert any("told 4 filled, its executions are 0" in text for text in bench.alarms())
    assert bench.manager.order(order.key).filled == 0


async def test_c19_c21_a_message_that_cannot_be_applied_is_counted_and_everything_is_read_anew(bench, monkeypatch):
    order = await bench.buy(10)
    before = len(bench.broker.queries)
    with monkeypatch.context() as patch:
        patch.setattr(bench.manager._inbound, "execution", lambda fill: 1 / 0)
        bench.manager.on_execution(bench.broker.execute(order.key, 10))
    assert any("could not be applied" in text for text in bench.alarms())
    await bench.settle()
    assert len(bench.broker.queries) > before
    assert bench.manager.order(order.key).state is S.FILLED


async def test_an_unanswered_modify_that_never_arrived_ends_after_quiet_time(make_bench):
    from moondev_ibkr.brokers.domain.order import OrderChange
    from moondev_ibkr.brokers.errors import OutcomeUnknown

    bench = make_bench(settings=OrderSettings(account="DU000001", ack_deadline=0.05))
    await bench.manager.start()
    order = await bench.buy(10)
    bench.broker.modify_answer = "lost"
    with pytest.raises(OutcomeUnknown):
        await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))
    bench.clock.advance(29)
    await bench.manager.reconcile()
    assert bench.events(K.MODIFY_REJECTED) == []
    bench.clock.advance(1)
    await bench.manager.reconcile()
    assert len(bench.events(K.MODIFY_REJECTED)) == 1
    bench.broker.modify_answer = "echo"
    assert (await bench.manager.modify(order.key, OrderChange(quantity=Decimal(12)))).intent.quantity == 12
    await bench.stop()


async def test_the_managers_own_timer_notices_silence(make_bench):
    from moondev_ibkr.brokers.domain.clock import SystemClock

    bench = make_bench(clock=SystemClock(), settings=OrderSettings(account="DU000001", ack_deadline=0.02))
    await bench.manager.start()
    bench.broker.on_place = "lost"
    first, second = await asyncio.gather(bench.buy(10), bench.buy(11))
    assert {first.state, second.state} == {S.UNKNOWN}
    await bench.stop()


async def test_positions_that_lag_behind_a_fresh_fill_are_no_difference(bench):
    await bench.hold(100)
    bench.broker.foreign_position = {"AAPL": Decimal(-100)}
    await bench.advance(1)
    assert await bench.manager.reconcile() == []
    assert bench.position() == 100
    bench.broker.foreign_position = {}
    await bench.advance(5)
    assert await bench.manager.reconcile() == []
    assert bench.position() == 100


async def test_q4_a_reading_that_falls_due_on_an_unhealthy_link_is_made_up_for(make_bench):
    """Found by the simulation: an order stayed UNKNOWN, since nobody asked again once the link was healthy."""
    bench = await make_bench(settings=OrderSettings(account="DU000001", retry_delay=0.01)).start()
    runs = bench.manager._reconciler.completed_runs
    bench.broker.is_healthy = False
    bench.manager._reconciler._again()
    bench.broker.is_healthy = True
    async with asyncio.timeout(2):
        while bench.manager._reconciler.completed_runs == runs:
            await asyncio.sleep(0.001)
    await bench.stop()


async def test_what_is_told_after_the_end_is_not_written_to_a_closed_journal(disk_bench):
    """A door that ends after its manager may still tell of it; that waits for the next start."""
    bench = disk_bench
    await bench.buy(10, key="k1")
    await bench.manager.stop()
    bench.manager.alarm("told too late")
    await bench.settle()
    await asyncio.sleep(0.05)
    assert bench.manager._desk.life.writer.failures == 0
    await bench.manager.start()
    await bench.settle()
    texts = [body for (body,) in bench.journal.database.query("SELECT body FROM events WHERE kind = 'ALARM'")]
    assert any("told too late" in text for text in texts)
