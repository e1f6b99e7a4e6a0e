"""One agent's own queue of events: bounded. A slow agent loses its oldest ones, is told, and holds up nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from ....brokers.domain.market_data import Gap, Resumed
from ....brokers.errors import InvalidRequest
from .events import EventsLost, StreamEvent, StreamEventKind

AgentEvent = StreamEvent | Gap | Resumed | EventsLost

#: Events that an agent may fall behind.
QUEUE_LIMIT = 1_000


class AgentFeed(AsyncIterator[AgentEvent]):
    """Iterate over it. `kinds` and `symbols` are what this agent wants, None for all; Gap and Resumed of its symbols
    come too and are never dropped. `dropped` counts events that fell off."""

    def __init__(
        self,
        name: str,
        kinds: Iterable[StreamEventKind] | None = None,
        symbols: Iterable[str] | None = None,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        if limit < 1:
            raise InvalidRequest(f"queue of agent {name}", f"a limit of {limit} holds nothing", "use 1 or more")
        self.name, self.limit = name, limit
        self.kinds = None if kinds is None else frozenset(StreamEventKind(kind) for kind in kinds)
        self.symbols = None if symbols is None else frozenset(symbols)
        self.delivered = self.dropped = 0
        self._queue: deque[StreamEvent | Gap | Resumed] = deque()
        self._events = self._lost = 0
        self._lost_since: datetime | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    def offer(self, event: StreamEvent) -> None:
        """Queue an event that this agent wants."""
        if (self.kinds is not None and event.kind not in self.kinds) or (
            self.symbols is not None and event.symbol not in self.symbols
        ):
            return
        if self._events == self.limit:
            self._drop_oldest()
        self._queue.append(event)
        self._events += 1
        self._wake()

    def mark(self, marker: Gap | Resumed) -> None:
        """Queue a marker; one that names no symbol touches all."""
        if not marker.symbols or self.symbols is None or self.symbols & set(marker.symbols):
            self._queue.append(marker)
            self._wake()

    def end(self, error: Exception | None = None) -> None:
        """What waits is still delivered, then iteration ends, or raises `error`."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    def _drop_oldest(self) -> None:
        for index, waiting in enumerate(self._queue):
            if isinstance(waiting, StreamEvent):
                del self._queue[index]
                self._events -= 1
                self._lost += 1
                self.dropped += 1
                self._lost_since = self._lost_since or waiting.time
                return

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> AgentFeed:
        return self

    async def __anext__(self) -> AgentEvent:
        while not self._queue:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._lost_since is not None:
            lost = EventsLost(self.name, self._lost, self._lost_since)
            self._lost, self._lost_since = 0, None
            return lost
        event = self._queue.popleft()
        if isinstance(event, StreamEvent):
            self._events -= 1
        self.delivered += 1
        return event
