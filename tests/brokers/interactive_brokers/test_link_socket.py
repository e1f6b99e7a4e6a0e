"""The link over a real socket, against a server of a few lines."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from ib_async import Stock
from moondev_ibkr.brokers.errors import ConnectFailed, LinkLost, RequestFailed
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.api import TwsApi
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.connection import BUFFER_BYTES, set_socket_options


def msg(*fields: object) -> bytes:
    payload = ("\0".join(str(field) for field in fields) + "\0").encode()
    return struct.pack(">I", len(payload)) + payload


async def read_message(reader: asyncio.StreamReader) -> list[str]:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return (await reader.readexactly(length)).decode().split("\0")[:-1]


async def serve_tws(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        assert await reader.readexactly(4) == b"API\0"
        await reader.readexactly(struct.unpack(">I", await reader.readexactly(4))[0])
        writer.write(msg(178, "20260105 10:00:00 EST"))
        while True:
            fields = await read_message(reader)
            if fields[0] == "71":
                writer.write(msg(15, 1, "DU1") + msg(9, 1, 5))
            elif fields[0] == "49":
                writer.write(msg(49, 1, 1767625200))
            elif fields[0] == "9":
                writer.write(msg(4, 2, fields[2], 200, "No security definition has been found", ""))
            elif fields[0] == "61":
                break
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[int]]]:
    servers: list[asyncio.Server] = []

    async def start(handler: Handler) -> int:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_a_session_over_tcp(serve: Callable[[Handler], Awaitable[int]]) -> None:
    api = TwsApi()
    await api.client.connectAsync("127.0.0.1", await serve(serve_tws), 7)
    sock = api.client.conn.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    first, second = await asyncio.gather(api.reqCurrentTimeAsync(), api.reqCurrentTimeAsync())
    assert first == second
    assert first.isoformat() == "2026-01-05T15:00:00+00:00"
    with pytest.raises(RequestFailed) as failed:
        await api.reqContractDetailsAsync(Stock("NOSUCH", "SMART", "USD"))
    assert failed.value.code == 200
    with pytest.raises(LinkLost):
        await api.reqPositionsAsync()
    assert not api.client.isConnected()


async def test_c15_a_proxy_without_a_tws_behind_it(serve: Callable[[Handler], Awaitable[int]]) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    with pytest.raises(ConnectFailed) as failed:
        await TwsApi().client.connectAsync("127.0.0.1", await serve(hang_up), 7, 30)
    assert failed.value.kind == "closed_early"


async def test_a_closed_port_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ConnectFailed) as failed:
        await TwsApi().client.connectAsync("127.0.0.1", port, 7)
    assert failed.value.kind == "refused"


def test_socket_options_are_really_set() -> None:
    with socket.socket() as sock:
        reported = set_socket_options(sock)
        assert reported["TCP_NODELAY"]
        assert reported["SO_KEEPALIVE"]
        ceiling = min(BUFFER_BYTES, 200_000)  # Linux caps at net.core.[rw]mem_max, which defaults to 212992
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= ceiling
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= ceiling
        for name in ("TCP_USER_TIMEOUT", "TCP_KEEPINTVL", "TCP_KEEPCNT"):
            assert (name in reported) == hasattr(socket, name)
