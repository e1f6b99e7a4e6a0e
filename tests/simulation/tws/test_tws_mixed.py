"""Symbols at synthetic prices through the TWS door: found, marked, with a past, and traded like any other."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.prices import Others
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.contract import Contract
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

from .orders import order
from .rig import AAPL, joined

GME = Contract(symbol="GME", secType="STK", exchange="SMART", currency="USD")


def mixed(folder: Path, *symbols: str) -> GatewaySettings:
    return GatewaySettings(
        tws=TwsSettings(port=0, message_rate=0),
        clock=ClockMode.CONTROL,
        state_file=folder / "account.json",
        symbols=symbols,
        others=Others.SYNTHETIC,
    )


def daily(req_id: int, contract: Contract, what: str) -> r.ReqHistoricalData:
    return r.ReqHistoricalData(
        reqId=req_id,
        contract=contract,
        barSizeSetting="1 day",
        durationStr="299 D",
        includeExpired=False,
        endDateTime="",
        useRTH=True,
        whatToShow=what,
        formatDate=1,
        keepUpToDate=False,
    )


async def test_a_scan_finds_bars_of_real_and_synthetic_symbols(tmp_path: Path) -> None:
    async with Gateway(mixed(tmp_path, "AAPL", "GME", "SOL-USD")) as gateway, joined(gateway) as client:
        client.send(r.ReqContractDetails(reqId=3, contract=GME, includeExpired=False, secIdType="", secId=""))
        assert (await client.until("contractDetails", reqId=3))["longName"] == "GME (SYNTHETIC PRICES)"
        told = {}
        for number, (contract, what) in enumerate(
            ((AAPL, "ADJUSTED_LAST"), (GME, "ADJUSTED_LAST"), (GME, "TRADES")), start=4
        ):
            client.send(daily(number, contract, what))
            told[number] = (await client.until("historicalData", reqId=number))["bars"]
        assert [row.date for row in told[4]] == [row.date for row in told[5]]
        assert len(told[5]) >= 200
        assert told[5] == told[6]
        client.send(
            r.ReqContractDetails(
                reqId=9, contract=replace(GME, symbol="SOL-USD"), includeExpired=False, secIdType="", secId=""
            )
        )
        assert (await client.error(200))["reqId"] == 9


async def test_a_synthetic_symbol_is_traded_and_its_position_lives_on(tmp_path: Path) -> None:
    async with Gateway(mixed(tmp_path, "AAPL", "GME")) as gateway, joined(gateway) as client:
        client.send(order(7, "BUY", 10, contract=GME))
        fill = await client.until("execDetails", orderId=7)
        ask = gateway.exchange.market(gateway.exchange.positions()[0].instrument.con_id or 0).ask
        assert Decimal(str(fill["price"])) == ask
    with pytest.raises(ConfigurationError, match="it holds contracts that are not listed"):
        Gateway(mixed(tmp_path, "AAPL"))
    async with Gateway(mixed(tmp_path, "AAPL", "RIOT", "GME")) as gateway, joined(gateway) as client:
        (position,) = gateway.exchange.positions()
        assert (position.instrument.symbol, position.quantity) == ("GME", 10)
        client.send(order(8, "SELL", 10, contract=GME))
        await client.until("execDetails", orderId=8)
        assert gateway.exchange.positions() == []
