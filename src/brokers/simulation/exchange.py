"""The one exchange behind every door: event driven, no threads, no I/O; market time moves only when told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..domain.account import AccountSummary, PnL, Position
from ..domain.instrument import InstrumentDetails
from ..domain.order import WhatIf
from ..domain.sessions import Session
from .events import ExchangeEvent
from .market import PriceSource
from .models import CommissionSchedule, ExchangeSettings, MarketView, TradingCalendar
from .tickets import Execution, OrderTicket, OrderView


class Exchange:
    """Orders in, events out. Not thread-safe; every call returns at once. Listeners are called synchronously, after
    the state is whole, and may call back into the exchange."""

    prices: PriceSource
    settings: ExchangeSettings
    faults: Any  # OrderFaults: reject_next, hold/release, drop_next, duplicate_next, delay_next

    def __init__(
        self,
        prices: PriceSource,
        *,
        calendar: TradingCalendar,
        commissions: CommissionSchedule,
        settings: ExchangeSettings | None = None,
    ) -> None: ...

    # time
    @property
    def now(self) -> datetime: ...
    def next_event_time(self) -> datetime | None: ...
    def advance_to(self, moment: datetime) -> int:
        """Everything up to and including `moment`, in time order; returns the number of events told. ValueError when
        `moment` lies in the past or is naive."""
        ...

    def subscribe(self, callback: Callable[[ExchangeEvent], None], *kinds: type[ExchangeEvent]) -> Callable[[], None]:
        """`callback` for every event of `kinds` (exact classes; none given: all). Returns the unsubscriber."""
        ...

    # market
    def details(self, con_id: int) -> InstrumentDetails | None: ...
    def catalogue(self) -> Sequence[InstrumentDetails]: ...
    def market(self, con_id: int) -> MarketView:
        """KeyError for an unknown con_id."""
        ...

    def session(self, con_id: int) -> Session: ...
    def halt(self, con_id: int) -> None: ...
    def resume(self, con_id: int) -> None: ...
    def locate(self, symbol: str) -> None: ...

    # orders: the answer comes as events
    def place(self, ticket: OrderTicket) -> None:
        """New order, or modify when (client_id, order_id) is live."""
        ...

    def cancel(self, client_id: int, order_id: int) -> None: ...
    def cancel_perm(self, perm_id: int, client_id: int | None = None) -> None:
        """By perm_id (the portal's orderId), whoever owns it."""
        ...

    def cancel_all(self, client_id: int | None = None, account: str | None = None) -> None:
        """Global cancel: every live order of every client; `client_id` is who asked."""
        ...

    def what_if(self, ticket: OrderTicket) -> WhatIf:
        """No side effects. Raises errors.OrderRejected with IB's code when the ticket would be refused."""
        ...

    def next_order_id(self, client_id: int) -> int:
        """One above the highest id seen from `client_id` (IB nextValidId)."""
        ...

    def order(self, client_id: int, order_id: int) -> OrderView | None: ...
    def order_by_perm(self, perm_id: int) -> OrderView | None: ...
    def open_orders(self, client_id: int | None = None) -> list[OrderView]:
        """Live orders, oldest first; None: all clients'. Staged orders are not among them."""
        ...

    def staged_orders(self, client_id: int | None = None) -> list[OrderView]: ...
    def completed_orders(self) -> list[OrderView]: ...
    def executions(self, account: str | None = None, client_id: int | None = None) -> list[Execution]:
        """Since midnight in New York, the latest revision of each, oldest first."""
        ...

    # accounts
    @property
    def accounts(self) -> tuple[str, ...]: ...
    def summary(self, account: str) -> AccountSummary: ...
    def positions(self, account: str | None = None) -> list[Position]:
        """Non-zero positions with market figures."""
        ...

    def pnl(self, account: str) -> PnL: ...
    def pnl_single(self, account: str, con_id: int) -> PnL: ...

    # what happens at a broker
    def correct_execution(
        self, exec_id: str, *, price: Decimal | None = None, quantity: Decimal | None = None
    ) -> str: ...
    def bust_execution(self, exec_id: str) -> str: ...
    def liquidate(self, account: str, con_id: int) -> None: ...

    # persistence
    def snapshot(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None:
        """Before the first advance. ValueError for a state this version cannot read."""
        ...
