"""Subscriptions for synchronous callers: plain iterators and callbacks over what happens on the background loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .base_broker import MarketSubscription, Subscription
from .domain.market_data import MarketEvent
from .domain.streams import StreamCounts
from .errors import BrokerError, DeadlineExceeded
from .loop_thread import CLOSING, LoopThread

if TYPE_CHECKING:
    from .streams.columns import TradeColumns

log = logging.getLogger(__name__)
T = TypeVar("T")


class SyncSubscription(Iterator[T], Generic[T]):
    """A subscription as a plain iterator. It waits for the next item for as long as the subscription lives; `get`
    waits with a deadline. No item is lost when a deadline passes."""

    def __init__(self, loop: LoopThread, source: Subscription[T], timeout: float) -> None:
        self._loop = loop
        self._source = source
        self._timeout = timeout
        self._next: Future[T] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._take(None)

    def get(self, timeout: float) -> T | None:
        """The next item, None when none came within `timeout` real seconds. Raises StopIteration at the end."""
        try:
            return self._take(timeout)
        except DeadlineExceeded:
            return None

    def _take(self, timeout: float | None) -> T:
        if self._next is None:
            self._next = self._loop.start(_following(self._source), "next item")
        try:
            item = self._next.result(timeout)
        except FutureTimeout:
            raise DeadlineExceeded("next item", timedelta(seconds=timeout or 0.0)) from None
        except (StopAsyncIteration, _Ended, FutureCancelled):
            self._next = None
            raise StopIteration from None
        except BrokerError:
            self._next = None
            raise
        self._next = None
        return item

    def close(self) -> None:
        """Give the subscription back."""
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.cancel()
        self._loop.call(_closed(self._source), self._timeout, "closing a subscription")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ended(Exception):
    """A StopAsyncIteration that can travel through a future."""


async def _following(source: Subscription[T]) -> T:
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        raise _Ended from None


async def _closed(source: Subscription[Any]) -> None:
    await source.aclose()


class SyncStream(SyncSubscription[MarketEvent]):
    """A stream of market data: event by event, or in batches, which take one step to the loop and back for many."""

    def __init__(self, loop: LoopThread, source: MarketSubscription, timeout: float) -> None:
        super().__init__(loop, source, timeout)
        self._stream = source

    @property
    def counts(self) -> StreamCounts:
        """See StreamCounts."""

        async def on_loop() -> StreamCounts:
            return self._stream.counts

        return self._loop.call(on_loop(), self._timeout, "counts of a stream")

    def batches(
        self, max_events: int | None = None, max_seconds: float | None = None
    ) -> SyncSubscription[list[MarketEvent]]:
        """See `MarketSubscription.batches`; closing it ends the stream."""
        return SyncSubscription(self._loop, self._stream.batches(max_events, max_seconds), self._timeout)

    def take_columns(self) -> TradeColumns:
        """See `MarketSubscription.take_columns`."""

        async def on_loop() -> TradeColumns:
            await self._stream.open()
            return self._stream.take_columns()

        return self._loop.call(on_loop(), self._timeout, "columns of a stream")

    def note_failure(self) -> None:
        """The consumer's own code raised."""

        async def on_loop() -> None:
            self._stream.note_failure()

        self._loop.call(on_loop(), self._timeout, "note of a failure")


class SyncCallbacks:
    """A handler that runs on a thread of its own, so that it may block without holding up anybody. `failures` counts
    what it raised, `last_failure` is the latest of it; `error` is why the stream ended, None while it runs."""

    def __init__(self, stream: SyncStream, handler: Callable[[MarketEvent], object], about: str) -> None:
        self.failures = 0
        self.last_failure: Exception | None = None
        self.error: BrokerError | None = None
        self._stream = stream
        self._batches = stream.batches()
        self._handler = handler
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=about, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for batch in self._batches:
                for event in batch:
                    if self._ended.is_set():
                        return
                    self._call(event)
        except BrokerError as error:
            if not self._ended.is_set():
                log.error("%s ended: %s", self._thread.name, error)
                self.error = error

    def _call(self, event: MarketEvent) -> None:
        try:
            self._handler(event)
        except Exception as failure:  # the handler's own failure ends nothing
            if not self.failures:
                log.exception("a handler of %s failed on %s", self._thread.name, type(event).__name__)
            self.failures += 1
            self.last_failure = failure
            self._stream.note_failure()

    @property
    def counts(self) -> StreamCounts:
        """See StreamCounts; what the handler was called with counts as delivered."""
        return self._stream.counts

    def close(self) -> None:
        """Give the stream back; the handler is called no more once this returns. The handler itself may call it."""
        self._ended.set()
        self._stream.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
