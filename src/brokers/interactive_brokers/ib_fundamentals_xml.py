"""IB's fundamental reports, read: XML written by strangers, so entities are refused and every number may be missing.

Money in the ratios is in millions; what is answered is in units. Source: analytics.md section 3.7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..domain.fundamentals import Reported, Span
from ..errors import ProtocolViolation

#: Field of `Fundamentals` -> (FieldName of the ratio, units of the answer in one of the report's).
RATIOS: Mapping[str, tuple[str, float]] = {
    "price": ("NPRICE", 1.0),
    "market_cap": ("MKTCAP", 1e6),
    "enterprise_value": ("EV", 1e6),
    "revenue": ("TTMREV", 1e6),
    "ebitda": ("TTMEBITD", 1e6),
    "net_income": ("TTMNIAC", 1e6),
    "book_per_share": ("QBVPS", 1.0),
    "cash_per_share": ("QCSHPS", 1.0),
    "cash_flow_per_share": ("TTMCFSHR", 1.0),
    "gross_margin": ("TTMGROSMGN", 1.0),
    "return_on_equity": ("TTMROEPCT", 1.0),
    "price_to_earnings": ("PEEXCLXOR", 1.0),
    "price_to_book": ("PRICE2BK", 1.0),
}
#: What IB writes for a ratio that it does not know.
_UNKNOWN = -99999.99
#: Kinds of a figure that count: as reported or restated, not a running total.
_KINDS = ("A", "R", "P")


def read_snapshot(text: str) -> dict[str, Any]:
    """Fields of `Fundamentals` that a ReportSnapshot tells. Raises ProtocolViolation for what is no such report."""
    tree = _parsed(text, "ReportSnapshot")
    told = {row.get("FieldName"): _number(row.text) for row in tree.iterfind("Ratios/Group/Ratio")}
    found: dict[str, Any] = {}
    for name, (ratio, unit) in RATIOS.items():
        value = told.get(ratio)
        found[name] = None if value is None or value <= _UNKNOWN else value * unit
    shares = tree.find("CoGeneralInfo/SharesOut")
    ratios = tree.find("Ratios")
    return found | {
        "currency": (None if ratios is None else ratios.get("ReportingCurrency")) or "USD",
        "employees": _number(tree.findtext("CoGeneralInfo/Employees")),
        "shares_outstanding": None if shares is None else _number(shares.text),
        "float_shares": None if shares is None else _number(shares.get("TotalFloat")),
    }


def read_summary(text: str) -> dict[str, Any]:
    """`revenues`, `earnings` and `dividends` of a ReportsFinSummary. Raises ProtocolViolation."""
    tree = _parsed(text, "FinancialSummary")
    return {
        "revenues": _series(tree, "TotalRevenues/TotalRevenue"),
        "earnings": _series(tree, "EPSs/EPS"),
        "dividends": _series(tree, "DividendPerShares/DividendPerShare"),
    }


def _series(tree: Element, path: str) -> tuple[Reported, ...]:
    """One figure a span and end; where several were reported, the last in the document counts."""
    found: dict[tuple[date, Span], Reported] = {}
    for row in tree.iterfind(path):
        end, value = _day(row.get("asofDate")), _number(row.text)
        period = row.get("period")
        if end is None or value is None or period not in (Span.QUARTER, Span.YEAR):
            continue
        # TTM figures are told for every quarter with the period 12M: only a year's own report is a year
        if row.get("reportType") in _KINDS:
            found[end, Span(period)] = Reported(end, Span(period), value)
    return tuple(sorted(found.values(), key=lambda one: (one.end, one.span)))


def _parsed(text: str, root: str) -> Element:
    try:
        tree: Element = fromstring(text)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ProtocolViolation(root, f"the report cannot be read: {error}", "take it from elsewhere") from None
    if tree.tag != root:
        raise ProtocolViolation(root, f"the broker sent a {tree.tag[:60]} instead", "take it from elsewhere")
    return tree


def _number(text: str | None) -> float | None:
    try:
        number = float((text or "").strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None
