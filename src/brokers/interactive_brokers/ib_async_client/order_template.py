"""Placing an order without building it twice: ib_async's own encoding, taken apart once per server version.

ib_async encodes some 114 fields an order, of which this package ever sets the two dozen below. The rest is encoded
once, by ib_async itself, and reused; a test compares the bytes for every order type.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ib_async.client import Client
from ib_async.contract import Contract
from ib_async.order import Order as IbOrder

from ...domain.instrument import Instrument
from ...domain.reports import WireOrder
from ..ib_vocabulary import ORDER_TYPE_WORDS, SIDE_WORDS, TIF_WORDS, UNSET_DOUBLE, PriceSlot, ib_time, order_prices
from .contracts import to_contract
from .encoding import CONTRACT_FIELDS, CONVERTERS, frame
from .translate import OCA_CANCEL_WITH_BLOCK, to_ib_order

PLACE_ORDER = 3

#: The fields of ib_async's Order that this package sets, in the order in which `place_message` fills them.
FIELDS = (
    "action",
    "totalQuantity",
    "orderType",
    "lmtPrice",
    "auxPrice",
    "tif",
    "ocaGroup",
    "account",
    "orderRef",
    "transmit",
    "parentId",
    "outsideRth",
    "goodTillDate",
    "ocaType",
    "trailStopPrice",
    "trailingPercent",
)
_ORDER_ID = 1
_CONTRACT = slice(2, 2 + len(CONTRACT_FIELDS))


class _Marker(str):
    """Stands in a message for a field, and is found again by its identity."""

    __slots__ = ()


class _Recorder(Client):
    """ib_async's client with no link: it keeps what it would have sent."""

    def __init__(self, server_version: int) -> None:
        self._version = server_version
        self.fields: tuple[Any, ...] = ()

    def serverVersion(self) -> int:
        return self._version

    def send(self, *fields: Any, makeEmpty: bool = True) -> None:
        self.fields = fields


@lru_cache(maxsize=8)
def _template(server_version: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The message of a default order, field by field, as text; and where each of FIELDS stands in it."""
    recorder = _Recorder(server_version)
    markers = {name: _Marker(name) for name in FIELDS}
    recorder.placeOrder(0, Contract(), IbOrder(openClose="", **markers))
    parts: list[str] = []
    places: dict[str, int] = {}
    for field in recorder.fields:
        if isinstance(field, _Marker):
            places[str(field)] = len(parts)
        parts += _words(field).split("\0") if isinstance(field, Contract) else [_words(field)]
    return tuple(parts), tuple(places[name] for name in FIELDS)


def _words(field: Any) -> str:
    convert = CONVERTERS.get(field.__class__)
    return convert(field) if convert is not None else str(field)


@lru_cache(maxsize=1024)
def _contract_words(instrument: Instrument) -> list[str]:
    return _words(to_contract(instrument)).split("\0")


def _price(value: float) -> str:
    return "" if value == UNSET_DOUBLE else str(value)


def place_message(order: WireOrder, server_version: int) -> bytes:
    """The framed placeOrder message of an order: the bytes that ib_async would have made."""
    intent = order.intent
    prices = order_prices(intent)
    template, places = _template(server_version)
    parts = list(template)
    parts[_ORDER_ID] = str(order.order_id)
    parts[_CONTRACT] = _contract_words(intent.instrument)
    values = (
        SIDE_WORDS[intent.side],
        str(float(intent.quantity)),
        ORDER_TYPE_WORDS[intent.type],
        _price(prices[PriceSlot.LIMIT]),
        _price(prices[PriceSlot.AUX]),
        TIF_WORDS[intent.tif],
        intent.oca_group or "",
        order.account,
        intent.key,
        "1" if order.transmit else "0",
        str(order.parent_id),
        "1" if intent.outside_rth else "0",
        ib_time(intent.good_till),
        str(OCA_CANCEL_WITH_BLOCK) if intent.oca_group else "0",
        _price(prices[PriceSlot.TRAIL_STOP]),
        _price(prices[PriceSlot.TRAILING_PERCENT]),
    )
    for place, value in zip(places, values, strict=True):
        parts[place] = value
    parts.append("")
    return frame("\0".join(parts).encode())


def reference_message(order: WireOrder, server_version: int) -> bytes:
    """The same by way of ib_async's Order and encoder; the slow path that the fast one must equal."""
    recorder = _Recorder(server_version)
    recorder.placeOrder(order.order_id, to_contract(order.intent.instrument), to_ib_order(order))
    return frame("\0".join([*map(_words, recorder.fields), ""]).encode())
