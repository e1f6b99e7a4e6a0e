"""Rules about price and moment, and about what our other orders do."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from .domain.order import Order, OrderType, Side, TimeInForce
from .domain.sessions import Session
from .risk_context import OrderContext, Refusal, same_contract
from .risk_view import day_began

_BPS = Decimal(10_000)


# Price and moment


def outside_hours(c: OrderContext) -> Refusal | None:
    if c.session is Session.REGULAR:
        return None
    order = c.order
    if c.occasion.opens:
        allowed = order.limit_price is not None and order.type is not OrderType.MIDPRICE
    else:
        # Resting stops protect through the night; an order for the next auction is not a market order now.
        allowed = order.tif is TimeInForce.OPG or order.type not in (OrderType.MARKET, OrderType.MIDPRICE)
    if allowed:
        return None
    return Refusal(
        f"the session is {c.session}, where only limit orders are sent",
        "give a limit price and outside_rth, or wait for the open",
        f"{order.type} in {c.session}",
        "limit orders",
    )


def open_blackout(c: OrderContext) -> Refusal | None:
    day = c.trading_day
    blackout = c.policy.open_blackout
    if day is None or not day.open <= c.now < day.open + blackout:
        return None
    since = (c.now - day.open).total_seconds()
    return Refusal(
        f"the market opened {since:.1f} s ago",
        "wait for the first prints to settle",
        since,
        blackout.total_seconds(),
    )


def halted(c: OrderContext) -> Refusal | None:
    if c.quote is None or not c.quote.halted:
        return None
    return Refusal("trading in the symbol is halted", "wait until it resumes", "halted", "trading")


def suspect_quote(c: OrderContext) -> Refusal | None:
    if not c.is_market or c.quote is None or c.quote.suspect is None:
        return None
    return Refusal(
        f"a second source disagrees: {c.quote.suspect}", "use a limit order", c.quote.suspect, "sources agree"
    )


def fresh_quote(c: OrderContext) -> Refusal | None:
    if c.quote_fault is None:
        return None
    value, why = c.quote_fault
    limit = f"a live two-sided quote within {c.policy.max_quote_age.total_seconds():g} s"
    return Refusal(why, "wait for a fresh quote", value, limit)


def stop_side(c: OrderContext) -> Refusal | None:
    stop = c.order.stop_price
    if stop is None or c.touch is None or c.parent is not None or c.order.type is OrderType.TRAIL:
        return None
    bid, ask = c.touch
    if stop > bid if c.side is Side.BUY else stop < ask:
        return None
    if c.side is Side.BUY:
        return Refusal(f"a buy stop at or below the bid {bid} would trigger at once", "raise the stop", stop, bid)
    return Refusal(f"a sell stop at or above the ask {ask} would trigger at once", "lower the stop", stop, ask)


def collar(c: OrderContext) -> Refusal | None:
    if c.touch is None or c.parent is not None:
        return None
    bid, ask = c.touch
    mid = (bid + ask) / 2
    allowed = c.policy.collar_bps if c.occasion.opens else c.policy.exit_collar_bps
    if c.is_market:
        reach = (ask - bid) / 2 / mid * _BPS
        if reach <= allowed or not c.occasion.opens:
            return None
        return Refusal(
            f"a market order would pay half a spread of {reach:.1f} bps", "use a limit order", round(reach, 2), allowed
        )
    price = c.order.limit_price
    # A stop-limit's limit is measured from where it becomes active, which lies beyond the touch.
    near = (ask if c.side is Side.BUY else bid) if c.order.stop_price is None else c.order.stop_price
    if price is None:
        return None
    reach = (price - near) * c.side.sign / mid * _BPS
    if reach <= allowed:
        return None
    edge = near + c.side.sign * allowed / _BPS * mid
    return Refusal(
        f"the limit {price} is {reach:.1f} bps beyond {near}", f"price it within {edge:.2f}", round(reach, 2), allowed
    )


# Repetition and our own other orders


def duplicate(c: OrderContext) -> Refusal | None:
    window = c.policy.duplicate_window
    if not window:
        return None
    for order in c.view.recent_orders(c.now - window):
        if order.key != c.order.key and _alike(order, c) and (order.state.may_be_live or order.filled):
            return Refusal(
                f"order {order.key} is the same, sent less than {window.total_seconds():g} s ago",
                "wait, or change it if both are meant",
                order.key,
                f"one in {window.total_seconds():g} s",
            )
    return None


def _alike(order: Order, c: OrderContext) -> bool:
    a, b = order.intent, c.order
    return (
        a.side is b.side
        and a.quantity == b.quantity
        and a.type is b.type
        and a.limit_price == b.limit_price
        and a.stop_price == b.stop_price
        and (a.account or c.view.default_account()) == c.account
        and same_contract(a.instrument, b.instrument)
    )


_CLOSING = frozenset({OrderType.MARKET_ON_CLOSE, OrderType.LIMIT_ON_CLOSE})
_DORMANT = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL})


def self_cross(c: OrderContext) -> Refusal | None:
    if c.order.type in _DORMANT:
        return None
    for other in c.siblings:
        if other.intent.side is c.side or not other.remaining or not _would_meet(c, other):
            continue
        return Refusal(
            f"it could trade against the working {other.intent.side} {other.key}",
            "cancel that order first",
            other.key,
            "no crossing order",
        )
    return None


def _would_meet(c: OrderContext, other: Order) -> bool:
    """Whether the order and a working one on the other side could fill each other."""
    rest = other.intent
    entry = c.by_key.get(other.parent_key) if other.parent_key else None
    waits_for_entry = entry is not None and not entry.filled
    if rest.type in _DORMANT or waits_for_entry or (rest.type in _CLOSING) != (c.order.type in _CLOSING):
        return False
    buyer, seller = (c.order, rest) if c.side is Side.BUY else (rest, c.order)
    if buyer.limit_price is not None and seller.limit_price is not None:
        return buyer.limit_price >= seller.limit_price
    limit = buyer.limit_price or seller.limit_price
    if limit is None:
        return True
    if c.touch is None:
        # Nobody can tell: an entry waits, an exit is not trapped.
        return c.occasion.opens
    bid, ask = c.touch
    return limit >= bid if buyer.limit_price is not None else limit <= ask


def open_orders_per_side(c: OrderContext) -> Refusal | None:
    count = sum(1 for order in c.siblings if order.intent.side is c.side)
    limit = c.policy.max_open_orders_per_side
    if count < limit:
        return None
    return Refusal(f"{count} {c.side} orders work in it already", "cancel one first", str(count + 1), str(limit))


def _rate(c: OrderContext, since: datetime, limit: int, span: str) -> Refusal | None:
    count = c.view.messages_sent(since)
    if count < limit:
        return None
    return Refusal(f"{count} orders and changes were sent {span}", "wait", str(count + 1), str(limit))


def orders_per_minute(c: OrderContext) -> Refusal | None:
    return _rate(c, c.now - timedelta(seconds=60), c.policy.max_orders_per_minute, "in the last minute")


def orders_per_day(c: OrderContext) -> Refusal | None:
    return _rate(c, day_began(c.day), c.policy.max_orders_per_day, "since 00:00 ET")
