"""Contract details, symbol search and market rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.contract import Contract

from .rig import AAPL, AAPL_ID, MES_ID, joined, running


def ask(contract: Contract, **fields: Any) -> r.ReqContractDetails:
    values: dict[str, Any] = {"includeExpired": False, "secIdType": "", "secId": "", **fields}
    return r.ReqContractDetails(reqId=3, contract=contract, **values)


@pytest.mark.parametrize(
    "wanted",
    [
        AAPL,
        Contract(conId=AAPL_ID),
        Contract(conId=AAPL_ID, exchange="NASDAQ"),
        replace(AAPL, primaryExchange="NASDAQ"),
        replace(AAPL, primaryExchange="ISLAND"),
        replace(AAPL, exchange="", currency=""),
        Contract(localSymbol="AAPL", secType="STK"),
        replace(AAPL, symbol="aapl"),
    ],
)
async def test_a_stock_is_found_by_any_true_description(wanted: Contract) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(ask(wanted))
        details = await client.until("contractDetails")
        assert (details["conId"], details["primaryExchange"]) == (AAPL_ID, "NASDAQ")
        await client.until("contractDetailsEnd", reqId=3)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Contract(symbol="NOPE", secType="STK", exchange="SMART", currency="USD"), 200),
        (replace(AAPL, currency="EUR"), 200),
        (replace(AAPL, exchange="LSE"), 200),
        (replace(AAPL, primaryExchange="NYSE"), 200),
        (replace(AAPL, secType="OPT", strike=Decimal("251.3")), 200),
        (replace(AAPL, secType=""), 321),
        (replace(AAPL, secType="SHARE"), 321),
        (Contract(conId=1), 200),
        (Contract(secType="STK"), 200),
    ],
)
async def test_anything_else_is_an_error_and_never_an_empty_list(wanted: Contract, code: int) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(ask(wanted))
        assert (await client.error(code))["reqId"] == 3
        assert await client.quiet() == []


async def test_a_future_carries_its_expiry_multiplier_and_hours() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(ask(Contract(symbol="MES", secType="FUT", exchange="CME", currency="USD")))
        details = await client.until("contractDetails")
        assert details["conId"] == MES_ID
        assert (details["multiplier"], details["minTick"], details["contractMonth"]) == ("5", 0.25, "202606")
        assert details["realExpirationDate"] == "20260618"
        assert details["timeZoneId"] == "US/Central"
        client.send(ask(Contract(symbol="MES", secType="FUT", lastTradeDateOrContractMonth="202609", exchange="CME")))
        await client.error(200)


async def test_an_expired_future_is_found_only_when_asked_for() -> None:
    late = datetime(2026, 7, 15, 15, 0, tzinfo=UTC)
    async with running(start=late) as gateway, joined(gateway) as client:
        client.send(ask(Contract(conId=MES_ID)))
        await client.error(200)
        client.send(ask(Contract(conId=MES_ID), includeExpired=True))
        await client.until("contractDetails")


async def test_search_rules_exchanges_and_components() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.ReqMatchingSymbols(reqId=1, pattern="APP"))
        samples = (await client.until("symbolSamples"))["samples"]
        assert [(one.symbol, one.description) for one in samples] == [("AAPL", "APPLE INC")]
        client.send(r.ReqMarketRule(marketRuleId=26))
        steps = (await client.until("marketRule"))["priceIncrements"]
        assert [(float(step.lowEdge), float(step.increment)) for step in steps] == [(0.0, 0.01)]
        client.send(r.ReqMarketRule(marketRuleId=4))
        await client.error(321)
        client.send(r.ReqMktDepthExchanges())
        assert {row.exchange for row in (await client.until("mktDepthExchanges"))["exchanges"]} >= {"NYSE", "CME"}
        client.send(r.ReqSmartComponents(reqId=2, bboExchange="9c0001"))
        assert len((await client.until("smartComponents"))["components"]) == 5
        client.send(r.ReqSmartComponents(reqId=2, bboExchange="zzz"))
        await client.error(321)


async def test_option_chain_of_a_future_is_only_the_end() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(
            r.ReqSecDefOptParams(
                reqId=7, underlyingSymbol="MES", futFopExchange="CME", underlyingSecType="FUT", underlyingConId=MES_ID
            )
        )
        await client.until("securityDefinitionOptionParameterEnd", reqId=7)
        assert "securityDefinitionOptionParameter" not in client.names()


async def test_connection_requests() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.ReqCurrentTime())
        assert (await client.until("currentTime"))["time"] == int(gateway.now.timestamp())
        client.send(r.ReqManagedAccts())
        await client.until("managedAccounts")
        first = next(v["orderId"] for n, v in client.seen if n == "nextValidId")
        client.send(r.ReqIds(numIds=1))
        assert (await client.until("nextValidId"))["orderId"] == first + 1
        client.send(r.SetServerLogLevel(logLevel=5))
        assert await client.quiet() == []
        client.send(r.SetServerLogLevel(logLevel=9))
        await client.error(321)


async def test_bulletins_reach_those_who_asked() -> None:
    async with running() as gateway, joined(gateway) as client:
        gateway.faults.arm("bulletin", "early")
        assert await client.quiet() == []
        client.send(r.ReqNewsBulletins(allMsgs=True))
        assert (await client.until("updateNewsBulletin"))["message"] == "early"
        gateway.faults.arm("bulletin", "late")
        assert (await client.until("updateNewsBulletin"))["message"] == "late"
        client.send(r.CancelNewsBulletins())
        await client.quiet()
        gateway.faults.arm("bulletin", "unheard")
        assert await client.quiet() == []
