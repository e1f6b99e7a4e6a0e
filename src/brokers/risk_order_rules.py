"""Rules about the order itself: may anything be sent, is it well formed, whose position does it touch."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from .domain.instrument import Rounding, SecType
from .domain.order import Side
from .domain.order_states import OrderState
from .errors import NotOwned, TradingHalted
from .risk_context import ZERO, OrderContext, Refusal, same_contract

#: Primary exchanges of US stocks and ETFs, in IB's spelling.
US_EXCHANGES = frozenset(
    {"NASDAQ", "ISLAND", "NYSE", "AMEX", "ARCA", "BATS", "IEX", "NYSENAT", "CHX", "PSX", "BEX", "LTSE", "MEMX", "SMART"}
)


# Whether anything may be sent at all


def kill_switch(c: OrderContext) -> Refusal | None:
    reason = c.view.kill_switch()
    if reason is None:
        return None
    return Refusal(
        f"trading is halted: {reason}", "cancels pass; lift the halt with resume", reason, "off", error=TradingHalted
    )


def read_only(c: OrderContext) -> Refusal | None:
    if not c.policy.read_only:
        return None
    return Refusal("read-only mode sends no orders", "unset IB_READ_ONLY to trade", "on", "off")


def tradable(c: OrderContext) -> Refusal | None:
    instrument = c.instrument
    if instrument.sec_type is not SecType.STOCK or instrument.currency != "USD":
        value = f"{instrument.sec_type} {instrument.currency}"
        return Refusal(
            "only US stocks and ETFs are traded; the rest is data", "trade the stock instead", value, "STK USD"
        )
    known = c.details.instrument if c.details is not None else instrument
    exchange = known.primary_exchange or "SMART"
    if exchange not in US_EXCHANGES:
        return Refusal(f"{exchange} is not a US stock exchange", "choose the US listing", exchange, "a US exchange")
    return None


def contract_known(c: OrderContext) -> Refusal | None:
    if c.details is not None:
        return None
    return Refusal("the contract's price and size rules are not known", "ask details(symbol) first", "unknown", "known")


def restricted(c: OrderContext) -> Refusal | None:
    if c.instrument.symbol not in c.policy.restricted:
        return None
    return Refusal("the symbol is on the restricted list", "choose another", c.instrument.symbol, "not restricted")


def in_doubt(c: OrderContext) -> Refusal | None:
    for order in c.live:
        if order.state is OrderState.UNKNOWN and same_contract(order.instrument, c.instrument):
            return Refusal(
                f"order {order.key} is UNKNOWN: it may be at the broker",
                "reconcile, then try again",
                order.key,
                "no UNKNOWN order",
            )
    reason = c.view.in_doubt(c.instrument)
    if reason is None:
        return None
    return Refusal(f"the symbol is in doubt: {reason}", "reconcile, then try again", reason, "no doubt")


# The order as written


def whole_shares(c: OrderContext) -> Refusal | None:
    quantity = c.order.quantity
    if quantity == quantity.to_integral_value():
        return None
    fits = quantity.to_integral_value(rounding=ROUND_FLOOR)
    return Refusal("only whole shares are traded", f"order {fits}", quantity, "whole shares", fits=fits - c.filled)


def lot_size(c: OrderContext) -> Refusal | None:
    assert c.details is not None  # contract_known comes first
    step, least = c.details.size_increment, c.details.min_size
    quantity = c.order.quantity
    if quantity < least:
        return Refusal(f"the contract trades in {least} or more", f"order at least {least}", quantity, least, fits=ZERO)
    if step > 0 and quantity % step:
        fits = quantity - quantity % step
        return Refusal(f"the contract trades in steps of {step}", f"order {fits}", quantity, step, fits=fits - c.filled)
    return None


def filled_already(c: OrderContext) -> Refusal | None:
    if c.quantity > 0:
        return None
    return Refusal(
        f"{c.filled} of it are filled already",
        "cancel it instead",
        c.order.quantity,
        f"above {c.filled}",
    )


def tick_size(c: OrderContext) -> Refusal | None:
    assert c.details is not None  # contract_known comes first
    for name in ("limit_price", "stop_price"):
        price: Decimal | None = getattr(c.order, name)
        if price is None or c.details.on_tick(price):
            continue
        # A buyer's limit goes down and a seller's up: rounding never pays more than was asked. Stops trigger later.
        downward = (c.side is Side.BUY) == (name == "limit_price")
        near = c.details.round_price(price, Rounding.DOWN if downward else Rounding.UP)
        step = c.details.increment_at(price)
        return Refusal(f"{name} {price} is not a multiple of {step}", f"use {near.normalize():f}", price, step)
    trail, reference = c.order.trail_amount, c.price
    if trail is not None:
        step = c.details.increment_at(reference if reference is not None else trail)
        if trail % step:
            return Refusal(f"trail_amount {trail} is not a multiple of {step}", "use whole ticks", trail, step)
    return None


# Whose position it is, and which way it goes


def ownership(c: OrderContext) -> Refusal | None:
    against = -c.side.sign
    if c.held * against <= 0 or not c.occasion.opens:
        return None
    foreign = c.held * against - max(c.owned * against, ZERO)
    if foreign <= 0:
        return None
    fits = c.closable
    return Refusal(
        f"{foreign} of the position were not opened by this journal",
        f"adopt {c.instrument.symbol} to trade them",
        c.quantity,
        fits,
        fits=fits,
        error=NotOwned,
    )


def long_only(c: OrderContext) -> Refusal | None:
    if c.side is Side.BUY or c.policy.allow_short:
        return None
    fits = c.closable
    return Refusal(
        f"a sell of {c.quantity} exceeds the position {c.owned} less what is being sold already",
        f"sell at most {fits}" if fits else "there is nothing left to sell",
        c.quantity,
        fits,
        fits=fits,
    )


def through_zero(c: OrderContext) -> Refusal | None:
    if c.owned * -c.side.sign <= 0:
        return None
    first = c.closable
    rest = c.quantity - first
    split = (
        f"{c.side} {first} to go flat, then {c.side} {rest} once that is filled"
        if first
        else "wait for the working exit"
    )
    return Refusal("the order would cross zero, which takes two orders", split, c.quantity, first, fits=first)


def shortable(c: OrderContext) -> Refusal | None:
    if c.side is Side.BUY:
        return None
    available = c.view.shortable_shares(c.instrument)
    if available is None:
        return Refusal(
            "nobody told whether it can be borrowed", "wait for the shortable tick", "unknown", "shortable", fits=ZERO
        )
    if c.quantity <= available:
        return None
    return Refusal(f"{available} shares can be borrowed", "short fewer", c.quantity, available, fits=available)


def reduce_only(c: OrderContext) -> Refusal | None:
    if not c.order.reduce_only:
        return None
    fits = c.closable
    return Refusal(
        "a reduce-only order may not open or enlarge a position", f"order at most {fits}", c.quantity, fits, fits=fits
    )
