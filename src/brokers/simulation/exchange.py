"""The one exchange behind every door: event driven, no threads, no I/O; market time moves only when told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from ..domain.account import AccountSummary, PnL, Position
from ..domain.instrument import InstrumentDetails
from ..domain.order import WhatIf
from ..domain.sessions import Session
from . import persistence
from .agenda import Due
from .announcer import Announcer, Listener
from .back_office import BackOffice
from .book import OrderBook, views
from .day_so_far import recall
from .events import DayStarted, ExchangeEvent, Halted, Printed, QuoteChanged, SessionChanged
from .exchange_state import ExchangeState
from .floor import Floor
from .hours import Hours, Venue, midnight_after, trade_date
from .intake import Intake
from .ledger import Ledger
from .market import PriceSource, PriceStep
from .market_state import MarketState
from .models import CommissionSchedule, ExchangeSettings, MarketView, TradingCalendar
from .order_faults import OrderFaults
from .tickets import Execution, OrderTicket, OrderView

_OPEN_SESSIONS = (Session.PRE, Session.REGULAR)


class Exchange:
    """Orders in, events out. Not thread-safe; every call returns at once.

    Listeners are called synchronously, in the order of what happened, after the state is whole, and may call back
    into the exchange. `faults` bends what they are told. With all latencies zero an order is answered, and matched at
    the present quote, before `place` returns.
    """

    def __init__(
        self,
        prices: PriceSource,
        *,
        calendar: TradingCalendar,
        commissions: CommissionSchedule,
        settings: ExchangeSettings | None = None,
    ) -> None:
        self.prices = prices
        self.settings = settings = settings or ExchangeSettings()
        self._catalogue = tuple(prices.catalogue())
        markets = {market.con_id: market for market in map(MarketState.of, self._catalogue)}
        hours, faults = Hours(calendar), OrderFaults()
        self._announcer = Announcer(faults, self._later)
        self._state = state = ExchangeState(
            now=prices.start.astimezone(UTC),
            settings=settings,
            random=Random(settings.seed),
            hours=hours,
            ledger=Ledger(settings, lambda con_id: _mark(markets, con_id), hours.settlement_day),
            book=OrderBook(settings.completed_kept),
            markets=markets,
            commissions=commissions,
            tell=self._announcer.tell,
            faults=faults,
            hard_to_borrow=set(settings.hard_to_borrow),
        )
        self._floor = Floor(state)
        self._intake = Intake(state, self._floor)
        self._back_office = BackOffice(state, self._floor)
        self._steps: Iterator[PriceStep] = iter(prices.steps())
        self._next_step: PriceStep | None = next(self._steps, None)
        self._begin()

    def _begin(self) -> None:
        state = self._state
        for venue in Venue:
            state.sessions[venue] = state.hours.session_at(venue, state.now)
            self._schedule_boundary(venue)
        for market in state.markets.values():
            recall(market, self.prices, state.now)
        state.agenda.add(midnight_after(state.now), Due.DAY, self._start_day)
        self.advance_to(state.now)

    # time

    @property
    def now(self) -> datetime:
        """Market time, aware UTC."""
        return self._state.now

    def next_event_time(self) -> datetime | None:
        """When something is due next (a price, a session, an order on its way); None at the end of the prices."""
        head = self._state.agenda.head()
        times = [moment for moment in (head and head[0], self._next_step and self._next_step.time) if moment]
        return min(times) if times else None

    def advance_to(self, moment: datetime) -> int:
        """Everything up to and including `moment`, in time order; returns the number of events told.

        ValueError when `moment` lies in the past or carries no time zone.
        """
        state = self._state
        if moment.tzinfo is None or moment < state.now:
            raise ValueError(f"market time is {state.now.isoformat()}; it cannot go to {moment!r}")
        told = self._announcer.told
        agenda = state.agenda
        while True:
            head, step = agenda.head(), self._next_step
            if step is not None and (head is None or (step.time, Due.PRICE) < head):
                if step.time > moment:
                    break
                self._take_step(step)
            elif head is None or head[0] > moment:
                break
            else:
                state.now = max(state.now, head[0])
                agenda.pop()()
            self._announcer.deliver()
        state.now = max(state.now, moment.astimezone(UTC))
        self._announcer.deliver()
        return self._announcer.told - told

    def _take_step(self, step: PriceStep) -> None:
        state = self._state
        self._next_step = next(self._steps, None)
        market = state.markets.get(step.con_id)
        if market is None:
            return
        state.now = max(state.now, step.time)
        was_halted, before = market.halted, market.step
        market.apply(step, self.settings.fills, trading=state.sessions[market.venue] is not Session.CLOSED)
        if market.halted is not was_halted:
            self._announcer.tell(Halted(state.now, step.con_id, market.halted))
        if self._announcer.wants(QuoteChanged) and (before is None or _quote(before) != _quote(step)):
            self._announcer.tell(QuoteChanged(state.now, step.con_id, *_quote(step)))
        if step.last is not None and self._announcer.wants(Printed):
            self._announcer.tell(Printed(state.now, step.con_id, step.last, step.last_size))
        if state.book.by_con.get(step.con_id):
            self._floor.step(step.con_id)
        if state.book.conditional:
            self._floor.recheck_conditions()

    def _schedule_boundary(self, venue: Venue) -> None:
        state = self._state
        moment = state.hours.next_boundary(venue, state.now)
        if moment is not None:
            opens = state.hours.session_at(venue, moment) in _OPEN_SESSIONS
            state.agenda.add(moment, Due.OPEN if opens else Due.CLOSE, lambda: self._cross_boundary(venue))

    def _cross_boundary(self, venue: Venue) -> None:
        state = self._state
        before, after = state.sessions[venue], state.hours.session_at(venue, state.now)
        if before is Session.REGULAR and after is not Session.REGULAR:
            self._floor.close_venue(venue)
        state.sessions[venue] = after
        for market in state.markets.values():
            if market.venue is venue:
                market.change_session(regular=after is Session.REGULAR, was_regular=before is Session.REGULAR)
        self._announcer.tell(SessionChanged(state.now, venue.value, after, before))
        self._schedule_boundary(venue)
        self._floor.open_venue(venue)

    def _start_day(self) -> None:
        state = self._state
        state.executions.clear()
        for market in state.markets.values():
            market.start_day()
        state.ledger.start_day(trade_date(state.now))
        state.agenda.add(midnight_after(state.now), Due.DAY, self._start_day)
        self._announcer.tell(DayStarted(state.now))

    def _later(self, delay: timedelta, action: Callable[[], None]) -> None:
        self._state.agenda.add(self._state.now + delay, Due.ORDER, action)

    # listeners

    @property
    def faults(self) -> OrderFaults:
        """Scripted faults, empty at first."""
        return self._state.faults

    def subscribe(self, callback: Listener, *kinds: type[ExchangeEvent]) -> Callable[[], None]:
        """`callback` for every event of `kinds` (exact classes; none given: all). Returns the unsubscriber."""
        return self._announcer.subscribe(callback, frozenset(kinds))

    # market

    def catalogue(self) -> Sequence[InstrumentDetails]:
        """Every tradable instrument."""
        return self._catalogue

    def details(self, con_id: int) -> InstrumentDetails | None:
        return self._state.details(con_id)

    def market(self, con_id: int) -> MarketView:
        """KeyError for an unknown con_id."""
        return self._state.markets[con_id].view()

    def session(self, con_id: int) -> Session:
        """The session of the instrument's venue now. KeyError for an unknown con_id."""
        return self._state.sessions[self._state.markets[con_id].venue]

    def halt(self, con_id: int) -> None:
        """Stop trading in one instrument until `resume`; orders are taken and wait."""
        self._set_halt(con_id, True)

    def resume(self, con_id: int) -> None:
        self._set_halt(con_id, False)

    def _set_halt(self, con_id: int, halted: bool) -> None:
        market = self._state.markets[con_id]
        before = market.halted
        market.halted_by_hand = halted
        if market.halted is not before:
            self._announcer.tell(Halted(self.now, con_id, market.halted))
            self._floor.step(con_id)
        self._announcer.deliver()

    @property
    def hard_to_borrow(self) -> frozenset[str]:
        """Symbols whose short sales still wait for a locate."""
        return frozenset(self._state.hard_to_borrow)

    def locate(self, symbol: str) -> None:
        """Shares of a hard-to-borrow symbol were found: its held short sales go on."""
        self._intake.locate(symbol)
        self._announcer.deliver()

    # orders

    def place(self, ticket: OrderTicket, *, at_desk: bool = False) -> None:
        """A new order, or a change when (client_id, order_id) is live. The answer comes as events: OrderAccepted and
        StatusChanged, or OrderRejected / ModifyRejected with IB's code and text. `at_desk`: the ticket is with the
        broker already, so that it is answered before this returns whatever the latency of acknowledging."""
        self._intake.place(ticket, at_desk=at_desk)
        self._announcer.deliver()

    def take_outside_id(self) -> int:
        """The next order id, below zero, for an order that no API client places."""
        return self._state.book.take_manual_id()

    def place_manual(self, ticket: OrderTicket) -> int:
        """An order that no API client placed (client 0, order id below zero); returns its order id."""
        order_id = self.take_outside_id()
        self.place(replace(ticket, client_id=0, order_id=order_id))
        return order_id

    def cancel(self, client_id: int, order_id: int) -> None:
        """Status PendingCancel, Cancelled, then 202; or CancelRejected with 161, 10147 or 10148. Client 0 reaches
        every client's orders, others only their own."""
        self._intake.cancel(client_id, order_id)
        self._announcer.deliver()

    def cancel_perm(self, perm_id: int, client_id: int | None = None) -> bool:
        """Cancel by permId, whoever owns it; False when there is no such order. `client_id` is who asked."""
        order = self._state.book.by_perm.get(perm_id)
        if order is not None:
            self._intake.cancel_known(order, client_id)
            self._announcer.deliver()
        return order is not None

    def cancel_all(self, client_id: int | None = None, account: str | None = None) -> None:
        """Global cancel: every live order of every client (of `account`); `client_id` is who asked."""
        self._intake.cancel_all(client_id, account)
        self._announcer.deliver()

    def what_if(self, ticket: OrderTicket) -> WhatIf:
        """What the order would change; nothing is placed. Raises errors.OrderRejected, with IB's code, for a ticket
        that would be refused for itself (credit does not refuse a what-if)."""
        return self._intake.what_if(ticket)

    def next_order_id(self, client_id: int) -> int:
        """One above the highest id seen from `client_id` (IB nextValidId)."""
        return self._state.book.highest_id.get(client_id, 0) + 1

    def order(self, client_id: int, order_id: int) -> OrderView | None:
        """Live, staged or finished; None when not known (any more)."""
        order = self._state.book.by_key.get((client_id, order_id))
        return order.view() if order is not None else None

    def order_by_perm(self, perm_id: int) -> OrderView | None:
        order = self._state.book.by_perm.get(perm_id)
        return order.view() if order is not None else None

    def open_orders(self, client_id: int | None = None) -> list[OrderView]:
        """Live orders, oldest first (None: all clients'). Staged ones are not among them."""
        return views(row for row in self._state.book.live.values() if client_id in (None, row.ticket.client_id))

    def staged_orders(self, client_id: int | None = None) -> list[OrderView]:
        """Orders with transmit=False that were never transmitted."""
        return views(row for row in self._state.book.staged() if client_id in (None, row.ticket.client_id))

    def completed_orders(self) -> list[OrderView]:
        """The last `completed_kept` finished orders, in the order in which they finished."""
        return views(self._state.book.done.values())

    def executions(self, account: str | None = None, client_id: int | None = None) -> list[Execution]:
        """Since midnight in New York, the latest revision of each, oldest first."""
        return [
            row
            for row in self._state.executions.values()
            if account in (None, row.account) and client_id in (None, row.client_id)
        ]

    # accounts

    @property
    def accounts(self) -> tuple[str, ...]:
        return tuple(self._state.ledger.accounts)

    def summary(self, account: str) -> AccountSummary:
        """Balances now. KeyError for an unknown account, as for every call below."""
        return self._state.ledger.summary(account, self.now)

    def positions(self, account: str | None = None) -> list[Position]:
        """Non-zero positions with market figures (None: of all accounts)."""
        ledger = self._state.ledger
        return [row for number in ((account,) if account else ledger.accounts) for row in ledger.positions(number)]

    def pnl(self, account: str) -> PnL:
        """Daily is the change of net liquidation since midnight in New York, less transfers."""
        return self._state.ledger.pnl(account, self.now)

    def pnl_single(self, account: str, con_id: int) -> PnL:
        """Figures None when the account never held `con_id`."""
        return self._state.ledger.pnl_single(account, con_id, self.now)

    def inject(self, event: ExchangeEvent) -> None:
        """Tell listeners an event that did not happen: a stale status, a spurious error."""
        self._announcer.tell(event)
        self._announcer.deliver()

    # what a broker does on its own, and the account's life on disk

    def correct_execution(self, exec_id: str, *, price: Decimal | None = None, quantity: Decimal | None = None) -> str:
        """Revise one of today's executions: same base id, next revision; books and order follow. Returns the revised
        id. Raises NoData for an execution that today does not have."""
        revised = self._back_office.correct(exec_id, price, quantity)
        self._announcer.deliver()
        return revised

    def bust_execution(self, exec_id: str) -> str:
        """Take one of today's executions back: told as a revision of quantity 0. The order stays as it ended."""
        return self.correct_execution(exec_id, quantity=Decimal(0))

    def liquidate(self, account: str, con_id: int) -> None:
        """Close a position by force at the touch, told as an execution with `liquidation`. NoData without a price."""
        self._back_office.liquidate(account, con_id)
        self._announcer.deliver()

    def transfer(self, account: str, amount: Decimal) -> None:
        """Deposit (negative: withdraw) cash in the base currency; it is no profit."""
        self._back_office.transfer(account, amount)
        self._announcer.deliver()

    def snapshot(self) -> dict[str, Any]:
        """Accounts, orders, today's executions and counters as JSON-able data. What is on its way under a latency
        model, and staged orders, are lost, as they would be when a gateway ends."""
        return persistence.snapshot(self._state)

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over a snapshot, before any order. Orders whose time has passed end as expired; open ones go on.
        ValueError for a state of another version."""
        persistence.restore(self._state, self._floor, data)
        self._announcer.deliver()


def _quote(step: PriceStep) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return step.bid, step.ask, step.bid_size, step.ask_size


def _mark(markets: Mapping[int, MarketState], con_id: int) -> Decimal | None:
    market = markets.get(con_id)
    return None if market is None else market.mark
