"""The half of a pool that says nothing of its own: orders, evidence and account are those of one gateway."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ..domain.account import AccountSummary, PnL, Position
from ..domain.order import Fill, WhatIf
from ..domain.reports import BrokerOrder, WireOrder
from ..order_port import OrderListener
from .ib_transport import IbTransport, LinkState, PositionListener, StartupSection


class OrderHalf:
    """An OrderPort, and what the account is, by `orders` alone: no other gateway is asked or told, even while this one
    is lost. The listener is handed to it, so that its silence is heard as what it is."""

    orders: IbTransport

    @property
    def name(self) -> str:
        return self.orders.name

    @property
    def state(self) -> LinkState:
        return self.orders.state

    @property
    def sections(self) -> Sequence[StartupSection]:
        return self.orders.sections

    @property
    def client_id(self) -> int:
        return self.orders.client_id

    @property
    def is_healthy(self) -> bool:
        return self.orders.is_healthy

    @property
    def next_order_id(self) -> int:
        return self.orders.next_order_id

    @property
    def reading_time(self) -> float:
        return self.orders.reading_time

    @property
    def minimum_quantity(self) -> Decimal:
        return self.orders.minimum_quantity

    def accounts(self) -> tuple[str, ...]:
        return self.orders.accounts()

    def clock_offset(self) -> timedelta | None:
        return self.orders.clock_offset()

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

    async def what_if(self, order: WireOrder) -> WhatIf:
        return await self.orders.what_if(order)

    # Evidence

    async def open_orders(self) -> Sequence[BrokerOrder]:
        return await self.orders.open_orders()

    async def completed_orders(self) -> Sequence[BrokerOrder]:
        return await self.orders.completed_orders()

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        return await self.orders.executions(since)

    async def positions(self) -> Sequence[Position]:
        return await self.orders.positions()

    # Account

    def cached_positions(self) -> list[Position] | None:
        return self.orders.cached_positions()

    def cached_summary(self, account: str) -> AccountSummary | None:
        return self.orders.cached_summary(account)

    def exchange_rate(self, account: str, currency: str) -> Decimal | None:
        return self.orders.exchange_rate(account, currency)

    async def account_summary(self) -> list[AccountSummary]:
        return await self.orders.account_summary()

    async def pnl(self, account: str, con_id: int | None = None) -> PnL:
        return await self.orders.pnl(account, con_id)
