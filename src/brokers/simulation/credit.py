"""Whether an account can carry an order: margin, settled cash, short sales; and what an order would change."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..domain.instrument import Instrument, SecType
from ..domain.order import TYPE_RULES, OrderType, PriceField, Side, WhatIf
from .book import WorkingOrder
from .exchange_state import ExchangeState
from .hours import trade_date
from .ledger import Funds
from .margin import Margin
from .refusals import CASH_TEXT, MARGIN_TEXT, SHORT_TEXT, Reason, Refusal, refuse
from .tickets import OrderTicket

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Effect:
    """What `quantity` at `price` would do to an account."""

    price: Decimal
    commission: Decimal
    before: Funds
    after: Margin

    @property
    def equity_after(self) -> Decimal:
        return self.before.net_liquidation - self.commission


class Credit:
    """The broker's credit check."""

    def __init__(self, state: ExchangeState) -> None:
        self._state = state

    def check(self, ticket: OrderTicket, instrument: Instrument, filled: Decimal = ZERO) -> Refusal | None:
        """IB's 201, or None. `filled` is what a modified order already has. Children are not checked: they close what
        their parent, which was checked, opens."""
        if ticket.parent_id or ticket.quantity <= filled:
            return None
        if self._state.ledger.account(ticket.account).is_cash and instrument.sec_type is not SecType.FUTURE:
            return self._check_cash(ticket, instrument, filled)
        effect = self.effect(ticket, instrument, ticket.quantity - filled)
        if effect is None or effect.after.initial <= effect.before.margin.initial:
            return None
        if effect.equity_after >= effect.after.initial:
            return None
        text = MARGIN_TEXT.format(
            equity=effect.equity_after, margin=effect.after.initial, currency=self._state.settings.base_currency
        )
        return refuse(Reason.REJECTED, why=text)

    def _check_cash(self, ticket: OrderTicket, instrument: Instrument, filled: Decimal) -> Refusal | None:
        state = self._state
        quantity = ticket.quantity - filled
        if ticket.side is Side.SELL:
            held = state.ledger.quantity(ticket.account, ticket.con_id)
            return None if quantity <= held else refuse(Reason.REJECTED, why=SHORT_TEXT)
        effect = self.effect(ticket, instrument, quantity)
        if effect is None:
            return None
        cost = quantity * effect.price * instrument.multiplier + effect.commission
        cash = effect.before.settled_cash - self._reserved(ticket)
        if cost <= cash:
            return None
        text = CASH_TEXT.format(cash=cash, cost=cost, currency=state.settings.base_currency)
        return refuse(Reason.REJECTED, why=text)

    def _reserved(self, ticket: OrderTicket) -> Decimal:
        """What the account's other open buys may still cost."""
        total = ZERO
        for order in self._state.book.live.values():
            other = order.ticket
            if other.account != ticket.account or other.side is Side.SELL or other.key == ticket.key:
                continue
            total += order.remaining * (self.expected_price(other) or ZERO) * order.instrument.multiplier
        return total

    def effect(self, ticket: OrderTicket, instrument: Instrument, quantity: Decimal) -> Effect | None:
        """None while there is no price to reckon with."""
        price = self.expected_price(ticket)
        if price is None:
            return None
        state = self._state
        funds = state.ledger.funds(ticket.account)
        after = state.ledger.margin_with(
            ticket.account, instrument, ticket.con_id, quantity * ticket.side.sign, self._mark(ticket.con_id, price)
        )
        commission = state.commissions.commission(instrument, ticket.side, quantity, price, trade_date(state.now))
        return Effect(price, commission, funds, after)

    def _mark(self, con_id: int, price: Decimal) -> Decimal:
        return self._state.markets[con_id].mark or price

    def expected_price(self, ticket: OrderTicket) -> Decimal | None:
        """Limit, stop, or the touch; the last price where there is no touch; None before any price."""
        market = self._state.markets[ticket.con_id]
        rule = TYPE_RULES[ticket.type or OrderType.MARKET]
        limit = ticket.limit_price if PriceField.LIMIT in rule.required | rule.optional else None
        stop = ticket.stop_price if PriceField.STOP in rule.required else None
        return limit or stop or market.touch(ticket.side) or market.mark

    def what_if(self, ticket: OrderTicket, instrument: Instrument) -> WhatIf:
        """IB's what-if answer; every amount None while the contract has no price."""
        currency = self._state.settings.base_currency
        effect = self.effect(ticket, instrument, ticket.quantity)
        if effect is None:
            return WhatIf(currency=currency)
        before = effect.before.margin
        return WhatIf(
            initial_margin_change=effect.after.initial - before.initial,
            maintenance_margin_change=effect.after.maintenance - before.maintenance,
            equity_change=-effect.commission,
            initial_margin_after=effect.after.initial,
            maintenance_margin_after=effect.after.maintenance,
            equity_after=effect.equity_after,
            commission=effect.commission,
            currency=currency,
        )

    def needs_locate(self, order: WorkingOrder) -> bool:
        """Whether the order would go short in a stock that is hard to borrow."""
        state, ticket = self._state, order.ticket
        if ticket.side is Side.BUY or order.instrument.symbol not in state.hard_to_borrow:
            return False
        return ticket.quantity > state.ledger.quantity(ticket.account, ticket.con_id)
