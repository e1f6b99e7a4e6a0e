"""Events in lists, cut by size and time: one wake-up of the consumer for many of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from ..domain.market_data import MarketEvent
from ..errors import InvalidRequest

if TYPE_CHECKING:
    from .market_stream import MarketStream


class Batches(AsyncIterator[list[MarketEvent]]):
    """See `MarketStream.batches`; a list is never empty. Ends with its stream."""

    def __init__(
        self,
        start: Callable[[], Awaitable[MarketStream]],
        end: Callable[[], Awaitable[None]],
        max_events: int | None,
        max_seconds: float | None,
    ) -> None:
        """Raises InvalidRequest for bounds that no batch can have."""
        if (max_events is not None and max_events < 1) or (max_seconds is not None and max_seconds < 0):
            raise InvalidRequest(
                "batches", f"{max_events} events in {max_seconds} seconds cannot be", "give at least 1 event, 0 seconds"
            )
        self._start, self._end = start, end
        self._max_events = max_events
        self._max_seconds = max_seconds
        self._stream: MarketStream | None = None
        self._handed_at = 0.0

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> list[MarketEvent]:
        loop = asyncio.get_running_loop()
        if self._stream is None:
            self._stream, self._handed_at = await self._start(), loop.time()
        stream = self._stream
        most = self._max_events or stream.settings.batch_events
        span = stream.settings.batch_seconds if self._max_seconds is None else self._max_seconds
        while True:
            # what came while the consumer was busy has waited since the last batch at the most
            since = self._handed_at
            if not stream.is_ready:
                if not await stream.gather(1, None):
                    raise StopAsyncIteration
                since = loop.time()
            await stream.gather(most, since + span)
            events = stream.take_all(most)
            self._handed_at = loop.time()
            if events:
                stream.batch.add(self._handed_at - since)
                return events

    async def aclose(self) -> None:
        """End the stream; what waits is still handed over."""
        await self._end()
