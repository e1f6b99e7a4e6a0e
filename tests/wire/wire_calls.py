"""Every method of the real ib_async Client, its arguments, and what the gateway must read."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import ib_async
from ib_async.client import Client
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.codec import unpack
from moondev_ibkr.brokers.simulation.tws.contract import (
    ComboLeg,
    Contract,
    DeltaNeutralContract,
)
from moondev_ibkr.brokers.simulation.tws.messages_in import REQUESTS, parse, write
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest
from moondev_ibkr.brokers.simulation.tws.request import Request

from .wire_samples import ORDERS, SPREAD

THEIRS = ib_async.Contract(
    conId=265598,
    symbol="AAPL",
    secType="STK",
    lastTradeDateOrContractMonth="20260619",
    strike=202.5,
    right="C",
    multiplier="100",
    exchange="SMART",
    primaryExchange="NASDAQ",
    currency="USD",
    localSymbol="AAPL.L",
    tradingClass="NMS",
    includeExpired=True,
    secIdType="ISIN",
    secId="US0378331005",
    issuerId="e1",
)
OURS = Contract(
    conId=265598,
    symbol="AAPL",
    secType="STK",
    lastTradeDateOrContractMonth="20260619",
    strike=Decimal("202.5"),
    right="C",
    multiplier="100",
    exchange="SMART",
    primaryExchange="NASDAQ",
    currency="USD",
    localSymbol="AAPL.L",
    tradingClass="NMS",
)
OURS_11 = dataclasses.replace(OURS, primaryExchange="")
THEIR_BAG = ib_async.Contract(
    conId=28812380,
    symbol="AAPL,MSFT",
    secType="BAG",
    exchange="SMART",
    currency="USD",
    tradingClass="COMB",
    comboLegs=[ib_async.ComboLeg(265598, 1, "BUY", "SMART"), ib_async.ComboLeg(272093, 3, "SELL", "ISLAND")],
    deltaNeutralContract=ib_async.DeltaNeutralContract(8314, 0.5, 12.5),
)
OUR_LEGS = (ComboLeg(265598, 1, "BUY", "SMART"), ComboLeg(272093, 3, "SELL", "ISLAND"))
TAGS = [ib_async.TagValue("k", "v"), ib_async.TagValue("w", "2")]
OUR_TAGS = (("k", "v"), ("w", "2"))
SCAN = ib_async.ScannerSubscription(
    numberOfRows=20, instrument="STK", locationCode="STK.US", scanCode="TOP", abovePrice=1.5, aboveVolume=100
)
OUR_SCAN = r.ReqScannerSubscription(
    reqId=9,
    numberOfRows=20,
    instrument="STK",
    locationCode="STK.US",
    scanCode="TOP",
    abovePrice=Decimal("1.5"),
    belowPrice=None,
    aboveVolume=100,
    marketCapAbove=None,
    marketCapBelow=None,
    moodyRatingAbove="",
    moodyRatingBelow="",
    spRatingAbove="",
    spRatingBelow="",
    maturityDateAbove="",
    maturityDateBelow="",
    couponRateAbove=None,
    couponRateBelow=None,
    excludeConvertible=False,
    averageOptionVolumeAbove=None,
    scannerSettingPairs="",
    stockTypeFilter="",
    filterOptions=(("w", "2"),),
    subscriptionOptions=(("k", "v"),),
)
EXECUTIONS = ib_async.ExecutionFilter(3, "DU1", "20260102-10:00:00", "AAPL", "STK", "SMART", "BUY")
WSH = ib_async.WshEventData(
    conId=8314,
    filter="{}",
    fillWatchlist=True,
    fillPortfolio=False,
    fillCompetitors=True,
    startDate="20260101",
    endDate="20260201",
    totalLimit=7,
)

#: ib_async method, its arguments, and what the gateway reads
CALLS: list[tuple[str, tuple[Any, ...], Request]] = [
    ("reqMktData", (9, THEIRS, "100,233", True, True, TAGS),
     r.ReqMktData(reqId=9, contract=OURS, genericTickList="100,233", snapshot=True, regulatorySnapshot=True,
                  mktDataOptions=OUR_TAGS)),
    ("reqMktData", (9, THEIR_BAG, "", False, False, []),
     r.ReqMktData(reqId=9, contract=SPREAD, comboLegs=OUR_LEGS, genericTickList="", snapshot=False,
                  deltaNeutralContract=DeltaNeutralContract(8314, 0.5, 12.5), regulatorySnapshot=False)),
    ("cancelMktData", (9,), r.CancelMktData(reqId=9)),
    ("cancelOrder", (9,), r.CancelOrder(orderId=9)),
    ("reqOpenOrders", (), r.ReqOpenOrders()),
    ("reqAccountUpdates", (True, "DU1"), r.ReqAccountUpdates(subscribe=True, acctCode="DU1")),
    ("reqExecutions", (9, EXECUTIONS),
     r.ReqExecutions(reqId=9, clientId=3, acctCode="DU1", time="20260102-10:00:00", symbol="AAPL", secType="STK",
                     exchange="SMART", side="BUY")),
    ("reqIds", (4,), r.ReqIds(numIds=4)),
    ("reqMktDepth", (9, THEIRS, 7, True, TAGS),
     r.ReqMktDepth(reqId=9, contract=OURS, numRows=7, isSmartDepth=True, mktDepthOptions=OUR_TAGS)),
    ("cancelMktDepth", (9, True), r.CancelMktDepth(reqId=9, isSmartDepth=True)),
    ("reqNewsBulletins", (True,), r.ReqNewsBulletins(allMsgs=True)),
    ("cancelNewsBulletins", (), r.CancelNewsBulletins()),
    ("setServerLogLevel", (5,), r.SetServerLogLevel(logLevel=5)),
    ("reqAutoOpenOrders", (True,), r.ReqAutoOpenOrders(autoBind=True)),
    ("reqAllOpenOrders", (), r.ReqAllOpenOrders()),
    ("reqManagedAccts", (), r.ReqManagedAccts()),
    ("requestFA", (2,), r.RequestFA(faDataType=2)),
    ("replaceFA", (9, 2, "<x/>"), r.ReplaceFA(reqId=9, faDataType=2, xml="<x/>")),
    ("reqHistoricalData", (9, THEIRS, "20260102 16:00:00 UTC", "2 D", "1 min", "TRADES", True, 2, True, TAGS),
     r.ReqHistoricalData(reqId=9, contract=OURS, includeExpired=True, endDateTime="20260102 16:00:00 UTC",
                         barSizeSetting="1 min", durationStr="2 D", useRTH=True, whatToShow="TRADES", formatDate=2,
                         keepUpToDate=True, chartOptions=OUR_TAGS)),
    ("reqHistoricalData", (9, THEIR_BAG, "", "2 D", "1 min", "MIDPOINT", False, 1, False, []),
     r.ReqHistoricalData(reqId=9, contract=SPREAD, includeExpired=False, endDateTime="", barSizeSetting="1 min",
                         durationStr="2 D", useRTH=False, whatToShow="MIDPOINT", formatDate=1, comboLegs=OUR_LEGS,
                         keepUpToDate=False)),
    ("exerciseOptions", (9, THEIRS, 1, 5, "DU1", True),
     r.ExerciseOptions(reqId=9, contract=OURS_11, exerciseAction=1, exerciseQuantity=5, account="DU1",
                       override=True)),
    ("reqScannerSubscription", (9, SCAN, TAGS[:1], TAGS[1:]), OUR_SCAN),
    ("cancelScannerSubscription", (9,), r.CancelScannerSubscription(reqId=9)),
    ("reqScannerParameters", (), r.ReqScannerParameters()),
    ("cancelHistoricalData", (9,), r.CancelHistoricalData(reqId=9)),
    ("reqCurrentTime", (), r.ReqCurrentTime()),
    ("reqRealTimeBars", (9, THEIRS, 5, "TRADES", True, TAGS),
     r.ReqRealTimeBars(reqId=9, contract=OURS, barSize=5, whatToShow="TRADES", useRTH=True,
                       realTimeBarsOptions=OUR_TAGS)),
    ("cancelRealTimeBars", (9,), r.CancelRealTimeBars(reqId=9)),
    ("reqFundamentalData", (9, THEIRS, "ReportSnapshot", TAGS),
     r.ReqFundamentalData(reqId=9, conId=265598, symbol="AAPL", secType="STK", exchange="SMART",
                          primaryExchange="NASDAQ", currency="USD", localSymbol="AAPL.L",
                          reportType="ReportSnapshot", options=("2", "k=v;w=2;"))),
    ("cancelFundamentalData", (9,), r.CancelFundamentalData(reqId=9)),
    ("calculateImpliedVolatility", (9, THEIRS, 12.5, 150.25, []),
     r.CalculateImpliedVolatility(reqId=9, contract=OURS, optionPrice=12.5, underPrice=150.25, options=("0", ""))),
    ("calculateOptionPrice", (9, THEIRS, 0.25, 150.25, []),
     r.CalculateOptionPrice(reqId=9, contract=OURS, volatility=0.25, underPrice=150.25, options=("0", ""))),
    ("cancelCalculateImpliedVolatility", (9,), r.CancelCalculateImpliedVolatility(reqId=9)),
    ("cancelCalculateOptionPrice", (9,), r.CancelCalculateOptionPrice(reqId=9)),
    ("reqGlobalCancel", (), r.ReqGlobalCancel()),
    ("reqMarketDataType", (3,), r.ReqMarketDataType(marketDataType=3)),
    ("reqPositions", (), r.ReqPositions()),
    ("reqAccountSummary", (9, "All", "NetLiquidation,BuyingPower"),
     r.ReqAccountSummary(reqId=9, groupName="All", tags="NetLiquidation,BuyingPower")),
    ("cancelAccountSummary", (9,), r.CancelAccountSummary(reqId=9)),
    ("cancelPositions", (), r.CancelPositions()),
    ("verifyRequest", ("n", "v"), r.VerifyRequest(apiName="n", apiVersion="v")),
    ("verifyMessage", ("d",), r.VerifyMessage(apiData="d")),
    ("queryDisplayGroups", (9,), r.QueryDisplayGroups(reqId=9)),
    ("subscribeToGroupEvents", (9, 4), r.SubscribeToGroupEvents(reqId=9, groupId=4)),
    ("updateDisplayGroup", (9, "1@SMART"), r.UpdateDisplayGroup(reqId=9, contractInfo="1@SMART")),
    ("unsubscribeFromGroupEvents", (9,), r.UnsubscribeFromGroupEvents(reqId=9)),
    ("startApi", (), r.StartApi(clientId=7, optionalCapabilities="")),
    ("verifyAndAuthRequest", ("n", "v", "k"), r.VerifyAndAuthRequest(apiName="n", apiVersion="v", opaqueIsvKey="k")),
    ("verifyAndAuthMessage", ("d", "x"), r.VerifyAndAuthMessage(apiData="d", xyzResponse="x")),
    ("reqPositionsMulti", (9, "DU1", "m"), r.ReqPositionsMulti(reqId=9, account="DU1", modelCode="m")),
    ("cancelPositionsMulti", (9,), r.CancelPositionsMulti(reqId=9)),
    ("reqAccountUpdatesMulti", (9, "DU1", "m", True),
     r.ReqAccountUpdatesMulti(reqId=9, account="DU1", modelCode="m", ledgerAndNLV=True)),
    ("cancelAccountUpdatesMulti", (9,), r.CancelAccountUpdatesMulti(reqId=9)),
    ("reqSecDefOptParams", (9, "AAPL", "CME", "STK", 265598),
     r.ReqSecDefOptParams(reqId=9, underlyingSymbol="AAPL", futFopExchange="CME", underlyingSecType="STK",
                          underlyingConId=265598)),
    ("reqSoftDollarTiers", (9,), r.ReqSoftDollarTiers(reqId=9)),
    ("reqFamilyCodes", (), r.ReqFamilyCodes()),
    ("reqMatchingSymbols", (9, "AA"), r.ReqMatchingSymbols(reqId=9, pattern="AA")),
    ("reqMktDepthExchanges", (), r.ReqMktDepthExchanges()),
    ("reqSmartComponents", (9, "9c0001"), r.ReqSmartComponents(reqId=9, bboExchange="9c0001")),
    ("reqNewsArticle", (9, "BRFG", "BRFG$1", TAGS),
     r.ReqNewsArticle(reqId=9, providerCode="BRFG", articleId="BRFG$1", newsArticleOptions=OUR_TAGS)),
    ("reqNewsProviders", (), r.ReqNewsProviders()),
    ("reqHistoricalNews", (9, 8314, "BRFG", "20260101", "20260102", 10, TAGS),
     r.ReqHistoricalNews(reqId=9, conId=8314, providerCodes="BRFG", startDateTime="20260101",
                         endDateTime="20260102", totalResults=10, historicalNewsOptions=OUR_TAGS)),
    ("reqHeadTimeStamp", (9, THEIRS, "TRADES", True, 2),
     r.ReqHeadTimeStamp(reqId=9, contract=OURS, includeExpired=True, useRTH=True, whatToShow="TRADES",
                        formatDate=2)),
    ("reqHistogramData", (9, THEIRS, True, "3 days"),
     r.ReqHistogramData(reqId=9, contract=OURS, includeExpired=True, useRTH=True, timePeriod="3 days")),
    ("cancelHistogramData", (9,), r.CancelHistogramData(reqId=9)),
    ("cancelHeadTimeStamp", (9,), r.CancelHeadTimeStamp(reqId=9)),
    ("reqMarketRule", (26,), r.ReqMarketRule(marketRuleId=26)),
    ("reqPnL", (9, "DU1", "m"), r.ReqPnL(reqId=9, account="DU1", modelCode="m")),
    ("cancelPnL", (9,), r.CancelPnL(reqId=9)),
    ("reqPnLSingle", (9, "DU1", "m", 8314), r.ReqPnLSingle(reqId=9, account="DU1", modelCode="m", conId=8314)),
    ("cancelPnLSingle", (9,), r.CancelPnLSingle(reqId=9)),
    ("reqHistoricalTicks", (9, THEIRS, "20260101 10:00:00", "", 500, "BID_ASK", True, True, TAGS),
     r.ReqHistoricalTicks(reqId=9, contract=OURS, includeExpired=True, startDateTime="20260101 10:00:00",
                          endDateTime="", numberOfTicks=500, whatToShow="BID_ASK", useRth=True, ignoreSize=True,
                          miscOptions=OUR_TAGS)),
    ("reqTickByTickData", (9, THEIRS, "BidAsk", 5, True),
     r.ReqTickByTickData(reqId=9, contract=OURS, tickType="BidAsk", numberOfTicks=5, ignoreSize=True)),
    ("cancelTickByTickData", (9,), r.CancelTickByTickData(reqId=9)),
    ("reqCompletedOrders", (True,), r.ReqCompletedOrders(apiOnly=True)),
    ("reqWshMetaData", (9,), r.ReqWshMetaData(reqId=9)),
    ("cancelWshMetaData", (9,), r.CancelWshMetaData(reqId=9)),
    ("cancelWshEventData", (9,), r.CancelWshEventData(reqId=9)),
    ("reqUserInfo", (9,), r.ReqUserInfo(reqId=9)),
]  # fmt: skip


class Wire:
    """The socket of a Client that only remembers what was written."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def sendMsg(self, data: bytes) -> None:
        self.frames.append(data)


def client_at(version: int) -> Client:
    client = Client(wrapper=None)
    client.conn = Wire()
    client.connState = Client.CONNECTED
    client.MaxRequests = 0
    client.clientId = 7
    client._serverVersion = version
    return client


def sent(client: Client) -> list[str]:
    return unpack(client.conn.frames[-1][4:])


def as_sent_at(version: int, placed: PlaceOrderRequest) -> PlaceOrderRequest:
    """The order without what this version, or the order's own shape, keeps off the wire."""
    return parse(version, write(version, placed))  # type: ignore[return-value]


def place_with(**texts: str) -> PlaceOrderRequest:
    """A plain order with some fields of the wire replaced, by name."""
    fields = write(178, ORDERS["plain"])
    spec = REQUESTS[3]
    names = [row.name for row in spec.layout.rows if row.name != "faProfile" and row.when is None]
    for name, text in texts.items():
        at = 1 + names.index(name)
        assert names.index("contract") == 1
        fields[at if at < 2 else at + 11] = text
    return parse(178, fields)  # type: ignore[return-value]
