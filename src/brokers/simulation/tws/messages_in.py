"""Every request id of the protocol: what it is, and whether this gateway serves it or says IB's no.

    REQUESTS                                     the one table, by message id
    parse(server_version, fields) -> Request     a subclass from `requests` or `orders_in`
                                                 raises MalformedRequest, never anything else
    spec_of(request) -> RequestSpec              name and disposition of a parsed request
    write(server_version, request) -> list[str]  the inverse, for tests and tools

Reading is tolerant as TWS is: unset as "" or as the largest double or int, any value in a message's own version
field, more fields than known, and the options that some clients leave off the end. Reference section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ProtocolViolation
from . import requests as r
from .fields import Layout, PartialRead, Reader, version_field
from .orders_in import PlaceOrderRequest
from .request import Request, rows_of

#: IB: "Server error when reading an API client request."
READING_ERROR = 320
_WAY_OUT = "check the client against the negotiated server version"


class MalformedRequest(ProtocolViolation):
    """A request that cannot be read. The connection stays: TWS answers error 320 to `subject`.

    message: name of the request, or "message <id>"; field: the one that failed, or "".
    subject: the reqId or orderId where it could be read, else -1.
    """

    def __init__(self, message: str, field: str, reason: str, subject: int = -1) -> None:
        self.message = message
        self.field = field
        self.reason = reason
        self.subject = subject
        where = f"{message}.{field}" if field else message
        super().__init__(f"Error reading request. Unable to parse data. {where}", reason, _WAY_OUT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """IB's error for a request that this gateway does not serve. `{r.…}` in the text is filled from the request."""

    code: int
    text: str

    def word(self, request: Request) -> str:
        return self.text.format(r=request)


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One row of the table; `refusal` None means that the gateway serves it."""

    id: int
    name: str
    layout: Layout
    cls: type[Request]
    refusal: Refusal | None

    @property
    def handled(self) -> bool:
        return self.refusal is None


def _row(
    number: int, name: str, version: int | None, cls: type[Request], refusal: Refusal | None = None
) -> RequestSpec:
    head = () if version is None else (version_field(version),)
    return RequestSpec(number, name, Layout((*head, *rows_of(cls))), cls, refusal)


def _cannot(name: str, why: str) -> Refusal:
    return Refusal(322, f"Error processing request.-'{name}' : cause - {why}")


_NOT_ADVISOR = "Error validating request.-'{}' : cause - FA data operations ignored for non FA customers."
_NO_NEWS = Refusal(10276, "News feed is not allowed.")
_NO_TICKER = Refusal(300, "Can't find EId with tickerId:{r.reqId}")
_NO_GROUPS = "Display groups need the windows of Trader Workstation"
_NO_VERIFY = "Verification of third-party API programs is not available"
HANDLED = None

_TABLE: tuple[RequestSpec, ...] = (
    _row(1, "reqMktData", 11, r.ReqMktData, HANDLED),
    _row(2, "cancelMktData", 2, r.CancelMktData, HANDLED),
    _row(3, "placeOrder", None, PlaceOrderRequest, HANDLED),
    _row(4, "cancelOrder", 1, r.CancelOrder, HANDLED),
    _row(5, "reqOpenOrders", 1, r.ReqOpenOrders, HANDLED),
    _row(6, "reqAccountUpdates", 2, r.ReqAccountUpdates, HANDLED),
    _row(7, "reqExecutions", 3, r.ReqExecutions, HANDLED),
    _row(8, "reqIds", 1, r.ReqIds, HANDLED),
    _row(9, "reqContractDetails", 8, r.ReqContractDetails, HANDLED),
    _row(10, "reqMktDepth", 5, r.ReqMktDepth, HANDLED),
    _row(11, "cancelMktDepth", 1, r.CancelMktDepth, HANDLED),
    _row(12, "reqNewsBulletins", 1, r.ReqNewsBulletins, HANDLED),
    _row(13, "cancelNewsBulletins", 1, r.CancelNewsBulletins, HANDLED),
    _row(14, "setServerLogLevel", 1, r.SetServerLogLevel, HANDLED),
    _row(15, "reqAutoOpenOrders", 1, r.ReqAutoOpenOrders, HANDLED),
    _row(16, "reqAllOpenOrders", 1, r.ReqAllOpenOrders, HANDLED),
    _row(17, "reqManagedAccts", 1, r.ReqManagedAccts, HANDLED),
    _row(18, "requestFA", 1, r.RequestFA, Refusal(321, _NOT_ADVISOR.format("requestFA"))),
    _row(19, "replaceFA", 1, r.ReplaceFA, Refusal(321, _NOT_ADVISOR.format("replaceFA"))),
    _row(20, "reqHistoricalData", None, r.ReqHistoricalData, HANDLED),
    _row(
        21,
        "exerciseOptions",
        2,
        r.ExerciseOptions,
        _cannot("exerciseOptions", "Option exercise is not available for this account"),
    ),
    _row(22, "reqScannerSubscription", None, r.ReqScannerSubscription, HANDLED),
    _row(23, "cancelScannerSubscription", 1, r.CancelScannerSubscription, HANDLED),
    _row(24, "reqScannerParameters", 1, r.ReqScannerParameters, HANDLED),
    _row(25, "cancelHistoricalData", 1, r.CancelHistoricalData, HANDLED),
    _row(49, "reqCurrentTime", 1, r.ReqCurrentTime, HANDLED),
    _row(50, "reqRealTimeBars", 3, r.ReqRealTimeBars, HANDLED),
    _row(51, "cancelRealTimeBars", 1, r.CancelRealTimeBars, HANDLED),
    _row(52, "reqFundamentalData", 2, r.ReqFundamentalData, HANDLED),
    _row(53, "cancelFundamentalData", 1, r.CancelFundamentalData, HANDLED),
    _row(54, "calculateImpliedVolatility", 3, r.CalculateImpliedVolatility, HANDLED),
    _row(55, "calculateOptionPrice", 3, r.CalculateOptionPrice, HANDLED),
    _row(56, "cancelCalculateImpliedVolatility", 1, r.CancelCalculateImpliedVolatility, HANDLED),
    _row(57, "cancelCalculateOptionPrice", 1, r.CancelCalculateOptionPrice, HANDLED),
    _row(58, "reqGlobalCancel", 1, r.ReqGlobalCancel, HANDLED),
    _row(59, "reqMarketDataType", 1, r.ReqMarketDataType, HANDLED),
    _row(61, "reqPositions", 1, r.ReqPositions, HANDLED),
    _row(62, "reqAccountSummary", 1, r.ReqAccountSummary, HANDLED),
    _row(63, "cancelAccountSummary", 1, r.CancelAccountSummary, HANDLED),
    _row(64, "cancelPositions", 1, r.CancelPositions, HANDLED),
    # 65-70, 72 and 73 are not in reference section 2.2: they drive windows and partner logins that only TWS has
    _row(65, "verifyRequest", 1, r.VerifyRequest, _cannot("verifyRequest", _NO_VERIFY)),
    _row(66, "verifyMessage", 1, r.VerifyMessage, _cannot("verifyMessage", _NO_VERIFY)),
    _row(67, "queryDisplayGroups", 1, r.QueryDisplayGroups, _cannot("queryDisplayGroups", _NO_GROUPS)),
    _row(68, "subscribeToGroupEvents", 1, r.SubscribeToGroupEvents, _cannot("subscribeToGroupEvents", _NO_GROUPS)),
    _row(69, "updateDisplayGroup", 1, r.UpdateDisplayGroup, _cannot("updateDisplayGroup", _NO_GROUPS)),
    _row(
        70,
        "unsubscribeFromGroupEvents",
        1,
        r.UnsubscribeFromGroupEvents,
        _cannot("unsubscribeFromGroupEvents", _NO_GROUPS),
    ),
    _row(71, "startApi", 2, r.StartApi, HANDLED),
    _row(72, "verifyAndAuthRequest", 1, r.VerifyAndAuthRequest, _cannot("verifyAndAuthRequest", _NO_VERIFY)),
    _row(73, "verifyAndAuthMessage", 1, r.VerifyAndAuthMessage, _cannot("verifyAndAuthMessage", _NO_VERIFY)),
    _row(74, "reqPositionsMulti", 1, r.ReqPositionsMulti, HANDLED),
    _row(75, "cancelPositionsMulti", 1, r.CancelPositionsMulti, HANDLED),
    _row(76, "reqAccountUpdatesMulti", 1, r.ReqAccountUpdatesMulti, HANDLED),
    _row(77, "cancelAccountUpdatesMulti", 1, r.CancelAccountUpdatesMulti, HANDLED),
    _row(78, "reqSecDefOptParams", None, r.ReqSecDefOptParams, HANDLED),
    _row(79, "reqSoftDollarTiers", None, r.ReqSoftDollarTiers, HANDLED),
    _row(80, "reqFamilyCodes", None, r.ReqFamilyCodes, HANDLED),
    _row(81, "reqMatchingSymbols", None, r.ReqMatchingSymbols, HANDLED),
    _row(82, "reqMktDepthExchanges", None, r.ReqMktDepthExchanges, HANDLED),
    _row(83, "reqSmartComponents", None, r.ReqSmartComponents, HANDLED),
    _row(84, "reqNewsArticle", None, r.ReqNewsArticle, HANDLED),
    _row(85, "reqNewsProviders", None, r.ReqNewsProviders, HANDLED),
    _row(86, "reqHistoricalNews", None, r.ReqHistoricalNews, HANDLED),
    _row(87, "reqHeadTimeStamp", None, r.ReqHeadTimeStamp, HANDLED),
    _row(
        88,
        "reqHistogramData",
        None,
        r.ReqHistogramData,
        Refusal(
            10188,
            "Failed to request histogram data:No market data permissions for "
            "{r.contract.exchange} {r.contract.secType}",
        ),
    ),
    _row(89, "cancelHistogramData", None, r.CancelHistogramData, _NO_TICKER),
    _row(90, "cancelHeadTimeStamp", None, r.CancelHeadTimeStamp, HANDLED),
    _row(91, "reqMarketRule", None, r.ReqMarketRule, HANDLED),
    _row(92, "reqPnL", None, r.ReqPnL, HANDLED),
    _row(93, "cancelPnL", None, r.CancelPnL, HANDLED),
    _row(94, "reqPnLSingle", None, r.ReqPnLSingle, HANDLED),
    _row(95, "cancelPnLSingle", None, r.CancelPnLSingle, HANDLED),
    _row(96, "reqHistoricalTicks", None, r.ReqHistoricalTicks, HANDLED),
    _row(97, "reqTickByTickData", None, r.ReqTickByTickData, HANDLED),
    _row(98, "cancelTickByTickData", None, r.CancelTickByTickData, HANDLED),
    _row(99, "reqCompletedOrders", None, r.ReqCompletedOrders, HANDLED),
    _row(100, "reqWshMetaData", None, r.ReqWshMetaData, _NO_NEWS),
    _row(101, "cancelWshMetaData", None, r.CancelWshMetaData, Refusal(10280, "Failed cancel WSH metadata")),
    _row(102, "reqWshEventData", None, r.ReqWshEventData, _NO_NEWS),
    _row(103, "cancelWshEventData", None, r.CancelWshEventData, Refusal(10284, "Fail cancel WSH event data")),
    _row(104, "reqUserInfo", None, r.ReqUserInfo, _cannot("reqUserInfo", "White branding is not available")),
)

#: by message id
REQUESTS: dict[int, RequestSpec] = {spec.id: spec for spec in _TABLE}
_BY_CLASS: dict[type[Request], RequestSpec] = {spec.cls: spec for spec in _TABLE}


def spec_of(request: Request) -> RequestSpec:
    return _BY_CLASS[type(request)]


def parse(server_version: int, fields: Sequence[str]) -> Request:
    """The request in these fields (message id first). Raises MalformedRequest and nothing else."""
    spec = _spec(fields)
    reader = Reader(fields)
    reader.at = 1
    try:
        values = spec.layout.at(server_version).read(reader)
    except PartialRead as problem:
        values = problem.values
        subject = values.get("reqId", values.get("orderId", -1))
        raise MalformedRequest(spec.name, problem.path, problem.reason, subject) from None
    # A frozen __init__ sets attributes one by one, which is half the cost of an order; rows that this version does
    # not carry, or whose `when` does not hold, keep the class's defaults.
    request = object.__new__(spec.cls)
    request.__dict__.update(values)
    return request


def _spec(fields: Sequence[str]) -> RequestSpec:
    number = fields[0] if fields else ""
    if not (number.isascii() and number.isdigit() and len(number) < 5):
        raise MalformedRequest("message", "id", f"expected a message id, got {number[:40]!r}")
    spec = REQUESTS.get(int(number))
    if spec is None:
        raise MalformedRequest(f"message {number}", "id", "no request has this id")
    return spec


def write(server_version: int, request: Request) -> list[str]:
    """The fields that a client would send; the inverse of `parse`."""
    spec = spec_of(request)
    plan = spec.layout.at(server_version)
    out = [str(spec.id)]
    plan.write({name: getattr(request, name) for name in plan.names}, out)
    return out
