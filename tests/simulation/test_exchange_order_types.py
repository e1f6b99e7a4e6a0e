"""One story per order type, at prices made by hand."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from moondev_ibkr.brokers.domain.order import OrderType, TimeInForce
from moondev_ibkr.brokers.simulation.models import FillModel
from moondev_ibkr.brokers.simulation.tickets import TriggerMethod

from .exchange_fakes import AAPL, MES, START, D, Pit, Weekdays, at, step

SECOND = timedelta(seconds=1)


def ticks(*rows: tuple, con_id: int = AAPL, **fields) -> list:
    """One step a second: (bid, ask) or (bid, ask, last)."""
    return [step(START + SECOND * number, *row, con_id=con_id, **fields) for number, row in enumerate(rows)]


def test_a_market_buy_goes_from_presubmitted_straight_to_its_fill_as_recorded():
    pit = Pit(*ticks((100, "100.02")))
    pit.buy(5)
    assert pit.tape == ["1 PreSubmitted 0/5", "1 BUY 5@100.02", "1 Filled 5/0", "1 commission 1"]


def test_a_market_sell_of_stock_is_submitted_before_its_fill_as_recorded():
    pit = Pit(*ticks((100, "100.02")))
    pit.sell(5)
    expected = ["1 PreSubmitted 0/5", "1 Submitted 0/5", "1 SELL 5@100", "1 Filled 5/0", "1 commission 1"]
    assert pit.tape == expected


def test_a_market_sell_of_a_future_is_not():
    pit = Pit(*ticks(("7039.25", "7039.5"), con_id=MES))
    pit.order("BUY", 1, con_id=MES)
    pit.order("SELL", 1, con_id=MES)
    assert pit.tape == [
        "1 PreSubmitted 0/1",
        "1 BUY 1@7039.5",
        "1 Filled 1/0",
        "1 commission 0.62",
        "2 PreSubmitted 0/1",
        "2 SELL 1@7039.25",
        "2 Filled 1/0",
        "2 commission 0.62",
    ]
    # Recorded with these very prices: commissions of both sides are in the realised loss.
    assert pit.exchange.executions()[-1].realized_pnl == D("-2.49")


def test_a_market_order_larger_than_the_touch_fills_as_new_quotes_come():
    pit = Pit(*ticks((100, "100.02"), (100, "100.05"), (100, "100.04"), size=300))
    pit.buy(700)
    assert pit.fills == [(300, D("100.02"))]
    pit.run(START + 2 * SECOND)
    assert pit.fills == [(300, D("100.02")), (300, D("100.05")), (100, D("100.04"))]
    assert [line for line in pit.tape if "commission" in line] == ["1 commission 1", "1 commission 0", "1 commission 0"]
    assert pit.status(1) == "Filled"


def test_a_resting_limit_order_is_presubmitted_then_submitted_and_fills_when_the_ask_comes_down():
    pit = Pit(*ticks((100, "100.02"), ("99.50", "99.52")))
    pit.buy(10, "99.60")
    assert pit.tape == ["1 PreSubmitted 0/10", "1 Submitted 0/10"]
    pit.run(START + SECOND)
    assert pit.fills == [(10, D("99.52"))]


def test_a_resting_limit_order_is_served_by_prints_at_its_price_after_the_queue_before_it():
    pit = Pit(
        *ticks((100, "100.02"), (100, "100.02", 100), (100, "100.02", 100), size=500, last_size=400),
        fills=FillModel(queue_ahead=D(1)),
    )
    pit.buy(200, 100)
    pit.run(START + SECOND)
    assert pit.fills == []
    pit.run(START + 2 * SECOND)
    assert pit.fills == [(200, D(100))]
    assert pit.exchange.executions()[0].added_liquidity


def test_a_print_through_a_limit_ignores_the_queue():
    pit = Pit(*ticks((100, "100.02"), ("99.98", "100.02", "99.99"), size=500), fills=FillModel(queue_ahead=D(1)))
    pit.buy(200, 100)
    pit.run(START + SECOND)
    assert pit.fills == [(200, D("99.99"))]


def test_a_marketable_limit_order_takes_the_touch_and_never_worse_than_its_limit():
    pit = Pit(*ticks((100, "100.02"), (100, "100.30")), fills=FillModel(participation=D("0.1")))
    pit.buy(250, "100.10")
    assert pit.fills == [(100, D("100.02"))]
    pit.run(START + SECOND)
    assert pit.fills == [(100, D("100.02"))]
    assert pit.status(1) == "Submitted"


def test_slippage_pays_more_beyond_the_touch_but_stays_inside_what_the_session_quoted():
    rows = ticks(("99.90", "100.00"), ("100.00", "100.03"), ("99.98", "100.00"), size=100)
    pit = Pit(*rows, fills=FillModel(slippage_ticks=50), seed=3)
    pit.run(START + 2 * SECOND)
    pit.buy(300)
    prices = [price for _, price in pit.fills]
    assert sum(size for size, _ in pit.fills) == 300
    assert prices[0] == D("100.00")
    assert D("100.00") < prices[1] <= D("100.03")


def test_a_stop_waits_for_the_last_price_and_sells_at_the_bid():
    pit = Pit(*ticks((100, "100.02", 100), ("98.90", "98.95"), ("98.90", "98.95", "98.93")))
    pit.order("SELL", 10, OrderType.STOP, stop_price=99)
    assert pit.tape == ["1 PreSubmitted 0/10"]
    assert pit.exchange.order(1, 1).why_held == "trigger"
    pit.run(START + SECOND)
    assert pit.fills == []
    pit.run(START + 2 * SECOND)
    assert pit.fills == [(-10, D("98.90"))]
    assert pit.tape[1] == "1 Submitted 0/10"


@pytest.mark.parametrize(
    ("method", "elected_at"),
    [
        (TriggerMethod.LAST, 3),
        (TriggerMethod.DOUBLE_LAST, 4),
        (TriggerMethod.BID_ASK, 1),
        (TriggerMethod.DOUBLE_BID_ASK, 2),
        (TriggerMethod.LAST_OR_BID_ASK, 1),
        (TriggerMethod.MID_POINT, 2),
    ],
)
def test_trigger_methods(method, elected_at):
    rows = [(100, "100.02", 100), (99, "101.50"), ("98.90", "98.95"), ("98.90", "98.95", 99), ("98.9", "98.95", "98.9")]
    pit = Pit(*ticks(*rows))
    pit.order("SELL", 10, OrderType.STOP, stop_price=99, trigger_method=method)
    for second in range(5):
        pit.run(START + SECOND * second)
        assert bool(pit.fills) == (second >= elected_at), second


def test_a_stop_already_passed_is_elected_on_arrival():
    pit = Pit(*ticks((100, "100.02", 100)))
    pit.order("BUY", 10, OrderType.STOP, stop_price="99.50")
    assert pit.fills == [(10, D("100.02"))]


def test_a_stop_gapped_over_fills_at_the_market_not_at_its_stop():
    pit = Pit(*ticks((100, "100.02", 100), (90, "90.05", 90)))
    pit.order("SELL", 10, OrderType.STOP, stop_price=99)
    pit.run(START + SECOND)
    assert pit.fills == [(-10, D(90))]


def test_a_stop_limit_becomes_a_limit_order_that_may_miss_the_market():
    pit = Pit(*ticks((100, "100.02", 100), (98, "98.05", 98), ("98.96", "99.00", "98.98")))
    pit.order("SELL", 10, OrderType.STOP_LIMIT, stop_price=99, limit_price="98.95")
    pit.run(START + SECOND)
    assert pit.fills == []
    assert pit.status(1) == "Submitted"
    pit.run(START + 2 * SECOND)
    assert pit.fills == [(-10, D("98.96"))]


def test_a_trailing_stop_follows_the_price_up_and_never_down():
    rows = [(100, "100.02", 100), (104, "104.02", 104), (103, "103.02", 103), (102, "102.05", "101.99")]
    pit = Pit(*ticks(*rows))
    pit.order("SELL", 10, OrderType.TRAIL, trail_amount=2)
    stops = []
    for second in range(3):
        pit.run(START + SECOND * second)
        stops.append(pit.exchange.order(1, 1).stop_now)
    assert stops == [D(98), D(102), D(102)]
    pit.run(START + 3 * SECOND)
    assert pit.fills == [(-10, D(102))]


def test_a_trailing_stop_in_percent_starts_where_it_is_told():
    pit = Pit(*ticks((100, "100.02", 100), (90, "90.02", 90), ("90.9", "90.95", "90.95")))
    pit.order("BUY", 10, OrderType.TRAIL, trail_percent=1, stop_price=105)
    assert pit.exchange.order(1, 1).stop_now == D(101)
    pit.run(START + SECOND)
    assert pit.exchange.order(1, 1).stop_now == D("90.90")
    pit.run(START + 2 * SECOND)
    assert pit.fills == [(10, D("90.95"))]


def test_on_close_orders_trade_at_the_last_price_of_the_session():
    close = at("16:00")
    pit = Pit(
        *ticks((100, "100.02", 100)),
        step(close - SECOND, "101.00", "101.02", "101.01"),
        step(close + SECOND, "105", "105.02", "105"),
    )
    moc = pit.order("BUY", 500, OrderType.MARKET_ON_CLOSE)
    loc = pit.order("SELL", 10, OrderType.LIMIT_ON_CLOSE, limit_price=101)
    missed = pit.order("SELL", 10, OrderType.LIMIT_ON_CLOSE, limit_price=102)
    pit.run(close - timedelta(milliseconds=1))
    assert pit.fills == []
    pit.run(close)
    assert pit.fills == [(500, D("101.01")), (-10, D("101.01"))]
    assert [pit.status(number) for number in (moc, loc, missed)] == ["Filled", "Filled", "Cancelled"]


def test_on_close_orders_after_the_cutoff_are_refused():
    pit = Pit(*ticks((100, "100.02", 100)))
    pit.run(at("15:50"))
    pit.order("BUY", 10, OrderType.MARKET_ON_CLOSE)
    assert pit.tape[-1:] == ["1 error 201"]


def test_the_cutoff_of_a_half_day_comes_earlier():
    pit = Pit(*ticks((100, "100.02", 100)), calendar=Weekdays(half_days=[date(2026, 4, 15)]))
    pit.run(at("12:49:59"))
    in_time = pit.order("BUY", 10, OrderType.MARKET_ON_CLOSE)
    pit.run(at("12:50"))
    pit.order("BUY", 10, OrderType.MARKET_ON_CLOSE)
    pit.run(at("13:00"))
    assert pit.status(in_time) == "Filled"
    assert pit.codes == [201]


def test_a_midprice_order_fills_between_bid_and_ask_when_the_market_trades():
    pit = Pit(*ticks((100, "100.10", 100), (100, "100.10"), (100, "100.11", "100.11")))
    pit.order("BUY", 10, OrderType.MIDPRICE)
    pit.run(START + SECOND)
    assert pit.status(1) == "Filled"
    assert pit.fills == [(10, D("100.05"))]
    pit.order("BUY", 10, OrderType.MIDPRICE, limit_price="100.02")
    pit.run(START + 2 * SECOND)
    assert pit.status(2) == "Submitted"
    pit.order("SELL", 10, OrderType.MIDPRICE)
    assert pit.fills[-1] == (-10, D("100.06"))


def test_an_opening_order_trades_at_the_first_price_of_the_session():
    opening = at("09:30", "2026-04-16")
    pit = Pit(*ticks((100, "100.02", 100)), step(opening, "103.00", "103.10", "103.05", size=10))
    market = pit.buy(500, tif=TimeInForce.OPG)
    limit = pit.buy(500, 103, tif=TimeInForce.OPG)
    pit.run(opening - SECOND)
    assert pit.fills == []
    pit.run(opening)
    assert pit.fills == [(500, D("103.05"))]
    assert (pit.status(market), pit.status(limit)) == ("Filled", "Cancelled")


def test_all_or_none_and_minimum_quantity_wait_for_enough():
    pit = Pit(*ticks((100, "100.02"), (100, "100.02"), size=50))
    pit.buy(60, "100.02", all_or_none=True)
    pit.buy(60, "100.02", min_quantity=55)
    pit.buy(60, "100.02", min_quantity=50)
    assert pit.fills == [(50, D("100.02"))]
    assert pit.status(3) == "Submitted"


def test_a_market_order_ignores_prices_that_its_type_does_not_use():
    pit = Pit(*ticks((100, "100.02"), (100, "100.05"), size=5))
    pit.order("BUY", 10, limit_price=1, stop_price="0.005")
    pit.run(START + SECOND)
    assert pit.fills == [(5, D("100.02")), (5, D("100.05"))]
