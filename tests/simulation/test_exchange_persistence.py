"""The paper account lives on: through JSON, into another process, on the same or a later day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.order import OrderType, TimeInForce
from moondev_ibkr.brokers.simulation.models import AccountKind
from moondev_ibkr.brokers.simulation.persistence import from_plain, to_plain
from moondev_ibkr.brokers.simulation.tickets import Condition, ConditionKind, OrderTicket, Side

from .exchange_fakes import AAPL, MES, START, D, Pit, at, step
from .test_conservation import ACTS, WORLDS, play

MINUTE = timedelta(minutes=1)


def market(when, price=100):
    return (step(when, price, D(price) + D("0.02"), price), step(when, 7000, "7000.25", 7000, con_id=MES))


def reborn(pit: Pit, when=None, *steps, **fields) -> Pit:
    """Another exchange at `when` with the state of `pit`, as a new process would have it."""
    when = when or pit.exchange.now
    other = Pit(*(steps or market(when)), start=when, **fields)
    other.exchange.restore(json.loads(json.dumps(pit.exchange.snapshot())))
    return other


def test_account_orders_and_counters_live_on():
    pit = Pit(*market(START))
    pit.buy(10)
    pit.order("SELL", 2, con_id=MES)
    pit.buy(5, 90, tif=TimeInForce.GTC, order_ref="keep", outside_rth=True)
    pit.order("SELL", 10, OrderType.TRAIL, trail_amount=2, tif=TimeInForce.GTC)
    later = reborn(pit, START + MINUTE)
    assert later.exchange.summary("DU0000001") == replace(pit.exchange.summary("DU0000001"), time=START + MINUTE)
    assert later.exchange.positions() == pit.exchange.positions()
    assert later.exchange.executions() == pit.exchange.executions()
    assert later.exchange.open_orders() == pit.exchange.open_orders()
    assert later.exchange.completed_orders() == pit.exchange.completed_orders()
    assert later.exchange.next_order_id(1) == 5
    later.last_id = 4
    later.buy(1)
    old = {row.exec_id for row in pit.exchange.executions()}
    new = later.exchange.executions()[-1]
    assert new.exec_id not in old
    assert new.perm_id > max(row.perm_id for row in pit.exchange.open_orders())


def test_a_restored_stop_still_protects():
    pit = Pit(*market(START))
    pit.buy(10)
    pit.order("SELL", 10, OrderType.STOP, stop_price=95, tif=TimeInForce.GTC)
    later = reborn(pit, START + MINUTE, *market(START + MINUTE), step(START + 2 * MINUTE, 94, "94.02", 94))
    later.run(START + 2 * MINUTE)
    assert later.fills == [(-10, D(94))]
    assert later.position() == 0


def test_a_restored_bracket_is_still_a_family():
    pit = Pit(*market(START))
    parent = pit.buy(10, 90, tif=TimeInForce.GTC, transmit=False)
    pit.order("SELL", 10, OrderType.STOP, stop_price=80, parent_id=parent, tif=TimeInForce.GTC)
    later = reborn(pit, START + MINUTE)
    later.exchange.cancel(1, parent)
    assert later.exchange.open_orders() == []


def test_a_day_later_day_orders_are_gone_and_cash_has_settled():
    pit = Pit(*market(START), cash=10_000, kind=AccountKind.CASH)
    pit.buy(10)
    pit.sell(10)
    pit.buy(5, 90)
    pit.buy(5, 91, tif=TimeInForce.GTC)
    assert pit.exchange.summary("DU0000001").settled_cash < pit.exchange.summary("DU0000001").total_cash
    later = reborn(pit, at("10:00", "2026-04-16"), cash=10_000, kind=AccountKind.CASH)
    summary = later.exchange.summary("DU0000001")
    assert summary.settled_cash == summary.total_cash
    assert [row.order_id for row in later.exchange.open_orders()] == [4]
    assert later.status(3) == "Cancelled"
    assert later.exchange.executions() == []
    assert later.exchange.pnl("DU0000001").daily == 0


def test_staged_orders_and_what_was_on_its_way_are_lost():
    pit = Pit(*market(START))
    pit.buy(5, 90, transmit=False)
    assert reborn(pit).exchange.staged_orders() == []


def test_a_state_of_another_version_is_refused():
    pit = Pit(*market(START))
    state = pit.exchange.snapshot() | {"version": 99}
    with pytest.raises(ValueError, match="version 99"):
        Pit(*market(START)).exchange.restore(state)


def test_a_state_is_not_poured_over_a_running_account():
    pit = Pit(*market(START))
    state = pit.exchange.snapshot()
    pit.buy(1)
    with pytest.raises(ValueError, match="seen no order"):
        pit.exchange.restore(state)


def test_a_ticket_survives_with_its_conditions():
    ticket = OrderTicket(
        1,
        2,
        AAPL,
        Side.BUY,
        D("3"),
        OrderType.LIMIT,
        limit_price=D("1.50"),
        good_till=START,
        tif=TimeInForce.GTD,
        conditions=(Condition(ConditionKind.TIME, moment=START), Condition(ConditionKind.PRICE, value=D("2.5"))),
        echo={"hidden": 1},
    )
    back = from_plain(OrderTicket, json.loads(json.dumps(to_plain(ticket))))
    assert back == ticket
    assert back.echo == {"hidden": 1}


def test_what_cannot_be_kept_is_said():
    with pytest.raises(TypeError, match="object cannot be kept"):
        to_plain(object())


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTS, max_size=20), WORLDS)
def test_any_account_comes_back_with_the_same_cash_and_shares(acts, world):
    pit = play(acts, world)
    state = json.loads(json.dumps(pit.exchange.snapshot()))
    other = Pit(start=pit.exchange.now, cash=1_000_000)
    other.exchange.restore(state)
    before, after = pit.exchange.summary("DU0000001"), other.exchange.summary("DU0000001")
    assert (after.total_cash, after.settled_cash) == (before.total_cash, before.settled_cash)
    shares = {row.instrument.con_id: (row.quantity, row.average_cost) for row in pit.exchange.positions()}
    assert {row.instrument.con_id: (row.quantity, row.average_cost) for row in other.exchange.positions()} == shares
    live = {row.perm_id: row.remaining for row in pit.exchange.open_orders()}
    assert {row.perm_id: row.remaining for row in other.exchange.open_orders()} == live
    assert isinstance(before.total_cash, Decimal)
