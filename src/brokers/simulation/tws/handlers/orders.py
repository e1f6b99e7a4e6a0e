"""Requests about orders and executions: from the client's message to the exchange's ticket, and the books back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ....domain.instrument import InstrumentDetails
from ....domain.order import OrderType, Side, TimeInForce
from ....errors import OrderRejected
from ...tickets import Condition as TicketCondition
from ...tickets import ConditionKind, OrderTicket, OrderView
from .. import requests as r
from ..conditions import (
    Condition,
    ExecutionCondition,
    MarginCondition,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    VolumeCondition,
)
from ..orders_in import PlaceOrderRequest
from ..render import (
    SIDE_TEXT,
    Echo,
    commission_values,
    completed_frame,
    contract_of,
    execution_values,
    open_order_frame,
    status_values,
    what_if_frame,
)
from ..request import Request
from ..session import Refusal, Session
from ..times import DEFAULT_ZONE, parse_moment

READ_ONLY = "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."

#: IB's order types -> the exchange's; anything else is refused by the exchange (387).
ORDER_TYPES: dict[str, OrderType] = {
    "MKT": OrderType.MARKET,
    "LMT": OrderType.LIMIT,
    "STP": OrderType.STOP,
    "STP LMT": OrderType.STOP_LIMIT,
    "STPLMT": OrderType.STOP_LIMIT,
    "TRAIL": OrderType.TRAIL,
    "MOC": OrderType.MARKET_ON_CLOSE,
    "LOC": OrderType.LIMIT_ON_CLOSE,
    "MIDPRICE": OrderType.MIDPRICE,
    "MIDPX": OrderType.MIDPRICE,
}
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL, "SSHORT": Side.SELL, "B": Side.BUY, "S": Side.SELL}
#: Types whose auxPrice is a stop price.
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


def _asked(word: str) -> bool:
    """A client that changes an order sends back the "None" that openOrder has told it."""
    return word not in ("", "None")


#: What an order may ask for that this gateway does not do: (attribute is set, IB's code and text).
UNSUPPORTED: tuple[tuple[Callable[[PlaceOrderRequest], object], int, str], ...] = (
    (lambda o: o.algoStrategy, 439, "The order processing failed. Algo definition not found."),
    (lambda o: o.hedgeType, 387, "Unsupported order type for this exchange and security type. Hedging orders"),
    (
        lambda o: o.scalePriceIncrement,
        387,
        "Unsupported order type for this exchange and security type. Scale orders",
    ),
    (lambda o: _asked(o.deltaNeutralOrderType), 387, "Unsupported order type for this exchange and security type."),
    (lambda o: o.faGroup or o.faMethod or o.faProfile or o.faPercentage, 321, "FA orders need an advisor account."),
    (lambda o: o.modelCode, 321, "Models need an advisor account."),
    (lambda o: o.cashQty, 10244, "Cash quantity cannot be used for this order"),
    (
        lambda o: _asked(o.adjustedOrderType),
        387,
        "Unsupported order type for this exchange and security type. Adjusted stops",
    ),
    (lambda o: o.discretionaryAmt, 387, "Unsupported order type for this exchange and security type. Discretionary"),
    (lambda o: o.sweepToFill, 131, "The sweep-to-fill flag and display size are not supported here."),
)

#: Options are data here: no account may trade them.
NO_OPTIONS = Refusal(201, "Order rejected - reason:No trading permissions for options.")


def place(session: Session, request: PlaceOrderRequest) -> None:
    """A new order, or a modify of one that this client has open under the same id."""
    door = session.door
    if door.read_only:
        raise Refusal(321, READ_ONLY)
    for asked, code, text in UNSUPPORTED:
        if asked(request):
            raise Refusal(code, text)
    details = door.resolve(request.contract, NO_OPTIONS)
    ticket = ticket_of(session, request, details)
    if request.whatIf:
        what_if(session, request, ticket, details)
        return
    session.last_id_told = max(session.last_id_told, request.orderId)
    door.exchange.place(ticket)


def what_if(session: Session, request: PlaceOrderRequest, ticket: OrderTicket, details: InstrumentDetails) -> None:
    try:
        estimate = session.door.exchange.what_if(ticket)
    except OrderRejected as rejected:
        raise Refusal(rejected.code or 201, rejected.why or rejected.what) from None
    account = ticket.account or session.door.exchange.accounts[0]
    contract = contract_of(details.instrument, request.contract.exchange)
    session.write(what_if_frame(session.version, request, contract, account, session.client_id, estimate))


def ticket_of(session: Session, request: PlaceOrderRequest, details: InstrumentDetails) -> OrderTicket:
    """The exchange's ticket. Raises Refusal for a side or date without meaning; the rest the exchange judges."""
    side = SIDES.get(request.action.upper())
    if side is None:
        raise Refusal(321, f"Error validating request.-'bW' : cause - Invalid action '{request.action}'")
    kind = ORDER_TYPES.get(request.orderType.upper())
    tif = request.tif.upper() or "DAY"
    aux = _price(request.auxPrice)
    trailing = kind is OrderType.TRAIL
    return OrderTicket(
        client_id=_owner(session, request.orderId),
        order_id=request.orderId,
        con_id=details.instrument.con_id or 0,
        side=side,
        quantity=request.totalQuantity,
        type=kind,
        limit_price=_price(request.lmtPrice),
        stop_price=_price(request.trailStopPrice) if trailing else (aux if kind in _STOPS else None),
        trail_amount=aux if trailing else None,
        trail_percent=_price(request.trailingPercent) if trailing else None,
        tif=TimeInForce(tif) if tif in TimeInForce.__members__ else None,
        good_till=_moment(session, request.goodTillDate, details, 337, "Good Till Date"),
        good_after=_moment(session, request.goodAfterTime, details, 136, "Good After Time"),
        outside_rth=request.outsideRth,
        account=request.account,
        order_ref=request.orderRef,
        oca_group=request.ocaGroup,
        oca_type=request.ocaType or 3,
        parent_id=request.parentId,
        transmit=request.transmit,
        all_or_none=request.allOrNone,
        min_quantity=Decimal(request.minQty) if request.minQty else None,
        trigger_method=request.triggerMethod,
        conditions=tuple(_condition(session, row) for row in request.conditions),
        conditions_ignore_rth=request.conditionsIgnoreRth,
        conditions_cancel=request.conditionsCancelOrder,
        exchange=request.contract.exchange or details.instrument.exchange,
        type_text=request.orderType,
        echo=Echo(session.version, request),
    )


def _owner(session: Session, order_id: int) -> int:
    """Whose order it is: client 0 also changes what another door placed, which has an id below zero."""
    if session.client_id == 0 and order_id < 0:
        for view in _shown(session):
            if view.order_id == order_id and view.client_id < 0:
                return view.client_id
    return session.client_id


def _price(value: Decimal | None) -> Decimal | None:
    """On the wire 0 is how clients leave a price out."""
    return value or None


def _moment(session: Session, text: str, details: InstrumentDetails, code: int, name: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_moment(text, session.door.now, details.time_zone)
    except ValueError as reason:
        raise Refusal(code, f"{name}: The date, time, or time-zone entered is invalid. {reason}") from None


def _condition(session: Session, row: Condition) -> TicketCondition:
    base = TicketCondition(ConditionKind(row.condType), row.conjunction)
    match row:
        case PriceCondition():
            return replace(
                base,
                more=row.isMore,
                value=row.price,
                con_id=row.conId,
                exchange=row.exchange,
                trigger_method=row.triggerMethod,
            )
        case TimeCondition():
            try:
                moment = parse_moment(row.time, session.door.now, DEFAULT_ZONE)
            except ValueError as reason:
                raise Refusal(321, f"Error validating request.-'bW' : cause - Time condition: {reason}") from None
            return replace(base, more=row.isMore, moment=moment)
        case MarginCondition():
            return replace(base, more=row.isMore, value=Decimal(row.percent))
        case ExecutionCondition():
            return replace(base, symbol=row.symbol, sec_type=row.secType, exchange=row.exchange)
        case VolumeCondition():
            return replace(base, more=row.isMore, value=Decimal(row.volume), con_id=row.conId, exchange=row.exchange)
        case PercentChangeCondition():
            return replace(base, more=row.isMore, value=row.changePercent, con_id=row.conId, exchange=row.exchange)


def cancel(session: Session, request: r.CancelOrder) -> None:
    if session.door.read_only:
        raise Refusal(321, READ_ONLY)
    session.door.exchange.cancel(session.client_id, request.orderId)


def global_cancel(session: Session, request: r.ReqGlobalCancel) -> None:
    """Every open order that this door shows, whoever placed it."""
    door = session.door
    if door.read_only:
        raise Refusal(321, READ_ONLY, -1)
    if not door.hidden_clients:
        door.exchange.cancel_all(session.client_id)
        return
    for view in _shown(session):
        door.exchange.cancel_perm(view.perm_id, session.client_id)


def _shown(session: Session) -> list[OrderView]:
    return [view for view in session.door.exchange.open_orders() if session.door.shows(view.client_id)]


def _tell(session: Session, view: OrderView) -> None:
    changes = session.door.faults.echo_changes(view)
    session.write(open_order_frame(session.version, view, **changes))
    session.send("orderStatus", **status_values(view))


def open_orders(session: Session, request: r.ReqOpenOrders) -> None:
    """This client's; client 0 is told of orders placed outside the API too."""
    for view in _shown(session):
        outside_api = session.client_id == 0 and view.client_id < 0
        if view.client_id == session.client_id or outside_api:
            _tell(session, view)
    session.send("openOrderEnd")


def all_open_orders(session: Session, request: r.ReqAllOpenOrders) -> None:
    for view in _shown(session):
        _tell(session, view)
    session.send("openOrderEnd")


def auto_open_orders(session: Session, request: r.ReqAutoOpenOrders) -> None:
    """Client 0 alone may bind what is placed outside the API; TWS then tells its open orders once."""
    if session.client_id != 0:
        raise Refusal(
            321, "Error validating request.-'an' : cause - only the default client (i.e 0) can auto bind orders.", -1
        )
    session.auto_bind = request.autoBind
    for view in _shown(session):
        if view.client_id <= 0:
            if request.autoBind and view.order_id <= 0:
                session.send("orderBound", permId=view.perm_id, clientId=0, orderId=view.order_id)
            _tell(session, view)
    session.send("openOrderEnd")


def completed_orders(session: Session, request: r.ReqCompletedOrders) -> None:
    """`apiOnly` leaves out what was placed by hand or through another door (client ids below 0)."""
    for view in session.door.exchange.completed_orders():
        if session.door.shows(view.client_id) and not (request.apiOnly and view.client_id < 0):
            session.write(completed_frame(session.version, view))
    session.send("completedOrdersEnd")


def executions(session: Session, request: r.ReqExecutions) -> None:
    """Today's executions that pass the filter, each with its commission report."""
    since: datetime | None = None
    if request.time:
        try:
            since = parse_moment(request.time, session.door.now, DEFAULT_ZONE)
        except ValueError as reason:
            raise Refusal(321, f"Error validating request.-'aj' : cause - Execution filter: {reason}") from None
    side = {"BUY": "BOT", "SELL": "SLD", "SSHORT": "SLD"}.get(request.side.upper(), request.side.upper())
    for execution in session.door.exchange.executions():
        instrument = execution.instrument
        filters: tuple[tuple[object, object], ...] = (
            (request.clientId, execution.client_id),
            (request.acctCode, execution.account),
            (request.symbol.upper(), instrument.symbol),
            (request.secType, instrument.sec_type.value),
            (request.exchange, execution.exchange),
            (side, SIDE_TEXT[execution.side]),
        )
        if any(wanted and wanted != own for wanted, own in filters) or not session.door.shows(execution.client_id):
            continue
        if since is not None and execution.time < since:
            continue
        session.send("execDetails", **execution_values(execution, request.reqId))
        session.send("commissionReport", **commission_values(execution))
    session.send("execDetailsEnd", reqId=request.reqId)


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    PlaceOrderRequest: place,
    r.CancelOrder: cancel,
    r.ReqGlobalCancel: global_cancel,
    r.ReqOpenOrders: open_orders,
    r.ReqAllOpenOrders: all_open_orders,
    r.ReqAutoOpenOrders: auto_open_orders,
    r.ReqCompletedOrders: completed_orders,
    r.ReqExecutions: executions,
}
