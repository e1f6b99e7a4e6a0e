"""Orders on the wire: what is sent, and what the broker tells about them, in neutral words."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from ib_async.contract import Contract
from ib_async.objects import CommissionReport as IbCommission
from ib_async.objects import ExecutionFilter
from ib_async.order import Order as IbOrder
from ib_async.order import OrderState as IbOrderState

from ...domain.order import Fill, WhatIf
from ...domain.reports import BrokerOrder, BrokerStatus, OrderEffect, OrderError, StatusReport, WireOrder
from ...errors import InvalidData, InvalidInstrument, NotConnected, OutcomeUnknown
from ...order_port import OrderListener
from ..ib_error_codes import OrderEffect as CodeEffect
from ..ib_error_codes import OrderPhase
from ..ib_vocabulary import decimal_or_zero, to_order_price
from .api import TwsApi
from .contracts import to_contract
from .lanes import Outgoing, SendState
from .link import FIRST_REQUEST_ID
from .listener import ErrorMessage, ExecutionReport, Subject
from .order_template import PLACE_ORDER, place_message
from .session import Session
from .translate import to_broker_order, to_commission, to_fill, to_ib_order, to_status, to_what_if

logger = logging.getLogger(__name__)

#: Orders, statuses and commissions remembered; the oldest go first.
MEMORY = 20_000
#: Order ids left free below a what-if's, so that ids already promised to a bracket are not used by it.
WHAT_IF_GAP = 8

#: What the code table says of an order, in the words of the order manager.
EFFECTS = {
    CodeEffect.NONE: OrderEffect.NONE,
    CodeEffect.REJECTED: OrderEffect.REJECTED,
    CodeEffect.MODIFY_REJECTED: OrderEffect.MODIFY_REJECTED,
    CodeEffect.CANCEL_REJECTED: OrderEffect.CANCEL_REJECTED,
    CodeEffect.CANCELLED: OrderEffect.CANCELLED,
    CodeEffect.UNKNOWN: OrderEffect.UNKNOWN,
}
#: Statuses of an order that the broker has echoed but not taken: a refusal that follows still means "never worked".
NOT_TAKEN = frozenset({BrokerStatus.PENDING_SUBMIT, BrokerStatus.API_PENDING, BrokerStatus.INACTIVE})

#: IB's code for "held while shares are located": the order lives (fault O30).
LOCATING = 404


class OrderChannel:
    """The order half of the client. Writes go out by lane; what comes in goes to one OrderListener."""

    def __init__(self, api: TwsApi, session: Session) -> None:
        self._api = api
        self._session = session
        self._listener: OrderListener | None = None
        self._phases: OrderedDict[int, OrderPhase] = OrderedDict()
        #: Order ids of this client that TWS has shown: an earlier process sent them, through this door.
        self._shown: OrderedDict[int, None] = OrderedDict()
        self._filled: OrderedDict[int, Decimal] = OrderedDict()
        self._commissions: OrderedDict[str, IbCommission] = OrderedDict()
        #: Messages that could not be told in neutral words, by kind.
        self.untold: Counter[str] = Counter()
        #: Seconds from handing an order over to its bytes leaving, the latest thousand.
        self.send_times: list[float] = []

    def set_listener(self, listener: OrderListener) -> None:
        self._listener = listener

    # Writing

    async def place(self, order: WireOrder) -> None:
        await self._write(order, OrderPhase.NEW)

    async def modify(self, order: WireOrder) -> None:
        """Raises NotConnected for an order that this client has not placed at TWS: there a change of what does not
        exist is a new order."""
        if order.order_id not in self._phases and order.order_id not in self._shown:
            raise NotConnected(
                f"change of order {order.order_id} {order.intent.instrument}",
                f"TWS has no such order of client {self._session.settings.client_id}",
                "nothing was sent; change it through the door that it was sent through, or cancel it",
            )
        await self._write(order, OrderPhase.MODIFYING)

    async def _write(self, order: WireOrder, phase: OrderPhase) -> None:
        what = f"order {order.order_id} {order.intent.side} {order.intent.quantity} {order.intent.instrument}"
        self._session.require(what)
        if self._phases.get(order.order_id) is not None and phase is OrderPhase.NEW:
            # sent again under its id before an echo, or transmitting what was staged: the table of a change applies
            phase = OrderPhase.MODIFYING
        self._remember(self._phases, order.order_id, phase)
        api = self._api
        message = place_message(order, api.client.serverVersion())
        outgoing = api.client.queue.put(PLACE_ORDER, message, order.order_id)
        api.client.raise_order_id(order.order_id + 1)
        if outgoing.sent_at is None:
            await self._left(what, outgoing)
        self._note_sent(outgoing)

    async def cancel(self, order_id: int, perm_id: int | None, client_id: int | None) -> None:
        what = f"cancel of order {order_id}"
        self._session.require(what)
        if client_id is not None and client_id != self._session.settings.client_id:
            # an order id is the client's own: the same number here names another order, or none
            raise NotConnected(
                what, f"it belongs to client {client_id} and has no id here (permId {perm_id})", "cancel it there"
            )
        if (perm_id or 0) < 0 and order_id not in self._phases and order_id not in self._shown:
            # only the portal has ever named it: TWS would answer that it knows none, which is not that it is gone
            raise NotConnected(what, "it went through the portal, and TWS has not shown it", "it is sent there")
        await self._left(what, self._api.client.cancelOrder(order_id))

    async def cancel_everything(self) -> None:
        self._session.require("cancel of every order")
        await self._left("cancel of every order", self._api.client.reqGlobalCancel())

    async def _left(self, what: str, outgoing: Outgoing) -> None:
        """Wait until the bytes were handed to the operating system."""
        if outgoing.state is SendState.QUEUED:
            try:
                await outgoing.settled()
            except asyncio.CancelledError:
                # the caller left; bytes that have not gone must not go later without him
                if not self._api.client.queue.withdraw(outgoing):
                    raise OutcomeUnknown(what, "the caller left while it was sent") from None
                raise
        if outgoing.state is SendState.NOT_SENT:
            raise NotConnected(what, "the link ended before it left", "nothing was sent; it is safe to send again")

    def _note_sent(self, outgoing: Outgoing) -> None:
        if outgoing.sent_at is not None:
            self.send_times.append(outgoing.sent_at - outgoing.queued_at)
            if len(self.send_times) > 2000:
                del self.send_times[:1000]

    @staticmethod
    def _remember(table: OrderedDict, key: object, value: object) -> None:  # type: ignore[type-arg]
        table[key] = value
        if len(table) > MEMORY:
            table.popitem(last=False)

    # Asking

    async def what_if(self, order: WireOrder, deadline: float) -> WhatIf:
        self._session.require(f"what-if of {order.intent.instrument}")
        client = self._api.client
        client.raise_order_id(client._next_order_id + WHAT_IF_GAP)
        question = self._api.whatIfOrderAsync(to_contract(order.intent.instrument), to_ib_order(order))
        state = await self._session.within(f"what-if of {order.intent.instrument}", question, deadline)
        return to_what_if(state)

    async def open_orders(self, deadline: float) -> Sequence[BrokerOrder]:
        self._session.require("open orders")
        rows = await self._session.within("open orders", self._api.reqAllOpenOrdersAsync(), deadline)
        found = [self._told(row.order_id, row.contract, row.order, row.state) for row in rows]
        return [order for order in found if order is not None]

    async def completed_orders(self, deadline: float) -> Sequence[BrokerOrder]:
        self._session.require("completed orders")
        rows = await self._session.within("completed orders", self._api.reqCompletedOrdersAsync(False), deadline)
        found = [self._told(row.order.orderId, row.contract, row.order, row.state) for row in rows]
        return [order for order in found if order is not None]

    async def executions(self, since: datetime | None, deadline: float) -> Sequence[Fill]:
        self._session.require("executions")
        request_id = self._api.client.getReqId()
        answer = self._api.wrapper.startReq(request_id)
        start = "" if since is None else since.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
        self._api.client.reqExecutions(request_id, ExecutionFilter(time=start))
        rows = await self._session.within("executions", answer, deadline)
        fills = []
        for row in rows:
            try:
                fills.append(to_fill(row.contract, row.execution, self._commissions.get(row.execution.execId)))
            except (InvalidData, InvalidInstrument) as error:
                self._cannot_tell("execution", error)
        return fills

    def _told(self, order_id: int, contract: Contract, order: IbOrder, state: IbOrderState) -> BrokerOrder | None:
        if order.clientId == self._session.settings.client_id and order_id > 0:
            self._remember(self._shown, order_id, None)
        filled = self._filled.get(order.permId)
        if filled is None and order.filledQuantity is not None:
            filled = to_order_price(order.filledQuantity)
        try:
            return to_broker_order(
                order_id, contract, order, state, filled=filled, naive_zone=self._session.settings.naive_zone
            )
        except (InvalidData, InvalidInstrument) as error:
            self._cannot_tell("order", error)
            return None

    def _cannot_tell(self, kind: str, error: Exception) -> None:
        self.untold[kind] += 1
        logger.error("an %s of the broker cannot be told: %s", kind, error)

    # What arrives

    def on_open_order(self, order_id: int, contract: Contract, order: IbOrder, state: IbOrderState) -> None:
        if order_id in self._phases and to_status(state.status) not in NOT_TAKEN:
            self._phases[order_id] = OrderPhase.LIVE
        told = self._told(order_id, contract, order, state)
        if told is not None and self._listener is not None:
            self._listener.on_broker_order(told)

    def on_status(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        average_price: float,
        perm_id: int,
        parent_id: int,
        last_price: float,
        client_id: int,
        why_held: str,
    ) -> None:
        word = to_status(status)
        if word is None:
            self._cannot_tell("status", InvalidData(f"status of order {order_id}", f"IB's word is {status!r}"))
            return
        if self._phases.get(order_id) is OrderPhase.NEW and word not in NOT_TAKEN:
            self._phases[order_id] = OrderPhase.LIVE
        done = decimal_or_zero(filled)
        self._remember(self._filled, perm_id, done)
        if self._listener is not None:
            report = StatusReport(
                order_id,
                client_id,
                perm_id,
                word,
                done,
                decimal_or_zero(remaining),
                to_order_price(average_price),
                to_order_price(last_price),
                parent_id,
                why_held,
            )
            self._listener.on_status(report)

    def on_execution(self, report: ExecutionReport) -> None:
        if not report.live or report.superseded:
            return
        execution = report.execution
        try:
            fill = to_fill(report.contract, execution, self._commissions.get(execution.execId))
        except (InvalidData, InvalidInstrument) as error:
            self._cannot_tell("execution", error)
            return
        if self._listener is not None:
            self._listener.on_execution(fill)

    def on_commission(self, report: IbCommission) -> None:
        self._remember(self._commissions, report.execId, report)
        told = to_commission(report)
        if told is not None and self._listener is not None:
            self._listener.on_commission(told)

    def on_error(self, message: ErrorMessage) -> None:
        """An error that names an order: what it means there comes from the table, by the order's phase."""
        order_id = message.request_id
        if message.subject is not Subject.ORDER_OR_ENDED or order_id >= FIRST_REQUEST_ID:
            return
        phase = self._phases.get(order_id, OrderPhase.LIVE)
        effect = EFFECTS[message.row.order_effect(phase)]
        if message.code == LOCATING:
            effect = OrderEffect.HELD
        if phase is OrderPhase.MODIFYING and effect is OrderEffect.MODIFY_REJECTED:
            self._phases[order_id] = OrderPhase.LIVE
        if self._listener is not None:
            error = OrderError(order_id, message.code, message.text, effect, message.advanced_json)
            self._listener.on_order_error(error)

    def on_trust_lost(self, reason: str) -> None:
        if self._listener is not None:
            self._listener.on_link_lost(reason)

    def on_trust_restored(self, reason: str) -> None:
        if self._listener is not None:
            self._listener.on_link_restored(reason)
