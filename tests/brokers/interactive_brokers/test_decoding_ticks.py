"""Ticks through the fast reader leave exactly the Tickers, tick lists and events that ib_async itself would."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import struct
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async import Stock
from ib_async.client import Client
from ib_async.ib import IB
from ib_async.objects import FundamentalRatios, IBDefaults
from ib_async.wrapper import (
    GENERIC_TICK_MAP,
    PRICE_TICK_MAP,
    SIZE_TICK_MAP,
    STRING_TICK_MAP,
    TIMESTAMP_TICK_MAP,
)
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import wrapper as wrapper_module
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.api import TwsApi
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import WHY_NOT_COMPILED, CompiledFrameReader
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.frames import FrameReader

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
REQUESTS = (1, 2, 3)

_needs_build = pytest.mark.skipif(bool(WHY_NOT_COMPILED), reason=WHY_NOT_COMPILED)
#: Every comparison is made for both readers.
readers = pytest.mark.parametrize(
    "reader",
    [
        pytest.param(FrameReader, id="pure"),
        pytest.param(
            CompiledFrameReader,
            id="compiled",
            marks=pytest.mark.skipif(bool(WHY_NOT_COMPILED), reason=WHY_NOT_COMPILED),
        ),
    ],
)


def msg(*fields: object) -> bytes:
    payload = ("\0".join(str(field) for field in fields) + "\0").encode()
    return struct.pack(">I", len(payload)) + payload


class Side:
    """One client, raw or ours, fed the same packets; what its users would see."""

    def __init__(self, ib: Any, defaults: IBDefaults | None) -> None:
        self.ib = ib
        self.events: list[tuple] = []
        for request in REQUESTS:
            ticker = ib.wrapper.startTicker(request, Stock(f"S{request}", "SMART", "USD", conId=request), "mktData")
            ticker.updateEvent += lambda t: self.events.append(("ticker", t.contract.conId, list(t.ticks)))
        ib.pendingTickersEvent += lambda ts: self.events.append(("pending", sorted(t.contract.conId for t in ts)))
        ib.updateEvent += lambda: self.events.append(("update",))

    def settled_events(self) -> list[tuple]:
        events, self.events = self.events, []
        return sorted(events, key=lambda event: (event[0], event[1] if event[0] == "ticker" else 0))

    def state(self) -> list[dict[str, Any]]:
        states = []
        for ticker in self.ib.wrapper.tickers.values():
            state = {field.name: getattr(ticker, field.name) for field in dataclasses.fields(ticker)}
            for name in ("contract", "defaults", "time", "timestamp", "updateEvent"):
                state.pop(name, None)
            states.append(state)
        return states


def raw_side(defaults: IBDefaults | None = None) -> Side:
    ib = IB(defaults=defaults or IBDefaults())
    client = ib.client
    client.connState, client._serverVersion, client._apiReady = Client.CONNECTED, 178, True
    client.decoder.serverVersion = 178
    side = Side(ib, defaults)
    side.feed = client.conn.data_received  # type: ignore[attr-defined]
    return side


def our_side(reader: type[FrameReader], defaults: IBDefaults | None = None) -> Side:
    api = TwsApi(defaults=defaults)
    link = api.client
    link.connState, link._serverVersion, link._apiReady = Client.CONNECTED, 178, True
    link.decoder.serverVersion = 178
    link._reader = reader(api.wrapper, link._on_message, link._on_malformed_tick, lambda why: pytest.fail(why))
    side = Side(api, defaults)
    side.feed = link._on_data  # type: ignore[attr-defined]
    return side


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        return type(a) is type(b) and all(same(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, FundamentalRatios):
        return type(a) is type(b) and same(vars(a), vars(b))
    return bool(a == b)


@pytest.fixture(autouse=True)
def _frozen_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return NOW.astimezone(tz)

        @classmethod
        def fromtimestamp(cls, value: float, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(value, tz)

    import ib_async.wrapper

    monkeypatch.setattr(ib_async.wrapper, "datetime", Frozen)
    monkeypatch.setattr(wrapper_module, "time", SimpleNamespace(time=NOW.timestamp))


def compare(reader: type[FrameReader], packets: list[bytes], defaults: IBDefaults | None = None) -> Side:
    raw, ours = raw_side(defaults), our_side(reader, defaults)
    for packet in packets:
        raw.feed(packet)
        ours.feed(packet)
        assert same(raw.state(), ours.state()), packet
        # the order inside a set of tickers is nobody's promise
        assert same(raw.settled_events(), ours.settled_events()), packet
    return ours


prices = st.one_of(
    st.sampled_from(["0", "0.0", "-1", "", "1.7976931348623157E308", "12"]),
    st.floats(-5, 500).map(lambda x: f"{x:.2f}"),
    # all that Python reads as a number, and gateways do not send
    st.sampled_from(
        [".5", "5.", "-0", "-0.00", "+3", "007", "1e2", "1_0", " 5", "nan", "0.1", "179.99500000000000455"]
    ),
    st.floats(0, 1e17, allow_nan=False).map(repr),
    st.decimals(0, 10**9, places=6).map(str),
)
sizes = st.one_of(st.sampled_from(["0", "", "100", "0.5"]), st.integers(0, 4).map(str))
request_ids = st.sampled_from([*REQUESTS, 99])


def price_ticks() -> st.SearchStrategy[bytes]:
    types = st.sampled_from([1, 2, 4, 66, 67, 68, *sorted(PRICE_TICK_MAP)])
    weighted = st.one_of(st.sampled_from([1, 2, 4]), types)
    return st.builds(lambda r, t, p, s: msg(1, 6, r, t, p, s, 1), request_ids, weighted, prices, sizes)


def size_ticks() -> st.SearchStrategy[bytes]:
    types = st.one_of(st.sampled_from([0, 3, 5]), st.sampled_from([0, 3, 5, 69, 70, 71, *sorted(SIZE_TICK_MAP)]))
    return st.builds(lambda r, t, s: msg(2, 6, r, t, s), request_ids, types, sizes)


def generic_ticks() -> st.SearchStrategy[bytes]:
    return st.builds(lambda r, t, v: msg(45, 6, r, t, v), request_ids, st.sampled_from(sorted(GENERIC_TICK_MAP)), sizes)


def string_ticks() -> st.SearchStrategy[bytes]:
    plain = st.tuples(st.sampled_from(sorted(STRING_TICK_MAP)), st.sampled_from(["NASDAQ", "", "Börse"]))
    stamps = st.tuples(st.sampled_from(sorted(TIMESTAMP_TICK_MAP)), st.sampled_from(["1700000000", "0", "bad"]))
    volume = st.tuples(
        st.sampled_from([48, 77]),
        st.sampled_from(["701.28;1;1348075471534;67854;701.46918464;true", ";0;1348075471534;;;false", "x"]),
    )
    others = st.sampled_from([(59, "0.83,0.92,20130219,0.23"), (47, "PEEXCLXOR=12.5;YIELD=-99999.99"), (59, ",,,")])
    return st.builds(lambda r, tv: msg(46, 6, r, *tv), request_ids, st.one_of(plain, stamps, volume, others))


def tick_by_tick() -> st.SearchStrategy[bytes]:
    known = st.sampled_from(REQUESTS)
    last = st.builds(
        lambda r, k, p, s, m: msg(99, r, k, 1700000000, p, s, m, "NYSE", " FT"),
        known,
        st.sampled_from([1, 2]),
        st.sampled_from(["-1", "10.5"]),
        st.sampled_from(["0", "3"]),
        st.integers(0, 3),
    )
    both = st.builds(
        lambda r, b, a, s, m: msg(99, r, 3, 1700000000, b, a, s, 7, m),
        known,
        st.sampled_from(["0", "9.5"]),
        st.sampled_from(["10.5", "-1"]),
        sizes.filter(bool),
        st.integers(0, 3),
    )
    middle = st.builds(lambda r: msg(99, r, 4, 1700000000, 10.25), known)
    return st.one_of(last, both, middle)


def depth() -> st.SearchStrategy[bytes]:
    known, place, operation = st.sampled_from(REQUESTS), st.integers(0, 3), st.integers(0, 2)
    one = st.builds(lambda r, p, o, s: msg(12, 1, r, p, o, s, 10.5, 100), known, place, operation, st.integers(0, 1))
    two = st.builds(
        lambda r, p, o, s, f: msg(13, 1, r, p, "NSDQ", o, s, 10.5, 100, f),
        known,
        place,
        operation,
        st.integers(0, 1),
        st.integers(0, 1),
    )
    return st.one_of(one, two)


others = st.sampled_from(
    [msg(81, 1, 0.01, "9c0001", 3), msg(58, 1, 2, 3), msg(57, 1, 3), msg(4, 2, -1, 2104, "farm is OK:usfarm", "")]
)
any_message = st.one_of(
    price_ticks(),
    price_ticks(),
    size_ticks(),
    size_ticks(),
    generic_ticks(),
    string_ticks(),
    tick_by_tick(),
    depth(),
    others,
)


@readers
@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(any_message, min_size=1, max_size=12).map(b"".join), min_size=1, max_size=12))
def test_random_streams_leave_the_same_state_and_events(reader: type[FrameReader], packets: list[bytes]) -> None:
    compare(reader, packets)


@readers
@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(any_message, min_size=1, max_size=8).map(b"".join), min_size=1, max_size=6))
def test_it_holds_with_other_empty_values_too(reader: type[FrameReader], packets: list[bytes]) -> None:
    compare(reader, packets, IBDefaults(emptyPrice=math.nan, emptySize=math.nan, unset=math.nan, timezone=UTC))


@readers
def test_every_number_is_rounded_as_python_does(reader: type[FrameReader]) -> None:
    rng = random.Random(11)
    ours = our_side(reader)
    ticker = ours.ib.wrapper.reqId2Ticker[1]
    for digits in range(1, 20):
        for _ in range(60):
            text, point = str(rng.randrange(1, 10**digits)), rng.randrange(digits + 1)
            text = f"{text[:point]}.{text[point:]}"
            if text != ".":
                ours.feed(msg(1, 6, 1, 1, text, 1, 0))
                assert ticker.bid == float(text), text


@readers
@settings(max_examples=100, deadline=None)
@given(st.lists(any_message, min_size=1, max_size=15), st.data())
def test_no_split_of_the_bytes_changes_what_is_delivered(
    reader: type[FrameReader], messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=30).map(sorted))
    whole, ours = raw_side(), our_side(reader)
    whole.feed(stream)
    for start, end in itertools.pairwise([0, *cuts, len(stream)]):
        ours.feed(stream[start:end])
    lists = ("ticks", "tickByTicks", "domTicks")
    for raw_state, our_state in zip(whole.state(), ours.state(), strict=True):
        for name in lists:
            raw_state.pop(name)
            our_state.pop(name)
        assert same(raw_state, our_state)
    assert same(ticks_told(whole), ticks_told(ours))


def ticks_told(side: Side) -> dict[int, list[Any]]:
    """Every tick that the event of a ticker brought, in order."""
    told: dict[int, list[Any]] = {request: [] for request in REQUESTS}
    for event in side.events:
        if event[0] == "ticker":
            told[event[1]] += event[2]
    return told


@readers
def test_a_day_like_stream(reader: type[FrameReader]) -> None:
    rng = random.Random(4)
    packets = []
    for _ in range(100):
        packet = b""
        for _ in range(rng.randrange(1, 30)):
            request, side = rng.choice(REQUESTS), rng.random() < 0.5
            price, size = round(rng.uniform(99, 101), 2), rng.randrange(0, 5) * 100
            packet += msg(1, 6, request, 1 if side else 2, price, size, 1)
            packet += msg(2, 6, request, 0 if side else 3, size)
            if rng.random() < 0.3:
                packet += (
                    msg(1, 6, request, 4, price, size, 0) + msg(2, 6, request, 5, size) + msg(2, 6, request, 8, 5000)
                )
        packets.append(packet)
    ours = compare(reader, packets)
    assert ours.ib.client.decoder.malformed.total() == 0


@readers
def test_a_size_alone_changes_the_ticker(reader: type[FrameReader]) -> None:
    first, same_size, *changed = [
        msg(1, 6, 1, 1, 10.0, 100, 1),
        msg(2, 6, 1, 0, 100),
        msg(2, 6, 1, 0, 300),
        msg(2, 6, 1, 0, 0),
    ]
    compare(reader, [first, same_size, *changed])
    ours = our_side(reader)
    for packet in (first, same_size, *changed):
        ours.feed(packet)
    assert [event for event in ours.events if event[0] == "pending"] == [("pending", [1])] * 3


@readers
def test_ticks_of_an_ended_stream_are_counted_not_logged(
    reader: type[FrameReader], caplog: pytest.LogCaptureFixture
) -> None:
    ours = our_side(reader)
    packet = b"".join(
        (
            msg(1, 6, 99, 1, 10.0, 5, 1),
            msg(2, 6, 99, 0, 5),
            msg(99, 99, 4, 1700000000, 10.5),
            msg(12, 1, 99, 0, 0, 1, 10.5, 100),
            msg(21, 99, 13, 0, 0.2, 0.5, 1, 0, 0.1, 0.1, -0.1, 100),
        )
    )
    ours.feed(packet)
    assert ours.ib.wrapper.stray_ticks == 5
    assert not caplog.records


@readers
def test_a_type_that_nobody_knows_is_counted(reader: type[FrameReader]) -> None:
    ours = our_side(reader)
    ours.feed(
        msg(1, 6, 1, 7777, 10.0, 5, 1) + msg(2, 6, 1, 7778, 5) + msg(45, 6, 1, 7779, 5) + msg(46, 6, 1, 7780, "x")
    )
    assert ours.ib.wrapper.unknown_ticks == {7777: 1, 7778: 1, 7779: 1, 7780: 1}
    assert ours.ib.client.decoder.malformed.total() == 0


@readers
def test_greeks_that_were_not_computed_are_none(reader: type[FrameReader]) -> None:
    ours = our_side(reader)
    ours.feed(
        msg(21, 1, 13, 0, -1, -2, -1, -1, -2, -2, -2, "") + msg(21, 2, 10, 1, 0.25, 0.5, 12, 0, 0.1, 0.2, -0.3, 201.5)
    )
    model = ours.ib.wrapper.reqId2Ticker[1].modelGreeks
    assert dataclasses.astuple(model)[1:] == (None,) * 8
    bid = ours.ib.wrapper.reqId2Ticker[2].bidGreeks
    assert dataclasses.astuple(bid)[1:] == (0.25, 0.5, 12, 0, 0.1, 0.2, -0.3, 201.5)


@readers
def test_a_stream_may_be_ended_inside_its_own_packet(reader: type[FrameReader]) -> None:
    ours = our_side(reader)
    api = ours.ib
    ticker = api.wrapper.reqId2Ticker[1]
    api.errorEvent += lambda *args: api.wrapper.endTicker(ticker, "mktData")
    ours.feed(msg(1, 6, 1, 1, 10.0, 5, 1) + msg(4, 2, 1, 354, "not subscribed", "") + msg(1, 6, 1, 1, 11.0, 5, 1))
    assert ticker.bid == 10.0
    assert api.wrapper.stray_ticks == 1
    assert 1 not in api.wrapper.reqId2Ticker


@readers
def test_the_direct_callback_gets_what_the_event_gets_and_its_fault_loses_nothing(reader: type[FrameReader]) -> None:
    ours = our_side(reader)
    seen: list[list[int]] = []

    def on_packet(lines: list[Any], tickers: set[Any]) -> None:
        assert lines == []
        seen.append(sorted(ticker.contract.conId for ticker in tickers))
        if len(seen) == 2:
            raise ValueError("a faulty listener")

    ours.ib.wrapper.on_packet = on_packet
    for request in REQUESTS:
        ours.feed(msg(1, 6, request, 1, 10.0, 100, 1))
    ours.feed(msg(57, 1, 3))
    pending = [event[1] for event in ours.events if event[0] == "pending"]
    assert seen == pending == [[1], [2], [3]]
    assert ours.ib.wrapper.listener_failures == {"on_packet": 1}
