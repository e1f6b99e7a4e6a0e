"""IB's own codes for what cannot be; a margin account, a cash account, short sales."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.domain.order import OrderType, Side, TimeInForce
from moondev_ibkr.brokers.errors import OrderRejected as OrderRefused
from moondev_ibkr.brokers.simulation.admission import TIFS, TYPE_WORDS
from moondev_ibkr.brokers.simulation.conditions import CHECKS
from moondev_ibkr.brokers.simulation.events import OrderRejected
from moondev_ibkr.brokers.simulation.matching import TRIGGERS
from moondev_ibkr.brokers.simulation.models import AccountKind, AccountSettings
from moondev_ibkr.brokers.simulation.refusals import TEXTS, Reason
from moondev_ibkr.brokers.simulation.tickets import Condition, ConditionKind, OrderTicket, TriggerMethod

from .exchange_fakes import AAPL, MES, MSFT, SPX, START, D, Pit, at, step

LMT, STP, TRAIL = OrderType.LIMIT, OrderType.STOP, OrderType.TRAIL
MOC, LOC, MID = OrderType.MARKET_ON_CLOSE, OrderType.LIMIT_ON_CLOSE, OrderType.MIDPRICE
MARKETS = (
    step(START, 100, "100.02", 100),
    step(START, 400, "400.05", 400, con_id=MSFT),
    step(START, "7039.25", "7039.50", 7039.5, con_id=MES),
)


def test_every_reason_has_its_code_and_every_type_its_row():
    assert set(TEXTS) == set(Reason)
    assert set(TYPE_WORDS) == set(TIFS) == set(OrderType)
    assert set(TRIGGERS) == set(TriggerMethod)
    assert set(CHECKS) == set(ConditionKind)


@pytest.mark.parametrize(
    ("code", "quantity", "type", "fields"),
    [
        (200, 1, LMT, {"limit_price": 10, "con_id": 1}),
        (203, 1, LMT, {"limit_price": 10, "con_id": SPX}),
        (321, 1, LMT, {"limit_price": 10, "account": "DU0009999"}),
        (434, 0, LMT, {"limit_price": 10}),
        (321, -5, LMT, {"limit_price": 10}),
        (10243, "1.5", LMT, {"limit_price": 10}),
        (10318, "1.5", OrderType.MARKET, {"con_id": MES}),
        (387, 1, None, {"type_text": "PEG MID"}),
        (387, 1, MOC, {"con_id": MES}),
        (387, 1, MID, {"con_id": MES}),
        (321, 1, LMT, {}),
        (321, 1, LMT, {"limit_price": 0}),
        (403, 1, STP, {}),
        (403, 1, OrderType.STOP_LIMIT, {"limit_price": 10}),
        (321, 1, TRAIL, {}),
        (321, 1, TRAIL, {"trail_amount": 1, "trail_percent": 1}),
        (110, 1, LMT, {"limit_price": "10.005"}),
        (110, 1, STP, {"stop_price": "10.005"}),
        (110, 1, LMT, {"limit_price": "7000.10", "con_id": MES}),
        (321, 1, LMT, {"limit_price": 10, "tif": None}),
        (113, 1, MOC, {"tif": TimeInForce.GTC}),
        (113, 1, LOC, {"limit_price": 10, "tif": TimeInForce.IOC}),
        (111, 1, STP, {"stop_price": 10, "tif": TimeInForce.IOC}),
        (111, 1, MID, {"tif": TimeInForce.GTC}),
        (111, 1, LMT, {"limit_price": 10, "tif": TimeInForce.IOC, "outside_rth": True}),
        (111, 1, LMT, {"limit_price": 10, "tif": TimeInForce.OPG, "outside_rth": True}),
        (111, 1, MOC, {"outside_rth": True}),
        (111, 1, LMT, {"limit_price": 7000, "tif": TimeInForce.OPG, "con_id": MES}),
        (321, 1, LMT, {"limit_price": 10, "tif": TimeInForce.GTD}),
        (201, 1, LMT, {"limit_price": 10, "tif": TimeInForce.GTD, "good_till": at("09:59")}),
        (321, 1, LMT, {"limit_price": 10, "oca_group": "x", "oca_type": 9}),
        (321, 1, STP, {"stop_price": 10, "trigger_method": 5}),
        (321, 1, LMT, {"limit_price": 10, "min_quantity": 2}),
        (321, 1, LMT, {"limit_price": 10, "conditions": (Condition(ConditionKind.PRICE, con_id=AAPL),)}),
        (321, 1, LMT, {"limit_price": 10, "conditions": (Condition(ConditionKind.PRICE, value=D(1), con_id=5),)}),
        (321, 1, LMT, {"limit_price": 10, "conditions": (Condition(ConditionKind.TIME),)}),
        (321, 1, LMT, {"limit_price": 10, "conditions": (Condition(ConditionKind.EXECUTION),)}),
        (135, 1, LMT, {"limit_price": 10, "parent_id": 99}),
        (201, 10_000, OrderType.MARKET, {}),
    ],
)
def test_refused_with_ibs_code(code, quantity, type, fields):
    pit = Pit(*MARKETS)
    pit.order("BUY", quantity, type, **fields)
    assert pit.codes == [code]
    assert isinstance(pit.events[-1], OrderRejected)
    assert pit.exchange.open_orders() == []
    assert pit.position() == 0


def test_several_accounts_need_naming():
    accounts = (AccountSettings("DU0000001"), AccountSettings("DU0000002", cash=D(5_000)))
    pit = Pit(*MARKETS, accounts=accounts)
    pit.buy(1)
    pit.buy(1, account="DU0000002")
    assert pit.codes == [435]
    assert pit.position(account="DU0000002") == 1
    assert pit.position(account="DU0000001") == 0


def test_margin_is_checked_and_said_in_numbers():
    pit = Pit(*MARKETS, cash=10_000)
    pit.buy(199)
    pit.buy(50)
    assert pit.fills == [(199, D("100.02"))]
    assert pit.tape[-2:] == ["2 Inactive 0/50", "2 error 201"]
    assert "MUST EXCEED THE INITIAL MARGIN [12450.00 USD]" in pit.events[-1].text


def test_an_order_that_takes_risk_off_is_never_refused_for_margin():
    pit = Pit(*MARKETS, step(START.replace(minute=1), 40, "40.02", 40), cash=10_000)
    pit.buy(199)
    pit.run(START.replace(minute=1))
    assert pit.exchange.summary("DU0000001").available_funds < 0
    pit.sell(199)
    assert pit.position() == 0


def test_a_future_needs_its_margin_and_no_notional():
    pit = Pit(*MARKETS, cash=5_000)
    pit.order("BUY", 2, con_id=MES)
    pit.order("BUY", 1, con_id=MES)
    assert pit.position(MES) == 2
    assert pit.codes == [201]
    assert pit.exchange.summary("DU0000001").total_cash == D(5_000) - D("1.24")


def test_a_cash_account_pays_in_full_with_settled_cash_and_never_shorts():
    pit = Pit(*MARKETS, cash=1_000, kind=AccountKind.CASH)
    pit.buy(11)
    pit.sell(1)
    pit.buy(9)
    pit.sell(9)
    pit.buy(1, con_id=MSFT)
    assert [line for line in pit.tape if "error" in line] == ["1 error 201", "2 error 201", "5 error 201"]
    pit.run(at("00:00", "2026-04-16"))
    summary = pit.exchange.summary("DU0000001")
    assert summary.settled_cash == summary.total_cash


def test_a_cash_accounts_open_buys_hold_their_money():
    pit = Pit(*MARKETS, cash=1_000, kind=AccountKind.CASH)
    pit.buy(9, 90)
    pit.buy(2, 99)
    assert pit.codes == [201]
    pit.exchange.cancel(1, 1)
    pit.buy(2, 99)
    assert pit.status(3) == "Submitted"


def test_two_sells_of_one_position_in_a_cash_account_do_not_go_short():
    pit = Pit(*MARKETS, step(START.replace(minute=1), 110, "110.02", 110), cash=1_000, kind=AccountKind.CASH)
    pit.buy(5)
    pit.sell(5, 110)
    pit.sell(3, 109)
    pit.run(START.replace(minute=1))
    assert pit.position() == 0
    assert pit.status(3) == "Filled" or pit.status(2) == "Filled"
    assert min(row.quantity for row in pit.exchange.executions()) > 0


def test_a_short_sale_in_a_symbol_that_is_hard_to_borrow_waits_for_its_locate():
    pit = Pit(*MARKETS, hard_to_borrow=frozenset({"AAPL"}))
    pit.sell(10)
    assert pit.tape == ["1 PreSubmitted 0/10", "1 error 404"]
    assert pit.exchange.order(1, 1).why_held == "locate"
    pit.sell(10, con_id=MSFT)
    pit.exchange.locate("AAPL")
    assert pit.position() == -10
    assert pit.position(MSFT) == -10


def test_what_if_tells_the_change_and_changes_nothing():
    pit = Pit(*MARKETS)
    before = pit.exchange.snapshot()
    answer = pit.exchange.what_if(OrderTicket(1, 1, AAPL, Side.BUY, D(100)))
    assert answer.initial_margin_change == D("5000.00")
    assert answer.maintenance_margin_change == D("2500.00")
    assert (answer.commission, answer.equity_change, answer.equity_after) == (1, -1, 99_999)
    assert pit.events == []
    assert pit.exchange.snapshot() == before
    future = pit.exchange.what_if(OrderTicket(1, 1, MES, Side.SELL, D(2)))
    assert future.initial_margin_change == D(4910)


def test_what_if_of_an_impossible_order_says_why():
    pit = Pit(*MARKETS)
    with pytest.raises(OrderRefused, match="minimum price variation") as caught:
        pit.exchange.what_if(OrderTicket(1, 1, AAPL, Side.BUY, D(100), LMT, limit_price=D("1.001")))
    assert caught.value.code == 110


def test_an_account_that_looks_real_is_refused():
    with pytest.raises(ValueError, match="DU000"):
        Pit(*MARKETS, accounts=(AccountSettings("U1234567"),))
