"""Numbers from what a company reports: valuation, margins, growth, staff.

Every ratio is computed here from the sums that the broker told; a report that did not come leaves its rows missing,
with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ...brokers.domain.fundamentals import Fundamentals, Report, Reported, Span
from ...brokers.errors import BrokerError
from .evidence import EvidenceRow, evidence_row, ids_of, missing_rows

#: Quarters of a year, and the longest time from the first one's end to the last one's.
YEAR, YEAR_OF_QUARTERS = 4, timedelta(days=290)
_MILLION, _THOUSAND = 1e6, 1e3
_LOSS = "the company made a loss in the last four quarters"
#: Rows that are made of the summary alone; all others are of the snapshot.
_OF_SUMMARY = ("fundamentals.revenue_growth_pct", "fundamentals.eps_growth_pct", "fundamentals.dividend_yield_pct")

Figure = tuple[float | None, str | None]


def fundamental_rows(found: Fundamentals | BrokerError, why: str) -> list[EvidenceRow]:
    """The rows of `KINDS` about the company; `why` is the error in words, where `found` is one."""
    ids = ids_of("fundamentals")
    if isinstance(found, BrokerError):
        return missing_rows(ids, why)
    values = _snapshot_figures(found) | _summary_figures(found)
    rows = []
    for id in ids:
        value, reason = values[id]
        report = Report.SUMMARY if id in _OF_SUMMARY else Report.SNAPSHOT
        lacking = found.missing.get(report)
        rows.append(evidence_row(id, value, found.time, reason if lacking is None else f"{report}: {lacking}"))
    return rows


def _snapshot_figures(found: Fundamentals) -> dict[str, Figure]:
    income, shares = found.net_income, found.shares_outstanding
    per_share = None if income is None or not shares else income / shares
    loss = _LOSS if per_share is not None and per_share <= 0 else None
    earned = found.ebitda if found.ebitda is not None and found.ebitda > 0 else None
    return {
        "fundamentals.market_cap_m": (_over(found.market_cap, _MILLION), None),
        "fundamentals.pe": (None if loss else _over(found.price, per_share), loss),
        "fundamentals.price_to_book": (_over(found.price, _positive(found.book_per_share)), None),
        "fundamentals.ev_to_ebitda": (_over(found.enterprise_value, earned), "no operating profit was told"),
        "fundamentals.gross_margin_pct": (found.gross_margin, None),
        "fundamentals.ebitda_margin_pct": (_percent(found.ebitda, found.revenue), None),
        "fundamentals.net_margin_pct": (_percent(income, found.revenue), None),
        "fundamentals.return_on_equity_pct": (_percent(per_share, _positive(found.book_per_share)), None),
        "fundamentals.cash_to_price_pct": (_percent(found.cash_per_share, found.price), None),
        "fundamentals.employees": (found.employees, None),
        "fundamentals.revenue_per_employee_k": (_over(_over(found.revenue, found.employees), _THOUSAND), None),
        "fundamentals.float_pct": (_percent(found.float_shares, shares), None),
    }


def _summary_figures(found: Fundamentals) -> dict[str, Figure]:
    few = "fewer than eight quarters in a row were told"
    paid, _ = years_of(found.dividends)
    return {
        "fundamentals.revenue_growth_pct": (_growth(*years_of(found.revenues)), few),
        "fundamentals.eps_growth_pct": (_growth(*years_of(found.earnings)), f"{few}, or there was a loss before"),
        "fundamentals.dividend_yield_pct": (_percent(paid, found.price), "no dividends or no price were told"),
    }


def years_of(figures: Sequence[Reported]) -> tuple[float | None, float | None]:
    """(sum of the last four quarters, of the four before them); None where they do not lie in a row."""
    quarters = [one for one in figures if one.span is Span.QUARTER]
    last, before = quarters[-YEAR:], quarters[-2 * YEAR : -YEAR]
    sums = [
        sum(one.value for one in year) if len(year) == YEAR and year[-1].end - year[0].end <= YEAR_OF_QUARTERS else None
        for year in (last, before)
    ]
    return sums[0], sums[1]


def _growth(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None or before <= 0 else (now / before - 1) * 100


def _over(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def _percent(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole * 100


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None
