"""The wire over sockets: what leaves, what proves that nothing left, and whom it trusts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
import trustme
import urllib3
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.errors import ConfigurationError, ConnectFailed
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import PortalSettings
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.requests_wire import RequestsWire, classify
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.tls import TlsPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import Ambiguous, HttpCall, HttpReply, NotSent
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.portal.oauth_consumers import write_consumer
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings as DoorSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

from .rig import START, limit, wire_order

URL = "https://127.0.0.1:5000"
BASE = f"{URL}/v1/api"


@pytest.fixture
async def wire() -> AsyncIterator[RequestsWire]:
    made = RequestsWire(TlsPolicy(URL))
    yield made
    await made.close()


# What leaves


@responses.activate
async def test_a_call_is_one_request_with_its_query_and_json_body(wire: RequestsWire) -> None:
    responses.post(f"{BASE}/iserver/account/DU1/orders", json=[{"order_id": "1"}])
    call = HttpCall("POST", "/iserver/account/DU1/orders", {"a": "b"}, body={"orders": []}, headers={"X-Extra": "1"})
    reply = await wire.exchange(call)
    assert (reply.status, reply.json()) == (200, [{"order_id": "1"}])
    (sent,) = responses.calls
    assert sent.request.url == f"{BASE}/iserver/account/DU1/orders?a=b"
    assert json.loads(sent.request.body or b"") == {"orders": []}
    assert sent.request.headers["X-Extra"] == "1"


@responses.activate
async def test_a_post_without_a_body_says_that_it_is_empty(wire: RequestsWire) -> None:
    responses.post(f"{BASE}/tickle", json={"session": "x"})
    await wire.exchange(HttpCall("POST", "/tickle"))
    assert responses.calls[0].request.headers["Content-Length"] == "0"


@responses.activate
@pytest.mark.parametrize("status", [302, 307, 429, 500, 503])
async def test_no_answer_is_followed_or_tried_again(wire: RequestsWire, status: int) -> None:
    responses.post(f"{BASE}/orders", status=status, headers={"Location": f"{BASE}/elsewhere", "Retry-After": "0"})
    assert (await wire.exchange(HttpCall("POST", "/orders", body={}))).status == status
    assert len(responses.calls) == 1


@responses.activate
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.exceptions.ReadTimeout("read timed out"), Ambiguous),
        (requests.exceptions.ChunkedEncodingError("half an answer"), Ambiguous),
        (requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.")), Ambiguous),
        (requests.exceptions.ConnectTimeout("no handshake"), NotSent),
        (
            requests.exceptions.ConnectionError(
                urllib3.exceptions.MaxRetryError(
                    urllib3.HTTPSConnectionPool("h"), "/", urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
                )
            ),
            NotSent,
        ),
        (
            requests.exceptions.SSLError(
                urllib3.exceptions.MaxRetryError(
                    urllib3.HTTPSConnectionPool("h"), "/", urllib3.exceptions.SSLError("bad certificate")
                )
            ),
            NotSent,
        ),
    ],
    ids=["read timeout", "half", "aborted", "connect timeout", "refused", "TLS"],
)  # fmt: skip
async def test_p01_only_a_proof_makes_it_not_sent(wire: RequestsWire, error: Exception, kind: type) -> None:
    responses.post(f"{BASE}/orders", body=error)
    with pytest.raises(kind):
        await wire.exchange(HttpCall("POST", "/orders", body={}))
    assert len(responses.calls) == 1


def test_a_failure_is_told_without_headers_or_cookies() -> None:
    failure = classify(requests.exceptions.ReadTimeout("HTTPSConnectionPool(host='h', port=1): Read timed out."))
    assert failure.why == "ReadTimeout: Read timed out."


@responses.activate
async def test_proxies_of_the_environment_are_not_used(wire: RequestsWire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert wire._session.trust_env is False


# Sockets that misbehave


class Peer:
    """A plain TCP server whose every connection is given to `answer`, in a thread."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def close(self) -> None:
        self._socket.close()


async def test_a_port_where_nobody_listens_is_proven_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wire = RequestsWire(TlsPolicy(f"https://127.0.0.1:{port}"))
    with pytest.raises(NotSent):
        await wire.exchange(HttpCall("POST", "/orders", body={}))
    with pytest.raises(NotSent):
        await wire.open("api=x", lambda text: None, lambda why: None, 1.0)
    await wire.close()


async def test_a_peer_that_speaks_no_tls_is_proven_not_sent() -> None:
    peer = Peer(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    wire = RequestsWire(TlsPolicy(f"https://127.0.0.1:{peer.port}"))
    with pytest.raises(NotSent):
        await wire.exchange(HttpCall("POST", "/orders", body={}))
    await wire.close()
    peer.close()


# A real door


def certificate_of(url: str) -> str:
    host, port = url.removeprefix("https://").removesuffix("/v1/api").split(":")
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))
    return hashlib.sha256(der).hexdigest()


class Door:
    def __init__(self, ca_file: Path, **door: Any) -> None:
        self.ca_file = ca_file
        settings = GatewaySettings(
            tws=TwsSettings(port=0),
            portal=DoorSettings(port=0, requests_per_second=0, ca_file=ca_file, **door),
            clock=ClockMode.CONTROL,
        )
        self.gateway = Gateway(settings, prices=FlatPrices({"AAPL": 265.0}, calendar_for(), START))

    async def __aenter__(self) -> Door:
        await self.gateway.__aenter__()
        server = self.gateway.doors.portal
        assert server is not None
        self.url = server.url.removesuffix("/v1/api")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.gateway.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with Door(tmp_path / "ca.pem") as opened:
        yield opened


async def greeted(wire: RequestsWire, cookie: str) -> list[dict[str, Any]]:
    """The first frames of a stream, and its end."""
    frames: asyncio.Queue[str] = asyncio.Queue()
    closed: asyncio.Queue[str] = asyncio.Queue()
    sender = await wire.open(cookie, frames.put_nowait, closed.put_nowait, 5.0)
    found = []
    async with asyncio.timeout(5.0):
        while not any(frame.get("topic") == "sts" for frame in found):
            found.append(json.loads(await frames.get()))
        sender.send("tic")
        while found[-1].get("topic") != "tic":
            found.append(json.loads(await frames.get()))
    sender.close()
    return found


async def test_a_ca_file_a_pinned_fingerprint_and_loopback_without_checks_all_talk(door: Door) -> None:
    pin = await asyncio.to_thread(certificate_of, door.url)
    colons = ":".join(pin[place : place + 2] for place in range(0, 64, 2)).upper()
    for tls in (
        TlsPolicy(door.url, ca_file=door.ca_file),
        TlsPolicy(door.url, fingerprint=colons),
        TlsPolicy(f"{door.url}/v1/api", verify=False),
    ):
        wire = RequestsWire(tls)
        reply = await wire.exchange(HttpCall("POST", "/tickle"))
        session = reply.json()["session"]
        frames = await greeted(wire, f'api={{"session":"{session}"}}')
        assert frames[0]["topic"] == "system"
        await wire.close()


async def test_a_stranger_s_certificate_is_refused_before_anything_leaves(door: Door) -> None:
    for tls in (TlsPolicy(door.url), TlsPolicy(door.url, fingerprint="0" * 64)):
        wire = RequestsWire(tls)
        with pytest.raises(NotSent):
            await wire.exchange(HttpCall("POST", "/tickle"))
        with pytest.raises(NotSent):
            await wire.open("api=secret", lambda text: None, lambda why: None, 2.0)
        await wire.close()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"url": "https://192.0.2.1:5000", "verify": False}, "this machine only"),
        ({"url": "http://127.0.0.1:5000"}, "https"),
        ({"url": URL, "fingerprint": "abc"}, "SHA-256"),
        ({"url": URL, "fingerprint": "0" * 64, "verify": False}, "verification is off"),
        ({"url": URL, "ca_file": Path("/nowhere/ca.pem")}, "no such file"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        TlsPolicy(**options)


async def test_an_answer_that_does_not_come_in_time_is_ambiguous_and_blocks_nobody(door: Door) -> None:
    wire = RequestsWire(TlsPolicy(door.url, ca_file=door.ca_file))
    door.gateway.faults.arm("portal-delay", "1.5", "/tickle")
    slow = asyncio.create_task(wire.exchange(HttpCall("POST", "/tickle", deadline=0.5)))
    await asyncio.sleep(0.05)
    other: HttpReply = await wire.exchange(HttpCall("GET", "/sso/validate"))
    assert other.status == 200
    assert not slow.done()
    with pytest.raises(Ambiguous):
        await slow
    await wire.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"], ids=["cut", "half"])
async def test_a_connection_that_ends_after_the_request_is_ambiguous(tmp_path: Path, answer: bytes) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    seen: list[bytes] = []

    def cut(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            seen.append(secure.recv(65_536))
            secure.sendall(answer)

    peer = Peer(cut)
    wire = RequestsWire(TlsPolicy(f"https://127.0.0.1:{peer.port}", ca_file=tmp_path / "ca.pem"))
    with pytest.raises(Ambiguous):
        await wire.exchange(HttpCall("POST", "/orders", body={}))
    assert [data.split(b" ")[0] for data in seen] == [b"POST"]
    await wire.close()
    peer.close()


async def test_a_stream_that_is_cut_off_says_so_once(door: Door) -> None:
    wire = RequestsWire(TlsPolicy(door.url, ca_file=door.ca_file))
    closed: asyncio.Queue[str] = asyncio.Queue()
    await wire.open("api=x", lambda text: None, closed.put_nowait, 2.0)
    door.gateway.faults.arm("portal-drop-streams")
    async with asyncio.timeout(5.0):
        assert await closed.get()
    assert closed.empty()
    await wire.close()


@pytest.mark.parametrize("binary", [True, False])
async def test_the_client_trades_over_real_sockets_with_both_kinds_of_frames(tmp_path: Path, binary: bool) -> None:
    async with Door(tmp_path / "ca.pem", binary_frames=binary) as door:
        settings = PortalSettings(url=door.url, ca_file=door.ca_file, client_id=3)
        client = IbPortalClient(settings, clock=MarketClock(rate=0.0), limits=())
        for _ in range(2):
            await client.connect()
            assert client.is_healthy
            assert client.stream_is_open
            await client.disconnect()
        await client.connect()
        await client.place(wire_order(1, limit("k1", price="270")))
        assert await client.market_time() == door.gateway.now
        assert [fill.quantity for fill in await client.executions()] == [Decimal(10)]
        await client.disconnect()
        assert threading.active_count() < 12


async def test_no_secret_is_in_an_error_of_the_client(door: Door) -> None:
    client = IbPortalClient(PortalSettings(url=door.url, fingerprint="0" * 64))
    with pytest.raises(ConnectFailed) as failed:
        await client.connect()
    assert "session" not in str(failed.value).lower() or door.gateway.portal.session.session_id not in str(failed.value)
    await client.disconnect()


async def test_a_consumer_trades_without_a_browser_login_by_signed_requests(tmp_path: Path) -> None:
    write_consumer(tmp_path / "oauth", "paperportal")
    consumers = (str(tmp_path / "oauth"),)
    async with Door(tmp_path / "ca.pem", logged_in=False, oauth_consumers=consumers) as door:
        settings = PortalSettings(url=door.url, ca_file=door.ca_file, oauth_dir=tmp_path / "oauth" / "client")
        client = IbPortalClient(settings, clock=MarketClock(rate=0.0), limits=())
        await client.connect()
        assert client.is_healthy
        assert client.stream_is_open
        await client.place(wire_order(1, limit("k1", price="270")))
        assert [fill.order_key for fill in await client.executions()] == ["k1"]
        await client.disconnect()
