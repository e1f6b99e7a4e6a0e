"""Every request but placeOrder as a frozen dataclass; attributes in wire order, names as in IB's API.

The message id and the message's own version number are in `messages_in.REQUESTS`. `reqId` is the client's.
Dates and times are text exactly as the client wrote them. Source: IB API `EClient`; reference section 2.2.
"""

# ruff: noqa: RUF009  (`row` is a field specifier: it returns a dataclasses.Field)

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .contract import (
    CONTRACT,
    CONTRACT_11,
    DATA_LEG,
    DELTA_NEUTRAL,
    ComboLeg,
    Contract,
    DeltaNeutralContract,
)
from .fields import (
    BOOL,
    ID,
    INT,
    OPT_DECIMAL,
    OPT_INT,
    OPT_NUMBER,
    TAGS,
    TEXT,
    Counted,
    Maybe,
    Rest,
    Values,
)
from .request import Request, row

Tags = tuple[tuple[str, str], ...]


def is_bag(values: Values) -> bool:
    return bool(values["contract"].secType == "BAG")


@dataclass(frozen=True, kw_only=True)
class BareRequest(Request):
    """A request that says nothing but its name."""


@dataclass(frozen=True, kw_only=True)
class ByReqId(Request):
    """A request that names an earlier or a following one by its reqId."""

    reqId: int = row(ID)


@dataclass(frozen=True, kw_only=True)
class StartApi(Request):
    clientId: int = row(ID)
    optionalCapabilities: str = row(TEXT, optional=True, default="")


class ReqCurrentTime(BareRequest):
    pass


class ReqManagedAccts(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqIds(Request):
    """Asks for the next valid order id; `numIds` means nothing, as in TWS."""

    numIds: int = row(INT)


@dataclass(frozen=True, kw_only=True)
class SetServerLogLevel(Request):
    #: 1 system, 2 error, 3 warning, 4 information, 5 detail
    logLevel: int = row(INT)


@dataclass(frozen=True, kw_only=True)
class ReqMktData(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    comboLegs: tuple[ComboLeg, ...] = row(Counted(DATA_LEG), when=is_bag, default=())
    deltaNeutralContract: DeltaNeutralContract | None = row(Maybe(DELTA_NEUTRAL), default=None)
    #: comma separated generic tick ids, e.g. "100,233"
    genericTickList: str = row(TEXT)
    snapshot: bool = row(BOOL)
    regulatorySnapshot: bool = row(BOOL)
    mktDataOptions: Tags = row(TAGS, optional=True, default=())


class CancelMktData(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqMktDepth(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    numRows: int = row(INT)
    isSmartDepth: bool = row(BOOL)
    mktDepthOptions: Tags = row(TAGS, optional=True, default=())


@dataclass(frozen=True, kw_only=True)
class CancelMktDepth(Request):
    reqId: int = row(ID)
    isSmartDepth: bool = row(BOOL, optional=True, default=False)


@dataclass(frozen=True, kw_only=True)
class ReqMarketDataType(Request):
    #: 1 live, 2 frozen, 3 delayed, 4 delayed frozen
    marketDataType: int = row(INT)


@dataclass(frozen=True, kw_only=True)
class ReqTickByTickData(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    #: "Last", "AllLast", "BidAsk" or "MidPoint"
    tickType: str = row(TEXT)
    numberOfTicks: int = row(INT)
    ignoreSize: bool = row(BOOL)


class CancelTickByTickData(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqSmartComponents(Request):
    reqId: int = row(ID)
    bboExchange: str = row(TEXT)


class ReqMktDepthExchanges(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqHistoricalData(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    includeExpired: bool = row(BOOL)
    #: empty: now
    endDateTime: str = row(TEXT)
    barSizeSetting: str = row(TEXT)
    durationStr: str = row(TEXT)
    useRTH: bool = row(BOOL)
    #: "SCHEDULE" is answered with historicalSchedule
    whatToShow: str = row(TEXT)
    #: 1 local text, 2 epoch seconds
    formatDate: int = row(INT)
    comboLegs: tuple[ComboLeg, ...] = row(Counted(DATA_LEG), when=is_bag, default=())
    keepUpToDate: bool = row(BOOL)
    chartOptions: Tags = row(TAGS, optional=True, default=())


class CancelHistoricalData(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqRealTimeBars(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    #: seconds; TWS knows 5 only and ignores the value
    barSize: int = row(INT)
    whatToShow: str = row(TEXT)
    useRTH: bool = row(BOOL)
    realTimeBarsOptions: Tags = row(TAGS, optional=True, default=())


class CancelRealTimeBars(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqHeadTimeStamp(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    includeExpired: bool = row(BOOL)
    useRTH: bool = row(BOOL)
    whatToShow: str = row(TEXT)
    formatDate: int = row(INT)


class CancelHeadTimeStamp(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqHistoricalTicks(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    includeExpired: bool = row(BOOL)
    startDateTime: str = row(TEXT)
    endDateTime: str = row(TEXT)
    numberOfTicks: int = row(INT)
    #: "BID_ASK", "MIDPOINT" or "TRADES"
    whatToShow: str = row(TEXT)
    useRth: bool = row(BOOL)
    ignoreSize: bool = row(BOOL)
    miscOptions: Tags = row(TAGS, optional=True, default=())


@dataclass(frozen=True, kw_only=True)
class ReqHistogramData(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    includeExpired: bool = row(BOOL)
    useRTH: bool = row(BOOL)
    timePeriod: str = row(TEXT)


class CancelHistogramData(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqContractDetails(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    includeExpired: bool = row(BOOL)
    secIdType: str = row(TEXT)
    secId: str = row(TEXT)
    issuerId: str = row(TEXT, since=176, optional=True, default="")


@dataclass(frozen=True, kw_only=True)
class ReqSecDefOptParams(Request):
    reqId: int = row(ID)
    underlyingSymbol: str = row(TEXT)
    futFopExchange: str = row(TEXT)
    underlyingSecType: str = row(TEXT)
    underlyingConId: int = row(INT)


@dataclass(frozen=True, kw_only=True)
class ReqMatchingSymbols(Request):
    reqId: int = row(ID)
    pattern: str = row(TEXT)


@dataclass(frozen=True, kw_only=True)
class ReqMarketRule(Request):
    marketRuleId: int = row(ID)


class ReqSoftDollarTiers(ByReqId):
    pass


class ReqFamilyCodes(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class CancelOrder(Request):
    orderId: int = row(ID)
    manualCancelOrderTime: str = row(TEXT, since=169, optional=True, default="")


class ReqGlobalCancel(BareRequest):
    pass


class ReqOpenOrders(BareRequest):
    pass


class ReqAllOpenOrders(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqAutoOpenOrders(Request):
    autoBind: bool = row(BOOL)


@dataclass(frozen=True, kw_only=True)
class ReqCompletedOrders(Request):
    apiOnly: bool = row(BOOL)


@dataclass(frozen=True, kw_only=True)
class ReqExecutions(Request):
    """Empty texts and clientId 0 do not filter."""

    reqId: int = row(ID)
    clientId: int = row(INT)
    acctCode: str = row(TEXT)
    #: "YYYYMMDD-HH:MM:SS" or "YYYYMMDD HH:MM:SS [zone]": executions at or after it
    time: str = row(TEXT)
    symbol: str = row(TEXT)
    secType: str = row(TEXT)
    exchange: str = row(TEXT)
    side: str = row(TEXT)


@dataclass(frozen=True, kw_only=True)
class ExerciseOptions(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT_11)
    #: 1 exercise, 2 lapse
    exerciseAction: int = row(INT)
    exerciseQuantity: int = row(INT)
    account: str = row(TEXT)
    override: bool = row(BOOL)


@dataclass(frozen=True, kw_only=True)
class ReqAccountUpdates(Request):
    subscribe: bool = row(BOOL)
    acctCode: str = row(TEXT, optional=True, default="")


@dataclass(frozen=True, kw_only=True)
class ReqAccountUpdatesMulti(Request):
    reqId: int = row(ID)
    account: str = row(TEXT)
    modelCode: str = row(TEXT)
    ledgerAndNLV: bool = row(BOOL)


class CancelAccountUpdatesMulti(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqAccountSummary(Request):
    reqId: int = row(ID)
    groupName: str = row(TEXT)
    #: comma separated
    tags: str = row(TEXT)


class CancelAccountSummary(ByReqId):
    pass


class ReqPositions(BareRequest):
    pass


class CancelPositions(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqPositionsMulti(Request):
    reqId: int = row(ID)
    account: str = row(TEXT)
    modelCode: str = row(TEXT)


class CancelPositionsMulti(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqPnL(Request):
    reqId: int = row(ID)
    account: str = row(TEXT)
    modelCode: str = row(TEXT)


class CancelPnL(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqPnLSingle(Request):
    reqId: int = row(ID)
    account: str = row(TEXT)
    modelCode: str = row(TEXT)
    conId: int = row(INT)


class CancelPnLSingle(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqNewsBulletins(Request):
    allMsgs: bool = row(BOOL)


class CancelNewsBulletins(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqNewsArticle(Request):
    reqId: int = row(ID)
    providerCode: str = row(TEXT)
    articleId: str = row(TEXT)
    newsArticleOptions: Tags = row(TAGS, optional=True, default=())


class ReqNewsProviders(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqHistoricalNews(Request):
    reqId: int = row(ID)
    conId: int = row(INT)
    providerCodes: str = row(TEXT)
    startDateTime: str = row(TEXT)
    endDateTime: str = row(TEXT)
    totalResults: int = row(INT)
    historicalNewsOptions: Tags = row(TAGS, optional=True, default=())


@dataclass(frozen=True, kw_only=True)
class RequestFA(Request):
    #: 1 groups, 2 profiles, 3 aliases
    faDataType: int = row(INT)


@dataclass(frozen=True, kw_only=True)
class ReplaceFA(Request):
    faDataType: int = row(INT)
    xml: str = row(TEXT)
    reqId: int = row(ID)


@dataclass(frozen=True, kw_only=True)
class ReqScannerSubscription(Request):
    reqId: int = row(ID)
    numberOfRows: int | None = row(OPT_INT)
    instrument: str = row(TEXT)
    locationCode: str = row(TEXT)
    scanCode: str = row(TEXT)
    abovePrice: Decimal | None = row(OPT_DECIMAL)
    belowPrice: Decimal | None = row(OPT_DECIMAL)
    aboveVolume: int | None = row(OPT_INT)
    marketCapAbove: Decimal | None = row(OPT_DECIMAL)
    marketCapBelow: Decimal | None = row(OPT_DECIMAL)
    moodyRatingAbove: str = row(TEXT)
    moodyRatingBelow: str = row(TEXT)
    spRatingAbove: str = row(TEXT)
    spRatingBelow: str = row(TEXT)
    maturityDateAbove: str = row(TEXT)
    maturityDateBelow: str = row(TEXT)
    couponRateAbove: Decimal | None = row(OPT_DECIMAL)
    couponRateBelow: Decimal | None = row(OPT_DECIMAL)
    excludeConvertible: bool = row(BOOL)
    averageOptionVolumeAbove: int | None = row(OPT_INT)
    scannerSettingPairs: str = row(TEXT)
    stockTypeFilter: str = row(TEXT)
    filterOptions: Tags = row(TAGS, optional=True, default=())
    subscriptionOptions: Tags = row(TAGS, optional=True, default=())


class CancelScannerSubscription(ByReqId):
    pass


class ReqScannerParameters(BareRequest):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqFundamentalData(Request):
    reqId: int = row(ID)
    conId: int = row(INT)
    symbol: str = row(TEXT)
    secType: str = row(TEXT)
    exchange: str = row(TEXT)
    primaryExchange: str = row(TEXT)
    currency: str = row(TEXT)
    localSymbol: str = row(TEXT)
    reportType: str = row(TEXT)
    #: [count,] options: some clients leave the count out
    options: tuple[str, ...] = row(Rest(), default=())


class CancelFundamentalData(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class CalculateImpliedVolatility(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    optionPrice: float | None = row(OPT_NUMBER)
    underPrice: float | None = row(OPT_NUMBER)
    #: [count,] options: some clients leave the count out
    options: tuple[str, ...] = row(Rest(), default=())


@dataclass(frozen=True, kw_only=True)
class CalculateOptionPrice(Request):
    reqId: int = row(ID)
    contract: Contract = row(CONTRACT)
    volatility: float | None = row(OPT_NUMBER)
    underPrice: float | None = row(OPT_NUMBER)
    #: [count,] options: some clients leave the count out
    options: tuple[str, ...] = row(Rest(), default=())


class CancelCalculateImpliedVolatility(ByReqId):
    pass


class CancelCalculateOptionPrice(ByReqId):
    pass


class ReqWshMetaData(ByReqId):
    pass


class CancelWshMetaData(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class ReqWshEventData(Request):
    reqId: int = row(ID)
    conId: int | None = row(OPT_INT)
    filter: str = row(TEXT, since=171, default="")
    fillWatchlist: bool = row(BOOL, since=171, default=False)
    fillPortfolio: bool = row(BOOL, since=171, default=False)
    fillCompetitors: bool = row(BOOL, since=171, default=False)
    startDate: str = row(TEXT, since=173, default="")
    endDate: str = row(TEXT, since=173, default="")
    totalLimit: int | None = row(OPT_INT, since=173, default=None)


class CancelWshEventData(ByReqId):
    pass


class ReqUserInfo(ByReqId):
    pass


class QueryDisplayGroups(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class SubscribeToGroupEvents(Request):
    reqId: int = row(ID)
    groupId: int = row(INT)


@dataclass(frozen=True, kw_only=True)
class UpdateDisplayGroup(Request):
    reqId: int = row(ID)
    contractInfo: str = row(TEXT)


class UnsubscribeFromGroupEvents(ByReqId):
    pass


@dataclass(frozen=True, kw_only=True)
class VerifyRequest(Request):
    apiName: str = row(TEXT)
    apiVersion: str = row(TEXT)


@dataclass(frozen=True, kw_only=True)
class VerifyMessage(Request):
    apiData: str = row(TEXT)


@dataclass(frozen=True, kw_only=True)
class VerifyAndAuthRequest(Request):
    apiName: str = row(TEXT)
    apiVersion: str = row(TEXT)
    opaqueIsvKey: str = row(TEXT)


@dataclass(frozen=True, kw_only=True)
class VerifyAndAuthMessage(Request):
    apiData: str = row(TEXT)
    xyzResponse: str = row(TEXT)
