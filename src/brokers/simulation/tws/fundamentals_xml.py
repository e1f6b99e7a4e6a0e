"""The two fundamental reports as IB's gateway wrote them until TWS API 10.47. Source: analytics.md section 3.7."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from xml.sax.saxutils import escape, quoteattr

from ...domain.fundamentals import Fundamentals, Report, Reported
from ...domain.instrument import InstrumentDetails

#: Group of the ratios -> (FieldName, field of `Fundamentals`, units of the field in one of the report's).
_RATIOS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "Price and Volume": (("NPRICE", "price", 1.0),),
    "Income Statement": (
        ("MKTCAP", "market_cap", 1e6),
        ("TTMREV", "revenue", 1e6),
        ("TTMEBITD", "ebitda", 1e6),
        ("TTMNIAC", "net_income", 1e6),
    ),
    "Per share data": (
        ("QBVPS", "book_per_share", 1.0),
        ("QCSHPS", "cash_per_share", 1.0),
        ("TTMCFSHR", "cash_flow_per_share", 1.0),
    ),
    "Other Ratios": (
        ("EV", "enterprise_value", 1e6),
        ("TTMGROSMGN", "gross_margin", 1.0),
        ("TTMROEPCT", "return_on_equity", 1.0),
        ("PEEXCLXOR", "price_to_earnings", 1.0),
        ("PRICE2BK", "price_to_book", 1.0),
    ),
}
#: Written for a ratio that is not known.
_UNKNOWN = "-99999.99000"


def _element(name: str, content: str, **attributes: str) -> str:
    head = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{head}>{content}</{name}>"


def snapshot(details: InstrumentDetails, told: Fundamentals) -> str:
    groups = []
    for group, rows in _RATIOS.items():
        ratios = "".join(
            _element("Ratio", _ratio(getattr(told, field), unit), FieldName=name, Type="N")
            for name, field, unit in rows
        )
        groups.append(_element("Group", ratios, ID=group))
    latest = told.revenues[-1].end.isoformat()
    general = "".join(
        (
            _element("LatestAvailableInterim", latest),
            _element("Employees", f"{told.employees:.0f}", LastUpdated=latest),
            _element("SharesOut", f"{told.shares_outstanding:.1f}", Date=latest, TotalFloat=f"{told.float_shares:.1f}"),
            _element("ReportingCurrency", escape(told.currency), Code=told.currency),
        )
    )
    industry = _element("Industry", escape(details.industry), type="TRBC", order="1")
    ticker = _element("IssueID", escape(details.instrument.symbol), Type="Ticker")
    return _document(
        "ReportSnapshot",
        _element("CoIDs", _element("CoID", escape(details.long_name), Type="CompanyName")),
        _element("Issues", _element("Issue", ticker, ID="1", Type="C", Desc="Common Stock")),
        _element("CoGeneralInfo", general),
        _element("peerInfo", _element("IndustryInfo", industry)),
        _element("Ratios", "".join(groups), PriceCurrency=told.currency, ReportingCurrency=told.currency),
    )


def summary(details: InstrumentDetails, told: Fundamentals) -> str:
    def series(name: str, row: str, figures: Iterable[Reported], **attributes: str) -> str:
        rows = "".join(
            _element(row, _number(one.value), asofDate=one.end.isoformat(), reportType="A", period=one.span.value)
            for one in figures
        )
        return _element(name, rows, **attributes)

    return _document(
        "FinancialSummary",
        series("EPSs", "EPS", told.earnings, currency=told.currency),
        series("DividendPerShares", "DividendPerShare", told.dividends, currency=told.currency),
        series("TotalRevenues", "TotalRevenue", told.revenues, currency=told.currency),
        "<Dividends/>",
    )


def _document(root: str, *content: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>{_element(root, "".join(content))}'


def _ratio(value: float | None, unit: float) -> str:
    return _UNKNOWN if value is None else f"{value / unit:.5f}"


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


REPORTS: dict[str, Callable[[InstrumentDetails, Fundamentals], str]] = {
    Report.SNAPSHOT.value: snapshot,
    Report.SUMMARY.value: summary,
}
