"""The companies behind the exchange's stocks: shares, staff, and what they report. All of it is made up.

A company is drawn once from its symbol and the exchange's seed. Quarters end with the calendar's and are published
PUBLISHED later, so that a report never tells more than the day could know. Funds have no company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from random import Random

from ..domain.instrument import InstrumentDetails, SecType
from ..domain.market_data import BarSize, BarSource
from ..errors import BrokerError
from .market import PriceSource
from .walk import seed_for

#: From the end of a quarter to its report.
PUBLISHED = timedelta(days=40)
#: Years in which growth begins to count.
_FOUNDED = 2015
_NO_COMPANY = frozenset({"ETF", "ETN", "FUND"})


@dataclass(frozen=True, slots=True)
class Quarter:
    """What a company reports of one quarter, in USD; `per_share` in USD a share."""

    end: date
    revenue: float
    ebitda: float
    net_income: float
    per_share: float
    dividend: float

    @property
    def published(self) -> date:
        return self.end + PUBLISHED


@dataclass(frozen=True, slots=True)
class Company:
    """`shares` outstanding and `floating`. Margins are shares of revenue; `revenue` is of a quarter of 2015, in USD,
    and grows by `growth` a year. `book` and `cash` are USD a share, `payout` the share of earnings paid out."""

    shares: int
    floating: int
    employees: int
    revenue: float
    growth: float
    gross_margin: float
    ebitda_margin: float
    net_margin: float
    book: float
    cash: float
    payout: float

    def quarter(self, end: date) -> Quarter:
        years = end.year - _FOUNDED + end.month / 12
        season = 1.0 + (0.04, -0.03, -0.02, 0.01)[(end.month - 1) // 3]
        revenue = self.revenue * (1 + self.growth) ** years * season
        income = revenue * self.net_margin
        per_share = income / self.shares
        return Quarter(end, revenue, revenue * self.ebitda_margin, income, per_share, max(0.0, per_share * self.payout))

    def published(self, day: date, count: int) -> Sequence[Quarter]:
        """The latest `count` quarters that were published by `day`, the oldest first."""
        found: list[Quarter] = []
        year, number = day.year, (day.month - 1) // 3
        while len(found) < count:
            quarter = self.quarter(_quarter_end(year, number))
            if quarter.published <= day:
                found.insert(0, quarter)
            year, number = (year, number - 1) if number else (year - 1, 3)
        return found

    def market_value(self, price: float) -> float:
        """USD at that price."""
        return self.shares * price


def company_of(source: PriceSource, details: InstrumentDetails, seed: int) -> Company | None:
    """The company of a stock; None for a fund, for what is no stock, and where the source knows no price."""
    if details.instrument.sec_type is not SecType.STOCK or details.stock_type in _NO_COMPANY:
        return None
    base = _first_close(source, details.instrument.con_id or 0)
    return None if base is None else _drawn(details.instrument.symbol, seed, base)


def _first_close(source: PriceSource, con_id: int) -> float | None:
    """The earliest close that the source has: the same on every day, so that a report stays as it was."""
    try:
        head = source.head_timestamp(con_id)
        if head is None:
            return None
        later = max(head, source.start)
        bars = source.history(
            con_id, BarSize.D1, BarSource.TRADES, start=head, end=head + timedelta(days=14), now=later
        )
    except BrokerError:
        return None
    return next((bar.close for bar in bars if bar.close > 0), None)


@lru_cache(maxsize=4096)
def _drawn(symbol: str, seed: int, price: float) -> Company:
    chance = Random(seed_for("company", seed, symbol))
    shares = round(10 ** chance.uniform(7.7, 9.7))
    net = chance.uniform(-0.05, 0.30)
    ebitda = max(net, 0.0) + chance.uniform(0.05, 0.15)
    # a quarter's revenue that puts the price at some 8 to 60 times a profitable company's earnings
    multiple = chance.uniform(8, 60)
    revenue = shares * price / multiple / max(net, 0.05) / 4
    return Company(
        shares,
        round(shares * chance.uniform(0.6, 0.99)),
        max(50, round(4 * revenue / chance.uniform(150_000, 900_000))),
        revenue,
        chance.uniform(-0.03, 0.18),
        min(0.9, ebitda + chance.uniform(0.1, 0.35)),
        ebitda,
        net,
        price * chance.uniform(0.1, 0.8),
        price * chance.uniform(0.01, 0.2),
        0.0 if chance.random() < 0.4 else chance.uniform(0.1, 0.6),
    )


def _quarter_end(year: int, number: int) -> date:
    return (date(year + 1, 1, 1) if number == 3 else date(year, 3 * number + 4, 1)) - timedelta(days=1)


def fiscal_year_end(moment: datetime) -> date:
    """The last 31 December whose quarter was published by `moment`."""
    day = moment.date()
    end = date(day.year - 1, 12, 31)
    return end if end + PUBLISHED <= day else date(day.year - 2, 12, 31)
