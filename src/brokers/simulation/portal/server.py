"""The portal door on a socket: HTTPS and WebSocket on one TLS port.

    server = PortalServer(door)
    await server.start()            # settings.host, settings.port (0: a free one); server.url tells
    await server.drained(seconds)   # everything that streams were sent so far has left this process
    await server.close()

Every client is on its own: what one sends, however hostile, costs it its own connection and nobody else theirs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from ..listening import stop_listening
from .certificate import Certificate
from .door import PortalDoor, below_base
from .request import BASE, Answer, PortalRefusal, PortalRequest
from .socket_outlet import SocketOutlet
from .stream import Stream

log = logging.getLogger(__name__)

BACKLOG = 256
#: Real seconds for the TLS handshake, for the first request, and for a request's body.
PATIENCE = 10.0
#: Connections without a request; the newest beyond it is ended.
WAITING_CONNECTIONS = 1024
#: Bytes of one WebSocket message, and of a close in seconds.
MESSAGE_LIMIT = 1 << 16
CLOSE_SECONDS = 1.0
#: Shortest real time between two looks at the alarms.
_TICK = 0.001
BAD_REQUEST = Answer({"error": "Bad Request", "statusCode": 400}, 400)
TOO_LARGE = Answer({"error": "Request Entity Too Large", "statusCode": 413}, 413)


class _Refusal(asyncio.Protocol):
    """For who was accepted in the moment in which the server stopped."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class PortalServer:
    """Listens for clients of one door. `before_requests` lets a running clock catch up first; `settle` does what
    requests have made due and hands the other door's bytes to its clients."""

    def __init__(
        self,
        door: PortalDoor,
        before_requests: Callable[[], None] = lambda: None,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self.door = door
        self.loop = asyncio.get_running_loop()
        self.certificate = Certificate(door.settings.host)
        self._before_requests = before_requests
        self._settle = settle
        self._networks = [ipaddress.ip_network(entry) for entry in door.settings.allowed]
        self._outlets: dict[SocketOutlet, None] = {}
        self._waiting: dict[RequestHandler, asyncio.TimerHandle] = {}
        self._web: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._port = door.settings.port or 0
        self._alarm: asyncio.TimerHandle | None = None
        self._released = asyncio.Event()
        self._released.set()
        door.alarms.on_earlier = self._set_alarm
        door.faults.on_release = self._released.set

    @property
    def host(self) -> str:
        return self.door.settings.host

    @property
    def port(self) -> int:
        """The port that clients connect to; the settings' own until the server listens."""
        return self._port

    @property
    def url(self) -> str:
        """The base of every request, for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"https://{f'[{host}]' if ':' in host else host}:{self.port}{BASE}"

    # life

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._web = web.Server(self._handle, access_log=None)
        self._server = await self.loop.create_server(
            self._connection,
            self.host,
            self._port,
            ssl=self.certificate.context,
            ssl_handshake_timeout=PATIENCE,
            backlog=BACKLOG,
            reuse_address=True,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._set_alarm()

    async def close(self) -> None:
        """Ends every connection; `start` listens anew."""
        if self._alarm is not None:
            self._alarm.cancel()
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        if self._server is not None:
            server, self._server = self._server, None
            await stop_listening(server)
        for stream in tuple(self.door.streams):
            stream.close()
        self._released.set()
        if self._web is not None:
            transports = [connection.transport for connection in self._web.connections]
            await self._web.shutdown(CLOSE_SECONDS)
            self._web = None
            for transport in transports:
                # TLS would wait for the farewell of a client that has left
                if transport is not None:
                    transport.abort()

    def _connection(self) -> asyncio.Protocol:
        if self._web is None:
            return _Refusal()
        connection = self._web()
        self._waiting[connection] = self.loop.call_later(PATIENCE, self._too_late, connection)
        if len(self._waiting) > WAITING_CONNECTIONS:
            log.info("a connection is dropped: %d have not asked for anything yet", len(self._waiting))
            self.loop.call_soon(self._too_late, connection)
        return connection

    def _too_late(self, connection: RequestHandler) -> None:
        """Neither a request, nor the end of the connection."""
        timer = self._waiting.pop(connection, None)
        if timer is not None:
            timer.cancel()
            connection.force_close()

    # alarms

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self.door.alarms.next_time()
        if due is not None and self._server is not None:
            self._alarm = self.loop.call_later(max(due - self.door.monotonic(), _TICK), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._before_requests()
        self.door.alarms.run_due()
        self._settle()
        self._set_alarm()

    # requests

    async def _handle(self, http: BaseRequest) -> web.StreamResponse:
        timer = self._waiting.pop(http.protocol, None)
        if timer is not None:
            timer.cancel()
        if self._refuses(http):
            log.info("a connection from %s is refused", http.remote)
            return self._cut(http)
        path = below_base(http.path)
        if path == "/ws":
            return await self._serve_stream(http)
        try:
            request = await _read(http, path, self.door.monotonic())
        except TimeoutError:
            return self._cut(http)
        except PortalRefusal as refusal:
            response = _response(refusal.answer)
            response.force_close()
            return response
        return await self._answer(http, request)

    async def _answer(self, http: BaseRequest, request: PortalRequest) -> web.StreamResponse:
        self._before_requests()
        answer = self.door.serve(request)
        self._settle()
        if answer.delay:
            await asyncio.sleep(answer.delay)
        await self._until_released()
        return self._cut(http) if answer.abort else _response(answer)

    def _refuses(self, http: BaseRequest) -> bool:
        if not self._networks or http.remote is None:
            return False
        address = ipaddress.ip_address(http.remote.partition("%")[0])
        return not any(address in network for network in self._networks)

    @staticmethod
    def _cut(http: BaseRequest) -> web.Response:
        if http.transport is not None:
            http.transport.abort()
        return web.Response()

    async def _until_released(self) -> None:
        """Answers and frames are kept back while a fault says so."""
        while self.door.faults.held:
            self._released.clear()
            await self._released.wait()

    # streams

    async def _serve_stream(self, http: BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_LIMIT, timeout=CLOSE_SECONDS, compress=False)
        if not socket.can_prepare(http):
            return _response(BAD_REQUEST)
        try:
            request = await _read(http, "/ws", self.door.monotonic())
            session = self.door.stream_session(request)
        except PortalRefusal as refusal:
            return _response(refusal.answer)
        await socket.prepare(http)
        transport = http.transport
        if transport is None:
            return socket
        binary = self.door.settings.binary_frames
        outlet = SocketOutlet(socket, transport, binary=binary, released=self._until_released)
        self._outlets[outlet] = None
        stream = self.door.open_stream(session, outlet)
        try:
            await self._listen(socket, stream)
        finally:
            stream.leave()
            self._outlets.pop(outlet, None)
            await outlet.end()
        return socket

    async def _listen(self, socket: web.WebSocketResponse, stream: Stream) -> None:
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            data = message.data
            text = data if isinstance(data, str) else data.decode("utf-8", "replace")
            self._before_requests()
            stream.receive(text)
            self._settle()

    @property
    def is_congested(self) -> bool:
        """Whether a stream reads more slowly than it is written to."""
        return any(outlet.is_slow for outlet in self._outlets)

    def _unread(self) -> list[SocketOutlet]:
        """Streams with frames that their client has not taken yet, without those that are given up on."""
        for outlet in self._outlets:
            if outlet.idle:
                outlet.stalled = False
        return [outlet for outlet in self._outlets if not outlet.idle and not outlet.stalled]

    async def drained(self, seconds: float) -> bool:
        """Waits until every stream's frames are with the operating system; False when `seconds` were not enough.

        A client that did not read for that long is not waited for again until it has caught up.
        """
        await asyncio.sleep(0)
        if self.door.faults.held:
            return True
        deadline = self.loop.time() + seconds
        while self._unread() and self.loop.time() < deadline:
            await asyncio.sleep(_TICK)
        for outlet in self._unread():
            outlet.stalled = True
        return not any(outlet.stalled for outlet in self._outlets)


async def _read(http: BaseRequest, path: str, now: float) -> PortalRequest:
    """The request as a value. Raises PortalRefusal for a body that is no JSON, or too long; TimeoutError."""
    try:
        async with asyncio.timeout(PATIENCE):
            raw = await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise _refusal(TOO_LARGE) from None
    return PortalRequest(
        http.method,
        path,
        dict(http.query),
        _body(raw, http.content_type),
        {name.lower(): value for name, value in http.headers.items()},
        dict(http.cookies),
        http.remote or "",
        now,
    )


def _body(raw: bytes, content_type: str) -> Any:
    if not raw.strip():
        return {}
    try:
        if content_type == "application/x-www-form-urlencoded" and not raw.lstrip().startswith((b"{", b"[")):
            return dict(parse_qsl(raw.decode(), keep_blank_values=True))
        return json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _refusal(BAD_REQUEST) from None


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _refusal(answer: Answer) -> PortalRefusal:
    return PortalRefusal(str(answer.body["error"]), answer.status, answer.body)


def _response(answer: Answer) -> web.Response:
    body = answer.encoded()
    headers = {"Content-Type": answer.content_type} if body else {}
    return web.Response(body=body, status=answer.status, headers=headers)
