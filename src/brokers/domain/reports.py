"""What a broker tells about orders, in neutral words. Order managers consume these; wire clients produce them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from .account import Position
from .instrument import Instrument
from .order import Fill, NewOrder, Order, OrderType, Side, TimeInForce


class BrokerStatus(StrEnum):
    """Order statuses in IB's spelling (TWS message 3)."""

    PENDING_SUBMIT = "PendingSubmit"
    PENDING_CANCEL = "PendingCancel"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    API_PENDING = "ApiPending"
    API_CANCELLED = "ApiCancelled"
    CANCELLED = "Cancelled"
    FILLED = "Filled"
    INACTIVE = "Inactive"


class OrderEffect(StrEnum):
    """What an error code means for the order it names."""

    NONE = "NONE"  #: a warning: the order is what it was
    REJECTED = "REJECTED"
    MODIFY_REJECTED = "MODIFY_REJECTED"
    CANCEL_REJECTED = "CANCEL_REJECTED"
    CANCELLED = "CANCELLED"
    HELD = "HELD"
    UNKNOWN = "UNKNOWN"  #: not in the table: reported, and the order stays what it was


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """The broker's own picture of an order (openOrder, completedOrder). Prices None when unset.

    `key` is the reference echoed by the broker (orderRef), None when it has none. `status` None where the message
    carries none. `filled` None where the message does not tell. `order_id` 0 or negative: placed outside the API.
    """

    perm_id: int
    order_id: int
    client_id: int
    account: str
    instrument: Instrument
    side: Side
    quantity: Decimal
    #: None for an order type that this package does not know; `type_text` is the broker's own word.
    type: OrderType | None
    type_text: str
    tif: TimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    outside_rth: bool = False
    key: str | None = None
    oca_group: str | None = None
    parent_id: int = 0
    status: BrokerStatus | None = None
    filled: Decimal | None = None
    transmit: bool = True
    warning: str = ""
    completed_status: str = ""
    completed_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One orderStatus. `filled`/`remaining` in shares; `average_price` None before the first fill."""

    order_id: int
    client_id: int
    perm_id: int
    status: BrokerStatus
    filled: Decimal
    remaining: Decimal
    average_price: Decimal | None = None
    last_fill_price: Decimal | None = None
    parent_id: int = 0
    why_held: str = ""


@dataclass(frozen=True, slots=True)
class CommissionReport:
    """Commission of one execution in `currency`; `realized_pnl` None when the broker told none (unset double)."""

    exec_id: str
    commission: Decimal
    currency: str
    realized_pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderError:
    """An error or warning that names an order. `effect` comes from the code table, never from the text."""

    order_id: int
    code: int
    text: str
    effect: OrderEffect
    advanced: str = ""


class OrderEventKind(StrEnum):
    STATE = "STATE"  #: the order's state changed
    FILL = "FILL"
    FILL_CORRECTED = "FILL_CORRECTED"
    COMMISSION = "COMMISSION"
    MODIFIED = "MODIFIED"
    MODIFY_REJECTED = "MODIFY_REJECTED"
    CANCEL_REJECTED = "CANCEL_REJECTED"
    WARNING = "WARNING"
    ALARM = "ALARM"  #: something a person must look at: mismatch, overfill, forked permId, lost protection
    POSITION = "POSITION"  #: a position moved with no order of ours (assignment, manual trade)


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One thing that happened, in the order it was learnt. `recovered`: learnt after a gap, not when it happened."""

    kind: OrderEventKind
    time: datetime
    order: Order | None = None
    fill: Fill | None = None
    position: Position | None = None
    text: str = ""
    code: int | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class WireOrder:
    """One order message: the intent plus what the session adds. `instrument` in it is qualified (has con_id).

    `transmit` False stages it; `parent_id` is the entry's order id for a bracket's leg, 0 otherwise. `perm_id` is the
    number that the broker gave an order which is changed now (OrderPort); None for a new one, or where none was told.
    """

    order_id: int
    intent: NewOrder
    account: str
    transmit: bool = True
    parent_id: int = 0
    perm_id: int | None = None
