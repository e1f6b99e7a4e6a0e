"""What fills, how much and at which price. Pure of events and books: an order and a market in, fills out.

Every fill is at a price that the source quoted or printed: the touch for orders that cross, the print for orders that
rest. A limit order that the market jumped over fills at the new touch, never between two prices nobody quoted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from ..domain.instrument import Rounding
from ..domain.order import OrderType, Side
from .book import WorkingOrder
from .market_state import MarketState
from .models import FillModel
from .tickets import TriggerMethod

ZERO = Decimal(0)

#: Types that need electing before they work.
STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL})
#: Types that work as market orders once they may.
_AT_MARKET = frozenset({OrderType.MARKET, OrderType.STOP, OrderType.TRAIL, OrderType.MARKET_ON_CLOSE})
CLOSING = frozenset({OrderType.MARKET_ON_CLOSE, OrderType.LIMIT_ON_CLOSE})


@dataclass(frozen=True, slots=True)
class Match:
    """A fill to be: `quantity` > 0. `added` True when the order rested and the market came to it."""

    price: Decimal
    quantity: Decimal
    added: bool = False


# Stops


def _beyond(side: Side, price: Decimal, stop: Decimal) -> bool:
    """Whether `price` reached the stop of an order on `side`: at or above for BUY."""
    return price >= stop if side is Side.BUY else price <= stop


def _last(order: WorkingOrder, market: MarketState, stop: Decimal) -> bool:
    return market.last is not None and _beyond(order.side, market.last, stop)


def _double_last(order: WorkingOrder, market: MarketState, stop: Decimal) -> bool:
    return (
        _last(order, market, stop) and market.last_before is not None and _beyond(order.side, market.last_before, stop)
    )


def _bid_ask(order: WorkingOrder, market: MarketState, stop: Decimal) -> bool:
    touch = market.touch(order.side)
    return touch is not None and _beyond(order.side, touch, stop)


def _double_bid_ask(order: WorkingOrder, market: MarketState, stop: Decimal) -> bool:
    before = market.previous
    if before is None or not _bid_ask(order, market, stop):
        return False
    return _beyond(order.side, before.ask if order.side is Side.BUY else before.bid, stop)


def _last_or_bid_ask(order: WorkingOrder, market: MarketState, stop: Decimal) -> bool:
    return _last(order, market, stop) or _bid_ask(order, market, stop)


def _mid_point(order: WorkingOrder, market: MarketState, stop: Decimal) -> bool:
    step = market.step
    return step is not None and _beyond(order.side, (step.bid + step.ask) / 2, stop)


#: IB triggerMethod -> the test.
TRIGGERS: dict[int, Callable[[WorkingOrder, MarketState, Decimal], bool]] = {
    TriggerMethod.DEFAULT: _last,
    TriggerMethod.DOUBLE_BID_ASK: _double_bid_ask,
    TriggerMethod.LAST: _last,
    TriggerMethod.DOUBLE_LAST: _double_last,
    TriggerMethod.BID_ASK: _bid_ask,
    TriggerMethod.LAST_OR_BID_ASK: _last_or_bid_ask,
    TriggerMethod.MID_POINT: _mid_point,
}


def stop_of(order: WorkingOrder) -> Decimal | None:
    """The stop in force: the trailing one when it trails."""
    return order.stop_now if order.type is OrderType.TRAIL else order.ticket.stop_price


def elected(order: WorkingOrder, market: MarketState) -> bool:
    """Whether the market reached the order's stop on this step."""
    stop = stop_of(order)
    return stop is not None and TRIGGERS[order.ticket.trigger_method](order, market, stop)


def trail(order: WorkingOrder, market: MarketState) -> bool:
    """Move a trailing stop with the last price, never away from the market; True when it moved."""
    last = market.last
    if last is None:
        return False
    ticket = order.ticket
    distance = ticket.trail_amount if ticket.trail_percent is None else last * ticket.trail_percent / 100
    if distance is None:
        return False
    selling = order.side is Side.SELL
    stop = market.details.round_price(
        last - distance if selling else last + distance, Rounding.DOWN if selling else Rounding.UP
    )
    now = order.stop_now
    if now is None or (stop > now if selling else stop < now):
        order.stop_now = stop
        return True
    return False


# Fills


def limit_of(order: WorkingOrder) -> Decimal | None:
    """The limit in force; None for types that trade at market, whatever their ticket carries."""
    return None if order.type in _AT_MARKET else order.ticket.limit_price


def within_limit(order: WorkingOrder, price: Decimal) -> bool:
    """Whether the order may trade at `price`."""
    limit = limit_of(order)
    if limit is None:
        return True
    return price <= limit if order.side is Side.BUY else price >= limit


def out_of_reach(order: WorkingOrder, market: MarketState) -> bool:
    """Whether a resting limit order certainly gets nothing from the present step; cheap, for books full of them."""
    step, limit = market.step, limit_of(order)
    if not order.resting or step is None or limit is None or order.type is OrderType.MIDPRICE:
        return False
    if order.side is Side.BUY:
        return step.ask > limit and (step.last is None or step.last > limit)
    return step.bid < limit and (step.last is None or step.last < limit)


def join_queue(order: WorkingOrder, market: MarketState, fills: FillModel) -> None:
    """The order starts to rest: what is displayed at its own price stands before it."""
    order.resting, order.queue_ahead = True, ZERO
    step, limit = market.step, limit_of(order)
    if step is None or limit is None or fills.unlimited:
        return
    own, size = (step.bid, step.bid_size) if order.side is Side.BUY else (step.ask, step.ask_size)
    if limit == own:
        order.queue_ahead = size * fills.queue_ahead


def continuous(order: WorkingOrder, market: MarketState, fills: FillModel, random: Random) -> list[Match]:
    """What a working order gets from the present step."""
    if order.type is OrderType.MIDPRICE:
        found = _at_midpoint(order, market, fills, random)
    else:
        found = _from_touch(order, market, fills, random) or _from_print(order, market)
    return found if _acceptable(order, found) else []


def spend(order: WorkingOrder, market: MarketState, matches: list[Match]) -> None:
    """Take the matched size out of the step's liquidity."""
    for match in matches:
        if match.added and market.print_left is not None:
            market.print_left = max(market.print_left - match.quantity, ZERO)
        elif not match.added:
            if order.side is Side.BUY and market.ask_left is not None:
                market.ask_left = max(market.ask_left - match.quantity, ZERO)
            elif order.side is Side.SELL and market.bid_left is not None:
                market.bid_left = max(market.bid_left - match.quantity, ZERO)


def _acceptable(order: WorkingOrder, matches: list[Match]) -> bool:
    size = sum((match.quantity for match in matches), ZERO)
    if order.ticket.all_or_none:
        return size >= order.fillable
    if order.ticket.min_quantity is not None and not order.filled:
        return size >= min(order.ticket.min_quantity, order.fillable)
    return True


def _from_touch(order: WorkingOrder, market: MarketState, fills: FillModel, random: Random) -> list[Match]:
    price = market.touch(order.side)
    if price is None or not within_limit(order, price):
        return []
    left = market.ask_left if order.side is Side.BUY else market.bid_left
    wanted = order.fillable
    first = wanted if left is None else min(wanted, left)
    found = [Match(price, first)] if first > 0 else []
    rest = wanted - first
    if rest > 0 and fills.slippage_ticks:
        worse = _slipped(order, market, price, fills, random)
        if within_limit(order, worse):
            found.append(Match(worse, rest))
    return found


def _slipped(order: WorkingOrder, market: MarketState, touch: Decimal, fills: FillModel, random: Random) -> Decimal:
    """A worse price for what the touch did not hold, inside what this session has quoted or printed."""
    ticks = random.randint(1, fills.slippage_ticks) * market.details.increment_at(touch)
    limit = limit_of(order)
    if order.side is Side.BUY:
        bounds = [touch + ticks, max(market.session_high or touch, touch)]
        return min(bounds if limit is None else [*bounds, limit])
    bounds = [touch - ticks, min(market.session_low or touch, touch)]
    return max(bounds if limit is None else [*bounds, limit])


def _from_print(order: WorkingOrder, market: MarketState) -> list[Match]:
    """A resting limit order is served by prints at its price after the queue before it, through its price at once."""
    price, limit = market.fresh_print, limit_of(order)
    if not order.resting or price is None or limit is None or not within_limit(order, price):
        return []
    left = market.print_left
    if price != limit or left is None:
        order.queue_ahead = ZERO
    elif order.queue_ahead:
        served = min(order.queue_ahead, left)
        order.queue_ahead -= served
        left -= served
    size = order.fillable if left is None else min(order.fillable, left)
    return [Match(price, size, added=True)] if size > 0 else []


def _at_midpoint(order: WorkingOrder, market: MarketState, fills: FillModel, random: Random) -> list[Match]:
    step = market.step
    if step is None or market.fresh_print is None:
        return []
    buying = order.side is Side.BUY
    middle = market.details.round_price((step.bid + step.ask) / 2, Rounding.DOWN if buying else Rounding.UP)
    price = min(max(middle, step.bid), step.ask)
    if not within_limit(order, price):
        return []
    if fills.midprice_chance < 1.0 and random.random() >= fills.midprice_chance:
        return []
    left = market.print_left
    size = order.fillable if left is None else min(order.fillable, left)
    return [Match(price, size, added=True)] if size > 0 else []


def auction(order: WorkingOrder, price: Decimal) -> list[Match]:
    """An opening or closing auction: everything at the one price, if the limit allows."""
    size = order.fillable
    return [Match(price, size)] if size > 0 and within_limit(order, price) else []
