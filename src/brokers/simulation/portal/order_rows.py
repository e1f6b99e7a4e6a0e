"""Orders and executions in the portal's words. Functions of an exchange object; no state.

live_row(door, view)      a row of /iserver/account/orders and of `sor`
status_row(door, view)    /iserver/account/order/status
trade_row(door, row)      a row of /iserver/account/trades; stream_trade_row for `str`, which tells no commission

Keys, types and absences follow the recordings: order_ref is absent without a cOID, prices are text, sizes numbers, and
a day order's timeInForce is CLOSE. Times are market time, UTC.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...domain.instrument import InstrumentDetails
from ...domain.order import OrderType, Side, TimeInForce
from ...domain.reports import BrokerStatus
from ..tickets import DoneBy, Execution, OrderView
from .order_sight import Fills, number_of
from .order_words import COLOURS, COLOURS_ELSE, STATUS, TIF_SHOWN, TIF_TOLD, TYPES, plain, price

if TYPE_CHECKING:
    from .door import PortalDoor

_DONE_WORDS = {Side.BUY: "Bought", Side.SELL: "Sold"}
_SIDE_WORDS = {Side.BUY: "Buy", Side.SELL: "Sell"}
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL})


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _details(door: PortalDoor, con_id: int) -> InstrumentDetails:
    details = door.exchange.details(con_id)
    assert details is not None  # the exchange took the order
    return details


def _told_at(door: PortalDoor, view: OrderView) -> datetime:
    """When the order last traded or changed."""
    if view.completed_at is not None:
        return view.completed_at
    return door.state(Fills).last_fill(view.perm_id) or view.created_at


def stop_of(view: OrderView) -> Decimal | None:
    """The stop price now; None for a type without one."""
    if view.ticket.type not in _STOPS:
        return None
    return view.stop_now if view.stop_now is not None else view.ticket.stop_price


def _shown_price(view: OrderView) -> str:
    """A stop's price is its stop, as in the ticket."""
    ticket = view.ticket
    return price(ticket.stop_price if ticket.type is OrderType.STOP else ticket.limit_price)


def _describe(view: OrderView) -> str:
    """ "Bought 1 SPY Market, Day"; "Sell 5 AAPL Limit 270.00, GTC" while it works."""
    ticket = view.ticket
    words = _DONE_WORDS if view.status is BrokerStatus.FILLED else _SIDE_WORDS
    shown = TYPES[ticket.type or OrderType.MARKET].shown
    at = " ".join(part for part in (shown, _shown_price(view)) if part)
    tif = TIF_TOLD[ticket.tif or TimeInForce.DAY]
    return f"{words[ticket.side]} {plain(ticket.quantity)} {view.instrument.symbol} {at}, {tif}"


def _size_and_fills(view: OrderView) -> str:
    total = plain(view.ticket.quantity)
    return total if view.filled in (0, view.ticket.quantity) else f"{plain(view.filled)}/{total}"


def live_row(door: PortalDoor, view: OrderView) -> dict[str, Any]:
    ticket, instrument = view.ticket, view.instrument
    details, told = _details(door, ticket.con_id), _told_at(door, view)
    words, status = TYPES[ticket.type or OrderType.MARKET], STATUS[view.status]
    background, foreground = COLOURS.get(status, COLOURS_ELSE)
    stop = stop_of(view)
    by_system = view.completed_status.startswith(DoneBy.SYSTEM) or status == "Inactive"
    return {
        "acct": ticket.account,
        "conidex": str(ticket.con_id),
        "conid": ticket.con_id,
        "account": ticket.account,
        "orderId": number_of(door, view.perm_id),
        "cashCcy": instrument.currency,
        "sizeAndFills": _size_and_fills(view),
        "orderDesc": _describe(view),
        "description1": instrument.symbol,
        "ticker": instrument.symbol,
        "secType": instrument.sec_type.value,
        "listingExchange": instrument.primary_exchange or instrument.exchange,
        "remainingQuantity": float(view.remaining),
        "filledQuantity": float(view.filled),
        "totalSize": float(ticket.quantity),
        "companyName": details.long_name,
        "status": status,
        "order_ccp_status": status,
        **({"avgPrice": price(view.average_price)} if view.average_price is not None else {}),
        "origOrderType": words.original,
        "supportsTaxOpt": "1",
        "lastExecutionTime": f"{told:%y%m%d%H%M%S}",
        "orderType": words.shown,
        "bgColor": background,
        "fgColor": foreground,
        "isEventTrading": "0",
        "price": _shown_price(view),
        **({"auxPrice": price(stop)} if stop is not None else {}),
        "timeInForce": TIF_SHOWN[ticket.tif or TimeInForce.DAY],
        "lastExecutionTime_r": milliseconds(told),
        "side": ticket.side.value,
        **({"order_ref": ticket.order_ref} if ticket.order_ref else {}),
        **({"order_cancellation_by_system_reason": view.completed_status} if by_system else {}),
    }


def status_row(door: PortalDoor, view: OrderView) -> dict[str, Any]:
    """No order_ref here. `side` is a letter; sizes are text, as IB documents them."""
    ticket, instrument = view.ticket, view.instrument
    status, done = STATUS[view.status], view.completed_at is not None
    background, foreground = COLOURS.get(status, COLOURS_ELSE)
    stop, shown = stop_of(view), _shown_price(view)
    return {
        "sub_type": None,
        "request_id": str(view.perm_id),
        "server_id": "0",
        "order_id": number_of(door, view.perm_id),
        "conidex": str(ticket.con_id),
        "conid": ticket.con_id,
        "symbol": instrument.symbol,
        "side": ticket.side.value[0],
        "contract_description_1": instrument.symbol,
        "listing_exchange": instrument.primary_exchange or instrument.exchange,
        "company_name": _details(door, ticket.con_id).long_name,
        "size": plain(view.remaining),
        "total_size": plain(ticket.quantity),
        "currency": instrument.currency,
        "account": ticket.account,
        "order_type": TYPES[ticket.type or OrderType.MARKET].original,
        **({"limit_price": shown} if shown and ticket.type is not OrderType.STOP else {}),
        **({"stop_price": price(stop)} if stop is not None else {}),
        "cum_fill": plain(view.filled),
        "order_status": status,
        "order_ccp_status": status,
        "order_status_description": f"Order {status}",
        "tif": TIF_TOLD[ticket.tif or TimeInForce.DAY].upper(),
        "fg_color": foreground,
        "bg_color": background,
        "order_not_editable": done,
        "editable_fields": "" if done else "\x1e",
        "cannot_cancel_order": done,
        "deactivate_order": False,
        "sec_type": instrument.sec_type.value,
        "available_chart_periods": "#R|1",
        "order_description": _describe(view),
        "order_description_with_contract": _describe(view),
        "alert_active": 1,
        "child_order_type": "0",
        "order_clearing_account": ticket.account,
        "size_and_fills": f"{plain(view.filled)}/{plain(ticket.quantity)}",
        "exit_strategy_display_price": shown,
        "exit_strategy_chart_description": _describe(view),
        **({"average_price": price(view.average_price)} if view.average_price is not None else {}),
        "exit_strategy_tool_availability": "1",
        "allowed_duplicate_opposite": True,
        "order_time": f"{view.created_at:%y%m%d%H%M%S}",
        **({"price": shown} if shown else {}),
    }


def stream_trade_row(door: PortalDoor, row: Execution) -> dict[str, Any]:
    instrument, con_id = row.instrument, row.instrument.con_id or 0
    details = _details(door, con_id)
    gross = row.quantity * row.price * instrument.multiplier
    sold = "Bot" if row.side is Side.BUY else "Sold"
    return {
        "execution_id": row.exec_id,
        "symbol": instrument.symbol,
        "supports_tax_opt": "1",
        "side": row.side.value[0],
        "order_description": f"{sold} {plain(row.quantity)} @ {price(row.price)} on {row.exchange}",
        "order_id": number_of(door, row.perm_id),
        "trade_time": f"{row.time:%Y%m%d-%H:%M:%S}",
        "trade_time_r": milliseconds(row.time),
        "size": float(row.quantity),
        "price": price(row.price),
        **({"order_ref": row.order_ref} if row.order_ref else {}),
        "submitter": door.settings.user,
        "exchange": row.exchange,
        "net_amount": float(gross),
        "account": row.account,
        "accountCode": row.account,
        "account_allocation_name": row.account,
        "company_name": details.long_name,
        "contract_description_1": instrument.symbol,
        "sec_type": instrument.sec_type.value,
        "listing_exchange": instrument.primary_exchange or instrument.exchange,
        "conid": con_id,
        "conidEx": str(con_id),
        "clearing_id": "IB",
        "clearing_name": "IB",
        "liquidation_trade": "1" if row.liquidation else "0",
        "is_event_trading": "0",
    }


def trade_row(door: PortalDoor, row: Execution) -> dict[str, Any]:
    return {**stream_trade_row(door, row), "commission": price(row.commission)}
