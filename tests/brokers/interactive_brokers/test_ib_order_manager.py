"""Prices go to their tick away from the asker's harm, sizes down to their step, and every change is reported."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderType, PriceField, Side
from moondev_ibkr.brokers.errors import InvalidOrder
from moondev_ibkr.brokers.interactive_brokers.ib_order_manager import ROUNDING, rounded, rounded_bracket

D = Decimal
AAPL = Instrument("AAPL", con_id=265598)
BANDS = InstrumentDetails(
    AAPL, increments=(PriceIncrement(D(0), D("0.0001")), PriceIncrement(D(1), D("0.01"))), size_increment=D(1)
)


def order(side=Side.BUY, quantity="10", **fields):
    return NewOrder(AAPL, side, D(quantity), **fields)


def test_the_table_names_every_price_that_has_a_tick():
    assert set(ROUNDING) == {
        (name, side) for name in PriceField for side in Side if name is not PriceField.TRAIL_PERCENT
    }


@pytest.mark.parametrize(
    ("side", "fields", "name", "used"),
    [
        (Side.BUY, {"type": OrderType.LIMIT, "limit_price": D("10.019")}, "limit_price", "10.01"),
        (Side.SELL, {"type": OrderType.LIMIT, "limit_price": D("10.011")}, "limit_price", "10.02"),
        (Side.BUY, {"type": OrderType.STOP, "stop_price": D("10.011")}, "stop_price", "10.02"),
        (Side.SELL, {"type": OrderType.STOP, "stop_price": D("10.019")}, "stop_price", "10.01"),
        (Side.SELL, {"type": OrderType.TRAIL, "trail_amount": D("1.001"), "stop_price": D(10)}, "trail_amount", "1.01"),
        (Side.BUY, {"type": OrderType.LIMIT, "limit_price": D("0.50019")}, "limit_price", "0.5001"),
    ],
)
def test_o26_rounding_never_harms_the_asker(side, fields, name, used):
    result = rounded(order(side, **fields), BANDS)
    assert getattr(result.order, name) == D(used)
    (report,) = result.adjustments
    assert (report.name, report.asked, report.used) == (name, fields[name], D(used))


def test_what_fits_is_left_alone():
    fits = order(type=OrderType.LIMIT, limit_price=D("10.01"))
    assert rounded(fits, BANDS).order is fits
    assert rounded(fits, BANDS).adjustments == ()


def test_a_trailing_percentage_has_no_tick():
    asked = order(Side.SELL, type=OrderType.TRAIL, trail_percent=D("2.345678"))
    assert rounded(asked, BANDS).order.trail_percent == D("2.345678")


@pytest.mark.parametrize(("step", "asked", "used"), [("1", "10.9", "10"), ("100", "250", "200"), ("0.1", "10.9", "10")])
def test_o27_o47_sizes_go_down_to_the_step_of_exchange_and_door(step, asked, used):
    result = rounded(order(quantity=asked), replace(BANDS, size_increment=D(step)))
    assert result.order.quantity == D(used)


def test_too_little_is_refused_with_the_least():
    with pytest.raises(InvalidOrder, match="at least 100"):
        rounded(order(quantity="50"), replace(BANDS, size_increment=D(100), min_size=D(100)))


def test_a_bracket_is_rounded_as_a_whole_and_keeps_its_key():
    entry = order(type=OrderType.LIMIT, limit_price=D("10.019"))
    result, report = rounded_bracket(Bracket(entry, D("9.019"), D("12.011")), BANDS)
    assert (result.entry.limit_price, result.stop_price, result.target_price) == (D("10.01"), D("9.01"), D("12.02"))
    assert [one.name for one in report] == ["limit_price", "stop_price", "target_price"]
    assert result.key == entry.key


@given(st.decimals("0.0001", "5000", places=6), st.sampled_from(list(Side)))
def test_every_rounded_limit_lies_on_the_grid_within_one_step(price, side):
    result = rounded(order(side, type=OrderType.LIMIT, limit_price=price), BANDS)
    used = result.order.limit_price
    assert used % BANDS.increment_at(price) == 0
    assert abs(used - price) < BANDS.increment_at(price)
    assert (used - price) * side.sign <= 0
