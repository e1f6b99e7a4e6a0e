"""IB's error codes as one table: what each means, what it does to orders, requests and the link, what to do next.

A code that is not here has no effect on any order: only order status, open orders and executions end one. The same
number may mean different things to a new order and to a live one, so an order's effect is looked up by its phase.

Sources, abbreviated in the rows: `doc` IB's list of TWS API message codes; `P n` section n of the notes on the
socket protocol (tws-protocol.md); `F xnn` row xnn of the catalogue of faults (faults.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class OrderPhase(Enum):
    """Where an order stands when the error arrives."""

    #: Sent, and the broker has not echoed it.
    NEW = "new"
    #: Live, with a change sent that the broker has not echoed.
    MODIFYING = "modifying"
    #: Echoed by the broker, nothing of ours in flight but perhaps a cancel.
    LIVE = "live"


class OrderEffect(Enum):
    NONE = "none"
    #: The new order never worked.
    REJECTED = "rejected"
    #: The change was refused; the order is live as it was.
    MODIFY_REJECTED = "modify_rejected"
    #: The cancel was refused; the order is live, or was done before.
    CANCEL_REJECTED = "cancel_rejected"
    #: The cancel is confirmed; a fill that crossed it still counts.
    CANCELLED = "cancelled"
    #: The order's fate must be asked for (open orders, executions, completed orders).
    UNKNOWN = "unknown"


class RequestEffect(Enum):
    NONE = "none"
    #: The query is over, without an answer.
    FAILS = "fails"
    #: The query is over, and the answer is "nothing".
    EMPTY_RESULT = "empty_result"
    #: The stream delivers nothing more; a query with this code fails.
    STREAM_ENDS = "stream_ends"
    #: The answer or the data still comes, perhaps delayed or in part.
    ADVISORY = "advisory"


class ConnectionEffect(Enum):
    NONE = "none"
    #: TWS lost IB's servers; the socket stays, orders may fill unseen.
    LINK_LOST = "link_lost"
    LINK_RESTORED_KEPT = "link_restored_kept"
    #: Restored, and every subscription must be made again.
    LINK_RESTORED_LOST = "link_restored_lost"
    FARM_DOWN = "farm_down"
    FARM_UP = "farm_up"
    #: Asleep until somebody asks; not a fault.
    FARM_IDLE = "farm_idle"
    FARM_CONNECTING = "farm_connecting"
    PORT_CHANGED = "port_changed"
    CLIENT_ID_IN_USE = "client_id_in_use"
    #: The peer counts violations and drops the connection after a few.
    RATE_EXCEEDED = "rate_exceeded"
    #: The peer could not read what it was sent, or the versions do not fit.
    PROTOCOL_ERROR = "protocol_error"


class Farm(Enum):
    MARKET_DATA = "market data"
    HISTORICAL = "historical data"
    DEFINITIONS = "security definitions"


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row. `action` is what to do next, in words for a log or a person."""

    code: int
    meaning: str
    severity: Severity
    action: str
    source: str
    on_new: OrderEffect = OrderEffect.NONE
    on_modify: OrderEffect = OrderEffect.NONE
    on_live: OrderEffect = OrderEffect.NONE
    request: RequestEffect = RequestEffect.NONE
    connection: ConnectionEffect = ConnectionEffect.NONE
    farm: Farm | None = None
    #: False for the row that stands in for a code outside the table.
    known: bool = True

    def order_effect(self, phase: OrderPhase) -> OrderEffect:
        if phase is OrderPhase.NEW:
            return self.on_new
        return self.on_modify if phase is OrderPhase.MODIFYING else self.on_live


_I, _W, _E = Severity.INFO, Severity.WARNING, Severity.ERROR
_O = OrderEffect
_R = RequestEffect
_C = ConnectionEffect


def _refusal(code: int, meaning: str, action: str, source: str = "doc", request: _R = _R.FAILS) -> ErrorCode:
    """Refused because of its content: a new order never worked, a live one stays as it was."""
    effects = (_O.REJECTED, _O.MODIFY_REJECTED, _O.MODIFY_REJECTED)
    return ErrorCode(code, meaning, _E, action, source, *effects, request)


def _rejection(code: int, meaning: str, action: str, source: str = "doc") -> ErrorCode:
    """Refused by the broker or an exchange, which may happen to a live order too: then its status must tell."""
    return ErrorCode(code, meaning, _E, action, source, _O.REJECTED, _O.MODIFY_REJECTED, _O.UNKNOWN, _R.FAILS)


def _cancel_refusal(code: int, meaning: str, action: str, source: str = "doc") -> ErrorCode:
    effects = (_O.CANCEL_REJECTED, _O.CANCEL_REJECTED, _O.CANCEL_REJECTED)
    return ErrorCode(code, meaning, _E, action, source, *effects, _R.FAILS)


def _warning(code: int, meaning: str, action: str, source: str = "doc", request: _R = _R.ADVISORY) -> ErrorCode:
    return ErrorCode(code, meaning, _W, action, source, request=request)


def _failure(code: int, meaning: str, action: str, source: str = "doc", request: _R = _R.FAILS) -> ErrorCode:
    return ErrorCode(code, meaning, _E, action, source, request=request)


def _link(
    code: int,
    meaning: str,
    connection: _C,
    action: str,
    source: str = "doc",
    severity: Severity = _E,
    farm: Farm | None = None,
    request: _R = _R.NONE,
) -> ErrorCode:
    return ErrorCode(code, meaning, severity, action, source, request=request, connection=connection, farm=farm)


_FIX = "correct the order; nothing is working"
_RECONCILE = "read open orders, executions and positions, and compare"
_SUBSCRIBE = "subscribe to the data in Client Portal, or ask for delayed data (market data type 3)"

_ROWS: tuple[ErrorCode, ...] = (
    # sending too much, or with a bad id
    _link(
        100,
        "more than 50 messages a second",
        _C.RATE_EXCEEDED,
        "slow down; three times and IB disconnects",
        "P 2.6, F C22",
    ),
    _failure(101, "too many market data lines", "end a stream first, or buy a booster pack", "F D12", _R.STREAM_ENDS),
    _failure(102, "duplicate ticker id", "use a fresh request id", "P 2.6"),
    ErrorCode(
        103,
        "duplicate order id",
        _E,
        "take ids from one allocator above the highest seen",
        "F O20",
        _O.REJECTED,
        _O.MODIFY_REJECTED,
        _O.NONE,
    ),
    ErrorCode(
        104,
        "a filled order cannot be modified",
        _E,
        "await the executions",
        "F O21",
        _O.UNKNOWN,
        _O.MODIFY_REJECTED,
        _O.MODIFY_REJECTED,
    ),
    ErrorCode(
        105,
        "the change does not match the original order",
        _E,
        "modify from the broker's echo",
        "F O21",
        _O.UNKNOWN,
        _O.MODIFY_REJECTED,
        _O.MODIFY_REJECTED,
    ),
    _refusal(106, "the order cannot be transmitted", _FIX),
    _refusal(107, "the order is incomplete", _FIX),
    _refusal(109, "the price is outside the precaution's percentage", "bring the price nearer to the market"),
    _refusal(
        110, "the price is off the minimum price variation", "round to the market rule at that price", "F O26, O04"
    ),
    _refusal(111, "order type and time in force do not go together", _FIX, "F O46"),
    _refusal(113, "market or limit on close must be DAY", _FIX, "F O45"),
    _refusal(116, "the exchange takes no orders now", "wait for it, or route elsewhere"),
    _refusal(117, "the block order is too small", _FIX),
    _refusal(131, "sweep to fill needs a display size of zero", _FIX),
    _refusal(132, "the order needs a clearing account", _FIX),
    _rejection(133, "the order could not be submitted", "read open orders before sending it again"),
    ErrorCode(
        134,
        "the order could not be modified",
        _E,
        "the order is live as it was",
        "doc",
        _O.UNKNOWN,
        _O.MODIFY_REJECTED,
        _O.MODIFY_REJECTED,
    ),
    _refusal(135, "no order of this id to change or attach to", "the parent is gone: clear parentId", "F O22, O04"),
    _cancel_refusal(136, "the order cannot be cancelled", "await its status"),
    _refusal(140, "the size must be a whole number", _FIX),
    _refusal(141, "the price must be a number", _FIX),
    _refusal(144, "the order type is missing", _FIX),
    _refusal(145, "a field of the order does not validate", _FIX),
    _refusal(146, "invalid trigger method", _FIX),
    _refusal(147, "the condition's contract is incomplete", _FIX),
    _refusal(152, "hidden orders are not supported here", _FIX),
    _rejection(154, "the security is halted", "wait for the resumption"),
    _refusal(157, "iceberg or discretionary, not both", _FIX),
    _refusal(158, "a trailing order needs its offset", _FIX),
    _refusal(159, "trail by amount or by per cent, not both", _FIX),
    _cancel_refusal(
        161, "the order is not in a state that can be cancelled", "await its status or executions", "F O05"
    ),
    _failure(162, "historical data service error", "pacing: wait; no data: treat as empty", "F H01, H02"),
    _refusal(163, "the price violates the percentage constraint", "bring the price nearer to the market"),
    _warning(164, "no market data to check the price against", "check the price yourself", "P 2.6"),
    _warning(165, "historical data service: nothing found", "treat as empty", "P 4.3", _R.EMPTY_RESULT),
    _failure(166, "no data for an expired contract", "ask without includeExpired, or for another contract"),
    _refusal(168, "the discretionary amount is off the minimum price variation", _FIX),
    # contracts and the two classic answers to an order
    _rejection(
        200,
        "no security definition, or an ambiguous one",
        "qualify the contract; during a farm outage ask again later",
        "F O28, H10",
    ),
    _rejection(201, "order rejected", "read the reason and the JSON; correct the order", "P 2.6"),
    ErrorCode(
        202,
        "order cancelled",
        _I,
        "book fills that cross it; the cancel is confirmed",
        "F O06",
        _O.CANCELLED,
        _O.CANCELLED,
        _O.CANCELLED,
    ),
    _rejection(203, "the security is not allowed for this account", "check trading permissions", "F O28"),
    # requests and streams
    _failure(300, "no stream of this ticker id", "harmless after a cancel", "F D13"),
    _failure(301, "invalid ticker action", "correct the request"),
    _failure(302, "the ticker request could not be parsed", "correct the request"),
    _failure(303, "invalid action", "correct the request"),
    _failure(305, "the request could not be parsed", "correct the request"),
    _failure(308, "the depth request could not be parsed", "correct the request"),
    _failure(309, "more than 3 market depth requests", "end a depth stream first", "F D12", _R.STREAM_ENDS),
    _failure(310, "no market depth of this id", "harmless after a cancel"),
    _failure(311, "invalid exchange for market depth", "take the exchange from the depth exchanges"),
    _failure(312, "combo details are invalid", "correct the legs"),
    _failure(313, "a combo leg is invalid", "correct the leg"),
    _failure(314, "a combo leg needs a size", "correct the leg"),
    _failure(316, "market depth was halted", "subscribe again", request=_R.STREAM_ENDS),
    _warning(317, "market depth was reset", "drop the book and take what follows as new", "F D11"),
    _failure(319, "invalid log level", "use 1 to 5"),
    _refusal(320, "the server could not read the request", "correct the request", "P 2.6"),
    _refusal(321, "the server refused the request as invalid", "correct the request or the size", "F O04, O27"),
    _refusal(
        322, "the server could not process the request", "correct it; often a duplicate id or too many at once", "P 2.6"
    ),
    _refusal(323, "server error", "try later; read open orders first"),
    _refusal(325, "discretionary orders are not supported here", _FIX),
    _link(
        326,
        "the client id is in use",
        _C.CLIENT_ID_IN_USE,
        "close the other connection, or wait and try the same id",
        "F C07",
    ),
    _failure(327, "only client id 0 may bind orders automatically", "connect as client 0"),
    _refusal(328, "trailing stops attach to limit or stop-limit orders only", _FIX),
    _refusal(329, "the order type cannot be changed to this one", "cancel and place anew", "F O04"),
    _failure(330, "managed accounts are for advisors only", "do not ask for them"),
    _failure(332, "invalid account code", "take it from the managed accounts"),
    _refusal(334, "invalid good-till date", _FIX),
    _refusal(335, "invalid good-after time", _FIX),
    _failure(336, "invalid time or time zone", "use yyyymmdd-hh:mm:ss, which is UTC"),
    _refusal(337, "invalid date, time or zone", _FIX),
    _refusal(343, "a GTD order needs its date", _FIX),
    _refusal(347, "a short sale slot needs a designated location", _FIX),
    _failure(354, "no subscription to this market data", _SUBSCRIBE, "F D05", _R.STREAM_ENDS),
    _refusal(355, "the size is off the market rule", _FIX),
    _refusal(361, "invalid trigger price", _FIX),
    _refusal(362, "invalid adjusted stop price", _FIX),
    _failure(364, "no scanner of this id", "harmless after a cancel"),
    _failure(365, "no scanner subscription of this id", "harmless after a cancel"),
    _failure(366, "no historical query of this id", "harmless after a cancel or a late answer", "F H03"),
    _refusal(382, "the size violates the precaution", "lower the size or the precaution in TWS"),
    _refusal(383, "the size exceeds the precaution's limit", "lower the size or the precaution in TWS"),
    _refusal(387, "the order type is not supported for this exchange and security", _FIX, "F O45"),
    _refusal(388, "the size is below the minimum", _FIX),
    _refusal(392, "the contract has expired", _FIX),
    _warning(399, "order message, often 'held until the open'", "read the text; the order is live", "F O29"),
    _refusal(400, "algo order error", _FIX),
    _refusal(403, "invalid stop price", _FIX),
    _warning(404, "shares are being located; the order is held", "wait; the order is live", "F O30"),
    _refusal(405, "the child's size must equal the parent's", _FIX),
    _refusal(406, "the currency is not allowed", _FIX),
    _refusal(412, "the contract is not available for trading", _FIX),
    _failure(420, "real-time query refused: pacing", "wait, then ask again", "P 2.6"),
    _failure(430, "fundamental data is not available", "there is none for this security", "P 2.6"),
    _refusal(434, "the size cannot be zero", _FIX, "P 4.3"),
    _refusal(435, "the order needs an account", _FIX),
    _refusal(436, "the order needs an allocation", _FIX),
    _refusal(437, "only one of the two session flags may be set", _FIX),
    _refusal(438, "TWS is locked", "unlock TWS"),
    _refusal(439, "no such algorithm", _FIX),
    _refusal(440, "an algorithm cannot be changed", "cancel and place anew"),
    _refusal(441, "the algorithm's parameters do not validate", _FIX),
    _rejection(460, "no trading permission", "request it in Client Portal", "F O28"),
    _warning(481, "the size was changed by the broker", "compare the echo with what was asked"),
    _warning(492, "order message", "read the text; the order is live", "P 4.3"),
    # the client library's own numbers, as TWS echoes some of them
    _link(501, "already connected", _C.NONE, "nothing", severity=_I),
    _link(502, "TWS cannot be reached", _C.PROTOCOL_ERROR, "enable the API in TWS and check the port"),
    _link(503, "TWS is too old", _C.PROTOCOL_ERROR, "update TWS"),
    _link(504, "not connected", _C.PROTOCOL_ERROR, "connect first"),
    _link(505, "unknown message id", _C.PROTOCOL_ERROR, "this client and TWS do not fit together"),
    _link(506, "unsupported version", _C.PROTOCOL_ERROR, "this client and TWS do not fit together"),
    _link(507, "bad message length", _C.PROTOCOL_ERROR, "reconnect, then read open orders"),
    _link(508, "bad message", _C.PROTOCOL_ERROR, "reconnect, then read open orders"),
    # TWS and IB's servers
    _link(1100, "TWS lost IB's servers", _C.LINK_LOST, "wait; place and change nothing until 1101 or 1102", "F C01"),
    _link(1101, "restored, subscriptions lost", _C.LINK_RESTORED_LOST, f"subscribe again; {_RECONCILE}", "F C02", _W),
    _link(1102, "restored, subscriptions kept", _C.LINK_RESTORED_KEPT, _RECONCILE, "F C01", _I),
    _link(1300, "the socket port changed", _C.PORT_CHANGED, "connect to the port in the text", "F C06"),
    _warning(2100, "account updates were taken over by another request", "subscribe again if they are needed"),
    _warning(
        2101,
        "another client holds this account's updates",
        "use account summary or positions instead",
        request=_R.FAILS,
    ),
    ErrorCode(
        2102,
        "the order is still being processed and cannot be changed yet",
        _W,
        "change it after its echo",
        "doc",
        _O.NONE,
        _O.MODIFY_REJECTED,
        _O.NONE,
    ),
    _link(
        2103,
        "market data farm down",
        _C.FARM_DOWN,
        "keep the session; probe and resubscribe when it is back",
        "F C03",
        _W,
        Farm.MARKET_DATA,
    ),
    _link(2104, "market data farm up", _C.FARM_UP, "check that its streams deliver", "F C03", _I, Farm.MARKET_DATA),
    _link(
        2105,
        "historical data farm down",
        _C.FARM_DOWN,
        "hold historical requests until 2106",
        "F C04",
        _W,
        Farm.HISTORICAL,
    ),
    _link(2106, "historical data farm up", _C.FARM_UP, "send what was held", "F C04", _I, Farm.HISTORICAL),
    _link(
        2107, "historical data farm idle", _C.FARM_IDLE, "nothing; it wakes on request", "F C04", _I, Farm.HISTORICAL
    ),
    _link(2108, "market data farm idle", _C.FARM_IDLE, "nothing; it wakes on request", "F C04", _I, Farm.MARKET_DATA),
    _warning(2109, "outsideRth is ignored for this order", "nothing; the order is live", "P 4.4"),
    _link(
        2110, "TWS lost its server and is reconnecting", _C.LINK_LOST, f"wait as after 1100; then {_RECONCILE}", "F C05"
    ),
    _link(2119, "market data farm connecting", _C.FARM_CONNECTING, "wait for 2104", "P 2.6", _I, Farm.MARKET_DATA),
    _warning(2137, "the order crosses an existing position", "check that the size is meant; the order is live"),
    _warning(2148, "the price was capped or adjusted", "compare the echo with what was asked"),
    _warning(2150, "a derived value is invalid", "ignore the value", "P 4.3"),
    _warning(2152, "part of the market depth needs a subscription", "the rest of the book is delivered"),
    _link(
        2157, "security definition farm down", _C.FARM_DOWN, "believe no 200 until 2158", "F H10", _W, Farm.DEFINITIONS
    ),
    _link(
        2158,
        "security definition farm up",
        _C.FARM_UP,
        "ask again for contracts that failed",
        "P 1",
        _I,
        Farm.DEFINITIONS,
    ),
    _warning(2161, "the exchange's price cap was applied", "compare the echo with what was asked"),
    _warning(2168, "eTradeOnly is not supported and was ignored", "leave it out"),
    _warning(2169, "firmQuoteOnly is not supported and was ignored", "leave it out"),
    _warning(2174, "a time without a zone was given", "use yyyymmdd-hh:mm:ss, which is UTC", "F H06"),
    _warning(2176, "a fractional size was rounded", "compare sizes with care"),
    # the newer range
    _refusal(10006, "the parent order is missing", "send the parent first", "doc"),
    _refusal(10020, "the display size is too small", _FIX),
    _refusal(10052, "invalid time in force", _FIX),
    _failure(10089, "the market data needs an API subscription", _SUBSCRIBE, "F D05", _R.STREAM_ENDS),
    _warning(10090, "part of the market data is not subscribed", "the rest is delivered", "F D05"),
    _cancel_refusal(10147, "the order to cancel was not found", _RECONCILE, "F O05, O35"),
    _cancel_refusal(
        10148,
        "the order cannot be cancelled in its state",
        "Filled: await the executions; else await its status",
        "F O05",
    ),
    _warning(10167, "delayed data is shown for want of a subscription", "mark the quotes as delayed", "F D05"),
    _failure(10168, "no subscription, and delayed data is off", _SUBSCRIBE, "F D05", _R.STREAM_ENDS),
    _failure(10182, "the live bar updates were dropped", "subscribe again and fill the gap", "F D02", _R.STREAM_ENDS),
    _failure(10185, "no P&L subscription of this id", "harmless after a cancel"),
    _failure(10186, "no subscription, and delayed data is off", _SUBSCRIBE, "P 2.6", _R.STREAM_ENDS),
    _failure(10187, "historical ticks were refused", "read the text: pacing, permission or no data", "P 2.6"),
    _failure(10188, "histogram data was refused", "read the text"),
    _failure(
        10189,
        "tick-by-tick data was refused",
        "read the text: permission, or another stream of this contract",
        request=_R.STREAM_ENDS,
    ),
    _failure(10190, "too many tick-by-tick streams", "end one first", "F D12", _R.STREAM_ENDS),
    _warning(
        10197,
        "no market data while another session uses this username",
        "watch the feed; subscribe again when that session ends",
        "F D01",
    ),
    _failure(10225, "a bust event ended the bars", "subscribe again", "P 2.6", _R.STREAM_ENDS),
    _refusal(10230, "unsaved advisor changes are open in TWS", "save them in TWS"),
    _refusal(10243, "fractional sizes cannot be traded over the API", "use whole shares", "F O47"),
    _refusal(10268, "eTradeOnly is not supported", "leave it out"),
    _refusal(10269, "firmQuoteOnly is not supported", "leave it out"),
    _refusal(10270, "nbboPriceCap is not supported", "leave it out"),
    _failure(10276, "this news feed is not allowed", "subscribe to it for the API"),
    _failure(10358, "fundamental data is not allowed", "take it from elsewhere; TWS API 10.47 removed it"),
    _failure(10278, "a calendar metadata request is running", "await it"),
    _failure(10285, "this API version lacks fractional sizes", "use server version 163 or later", "F D08"),
    _refusal(10289, "this order needs a cash quantity", _FIX),
    _warning(
        10311,
        "the order is routed directly; a precaution asks about it",
        "await its status; bypass API precautions in TWS",
        "P 4.4, F O02",
    ),
    _failure(10314, "the end date is not in a form that IB reads", "use yyyymmdd-hh:mm:ss, which is UTC", "F H06"),
    _refusal(10318, "the order cannot be changed this way", "the original is live as it was", "F O04"),
    _refusal(10326, "a member of an OCA group cannot be revised", "leave its OCA fields as they are", "F O22, O04"),
    _warning(
        10349,
        "the time in force was set by a preset",
        "compare the echo with what was asked; the order is live",
        "F O03",
    ),
)

#: The table. Look codes up with `error_code`, which also answers for codes that are not in it.
ERROR_CODES: Mapping[int, ErrorCode] = MappingProxyType({row.code: row for row in _ROWS})

#: IB keeps this range for warnings and notices; an unlisted code in it must not fail a request.
WARNING_RANGE = range(2100, 2200)


def error_code(code: int) -> ErrorCode:
    """The row of a code. An unknown one touches no order; it fails the query it names, unless it is a warning."""
    row = ERROR_CODES.get(code)
    if row is not None:
        return row
    warning = code in WARNING_RANGE
    return ErrorCode(
        code,
        "a code outside the table",
        _W if warning else _E,
        "read the text; wait for the order's own status",
        "none",
        request=_R.ADVISORY if warning else _R.FAILS,
        known=False,
    )


_NO_DATA = re.compile(r"returned no data|no items retrieved|no data of type|no historical data", re.I)
_PACING = re.compile(r"pacing|max(imum)? (number|rate) of|exceeded|simultaneous api scanner", re.I)
_SOFT_FAILURES = frozenset({162, 165, 166, 10187, 10188})


def request_effect(code: int, text: str) -> RequestEffect:
    """What the message does to the query it names; the text decides where one code says both "no" and "none"."""
    if code in _SOFT_FAILURES and _NO_DATA.search(text):
        return RequestEffect.EMPTY_RESULT
    if code == 165 and is_pacing(code, text):
        return RequestEffect.FAILS
    return error_code(code).request


def is_pacing(code: int, text: str) -> bool:
    """True when a limit was exceeded: asking again at once makes it worse."""
    return code in (100, 420) or (code in (162, 165, 322, 10187) and bool(_PACING.search(text)))


#: Codes that say that there is nothing, where an empty list would not do as an answer.
NO_DATA_CODES = frozenset({166, 430})

#: Codes that say that a subscription or permission is missing.
PERMISSION_CODES = frozenset({203, 354, 460, 10089, 10168, 10186, 10276, 10358})


def farm_name(text: str) -> str:
    """The farm that a 2103-2108, 2119, 2157 or 2158 message names, as in "...is OK:usfarm"; "" when it names none."""
    _, colon, name = text.rpartition(":")
    return name.strip() if colon else ""


def new_port(text: str) -> int | None:
    """The port that message 1300 names, None when it names none."""
    numbers = [int(number) for number in re.findall(r"\d+", text) if 0 < int(number) < 65536]
    return numbers[-1] if numbers else None
