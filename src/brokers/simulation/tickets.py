"""Orders as a client hands them in (OrderTicket), as they stand (OrderView), and what they traded (Execution)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

from ..domain.instrument import Instrument
from ..domain.order import OrderType, Side, TimeInForce
from ..domain.reports import BrokerStatus

_NO_ECHO: Mapping[str, Any] = MappingProxyType({})


class OcaType(IntEnum):
    """IB ocaType: what a fill does to the rest of the group."""

    CANCEL_WITH_BLOCK = 1
    REDUCE_WITH_BLOCK = 2
    REDUCE_WITHOUT_BLOCK = 3


class TriggerMethod(IntEnum):
    """IB triggerMethod: which prices elect a stop. DEFAULT is LAST for stocks and futures."""

    DEFAULT = 0
    DOUBLE_BID_ASK = 1
    LAST = 2
    DOUBLE_LAST = 3
    BID_ASK = 4
    LAST_OR_BID_ASK = 7
    MID_POINT = 8


class ConditionKind(IntEnum):
    """IB condition type codes (placeOrder, openOrder)."""

    PRICE = 1
    TIME = 3
    MARGIN = 4
    EXECUTION = 5
    VOLUME = 6
    PERCENT_CHANGE = 7


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `conjunction` ("a" and, "o" or) joins it to the NEXT one, as on the wire.

    `more` True: holds at or above `value`. `value` is a price (PRICE), percent of cushion (MARGIN), shares today
    (VOLUME) or percent against the previous close (PERCENT_CHANGE); `moment` (aware UTC) for TIME; `symbol` and
    `sec_type` for EXECUTION, `con_id` for PRICE, VOLUME and PERCENT_CHANGE.
    """

    kind: ConditionKind
    conjunction: str = "a"
    more: bool = True
    value: Decimal | None = None
    moment: datetime | None = None
    con_id: int = 0
    exchange: str = ""
    symbol: str = ""
    sec_type: str = ""
    trigger_method: int = 0


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """An order as a client sent it (TWS placeOrder, portal order). Nothing in it is checked at construction:
    the exchange answers what is impossible with IB's own error.

    Identity is (client_id, order_id); a second ticket with a live identity is a modify. `quantity` in shares or
    contracts. `stop_price` is auxPrice of STP and STP_LMT and the optional first stop of TRAIL (trailStopPrice);
    `trail_percent` in percent. `type_text` is the client's own word, kept for the echo and for types that `type`
    does not know (None: refused with 387). `account` "" means the only account. `good_till` and `good_after` aware.
    `parent_id` 0 means none. `transmit` False stages the order: nothing is told until it, or a child, is transmitted.
    `exchange` is the route asked for. `echo` is carried untouched into OrderView for a door's own fields.
    """

    client_id: int
    order_id: int
    con_id: int
    side: Side
    quantity: Decimal
    type: OrderType | None = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    #: None: a time in force that is not supported; refused with 321.
    tif: TimeInForce | None = TimeInForce.DAY
    good_till: datetime | None = None
    good_after: datetime | None = None
    outside_rth: bool = False
    account: str = ""
    order_ref: str = ""
    oca_group: str = ""
    oca_type: int = OcaType.REDUCE_WITHOUT_BLOCK
    parent_id: int = 0
    transmit: bool = True
    all_or_none: bool = False
    min_quantity: Decimal | None = None
    trigger_method: int = TriggerMethod.DEFAULT
    conditions: tuple[Condition, ...] = ()
    conditions_ignore_rth: bool = False
    #: The order is cancelled, not activated, when the conditions hold.
    conditions_cancel: bool = False
    exchange: str = "SMART"
    type_text: str = ""
    echo: Mapping[str, Any] = field(default_factory=lambda: _NO_ECHO, compare=False, repr=False)

    @property
    def key(self) -> tuple[int, int]:
        return (self.client_id, self.order_id)


class DoneBy(StrEnum):
    """Who ended an order; the value starts IB's completedStatus text."""

    TRADER = "Cancelled by Trader"
    SYSTEM = "Cancelled by System"


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as it stands at one moment; never changes.

    `ticket.quantity` is the present total (OCA reduction and child sizing change it). `average_price` and
    `last_fill_price` None before the first fill. `stop_now` is the present stop of a trailing order. `why_held` as
    IB ("locate", "child", "trigger"). `completed_at` None while open; `completed_status` is IB's text, e.g.
    "Filled Size: 100", "Cancelled by Trader". `commission` is the sum charged. Times aware UTC, market time.
    """

    ticket: OrderTicket
    instrument: Instrument
    perm_id: int
    status: BrokerStatus
    filled: Decimal
    remaining: Decimal
    average_price: Decimal | None
    last_fill_price: Decimal | None
    created_at: datetime
    parent_perm_id: int = 0
    stop_now: Decimal | None = None
    why_held: str = ""
    commission: Decimal = Decimal(0)
    completed_at: datetime | None = None
    completed_status: str = ""
    staged: bool = False

    @property
    def order_id(self) -> int:
        return self.ticket.order_id

    @property
    def client_id(self) -> int:
        return self.ticket.client_id

    @property
    def account(self) -> str:
        return self.ticket.account


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. `exec_id` as IB's "0000e0d5.69dd7411.01.01": unique, deterministic, its last part the revision.

    `quantity` > 0 (0 in the revision that busts it), `price` per share; `cumulative` and `average_price` are the
    order's, this fill included. `commission` and `realized_pnl` in `currency`; realized 0 when the fill only opens.
    `added_liquidity` True for a resting order. `liquidation` marks a forced closing by the broker.
    """

    exec_id: str
    time: datetime
    account: str
    instrument: Instrument
    side: Side
    quantity: Decimal
    price: Decimal
    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    exchange: str
    cumulative: Decimal
    average_price: Decimal
    commission: Decimal
    currency: str
    realized_pnl: Decimal
    added_liquidity: bool = False
    liquidation: bool = False
