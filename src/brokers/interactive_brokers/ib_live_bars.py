"""Live bars: one keepUpToDate subscription, made again after a gap, with the bars in between filled in."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from ..domain.market_data import Bar, BarUpdate
from ..errors import BrokerError, NoPermission, NotConnected, UsageError
from .ib_history import HistoryStore, Series, span_of
from .ib_pacing import Ticket
from .ib_transport import BarRequest, IbTransport
from .ib_vocabulary import LONGEST_REQUEST, duration_words

logger = logging.getLogger(__name__)

#: Seconds between attempts to subscribe again, and the number of attempts before the error reaches the consumer.
RETRY_AFTER = 5.0
RETRIES = 60


class LiveBars(AsyncIterator[BarUpdate]):
    """One consumer of one series. Closed bars are never lost; of the running bar only the latest state waits.

    `series` qualifies the instrument at the first step; `sleep` waits seconds (injected in tests). Errors that no retry
    can mend (permission, usage) end the iterator.
    """

    def __init__(
        self,
        transport: IbTransport,
        history: HistoryStore,
        series: Callable[[], Awaitable[Series]],
        count: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._history = history
        self._make_series = series
        self._count = count
        self._sleep = sleep
        self._queue: deque[BarUpdate] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._handle: int | None = None
        self._ticket: Ticket | None = None
        self._running: Bar | None = None
        self._last_closed: Bar | None = None
        self._error: Exception | None = None
        self._opened: Series | None = None
        self._closed = False
        self._renewal: asyncio.Task[None] | None = None
        #: Times that the subscription was made again.
        self.renewed = 0

    def __aiter__(self) -> LiveBars:
        return self

    async def __anext__(self) -> BarUpdate:
        if self._opened is None and not self._closed:
            self._opened = await self._make_series()
            await self._start()
        while not self._queue:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._queue.popleft()

    @property
    def _series(self) -> Series:
        if self._opened is None:
            raise RuntimeError("live bars have no series before their first step")
        return self._opened

    def _request(self) -> BarRequest:
        longest, step = LONGEST_REQUEST[self._series.size]
        span = span_of(self._count, self._series.size, self._series.regular_hours)
        duration = longest if span > step else duration_words(span, self._series.size)
        return self._series.request(duration, None)

    async def _subscribe(self) -> list[Bar]:
        request = self._request()
        self._ticket = await self._history.turn(request)
        try:
            self._handle, bars = await self._transport.live_bars(request, self)
        except BaseException:
            self._ticket.close()
            raise
        return bars

    async def _start(self) -> None:
        bars = await self._subscribe()
        if len(bars) < self._count:
            older = await self._history.bars(self._series, count=self._count + 1)
            known = {bar.time for bar in bars}
            bars = [bar for bar in older if bar.time not in known and (not bars or bar.time < bars[0].time)] + bars
        # the running bar comes on top of the closed ones that were asked for
        running = 0 if not bars or self._history.dated(self._series, bars[-1]).complete else 1
        self._take_history(bars[-(self._count + running) :])

    def _take_history(self, bars: list[Bar]) -> None:
        for bar in bars:
            dated = self._history.dated(self._series, bar)
            if self._last_closed is not None and dated.time <= self._last_closed.time:
                continue
            if dated.complete:
                self._close(dated)
            else:
                self._run(dated)

    def _close(self, bar: Bar) -> None:
        closed = replace(bar, complete=True)
        self._last_closed = closed
        self._running = None
        self._put(BarUpdate(self._series.instrument, self._series.size, closed, closed=True))

    def _run(self, bar: Bar) -> None:
        running = replace(bar, complete=False)
        self._running = running
        self._put(BarUpdate(self._series.instrument, self._series.size, running, closed=False))

    def _put(self, update: BarUpdate) -> None:
        if self._queue and not self._queue[-1].closed:
            # a running bar that nobody has read yet is replaced by what it became
            self._queue.pop()
        self._queue.append(update)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # BarListener

    def on_bar(self, bar: Bar) -> None:
        if self._last_closed is not None and bar.time <= self._last_closed.time:
            if bar.time == self._last_closed.time and _differs(bar, self._last_closed):
                self._close(bar)  # a revision of the bar that ended last
            return
        if self._running is not None and bar.time > self._running.time:
            self._close(self._running)
        if self._history.is_complete(self._series, bar):
            self._close(bar)
        else:
            self._run(bar)

    def on_bars_ended(self, error: Exception) -> None:
        self._handle = None
        self._give_ticket_back()
        if self._closed:
            return
        if isinstance(error, NoPermission | UsageError):
            self._fail(error)
        elif self._renewal is None or self._renewal.done():
            self._renewal = asyncio.ensure_future(self._renew(error))

    async def _renew(self, cause: Exception) -> None:
        logger.info("live bars of %s ended (%s); subscribing again", self._series.instrument, cause)
        error: Exception = cause
        for _ in range(RETRIES):
            try:
                bars = await self._subscribe()
            except (NoPermission, UsageError) as refused:
                self._fail(refused)
                return
            except BrokerError as again:
                error = again
                await self._sleep(RETRY_AFTER)
                continue
            self.renewed += 1
            # what was running when the link ended is told again by the history, closed or not
            self._running = None
            self._take_history(bars)
            return
        self._fail(NotConnected(f"live bars of {self._series.instrument}", str(error), "subscribe again"))

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._wake()

    async def aclose(self) -> None:
        """End the subscription; what waits is still delivered."""
        self._closed = True
        if self._renewal is not None and not self._renewal.done():
            self._renewal.cancel()
        if self._handle is not None:
            self._transport.unsubscribe(self._handle)
            self._handle = None
        self._give_ticket_back()
        self._wake()

    def _give_ticket_back(self) -> None:
        if self._ticket is not None:
            self._ticket.close()
            self._ticket = None


def _differs(one: Bar, other: Bar) -> bool:
    return (one.open, one.high, one.low, one.close, one.volume) != (
        other.open,
        other.high,
        other.low,
        other.close,
        other.volume,
    )
