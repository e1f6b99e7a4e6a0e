"""The model against formulas of the test's own, and against what must hold for any option."""

from __future__ import annotations

from math import exp, log, sqrt
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.simulation.options.pricing import RATE, implied_volatility, valuation

SPOTS = st.floats(5, 1_000)
MONEYNESS = st.floats(0.6, 1.6)
YEARS = st.floats(2 / 365, 2.0)
VOLATILITIES = st.floats(0.08, 1.5)
CASE = (SPOTS, MONEYNESS, YEARS, VOLATILITIES)


def lattice(right: str, spot: float, strike: float, years: float, volatility: float, steps: int = 800) -> float:
    """A Cox-Ross-Rubinstein tree: no line of it is shared with the closed form."""
    step = years / steps
    up = exp(volatility * sqrt(step))
    chance = (exp(RATE * step) - 1 / up) / (up - 1 / up)
    discount = exp(-RATE * step)
    sign = 1 if right == "C" else -1
    values = [max(0.0, sign * (spot * up ** (2 * rise - steps) - strike)) for rise in range(steps + 1)]
    for level in range(steps, 0, -1):
        values = [discount * (chance * values[k + 1] + (1 - chance) * values[k]) for k in range(level)]
    return values[0]


@pytest.mark.parametrize("right", ["C", "P"])
@pytest.mark.parametrize(("strike", "years", "volatility"), [(100, 0.5, 0.3), (80, 0.1, 0.6), (130, 1.5, 0.2)])
def test_the_price_is_that_of_a_tree(right: str, strike: float, years: float, volatility: float) -> None:
    assert valuation(right, 100, strike, years, volatility).price == pytest.approx(
        lattice(right, 100, strike, years, volatility), abs=0.03
    )


@given(*CASE)
@settings(max_examples=100, deadline=None)
def test_put_and_call_are_at_parity(spot: float, moneyness: float, years: float, volatility: float) -> None:
    strike = spot * moneyness
    call, put = (valuation(right, spot, strike, years, volatility) for right in "CP")
    assert call.price - put.price == pytest.approx(spot - strike * exp(-RATE * years), abs=1e-6 * spot)
    assert call.delta - put.delta == pytest.approx(1, abs=1e-9)
    assert (call.gamma, call.vega) == (pytest.approx(put.gamma), pytest.approx(put.vega))


@given(*CASE, st.sampled_from("CP"))
@settings(max_examples=100, deadline=None)
def test_greeks_are_the_slopes_of_the_price(
    spot: float, moneyness: float, years: float, volatility: float, right: str
) -> None:
    strike = spot * moneyness

    def price(spot: float = spot, years: float = years, volatility: float = volatility) -> float:
        return valuation(right, spot, strike, years, volatility).price

    told, nudge = valuation(right, spot, strike, years, volatility), spot * 1e-4
    day = years * 1e-4
    assert told.delta == pytest.approx((price(spot + nudge) - price(spot - nudge)) / (2 * nudge), abs=1e-3)
    assert told.vega == pytest.approx(
        (price(volatility=volatility + 1e-4) - price(volatility=volatility - 1e-4)) / 2e-4 / 100, abs=1e-4 * spot
    )
    assert told.theta == pytest.approx(
        (price(years=years - day) - price(years=years + day)) / (2 * day) / 365, rel=1e-2, abs=1e-4 * spot
    )
    bend = (price(spot + nudge * 10) - 2 * price() + price(spot - nudge * 10)) / (nudge * 10) ** 2
    assert told.gamma == pytest.approx(bend, rel=0.05, abs=1e-3 / spot)


def test_delta_of_a_call_is_the_normal_distribution_at_d1() -> None:
    d1 = (log(100 / 110) + (RATE + 0.4**2 / 2) * 0.25) / (0.4 * sqrt(0.25))
    assert valuation("C", 100, 110, 0.25, 0.4).delta == pytest.approx(NormalDist().cdf(d1))


@given(*CASE, st.sampled_from("CP"))
@settings(max_examples=150, deadline=None)
def test_the_implied_volatility_of_a_price_gives_that_price(
    spot: float, moneyness: float, years: float, volatility: float, right: str
) -> None:
    strike = spot * moneyness
    price = valuation(right, spot, strike, years, volatility).price
    found = implied_volatility(right, spot, strike, years, price)
    if found is not None:
        assert valuation(right, spot, strike, years, found).price == pytest.approx(price, abs=1e-5)
    else:
        # the price is that of no volatility at all
        assert price == pytest.approx(valuation(right, spot, strike, years, 0.001).price, abs=1e-6)


def test_no_volatility_gives_a_price_below_the_intrinsic_value_or_above_the_stock() -> None:
    assert implied_volatility("C", 100, 80, 0.5, 19) is None
    assert implied_volatility("C", 100, 80, 0.5, 101) is None
