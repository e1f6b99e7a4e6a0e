"""Templates for the messages of the hot path: made once per subscription, then a few formatted values per tick.

    tick_price(sv, reqId, tickType, decimals=None)(price, size, attrMask=0) -> bytes        1
    tick_size(sv, reqId, tickType)(size) -> bytes                                           2
    tick_generic(reqId, tickType)(value) -> bytes                                          45
    tick_string(reqId, tickType)(text) -> bytes                                            46
    depth(sv, reqId)(position, operation, side, price, size) -> bytes                      12
    depth_l2(sv, reqId, isSmartDepth)(position, marketMaker, operation, side, price, size) 13
    last_tick(sv, reqId, tickType)(time, price, size, mask, exchange, conditions)          99, types 1 and 2
    bid_ask_tick(sv, reqId)(time, bid, ask, bidSize, askSize, mask)                        99, type 3
    mid_point_tick(reqId)(time, midPoint)                                                  99, type 4

Frames equal those of `messages_out.encode` byte for byte, but for prices where `decimals` fixes their length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .fields import FRACTIONAL_SIZES
from .values import Number, number_text

_LENGTH = struct.Struct(">I").pack


def _frame(text: str) -> bytes:
    payload = text.encode()
    return _LENGTH(len(payload)) + payload


def _size_text(server_version: int) -> Callable[[Number], str]:
    return number_text if server_version >= FRACTIONAL_SIZES else lambda size: str(int(size))


def tick_price(server_version: int, reqId: int, tickType: int, decimals: int | None = None) -> Callable[..., bytes]:
    """`decimals`: digits after the point of every price (faster); None: as many as the price needs."""
    head = f"1\0006\0{reqId}\0{tickType}\0"
    size_text = _size_text(server_version)
    if decimals is not None:
        template = head + f"%.{decimals}f\0%s\0%d\0"

        def encode_fixed(price: float, size: Number = 0, attrMask: int = 0) -> bytes:
            return _frame(template % (price, size_text(size), attrMask))

        return encode_fixed

    def encode(price: float | None, size: Number = 0, attrMask: int = 0) -> bytes:
        text = "-1" if price is None else number_text(price)
        return _frame(f"{head}{text}\0{size_text(size)}\0{attrMask}\0")

    return encode


def tick_size(server_version: int, reqId: int, tickType: int) -> Callable[[Number], bytes]:
    head = f"2\0006\0{reqId}\0{tickType}\0"
    size_text = _size_text(server_version)
    return lambda size: _frame(f"{head}{size_text(size)}\0")


def tick_generic(reqId: int, tickType: int) -> Callable[[float], bytes]:
    head = f"45\0006\0{reqId}\0{tickType}\0"
    return lambda value: _frame(f"{head}{number_text(value)}\0")


def tick_string(reqId: int, tickType: int) -> Callable[[str], bytes]:
    head = f"46\0006\0{reqId}\0{tickType}\0"
    return lambda text: _frame(f"{head}{text}\0")


def depth(server_version: int, reqId: int) -> Callable[[int, int, int, float, Number], bytes]:
    """operation: 0 insert, 1 update, 2 delete; side: 0 ask, 1 bid."""
    head = f"12\0001\0{reqId}\0"
    size_text = _size_text(server_version)

    def encode(position: int, operation: int, side: int, price: float, size: Number) -> bytes:
        return _frame(f"{head}{position}\0{operation}\0{side}\0{number_text(price)}\0{size_text(size)}\0")

    return encode


def depth_l2(
    server_version: int, reqId: int, isSmartDepth: bool
) -> Callable[[int, str, int, int, float, Number], bytes]:
    head = f"13\0001\0{reqId}\0"
    tail = "1\0" if isSmartDepth else "0\0"
    size_text = _size_text(server_version)

    def encode(position: int, marketMaker: str, operation: int, side: int, price: float, size: Number) -> bytes:
        where = f"{head}{position}\0{marketMaker}\0{operation}\0{side}\0"
        return _frame(f"{where}{number_text(price)}\0{size_text(size)}\0{tail}")

    return encode


def last_tick(server_version: int, reqId: int, tickType: int) -> Callable[[int, float, Number, int, str, str], bytes]:
    """tickType 1 "Last" or 2 "AllLast"; time in epoch seconds; mask: 1 past limit, 2 unreported."""
    head = f"99\0{reqId}\0{tickType}\0"
    size_text = _size_text(server_version)

    def encode(time: int, price: float, size: Number, mask: int, exchange: str, conditions: str) -> bytes:
        quote = f"{head}{time}\0{number_text(price)}\0{size_text(size)}\0"
        return _frame(f"{quote}{mask}\0{exchange}\0{conditions}\0")

    return encode


def bid_ask_tick(server_version: int, reqId: int) -> Callable[[int, float, float, Number, Number, int], bytes]:
    """mask: 1 bid past low, 2 ask past high."""
    head = f"99\0{reqId}\0003\0"
    size_text = _size_text(server_version)

    def encode(time: int, bid: float, ask: float, bidSize: Number, askSize: Number, mask: int) -> bytes:
        prices = f"{head}{time}\0{number_text(bid)}\0{number_text(ask)}\0"
        return _frame(f"{prices}{size_text(bidSize)}\0{size_text(askSize)}\0{mask}\0")

    return encode


def mid_point_tick(reqId: int) -> Callable[[int, float], bytes]:
    head = f"99\0{reqId}\0004\0"
    return lambda time, midPoint: _frame(f"{head}{time}\0{number_text(midPoint)}\0")
