"""The life of an order between acceptance and its end: waiting, working, filling, and what a fill does to others."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum

from ..domain.instrument import SecType
from ..domain.order import OrderType, Side, TimeInForce
from ..domain.reports import BrokerStatus
from . import conditions, matching
from .agenda import Due
from .book import Phase, WorkingOrder
from .events import AccountChanged, CancelConfirmed, CommissionCharged, Executed, PositionChanged, StatusChanged
from .exchange_state import ExchangeState
from .hours import Venue, trade_date
from .ledger import Booking
from .matching import CLOSING, STOPS, Match
from .models import ChildSizing
from .refusals import Reason, refuse
from .tickets import DoneBy, Execution, OcaType

ZERO = Decimal(0)


class Gate(StrEnum):
    """Why an order does not work yet; the value is what IB calls it in whyHeld."""

    CHILD = "child"
    LOCATE = "locate"
    TRIGGER = "trigger"
    LATER = ""


class Floor:
    """Moves orders through their phases. Every public method leaves books and ledger whole."""

    def __init__(self, state: ExchangeState) -> None:
        self._state = state

    # waiting

    def gate(self, order: WorkingOrder) -> Gate | None:
        """The first thing that the order waits for; None when it may work."""
        state, ticket = self._state, order.ticket
        if order.cap is not None and order.fillable <= 0:
            return Gate.CHILD
        if not order.located:
            return Gate.LOCATE
        if ticket.good_after is not None and ticket.good_after > state.now:
            return Gate.LATER
        if not self._conditions_hold(order):
            return Gate.LATER
        if order.type in CLOSING or ticket.tif is TimeInForce.OPG or not state.in_session(order):
            return Gate.LATER
        if ticket.tif is TimeInForce.IOC and state.market(order).stale:
            return Gate.LATER
        if order.type in STOPS and not self._elected(order):
            return Gate.TRIGGER
        return None

    def why_held(self, order: WorkingOrder) -> str:
        """IB's whyHeld of an order that waits."""
        gate = self.gate(order)
        if gate is Gate.CHILD and order.type in STOPS:
            return f"{Gate.CHILD},{Gate.TRIGGER}"
        return gate or ""

    def progress(self, order: WorkingOrder) -> None:
        """Let a waiting order work if nothing holds it any more."""
        if order.phase is not Phase.HELD:
            return
        if self.gate(order) is not None:
            return
        if order.ticket.conditions and order.ticket.conditions_cancel and order.conditions_met:
            self.end(order, why="Condition met")
            return
        order.why_held = ""
        state = self._state
        delay = state.settings.latency.draw(state.settings.latency.route, state.random)
        if not delay:
            self._work(order)
            return
        order.phase = Phase.ROUTED
        state.agenda.add(state.now + delay, Due.ORDER, lambda: self._arrive(order))

    def _conditions_hold(self, order: WorkingOrder) -> bool:
        """Conditions are latched once met. Those of `conditions_cancel` never hold an order back."""
        ticket, state = order.ticket, self._state
        if not ticket.conditions or order.conditions_met:
            return True
        if ticket.conditions_ignore_rth or state.in_session(order):
            order.conditions_met = conditions.hold(ticket.conditions, state.facts(order))
            if order.conditions_met:
                state.book.conditional.pop(order.perm_id, None)
        return order.conditions_met or ticket.conditions_cancel

    def _elected(self, order: WorkingOrder) -> bool:
        if not order.elected and self._state.may_trade(order):
            market = self._state.market(order)
            if order.type is OrderType.TRAIL:
                matching.trail(order, market)
            order.elected = matching.elected(order, market)
        return order.elected

    def _arrive(self, order: WorkingOrder) -> None:
        if order.phase is Phase.ROUTED:
            self._work(order)

    # working

    def _work(self, order: WorkingOrder) -> None:
        order.phase = Phase.WORKING
        # As recorded: a market order that fills at once goes from PreSubmitted to its fill, but for stock sells.
        stock_sell = order.side is Side.SELL and order.instrument.sec_type is SecType.STOCK
        if order.ticket.type is not OrderType.MARKET or stock_sell:
            self._tell_submitted(order)
        self.fill(order)
        if order.phase is not Phase.WORKING:
            return
        if order.status is BrokerStatus.PRE_SUBMITTED:
            self._tell_submitted(order)
        if order.ticket.tif is TimeInForce.IOC:
            self.end(order)

    def _tell_submitted(self, order: WorkingOrder) -> None:
        if not order.pending_cancel:
            order.status = BrokerStatus.SUBMITTED
            self._state.tell(StatusChanged(self._state.now, order.view()))

    def fill(self, order: WorkingOrder) -> None:
        """Give a working order what the present step has for it."""
        state = self._state
        if order.phase is not Phase.WORKING or order.fillable <= 0 or not state.may_trade(order):
            return
        market = state.market(order)
        matches = self._allowed(order, matching.continuous(order, market, state.settings.fills, state.random))
        matching.spend(order, market, matches)
        for match in matches:
            # A fill can shrink or end its own order through the group it is in.
            if order.phase is Phase.WORKING and order.fillable > 0:
                self.execute(order, replace(match, quantity=min(match.quantity, order.fillable)))
        if order.phase is Phase.WORKING and not order.resting and matching.limit_of(order) is not None:
            matching.join_queue(order, market, state.settings.fills)

    def _allowed(self, order: WorkingOrder, matches: list[Match]) -> list[Match]:
        """A cash account never sells what it does not hold, whatever else was sold since the order came."""
        ledger, account = self._state.ledger, order.ticket.account
        if order.side is Side.BUY or not ledger.account(account).is_cash:
            return matches
        if order.instrument.sec_type is SecType.FUTURE or not matches:
            return matches
        held = ledger.quantity(account, order.con_id)
        if held <= 0:
            self.end(order, why="Position is already closed")
            return []
        allowed = []
        for match in matches:
            size = min(match.quantity, held)
            held -= size
            if size > 0:
                allowed.append(replace(match, quantity=size))
        return allowed

    def step(self, con_id: int) -> None:
        """The market of `con_id` moved: auctions first, then waiting and working orders, oldest first."""
        state = self._state
        market = state.markets[con_id]
        orders = state.book.of_instrument(con_id)
        if market.opening and market.tradable:
            market.opening = False
            self._opening_auction(orders, market.fresh_print)
        for order in orders:
            if order.phase is Phase.HELD:
                self.progress(order)
            elif order.phase is Phase.WORKING and not matching.out_of_reach(order, market):
                self.fill(order)

    def recheck_conditions(self) -> None:
        """Some market moved: conditions may speak of any of them."""
        for order in list(self._state.book.conditional.values()):
            self.progress(order)
            if (
                order.is_live
                and order.ticket.conditions_cancel
                and self._conditions_hold(order)
                and order.conditions_met
            ):
                self.end(order, why="Condition met")

    # auctions and time

    def _opening_auction(self, orders: list[WorkingOrder], price: Decimal | None) -> None:
        for order in (row for row in orders if row.is_live and row.ticket.tif is TimeInForce.OPG):
            at = price if price is not None else self._state.market(order).touch(order.side)
            if at is not None:
                self._auction(order, at)
            if order.is_live:
                self.end(order, why="Not filled in the opening auction")

    def close_venue(self, venue: Venue) -> None:
        """The closing auction: on-close orders trade at the last price of the session."""
        for order in list(self._state.book.live.values()):
            market = self._state.market(order)
            if order.type not in CLOSING or market.venue is not venue or not order.is_live:
                continue
            price = None if market.halted or market.stale else market.last or market.mark
            if price is not None:
                self._auction(order, price)
            if order.is_live:
                self.end(order, why="Not filled in the closing auction")

    def _auction(self, order: WorkingOrder, price: Decimal) -> None:
        ready = order.located and self._conditions_hold(order) and not order.pending_cancel
        for match in self._allowed(order, matching.auction(order, price)) if ready else []:
            self.execute(order, match)

    def open_venue(self, venue: Venue) -> None:
        """A session began: what waited for it may work."""
        for order in list(self._state.book.live.values()):
            if self._state.market(order).venue is venue:
                self.progress(order)

    def schedule(self, order: WorkingOrder) -> None:
        """Put the order's own times on the agenda."""
        state = self._state
        expires = state.expiry(order)
        if expires is not None and expires != order.expires_at:
            state.agenda.add(expires, Due.EXPIRY, lambda: self._expire(order))
        order.expires_at = expires
        if order.ticket.good_after is not None and order.ticket.good_after > state.now:
            state.agenda.add(order.ticket.good_after, Due.ORDER, lambda: self.progress(order))
        for condition in order.ticket.conditions:
            if condition.moment is not None and condition.moment > state.now:
                state.agenda.add(condition.moment, Due.ORDER, self.recheck_conditions)

    def _expire(self, order: WorkingOrder) -> None:
        if order.is_live and order.expires_at is not None and order.expires_at <= self._state.now:
            self.end(order)

    # fills

    def execute(self, order: WorkingOrder, match: Match, *, liquidation: bool = False) -> None:
        """Book one fill and tell it: execution, order, commission, position, account."""
        state = self._state
        order.filled += match.quantity
        order.notional += match.quantity * match.price
        order.last_fill_price = match.price
        average = order.notional / order.filled
        today = trade_date(state.now)
        total = state.commissions.commission(order.instrument, order.side, order.filled, average, today)
        charge = max(total - order.commission, ZERO)
        order.commission += charge
        exec_id = state.take_exec_id(order)
        booking = Booking(exec_id[:-3], match.quantity * order.side.sign, match.price, charge)
        position, realized = state.ledger.book(order.ticket.account, order.instrument, order.con_id, booking, today)
        execution = self._execution(order, match, exec_id, charge, realized, liquidation)
        state.executions[booking.exec_base] = execution
        state.tell(Executed(state.now, execution))
        if order.remaining <= 0:
            self._finish_filled(order)
        elif not order.pending_cancel:
            order.status = BrokerStatus.SUBMITTED
        state.tell(StatusChanged(state.now, order.view()))
        state.tell(CommissionCharged(state.now, execution))
        state.tell(PositionChanged(state.now, position))
        state.tell(AccountChanged(state.now, order.ticket.account, state.ledger.account(order.ticket.account).cash))
        self._after_fill(order, match.quantity)

    def _execution(
        self, order: WorkingOrder, match: Match, exec_id: str, charge: Decimal, realized: Decimal, liquidation: bool
    ) -> Execution:
        instrument, ticket = order.instrument, order.ticket
        routed = ticket.exchange if ticket.exchange not in ("", "SMART") else ""
        return Execution(
            exec_id=exec_id,
            time=self._state.now,
            account=ticket.account,
            instrument=instrument,
            side=ticket.side,
            quantity=match.quantity,
            price=match.price,
            perm_id=order.perm_id,
            client_id=ticket.client_id,
            order_id=ticket.order_id,
            order_ref=ticket.order_ref,
            exchange=routed or instrument.primary_exchange or instrument.exchange,
            cumulative=order.filled,
            average_price=order.notional / order.filled,
            commission=charge,
            currency=instrument.currency,
            realized_pnl=realized,
            added_liquidity=match.added,
            liquidation=liquidation,
        )

    def _finish_filled(self, order: WorkingOrder) -> None:
        order.status = BrokerStatus.FILLED
        order.completed_at = self._state.now
        order.completed_status = f"Filled Size: {order.filled.normalize():f}"
        self._state.book.finish(order)

    def finish_if_filled(self, order: WorkingOrder) -> bool:
        """A change took the size down to what is filled: the order is complete."""
        if not order.filled or order.remaining > 0:
            return False
        self._finish_filled(order)
        self._state.tell(StatusChanged(self._state.now, order.view()))
        self._after_fill(order, ZERO)
        return True

    # families and groups

    def _after_fill(self, order: WorkingOrder, quantity: Decimal) -> None:
        for other in self._state.book.group_of(order):
            if other.parent_perm_id == order.perm_id or other.phase is Phase.DONE:
                continue
            if order.phase is Phase.DONE or order.ticket.oca_type == OcaType.CANCEL_WITH_BLOCK:
                self.end(other)
            else:
                self._reduce(other, quantity, order)
        for child in self._state.book.children(order):
            self.release_child(child, order)
        if self._state.book.conditional:
            self.recheck_conditions()

    def _reduce(self, other: WorkingOrder, quantity: Decimal, order: WorkingOrder) -> None:
        """Take the filled share off another order of the group, in whole units."""
        share = quantity * other.remaining / (order.remaining + quantity)
        cut = share.to_integral_value(rounding=ROUND_FLOOR)
        if cut <= 0:
            return
        other.ticket = replace(other.ticket, quantity=other.ticket.quantity - cut)
        other.reduced += cut
        if other.cap is not None:
            other.cap -= cut
        if other.remaining <= 0:
            self.end(other)
        else:
            self._state.tell(StatusChanged(self._state.now, other.view()))

    def release_child(self, child: WorkingOrder, parent: WorkingOrder) -> None:
        """Let a child work for what its parent has filled, as ChildSizing reads it."""
        sizing = self._state.settings.child_sizing
        if child.phase in (Phase.STAGED, Phase.DONE):
            return
        if parent.remaining <= 0 or (sizing is ChildSizing.FULL and parent.filled > 0):
            child.cap = None
        elif sizing is ChildSizing.FILLED:
            child.cap = parent.filled - child.reduced
        if child.phase is Phase.WORKING:
            self.fill(child)
        else:
            child.why_held = self.why_held(child)
            self.progress(child)

    def _abandon_child(self, child: WorkingOrder, parent: WorkingOrder) -> None:
        """The parent was cancelled: nothing to protect, or only what was filled."""
        if child.phase is Phase.DONE:
            return  # its sibling has filled meanwhile, and the group ended it
        if not parent.filled:
            self.end(child)
            return
        if self._state.settings.child_sizing is not ChildSizing.FULL:
            size = min(child.ticket.quantity, max(parent.filled - child.reduced, child.filled))
            child.ticket = replace(child.ticket, quantity=size)
        child.cap = None
        if child.remaining <= 0:
            self.end(child)
            return
        self._state.tell(StatusChanged(self._state.now, child.view()))
        self.progress(child)

    # ends

    def end(
        self,
        order: WorkingOrder,
        *,
        by: DoneBy = DoneBy.SYSTEM,
        why: str = "",
        requested_by: int | None = None,
    ) -> None:
        """Cancel an order at once: status Cancelled, then 202, then what it means for its children."""
        if order.phase is Phase.DONE:
            return
        state = self._state
        order.status, order.why_held = BrokerStatus.CANCELLED, ""
        order.completed_at = state.now
        order.completed_status = by.value if by is DoneBy.TRADER else f"{by.value}:{why}\n"
        state.book.finish(order)
        view = order.view()
        state.tell(StatusChanged(state.now, view, order_changed=False, requested_by=requested_by))
        notice = refuse(Reason.CANCELLED, why=why)
        state.tell(
            CancelConfirmed(
                state.now, order.ticket.client_id, order.ticket.order_id, notice.code, notice.text, view, requested_by
            )
        )
        for child in state.book.children(order):
            self._abandon_child(child, order)
