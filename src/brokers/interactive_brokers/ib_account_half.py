"""What the account and the session are, by the word of one transport among several: the one that has the orders."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from ..domain.account import AccountSummary, PnL, Position
from ..domain.order import WhatIf
from ..domain.reports import WireOrder
from .ib_transport import IbTransport, LinkState, StartupSection


class AccountHalf(abc.ABC):
    """Everything about session and account that `orders` alone tells, now and whenever another one takes its place."""

    @property
    @abc.abstractmethod
    def orders(self) -> IbTransport:
        """The transport that has the orders at this moment."""

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
    def minimum_quantity(self) -> Decimal:
        return self.orders.minimum_quantity

    def accounts(self) -> tuple[str, ...]:
        return self.orders.accounts()

    def clock_offset(self) -> timedelta | None:
        return self.orders.clock_offset()

    async def what_if(self, order: WireOrder) -> WhatIf:
        return await self.orders.what_if(order)

    async def positions(self) -> Sequence[Position]:
        return await self.orders.positions()

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
