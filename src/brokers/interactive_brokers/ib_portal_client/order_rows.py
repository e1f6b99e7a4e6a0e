"""The portal's rows of orders and executions as this package's reports, and our orders as its tickets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ...domain.instrument import Instrument, SecType
from ...domain.order import Fill, NewOrder, OrderType, TimeInForce, WhatIf
from ...domain.reports import BrokerOrder, BrokerStatus, CommissionReport, WireOrder
from ...errors import InvalidData
from .own_orders import FOREIGN
from .words import (
    ORDER_TYPE_WORDS,
    PRICE_KEYS,
    TIF_WORDS,
    number_text,
    to_int,
    to_moment,
    to_number,
    to_order_type,
    to_price,
    to_side,
    to_status,
    to_tif,
)

ZERO = Decimal(0)
#: What a row must have before it is an order and not a part of one (frames of `sor` may tell changes alone).
WHOLE = ("conid", "side", "totalSize")
#: Types with a limit and with a stop, among those that a row can show.
_LIMITED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_ON_CLOSE, OrderType.MIDPRICE})
_STOPPED = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL})


def row_number(row: Mapping[str, Any]) -> int | None:
    """The portal's orderId; None where the row has none."""
    return to_int(row.get("orderId", row.get("order_id")))


def to_perm_id(number: int) -> int:
    """The portal's orderId as this package tells it: negative, since it need not be the permId (OrderPort)."""
    return -number


def to_row_number(perm_id: int | None) -> int | None:
    """The reverse; None for a permId that only TWS knows."""
    return -perm_id if perm_id is not None and perm_id < 0 else None


def is_whole(row: Mapping[str, Any]) -> bool:
    return all(row.get(name) is not None for name in WHOLE)


def row_status(row: Mapping[str, Any]) -> BrokerStatus | None:
    return to_status(row.get("status") or row.get("order_ccp_status"))


def to_broker_order(row: Mapping[str, Any], instrument: Instrument) -> BrokerOrder:
    """A whole row, told as an order of others. Raises InvalidData for a row without number, side or size."""
    number, side, size = row_number(row), to_side(row.get("side")), to_number(row.get("totalSize"))
    if number is None or side is None or size is None:
        raise InvalidData(f"order row {row.get('orderId')}", f"side {row.get('side')!r}, size {row.get('totalSize')!r}")
    word = str(row.get("origOrderType") or row.get("orderType") or "")
    kind = to_order_type(word)
    limit, stop = _row_prices(row, kind)
    ended = row.get("order_cancellation_by_system_reason")
    status = row_status(row)
    return BrokerOrder(
        perm_id=to_perm_id(number),
        order_id=0,
        client_id=FOREIGN,
        account=str(row.get("acct") or row.get("account") or ""),
        instrument=instrument,
        side=side,
        quantity=size,
        type=kind,
        type_text=word,
        tif=to_tif(row.get("timeInForce")),
        limit_price=limit,
        stop_price=stop,
        outside_rth=row.get("outsideRTH") is True,
        key=str(row["order_ref"]) if row.get("order_ref") else None,
        status=status,
        filled=to_number(row.get("filledQuantity")),
        completed_status=str(ended or row.get("status") or "") if status in _ENDED else "",
        completed_time=to_moment(row.get("lastExecutionTime_r")) if status in _ENDED else None,
    )


_ENDED = frozenset({BrokerStatus.FILLED, BrokerStatus.CANCELLED, BrokerStatus.INACTIVE})


def _row_prices(row: Mapping[str, Any], kind: OrderType | None) -> tuple[Decimal | None, Decimal | None]:
    """Limit and stop. A stop's own price stands in `price`, in `auxPrice` or in `stop_price`, by build."""
    price = to_price(row.get("price"))
    aux = to_price(row.get("auxPrice")) or to_price(row.get("stop_price"))
    limit = price if kind in _LIMITED else None
    stop = (aux or (price if kind is OrderType.STOP else None)) if kind in _STOPPED else None
    return limit, stop


def with_intent(
    told: BrokerOrder, order_id: int, client_id: int, intent: NewOrder, row: Mapping[str, Any]
) -> BrokerOrder:
    """The same order under our own names; a price that the row does not tell at all is taken as meant."""
    told = replace(told, order_id=order_id, client_id=client_id, key=intent.key)
    if "price" not in row and told.limit_price is None:
        told = replace(told, limit_price=intent.limit_price)
    if not any(name in row for name in ("price", "auxPrice", "stop_price")) and told.stop_price is None:
        told = replace(told, stop_price=intent.stop_price)
    return told


def to_fill(row: Mapping[str, Any], instrument: Instrument) -> Fill:
    """A row of trades or of `str`, told as an execution of others. Raises InvalidData when it is none."""
    exec_id, side = str(row.get("execution_id") or ""), to_side(row.get("side"))
    size, price = to_number(row.get("size")), to_number(row.get("price"))
    time = to_moment(row.get("trade_time_r")) or _stamp(row.get("trade_time"))
    if not exec_id or side is None or not size or price is None or time is None:
        raise InvalidData(f"execution {exec_id or '?'}", f"side {row.get('side')!r}, size {row.get('size')!r}")
    fee, number = to_number(row.get("commission")), to_int(row.get("order_id"))
    return Fill(
        exec_id=exec_id,
        instrument=instrument,
        side=side,
        quantity=abs(size),
        price=price,
        time=time,
        account=str(row.get("account") or row.get("accountCode") or ""),
        order_key=str(row["order_ref"]) if row.get("order_ref") else None,
        order_id=0,
        perm_id=None if number is None else to_perm_id(number),
        client_id=FOREIGN,
        exchange=str(row.get("exchange") or ""),
        commission=fee,
        commission_currency=instrument.currency if fee is not None else None,
        liquidation=str(row.get("liquidation_trade", "0")) in ("1", "True", "true"),
    )


def _stamp(text: Any) -> datetime | None:
    try:
        return datetime.strptime(str(text), "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def to_commission(fill: Fill) -> CommissionReport | None:
    if fill.commission is None:
        return None
    return CommissionReport(fill.exec_id, fill.commission, fill.commission_currency or "USD")


def to_ticket(intent: NewOrder, account: str, parent: str | None = None) -> dict[str, Any]:
    """One order of a request. `parent` is the cOID of its parent; such a child has none of its own (P 2.5)."""
    ticket: dict[str, Any] = {
        "acctId": account,
        "conid": intent.instrument.con_id,
        "orderType": ORDER_TYPE_WORDS[intent.type],
        "side": intent.side.value,
        "quantity": number_text(intent.quantity),
        "tif": TIF_WORDS[intent.tif],
        "outsideRTH": intent.outside_rth,
    }
    if intent.instrument.sec_type is SecType.FUTURE:
        # rules of the CME: who entered it, and whether by hand
        ticket |= {"manualIndicator": False, "extOperator": account}
    for ours, name in PRICE_KEYS[intent.type].items():
        value: Decimal | None = getattr(intent, ours.value)
        if value is not None:
            ticket[name] = number_text(value)
    if parent is None:
        ticket["cOID"] = intent.key
    else:
        ticket["parentId"] = parent
    return ticket


def to_change(intent: NewOrder, account: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Every attribute as it is to be. What the row shows and the intent does not decide is left as the broker has it:
    a preset may have made another TIF of ours (faults O03, O21)."""
    ticket = to_ticket(intent, account)
    ticket.pop("cOID")
    tif = to_tif(row.get("timeInForce"))
    if tif is not None and tif in TIF_WORDS and intent.tif is TimeInForce.DAY:
        ticket["tif"] = TIF_WORDS[tif]
    return ticket


def bracket_tickets(legs: Sequence[WireOrder]) -> list[dict[str, Any]]:
    """One request for a whole bracket, the entry first; or for a single order."""
    entry = legs[0].intent
    children = [to_ticket(leg.intent, leg.account, entry.key) for leg in legs[1:]]
    return [to_ticket(entry, legs[0].account), *children]


def to_what_if(body: Mapping[str, Any], currency: str) -> WhatIf:
    """Amounts are text; "N/A" and absent ones are None."""

    def part(group: str, name: str) -> Decimal | None:
        row = body.get(group)
        return to_number(row.get(name)) if isinstance(row, Mapping) else None

    return WhatIf(
        initial_margin_change=part("initial", "change"),
        maintenance_margin_change=part("maintenance", "change"),
        equity_change=part("equity", "change"),
        initial_margin_after=part("initial", "after"),
        maintenance_margin_after=part("maintenance", "after"),
        equity_after=part("equity", "after"),
        commission=part("amount", "commission"),
        currency=currency,
        warning=str(body.get("warn") or ""),
    )
