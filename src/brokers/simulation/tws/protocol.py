"""One connection of the TWS door as a state machine with no I/O: bytes in, events out; values in, bytes out.

    protocol = ServerProtocol()
    for event in protocol.receive(data):        # Negotiated | StartApi | Request | Refused | Malformed | Violation
        ...
    transport.write(protocol.version_frame("20250102 10:00:00 EST"))     # on Negotiated; nothing else until StartApi
    transport.write(protocol.message("nextValidId", orderId=1))          # any row of messages_out, from StartApi on
    transport.write(protocol.error(-1, 2104, "Market data farm connection is OK:usfarm"))

After a Violation the connection is closed: send nothing more and drop the transport. Clients that are refused at
the handshake are simply disconnected, as TWS does: before startApi a client can read no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from ...errors import ProtocolViolation
from .codec import FrameError, FrameReader, HandshakeError, Opening, negotiate, unpack, version_frame
from .messages_in import READING_ERROR, MalformedRequest, parse, spec_of
from .messages_out import encode
from .request import Request
from .requests import StartApi


class State(Enum):
    HANDSHAKE = auto()
    AWAIT_START_API = auto()
    READY = auto()
    CLOSED = auto()


class Trigger(Enum):
    HELLO = auto()
    START_API = auto()
    REQUEST = auto()
    VIOLATION = auto()


#: The whole life of a connection; a missing row is a violation.
TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.HANDSHAKE, Trigger.HELLO): State.AWAIT_START_API,
    (State.AWAIT_START_API, Trigger.START_API): State.READY,
    (State.READY, Trigger.REQUEST): State.READY,
    (State.HANDSHAKE, Trigger.VIOLATION): State.CLOSED,
    (State.AWAIT_START_API, Trigger.VIOLATION): State.CLOSED,
    (State.READY, Trigger.VIOLATION): State.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The client said which versions it speaks; answer with `version_frame` and nothing else."""

    serverVersion: int
    #: the client's connect options, e.g. "+PACEAPI"
    options: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A well-formed request that this gateway does not serve; send it IB's error."""

    request: Request
    reqId: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that cannot be read; send it the error, the connection stays."""

    reqId: int
    code: int
    text: str
    error: MalformedRequest


@dataclass(frozen=True, slots=True)
class Violation:
    """The connection is over: these bytes are not the protocol, or not in its order."""

    error: ProtocolViolation


#: StartApi is itself a Request, and told apart because it comes once and first.
Event = Negotiated | Request | Refused | Malformed | Violation


class ServerProtocol:
    """The server's side of one connection. Not thread-safe; one object per connection."""

    def __init__(self) -> None:
        self.state = State.HANDSHAKE
        #: 0 until negotiated
        self.server_version = 0
        #: None until startApi
        self.client_id: int | None = None
        self._opening = Opening()
        self._frames = FrameReader()

    def receive(self, data: bytes) -> list[Event]:
        """Events completed by these bytes, in order. Never raises for what a peer can send."""
        if self.state is State.CLOSED:
            return []
        events: list[Event] = []
        try:
            if self.state is State.HANDSHAKE:
                hello = self._opening.feed(data)
                if hello is None:
                    return events
                self.server_version = negotiate(hello)
                self._advance(Trigger.HELLO)
                events.append(Negotiated(self.server_version, hello.options))
                data = self._opening.rest
            payloads = self._frames.feed(data)
        except FrameError as error:
            self._read(error.frames, events)
            self._violate(error, events)
        except HandshakeError as error:
            self._violate(error, events)
        else:
            self._read(payloads, events)
        return events

    def _read(self, payloads: list[bytes], events: list[Event]) -> None:
        for payload in payloads:
            try:
                events.append(self._event(payload))
            except ProtocolViolation as error:
                self._violate(error, events)
                return

    def _event(self, payload: bytes) -> Event:
        try:
            request = parse(self.server_version, unpack(payload))
        except MalformedRequest as error:
            if self.state is not State.READY:
                raise
            return Malformed(error.subject, READING_ERROR, str(error), error)
        starting = isinstance(request, StartApi)
        self._advance(Trigger.START_API if starting else Trigger.REQUEST)
        if isinstance(request, StartApi):
            self.client_id = request.clientId
        spec = spec_of(request)
        if spec.refusal is None:
            return request
        return Refused(request, request.subject, spec.refusal.code, spec.refusal.word(request))

    def _advance(self, trigger: Trigger) -> None:
        follower = TRANSITIONS.get((self.state, trigger))
        if follower is None:
            raise ProtocolViolation(
                f"{trigger.name} in state {self.state.name}",
                "startApi comes once, after the version frame and before every other request",
                "reconnect",
            )
        self.state = follower

    def _violate(self, error: ProtocolViolation, events: list[Event]) -> None:
        if self.state is not State.CLOSED:
            self._advance(Trigger.VIOLATION)
            events.append(Violation(error))

    def version_frame(self, connection_time: str) -> bytes:
        """The answer to Negotiated. `connection_time` is free text: "20250102 10:00:00 EST"."""
        if self.state is not State.AWAIT_START_API:
            raise ValueError(f"the version frame answers the handshake, the connection is {self.state.name}")
        return version_frame(self.server_version, connection_time)

    def message(self, name: str, /, **values: Any) -> bytes:
        """A frame of `messages_out`. Raises ValueError before startApi: clients discard or misread it there."""
        if self.state is not State.READY:
            raise ValueError(f"{name}: nothing may be sent while the connection is {self.state.name}")
        return encode(self.server_version, name, **values)

    def error(self, reqId: int, code: int, text: str, advancedOrderRejectJson: str = "") -> bytes:
        """An error, warning or notice; reqId -1 when it belongs to none."""
        return self.message(
            "error",
            reqId=reqId,
            errorCode=code,
            errorString=text,
            advancedOrderRejectJson=advancedOrderRejectJson,
        )
