"""Orders, fills and instruments as JSON, exactly: Decimals as text, times as ISO 8601 UTC."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from ..domain.instrument import Instrument, SecType
from ..domain.order import Fill, NewOrder, OrderType, Side, TimeInForce

#: A text as JSON.
quoted = encode_basestring_ascii
_encoder = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=True)

_INSTRUMENT_TEXTS = ("exchange", "primary_exchange", "local_symbol", "trading_class", "right")
_ORDER_PRICES = ("limit_price", "stop_price", "trail_amount", "trail_percent")


def to_json(data: object) -> str:
    """One text per value: sorted keys, no spaces."""
    return _encoder.encode(data)


def decimal_text(value: Decimal) -> str:
    """One text per number: 1, 1.0 and 1.00 all give "1"."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def instrument_key(instrument: Instrument) -> str:
    """Names a contract for positions and blocks.

    By description rather than conId, so that an instrument counts as the same before and after qualification.
    """
    key = f"{instrument.symbol}|{instrument.sec_type.value}|{instrument.currency}"
    if instrument.expiry is None and instrument.strike is None:
        return key
    expiry = instrument.expiry.isoformat() if instrument.expiry else ""
    strike = decimal_text(instrument.strike) if instrument.strike is not None else ""
    return f"{key}|{expiry}|{strike}|{instrument.right or ''}"


def instrument_data(instrument: Instrument) -> dict[str, Any]:
    data: dict[str, Any] = {
        "symbol": instrument.symbol,
        "sec_type": instrument.sec_type.value,
        "currency": instrument.currency,
    }
    for name in _INSTRUMENT_TEXTS:
        value = getattr(instrument, name)
        if value is not None:
            data[name] = value
    if instrument.con_id is not None:
        data["con_id"] = instrument.con_id
    if instrument.expiry is not None:
        data["expiry"] = instrument.expiry.isoformat()
    if instrument.strike is not None:
        data["strike"] = decimal_text(instrument.strike)
    if instrument.multiplier != 1:
        data["multiplier"] = decimal_text(instrument.multiplier)
    return data


def instrument_from(data: dict[str, Any]) -> Instrument:
    return Instrument(
        symbol=data["symbol"],
        sec_type=SecType(data["sec_type"]),
        currency=data["currency"],
        con_id=data.get("con_id"),
        expiry=date.fromisoformat(data["expiry"]) if "expiry" in data else None,
        strike=_decimal(data.get("strike")),
        multiplier=Decimal(data.get("multiplier", "1")),
        **{name: data[name] for name in _INSTRUMENT_TEXTS if name in data},
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def order_data(order: NewOrder) -> dict[str, Any]:
    data: dict[str, Any] = {
        "instrument": instrument_data(order.instrument),
        "side": order.side.value,
        "quantity": decimal_text(order.quantity),
        "type": order.type.value,
        "tif": order.tif.value,
        "key": order.key,
    }
    for name in _ORDER_PRICES:
        value = getattr(order, name)
        if value is not None:
            data[name] = decimal_text(value)
    if order.good_till is not None:
        data["good_till"] = moment_text(order.good_till)
    if order.outside_rth:
        data["outside_rth"] = True
    if order.reduce_only:
        data["reduce_only"] = True
    for name in ("account", "oca_group", "reason"):
        value = getattr(order, name)
        if value:
            data[name] = value
    return data


def order_text(order: NewOrder) -> str:
    """`to_json(order_data(order))`, put together by hand: this is written while the order waits to be sent."""
    parts = []
    if order.account:
        parts.append(f'"account":{quoted(order.account)}')
    if order.good_till is not None:
        parts.append(f'"good_till":"{moment_text(order.good_till)}"')
    parts.append(f'"instrument":{_instrument_text(order.instrument)},"key":"{order.key}"')
    if order.limit_price is not None:
        parts.append(f'"limit_price":"{decimal_text(order.limit_price)}"')
    if order.oca_group:
        parts.append(f'"oca_group":{quoted(order.oca_group)}')
    if order.outside_rth:
        parts.append('"outside_rth":true')
    parts.append(f'"quantity":"{decimal_text(order.quantity)}"')
    if order.reason:
        parts.append(f'"reason":{quoted(order.reason)}')
    if order.reduce_only:
        parts.append('"reduce_only":true')
    parts.append(f'"side":"{order.side}"')
    if order.stop_price is not None:
        parts.append(f'"stop_price":"{decimal_text(order.stop_price)}"')
    parts.append(f'"tif":"{order.tif}"')
    if order.trail_amount is not None:
        parts.append(f'"trail_amount":"{decimal_text(order.trail_amount)}"')
    if order.trail_percent is not None:
        parts.append(f'"trail_percent":"{decimal_text(order.trail_percent)}"')
    parts.append(f'"type":"{order.type}"')
    return "{" + ",".join(parts) + "}"


@lru_cache(maxsize=1024)
def _instrument_text(instrument: Instrument) -> str:
    return to_json(instrument_data(instrument))


def order_from(text: str) -> NewOrder:
    data = json.loads(text)
    return NewOrder(
        instrument=instrument_from(data["instrument"]),
        side=Side(data["side"]),
        quantity=Decimal(data["quantity"]),
        type=OrderType(data["type"]),
        tif=TimeInForce(data["tif"]),
        good_till=_moment(data.get("good_till")),
        outside_rth=data.get("outside_rth", False),
        account=data.get("account"),
        key=data["key"],
        oca_group=data.get("oca_group"),
        reduce_only=data.get("reduce_only", False),
        reason=data.get("reason", ""),
        **{name: Decimal(data[name]) for name in _ORDER_PRICES if name in data},
    )


#: Parts of an instrument that qualification may add or change; a request is the same with or without them.
_ADDED_BY_QUALIFICATION = (
    "con_id",
    "exchange",
    "primary_exchange",
    "local_symbol",
    "trading_class",
    "multiplier",
)


def same_request(stored: NewOrder, asked: NewOrder, account: str) -> bool:
    """Whether `asked` is the order that `stored` records. `account` is the one meant where `asked` names none.

    The reason is free text and does not count.
    """
    known, wanted = stored.instrument.con_id, asked.instrument.con_id
    if known is not None and wanted is not None and known != wanted:
        return False
    return _canonical(stored, account) == _canonical(asked, account)


def _canonical(order: NewOrder, account: str) -> dict[str, Any]:
    data = order_data(order)
    data.pop("reason", None)
    data["account"] = order.account or account
    data["instrument"] = {
        name: value for name, value in data["instrument"].items() if name not in _ADDED_BY_QUALIFICATION
    }
    return data


def fill_data(fill: Fill) -> dict[str, Any]:
    data: dict[str, Any] = {
        "exec_id": fill.exec_id,
        "instrument": instrument_data(fill.instrument),
        "side": fill.side.value,
        "quantity": decimal_text(fill.quantity),
        "price": decimal_text(fill.price),
        "time": moment_text(fill.time),
        "account": fill.account,
    }
    for name in ("order_key", "order_id", "perm_id", "client_id"):
        value = getattr(fill, name)
        if value is not None:
            data[name] = value
    if fill.exchange:
        data["exchange"] = fill.exchange
    if fill.cumulative_quantity is not None:
        data["cumulative_quantity"] = decimal_text(fill.cumulative_quantity)
    for flag in ("liquidation", "recovered"):
        if getattr(fill, flag):
            data[flag] = True
    return data


def fill_from(
    text: str, commission: Decimal | None = None, currency: str | None = None, realized_pnl: Decimal | None = None
) -> Fill:
    data = json.loads(text)
    return Fill(
        exec_id=data["exec_id"],
        instrument=instrument_from(data["instrument"]),
        side=Side(data["side"]),
        quantity=Decimal(data["quantity"]),
        price=Decimal(data["price"]),
        time=datetime.fromisoformat(data["time"]),
        account=data["account"],
        order_key=data.get("order_key"),
        order_id=data.get("order_id"),
        perm_id=data.get("perm_id"),
        client_id=data.get("client_id"),
        exchange=data.get("exchange", ""),
        commission=commission,
        commission_currency=currency,
        realized_pnl=realized_pnl,
        cumulative_quantity=_decimal(data.get("cumulative_quantity")),
        liquidation=data.get("liquidation", False),
        recovered=data.get("recovered", False),
    )
