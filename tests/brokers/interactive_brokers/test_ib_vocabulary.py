"""The tables between IB's words and ours are total, one to one, and lose nothing."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource, DataType, Quote
from moondev_ibkr.brokers.domain.order import (
    TYPE_RULES,
    NewOrder,
    OrderType,
    PriceField,
    Side,
    TimeInForce,
)
from moondev_ibkr.brokers.domain.reports import BrokerStatus
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.interactive_brokers import ib_vocabulary as words

PRICES = st.decimals(min_value="0.0001", max_value="999999.9999", places=4)


@pytest.mark.parametrize(
    ("ours", "forward", "backward"),
    [
        (OrderType, words.ORDER_TYPE_WORDS, words.ORDER_TYPES),
        (TimeInForce, words.TIF_WORDS, words.TIFS),
        (Side, words.SIDE_WORDS, words.SIDES),
        (DataType, words.DATA_TYPE_CODES, words.DATA_TYPES),
    ],
)
def test_every_word_of_ours_has_one_of_ibs_and_comes_back(ours, forward, backward):
    assert set(forward) == set(ours)
    assert len(set(forward.values())) == len(forward)
    for member in ours:
        assert backward[forward[member]] is member


@pytest.mark.parametrize(
    ("ours", "table"),
    [
        (BarSize, words.BAR_SIZE_WORDS),
        (BarSize, words.LONGEST_REQUEST),
        (BarSource, words.WHAT_TO_SHOW),
        (OrderType, words.PRICE_SLOTS),
    ],
)
def test_one_way_tables_are_total(ours, table):
    assert set(table) == set(ours)


def test_statuses_are_total():
    assert set(words.STATUS_WORDS.values()) == set(BrokerStatus)


def test_price_slots_hold_exactly_the_prices_that_the_type_may_have():
    for kind, rule in TYPE_RULES.items():
        assert set(words.PRICE_SLOTS[kind]) == rule.required | rule.optional | rule.one_of


def test_ticks_go_to_fields_that_a_quote_has_and_delayed_ones_to_the_same():
    for field in words.TICK_FIELDS.values():
        assert field in Quote.__dataclass_fields__
    for delayed, live in words.DELAYED_TICKS.items():
        assert words.TICK_FIELDS.get(delayed) == words.TICK_FIELDS.get(live)


def intents():
    """Every order type with every combination of prices that its rule allows."""

    @st.composite
    def build(draw):
        kind = draw(st.sampled_from(list(OrderType)))
        rule = TYPE_RULES[kind]
        chosen = set(rule.required)
        chosen |= {field for field in rule.optional if draw(st.booleans())}
        if rule.one_of:
            chosen.add(draw(st.sampled_from(sorted(rule.one_of))))
        prices = {field.value: draw(PRICES) for field in chosen}
        return NewOrder(Instrument("AAPL"), Side.BUY, Decimal(1), kind, **prices)

    return build()


@given(intents())
def test_prices_survive_the_way_to_ib_and_back(intent):
    slots = words.order_prices(intent)
    back = words.intent_prices(intent.type, slots)
    given_prices = {field: getattr(intent, field.value) for field in PriceField if getattr(intent, field.value)}
    assert back == given_prices


def test_ibs_echo_of_a_trailing_percentage_is_not_read_as_an_amount():
    echo = {words.PriceSlot.TRAILING_PERCENT: 5.0, words.PriceSlot.AUX: 7.5, words.PriceSlot.TRAIL_STOP: 142.5}
    assert words.intent_prices(OrderType.TRAIL, echo) == {
        PriceField.TRAIL_PERCENT: Decimal(5),
        PriceField.STOP: Decimal("142.5"),
    }


@pytest.mark.parametrize(
    "unset", [None, "", words.UNSET_DOUBLE, float("nan"), float("inf"), "1.7976931348623157E308", "junk"]
)
def test_sentinels_are_none_never_a_number(unset):
    assert words.to_decimal(unset) is None
    assert words.to_order_price(unset) is None


@pytest.mark.parametrize(("value", "price", "size"), [(-1, None, None), (0, None, 0), (1.5, 1.5, 1.5)])
def test_minus_one_and_zero_are_never_a_market_price(value, price, size):
    assert words.to_market_price(value) == price
    assert words.to_market_size(value) == size


@pytest.mark.parametrize(
    ("tick", "halted"), [(None, None), (float("nan"), None), (-1, None), (0, False), (1, True), (2, True)]
)
def test_halt_tick(tick, halted):
    assert words.to_halted(tick) is halted


@given(st.decimals(min_value="-1000000", max_value="1000000", places=4))
def test_money_and_quantities_are_exact(number):
    assert words.to_decimal(float(number)) == number
    assert words.to_decimal(str(number)) == number


def test_times_are_utc_and_naive_ones_are_refused():
    paris = timezone(timedelta(hours=1))
    assert words.ib_time(datetime(2025, 1, 2, 16, 30, tzinfo=paris)) == "20250102-15:30:00"
    assert words.ib_time(None) == ""
    with pytest.raises(InvalidRequest):
        words.ib_time(datetime(2025, 1, 2))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("span", "size", "said"),
    [
        (timedelta(hours=2), BarSize.M1, "7200 S"),
        (timedelta(seconds=5), BarSize.S1, "30 S"),
        (timedelta(days=3), BarSize.M5, "3 D"),
        (timedelta(days=10), BarSize.D1, "10 D"),
        (timedelta(hours=1), BarSize.D1, "1 D"),
        (timedelta(days=800), BarSize.D1, "3 Y"),
    ],
)
def test_durations(span, size, said):
    assert words.duration_words(span, size) == said


def test_ib_time_of_utc():
    assert words.ib_time(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)) == "20250102-03:04:05"


@pytest.mark.parametrize("unset", [None, float("nan"), float("inf"), words.UNSET_DOUBLE, -1, -1.0])
def test_market_data_sentinels_in_every_form(unset):
    assert words.to_market_price(unset) is None
    assert words.to_market_size(unset) is None
    assert words.to_market_size(words.UNSET_INTEGER) is None
