"""Black and Scholes for European options on a stock without dividends: price, greeks, implied volatility.

Volatility is annual (0.25 is 25 %), `years` the time to expiry, above 0; `right` is "C" or "P".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, inf, log, pi, sqrt

#: Continuously compounded, a year; the paper market knows no other.
RATE = 0.04
_ROOT_TWO_PI = sqrt(2 * pi)
_DAYS_A_YEAR = 365
_LOWEST, _HIGHEST = 0.001, 8.0


@dataclass(frozen=True, slots=True)
class Valuation:
    """`vega` per volatility point (0.01), `theta` per calendar day, as IB tells them."""

    price: float
    delta: float
    gamma: float
    vega: float
    theta: float


def valuation(right: str, spot: float, strike: float, years: float, volatility: float) -> Valuation:
    """What the model makes of one option."""
    spread = volatility * sqrt(years)
    d1 = (log(spot / strike) + (RATE + volatility * volatility / 2) * years) / spread
    d2 = d1 - spread
    sign = 1 if right == "C" else -1
    discounted = strike * exp(-RATE * years)
    density = exp(-d1 * d1 / 2) / _ROOT_TWO_PI
    decay = -spot * density * volatility / (2 * sqrt(years)) - sign * RATE * discounted * _below(sign * d2)
    return Valuation(
        price=max(0.0, sign * (spot * _below(sign * d1) - discounted * _below(sign * d2))),
        delta=sign * _below(sign * d1),
        gamma=density / (spot * spread),
        vega=spot * density * sqrt(years) / 100,
        theta=decay / _DAYS_A_YEAR,
    )


def implied_volatility(right: str, spot: float, strike: float, years: float, price: float) -> float | None:
    """The volatility at which the model gives `price`; None where no volatility does."""
    low, high = _LOWEST, _HIGHEST
    floor, ceiling = (valuation(right, spot, strike, years, edge).price for edge in (low, high))
    if not floor + 1e-9 < price < ceiling:
        return None
    guess = 0.3
    for _ in range(60):
        value = valuation(right, spot, strike, years, guess)
        miss = value.price - price
        if abs(miss) < 1e-7:
            break
        low, high = (guess, high) if miss < 0 else (low, guess)
        slope = value.vega * 100
        step = guess - miss / slope if slope > 1e-8 else inf
        # Newton's step, halved intervals where it leaves them
        guess = step if low < step < high else (low + high) / 2
    return guess


def _below(x: float) -> float:
    """The standard normal distribution."""
    return (1 + erf(x / sqrt(2))) / 2
