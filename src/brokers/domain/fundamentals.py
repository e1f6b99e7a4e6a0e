"""What a company reports of itself, as a broker passes it on. Floats; a figure that was not told is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from .instrument import Instrument


class Report(StrEnum):
    """Reports by IB's names (reqFundamentalData)."""

    SNAPSHOT = "ReportSnapshot"  #: the company, its ratios
    SUMMARY = "ReportsFinSummary"  #: revenue, earnings and dividends over time


class Span(StrEnum):
    """What a reported figure covers, in IB's words."""

    QUARTER = "3M"
    YEAR = "12M"


@dataclass(frozen=True, slots=True)
class Reported:
    """A figure of the span that ended on `end`: revenue in `currency` units, earnings and dividends in units a
    share."""

    end: date
    span: Span
    value: float


@dataclass(frozen=True, slots=True)
class Fundamentals:
    """A company at `time` (market time, aware UTC, when it was asked).

    Sums in units of `currency` (never millions), over the last twelve months where they cover a span; margins and
    returns in percent; per-share figures in units a share; `employees` and shares as counts. `revenues`, `earnings`
    and `dividends` ascend by their ends. `missing` says of each report that did not come why it did not.
    """

    instrument: Instrument
    time: datetime
    currency: str = "USD"
    price: float | None = None
    market_cap: float | None = None
    enterprise_value: float | None = None
    revenue: float | None = None
    ebitda: float | None = None
    net_income: float | None = None
    employees: float | None = None
    shares_outstanding: float | None = None
    float_shares: float | None = None
    book_per_share: float | None = None
    cash_per_share: float | None = None
    cash_flow_per_share: float | None = None
    gross_margin: float | None = None
    return_on_equity: float | None = None
    price_to_earnings: float | None = None
    price_to_book: float | None = None
    revenues: tuple[Reported, ...] = ()
    earnings: tuple[Reported, ...] = ()
    dividends: tuple[Reported, ...] = ()
    missing: Mapping[Report, str] = field(default_factory=dict)
    source: str = ""
