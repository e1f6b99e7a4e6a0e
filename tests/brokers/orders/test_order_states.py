"""The transition table, and what statuses and error codes do with it."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.domain.order_states import (
    MAY_BE_LIVE,
    TERMINAL,
    TRANSITIONS,
    IllegalTransition,
    OrderSignal,
    OrderState,
    next_state,
)
from moondev_ibkr.brokers.domain.reports import BrokerStatus, OrderEffect, OrderEventKind, StatusReport
from moondev_ibkr.brokers.orders.inbound import EFFECT_SIGNALS, STATUS_SIGNALS

S, E = OrderState, OrderSignal


@pytest.mark.parametrize("state", sorted(set(S) - TERMINAL))
@pytest.mark.parametrize("signal", list(E))
def test_every_living_state_answers_every_signal(state, signal):
    assert (state, signal) in TRANSITIONS
    assert isinstance(next_state(state, signal), OrderState)


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("signal", list(E))
def test_o09_terminal_states_absorb(state, signal):
    assert next_state(state, signal) is state
    assert (state, signal) not in TRANSITIONS


def test_a_missing_row_is_an_error(monkeypatch):
    monkeypatch.delitem(TRANSITIONS, (S.WORKING, E.CANCEL))
    with pytest.raises(IllegalTransition, match="WORKING on CANCEL"):
        next_state(S.WORKING, E.CANCEL)


def test_only_named_signals_end_an_order():
    ending = {signal for (_, signal), after in TRANSITIONS.items() if after in TERMINAL}
    assert ending == {E.SEND_FAILED, E.ABSENT, E.REJECT, E.CANCEL, E.FILL}


def test_q4_no_timer_ends_an_order():
    for state in set(S) - TERMINAL:
        assert next_state(state, E.ACK_TIMEOUT) not in TERMINAL
        assert next_state(state, E.LINK_LOST) not in TERMINAL


def test_an_order_that_was_live_is_never_proven_absent():
    for state in MAY_BE_LIVE - {S.SENT, S.UNKNOWN}:
        assert next_state(state, E.ABSENT) is S.UNKNOWN


def test_every_status_and_every_effect_is_mapped():
    assert set(STATUS_SIGNALS) == set(BrokerStatus)
    assert set(EFFECT_SIGNALS) | {OrderEffect.NONE, OrderEffect.UNKNOWN, OrderEffect.MODIFY_REJECTED} == set(
        OrderEffect
    )


STATUS_CASES = [
    (BrokerStatus.PENDING_SUBMIT, S.WORKING),
    (BrokerStatus.API_PENDING, S.WORKING),
    (BrokerStatus.PRE_SUBMITTED, S.PRE_SUBMITTED),
    (BrokerStatus.SUBMITTED, S.WORKING),
    (BrokerStatus.PENDING_CANCEL, S.PENDING_CANCEL),
    (BrokerStatus.CANCELLED, S.CANCELLED),
    (BrokerStatus.API_CANCELLED, S.CANCELLED),
    (BrokerStatus.FILLED, S.WORKING),
    (BrokerStatus.INACTIVE, S.INACTIVE),
]


@pytest.mark.parametrize(("status", "after"), STATUS_CASES)
async def test_what_each_status_does_to_a_working_order(bench, status, after):
    order = await bench.buy(10)
    bench.manager.on_status(bench.broker.status(bench.broker.held(order.key), status))
    assert bench.manager.order(order.key).state is after


async def test_o09_a_stale_status_after_the_end_changes_nothing(bench):
    order = await bench.buy(10)
    bench.broker.fill(order.key, 10)
    bench.events()
    for status in BrokerStatus:
        bench.manager.on_status(bench.broker.status(bench.broker.held(order.key), status))
    assert bench.manager.order(order.key).state is S.FILLED
    assert bench.manager.order(order.key).filled == 10
    assert bench.events() == []


async def test_a_status_of_an_order_nobody_knows_is_ignored(bench):
    bench.manager.on_status(StatusReport(991, 3, 0, BrokerStatus.SUBMITTED, 0, 5))
    assert bench.manager.orders() == []


ENDING_EFFECTS = {OrderEffect.REJECTED: S.REJECTED, OrderEffect.CANCELLED: S.CANCELLED}


@pytest.mark.parametrize("effect", list(OrderEffect))
async def test_q7_only_table_effects_end_an_order(bench, effect):
    order = await bench.buy(10)
    bench.broker.error(order.order_id, 12345, effect)
    expected = {**ENDING_EFFECTS, OrderEffect.HELD: S.INACTIVE}.get(effect, S.WORKING)
    assert bench.manager.order(order.key).state is expected


async def test_q7_no_code_outside_the_table_ends_an_order(bench):
    table = {201: OrderEffect.REJECTED, 202: OrderEffect.CANCELLED, 404: OrderEffect.HELD, 399: OrderEffect.NONE}
    order = await bench.buy(10)
    for code in range(20_001):
        effect = table.get(code, OrderEffect.UNKNOWN)
        if effect not in ENDING_EFFECTS:
            bench.broker.error(order.order_id, code, effect, "anything")
            state = bench.manager.order(order.key).state
            assert not state.is_terminal, code
    warned = bench.events(OrderEventKind.WARNING)
    assert len(warned) == 20_001 - 3
    bench.broker.error(order.order_id, 202, OrderEffect.CANCELLED)
    assert bench.manager.order(order.key).state is S.CANCELLED


async def test_o29_a_warning_about_the_open_is_only_a_warning(bench):
    order = await bench.buy(10)
    bench.broker.error(order.order_id, 399, OrderEffect.NONE, "held until the open")
    assert bench.manager.order(order.key).state is S.WORKING


async def test_an_error_about_no_order_of_ours_is_ignored(bench):
    bench.broker.error(4711, 201, OrderEffect.REJECTED)
    assert bench.manager.orders() == []
