"""Client-to-server fields as text, in the exact form that ib_async 2.1 gives them."""

from __future__ import annotations

import math
from collections.abc import Callable
from struct import Struct
from typing import Any

from ib_async.contract import Contract
from ib_async.util import UNSET_DOUBLE, UNSET_INTEGER

_LENGTH = Struct(">I")

CONTRACT_FIELDS = (
    "conId",
    "symbol",
    "secType",
    "lastTradeDateOrContractMonth",
    "strike",
    "right",
    "multiplier",
    "exchange",
    "primaryExchange",
    "currency",
    "localSymbol",
    "tradingClass",
)


def frame(payload: bytes) -> bytes:
    """The payload behind its length, four bytes big-endian."""
    return _LENGTH.pack(len(payload)) + payload


def _contract(contract: Contract) -> str:
    return "\0".join([str(getattr(contract, name)) for name in CONTRACT_FIELDS])


def _float(value: float) -> str:
    if value == UNSET_DOUBLE:
        return ""
    # IB's own clients write "Infinity"; TWS takes this spelling from ib_async's users
    return "Infinite" if value == math.inf else str(value)


def _plain_float(value: float) -> str:
    return "Infinite" if value == math.inf else str(value)


def _int(value: int) -> str:
    return "" if value == UNSET_INTEGER else str(value)


def _bool(value: bool) -> str:
    return "1" if value else "0"


def _none(_: None) -> str:
    return ""


def _tags(values: list[Any]) -> str:
    return "".join([f"{value.tag}={value.value};" for value in values])


def _text(value: str) -> str:
    return value


CONVERTERS: dict[type, Callable[[Any], str]] = {
    str: _text,
    int: _int,
    float: _float,
    bool: _bool,
    type(None): _none,
    list: _tags,
    Contract: _contract,
}

#: Without "unset becomes empty"; one message (reqWshEventData) wants the sentinels spelt out.
PLAIN_CONVERTERS: dict[type, Callable[[Any], str]] = {**CONVERTERS, int: str, float: _plain_float}


def encode(fields: tuple[Any, ...], make_empty: bool = True) -> bytes:
    """One framed message. Unset numbers become empty fields unless `make_empty` is False."""
    converters = CONVERTERS if make_empty else PLAIN_CONVERTERS
    parts = []
    for field in fields:
        convert = converters.get(field.__class__)
        if convert is None:
            convert = _contract if isinstance(field, Contract) else str
        parts.append(convert(field))
    parts.append("")
    payload = "\0".join(parts).encode()
    return _LENGTH.pack(len(payload)) + payload
