"""Which of the portal's orders are ours, and under which number each side knows them.

The manager names an order by (client id, order id) and by its key; the portal by orderId, and by cOID, which it echoes
as order_ref. A bracket's children have no cOID (P 2.5): they are known by the answer to their placing, or found again
by account, contract, side, type and price. Here the portal's orderId is told as a negative permId (OrderPort), and our
own order ids come from the journal; an order placed elsewhere has order id 0 and client id FOREIGN.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from ...domain.order import NewOrder
from ...domain.reports import BrokerOrder, WireOrder

#: Client id told for orders and executions that this client did not place.
FOREIGN = -1
#: Ended orders remembered; the oldest go first.
MEMORY = 20_000


@dataclass(slots=True, eq=False)
class OwnOrder:
    """`portal_id` None until the portal told it. `is_dead`: refused, or it never left."""

    order_id: int
    intent: NewOrder
    account: str
    parent_id: int = 0
    portal_id: int | None = None
    is_dead: bool = False
    #: Loop time at which it was last sent or changed.
    asked_at: float = float("-inf")
    #: Shares booked by executions, to tell which child an execution without a reference belongs to.
    booked: Decimal = Decimal(0)
    #: Set when the placing of this order has been answered, in whatever way.
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        return self.intent.key

    @property
    def is_child(self) -> bool:
        return self.parent_id != 0


class OwnOrders:
    """Every order that this process sent through the portal."""

    def __init__(self) -> None:
        self.by_order_id: dict[int, OwnOrder] = {}
        self.by_key: dict[str, OwnOrder] = {}
        self.by_portal_id: dict[int, OwnOrder] = {}
        self.next_order_id = 1

    def add(self, order: WireOrder) -> OwnOrder:
        own = OwnOrder(order.order_id, order.intent, order.account, order.parent_id)
        self.by_order_id[own.order_id] = own
        self.by_key[own.key] = own
        self.next_order_id = max(self.next_order_id, own.order_id + 1)
        while len(self.by_order_id) > MEMORY:
            self._forget(next(iter(self.by_order_id.values())))
        return own

    def _forget(self, own: OwnOrder) -> None:
        self.by_order_id.pop(own.order_id, None)
        self.by_key.pop(own.key, None)
        if own.portal_id is not None:
            self.by_portal_id.pop(own.portal_id, None)

    def bind(self, own: OwnOrder, portal_id: int) -> None:
        if own.portal_id is None:
            own.portal_id = portal_id
        # a second number for one order is told under the same key: the manager calls that a fork (promise Q8)
        self.by_portal_id[portal_id] = own

    def children_without_number(self) -> Iterable[OwnOrder]:
        return [one for one in self.by_order_id.values() if one.is_child and one.portal_id is None and not one.is_dead]

    def of(self, told: BrokerOrder) -> OwnOrder | None:
        """The order that a row of the portal shows, bound to its number from now on; None for one of others."""
        number = -told.perm_id
        own = self.by_portal_id.get(number)
        if own is not None:
            return own
        named = self.by_key.get(told.key) if told.key else None
        if named is not None and not named.is_child and _is_same(named, told):
            self.bind(named, number)
            return named
        if told.key is not None and named is None:
            return None
        fitting = [one for one in self.children_without_number() if _is_same(one, told)]
        if len(fitting) != 1:
            return None
        self.bind(fitting[0], number)
        return fitting[0]

    def of_execution(
        self, portal_id: int | None, key: str | None, account: str, con_id: int, side: str
    ) -> OwnOrder | None:
        """The order that was executed; None for one of others, or when two children could be meant."""
        if portal_id is not None and portal_id in self.by_portal_id:
            return self.by_portal_id[portal_id]
        named = self.by_key.get(key) if key else None
        if named is not None:
            return named
        if key is not None or portal_id is not None:
            return None
        fitting = [
            one
            for one in self.by_order_id.values()
            if one.is_child
            and not one.is_dead
            and one.account == account
            and one.intent.instrument.con_id == con_id
            and one.intent.side.value == side
            and one.booked < one.intent.quantity
        ]
        return fitting[0] if len(fitting) == 1 else None


def _is_same(own: OwnOrder, told: BrokerOrder) -> bool:
    """Whether a row can be this order: what never changes of it, and for a child its prices too."""
    intent = own.intent
    alike = (
        told.account == own.account and told.instrument.con_id == intent.instrument.con_id and told.side is intent.side
    )
    if not own.is_child:
        return alike
    return (
        alike
        and told.type is intent.type
        and told.limit_price == intent.limit_price
        and told.stop_price == intent.stop_price
    )
