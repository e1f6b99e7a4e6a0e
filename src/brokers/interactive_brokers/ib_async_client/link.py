"""ib_async's client with a real handshake, a priority send queue and an end that always has a reason."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from ib_async.client import Client
from ib_async.contract import Contract
from ib_async.order import Order

from ...errors import ConnectFailed, LinkError, LinkLost, NotConnected, ProtocolViolation
from .connection import LinkConnection, Opener, open_tcp
from .decoding import LinkDecoder
from .encoding import encode, frame
from .fast_frames import reader_class
from .frames import MAX_FRAME_BYTES, FrameReader
from .lanes import SUBJECT_FIELD, Outgoing
from .listener import MalformedMessage
from .message_rate import RateLimit
from .send_queue import QUESTION, SendQueue

logger = logging.getLogger(__name__)

#: Request ids start here, order ids below: an error message names either by the same field.
FIRST_REQUEST_ID = 1_000_000_000

_CLIENT_ID_IN_USE = 326
#: currentTime, the answer to reqCurrentTime.
_TIME_TOLD = "49"


class TwsLink(Client):
    """One link to TWS or IB Gateway. Every request method of ib_async's Client is there, and sends by lane.

    It connects once per `connectAsync` and never by itself. All of it runs on one event loop.
    """

    def __init__(
        self,
        wrapper: Any,
        *,
        rate: RateLimit | None = None,
        opener: Opener = open_tcp,
        max_frame: int = MAX_FRAME_BYTES,
        reader: type[FrameReader] | None = None,
    ) -> None:
        self._reader_class = reader or reader_class()
        self.rate = rate or RateLimit()
        self._opener = opener
        self._max_frame = max_frame
        self._next_order_id = 1
        self._next_request_id = FIRST_REQUEST_ID
        self._queue: SendQueue | None = None
        self._reader: FrameReader | None = None
        self._ready: asyncio.Future[None] | None = None
        self._handshake_error = ""
        self._outgoing: Outgoing | None = None
        #: The server's own words for its time and zone, as the handshake gave them; free text, in any language.
        self.connection_time = ""
        #: Loop time of the last bytes received; a probe is not needed while it is recent.
        self.last_received = 0.0
        #: Bytes received and sent by links that have ended.
        self._past = (0, 0)
        self._now: Callable[[], float] = time.monotonic
        super().__init__(wrapper)
        self.decoder = LinkDecoder(wrapper, 0, self._on_malformed)

    def reset(self) -> None:
        super().reset()
        self._apiReady: bool = False
        self.connection_time = ""
        self._handshake_error = ""

    def getReqId(self) -> int:
        """A fresh request id, never one that was used before in this process. NotConnected without a session."""
        self._require_ready()
        self._next_request_id += 1
        return self._next_request_id

    def next_order_id(self) -> int:
        """A fresh order id: above TWS's next valid id, every id seen, and `raise_order_id`'s floor."""
        self._require_ready()
        order_id = self._next_order_id
        self._next_order_id += 1
        return order_id

    def raise_order_id(self, floor: int) -> None:
        """Give no order id below `floor` (the journal's high-water mark); it never goes back."""
        self._next_order_id = max(self._next_order_id, floor)

    def updateReqId(self, minReqId: int) -> None:
        self.raise_order_id(minReqId)

    def getAccounts(self) -> list[str]:
        self._require_ready()
        return list(self._accounts)

    def _require_ready(self) -> None:
        if not self._apiReady:
            raise NotConnected("a request to TWS", "there is no session", "connect first")

    async def connectAsync(self, host: str, port: int, clientId: int, timeout: float | None = 4.0) -> None:
        """Open the link and log on. ConnectFailed, whose `kind` says why, as soon as the outcome is known."""
        self.disconnect()
        self.host, self.port, self.clientId = host, int(port), int(clientId)
        loop = asyncio.get_running_loop()
        connection = LinkConnection(self._opener)
        connection.on_data = self._on_data
        connection.on_lost = self._on_lost
        connection.on_writable = self._on_writable
        self.conn = connection
        self._now = loop.time
        self._queue = SendQueue(connection.write, loop.time, loop.call_at, self.rate, encode((QUESTION, 1)))
        self._reader = self._reader_class(
            self.wrapper, self._on_message, self._on_malformed_tick, self._on_corrupt, self._max_frame
        )
        self._ready = loop.create_future()
        self._ready.add_done_callback(_mark_seen)
        self.connState = Client.CONNECTING
        self.wrapper.clientId = self.clientId
        what = f"connecting to {host}:{port} as client {clientId}"
        try:
            async with asyncio.timeout(timeout or None):
                await connection.connectAsync(host, self.port)
                self.connState = Client.CONNECTING
                connection.write(b"API\0" + frame(self._offer()))
                await self._ready
        except TimeoutError as error:
            failure = self._timed_out(what, connection.isConnected())
            self._drop(failure, notify=False)
            raise failure from error
        except OSError as error:
            failure = _unreachable(what, error)
            self._drop(failure, notify=False)
            raise failure from error
        except BaseException:
            self._drop(LinkLost(what, "it was given up"), notify=False)
            raise

    def _offer(self) -> bytes:
        options = b" " + self.connectOptions if self.connectOptions else b""
        return b"v%d..%d%s" % (self.MinClientVersion, self.MaxClientVersion, options)

    def _timed_out(self, what: str, opened: bool) -> ConnectFailed:
        if not opened:
            return ConnectFailed(what, "the host does not answer", "check host and port", kind="timeout")
        missing = "its version" if not self._serverVersion else "the account list or the next order id"
        if self._serverVersion and self._hasReqId and not self._accounts:
            return ConnectFailed(what, "the account list is empty", "log in to TWS with an account", kind="account")
        why = f"it accepts connections but never sent {missing}"
        return ConnectFailed(what, why, "restart the gateway if this repeats", kind="no_handshake")

    def disconnect(self) -> None:
        """Close the link. Waiting requests and queued messages end; the listener hears of it when it was open."""
        if self.connState != Client.DISCONNECTED:
            self._drop(LinkLost("the link", "it was closed by this side"), graceful=True)

    def abandon(self, why: str) -> None:
        """Drop a link that no longer answers: at once, unsent bytes and all. The listener hears of it."""
        self._drop(LinkLost(f"the link to {self.host}:{self.port}", why, "it is made again by the session"))

    @property
    def queue(self) -> SendQueue:
        """The send queue of the current link. NotConnected before the first one."""
        if self._queue is None:
            raise NotConnected("sending to TWS", "there was no connection yet", "connect first")
        return self._queue

    def send(self, *fields: Any, makeEmpty: bool = True) -> Outgoing:
        """Encode and queue one message. NotConnected when there is no link; nothing was queued then."""
        if self.connState != Client.CONNECTED:
            raise NotConnected(f"message {fields[0]}", "there is no link to TWS", "connect first")
        message_id = fields[0]
        at = SUBJECT_FIELD.get(message_id)
        self._outgoing = self.queue.put(message_id, encode(fields, makeEmpty), None if at is None else fields[at])
        return self._outgoing

    def sendMsg(self, msg: str) -> None:
        """ib_async's way of sending an encoded message; its id chooses the lane."""
        if msg:
            self._outgoing = self.queue.put(int(msg.partition("\0")[0]), frame(msg.encode()))

    def tracked(self, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Outgoing:
        """Call a request method of this link and return the receipt of the message that it queued."""
        self._outgoing = None
        request(*args, **kwargs)
        if self._outgoing is None:
            raise NotConnected("the request", "it queued no message", "use a request method of this link")
        return self._outgoing

    def placeOrder(self, orderId: int, contract: Contract, order: Order) -> Outgoing:
        """Queue a new order or a change; the caller's order object is left as it was."""
        volatility = order.volatility
        try:
            return self.tracked(super().placeOrder, orderId, contract, order)
        finally:
            order.volatility = volatility

    def cancelOrder(self, orderId: int, manualCancelOrderTime: str = "") -> Outgoing:
        return self.tracked(super().cancelOrder, orderId, manualCancelOrderTime)

    def reqGlobalCancel(self) -> Outgoing:
        return self.tracked(super().reqGlobalCancel)

    def _on_writable(self, writable: bool) -> None:
        if self._queue is not None:
            if writable:
                self._queue.resume()
            else:
                self._queue.pause()

    def _on_data(self, data: bytes) -> None:
        self._numBytesRecv += len(data)
        self.last_received = self._now()
        if self._reader is not None:
            self._reader.feed(data)

    # ib_async's own name for what a connection delivers
    _onSocketHasData = _on_data

    @property
    def messages_received(self) -> int:
        return self._reader.messages if self._reader is not None else 0

    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent by every link so far."""
        received, sent = self._past
        if self.connState == Client.DISCONNECTED:
            return self._past
        return received + self._numBytesRecv, sent + self.conn.numBytesSent

    def connectionStats(self) -> Any:
        self._require_ready()
        self._numMsgRecv = self.messages_received
        return super().connectionStats()

    def _on_message(self, fields: list[str]) -> None:
        if not fields or not fields[0].lstrip("-").isdigit():
            self._on_corrupt(f"a message begins with {fields[0][:20] if fields else ''!r}, which is no message id")
        elif not self._serverVersion:
            self._on_version(fields)
        else:
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("<<< %s", ",".join(fields))
            if not self._apiReady:
                self._log_on(fields)
            if fields[0] == _TIME_TOLD and self.queue.on_answer():
                return
            if self.connState == Client.CONNECTED:
                self.decoder.interpret(fields)

    def _on_version(self, fields: list[str]) -> None:
        what = f"the handshake with {self.host}:{self.port}"
        if len(fields) != 2:
            self._on_corrupt(f"the first message has {len(fields)} fields instead of version and time")
            return
        version = int(fields[0])
        if not self.MinClientVersion <= version <= self.MaxClientVersion:
            why = f"server version {version}; this client speaks {self.MinClientVersion} to {self.MaxClientVersion}"
            self._drop(ConnectFailed(what, why, "update or downgrade TWS", kind="version", version=version))
            return
        self._serverVersion = self.decoder.serverVersion = version
        self.connection_time = fields[1]
        self.connState = Client.CONNECTED
        self._startTime = time.time()
        self.startApi()
        self.wrapper.connectAck()

    def _log_on(self, fields: list[str]) -> None:
        """Watch for what completes the log-on (messages 9 and 15) and for what refuses it (message 4)."""
        kind = fields[0]
        if kind == "9" and len(fields) == 3 and fields[2].isdigit():
            self._hasReqId = True
            self.raise_order_id(int(fields[2]))
        elif kind == "15" and len(fields) == 3:
            self._accounts = [account for account in fields[2].split(",") if account]
        elif kind == "4" and len(fields) >= 5 and fields[3].isdigit():
            self._handshake_error = f"IB error {fields[3]}: {fields[4]}"
            if int(fields[3]) == _CLIENT_ID_IN_USE:
                self._drop(self._client_id_in_use(fields[4]))
                return
        if self._hasReqId and self._accounts and not self._apiReady:
            self._apiReady = True
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
            self.wrapper.announce_up(self._serverVersion, self.connection_time, self._accounts)
            self.apiStart.emit()

    def _client_id_in_use(self, text: str) -> ConnectFailed:
        return ConnectFailed(
            f"connecting to {self.host}:{self.port} as client {self.clientId}",
            f"IB error {_CLIENT_ID_IN_USE}: {text}",
            "close the other connection, or wait and try the same id again",
            kind="client_id_in_use",
            client_id=self.clientId,
        )

    def _on_malformed(self, message: MalformedMessage) -> None:
        self.wrapper.announce_malformed(message)

    def _on_malformed_tick(self, fields: list[str], error: Exception) -> None:
        message_id = int(fields[0])
        self.decoder.fail(message_id, fields, error)

    def _on_corrupt(self, why: str) -> None:
        what = f"reading from {self.host}:{self.port}"
        step = "the link is dropped; read open orders and executions after reconnecting"
        error: LinkError = ProtocolViolation(what, why, step)
        if not self._apiReady:
            error = ConnectFailed(what, why, "is this TWS's or IB Gateway's API port?", kind="protocol")
        self._drop(error)

    def _on_lost(self, exception: Exception | None) -> None:
        why = str(exception) if exception else "the peer closed the connection"
        what = f"the link to {self.host}:{self.port}"
        error: LinkError
        if self._apiReady:
            error = LinkLost(what, why, "it is made again by the session")
        else:
            phase = "log-on" if self._serverVersion else "version"
            if phase == "version":
                why += " before it sent its version: TWS behind it is down or starting"
                step = "start TWS or IB Gateway and allow API connections"
            else:
                why += f" during the log-on{': ' + self._handshake_error if self._handshake_error else ''}"
                step = "check that the client id is free and that TWS is logged in"
            error = ConnectFailed(what, why, step, kind="closed_early", phase=phase)
        self._drop(error)

    def _drop(self, error: LinkError, *, notify: bool = True, graceful: bool = False) -> None:
        """End the link once, whatever ended it: close, report what was not sent, end what was waiting, tell."""
        if self.connState == Client.DISCONNECTED:
            return
        was_ready = self._apiReady
        self._past = self.traffic()
        connection, queue, ready = self.conn, self._queue, self._ready
        if self._reader is not None:
            self._reader.close()
        connection.on_data = connection.on_lost = connection.on_writable = _nothing
        self.reset()
        if graceful:
            connection.disconnect()
        else:
            connection.abort()
        not_sent = queue.fail_all() if queue is not None else []
        if ready is not None and not ready.done():
            ready.set_exception(error)
        self.wrapper.link_lost(error)
        if was_ready and notify:
            self.wrapper.announce_down(error, not_sent)
            self.apiEnd.emit()


def _unreachable(what: str, error: OSError) -> ConnectFailed:
    if isinstance(error, ConnectionRefusedError):
        step = "start TWS or IB Gateway, and check that its API port is this one"
        return ConnectFailed(what, "the port is closed", step, kind="refused")
    return ConnectFailed(what, str(error) or type(error).__name__, "check host and network", kind="unreachable")


def _mark_seen(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


def _nothing(_: Any) -> None:
    """What a link that has ended does with whatever still comes."""
