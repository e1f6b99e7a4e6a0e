"""The one broker behind every façade of a process: connected when first needed, on the shared background loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager

from ...brokers.base_broker import BaseBroker
from ...brokers.errors import NotConnected
from ...brokers.sync import DEFAULT_TIMEOUT, LoopThread, SyncBroker, shared_loop

log = logging.getLogger(__name__)

#: Real seconds for a session to come up, a paper gateway's start included.
CONNECT_TIMEOUT = 60.0

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
        """The connected broker. Raises what connecting raised (the next call tries again), NotConnected once closed."""
        with self._lock:
            if self._closed:
                raise NotConnected("the host's broker", "it was closed", "attach again")
            if self._session is None:
                session = _Session(self._loop or shared_loop())
                session.open(self._make, self._timeout)
                self._session = session
            assert self._session.broker is not None
            return self._session.broker

    @property
    def is_connected(self) -> bool:
        """Whether anybody has asked for the broker yet."""
        return self._session is not None

    def close(self) -> None:
        """Leave the broker; orders stay where they are. Calling it twice does nothing."""
        with self._lock:
            self._closed = True
            session, self._session = self._session, None
        if session is not None:
            session.close()


class _Session:
    """One entered broker. A single task enters and leaves it, as contexts want."""

    def __init__(self, loop: LoopThread) -> None:
        self.broker: SyncBroker | None = None
        self._loop = loop
        self._kept: Future[None] | None = None
        self._end: asyncio.Event | None = None

    def open(self, make: BrokerMaker, timeout: float) -> None:
        ready: Future[BaseBroker] = Future()
        self._kept = self._loop.start(self._keep(make, ready), "session of the host's broker")
        try:
            self.broker = SyncBroker(ready.result(CONNECT_TIMEOUT), self._loop, timeout)
        except TimeoutError:
            self._kept.cancel()
            raise NotConnected(
                "the host's broker", f"no session within {CONNECT_TIMEOUT:g} s", "run moondev-ibkr doctor"
            ) from None
        except BaseException:
            self._kept.cancel()
            raise

    async def _keep(self, make: BrokerMaker, ready: Future[BaseBroker]) -> None:
        self._end = asyncio.Event()
        try:
            async with make() as broker:
                ready.set_result(broker)
                await self._end.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    def close(self) -> None:
        kept, end = self._kept, self._end
        if kept is None or end is None or self._loop.is_closed:
            return

        async def finish() -> None:
            end.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wrap_future(kept)

        self._loop.call(finish(), CONNECT_TIMEOUT, "closing the host's broker")
