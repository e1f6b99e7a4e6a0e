"""Fundamentals over a running gateway that has them, has them no more, or is silent about them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from ib_async import Stock
from ib_async.wrapper import RequestError
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.fundamentals import Report, Span
from moondev_ibkr.brokers.errors import NoData, NotSupported, ProtocolViolation
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_contracts import ContractBook
from moondev_ibkr.brokers.interactive_brokers.ib_fundamentals import IBFundamentals
from moondev_ibkr.brokers.interactive_brokers.ib_fundamentals_xml import read_snapshot, read_summary
from moondev_ibkr.brokers.interactive_brokers.ib_gateway_pool import GatewayPool
from moondev_ibkr.brokers.interactive_brokers.ib_pool_member import GatewayTerms, PoolMember, PoolPolicy
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.prices import make_prices
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.request import Request
from moondev_ibkr.brokers.simulation.tws.session import Session
from moondev_ibkr.brokers.simulation.tws.settings import FundamentalService

from ..simulation.tws.rig import running
from ..wire_interop.test_ib_async_interop import connected


@asynccontextmanager
async def reports(service: FundamentalService, silence: float = 5.0) -> AsyncIterator[tuple[Gateway, IBFundamentals]]:
    source = make_prices(calendar_for(), kind="synthetic", symbols=["AAPL", "MSFT", "SPY"])
    async with running(source=source, tws={"fundamentals": service}) as gateway:
        client = IbAsyncClient(TwsSettings(port=gateway.tws_port, client_id=5), clock=MarketClock(rate=0.0))
        await client.connect()
        try:
            yield gateway, IBFundamentals(client, ContractBook(client, client.clock), client.clock, silence=silence)
        finally:
            await client.disconnect()


def count_asked(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Types of the reports that clients ask for from now on."""
    asked: list[str] = []
    serve = gateway.door.serve

    def counted(session: Session, request: Request) -> None:
        if isinstance(request, r.ReqFundamentalData):
            asked.append(request.reportType)
        serve(session, request)

    monkeypatch.setattr(gateway.door, "serve", counted)
    return asked


async def test_a_company_is_read_once_and_a_fund_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reports(FundamentalService.SERVED) as (gateway, reader):
        asked = count_asked(gateway, monkeypatch)
        told = await reader.of("AAPL")
        assert await reader.of("AAPL") is told
        assert sorted(asked) == sorted(report.value for report in Report)
        assert told.missing == reader.lacking == {}
        assert (told.market_cap or 0) > 1e6
        with pytest.raises(NoData, match="not available"):
            await reader.of("SPY")
        assert reader.lacking == {}, "one security without reports says nothing about the session"


async def test_a_login_that_may_not_is_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reports(FundamentalService.REFUSED) as (gateway, reader):
        asked = count_asked(gateway, monkeypatch)
        for symbol in ("AAPL", "MSFT"):
            with pytest.raises(NotSupported, match="10358"):
                await reader.of(symbol)
        assert len(asked) == 2
        assert set(reader.lacking) == set(Report)


async def test_what_one_gateway_of_a_pool_may_not_is_asked_at_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        reports(FundamentalService.REFUSED) as (refusing, nothing),
        reports(FundamentalService.SERVED) as (serving, _),
    ):
        refused, served = count_asked(refusing, monkeypatch), count_asked(serving, monkeypatch)
        clock = MarketClock(rate=0.0)
        members = [
            PoolMember(
                IbAsyncClient(TwsSettings(port=gateway.tws_port, client_id=6), clock=clock),
                GatewayTerms(f"g{number}"),
                clock,
                PoolPolicy(),
                has_orders=number == 0,
            )
            for number, gateway in enumerate((refusing, serving))
        ]
        pool = GatewayPool(members[0], members[1:], clock, PoolPolicy())
        await pool.connect()
        try:
            reader = IBFundamentals(pool, ContractBook(pool, clock), clock)
            told = [await reader.of(symbol) for symbol in ("AAPL", "MSFT")]
        finally:
            await pool.disconnect()
        assert all(company.missing == {} for company in told)
        assert reader.lacking == {}
        assert len(served) == 2 * len(Report)
        assert refused, "the one that may not was never asked"
        with pytest.raises(NotSupported, match="10358"):
            await nothing.of("AAPL")


async def test_silence_is_waited_for_once_and_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reports(FundamentalService.SILENT, silence=0.05) as (gateway, reader):
        asked = count_asked(gateway, monkeypatch)
        for symbol in ("AAPL", "MSFT", "AAPL"):
            with pytest.raises(NotSupported, match=r"10\.47"):
                await reader.of(symbol)
        assert len(asked) == 2


async def test_stock_ib_async_reads_both_reports() -> None:
    source = make_prices(calendar_for(), kind="synthetic", symbols=["AAPL", "SPY"])
    async with running(source=source) as gateway, connected(gateway) as ib:
        (apple, fund) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"), Stock("SPY", "SMART", "USD"))
        snapshot = read_snapshot(await ib.reqFundamentalDataAsync(apple, "ReportSnapshot"))  # type: ignore[arg-type]
        assert snapshot["market_cap"] == pytest.approx(snapshot["price"] * snapshot["shares_outstanding"], rel=1e-5)
        summary = read_summary(await ib.reqFundamentalDataAsync(apple, "ReportsFinSummary"))  # type: ignore[arg-type]
        assert [row.span for row in summary["revenues"]].count(Span.YEAR) == 3
        for wanted, report in ((fund, "ReportSnapshot"), (apple, "RESC")):
            with pytest.raises(RequestError) as refused:
                await ib.reqFundamentalDataAsync(wanted, report)  # type: ignore[arg-type]
            assert refused.value.code == 430


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><ReportSnapshot>&a;</ReportSnapshot>'


@pytest.mark.parametrize("text", ["", "<ReportSnapshot>", "<Other/>", BOMB])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ProtocolViolation):
        read_snapshot(text)


def test_figures_that_are_not_told_are_none_and_never_zero() -> None:
    told = read_snapshot(
        "<ReportSnapshot><CoGeneralInfo><Employees>many</Employees></CoGeneralInfo><Ratios ReportingCurrency='EUR'>"
        "<Group><Ratio FieldName='MKTCAP'>-99999.99000</Ratio><Ratio FieldName='TTMREV'>12.5</Ratio>"
        "<Ratio FieldName='NPRICE'>nan</Ratio></Group></Ratios></ReportSnapshot>"
    )
    assert (told["market_cap"], told["price"], told["employees"], told["shares_outstanding"]) == (None,) * 4
    assert (told["revenue"], told["currency"]) == (12_500_000.0, "EUR")


def test_a_summary_takes_reported_figures_and_no_running_totals() -> None:
    row = "<TotalRevenue asofDate='{}' reportType='{}' period='{}'>{}</TotalRevenue>"
    told = read_summary(
        "<FinancialSummary><TotalRevenues>"
        + row.format("2025-12-31", "TTM", "12M", 9)
        + row.format("2025-12-31", "A", "12M", 7)
        + row.format("2025-12-31", "A", "3M", 2)
        + row.format("2025-09-30", "TTM", "12M", 6)
        + row.format("someday", "A", "3M", 1)
        + "</TotalRevenues></FinancialSummary>"
    )
    assert [(one.span, one.value) for one in told["revenues"]] == [(Span.YEAR, 7.0), (Span.QUARTER, 2.0)]
    assert told["earnings"] == ()
