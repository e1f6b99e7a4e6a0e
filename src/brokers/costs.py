"""What trading costs: commissions with their fees, and market-data subscriptions.

Rates are rows with the date from which they hold and where they were read; `verified` False means that the figure is
from memory of the field and was not found in a source at hand. IBKR Pro, US products, USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from .domain.instrument import Instrument, SecType
from .domain.order import Side
from .errors import InvalidRequest
from .subscription_costs import SubscriptionCosts, SubscriptionLine, calculate_subscription_costs

__all__ = [
    "Commission",
    "CommissionMeter",
    "Fee",
    "Plan",
    "Rate",
    "SubscriptionCosts",
    "SubscriptionLine",
    "calculate_subscription_costs",
    "commission",
]

_ZERO = Decimal(0)


class Plan(StrEnum):
    """IBKR Pro's two plans for US stocks."""

    FIXED = "fixed"
    TIERED = "tiered"


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate in force from `since` on; `cap` is the most that one order pays, in USD."""

    since: date
    rate: Decimal
    cap: Decimal | None
    source: str
    verified: bool = True


def _row(since: str, rate: str, cap: str | None, source: str, *, verified: bool = True) -> Rate:
    return Rate(date.fromisoformat(since), Decimal(rate), Decimal(cap) if cap else None, source, verified)


_MEMORY = "SEC fee rate advisories, from memory"

#: SEC Section 31 fee: USD per million USD sold.
SEC_FEE: tuple[Rate, ...] = (
    _row("2005-01-01", "30.70", None, _MEMORY, verified=False),
    _row("2007-03-17", "15.30", None, _MEMORY, verified=False),
    _row("2008-01-25", "11.00", None, "replaced 2008-04-01; begin from memory", verified=False),
    _row("2008-04-01", "5.60", None, "SEC announcement of 2008-02-29"),
    _row("2009-04-10", "25.70", None, _MEMORY, verified=False),
    _row("2010-01-15", "12.70", None, _MEMORY, verified=False),
    _row("2010-04-01", "16.90", None, _MEMORY, verified=False),
    _row("2011-01-21", "19.20", None, _MEMORY, verified=False),
    _row("2012-02-21", "18.00", None, _MEMORY, verified=False),
    _row("2012-04-01", "22.40", None, "SEC press release 2012-232 gives the rate; begin from memory", verified=False),
    _row("2013-05-25", "17.40", None, "FINRA notice of 2014-03-03 gives the rate; begin from memory", verified=False),
    _row("2014-03-18", "22.10", None, "FINRA information notice of 2014-03-03"),
    _row("2015-02-14", "18.40", None, _MEMORY, verified=False),
    _row("2016-02-16", "21.80", None, "FINRA notice of 2016-03-15 gives the rate; begin from memory", verified=False),
    _row("2017-07-04", "23.10", None, "SEC announcement of 2017"),
    _row("2018-05-22", "13.00", None, "FINRA information notice of 2018-05-07"),
    _row("2019-04-16", "20.70", None, "SEC order of 2019-03-15"),
    _row("2020-02-18", "22.10", None, "FINRA information notice of 2020-02-03"),
    _row("2021-02-25", "5.10", None, "FINRA information notice of 2021-02-16"),
    _row("2022-05-14", "22.90", None, _MEMORY, verified=False),
    _row("2023-02-27", "8.00", None, _MEMORY, verified=False),
    _row("2024-05-22", "27.80", None, "SEC order of 2024-04-17 (89 FR 29402); begin from memory", verified=False),
    _row("2025-05-14", "0.00", None, "SEC order of 2025-04-08 (90 FR 15492)"),
    _row("2026-04-04", "20.60", None, "SEC order of 2026-02-27 (91 FR 10643); begin from memory", verified=False),
)

#: FINRA trading activity fee of stocks: USD per share sold, with a cap per trade.
FINRA_STOCK_FEE: tuple[Rate, ...] = (
    _row("2004-10-01", "0.000075", "3.75", "FINRA regulatory notice 11-27; begin from memory", verified=False),
    _row("2011-07-01", "0.000090", "4.50", "FINRA regulatory notice 11-27"),
    _row("2012-03-01", "0.000095", "4.75", "FINRA regulatory notice 12-06"),
    _row("2012-07-01", "0.000119", "5.95", "broker fee pages; begin from memory", verified=False),
    _row("2022-01-01", "0.000130", "6.49", "from memory", verified=False),
    _row("2023-01-01", "0.000145", "7.27", "from memory", verified=False),
    _row("2024-01-01", "0.000166", "8.30", "IB price page; begin from memory", verified=False),
    _row("2026-01-01", "0.000195", "9.79", "from memory", verified=False),
)

#: FINRA trading activity fee of options: USD per contract sold.
FINRA_OPTION_FEE: tuple[Rate, ...] = (
    _row("2012-07-01", "0.002", None, "from memory", verified=False),
    _row("2024-01-01", "0.00279", None, "from memory", verified=False),
    _row("2026-01-01", "0.00329", None, "from memory", verified=False),
)


@dataclass(frozen=True, slots=True)
class StockPlan:
    """Tiers are (shares a month up to, USD a share), the last without end; minimum and maximum are per order."""

    tiers: tuple[tuple[Decimal | None, Decimal], ...]
    minimum: Decimal
    #: Share of the order's value; where it is below the minimum it wins.
    maximum_share: Decimal
    #: The plan passes these on; the fixed plan includes them.
    clearing_per_share: Decimal = _ZERO
    clearing_cap_share: Decimal = _ZERO
    nyse_share: Decimal = _ZERO
    finra_share: Decimal = _ZERO
    removing_per_share: Decimal = _ZERO
    adding_per_share: Decimal = _ZERO


def _tiers(*rows: tuple[int | None, str]) -> tuple[tuple[Decimal | None, Decimal], ...]:
    return tuple((None if limit is None else Decimal(limit), Decimal(rate)) for limit, rate in rows)


#: IB's page "Commissions Stocks", United States (read in 2024). Exchange fees of the tiered plan vary by venue: the
#: figures are what most venues charge to remove and pay to add.
STOCK_PLANS: dict[Plan, StockPlan] = {
    Plan.FIXED: StockPlan(_tiers((None, "0.005")), Decimal("1.00"), Decimal("0.01")),
    Plan.TIERED: StockPlan(
        _tiers(
            (300_000, "0.0035"),
            (3_000_000, "0.002"),
            (20_000_000, "0.0015"),
            (100_000_000, "0.001"),
            (None, "0.0005"),
        ),
        Decimal("0.35"),
        Decimal("0.01"),
        clearing_per_share=Decimal("0.00020"),
        clearing_cap_share=Decimal("0.005"),
        nyse_share=Decimal("0.000175"),
        finra_share=Decimal("0.000563"),
        removing_per_share=Decimal("0.0030"),
        adding_per_share=Decimal("-0.0020"),
    ),
}

#: USD per option contract at the fixed rate, and the minimum per order (IB's page "Commissions Options").
OPTION_RATE = Decimal("0.65")
OPTION_MINIMUM = Decimal("1.00")


@dataclass(frozen=True, slots=True)
class FutureRate:
    """USD per contract and side."""

    broker: Decimal
    exchange: Decimal
    regulatory: Decimal
    source: str
    verified: bool = False


_MICRO = (Decimal("0.25"), Decimal("0.35"), Decimal("0.02"))
_MINI = (Decimal("0.85"), Decimal("1.38"), Decimal("0.02"))
FUTURE_RATES: dict[str, FutureRate] = {
    "MES": FutureRate(*_MICRO, "a recorded commission report of 0.62, April 2026", verified=True),
    "MNQ": FutureRate(*_MICRO, "as MES"),
    "MYM": FutureRate(*_MICRO, "as MES"),
    "M2K": FutureRate(*_MICRO, "as MES"),
    "ES": FutureRate(*_MINI, "from memory"),
    "NQ": FutureRate(*_MINI, "from memory"),
}


@dataclass(frozen=True, slots=True)
class Fee:
    """One part of a commission; `amount` in USD, negative for a rebate."""

    name: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Commission:
    """What an order or a fill costs. `fees` are its parts, the broker's own first; unrounded, as IB reports them."""

    fees: tuple[Fee, ...]
    currency: str = "USD"

    @property
    def total(self) -> Decimal:
        return sum((fee.amount for fee in self.fees), _ZERO)

    def amount(self, name: str) -> Decimal:
        """The part of that name, 0 when there is none."""
        return sum((fee.amount for fee in self.fees if fee.name == name), _ZERO)


def rate_on(rates: Sequence[Rate], day: date | None) -> Rate | None:
    """The row in force on `day` (None: the latest); None before the first."""
    if day is None:
        return rates[-1]
    return next((row for row in reversed(rates) if row.since <= day), None)


def commission(
    instrument: Instrument,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    *,
    plan: Plan = Plan.FIXED,
    on: date | None = None,
    month_shares: Decimal = _ZERO,
    adds_liquidity: bool = False,
) -> Commission:
    """The commission of one order filled in full at `price` per share.

    `quantity` > 0 in shares or contracts. `on` is the trade date, for the fees that change (None: today's rates).
    `month_shares` are shares traded this month before, for the tiers. Raises InvalidRequest for what has no row.
    """
    meter = CommissionMeter(instrument, side, plan=plan, on=on, month_shares=month_shares)
    return meter.add(quantity, price, adds_liquidity=adds_liquidity)


class CommissionMeter:
    """The commission of one order, fill by fill: minimum, maximum and caps hold for the order, not for each fill."""

    def __init__(
        self,
        instrument: Instrument,
        side: Side,
        *,
        plan: Plan = Plan.FIXED,
        on: date | None = None,
        month_shares: Decimal = _ZERO,
    ) -> None:
        self._instrument = instrument
        self._side = side
        self._plan = plan
        self._on = on
        self._month_shares = month_shares
        self._quantity = self._value = self._added = _ZERO
        self._charged: dict[str, Decimal] = {}

    def add(self, quantity: Decimal, price: Decimal, *, adds_liquidity: bool = False) -> Commission:
        """What this fill adds to the order's commission."""
        if quantity <= 0 or price < 0:
            raise InvalidRequest(f"commission of {quantity} at {price}", "there is no such fill")
        self._quantity += quantity
        self._value += quantity * price * self._instrument.multiplier
        self._added += quantity if adds_liquidity else _ZERO
        present = self._parts()
        fees = tuple(Fee(name, amount - self._charged.get(name, _ZERO)) for name, amount in present.items())
        self._charged = present
        return Commission(fees, self._instrument.currency)

    def _parts(self) -> dict[str, Decimal]:
        """The whole order's commission by part."""
        kind = self._instrument.sec_type
        if kind is SecType.STOCK:
            return self._stock() | self._sell_side(FINRA_STOCK_FEE)
        if kind is SecType.OPTION:
            return {"broker": max(OPTION_RATE * self._quantity, OPTION_MINIMUM)} | self._sell_side(FINRA_OPTION_FEE)
        row = FUTURE_RATES.get(self._instrument.symbol) if kind is SecType.FUTURE else None
        if row is None:
            raise InvalidRequest(f"commission of {self._instrument}", "there is no row for it in the table of rates")
        parts = {"broker": row.broker, "exchange": row.exchange, "regulatory": row.regulatory}
        return {name: rate * self._quantity for name, rate in parts.items()}

    def _stock(self) -> dict[str, Decimal]:
        plan = STOCK_PLANS[self._plan]
        raw = _by_tiers(plan.tiers, self._month_shares, self._quantity)
        broker = min(max(raw, plan.minimum), self._value * plan.maximum_share)
        if self._plan is Plan.FIXED:
            return {"broker": broker}
        removed = self._quantity - self._added
        return {
            "broker": broker,
            "exchange": removed * plan.removing_per_share + self._added * plan.adding_per_share,
            "clearing": min(self._quantity * plan.clearing_per_share, self._value * plan.clearing_cap_share),
            "pass_through": broker * (plan.nyse_share + plan.finra_share),
        }

    def _sell_side(self, finra: Sequence[Rate]) -> dict[str, Decimal]:
        if self._side is Side.BUY:
            return {}
        sec, activity = rate_on(SEC_FEE, self._on), rate_on(finra, self._on)
        fees = {"sec": self._value * sec.rate / 1_000_000} if sec is not None else {}
        if activity is not None:
            due = self._quantity * activity.rate
            fees["finra"] = due if activity.cap is None else min(due, activity.cap)
        return fees


def _by_tiers(tiers: Sequence[tuple[Decimal | None, Decimal]], before: Decimal, quantity: Decimal) -> Decimal:
    """USD for `quantity` shares after `before` shares this month; each share at the rate of its own tier."""
    total, done = _ZERO, before
    end = before + quantity
    for limit, rate in tiers:
        upto = end if limit is None else min(limit, end)
        if upto > done:
            total += (upto - done) * rate
            done = upto
    return total
