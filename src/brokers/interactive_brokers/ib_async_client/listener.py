"""What the low-level link tells its owner: raw ib_async objects, as they arrive, nothing held back or judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution
from ib_async.order import Order, OrderState

from ...errors import LinkError
from ..ib_error_codes import ErrorCode
from .lanes import Outgoing


class Subject(Enum):
    """What the id of an error message names on this link."""

    #: The id is -1 (or 0): the message is about the connection or the whole session.
    SESSION = "session"
    #: A query whose answer is awaited; its future has been ended when the code's row says so.
    REQUEST = "request"
    #: A running market-data, bar, depth, scanner or P&L stream.
    STREAM = "stream"
    #: Anything else: an order id, or a request that has already ended.
    ORDER_OR_ENDED = "order_or_ended"


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """Message 4 with its row of the table. It never says by itself what became of an order."""

    request_id: int
    code: int
    text: str
    #: IB's JSON on an order rejection, "" when absent.
    advanced_json: str
    row: ErrorCode
    subject: Subject
    #: The contract of the request, None when unknown.
    contract: Contract | None = None


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """Message 11. `execution.time` is aware UTC."""

    #: The reqExecutions request it answers; -1 for a live fill.
    request_id: int
    contract: Contract
    execution: Execution
    #: False when it answers reqExecutions: it may be old and known.
    live: bool
    #: The execution id without its correction number; corrections share it.
    base_id: str
    #: The correction number, 1 for the first report of a fill.
    revision: int
    #: The execution id of the report that this one corrects, None when it corrects none seen on this link.
    replaces: str | None
    #: This execution id was seen before.
    duplicate: bool
    #: A later correction of the same fill was seen before: this report is out of date.
    superseded: bool


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """A message that does not have the layout of the negotiated server version."""

    message_id: int
    name: str
    why: str
    #: It concerned an order, a fill or a position: what is known of them must be compared with the broker again.
    needs_reconcile: bool
    #: True when it was decoded all the same (it only had fields left over).
    decoded: bool
    fields: Sequence[str]


class Listener(Protocol):
    """Implemented by the session. Every method is called on the loop, inside the packet, and must not block."""

    def on_link_up(self, server_version: int, connection_time: str, accounts: Sequence[str]) -> None:
        """The handshake is complete; requests may be sent. `connection_time` is the server's free text."""

    def on_link_down(self, error: LinkError, not_sent: Sequence[Outgoing]) -> None:
        """The link ended, by either side. `not_sent` never left; whatever else was unanswered is uncertain."""

    def on_next_order_id(self, order_id: int) -> None:
        """Message 9. May be lower than before after TWS was restarted."""

    def on_error(self, error: ErrorMessage) -> None: ...

    def on_malformed(self, message: MalformedMessage) -> None: ...

    def on_open_order(self, order_id: int, contract: Contract, order: Order, state: OrderState) -> None: ...

    def on_open_orders_end(self) -> None: ...

    def on_order_status(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        average_price: float,
        permanent_id: int,
        parent_id: int,
        last_price: float,
        client_id: int,
        why_held: str,
        market_cap_price: float,
    ) -> None: ...

    def on_order_bound(self, request_id: int, client_id: int, order_id: int) -> None: ...

    def on_execution(self, report: ExecutionReport) -> None: ...

    def on_executions_end(self, request_id: int) -> None: ...

    def on_commission(self, report: CommissionReport) -> None:
        """Message 59, with IB's sentinels (`sentinels.number_or_none`). May come before its execution."""

    def on_completed_order(self, contract: Contract, order: Order, state: OrderState) -> None: ...

    def on_completed_orders_end(self) -> None: ...

    def on_position(self, account: str, contract: Contract, quantity: float, average_cost: float) -> None: ...

    def on_positions_end(self) -> None: ...


class NullListener:
    """A listener that drops everything; the default, and a base for listeners that need only some events."""

    def on_link_up(self, server_version: int, connection_time: str, accounts: Sequence[str]) -> None:
        return None

    def on_link_down(self, error: LinkError, not_sent: Sequence[Outgoing]) -> None:
        return None

    def on_next_order_id(self, order_id: int) -> None:
        return None

    def on_error(self, error: ErrorMessage) -> None:
        return None

    def on_malformed(self, message: MalformedMessage) -> None:
        return None

    def on_open_order(self, order_id: int, contract: Contract, order: Order, state: OrderState) -> None:
        return None

    def on_open_orders_end(self) -> None:
        return None

    def on_order_status(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        average_price: float,
        permanent_id: int,
        parent_id: int,
        last_price: float,
        client_id: int,
        why_held: str,
        market_cap_price: float,
    ) -> None:
        return None

    def on_order_bound(self, request_id: int, client_id: int, order_id: int) -> None:
        return None

    def on_execution(self, report: ExecutionReport) -> None:
        return None

    def on_executions_end(self, request_id: int) -> None:
        return None

    def on_commission(self, report: CommissionReport) -> None:
        return None

    def on_completed_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        return None

    def on_completed_orders_end(self) -> None:
        return None

    def on_position(self, account: str, contract: Contract, quantity: float, average_cost: float) -> None:
        return None

    def on_positions_end(self) -> None:
        return None
