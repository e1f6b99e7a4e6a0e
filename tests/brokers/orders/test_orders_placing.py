"""Placing: risk, journal, wire, answer."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerStatus, OrderEffect, OrderEventKind
from moondev_ibkr.brokers.errors import (
    ConfigurationError,
    InvalidOrder,
    JournalError,
    KeyConflict,
    MismatchDetected,
    NotConnected,
    OrderRejected,
    RiskRefusal,
    TradingHalted,
    UnknownOrder,
)
from moondev_ibkr.brokers.journal import store

S = OrderState


async def test_an_order_is_journalled_sent_and_acknowledged(bench):
    order = await bench.buy(10)
    assert order.state is S.WORKING
    assert bench.broker.placed[0].intent.key == order.key
    assert bench.journal.load_order(order.key).order_id == order.order_id
    assert order.perm_id == bench.broker.held(order.key).perm_id
    report = bench.manager.latency_report()
    assert {"gate", "journal", "journal_sync", "place_to_sent", "place_to_ack"} <= report.keys()


async def test_q1_the_intent_is_in_the_journal_before_the_first_byte(bench):
    seen = []
    bench.broker.before_place = lambda wire: seen.append(bench.journal.load_order(wire.intent.key))
    order = await bench.buy()
    assert [row.intent.key for row in seen] == [order.key]


async def test_a_symbol_alone_is_qualified_once(bench):
    for _ in range(2):
        order = await bench.buy(instrument=Instrument("AAPL"))
        assert order.instrument.con_id == 265598
    assert [wire.intent.instrument.con_id for wire in bench.broker.placed] == [265598, 265598]


async def test_a_risk_refusal_sends_and_journals_no_intent_but_is_on_record(bench):
    bench.gate.refusal = RiskRefusal("buy", "too much", rule="max_value", value=2, limit=1)
    with pytest.raises(RiskRefusal):
        await bench.buy()
    await bench.settle()
    assert bench.broker.placed == []
    assert bench.manager.orders() == []
    kinds = [row[0] for row in bench.journal.database.query("SELECT kind FROM events")]
    assert "REFUSED" in kinds
    assert "INTENT" not in kinds


async def test_the_gate_is_prepared_before_it_checks(bench):
    await bench.buy()
    assert len(bench.gate.prepared) == len(bench.gate.seen) == 1


async def test_a_rejected_order_raises_with_the_brokers_code(bench):
    bench.broker.on_place = "silent"
    bench.broker.after_place = lambda wire: bench.broker.soon(
        lambda: bench.broker.error(wire.order_id, 201, OrderEffect.REJECTED, "no margin")
    )
    with pytest.raises(OrderRejected, match="no margin") as caught:
        await bench.buy()
    assert caught.value.code == 201
    assert bench.manager.orders()[0].state is S.REJECTED


async def test_o07_inactive_followed_by_201_is_a_rejection(bench):
    bench.broker.first_status = BrokerStatus.INACTIVE
    bench.broker.after_place = lambda wire: bench.broker.soon(
        lambda: bench.broker.error(wire.order_id, 201, OrderEffect.REJECTED, "no")
    )
    with pytest.raises(OrderRejected):
        await bench.buy()


async def test_o30_an_order_held_for_a_locate_is_answered_and_lives(bench):
    bench.broker.on_place = "silent"
    bench.broker.after_place = lambda wire: bench.broker.soon(
        lambda: bench.broker.error(wire.order_id, 404, OrderEffect.HELD, "locating shares")
    )
    order = await bench.sell()
    assert order.state is S.INACTIVE
    bench.broker.tell(bench.broker.held(order.key))
    assert bench.manager.order(order.key).state is S.WORKING


async def test_c24_what_provably_did_not_leave_is_not_sent(bench):
    bench.broker.on_place = "refused"
    with pytest.raises(NotConnected):
        await bench.buy(key="k1")
    assert bench.manager.order("k1").state is S.NOT_SENT


async def test_q14_nothing_is_sent_on_a_link_that_fails_its_probe(bench):
    bench.broker.link_fails_probe = True
    with pytest.raises(NotConnected, match="probe"):
        await bench.buy()
    assert bench.broker.placed == []
    assert bench.manager.orders() == []


async def test_an_order_without_any_account_is_refused(make_bench):
    from moondev_ibkr.brokers.orders import OrderSettings

    bench = make_bench(settings=OrderSettings())
    await bench.manager.start()
    with pytest.raises(ConfigurationError, match="account"):
        await bench.buy()
    await bench.stop()


async def test_start_can_name_the_default_account(make_bench):
    from moondev_ibkr.brokers.orders import OrderSettings

    bench = make_bench(settings=OrderSettings())
    await bench.manager.start("DU000009")
    await bench.buy()
    assert bench.broker.placed[0].account == "DU000009"
    await bench.stop()


# Keys


async def test_q2_same_key_and_same_order_answer_with_that_order(bench):
    first = await bench.buy(10, key="k1")
    again = await bench.buy(10, key="k1", limit="100.00")
    assert again == first
    assert len(bench.broker.placed) == 1


async def test_q2_same_key_while_the_first_is_being_placed(bench):
    first, second = await asyncio.gather(bench.buy(10, key="k1"), bench.buy(10, key="k1"))
    assert first.key == second.key
    assert second.state is S.WORKING
    assert len(bench.broker.placed) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 11},
        {"limit": "101"},
        {"side": Side.SELL},
        {"outside_rth": True},
        {"instrument": Instrument("MSFT")},
    ],
)
async def test_q2_same_key_and_another_order_conflict(bench, change):
    await bench.buy(10, key="k1")
    with pytest.raises(KeyConflict):
        await bench.manager.place(bench.order(**{"quantity": 10, "key": "k1", **change}))
    assert len(bench.broker.placed) == 1


async def test_q2_a_key_names_its_order_after_a_restart(disk_bench):
    await disk_bench.buy(10, key="k1")
    await disk_bench.restart()
    again = await disk_bench.buy(10, key="k1")
    assert again.state is S.WORKING
    with pytest.raises(KeyConflict):
        await disk_bench.buy(11, key="k1")
    assert len(disk_bench.broker.placed) == 1


async def test_q2_a_bracket_and_its_entry_alone_are_different_orders(bench):
    entry = bench.order(10, key="k1")
    await bench.manager.place(Bracket(entry, Decimal(90)))
    with pytest.raises(KeyConflict):
        await bench.manager.place(entry)
    with pytest.raises(KeyConflict):
        await bench.manager.place(Bracket(entry, Decimal(91)))
    with pytest.raises(KeyConflict):
        await bench.manager.place(Bracket(entry, Decimal(90), Decimal(120)))
    same = await bench.manager.place(Bracket(entry, Decimal(90)))
    assert same.key == "k1"
    assert len(bench.broker.placed) == 2


async def test_a_key_used_by_another_process_of_the_journal_is_found(make_bench, fake):
    one = make_bench()
    two = make_bench(broker=fake(client_id=8))
    await one.manager.start()
    await two.manager.start()
    await one.buy(10, key="shared")
    order = await two.buy(10, key="shared")
    assert order.order_id == one.manager.order("shared").order_id
    assert two.broker.placed == []
    await one.stop()
    await two.stop()


async def test_an_unknown_key_is_said_so(bench):
    with pytest.raises(UnknownOrder):
        bench.manager.order("nobody")


# Echo


@pytest.mark.parametrize(
    "echo",
    [
        {"instrument": Instrument("IBM", con_id=8314)},
        {"side": Side.SELL},
        {"quantity": Decimal(100)},
        {"limit_price": Decimal("100.01")},
        {"type": None, "type_text": "MIT"},
        {"account": "DU000002"},
    ],
)
async def test_q9_o32_an_echo_that_differs_blocks_the_symbol(bench, echo, aapl):
    bench.broker.echo = echo
    with pytest.raises(MismatchDetected) as caught:
        await bench.buy(10, key="k1")
    assert caught.value.data["key"] == "k1"
    assert bench.manager.blocked(aapl)
    assert any("not what was meant" in text for text in bench.alarms())
    bench.broker.echo = {}
    with pytest.raises(RiskRefusal, match="blocked"):
        await bench.buy(10)


async def test_q9_the_block_survives_a_restart_and_ends_with_resume(disk_bench, aapl):
    disk_bench.broker.echo = {"quantity": Decimal(100)}
    with pytest.raises(MismatchDetected):
        await disk_bench.buy(10)
    await disk_bench.restart()
    assert disk_bench.manager.blocked(aapl)
    disk_bench.manager.resume()
    assert disk_bench.manager.blocked(aapl) is None


async def test_q9_a_trailing_stop_may_move(bench):
    from moondev_ibkr.brokers.domain.order import NewOrder, OrderType

    bench.broker.echo = {"stop_price": Decimal("97.31")}
    trail = NewOrder(
        Instrument("AAPL"),
        Side.SELL,
        Decimal(10),
        OrderType.TRAIL,
        stop_price=Decimal(95),
        trail_percent=Decimal(5),
    )
    assert (await bench.manager.place(trail)).state is S.WORKING


async def test_q9_the_cap_of_a_midprice_order_is_the_brokers(bench):
    from moondev_ibkr.brokers.domain.order import NewOrder, OrderType

    bench.broker.echo = {"limit_price": None}
    mid = NewOrder(Instrument("AAPL"), Side.BUY, Decimal(10), OrderType.MIDPRICE, limit_price=Decimal(101))
    assert (await bench.manager.place(mid)).state is S.WORKING


async def test_o03_a_preset_that_changes_the_tif_ends_nothing(bench):
    from moondev_ibkr.brokers.domain.order import TimeInForce

    bench.broker.echo = {"tif": TimeInForce.DAY}
    order = await bench.buy(10, tif=TimeInForce.GTC)
    bench.broker.error(order.order_id, 10349, OrderEffect.NONE, "TIF was set to DAY by the preset")
    assert bench.manager.order(order.key).state is S.WORKING
    assert [event.code for event in bench.events(OrderEventKind.WARNING)] == [10349]


# Halt


async def test_q12_halt_refuses_at_once_and_over_restarts(disk_bench):
    disk_bench.manager.halt("by hand")
    with pytest.raises(TradingHalted, match="by hand"):
        await disk_bench.buy()
    await disk_bench.restart()
    assert disk_bench.manager.halted == "by hand"
    with pytest.raises(TradingHalted):
        await disk_bench.buy()
    disk_bench.manager.resume()
    assert (await disk_bench.buy()).state is S.WORKING


async def test_q12_halt_reaches_every_process_of_the_journal(make_bench, fake):
    one, two = make_bench(), make_bench(broker=fake(client_id=8))
    await one.manager.start()
    await two.manager.start()
    one.manager.halt("panic")
    with pytest.raises(TradingHalted, match="panic"):
        await two.buy()
    assert two.broker.placed == []
    await one.stop()
    await two.stop()


async def test_q12_halt_holds_even_when_the_journal_fails(bench, monkeypatch):
    def full(reason):
        raise JournalError("halting", "the disk is full")

    monkeypatch.setattr(bench.journal, "halt", full)
    bench.manager.halt("panic")
    with pytest.raises(TradingHalted):
        await bench.buy()
    assert bench.manager.alarms >= 1


async def test_closing_orders_pass_the_halt_when_they_only_reduce(bench):
    await bench.hold(10)
    bench.manager.halt("panic")
    with pytest.raises(InvalidOrder, match="reduce_only"):
        await bench.manager.place(bench.order(10, Side.SELL, None), closing=True)
    order = await bench.manager.place(bench.order(10, Side.SELL, None, reduce_only=True), closing=True)
    assert order.state is S.WORKING
    assert bench.gate.seen[-1][3] is True


# Journal failures


async def test_a_failing_journal_lets_no_order_leave(bench, monkeypatch):
    def full(*args, **kwargs):
        raise JournalError("recording an intent", "the disk is full")

    monkeypatch.setattr(bench.journal, "record_intents", full)
    with pytest.raises(JournalError, match="full"):
        await bench.buy()
    assert bench.broker.placed == []
    assert bench.manager.orders() == []


async def test_no_intent_leaves_while_earlier_observations_cannot_be_written(bench, monkeypatch):
    order = await bench.buy()
    await bench.settle()

    def full(change, observed):
        raise JournalError("writing", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_observed", full)
        bench.broker.fill(order.key, 10)
        with pytest.raises(JournalError):
            await bench.buy()
    assert len(bench.broker.placed) == 1
    assert (await bench.buy()).state is S.WORKING
    assert bench.journal.holding("DU000001", order.instrument) == 10


async def test_q18_an_order_through_a_fenced_door_is_refused(make_bench):
    from moondev_ibkr.brokers.errors import DoorFenced

    bench = make_bench()
    await bench.manager.start()
    bench.journal.switch_door("portal")
    with pytest.raises(DoorFenced, match="portal"):
        await bench.buy()
    assert bench.broker.placed == []
    await bench.stop()
