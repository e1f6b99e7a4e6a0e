"""Valuation, margins and growth from what a company reports; a figure that cannot be is missing with its reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from moondev_ibkr.agents.analysis.collecting import EvidenceCollector
from moondev_ibkr.agents.analysis.evidence import EvidenceRow, ids_of
from moondev_ibkr.agents.analysis.fundamental_measures import fundamental_rows
from moondev_ibkr.brokers.domain.fundamentals import Fundamentals, Report, Reported, Span
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.errors import LinkLost, NotSupported

from .conftest import NOON, FakeMarket

ENDS = [date(year, month, day) for year in (2024, 2025) for month, day in ((3, 31), (6, 30), (9, 30), (12, 31))]


def series(*values: float) -> tuple[Reported, ...]:
    quarters = [Reported(end, Span.QUARTER, value) for end, value in zip(ENDS, values, strict=False)]
    return (*quarters, Reported(ENDS[-1], Span.YEAR, 1e9))


COMPANY = Fundamentals(
    Instrument("AAA"),
    NOON,
    price=50.0,
    market_cap=5e9,
    enterprise_value=4.5e9,
    revenue=2e9,
    ebitda=5e8,
    net_income=2.5e8,
    employees=10_000.0,
    shares_outstanding=1e8,
    float_shares=9e7,
    book_per_share=20.0,
    cash_per_share=5.0,
    gross_margin=40.0,
    revenues=series(*[400.0] * 4, *[500.0] * 4),
    earnings=series(*[0.5] * 4, *[0.6] * 4),
    dividends=series(*[0.25] * 8),
)


def rows(found: Fundamentals) -> dict[str, EvidenceRow]:
    return {row.id.partition(".")[2]: row for row in fundamental_rows(found, "")}


def test_every_figure_is_computed_from_the_sums() -> None:
    assert {name: row.value for name, row in rows(COMPANY).items()} == pytest.approx(
        {
            "market_cap_m": 5_000.0,
            "pe": 20.0,
            "price_to_book": 2.5,
            "ev_to_ebitda": 9.0,
            "gross_margin_pct": 40.0,
            "ebitda_margin_pct": 25.0,
            "net_margin_pct": 12.5,
            "return_on_equity_pct": 12.5,
            "cash_to_price_pct": 10.0,
            "employees": 10_000.0,
            "revenue_per_employee_k": 200.0,
            "float_pct": 90.0,
            "revenue_growth_pct": 25.0,
            "eps_growth_pct": 20.0,
            "dividend_yield_pct": 2.0,
        }
    )


def test_a_loss_has_no_price_earnings_ratio_and_says_so() -> None:
    found = rows(replace(COMPANY, net_income=-1e8, ebitda=-2e8, earnings=series(*[-0.1] * 8)))
    assert (found["pe"].value, "loss" in str(found["pe"].missing)) == (None, True)
    assert found["ev_to_ebitda"].value is None
    assert found["net_margin_pct"].value == -5.0
    assert (found["eps_growth_pct"].value, "loss" in str(found["eps_growth_pct"].missing)) == (None, True)


def test_quarters_with_a_hole_make_no_growth() -> None:
    holed = tuple(one for one in COMPANY.revenues if one.end != ENDS[5])
    found = rows(replace(COMPANY, revenues=holed))["revenue_growth_pct"]
    assert (found.value, "in a row" in str(found.missing)) == (None, True)


def test_a_report_that_did_not_come_is_told_as_the_reason_of_its_rows_alone() -> None:
    found = rows(replace(COMPANY, revenues=(), earnings=(), dividends=(), missing={Report.SUMMARY: "IB error 430"}))
    assert found["revenue_growth_pct"].missing == "ReportsFinSummary: IB error 430"
    assert found["pe"].value == 20.0


async def test_companies_are_asked_for_once_a_day_and_never_in_place_of_a_lost_link(market: FakeMarket) -> None:
    market.add("AAA")
    market.add("BBB")
    market.companies["AAA"] = COMPANY
    collector = EvidenceCollector(market)
    market.fails["fundamentals"] = LinkLost("fundamentals", "gone")
    found = await collector.collect(["AAA"])
    assert "gone" in found["AAA"].missing["fundamentals.pe"]
    market.fails.clear()
    for _ in range(2):
        found = await collector.collect(["AAA", "BBB"])
    assert found["AAA"].number("fundamentals.pe") == 20.0
    assert "no company" in found["BBB"].missing["fundamentals.pe"]
    assert market.asked["fundamentals"] == ["AAA", "AAA", "BBB"]


async def test_a_gateway_that_has_none_is_missing_evidence_and_nothing_else(market: FakeMarket) -> None:
    market.add("AAA")
    market.fails["fundamentals"] = NotSupported("fundamentals of AAA", "TWS API 10.47 removed them")
    found = (await EvidenceCollector(market).collect(["AAA"]))["AAA"]
    assert {found.missing[id] for id in ids_of("fundamentals")} == {"fundamentals of AAA: TWS API 10.47 removed them"}
    assert found.number("price.sigma") is not None
