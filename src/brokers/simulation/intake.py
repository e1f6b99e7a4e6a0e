"""What a client asks for: new orders, changes, cancels. Answers with IB's own errors, in IB's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from ..domain.instrument import InstrumentDetails
from ..domain.order import OrderType, WhatIf
from ..domain.reports import BrokerStatus
from ..domain.sessions import Session
from ..errors import OrderRejected as OrderRefused
from .admission import Setting, examine, examine_change, warnings
from .agenda import Due
from .book import Phase, WorkingOrder
from .credit import Credit
from .events import CancelRejected, ModifyRejected, Notice, OrderAccepted, OrderRejected, StatusChanged, Warned
from .exchange_state import ExchangeState
from .floor import Floor
from .hours import NEW_YORK
from .matching import CLOSING, STOPS
from .refusals import Reason, Refusal, refuse
from .tickets import DoneBy, OrderTicket

ZERO = Decimal(0)


class Intake:
    """The broker's desk in front of the floor."""

    def __init__(self, state: ExchangeState, floor: Floor) -> None:
        self._state = state
        self._floor = floor
        self.credit = Credit(state)
        #: Nothing a client sent overtakes what it sent before.
        self._last_arrival: dict[int | None, datetime] = {}

    # arrival

    def place(self, ticket: OrderTicket, *, at_desk: bool = False) -> None:
        """The ticket travels to the broker, or is there; see Exchange.place."""
        if at_desk:
            self._take(ticket)
            return
        self._send(ticket.client_id, lambda: self._take(ticket))

    def cancel(self, client_id: int, order_id: int) -> None:
        """See Exchange.cancel."""
        self._send(client_id, lambda: self._cancel(client_id, order_id))

    def cancel_known(self, order: WorkingOrder, client_id: int | None) -> None:
        """See Exchange.cancel_perm."""
        self._send(client_id, lambda: self._cancel_order(order, client_id))

    def cancel_all(self, client_id: int | None, account: str | None) -> None:
        """See Exchange.cancel_all."""
        self._send(client_id, lambda: self._cancel_all(client_id, account))

    def _send(self, client_id: int | None, action: Callable[[], None]) -> None:
        arrival = self._arrival(client_id)
        if arrival is None:
            action()
        else:
            self._state.agenda.add(arrival, Due.ORDER, action)

    def _arrival(self, client_id: int | None) -> datetime | None:
        """When what the client sends now arrives; None: at once."""
        state = self._state
        delay = state.settings.latency.draw(state.settings.latency.acknowledge, state.random)
        last = self._last_arrival.get(client_id)
        if not delay and (last is None or last <= state.now):
            return None
        arrival = state.now + delay if last is None else max(last, state.now + delay)
        self._last_arrival[client_id] = arrival
        return arrival

    # new orders

    def _take(self, ticket: OrderTicket) -> None:
        state = self._state
        if not ticket.account and len(state.ledger.accounts) == 1:
            ticket = replace(ticket, account=next(iter(state.ledger.accounts)))
        known = state.book.by_key.get(ticket.key)
        stopped, scripted = state.faults.intercept(ticket)
        if stopped and scripted is None:
            return
        if known is not None and known.phase is not Phase.DONE:
            self._change(known, ticket, scripted)
            return
        refusal = scripted or self._refusal(ticket, known)
        if refusal is not None:
            self._tell(ModifyRejected if refusal.reason is Reason.MODIFY_FILLED else OrderRejected, ticket, refusal)
            return
        order = self._create(ticket)
        if ticket.transmit:
            self._transmit_family(order)

    def _refusal(self, ticket: OrderTicket, known: WorkingOrder | None) -> Refusal | None:
        book = self._state.book
        if known is not None:
            filled = known.status is BrokerStatus.FILLED
            return refuse(Reason.MODIFY_FILLED if filled else Reason.DUPLICATE_ID)
        if 0 < ticket.order_id <= book.highest_id.get(ticket.client_id, 0):
            return refuse(Reason.DUPLICATE_ID)
        refusal = examine(ticket, self._setting(ticket))
        if refusal is None and ticket.parent_id:
            parent = book.by_key.get((ticket.client_id, ticket.parent_id))
            if parent is None or parent.phase is Phase.DONE:
                return refuse(Reason.PARENT_UNKNOWN, order_id=ticket.parent_id)
        return refusal

    def _setting(self, ticket: OrderTicket) -> Setting:
        state = self._state
        details = state.details(ticket.con_id)
        cutoff = None
        if ticket.type in CLOSING and details is not None:
            market = state.markets[ticket.con_id]
            if state.sessions[market.venue] is Session.REGULAR:
                day = state.hours.day_ending_after(market.venue, state.now, extended=False)
                cutoff = day.close - state.settings.closing_cutoff if day is not None else None
        return Setting(
            now=state.now,
            details=details,
            accounts=tuple(state.ledger.accounts),
            base_currency=state.settings.base_currency,
            closing_cutoff=cutoff,
            knows=state.markets.__contains__,
        )

    def _create(self, ticket: OrderTicket) -> WorkingOrder:
        state = self._state
        details = self._details(ticket)
        parent = state.book.by_key.get((ticket.client_id, ticket.parent_id)) if ticket.parent_id else None
        order = WorkingOrder(
            ticket=ticket,
            instrument=details.instrument,
            perm_id=state.book.take_perm_id(),
            created_at=state.now,
            phase=Phase.STAGED,
            stop_now=ticket.stop_price if ticket.type is OrderType.TRAIL else None,
        )
        if parent is not None:
            order.parent_perm_id = parent.perm_id
            order.cap = ZERO
            order.family_group = str(parent.perm_id)
        state.book.add(order)
        return order

    def _details(self, ticket: OrderTicket) -> InstrumentDetails:
        return self._state.markets[ticket.con_id].details

    def _transmit_family(self, order: WorkingOrder) -> None:
        """Transmitting an order transmits its staged parent and siblings with it, parent first.

        All are accepted before the first may trade: a fill must find the whole family on the books.
        """
        staged = [member for member in self._family(order) if member.phase is Phase.STAGED]
        for member in [member for member in staged if self._accept(member)]:
            parent = self._state.book.by_perm.get(member.parent_perm_id)
            if parent is not None and parent.filled:
                self._floor.release_child(member, parent)
            self._floor.progress(member)

    def _family(self, order: WorkingOrder) -> Iterator[WorkingOrder]:
        book = self._state.book
        root = book.by_perm.get(order.parent_perm_id, order)
        yield root
        yield from book.children(root)

    def _accept(self, order: WorkingOrder) -> bool:
        """Credit, locate, times; then the order is told as accepted. False when it was refused."""
        state = self._state
        if order.phase is not Phase.STAGED:
            return False
        refusal = self.credit.check(order.ticket, order.instrument)
        if refusal is None and state.book.by_perm.get(order.parent_perm_id, order).phase is Phase.DONE:
            parent = state.book.by_perm[order.parent_perm_id]
            if not parent.filled:
                refusal = refuse(Reason.PARENT_UNKNOWN, order_id=order.ticket.parent_id)
        if refusal is not None:
            self._hold_inactive(order, refusal)
            return False
        order.phase, order.status = Phase.HELD, BrokerStatus.PRE_SUBMITTED
        order.located = not self.credit.needs_locate(order)
        if order.ticket.outside_rth and order.type is OrderType.MARKET:
            told = list(warnings(order.ticket, self._details(order.ticket)))
            order.ticket = replace(order.ticket, outside_rth=order.ticket.outside_rth and not told)
        else:
            told = []
        state.book.activate(order)
        self._floor.schedule(order)
        order.why_held = self._floor.why_held(order)
        view = order.view()
        state.tell(OrderAccepted(state.now, view))
        state.tell(StatusChanged(state.now, view))
        for warning in (*told, *self._warnings(order)):
            self._tell(Warned, order.ticket, warning, order)
        return True

    def _warnings(self, order: WorkingOrder) -> Iterator[Refusal]:
        state, ticket = self._state, order.ticket
        if not order.located:
            yield refuse(Reason.LOCATE)
        if state.in_session(order):
            return
        market = state.market(order)
        opens = state.hours.next_open(market.venue, state.now, extended=ticket.outside_rth)
        if opens is None:
            return
        instrument = order.instrument
        place = instrument.primary_exchange or instrument.exchange
        text = f"Your order will not be placed at the exchange until {opens.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}"
        what = f"{ticket.side} {ticket.quantity.normalize():f} {instrument.symbol} {place}"
        yield refuse(Reason.MESSAGE, order=what, why=f"{text} US/Eastern.")

    def _hold_inactive(self, order: WorkingOrder, refusal: Refusal) -> None:
        """Refused after it was seen: status Inactive, then the error."""
        state = self._state
        order.status = BrokerStatus.INACTIVE
        order.completed_at = state.now
        order.completed_status = refusal.text
        state.book.finish(order)
        state.tell(StatusChanged(state.now, order.view()))
        self._tell(OrderRejected, order.ticket, refusal, order)
        for child in state.book.children(order):
            self._hold_inactive(child, refuse(Reason.PARENT_UNKNOWN, order_id=order.ticket.order_id))

    # changes

    def _change(self, order: WorkingOrder, ticket: OrderTicket, scripted: Refusal | None) -> None:
        refusal = scripted or self._change_refusal(order, ticket)
        if refusal is not None:
            staged = order.phase is Phase.STAGED
            self._tell(OrderRejected if staged else ModifyRejected, ticket, refusal, order)
            return
        if order.phase is Phase.STAGED:
            order.ticket = ticket
            order.stop_now = ticket.stop_price if ticket.type is OrderType.TRAIL else None
            if ticket.transmit:
                self._transmit_family(order)
            return
        self._apply(order, ticket)

    def _change_refusal(self, order: WorkingOrder, ticket: OrderTicket) -> Refusal | None:
        if order.pending_cancel:
            return refuse(Reason.MODIFY_PENDING_CANCEL, perm_id=order.perm_id)
        book = self._state.book
        parent = book.by_key.get((ticket.client_id, ticket.parent_id)) if ticket.parent_id else None
        if ticket.parent_id and (parent is None or parent.phase is Phase.DONE):
            return refuse(Reason.PARENT_UNKNOWN, order_id=ticket.parent_id)
        cleared = replace(ticket, parent_id=order.ticket.parent_id) if self._parent_gone(order) else ticket
        return (
            examine_change(order.ticket, cleared, order.filled)
            or examine(ticket, self._setting(ticket))
            or (None if order.phase is Phase.STAGED else self._credit_of_change(order, ticket))
        )

    def _parent_gone(self, order: WorkingOrder) -> bool:
        parent = self._state.book.by_perm.get(order.parent_perm_id)
        return bool(order.parent_perm_id) and (parent is None or parent.phase is Phase.DONE)

    def _credit_of_change(self, order: WorkingOrder, ticket: OrderTicket) -> Refusal | None:
        exempt = replace(ticket, parent_id=order.ticket.parent_id)
        return self.credit.check(exempt, order.instrument, order.filled)

    def _apply(self, order: WorkingOrder, ticket: OrderTicket) -> None:
        state, old = self._state, order.ticket
        # Kept though the client must clear it: who the order's parent was does not change.
        order.ticket = replace(ticket, parent_id=old.parent_id, transmit=True)
        if ticket.limit_price != old.limit_price or ticket.quantity > old.quantity:
            order.resting = False
        if ticket.stop_price != old.stop_price or ticket.type is not old.type:
            order.stop_now = ticket.stop_price if ticket.type is OrderType.TRAIL else None
        if ticket.conditions != old.conditions:
            order.conditions_met = False
            state.book.activate(order)
        if ticket.type in STOPS and not order.elected and order.phase is Phase.WORKING:
            order.phase, order.status = Phase.HELD, BrokerStatus.PRE_SUBMITTED
        if ticket.type not in STOPS:
            order.elected = False
        self._floor.schedule(order)
        order.why_held = self._floor.why_held(order) if order.phase is Phase.HELD else ""
        view = order.view()
        state.tell(OrderAccepted(state.now, view, modified=True))
        if self._floor.finish_if_filled(order):
            return
        state.tell(StatusChanged(state.now, view))
        if order.phase is Phase.WORKING:
            self._floor.fill(order)
        else:
            self._floor.progress(order)

    # cancels

    def _cancel(self, client_id: int, order_id: int) -> None:
        order = self._find(client_id, order_id)
        if order is None:
            self._refuse_cancel(client_id, order_id, refuse(Reason.CANCEL_UNKNOWN, order_id=order_id))
        else:
            self._cancel_order(order, client_id)

    def _find(self, client_id: int, order_id: int) -> WorkingOrder | None:
        """A client's own order; client 0 also reaches the newest live order of any client with that id."""
        book = self._state.book
        order = book.by_key.get((client_id, order_id))
        if order is None and client_id == 0:
            matches = [row for row in book.live.values() if row.ticket.order_id == order_id]
            order = matches[-1] if matches else None
        return order

    def _cancel_order(self, order: WorkingOrder, client_id: int | None) -> None:
        """Cancel, asked for by `client_id` (None: by nobody's client, e.g. the portal)."""
        state, ticket = self._state, order.ticket
        asked_by = ticket.client_id if client_id is None else client_id
        if order.phase is Phase.DONE:
            refusal = refuse(Reason.CANCEL_DONE, order_id=ticket.order_id, state=order.status.value)
            self._refuse_cancel(asked_by, ticket.order_id, refusal, order)
            return
        if order.pending_cancel:
            refusal = refuse(Reason.CANCEL_PENDING, perm_id=order.perm_id)
            self._refuse_cancel(asked_by, ticket.order_id, refusal, order)
            return
        requested_by = None if asked_by == ticket.client_id else asked_by
        if order.phase is not Phase.STAGED:
            order.pending_cancel = True
            order.status = BrokerStatus.PENDING_CANCEL
            state.tell(StatusChanged(state.now, order.view(), order_changed=False, requested_by=requested_by))
        delay = state.settings.latency.draw(state.settings.latency.cancel, state.random)
        if not delay:
            self._confirm(order, requested_by)
        else:
            state.agenda.add(state.now + delay, Due.ORDER, lambda: self._confirm(order, requested_by))

    def _confirm(self, order: WorkingOrder, requested_by: int | None) -> None:
        """The exchange answers; when the order is already done by then, its fill was the answer."""
        if order.phase is not Phase.DONE:
            self._floor.end(order, by=DoneBy.TRADER, requested_by=requested_by)

    def _cancel_all(self, client_id: int | None, account: str | None) -> None:
        """Every live order, children before parents so that each is told as cancelled by request."""
        orders = [row for row in self._state.book.live.values() if account in (None, row.ticket.account)]
        for order in sorted(orders, key=lambda row: row.parent_perm_id == 0):
            if order.is_live and not order.pending_cancel:
                self._cancel_order(order, client_id)

    def _refuse_cancel(
        self, client_id: int, order_id: int, refusal: Refusal, order: WorkingOrder | None = None
    ) -> None:
        view = order.view() if order is not None else None
        self._state.tell(CancelRejected(self._state.now, client_id, order_id, refusal.code, refusal.text, view))

    # what-if and news

    def what_if(self, ticket: OrderTicket) -> WhatIf:
        """See Exchange.what_if."""
        state = self._state
        if not ticket.account and len(state.ledger.accounts) == 1:
            ticket = replace(ticket, account=next(iter(state.ledger.accounts)))
        refusal = examine(ticket, self._setting(ticket))
        if refusal is not None:
            raise OrderRefused(f"what-if of order {ticket.order_id}", refusal.text, code=refusal.code)
        return self.credit.what_if(ticket, self._details(ticket).instrument)

    def locate(self, symbol: str) -> None:
        """Shares were found: held short sales of `symbol` go on."""
        self._state.hard_to_borrow.discard(symbol)
        for order in list(self._state.book.live.values()):
            if order.instrument.symbol == symbol and not order.located:
                order.located = True
                self._floor.progress(order)

    def _tell(
        self, kind: type[Notice], ticket: OrderTicket, refusal: Refusal, order: WorkingOrder | None = None
    ) -> None:
        state = self._state
        view = order.view() if order is not None else None
        state.tell(kind(state.now, ticket.client_id, ticket.order_id, refusal.code, refusal.text, view))
