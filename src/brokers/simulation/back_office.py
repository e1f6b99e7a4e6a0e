"""What a broker does on its own: corrects and busts executions, liquidates, moves cash."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from ..domain.order import OrderType, Side, exec_base_id, exec_revision
from ..domain.reports import BrokerStatus
from ..errors import NoData
from .book import Phase, WorkingOrder
from .events import AccountChanged, CommissionCharged, Executed, PositionChanged
from .exchange_state import ExchangeState
from .floor import Floor
from .hours import trade_date
from .ledger import Booking
from .matching import Match
from .tickets import Execution, OrderTicket

ZERO = Decimal(0)


class BackOffice:
    """Acts that no client asked for."""

    def __init__(self, state: ExchangeState, floor: Floor) -> None:
        self._state = state
        self._floor = floor

    def correct(self, exec_id: str, price: Decimal | None, quantity: Decimal | None) -> str:
        """See Exchange.correct_execution."""
        state = self._state
        base = exec_base_id(exec_id)
        old = state.executions.get(base)
        if old is None:
            raise NoData(f"correction of execution {exec_id}", "today has no such execution")
        revised = replace(
            old,
            exec_id=f"{base}.{exec_revision(old.exec_id) + 1:02d}",
            price=old.price if price is None else price,
            quantity=old.quantity if quantity is None else quantity,
            commission=ZERO if quantity == 0 else old.commission,
            realized_pnl=ZERO,
        )
        order = state.book.by_perm.get(old.perm_id)
        if order is not None:
            revised = _rebook(order, old, revised)
        self._rebook_ledger(base, revised)
        return revised.exec_id

    def _rebook_ledger(self, base: str, revised: Execution) -> None:
        state = self._state
        con_id = revised.instrument.con_id or 0
        booking = Booking(base, revised.quantity * revised.side.sign, revised.price, revised.commission)
        position, realized = state.ledger.correct(revised.account, con_id, booking, trade_date(revised.time))
        revised = replace(revised, realized_pnl=realized)
        state.executions[base] = revised
        state.tell(Executed(state.now, revised, corrected=True))
        state.tell(CommissionCharged(state.now, revised))
        state.tell(PositionChanged(state.now, position))
        state.tell(AccountChanged(state.now, revised.account, state.ledger.account(revised.account).cash))

    def liquidate(self, account: str, con_id: int) -> None:
        """See Exchange.liquidate."""
        state = self._state
        held = state.ledger.quantity(account, con_id)
        if not held:
            return
        side = Side.SELL if held > 0 else Side.BUY
        market = state.markets[con_id]
        price = market.touch(side) or market.mark
        if price is None:
            raise NoData(f"liquidation of {market.details.instrument}", "the market has told no price yet")
        ticket = OrderTicket(0, state.book.take_manual_id(), con_id, side, abs(held), OrderType.MARKET, account=account)
        order = WorkingOrder(
            ticket=ticket,
            instrument=market.details.instrument,
            perm_id=state.book.take_perm_id(),
            created_at=state.now,
            phase=Phase.WORKING,
            status=BrokerStatus.SUBMITTED,
        )
        state.book.add(order)
        self._floor.execute(order, Match(price, abs(held)), liquidation=True)

    def transfer(self, account: str, amount: Decimal) -> None:
        """See Exchange.transfer."""
        state = self._state
        state.ledger.transfer(account, amount)
        state.tell(AccountChanged(state.now, account, state.ledger.account(account).cash))


def _rebook(order: WorkingOrder, old: Execution, revised: Execution) -> Execution:
    """Carry the correction into the order's own totals."""
    order.filled += revised.quantity - old.quantity
    order.notional += revised.quantity * revised.price - old.quantity * old.price
    order.commission += revised.commission - old.commission
    average = order.average_price
    return replace(revised, cumulative=order.filled, average_price=revised.price if average is None else average)
