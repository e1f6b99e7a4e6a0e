"""Rules about price and moment, and about what our other orders do."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from .domain.order import Order, OrderType, Side, TimeInForce
from .domain.sessions import Session
from .risk_context import ZERO, OrderContext, Refusal, same_contract
from .risk_view import day_began

_BPS = Decimal(10_000)
_QUEUEING = "queue_outside_session (IB_RISK__QUEUE_OUTSIDE_SESSION)"


# Price and moment


def outside_hours(c: OrderContext) -> Refusal | None:
    if c.session is Session.REGULAR:
        return None
    order = c.order
    if c.occasion.opens:
        if c.could_wait and c.session is not Session.PRE and not c.waits:
            return _not_queued(c)
        allowed = order.limit_price is not None and order.type is not OrderType.MIDPRICE
    else:
        # Resting stops protect through the night; an order for the next auction is not a market order now.
        allowed = order.tif is TimeInForce.OPG or order.type not in (OrderType.MARKET, OrderType.MIDPRICE)
    if allowed:
        return None
    return Refusal(
        f"the session is {c.session}, where only limit orders are sent",
        f"give a limit price and outside_rth, or a DAY limit order with {_QUEUEING} on, or wait for the open",
        f"{order.type} in {c.session}",
        "limit orders",
    )


def _not_queued(c: OrderContext) -> Refusal:
    return Refusal(
        f"the session is {c.session}, and a DAY order of regular hours would wait for the next open",
        f"give it outside_rth, turn {_QUEUEING} on to let it wait, or wait for the open",
        f"DAY {c.order.type} in {c.session}",
        "an order that works now",
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
    if c.quote_fault is None or c.reference is not None:
        return None
    value, why = c.quote_fault
    if c.waits:
        why = f"{why}, and no last price is known to measure it by"
        return Refusal(why, "ask for a quote first, or wait for the open", value, "a known price")
    limit = f"a live two-sided quote within {c.policy.max_quote_age.total_seconds():g} s"
    other_way = f", or turn {_QUEUEING} on" if c.could_wait else ""
    return Refusal(why, f"wait for a fresh quote{other_way}", value, limit)


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
    if c.parent is not None:
        return None
    if c.touch is not None:
        bid, ask = c.touch
    elif c.reference is not None and c.occasion.opens:
        bid = ask = c.reference
    else:
        return None
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
        if order.key != c.order.key and _alike(order, c) and _counts(order):
            return Refusal(
                f"order {order.key} is the same, sent less than {window.total_seconds():g} s ago",
                "wait, or change it if both are meant",
                order.key,
                f"one in {window.total_seconds():g} s",
            )
    return None


def _counts(order: Order) -> bool:
    """Whether it has filled or may still: one that is being written (INTENT) too."""
    return not order.state.is_terminal or order.filled > 0


def repeated_entry(c: OrderContext) -> Refusal | None:
    window = c.policy.entry_window
    if not window:
        return None
    span = f"{window.total_seconds():g} s"
    working = next((order for order in c.siblings if _may_open(order, c) and order.remaining), None)
    if working is not None:
        why = f"{_named(working)} opens on the same side and may still fill; one entry in {span} is allowed"
        next_step = f"change it, or cancel it first, or wait until it is done and {span} old"
        return Refusal(why, next_step, working.key, f"one entry in {span}")
    recent = _recent_entry(c, window)
    if recent is None:
        return None
    left = window - (c.now - (recent.created_at or c.now))
    why = f"{_named(recent)} opened on the same side less than {span} ago"
    return Refusal(why, f"wait another {left.total_seconds():.1f} s", recent.key, f"one entry in {span}")


def _named(order: Order) -> str:
    return f"order {order.key} ({order.intent.side} {order.intent.quantity}, {order.state})"


def _recent_entry(c: OrderContext, window: timedelta) -> Order | None:
    """The newest opening order of ours on this side that was created within `window` and has filled or may still.

    Where shorts are allowed, an order may have closed a position instead: the position that we own now is followed
    back through the fills since, and an order that did not leave one on its own side was an exit.
    """
    owned = c.owned * c.side.sign
    for order in c.view.recent_orders(c.now - window):
        if (order.intent.account or c.view.default_account()) != c.account:
            continue
        if not same_contract(order.instrument, c.instrument):
            continue
        if order.intent.side is not c.side:
            owned += order.filled
            continue
        closed = c.policy.allow_short and order.filled > ZERO and owned <= ZERO
        if _may_open(order, c) and _counts(order) and not closed:
            return order
        owned -= order.filled
    return None


def _may_open(order: Order, c: OrderContext) -> bool:
    """Another order of ours on this side that is neither a bracket's leg nor marked as an exit."""
    marked = order.foreign or order.intent.reduce_only or order.parent_key is not None
    return order.intent.side is c.side and order.key != c.order.key and not marked


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
