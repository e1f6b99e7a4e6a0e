"""Options as stock ib_async reads them from the gateway."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from ib_async import IB, Contract, LimitOrder, Option, OptionChain, Stock, Ticker
from ib_async.wrapper import RequestError
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.prices import make_prices

from ..simulation.tws.rig import running
from .test_ib_async_interop import connected, eventually

GENERICS = "100,101,104,105,106"


@pytest.fixture(autouse=True)
def _no_decoding_errors(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.ERROR, "ib_async")
    yield
    assert not [row.getMessage() for row in caplog.records if "Error handling fields" in row.getMessage()]


@asynccontextmanager
async def moving_market(**options: Any) -> AsyncIterator[tuple[Gateway, IB]]:
    source = make_prices(calendar_for(), kind="synthetic", symbols=["AAPL", "MSFT"])
    async with running(source=source, **options) as gateway, connected(gateway) as ib:
        yield gateway, ib


async def stock(ib: IB, symbol: str = "AAPL") -> Contract:
    (found,) = await ib.qualifyContractsAsync(Stock(symbol, "SMART", "USD"))
    assert isinstance(found, Contract)
    return found


async def chain_of(ib: IB) -> OptionChain:
    chains = await ib.reqSecDefOptParamsAsync("AAPL", "", "STK", (await stock(ib)).conId)
    return next(chain for chain in chains if chain.exchange == "SMART")


def near(strikes: list[float], price: float) -> float:
    return min(strikes, key=lambda strike: abs(strike - price))


async def at_the_money(ib: IB, right: str = "C") -> tuple[Option, float]:
    chain = await chain_of(ib)
    (ticker,) = await ib.reqTickersAsync(await stock(ib))
    price = ticker.marketPrice()
    option = Option("AAPL", chain.expirations[3], near(chain.strikes, price), right, "SMART")
    (found,) = await ib.qualifyContractsAsync(option)
    assert isinstance(found, Option)
    return found, price


async def test_every_contract_lies_in_the_chain_and_some_pairs_are_none() -> None:
    async with moving_market() as (_, ib):
        chain = await chain_of(ib)
        found = await ib.reqContractDetailsAsync(Option("AAPL", exchange="SMART", currency="USD", right="C"))
        pairs = {(row.contract.lastTradeDateOrContractMonth, row.contract.strike) for row in found if row.contract}
        assert {day for day, _ in pairs} == set(chain.expirations)
        assert {strike for _, strike in pairs} == set(chain.strikes)
        assert len(pairs) == len(found) < len(chain.expirations) * len(chain.strikes)
        details = found[0]
        assert (details.underSymbol, details.underSecType, details.underConId) == ("AAPL", "STK", 265598)
        assert details.tradingHours == details.liquidHours
        missing = next((d, s) for d in chain.expirations for s in chain.strikes if (d, s) not in pairs)
        with pytest.raises(RequestError, match="No security definition"):
            await ib.reqContractDetailsAsync(Option("AAPL", *missing, "C", "SMART"))


async def test_an_option_line_carries_quote_greeks_volume_and_open_interest() -> None:
    async with moving_market() as (gateway, ib):
        call, price = await at_the_money(ib)
        put, _ = await at_the_money(ib, "P")
        one, other = ib.reqMktData(call, "100,101,106"), ib.reqMktData(put, "100,101,106")
        await eventually(lambda: one.modelGreeks and other.modelGreeks and other.putOpenInterest > 0)
        assert 0 < one.bid < one.ask
        assert one.modelGreeks is not None
        assert other.modelGreeks is not None
        assert one.bid <= (one.modelGreeks.optPrice or 0) <= one.ask
        assert 0.35 < (one.modelGreeks.delta or 0) < 0.7
        assert (one.modelGreeks.delta or 0) - (other.modelGreeks.delta or 0) == pytest.approx(1)
        assert one.modelGreeks.undPrice == pytest.approx(price, abs=0.1)
        assert one.bidGreeks is not None
        assert one.askGreeks is not None
        assert (one.bidGreeks.impliedVol or 9) < (one.modelGreeks.impliedVol or 0) < (one.askGreeks.impliedVol or 0)
        assert one.callVolume == one.volume > 0
        assert one.callOpenInterest > 0
        before = (one.volume, one.bid)
        await gateway.advance_to(gateway.now + timedelta(hours=2))
        await eventually(lambda: one.volume > before[0] and one.bid != before[1])


async def test_the_stock_tells_what_all_its_options_do() -> None:
    async with moving_market() as (gateway, ib):
        ticker: Ticker = ib.reqMktData(await stock(ib), GENERICS)
        await eventually(lambda: ticker.impliedVolatility > 0)
        assert min(ticker.callVolume, ticker.putVolume, ticker.callOpenInterest, ticker.putOpenInterest) > 0
        assert ticker.avOptionVolume > 0
        assert 0.05 < ticker.histVolatility < 3
        before = ticker.callVolume
        await gateway.advance_to(gateway.now + timedelta(minutes=10))
        await eventually(lambda: ticker.callVolume > before)


async def test_a_snapshot_of_an_option_ends() -> None:
    async with moving_market() as (_, ib):
        option, _ = await at_the_money(ib)
        (ticker,) = await ib.reqTickersAsync(option)
        assert ticker.bid > 0
        assert ticker.modelGreeks is not None


async def test_after_the_close_no_side_is_quoted_but_the_close_and_the_model_are() -> None:
    async with moving_market() as (gateway, ib):
        option, _ = await at_the_money(ib)
        await gateway.advance_to(gateway.next_session().close + timedelta(minutes=1))
        ticker = ib.reqMktData(option, "101")
        await eventually(lambda: ticker.modelGreeks)
        assert ticker.bid == ticker.ask == -1
        assert ticker.close > 0
        assert ticker.callOpenInterest > 0


async def test_without_a_subscription_the_option_is_delayed_or_refused() -> None:
    async with moving_market(tws={"not_subscribed": frozenset({"AAPL"})}) as (_, ib):
        ib.reqMarketDataType(3)
        chain = await chain_of(ib)
        (option,) = await ib.qualifyContractsAsync(Option("AAPL", chain.expirations[3], 255, "C", "SMART"))
        assert isinstance(option, Option)
        ticker = ib.reqMktData(option, "")
        await eventually(lambda: ticker.modelGreeks)
        assert ticker.marketDataType == 3
        assert ticker.ask > 0


async def test_an_option_is_quoted_and_nothing_else() -> None:
    async with moving_market() as (gateway, ib):
        option, _ = await at_the_money(ib)
        trade = ib.placeOrder(option, LimitOrder("BUY", 1, 5))
        await eventually(lambda: trade.isDone())
        assert "No trading permissions" in trade.log[-1].message
        assert gateway.exchange.open_orders() == []
        with pytest.raises(RequestError, match="No market data permissions"):
            await ib.reqHistoricalDataAsync(option, "", "1 D", "1 hour", "TRADES", True)


async def test_a_calculation_gives_back_what_went_into_it() -> None:
    async with moving_market() as (_, ib):
        option, price = await at_the_money(ib)
        valued = await ib.calculateOptionPriceAsync(option, 0.42, price)
        assert valued is not None
        assert (valued.impliedVol, valued.undPrice) == (0.42, price)
        back = await ib.calculateImpliedVolatilityAsync(option, valued.optPrice, price)
        assert back is not None
        assert back.impliedVol == pytest.approx(0.42, abs=1e-5)
        assert back.delta == pytest.approx(valued.delta, abs=1e-5)
        none = await ib.calculateImpliedVolatilityAsync(option, 2 * price, price)
        assert none is not None
        assert (none.impliedVol, none.delta) == (None, None)
        errors: list[int] = []
        ib.errorEvent += lambda _id, code, *_: errors.append(code)
        await ib.calculateOptionPriceAsync(option, 0.42, price)
        await ib.reqCurrentTimeAsync()
        assert errors == []  # none for the cancels that follow the answers


async def volatilities(ib: IB, show: str, **options: Any) -> list[float]:
    asked = {"endDateTime": "", "durationStr": "40 D", "barSizeSetting": "1 day", "whatToShow": show, "useRTH": True}
    rows = await ib.reqHistoricalDataAsync(await stock(ib), **{**asked, **options})
    assert rows is not None
    return [row.close for row in rows]


async def test_bars_of_volatility_are_what_the_ticks_told_on_each_day() -> None:
    async with moving_market() as (gateway, ib):
        ticker = ib.reqMktData(await stock(ib), "104,106")
        await eventually(lambda: ticker.impliedVolatility > 0 and ticker.histVolatility > 0)
        implied = await volatilities(ib, "OPTION_IMPLIED_VOLATILITY")
        historical = await volatilities(ib, "HISTORICAL_VOLATILITY")
        assert len(implied) == len(historical) == 40
        assert (implied[-1], historical[-1]) == pytest.approx((ticker.impliedVolatility, ticker.histVolatility))
        assert len({round(value, 4) for value in historical}) > 30
        before = implied[1:]
        await gateway.advance_to(gateway.now + timedelta(days=1))
        assert (await volatilities(ib, "OPTION_IMPLIED_VOLATILITY"))[:-1] == pytest.approx(before)
        with pytest.raises(RequestError, match="no data"):
            await volatilities(ib, "OPTION_IMPLIED_VOLATILITY", barSizeSetting="1 hour")
