"""Order ids, staging, changes, cancels, several clients: told as the recordings tell them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.order import OrderType, Side
from moondev_ibkr.brokers.simulation.events import CancelConfirmed, Executed, StatusChanged
from moondev_ibkr.brokers.simulation.models import LatencyModel
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

from .exchange_fakes import MES, MSFT, START, D, Pit, step

SECOND = timedelta(seconds=1)
QUIET = (
    step(START, 100, "100.02", 100),
    step(START, 400, "400.05", 400, con_id=MSFT),
    step(START, "7039.25", "7039.50", 7039.5, con_id=MES),
)


@pytest.fixture
def pit() -> Pit:
    return Pit(*QUIET)


def test_rest_and_cancel_as_recorded(pit):
    pit.buy(1, 10)
    pit.exchange.cancel(1, 1)
    assert pit.tape == [
        "1 PreSubmitted 0/1",
        "1 Submitted 0/1",
        "1 PendingCancel 0/1",
        "1 Cancelled 0/1",
        "1 error 202",
    ]
    opened = [row.order_changed for row in pit.events if isinstance(row, StatusChanged)]
    assert opened == [True, True, False, False]
    confirmed = pit.events[-1]
    assert isinstance(confirmed, CancelConfirmed)
    assert confirmed.text == "Order Canceled - reason:"
    assert pit.exchange.completed_orders()[0].completed_status == "Cancelled by Trader"


def test_a_staged_order_is_silent_until_it_is_sent_again_with_transmit(pit):
    pit.buy(10, "13.26", transmit=False)
    assert pit.tape == []
    assert pit.exchange.open_orders() == []
    assert [row.order_id for row in pit.exchange.staged_orders()] == [1]
    pit.buy(10, "13.26", order_id=1)
    assert pit.tape == ["1 PreSubmitted 0/10", "1 Submitted 0/10"]


def test_a_staged_order_can_be_cancelled(pit):
    pit.buy(10, "13.26", transmit=False)
    pit.exchange.cancel(1, 1)
    assert pit.tape == ["1 Cancelled 0/10", "1 error 202"]


def test_order_ids_never_go_back_and_are_each_clients_own(pit):
    pit.buy(1, 10, order_id=7)
    pit.buy(1, 10, order_id=6)
    pit.buy(1, 10, order_id=1, client_id=2)
    assert pit.codes == [103]
    assert (pit.exchange.next_order_id(1), pit.exchange.next_order_id(2), pit.exchange.next_order_id(3)) == (8, 2, 1)


def test_a_refused_order_does_not_use_up_its_id(pit):
    pit.buy(1, "10.001", order_id=5)
    pit.buy(1, "10.01", order_id=5)
    assert pit.codes == [110]
    assert pit.status(5) == "Submitted"


def test_the_id_of_a_finished_order_is_refused(pit):
    pit.buy(1)
    pit.buy(1, 10)
    pit.exchange.cancel(1, 2)
    pit.buy(1, order_id=1)
    pit.buy(1, 10, order_id=2)
    assert pit.codes == [202, 104, 103]


def test_a_change_of_price_may_trade_at_once(pit):
    pit.buy(10, 99)
    pit.buy(10, "100.02", order_id=1)
    assert pit.tape[2:] == ["1 Submitted 0/10", "1 BUY 10@100.02", "1 Filled 10/0", "1 commission 1"]
    assert pit.exchange.order(1, 1).perm_id == pit.exchange.completed_orders()[0].perm_id


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"side": "SELL"}, 105),
        ({"con_id": MSFT}, 105),
        ({"oca_group": "late"}, 10326),
        ({"limit_price": "10.005"}, 110),
        ({"quantity": 0}, 434),
        ({"quantity": 100_000_000}, 201),
        ({"parent_id": 77}, 135),
    ],
)
def test_a_refused_change_leaves_the_order_as_it_was(pit, change, code):
    pit.buy(10, 99)
    before = pit.exchange.order(1, 1)
    fields = {"side": "BUY", "quantity": 10, "limit_price": 99, **change}
    pit.order(fields.pop("side"), fields.pop("quantity"), OrderType.LIMIT, order_id=1, **fields)
    assert pit.codes == [code]
    assert pit.exchange.order(1, 1) == before


def test_a_part_filled_order_cannot_shrink_below_its_fill_but_to_it():
    pit = Pit(step(START, 100, "100.02", size=40))
    pit.buy(100, "100.02")
    pit.buy(30, "100.02", order_id=1)
    assert pit.codes == [321]
    pit.buy(40, "100.02", order_id=1)
    assert pit.tape[-1] == "1 Filled 40/0"
    assert pit.exchange.completed_orders()[0].completed_status == "Filled Size: 40"


def test_cancelling_what_is_not_there_or_done(pit):
    pit.buy(1)
    pit.exchange.cancel(1, 1)
    pit.exchange.cancel(1, 99)
    texts = [row.text for row in pit.events if hasattr(row, "text")]
    assert pit.codes == [10148, 10147]
    assert texts == [
        "OrderId 1 that needs to be cancelled cannot be cancelled, state: Filled.",
        "OrderId 99 that needs to be cancelled is not found.",
    ]


def test_a_second_cancel_while_the_first_is_on_its_way_is_161_and_a_fill_beats_both():
    pit = Pit(
        step(START, 100, "100.02"),
        step(START + SECOND, 98, "98.50"),
        latency=LatencyModel(cancel=2 * SECOND),
    )
    pit.buy(1, 99)
    pit.exchange.cancel(1, 1)
    pit.exchange.cancel(1, 1)
    pit.buy(1, 98, order_id=1)
    pit.run(START + 5 * SECOND)
    assert pit.tape[2:] == [
        "1 PendingCancel 0/1",
        "1 error 161",
        "1 error 161",
        "1 BUY 1@98.50",
        "1 Filled 1/0",
        "1 commission 1",
    ]


def test_a_part_fill_during_pending_cancel_keeps_that_status():
    pit = Pit(
        step(START, 100, "100.02"),
        step(START + SECOND, 98, "98.50", size=4),
        latency=LatencyModel(cancel=2 * SECOND),
    )
    pit.buy(10, 99)
    pit.exchange.cancel(1, 1)
    pit.run(START + 5 * SECOND)
    assert pit.tape[2:] == [
        "1 PendingCancel 0/10",
        "1 BUY 4@98.50",
        "1 PendingCancel 4/6",
        "1 commission 1",
        "1 Cancelled 4/6",
        "1 error 202",
    ]


def test_another_client_cannot_cancel_but_client_0_can(pit):
    pit.buy(10, "13.27", order_id=295)
    pit.exchange.cancel(2, 295)
    assert pit.codes == [10147]
    pit.exchange.cancel(0, 295)
    last = [row for row in pit.events if isinstance(row, StatusChanged)][-1]
    assert (last.order.status.value, last.order.client_id, last.requested_by) == ("Cancelled", 1, 0)
    assert pit.events[-1].requested_by == 0


def test_a_global_cancel_reaches_every_client_and_bracket(pit):
    pit.buy(10, 90)
    parent = pit.buy(10, 91, client_id=2, order_id=10, transmit=False)
    pit.order("SELL", 10, OrderType.STOP, stop_price=80, parent_id=parent, client_id=2, order_id=11)
    pit.exchange.cancel_all(1)
    assert pit.exchange.open_orders() == []
    assert {row.completed_status for row in pit.exchange.completed_orders()} == {"Cancelled by Trader"}


def test_a_manual_order_has_an_id_below_zero_and_belongs_to_client_0(pit):
    first = pit.exchange.place_manual(OrderTicket(9, 9, MSFT, Side.BUY, D(5)))
    second = pit.exchange.place_manual(OrderTicket(9, 9, MSFT, Side.BUY, D(5)))
    assert (first, second) == (-1, -2)
    assert pit.position(MSFT) == 10
    assert pit.exchange.executions(client_id=0)[0].order_id == -1


def test_orders_are_found_by_perm_id_and_cancelled_by_it(pit):
    pit.buy(10, 90)
    perm = pit.exchange.order(1, 1).perm_id
    assert pit.exchange.order_by_perm(perm).order_id == 1
    assert pit.exchange.cancel_perm(perm)
    assert not pit.exchange.cancel_perm(perm + 1)
    assert pit.status(1) == "Cancelled"


def test_with_latency_nothing_happens_before_its_time_and_nothing_overtakes():
    pit = Pit(
        step(START, 100, "100.02"),
        step(START + timedelta(milliseconds=25), 100, "100.07"),
        latency=LatencyModel(acknowledge=timedelta(milliseconds=20), route=timedelta(milliseconds=10), jitter=0.5),
    )
    pit.buy(10)
    pit.exchange.cancel(1, 1)
    assert pit.tape == []
    pit.run(START + SECOND)
    times = [(row.time - START).total_seconds() for row in pit.events if isinstance(row, StatusChanged)]
    assert pit.tape == ["1 PreSubmitted 0/10", "1 PendingCancel 0/10", "1 Cancelled 0/10", "1 error 202"]
    assert times[0] >= 0.020
    assert times == sorted(times)


def test_an_order_meets_the_market_of_its_arrival():
    pit = Pit(
        step(START, 100, "100.02"),
        step(START + timedelta(milliseconds=25), 100, "100.07"),
        latency=LatencyModel(acknowledge=timedelta(milliseconds=20), route=timedelta(milliseconds=10)),
    )
    pit.buy(10)
    assert pit.exchange.next_event_time() == START + timedelta(milliseconds=20)
    pit.run(START + SECOND)
    assert pit.fills == [(10, D("100.07"))]
    execution = next(row for row in pit.events if isinstance(row, Executed))
    assert execution.time == START + timedelta(milliseconds=30)


def test_a_listener_may_act_on_what_it_hears_and_everybody_hears_the_same_order(pit):
    heard = []

    def chaser(event):
        if isinstance(event, StatusChanged) and event.order.status.value == "Filled" and event.order.order_id == 1:
            pit.sell(5, order_id=2)

    pit.exchange.subscribe(chaser)
    pit.exchange.subscribe(heard.append)
    pit.buy(5)
    assert pit.position() == 0
    assert heard == pit.events
    assert pit.tape.index("1 commission 1") < pit.tape.index("2 PreSubmitted 0/5")


def test_a_listener_hears_only_the_kinds_it_asked_for(pit):
    heard = []
    stop = pit.exchange.subscribe(heard.append, Executed)
    pit.buy(5)
    stop()
    pit.buy(5)
    assert [type(row) for row in heard] == [Executed]


def test_time_does_not_go_back(pit):
    with pytest.raises(ValueError, match="market time is"):
        pit.run(START - SECOND)


def test_execution_ids_look_like_ibs_and_never_repeat(pit):
    for _ in range(3):
        pit.buy(1)
    pit.order("BUY", 1, con_id=MES)
    ids = [row.exec_id for row in pit.exchange.executions()]
    assert [row[:9] for row in ids] == ["0000e0d5.", "0000e0d5.", "0000e0d5.", "0000e1a7."]
    assert all(row.endswith(".01.01") and len(row) == 23 for row in ids)
    assert len(set(ids)) == 4


def test_a_global_cancel_travels_as_long_as_an_order():
    pit = Pit(step(START, 100, "100.02"), latency=LatencyModel(acknowledge=SECOND))
    pit.buy(10, 90)
    pit.run(START + SECOND)
    pit.exchange.cancel_all(1)
    assert pit.status(1) == "Submitted"
    pit.run(START + 2 * SECOND)
    assert pit.status(1) == "Cancelled"
