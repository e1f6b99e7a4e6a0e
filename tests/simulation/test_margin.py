"""Requirements as a table."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.simulation.margin import Margin, MarginRules
from moondev_ibkr.brokers.simulation.models import FUTURES_MARGINS, AccountKind

from .exchange_fakes import D

MARGIN = MarginRules(AccountKind.MARGIN, FUTURES_MARGINS)
CASH = MarginRules(AccountKind.CASH, FUTURES_MARGINS)
STOCK = Instrument("AAPL")
MES = Instrument("MES", SecType.FUTURE, multiplier=D(5))
OTHER = Instrument("ZZ", SecType.FUTURE, multiplier=D(10))


@pytest.mark.parametrize(
    ("rules", "instrument", "quantity", "initial", "maintenance"),
    [
        (MARGIN, STOCK, 100, 5_000, 2_500),
        (MARGIN, STOCK, -100, 5_000, 3_000),
        (MARGIN, STOCK, 0, 0, 0),
        (CASH, STOCK, 100, 10_000, 10_000),
        (MARGIN, MES, 2, 4_910, 4_464),
        (MARGIN, MES, -2, 4_910, 4_464),
        (MARGIN, OTHER, 3, 300, 270),
    ],
)
def test_requirements(rules, instrument, quantity, initial, maintenance):
    assert rules.of(instrument, D(quantity), D(100)) == Margin(D(initial), D(maintenance))


def test_the_total_is_the_sum_and_leverage_fits_it():
    positions = [(STOCK, D(100), D(100)), (MES, D(1), D(7000))]
    assert MARGIN.total(positions) == Margin(D(7_455), D(4_732))
    assert (MARGIN.leverage, CASH.leverage) == (2, 1)
