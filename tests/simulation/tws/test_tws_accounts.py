"""Accounts, positions and P&L as a client sees them, first and after a fill."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.simulation.tws import requests as r

from .orders import order
from .rig import AAPL_ID, RawClient, joined, moving, running

ACCOUNT = "DU0000001"


async def test_account_updates_download_then_change_with_a_fill() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.ReqAccountUpdates(subscribe=True, acctCode=ACCOUNT))
        await client.until("accountDownloadEnd", account=ACCOUNT)
        values = {v["key"]: v["value"] for n, v in client.seen if n == "updateAccountValue" and v["currency"] != "BASE"}
        assert values["NetLiquidation"] == "100000.00"
        assert values["AccountReady"] == "true"
        assert [v["timeStamp"] for n, v in client.seen if n == "updateAccountTime"] == ["11:00"]

        client.send(order(1, "BUY", 100))
        row = await client.until("updatePortfolio")
        assert (row["contract"].symbol, row["position"], row["contract"].right) == ("AAPL", 100, "0")
        names = client.names()
        assert names.index("commissionReport") < names.index("updatePortfolio")

        client.send(order(2, "SELL", 100))
        assert (await client.until("updatePortfolio"))["position"] == 0
        client.send(r.ReqAccountUpdates(subscribe=False, acctCode=ACCOUNT))
        await client.quiet()
        client.send(order(3, "BUY", 100))
        assert "updatePortfolio" not in [name for name, _ in await client.quiet()]


async def test_price_moves_refresh_the_portfolio_at_most_every_three_seconds() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 100))
        client.send(r.ReqAccountUpdates(subscribe=True, acctCode=""))
        await client.until("accountDownloadEnd")
        await client.quiet()
        began = len(client.seen)
        await gateway.advance_to(gateway.now + timedelta(seconds=60))
        await client.quiet()
        rows = [values for name, values in client.seen[began:] if name == "updatePortfolio"]
        assert 3 <= len(rows) <= 20


async def test_account_summary_is_sorted_ends_and_is_limited_to_two() -> None:
    async with running() as gateway, joined(gateway) as client:
        tags = "NetLiquidation,TotalCashValue,BuyingPower,AccountType,$LEDGER"
        client.send(r.ReqAccountSummary(reqId=5, groupName="All", tags=tags))
        await client.until("accountSummaryEnd", reqId=5)
        rows = [(v["tag"], v["value"], v["currency"]) for n, v in client.seen if n == "accountSummary"]
        assert rows == sorted(rows)
        assert ("NetLiquidation", "100000.00", "USD") in rows
        assert ("CashBalance", "100000.00", "BASE") in rows
        client.send(r.ReqAccountSummary(reqId=6, groupName="All", tags="Cushion"))
        await client.until("accountSummaryEnd", reqId=6)
        client.send(r.ReqAccountSummary(reqId=7, groupName="All", tags="Cushion"))
        assert (await client.error(322))["reqId"] == 7
        client.send(r.CancelAccountSummary(reqId=6))
        client.send(r.ReqAccountSummary(reqId=7, groupName="All", tags="Cushion"))
        await client.until("accountSummaryEnd", reqId=7)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (r.ReqAccountSummary(reqId=5, groupName="All", tags="Fortune"), 321),
        (r.ReqAccountSummary(reqId=5, groupName="Family", tags="Cushion"), 321),
        (r.ReqAccountUpdatesMulti(reqId=5, account="U1", modelCode="", ledgerAndNLV=False), 321),
        (r.ReqPnL(reqId=5, account="U1", modelCode=""), 321),
        (r.ReqPnLSingle(reqId=5, account=ACCOUNT, modelCode="", conId=1), 321),
        (r.ReqPositionsMulti(reqId=5, account="U1", modelCode=""), 321),
        (r.CancelPnL(reqId=5), 300),
        (r.CancelAccountSummary(reqId=5), 300),
    ],
)
async def test_what_cannot_be_is_refused_to_its_own_id(request_: r.Request, code: int) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(request_)
        assert (await client.error(code))["reqId"] == 5
        assert await client.quiet() == []


async def test_positions_end_then_follow_fills_until_cancelled() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.ReqPositions())
        await client.until("positionEnd")
        client.send(r.ReqPositionsMulti(reqId=8, account=ACCOUNT, modelCode=""))
        await client.until("positionMultiEnd", reqId=8)
        client.send(order(1, "SELL", 50))
        moved = await client.until("position")
        assert (moved["position"], moved["contract"].conId, moved["contract"].exchange) == (-50, AAPL_ID, "NASDAQ")
        assert moved["avgCost"] > 263
        assert (await client.until("positionMulti"))["position"] == -50
        client.send(r.CancelPositions())
        client.send(r.CancelPositionsMulti(reqId=8))
        await client.quiet()
        client.send(order(2, "BUY", 50))
        assert not {"position", "positionMulti"} & {name for name, _ in await client.quiet()}


async def test_updates_multi_and_pnl() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.ReqAccountUpdatesMulti(reqId=4, account=ACCOUNT, modelCode="", ledgerAndNLV=True))
        await client.until("accountUpdateMultiEnd", reqId=4)
        keys = {v["key"] for n, v in client.seen if n == "accountUpdateMulti"}
        assert {"NetLiquidation", "CashBalance"} <= keys
        assert "BuyingPower" not in keys
        client.send(r.ReqPnL(reqId=5, account=ACCOUNT, modelCode=""))
        assert (await client.until("pnl", reqId=5))["dailyPnL"] == 0
        client.send(r.ReqPnLSingle(reqId=6, account=ACCOUNT, modelCode="", conId=AAPL_ID))
        assert (await client.until("pnlSingle", reqId=6))["pos"] == 0
        client.send(order(1, "BUY", 100))
        assert (await client.until("pnl", reqId=5))["dailyPnL"] < 0
        assert (await client.until("pnlSingle", reqId=6))["pos"] == 100


async def test_family_codes_and_tiers_are_answered() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.ReqFamilyCodes())
        assert [row.accountID for row in (await client.until("familyCodes"))["familyCodes"]] == [ACCOUNT]
        client.send(r.ReqSoftDollarTiers(reqId=3))
        assert (await client.until("softDollarTiers"))["tiers"] == ()


async def test_a_client_that_leaves_takes_its_subscriptions_with_it() -> None:
    async with running() as gateway:
        client = await RawClient.join(gateway.tws_port)
        client.send(r.ReqPnL(reqId=5, account=ACCOUNT, modelCode=""))
        await client.until("pnl")
        assert len(gateway.door.accounts.refreshers) == 1
        await client.close()
        while gateway.door.sessions:
            await asyncio.sleep(0)
        assert not gateway.door.accounts.refreshers
