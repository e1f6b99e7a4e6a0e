"""The TWS door on a socket: accepts, frames, limits, and hands requests to the door.

    server = TwsServer(door)
    await server.start()            # settings.host, settings.port (0: a free one); server.port tells
    await server.drained(seconds)   # everything sent so far has left this process
    await server.close()

Every client is on its own: what one sends, however hostile, costs it its own connection and nobody else theirs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import deque
from collections.abc import Callable
from typing import cast

from ..listening import stop_listening
from ..timers import MarketTimers
from .door import TwsDoor
from .link import Link
from .messages_out import encode
from .outbox import Outbox
from .pacing import MessageRate, Verdict
from .protocol import Event, Malformed, Negotiated, Refused, ServerProtocol, Violation
from .requests import StartApi
from .session import Session
from .times import DEFAULT_ZONE, zone

log = logging.getLogger(__name__)

#: Bytes in a transport above which its client counts as slow, and below which it has caught up.
HIGH_WATER, LOW_WATER = 1 << 18, 1 << 16
BACKLOG = 1024
CLIENT_ID_IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."
#: IB: "Bad message length"
BAD_LENGTH = 507


class Connection(asyncio.Protocol):
    """One socket, from its first byte to its last."""

    def __init__(self, server: TwsServer) -> None:
        self._server = server
        self._door = server.door
        self._protocol = ServerProtocol()
        self._rate = MessageRate(server.door.settings.message_rate)
        self._paced = False
        self._pending: deque[Event] = deque()
        self.transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._throttle: asyncio.TimerHandle | None = None
        self.link: Link | None = None
        self.session: Session | None = None
        #: Monotonic time at which what is pending came, or a paced client's turn: the rate is the client's own,
        #: however long the answers take.
        self._read_at = 0.0
        #: It has not read for so long that market time no longer waits for it.
        self.stalled = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes
        transport = cast(asyncio.Transport, transport)
        server = self._server
        self.transport = transport
        self.link = Link(transport, server.faults.link, server.loop)
        refusal = server.refuses(transport)
        if refusal:
            log.info("a connection is refused: %s", refusal)
            transport.abort()
            return
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        server.connections[self] = None
        self._deadline = server.loop.call_later(self._door.settings.handshake_seconds, self._too_late)

    def data_received(self, data: bytes) -> None:
        if self._server.faults.link.deaf:
            self._server.faults.heard_nothing(self, data)
            return
        self._read_at = self._door.monotonic()
        self._pending.extend(self._protocol.receive(data))
        self._work()

    def pause_writing(self) -> None:
        if self.session is not None:
            self.session.outbox.pause()

    def resume_writing(self) -> None:
        if self.session is not None:
            self.session.outbox.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.pop(self, None)
        for timer in (self._deadline, self._throttle):
            if timer is not None:
                timer.cancel()
        self._pending.clear()
        if self.session is not None:
            self._door.leave(self.session)
            log.info("client %d has left", self.session.client_id)

    # requests

    def _work(self) -> None:
        """Serves what is pending; a client that asked to be paced waits instead of being struck."""
        self._server.before_requests()
        while self._pending and self.transport is not None and not self.transport.is_closing():
            if self._paced:
                self._read_at = self._door.monotonic()
                wait = self._rate.wait(self._read_at)
                if wait > 0:
                    self.transport.pause_reading()
                    self._throttle = self._server.loop.call_later(wait, self._go_on)
                    break
            self._take(self._pending.popleft())
            self._server.run_due()
        self._server.settle()

    def _go_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            self._work()

    def _take(self, event: Event) -> None:
        session = self.session
        if isinstance(event, Negotiated):
            self._on_negotiated(event)
        elif isinstance(event, Violation):
            self._on_violation(event)
        elif isinstance(event, StartApi) and session is None:
            self._on_start(event)
        elif session is not None and self._admit(session):
            if isinstance(event, (Refused, Malformed)):
                session.error(event.reqId, event.code, event.text)
            else:
                self._door.serve(session, event)

    def _admit(self, session: Session) -> bool:
        verdict = self._rate.admit(self._read_at)
        if verdict is Verdict.ADMITTED:
            return True
        limit, strikes = self._rate.limit, self._rate.strikes
        text = f"Max rate of messages per second has been exceeded:max={limit} rec={limit + 1} ({strikes})"
        session.error(-1, 100, text)
        if verdict is Verdict.DISCONNECTED:
            self._hang_up()
            return False
        return True

    # the life of a connection

    def _on_negotiated(self, event: Negotiated) -> None:
        self._paced = "+PACEAPI" in event.options
        if self._server.faults.link.mute_handshake:
            return
        now = self._door.now.astimezone(zone(DEFAULT_ZONE))
        self._write(self._protocol.version_frame(f"{now:%Y%m%d %H:%M:%S} {now.tzname()}"))

    def _on_start(self, event: StartApi) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        version = self._protocol.server_version
        if event.clientId in self._door.sessions or event.clientId < 0:
            code, text = (326, CLIENT_ID_IN_USE) if event.clientId >= 0 else (321, "A client id is 0 or above")
            self._refuse(version, code, text)
            return
        outbox = Outbox(self._write, conflate=self._door.settings.conflate)
        self.session = Session(self._door, event.clientId, version, outbox, self._hang_up)
        log.info("client %d has joined at server version %d", event.clientId, version)
        self._door.join(self.session)

    def _on_violation(self, event: Violation) -> None:
        """A reader of errors gets one; before startApi there is none, and the connection just ends, as at TWS."""
        log.warning("a connection is dropped: %s", event.error)
        if self.session is not None:
            self.session.error(-1, BAD_LENGTH, f"Bad message: {event.error}")
        self._hang_up()

    def _refuse(self, version: int, code: int, text: str) -> None:
        self._write(encode(version, "error", reqId=-1, errorCode=code, errorString=text, advancedOrderRejectJson=""))
        self._hang_up()

    def _too_late(self) -> None:
        if self.session is None and self.transport is not None:
            log.info("a connection is dropped: no startApi within the deadline")
            self.transport.abort()

    def _write(self, data: bytes) -> None:
        if self.link is not None and self.transport is not None and not self.transport.is_closing():
            self.link.write(data)

    def _hang_up(self) -> None:
        if self.session is not None:
            self.session.outbox.flush()
            self._door.leave(self.session)
        if self.transport is not None:
            self.transport.close()


class TwsServer:
    """Listens for clients of one door. `before_requests` lets a running clock catch up first."""

    def __init__(self, door: TwsDoor, timers: MarketTimers, before_requests: Callable[[], None] = lambda: None) -> None:
        self.door = door
        self.faults = door.faults
        self.connections: dict[Connection, None] = {}
        self.before_requests = before_requests
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._timers = timers
        self._networks = [ipaddress.ip_network(entry) for entry in door.settings.allowed]
        self._server: asyncio.Server | None = None
        self._port = door.settings.port

    @property
    def host(self) -> str:
        return self.door.settings.host

    @property
    def port(self) -> int:
        """The port that clients connect to; the settings' own until the server listens."""
        return self._port

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._server = await self.loop.create_server(
            lambda: Connection(self), self.host, self._port, backlog=BACKLOG, reuse_address=True
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await stop_listening(server)

    async def close(self) -> None:
        await self.stop_listening()
        for connection in tuple(self.connections):
            if connection.session is not None:
                connection.session.outbox.flush()
            if connection.link is not None:
                connection.link.close()
        await asyncio.sleep(0)
        for connection in tuple(self.connections):
            if connection.link is not None:
                connection.link.abandon()
        await asyncio.sleep(0)

    async def move(self, port: int) -> int:
        """Listens on another port from now on (fault 1300); returns it."""
        await self.stop_listening()
        self._port = port
        await self.start()
        return self._port

    def refuses(self, transport: asyncio.Transport) -> str:
        """Why this peer may not connect; "" when it may."""
        if self._server is None:
            # accepted in the moment in which the server stopped
            return "the server has stopped"
        if self.faults.link.refuse_connections:
            return "a fault is armed"
        waiting = len(self.connections) - len(self.door.sessions)
        if waiting >= self.door.settings.waiting_connections:
            return f"{waiting} connections have not said startApi yet"
        peer = transport.get_extra_info("peername")
        if self._networks and peer is not None:
            address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
            if not any(address in network for network in self._networks):
                return f"{address} is not in the list of allowed addresses"
        return ""

    def settle(self) -> None:
        """After requests: what is due at this market time, then the bytes."""
        self.run_due()
        self.door.flush()

    def run_due(self) -> None:
        """What requests and fills have planned for this very moment."""
        self._timers.run_until(self.door.now)

    def _unread(self) -> list[Connection]:
        """Connections with bytes that their client has not taken yet, without those that are given up on."""
        unread = []
        for connection in self.connections:
            if connection.session is None or connection.link is None:
                continue
            if connection.link.idle:
                connection.stalled = False
            elif not connection.stalled:
                unread.append(connection)
        return unread

    @property
    def stalled_clients(self) -> list[int]:
        """Client ids that market time no longer waits for."""
        self._unread()
        return [one.session.client_id for one in self.connections if one.stalled and one.session is not None]

    @property
    def is_congested(self) -> bool:
        """Whether a client reads more slowly than it is written to."""
        return any(session.outbox.paused for session in self.door.sessions.values())

    async def drained(self, seconds: float) -> bool:
        """Waits until every client's bytes are with the operating system; False when `seconds` were not enough.

        A client that did not read for that long is not waited for again until it has caught up.
        """
        self.door.flush()
        await asyncio.sleep(0)
        deadline = self.loop.time() + seconds
        while self._unread() and self.loop.time() < deadline:
            await asyncio.sleep(0.001)
        for connection in self._unread():
            connection.stalled = True
        return not self.stalled_clients
