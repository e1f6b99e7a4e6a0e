"""The link: handshake with a reason for every failure, bytes in any portions, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async import LimitOrder, Stock
from moondev_ibkr.brokers.errors import ConnectFailed, LinkLost, NotConnected, ProtocolViolation
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.api import TwsApi
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.connection import LinkConnection
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.frames import FrameReader
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.lanes import Outgoing, SendState
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.link import FIRST_REQUEST_ID
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.listener import MalformedMessage, NullListener
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.message_rate import RateLimit

AAPL = Stock("AAPL", "SMART", "USD", conId=265598)


def msg(*fields: object) -> bytes:
    payload = ("\0".join(str(field) for field in fields) + "\0").encode()
    return struct.pack(">I", len(payload)) + payload


LOG_ON = msg(15, 1, "DU1") + msg(9, 1, 57)


class FakeTransport(asyncio.Transport):
    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = b""
        self.closing = False
        self.aborted = False
        self.high: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def messages(self) -> list[list[str]]:
        data, found = self.written.removeprefix(b"API\0"), []
        while data:
            (length,) = struct.unpack(">I", data[:4])
            found.append(data[4 : 4 + length].decode().split("\0")[:-1])
            data = data[4 + length :]
        return found


class Recorder(NullListener):
    def __init__(self) -> None:
        self.up: list[tuple] = []
        self.down: list[tuple[Exception, Sequence[Outgoing]]] = []
        self.malformed: list[MalformedMessage] = []
        self.ids: list[int] = []

    def on_link_up(self, server_version: int, connection_time: str, accounts: Sequence[str]) -> None:
        self.up.append((server_version, connection_time, accounts))

    def on_link_down(self, error: Exception, not_sent: Sequence[Outgoing]) -> None:
        self.down.append((error, not_sent))

    def on_malformed(self, message: MalformedMessage) -> None:
        self.malformed.append(message)

    def on_next_order_id(self, order_id: int) -> None:
        self.ids.append(order_id)


class Peer:
    """TWS's side of the link, played by the test."""

    def __init__(self, rate: RateLimit | None = None) -> None:
        self.listener = Recorder()
        self.transport: FakeTransport | None = None
        self.opened = asyncio.Event()
        self.api = TwsApi(self.listener, rate=rate, opener=self.open)
        self.link = self.api.client

    async def open(self, protocol: asyncio.Protocol, host: str, port: int) -> asyncio.Transport:
        self.transport = FakeTransport(protocol)
        protocol.connection_made(self.transport)
        self.opened.set()
        return self.transport

    def connect(self, timeout: float | None = 5.0) -> asyncio.Task:
        self.opened.clear()
        return asyncio.ensure_future(self.link.connectAsync("tws", 4002, 7, timeout))

    async def say(self, data: bytes) -> None:
        await self.opened.wait()
        await asyncio.sleep(0)
        self.transport.protocol.data_received(data)

    async def hang_up(self, error: Exception | None = None) -> None:
        await self.opened.wait()
        await asyncio.sleep(0)
        self.transport.protocol.connection_lost(error)

    async def ready(self) -> Peer:
        task = self.connect()
        await self.say(msg(178, "20260105 10:00:00 EST"))
        await self.say(LOG_ON)
        await task
        return self


async def test_the_handshake_offers_versions_and_logs_on() -> None:
    peer = await Peer().ready()
    assert peer.transport.written.startswith(b"API\0\0\0\0\x09v157..178")
    assert peer.transport.messages()[1] == ["71", "2", "7", ""]
    assert peer.listener.up == [(178, "20260105 10:00:00 EST", ["DU1"])]
    assert peer.listener.ids == [57]
    assert peer.link.isReady()
    assert peer.link.serverVersion() == 178
    assert peer.link.connection_time == "20260105 10:00:00 EST"
    assert peer.transport.high == 0


async def test_c27_the_servers_time_may_be_in_any_language() -> None:
    peer = Peer()
    task = peer.connect()
    time = "20260105 10:00:00 Mitteleuropäische Zeit"
    await peer.say(msg(178, time) + LOG_ON)
    await task
    assert peer.link.connection_time == time


async def test_c15_end_before_the_version_means_upstream_down() -> None:
    peer = Peer()
    task = peer.connect(timeout=60)
    await peer.hang_up()
    with pytest.raises(ConnectFailed) as failed:
        await task
    assert failed.value.kind == "closed_early"
    assert failed.value.data["phase"] == "version"
    assert "TWS behind it is down" in str(failed.value)
    assert peer.listener.down == []


async def test_c07_326_ends_the_attempt_at_once() -> None:
    peer = Peer()
    task = peer.connect(timeout=60)
    await peer.say(msg(178, "now"))
    await peer.say(msg(4, 2, -1, 326, "Unable to connect as the client id is already in use.", ""))
    with pytest.raises(ConnectFailed) as failed:
        await task
    assert failed.value.kind == "client_id_in_use"
    assert peer.transport.aborted
    assert not peer.link.isConnected()


async def test_an_end_during_the_log_on_tells_what_the_server_said() -> None:
    peer = Peer()
    task = peer.connect(timeout=60)
    await peer.say(msg(178, "now") + msg(4, 2, -1, 502, "not now", ""))
    await peer.hang_up()
    with pytest.raises(ConnectFailed, match="IB error 502: not now") as failed:
        await task
    assert failed.value.data["phase"] == "log-on"


@pytest.mark.parametrize(
    ("said", "kind"),
    [(b"", "no_handshake"), (msg(178, "now"), "no_handshake"), (msg(178, "now") + msg(9, 1, 5), "account")],
)
async def test_c08_a_silent_server_meets_the_deadline(said: bytes, kind: str) -> None:
    peer = Peer()
    task = peer.connect(timeout=0.02)
    if said:
        await peer.say(said)
    with pytest.raises(ConnectFailed) as failed:
        await task
    assert failed.value.kind == kind
    assert peer.transport.aborted


async def test_c29_a_connect_that_hangs_meets_the_deadline() -> None:
    async def never(protocol: asyncio.Protocol, host: str, port: int) -> asyncio.Transport:
        return await asyncio.get_running_loop().create_future()

    api = TwsApi(opener=never)
    with pytest.raises(ConnectFailed) as failed:
        await api.client.connectAsync("tws", 4002, 1, 0.01)
    assert failed.value.kind == "timeout"


@pytest.mark.parametrize(
    ("error", "kind"), [(ConnectionRefusedError(), "refused"), (OSError(113, "No route to host"), "unreachable")]
)
async def test_an_unreachable_host_has_a_kind(error: OSError, kind: str) -> None:
    async def fail(protocol: asyncio.Protocol, host: str, port: int) -> asyncio.Transport:
        raise error

    api = TwsApi(opener=fail)
    with pytest.raises(ConnectFailed) as failed:
        await api.client.connectAsync("tws", 4002, 1)
    assert failed.value.kind == kind


@pytest.mark.parametrize("version", [100, 156, 179, 201])
async def test_c26_a_version_that_was_not_offered_is_refused(version: int) -> None:
    peer = Peer()
    task = peer.connect()
    await peer.say(msg(version, "now"))
    with pytest.raises(ConnectFailed) as failed:
        await task
    assert failed.value.kind == "version"


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", msg("a", "b", "c"), msg(178)])
async def test_a_port_that_speaks_something_else(garbage: bytes) -> None:
    peer = Peer()
    task = peer.connect(timeout=60)
    await peer.say(garbage)
    with pytest.raises(ConnectFailed) as failed:
        await task
    assert failed.value.kind == "protocol"


async def test_giving_up_the_attempt_closes_the_socket() -> None:
    peer = Peer()
    task = peer.connect()
    await peer.opened.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert peer.transport.aborted
    assert not peer.link.isConnected()


STREAM = [
    msg(4, 2, -1, 2104, "farm is OK:usfarm", ""),
    msg(1, 6, 5, 1, 10.25, 300, 1),
    msg(2, 6, 5, 0, 300),
    msg(61, 3, "DU1", 265598, "AAPL", "STK", "", 0.0, "", "", "SMART", "USD", "AAPL", "NMS", 5, 120.5),
    msg(4, 2, -1, 2106, "x" * 300, ""),
    msg(1, 6, 5, 2, 10.5, 100, 1),
    msg(49, 1, 1700000000),
]


class Sink:
    """A wrapper that only counts what reaches it."""

    def __init__(self) -> None:
        self.reqId2Ticker: dict[int, Any] = {}
        self.pendingTickers: set = set()
        self.quoted: dict[bytes, Any] = {}
        self.changed: list[Any] = []
        self.lastTime = self.defaultEmptyPrice = self.defaultEmptySize = None
        self.strays: list[int] = []
        self.packets = 0

    def tcpDataArrived(self) -> None:
        self.packets += 1

    def tcpDataProcessed(self) -> None:
        return None

    def count_stray(self, request: int) -> None:
        self.strays.append(request)


def read(portions: list[bytes], max_frame: int = 1 << 20) -> tuple[list[list[str]], list[int], list[str], FrameReader]:
    sink, got, corrupt = Sink(), [], []
    reader = FrameReader(sink, got.append, lambda fields, error: pytest.fail(str(error)), corrupt.append, max_frame)
    for portion in portions:
        reader.feed(portion)
    return got, sink.strays, corrupt, reader


WHOLE = read([b"".join(STREAM)])


def test_c17_every_split_point_gives_the_same_messages() -> None:
    data = b"".join(STREAM)
    for cut in range(len(data) + 1):
        got, strays, corrupt, _ = read([data[:cut], data[cut:]])
        assert (got, strays, corrupt) == WHOLE[:3], cut


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=200))
def test_c17_any_portions_give_the_same_messages(sizes: list[int]) -> None:
    data, portions = b"".join(STREAM * 2), []
    for size in itertools.cycle(sizes):
        if not data:
            break
        portions.append(data[:size])
        data = data[size:]
    got, strays, corrupt, reader = read(portions)
    assert got == WHOLE[0] * 2
    assert strays == WHOLE[1] * 2
    assert corrupt == []
    assert reader.messages == 2 * len(STREAM)


def test_a_long_message_in_small_portions_is_not_copied_over_and_over() -> None:
    sink, got = Sink(), []
    reader = FrameReader(sink, got.append, lambda *_: None, lambda _: None)
    data = msg(19, 1, "x" * 400_000)
    for at in range(0, len(data), 1000):
        reader.feed(data[at : at + 1000])
    assert len(got) == 1
    # the packet hooks ran for the first portion and the last: everything between only waited
    assert sink.packets == 2


@pytest.mark.parametrize("length", [0xFFFFFFFF, 1 << 24, (1 << 20) + 1])
def test_c16_an_absurd_length_marks_the_stream_corrupt_at_once(length: int) -> None:
    good = msg(49, 1, 5)
    got, _, corrupt, reader = read([good + struct.pack(">I", length) + b"xyz", good])
    assert got == [["49", "1", "5"]]
    assert len(corrupt) == 1
    assert reader.messages == 1


async def test_c16_a_corrupt_stream_ends_the_link_and_its_requests() -> None:
    peer = await Peer().ready()
    waiting = asyncio.ensure_future(peer.api.reqContractDetailsAsync(AAPL))
    await peer.say(struct.pack(">I", 0xFFFFFFFF))
    with pytest.raises(ProtocolViolation):
        await waiting
    assert isinstance(peer.listener.down[0][0], ProtocolViolation)
    assert peer.transport.aborted
    await peer.say(msg(49, 1, 5))
    assert len(peer.listener.down) == 1


@pytest.mark.parametrize("garbage", [msg("hello"), struct.pack(">I", 0), msg("", 1, 2)])
async def test_c18_a_message_without_an_id_ends_the_link(garbage: bytes) -> None:
    peer = await Peer().ready()
    await peer.say(garbage)
    assert isinstance(peer.listener.down[0][0], ProtocolViolation)


async def test_c19_a_broken_message_costs_only_itself() -> None:
    peer = await Peer().ready()
    await peer.say(msg(3, "x", "Submitted") + msg(1, 6, 5) + msg(999, 1) + msg(9, 1, 99))
    assert [(report.message_id, report.needs_reconcile) for report in peer.listener.malformed] == [
        (3, True),
        (1, False),
        (999, False),
    ]
    assert peer.listener.ids == [57, 99]
    assert peer.link.isReady()


async def test_c24_the_end_reports_what_never_left() -> None:
    peer = await Peer(RateLimit(messages=5, order_reserve=1, cancel_reserve=0)).ready()
    receipts = [peer.link.placeOrder(index, AAPL, LimitOrder("BUY", 1, 5.0)) for index in range(60, 68)]
    states = [receipt.state for receipt in receipts]
    assert states == [SendState.SENT] * 4 + [SendState.QUEUED] * 4
    await peer.hang_up(ConnectionResetError("reset by peer"))
    error, not_sent = peer.listener.down[0]
    assert isinstance(error, LinkLost)
    assert "reset by peer" in str(error)
    assert [outgoing.subject for outgoing in not_sent] == [64, 65, 66, 67]
    assert all(outgoing.state is SendState.NOT_SENT for outgoing in not_sent)


async def test_a_socket_that_takes_no_more_keeps_orders_here() -> None:
    peer = await Peer().ready()
    peer.transport.protocol.pause_writing()
    receipt = peer.link.placeOrder(60, AAPL, LimitOrder("BUY", 1, 5.0))
    assert receipt.state is SendState.QUEUED
    await peer.hang_up()
    assert receipt.state is SendState.NOT_SENT


async def test_a_socket_that_drains_lets_them_go() -> None:
    peer = await Peer().ready()
    peer.transport.protocol.pause_writing()
    receipt = peer.link.placeOrder(60, AAPL, LimitOrder("BUY", 1, 5.0))
    peer.transport.protocol.resume_writing()
    assert receipt.state is SendState.SENT
    assert peer.transport.messages()[-1][:2] == ["3", "60"]


async def test_our_own_close_ends_waiting_requests_too() -> None:
    peer = await Peer().ready()
    waiting = [
        asyncio.ensure_future(peer.api.reqContractDetailsAsync(AAPL)),
        asyncio.ensure_future(peer.api.reqPositionsAsync()),
    ]
    await asyncio.sleep(0)
    peer.api.disconnect()
    for task in waiting:
        with pytest.raises(LinkLost):
            await task
    assert peer.transport.closing
    assert not peer.transport.aborted
    assert len(peer.listener.down) == 1
    peer.api.disconnect()
    assert len(peer.listener.down) == 1


async def test_nothing_can_be_sent_without_a_link() -> None:
    peer = Peer()
    for call in (
        lambda: peer.link.getReqId(),
        lambda: peer.link.next_order_id(),
        lambda: peer.link.placeOrder(1, AAPL, LimitOrder("BUY", 1, 5.0)),
        lambda: peer.link.getAccounts(),
        lambda: peer.link.queue,
    ):
        with pytest.raises(NotConnected):
            call()


async def test_c14_late_bytes_of_an_old_socket_do_not_reach_the_new_link() -> None:
    peer = await Peer().ready()
    old = peer.transport
    await peer.ready()
    assert peer.transport is not old
    old.protocol.data_received(msg(9, 1, 999))
    old.protocol.connection_lost(None)
    assert 999 not in peer.listener.ids
    assert peer.link.isReady()
    assert len(peer.listener.up) == 2


async def test_c11_order_ids_never_go_back_and_request_ids_are_apart() -> None:
    peer = Peer()
    peer.link.raise_order_id(5000)
    await peer.ready()
    assert peer.link.next_order_id() == 5000
    await peer.say(msg(9, 1, 100))
    assert peer.link.next_order_id() == 5001
    await peer.say(msg(9, 1, 7000))
    assert peer.link.next_order_id() == 7000
    first = peer.link.getReqId()
    assert first > FIRST_REQUEST_ID
    await peer.hang_up()
    await peer.ready()
    assert peer.link.getReqId() > first
    assert peer.link.next_order_id() == 7001


async def test_a_receipt_for_any_request() -> None:
    peer = await Peer().ready()
    assert peer.link.tracked(peer.link.reqCurrentTime).message_id == 49
    assert peer.link.cancelOrder(60).subject == 60
    assert peer.link.reqGlobalCancel().state is SendState.SENT
    assert [fields[0] for fields in peer.transport.messages()[-3:]] == ["49", "4", "58"]


async def test_statistics_count_what_passed() -> None:
    peer = await Peer().ready()
    await peer.say(STREAM[1] + STREAM[2])
    stats = peer.link.connectionStats()
    assert stats.numMsgRecv == 5
    assert stats.numMsgSent == 2


async def test_traffic_is_counted_over_every_link() -> None:
    peer = await Peer().ready()
    version = len(msg(178, "20260105 10:00:00 EST"))
    sent = len(peer.transport.written)
    assert peer.link.traffic() == (version + len(LOG_ON), sent)
    await peer.hang_up()
    assert peer.link.traffic() == (version + len(LOG_ON), sent)
    await peer.ready()
    assert peer.link.traffic() == (2 * (version + len(LOG_ON)), sent + len(peer.transport.written))
    peer.link.disconnect()


async def test_a_closing_transport_takes_nothing() -> None:
    connection = LinkConnection()
    assert connection.write(b"x") is False
    transport = FakeTransport(connection)
    connection.connection_made(transport)
    transport.closing = True
    assert connection.write(b"x") is False
    assert transport.written == b""
