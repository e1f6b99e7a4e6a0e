"""What the exchange says, in TWS messages. Functions of an exchange object and a server version; no state.

open_order_frame(version, view)              openOrder
status_values(view, client_id)               orderStatus
completed_frame(version, view)               completedOrder
execution_values(execution, req_id)          execDetails
commission_values(execution)                 commissionReport
what_if_frame(version, request, ...)         openOrder of a what-if order
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from ...domain.instrument import Instrument, SecType
from ...domain.order import OrderType, Side, WhatIf
from ...domain.reports import BrokerStatus
from ..tickets import Execution, OrderTicket, OrderView
from .contract import Contract
from .messages_in import parse, write
from .orders_in import PlaceOrderRequest
from .orders_out import OrderState, completed_order, open_order
from .times import DEFAULT_ZONE, stamp
from .wire_contract import wire_contract

#: IB's words for the exchange's order types.
ORDER_TYPE_TEXT: dict[OrderType, str] = {
    OrderType.MARKET: "MKT",
    OrderType.LIMIT: "LMT",
    OrderType.STOP: "STP",
    OrderType.STOP_LIMIT: "STP LMT",
    OrderType.TRAIL: "TRAIL",
    OrderType.MARKET_ON_CLOSE: "MOC",
    OrderType.LIMIT_ON_CLOSE: "LOC",
    OrderType.MIDPRICE: "MIDPRICE",
}
SIDE_TEXT = {Side.BUY: "BOT", Side.SELL: "SLD"}
#: Key of OrderTicket.echo under which this door keeps the client's own message.
ECHO = "tws"


class Echo(Mapping[str, Any]):
    """What a ticket carries so that openOrder can repeat every field, also after a restart (JSON values only).

    `request` spares the parsing while the process that read the message lives; the fields are written out only when
    the account is kept.
    """

    def __init__(self, version: int, request: PlaceOrderRequest) -> None:
        self._version = version
        self.request = request

    def __getitem__(self, key: str) -> Any:
        if key != ECHO:
            raise KeyError(key)
        return {"version": self._version, "fields": write(self._version, self.request)}

    def __iter__(self) -> Iterator[str]:
        return iter((ECHO,))

    def __len__(self) -> int:
        return 1


@lru_cache(maxsize=4096)
def _parsed(version: int, fields: tuple[str, ...]) -> PlaceOrderRequest:
    request = parse(version, fields)
    if not isinstance(request, PlaceOrderRequest):
        raise ValueError(f"the echo of an order holds {type(request).__name__}")
    return request


def request_of(ticket: OrderTicket) -> PlaceOrderRequest:
    """The message behind a ticket; one made up from the ticket when it came through another door."""
    if isinstance(ticket.echo, Echo):
        return ticket.echo.request
    kept = ticket.echo.get(ECHO)
    if kept:
        return _parsed(int(kept["version"]), tuple(kept["fields"]))
    return PlaceOrderRequest(
        orderId=ticket.order_id,
        contract=Contract(conId=ticket.con_id, exchange=ticket.exchange),
        action=ticket.side.value,
        totalQuantity=ticket.quantity,
        orderType=ticket.type_text or (ORDER_TYPE_TEXT[ticket.type] if ticket.type else ""),
        tif=ticket.tif.value if ticket.tif else "",
        orderRef=ticket.order_ref,
        account=ticket.account,
        outsideRth=ticket.outside_rth,
        ocaType=ticket.oca_type if ticket.oca_group else 0,
        allOrNone=ticket.all_or_none,
    )


def shown_client(client_id: int) -> int:
    """Who placed an order, for TWS clients: what came from outside the API is client 0's."""
    return max(client_id, 0)


def contract_of(instrument: Instrument, exchange: str = "") -> Contract:
    return wire_contract(instrument, exchange or instrument.exchange)


def _present_values(view: OrderView) -> dict[str, Any]:
    """Fields of the order that the exchange knows better than the client's message."""
    ticket = view.ticket
    values: dict[str, Any] = {
        "account": ticket.account,
        "totalQuantity": ticket.quantity,
        "lmtPrice": ticket.limit_price,
        "parentId": ticket.parent_id,
        "ocaGroup": ticket.oca_group,
    }
    if ticket.type is OrderType.TRAIL:
        values["auxPrice"] = ticket.trail_amount
        values["trailStopPrice"] = view.stop_now if view.stop_now is not None else ticket.stop_price
        values["trailingPercent"] = ticket.trail_percent
    else:
        values["auxPrice"] = ticket.stop_price
    return values


def open_order_frame(version: int, view: OrderView, warning: str = "", **changes: Any) -> bytes:
    request = request_of(view.ticket)
    values = _present_values(view)
    values.update({"orderId": view.order_id, "permId": view.perm_id}, **changes)
    contract = values.pop("contract", None) or contract_of(view.instrument, view.ticket.exchange)
    return open_order(
        version,
        request,
        OrderState(status=view.status.value, warningText=warning),
        clientId=shown_client(view.client_id),
        contract=contract,
        **values,
    )


def status_values(view: OrderView, client_id: int | None = None) -> dict[str, Any]:
    """`client_id` None: the owner's. An order by hand or by another door has order id 0 or below."""
    return {
        "orderId": view.order_id,
        "status": view.status.value,
        "filled": view.filled,
        "remaining": view.remaining,
        "avgFillPrice": view.average_price or Decimal(0),
        "permId": view.perm_id,
        "parentId": view.ticket.parent_id,
        "lastFillPrice": view.last_fill_price or Decimal(0),
        "clientId": shown_client(view.client_id) if client_id is None else client_id,
        "whyHeld": view.why_held,
    }


def completed_frame(version: int, view: OrderView) -> bytes:
    request = request_of(view.ticket)
    values = _present_values(view)
    del values["parentId"]
    state = OrderState(
        status=view.status.value,
        completedTime=stamp(view.completed_at or view.created_at, DEFAULT_ZONE),
        completedStatus=view.completed_status,
    )
    return completed_order(
        version,
        request,
        state,
        permId=view.perm_id,
        filledQuantity=view.filled,
        contract=contract_of(view.instrument, view.ticket.exchange),
        parentPermId=view.parent_perm_id,
        **values,
    )


def execution_values(execution: Execution, req_id: int = -1, order_id: int | None = None) -> dict[str, Any]:
    """`req_id` -1 for a fill that happens, the request's own when asked for."""
    return {
        "reqId": req_id,
        "orderId": execution.order_id if order_id is None else order_id,
        "contract": _execution_contract(execution),
        "execId": execution.exec_id,
        "time": stamp(execution.time),
        "acctNumber": execution.account,
        "exchange": execution.exchange,
        "side": SIDE_TEXT[execution.side],
        "shares": execution.quantity,
        "price": execution.price,
        "permId": execution.perm_id,
        "clientId": shown_client(execution.client_id),
        "liquidation": int(execution.liquidation),
        "cumQty": execution.cumulative,
        "avgPrice": execution.average_price,
        "orderRef": execution.order_ref,
        "lastLiquidity": 1 if execution.added_liquidity else 2,
    }


def _execution_contract(execution: Execution) -> Contract:
    contract = wire_contract(execution.instrument, execution.exchange)
    if execution.instrument.sec_type is SecType.STOCK:
        return Contract(**{**_fields(contract), "right": "?"})
    return contract


def _fields(contract: Contract) -> dict[str, Any]:
    return {name: getattr(contract, name) for name in Contract.__slots__}


def commission_values(execution: Execution) -> dict[str, Any]:
    """TWS tells no realized P&L (the unset double) for a fill that only opens a position."""
    return {
        "execId": execution.exec_id,
        "commission": execution.commission,
        "currency": execution.currency,
        "realizedPNL": execution.realized_pnl or None,
    }


def what_if_frame(
    version: int, request: PlaceOrderRequest, contract: Contract, account: str, client_id: int, estimate: WhatIf
) -> bytes:
    """The answer to a what-if order: openOrder with the margins before, the change and after; no orderStatus."""

    def before(after: Decimal | None, change: Decimal | None) -> Decimal | None:
        return None if after is None or change is None else after - change

    state = OrderState(
        status=BrokerStatus.PRE_SUBMITTED.value,
        initMarginBefore=before(estimate.initial_margin_after, estimate.initial_margin_change),
        maintMarginBefore=before(estimate.maintenance_margin_after, estimate.maintenance_margin_change),
        equityWithLoanBefore=before(estimate.equity_after, estimate.equity_change),
        initMarginChange=estimate.initial_margin_change,
        maintMarginChange=estimate.maintenance_margin_change,
        equityWithLoanChange=estimate.equity_change,
        initMarginAfter=estimate.initial_margin_after,
        maintMarginAfter=estimate.maintenance_margin_after,
        equityWithLoanAfter=estimate.equity_after,
        commission=estimate.commission,
        minCommission=estimate.commission_min,
        maxCommission=estimate.commission_max,
        commissionCurrency=estimate.currency,
        warningText=estimate.warning,
    )
    return open_order(version, request, state, clientId=client_id, permId=0, contract=contract, account=account)
