"""The TCP connection under the TWS protocol: socket options that are really set, and an end with a reason."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from ib_async.connection import Connection

BUFFER_BYTES = 256 * 1024

#: (level, option, value); an option that the platform lacks is left out. The three keepalive rows notice a
#: half-open link that carries nothing after 3 + 3 * 2 = 9 s; TCP_USER_TIMEOUT (milliseconds, Linux) does the same
#: for bytes that were sent and never acknowledged.
SOCKET_OPTIONS: Sequence[tuple[str, str, int]] = (
    ("IPPROTO_TCP", "TCP_NODELAY", 1),
    ("SOL_SOCKET", "SO_RCVBUF", BUFFER_BYTES),
    ("SOL_SOCKET", "SO_SNDBUF", BUFFER_BYTES),
    ("SOL_SOCKET", "SO_KEEPALIVE", 1),
    ("IPPROTO_TCP", "TCP_KEEPIDLE", 3),
    ("IPPROTO_TCP", "TCP_KEEPALIVE", 3),  # the name that macOS gives to TCP_KEEPIDLE
    ("IPPROTO_TCP", "TCP_KEEPINTVL", 2),
    ("IPPROTO_TCP", "TCP_KEEPCNT", 3),
    ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 9000),
)

#: Opens a transport for a protocol: (protocol, host, port) -> transport. Tests and virtual-time loops give their own.
Opener = Callable[[asyncio.Protocol, str, int], Awaitable[asyncio.Transport]]


def set_socket_options(sock: socket.socket) -> dict[str, int]:
    """Set every row that the platform has. Returns what the kernel reports for each afterwards."""
    result: dict[str, int] = {}
    for level_name, option_name, value in SOCKET_OPTIONS:
        level, option = getattr(socket, level_name, None), getattr(socket, option_name, None)
        if level is None or option is None:
            continue
        try:
            sock.setsockopt(level, option, value)
            result[option_name] = sock.getsockopt(level, option)
        except OSError as error:
            # a kernel may know the constant and still refuse the option; the link works without it
            if error.errno not in (errno.ENOPROTOOPT, errno.EINVAL, errno.EOPNOTSUPP):
                raise
    return result


async def open_socket(host: str, port: int) -> socket.socket:
    """Connect a socket that had its options set beforehand (buffer sizes only count before the handshake). OSError."""
    loop = asyncio.get_running_loop()
    failures: list[OSError] = []
    for family, kind, proto, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            set_socket_options(sock)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failures.append(error)
            continue
        except BaseException:
            sock.close()
            raise
        return sock
    refused = [error for error in failures if isinstance(error, ConnectionRefusedError)]
    raise refused[0] if refused else failures[0] if failures else OSError(f"no address for {host}:{port}")


async def open_tcp(protocol: asyncio.Protocol, host: str, port: int) -> asyncio.Transport:
    """An Opener: plain TCP."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=await open_socket(host, port))
    return transport


class LinkConnection(Connection):
    """ib_async's connection with plain callbacks on the hot path and back pressure on writing.

    `on_data(bytes)` gets what arrives, `on_lost(exception or None)` the end (None: the peer closed in good order),
    `on_writable(bool)` whether the transport takes more bytes. A write that the transport cannot take at once
    pauses the sender: what it still holds is known not to have left.
    """

    def __init__(self, opener: Opener = open_tcp) -> None:
        self._opener = opener
        self.on_data: Callable[[bytes], None] = _ignore
        self.on_lost: Callable[[Exception | None], None] = _ignore
        self.on_writable: Callable[[bool], None] = _ignore
        super().__init__()

    async def connectAsync(self, host: str, port: int) -> None:
        """Open the transport. OSError when that fails; a connection still open is dropped first."""
        self.abort()
        self.reset()
        await self._opener(self, host, port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = cast(asyncio.Transport, transport)
        # any byte that the kernel does not take at once pauses the send queue; asyncio's TLS pauses at the limit, not
        # only beyond it, and zero would pause an empty transport for good
        opened.set_write_buffer_limits(high=0 if opened.get_extra_info("ssl_object") is None else 1)
        self.transport: asyncio.Transport | None = opened

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is None:
            return
        self.transport = None
        self.on_lost(exc)
        self.disconnected.emit(str(exc) if exc else "")

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        self.on_data(data)

    def pause_writing(self) -> None:
        self.on_writable(False)

    def resume_writing(self) -> None:
        self.on_writable(True)

    def write(self, payload: bytes) -> bool:
        """Hand bytes to the transport; False when there is none, or it is closing."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(payload)
        self.numBytesSent += len(payload)
        self.numMsgSent += 1
        return True

    def sendMsg(self, msg: bytes) -> None:
        self.write(msg)

    def disconnect(self) -> None:
        """Close after what was written has left. `on_lost` is not called: the caller ends the link itself."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.close()

    def abort(self) -> None:
        """Close at once, unsent bytes and all. `on_lost` is not called."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()


def _ignore(_: Any) -> None:
    """A callback that nobody has set."""
