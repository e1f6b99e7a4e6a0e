"""The largest order that fits really fits, and one more does not: for any account, any limits, either side."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.instrument import InstrumentDetails
from moondev_ibkr.brokers.domain.order import OrderChange
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.risk import DayStart, RiskEngine

D = Decimal
money = st.integers(0, 60_000).map(D)


def largest(engine: RiskEngine, order: Any, **how: Any) -> Decimal | None:
    """What a refusal offers; None when the order passes or the refusal is not about size."""
    try:
        engine.check(order, **how)
    except BrokerError as error:
        offered: Decimal | None = error.data["largest"]
        return offered
    return None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    side=st.sampled_from(["BUY", "SELL"]),
    price=st.integers(9_900, 10_200).map(lambda cents: D(cents) / 100),
    held=st.integers(-300, 300),
    foreign=st.integers(-50, 50),
    others=st.integers(0, 300),
    works=st.integers(0, 100),
    limits=st.tuples(money, money, money, st.integers(1, 100), st.integers(1, 500)),
    cash=st.none() | money,
    lot=st.sampled_from([1, 5, 100]),
    short=st.none() | st.integers(0, 200),
)
def test_largest_fits_and_one_lot_more_does_not(
    world, side, price, held, foreign, others, works, limits, cash, lot, short
):
    world = type(world)()
    world.detail["AAPL"] = InstrumentDetails(world.detail["AAPL"].instrument, size_increment=D(lot))
    world.hold(held + foreign, owned=held)
    world.hold(others, symbol="IBM", price=100)
    if works:
        world.working(side, works, limit_price=price)
    if cash is not None:
        world.summarise(account_type="CASH", settled_cash=cash)
    if short is not None:
        world.borrow["AAPL"] = D(short)
    engine = world.engine(
        max_position_value=limits[0],
        max_exposure=limits[1],
        max_order_value=limits[2],
        max_concentration=D(limits[3]) / 100,
        max_order_quantity=D(limits[4]),
        allow_short=short is not None,
    )
    order = world.order(side, 100_000, limit_price=price)
    fits = largest(engine, order)
    assert fits is not None
    assert fits >= 0
    assert fits % lot == 0
    if fits:
        engine.check(replace(order, quantity=fits))
    with pytest.raises(BrokerError):
        engine.check(replace(order, quantity=fits + lot))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(quantity=st.integers(1, 80), filled=st.integers(0, 79), limit=st.integers(0, 9_000).map(D))
def test_largest_of_a_modify_is_a_total(world, quantity, filled, limit):
    filled = min(filled, quantity - 1)
    world = type(world)()
    world.hold(filled)
    mine = world.working("BUY", quantity, limit_price=100, filled=filled)
    engine = world.engine(max_position_value=limit)
    wanted = OrderChange(quantity=D(5_000)).apply(mine.intent)
    fits = largest(engine, wanted, replaces=mine)
    assert fits is not None
    if fits:
        assert fits > filled
        engine.check(replace(wanted, quantity=fits), replaces=mine)
    with pytest.raises(BrokerError):
        engine.check(replace(wanted, quantity=max(fits, D(filled)) + 1), replaces=mine)


def test_largest_is_nothing_when_another_rule_refuses_every_size(world):
    world.start = DayStart(date(2026, 11, 20), D(200_000))
    assert largest(world.engine(), world.order("BUY", 10_000, limit_price=100)) == 0


def test_largest_is_not_a_quantity_that_would_be_a_duplicate(world):
    world.past.append(world.working("BUY", 50, limit_price=100))
    world.live.clear()
    fits = largest(world.engine(max_order_value=D(5_000)), world.order("BUY", 60, limit_price=100))
    assert fits == 49
