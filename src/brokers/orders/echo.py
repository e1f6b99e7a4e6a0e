"""Whether the broker's picture of an order is the order that was meant (promise Q9)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from ..domain.order import NewOrder, OrderType
from ..domain.reports import BrokerOrder
from ..errors import InvalidOrder

#: Prices of an order, under the same names in the intent and in the broker's picture.
PRICES = ("limit_price", "stop_price", "trail_amount", "trail_percent")

#: The broker moves these by itself: a trailing stop's level, and the cap that MIDPRICE works under.
EXEMPT = frozenset({(OrderType.TRAIL, "stop_price"), (OrderType.MIDPRICE, "limit_price")})


def differences(intent: NewOrder, account: str, told: BrokerOrder) -> list[str]:
    """What differs, as "name: told, meant"; empty when it is the same order. TIF is the preset's to change (O03)."""
    found: list[str] = []
    meant_id, told_id = intent.instrument.con_id, told.instrument.con_id
    if meant_id is not None and told_id is not None:
        _compare(found, "conId", told_id, meant_id)
    else:
        _compare(found, "symbol", told.instrument.symbol, intent.instrument.symbol)
    _compare(found, "side", told.side.value, intent.side.value)
    _compare(found, "quantity", told.quantity, intent.quantity)
    _compare(found, "type", told.type_text if told.type is None else told.type.value, intent.type.value)
    if account and told.account:
        _compare(found, "account", told.account, account)
    for name in PRICES:
        if (intent.type, name) not in EXEMPT:
            _compare(found, name, getattr(told, name), getattr(intent, name))
    return found


def _compare(found: list[str], name: str, told: object, meant: object) -> None:
    if told != meant:
        found.append(f"{name}: {told}, meant {meant}")


def as_told(intent: NewOrder, told: BrokerOrder) -> NewOrder | None:
    """The intent with the broker's quantity and prices; None when that is no order that could be written."""
    changes: dict[str, Decimal | None] = {"quantity": told.quantity}
    for name in PRICES:
        if (intent.type, name) not in EXEMPT:
            changes[name] = getattr(told, name)
    try:
        return replace(intent, **changes)  # type: ignore[arg-type]
    except InvalidOrder:
        return None


def foreign_intent(told: BrokerOrder, key: str) -> NewOrder:
    """A foreign order as an intent, for display. What an intent cannot say stands in its reason."""
    reason = "placed outside this journal"
    if told.type is not None and told.quantity > 0:
        try:
            prices = {name: getattr(told, name) for name in PRICES}
            return _foreign(told, key, told.type, told.quantity, prices, reason)
        except InvalidOrder:
            pass
    quantity = told.quantity if told.quantity > 0 else Decimal(1)
    reason += f" as {told.type_text} for {told.quantity}; its type and prices are not shown"
    return _foreign(told, key, OrderType.MARKET, quantity, {}, reason)


def _foreign(
    told: BrokerOrder, key: str, type_: OrderType, quantity: Decimal, prices: dict[str, Decimal | None], reason: str
) -> NewOrder:
    return NewOrder(
        instrument=told.instrument,
        side=told.side,
        quantity=quantity,
        type=type_,
        outside_rth=told.outside_rth,
        account=told.account or None,
        key=key,
        oca_group=told.oca_group or None,
        reason=reason,
        limit_price=prices.get("limit_price"),
        stop_price=prices.get("stop_price"),
        trail_amount=prices.get("trail_amount"),
        trail_percent=prices.get("trail_percent"),
    )
