"""Pricing an order that names no price: a limit at the touch, inside a slippage cap. Arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from .domain.instrument import InstrumentDetails, Rounding
from .domain.market_data import Quote
from .domain.order import Bracket, NewOrder, OrderType, Side
from .errors import InvalidOrder, StaleData


@dataclass(frozen=True, slots=True)
class SmartOrderPolicy:
    """How `place_smart_order` chooses: never a naked market order unless `allow_market`.

    `max_slippage_bps` caps the limit price beyond the touch, in basis points of the touch; 0 is the touch itself.
    `use_midprice` asks for MIDPRICE, capped at the same limit, where the contract offers it.
    """

    max_slippage_bps: Decimal = Decimal(20)
    use_midprice: bool = False
    allow_market: bool = False


def smart_limit(quote: Quote, side: Side, details: InstrumentDetails, policy: SmartOrderPolicy) -> Decimal:
    """The worst price that `side` would accept: the far touch moved by the cap, rounded towards the touch.

    Raises StaleData without a two-sided quote.
    """
    if not quote.is_two_sided or quote.bid is None or quote.ask is None:
        raise StaleData(
            f"price for {side} {quote.instrument}",
            f"no two-sided quote (bid {quote.bid}, ask {quote.ask})",
            "wait for the market to open, or give a limit price",
        )
    touch = Decimal(str(quote.ask if side is Side.BUY else quote.bid))
    cap = touch * (1 + side.sign * policy.max_slippage_bps / Decimal(10_000))
    price = details.round_price(cap, Rounding.DOWN if side is Side.BUY else Rounding.UP)
    # Rounding towards the touch may cross it when the cap is below one tick; the touch itself is always allowed.
    return max(price, touch) if side is Side.BUY else min(price, touch)


def priced(order: NewOrder, quote: Quote, details: InstrumentDetails, policy: SmartOrderPolicy) -> NewOrder:
    """`order` with a type and a price; only MARKET intents are changed, and only where the policy forbids them."""
    if order.type is not OrderType.MARKET or policy.allow_market:
        return order
    limit = smart_limit(quote, order.side, details, policy)
    if policy.use_midprice and (not details.order_types or "MIDPX" in details.order_types):
        return replace(order, type=OrderType.MIDPRICE, limit_price=limit)
    return replace(order, type=OrderType.LIMIT, limit_price=limit)


def protected(
    entry: NewOrder, stop_fraction: Decimal, target_fraction: Decimal | None, details: InstrumentDetails
) -> Bracket:
    """A bracket around a limit entry: stop and target as fractions of the limit price, on the tick grid.

    The stop is rounded towards the entry and the target too, so that neither is further away than asked.
    """
    if entry.limit_price is None:
        raise InvalidOrder(f"bracket on {entry.instrument}", "the entry has no limit price to measure from")
    if not 0 < stop_fraction < 1:
        raise InvalidOrder(f"bracket on {entry.instrument}", f"stop fraction {stop_fraction} is not between 0 and 1")
    sign = entry.side.sign
    towards = (Rounding.UP, Rounding.DOWN) if entry.side is Side.BUY else (Rounding.DOWN, Rounding.UP)
    stop = details.round_price(entry.limit_price * (1 - sign * stop_fraction), towards[0])
    target = None
    if target_fraction is not None:
        target = details.round_price(entry.limit_price * (1 + sign * target_fraction), towards[1])
    return Bracket(entry, stop, target)
