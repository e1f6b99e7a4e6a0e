"""Orders of the adapter over real sockets: what only IB has of them, the margin question, the emergency stop."""

import asyncio
from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import (
    InvalidOrder,
    NotOwned,
    OrderRejected,
    RiskRefusal,
    TradingHalted,
)
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.risk import RiskPolicy

from .adapter_world import ACCOUNT, QUICK, WIDE, adapter_world, buy


async def held(world, symbol="AAPL"):
    rows = {position.instrument.symbol: position.quantity for position in await world.adapter.positions()}
    return rows.get(symbol, Decimal(0))


async def test_an_order_lives_from_intent_to_fill_and_the_risk_view_is_current_at_once():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy())
        done = await world.adapter.wait(order.key, 2)
        assert (done.state, done.filled) == (OrderState.FILLED, 10)
        (position,) = world.adapter.cached_positions(ACCOUNT)
        assert position.quantity == 10
        assert await held(world) == 10
        assert world.gateway.exchange.positions(ACCOUNT)[0].quantity == 10
        assert await world.adapter.reconcile() == []
        report = world.adapter.latency_report()
        assert {"place_to_sent", "place_to_ack", "place_to_fill", "gate", "round_trip", "send"} <= set(report)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": OrderType.STOP, "stop_price": Decimal("150")},
        {"type": OrderType.STOP_LIMIT, "stop_price": Decimal("150"), "limit_price": Decimal("150.10")},
        {"type": OrderType.TRAIL, "trail_amount": Decimal("1.50")},
        {"type": OrderType.TRAIL, "trail_percent": Decimal("2.5")},
        {"type": OrderType.TRAIL, "trail_percent": Decimal("2.5"), "stop_price": Decimal("146")},
        {"type": OrderType.LIMIT, "limit_price": Decimal("140"), "tif": TimeInForce.GTC, "outside_rth": True},
        {"type": OrderType.MARKET_ON_CLOSE},
        {"type": OrderType.LIMIT_ON_CLOSE, "limit_price": Decimal("140")},
    ],
    ids=lambda fields: "-".join(str(value) for value in fields.values()),
)
async def test_q9_what_the_exchange_holds_is_what_was_meant(fields):
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(**fields))
        assert order.state in (OrderState.WORKING, OrderState.PRE_SUBMITTED)
        (told,) = await world.client.open_orders()
        assert told.key == order.key
        assert (told.type, told.quantity, told.side) == (order.intent.type, 10, Side.BUY)
        for name in ("limit_price", "trail_amount", "trail_percent"):
            assert getattr(told, name) == getattr(order.intent, name), name
        assert told.tif is order.intent.tif
        assert told.outside_rth is order.intent.outside_rth
        changed = await world.adapter.modify(order.key, OrderChange(quantity=Decimal(12)))
        assert changed.intent.quantity == 12
        cancelled = await world.adapter.cancel(order.key)
        assert cancelled.state is OrderState.CANCELLED


async def test_good_till_is_carried_in_utc():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        until = (world.gateway.now + timedelta(hours=2)).astimezone(UTC)
        order = await world.adapter.place(buy(limit=140, tif=TimeInForce.GTD, good_till=until))
        assert order.state is OrderState.WORKING
        await world.advance(3 * 3600)
        await world.until(lambda: world.adapter.order(order.key).is_terminal, "the order to expire")
        assert world.adapter.order(order.key).state is OrderState.CANCELLED


async def test_a_bracket_protects_and_its_legs_cancel_each_other():
    async with adapter_world() as world:
        quote = await world.adapter.quote("AAPL")
        entry = buy(limit=round(quote.ask + 0.5, 2))
        placed = await world.adapter.place(Bracket(entry, Decimal(100), Decimal(200)))
        await world.adapter.wait(placed.key, 2)
        legs = {order.leg: order for order in world.adapter.open_orders()}
        assert set(legs) == {1, 2}
        assert legs[1].intent.tif is TimeInForce.GTC
        await world.adapter.cancel(legs[2].key)
        await world.until(lambda: not world.adapter.open_orders() or len(world.adapter.open_orders()) == 1, "the legs")


async def test_a_refusal_names_the_rule_and_nothing_was_sent():
    async with adapter_world(policy=RiskPolicy(open_blackout=timedelta(0))) as world:
        await world.adapter.quote("AAPL")
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(buy(500))
        assert refused.value.rule == "order_value"
        assert 0 < refused.value.largest < 500
        assert world.adapter.orders() == []
        assert not world.gateway.exchange.open_orders()


async def test_b7_the_brokers_margin_estimate_refuses_with_the_largest_that_fits():
    async with adapter_world(policy=replace(WIDE, margin_buffer=Decimal(80_000))) as world:
        await world.adapter.quote("AAPL")
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(buy(650))
        assert refused.value.rule == "margin"
        fits = refused.value.largest
        assert 0 < fits < 650
        order = await world.adapter.place(buy(int(fits) // 2))
        assert order.state in (OrderState.FILLED, OrderState.WORKING, OrderState.PRE_SUBMITTED)


async def test_o26_o27_rounding_is_side_aware_and_reported():
    async with adapter_world() as world:
        asked = replace(buy(limit="140.127"), quantity=Decimal("10.7"))
        result = await world.adapter.rounded(asked)
        assert (result.order.limit_price, result.order.quantity) == (Decimal("140.12"), 10)
        assert [str(one) for one in result.adjustments] == [
            "limit_price 140.127 -> 140.12 (step 0.01)",
            "quantity 10.7 -> 10 (step 1)",
        ]
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(buy(limit="140.127"))
        assert refused.value.rule == "tick_size"
        with pytest.raises(InvalidOrder):
            await world.adapter.rounded(replace(asked, quantity=Decimal("0.3")))


async def test_o04_a_refused_change_leaves_the_order_live():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(limit=140))
        world.arm("reject-order", "10326", "OCA group revision is not allowed")
        results = await asyncio.gather(
            world.adapter.modify(order.key, OrderChange(limit_price=Decimal(139))), return_exceptions=True
        )
        assert type(results[0]).__name__ == "ModifyRejected"
        assert world.adapter.order(order.key).state is OrderState.WORKING
        assert world.adapter.order(order.key).intent.limit_price == 140


async def test_o03_a_warning_never_ends_an_order():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        world.arm("warn-order", "10349")
        order = await world.adapter.place(buy(limit=140))
        await world.client.market_time()
        assert world.adapter.order(order.key).state is OrderState.WORKING
        assert len(world.gateway.exchange.open_orders()) == 1


async def test_o28_a_refused_order_is_refused_at_once():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        world.arm("reject-order", "201")
        with pytest.raises(OrderRejected) as refused:
            await world.adapter.place(buy(limit=140))
        assert refused.value.code == 201


async def test_o12_o13_a_repeated_fill_counts_once_and_a_correction_replaces():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        world.arm("duplicate-execution")
        first = await world.adapter.place(buy())
        await world.client.market_time()
        assert world.adapter.order(first.key).filled == 10
        world.arm("corrected-execution", "0.05")
        second = await world.adapter.place(buy(11))
        await world.client.market_time()
        await world.until(
            lambda: len([fill for fill in world.adapter.fills() if fill.order_key == second.key]) == 1, "one fill"
        )
        assert world.adapter.order(second.key).filled == 11
        assert world.adapter.cached_positions(ACCOUNT)[0].quantity == 21


async def test_o17_b7b_a_manual_order_is_foreign_until_adopted():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        world.arm("manual-order", "AAPL", "50")
        await world.client.market_time()
        assert await held(world) == 50
        with pytest.raises((NotOwned, RiskRefusal)):
            await world.adapter.place(buy(50, side=Side.SELL))
        report = await world.adapter.emergency_stop("drill")
        assert report.not_flat == ()
        assert await held(world) == 50, "a foreign position is not sold"
        await world.adapter.resume()
        await world.adapter.adopt("AAPL")
        report = await world.adapter.emergency_stop("for real")
        assert report.not_flat == ()
        assert await held(world) == 0


async def test_b7a_the_emergency_stop_cancels_closes_and_verifies():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        await world.adapter.place(buy())
        await world.adapter.place(buy(5, limit=140))
        report = await world.adapter.emergency_stop("drill")
        assert report.refused_after < 0.05
        assert len(report.cancelled) == 1
        assert report.still_working == ()
        assert report.not_flat == ()
        assert not world.gateway.exchange.open_orders()
        assert await held(world) == 0
        with pytest.raises(TradingHalted):
            await world.adapter.place(buy(limit=140))
        assert not world.adapter.health().can_trade
        await world.adapter.resume()
        assert (await world.adapter.place(buy(limit=140))).state is OrderState.WORKING


async def test_b7a_the_stop_survives_a_restart_of_the_adapter():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        await world.adapter.emergency_stop("drill", close=False)
        await world.adapter.disconnect()
        again = IBAdapter(world.client, journal=world.journal, policy=WIDE, clock=world.clock)
        await again.connect()
        try:
            with pytest.raises(TradingHalted):
                await again.place(buy(limit=140))
        finally:
            await again.disconnect()


async def test_b7a_outside_regular_hours_closes_are_collared_limits():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        await world.adapter.place(buy())
        await world.advance(7 * 3600)
        stopping = asyncio.ensure_future(world.adapter.emergency_stop("after hours"))
        await world.until(lambda: world.gateway.exchange.open_orders() or stopping.done(), "the closing order")
        closing = world.adapter.orders()[-1].intent
        assert (closing.type, closing.side, closing.outside_rth) == (OrderType.LIMIT, Side.SELL, True)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)


async def test_q5_what_a_restart_missed_is_found():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(limit=142, tif=TimeInForce.GTC))
        await world.adapter.disconnect()
        await world.gateway.advance_to(world.gateway.now + timedelta(hours=6))
        assert world.gateway.exchange.positions(ACCOUNT)
        again = IBAdapter(world.client, journal=world.journal, policy=WIDE, clock=world.clock)
        await again.connect()
        try:
            assert again.order(order.key).state is OrderState.FILLED
            assert again.cached_positions(ACCOUNT)[0].quantity == 10
            assert again.fills()[0].recovered
        finally:
            await again.disconnect()


async def test_a_smart_order_is_a_limit_at_the_touch_inside_the_cap():
    async with adapter_world() as world:
        quote = await world.adapter.quote("AAPL")
        order = await world.adapter.place_smart_order(buy())
        assert order.intent.type is OrderType.LIMIT
        assert quote.ask <= float(order.intent.limit_price) <= quote.ask * 1.0025
        assert (await world.adapter.wait(order.key, 2)).state is OrderState.FILLED


async def test_o35_another_clients_order_is_seen_and_left_alone():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        other = type(world.client)(replace(QUICK, client_id=8, port=world.gateway.tws_port))
        await other.connect()
        try:
            from moondev_ibkr.brokers.domain.reports import WireOrder

            instrument = (await world.adapter.details("AAPL")).instrument
            intent = replace(buy(5, limit=139), instrument=instrument)
            await other.place(WireOrder(other.next_order_id, intent, ACCOUNT))
            await other.market_time()
            await world.adapter.reconcile()
            (foreign,) = [order for order in world.adapter.open_orders() if order.foreign]
            assert foreign.client_id == 8
            with pytest.raises(NotOwned):
                await world.adapter.cancel(foreign.key)
        finally:
            await other.disconnect()


async def test_order_events_carry_every_state_in_order():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        events = world.adapter.order_events()
        order = await world.adapter.place(buy())
        await world.adapter.wait(order.key, 2)
        await world.client.market_time()
        await events.aclose()
        kinds = [event.kind async for event in events]
        assert kinds.count(OrderEventKind.FILL) == 1
        assert kinds.count(OrderEventKind.COMMISSION) == 1
        assert Instrument("AAPL").symbol == order.instrument.symbol
