"""Cash, positions and profit of every account, in Decimal throughout.

The identity that every booking keeps: net liquidation = starting cash + realised + unrealised profit, both net of
commissions. Stocks move cash by their notional; futures move it by realised profit and commissions alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

from ..domain.account import AccountSummary, PnL, Position
from ..domain.instrument import Instrument, SecType
from .margin import Margin, MarginRules
from .models import AccountKind, AccountSettings, ExchangeSettings

ZERO = Decimal(0)
#: Released cost is cut here, so that sums of any length stay exact.
_GRAIN = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Booking:
    """One execution as the ledger sees it: `quantity` signed, `price` per unit, `commission` >= 0."""

    exec_base: str
    quantity: Decimal
    price: Decimal
    commission: Decimal


@dataclass(slots=True)
class Holding:
    """A position and what it has earned. `cost` is the signed notional of the open quantity, `fees` the commissions
    paid to open it; realised figures are net of commissions."""

    instrument: Instrument
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    fees: Decimal = ZERO
    realized: Decimal = ZERO
    realized_today: Decimal = ZERO
    day_value: Decimal = ZERO
    day_flow: Decimal = ZERO

    @property
    def is_future(self) -> bool:
        return self.instrument.sec_type is SecType.FUTURE

    @property
    def average_cost(self) -> Decimal:
        """IB's avgCost: per unit times the multiplier, opening commissions included."""
        return (self.cost + self.fees) / self.quantity if self.quantity else ZERO

    @property
    def average_price(self) -> Decimal:
        """Per share or index point, commissions excluded."""
        return self.cost / (self.quantity * self.instrument.multiplier) if self.quantity else ZERO

    def value(self, mark: Decimal) -> Decimal:
        """Signed notional at `mark`."""
        return self.quantity * mark * self.instrument.multiplier

    def unrealized(self, mark: Decimal) -> Decimal:
        return self.value(mark) - self.cost - self.fees

    def book(self, quantity: Decimal, price: Decimal, commission: Decimal) -> tuple[Decimal, Decimal]:
        """Apply a signed fill; returns (change of cash, realised profit)."""
        unit = price * self.instrument.multiplier
        closing = ZERO
        if self.quantity * quantity < 0:
            closing = min(abs(quantity), abs(self.quantity)).copy_sign(quantity)
        opening = quantity - closing
        cash, realized = -commission, ZERO
        if closing:
            cost, fees = self._release(abs(closing))
            fee = commission if not opening else _cut(commission * closing / quantity)
            gross = -closing * unit - cost
            realized = gross - fees - fee
            commission -= fee
            cash += gross if self.is_future else -closing * unit
        if opening:
            self.cost += opening * unit
            self.fees += commission
            cash -= ZERO if self.is_future else opening * unit
        self.quantity += quantity
        self.realized += realized
        self.realized_today += realized
        return cash, realized

    def _release(self, quantity: Decimal) -> tuple[Decimal, Decimal]:
        if quantity == abs(self.quantity):
            cost, fees = self.cost, self.fees
        else:
            share = quantity / abs(self.quantity)
            cost, fees = _cut(self.cost * share), _cut(self.fees * share)
        self.cost -= cost
        self.fees -= fees
        return cost, fees


def _cut(amount: Decimal) -> Decimal:
    return amount.quantize(_GRAIN)


@dataclass(slots=True)
class Account:
    """One account's books. `unsettled` are sale proceeds by the day on which they become settled cash."""

    settings: AccountSettings
    rules: MarginRules
    cash: Decimal
    holdings: dict[int, Holding] = field(default_factory=dict)
    unsettled: dict[date, Decimal] = field(default_factory=dict)
    commissions: Decimal = ZERO
    day_net_liquidation: Decimal = ZERO
    #: Today's bookings and the holding before the first of them, for corrections.
    today: dict[int, tuple[Holding, list[Booking]]] = field(default_factory=dict)

    @property
    def settled_cash(self) -> Decimal:
        return self.cash - sum(self.unsettled.values(), ZERO)

    @property
    def is_cash(self) -> bool:
        return self.settings.kind is AccountKind.CASH


@dataclass(frozen=True, slots=True)
class Funds:
    """The balances that margin rules speak of, in the base currency."""

    net_liquidation: Decimal
    cash: Decimal
    settled_cash: Decimal
    stock_value: Decimal
    gross_position_value: Decimal
    margin: Margin
    available_funds: Decimal
    excess_liquidity: Decimal
    buying_power: Decimal


class Ledger:
    """All accounts. `mark` tells an instrument's present price (None: no price yet), `settles` the settlement day of
    a trade made on a day."""

    def __init__(
        self, settings: ExchangeSettings, mark: Callable[[int], Decimal | None], settles: Callable[[date], date]
    ) -> None:
        self._mark = mark
        self._settles = settles
        self._currency = settings.base_currency
        self.accounts: dict[str, Account] = {
            row.number: Account(
                row, MarginRules(row.kind, settings.futures_margin), row.cash, day_net_liquidation=row.cash
            )
            for row in settings.accounts
        }

    def account(self, number: str) -> Account:
        """KeyError for an account that does not exist."""
        return self.accounts[number]

    # bookings

    def book(
        self, number: str, instrument: Instrument, con_id: int, booking: Booking, trade_date: date
    ) -> tuple[Position, Decimal]:
        """Book one execution; returns the position as it stands and the profit it realised, net of commissions."""
        account = self.accounts[number]
        holding = account.holdings.setdefault(con_id, Holding(instrument))
        if con_id not in account.today:
            account.today[con_id] = (replace(holding), [])
        account.today[con_id][1].append(booking)
        realized = self._apply(account, holding, booking, trade_date)
        return self.position(number, con_id), realized

    def _apply(self, account: Account, holding: Holding, booking: Booking, trade_date: date) -> Decimal:
        cash, realized = holding.book(booking.quantity, booking.price, booking.commission)
        account.cash += cash
        account.commissions += booking.commission
        holding.day_flow += booking.quantity * booking.price * holding.instrument.multiplier + booking.commission
        if booking.quantity < 0 and not holding.is_future:
            day = self._settles(trade_date)
            account.unsettled[day] = account.unsettled.get(day, ZERO) + cash
        return realized

    def correct(self, number: str, con_id: int, revised: Booking, trade_date: date) -> tuple[Position, Decimal]:
        """Replace one of today's bookings by `revised` (same base id; quantity 0 busts it) and rebuild the position.
        Returns the position and what the revised booking realises.

        KeyError when today has no booking of that base id.
        """
        account = self.accounts[number]
        opening, bookings = account.today[con_id]
        index = next((i for i, row in enumerate(bookings) if row.exec_base == revised.exec_base), None)
        if index is None:
            raise KeyError(revised.exec_base)
        for cash, booking in _replayed(opening, bookings):
            account.cash -= cash
            account.commissions -= booking.commission
            if booking.quantity < 0 and not opening.is_future:
                account.unsettled[self._settles(trade_date)] -= cash
        bookings[index] = revised
        holding = replace(opening)
        account.holdings[con_id] = holding
        realized = ZERO
        for booking in bookings:
            result = self._apply(account, holding, booking, trade_date)
            realized = result if booking is revised else realized
        return self.position(number, con_id), realized

    def start_day(self, day: date) -> None:
        """Midnight in New York: daily figures start anew, what settles today becomes settled."""
        for number, account in self.accounts.items():
            account.unsettled = {due: cash for due, cash in account.unsettled.items() if due > day}
            account.today = {}
            for con_id, holding in list(account.holdings.items()):
                if not holding.quantity and not holding.realized:
                    del account.holdings[con_id]
                    continue
                holding.realized_today = ZERO
                holding.day_value = holding.value(self.mark(con_id, holding))
                holding.day_flow = ZERO
            account.day_net_liquidation = self.funds(number).net_liquidation

    def transfer(self, number: str, amount: Decimal) -> None:
        """Deposit (or withdraw, negative) cash; it counts in no profit figure."""
        account = self.accounts[number]
        account.cash += amount
        account.day_net_liquidation += amount

    # figures

    def mark(self, con_id: int, holding: Holding) -> Decimal:
        """The present price, the average price paid while the market has told none."""
        mark = self._mark(con_id)
        return holding.average_price if mark is None else mark

    def _marked(self, account: Account) -> Iterator[tuple[Holding, Decimal]]:
        for con_id, holding in account.holdings.items():
            if holding.quantity:
                yield holding, self.mark(con_id, holding)

    def funds(self, number: str) -> Funds:
        account = self.accounts[number]
        stock = gross = futures = ZERO
        margin = Margin()
        for holding, mark in self._marked(account):
            value = holding.value(mark)
            if holding.is_future:
                futures += value - holding.cost
            else:
                stock += value
                gross += abs(value)
            margin = margin + account.rules.of(holding.instrument, holding.quantity, mark)
        net = account.cash + stock + futures
        available = net - margin.initial
        if account.is_cash:
            available = min(available, account.settled_cash)
        return Funds(
            net_liquidation=net,
            cash=account.cash,
            settled_cash=account.settled_cash,
            stock_value=stock,
            gross_position_value=gross,
            margin=margin,
            available_funds=available,
            excess_liquidity=net - margin.maintenance,
            buying_power=max(available, ZERO) * account.rules.leverage,
        )

    def margin_with(self, number: str, instrument: Instrument, con_id: int, change: Decimal, price: Decimal) -> Margin:
        """Requirements as if `change` (signed) had been added to the position in `con_id`, marked at `price`."""
        account = self.accounts[number]
        total = Margin()
        for other, holding in account.holdings.items():
            if holding.quantity and other != con_id:
                total = total + account.rules.of(holding.instrument, holding.quantity, self.mark(other, holding))
        return total + account.rules.of(instrument, self.quantity(number, con_id) + change, price)

    def quantity(self, number: str, con_id: int) -> Decimal:
        """Signed position, 0 when there is none."""
        holding = self.accounts[number].holdings.get(con_id)
        return holding.quantity if holding else ZERO

    def position(self, number: str, con_id: int) -> Position:
        """KeyError when the account never held `con_id`."""
        holding = self.accounts[number].holdings[con_id]
        mark = self.mark(con_id, holding)
        return Position(
            account=number,
            instrument=holding.instrument,
            quantity=holding.quantity,
            average_cost=holding.average_cost,
            market_price=mark,
            market_value=holding.value(mark),
            unrealized_pnl=holding.unrealized(mark),
            realized_pnl=holding.realized_today,
        )

    def positions(self, number: str) -> list[Position]:
        """Non-zero positions."""
        holdings = self.accounts[number].holdings
        return [self.position(number, con_id) for con_id, holding in holdings.items() if holding.quantity]

    def summary(self, number: str, now: datetime) -> AccountSummary:
        account = self.accounts[number]
        funds = self.funds(number)
        return AccountSummary(
            account=number,
            time=now,
            currency=self._currency,
            net_liquidation=funds.net_liquidation,
            total_cash=funds.cash,
            settled_cash=funds.settled_cash,
            buying_power=funds.buying_power,
            available_funds=funds.available_funds,
            excess_liquidity=funds.excess_liquidity,
            initial_margin=funds.margin.initial,
            maintenance_margin=funds.margin.maintenance,
            gross_position_value=funds.gross_position_value,
            equity_with_loan=funds.net_liquidation,
            realized_pnl=sum((row.realized_today for row in account.holdings.values()), ZERO),
            unrealized_pnl=sum((row.unrealized(mark) for row, mark in self._marked(account)), ZERO),
            account_type="INDIVIDUAL",
        )

    def pnl(self, number: str, now: datetime) -> PnL:
        """Daily since midnight in New York; realised is today's."""
        summary = self.summary(number, now)
        net = self.funds(number).net_liquidation
        return PnL(
            account=number,
            time=now,
            daily=net - self.accounts[number].day_net_liquidation,
            unrealized=summary.unrealized_pnl,
            realized=summary.realized_pnl,
        )

    def pnl_single(self, number: str, con_id: int, now: datetime) -> PnL:
        """One position's figures; all of them None when the account never held it."""
        holding = self.accounts[number].holdings.get(con_id)
        if holding is None:
            return PnL(account=number, time=now)
        mark = self.mark(con_id, holding)
        value = holding.value(mark)
        return PnL(
            account=number,
            time=now,
            daily=value - holding.day_value - holding.day_flow,
            unrealized=holding.unrealized(mark),
            realized=holding.realized_today,
            instrument=holding.instrument,
            quantity=holding.quantity,
            market_value=value,
        )


def _replayed(opening: Holding, bookings: list[Booking]) -> Iterator[tuple[Decimal, Booking]]:
    """The cash effect of each booking in turn."""
    holding = replace(opening)
    for booking in bookings:
        cash, _realized = holding.book(booking.quantity, booking.price, booking.commission)
        yield cash, booking
