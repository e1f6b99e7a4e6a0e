"""Promises Q11 and Q12: a refused order leaves no byte and no intent; the kill switch holds, whoever asks and whenever.

One row a rule. What each rule decides is tested in tests/brokers/test_risk_rules.py; here, that it decides before the
wire, over the whole adapter and a real socket.
"""

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.order import OrderChange, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import NotOwned, RiskRefusal, TradingHalted
from moondev_ibkr.brokers.interactive_brokers.ib_risk_manager import IB_RULES
from moondev_ibkr.brokers.journal import Journal

from .adapter_world import WIDE, adapter_world, buy
from .kill_rig import kill_rig
from .test_promise_orders import successor
from .wire_tap import wire_tap

DAY = timedelta(days=1)


async def nothing(world):
    """The world as it is."""


async def hold_ten(world):
    await world.adapter.place(buy(10))
    await world.adapter.reconcile()


async def rest_one(world):
    await world.adapter.place(buy(1, limit=135))


async def foreign_hundred(world):
    world.arm("manual-order", "AAPL", "100")
    await world.advance(1)
    await world.adapter.reconcile()


async def in_doubt(world):
    await rest_one(world)
    world.adapter.manager._life.block(world.adapter.orders()[0].instrument, "a mismatch")


async def halt_symbol(world):
    world.arm("halt", "AAPL")
    await world.advance(1)


async def before_the_open(world):
    await world.advance(7 * 3600)
    await world.gateway.advance_to(world.gateway.next_session().open - timedelta(hours=1))
    await world.adapter.market_time()


async def silent_feed(world):
    world.arm("silent-feed")
    await world.advance(3600)


async def resting_sell(world):
    await hold_ten(world)
    await world.adapter.place(buy(10, side=Side.SELL, limit=150))


@dataclass(frozen=True)
class Row:
    """An order that the rule refuses. `limits` make the policy, `before` the situation."""

    order: dict[str, Any]
    limits: dict[str, Any] = field(default_factory=dict)
    before: Callable[[Any], Awaitable[None]] = nothing


ROWS: dict[str, Row] = {
    "read_only": Row({"limit": 140}, {"read_only": True}),
    "whole_shares": Row({"quantity": "1.5", "limit": 140}),
    "tick_size": Row({"limit": "140.005"}),
    "ownership": Row({"side": Side.SELL}, before=foreign_hundred),
    "long_only": Row({"side": Side.SELL}, {"allow_short": False}),
    "through_zero": Row({"side": Side.SELL, "quantity": 20}, before=hold_ten),
    "reduce_only": Row({"reduce_only": True}),
    "restricted": Row({"limit": 140}, {"restricted": frozenset({"AAPL"})}),
    "in_doubt": Row({"limit": 140}, before=in_doubt),
    "halted": Row({"limit": 140}, before=halt_symbol),
    "outside_hours": Row({}, {"max_quote_age": 4 * DAY}, before_the_open),
    "open_blackout": Row({"limit": 140}, {"open_blackout": timedelta(hours=3)}),
    "fresh_quote": Row({"limit": 140}, {"max_quote_age": timedelta(seconds=30)}, silent_feed),
    "stop_side": Row({"type": OrderType.STOP, "stop_price": Decimal(130)}),
    "collar": Row({"limit": 200}),
    "duplicate": Row({"quantity": 1, "limit": 135}, {"duplicate_window": timedelta(seconds=60)}, rest_one),
    "repeated_entry": Row({"limit": 140}, {"entry_window": timedelta(seconds=60)}, rest_one),
    "self_cross": Row({"limit": 151}, before=resting_sell),
    "open_orders_per_side": Row({"limit": 140}, {"max_open_orders_per_side": 1}, rest_one),
    "orders_per_minute": Row({"limit": 140}, {"max_orders_per_minute": 1}, rest_one),
    "orders_per_day": Row({"limit": 140}, {"max_orders_per_day": 1}, rest_one),
    "daily_loss": Row({"limit": 140}, {"max_daily_loss": Decimal(0)}),
    "order_quantity": Row({"limit": 140}, {"max_order_quantity": Decimal(9)}),
    "order_value": Row({"limit": 140}, {"max_order_value": Decimal(1000)}),
    "order_equity": Row({"quantity": 900, "limit": 140}),
    "position_value": Row({"limit": 140}, {"max_position_value": Decimal(1000)}),
    "symbol_limit": Row({"limit": 140}, {"symbol_limits": {"AAPL": Decimal(1000)}}),
    "concentration": Row({"limit": 140}, {"max_concentration": Decimal("0.01")}),
    "exposure": Row({"limit": 140}, {"max_exposure": Decimal(1000)}),
    "order_conditions": Row({"type": OrderType.MARKET_ON_CLOSE, "tif": TimeInForce.GTC}),
}

#: Rules whose situation this gateway does not make -> what makes it. They are tested without a wire.
WITHOUT_A_WIRE = {
    "kill_switch": "test_q12_the_kill_switch_leaves_no_byte",
    "tradable": "options and futures are not asked for in this world",
    "contract_known": "an unknown contract is refused by the question itself",
    "filled_already": "a change, not an order: test_q11_a_change_is_checked_like_an_order",
    "lot_size": "no contract of this world has lots",
    "shortable": "no share of this world is hard to borrow",
    "suspect_quote": "there is no second source",
    "day_trades": "this account is not counted",
    "settled_cash": "this is a margin account",
    "excess_liquidity": "margin that could refuse is asked of IB first: test_b7 in test_adapter_on_gateway_trading",
    "order_type_offered": "every type that can be written is offered",
}


def test_q11_every_rule_has_its_row():
    assert set(ROWS) | set(WITHOUT_A_WIRE) == {rule.name for rule in IB_RULES}
    assert not set(ROWS) & set(WITHOUT_A_WIRE)


@pytest.mark.parametrize("rule", ROWS)
async def test_q11_a_refused_order_leaves_no_byte_and_no_intent(rule):
    row = ROWS[rule]
    async with adapter_world(policy=replace(WIDE, **row.limits)) as world:
        await world.adapter.quote("AAPL")
        await row.before(world)
        known = {order.key for order in world.adapter.orders()}
        with wire_tap(world.gateway) as tap:
            with pytest.raises((RiskRefusal, NotOwned)) as refused:
                await world.adapter.place(buy(**row.order))
            await world.client.market_time()
            assert refused.value.data.get("rule", rule) == rule
            assert tap.orders() == []
        assert {order.key for order in world.adapter.orders()} == known
        assert {order.intent.key for order in world.journal.load_orders()} <= known


@pytest.mark.parametrize(
    ("change", "limits"),
    [
        ({"quantity": Decimal(100)}, {"max_order_quantity": Decimal(50)}),
        ({"quantity": Decimal(100)}, {"max_order_value": Decimal(5000)}),
        ({"limit_price": Decimal(200)}, {}),
        ({"limit_price": Decimal("141.005")}, {}),
    ],
    ids=["quantity", "value", "collar", "tick"],
)
async def test_q11_a_change_is_checked_like_an_order(change, limits):
    async with adapter_world(policy=replace(WIDE, **limits)) as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(10, limit=140))
        with wire_tap(world.gateway) as tap:
            with pytest.raises(RiskRefusal):
                await world.adapter.modify(order.key, OrderChange(**change))
            await world.client.market_time()
            assert tap.orders() == []
        assert world.adapter.order(order.key).intent == order.intent
        assert world.journal.load_order(order.key).pending is None


# Q12


async def test_q12_the_kill_switch_leaves_no_byte():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        report = await world.adapter.emergency_stop("drill", close=False)
        assert report.refused_after <= 0.05
        with wire_tap(world.gateway) as tap:
            with pytest.raises(TradingHalted):
                await world.adapter.place(buy(limit=140))
            await world.client.market_time()
            assert tap.orders() == []


async def test_q12_the_kill_switch_holds_in_every_process_of_the_journal(tmp_path):
    async with adapter_world() as world:
        path = tmp_path / "journal.sqlite"
        here, there = Journal(path, now=world.clock.now), Journal(path, now=world.clock.now)
        first = await successor(world, here, client_id=8)
        second = await successor(world, there, client_id=9)
        await second.quote("AAPL")
        await first.emergency_stop("drill", close=False)
        with wire_tap(world.gateway) as tap:
            with pytest.raises(TradingHalted):
                await second.place(buy(limit=140))
            await second.market_time()
            assert tap.orders() == []
        await first.disconnect()
        await second.disconnect()
        here.close()
        there.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
async def test_q12_the_kill_switch_outlives_the_process_that_threw_it(tmp_path):
    async with kill_rig(tmp_path) as rig:
        key, journal = rig.fresh()
        killed = await rig.run("stop", key, journal, "journal halt after")
        assert killed["signal"] == signal.SIGKILL
        async with rig.restarted(journal) as adapter:
            await adapter.quote("AAPL")
            assert adapter.manager.halted == "killed here"
            with pytest.raises(TradingHalted):
                await adapter.place(buy(1, limit=240, key="another"))
            report = await adapter.emergency_stop("again")
            assert report.still_working == ()
            assert report.not_flat == ()
            assert await rig.witness.truth("another") == {}
            await adapter.resume()
            assert (await adapter.place(buy(1, limit=240))).state is OrderState.WORKING
