"""Rules about money: the day's loss, cash, and the size of orders, positions and the whole account."""

from __future__ import annotations

from decimal import Decimal

from .domain.order import Side
from .risk_context import ZERO, OrderContext, Refusal

# Loss and money


def daily_loss(c: OrderContext) -> Refusal | None:
    start, summary = c.view.day_start(c.account), c.summary
    limit = c.policy.max_daily_loss
    if start is None or start.day != c.day:
        return Refusal(
            "today's starting net liquidation is not known", "wait for the account", "unknown", limit, fits=ZERO
        )
    if summary is None or summary.net_liquidation is None:
        return Refusal(
            "the account's net liquidation is not known", "wait for the account", "unknown", limit, fits=ZERO
        )
    base = c.usd(start.net_liquidation + start.transfers, start.currency)
    present = c.usd(summary.net_liquidation, summary.currency)
    if base is None or present is None:
        return Refusal(f"no rate of {summary.currency} to USD", "wait for the account", "unknown", limit, fits=ZERO)
    loss = base - present
    if loss < limit:
        return None
    return Refusal(
        f"today's loss of {loss:.2f} USD reached the limit", "nothing is opened until 00:00 ET", loss, limit, fits=ZERO
    )


def settled_cash(c: OrderContext) -> Refusal | None:
    summary = c.summary
    if summary is None or "CASH" not in summary.account_type.upper() or c.side is Side.SELL:
        return None
    cash = None if summary.settled_cash is None else c.usd(summary.settled_cash, summary.currency)
    spoken_for = _working_buys(c)
    unit = c.unit_value
    if cash is None or spoken_for is None or unit is None:
        return Refusal("the settled cash is not known", "wait for the account", "unknown", "settled cash", fits=ZERO)
    free = max(cash - spoken_for, ZERO)
    return _sized(
        c, c.quantity * unit, free, unit, ZERO, "of settled cash", "a cash account buys with settled cash only"
    )


def _working_buys(c: OrderContext) -> Decimal | None:
    """USD that working buys may still take; None when one cannot be valued."""
    total = ZERO
    for order in c.working:
        if order.intent.side is Side.BUY and order.remaining:
            instrument = order.instrument
            price = order.intent.limit_price or c.mark(instrument, [], [order])
            value = (
                None if price is None else c.usd(order.remaining * price * instrument.multiplier, instrument.currency)
            )
            if value is None:
                return None
            total += value
    return total


def day_trades(c: OrderContext) -> Refusal | None:
    left = c.summary.day_trades_remaining if c.summary is not None else None
    least = c.policy.min_day_trades_remaining
    if left is None or left >= least:
        return None
    return Refusal(
        f"{left} day trades are left, and an exit today would need one",
        "wait for the next session",
        str(left),
        str(least),
        fits=ZERO,
    )


# Size


def _sized(
    c: OrderContext, value: Decimal, limit: Decimal, unit: Decimal, base: Decimal, what: str, why: str
) -> Refusal | None:
    """A refusal when `value` is above `limit`; what fits is what `limit` leaves beside `base`, by `unit` a share."""
    if value <= limit:
        return None
    fits = max((limit - base) / unit, ZERO)
    return Refusal(f"{value:.2f} USD {what}: {why}", "order fewer", value, limit, fits=fits)


def _unvalued(what: str, limit: Decimal | str) -> Refusal:
    return Refusal(f"{what} cannot be valued in USD", "wait for a quote and a rate", "unknown", limit, fits=ZERO)


def order_quantity(c: OrderContext) -> Refusal | None:
    limit = c.policy.max_order_quantity
    if c.quantity <= limit:
        return None
    return Refusal("too many shares for one order", "order fewer", c.quantity, limit, fits=limit)


def order_value(c: OrderContext) -> Refusal | None:
    limit = c.policy.max_order_value
    if c.unit_value is None:
        return _unvalued("the order", limit)
    return _sized(c, c.quantity * c.unit_value, limit, c.unit_value, ZERO, "in one order", "above the limit")


def order_equity(c: OrderContext) -> Refusal | None:
    net, unit = c.net_liquidation, c.unit_value
    if net is None or unit is None:
        return _unvalued("the account" if net is None else "the order", "net liquidation")
    # The whole order: a change may not grow it past the account by the part that is filled.
    value, filled = c.order.quantity * unit, c.filled * unit
    return _sized(c, value, max(net, ZERO), unit, filled, "in one order", "more than the account's net liquidation")


def _position_limit(c: OrderContext, limit: Decimal, what: str) -> Refusal | None:
    value, unit, base = c.position_value, c.unit_value, c.base_value
    if value is None or unit is None or base is None:
        return _unvalued("the position", limit)
    return _sized(c, value, limit, unit, base, what, "above the limit")


def position_value(c: OrderContext) -> Refusal | None:
    return _position_limit(c, c.policy.max_position_value, "in one position")


def symbol_limit(c: OrderContext) -> Refusal | None:
    limit = c.policy.symbol_limits.get(c.instrument.symbol)
    return None if limit is None else _position_limit(c, limit, f"in {c.instrument.symbol}")


def concentration(c: OrderContext) -> Refusal | None:
    net = c.net_liquidation
    if net is None:
        return _unvalued("the account", c.policy.max_concentration)
    limit = max(net, ZERO) * c.policy.max_concentration
    if c.position_value is not None and c.position_value <= limit:
        return None
    return _position_limit(c, limit, f"in one position of an account of {net:.2f} USD")


def exposure(c: OrderContext) -> Refusal | None:
    limit = c.policy.max_exposure
    other = c.other_exposure
    if isinstance(other, str):
        return _unvalued(other, limit)
    if c.unit_value is None or c.base_value is None:
        return _unvalued("the position", limit)
    base = other + c.base_value
    return _sized(c, base + c.quantity * c.unit_value, limit, c.unit_value, base, "of exposure", "above the limit")
