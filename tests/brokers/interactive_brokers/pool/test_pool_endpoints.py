"""How each gateway of a pool is reached: the socket's own options, certificates, and transports made from settings."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.errors import ConfigurationError, ConnectFailed, LiveNotAllowed, NotSupported
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient, TlsFiles, TlsOpener
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.connection import BUFFER_BYTES, LinkConnection, open_tcp
from moondev_ibkr.brokers.interactive_brokers.ib_gateway_pool import GatewayPool
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.interactive_brokers.ib_sessions import make_session
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.config.settings import load_settings


class TlsServer:
    """Echoes, behind a certificate of 127.0.0.1; `received` is all that anybody sent."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate = self.authority.issue_cert("127.0.0.1")
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.certificate.configure_cert(self.context)
        self.received = b""
        self.server: asyncio.Server | None = None
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def pin(self) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.certificate.cert_chain_pems[0].bytes().decode())
        return hashlib.sha256(der).hexdigest()

    async def start(self, context: ssl.SSLContext | None = None) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(1000):
                self.received += data
                writer.write(data)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TlsServer]:
    made = TlsServer(tmp_path)
    yield made
    await made.close()


class Told:
    """A link connection, and what came through it."""

    def __init__(self, opener: Callable[..., Awaitable[asyncio.Transport]]) -> None:
        self.link = LinkConnection(opener)
        self.data = b""
        self.ended = asyncio.Event()
        self.link.on_data = self._take
        self.link.on_lost = lambda _: self.ended.set()
        self.is_writable = True
        self.link.on_writable = self._note_writable

    def _note_writable(self, writable: bool) -> None:
        self.is_writable = writable

    def _take(self, data: bytes) -> None:
        self.data += data

    async def round_trip(self, port: int) -> bytes:
        """What comes back of four bytes; what came when the peer closed instead."""
        await self.link.connectAsync("127.0.0.1", port)
        self.link.write(b"ping")
        async with asyncio.timeout(5):
            while len(self.data) < 4 and not self.ended.is_set():
                await asyncio.sleep(0.005)
        return self.data


# Socket options


def ceiling(name: str) -> int:
    """What the kernel lets anybody have."""
    path = Path(f"/proc/sys/net/core/{name}")
    return min(BUFFER_BYTES, int(path.read_text())) if path.exists() else BUFFER_BYTES


@pytest.mark.parametrize("secured", [False, True], ids=["direct", "tls"])
async def test_no_delay_and_the_buffers_are_set_on_the_connection_itself(server: TlsServer, secured: bool) -> None:
    port = await server.start(server.context if secured else None)
    told = Told(TlsOpener(TlsFiles(server.ca_file)) if secured else open_tcp)
    assert await told.round_trip(port) == b"ping"
    assert told.link.transport is not None
    sock = told.link.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= ceiling("rmem_max")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= ceiling("wmem_max")
    told.link.abort()


@pytest.mark.parametrize("secured", [False, True], ids=["direct", "tls"])
async def test_a_link_with_nothing_left_to_send_takes_the_next_message(server: TlsServer, secured: bool) -> None:
    """Found with a whole session over TLS: asyncio pauses an empty TLS transport whose limit is zero, for good."""
    port = await server.start(server.context if secured else None)
    told = Told(TlsOpener(TlsFiles(server.ca_file)) if secured else open_tcp)
    await told.round_trip(port)
    for burst in (1, 2, 1, 3):
        due = len(told.data) + 4 * burst
        for _ in range(burst):
            told.link.write(b"ping")
        async with asyncio.timeout(5):
            while len(told.data) < due:
                await asyncio.sleep(0.005)
        assert told.is_writable
    told.link.abort()


# Certificates


async def test_a_certificate_of_an_unknown_authority_is_refused_before_a_byte_is_sent(server: TlsServer) -> None:
    port = await server.start(server.context)
    told = Told(TlsOpener(TlsFiles()))
    with pytest.raises(ConnectFailed, match="ca_file="):
        await told.round_trip(port)
    assert server.received == b""


async def test_a_certificate_of_another_name_is_refused(server: TlsServer) -> None:
    server.certificate = server.authority.issue_cert("gateway.elsewhere")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.certificate.configure_cert(context)
    told = Told(TlsOpener(TlsFiles(server.ca_file)))
    with pytest.raises(ConnectFailed):
        await told.round_trip(await server.start(context))
    assert server.received == b""


async def test_a_pinned_certificate_needs_no_authority(server: TlsServer) -> None:
    told = Told(TlsOpener(TlsFiles(fingerprint=server.pin)))
    assert await told.round_trip(await server.start(server.context)) == b"ping"
    told.link.abort()


async def test_another_certificate_than_the_pinned_one_is_refused_whoever_signed_it(server: TlsServer) -> None:
    told = Told(TlsOpener(TlsFiles(server.ca_file, fingerprint="0" * 64)))
    with pytest.raises(ConnectFailed, match=server.pin):
        await told.round_trip(await server.start(server.context))
    assert server.received == b""


@pytest.mark.parametrize("shown", [True, False])
async def test_a_server_that_wants_to_know_this_side_is_shown_its_certificate(
    server: TlsServer, tmp_path: Path, shown: bool
) -> None:
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.authority.configure_trust(server.context)
    mine = server.authority.issue_cert("agent@example.org")
    chain, key = tmp_path / "me.pem", tmp_path / "me.key"
    mine.cert_chain_pems[0].write_to_path(chain)
    mine.private_key_pem.write_to_path(key)
    files = TlsFiles(server.ca_file, certificate=chain, key=key) if shown else TlsFiles(server.ca_file)
    told = Told(TlsOpener(files))
    port = await server.start(server.context)
    assert await told.round_trip(port) == (b"ping" if shown else b"")
    assert server.received == (b"ping" if shown else b"")
    told.link.abort()


async def test_no_tls_on_that_port(server: TlsServer) -> None:
    port = await server.start(None)
    with pytest.raises(ConnectFailed, match="is there TLS"):
        await Told(TlsOpener(TlsFiles(server.ca_file))).round_trip(port)


def test_a_certificate_that_cannot_be_read_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        TlsOpener(TlsFiles(tmp_path / "missing.pem"))
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"text\.pem"):
        TlsOpener(TlsFiles(certificate=tmp_path / "text.pem"))


# From settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("IB_", "IBKR_")):
            monkeypatch.delenv(name)


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def test_every_row_becomes_a_gateway_with_a_client_id_of_its_own(journal: Journal, tmp_path: Path) -> None:
    rows = "gw:4101,gw:4102 backup weight=2,gw:4101 lines=20,gw:5001 mode=portal"
    settings = load_settings(gateways=rows, client_id=5, account="DU0000001", state_dir=tmp_path)
    clock = MarketClock()
    session = make_session(settings, journal, clock)
    pool = session.pool
    assert isinstance(pool, GatewayPool)
    assert session.transport is pool
    assert [lease.client_id for lease in session.leases] == [5, 6, 7, 8, 9]
    assert [member.transport.client_id for member in pool.members] == [5, 6, 7, 8, 9]
    assert [status.name for status in pool.status()] == [
        "127.0.0.1:14002",
        "gw:4101",
        "gw:4102",
        "gw:4101 #2",
        "gw:5001",
    ]
    assert [status.has_orders for status in pool.status()] == [True, False, False, False, False]
    assert [status.is_backup for status in pool.status()] == [False, False, True, False, False]
    assert [member.terms.lines for member in pool.members] == [100, 100, 100, 20, 100]
    assert isinstance(pool.members[4].transport, IbPortalClient)
    assert all(isinstance(member.transport, IbAsyncClient) for member in pool.members[:4])
    for lease in session.leases:
        lease.release()


def test_no_row_is_no_pool(journal: Journal, tmp_path: Path) -> None:
    session = make_session(load_settings(state_dir=tmp_path), journal, MarketClock())
    assert session.pool is None
    assert isinstance(session.transport, IbAsyncClient)
    assert len(session.leases) == 1
    session.leases[0].release()


@pytest.mark.parametrize(
    ("rows", "error"),
    [("gw:4101,gw:4102 mode=fix", NotSupported), ("gw:4101 mode=tls ca_file=/missing.pem", ConfigurationError)],
)
def test_what_cannot_be_made_is_refused_and_holds_no_client_id(
    journal: Journal, tmp_path: Path, rows: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        make_session(load_settings(gateways=rows, state_dir=tmp_path), journal, MarketClock())
    assert [number for number in range(1, 8) if journal.is_client_alive(number)] == []


def test_a_data_gateway_of_another_environment_is_refused(journal: Journal, tmp_path: Path) -> None:
    """It needs no account in particular, but one of this environment."""
    settings = load_settings(gateways="gw:4101", account="DU0000001", state_dir=tmp_path)
    session = make_session(settings, journal, MarketClock())
    assert session.pool is not None
    check = session.pool.members[1].transport._check_accounts  # type: ignore[attr-defined]
    check(("DU0000002",))
    with pytest.raises(LiveNotAllowed):
        check(("U1234567",))
    for lease in session.leases:
        lease.release()
