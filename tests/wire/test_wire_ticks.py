"""The templates of the hot path write what the table writes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.simulation.tws import ticks
from moondev_ibkr.brokers.simulation.tws.codec import unpack
from moondev_ibkr.brokers.simulation.tws.messages_out import decode, encode

VERSION = st.sampled_from([157, 163, 178])
PRICE = st.floats(0.0001, 1e7)
SIZE = st.integers(0, 10**9) | st.decimals(0, 10**6, places=3)
NUMBER = st.integers(0, 10**6)


@given(VERSION, NUMBER, PRICE | st.none(), SIZE, st.integers(0, 7))
def test_price(version: int, req: int, price: float | None, size: int | Decimal, mask: int) -> None:
    expected = encode(version, "tickPrice", reqId=req, tickType=1, price=price, size=size, attrMask=mask)
    assert ticks.tick_price(version, req, 1)(price, size, mask) == expected


@given(VERSION, NUMBER, SIZE, PRICE)
def test_size_generic_and_string(version: int, req: int, size: int | Decimal, value: float) -> None:
    assert ticks.tick_size(version, req, 8)(size) == encode(version, "tickSize", reqId=req, tickType=8, size=size)
    assert ticks.tick_generic(req, 49)(value) == encode(version, "tickGeneric", reqId=req, tickType=49, value=value)
    assert ticks.tick_string(req, 45)("é1") == encode(version, "tickString", reqId=req, tickType=45, value="é1")


@given(VERSION, NUMBER, PRICE, SIZE, st.booleans())
def test_depth(version: int, req: int, price: float, size: int | Decimal, smart: bool) -> None:
    row = {"reqId": req, "position": 3, "operation": 1, "side": 0, "price": price, "size": size}
    assert ticks.depth(version, req)(3, 1, 0, price, size) == encode(version, "updateMktDepth", **row)
    expected = encode(version, "updateMktDepthL2", **row, marketMaker="NSDQ", isSmartDepth=smart)
    assert ticks.depth_l2(version, req, smart)(3, "NSDQ", 1, 0, price, size) == expected


@given(VERSION, NUMBER, PRICE, PRICE, SIZE, SIZE)
def test_tick_by_tick(
    version: int, req: int, bid: float, ask: float, bid_size: int | Decimal, ask_size: int | Decimal
) -> None:
    now = 1700000000
    head = {"reqId": req, "time": now}
    for kind in (1, 2):
        last = {"price": bid, "size": bid_size, "mask": 2, "exchange": "ARCA", "specialConditions": "T"}
        expected = encode(version, "tickByTick", **head, **last, tickType=kind)
        assert ticks.last_tick(version, req, kind)(now, bid, bid_size, 2, "ARCA", "T") == expected
    quote = {"bidPrice": bid, "askPrice": ask, "bidSize": bid_size, "askSize": ask_size, "mask": 1}
    expected = encode(version, "tickByTick", **head, **quote, tickType=3)
    assert ticks.bid_ask_tick(version, req)(now, bid, ask, bid_size, ask_size, 1) == expected
    assert ticks.mid_point_tick(req)(now, bid) == encode(version, "tickByTick", **head, tickType=4, midPoint=bid)


@pytest.mark.parametrize(("price", "text"), [(150.25, "150.25"), (150.0, "150.00"), (0.1 + 0.2, "0.30"), (-1, "-1.00")])
def test_price_of_fixed_length(price: float, text: str) -> None:
    frame = ticks.tick_price(178, 100, 1, decimals=2)(price, 300, 1)
    assert unpack(frame[4:]) == ["1", "6", "100", "1", text, "300", "1"]
    assert decode(178, unpack(frame[4:]))[0] == "tickPrice"
