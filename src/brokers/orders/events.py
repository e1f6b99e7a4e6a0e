"""Order events to every consumer, in order, never conflated and never dropped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from ..domain.reports import OrderEvent


class EventStream(AsyncIterator[OrderEvent]):
    """One consumer's events, from the moment it was made. Ends when the hub closes or `aclose` is called.

    The queue is unbounded, because order events may not be dropped; `backlog` and `most_behind` count it instead.
    """

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._queue: deque[OrderEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.most_behind = 0

    @property
    def backlog(self) -> int:
        """Events that this consumer has not taken yet."""
        return len(self._queue)

    def _put(self, event: OrderEvent) -> None:
        queue = self._queue
        queue.append(event)
        if len(queue) > self.most_behind:
            self.most_behind = len(queue)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _end(self) -> None:
        self._closed = True
        self._wake()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> OrderEvent:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError("one event stream, two readers: ask the manager for a stream each")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._queue.popleft()

    async def aclose(self) -> None:
        """Stop receiving; what is queued can still be read."""
        self._hub.remove(self)
        self._end()


class EventHub:
    """Hands every event to every stream. Used on the event loop's thread only."""

    def __init__(self) -> None:
        self._streams: list[EventStream] = []

    @property
    def is_heard(self) -> bool:
        return bool(self._streams)

    def stream(self) -> EventStream:
        stream = EventStream(self)
        self._streams.append(stream)
        return stream

    def emit(self, event: OrderEvent) -> None:
        for stream in self._streams:
            stream._put(event)

    def remove(self, stream: EventStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)

    def close(self) -> None:
        """End every stream once it has been read to its end."""
        streams, self._streams = self._streams, []
        for stream in streams:
            stream._end()
