"""Calculations that a client asks for, and what they are refused for."""

from __future__ import annotations

from decimal import Decimal

import pytest
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.contract import Contract

from .rig import AAPL, joined, running

CALL = Contract(
    symbol="AAPL",
    secType="OPT",
    lastTradeDateOrContractMonth="20260515",
    strike=Decimal(265),
    right="C",
    exchange="SMART",
    currency="USD",
)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (r.CalculateOptionPrice(reqId=5, contract=AAPL, volatility=0.3, underPrice=265.0), "for options"),
        (r.CalculateOptionPrice(reqId=5, contract=CALL, volatility=None, underPrice=265.0), "Invalid volatility"),
        (r.CalculateOptionPrice(reqId=5, contract=CALL, volatility=0.3, underPrice=-1.0), "Invalid underlying price"),
        (
            r.CalculateImpliedVolatility(reqId=5, contract=CALL, optionPrice=0.0, underPrice=265.0),
            "Invalid option price",
        ),
    ],
)
async def test_a_calculation_without_sense_is_refused(request_: r.Request, words: str) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(request_)
        refused = await client.error(321)
        assert (refused["reqId"], words in refused["errorString"]) == (5, True)


async def test_a_price_that_no_volatility_gives_is_answered_with_none() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.CalculateImpliedVolatility(reqId=5, contract=CALL, optionPrice=600.0, underPrice=265.0))
        told = await client.until("tickOptionComputation", reqId=5)
        assert (told["tickType"], told["impliedVol"], told["delta"], told["optPrice"]) == (53, None, None, 600.0)
        client.send(r.CancelCalculateImpliedVolatility(reqId=5))
        assert await client.quiet() == []
