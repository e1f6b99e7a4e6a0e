"""The half of a pool that says nothing of its own: orders, evidence and account are those of one gateway."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..domain.order import Fill
from ..domain.reports import BrokerOrder, WireOrder
from ..order_port import OrderListener
from .ib_account_half import AccountHalf
from .ib_transport import PositionListener


class PoolOrders(AccountHalf):
    """An OrderPort, and what the account is, by `orders` alone: no other gateway is asked or told, even while this one
    is lost. The listener is handed to it, so that its silence is heard as what it is."""

    @property
    def is_healthy(self) -> bool:
        return self.orders.is_healthy

    @property
    def next_order_id(self) -> int:
        return self.orders.next_order_id

    @property
    def reading_time(self) -> float:
        return self.orders.reading_time

    def add_position_listener(self, listener: PositionListener) -> None:
        self.orders.add_position_listener(listener)

    # Writes

    def set_listener(self, listener: OrderListener) -> None:
        self.orders.set_listener(listener)

    def shows_orders_of(self, door: str) -> bool:
        return self.orders.shows_orders_of(door)

    async def verify_link(self, deadline: float) -> None:
        await self.orders.verify_link(deadline)

    async def place(self, order: WireOrder) -> None:
        await self.orders.place(order)

    async def modify(self, order: WireOrder) -> None:
        await self.orders.modify(order)

    async def cancel(self, order_id: int, perm_id: int | None = None, client_id: int | None = None) -> None:
        await self.orders.cancel(order_id, perm_id, client_id)

    async def cancel_everything(self) -> None:
        await self.orders.cancel_everything()

    # Evidence

    async def open_orders(self) -> Sequence[BrokerOrder]:
        return await self.orders.open_orders()

    async def completed_orders(self) -> Sequence[BrokerOrder]:
        return await self.orders.completed_orders()

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        return await self.orders.executions(since)
