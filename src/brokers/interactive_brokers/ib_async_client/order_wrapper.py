"""What IB tells of orders, executions and commissions: every message to the listener, each fact as it came."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution, Fill, IBDefaults
from ib_async.order import Order, OrderState
from ib_async.util import UNSET_INTEGER

from .listener import ExecutionReport, Listener, NullListener
from .pending import AnsweringWrapper
from .sentinels import number_or_none

logger = logging.getLogger(__name__)

#: Corrections are looked up among this many latest executions; a trading day has fewer.
EXECUTION_MEMORY = 20_000


class OpenOrder(NamedTuple):
    """One entry of an answer to reqOpenOrders or reqAllOpenOrders."""

    order_id: int
    contract: Contract
    order: Order
    state: OrderState


class CompletedOrder(NamedTuple):
    """One entry of an answer to reqCompletedOrders."""

    contract: Contract
    order: Order
    state: OrderState


def split_execution_id(execution_id: str) -> tuple[str, int]:
    """(id shared by all corrections, correction number). IB counts corrections behind the last point."""
    base, point, number = execution_id.rpartition(".")
    return (base, int(number)) if point and number.isdigit() else (execution_id, 0)


class OrderWrapper(AnsweringWrapper):
    """Keeps no order: it tells the listener, whose faults are logged and counted and lose no message behind them."""

    def __init__(self, ib: Any, listener: Listener | None, defaults: IBDefaults | None) -> None:
        self.listener: Listener = listener or NullListener()
        #: Listener methods that raised, by name.
        self.listener_failures: Counter[str] = Counter()
        self._revisions: OrderedDict[str, tuple[int, str]] = OrderedDict()
        super().__init__(ib, defaults=defaults or IBDefaults())

    def nextValidId(self, reqId: int) -> None:
        self.ib.client.updateReqId(reqId)
        self._tell(self.listener.on_next_order_id, reqId)

    def openOrder(self, orderId: int, contract: Contract, order: Order, orderState: OrderState) -> None:
        if 0 < orderId < UNSET_INTEGER:
            # TWS wants ids above every id it has shown to this client, other clients' orders included
            self.ib.client.updateReqId(orderId + 1)
        if order.whatIf:
            # TWS may echo the order once before its margin is computed
            pending = orderState.initMarginChange and number_or_none(orderState.initMarginChange) is None
            if not pending and order.orderId in self._futures:
                self._endReq(order.orderId, orderState)
            return
        results = self._results.get("openOrders")
        if results is not None:
            results.append(OpenOrder(orderId, contract, order, orderState))
        self._tell(self.listener.on_open_order, orderId, contract, order, orderState)

    def openOrderEnd(self) -> None:
        if self.in_flight("openOrders") is not None:
            self._endReq("openOrders")
        self._tell(self.listener.on_open_orders_end)

    def completedOrder(self, contract: Contract, order: Order, orderState: OrderState) -> None:
        results = self._results.get("completedOrders")
        if results is not None:
            results.append(CompletedOrder(contract, order, orderState))
        self._tell(self.listener.on_completed_order, contract, order, orderState)

    def completedOrdersEnd(self) -> None:
        if self.in_flight("completedOrders") is not None:
            self._endReq("completedOrders")
        self._tell(self.listener.on_completed_orders_end)

    def orderStatus(
        self,
        orderId: int,
        status: str,
        filled: float,
        remaining: float,
        avgFillPrice: float,
        permId: int,
        parentId: int,
        lastFillPrice: float,
        clientId: int,
        whyHeld: str,
        mktCapPrice: float = 0.0,
    ) -> None:
        self._tell(
            self.listener.on_order_status,
            orderId,
            status,
            filled,
            remaining,
            avgFillPrice,
            permId,
            parentId,
            lastFillPrice,
            clientId,
            whyHeld,
            mktCapPrice,
        )

    def orderBound(self, reqId: int, apiClientId: int, apiOrderId: int) -> None:
        self._tell(self.listener.on_order_bound, reqId, apiClientId, apiOrderId)

    def execDetails(self, reqId: int, contract: Contract, execution: Execution) -> None:
        if execution.orderId == UNSET_INTEGER:
            execution.orderId = 0  # how TWS numbers the executions of orders placed by hand
        if reqId >= 0:
            fill = Fill(contract, execution, CommissionReport(), execution.time)
            self._collect("execDetails", reqId, fill)
        base, revision = split_execution_id(execution.execId)
        latest, latest_id = self._revisions.get(base, (-1, ""))
        duplicate = execution.execId == latest_id
        superseded = revision < latest
        if revision > latest:
            self._revisions[base] = (revision, execution.execId)
            self._revisions.move_to_end(base)
            if len(self._revisions) > EXECUTION_MEMORY:
                self._revisions.popitem(last=False)
        replaces = latest_id if latest_id and revision > latest else None
        report = ExecutionReport(reqId, contract, execution, reqId < 0, base, revision, replaces, duplicate, superseded)
        self._tell(self.listener.on_execution, report)

    def execDetailsEnd(self, reqId: int) -> None:
        self._endReq(reqId)
        self._tell(self.listener.on_executions_end, reqId)

    def commissionReport(self, commissionReport: CommissionReport) -> None:
        self._tell(self.listener.on_commission, commissionReport)

    def _tell(self, method: Callable[..., None], *args: Any) -> None:
        try:
            method(*args)
        except Exception:  # the boundary to the listener: its fault must not lose the messages behind
            logger.exception("%s failed", self._count_failure(method))

    def _count_failure(self, method: Callable[..., None]) -> str:
        name: str = getattr(method, "__name__", "listener")
        self.listener_failures[name] += 1
        return name
