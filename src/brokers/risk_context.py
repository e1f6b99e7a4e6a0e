"""One order as the risk rules see it: everything is read once, and only when a rule asks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_fields
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from .domain.account import AccountSummary, Position
from .domain.instrument import Instrument, InstrumentDetails
from .domain.market_data import DataType, Quote
from .domain.order import NewOrder, Order, OrderType, Side, TimeInForce
from .domain.sessions import Session, TradingDay
from .errors import BrokerError, RiskRefusal
from .risk_policy import RiskPolicy
from .risk_view import RiskView, loss_day

ZERO = Decimal(0)

#: Sessions in which a broker holds a DAY order of regular hours until the open; UNKNOWN may be any of them, or none.
AWAY = frozenset({Session.PRE, Session.POST, Session.OVERNIGHT, Session.CLOSED})

_T = TypeVar("_T")


class once(Generic[_T]):
    """A value read on first use, then an attribute; functools.cached_property takes a lock for that (Python 3.11)."""

    def __init__(self, read: Callable[[Any], _T]) -> None:
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> _T:
        value = self._read(instance)
        instance.__dict__[self._name] = value
        return value


class Occasion(StrEnum):
    """What an order is to the account. An exit only reduces a position that is held; anything else opens."""

    ENTRY = "ENTRY"
    ENTRY_CHANGE = "ENTRY_CHANGE"
    EXIT = "EXIT"
    EXIT_CHANGE = "EXIT_CHANGE"

    @property
    def opens(self) -> bool:
        return self in (Occasion.ENTRY, Occasion.ENTRY_CHANGE)


def same_contract(a: Instrument, b: Instrument) -> bool:
    """Whether two instruments name one contract; by number where both are qualified."""
    if a.symbol != b.symbol or a.sec_type is not b.sec_type:
        return False
    if a.con_id is not None and b.con_id is not None:
        return a.con_id == b.con_id
    return (a.currency, a.expiry, a.strike, a.right) == (b.currency, b.expiry, b.strike, b.right)


def contract_key(instrument: Instrument) -> Hashable:
    """Groups a contract's positions and orders, qualified or not."""
    return (
        instrument.symbol,
        instrument.sec_type,
        instrument.currency,
        instrument.expiry,
        instrument.strike,
        instrument.right,
    )


def decimal(value: float) -> Decimal:
    """A market-data float as the Decimal that it prints as."""
    return Decimal(str(value))


def pending(orders: Iterable[Order], side: Side, by_key: dict[str, Order]) -> Decimal:
    """Shares that `orders` of `side` can still fill at worst.

    Orders of one OCA group cancel each other and count once, at the largest. A bracket's leg whose entry still works
    can fill only as far as the entry has.
    """
    loose = ZERO
    groups: dict[str, Decimal] = {}
    for order in orders:
        if order.intent.side is not side:
            continue
        remaining = order.remaining
        parent = by_key.get(order.parent_key) if order.parent_key else None
        if parent is not None:
            remaining = min(remaining, parent.filled)
        group = order.intent.oca_group
        if group is None:
            loose += remaining
        else:
            groups[group] = max(groups.get(group, ZERO), remaining)
    return loose + sum(groups.values(), ZERO)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule's no. `fits` is the largest open quantity that this rule would pass; None when it is not about size."""

    why: str
    next: str
    value: Decimal | float | str | None
    limit: Decimal | float | str | None
    fits: Decimal | None = None
    error: type[BrokerError] = RiskRefusal


class OrderContext:
    """The order under check, what it replaces, and lazily read surroundings.

    `quantity` is what may still fill: a modify's total less what is already filled. `parent` is the bracket's entry
    while one of its legs is checked: the position is then taken as if the entry had filled.
    """

    def __init__(
        self,
        order: NewOrder,
        view: RiskView,
        policy: RiskPolicy,
        *,
        replaces: Order | None = None,
        parent: NewOrder | None = None,
        emergency: bool = False,
    ) -> None:
        self.order = order
        self.instrument = order.instrument
        self.side = order.side
        self.view = view
        self.policy = policy
        self.replaces = replaces
        self.parent = parent
        self.emergency = emergency
        self.filled = replaces.filled if replaces is not None else ZERO
        self.quantity = order.quantity - self.filled

    def with_quantity(self, quantity: Decimal) -> OrderContext:
        """The same order for `quantity` shares in total."""
        return OrderContext(
            with_fields(self.order, quantity=quantity),
            self.view,
            self.policy,
            replaces=self.replaces,
            parent=self.parent,
            emergency=self.emergency,
        )

    @once
    def now(self) -> datetime:
        return self.view.now()

    @once
    def day(self) -> date:
        """The loss day of now."""
        return loss_day(self.now)

    @once
    def trading_day(self) -> TradingDay | None:
        return self.view.trading_day(self.instrument)

    @once
    def account(self) -> str:
        return self.order.account or self.view.default_account()

    @once
    def summary(self) -> AccountSummary | None:
        return self.view.account(self.account)

    @once
    def details(self) -> InstrumentDetails | None:
        return self.view.details(self.instrument)

    @once
    def session(self) -> Session:
        return self.view.session(self.instrument)

    # Quotes

    @once
    def quote(self) -> Quote | None:
        return self.view.quote(self.instrument)

    @once
    def quote_fault(self) -> tuple[str, str] | None:
        """Why the quote cannot be measured by, as (value, text); None when it is fresh, live and two-sided."""
        quote = self.quote
        if quote is None:
            return ("no quote", "there is no quote")
        age = quote.age(self.now)
        if abs(age) > self.policy.max_quote_age:
            seconds = f"{age.total_seconds():.1f} s"
            return (seconds, f"the quote is {seconds} old" if age.total_seconds() > 0 else "the quote is of the future")
        if not self.policy.allow_delayed_quotes and quote.data_type is not DataType.LIVE:
            return (quote.data_type.value, f"the quote is {quote.data_type}")
        if not quote.is_two_sided:
            sides = f"bid {quote.bid}, ask {quote.ask}"
            return (sides, f"the quote is one-sided or crossed ({sides})")
        return None

    @once
    def touch(self) -> tuple[Decimal, Decimal] | None:
        """Bid and ask of a quote without fault."""
        quote = self.quote
        if self.quote_fault is not None or quote is None or quote.bid is None or quote.ask is None:
            return None
        return decimal(quote.bid), decimal(quote.ask)

    @once
    def could_wait(self) -> bool:
        """Whether a broker would hold it until the regular open: a DAY limit order without outside_rth, sent before."""
        order = self.order
        return (
            order.type is OrderType.LIMIT
            and order.tif is TimeInForce.DAY
            and not order.outside_rth
            and self.session in AWAY
        )

    @once
    def waits(self) -> bool:
        """Whether it would be held until the regular open, and the policy lets it."""
        return self.policy.queue_outside_session and self.could_wait

    @once
    def reference(self) -> Decimal | None:
        """The last known price, of any age, that an order which waits is measured by while there is no touch."""
        quote = self.quote
        if not self.waits or quote is None or self.touch is not None:
            return None
        if quote.age(self.now) < -self.policy.max_quote_age:
            return None
        known = (price for price in (quote.last, quote.close) if price is not None and price > 0)
        return next((decimal(price) for price in known), None)

    @once
    def price(self) -> Decimal | None:
        """The highest price per share that this order may plausibly trade at, in the instrument's currency."""
        order = self.order
        near = self.reference if self.touch is None else self.touch[1 if self.side is Side.BUY else 0]
        if order.limit_price is not None and self.side is Side.BUY:
            return order.limit_price
        known = [p for p in (order.limit_price, order.stop_price, near) if p is not None]
        return max(known) if known else None

    # The contract's position and orders

    @once
    def live(self) -> Sequence[Order]:
        """Every order of the account that may fill."""
        return self.view.working_orders(self.account)

    @once
    def working(self) -> Sequence[Order]:
        """Orders of the account that may fill, without the one replaced."""
        if self.replaces is None:
            return self.live
        replaced = self.replaces.key
        return [order for order in self.live if order.key != replaced]

    @once
    def by_key(self) -> dict[str, Order]:
        return {order.key: order for order in self.live}

    @once
    def positions(self) -> Sequence[Position]:
        """What the broker tells for the account."""
        return self.view.positions(self.account)

    @once
    def siblings(self) -> list[Order]:
        """Working orders of this contract."""
        return [order for order in self.working if same_contract(order.instrument, self.instrument)]

    @once
    def _assumed(self) -> Decimal:
        """What the bracket's entry adds to the position while a leg is checked."""
        return self.parent.side.sign * self.parent.quantity if self.parent is not None else ZERO

    @once
    def held(self) -> Decimal:
        """Signed position that the broker tells for the contract."""
        held = self._assumed
        for row in self.positions:
            if same_contract(row.instrument, self.instrument):
                held += row.quantity
        return held

    @once
    def owned(self) -> Decimal:
        """Signed position that this journal opened."""
        return self.view.owned_position(self.account, self.instrument) + self._assumed

    def _competing(self, *, foreign: bool) -> Decimal:
        """Shares on this order's side that work already and would reduce the same position."""
        if not self.siblings:
            return ZERO
        group = self.order.oca_group
        rivals = [
            order
            for order in self.siblings
            if (foreign or not order.foreign) and (group is None or order.intent.oca_group != group)
        ]
        return pending(rivals, self.side, self.by_key)

    @once
    def closable(self) -> Decimal:
        """Shares that this order may reduce: owned and held, less what works on the same side; never below 0.

        The emergency stop decides itself whose positions it closes, so only what is held counts for it.
        """
        sign = -self.side.sign
        broker = self.held * sign - self._competing(foreign=True)
        if broker <= 0:
            return ZERO
        own = broker if self.emergency else self.owned * sign - self._competing(foreign=False)
        return max(min(own, broker), ZERO)

    @once
    def occasion(self) -> Occasion:
        if self.quantity <= self.closable:
            return Occasion.EXIT if self.replaces is None else Occasion.EXIT_CHANGE
        return Occasion.ENTRY if self.replaces is None else Occasion.ENTRY_CHANGE

    # Money

    def usd(self, amount: Decimal, currency: str) -> Decimal | None:
        """`amount` in USD at the broker's rate; None when there is no rate."""
        if currency == "USD":
            return amount
        rate = self.view.fx_rate(currency)
        return None if rate is None else amount * rate

    @once
    def net_liquidation(self) -> Decimal | None:
        """The account's, in USD; None when it is not known or there is no rate."""
        summary = self.summary
        if summary is None or summary.net_liquidation is None:
            return None
        return self.usd(summary.net_liquidation, summary.currency)

    @once
    def unit_value(self) -> Decimal | None:
        """USD for one share or contract of this order at `price`."""
        return None if self.price is None else self._unit(self.price)

    def _unit(self, price: Decimal) -> Decimal | None:
        return self.usd(price * self.instrument.multiplier, self.instrument.currency)

    @once
    def base_value(self) -> Decimal | None:
        """USD of what is held, and works on this order's side already, in this order's direction."""
        if self.price is None:
            return None
        marks = [self.price]
        if self.touch is not None:
            marks += self.touch
        elif self.reference is not None:
            marks.append(self.reference)
        unit = self._unit(max(marks))
        standing = self.held * self.side.sign + self._competing(foreign=True)
        return None if unit is None else max(standing, ZERO) * unit

    @once
    def position_value(self) -> Decimal | None:
        """USD of the position with this order and all that works in its direction."""
        if self.unit_value is None or self.base_value is None:
            return None
        return self.base_value + self.quantity * self.unit_value

    @once
    def other_exposure(self) -> Decimal | str:
        """Worst value in USD of everything but this contract, or which contract cannot be valued."""
        books: dict[Hashable, tuple[Instrument, list[Position], list[Order]]] = {}
        for row in self.positions:
            books.setdefault(contract_key(row.instrument), (row.instrument, [], []))[1].append(row)
        for order in self.working:
            books.setdefault(contract_key(order.instrument), (order.instrument, [], []))[2].append(order)
        books.pop(contract_key(self.instrument), None)
        total = ZERO
        for instrument, rows, orders in books.values():
            value = self._worst_value(instrument, rows, orders)
            if value is None:
                return str(instrument)
            total += value
        return total

    def _worst_value(self, instrument: Instrument, rows: list[Position], orders: list[Order]) -> Decimal | None:
        worst = self._worst_quantity(sum((row.quantity for row in rows), ZERO), orders)
        if worst == 0:
            return ZERO
        price = self.mark(instrument, rows, orders)
        return None if price is None else self.usd(worst * price * instrument.multiplier, instrument.currency)

    def _worst_quantity(self, held: Decimal, orders: list[Order]) -> Decimal:
        """The largest position, long or short, that `held` and any of `orders` filling can lead to."""
        up = held + pending(orders, Side.BUY, self.by_key)
        down = held - pending(orders, Side.SELL, self.by_key)
        return max(abs(held), abs(up), abs(down))

    def mark(self, instrument: Instrument, rows: list[Position], orders: list[Order]) -> Decimal | None:
        """The highest of what is known of a contract's price."""
        quote = self.view.quote(instrument)
        told: list[Decimal | None] = []
        if quote is not None:
            told += [decimal(p) for p in (quote.ask, quote.last, quote.close) if p is not None and p > 0]
        for row in rows:
            told += [row.market_price, row.average_cost / instrument.multiplier]
        mark = next((price for price in told if price is not None), None)
        prices = [order.intent.limit_price or order.intent.stop_price for order in orders]
        return max((price for price in (mark, *prices) if price is not None), default=None)

    @property
    def is_market(self) -> bool:
        """Whether it trades at whatever price there is."""
        order = self.order
        return order.limit_price is None and order.type in (
            OrderType.MARKET,
            OrderType.MARKET_ON_CLOSE,
            OrderType.MIDPRICE,
        )
