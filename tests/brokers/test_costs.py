"""Commissions and data subscriptions, against sums done by hand."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.costs import (
    FINRA_OPTION_FEE,
    FINRA_STOCK_FEE,
    FUTURE_RATES,
    SEC_FEE,
    CommissionMeter,
    Plan,
    calculate_subscription_costs,
    commission,
    rate_on,
)
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.order import Side
from moondev_ibkr.brokers.errors import InvalidRequest

D = Decimal
AAPL = Instrument("AAPL", primary_exchange="NASDAQ")
IBM = Instrument("IBM", primary_exchange="NYSE")
MES = Instrument("MES", SecType.FUTURE, exchange="CME", multiplier=D(5))
CALL = Instrument("AAPL", SecType.OPTION, expiry=date(2026, 12, 18), strike=D(200), right="C", multiplier=D(100))


@pytest.mark.parametrize(
    ("quantity", "price", "cost"),
    [
        (1, "257.95", "1.00"),  # recorded: 1 % would be 2.58, so the minimum stands
        (100, "25", "1.00"),
        (200, "25", "1.00"),
        (201, "25", "1.005"),
        (1_000, "25", "5.00"),
        (1_000, "0.25", "2.50"),  # the maximum of 1 %
        (10, "0.20", "0.02"),  # and it beats the minimum
        (1, "100", "1.00"),
        (1, "99.99", "0.9999"),
    ],
)
def test_fixed_commission_of_a_buy(quantity, price, cost):
    assert commission(AAPL, Side.BUY, D(quantity), D(price)).total == D(cost)


def test_a_seller_pays_the_sec_and_finra():
    told = commission(AAPL, Side.SELL, D(1_000), D(25), on=date(2024, 6, 3))
    assert told.amount("broker") == D(5)
    assert told.amount("sec") == D("0.695")  # 25 000 at 27.80 a million
    assert told.amount("finra") == D("0.166")
    assert told.total == D("5.861")
    assert told.currency == "USD"


@pytest.mark.parametrize(
    ("day", "rate"),
    [
        ("2008-03-31", "11.00"),
        ("2008-04-01", "5.60"),
        ("2014-03-17", "17.40"),
        ("2014-03-18", "22.10"),
        ("2018-05-22", "13.00"),
        ("2021-02-24", "22.10"),
        ("2021-02-25", "5.10"),
        ("2025-05-13", "27.80"),
        ("2025-05-14", "0.00"),
    ],
)
def test_sec_rate_by_date(day, rate):
    row = rate_on(SEC_FEE, date.fromisoformat(day))
    assert row is not None
    assert row.rate == D(rate)


def test_finra_fee_is_capped_by_order():
    told = commission(AAPL, Side.SELL, D(1_000_000), D(10), on=date(2024, 6, 3))
    assert told.amount("finra") == D("8.30")
    assert rate_on(FINRA_STOCK_FEE, date(2011, 7, 1)).rate == D("0.000090")
    assert rate_on(FINRA_STOCK_FEE, date(1999, 1, 1)) is None


@pytest.mark.parametrize("rates", [SEC_FEE, FINRA_STOCK_FEE, FINRA_OPTION_FEE])
def test_rates_ascend_and_tell_where_they_come_from(rates):
    assert [row.since for row in rates] == sorted({row.since for row in rates})
    assert all(row.source and row.rate >= 0 for row in rates)
    assert rate_on(rates, None) == rates[-1]


@given(
    st.lists(st.tuples(st.integers(1, 3_000), st.integers(1, 50_000)), min_size=1, max_size=8),
    st.sampled_from(Side),
    st.sampled_from(Plan),
)
def test_fills_of_an_order_cost_what_the_order_costs(fills, side, plan):
    """However an order is cut into fills, minimum, maximum and caps are met once; no fill is paid for by the broker."""
    meter = CommissionMeter(AAPL, side, plan=plan, on=date(2024, 6, 3))
    parts = [meter.add(D(quantity), D(cents) / 100) for quantity, cents in fills]
    quantity = sum(D(q) for q, _ in fills)
    value = sum(D(q) * D(c) / 100 for q, c in fills)
    whole = commission(AAPL, side, quantity, value / quantity, plan=plan, on=date(2024, 6, 3))
    assert float(sum(part.total for part in parts)) == pytest.approx(float(whole.total))
    assert all(part.amount("broker") >= 0 for part in parts)


def test_the_minimum_is_paid_by_the_first_fill():
    meter = CommissionMeter(AAPL, Side.BUY)
    assert [meter.add(D(100), D(50)).total for _ in range(4)] == [D(1), D(0), D("0.5"), D("0.5")]


def test_tiers_are_marginal():
    def broker(before: int, quantity: int) -> Decimal:
        return commission(AAPL, Side.BUY, D(quantity), D(50), plan=Plan.TIERED, month_shares=D(before)).amount("broker")

    assert broker(0, 50) == D("0.35")
    assert broker(0, 1_000) == D("3.50")
    assert broker(299_000, 2_000) == D("3.5") + D(2)
    assert broker(300_000, 1_000) == D(2)
    assert broker(2_999_500, 1_000) == D("1.75")
    assert broker(150_000_000, 1_000_000) == D(500)


def test_tiered_passes_on_what_the_fixed_plan_includes():
    removing = commission(AAPL, Side.BUY, D(1_000), D(50), plan=Plan.TIERED)
    assert removing.amount("exchange") == D(3)
    assert removing.amount("clearing") == D("0.2")
    assert removing.amount("pass_through") == D("3.5") * D("0.000738")
    adding = commission(AAPL, Side.BUY, D(1_000), D(50), plan=Plan.TIERED, adds_liquidity=True)
    assert adding.amount("exchange") == D(-2)
    assert commission(AAPL, Side.BUY, D(1_000), D("0.01"), plan=Plan.TIERED).amount("clearing") == D("0.05")


def test_options():
    assert commission(CALL, Side.BUY, D(1), D(3)).total == D("1.00")
    assert commission(CALL, Side.BUY, D(10), D(3)).total == D("6.50")
    told = commission(CALL, Side.SELL, D(10), D(3), on=date(2024, 6, 3))
    assert (told.amount("sec"), told.amount("finra")) == (D("0.0834"), D("0.0279"))


def test_futures():
    assert commission(MES, Side.BUY, D(1), D(6_000)).total == D("0.62")  # recorded
    assert commission(MES, Side.SELL, D(3), D(6_000)).total == D("1.86")
    assert FUTURE_RATES["MES"].verified


@pytest.mark.parametrize(
    "instrument",
    [
        Instrument("CL", SecType.FUTURE, exchange="NYMEX"),
        Instrument("EUR", SecType.FOREX),
        Instrument("SPX", SecType.INDEX),
    ],
)
def test_what_has_no_row_is_refused(instrument):
    with pytest.raises(InvalidRequest, match="no row"):
        commission(instrument, Side.BUY, D(1), D(1))


@pytest.mark.parametrize(("quantity", "price"), [(0, 1), (-1, 1), (1, -1)])
def test_a_fill_that_cannot_be(quantity, price):
    with pytest.raises(InvalidRequest):
        commission(AAPL, Side.BUY, D(quantity), D(price))


# Subscriptions


def plan(*symbols: str | Instrument, **how: object) -> tuple[list[str], Decimal]:
    costs = calculate_subscription_costs(symbols, **how)  # type: ignore[arg-type]
    return [line.id for line in costs.lines], costs.monthly


def test_a_symbol_of_unknown_listing_needs_all_three_tapes():
    assert plan("AAPL") == (["network_a", "network_b", "network_c"], D("4.50"))


def test_listings_need_their_own_tape_only():
    assert plan(AAPL) == (["network_c"], D("1.50"))
    assert plan(AAPL, IBM) == (["network_a", "network_c"], D("3.00"))
    assert plan() == ([], D(0))


def test_the_waived_bundle_wins_once_commissions_are_high_enough():
    below = plan("AAPL", options=True, monthly_commissions=D("29.99"))
    assert below == (["network_a", "network_b", "network_c", "opra"], D("6.00"))
    costs = calculate_subscription_costs(["AAPL"], options=True, monthly_commissions=D(30))
    assert [line.id for line in costs.lines] == ["us_value_bundle", "us_streaming_add_on"]
    assert (costs.monthly, costs.waived) == (D("4.50"), D("10.00"))


def test_an_add_on_is_never_bought_without_what_it_needs():
    for commissions in (0, 30, 100):
        lines, _ = plan("AAPL", MES, options=True, monthly_commissions=D(commissions))
        assert "us_streaming_add_on" not in lines or "us_value_bundle" in lines


def test_professionals_pay_more_and_nothing_is_waived_for_them():
    lines, monthly = plan("AAPL", professional=True, monthly_commissions=D(1_000))
    assert lines == ["network_a", "network_b", "network_c"]
    assert monthly == D("93.00")


def test_depth_by_listing():
    assert plan(AAPL, depth=True) == (["network_c", "totalview"], D("18.00"))


def test_more_symbols_than_lines_need_boosters():
    costs = calculate_subscription_costs([Instrument(f"A{n}", primary_exchange="NASDAQ") for n in range(250)])
    booster = costs.lines[-1]
    assert (booster.id, booster.count, booster.due) == ("quote_booster", 2, D(60))
    with pytest.raises(InvalidRequest, match="at most 1100"):
        calculate_subscription_costs([f"A{n}" for n in range(1_101)])


def test_cost_against_a_named_baseline():
    costs = calculate_subscription_costs(["AAPL"], baseline="alpaca_algo_trader_plus")
    assert (costs.baseline_monthly, costs.saving) == (D("99.00"), D("94.50"))
    assert costs.baseline is not None
    assert "Alpaca" in costs.baseline
    assert calculate_subscription_costs(["AAPL"]).saving is None
    with pytest.raises(InvalidRequest, match="alpaca_algo_trader_plus"):
        calculate_subscription_costs(["AAPL"], baseline="yahoo")


def test_what_the_table_does_not_cover_is_said():
    costs = calculate_subscription_costs(
        [Instrument("SAP", currency="EUR", exchange="IBIS"), Instrument("EUR", SecType.FOREX)]
    )
    assert costs.uncovered == ("SAP",)
    assert costs.lines == ()
    assert costs.as_of is None


def test_every_figure_carries_its_date_and_source():
    source = files("moondev_ibkr.brokers").joinpath("interactive_brokers/config/market_data_subscriptions.json")
    raw = json.loads(Path(str(source)).read_text(encoding="utf-8"))
    rows = [*raw["subscriptions"], raw["lines"]["booster"]]
    prices = [row[kind] for row in rows for kind in ("non_professional", "professional") if row[kind]]
    for price in [*prices, *raw["baselines"]]:
        assert D(price["monthly"]) >= 0
        assert date.fromisoformat(price["as_of"]) <= date(2026, 11, 21)
        assert price["source"]
        assert price.get("unverified", False) or "memory" not in price["source"]
    assert {need for row in rows for need in row.get("needs", [])} <= {row["id"] for row in rows}
    assert calculate_subscription_costs([AAPL]).as_of == date(2026, 1, 1)
