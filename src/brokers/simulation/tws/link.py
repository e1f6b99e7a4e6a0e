"""The bytes of one connection on their way out, and everything that scripted faults can do to them.

LinkFaults           what is wrong with every connection of the door now; nothing, unless a fault is armed
Link(transport)      .write(data) .close() .reset()
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

#: SO_LINGER on, zero seconds: closing sends RST instead of FIN.
_LINGER = struct.pack("ii", 1, 0)
_HOSTILE_LENGTH = struct.pack(">I", 0x7FFFFFFF)


@dataclass(slots=True)
class LinkFaults:
    """`held`: outgoing bytes are kept back. `deaf`: incoming ones are not read. `delay` in seconds of real time.
    `split`: one byte a write. `cut_next`, `corrupt_next`: the next write is cut in the middle, or opens with a length
    that no frame has."""

    held: bool = False
    deaf: bool = False
    delay: float = 0.0
    split: bool = False
    cut_next: bool = False
    corrupt_next: bool = False
    mute_handshake: bool = False
    refuse_connections: bool = False

    @property
    def touches_writes(self) -> bool:
        return self.held or self.delay > 0 or self.split or self.cut_next or self.corrupt_next


class Link:
    """A transport behind the faults."""

    def __init__(self, transport: asyncio.Transport, faults: LinkFaults, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._faults = faults
        self._loop = loop
        self._kept: list[bytes] = []
        self._late = 0

    def write(self, data: bytes) -> None:
        if not (self._faults.touches_writes or self._kept or self._late):
            self._transport.write(data)
            return
        self._write_faulty(data)

    def _write_faulty(self, data: bytes) -> None:
        faults = self._faults
        if faults.held or self._kept:
            self._kept.append(data)
            return
        if faults.cut_next:
            faults.cut_next, faults.held = False, True
            data = data[: max(1, len(data) // 2)]
        elif faults.corrupt_next:
            faults.corrupt_next = False
            data = _HOSTILE_LENGTH + data[4:]
        if faults.delay > 0 or self._late:
            self._late += 1
            self._loop.call_later(faults.delay, self._write_late, data)
            return
        self._emit(data)

    def _write_late(self, data: bytes) -> None:
        self._late -= 1
        self._emit(data)

    def _emit(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        if not self._faults.split:
            self._transport.write(data)
            return
        for at in range(len(data)):
            self._transport.write(data[at : at + 1])

    def release(self) -> None:
        """What was held goes out, in order."""
        kept, self._kept = self._kept, []
        for data in kept:
            self._emit(data)

    @property
    def idle(self) -> bool:
        """Nothing waits inside this process but what a fault keeps there."""
        if self._faults.held or self._faults.deaf:
            return True
        return not self._kept and not self._late and self._transport.get_write_buffer_size() == 0

    def close(self) -> None:
        """FIN, after what was written."""
        self._transport.close()

    def reset(self) -> None:
        """RST: what was written may be lost."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self._transport.abort()

    def abandon(self) -> None:
        """Gives up on bytes that the peer does not take."""
        if not self._transport.is_closing() or self._transport.get_write_buffer_size():
            self._transport.abort()
