"""What only IB has of risk: conditions and offered types as rules, margin by what-if, the shortable tick."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.instrument import InstrumentDetails
from moondev_ibkr.brokers.domain.order import OrderType, TimeInForce, WhatIf
from moondev_ibkr.brokers.domain.reports import WireOrder
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import DeadlineExceeded, RiskRefusal
from moondev_ibkr.brokers.interactive_brokers.ib_risk_manager import (
    IB_RULES,
    ORDER_TYPE_WORDS,
    IBRiskManager,
    shortable_shares,
)
from moondev_ibkr.brokers.risk import RULES, RiskPolicy

D = Decimal


def manager(world: Any, **limits: Any) -> IBRiskManager:
    return IBRiskManager(RiskPolicy(**limits), world)


def refusal(engine: IBRiskManager, order: Any) -> RiskRefusal:
    with pytest.raises(RiskRefusal) as caught:
        engine.check(order)
    return caught.value


class MarginPort:
    """A door that answers what-if: each share takes `share` of excess liquidity."""

    def __init__(self, excess: Decimal, share: Decimal, currency: str = "USD", silent: bool = False) -> None:
        self.excess, self.share, self.currency, self.silent = excess, share, currency, silent
        self.asked: list[Decimal] = []

    async def what_if(self, wire: WireOrder) -> WhatIf:
        self.asked.append(wire.intent.quantity)
        if self.silent:
            return WhatIf(maintenance_margin_after=D(1))
        left = self.excess - self.share * wire.intent.quantity
        return WhatIf(equity_after=left + 5, maintenance_margin_after=D(5), currency=self.currency)


def wire(world: Any, quantity: int) -> WireOrder:
    return WireOrder(1, world.order("BUY", quantity, limit_price=100), "DU0000001")


def test_ib_rules_are_the_common_ones_and_three_more():
    assert [rule for rule in IB_RULES if rule in RULES] == list(RULES)
    assert {rule.name for rule in IB_RULES} - {rule.name for rule in RULES} == {
        "order_type_offered",
        "order_conditions",
        "excess_liquidity",
    }


def test_conditions_of_ib_are_a_rule(world):
    engine = manager(world)
    engine.check(world.order("BUY", 10, type=OrderType.MARKET_ON_CLOSE))
    error = refusal(engine, world.order("BUY", 10, type=OrderType.MARKET_ON_CLOSE, tif=TimeInForce.GTC))
    assert (error.rule, error.value, error.limit) == ("order_conditions", "GTC", "DAY")


def test_O46_a_day_order_after_the_close_is_refused(world):
    world.session_now = Session.POST
    assert refusal(manager(world), world.order("BUY", 10, limit_price=100)).rule == "order_conditions"


@pytest.mark.parametrize("kind", OrderType)
def test_a_type_is_offered_under_ibs_own_word(world, kind):
    assert ORDER_TYPE_WORDS[kind]
    world.detail["AAPL"] = replace(world.detail["AAPL"], order_types=frozenset(ORDER_TYPE_WORDS[kind]))
    prices = {
        OrderType.LIMIT: {"limit_price": 100},
        OrderType.LIMIT_ON_CLOSE: {"limit_price": 100},
        OrderType.STOP: {"stop_price": 110},
        OrderType.STOP_LIMIT: {"stop_price": 110, "limit_price": 110},
        OrderType.TRAIL: {"trail_amount": 1},
    }.get(kind, {})
    order = world.order("BUY", 10, type=kind, **prices)
    manager(world).check(order)
    world.detail["AAPL"] = replace(world.detail["AAPL"], order_types=frozenset({"AD", "VWAP"}))
    assert refusal(manager(world), order).rule == "order_type_offered"


def test_a_tif_that_the_contract_does_not_offer(world):
    world.detail["AAPL"] = replace(world.detail["AAPL"], order_types=frozenset({"LMT", "GTC", "GTD"}))
    manager(world).check(world.order("BUY", 10, limit_price=100, tif=TimeInForce.GTC))
    error = refusal(manager(world), world.order("BUY", 10, limit_price=100, tif=TimeInForce.IOC))
    assert (error.rule, error.limit) == ("order_type_offered", "DAY, GTC, GTD")
    world.detail["AAPL"] = replace(world.detail["AAPL"], order_types=frozenset({"LMT"}))
    manager(world).check(world.order("BUY", 10, limit_price=100, tif=TimeInForce.IOC))


def test_a_contract_that_lists_no_types_takes_all(world):
    assert world.detail["AAPL"] == InstrumentDetails(world.detail["AAPL"].instrument)
    manager(world).check(world.order("BUY", 10, type=OrderType.MIDPRICE))


@pytest.mark.parametrize(
    ("excess", "rule"), [(D(1_000), None), (D("999.99"), "excess_liquidity"), (D(-5), "excess_liquidity")]
)
def test_nothing_is_opened_on_the_last_margin(world, excess, rule):
    world.summarise(excess_liquidity=excess)
    order = world.order("BUY", 1)
    if rule is None:
        manager(world).check(order)
    else:
        assert refusal(manager(world), order).rule == rule
    world.hold(10)
    manager(world).check(world.order("SELL", 10))


@pytest.mark.parametrize(
    ("excess", "quantity", "asks"),
    [(D(2_000), 10, False), (D(1_999), 10, True), (None, 1, True)],
)
def test_the_broker_is_asked_only_when_margin_could_refuse(world, excess, quantity, asks):
    world.summarise(excess_liquidity=excess)
    assert manager(world).needs_what_if(world.order("BUY", quantity, limit_price=100)) is asks


def test_an_exit_asks_nothing_and_a_short_always(world):
    world.hold(10)
    assert not manager(world).needs_what_if(world.order("SELL", 10))
    assert manager(world).needs_what_if(world.order("SELL", 11))


async def test_margin_at_and_below_the_buffer(world):
    engine = manager(world, margin_buffer=D(1_000))
    await engine.check_margin(wire(world, 90), MarginPort(D(10_000), D(100)))
    with pytest.raises(RiskRefusal) as caught:
        await engine.check_margin(wire(world, 91), MarginPort(D(10_000), D(100)))
    assert (caught.value.rule, caught.value.value, caught.value.limit) == ("margin", D(900), D(1_000))


async def test_margin_refusal_names_the_largest_order_and_confirmed_it(world):
    world.summarise(excess_liquidity=D(10_000))
    port = MarginPort(D(10_000), D(100))
    with pytest.raises(RiskRefusal) as caught:
        await manager(world).check_margin(wire(world, 200), port)
    assert caught.value.largest == D(90)
    assert port.asked == [D(200), D(90)]


async def test_margin_that_is_no_straight_line_is_asked_again(world):
    class Steep(MarginPort):
        async def what_if(self, order: WireOrder) -> WhatIf:
            self.asked.append(order.intent.quantity)
            quantity = order.intent.quantity
            taken = quantity * 100 if quantity < 50 else quantity * 60 + 2_500
            return WhatIf(equity_after=D(5_000) - taken, maintenance_margin_after=D(0))

    world.summarise(excess_liquidity=D(5_000))
    port = Steep(D(0), D(0))
    with pytest.raises(RiskRefusal) as caught:
        await manager(world).check_margin(wire(world, 200), port)
    assert caught.value.largest is not None
    assert D(0) < caught.value.largest <= 40
    assert len(port.asked) <= 4


async def test_margin_in_another_currency(world):
    world.rates["EUR"] = D("0.5")
    with pytest.raises(RiskRefusal) as caught:
        await manager(world).check_margin(wire(world, 10), MarginPort(D(2_999), D(100), currency="EUR"))
    assert caught.value.value == D("999.5")
    await manager(world).check_margin(wire(world, 10), MarginPort(D(3_000), D(100), currency="EUR"))


async def test_O34_no_margin_told_is_not_no_margin_needed(world):
    with pytest.raises(RiskRefusal) as caught:
        await manager(world).check_margin(wire(world, 1), MarginPort(D(0), D(0), silent=True))
    assert (caught.value.value, caught.value.largest) == ("unknown", D(0))
    with pytest.raises(RiskRefusal):
        await manager(world).check_margin(wire(world, 1), MarginPort(D("NaN"), D(0)))
    with pytest.raises(RiskRefusal):
        await manager(world).check_margin(wire(world, 1), MarginPort(D(10**6), D(1), currency="JPY"))


async def test_a_what_if_without_answer_lets_nothing_through(world):
    class Mute(MarginPort):
        async def what_if(self, order: WireOrder) -> WhatIf:
            raise DeadlineExceeded("what-if", timedelta(seconds=3))

    with pytest.raises(DeadlineExceeded):
        await manager(world).check_margin(wire(world, 1), Mute(D(0), D(0)))


@pytest.mark.parametrize(
    ("difficulty", "shares", "borrow"),
    [
        (None, None, None),
        (None, 500.0, None),
        (3.0, 12_345.0, D(12_345)),
        (3.0, None, D(1_000)),
        (2.6, 10.9, D(10)),
        (2.5, 10_000.0, D(0)),
        (2.0, None, D(0)),
        (1.0, None, D(0)),
    ],
)
def test_shortable_tick(difficulty, shares, borrow):
    assert shortable_shares(difficulty, shares) == borrow


def test_policy_limits_reach_the_ib_engine(world):
    assert manager(world, max_exposure=D(7)).policy.max_exposure == D(7)
