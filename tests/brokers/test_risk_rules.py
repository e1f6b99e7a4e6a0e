"""Every risk rule at its limit, one below and one above; and what exits may do that entries may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.account import Position
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails, PriceIncrement, SecType
from moondev_ibkr.brokers.domain.market_data import DataType
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderChange, OrderType, TimeInForce
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import BrokerError, NotOwned, RiskRefusal, TradingHalted
from moondev_ibkr.brokers.risk import RULES, DayStart, Occasion, RiskEngine

D = Decimal
WIDE = {
    "max_position_value": D(10**9),
    "max_order_value": D(10**9),
    "max_exposure": D(10**9),
    "max_concentration": D(10**6),
}


def refused(engine: RiskEngine, order: NewOrder, **how: Any) -> BrokerError:
    """The refusal of an order; fails when it passes."""
    with pytest.raises(BrokerError) as caught:
        engine.check(order, **how)
    return caught.value


def rule_of(engine: RiskEngine, order: NewOrder, **how: Any) -> str | None:
    """Name of the rule that refuses, None when the order passes."""
    try:
        engine.check(order, **how)
    except BrokerError as error:
        return str(error.data["rule"])
    return None


def test_an_ordinary_order_passes_every_rule(world):
    world.engine().check(world.order("BUY", 50))
    world.engine().check(world.order("BUY", 50, limit_price=D("100.02")))


# Size


def test_position_value_at_below_and_above_the_limit(world):
    engine = world.engine(max_position_value=D(5_000), max_order_value=D(10**6))
    engine.check(world.order("BUY", 49, limit_price=100))
    engine.check(world.order("BUY", 50, limit_price=100))
    error = refused(engine, world.order("BUY", 51, limit_price=100))
    assert isinstance(error, RiskRefusal)
    assert (error.rule, error.value, error.limit, error.largest) == ("position_value", D(5_100), D(5_000), D(50))
    assert "largest order that fits 50" in str(error)


def test_position_value_counts_what_is_held_and_what_works(world):
    world.hold(20)
    world.working("BUY", 10, limit_price=D("99.90"))
    engine = world.engine(max_position_value=D(5_000))
    # 30 shares stand at the ask of 100.02, which leaves room for 19 at 100.
    error = refused(engine, world.order("BUY", 20, limit_price=100))
    assert (error.data["rule"], error.data["largest"]) == ("position_value", D(19))
    engine.check(world.order("BUY", 19, limit_price=100))


def test_order_value_and_order_quantity(world):
    engine = world.engine(**{**WIDE, "max_order_value": D(2_000)})
    engine.check(world.order("BUY", 20, limit_price=100))
    assert rule_of(engine, world.order("BUY", 21, limit_price=100)) == "order_value"
    engine = world.engine(**WIDE, max_order_quantity=D(500))
    engine.check(world.order("BUY", 500, limit_price=100))
    error = refused(engine, world.order("BUY", 501, limit_price=100))
    assert (error.data["rule"], error.data["largest"]) == ("order_quantity", D(500))


def test_one_order_is_worth_no_more_than_the_account_whatever_the_caps_say(world):
    engine = world.engine(**WIDE)
    engine.check(world.order("BUY", 1_000, limit_price=100))
    error = refused(engine, world.order("BUY", 8_100, limit_price=100))
    assert (error.data["rule"], error.data["value"]) == ("order_equity", D(810_000))
    assert (error.data["limit"], error.data["largest"]) == (D(100_000), D(1_000))
    world.summarise(net_liquidation=D(96_000))
    assert refused(engine, world.order("BUY", 8_100)).data["largest"] == D(959)  # at the ask of 100.02


def test_equity_in_another_currency_is_converted(world):
    world.summarise(net_liquidation=D(100_000), currency="EUR")
    world.start = DayStart(date(2026, 11, 20), D(100_000), currency="EUR")
    world.rates["EUR"] = D("1.2")
    engine = world.engine(**WIDE)
    engine.check(world.order("BUY", 1_200, limit_price=100))
    assert rule_of(engine, world.order("BUY", 1_201, limit_price=100)) == "order_equity"


def test_a_change_may_not_grow_an_order_past_the_account_by_what_is_filled(world):
    mine = world.working("BUY", 900, limit_price=100, filled=600)
    engine = world.engine(**WIDE)
    engine.check(OrderChange(quantity=D(1_000)).apply(mine.intent), replaces=mine)
    error = refused(engine, OrderChange(quantity=D(1_500)).apply(mine.intent), replaces=mine)
    assert (error.data["rule"], error.data["largest"]) == ("order_equity", D(1_000))


def test_an_exit_is_not_measured_by_what_is_left_of_the_account(world):
    world.hold(500)
    world.summarise(net_liquidation=D(1_000))
    world.engine(**WIDE).check(world.order("SELL", 500, limit_price=100))


def test_a_symbol_may_have_its_own_lower_limit(world):
    engine = world.engine(symbol_limits={"aapl": D(1_000)})
    engine.check(world.order("BUY", 10, limit_price=100))
    assert rule_of(engine, world.order("BUY", 11, limit_price=100)) == "symbol_limit"


def test_concentration_is_a_share_of_net_liquidation(world):
    world.summarise(net_liquidation=D(20_000))
    world.start = DayStart(date(2026, 11, 20), D(20_000))
    engine = world.engine(max_concentration=D("0.25"))
    engine.check(world.order("BUY", 50, limit_price=100))
    error = refused(engine, world.order("BUY", 51, limit_price=100))
    assert (error.data["rule"], error.data["largest"]) == ("concentration", D(50))


def test_exposure_adds_all_positions_and_working_orders_foreign_ones_too(world):
    world.hold(100, symbol="IBM", price=200)  # 20 000
    world.hold(50, symbol="KO", price=60, owned=0)  # 3 000, foreign
    world.live.append(
        replace(world.working("BUY", 10), intent=world.order("BUY", 10, instrument=Instrument("PEP"), limit_price=150))
    )
    world.live.pop(0)  # only the order in PEP stays: 1 500
    engine = world.engine(max_exposure=D(26_500))
    engine.check(world.order("BUY", 20, limit_price=100))
    error = refused(engine, world.order("BUY", 21, limit_price=100))
    assert (error.data["rule"], error.data["value"], error.data["largest"]) == ("exposure", D(26_600), D(20))


def test_protective_orders_add_no_exposure(world):
    world.hold(40)
    world.working("SELL", 40, type=OrderType.STOP, stop_price=80, oca_group="g")
    world.working("SELL", 40, limit_price=130, oca_group="g")
    world.hold(10, symbol="IBM", price=100)
    world.engine(max_exposure=D(10_000)).check(world.order("BUY", 49, limit_price=100, type=OrderType.LIMIT))


def test_exposure_in_another_currency_is_converted(world):
    world.held.append(Position("DU0000001", Instrument("SAP", currency="EUR"), D(10), D(100), D(100)))
    assert rule_of(world.engine(), world.order("BUY", 1)) == "exposure"  # no rate yet: unknown is not zero
    world.rates["EUR"] = D("1.10")
    world.engine(max_exposure=D(1_200)).check(world.order("BUY", 1, limit_price=100))
    assert rule_of(world.engine(max_exposure=D(1_199)), world.order("BUY", 1, limit_price=100)) == "exposure"


def test_a_position_without_any_price_blocks_new_exposure(world):
    world.working("BUY", 5, instrument=Instrument("XYZ"))
    error = refused(world.engine(), world.order("BUY", 1))
    assert error.data["rule"] == "exposure"
    assert "XYZ cannot be valued" in str(error)


# Loss and money


@pytest.mark.parametrize(("net", "rule"), [(95_001, None), (95_000, "daily_loss"), (94_999, "daily_loss")])
def test_daily_loss_blocks_at_the_limit(world, net, rule):
    world.summarise(net_liquidation=D(net))
    assert rule_of(world.engine(), world.order("BUY", 1)) == rule


def test_transfers_are_no_loss_and_no_gain(world):
    world.summarise(net_liquidation=D(95_000))
    world.start = DayStart(date(2026, 11, 20), D(100_000), transfers=D(-5_000))
    world.engine().check(world.order("BUY", 1))
    world.start = DayStart(date(2026, 11, 20), D(90_000), transfers=D(10_000))
    assert rule_of(world.engine(), world.order("BUY", 1)) == "daily_loss"


def test_daily_loss_in_another_currency(world):
    world.summarise(net_liquidation=D(96_000), currency="EUR")
    world.start = DayStart(date(2026, 11, 20), D(100_000), currency="EUR")
    assert rule_of(world.engine(), world.order("BUY", 1)) == "daily_loss"  # no rate
    world.rates["EUR"] = D("1.2")
    world.engine().check(world.order("BUY", 1))  # 4 800 USD
    world.rates["EUR"] = D("1.25")
    assert rule_of(world.engine(), world.order("BUY", 1)) == "daily_loss"  # 5 000 USD


@pytest.mark.parametrize("start", [None, DayStart(date(2026, 11, 19), D(100_000))])
def test_an_unknown_start_of_day_is_not_a_day_without_loss(world, start):
    world.start = start
    error = refused(world.engine(), world.order("BUY", 1))
    assert (error.data["rule"], error.data["largest"]) == ("daily_loss", D(0))


def test_the_loss_day_begins_at_midnight_in_new_york(world):
    world.time = datetime(2026, 11, 21, 4, 59, 59, tzinfo=UTC)
    world.set_quote(99.98, 100.02)
    world.engine().check(world.order("BUY", 1))
    world.time = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
    world.set_quote(99.98, 100.02)
    assert rule_of(world.engine(), world.order("BUY", 1)) == "daily_loss"


def test_a_cash_account_buys_with_settled_cash_that_no_working_buy_needs(world):
    world.summarise(account_type="CASH", settled_cash=D(3_000))
    world.working("BUY", 10, limit_price=99)
    engine = world.engine()
    engine.check(world.order("BUY", 20, limit_price=100))
    error = refused(engine, world.order("BUY", 21, limit_price=100))
    assert (error.data["rule"], error.data["limit"], error.data["largest"]) == ("settled_cash", D(2_010), D(20))
    world.summarise(settled_cash=None)
    assert rule_of(engine, world.order("BUY", 1)) == "settled_cash"
    world.summarise(account_type="MARGIN")
    engine.check(world.order("BUY", 1))


@pytest.mark.parametrize(("left", "rule"), [(None, None), (3, None), (1, None), (0, "day_trades")])
def test_day_trades_count_only_when_the_broker_counts_them(world, left, rule):
    world.summarise(day_trades_remaining=left)
    assert rule_of(world.engine(), world.order("BUY", 1)) == rule


# Price and moment


@pytest.mark.parametrize(
    ("limit", "rule"),
    [("100.00", None), ("102.02", None), ("102.03", "collar"), ("90.00", None), ("1000.00", "collar")],
)
def test_collar_of_a_buy(world, limit, rule):
    assert rule_of(world.engine(**WIDE), world.order("BUY", 1, limit_price=D(limit))) == rule  # 200 bps beyond 100.02


def test_collar_says_how_far_a_price_may_go(world):
    error = refused(world.engine(**WIDE), world.order("BUY", 1, limit_price=110))
    assert (error.data["rule"], error.data["limit"]) == ("collar", D(200))
    assert "price it within 102.02" in str(error)


def test_collar_of_an_exit_is_wider(world):
    world.hold(10)
    world.engine().check(world.order("SELL", 10, limit_price=95))
    assert rule_of(world.engine(), world.order("SELL", 10, limit_price=D("89.97"))) == "collar"


def test_collar_measures_a_stop_limit_from_its_stop(world):
    def buy(limit: str) -> NewOrder:
        return world.order("BUY", 1, type=OrderType.STOP_LIMIT, stop_price=110, limit_price=D(limit))

    world.engine().check(buy("111"))
    assert rule_of(world.engine(), buy("113")) == "collar"


def test_a_market_order_does_not_pay_a_wide_spread(world):
    world.set_quote(98, 102)
    world.engine().check(world.order("BUY", 1))  # half a spread of 200 bps
    world.set_quote(97.9, 102)
    assert rule_of(world.engine(), world.order("BUY", 1)) == "collar"


@pytest.mark.parametrize(
    ("age", "rule"), [(0, None), (30, None), (30.1, "fresh_quote"), (-30, None), (-31, "fresh_quote")]
)
def test_entries_need_a_fresh_quote(world, age, rule):
    world.set_quote(99.98, 100.02, time=world.time - timedelta(seconds=age))
    assert rule_of(world.engine(), world.order("BUY", 1, limit_price=100)) == rule


@pytest.mark.parametrize(
    ("bid", "ask"), [(None, 100.02), (99.98, None), (100.02, 99.98), (100.0, 100.0), (0.0, 100.0), (-1.0, 100.0)]
)
def test_entries_need_a_two_sided_quote(world, bid, ask):
    world.set_quote(bid, ask)
    assert rule_of(world.engine(), world.order("BUY", 1, limit_price=100)) == "fresh_quote"


def test_delayed_quotes_count_only_when_the_policy_says_so(world):
    world.set_quote(99.98, 100.02, data_type=DataType.DELAYED)
    assert rule_of(world.engine(), world.order("BUY", 1)) == "fresh_quote"
    world.engine(allow_delayed_quotes=True).check(world.order("BUY", 1))


def test_no_quote_at_all(world):
    world.quotes.clear()
    assert rule_of(world.engine(), world.order("BUY", 1)) == "fresh_quote"


@pytest.mark.parametrize(("seconds", "rule"), [(0, "open_blackout"), (4.9, "open_blackout"), (5, None), (-1, None)])
def test_nothing_is_opened_in_the_first_seconds(world, seconds, rule):
    world.time = world.day.open + timedelta(seconds=seconds)
    world.set_quote(99.98, 100.02)
    assert rule_of(world.engine(), world.order("BUY", 1)) == rule


def test_nothing_is_opened_while_halted(world):
    world.set_quote(99.98, 100.02, halted=True)
    assert rule_of(world.engine(), world.order("BUY", 1)) == "halted"
    world.set_quote(99.98, 100.02, halted=None)
    world.engine().check(world.order("BUY", 1))


@pytest.mark.parametrize("session", [session for session in Session if session is not Session.REGULAR])
def test_outside_regular_hours_only_limits_open(world, session):
    world.session_now = session
    engine = world.engine()
    assert rule_of(engine, world.order("BUY", 1)) == "outside_hours"
    assert rule_of(engine, world.order("BUY", 1, type=OrderType.STOP, stop_price=110)) == "outside_hours"
    assert rule_of(engine, world.order("BUY", 1, type=OrderType.MIDPRICE, limit_price=100)) == "outside_hours"
    engine.check(world.order("BUY", 1, limit_price=100, outside_rth=True))


def test_outside_regular_hours_exits_may_rest_but_not_be_sent_to_market(world):
    world.session_now = Session.POST
    world.hold(10)
    engine = world.engine()
    assert rule_of(engine, world.order("SELL", 10)) == "outside_hours"
    engine.check(world.order("SELL", 10, type=OrderType.STOP, stop_price=90, tif=TimeInForce.GTC))
    engine.check(world.order("SELL", 10, tif=TimeInForce.OPG))
    engine.check(world.order("SELL", 10, limit_price=D("99.50"), outside_rth=True))


def test_a_suspect_quote_blocks_market_orders_only(world):
    world.set_quote(99.98, 100.02, suspect="portal says 92.10")
    assert rule_of(world.engine(), world.order("BUY", 1)) == "suspect_quote"
    world.engine().check(world.order("BUY", 1, limit_price=100))
    world.hold(10)
    assert rule_of(world.engine(), world.order("SELL", 10)) == "suspect_quote"


@pytest.mark.parametrize(
    ("side", "stop", "rule"),
    [
        ("BUY", "99.98", "stop_side"),
        ("BUY", "99.99", None),
        ("SELL", "100.02", "stop_side"),
        ("SELL", "100.01", None),
        ("SELL", "80", None),
    ],
)
def test_a_stop_does_not_trigger_at_once(world, side, stop, rule):
    world.hold(10)
    assert rule_of(world.engine(), world.order(side, 10, type=OrderType.STOP, stop_price=D(stop))) == rule


# The order as written


@pytest.mark.parametrize(("quantity", "rule"), [(1, None), ("1.5", "whole_shares"), ("0.5", "whole_shares")])
def test_whole_shares(world, quantity, rule):
    assert rule_of(world.engine(), world.order("BUY", quantity)) == rule


def test_a_fraction_is_told_the_whole_shares_that_fit(world):
    assert refused(world.engine(), world.order("BUY", "7.9")).data["largest"] == D(7)


def test_lots(world):
    world.detail["AAPL"] = InstrumentDetails(world.detail["AAPL"].instrument, min_size=D(10), size_increment=D(5))
    engine = world.engine()
    engine.check(world.order("BUY", 10))
    assert rule_of(engine, world.order("BUY", 5)) == "lot_size"
    error = refused(engine, world.order("BUY", 13))
    assert (error.data["rule"], error.data["limit"], error.data["largest"]) == ("lot_size", D(5), D(10))


@pytest.mark.parametrize(
    ("side", "fields", "hint"),
    [
        ("BUY", {"limit_price": D("100.015")}, "use 100.01"),
        ("SELL", {"limit_price": D("100.015")}, "use 100.02"),
        ("SELL", {"type": OrderType.STOP, "stop_price": D("80.005")}, "use 80"),
        ("BUY", {"type": OrderType.STOP, "stop_price": D("110.005")}, "use 110.01"),
        ("SELL", {"type": OrderType.TRAIL, "trail_amount": D("1.005")}, "use whole ticks"),
    ],
)
def test_prices_lie_on_the_tick_grid(world, side, fields, hint):
    world.hold(10)
    error = refused(world.engine(), world.order(side, 10, **fields))
    assert error.data["rule"] == "tick_size"
    assert hint in str(error)


def test_the_tick_depends_on_the_price(world):
    bands = (PriceIncrement(D(0), D("0.0001")), PriceIncrement(D(1), D("0.01")))
    world.detail["AAPL"] = InstrumentDetails(world.detail["AAPL"].instrument, increments=bands)
    world.set_quote(0.5, 0.51)
    world.engine().check(world.order("BUY", 1, limit_price=D("0.5001")))
    assert rule_of(world.engine(), world.order("BUY", 1, limit_price=D("1.0001"))) == "tick_size"


def test_without_details_nothing_is_known_to_be_right(world):
    world.detail.clear()
    assert rule_of(world.engine(), world.order("BUY", 1)) == "contract_known"


@pytest.mark.parametrize(
    "instrument",
    [
        Instrument("AAPL", SecType.OPTION, expiry=date(2026, 12, 18), strike=D(100), right="C", multiplier=D(100)),
        Instrument("MES", SecType.FUTURE, exchange="CME", multiplier=D(5)),
        Instrument("EUR", SecType.FOREX, exchange="IDEALPRO"),
        Instrument("SPX", SecType.INDEX, exchange="CBOE"),
        Instrument("SAP", currency="EUR"),
        Instrument("SHEL", primary_exchange="LSE"),
    ],
)
def test_only_us_stocks_and_etfs_are_traded(world, instrument):
    assert rule_of(world.engine(), world.order("BUY", 1, instrument=instrument)) == "tradable"


def test_restricted_names_are_not_opened_but_may_be_left(world):
    engine = world.engine(restricted=frozenset({"aapl"}))
    assert rule_of(engine, world.order("BUY", 1)) == "restricted"
    world.hold(10)
    engine.check(world.order("SELL", 10))


# Whose position, which way


def test_long_only_sells_what_is_held_less_what_is_being_sold(world):
    world.hold(100)
    world.working("SELL", 40, limit_price=110)
    engine = world.engine()
    engine.check(world.order("SELL", 60))
    error = refused(engine, world.order("SELL", 61))
    assert (error.data["rule"], error.data["value"], error.data["largest"]) == ("long_only", D(61), D(60))


def test_an_oca_pair_counts_once_and_an_order_of_its_group_not_at_all(world):
    world.hold(100)
    world.working("SELL", 100, type=OrderType.STOP, stop_price=80, oca_group="protect")
    world.working("SELL", 100, limit_price=130, oca_group="protect")
    engine = world.engine()
    assert rule_of(engine, world.order("SELL", 1)) == "long_only"
    engine.check(world.order("SELL", 100, oca_group="protect"))
    assert rule_of(engine, world.order("SELL", 101, oca_group="protect")) == "long_only"


def test_legs_whose_entry_still_works_take_nothing_from_the_position(world):
    world.hold(100)
    entry = world.working("BUY", 50, limit_price=95, filled=20)
    world.working("SELL", 50, type=OrderType.STOP, stop_price=80, parent_key=entry.key, oca_group="b")
    engine = world.engine()
    engine.check(world.order("SELL", 80))
    assert rule_of(engine, world.order("SELL", 81)) == "long_only"


def test_selling_nothing_is_shorting(world):
    error = refused(world.engine(), world.order("SELL", 1))
    assert (error.data["rule"], error.data["largest"]) == ("long_only", D(0))


def test_shorting_needs_leave_and_shares_to_borrow(world):
    engine = world.engine(allow_short=True)
    error = refused(engine, world.order("SELL", 10))
    assert (error.data["rule"], error.data["value"]) == ("shortable", "unknown")
    world.borrow["AAPL"] = D(10)
    engine.check(world.order("SELL", 10))
    error = refused(engine, world.order("SELL", 11))
    assert (error.data["rule"], error.data["largest"]) == ("shortable", D(10))


def test_crossing_zero_is_two_orders_either_way(world):
    world.borrow["AAPL"] = D(1_000)
    engine = world.engine(allow_short=True)
    world.hold(30)
    error = refused(engine, world.order("SELL", 50))
    assert (error.data["rule"], error.data["largest"]) == ("through_zero", D(30))
    assert "SELL 30 to go flat, then SELL 20" in str(error)
    world.held.clear()
    world.hold(-30)
    engine.check(world.order("BUY", 30))
    assert refused(engine, world.order("BUY", 31)).data["rule"] == "through_zero"


def test_foreign_shares_are_not_sold_nor_foreign_shorts_covered(world):
    world.hold(100, owned=40)
    engine = world.engine()
    engine.check(world.order("SELL", 40))
    error = refused(engine, world.order("SELL", 41))
    assert isinstance(error, NotOwned)
    assert error.data["largest"] == D(40)
    assert "adopt AAPL" in str(error)
    world.held.clear()
    world.hold(-50, owned=0)
    assert isinstance(refused(engine, world.order("BUY", 10)), NotOwned)


def test_adding_to_a_foreign_position_is_a_new_one_of_ours(world):
    world.hold(10, owned=0)
    world.engine().check(world.order("BUY", 5))


def test_shares_that_somebody_else_sold_are_gone(world):
    world.hold(60, owned=100)
    world.engine().check(world.order("SELL", 60))
    assert rule_of(world.engine(), world.order("SELL", 61)) == "long_only"


def test_foreign_sells_reduce_what_is_left_to_sell(world):
    world.hold(100)
    world.working("SELL", 30, limit_price=110, foreign=True)
    world.engine().check(world.order("SELL", 70))
    assert rule_of(world.engine(), world.order("SELL", 71)) == "long_only"


def test_reduce_only_really_reduces(world):
    error = refused(world.engine(), world.order("BUY", 1, reduce_only=True))
    assert (error.data["rule"], error.data["largest"]) == ("reduce_only", D(0))
    world.hold(10)
    world.engine().check(world.order("SELL", 10, reduce_only=True))


# Repetition and our other orders


def test_the_same_order_again_within_seconds_is_a_duplicate(world):
    first = world.working("BUY", 10, limit_price=100)
    world.past.append(first)
    engine = world.engine()
    world.pass_time(4)
    error = refused(engine, world.order("BUY", 10, limit_price=100))
    assert (error.data["rule"], error.data["value"]) == ("duplicate", first.key)
    engine.check(world.order("BUY", 11, limit_price=100))
    engine.check(world.order("BUY", 10, limit_price=D("99.99")))
    engine.check(first.intent)  # the same key is the same order, answered elsewhere
    world.pass_time(2)
    engine.check(world.order("BUY", 10, limit_price=100))


def test_an_order_that_never_worked_is_no_duplicate(world):
    for state in (OrderState.NOT_SENT, OrderState.REJECTED, OrderState.CANCELLED):
        world.past.append(replace(world.working("BUY", 10, limit_price=100), state=state))
    world.live.clear()
    world.engine().check(world.order("BUY", 10, limit_price=100))
    world.past.append(replace(world.past[0], state=OrderState.CANCELLED, filled=D(3)))
    assert rule_of(world.engine(), world.order("BUY", 10, limit_price=100)) == "duplicate"


def test_an_order_that_is_being_written_is_a_duplicate_already(world):
    world.past.append(replace(world.working("BUY", 10, limit_price=100), state=OrderState.INTENT))
    assert rule_of(world.engine(), world.order("BUY", 10, limit_price=100)) == "duplicate"


@pytest.mark.parametrize(
    ("resting", "fields", "rule"),
    [
        ({"limit_price": D("100.50")}, {"limit_price": D("100.50")}, "self_cross"),
        ({"limit_price": D("100.50")}, {"limit_price": D("100.49")}, None),
        ({"limit_price": D("100.02")}, {}, "self_cross"),
        ({"limit_price": D("100.50")}, {}, None),
        ({"limit_price": D("100.02"), "foreign": True}, {}, "self_cross"),
        ({"type": OrderType.STOP, "stop_price": D(90)}, {}, None),
        ({"type": OrderType.MARKET_ON_CLOSE}, {}, None),
        ({"type": OrderType.MARKET_ON_CLOSE}, {"type": OrderType.MARKET_ON_CLOSE}, "self_cross"),
        ({"type": OrderType.MIDPRICE}, {}, "self_cross"),
    ],
)
def test_no_trade_with_our_own_orders(world, resting, fields, rule):
    world.hold(10)
    world.working("SELL", 10, **resting)
    assert rule_of(world.engine(), world.order("BUY", 5, **fields)) == rule


def test_a_target_that_waits_for_its_entry_crosses_nothing(world):
    entry = world.working("BUY", 10, limit_price=95)
    world.working("SELL", 10, limit_price=D("100.01"), parent_key=entry.key, oca_group="b")
    world.engine().check(world.order("BUY", 5))


def test_fifteen_orders_of_one_side(world):
    world.hold(100)
    for number in range(14):
        world.working("SELL", 1, limit_price=110 + number)
    engine = world.engine(**WIDE)
    engine.check(world.order("SELL", 1, limit_price=125))
    last = world.working("SELL", 1, limit_price=124)
    assert rule_of(engine, world.order("SELL", 1, limit_price=125)) == "open_orders_per_side"
    engine.check(world.order("SELL", 1, limit_price=126), replaces=last)
    engine.check(world.order("BUY", 1, limit_price=99))


def test_orders_per_minute_and_per_day_count_modifies(world):
    world.sent = [world.time - timedelta(seconds=second) for second in range(4)]
    engine = world.engine(max_orders_per_minute=5, max_orders_per_day=10)
    engine.check(world.order("BUY", 1))
    world.sent.append(world.time - timedelta(seconds=60))
    assert rule_of(engine, world.order("BUY", 1)) == "orders_per_minute"
    mine = world.working("BUY", 1, limit_price=90)
    assert rule_of(engine, world.order("BUY", 1, limit_price=91), replaces=mine) == "orders_per_minute"
    world.sent = [datetime(2026, 11, 20, 5, 0, tzinfo=UTC)] * 10
    assert rule_of(engine, world.order("BUY", 1)) == "orders_per_day"
    world.sent = [datetime(2026, 11, 20, 4, 59, tzinfo=UTC)] * 10
    engine.check(world.order("BUY", 1))


# Whether anything may be sent at all


def test_the_kill_switch_stops_all_but_the_emergency_exit(world):
    world.halt_reason = "pulled by hand"
    world.hold(10)
    engine = world.engine()
    for order in (world.order("BUY", 1), world.order("SELL", 10)):
        error = refused(engine, order)
        assert isinstance(error, TradingHalted)
        assert "pulled by hand" in str(error)
    world.working("BUY", 5, type=OrderType.MIDPRICE)  # whose cancel is not confirmed yet
    engine.check(world.order("SELL", 10), emergency=True)
    assert isinstance(refused(engine, world.order("BUY", 1), emergency=True), TradingHalted)
    assert isinstance(refused(engine, world.order("SELL", 11), emergency=True), TradingHalted)


def test_an_emergency_exit_may_go_to_market_at_any_hour(world):
    world.halt_reason, world.session_now = "pulled by hand", Session.POST
    world.hold(10)
    world.engine().check(world.order("SELL", 10), emergency=True)


def test_an_emergency_stop_of_everything_closes_foreign_positions_too(world):
    world.halt_reason = "kill --everything"
    world.hold(10, owned=0)
    world.engine().check(world.order("SELL", 10, reduce_only=True), emergency=True)
    assert isinstance(refused(world.engine(), world.order("SELL", 11), emergency=True), TradingHalted)
    world.halt_reason = None
    assert isinstance(refused(world.engine(), world.order("SELL", 10, reduce_only=True)), NotOwned)


def test_read_only_sends_nothing(world):
    world.hold(10)
    engine = world.engine(read_only=True)
    assert rule_of(engine, world.order("BUY", 1)) == "read_only"
    assert rule_of(engine, world.order("SELL", 10), emergency=True) == "read_only"


def test_an_unknown_order_in_the_symbol_blocks_new_exposure_only(world):
    world.hold(10)
    world.working("BUY", 5, limit_price=90, state=OrderState.UNKNOWN)
    assert rule_of(world.engine(), world.order("BUY", 1)) == "in_doubt"
    world.engine().check(world.order("SELL", 10))


def test_a_doubt_told_by_the_broker_blocks_the_symbol(world):
    world.doubts["AAPL"] = "the echo differed"
    assert rule_of(world.engine(), world.order("BUY", 1)) == "in_doubt"
    world.doubts = {"IBM": "the echo differed"}
    world.engine().check(world.order("BUY", 1))


# Exits, modifies, brackets


def breach(world: Any) -> None:
    """Everything that blocks an entry, and may not trap a position."""
    world.summarise(net_liquidation=D(1), day_trades_remaining=0, account_type="CASH", settled_cash=D(0))
    world.start = None
    world.sent = [world.time] * 5_000
    world.set_quote(None, None, halted=True, data_type=DataType.FROZEN, time=world.time - timedelta(hours=2))
    world.working("BUY", 1, state=OrderState.UNKNOWN, limit_price=1)
    world.doubts["AAPL"] = "a failover is under way"
    world.time = world.day.open + timedelta(seconds=1)


def test_an_exit_passes_where_refusing_would_trap_the_position(world):
    world.hold(10_000)
    breach(world)
    engine = world.engine(restricted=frozenset({"AAPL"}), max_order_quantity=D(1))
    assert engine.occasion(world.order("SELL", 10_000)) is Occasion.EXIT
    engine.check(world.order("SELL", 10_000))
    engine.check(world.order("SELL", 10_000, limit_price=D("99.50")))


def test_a_modify_is_checked_like_a_new_order_without_the_one_it_replaces(world):
    mine = world.working("BUY", 40, limit_price=99)
    engine = world.engine(max_position_value=D(5_000))
    engine.check(OrderChange(quantity=D(50), limit_price=D(100)).apply(mine.intent), replaces=mine)
    error = refused(engine, OrderChange(quantity=D(51), limit_price=D(100)).apply(mine.intent), replaces=mine)
    assert (error.data["rule"], error.data["largest"]) == ("position_value", D(50))
    assert rule_of(engine, OrderChange(limit_price=D(150)).apply(mine.intent), replaces=mine) == "collar"


def test_a_modify_counts_what_is_filled_already(world):
    world.hold(30)
    mine = world.working("BUY", 40, limit_price=100, filled=30)
    engine = world.engine(max_position_value=D(6_000))
    error = refused(engine, OrderChange(quantity=D(80)).apply(mine.intent), replaces=mine)
    # 30 held at 100.02 leave 2 999.40 USD: 29 more, 59 in all.
    assert (error.data["rule"], error.data["largest"]) == ("position_value", D(59))
    engine.check(OrderChange(quantity=D(59)).apply(mine.intent), replaces=mine)
    assert rule_of(engine, OrderChange(quantity=D(30)).apply(mine.intent), replaces=mine) == "filled_already"


def test_a_modify_of_an_exit_may_not_grow_past_the_position(world):
    world.hold(10)
    stop = world.working("SELL", 10, type=OrderType.STOP, stop_price=80)
    engine = world.engine()
    assert engine.occasion(stop.intent, replaces=stop) is Occasion.EXIT_CHANGE
    engine.check(OrderChange(stop_price=D(85)).apply(stop.intent), replaces=stop)
    assert rule_of(engine, OrderChange(quantity=D(11)).apply(stop.intent), replaces=stop) == "long_only"


def test_a_leg_of_a_bracket_is_checked_as_if_its_entry_had_filled(world):
    bracket = Bracket(world.order("BUY", 10, limit_price=100), stop_price=D(80), target_price=D(130))
    entry, *legs = bracket.legs()
    engine = world.engine()
    for leg in legs:
        engine.check(leg, parent=entry)
        assert rule_of(engine, leg) == "long_only"
        assert rule_of(engine, replace(leg, quantity=D(11)), parent=entry) == "long_only"
    assert rule_of(engine, replace(legs[0], stop_price=D("80.005")), parent=entry) == "tick_size"


def test_each_account_has_its_own_positions(world):
    world.hold(10)
    assert rule_of(world.engine(), world.order("SELL", 10, account="DU0000002")) == "long_only"


# The table


def test_every_rule_has_a_name_of_its_own_and_says_what_it_is_about():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.about and rule.applies_to for rule in RULES)


ASKED_OF_EXITS = {
    "kill_switch",
    "read_only",
    "tradable",
    "contract_known",
    "filled_already",
    "whole_shares",
    "lot_size",
    "tick_size",
    "ownership",
    "outside_hours",
    "suspect_quote",
    "stop_side",
    "collar",
    "self_cross",
    "open_orders_per_side",
}


def test_what_an_exit_must_pass_is_decided_rule_by_rule():
    assert {rule.name for rule in RULES if Occasion.EXIT in rule.applies_to} == ASKED_OF_EXITS
    assert all({Occasion.ENTRY} <= rule.applies_to for rule in RULES)


@dataclass
class Scene:
    """What makes a rule refuse: limits, a change of the world, and the order."""

    change: Callable[[Any], object] = lambda world: None
    order: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    replaces: bool = False


def _set(**values: Any) -> Callable[[Any], object]:
    return lambda world: [setattr(world, name, value) for name, value in values.items()]


SCENES: dict[str, Scene] = {
    "kill_switch": Scene(_set(halt_reason="by hand")),
    "read_only": Scene(limits={"read_only": True}),
    "tradable": Scene(order={"instrument": Instrument("SAP", currency="EUR")}),
    "contract_known": Scene(_set(detail={})),
    "filled_already": Scene(lambda world: world.working("BUY", 20, limit_price=100, filled=10), replaces=True),
    "whole_shares": Scene(order={"quantity": "1.5"}),
    "lot_size": Scene(_set(detail={"AAPL": InstrumentDetails(Instrument("AAPL"), size_increment=D(100))})),
    "tick_size": Scene(order={"limit_price": D("99.999")}),
    "ownership": Scene(lambda world: world.hold(10, owned=0), {"side": "SELL"}),
    "long_only": Scene(order={"side": "SELL"}),
    "through_zero": Scene(lambda world: world.hold(5), {"side": "SELL"}, {"allow_short": True}),
    "reduce_only": Scene(order={"reduce_only": True}),
    "shortable": Scene(order={"side": "SELL"}, limits={"allow_short": True}),
    "restricted": Scene(limits={"restricted": frozenset({"AAPL"})}),
    "in_doubt": Scene(_set(doubts={"AAPL": "echo"})),
    "halted": Scene(lambda world: world.set_quote(99.98, 100.02, halted=True)),
    "outside_hours": Scene(_set(session_now=Session.POST)),
    "open_blackout": Scene(lambda world: setattr(world, "time", world.day.open)),
    "suspect_quote": Scene(lambda world: world.set_quote(99.98, 100.02, suspect="x")),
    "fresh_quote": Scene(_set(quotes={})),
    "stop_side": Scene(order={"type": OrderType.STOP, "stop_price": D(50)}),
    "collar": Scene(order={"limit_price": D(200)}),
    "duplicate": Scene(lambda world: world.past.append(world.working("BUY", 10))),
    "repeated_entry": Scene(lambda world: world.working("BUY", 7), limits={"entry_window": timedelta(seconds=60)}),
    "self_cross": Scene(lambda world: world.working("SELL", 10, limit_price=100)),
    "open_orders_per_side": Scene(limits={"max_open_orders_per_side": 0}),
    "orders_per_minute": Scene(limits={"max_orders_per_minute": 0}),
    "orders_per_day": Scene(limits={"max_orders_per_day": 0}),
    "daily_loss": Scene(_set(start=None)),
    "day_trades": Scene(lambda world: world.summarise(day_trades_remaining=0)),
    "order_quantity": Scene(limits={"max_order_quantity": D(9)}),
    "order_value": Scene(limits={"max_order_value": D(9)}),
    "order_equity": Scene(
        lambda world: (
            world.summarise(net_liquidation=D(900)),
            setattr(world, "start", DayStart(date(2026, 11, 20), D(900))),
        ),
    ),
    "position_value": Scene(limits={"max_position_value": D(9)}),
    "symbol_limit": Scene(limits={"symbol_limits": {"AAPL": D(9)}}),
    "concentration": Scene(limits={"max_concentration": D("0.001")}),
    "exposure": Scene(limits={"max_exposure": D(9)}),
    "settled_cash": Scene(lambda world: world.summarise(account_type="CASH", settled_cash=D(9))),
}


def test_every_rule_has_a_scene():
    assert list(SCENES) == [rule.name for rule in RULES]


@pytest.mark.parametrize("name", SCENES)
def test_the_rule_of_that_name_refuses(world, name):
    scene = SCENES[name]
    scene.change(world)
    replaces = world.live[0] if scene.replaces else None
    fields = {"side": "BUY", "quantity": 10} | scene.order
    assert rule_of(world.engine(**scene.limits), world.order(**fields), replaces=replaces) == name


def test_the_engine_offers_no_way_to_change_its_policy(world):
    engine = world.engine()
    with pytest.raises(AttributeError):
        engine.policy = None  # type: ignore[misc,assignment]
    with pytest.raises(AttributeError):
        engine.policy.max_exposure = D(10**9)  # type: ignore[misc]
    with pytest.raises(TypeError):
        engine.policy.symbol_limits["AAPL"] = D(10**9)  # type: ignore[index]


def test_a_first_refusal_that_is_not_about_size_gives_no_largest(world):
    world.set_quote(None, None)
    error = refused(world.engine(), world.order("BUY", 10**6, limit_price=100))
    assert isinstance(error, RiskRefusal)
    assert (error.rule, error.largest) == ("fresh_quote", None)
