"""The in-process order port: the same exchange as behind the gateway's doors, with no wire in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from ..domain.account import Position
from ..domain.order import Fill, OrderType, WhatIf
from ..domain.reports import BrokerOrder, CommissionReport, OrderEffect, OrderError, StatusReport, WireOrder
from ..errors import NotConnected
from ..order_port import OrderListener
from .events import (
    CancelConfirmed,
    CancelRejected,
    CommissionCharged,
    ExchangeEvent,
    Executed,
    ModifyRejected,
    Notice,
    OrderRejected,
    StatusChanged,
    Warned,
)
from .exchange import Exchange
from .tickets import Execution, OrderTicket, OrderView

#: What a notice of the exchange means for the order it names.
NOTICE_EFFECTS: dict[type[Notice], OrderEffect] = {
    OrderRejected: OrderEffect.REJECTED,
    ModifyRejected: OrderEffect.MODIFY_REJECTED,
    CancelRejected: OrderEffect.CANCEL_REJECTED,
    CancelConfirmed: OrderEffect.CANCELLED,
    Warned: OrderEffect.NONE,
}


class PaperPort:
    """OrderPort over an Exchange. Events reach the listener as soon as the exchange tells them."""

    name = "paper"

    def __init__(self, exchange: Exchange, client_id: int = 1) -> None:
        self._exchange = exchange
        self._client_id = client_id
        self._listener: OrderListener | None = None
        self._connected = False
        exchange.subscribe(self._on_event)

    @property
    def client_id(self) -> int:
        return self._client_id

    reading_time = 0.0

    def shows_orders_of(self, door: str) -> bool:
        return True

    @property
    def is_healthy(self) -> bool:
        return self._connected

    @property
    def next_order_id(self) -> int:
        return self._exchange.next_order_id(self._client_id)

    def set_listener(self, listener: OrderListener) -> None:
        self._listener = listener

    def open(self) -> None:
        self._connected = True

    def close(self) -> None:
        self._connected = False

    async def verify_link(self, deadline: float) -> None:
        self._require()

    async def place(self, order: WireOrder) -> None:
        self._require()
        self._exchange.place(self._ticket(order))

    async def modify(self, order: WireOrder) -> None:
        await self.place(order)

    async def cancel(self, order_id: int, perm_id: int | None = None, client_id: int | None = None) -> None:
        self._require()
        if perm_id is not None and client_id not in (None, self._client_id):
            self._exchange.cancel_perm(perm_id, self._client_id)
        else:
            self._exchange.cancel(self._client_id, order_id)

    async def cancel_everything(self) -> None:
        self._require()
        self._exchange.cancel_all(self._client_id)

    async def what_if(self, order: WireOrder) -> WhatIf:
        self._require()
        return self._exchange.what_if(self._ticket(order))

    async def open_orders(self) -> Sequence[BrokerOrder]:
        self._require()
        return [broker_order(view) for view in self._exchange.open_orders()]

    async def completed_orders(self) -> Sequence[BrokerOrder]:
        self._require()
        return [broker_order(view) for view in self._exchange.completed_orders()]

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        self._require()
        fills = [fill_of(execution, charged=True) for execution in self._exchange.executions()]
        return [fill for fill in fills if since is None or fill.time >= since]

    async def positions(self) -> Sequence[Position]:
        self._require()
        return self._exchange.positions()

    def _require(self) -> None:
        if not self._connected:
            raise NotConnected("paper broker", "it is not connected", "call connect() first")

    def _ticket(self, order: WireOrder) -> OrderTicket:
        intent = order.intent
        return OrderTicket(
            client_id=self._client_id,
            order_id=order.order_id,
            con_id=intent.instrument.con_id or 0,
            side=intent.side,
            quantity=intent.quantity,
            type=intent.type,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            trail_amount=intent.trail_amount,
            trail_percent=intent.trail_percent,
            tif=intent.tif,
            good_till=intent.good_till,
            outside_rth=intent.outside_rth,
            account=order.account,
            order_ref=intent.key,
            oca_group=intent.oca_group or "",
            parent_id=order.parent_id,
            transmit=order.transmit,
            exchange=intent.instrument.exchange,
            type_text=intent.type.value,
        )

    def _on_event(self, event: ExchangeEvent) -> None:
        listener = self._listener
        if listener is None or not self._connected:
            return
        if isinstance(event, StatusChanged):
            if event.order.client_id == self._client_id:
                if event.order_changed:
                    listener.on_broker_order(broker_order(event.order))
                listener.on_status(status_of(event.order))
        elif isinstance(event, Executed):
            if event.execution.client_id == self._client_id:
                listener.on_execution(fill_of(event.execution, charged=False))
        elif isinstance(event, CommissionCharged):
            if event.execution.client_id == self._client_id:
                listener.on_commission(commission_of(event.execution))
        elif isinstance(event, Notice) and self._client_id in (event.client_id, event.requested_by):
            effect = NOTICE_EFFECTS[type(event)]
            listener.on_order_error(OrderError(event.order_id, event.code, event.text, effect, event.advanced))


def broker_order(view: OrderView) -> BrokerOrder:
    """The exchange's picture of an order in neutral words."""
    ticket = view.ticket
    trailing = ticket.type is OrderType.TRAIL
    return BrokerOrder(
        perm_id=view.perm_id,
        order_id=ticket.order_id,
        client_id=ticket.client_id,
        account=ticket.account,
        instrument=view.instrument,
        side=ticket.side,
        quantity=ticket.quantity,
        type=ticket.type,
        type_text=ticket.type_text,
        tif=ticket.tif,
        limit_price=ticket.limit_price,
        stop_price=view.stop_now if trailing else ticket.stop_price,
        trail_amount=ticket.trail_amount,
        trail_percent=ticket.trail_percent,
        outside_rth=ticket.outside_rth,
        key=ticket.order_ref or None,
        oca_group=ticket.oca_group or None,
        parent_id=ticket.parent_id,
        status=view.status,
        filled=view.filled,
        transmit=ticket.transmit,
        completed_status=view.completed_status,
        completed_time=view.completed_at,
    )


def status_of(view: OrderView) -> StatusReport:
    return StatusReport(
        order_id=view.order_id,
        client_id=view.client_id,
        perm_id=view.perm_id,
        status=view.status,
        filled=view.filled,
        remaining=view.remaining,
        average_price=view.average_price,
        last_fill_price=view.last_fill_price,
        parent_id=view.ticket.parent_id,
        why_held=view.why_held,
    )


def fill_of(execution: Execution, *, charged: bool) -> Fill:
    """An execution as a fill; with its commission when `charged`, which the exchange tells after the fill."""
    return Fill(
        exec_id=execution.exec_id,
        instrument=execution.instrument,
        side=execution.side,
        quantity=execution.quantity,
        price=execution.price,
        time=execution.time,
        account=execution.account,
        order_key=execution.order_ref or None,
        order_id=execution.order_id,
        perm_id=execution.perm_id,
        client_id=execution.client_id,
        exchange=execution.exchange,
        commission=execution.commission if charged else None,
        commission_currency=execution.currency if charged else None,
        realized_pnl=execution.realized_pnl if charged else None,
        cumulative_quantity=execution.cumulative,
        liquidation=execution.liquidation,
    )


def commission_of(execution: Execution) -> CommissionReport:
    return CommissionReport(
        execution.exec_id, execution.commission, execution.currency, execution.realized_pnl or Decimal(0)
    )
