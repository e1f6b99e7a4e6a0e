"""IB's own price list as the exchange charges it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..costs import Plan, commission
from ..domain.instrument import Instrument
from ..domain.order import Side


@dataclass(frozen=True, slots=True)
class PriceList:
    """A CommissionSchedule over the tables in costs.py. On the tiered plan every share counts as removing liquidity,
    in the first tier."""

    plan: Plan = Plan.FIXED

    def commission(self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal, on: date) -> Decimal:
        """Commission and fees of one whole order so far. InvalidRequest for an instrument without a row."""
        return commission(instrument, side, quantity, price, plan=self.plan, on=on).total
