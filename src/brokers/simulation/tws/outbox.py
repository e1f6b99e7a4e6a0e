"""What waits to be sent to one client: answers and orders in full, quotes only at their latest value.

    Outbox(write)          one per connection; `write` hands bytes to the transport
        .send(data)            an answer, an order, a fill: never dropped, never overtaken
        .quote(key, data)      a quote; while the client reads slowly only the newest per key is kept
        .flush()               hands over what may go now
        .pause() .resume()     the transport's watermarks

A reader that is too slow even for its answers is disconnected: `send` raises `Overflow` above `limit` bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

#: Bytes of unsent answers above which a client is given up; an hour of fills is far below.
BACKLOG_LIMIT = 64 << 20


class Overflow(RuntimeError):
    """The client has not read for so long that its answers no longer fit; it is disconnected."""


class Outbox:
    """A queue that keeps the order of what it keeps.

    `conflate` False keeps every quote (flood tests, recordings of a run); they then count against `limit` too.
    """

    __slots__ = ("_backlog", "_conflate", "_limit", "_paused", "_quotes", "_ready", "_write", "conflated")

    def __init__(self, write: Callable[[bytes], None], *, conflate: bool = True, limit: int = BACKLOG_LIMIT) -> None:
        self._write = write
        self._conflate = conflate
        self._limit = limit
        self._ready: list[bytes] = []
        self._quotes: dict[Hashable, bytes] = {}
        self._paused = False
        self._backlog = 0
        #: Quotes replaced by a newer one before they could be sent.
        self.conflated = 0

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def waiting(self) -> int:
        """Messages that have not been handed to the transport."""
        return len(self._ready) + len(self._quotes)

    def send(self, data: bytes) -> None:
        """Raises Overflow when the client's backlog is beyond its limit."""
        self._ready.append(data)
        if self._paused:
            self._backlog += len(data)
            if self._backlog > self._limit:
                raise Overflow(f"{self._backlog} bytes of answers wait for a client that does not read")

    def quote(self, key: Hashable, data: bytes) -> None:
        if not self._paused or not self._conflate:
            self.send(data)
            return
        # A newer value takes the place of the older one at the end: its neighbours (price, then size) stay together.
        if self._quotes.pop(key, None) is not None:
            self.conflated += 1
        self._quotes[key] = data

    def flush(self) -> None:
        if self._paused or not self._ready:
            return
        ready, self._ready = self._ready, []
        self._write(b"".join(ready) if len(ready) > 1 else ready[0])

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        """The transport has room: answers first, then the newest quotes."""
        self._paused = False
        self._backlog = 0
        if self._quotes:
            self._ready.extend(self._quotes.values())
            self._quotes.clear()
        self.flush()

    def clear(self) -> None:
        self._ready.clear()
        self._quotes.clear()
        self._backlog = 0
