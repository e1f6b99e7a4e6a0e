"""A consumer that is called: one task takes from the stream, and what the handler raises stays its own."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, Self

from ..domain.market_data import MarketEvent
from ..domain.streams import StreamCounts

log = logging.getLogger(__name__)
EventHandler = Callable[[MarketEvent], Awaitable[None] | None]


class BatchedStream(Protocol):
    """What is taken from: a broker's MarketSubscription."""

    @property
    def counts(self) -> StreamCounts: ...

    def batches(
        self, max_events: int | None = None, max_seconds: float | None = None
    ) -> AsyncIterator[list[MarketEvent]]: ...

    def note_failure(self) -> None: ...

    async def aclose(self) -> None: ...


class Callbacks:
    """A running subscription of a handler; end it with `aclose`, or use it as ``async with``.

    `failures` counts what the handler raised, `last_failure` is the latest of it. `error` is why the stream itself
    ended, None while it runs and after `aclose`; `wait` waits for that end and raises it.
    """

    def __init__(self, stream: BatchedStream, handler: EventHandler, about: str) -> None:
        self.failures = 0
        self.last_failure: Exception | None = None
        self.error: Exception | None = None
        self._stream = stream
        self._handler = handler
        self._about = about
        self._ended = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name=about)

    async def _run(self) -> None:
        try:
            async for batch in self._stream.batches():
                for event in batch:
                    await self._call(event)
                    if self._ended:
                        return
        except Exception as error:  # noqa: BLE001  the task's boundary: told by `error` and by `wait`
            log.error("%s ended: %s", self._about, error)
            self.error = error

    async def _call(self, event: MarketEvent) -> None:
        try:
            answer = self._handler(event)
            if inspect.isawaitable(answer):
                await answer
        except Exception as failure:  # the handler's own failure ends nothing
            if not self.failures:
                log.exception("a handler of %s failed on %s", self._about, type(event).__name__)
            self.failures += 1
            self.last_failure = failure
            self._stream.note_failure()

    @property
    def counts(self) -> StreamCounts:
        """See StreamCounts; what the handler was called with counts as delivered."""
        return self._stream.counts

    async def wait(self) -> None:
        """Until the stream ends; raises what ended it."""
        await asyncio.wait({self._task})
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        """Give the stream back; the handler is called no more. The handler itself may call it."""
        self._ended = True
        if asyncio.current_task() is not self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
