"""Quote lines are written in place: each shows what stock ib_async's Ticker would, and is told of as often."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import random
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async import Stock
from ib_async.client import Client
from ib_async.ib import IB
from ib_async.objects import IBDefaults
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.errors import LinkLost
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.api import TwsApi
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import WHY_NOT_COMPILED, CompiledFrameReader
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.frames import FrameReader
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.market_lines import MarketLines
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.market_values import to_quote
from moondev_ibkr.brokers.interactive_brokers.ib_quote_table import COLUMNS, QuoteTable

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
INSTRUMENTS = [Instrument(f"S{number}", con_id=number) for number in (1, 2, 3)]
#: What only a reader of ib_async's own Tickers could want; a line's are nobody else's.
NOT_KEPT = {
    *("prevBid", "prevBidSize", "prevAsk", "prevAskSize", "prevLast", "prevLastSize"),
    *("ticks", "time", "timestamp", "defaults", "contract"),
}
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


class StillClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Told:
    """A market listener that keeps which lines it was told of, packet by packet."""

    def __init__(self) -> None:
        self.packets: list[list[int]] = []
        self.fault: Exception | None = None

    def on_lines(self, lines: Any) -> None:
        self.packets.append(sorted(line.instrument.con_id for line in lines))
        if self.fault is not None:
            raise self.fault

    def on_trade(self, trade: Any) -> None: ...

    def on_bid_ask(self, tick: Any) -> None: ...

    def on_depth(self, depth: Any) -> None: ...


class Ours:
    def __init__(self, reader: type[FrameReader], defaults: IBDefaults | None = None) -> None:
        self.api = TwsApi(defaults=defaults)
        link = self.api.client
        link.connState, link._serverVersion, link._apiReady = Client.CONNECTED, 178, True
        link.decoder.serverVersion = 178
        link._reader = reader(self.api.wrapper, link._on_message, link._on_malformed_tick, lambda why: pytest.fail(why))
        link.reqMktData = link.cancelMktData = lambda *_: None
        self.feed = link._on_data
        self.market = MarketLines(self.api, StillClock(), "tws", lambda *_, **__: None, delayed_data=False)
        self.told = Told()
        self.market.add_listener(self.told)
        link.getReqId = itertools.count(1).__next__
        for instrument in INSTRUMENTS:
            self.market.subscribe(instrument)
        self.lines = list(self.market.lines())
        assert [line.request_id for line in self.lines] == [1, 2, 3]


class Stock3:
    """Stock ib_async with the same three contracts."""

    def __init__(self, defaults: IBDefaults | None = None) -> None:
        # kept, since its connection knows it by a weak reference alone
        self.ib = ib = IB(defaults=defaults or IBDefaults())
        client = ib.client
        client.connState, client._serverVersion, client._apiReady = Client.CONNECTED, 178, True
        client.decoder.serverVersion = 178
        self.feed = client.conn.data_received
        self.packets: list[list[int]] = []
        self.tickers = [
            ib.wrapper.startTicker(number, Stock(f"S{number}", "SMART", "USD", conId=number), "mktData")
            for number in (1, 2, 3)
        ]
        ib.pendingTickersEvent += lambda ts: self.packets.append(sorted(t.contract.conId for t in ts))


def kept(ticker: Any) -> dict[str, str]:
    # by repr: NaN equals NaN there, and 0 and 0.0 do not
    names = {field.name for field in dataclasses.fields(ticker)} - NOT_KEPT
    return {name: repr(getattr(ticker, name)) for name in sorted(names)}


prices = st.one_of(st.sampled_from(["0", "-1", "", "12"]), st.floats(-5, 500).map(lambda x: f"{x:.2f}"))
sizes = st.sampled_from(["0", "", "100", "300", "0.5"])
requests = st.sampled_from([1, 2, 3, "01", 99])
messages = st.one_of(
    st.builds(lambda r, t, p, s: msg(1, 6, r, t, p, s, 1), requests, st.sampled_from([1, 2]), prices, sizes),
    st.builds(
        lambda r, t, p, s: msg(1, 6, r, t, p, s, 1),
        requests,
        st.sampled_from([1, 2, 4, 4, 6, 9, 66, 67, 68]),
        prices,
        sizes,
    ),
    st.builds(lambda r, t, s: msg(2, 6, r, t, s), requests, st.sampled_from([0, 3, 5, 8, 69, 70, 71, 74]), sizes),
    st.builds(
        lambda r, t, v: msg(46, 6, r, t, v),
        requests,
        st.sampled_from([32, 33, 45, 48, 84]),
        st.sampled_from(["Q", "1700000000", "701.28;1;1348075471534;67854;701.46918464;true"]),
    ),
    st.builds(lambda r, s: msg(45, 6, r, 49, s), requests, st.sampled_from(["0", "1", "-1"])),
    st.builds(lambda r, t: msg(58, 1, r, t), requests, st.integers(1, 4)),
)
packets_of_messages = st.lists(st.lists(messages, min_size=1, max_size=10).map(b"".join), min_size=1, max_size=12)


@readers
@pytest.mark.parametrize(
    "defaults", [None, IBDefaults(emptyPrice=math.nan, emptySize=math.nan, unset=math.nan, timezone=UTC)]
)
async def test_random_streams_leave_lines_as_ib_asyncs_tickers(
    reader: type[FrameReader], defaults: IBDefaults | None
) -> None:
    @settings(max_examples=150, deadline=None)
    @given(packets_of_messages)
    def same(packets: list[bytes]) -> None:
        raw, ours = Stock3(defaults), Ours(reader, defaults)
        for packet in packets:
            raw.feed(packet)
            ours.feed(packet)
            for ticker, line, instrument in zip(raw.tickers, ours.lines, INSTRUMENTS, strict=True):
                assert kept(line.ticker) == kept(ticker), packet
                assert line.quote() == to_quote(ticker, instrument, NOW if line.updates else line.time, "tws")
            assert ours.told.packets == raw.packets, packet
        assert [line.updates for line in ours.lines] == [
            sum(number in packet for packet in raw.packets) for number in (1, 2, 3)
        ]
        assert not ours.api.wrapper.listener_failures

    same()


@readers
async def test_a_line_changed_often_in_one_packet_is_told_once(reader: type[FrameReader]) -> None:
    ours = Ours(reader)
    rng = random.Random(5)
    burst = b"".join(msg(1, 6, rng.randrange(1, 3), rng.randrange(1, 3), rng.uniform(1, 9), 100, 1) for _ in range(50))
    ours.feed(burst + msg(1, 6, 1, 4, 5.0, 100, 0))
    assert ours.told.packets == [[1, 2]]
    assert [line.updates for line in ours.lines] == [1, 1, 0]


@readers
@pytest.mark.parametrize(("price_type", "size_type", "side"), [(1, 0, "bid"), (2, 3, "ask")])
async def test_a_size_after_an_empty_price_in_one_packet_leaves_the_price_empty(
    reader: type[FrameReader], price_type: int, size_type: int, side: str
) -> None:
    ours, raw = Ours(reader), Stock3()
    packet = msg(1, 6, 1, price_type, 10.0, 0, 1) + msg(2, 6, 1, size_type, 300)
    raw.feed(packet)
    ours.feed(packet)
    assert kept(ours.lines[0].ticker) == kept(raw.tickers[0])
    quote = ours.lines[0].quote()
    assert (getattr(quote, side), getattr(quote, f"{side}_size")) == (None, 300.0)


@readers
async def test_a_listener_that_fails_loses_no_later_change(reader: type[FrameReader]) -> None:
    ours = Ours(reader)
    ours.told.fault = ValueError("a faulty listener")
    ours.feed(msg(1, 6, 1, 1, 10.0, 100, 1))
    ours.told.fault = None
    ours.feed(msg(1, 6, 1, 1, 11.0, 100, 1))
    assert ours.told.packets == [[1], [1]]
    assert ours.lines[0].quote().bid == 11.0
    assert ours.api.wrapper.listener_failures == {"_on_packet": 1}


@readers
async def test_a_line_that_its_own_packet_ends_is_not_told_of_and_later_ticks_are_strays(
    reader: type[FrameReader],
) -> None:
    ours = Ours(reader)
    ours.api.wrapper.listener.on_error = ours.market.on_error
    ours.feed(
        msg(1, 6, 1, 1, 10.0, 100, 1)
        + msg(1, 6, 2, 1, 20.0, 100, 1)
        + msg(4, 2, 1, 354, "Requested market data is not subscribed", "")
    )
    assert ours.told.packets == [[2]]
    assert ours.lines[0].error is not None
    ours.feed(msg(1, 6, 1, 1, 10.0, 100, 1))
    assert ours.told.packets == [[2]]
    assert ours.api.wrapper.stray_ticks == 1


@readers
async def test_lines_begin_anew_after_a_link_was_lost(reader: type[FrameReader]) -> None:
    ours = Ours(reader)
    lost = LinkLost("the request", "the connection was closed")
    ours.feed(msg(1, 6, 1, 1, 10.0, 100, 1))
    ours.api.wrapper.link_lost(lost)
    ours.market.on_link_lost(lost)
    ours.feed(msg(1, 6, 1, 1, 11.0, 100, 1))
    assert ours.told.packets == [[1]]
    assert ours.market.restore() == (3, 0)
    ours.feed(msg(1, 6, ours.lines[0].request_id, 1, 12.0, 100, 1))
    assert ours.told.packets == [[1], [1]]
    assert ours.lines[0].quote().bid == 12.0


class Book:
    """Contracts that are known already."""

    async def qualify(self, instrument: Instrument) -> Instrument:
        return instrument


class Keeper:
    """The lines of `Ours`, as a table takes them."""

    def __init__(self, ours: Ours) -> None:
        self._lines = {line.instrument: line for line in ours.lines}

    def keep(self, instrument: Instrument) -> Any:
        return self._lines[instrument]


@readers
def test_random_streams_leave_a_table_with_the_lines_quotes(reader: type[FrameReader]) -> None:
    async def follow(packets: list[bytes]) -> None:
        ours, tables = Ours(reader), set()
        table = QuoteTable(INSTRUMENTS, Book(), Keeper(ours), tables)
        await table.open()
        ours.told.on_lines = table.on_lines
        for packet in packets:
            before = [line.updates for line in ours.lines]
            ours.feed(packet)
            changed = [row for row, line in enumerate(ours.lines) if line.updates > before[row]]
            assert list(table.take_changed()) == changed, packet
            for row, line in enumerate(ours.lines):
                cells = [float(getattr(table, name)[row]) for name in COLUMNS]
                quote = [getattr(line.quote(), name) for name in COLUMNS]
                assert [None if cell != cell else cell for cell in cells] == quote, packet
            assert list(table.updates) == [line.updates for line in ours.lines]
        assert not ours.api.wrapper.listener_failures

    @settings(max_examples=150, deadline=None)
    @given(packets_of_messages)
    def same(packets: list[bytes]) -> None:
        asyncio.run(follow(packets))

    same()
