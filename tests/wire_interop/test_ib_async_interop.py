"""Stock, unmodified ib_async against the gateway: a client that this project did not write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from ib_async import (
    IB,
    BracketOrder,
    ExecutionFilter,
    Future,
    LimitOrder,
    MarketOrder,
    Order,
    PriceCondition,
    StartupFetch,
    Stock,
    StopLimitOrder,
    StopOrder,
    Trade,
)
from moondev_ibkr.brokers.simulation.gateway import Gateway

from ..simulation.tws.rig import AAPL_ID, moving, running

ACCOUNT = "DU0000001"
AAPL = Stock("AAPL", "SMART", "USD")


@asynccontextmanager
async def connected(gateway: Gateway, client_id: int = 1, **options: Any) -> AsyncIterator[IB]:
    ib = IB()
    ib.RaiseRequestErrors = True
    await ib.connectAsync("127.0.0.1", gateway.tws_port, clientId=client_id, timeout=5, raiseSyncErrors=True, **options)
    try:
        yield ib
    finally:
        ib.disconnect()
        await asyncio.sleep(0)


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.002)


async def done(trade: Trade, status: str) -> Trade:
    await eventually(lambda: trade.orderStatus.status == status)
    return trade


@pytest.fixture(autouse=True)
def _no_decoding_errors(caplog: pytest.LogCaptureFixture) -> Any:
    """ib_async logs what it cannot decode and goes on; here that is a failure."""
    caplog.set_level(logging.ERROR, "ib_async")
    yield
    bad = [record.getMessage() for record in caplog.records if "Error handling fields" in record.getMessage()]
    assert not bad


async def test_it_connects_completely_and_finds_everything() -> None:
    async with running() as gateway, connected(gateway) as ib:
        assert ib.client.serverVersion() == 178
        assert ib.managedAccounts() == [ACCOUNT]
        values = {value.tag: value.value for value in ib.accountValues() if value.currency == "USD"}
        assert values["NetLiquidation"] == "100000.00"
        assert ib.openTrades() == ib.positions() == ib.fills() == []


async def test_client_zero_and_read_only_connect_too() -> None:
    async with running() as gateway, connected(gateway, 0) as zero, connected(gateway, 2, readonly=True) as reader:
        assert zero.isConnected()
        assert reader.isConnected()


async def test_contracts_are_qualified_and_unknown_ones_are_not() -> None:
    async with running() as gateway, connected(gateway) as ib:
        (stock,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
        assert (stock.conId, stock.primaryExchange) == (AAPL_ID, "NASDAQ")  # type: ignore[union-attr]
        (future,) = await ib.qualifyContractsAsync(Future("MES", "202606", "CME"))
        assert future.localSymbol == "MESM6"  # type: ignore[union-attr]
        with pytest.raises(Exception, match="No security definition"):
            await ib.reqContractDetailsAsync(Stock("NOPE", "SMART", "USD"))
        assert [d.contract.symbol for d in await ib.reqMatchingSymbolsAsync("AAP")] == ["AAPL"]  # type: ignore[union-attr]
        assert (await ib.reqMarketRuleAsync(26))[0].increment == 0.01  # type: ignore[index]


#: order -> the status in which it comes to rest
ORDERS: dict[str, tuple[Order, str]] = {
    "MKT": (MarketOrder("BUY", 10), "Filled"),
    "LMT": (LimitOrder("BUY", 10, 266), "Filled"),
    "LMT resting": (LimitOrder("BUY", 10, 100), "Submitted"),
    "STP": (StopOrder("SELL", 10, 250), "PreSubmitted"),
    "STP LMT": (StopLimitOrder("SELL", 10, 249, 250), "PreSubmitted"),
    "TRAIL amount": (Order(action="SELL", totalQuantity=10, orderType="TRAIL", auxPrice=5), "PreSubmitted"),
    "TRAIL percent": (Order(action="SELL", totalQuantity=10, orderType="TRAIL", trailingPercent=2), "PreSubmitted"),
    "MOC": (Order(action="BUY", totalQuantity=10, orderType="MOC"), "PreSubmitted"),
    "LOC": (Order(action="BUY", totalQuantity=10, orderType="LOC", lmtPrice=266), "PreSubmitted"),
    "MIDPRICE": (Order(action="BUY", totalQuantity=10, orderType="MIDPRICE", lmtPrice=266), "Submitted"),
    "GTC": (LimitOrder("BUY", 10, 100, tif="GTC"), "Submitted"),
    "GTD": (LimitOrder("BUY", 10, 100, tif="GTD", goodTillDate="20260415 15:00:00 US/Eastern"), "Submitted"),
    "IOC": (LimitOrder("BUY", 10, 266, tif="IOC"), "Filled"),
    "OPG": (LimitOrder("BUY", 10, 266, tif="OPG"), "PreSubmitted"),
    "outside RTH": (LimitOrder("BUY", 10, 100, outsideRth=True), "Submitted"),
    "condition": (
        LimitOrder("BUY", 10, 266, conditions=[PriceCondition(1, "a", True, 270, AAPL_ID, "SMART", 0)]),
        "PreSubmitted",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
async def test_each_order_type_comes_to_its_rest(name: str) -> None:
    order, status = ORDERS[name]
    order.orderId, order.permId = 0, 0
    async with running() as gateway, connected(gateway) as ib:
        trade = await done(ib.placeOrder(AAPL, order), status)
        assert trade.order.permId == gateway.exchange.order(1, trade.order.orderId).perm_id  # type: ignore[union-attr]
        if status == "Filled":
            await eventually(lambda: trade.fills and trade.fills[0].commissionReport.execId)
            assert trade.filled() == 10
            assert trade.fills[0].commissionReport.commission == 1.0
            assert trade.fills[0].execution.time.isoformat() == "2026-04-15T15:00:00+00:00"
        else:
            ib.cancelOrder(trade.order)
            await done(trade, "Cancelled")


async def test_a_bracket_lives_its_life() -> None:
    async with running() as gateway, connected(gateway) as ib:
        bracket: BracketOrder = ib.bracketOrder("BUY", 10, 266, 300, 250)
        parent, profit, loss = [ib.placeOrder(AAPL, one) for one in bracket]
        await done(parent, "Filled")
        await eventually(lambda: profit.orderStatus.status == "Submitted")
        assert loss.orderStatus.status == "PreSubmitted"
        profit.order.lmtPrice, profit.order.parentId = 264, 0
        ib.placeOrder(AAPL, profit.order)
        await done(profit, "Filled")
        await done(loss, "Cancelled")
        await eventually(lambda: not ib.positions())


async def test_modify_what_if_and_rejection() -> None:
    async with running() as gateway, connected(gateway) as ib:
        trade = await done(ib.placeOrder(AAPL, LimitOrder("BUY", 10, 100)), "Submitted")
        trade.order.lmtPrice = 101
        ib.placeOrder(AAPL, trade.order)
        await eventually(lambda: gateway.exchange.open_orders()[0].ticket.limit_price == 101)
        estimate = await ib.whatIfOrderAsync(AAPL, LimitOrder("BUY", 100, 265))
        assert float(estimate.initMarginChange) > 0
        assert estimate.commission == 1.0
        refused = ib.placeOrder(AAPL, LimitOrder("BUY", 10, 100.001))
        await eventually(lambda: any(entry.errorCode == 110 for entry in refused.log))


async def test_after_a_reconnect_everything_is_found_again() -> None:
    async with running() as gateway:
        async with connected(gateway) as ib:
            filled = await done(ib.placeOrder(AAPL, MarketOrder("BUY", 10, orderRef="one")), "Filled")
            resting = await done(
                ib.placeOrder(AAPL, LimitOrder("SELL", 10, 400, tif="GTC", orderRef="two")), "Submitted"
            )
        while gateway.door.sessions:
            await asyncio.sleep(0)
        async with connected(gateway) as ib:
            assert [(p.contract.conId, p.position) for p in ib.positions()] == [(AAPL_ID, 10.0)]
            assert [t.order.orderRef for t in ib.openTrades()] == ["two"]
            assert [f.execution.execId for f in ib.fills()] == [filled.fills[0].execution.execId]
            assert [f.commissionReport.commission for f in ib.fills()] == [1.0]
            completed = await ib.reqCompletedOrdersAsync(False)
            assert [(t.order.permId, t.orderStatus.status) for t in completed] == [(filled.order.permId, "Filled")]
            assert len(await ib.reqExecutionsAsync(ExecutionFilter(symbol="MSFT"))) == 0
            found = ib.openTrades()[0]
            assert found.order.orderId == resting.order.orderId
            ib.cancelOrder(found.order)
            await done(found, "Cancelled")
            assert ib.client.getReqId() > resting.order.orderId


async def test_quotes_snapshots_and_greetings_of_a_ticker() -> None:
    async with running(source=moving()) as gateway, connected(gateway) as ib:
        (stock,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
        assert stock is not None
        ticker = ib.reqMktData(stock, "165,233")
        await eventually(lambda: ticker.hasBidAsk())
        before = ticker.bid
        await gateway.advance_to(gateway.now + timedelta(minutes=20))
        await eventually(lambda: ticker.bid != before and ticker.rtVolume > 0)
        view = gateway.exchange.market(AAPL_ID)
        await eventually(
            lambda: (ticker.bid, ticker.ask, ticker.last) == tuple(map(float, (view.bid, view.ask, view.last)))
        )  # type: ignore[arg-type]
        assert (ticker.high, ticker.low, ticker.volume) == tuple(map(float, (view.high, view.low, view.volume)))  # type: ignore[arg-type]
        ib.cancelMktData(stock)
        (snapshot,) = await ib.reqTickersAsync(stock)
        assert snapshot.bid > 0
        book = ib.reqMktDepth(stock, 5, isSmartDepth=True)
        await eventually(lambda: len(book.domBids) == len(book.domAsks) == 5)
        ticks = ib.reqTickByTickData(stock, "BidAsk")
        await gateway.advance_to(gateway.now + timedelta(minutes=1))
        await eventually(lambda: ticks.bid > 0)


async def test_history_live_bars_schedule_and_ticks() -> None:
    async with running(source=moving()) as gateway, connected(gateway) as ib:
        days = await ib.reqHistoricalDataAsync(AAPL, "", "200 D", "1 day", "TRADES", True, 2)
        assert len(days) == 200
        live = await ib.reqHistoricalDataAsync(AAPL, "", "1 D", "5 mins", "TRADES", True, 1, keepUpToDate=True)
        count = len(live)
        await gateway.advance_to(gateway.now + timedelta(minutes=12))
        await eventually(lambda: len(live) >= count + 2)
        schedule = await ib.reqHistoricalScheduleAsync(AAPL, 5)
        assert len(schedule.sessions) == 5
        head = await ib.reqHeadTimeStampAsync(AAPL, "TRADES", True, 1)
        assert head.year < 2026
        ticks = await ib.reqHistoricalTicksAsync(AAPL, "", gateway.now, 30, "TRADES", True)
        assert len(ticks) == 30, len(ticks)
        bars = ib.reqRealTimeBars(AAPL, 5, "TRADES", False)
        await ib.reqCurrentTimeAsync()
        await gateway.advance_to(gateway.now + timedelta(minutes=1))
        await eventually(lambda: len(bars) >= 8)


async def test_account_summary_pnl_and_portfolio_agree() -> None:
    async with running() as gateway, connected(gateway) as ib:
        pnl = ib.reqPnL(ACCOUNT)
        single = ib.reqPnLSingle(ACCOUNT, "", AAPL_ID)
        await done(ib.placeOrder(AAPL, MarketOrder("BUY", 100)), "Filled")
        await eventually(lambda: single.position == 100 and pnl.unrealizedPnL and ib.portfolio())
        summary = {value.tag: value.value for value in await ib.accountSummaryAsync()}
        ledger = gateway.exchange.summary(ACCOUNT)
        assert float(summary["NetLiquidation"]) == pytest.approx(float(ledger.net_liquidation or 0))
        assert ib.portfolio()[0].unrealizedPNL == pytest.approx(pnl.unrealizedPnL)


async def test_two_clients_with_one_id_end_as_ib_ends_them() -> None:
    async with running() as gateway, connected(gateway, 5):
        other = IB()
        with pytest.raises((ConnectionError, TimeoutError)):
            await other.connectAsync("127.0.0.1", gateway.tws_port, clientId=5, timeout=0.3)


async def test_nothing_of_the_start_up_takes_the_timeout() -> None:
    """A missing end mark would cost ib_async its whole timeout."""
    async with running() as gateway:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with connected(gateway, 1, fetchFields=StartupFetch(31)):
            assert loop.time() - began < 4
