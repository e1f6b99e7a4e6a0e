"""Every message from the server: one table of rows drives the encoder and, for tests and tools, a decoder.

    RESPONSES                                        the one table, by name
    encode(server_version, "orderStatus", **values) -> bytes     a whole frame; names as in IB's EWrapper
    decode(server_version, fields) -> (name, values)             the inverse

Values are named as in IB's API. None is "no value" where the row allows it. Lists take the NamedTuples below.
openOrder, completedOrder, execDetails and the two contract details have builders in `orders_out`;
the hot ticks have templates in `ticks`. Version gates: reference section 2.4; layouts: section 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from .codec import MAX_SERVER_VERSION, MIN_SERVER_VERSION, pack
from .contract import CONTRACT_11, DELTA_NEUTRAL, PORTFOLIO_CONTRACT
from .details_rows import BOND_DETAILS_ROWS, CONTRACT_DETAILS_ROWS
from .fields import (
    BOOL,
    ESCAPED,
    ID,
    INT,
    LONG,
    MAX_INT,
    MAX_NUMBER,
    NUMBER,
    OPT_NUMBER,
    QUANTITY,
    SIZE,
    TEXT,
    Const,
    Counted,
    FieldProblem,
    Layout,
    Reader,
    Record,
    Row,
    Values,
    sentinel,
    version_field,
)
from .order_rows import COMPLETED_ORDER_ROWS, OPEN_ORDER_ROWS
from .values import Number


class HistoricalBar(NamedTuple):
    #: "YYYYMMDD", "YYYYMMDD HH:MM:SS zone" or epoch seconds, as formatDate asked
    date: str
    open: float
    high: float
    low: float
    close: float
    volume: Number
    wap: float
    barCount: int


class HistoricalSession(NamedTuple):
    #: "YYYYMMDD-HH:MM:SS" in the schedule's zone; refDate "YYYYMMDD"
    startDateTime: str
    endDateTime: str
    refDate: str


class HistogramEntry(NamedTuple):
    price: float
    size: Number


class HistoricalTick(NamedTuple):
    #: epoch seconds
    time: int
    price: float
    size: Number


class HistoricalTickBidAsk(NamedTuple):
    time: int
    #: 1 ask past high, 2 bid past low
    mask: int
    priceBid: float
    priceAsk: float
    sizeBid: Number
    sizeAsk: Number


class HistoricalTickLast(NamedTuple):
    time: int
    #: 1 past limit, 2 unreported
    mask: int
    price: float
    size: Number
    exchange: str
    specialConditions: str


class ScannerRow(NamedTuple):
    rank: int
    conId: int
    symbol: str
    secType: str
    lastTradeDateOrContractMonth: str
    strike: Decimal
    right: str
    exchange: str
    currency: str
    localSymbol: str
    marketName: str
    tradingClass: str
    distance: str
    benchmark: str
    projection: str
    legsStr: str


class SymbolSample(NamedTuple):
    conId: int
    symbol: str
    secType: str
    primaryExchange: str
    currency: str
    derivativeSecTypes: Sequence[str]
    description: str = ""
    issuerId: str = ""


class PriceIncrement(NamedTuple):
    lowEdge: Number
    increment: Number


class DepthExchange(NamedTuple):
    exchange: str
    secType: str
    listingExch: str
    serviceDataType: str
    aggGroup: int | None


class SmartComponent(NamedTuple):
    bitNumber: int
    exchange: str
    exchangeLetter: str


class NewsProvider(NamedTuple):
    code: str
    name: str


class FamilyCode(NamedTuple):
    accountID: str
    familyCodeStr: str


class SoftDollarTier(NamedTuple):
    name: str
    value: str
    displayName: str


_BAR = Record(
    HistoricalBar,
    (
        Row("date", TEXT),
        Row("open", NUMBER),
        Row("high", NUMBER),
        Row("low", NUMBER),
        Row("close", NUMBER),
        Row("volume", SIZE),
        Row("wap", NUMBER),
        Row("barCount", INT),
    ),
)
_SESSION = Record(HistoricalSession, (Row("startDateTime", TEXT), Row("endDateTime", TEXT), Row("refDate", TEXT)))
_TICK = Record(HistoricalTick, (Row("time", LONG), Row("", Const("0")), Row("price", NUMBER), Row("size", SIZE)))
_TICK_BID_ASK = Record(
    HistoricalTickBidAsk,
    (
        Row("time", LONG),
        Row("mask", INT),
        Row("priceBid", NUMBER),
        Row("priceAsk", NUMBER),
        Row("sizeBid", SIZE),
        Row("sizeAsk", SIZE),
    ),
)
_TICK_LAST = Record(
    HistoricalTickLast,
    (
        Row("time", LONG),
        Row("mask", INT),
        Row("price", NUMBER),
        Row("size", SIZE),
        Row("exchange", TEXT),
        Row("specialConditions", TEXT),
    ),
)


_SCAN = Record(
    ScannerRow,
    (
        Row("rank", INT),
        Row("conId", INT),
        Row("symbol", TEXT),
        Row("secType", TEXT),
        Row("lastTradeDateOrContractMonth", TEXT),
        Row("strike", QUANTITY),
        Row("right", TEXT),
        Row("exchange", TEXT),
        Row("currency", TEXT),
        Row("localSymbol", TEXT),
        Row("marketName", TEXT),
        Row("tradingClass", TEXT),
        Row("distance", TEXT),
        Row("benchmark", TEXT),
        Row("projection", TEXT),
        Row("legsStr", TEXT),
    ),
)
_SAMPLE = Record(
    SymbolSample,
    (
        Row("conId", ID),
        Row("symbol", TEXT),
        Row("secType", TEXT),
        Row("primaryExchange", TEXT),
        Row("currency", TEXT),
        Row("derivativeSecTypes", Counted(TEXT)),
        Row("description", TEXT, since=176),
        Row("issuerId", TEXT, since=176),
    ),
)
_NAMED_PAIR = (Row("code", TEXT), Row("name", TEXT))
_PROVIDER = Record(NewsProvider, _NAMED_PAIR)
_FAMILY = Record(FamilyCode, (Row("accountID", TEXT), Row("familyCodeStr", TEXT)))
_TIER = Record(SoftDollarTier, (Row("name", TEXT), Row("value", TEXT), Row("displayName", TEXT)))
_INCREMENT = Record(PriceIncrement, (Row("lowEdge", NUMBER), Row("increment", NUMBER)))
_HISTOGRAM = Record(HistogramEntry, (Row("price", NUMBER), Row("size", SIZE)))
_DEPTH_EXCHANGE = Record(
    DepthExchange,
    (
        Row("exchange", TEXT),
        Row("secType", TEXT),
        Row("listingExch", TEXT),
        Row("serviceDataType", TEXT),
        Row("aggGroup", MAX_INT),
    ),
)
_COMPONENT = Record(SmartComponent, (Row("bitNumber", INT), Row("exchange", TEXT), Row("exchangeLetter", TEXT)))

LAST_TICKS = frozenset({1, 2})
BID_ASK_TICK = 3
MID_POINT_TICK = 4


def _is_last(values: Values) -> bool:
    return values["tickType"] in LAST_TICKS


def _is_bid_ask(values: Values) -> bool:
    return bool(values["tickType"] == BID_ASK_TICK)


def _is_mid_point(values: Values) -> bool:
    return bool(values["tickType"] == MID_POINT_TICK)


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """One row of the table. `since`: the first server version whose clients know this message."""

    id: int
    name: str
    layout: Layout
    since: int


def _row(
    number: int,
    name: str,
    version: int | None,
    *rows: Row,
    version_until: int = MAX_SERVER_VERSION,
    since: int = MIN_SERVER_VERSION,
) -> ResponseSpec:
    head = () if version is None else (version_field(version, version_until),)
    return ResponseSpec(number, name, Layout((*head, *rows)), since)


_REQ = Row("reqId", ID)
_TICK_TYPE = Row("tickType", INT)
_ACCOUNT = Row("account", TEXT)

_TABLE: tuple[ResponseSpec, ...] = (
    _row(
        1,
        "tickPrice",
        6,
        _REQ,
        _TICK_TYPE,
        Row("price", sentinel(-1)),
        Row("size", SIZE, default=0),
        Row("attrMask", INT, default=0),
    ),
    _row(2, "tickSize", 6, _REQ, _TICK_TYPE, Row("size", SIZE)),
    _row(
        3,
        "orderStatus",
        None,
        Row("orderId", ID),
        Row("status", TEXT),
        Row("filled", QUANTITY),
        Row("remaining", QUANTITY),
        Row("avgFillPrice", QUANTITY),
        Row("permId", LONG),
        Row("parentId", INT),
        Row("lastFillPrice", QUANTITY),
        Row("clientId", ID),
        Row("whyHeld", TEXT, default=""),
        Row("mktCapPrice", QUANTITY, default=0),
    ),
    _row(
        4,
        "error",
        2,
        _REQ,
        Row("errorCode", ID),
        Row("errorString", ESCAPED),
        Row("advancedOrderRejectJson", ESCAPED, since=166, default=""),
    ),
    _row(5, "openOrder", None, *OPEN_ORDER_ROWS),
    _row(6, "updateAccountValue", 2, Row("key", TEXT), Row("value", TEXT), Row("currency", TEXT), _ACCOUNT),
    _row(
        7,
        "updatePortfolio",
        8,
        Row("contract", PORTFOLIO_CONTRACT),
        Row("position", QUANTITY),
        Row("marketPrice", NUMBER),
        Row("marketValue", QUANTITY),
        Row("averageCost", QUANTITY),
        Row("unrealizedPNL", QUANTITY),
        Row("realizedPNL", QUANTITY),
        _ACCOUNT,
    ),
    _row(8, "updateAccountTime", 1, Row("timeStamp", TEXT)),
    _row(9, "nextValidId", 1, Row("orderId", ID)),
    _row(10, "contractDetails", 8, *CONTRACT_DETAILS_ROWS, version_until=163),
    _row(
        11,
        "execDetails",
        None,
        _REQ,
        Row("orderId", ID),
        Row("contract", CONTRACT_11),
        Row("execId", TEXT),
        Row("time", TEXT),
        Row("acctNumber", TEXT),
        Row("exchange", TEXT),
        Row("side", TEXT),
        Row("shares", QUANTITY),
        Row("price", QUANTITY),
        Row("permId", LONG),
        Row("clientId", ID),
        Row("liquidation", INT, default=0),
        Row("cumQty", QUANTITY),
        Row("avgPrice", QUANTITY),
        Row("orderRef", TEXT, default=""),
        Row("evRule", TEXT, default=""),
        Row("evMultiplier", OPT_NUMBER, default=None),
        Row("modelCode", TEXT, default=""),
        Row("lastLiquidity", INT, default=0),
        Row("pendingPriceRevision", BOOL, since=178, default=False),
    ),
    _row(
        12,
        "updateMktDepth",
        1,
        _REQ,
        Row("position", INT),
        Row("operation", INT),
        Row("side", INT),
        Row("price", NUMBER),
        Row("size", SIZE),
    ),
    _row(
        13,
        "updateMktDepthL2",
        1,
        _REQ,
        Row("position", INT),
        Row("marketMaker", TEXT),
        Row("operation", INT),
        Row("side", INT),
        Row("price", NUMBER),
        Row("size", SIZE),
        Row("isSmartDepth", BOOL, default=False),
    ),
    _row(
        14,
        "updateNewsBulletin",
        1,
        Row("msgId", ID),
        Row("msgType", INT),
        Row("message", TEXT),
        Row("originExch", TEXT),
    ),
    _row(15, "managedAccounts", 1, Row("accountsList", TEXT)),
    _row(16, "receiveFA", 1, Row("faDataType", INT), Row("xml", TEXT)),
    _row(
        17,
        "historicalData",
        None,
        _REQ,
        Row("startDate", TEXT),
        Row("endDate", TEXT),
        Row("bars", Counted(_BAR)),
    ),
    _row(18, "bondContractDetails", 6, *BOND_DETAILS_ROWS, version_until=163),
    _row(19, "scannerParameters", 1, Row("xml", TEXT)),
    _row(20, "scannerData", 3, _REQ, Row("rows", Counted(_SCAN))),
    _row(
        21,
        "tickOptionComputation",
        None,
        _REQ,
        _TICK_TYPE,
        Row("tickAttrib", INT, default=0),
        Row("impliedVol", sentinel(-1), default=None),
        Row("delta", sentinel(-2), default=None),
        Row("optPrice", sentinel(-1), default=None),
        Row("pvDividend", sentinel(-1), default=None),
        Row("gamma", sentinel(-2), default=None),
        Row("vega", sentinel(-2), default=None),
        Row("theta", sentinel(-2), default=None),
        Row("undPrice", sentinel(-1), default=None),
    ),
    _row(45, "tickGeneric", 6, _REQ, _TICK_TYPE, Row("value", NUMBER)),
    _row(46, "tickString", 6, _REQ, _TICK_TYPE, Row("value", TEXT)),
    _row(
        47,
        "tickEFP",
        1,
        _REQ,
        _TICK_TYPE,
        Row("basisPoints", NUMBER),
        Row("formattedBasisPoints", TEXT),
        Row("totalDividends", NUMBER),
        Row("holdDays", INT),
        Row("futureLastTradeDate", TEXT),
        Row("dividendImpact", NUMBER),
        Row("dividendsToLastTradeDate", NUMBER),
    ),
    _row(49, "currentTime", 1, Row("time", LONG)),
    _row(
        50,
        "realtimeBar",
        3,
        _REQ,
        Row("time", LONG),
        Row("open", NUMBER),
        Row("high", NUMBER),
        Row("low", NUMBER),
        Row("close", NUMBER),
        Row("volume", SIZE),
        Row("wap", NUMBER),
        Row("barCount", INT),
    ),
    _row(51, "fundamentalData", 1, _REQ, Row("data", TEXT)),
    _row(52, "contractDetailsEnd", 1, _REQ),
    _row(53, "openOrderEnd", 1),
    _row(54, "accountDownloadEnd", 1, _ACCOUNT),
    _row(55, "execDetailsEnd", 1, _REQ),
    _row(56, "deltaNeutralValidation", 1, _REQ, Row("deltaNeutralContract", DELTA_NEUTRAL)),
    _row(57, "tickSnapshotEnd", 1, _REQ),
    _row(58, "marketDataType", 1, _REQ, Row("marketDataType", INT)),
    _row(
        59,
        "commissionReport",
        1,
        Row("execId", TEXT),
        Row("commission", QUANTITY),
        Row("currency", TEXT),
        Row("realizedPNL", MAX_NUMBER, default=None),
        Row("yield_", MAX_NUMBER, default=None),
        Row("yieldRedemptionDate", TEXT, default=""),
    ),
    _row(
        61,
        "position",
        3,
        _ACCOUNT,
        Row("contract", CONTRACT_11),
        Row("position", QUANTITY),
        Row("avgCost", QUANTITY),
    ),
    _row(62, "positionEnd", 1),
    _row(
        63,
        "accountSummary",
        1,
        _REQ,
        _ACCOUNT,
        Row("tag", TEXT),
        Row("value", TEXT),
        Row("currency", TEXT),
    ),
    _row(64, "accountSummaryEnd", 1, _REQ),
    _row(67, "displayGroupList", 1, _REQ, Row("groups", TEXT)),
    _row(68, "displayGroupUpdated", 1, _REQ, Row("contractInfo", TEXT)),
    _row(
        71,
        "positionMulti",
        1,
        _REQ,
        _ACCOUNT,
        Row("contract", CONTRACT_11),
        Row("position", QUANTITY),
        Row("avgCost", QUANTITY),
        Row("modelCode", TEXT, default=""),
    ),
    _row(72, "positionMultiEnd", 1, _REQ),
    _row(
        73,
        "accountUpdateMulti",
        1,
        _REQ,
        _ACCOUNT,
        Row("modelCode", TEXT),
        Row("key", TEXT),
        Row("value", TEXT),
        Row("currency", TEXT),
    ),
    _row(74, "accountUpdateMultiEnd", 1, _REQ),
    _row(
        75,
        "securityDefinitionOptionParameter",
        None,
        _REQ,
        Row("exchange", TEXT),
        Row("underlyingConId", ID),
        Row("tradingClass", TEXT),
        Row("multiplier", TEXT),
        Row("expirations", Counted(TEXT)),
        Row("strikes", Counted(NUMBER)),
    ),
    _row(76, "securityDefinitionOptionParameterEnd", None, _REQ),
    _row(77, "softDollarTiers", None, _REQ, Row("tiers", Counted(_TIER))),
    _row(78, "familyCodes", None, Row("familyCodes", Counted(_FAMILY))),
    _row(79, "symbolSamples", None, _REQ, Row("samples", Counted(_SAMPLE))),
    _row(80, "mktDepthExchanges", None, Row("exchanges", Counted(_DEPTH_EXCHANGE))),
    _row(
        81,
        "tickReqParams",
        None,
        _REQ,
        Row("minTick", NUMBER),
        Row("bboExchange", TEXT),
        Row("snapshotPermissions", INT),
    ),
    _row(82, "smartComponents", None, _REQ, Row("components", Counted(_COMPONENT))),
    _row(83, "newsArticle", None, _REQ, Row("articleType", INT), Row("articleText", TEXT)),
    _row(
        84,
        "tickNews",
        None,
        _REQ,
        Row("timeStamp", LONG),
        Row("providerCode", TEXT),
        Row("articleId", TEXT),
        Row("headline", TEXT),
        Row("extraData", TEXT),
    ),
    _row(85, "newsProviders", None, Row("newsProviders", Counted(_PROVIDER))),
    _row(
        86,
        "historicalNews",
        None,
        _REQ,
        Row("time", TEXT),
        Row("providerCode", TEXT),
        Row("articleId", TEXT),
        Row("headline", TEXT),
    ),
    _row(87, "historicalNewsEnd", None, _REQ, Row("hasMore", BOOL)),
    _row(88, "headTimestamp", None, _REQ, Row("headTimestamp", TEXT)),
    _row(89, "histogramData", None, _REQ, Row("items", Counted(_HISTOGRAM))),
    _row(
        90,
        "historicalDataUpdate",
        None,
        _REQ,
        Row("barCount", INT),
        Row("date", TEXT),
        Row("open", NUMBER),
        Row("close", NUMBER),
        Row("high", NUMBER),
        Row("low", NUMBER),
        Row("wap", NUMBER),
        Row("volume", SIZE),
    ),
    _row(91, "rerouteMktDataReq", None, _REQ, Row("conId", ID), Row("exchange", TEXT)),
    _row(92, "rerouteMktDepthReq", None, _REQ, Row("conId", ID), Row("exchange", TEXT)),
    _row(93, "marketRule", None, Row("marketRuleId", ID), Row("priceIncrements", Counted(_INCREMENT))),
    _row(
        94,
        "pnl",
        None,
        _REQ,
        Row("dailyPnL", MAX_NUMBER),
        Row("unrealizedPnL", MAX_NUMBER),
        Row("realizedPnL", MAX_NUMBER),
    ),
    _row(
        95,
        "pnlSingle",
        None,
        _REQ,
        Row("pos", QUANTITY),
        Row("dailyPnL", MAX_NUMBER),
        Row("unrealizedPnL", MAX_NUMBER),
        Row("realizedPnL", MAX_NUMBER),
        Row("value", MAX_NUMBER),
    ),
    _row(96, "historicalTicks", None, _REQ, Row("ticks", Counted(_TICK)), Row("done", BOOL)),
    _row(97, "historicalTicksBidAsk", None, _REQ, Row("ticks", Counted(_TICK_BID_ASK)), Row("done", BOOL)),
    _row(98, "historicalTicksLast", None, _REQ, Row("ticks", Counted(_TICK_LAST)), Row("done", BOOL)),
    _row(
        99,
        "tickByTick",
        None,
        _REQ,
        _TICK_TYPE,
        Row("time", LONG),
        Row("price", NUMBER, when=_is_last, default=None),
        Row("size", SIZE, when=_is_last, default=None),
        Row("mask", INT, when=_is_last, default=0),
        Row("exchange", TEXT, when=_is_last, default=""),
        Row("specialConditions", TEXT, when=_is_last, default=""),
        Row("bidPrice", NUMBER, when=_is_bid_ask, default=None),
        Row("askPrice", NUMBER, when=_is_bid_ask, default=None),
        Row("bidSize", SIZE, when=_is_bid_ask, default=None),
        Row("askSize", SIZE, when=_is_bid_ask, default=None),
        Row("mask", INT, when=_is_bid_ask, default=0),
        Row("midPoint", NUMBER, when=_is_mid_point, default=None),
    ),
    _row(100, "orderBound", None, Row("permId", LONG), Row("clientId", ID), Row("orderId", ID)),
    _row(101, "completedOrder", None, *COMPLETED_ORDER_ROWS),
    _row(102, "completedOrdersEnd", None),
    _row(103, "replaceFAEnd", None, _REQ, Row("text", TEXT)),
    _row(104, "wshMetaData", None, _REQ, Row("dataJson", TEXT), since=161),
    _row(105, "wshEventData", None, _REQ, Row("dataJson", TEXT), since=161),
    _row(
        106,
        "historicalSchedule",
        None,
        _REQ,
        Row("startDateTime", TEXT),
        Row("endDateTime", TEXT),
        Row("timeZone", TEXT),
        Row("sessions", Counted(_SESSION)),
        since=165,
    ),
    _row(107, "userInfo", None, _REQ, Row("whiteBrandingId", TEXT), since=167),
)

#: by name
RESPONSES: dict[str, ResponseSpec] = {spec.name: spec for spec in _TABLE}
_BY_ID: dict[str, ResponseSpec] = {str(spec.id): spec for spec in _TABLE}


def encode(server_version: int, name: str, /, **values: Any) -> bytes:
    """One frame, length included.

    Raises TypeError for a value that is missing or unknown, ValueError for one that has no form on the wire or for a
    message that clients of this version do not know. A value of a row that this version does not carry is dropped.
    """
    return pack(write(server_version, name, values))


def write(server_version: int, name: str, values: Values) -> list[str]:
    """The fields of a message; errors as in `encode`."""
    spec = RESPONSES.get(name)
    if spec is None:
        raise ValueError(f"{name}: no such message; `RESPONSES` lists them")
    if server_version < spec.since:
        raise ValueError(f"{name}: clients know it since server version {spec.since}, this is {server_version}")
    plan = spec.layout.at(server_version)
    full = {**plan.defaults, **values}
    if full.keys() != plan.names:
        missing = sorted(plan.names - full.keys())
        unknown = sorted(full.keys() - plan.names)
        raise TypeError(f"{name}: missing {missing}, unknown {unknown}")
    out = [str(spec.id)]
    try:
        plan.write(full, out)
    except FieldProblem as problem:
        raise ValueError(f"{name}.{problem.path}: {problem.reason}") from problem
    return out


def decode(server_version: int, fields: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Name and values of a message from a server; raises ValueError. For tests and tools."""
    spec = _BY_ID.get(fields[0]) if fields else None
    if spec is None:
        raise ValueError(f"{fields[:1]}: no message has this id")
    reader = Reader(fields)
    reader.at = 1
    values = spec.layout.at(server_version).read(reader)
    if not reader.exhausted:
        raise ValueError(f"{spec.name}: {len(fields) - reader.at} fields too many")
    return spec.name, values
