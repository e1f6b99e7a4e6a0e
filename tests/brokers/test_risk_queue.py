"""Orders that wait for the open: which may, and what they are measured by while nothing trades."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import DataType, Quote
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange, OrderType, TimeInForce
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import BrokerError, RiskRefusal
from moondev_ibkr.brokers.interactive_brokers.ib_risk_manager import IB_RULES
from moondev_ibkr.brokers.risk import RULES, RiskEngine, RiskPolicy

D = Decimal
AWAY = [Session.PRE, Session.POST, Session.OVERNIGHT, Session.CLOSED]
RULE_SETS = {"common": RULES, "ib": IB_RULES}


@pytest.fixture(params=RULE_SETS)
def rules(request):
    return RULE_SETS[request.param]


def engine(world: Any, rules: Any, queue: bool = True, **limits: Any) -> RiskEngine:
    return RiskEngine(RiskPolicy(queue_outside_session=queue, **limits), world, rules)


def refusal(engine: RiskEngine, order: Any, **how: Any) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        engine.check(order, **how)
    return caught.value


def at_night(world: Any, *, last: float | None = 100.0, close: float | None = 99.0, hours: float = 15) -> None:
    """Nothing trades; the quote is hours old and has no two sides."""
    world.session_now = Session.CLOSED
    when = world.time - timedelta(hours=hours)
    world.quotes["AAPL"] = Quote(Instrument("AAPL"), when, last=last, close=close, data_type=DataType.FROZEN)


@pytest.mark.parametrize("session", AWAY)
def test_a_day_limit_order_waits_for_the_open_when_the_policy_says_so(world, rules, session):
    at_night(world)
    world.session_now = session
    order = world.order("BUY", 10, limit_price=100)
    engine(world, rules).check(order)
    refused = refusal(engine(world, rules, queue=False), order)
    assert refused.data["rule"] in {"outside_hours", "order_conditions", "fresh_quote"}
    assert "queue_outside_session" in str(refused)


@pytest.mark.parametrize("session", [Session.POST, Session.OVERNIGHT, Session.CLOSED])
def test_without_the_policy_a_fresh_quote_does_not_let_it_wait_unnoticed(world, rules, session):
    world.session_now = session
    error = refusal(engine(world, rules, queue=False), world.order("BUY", 10, limit_price=100))
    assert error.data["rule"] in {"outside_hours", "order_conditions"}
    engine(world, rules).check(world.order("BUY", 10, limit_price=100))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"type": OrderType.STOP, "stop_price": 110},
        {"type": OrderType.STOP_LIMIT, "stop_price": 100, "limit_price": 101},
        {"type": OrderType.MIDPRICE, "limit_price": 100},
        {"limit_price": 100, "tif": TimeInForce.GTC},
        {"limit_price": 100, "tif": TimeInForce.IOC},
        {"limit_price": 100, "outside_rth": True},
    ],
)
def test_nothing_else_waits(world, rules, fields):
    at_night(world)
    refusal(engine(world, rules), world.order("BUY", 10, **fields))


def test_a_market_order_is_told_what_to_do(world):
    at_night(world)
    error = refusal(engine(world, RULES), world.order("BUY", 10))
    assert error.data["rule"] == "outside_hours"
    assert "DAY limit order with queue_outside_session" in str(error)


def test_a_session_that_nobody_knows_holds_nothing(world, rules):
    at_night(world)
    world.session_now = Session.UNKNOWN
    refusal(engine(world, rules), world.order("BUY", 10, limit_price=100))


def test_in_the_session_nothing_changes(world, rules):
    at_night(world)
    world.session_now = Session.REGULAR
    error = refusal(engine(world, rules), world.order("BUY", 10, limit_price=100))
    assert error.data["rule"] == "fresh_quote"


@pytest.mark.parametrize(
    ("last", "close", "limit", "rule"),
    [
        (100.0, 50.0, "102", None),
        (100.0, 50.0, "102.01", "collar"),
        (None, 100.0, "102", None),
        (None, 100.0, "102.01", "collar"),
        (0.0, 100.0, "102", None),
        (None, None, "100", "fresh_quote"),
        (-1.0, 0.0, "100", "fresh_quote"),
    ],
)
def test_it_is_measured_by_the_last_known_price_and_refused_without_one(world, rules, last, close, limit, rule):
    at_night(world, last=last, close=close, hours=80)
    order = world.order("BUY", 10, limit_price=D(limit))
    if rule is None:
        engine(world, rules).check(order)
    else:
        assert refusal(engine(world, rules), order).data["rule"] == rule


def test_no_quote_at_all_is_no_price(world, rules):
    at_night(world)
    world.quotes.clear()
    error = refusal(engine(world, rules), world.order("BUY", 10, limit_price=100))
    assert (error.data["rule"], error.data["limit"]) == ("fresh_quote", "a known price")


def test_a_price_of_the_future_is_not_known(world, rules):
    at_night(world, hours=-1)
    assert refusal(engine(world, rules), world.order("BUY", 10, limit_price=100)).data["rule"] == "fresh_quote"


def test_a_live_touch_is_better_than_the_last_price(world, rules):
    world.session_now = Session.PRE
    world.set_quote(119.98, 120.02)
    engine(world, rules).check(world.order("BUY", 10, limit_price=120))
    world.set_quote(119.98, 120.02, time=world.time - timedelta(minutes=5))  # stale: its last of 119.98 counts
    engine(world, rules).check(world.order("BUY", 10, limit_price=120))
    assert refusal(engine(world, rules), world.order("BUY", 10, limit_price=130)).data["rule"] == "collar"


def test_limits_hold_at_the_higher_of_limit_and_last_price(world, rules):
    at_night(world)
    world.hold(50)
    error = refusal(engine(world, rules, max_position_value=D(9_000)), world.order("BUY", 100, limit_price=80))
    assert isinstance(error, RiskRefusal)
    assert (error.rule, error.largest) == ("position_value", D(50))  # 50 held at 100 leave 4 000 USD
    world.held.clear()
    world.hold(0)
    world.borrow["AAPL"] = D(1_000)
    short = engine(world, rules, max_order_value=D(5_000), allow_short=True)
    error = refusal(short, world.order("SELL", 60, limit_price=98))
    assert (error.data["rule"], error.data["largest"]) == ("order_value", D(50))


def test_an_exit_rests_until_the_open_and_is_not_trapped_by_a_missing_price(world, rules):
    at_night(world)
    world.hold(10)
    exits = [world.order("SELL", 10, limit_price=price, reduce_only=True) for price in (D(99), D(50))]
    for order in exits:
        engine(world, rules).check(order)
    world.quotes.clear()
    engine(world, rules).check(exits[0])


def test_at_ib_an_exit_does_not_wait_unnoticed_either(world):
    at_night(world)
    world.hold(10)
    order = world.order("SELL", 10, limit_price=99, reduce_only=True)
    assert "queue_outside_session" in str(refusal(engine(world, IB_RULES, queue=False), order))


def test_what_waits_can_be_changed_within_the_collar(world, rules):
    at_night(world)
    mine = world.working("BUY", 10, limit_price=99)
    ready = engine(world, rules)
    ready.check(OrderChange(limit_price=D(101)).apply(mine.intent), replaces=mine)
    error = refusal(ready, OrderChange(limit_price=D(103)).apply(mine.intent), replaces=mine)
    assert error.data["rule"] == "collar"


def test_a_bracket_waits_with_its_exits(world, rules):
    at_night(world)
    ready = engine(world, rules)
    bracket = Bracket(world.order("BUY", 10, limit_price=100), stop_price=D(90), target_price=D(120))
    entry, *legs = bracket.legs()
    ready.check(entry)
    for leg in legs:
        ready.check(leg, parent=entry)
