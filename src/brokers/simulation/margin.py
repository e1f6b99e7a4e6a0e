"""What an account must hold against its positions: Reg-T for stocks, per contract for futures, all of it for cash.

Initial 50 % and maintenance 25 % of a long stock position; 50 % and 30 % of a short one beyond its proceeds (the
150 / 130 of Regulation T, whose 100 are the proceeds already in the cash balance).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..domain.instrument import Instrument, SecType
from .models import AccountKind, FuturesMargin

ZERO = Decimal(0)

INITIAL_LONG = Decimal("0.50")
MAINTENANCE_LONG = Decimal("0.25")
INITIAL_SHORT = Decimal("0.50")
MAINTENANCE_SHORT = Decimal("0.30")
#: Futures without a row of their own, as a share of notional.
INITIAL_FUTURE = Decimal("0.10")
MAINTENANCE_FUTURE = Decimal("0.09")


@dataclass(frozen=True, slots=True)
class Margin:
    """Requirements in the base currency, >= 0."""

    initial: Decimal = ZERO
    maintenance: Decimal = ZERO

    def __add__(self, other: Margin) -> Margin:
        return Margin(self.initial + other.initial, self.maintenance + other.maintenance)


@dataclass(frozen=True, slots=True)
class MarginRules:
    """The rules of one account."""

    kind: AccountKind
    futures: Mapping[str, FuturesMargin]

    @property
    def leverage(self) -> Decimal:
        """Buying power per unit of available funds: what the initial requirement of a long stock allows."""
        return Decimal(1) if self.kind is AccountKind.CASH else 1 / INITIAL_LONG

    def of(self, instrument: Instrument, quantity: Decimal, mark: Decimal) -> Margin:
        """The requirement of one position. `quantity` signed, `mark` per share or index point."""
        if instrument.sec_type is SecType.FUTURE:
            return self._of_future(instrument, abs(quantity), mark)
        value = abs(quantity * mark * instrument.multiplier)
        if self.kind is AccountKind.CASH:
            return Margin(value, value)
        if quantity >= 0:
            return Margin(value * INITIAL_LONG, value * MAINTENANCE_LONG)
        return Margin(value * INITIAL_SHORT, value * MAINTENANCE_SHORT)

    def total(self, positions: Iterable[tuple[Instrument, Decimal, Decimal]]) -> Margin:
        """The sum over (instrument, signed quantity, mark)."""
        total = Margin()
        for instrument, quantity, mark in positions:
            total = total + self.of(instrument, quantity, mark)
        return total

    def _of_future(self, instrument: Instrument, contracts: Decimal, mark: Decimal) -> Margin:
        row = self.futures.get(instrument.symbol)
        if row is not None:
            return Margin(contracts * row.initial, contracts * row.maintenance)
        notional = contracts * abs(mark) * instrument.multiplier
        return Margin(notional * INITIAL_FUTURE, notional * MAINTENANCE_FUTURE)
