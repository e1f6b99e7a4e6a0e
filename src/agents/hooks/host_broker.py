"""The one broker behind every façade of a process: connected when first needed, on the shared background loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager

from ...brokers.base_broker import BaseBroker
from ...brokers.errors import NotConnected
from ...brokers.sync import DEFAULT_TIMEOUT, LoopThread, SyncBroker, shared_loop

log = logging.getLogger(__name__)

#: Real seconds for a session to come up, a paper gateway's start included.
CONNECT_TIMEOUT = 60.0
_DOCTOR = "run moondev-ibkr doctor"

BrokerMaker = Callable[[], AbstractAsyncContextManager[BaseBroker]]


class HostBroker:
    """`make` gives the broker as an asynchronous context; it is entered once, by whoever asks first, and left by
    `close`. Safe from any thread, also from inside a running loop. `timeout`: real seconds of every call."""

    def __init__(self, make: BrokerMaker, *, loop: LoopThread | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._make = make
        self._loop = loop
        self._timeout = timeout
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._closed = False

    def sync(self) -> SyncBroker:
        """The connected broker. Raises what connecting raised (the next call tries again), NotConnected once closed.

        Whoever asks while it connects waits for that one attempt, and is told how it ended.
        """
        with self._lock:
            if self._closed:
                raise NotConnected("the host's broker", "it was closed", "attach again")
            session, first = self._session, self._session is None
            if session is None:
                session = self._session = _Session(self._loop or shared_loop())
        if first:
            session.open(self._make, self._timeout)
        try:
            return session.opened.result(CONNECT_TIMEOUT)
        except BaseException:
            if session.opened.done():
                with self._lock:
                    self._session = None if self._session is session else self._session
            raise

    @property
    def is_connected(self) -> bool:
        """Whether there is a session that somebody asked for."""
        session = self._session
        return session is not None and session.opened.done() and session.opened.exception() is None

    def close(self) -> None:
        """Leave the broker; orders stay where they are. Calling it twice does nothing."""
        with self._lock:
            self._closed = True
            session, self._session = self._session, None
        if session is not None:
            session.close()


class _Session:
    """One entered broker. A single task enters and leaves it, as contexts want. `opened` ends as the attempt ended."""

    def __init__(self, loop: LoopThread) -> None:
        self.opened: Future[SyncBroker] = Future()
        self._loop = loop
        self._ready: Future[BaseBroker] = Future()
        self._kept: Future[None] | None = None
        self._end: asyncio.Event | None = None

    def open(self, make: BrokerMaker, timeout: float) -> None:
        """Connect, and tell `opened`."""
        try:
            self._kept = self._loop.start(self._keep(make), "session of the host's broker")
            broker = SyncBroker(self._ready.result(CONNECT_TIMEOUT), self._loop, timeout)
        except TimeoutError:
            self._failed(NotConnected("the host's broker", f"no session within {CONNECT_TIMEOUT:g} s", _DOCTOR))
        except BaseException as error:
            broken_off = NotConnected("the host's broker", "connecting was broken off", "attach again")
            self._failed(error if isinstance(error, Exception) else broken_off)
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
        else:
            self.opened.set_result(broker)

    def _failed(self, error: Exception) -> None:
        if self._kept is not None:
            self._kept.cancel()
        self.opened.set_exception(error)

    async def _keep(self, make: BrokerMaker) -> None:
        self._end = asyncio.Event()
        try:
            async with make() as broker:
                self._ready.set_result(broker)
                await self._end.wait()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    def close(self) -> None:
        """Raises DeadlineExceeded when the broker does not let itself be left."""
        with contextlib.suppress(InvalidStateError):
            self._ready.set_exception(NotConnected("the host's broker", "it was closed meanwhile", "attach again"))
        kept, end = self._kept, self._end
        if kept is None or self._loop.is_closed:
            return

        async def finish() -> None:
            if end is not None:
                end.set()
            with contextlib.suppress(asyncio.CancelledError, InvalidStateError):
                await asyncio.wrap_future(kept)

        self._loop.call(finish(), CONNECT_TIMEOUT, "closing the host's broker")
