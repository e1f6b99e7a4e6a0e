"""Every order that the exchange knows, by identity, by permId, by instrument and by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from ..domain.instrument import Instrument
from ..domain.order import OrderType, Side
from ..domain.reports import BrokerStatus
from .tickets import OrderTicket, OrderView

ZERO = Decimal(0)


class Phase(StrEnum):
    """Where an order is in its life; statuses told to clients follow from it."""

    STAGED = "STAGED"  #: transmit=False; nobody was told
    HELD = "HELD"  #: waits for its parent, the open, a trigger, a condition
    ROUTED = "ROUTED"  #: on its way to the exchange
    WORKING = "WORKING"
    DONE = "DONE"


@dataclass(slots=True, eq=False)
class WorkingOrder:
    """An order and its state. `cap` limits what a child may fill (None: its own size). `family_group` is the OCA group
    that children of one parent share without asking for it."""

    ticket: OrderTicket
    instrument: Instrument
    perm_id: int
    created_at: datetime
    phase: Phase = Phase.HELD
    status: BrokerStatus = BrokerStatus.PRE_SUBMITTED
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    last_fill_price: Decimal | None = None
    commission: Decimal = ZERO
    elected: bool = False
    stop_now: Decimal | None = None
    queue_ahead: Decimal = ZERO
    resting: bool = False
    located: bool = True
    conditions_met: bool = False
    pending_cancel: bool = False
    cap: Decimal | None = None
    #: What fills of its OCA group took off this order's size.
    reduced: Decimal = ZERO
    parent_perm_id: int = 0
    family_group: str = ""
    expires_at: datetime | None = None
    why_held: str = ""
    completed_at: datetime | None = None
    completed_status: str = ""

    @property
    def con_id(self) -> int:
        return self.ticket.con_id

    @property
    def side(self) -> Side:
        return self.ticket.side

    @property
    def type(self) -> OrderType:
        """Orders without a known type are refused before they become a WorkingOrder."""
        return self.ticket.type or OrderType.MARKET

    @property
    def is_live(self) -> bool:
        return self.phase in (Phase.HELD, Phase.ROUTED, Phase.WORKING)

    @property
    def remaining(self) -> Decimal:
        return self.ticket.quantity - self.filled

    @property
    def fillable(self) -> Decimal:
        """What may fill now: the rest of the order, or of what its parent has filled."""
        size = self.ticket.quantity if self.cap is None else min(self.cap, self.ticket.quantity)
        return max(size - self.filled, ZERO)

    @property
    def group(self) -> str:
        return self.ticket.oca_group or self.family_group

    @property
    def average_price(self) -> Decimal | None:
        return self.notional / self.filled if self.filled else None

    def view(self) -> OrderView:
        return OrderView(
            ticket=self.ticket,
            instrument=self.instrument,
            perm_id=self.perm_id,
            status=self.status,
            filled=self.filled,
            remaining=self.ticket.quantity - self.filled,
            average_price=self.notional / self.filled if self.filled else None,
            last_fill_price=self.last_fill_price,
            created_at=self.created_at,
            parent_perm_id=self.parent_perm_id,
            stop_now=self.stop_now,
            why_held=self.why_held,
            commission=self.commission,
            completed_at=self.completed_at,
            completed_status=self.completed_status,
            staged=self.phase is Phase.STAGED,
        )


@dataclass(slots=True)
class OrderBook:
    """Indexes over all orders. `kept` bounds how many finished orders are remembered."""

    kept: int
    first_perm_id: int = 1_426_000_001
    by_key: dict[tuple[int, int], WorkingOrder] = field(default_factory=dict)
    by_perm: dict[int, WorkingOrder] = field(default_factory=dict)
    live: dict[int, WorkingOrder] = field(default_factory=dict)
    done: dict[int, WorkingOrder] = field(default_factory=dict)
    by_con: dict[int, dict[int, WorkingOrder]] = field(default_factory=dict)
    conditional: dict[int, WorkingOrder] = field(default_factory=dict)
    highest_id: dict[int, int] = field(default_factory=dict)
    kids: dict[int, list[WorkingOrder]] = field(default_factory=dict)
    next_perm_id: int = 0
    #: Orders from outside the API carry ids below zero.
    next_manual_id: int = -1

    def __post_init__(self) -> None:
        self.next_perm_id = self.next_perm_id or self.first_perm_id

    def take_perm_id(self) -> int:
        self.next_perm_id += 1
        return self.next_perm_id - 1

    def take_manual_id(self) -> int:
        self.next_manual_id -= 1
        return self.next_manual_id + 1

    def add(self, order: WorkingOrder) -> None:
        """Register an order; staged ones are known by identity alone."""
        self.by_key[order.ticket.key] = order
        self.by_perm[order.perm_id] = order
        client, number = order.ticket.key
        self.highest_id[client] = max(self.highest_id.get(client, 0), number)
        if order.parent_perm_id:
            self.kids.setdefault(order.parent_perm_id, []).append(order)
        if order.is_live:
            self.activate(order)

    def activate(self, order: WorkingOrder) -> None:
        self.live[order.perm_id] = order
        self.by_con.setdefault(order.con_id, {})[order.perm_id] = order
        if order.ticket.conditions and not order.conditions_met:
            self.conditional[order.perm_id] = order

    def finish(self, order: WorkingOrder, *, told: bool = True) -> None:
        """Take a finished order off the live indexes; `told` False for staged ones that nobody knew."""
        order.phase = Phase.DONE
        self.live.pop(order.perm_id, None)
        self.conditional.pop(order.perm_id, None)
        self.by_con.get(order.con_id, {}).pop(order.perm_id, None)
        if told:
            self.done[order.perm_id] = order
            if len(self.done) > self.kept:
                self._forget(next(iter(self.done)))

    def _forget(self, perm_id: int) -> None:
        order = self.done.pop(perm_id)
        self.kids.pop(perm_id, None)
        self.by_perm.pop(perm_id, None)
        if self.by_key.get(order.ticket.key) is order:
            del self.by_key[order.ticket.key]

    def of_instrument(self, con_id: int) -> list[WorkingOrder]:
        """Live orders of one instrument, oldest first."""
        orders = self.by_con.get(con_id)
        return list(orders.values()) if orders else []

    def children(self, order: WorkingOrder) -> list[WorkingOrder]:
        """Staged and live children, oldest first."""
        return [other for other in self.kids.get(order.perm_id, ()) if other.phase is not Phase.DONE]

    def group_of(self, order: WorkingOrder) -> list[WorkingOrder]:
        """The other live orders of its OCA group in its account."""
        if not order.group:
            return []
        return [
            other
            for other in self.live.values()
            if other is not order and other.group == order.group and other.ticket.account == order.ticket.account
        ]

    def staged(self) -> Iterator[WorkingOrder]:
        return (order for order in self.by_key.values() if order.phase is Phase.STAGED)


def views(orders: Iterable[WorkingOrder]) -> list[OrderView]:
    return [order.view() for order in orders]
