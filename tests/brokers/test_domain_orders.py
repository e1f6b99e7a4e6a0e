"""Orders as intended: what is impossible is refused when it is written."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import (
    KEY_PATTERN,
    TYPE_RULES,
    Bracket,
    Fill,
    NewOrder,
    Order,
    OrderChange,
    OrderType,
    PriceField,
    Side,
    TimeInForce,
    WhatIf,
    exec_base_id,
    exec_revision,
    leg_key,
    new_key,
    to_decimal,
)
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import InvalidOrder

AAPL = Instrument("AAPL")
WHEN = datetime(2024, 3, 4, 15, 0, tzinfo=UTC)


def order(kind: OrderType = OrderType.LIMIT, **fields) -> NewOrder:
    defaults = {name.value: Decimal(100) for name in TYPE_RULES[kind].required}
    if TYPE_RULES[kind].one_of:
        defaults["trail_amount"] = Decimal(1)
    return NewOrder(AAPL, Side.BUY, fields.pop("quantity", Decimal(10)), kind, **{**defaults, **fields})


def test_every_order_type_has_a_rule():
    assert set(TYPE_RULES) == set(OrderType)


@pytest.mark.parametrize("kind", OrderType)
def test_o33_each_type_takes_exactly_its_prices(kind):
    rule = TYPE_RULES[kind]
    assert order(kind).type is kind
    for name in rule.required:
        with pytest.raises(InvalidOrder, match=f"needs {name.value}"):
            order(kind, **{name.value: None})
    for name in set(PriceField) - rule.required - rule.optional - rule.one_of:
        with pytest.raises(InvalidOrder, match="does not use"):
            order(kind, **{name.value: Decimal(5)})


def test_a_trail_takes_one_of_amount_and_percent():
    assert order(OrderType.TRAIL, trail_amount=None, trail_percent=Decimal(5)).trail_percent == 5
    for both in ({"trail_amount": None}, {"trail_percent": Decimal(5)}):
        with pytest.raises(InvalidOrder, match="exactly one of"):
            order(OrderType.TRAIL, **both)


@pytest.mark.parametrize("quantity", [0, -1, "NaN", "Infinity", "ten", None, True])
def test_a_quantity_must_be_a_number_above_zero(quantity):
    with pytest.raises(InvalidOrder):
        order(quantity=quantity)


@pytest.mark.parametrize("price", [0, -5, float("nan"), float("inf")])
def test_a_price_must_be_a_number_above_zero(price):
    with pytest.raises(InvalidOrder):
        order(limit_price=price)


def test_floats_become_the_decimal_that_they_print_as():
    one = order(quantity=10.5, limit_price=0.1)
    assert (one.quantity, one.limit_price) == (Decimal("10.5"), Decimal("0.1"))


@pytest.mark.parametrize("key", ["", "a" * 33, "with space", "under_score", "ümlaut", "a/b"])
def test_a_key_that_cannot_travel_is_refused(key):
    with pytest.raises(InvalidOrder, match="key"):
        order(key=key)


def test_keys_are_made_once_and_differ():
    one = order()
    assert one.key == one.key
    assert KEY_PATTERN.match(new_key())
    assert order().key != order().key
    assert one.with_key("other").key == "other"


def test_gtd_goes_with_an_aware_time():
    assert order(tif=TimeInForce.GTD, good_till=WHEN).good_till == WHEN
    for fields in (
        {"tif": TimeInForce.GTD},
        {"good_till": WHEN},
        {"tif": TimeInForce.GTD, "good_till": WHEN.replace(tzinfo=None)},
    ):
        with pytest.raises(InvalidOrder, match="good_till"):
            order(**fields)


def test_plain_texts_become_the_enums():
    one = NewOrder(AAPL, "SELL", 5, "MKT", tif="IOC")
    assert (one.side, one.type, one.tif) == (Side.SELL, OrderType.MARKET, TimeInForce.IOC)
    assert (one.side.sign, one.side.opposite) == (-1, Side.BUY)


def test_an_intent_is_frozen():
    with pytest.raises(FrozenInstanceError):
        order().quantity = Decimal(1)


# Changes


def test_a_change_gives_the_intent_as_it_would_stand():
    one = order()
    changed = OrderChange(quantity=Decimal(20), limit_price=Decimal(99), tif=TimeInForce.GTC).apply(one)
    assert (changed.quantity, changed.limit_price, changed.tif, changed.key) == (20, 99, TimeInForce.GTC, one.key)


def test_an_empty_or_impossible_change_is_refused():
    with pytest.raises(InvalidOrder, match="nothing is changed"):
        OrderChange().apply(order())
    with pytest.raises(InvalidOrder, match="does not use"):
        OrderChange(stop_price=Decimal(90)).apply(order())


# Brackets


def test_a_bracket_makes_its_legs():
    bracket = Bracket(order(key="root", outside_rth=True, account="DU1"), Decimal(90), Decimal(120))
    entry, stop, target = bracket.legs()
    assert entry is bracket.entry
    assert (stop.key, stop.type, stop.side, stop.stop_price) == ("root-1", OrderType.STOP, Side.SELL, 90)
    assert (target.key, target.type, target.limit_price) == ("root-2", OrderType.LIMIT, 120)
    for leg in (stop, target):
        assert (leg.quantity, leg.tif, leg.oca_group) == (10, TimeInForce.GTC, "oca-root")
        assert (leg.reduce_only, leg.outside_rth, leg.account) == (True, True, "DU1")
    assert len(Bracket(order(), Decimal(90)).legs()) == 2


@pytest.mark.parametrize(("stop", "target"), [(110, None), (0, None), (90, 80), (100, None), (90, 90), ("x", None)])
def test_a_bracket_on_the_wrong_side_is_refused(stop, target):
    with pytest.raises(InvalidOrder):
        Bracket(order(), stop, target)


def test_a_short_bracket_stands_on_its_head():
    entry = NewOrder(AAPL, Side.SELL, Decimal(10), OrderType.LIMIT, limit_price=Decimal(100))
    assert Bracket(entry, Decimal(110), Decimal(80)).legs()[1].side is Side.BUY
    with pytest.raises(InvalidOrder):
        Bracket(entry, Decimal(90))


@given(st.from_regex(r"[A-Za-z0-9-]{1,32}", fullmatch=True), st.integers(0, 9))
def test_leg_keys_can_travel_and_differ(root, number):
    key = leg_key(root, number)
    assert KEY_PATTERN.match(key)
    assert (key == root) == (number == 0)
    assert len({leg_key(root, one) for one in range(10)}) == 10


# Fills


@pytest.mark.parametrize(
    ("exec_id", "base", "revision"),
    [("0000e0d5.1.01", "0000e0d5.1", 1), ("a.b.12", "a.b", 12), ("plain", "plain", 0), ("x.y", "x", 0)],
)
def test_o13_an_execution_id_is_a_base_and_a_revision(exec_id, base, revision):
    assert (exec_base_id(exec_id), exec_revision(exec_id)) == (base, revision)
    assert Fill(exec_id, AAPL, Side.BUY, Decimal(1), Decimal(1), WHEN, "DU1").base_id == base


def test_what_remains_is_never_negative():
    one = Order(order(), OrderState.WORKING, filled=Decimal(4))
    assert (one.remaining, one.is_terminal, one.instrument) == (6, False, AAPL)
    assert Order(order(), OrderState.FILLED, filled=Decimal(15)).remaining == 0


def test_excess_liquidity_needs_both_of_its_parts():
    assert WhatIf(equity_after=Decimal(10), maintenance_margin_after=Decimal(4)).excess_liquidity_after == 6
    assert WhatIf(equity_after=Decimal(10)).excess_liquidity_after is None


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_pass_through_unchanged(value):
    assert to_decimal(value, "x") is value
