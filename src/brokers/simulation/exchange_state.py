"""What every part of the exchange shares: the clock, the books, the markets, and the way to tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from ..domain.instrument import InstrumentDetails, SecType
from ..domain.order import Side, TimeInForce
from ..domain.sessions import Session
from .agenda import Agenda
from .book import OrderBook, WorkingOrder
from .conditions import Facts
from .events import ExchangeEvent
from .hours import Hours, Venue
from .ledger import Ledger
from .market_state import MarketState
from .models import CommissionSchedule, ExchangeSettings
from .order_faults import OrderFaults
from .tickets import Execution

#: First part of an execution id: where it was made. As recorded: stock buys, stock sells, futures.
_PLACES = {Side.BUY: 0x0000E0D5, Side.SELL: 0x0000DC8F}
_FUTURES_PLACE = 0x0000E1A7

_EXTENDED = frozenset({Session.PRE, Session.POST})


@dataclass(slots=True)
class ExchangeState:
    """`now` is market time. `executions` are today's, the latest revision of each, by base id."""

    now: datetime
    settings: ExchangeSettings
    random: Random
    hours: Hours
    ledger: Ledger
    book: OrderBook
    markets: Mapping[int, MarketState]
    commissions: CommissionSchedule
    tell: Callable[[ExchangeEvent], None]
    agenda: Agenda = field(default_factory=Agenda)
    faults: OrderFaults = field(default_factory=OrderFaults)
    sessions: dict[Venue, Session] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    last_exec_number: int = 0
    #: Symbols whose short sales wait for a locate.
    hard_to_borrow: set[str] = field(default_factory=set)

    def details(self, con_id: int) -> InstrumentDetails | None:
        market = self.markets.get(con_id)
        return market.details if market else None

    def market(self, order: WorkingOrder) -> MarketState:
        return self.markets[order.con_id]

    def in_session(self, order: WorkingOrder) -> bool:
        """Whether the order's venue is open for it now."""
        session = self.sessions[self.market(order).venue]
        return session is Session.REGULAR or (order.ticket.outside_rth and session in _EXTENDED)

    def may_trade(self, order: WorkingOrder) -> bool:
        """In session, with a fresh quote, and not halted."""
        return self.market(order).tradable and self.in_session(order)

    def take_exec_id(self, order: WorkingOrder) -> str:
        """Place, a number that starts at the second of the day and only grows, part and revision, all as IB's."""
        self.last_exec_number = max(self.last_exec_number + 1, int(self.now.timestamp()))
        future = order.instrument.sec_type is SecType.FUTURE
        place = _FUTURES_PLACE if future else _PLACES[order.side]
        return f"{place:08x}.{self.last_exec_number:08x}.01.01"

    def expiry(self, order: WorkingOrder) -> datetime | None:
        """When the order ends by itself; None for GTC, and for IOC and OPG, which end by what happens."""
        ticket = order.ticket
        if ticket.tif is TimeInForce.GTD:
            return ticket.good_till
        if ticket.tif is not TimeInForce.DAY:
            return None
        market = self.market(order)
        day = self.hours.day_ending_after(market.venue, self.now, extended=ticket.outside_rth)
        if day is None:
            return self.now + timedelta(days=1)
        return day.post_close if ticket.outside_rth else day.close

    def facts(self, order: WorkingOrder) -> Facts:
        """What the order's conditions may ask."""
        return Facts(
            now=self.now,
            last=lambda con_id: self.markets[con_id].last,
            volume=lambda con_id: self.markets[con_id].volume,
            change=self._change,
            cushion=lambda: self._cushion(order.ticket.account),
            executions=lambda: self._executions_since(order),
        )

    def _change(self, con_id: int) -> Decimal | None:
        market = self.markets[con_id]
        if market.last is None or not market.close:
            return None
        return (market.last / market.close - 1) * 100

    def _cushion(self, account: str) -> Decimal | None:
        funds = self.ledger.funds(account)
        if not funds.net_liquidation:
            return None
        return funds.excess_liquidity / funds.net_liquidation * 100

    def _executions_since(self, order: WorkingOrder) -> Sequence[Execution]:
        return [
            row
            for row in self.executions.values()
            if row.account == order.ticket.account and row.time >= order.created_at and row.perm_id != order.perm_id
        ]
