"""Opening and closing, TIF, extended hours, half days, halts, futures hours, conditions, days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from moondev_ibkr.brokers.domain.order import OrderType, TimeInForce
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.simulation.events import DayStarted, Halted, QuoteChanged, SessionChanged
from moondev_ibkr.brokers.simulation.tickets import Condition, ConditionKind

from .exchange_fakes import AAPL, MES, MSFT, START, D, Pit, Weekdays, at, step

SECOND = timedelta(seconds=1)
THURSDAY = "2026-04-16"


def quote(when, price=100, **fields):
    return step(when, price, D(price) + D("0.02"), price, **fields)


def test_a_day_order_ends_at_the_close_and_a_gtc_order_goes_on():
    pit = Pit(quote(START), quote(at("15:59")), quote(at("10:00", THURSDAY), 90))
    pit.buy(1, 95)
    pit.buy(1, 94, tif=TimeInForce.GTC)
    pit.run(at("16:00"))
    assert pit.tape[4:] == ["-- POST", "1 Cancelled 0/1", "1 error 202"]
    assert pit.exchange.completed_orders()[0].completed_status == "Cancelled by System:\n"
    pit.run(at("10:00", THURSDAY))
    assert pit.fills == [(1, D("90.02"))]


def test_a_half_day_ends_day_orders_early():
    pit = Pit(quote(START), calendar=Weekdays(half_days=[date(2026, 4, 15)]))
    pit.buy(1, 95)
    pit.run(at("13:00"))
    assert pit.status(1) == "Cancelled"


def test_good_till_date_ends_to_the_second():
    pit = Pit(quote(START))
    pit.buy(1, 95, tif=TimeInForce.GTD, good_till=at("11:30:00"))
    pit.run(at("11:29:59"))
    assert pit.status(1) == "Submitted"
    pit.run(at("11:30"))
    assert pit.status(1) == "Cancelled"


def test_immediate_or_cancel_takes_what_is_there():
    pit = Pit(quote(START, size=30))
    pit.buy(50, "100.02", tif=TimeInForce.IOC)
    pit.buy(50, 90, tif=TimeInForce.IOC)
    assert pit.fills == [(30, D("100.02"))]
    assert pit.tape[-5:] == [
        "1 error 202",
        "2 PreSubmitted 0/50",
        "2 Submitted 0/50",
        "2 Cancelled 0/50",
        "2 error 202",
    ]


def test_an_order_at_night_waits_for_the_open_with_a_399_and_meets_the_first_price_there():
    night = at("22:00")
    opening = at("09:30", THURSDAY)
    pit = Pit(quote(night, 100), quote(opening + SECOND, 104), start=night)
    pit.buy(5)
    assert pit.tape == ["1 PreSubmitted 0/5", "1 error 399"]
    text = pit.events[-1].text
    assert text == (
        "Order Message:\nBUY 5 AAPL NASDAQ\n"
        "Warning: Your order will not be placed at the exchange until 2026-04-16 09:30:00 US/Eastern."
    )
    pit.run(opening)
    assert pit.fills == []
    pit.run(opening + SECOND)
    assert pit.fills == [(5, D("104.02"))]


def test_a_day_order_placed_after_the_close_lives_through_the_next_day():
    evening = at("17:00")
    pit = Pit(quote(evening), start=evening)
    pit.buy(1, 50)
    pit.run(at("15:59", THURSDAY))
    assert pit.status(1) == "Submitted"
    pit.run(at("16:00", THURSDAY))
    assert pit.status(1) == "Cancelled"


def test_only_outside_rth_orders_trade_in_extended_hours():
    pit = Pit(quote(START), quote(at("16:30"), 90), quote(at("08:00", THURSDAY), 80))
    pit.buy(1, 95, tif=TimeInForce.GTC)
    pit.buy(1, 94, tif=TimeInForce.GTC, outside_rth=True)
    pit.buy(1, 85, outside_rth=True)
    pit.run(at("16:30"))
    assert pit.fills == [(1, D("90.02"))]
    pit.run(at("20:00"))
    assert pit.status(3) == "Cancelled"
    assert pit.status(1) == "Submitted"


def test_a_market_order_ignores_outside_rth_with_2109():
    evening = at("17:00")
    pit = Pit(quote(evening), start=evening)
    pit.buy(1, outside_rth=True)
    assert pit.tape == ["1 PreSubmitted 0/1", "1 error 2109", "1 error 399"]


def test_futures_trade_at_night_and_rest_from_five_to_six():
    evening = at("19:00")
    pit = Pit(quote(evening, 7000, con_id=MES), start=evening)
    assert pit.exchange.session(MES) is Session.REGULAR
    assert pit.exchange.session(AAPL) is Session.POST
    pit.order("BUY", 1, con_id=MES)
    assert len(pit.fills) == 1
    pit.run(at("17:30", THURSDAY))
    assert pit.exchange.session(MES) is Session.CLOSED


def test_sessions_are_told_in_order():
    pit = Pit(quote(START))
    pit.run(at("10:00", "2026-04-20"))
    told = [(row.venue, row.session.value) for row in pit.events if isinstance(row, SessionChanged)]
    stocks = [session for venue, session in told if venue == "stocks"]
    assert stocks == ["POST", "CLOSED", *(["PRE", "RTH", "POST", "CLOSED"] * 2), "PRE", "RTH"]
    futures = [session for venue, session in told if venue == "futures"]
    assert futures == ["CLOSED", "RTH"] * 3


def test_a_halt_stops_trading_and_not_orders():
    pit = Pit(quote(START), quote(START + SECOND, halted=True), quote(START + 2 * SECOND, halted=False))
    pit.run(START + SECOND)
    pit.buy(1)
    assert pit.tape == ["1 PreSubmitted 0/1", "1 Submitted 0/1"]
    pit.run(START + 2 * SECOND)
    assert pit.status(1) == "Filled"
    assert [row.halted for row in pit.events if isinstance(row, Halted)] == [True, False]


def test_a_halt_by_hand():
    pit = Pit(quote(START))
    pit.exchange.halt(AAPL)
    pit.buy(1)
    assert pit.status(1) == "Submitted"
    assert pit.exchange.market(AAPL).halted
    pit.exchange.resume(AAPL)
    assert pit.status(1) == "Filled"


def test_a_stop_sleeps_outside_its_hours():
    pit = Pit(quote(START), quote(at("16:30"), 80), quote(at("09:31", THURSDAY), 100))
    pit.order("SELL", 1, OrderType.STOP, stop_price=90, tif=TimeInForce.GTC)
    pit.order("SELL", 1, OrderType.STOP, stop_price=89, tif=TimeInForce.GTC, outside_rth=True)
    pit.run(at("09:31", THURSDAY))
    assert pit.fills == [(-1, D(80))]
    assert pit.status(1) == "PreSubmitted"


def test_yesterdays_quote_trades_nothing_at_the_open():
    pit = Pit(quote(START, 100), quote(at("09:45", THURSDAY), 120))
    pit.run(at("09:30", THURSDAY))
    pit.buy(1)
    assert pit.fills == []
    pit.run(at("09:45", THURSDAY))
    assert pit.fills == [(1, D("120.02"))]


def test_the_days_figures_start_anew_and_the_close_is_remembered():
    pit = Pit(quote(START, 100), quote(at("15:59"), 105), quote(at("10:00", THURSDAY), 110), closes={AAPL: 99.0})
    assert pit.exchange.market(AAPL).close == D(99)
    pit.run(at("15:59"))
    view = pit.exchange.market(AAPL)
    assert (view.open, view.high, view.low, view.last, view.volume) == (100, 105, 100, 105, 2000)
    pit.run(at("10:00", THURSDAY))
    view = pit.exchange.market(AAPL)
    assert (view.open, view.close, view.volume) == (110, 105, 1000)
    assert sum(isinstance(row, DayStarted) for row in pit.events) == 1


def test_executions_are_todays():
    pit = Pit(quote(START))
    pit.buy(1)
    assert len(pit.exchange.executions()) == 1
    pit.run(at("00:00", THURSDAY))
    assert pit.exchange.executions() == []


def test_an_unchanged_quote_is_not_told_again():
    pit = Pit(quote(START), quote(START + SECOND), step(START + 2 * SECOND, 101, "101.02"))
    pit.run(START + 2 * SECOND)
    assert [row.bid for row in pit.events if isinstance(row, QuoteChanged)] == [101]


def condition(kind, value=None, **fields):
    return Condition(kind, value=None if value is None else D(value), **fields)


@pytest.mark.parametrize(
    ("conditions", "works_at"),
    [
        ((condition(ConditionKind.PRICE, 402, con_id=MSFT),), 2),
        ((condition(ConditionKind.PRICE, 399, con_id=MSFT, more=False),), 4),
        ((condition(ConditionKind.TIME, moment=START + 3 * SECOND),), 3),
        ((condition(ConditionKind.VOLUME, 3000, con_id=MSFT),), 2),
        ((condition(ConditionKind.PERCENT_CHANGE, 2, con_id=MSFT),), 2),
        ((condition(ConditionKind.MARGIN, 50),), 0),
        (
            (
                condition(ConditionKind.PRICE, 401, con_id=MSFT, conjunction="a"),
                condition(ConditionKind.TIME, moment=START + 3 * SECOND),
            ),
            3,
        ),
        (
            (
                condition(ConditionKind.PRICE, 402, con_id=MSFT, conjunction="o"),
                condition(ConditionKind.TIME, moment=START + 3 * SECOND),
            ),
            2,
        ),
    ],
)
def test_conditions(conditions, works_at):
    prices = [400, 401, 402, 401, 398]
    steps = [quote(START + SECOND * number, price, con_id=MSFT) for number, price in enumerate(prices)]
    pit = Pit(quote(START), *steps, closes={MSFT: 394.0})
    pit.buy(1, conditions=conditions)
    for second in range(5):
        pit.run(START + SECOND * second)
        assert (pit.status(1) == "Filled") == (second >= works_at), second


def test_a_condition_may_cancel_instead():
    pit = Pit(quote(START), quote(START + SECOND, 410, con_id=MSFT))
    hit = condition(ConditionKind.PRICE, 405, con_id=MSFT)
    pit.buy(1, 90, conditions=(hit,), conditions_cancel=True)
    assert pit.status(1) == "Submitted"
    pit.run(START + SECOND)
    assert pit.status(1) == "Cancelled"


def test_an_execution_condition_waits_for_a_trade_in_its_symbol():
    pit = Pit(quote(START), quote(START, 400, con_id=MSFT))
    pit.buy(1, conditions=(condition(ConditionKind.EXECUTION, symbol="MSFT", sec_type="STK"),))
    assert pit.status(1) == "PreSubmitted"
    pit.buy(1, con_id=MSFT)
    assert pit.status(1) == "Filled"


def test_good_after_time_holds_an_order_back():
    pit = Pit(quote(START))
    pit.buy(1, good_after=at("11:00"))
    assert pit.status(1) == "PreSubmitted"
    pit.run(at("11:00"))
    assert pit.status(1) == "Filled"
