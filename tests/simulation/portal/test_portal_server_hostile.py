"""Hostile clients of the portal's port: what they send costs them their own connection, and nobody else theirs."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest
from moondev_ibkr.brokers.simulation.gateway import Gateway

from .sockets import client_of, frame, raw_stream, serving, trust, until


async def send_raw(gateway: Gateway, data: bytes) -> bytes:
    """What comes back until the server ends the connection, or nothing more comes."""
    assert gateway.doors.portal is not None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", gateway.doors.portal.port, ssl=trust(gateway), server_hostname="localhost"
    )
    writer.write(data)
    try:
        async with asyncio.timeout(1.0):
            return await reader.read(1 << 16)
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03 nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/api/tickle HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/api/tickle HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/api/tickle HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/api/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b'GET /v1/api/%ff%00/../../etc HTTP/1.1\r\nHost: x\r\nCookie: api={"session\r\n\r\n',
    ],
    ids=["noise", "version", "header", "target", "length", "chunks", "websocket", "path"],
)
async def test_hostile_bytes_cost_their_own_connection_and_nobody_elses(data: bytes) -> None:
    async with serving() as gateway, client_of(gateway) as client:
        stream = await client.stream()
        await until(stream, "sts")
        answer = await send_raw(gateway, data)
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        await stream.send_str("tic")
        await until(stream, "tic")
        assert (await client.post("/tickle"))[0] == 200
        await stream.close()


@pytest.mark.parametrize(
    "body", [b"{not json", b"[" * 100_000, b'{"publish": NaN}', b"\xff\xfe\x00", b'"text"', b"null", b"17"]
)
async def test_a_body_that_is_no_json_or_no_object_is_answered(body: bytes) -> None:
    async with serving() as gateway, client_of(gateway) as client:
        async with client.http.post(client.url + "/iserver/auth/ssodh/init", data=body) as answer:
            assert answer.status in (400, 500)
            assert "error" in await answer.json()
        assert (await client.post("/tickle"))[0] == 200


async def test_a_body_beyond_the_limit_is_refused() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        async with client.http.post(
            client.url + "/iserver/auth/ssodh/init", data=io.BytesIO(b"x" * (2 << 20))
        ) as answer:
            assert answer.status == 413
        assert (await client.post("/tickle"))[0] == 200


async def test_a_peer_that_is_no_tls_client_costs_nothing() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        assert gateway.doors.portal is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.doors.portal.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert not (await reader.read(100)).startswith(b"HTTP")
        writer.close()
        assert (await client.post("/tickle"))[0] == 200


async def test_a_message_beyond_the_limit_ends_its_stream_only() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        stream, other = await client.stream(), await client.stream()
        await until(stream, "sts")
        await stream.send_str("smd+" + "1" * (1 << 17))
        while isinstance(found := await frame(stream), dict):
            continue
        assert found.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        await until(other, "sts")
        await other.send_str("tic")
        await until(other, "tic")
        await other.close()


def masked(opcode: int, payload: bytes, *, first: int = 0x80, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """One short WebSocket frame as a client has to write it."""
    body = bytes(byte ^ mask[position % 4] for position, byte in enumerate(payload))
    return bytes([first | opcode, 0x80 | len(payload)]) + mask + body


@pytest.mark.parametrize(
    "data",
    [
        masked(0x1, b"\xff\xfe\xfd"),
        masked(0x3, b"reserved"),
        masked(0x1, b"compressed", first=0xC0),
        masked(0x0, b"no beginning"),
        b"\x82\xff" + b"\xff" * 8,
        masked(0x9, b"ping", first=0x00),
        b"\x88\x80" + b"\x00" * 4,
    ],
    ids=["no-utf8", "opcode", "reserved-bits", "continuation", "length", "split-ping", "close"],
)
async def test_hostile_frames_cost_their_own_stream_and_nobody_elses(data: bytes) -> None:
    async with serving() as gateway, client_of(gateway) as client:
        other = await client.stream()
        await until(other, "sts")
        reader, writer = await raw_stream(gateway)
        writer.write(data)
        async with asyncio.timeout(5.0):
            while await reader.read(1 << 16):
                continue
        writer.close()
        await other.send_str("tic")
        await until(other, "tic")
        assert len(gateway.portal.streams) == 1
        await other.close()


async def test_only_allowed_networks_are_served() -> None:
    async with serving(allowed=("10.0.0.0/8",)) as gateway, client_of(gateway) as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get("/iserver/auth/status")
    async with serving(allowed=("127.0.0.0/8",)) as gateway, client_of(gateway) as client:
        assert (await client.get("/iserver/auth/status"))[0] == 200


async def test_a_connection_that_asks_for_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from moondev_ibkr.brokers.simulation.portal import server

    monkeypatch.setattr(server, "PATIENCE", 0.05)
    async with serving() as gateway:
        assert gateway.doors.portal is not None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", gateway.doors.portal.port, ssl=trust(gateway), server_hostname="localhost"
        )
        async with asyncio.timeout(5.0):
            assert await reader.read() == b""
        writer.close()
