"""The risk rules over a broker's caches: the gate that the order manager asks, and what the rules read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from .domain.account import AccountSummary, Position
from .domain.instrument import Instrument, InstrumentDetails
from .domain.market_data import Quote
from .domain.order import NewOrder, Order
from .domain.sessions import Session, TradingDay
from .risk import DayStart, RiskView, loss_day

if TYPE_CHECKING:
    from .managed_broker import ManagedBroker


class BrokerGate:
    """The order manager's risk gate over a broker's caches."""

    def __init__(self, broker: ManagedBroker) -> None:
        self._broker = broker

    async def prepare(self, order: NewOrder, *, replaces: Order | None = None) -> None:
        await self._broker.freshen(order)
        self._broker.note_day_start()

    def check(
        self, order: NewOrder, *, replaces: Order | None, parent: NewOrder | None = None, emergency: bool = False
    ) -> None:
        if self._broker.risk.policy.entry_window and replaces is None and parent is None:
            # Another process of this journal may have opened the same a moment ago.
            self._broker.manager.note_others()
        self._broker.risk.check(order, replaces=replaces, parent=parent, emergency=emergency)


class BrokerRiskView(RiskView):
    """The caches of a broker as the risk rules read them."""

    def __init__(self, broker: ManagedBroker) -> None:
        self._broker = broker

    def now(self) -> datetime:
        return self._broker.clock.now()

    def default_account(self) -> str:
        return self._broker.default_account()

    def session(self, instrument: Instrument) -> Session:
        return self._broker.session(instrument)

    def trading_day(self, instrument: Instrument) -> TradingDay | None:
        return self._broker.calendar.trading_day(loss_day(self.now()))

    def quote(self, instrument: Instrument) -> Quote | None:
        return self._broker.cached_quote(instrument)

    def details(self, instrument: Instrument) -> InstrumentDetails | None:
        return self._broker.cached_details(instrument)

    def positions(self, account: str) -> Sequence[Position]:
        return self._broker.cached_positions(account)

    def owned_position(self, account: str, instrument: Instrument) -> Decimal:
        return self._broker.manager.owned_position(account, instrument)

    def working_orders(self, account: str) -> Sequence[Order]:
        default = self.default_account()
        return [
            order for order in self._broker.manager.working_orders() if (order.intent.account or default) == account
        ]

    def recent_orders(self, since: datetime) -> Sequence[Order]:
        return self._broker.manager.recent_orders(since)

    def messages_sent(self, since: datetime) -> int:
        return self._broker.manager.messages_sent(since)

    def account(self, account: str) -> AccountSummary | None:
        return self._broker.cached_account(account)

    def day_start(self, account: str) -> DayStart | None:
        return self._broker.day_start(account)

    def fx_rate(self, currency: str) -> Decimal | None:
        return self._broker.fx_rate(currency)

    def kill_switch(self) -> str | None:
        return self._broker.manager.halted

    def in_doubt(self, instrument: Instrument) -> str | None:
        return self._broker.in_doubt(instrument)

    def shortable_shares(self, instrument: Instrument) -> Decimal | None:
        return self._broker.shortable_shares(instrument)
