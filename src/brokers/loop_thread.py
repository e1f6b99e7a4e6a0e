"""One background thread that runs one event loop, for every synchronous caller of a process."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from .errors import DeadlineExceeded, NotConnected, UsageError
from .event_loop import new_event_loop

T = TypeVar("T")

#: Real seconds that a call may take when nothing else is said.
DEFAULT_TIMEOUT = 30.0
#: Real seconds that the loop, or a thread, gets to finish what it was told to end.
CLOSING = 5.0


class LoopThread:
    """A thread with an event loop. Usable from any thread, also from inside another running loop (which then waits)."""

    def __init__(self, name: str = "moondev-ibkr") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        #: Tasks of `start_soon`, which nobody else holds.
        self._kept: set[asyncio.Task[Any]] = set()

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _running_loop(self, what: str) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise UsageError(what, "the background loop was closed", "make a new façade")
            if self._loop is None:
                ready = threading.Event()
                self._loop = new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop, ready), name=self._name, daemon=True
                )
                self._thread.start()
                ready.wait()
            return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        # the loop would end its own executor by one more thread, and while the interpreter ends none can be started
        executor = ThreadPoolExecutor()
        loop.set_default_executor(executor)
        loop.call_soon(ready.set)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            executor.shutdown()
            loop.close()

    def start(self, work: Coroutine[Any, Any, T], what: str = "call") -> Future[T]:
        """Run `work` on the loop. Raises UsageError on the loop's own thread, which would wait for itself."""
        try:
            loop = self._running_loop(what)
            if threading.current_thread() is self._thread:
                raise UsageError(
                    what, "this is the background loop's own thread", "await the asynchronous method instead"
                )
            return asyncio.run_coroutine_threadsafe(work, loop)
        except BaseException:
            work.close()
            raise

    def start_soon(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run `work()` on the loop when it comes to it; a loop that does not run drops it. It takes no lock and may be
        called on the loop's own thread: a finalizer runs on any thread, at any moment."""
        loop = self._loop
        if loop is not None and not self._closed:
            with suppress(RuntimeError):  # the loop was closed just now
                loop.call_soon_threadsafe(self._keep, work)

    def _keep(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        task = asyncio.ensure_future(work())
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def call(self, work: Coroutine[Any, Any, T], timeout: float = DEFAULT_TIMEOUT, what: str = "call") -> T:
        """Wait for `work`. Raises DeadlineExceeded after `timeout` real seconds, and cancels it then."""
        future = self.start(work, what)
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.done() and not future.cancelled():
                return future.result()
            future.cancel()
            raise DeadlineExceeded(what, timedelta(seconds=timeout), "wait longer, or look at the connection") from None
        except FutureCancelled:
            raise NotConnected(what, "the background loop was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what runs, stop the loop, join the thread. Calling it twice does nothing."""
        if self._thread is threading.current_thread():
            raise UsageError("close", "this is the background loop's own thread", "close it from another thread")
        with self._lock:
            self._closed = True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(CLOSING)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSING)

    def __enter__(self) -> LoopThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSING)


_shared: LoopThread | None = None
_shared_lock = threading.Lock()


def shared_loop() -> LoopThread:
    """The process's one background loop, made when first asked for and closed when the process ends."""
    global _shared
    with _shared_lock:
        if _shared is None or _shared.is_closed:
            _shared = LoopThread()
            atexit.register(_shared.close)
        return _shared
