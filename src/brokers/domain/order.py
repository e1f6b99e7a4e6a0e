"""Orders as intended (NewOrder, Bracket, OrderChange) and as they stand (Order, Fill)."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from ..errors import InvalidOrder
from .instrument import Instrument
from .order_states import OrderState

#: A key travels as TWS orderRef and portal cOID.
KEY_PATTERN = re.compile(r"^[A-Za-z0-9-]{1,32}$")


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Order types; values are names of ours, the broker's spelling lives in its vocabulary table."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STP_LMT"
    TRAIL = "TRAIL"
    MARKET_ON_CLOSE = "MOC"
    LIMIT_ON_CLOSE = "LOC"
    MIDPRICE = "MIDPRICE"


class TimeInForce(StrEnum):
    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    OPG = "OPG"
    GTD = "GTD"


class PriceField(StrEnum):
    """Price fields of an order."""

    LIMIT = "limit_price"
    STOP = "stop_price"
    TRAIL_AMOUNT = "trail_amount"
    TRAIL_PERCENT = "trail_percent"


#: Each with its plain name: a StrEnum's own `value` is a function call, once per field and order.
_PRICES = tuple((price, price.value) for price in PriceField)


@dataclass(frozen=True, slots=True)
class TypeRule:
    """Which price fields an order type must have and may have; any other is refused (fault O33)."""

    required: frozenset[PriceField]
    optional: frozenset[PriceField] = frozenset()
    #: Exactly one of these must be given.
    one_of: frozenset[PriceField] = frozenset()

    def allows(self, price: PriceField) -> bool:
        return price in self.required or price in self.one_of or price in self.optional


_NONE: frozenset[PriceField] = frozenset()
TYPE_RULES: dict[OrderType, TypeRule] = {
    OrderType.MARKET: TypeRule(_NONE),
    OrderType.LIMIT: TypeRule(frozenset({PriceField.LIMIT})),
    OrderType.STOP: TypeRule(frozenset({PriceField.STOP})),
    OrderType.STOP_LIMIT: TypeRule(frozenset({PriceField.STOP, PriceField.LIMIT})),
    OrderType.TRAIL: TypeRule(
        _NONE,
        optional=frozenset({PriceField.STOP}),
        one_of=frozenset({PriceField.TRAIL_AMOUNT, PriceField.TRAIL_PERCENT}),
    ),
    OrderType.MARKET_ON_CLOSE: TypeRule(_NONE),
    OrderType.LIMIT_ON_CLOSE: TypeRule(frozenset({PriceField.LIMIT})),
    OrderType.MIDPRICE: TypeRule(_NONE, optional=frozenset({PriceField.LIMIT})),
}


def new_key() -> str:
    """A fresh order key: 32 hexadecimal characters."""
    return secrets.token_hex(16)


def to_decimal(value: Decimal | int | str | float, name: str) -> Decimal:
    """Exact Decimal; floats go through their shortest text. Raises InvalidOrder for NaN, infinity or non-numbers."""
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise InvalidOrder(f"{name} {value!r}", "it is not a number") from None
    if isinstance(value, bool) or not number.is_finite():
        raise InvalidOrder(f"{name} {value!r}", "it is not a finite number")
    return number


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An intent. Refused at construction when impossible (InvalidOrder).

    `quantity` in shares or contracts, > 0; the sign is in `side`. Prices in the instrument's currency, None when the
    type does not use them. `trail_percent` in percent (5 = 5 %). `outside_rth` lets it work in extended hours.
    `good_till` (aware) is needed by GTD and refused elsewhere. `key` names the order for ever; made once when not
    given. `account` None means the session's default account. `oca_group` orders cancel each other on a fill.
    `reduce_only` marks an exit: it may never open or enlarge a position. `reason` is free text for the journal.
    """

    instrument: Instrument
    side: Side
    quantity: Decimal
    type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    tif: TimeInForce = TimeInForce.DAY
    good_till: datetime | None = None
    outside_rth: bool = False
    account: str | None = None
    key: str = field(default_factory=new_key)
    oca_group: str | None = None
    reduce_only: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "side", Side(self.side))
        set_field(self, "type", OrderType(self.type))
        set_field(self, "tif", TimeInForce(self.tif))
        set_field(self, "quantity", to_decimal(self.quantity, "quantity"))
        if self.quantity <= 0:
            raise self._impossible("the quantity must be above zero", "the direction is given by the side")
        given = []
        for price, name in _PRICES:
            value = getattr(self, name)
            if value is not None:
                number = to_decimal(value, name)
                set_field(self, name, number)
                if number <= 0:
                    raise self._impossible(f"{name} {number} must be above zero")
                given.append(price)
        self._check_prices(given)
        if not KEY_PATTERN.match(self.key):
            raise self._impossible(f"key {self.key!r} is not 1 to 32 characters of A-Z a-z 0-9 -")
        if (self.tif is TimeInForce.GTD) != (self.good_till is not None):
            raise self._impossible("good_till goes with TIF GTD, and GTD needs it")
        if self.good_till is not None and self.good_till.tzinfo is None:
            raise self._impossible("good_till must carry a time zone")

    def _impossible(self, why: str, next: str = "") -> InvalidOrder:
        return InvalidOrder(f"{self.side} {self.quantity} {self.instrument}", why, next)

    def _check_prices(self, given: list[PriceField]) -> None:
        rule = TYPE_RULES[self.type]
        missing = rule.required.difference(given)
        if missing:
            raise self._impossible(f"{self.type} needs {', '.join(sorted(missing))}")
        if rule.one_of and len(rule.one_of.intersection(given)) != 1:
            raise self._impossible(f"{self.type} needs exactly one of {', '.join(sorted(rule.one_of))}")
        unused = [name for name in given if not rule.allows(name)]
        if unused:
            raise self._impossible(f"{self.type} does not use {', '.join(sorted(unused))}", "leave it out")

    def with_key(self, key: str) -> NewOrder:
        return replace(self, key=key)


@dataclass(frozen=True, slots=True)
class Bracket:
    """An entry protected by a stop and, if given, a target; both children share one OCA group.

    The root carries the key; a leg is (key, number): 0 entry, 1 stop, 2 target. Prices in the instrument's currency.
    The children are GTC, work when the entry has filled, and inherit the entry's `outside_rth` (fault O25).
    """

    entry: NewOrder
    stop_price: Decimal
    target_price: Decimal | None = None

    def __post_init__(self) -> None:
        what = f"bracket on {self.entry.instrument}"
        object.__setattr__(self, "stop_price", to_decimal(self.stop_price, "stop_price"))
        if self.target_price is not None:
            object.__setattr__(self, "target_price", to_decimal(self.target_price, "target_price"))
        if self.stop_price <= 0:
            raise InvalidOrder(what, f"stop {self.stop_price} must be above zero")
        reference = self.entry.limit_price or self.entry.stop_price
        sign = self.entry.side.sign
        if reference is not None and (reference - self.stop_price) * sign <= 0:
            raise InvalidOrder(what, f"stop {self.stop_price} is on the wrong side of the entry {reference}")
        if self.target_price is not None and (self.target_price - self.stop_price) * sign <= 0:
            raise InvalidOrder(what, f"target {self.target_price} is on the wrong side of the stop {self.stop_price}")

    @property
    def key(self) -> str:
        return self.entry.key

    def legs(self) -> tuple[NewOrder, ...]:
        """Entry, stop, target as single orders; the children carry keys made by `leg_key`."""
        stop = self._exit(1, OrderType.STOP, stop_price=self.stop_price)
        if self.target_price is None:
            return (self.entry, stop)
        return (self.entry, stop, self._exit(2, OrderType.LIMIT, limit_price=self.target_price))

    def _exit(
        self, number: int, type: OrderType, *, limit_price: Decimal | None = None, stop_price: Decimal | None = None
    ) -> NewOrder:
        return NewOrder(
            instrument=self.entry.instrument,
            side=self.entry.side.opposite,
            quantity=self.entry.quantity,
            type=type,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=TimeInForce.GTC,
            outside_rth=self.entry.outside_rth,
            account=self.entry.account,
            key=leg_key(self.key, number),
            oca_group=f"oca-{self.key}",
            reduce_only=True,
            reason=f"leg {number} of {self.key}",
        )


def leg_key(root: str, number: int) -> str:
    """The key of a bracket's leg: the root's own for leg 0, else root-number; a root too long for that is hashed."""
    if number == 0:
        return root
    stem = root if len(root) <= 30 else hashlib.sha256(root.encode()).hexdigest()[:30]
    return f"{stem}-{number}"


@dataclass(frozen=True, slots=True)
class OrderChange:
    """What a modify asks for; None leaves a field as it is. Checked like a new order."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    tif: TimeInForce | None = None

    def apply(self, order: NewOrder) -> NewOrder:
        """The intent as it would stand; raises InvalidOrder when that is impossible."""
        changes = {
            name: value
            for name in ("quantity", "limit_price", "stop_price", "trail_amount", "trail_percent", "tif")
            if (value := getattr(self, name)) is not None
        }
        if not changes:
            raise InvalidOrder(f"change of {order.key}", "nothing is changed", "give a quantity, a price or a TIF")
        return replace(order, **changes)


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it stands: the intent, its state and what the broker told.

    `filled` and `remaining` in shares, from executions. `average_price` None before the first fill. `commission` is the
    sum told so far, None while nothing was told. `order_id` and `perm_id` are the broker's (IB orderId per client,
    permId global), None when not known. `foreign` orders were not opened by this journal. `reason` says why the state
    is what it is (refusal text, why held). Times are aware UTC, market time.
    """

    intent: NewOrder
    state: OrderState
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    commission: Decimal | None = None
    order_id: int | None = None
    perm_id: int | None = None
    client_id: int | None = None
    parent_key: str | None = None
    leg: int = 0
    foreign: bool = False
    reason: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def key(self) -> str:
        return self.intent.key

    @property
    def instrument(self) -> Instrument:
        return self.intent.instrument

    @property
    def remaining(self) -> Decimal:
        return max(self.intent.quantity - self.filled, Decimal(0))

    @property
    def is_terminal(self) -> bool:
        return self.state.is_terminal


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, booked exactly once per `exec_id` base.

    `quantity` > 0 in shares, the sign is in `side`; `price` per share. `commission` None until told (amended later);
    `realized_pnl` None unless the broker told it. `recovered` marks a fill found after a gap. `order_key` None for a
    foreign order without a reference. `liquidation` marks the broker's forced closing (IB execution field 18).
    """

    exec_id: str
    instrument: Instrument
    side: Side
    quantity: Decimal
    price: Decimal
    time: datetime
    account: str
    order_key: str | None = None
    order_id: int | None = None
    perm_id: int | None = None
    client_id: int | None = None
    exchange: str = ""
    commission: Decimal | None = None
    commission_currency: str | None = None
    realized_pnl: Decimal | None = None
    cumulative_quantity: Decimal | None = None
    liquidation: bool = False
    recovered: bool = False

    @property
    def base_id(self) -> str:
        """The execution id without its revision: IB corrects `x.01` by sending `x.02` (fault O13)."""
        return exec_base_id(self.exec_id)


def exec_base_id(exec_id: str) -> str:
    """IB execution ids end in a two-digit revision after the last dot; the rest names the execution."""
    base, dot, _revision = exec_id.rpartition(".")
    return base if dot else exec_id


def exec_revision(exec_id: str) -> int:
    """The correction number at the end of an IB execution id; 0 when there is none."""
    _base, dot, revision = exec_id.rpartition(".")
    return int(revision) if dot and revision.isdigit() else 0


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The broker's own estimate of an order's effect; amounts in `currency`, None where the broker told nothing."""

    initial_margin_change: Decimal | None = None
    maintenance_margin_change: Decimal | None = None
    equity_change: Decimal | None = None
    initial_margin_after: Decimal | None = None
    maintenance_margin_after: Decimal | None = None
    equity_after: Decimal | None = None
    commission: Decimal | None = None
    commission_min: Decimal | None = None
    commission_max: Decimal | None = None
    currency: str = "USD"
    warning: str = ""

    @property
    def excess_liquidity_after(self) -> Decimal | None:
        """Equity with loan value less maintenance margin, after the order."""
        if self.equity_after is None or self.maintenance_margin_after is None:
            return None
        return self.equity_after - self.maintenance_margin_after

    @property
    def available_funds_after(self) -> Decimal | None:
        """Equity with loan value less initial margin, after the order; IB refuses what would make it negative."""
        if self.equity_after is None or self.initial_margin_after is None:
            return None
        return self.equity_after - self.initial_margin_after
