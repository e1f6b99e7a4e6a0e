"""Whether a ticket could be an order at all: an ordered table of checks, the first refusal wins.

Price precautions of TWS (percentage limits, size limits) are presets of a user and not checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ..domain.instrument import InstrumentDetails, SecType
from ..domain.order import TYPE_RULES, OrderType, PriceField, TimeInForce
from .conditions import CHECKS
from .hours import NEW_YORK
from .matching import CLOSING, STOPS, TRIGGERS
from .refusals import CUTOFF_TEXT, GOOD_TILL_TEXT, Reason, Refusal, refuse
from .tickets import ConditionKind, OcaType, OrderTicket

#: Security types that this exchange trades.
TRADED = frozenset({SecType.STOCK, SecType.FUTURE})

#: IB's words for an order type in a contract's list of order types.
TYPE_WORDS: dict[OrderType, frozenset[str]] = {
    OrderType.MARKET: frozenset({"MKT"}),
    OrderType.LIMIT: frozenset({"LMT"}),
    OrderType.STOP: frozenset({"STP"}),
    OrderType.STOP_LIMIT: frozenset({"STPLMT", "STP LMT"}),
    OrderType.TRAIL: frozenset({"TRAIL"}),
    OrderType.MARKET_ON_CLOSE: frozenset({"MOC"}),
    OrderType.LIMIT_ON_CLOSE: frozenset({"LOC"}),
    OrderType.MIDPRICE: frozenset({"MIDPX", "MIDPRICE"}),
}
#: Types that only stocks have.
_STOCKS_ONLY = frozenset({OrderType.MARKET_ON_CLOSE, OrderType.LIMIT_ON_CLOSE, OrderType.MIDPRICE})

_ALL = frozenset(TimeInForce)
#: Order type -> TIFs that it takes (IB error 111; 113 for the closing types).
TIFS: dict[OrderType, frozenset[TimeInForce]] = {
    OrderType.MARKET: _ALL,
    OrderType.LIMIT: _ALL,
    OrderType.STOP: frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD}),
    OrderType.STOP_LIMIT: frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD}),
    OrderType.TRAIL: frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD}),
    OrderType.MARKET_ON_CLOSE: frozenset({TimeInForce.DAY}),
    OrderType.LIMIT_ON_CLOSE: frozenset({TimeInForce.DAY}),
    OrderType.MIDPRICE: frozenset({TimeInForce.DAY}),
}
#: What cannot work outside regular hours (fault O46).
_RTH_ONLY_TIFS = frozenset({TimeInForce.IOC, TimeInForce.OPG})


@dataclass(frozen=True, slots=True)
class Setting:
    """What the checks know besides the ticket. `closing_cutoff` is the moment after which on-close orders of the
    present session come too late, None outside regular hours. `knows` tells whether a con_id exists."""

    now: datetime
    details: InstrumentDetails | None
    accounts: Sequence[str]
    base_currency: str
    closing_cutoff: datetime | None
    knows: Callable[[int], bool]


Check = Callable[[OrderTicket, Setting], Refusal | None]


def _instrument(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    if setting.details is None:
        return refuse(Reason.NO_CONTRACT)
    instrument = setting.details.instrument
    if instrument.sec_type not in TRADED or instrument.currency != setting.base_currency:
        return refuse(Reason.NOT_ALLOWED, symbol=instrument.symbol)
    return None


def _account(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    if not ticket.account:
        return None if len(setting.accounts) == 1 else refuse(Reason.NO_ACCOUNT)
    if ticket.account not in setting.accounts:
        return refuse(Reason.INVALID, why=f"Invalid account code '{ticket.account}'.")
    return None


def _size(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    quantity, details = ticket.quantity, setting.details
    if quantity == 0:
        return refuse(Reason.ZERO_SIZE)
    if quantity < 0:
        return refuse(Reason.INVALID, why="Order quantity must be positive.")
    if quantity != quantity.to_integral_value():
        stock = details is not None and details.instrument.sec_type is SecType.STOCK
        return refuse(Reason.FRACTION if stock else Reason.FRACTION_TYPE)
    if details is not None and quantity < details.min_size:
        return refuse(Reason.TOO_SMALL, quantity=quantity, least=details.min_size)
    return None


def _type(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    details = setting.details
    if ticket.type is None or details is None:
        return refuse(Reason.BAD_TYPE)
    offered = details.order_types
    if offered and not TYPE_WORDS[ticket.type] & offered:
        return refuse(Reason.BAD_TYPE)
    if ticket.type in _STOCKS_ONLY and details.instrument.sec_type is not SecType.STOCK:
        return refuse(Reason.BAD_TYPE)
    return None


def _prices(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    rule = TYPE_RULES[ticket.type or OrderType.MARKET]
    # Sorted: which refusal comes first must not depend on hash order.
    for name in sorted(rule.required):
        value = getattr(ticket, name.value)
        if value is None or value <= 0:
            if name is PriceField.STOP:
                return refuse(Reason.STOP_PRICE)
            return refuse(Reason.INVALID, why=f"Missing or invalid {name.value} for order type {ticket.type}.")
    if rule.one_of:
        given = [getattr(ticket, name.value) for name in rule.one_of if getattr(ticket, name.value) is not None]
        if len(given) != 1 or given[0] <= 0:
            return refuse(Reason.INVALID, why="Exactly one of trailing amount and trailing percent must be given.")
    return None


def _ticks(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    rule = TYPE_RULES[ticket.type or OrderType.MARKET]
    details = setting.details
    for name in sorted((rule.required | rule.optional) & {PriceField.LIMIT, PriceField.STOP}):
        price = getattr(ticket, name.value)
        if price is not None and details is not None and not details.on_tick(price):
            return refuse(Reason.TICK)
    return None


def _tif(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    if ticket.tif is None:
        return refuse(Reason.INVALID, why="Invalid time in force.")
    type = ticket.type or OrderType.MARKET
    if ticket.tif not in TIFS[type]:
        return refuse(Reason.TIF_OF_CLOSING if type in CLOSING else Reason.TIF_AND_TYPE)
    if ticket.outside_rth and (ticket.tif in _RTH_ONLY_TIFS or type in CLOSING):
        return refuse(Reason.TIF_AND_TYPE)
    future = setting.details is not None and setting.details.instrument.sec_type is SecType.FUTURE
    if ticket.tif is TimeInForce.OPG and future:
        return refuse(Reason.TIF_AND_TYPE)
    if ticket.tif is TimeInForce.GTD:
        if ticket.good_till is None:
            return refuse(Reason.INVALID, why="Good till date is missing for TIF GTD.")
        if ticket.good_till <= setting.now:
            return refuse(Reason.REJECTED, why=GOOD_TILL_TEXT.format(good_till=ticket.good_till))
    return None


def _cutoff(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    cutoff = setting.closing_cutoff
    if ticket.type in CLOSING and cutoff is not None and setting.now >= cutoff:
        return refuse(Reason.REJECTED, why=CUTOFF_TEXT.format(cutoff=cutoff.astimezone(NEW_YORK)))
    return None


def _options(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    if ticket.oca_group and ticket.oca_type not in set(OcaType):
        return refuse(Reason.INVALID, why=f"Invalid OCA type {ticket.oca_type}.")
    if ticket.type in STOPS and ticket.trigger_method not in TRIGGERS:
        return refuse(Reason.INVALID, why=f"Invalid trigger method {ticket.trigger_method}.")
    least = ticket.min_quantity
    if least is not None and not 0 < least <= ticket.quantity:
        return refuse(Reason.INVALID, why="Minimum quantity must lie between 1 and the order size.")
    return None


_NEEDS_CONTRACT = (ConditionKind.PRICE, ConditionKind.VOLUME, ConditionKind.PERCENT_CHANGE)


def _conditions(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    for condition in ticket.conditions:
        if condition.kind not in CHECKS:
            return refuse(Reason.INVALID, why=f"Invalid condition type {condition.kind}.")
        if condition.kind in _NEEDS_CONTRACT and not setting.knows(condition.con_id):
            return refuse(Reason.INVALID, why=f"Invalid contract {condition.con_id} in a condition.")
        if condition.kind is ConditionKind.TIME:
            missing = condition.moment is None
        elif condition.kind is ConditionKind.EXECUTION:
            missing = not condition.symbol
        else:
            missing = condition.value is None
        if missing:
            return refuse(Reason.INVALID, why="A condition lacks its value.")
    return None


#: In this order; the first refusal is the answer.
TICKET_CHECKS: tuple[Check, ...] = (
    _instrument,
    _account,
    _size,
    _type,
    _prices,
    _ticks,
    _tif,
    _cutoff,
    _options,
    _conditions,
)


def examine(ticket: OrderTicket, setting: Setting) -> Refusal | None:
    """The first reason to refuse `ticket`, None when it may become an order."""
    for check in TICKET_CHECKS:
        refusal = check(ticket, setting)
        if refusal is not None:
            return refusal
    return None


#: What a modify may not change, and IB's answer when it tries.
FROZEN_FIELDS: tuple[tuple[str, Reason], ...] = (
    ("con_id", Reason.MODIFY_MISMATCH),
    ("side", Reason.MODIFY_MISMATCH),
    ("account", Reason.MODIFY_MISMATCH),
    ("parent_id", Reason.MODIFY_MISMATCH),
    ("oca_group", Reason.OCA_REVISION),
)


def examine_change(old: OrderTicket, new: OrderTicket, filled: Decimal) -> Refusal | None:
    """Whether `new` may replace `old`; the ticket's own checks come after it."""
    for name, reason in FROZEN_FIELDS:
        if getattr(old, name) != getattr(new, name):
            return refuse(reason)
    if new.quantity < filled:
        return refuse(Reason.INVALID, why=f"Order size {new.quantity} is below the filled quantity {filled}.")
    return None


def warnings(ticket: OrderTicket, details: InstrumentDetails) -> Iterator[Refusal]:
    """What IB tells about an order that it takes nevertheless."""
    stock = details.instrument.sec_type is SecType.STOCK
    if ticket.outside_rth and stock and ticket.type is OrderType.MARKET:
        yield refuse(Reason.OUTSIDE_RTH_IGNORED)
