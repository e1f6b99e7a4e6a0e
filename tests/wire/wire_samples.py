"""One sample of every message and of every conditional section, with a different value in every field.

`python tests/wire/wire_samples.py` writes the golden files; the tests compare, and show both to clients that this
project did not write.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from moondev_ibkr.brokers.simulation.tws import messages_out as out
from moondev_ibkr.brokers.simulation.tws import orders_out
from moondev_ibkr.brokers.simulation.tws.codec import unpack
from moondev_ibkr.brokers.simulation.tws.conditions import (
    ExecutionCondition,
    MarginCondition,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    VolumeCondition,
)
from moondev_ibkr.brokers.simulation.tws.contract import (
    ComboLeg,
    Contract,
    DeltaNeutralContract,
    TagValue,
)
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = (157, 163, 176, 178)

ACCOUNT = "DU0001234"
AAPL = Contract(
    conId=265598,
    symbol="AAPL",
    secType="STK",
    exchange="SMART",
    primaryExchange="NASDAQ",
    currency="USD",
    localSymbol="AAPL.L",
    tradingClass="NMS",
)
CALL = Contract(
    conId=700001,
    symbol="AAPL",
    secType="OPT",
    lastTradeDateOrContractMonth="20260619",
    strike=Decimal("202.5"),
    right="C",
    multiplier="100",
    exchange="CBOE",
    primaryExchange="AMEX",
    currency="USD",
    localSymbol="AAPL  260619C00202500",
    tradingClass="AAPLC",
)
SPREAD = Contract(
    conId=28812380, symbol="AAPL,MSFT", secType="BAG", exchange="SMART", currency="USD", tradingClass="COMB"
)
LEGS = (
    ComboLeg(265598, 1, "BUY", "SMART", 1, 2, "Z1", 7),
    ComboLeg(272093, 3, "SELL", "ISLAND", 0, 0, "", -1),
)
CONDITIONS = (
    PriceCondition("a", True, Decimal("150.5"), 265598, "SMART", 2),
    TimeCondition("o", False, "20260101 09:30:00 US/Eastern"),
    MarginCondition("a", True, 20),
    ExecutionCondition("o", "STK", "ISLAND", "MSFT"),
    VolumeCondition("a", True, 123456, 272093, "ARCA"),
    PercentChangeCondition("a", False, Decimal("1.25"), 8314, "NYSE"),
)
NO_CHECK = frozenset({"contract", "conditions", "comboLegs", "orderComboLegs", "deltaNeutralContract"})


def order(**values: Any) -> PlaceOrderRequest:
    base: dict[str, Any] = {
        "orderId": 5,
        "contract": AAPL,
        "action": "BUY",
        "totalQuantity": Decimal(100),
        "orderType": "LMT",
        "lmtPrice": Decimal("150.25"),
        "auxPrice": Decimal(0),
        "tif": "DAY",
        "account": ACCOUNT,
        "orderRef": "ref-1",
        "openClose": "O",
    }
    return PlaceOrderRequest(**{**base, **values})


def full_order(**values: Any) -> PlaceOrderRequest:
    """Every field set, each to a value of its own."""
    number = count(11)
    made: dict[str, Any] = {}
    for field in dataclasses.fields(PlaceOrderRequest):
        kind = str(field.type)
        if not field.init or field.name in NO_CHECK:
            continue
        if kind.startswith("bool"):
            made[field.name] = next(number) % 3 != 0
        elif kind.startswith("int"):
            made[field.name] = next(number)
        elif kind.startswith("Decimal"):
            made[field.name] = Decimal(next(number)) + Decimal("0.25")
        elif kind.startswith("str"):
            made[field.name] = f"{field.name}-{next(number)}"
        else:
            made[field.name] = (TagValue(f"{field.name}-{next(number)}", "v"), TagValue("x", f"{next(number)}"))
    made["orderMiscOptions"] = (("k", "v"), ("w", "2"))
    made["orderType"] = "PEG BENCH"
    made["whatIf"] = False
    made["contract"] = AAPL
    made["conditions"] = CONDITIONS
    made.update(deltaNeutralContract=DeltaNeutralContract(8314, 0.5, 12.5))
    made.update(values)
    return PlaceOrderRequest(**made)


ORDERS: dict[str, PlaceOrderRequest] = {
    "plain": order(),
    "stop": order(orderType="STP", lmtPrice=None, auxPrice=Decimal("140.5"), tif="GTC", transmit=False, parentId=4),
    "trail": order(orderType="TRAIL", lmtPrice=None, auxPrice=None, trailingPercent=Decimal("1.5")),
    "fraction": order(totalQuantity=Decimal("0.125"), cashQty=Decimal("25.5")),
    "bag": order(
        contract=SPREAD,
        comboLegs=LEGS,
        orderComboLegs=(Decimal("1.5"), None),
        smartComboRoutingParams=(TagValue("NonGuaranteed", "1"), TagValue("x", "y")),
    ),
    "conditions": order(conditions=CONDITIONS, conditionsIgnoreRth=True, conditionsCancelOrder=True),
    "algo": order(
        algoStrategy="Adaptive",
        algoParams=(TagValue("adaptivePriority", "Normal"), TagValue("b", "2")),
        algoId="my-algo",
    ),
    "hedge": order(hedgeType="D", hedgeParam="0.5"),
    "scale": order(
        scaleInitLevelSize=10,
        scaleSubsLevelSize=20,
        scalePriceIncrement=Decimal("0.05"),
        scalePriceAdjustValue=Decimal("0.01"),
        scalePriceAdjustInterval=60,
        scaleProfitOffset=Decimal("0.02"),
        scaleAutoReset=True,
        scaleInitPosition=30,
        scaleInitFillQty=40,
        scaleRandomPercent=True,
    ),
    "delta_neutral": order(
        contract=CALL,
        orderType="VOL",
        volatility=Decimal("0.25"),
        volatilityType=2,
        deltaNeutralOrderType="MKT",
        deltaNeutralConId=265598,
        deltaNeutralOpenClose="O",
        deltaNeutralDesignatedLocation="L",
        deltaNeutralContract=DeltaNeutralContract(265598, 0.5, 150.25),
    ),
    "peg_bench": order(
        orderType="PEG BENCH",
        referenceContractId=272093,
        isPeggedChangeAmountDecrease=True,
        peggedChangeAmount=Decimal("0.5"),
        referenceChangeAmount=Decimal("0.25"),
        referenceExchangeId="NASDAQ",
    ),
    "full": full_order(),
}
#: placeOrder has these tails; openOrder has them for every order
PEG_TAILS: dict[str, PlaceOrderRequest] = {
    "ibkrats": order(contract=dataclasses.replace(AAPL, exchange="IBKRATS"), minTradeQty=7),
    "peg_best": order(
        orderType="PEG BEST", minCompeteSize=100, competeAgainstBestOffset=Decimal("0.02"), midOffsetAtWhole=None
    ),
    "peg_best_to_mid": order(
        orderType="PEG BEST",
        minCompeteSize=100,
        competeAgainstBestOffset=Decimal("Infinity"),
        midOffsetAtWhole=Decimal("0.01"),
        midOffsetAtHalf=Decimal("0.005"),
    ),
    "peg_mid": order(orderType="PEG MID", midOffsetAtWhole=Decimal("0.01"), midOffsetAtHalf=Decimal("0.005")),
}
WHAT_IF = orders_out.OrderState(
    "PreSubmitted",
    *(Decimal(n) + Decimal("0.5") for n in (3000, 2500, 100000, 31, 26, -1, 3031, 2526, 99999)),
    commission=Decimal("1.05"),
    minCommission=Decimal("0.95"),
    maxCommission=Decimal("1.15"),
    commissionCurrency="USD",
    warningText="a warning",
)
SUBMITTED = orders_out.OrderState("Submitted")
DONE = orders_out.OrderState("Filled", completedTime="20260102 16:00:00 US/Eastern", completedStatus="Filled Size: 100")

DETAILS: dict[str, Any] = {
    "marketName": "NMS-M",
    "minTick": 0.01,
    "orderTypes": "LMT,MKT,STP",
    "validExchanges": "SMART,ISLAND",
    "priceMagnifier": 2,
    "underConId": 8314,
    "longName": "APPLE INC — café \\ co",
    "contractMonth": "202606",
    "industry": "Technology",
    "category": "Computers",
    "subcategory": "Phones",
    "timeZoneId": "US/Eastern",
    "tradingHours": "20260102:0400-20260102:2000",
    "liquidHours": "20260102:0930-20260102:1600",
    "evRule": "ev",
    "evMultiplier": 3,
    "secIdList": (TagValue("ISIN", "US0378331005"), TagValue("CUSIP", "037833100")),
    "aggGroup": 4,
    "underSymbol": "UND",
    "underSecType": "STK",
    "marketRuleIds": "26,27",
    "realExpirationDate": "20260620",
    "stockType": "COMMON",
    "minSize": Decimal("0.0001"),
    "sizeIncrement": Decimal("0.5"),
    "suggestedSizeIncrement": Decimal(100),
}
BOND: dict[str, Any] = {
    "cusip": "037833AA",
    "coupon": 4,
    "maturity": "20300101",
    "issueDate": "20200101",
    "ratings": "A+",
    "bondType": "CORP",
    "couponType": "FIXED",
    "convertible": True,
    "callable": False,
    "putable": True,
    "descAppend": "desc",
    "marketName": "BM",
    "minTick": 0.001,
    "orderTypes": "LMT,MKT",
    "validExchanges": "SMART",
    "nextOptionDate": "20270101",
    "nextOptionType": "CALL",
    "nextOptionPartial": True,
    "notes": "notes",
    "longName": "Apple 4 2030",
    "evRule": "ev",
    "evMultiplier": 3,
    "secIdList": (TagValue("ISIN", "US0378331005"),),
    "aggGroup": 2,
    "marketRuleIds": "26",
    "minSize": Decimal(1000),
    "sizeIncrement": Decimal(2000),
    "suggestedSizeIncrement": Decimal(3000),
}

_BARS = (
    out.HistoricalBar("20260102", 1.25, 2.5, 0.5, 1.75, 1000, 1.3, 12),
    out.HistoricalBar("20260105", 11.25, 12.5, 10.5, 11.75, 2000, 11.3, 22),
)

#: label -> (message, values); what is left out is the row's default
SIMPLE: dict[str, tuple[str, dict[str, Any]]] = {
    "managedAccounts": ("managedAccounts", {"accountsList": f"{ACCOUNT},DU0001235"}),
    "nextValidId": ("nextValidId", {"orderId": 41}),
    "error_notice": (
        "error",
        {"reqId": -1, "errorCode": 2104, "errorString": "Market data farm connection is OK:usfarm"},
    ),
    "error_order": (
        "error",
        {"reqId": 5, "errorCode": 201, "errorString": "Rejected: é 日", "advancedOrderRejectJson": '{"rejects":[]}'},
    ),
    "tickPrice": ("tickPrice", {"reqId": 100, "tickType": 1, "price": 150.25, "size": 300, "attrMask": 1}),
    "tickPrice_missing": ("tickPrice", {"reqId": 100, "tickType": 9, "price": None}),
    "tickSize": ("tickSize", {"reqId": 100, "tickType": 8, "size": 3000}),
    "tickOptionComputation": (
        "tickOptionComputation",
        {
            "reqId": 100,
            "tickType": 13,
            "tickAttrib": 1,
            "impliedVol": 0.25,
            "delta": 0.55,
            "optPrice": 12.5,
            "pvDividend": 0.1,
            "gamma": 0.02,
            "vega": 0.3,
            "theta": -0.05,
            "undPrice": 201.5,
        },
    ),
    "tickOptionComputation_missing": ("tickOptionComputation", {"reqId": 100, "tickType": 10}),
    "tickGeneric": ("tickGeneric", {"reqId": 100, "tickType": 49, "value": 1.5}),
    "tickString": ("tickString", {"reqId": 100, "tickType": 45, "value": "1700000000"}),
    "tickEFP": (
        "tickEFP",
        {
            "reqId": 100,
            "tickType": 38,
            "basisPoints": 1.5,
            "formattedBasisPoints": "1.50",
            "totalDividends": 0.25,
            "holdDays": 10,
            "futureLastTradeDate": "20260101",
            "dividendImpact": 0.5,
            "dividendsToLastTradeDate": 0.75,
        },
    ),
    "tickSnapshotEnd": ("tickSnapshotEnd", {"reqId": 100}),
    "marketDataType": ("marketDataType", {"reqId": 100, "marketDataType": 3}),
    "tickReqParams": (
        "tickReqParams",
        {"reqId": 100, "minTick": 0.01, "bboExchange": "9c0001", "snapshotPermissions": 3},
    ),
    "tickNews": (
        "tickNews",
        {
            "reqId": 100,
            "timeStamp": 1700000000000,
            "providerCode": "BRFG",
            "articleId": "BRFG$1",
            "headline": "Headline",
            "extraData": "K:n/a",
        },
    ),
    "tickByTick_last": (
        "tickByTick",
        {
            "reqId": 101,
            "tickType": 1,
            "time": 1700000000,
            "price": 150.25,
            "size": 100,
            "mask": 1,
            "exchange": "NASDAQ",
            "specialConditions": " FT",
        },
    ),
    "tickByTick_allLast": (
        "tickByTick",
        {
            "reqId": 101,
            "tickType": 2,
            "time": 1700000001,
            "price": 150.5,
            "size": 200,
            "mask": 2,
            "exchange": "ARCA",
            "specialConditions": "T",
        },
    ),
    "tickByTick_bidAsk": (
        "tickByTick",
        {
            "reqId": 101,
            "tickType": 3,
            "time": 1700000002,
            "bidPrice": 150.25,
            "askPrice": 150.26,
            "bidSize": 100,
            "askSize": 200,
            "mask": 1,
        },
    ),
    "tickByTick_midPoint": (
        "tickByTick",
        {"reqId": 101, "tickType": 4, "time": 1700000003, "midPoint": 150.255},
    ),
    "updateMktDepth": (
        "updateMktDepth",
        {"reqId": 102, "position": 3, "operation": 2, "side": 1, "price": 150.25, "size": 100},
    ),
    "updateMktDepthL2": (
        "updateMktDepthL2",
        {
            "reqId": 102,
            "position": 3,
            "marketMaker": "NSDQ",
            "operation": 2,
            "side": 1,
            "price": 150.25,
            "size": 100,
            "isSmartDepth": True,
        },
    ),
    "orderStatus": (
        "orderStatus",
        {
            "orderId": 5,
            "status": "Submitted",
            "filled": Decimal(40),
            "remaining": Decimal("60.5"),
            "avgFillPrice": Decimal("150.2575"),
            "permId": 1999000001,
            "parentId": 4,
            "lastFillPrice": Decimal("150.3"),
            "clientId": 7,
            "whyHeld": "locate",
            "mktCapPrice": Decimal("1.5"),
        },
    ),
    "openOrderEnd": ("openOrderEnd", {}),
    "completedOrdersEnd": ("completedOrdersEnd", {}),
    "execDetails": (
        "execDetails",
        {
            "reqId": -1,
            "orderId": 5,
            "contract": AAPL,
            "execId": "0000e0d5.69dd7411.01.01",
            "time": "20260102 10:00:00 US/Eastern",
            "acctNumber": ACCOUNT,
            "exchange": "ISLAND",
            "side": "BOT",
            "shares": Decimal("40.5"),
            "price": Decimal("150.25"),
            "permId": 1999000001,
            "clientId": 7,
            "liquidation": 1,
            "cumQty": Decimal(90),
            "avgPrice": Decimal("150.2"),
            "orderRef": "ref-1",
            "evRule": "rule",
            "evMultiplier": 2.5,
            "modelCode": "model",
            "lastLiquidity": 2,
            "pendingPriceRevision": True,
        },
    ),
    "execDetailsEnd": ("execDetailsEnd", {"reqId": 114}),
    "commissionReport": (
        "commissionReport",
        {"execId": "0000e0d5.69dd7411.01.01", "commission": Decimal("1.05"), "currency": "USD"},
    ),
    "commissionReport_closing": (
        "commissionReport",
        {
            "execId": "e2",
            "commission": Decimal("1.05"),
            "currency": "USD",
            "realizedPNL": 12.5,
            "yield_": 3.5,
            "yieldRedemptionDate": "20300101",
        },
    ),
    "orderBound": ("orderBound", {"permId": 123456789012, "clientId": 7, "orderId": 5}),
    "position": (
        "position",
        {"account": ACCOUNT, "contract": CALL, "position": Decimal("-5.5"), "avgCost": Decimal("1250.5")},
    ),
    "positionEnd": ("positionEnd", {}),
    "positionMulti": (
        "positionMulti",
        {
            "reqId": 109,
            "account": ACCOUNT,
            "contract": AAPL,
            "position": Decimal(5),
            "avgCost": Decimal("120.5"),
            "modelCode": "model",
        },
    ),
    "positionMultiEnd": ("positionMultiEnd", {"reqId": 109}),
    "updateAccountValue": (
        "updateAccountValue",
        {"key": "NetLiquidation", "value": "100000.00", "currency": "USD", "account": ACCOUNT},
    ),
    "updatePortfolio": (
        "updatePortfolio",
        {
            "contract": CALL,
            "position": Decimal(100),
            "marketPrice": 150.25,
            "marketValue": Decimal("15025.5"),
            "averageCost": Decimal("140.125"),
            "unrealizedPNL": Decimal("1025.25"),
            "realizedPNL": Decimal("-3.75"),
            "account": ACCOUNT,
        },
    ),
    "updateAccountTime": ("updateAccountTime", {"timeStamp": "12:30"}),
    "accountDownloadEnd": ("accountDownloadEnd", {"account": ACCOUNT}),
    "accountSummary": (
        "accountSummary",
        {"reqId": 110, "account": ACCOUNT, "tag": "BuyingPower", "value": "400000", "currency": "USD"},
    ),
    "accountSummaryEnd": ("accountSummaryEnd", {"reqId": 110}),
    "accountUpdateMulti": (
        "accountUpdateMulti",
        {
            "reqId": 111,
            "account": ACCOUNT,
            "modelCode": "model",
            "key": "NetLiquidation",
            "value": "100",
            "currency": "USD",
        },
    ),
    "accountUpdateMultiEnd": ("accountUpdateMultiEnd", {"reqId": 111}),
    "pnl": ("pnl", {"reqId": 112, "dailyPnL": 10.5, "unrealizedPnL": 20.5, "realizedPnL": 30.5}),
    "pnl_missing": ("pnl", {"reqId": 112, "dailyPnL": 10.5, "unrealizedPnL": None, "realizedPnL": None}),
    "pnlSingle": (
        "pnlSingle",
        {
            "reqId": 113,
            "pos": Decimal(100),
            "dailyPnL": 10.5,
            "unrealizedPnL": 20.5,
            "realizedPnL": 30.5,
            "value": 15025.25,
        },
    ),
    "contractDetailsEnd": ("contractDetailsEnd", {"reqId": 115}),
    "historicalData": (
        "historicalData",
        {
            "reqId": 104,
            "startDate": "20260101 09:30:00 US/Eastern",
            "endDate": "20260106 16:00:00 US/Eastern",
            "bars": _BARS,
        },
    ),
    "historicalDataUpdate": (
        "historicalDataUpdate",
        {
            "reqId": 104,
            "barCount": 12,
            "date": "20260105 15:59:00 US/Eastern",
            "open": 1.25,
            "close": 1.5,
            "high": 2.5,
            "low": 0.5,
            "wap": 1.3,
            "volume": 1000,
        },
    ),
    "historicalSchedule": (
        "historicalSchedule",
        {
            "reqId": 105,
            "startDateTime": "20260102-09:30:00",
            "endDateTime": "20260105-16:00:00",
            "timeZone": "US/Eastern",
            "sessions": (
                out.HistoricalSession("20260102-09:30:00", "20260102-16:00:00", "20260102"),
                out.HistoricalSession("20260105-09:30:00", "20260105-16:00:00", "20260105"),
            ),
        },
    ),
    "headTimestamp": ("headTimestamp", {"reqId": 106, "headTimestamp": "19801212-14:30:00"}),
    "histogramData": (
        "histogramData",
        {"reqId": 107, "items": (out.HistogramEntry(1.5, 100), out.HistogramEntry(1.75, 200))},
    ),
    "historicalTicks": (
        "historicalTicks",
        {
            "reqId": 108,
            "ticks": (out.HistoricalTick(1700000000, 150.25, 100), out.HistoricalTick(1700000001, 150.5, 200)),
            "done": True,
        },
    ),
    "historicalTicksBidAsk": (
        "historicalTicksBidAsk",
        {
            "reqId": 108,
            "ticks": (out.HistoricalTickBidAsk(1700000000, 2, 150.25, 150.5, 100, 200),),
            "done": False,
        },
    ),
    "historicalTicksLast": (
        "historicalTicksLast",
        {
            "reqId": 108,
            "ticks": (out.HistoricalTickLast(1700000000, 1, 150.25, 100, "NASDAQ", "FT"),),
            "done": True,
        },
    ),
    "realtimeBar": (
        "realtimeBar",
        {
            "reqId": 103,
            "time": 1700000000,
            "open": 1.25,
            "high": 2.5,
            "low": 0.5,
            "close": 1.75,
            "volume": 1000,
            "wap": 1.3,
            "barCount": 12,
        },
    ),
    "scannerParameters": ("scannerParameters", {"xml": "<xml/>"}),
    "scannerData": (
        "scannerData",
        {
            "reqId": 120,
            "rows": (
                out.ScannerRow(
                    2,
                    265598,
                    "AAPL",
                    "STK",
                    "20260101",
                    Decimal("1.5"),
                    "C",
                    "SMART",
                    "USD",
                    "AAPL.L",
                    "NMS-M",
                    "NMS",
                    "d",
                    "b",
                    "p",
                    "legs",
                ),
            ),
        },
    ),
    "fundamentalData": ("fundamentalData", {"reqId": 121, "data": "<ReportSnapshot/>"}),
    "newsProviders": (
        "newsProviders",
        {"newsProviders": (out.NewsProvider("BRFG", "Briefing.com"), out.NewsProvider("DJNL", "Dow Jones"))},
    ),
    "newsArticle": ("newsArticle", {"reqId": 122, "articleType": 1, "articleText": "text"}),
    "historicalNews": (
        "historicalNews",
        {
            "reqId": 123,
            "time": "2026-01-02 10:00:00.0",
            "providerCode": "BRFG",
            "articleId": "BRFG$1",
            "headline": "Head",
        },
    ),
    "historicalNewsEnd": ("historicalNewsEnd", {"reqId": 123, "hasMore": True}),
    "updateNewsBulletin": (
        "updateNewsBulletin",
        {"msgId": 9, "msgType": 2, "message": "bulletin", "originExch": "NYSE"},
    ),
    "securityDefinitionOptionParameter": (
        "securityDefinitionOptionParameter",
        {
            "reqId": 118,
            "exchange": "SMART",
            "underlyingConId": 265598,
            "tradingClass": "AAPLC",
            "multiplier": "100",
            "expirations": ("20260619", "20260717"),
            "strikes": (190.5, 200, 210),
        },
    ),
    "securityDefinitionOptionParameterEnd": ("securityDefinitionOptionParameterEnd", {"reqId": 118}),
    "symbolSamples": (
        "symbolSamples",
        {
            "reqId": 117,
            "samples": (
                out.SymbolSample(265598, "AAPL", "STK", "NASDAQ.NMS", "USD", ("CFD", "OPT"), "APPLE INC", "e1"),
                out.SymbolSample(272093, "MSFT", "STK", "NASDAQ.NMS", "USD", (), "MICROSOFT", "e2"),
            ),
        },
    ),
    "marketRule": (
        "marketRule",
        {"marketRuleId": 26, "priceIncrements": (out.PriceIncrement(0, 0.0001), out.PriceIncrement(1, 0.01))},
    ),
    "mktDepthExchanges": (
        "mktDepthExchanges",
        {
            "exchanges": (
                out.DepthExchange("ISLAND", "STK", "NASDAQ", "Deep2", None),
                out.DepthExchange("ARCA", "STK", "NYSE", "Deep", 2),
            )
        },
    ),
    "smartComponents": (
        "smartComponents",
        {"reqId": 119, "components": (out.SmartComponent(3, "AMEX", "A"), out.SmartComponent(4, "ARCA", "P"))},
    ),
    "familyCodes": ("familyCodes", {"familyCodes": (out.FamilyCode(ACCOUNT, "F1"),)}),
    "softDollarTiers": ("softDollarTiers", {"reqId": 124, "tiers": (out.SoftDollarTier("n", "v", "d"),)}),
    "currentTime": ("currentTime", {"time": 1700000000}),
    "receiveFA": ("receiveFA", {"faDataType": 2, "xml": "<xml/>"}),
    "replaceFAEnd": ("replaceFAEnd", {"reqId": 125, "text": "done"}),
    "rerouteMktDataReq": ("rerouteMktDataReq", {"reqId": 100, "conId": 8314, "exchange": "NYSE"}),
    "rerouteMktDepthReq": ("rerouteMktDepthReq", {"reqId": 102, "conId": 8314, "exchange": "NYSE"}),
    "deltaNeutralValidation": (
        "deltaNeutralValidation",
        {"reqId": 100, "deltaNeutralContract": DeltaNeutralContract(8314, 0.5, 1.5)},
    ),
    "displayGroupList": ("displayGroupList", {"reqId": 126, "groups": "1|2"}),
    "displayGroupUpdated": ("displayGroupUpdated", {"reqId": 126, "contractInfo": "265598@SMART"}),
    "wshMetaData": ("wshMetaData", {"reqId": 127, "dataJson": "{}"}),
    "wshEventData": ("wshEventData", {"reqId": 128, "dataJson": "{}"}),
    "userInfo": ("userInfo", {"reqId": 129, "whiteBrandingId": "wb"}),
}


def samples(server_version: int) -> dict[str, bytes]:
    """Frames by label, of every message that clients of this version know."""
    frames = {
        label: out.encode(server_version, name, **values)
        for label, (name, values) in SIMPLE.items()
        if out.RESPONSES[name].since <= server_version
    }
    for label, placed in {**ORDERS, **PEG_TAILS}.items():
        frames[f"openOrder_{label}"] = orders_out.open_order(
            server_version, placed, SUBMITTED, clientId=7, permId=1999000001, softDollarTierDisplayName="tier"
        )
        frames[f"completedOrder_{label}"] = orders_out.completed_order(
            server_version, placed, DONE, permId=1999000001, filledQuantity=Decimal("99.5"), parentPermId=77
        )
    frames["openOrder_whatIf"] = orders_out.open_order(
        server_version, order(whatIf=True), WHAT_IF, clientId=7, permId=1999000001
    )
    frames["contractDetails"] = orders_out.contract_details(server_version, 115, CALL, **DETAILS)
    frames["bondContractDetails"] = orders_out.bond_details(
        server_version, 116, dataclasses.replace(AAPL, secType="BOND"), **BOND
    )
    return frames


def golden_text(server_version: int) -> str:
    """One line a message: label, length prefix in hex, fields ended by ␀."""
    lines = []
    for label, frame in samples(server_version).items():
        payload = frame[4:].decode("utf-8").replace("\0", "␀")
        lines.append(f"{label} {frame[:4].hex()} {payload}\n")
    return "".join(lines)


def fields_of(frame: bytes) -> list[str]:
    return unpack(frame[4:])


if __name__ == "__main__":
    for version in VERSIONS:
        (GOLDEN / f"{version}.txt").write_text(golden_text(version), encoding="utf-8")
