"""What the exchange tells its listeners, in the order in which it happens. Every event is frozen.

A door turns StatusChanged into openOrder (when `order_changed`) and orderStatus, Executed into execDetails,
CommissionCharged into commissionReport, and every Notice into an error message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ..domain.account import Position
from ..domain.sessions import Session
from .tickets import Execution, OrderView


@dataclass(frozen=True, slots=True)
class ExchangeEvent:
    """`time` is market time, aware UTC."""

    time: datetime


@dataclass(frozen=True, slots=True)
class OrderAccepted(ExchangeEvent):
    """A ticket became an order, or a change was taken (`modified`). Told before its first status; no door message."""

    order: OrderView
    modified: bool = False


@dataclass(frozen=True, slots=True)
class StatusChanged(ExchangeEvent):
    """`order_changed`: IB sends openOrder before this orderStatus. `requested_by` is the client whose cancel this
    answers when it is not the owner's (client 0, global cancel); that client is told with its own client id."""

    order: OrderView
    order_changed: bool = True
    requested_by: int | None = None


@dataclass(frozen=True, slots=True)
class Executed(ExchangeEvent):
    """A fill, or the correction of one (same base id, next revision)."""

    execution: Execution
    corrected: bool = False


@dataclass(frozen=True, slots=True)
class CommissionCharged(ExchangeEvent):
    """Always after the Executed of the same exec_id and the status that followed it."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Notice(ExchangeEvent):
    """An IB error or warning that names an order. `client_id` is told; `requested_by` too when not None.

    `order` None when no such order lives.
    """

    client_id: int
    order_id: int
    code: int
    text: str
    order: OrderView | None = None
    requested_by: int | None = None
    #: IB's advancedOrderRejectJson.
    advanced: str = ""


@dataclass(frozen=True, slots=True)
class OrderRejected(Notice):
    """A new order was refused."""


@dataclass(frozen=True, slots=True)
class ModifyRejected(Notice):
    """A change was refused; the original order is live as it was."""


@dataclass(frozen=True, slots=True)
class CancelRejected(Notice):
    """A cancel was refused (161, 10147, 10148)."""


@dataclass(frozen=True, slots=True)
class CancelConfirmed(Notice):
    """202, told after the status Cancelled."""


@dataclass(frozen=True, slots=True)
class Warned(Notice):
    """The order stays what it is (399, 404, 2109 …)."""


@dataclass(frozen=True, slots=True)
class QuoteChanged(ExchangeEvent):
    """The top of book of `con_id` moved; sizes in shares."""

    con_id: int
    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal


@dataclass(frozen=True, slots=True)
class Printed(ExchangeEvent):
    """A trade of the market (not ours). `size` None when the source tells none."""

    con_id: int
    price: Decimal
    size: Decimal | None


@dataclass(frozen=True, slots=True)
class Halted(ExchangeEvent):
    """Trading in `con_id` stopped (`halted`) or resumed."""

    con_id: int
    halted: bool


@dataclass(frozen=True, slots=True)
class SessionChanged(ExchangeEvent):
    """`venue` is "stocks" or "futures"."""

    venue: str
    session: Session
    previous: Session


@dataclass(frozen=True, slots=True)
class PositionChanged(ExchangeEvent):
    """After every booking; quantity 0 when the position is closed."""

    position: Position


@dataclass(frozen=True, slots=True)
class AccountChanged(ExchangeEvent):
    """Cash or positions of `account` changed (not told for mere price moves)."""

    account: str
    cash: Decimal


@dataclass(frozen=True, slots=True)
class DayStarted(ExchangeEvent):
    """Midnight in New York: daily P&L starts anew, executions of yesterday are no longer told, cash settles."""
