"""What the risk rules read of an IB session, and IB's margin question."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from ..broker_gate import BrokerGate
from ..domain.account import AccountSummary, Position
from ..domain.instrument import Instrument, InstrumentDetails
from ..domain.market_data import Quote
from ..domain.order import NewOrder, Order, Side
from ..domain.reports import WireOrder
from ..errors import NotConnected
from ..managed_broker import ManagedBroker
from .ib_account import PositionBook
from .ib_contracts import ContractBook
from .ib_data_manager import IBDataManager
from .ib_risk_manager import IBRiskManager, shortable_shares
from .ib_transport import IbTransport


class RiskHalf(ManagedBroker, abc.ABC):
    """The half of the adapter that its risk rules look at: caches, and how they are brought up to date."""

    transport: IbTransport
    contracts: ContractBook
    data: IBDataManager
    risk: IBRiskManager
    _book: PositionBook
    #: Whether IB is asked for the margin of orders that margin could refuse.
    _margin_what_if: bool

    def cached_quote(self, instrument: Instrument) -> Quote | None:
        return self.data.cached_quote(instrument)

    def cached_details(self, instrument: Instrument) -> InstrumentDetails | None:
        return self.contracts.known(instrument)

    def cached_positions(self, account: str) -> Sequence[Position]:
        told = self.transport.cached_positions()
        if told is None:
            raise NotConnected("positions", "the broker has not told them yet", "wait until the session is synced")
        held = [position for position in told if position.account == account]
        return [row for row in self._book.current(held, self._new_position) if row.account == account]

    def _new_position(self, account: str, con_id: int) -> Position | None:
        details = self.contracts.by_number(con_id)
        return None if details is None else Position(account, details.instrument, Decimal(0), Decimal(0))

    def cached_account(self, account: str) -> AccountSummary | None:
        return self.transport.cached_summary(account)

    def fx_rate(self, currency: str) -> Decimal | None:
        """USD for one unit, from the rates that IB tells against the account's base currency."""
        if currency == "USD":
            return Decimal(1)
        account = self.accounts()[0]
        unit, dollar = (self.transport.exchange_rate(account, name) for name in (currency, "USD"))
        summary = self.transport.cached_summary(account)
        if summary is not None and summary.currency == "USD":
            dollar = Decimal(1)
        if summary is not None and summary.currency == currency:
            unit = Decimal(1)
        return unit / dollar if unit and dollar else None

    def shortable_shares(self, instrument: Instrument) -> Decimal | None:
        return shortable_shares(*self.data.shortable(instrument))

    async def freshen(self, order: NewOrder) -> None:
        """A fresh quote and a position without doubt, if they can be had in time; the rules judge what there is."""
        account, con_id = order.account or self.default_account(), order.instrument.con_id or 0
        if self._book.in_doubt(account, con_id):
            await self._book.refresh(account, con_id, self.transport.positions)
        await self.data.freshen(order.instrument)

    async def check_margin(self, order: NewOrder, *, replaces: Order | None = None) -> None:
        """IB's own estimate where margin could refuse the order. Raises RiskRefusal."""
        if not self._margin_what_if or self._plainly_affordable(order) or not self.risk.needs_what_if(order):
            return
        # An order that our own rules refuse is not worth a question, and their refusal names the real reason.
        self.risk.check(order, replaces=replaces)
        details = await self.details(order.instrument)
        account = order.account or self.accounts()[0]
        wire = WireOrder(self.port.next_order_id, replace(order, instrument=details.instrument), account)
        await self.risk.check_margin(wire, self.port)

    def _plainly_affordable(self, order: NewOrder) -> bool:
        """A buy whose whole value leaves the buffer untouched, told by a multiplication; the rules decide the rest."""
        instrument, price = order.instrument, order.limit_price
        if order.side is not Side.BUY or price is None or instrument.multiplier != 1 or instrument.currency != "USD":
            return False
        summary = self.transport.cached_summary(order.account or self.accounts()[0])
        if summary is None or summary.excess_liquidity is None or summary.currency != "USD":
            return False
        return summary.excess_liquidity - order.quantity * price >= self.risk.policy.margin_buffer


class IBGate(BrokerGate):
    """The risk gate with IB's margin question, asked before the order is judged and only where it could refuse."""

    def __init__(self, adapter: RiskHalf) -> None:
        super().__init__(adapter)
        self._adapter = adapter

    async def prepare(self, order: NewOrder, *, replaces: Order | None = None) -> None:
        await super().prepare(order, replaces=replaces)
        await self._adapter.check_margin(order, replaces=replaces)
