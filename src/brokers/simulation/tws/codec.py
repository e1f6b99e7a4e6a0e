"""Frames and the opening handshake of the TWS socket protocol, with no I/O.

    FrameReader().feed(data) -> list[bytes]      payloads of the frames completed by these bytes
    frame(payload) -> bytes                      uint32 big-endian length + payload
    pack(fields) -> bytes                        frame of NUL-terminated text fields
    unpack(payload) -> list[str]                 the fields of a payload
    Opening().feed(data) -> ClientHello | None   `API\\0` and the version frame; `.rest` is what followed
    negotiate(hello) -> int                      the server version of this connection

Sources: IB's API source (`client.cpp` handshake, comm framing), and reference section 1 (tws-protocol).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import ProtocolViolation

MIN_SERVER_VERSION = 157
MAX_SERVER_VERSION = 178
#: Clients disagree on the gate of openOrder's `duration` (158 or 159), so no connection may land here.
AMBIGUOUS_SERVER_VERSION = 158

#: A request is some hundred bytes; the longest legal ones carry XML. IB's own readers stop at 16 MiB.
MAX_FRAME_LENGTH = 1 << 20
MAX_HELLO_LENGTH = 4096

_CONNECT = "connect with a TWS API client"
_PREFIX = b"API\0"
_LENGTH = struct.Struct(">I")
_HELLO = re.compile(r"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: (.*))?", re.DOTALL)


class FrameError(ProtocolViolation):
    """A frame announces a length that no message has; the connection cannot go on.

    `frames` holds the payloads that were complete before it, so that a burst loses nothing.
    """

    def __init__(self, length: int, limit: int, frames: Iterable[bytes] = ()) -> None:
        self.length = length
        self.limit = limit
        self.frames = list(frames)
        super().__init__(
            f"a frame of {length} bytes",
            f"no request has more than {limit}",
            _CONNECT,
            length=length,
            limit=limit,
        )


class HandshakeError(ProtocolViolation):
    """The opening bytes are not a TWS API handshake, or no version is common to both sides."""


def frame(payload: bytes) -> bytes:
    return _LENGTH.pack(len(payload)) + payload


def pack(fields: Iterable[str]) -> bytes:
    """One frame; every field, the last one too, ends with NUL."""
    payload = ("\0".join(fields) + "\0").encode("utf-8")
    return _LENGTH.pack(len(payload)) + payload


def unpack(payload: bytes) -> list[str]:
    """The fields of a payload; bytes that are not UTF-8 become `\\xNN`, as IB's clients read them."""
    fields = payload.decode("utf-8", errors="backslashreplace").split("\0")
    if fields[-1] == "":
        fields.pop()
    return fields


class FrameReader:
    """Cuts a byte stream into frames; linear in the burst, whatever its size and its splits."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_FRAME_LENGTH) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads completed by `data`, oldest first. Raises FrameError on a hostile length."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        at, end = 0, len(buffer)
        while end - at >= 4:
            length = _LENGTH.unpack_from(buffer, at)[0]
            if length > self._limit:
                buffer.clear()
                raise FrameError(length, self._limit, frames)
            stop = at + 4 + length
            if stop > end:
                break
            frames.append(bytes(buffer[at + 4 : stop]))
            at = stop
        del buffer[:at]
        return frames

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What the client offers: the versions `low`..`high` and its connect options ("+PACEAPI" or "")."""

    low: int
    high: int
    options: str = ""


def parse_hello(payload: bytes) -> ClientHello:
    """`v157..178`, `v157..178 +PACEAPI` or the single version `v157`; raises HandshakeError."""
    text = payload.rstrip(b"\0").decode("ascii", errors="backslashreplace")
    match = _HELLO.fullmatch(text)
    if match is None:
        raise HandshakeError(f"the version frame {text[:40]!r}", "v157..178 was expected", _CONNECT)
    low, high, options = match.groups()
    return ClientHello(int(low), int(high or low), options or "")


def negotiate(hello: ClientHello) -> int:
    """min(client's highest, 178), stepping from 158 down to 157; raises HandshakeError when they share none."""
    version = min(hello.high, MAX_SERVER_VERSION)
    if version == AMBIGUOUS_SERVER_VERSION:
        version -= 1
    if version < max(hello.low, MIN_SERVER_VERSION):
        raise HandshakeError(
            f"a connection at v{hello.low}..{hello.high}",
            f"this gateway speaks v{MIN_SERVER_VERSION}..{MAX_SERVER_VERSION} without v{AMBIGUOUS_SERVER_VERSION}",
            "use a client whose TWS API has one of these versions",
        )
    return version


class Opening:
    """Reads the opening of a connection: raw `API\\0`, then one frame with the versions."""

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.rest = b""

    def feed(self, data: bytes) -> ClientHello | None:
        """The hello once it is complete, None before; raises HandshakeError at the first wrong byte."""
        buffer = self._buffer
        buffer += data
        if not _PREFIX.startswith(buffer[:4]) and buffer[:4] != _PREFIX:
            raise HandshakeError(f"the connection opens with {bytes(buffer[:4])!r}, where b'API\\x00' was expected")
        if len(buffer) < 8:
            return None
        length = _LENGTH.unpack_from(buffer, 4)[0]
        if length > MAX_HELLO_LENGTH:
            raise HandshakeError(f"a version frame of {length} bytes", "it is a few dozen", _CONNECT)
        if len(buffer) < 8 + length:
            return None
        self.rest = bytes(buffer[8 + length :])
        return parse_hello(bytes(buffer[8 : 8 + length]))


def version_frame(server_version: int, connection_time: str) -> bytes:
    """The server's first and, until startApi, only bytes: exactly two fields.

    `connection_time` is free text, as TWS writes it "20250102 10:00:00 EST".
    """
    return pack((str(server_version), connection_time))
