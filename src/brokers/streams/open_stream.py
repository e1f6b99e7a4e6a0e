"""A stream that subscribes at its first step, so that it can be made without waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..domain.market_data import MarketEvent
from ..domain.streams import StreamCounts
from ..errors import UsageError
from .batches import Batches
from .market_stream import MarketStream

if TYPE_CHECKING:
    from .columns import TradeColumns


class OpenStream:
    """What `open_stream` answers, from the first step of the iterator on; end it with `aclose`."""

    def __init__(self, open_stream: Callable[[], Awaitable[MarketStream]]) -> None:
        self._open = open_stream
        self._stream: MarketStream | None = None
        self._is_opening = False
        self._closed = False

    def __aiter__(self) -> OpenStream:
        return self

    def __anext__(self) -> Coroutine[Any, Any, MarketEvent]:
        stream = self._stream
        return self._first() if stream is None else stream.__anext__()

    async def _first(self) -> MarketEvent:
        return await anext(await self.opened())

    async def open(self) -> None:
        """Subscribe now, and not only at the first step. Raises what the first step would."""
        await self.opened()

    async def opened(self) -> MarketStream:
        """The stream, subscribed by now. Raises StopAsyncIteration after `aclose`."""
        if self._stream is None:
            if self._closed:
                raise StopAsyncIteration
            if self._is_opening:
                raise UsageError("next event", "another task waits for it already", "open a stream for each consumer")
            self._is_opening = True
            try:
                stream = self._stream = await self._open()
            finally:
                self._is_opening = False
            if self._closed:
                stream.close()
        return self._stream

    def batches(self, max_events: int | None = None, max_seconds: float | None = None) -> Batches:
        """See `MarketStream.batches`."""
        return Batches(self.opened, self.aclose, max_events, max_seconds)

    def take_columns(self) -> TradeColumns:
        """See `ColumnStream.take_columns`. Raises UsageError before `open`."""
        if self._stream is None:
            raise UsageError("columns", "the stream is not open yet", "await its `open()` first")
        return self._stream.take_columns()

    @property
    def counts(self) -> StreamCounts:
        """What became of everything that was received; all 0 before the first step."""
        return StreamCounts() if self._stream is None else self._stream.counts

    def note_failure(self) -> None:
        """The consumer's own code raised."""
        if self._stream is not None:
            self._stream.note_failure()

    async def aclose(self) -> None:
        self._closed = True
        if self._stream is not None:
            await self._stream.aclose()
