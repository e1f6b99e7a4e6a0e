"""Bars of trades by their event time: nothing is invented for an interval that had none."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import Bar, Gap, Lost, MarketEvent, Resumed, Trade
from ..domain.streams import StreamCounts
from ..domain.tick_bars import BarRule, TickBar

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Real seconds between two looks at the market's clock while a bar of time waits for its end.
_LOOK_EVERY = 0.25


@dataclass(slots=True)
class _Running:
    """The bar of one instrument that is being made."""

    instrument: Instrument
    start: datetime
    end: datetime | None
    open: float
    high: float
    low: float
    close: float
    volume: float
    money: float
    count: int
    is_whole: bool

    def add(self, trade: Trade) -> None:
        self.high, self.low = max(self.high, trade.price), min(self.low, trade.price)
        self.close = trade.price
        self.volume += trade.size
        self.money += trade.price * trade.size
        self.count += 1

    def bar(self, *, complete: bool) -> TickBar:
        average = self.money / self.volume if self.volume else None
        bar = Bar(
            self.start,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            average,
            self.count,
            complete and self.is_whole,
        )
        return TickBar(self.instrument, bar)


class BarBuilder:
    """Makes bars of trades in the order given. `since` is the market time from which on every trade is seen; None
    trusts the first interval too.

    `late` counts trades of an interval that had ended, `unreported` those that the tape does not count: neither is in
    any bar.
    """

    def __init__(self, rule: BarRule, since: datetime | None = None) -> None:
        self.rule = rule
        self.late = self.unreported = 0
        self._since = since
        self._running: dict[int, _Running] = {}
        #: Contract number -> the end of its last interval.
        self._ended: dict[int, datetime] = {}

    @property
    def is_timed(self) -> bool:
        """Whether a bar runs that time will end."""
        return self.rule.seconds is not None and bool(self._running)

    def add(self, trade: Trade) -> list[TickBar]:
        """The bars that end with this trade."""
        if trade.unreported:
            self.unreported += 1
            return []
        number = trade.instrument.con_id or 0
        if self.rule.seconds is not None and trade.time < self._ended.get(number, trade.time):
            self.late += 1
            return []
        ended = []
        running = self._running.get(number)
        if running is not None and running.end is not None:
            if trade.time >= running.end:
                ended.append(self._end(number, complete=True))
                running = None
            elif trade.time < running.start:
                self.late += 1
                return []
        if running is None:
            running = self._running[number] = self._begin(trade)
        running.add(trade)
        if self._is_full(running):
            ended.append(self._end(number, complete=True))
        return ended

    def _begin(self, trade: Trade) -> _Running:
        start, end = self._interval(trade.time)
        whole = self._since is None or start >= self._since
        price = trade.price
        return _Running(trade.instrument, start, end, price, price, price, price, 0.0, 0.0, 0, whole)

    def _interval(self, moment: datetime) -> tuple[datetime, datetime | None]:
        if self.rule.seconds is None:
            return moment, None
        number = math.floor((moment - _EPOCH).total_seconds() / self.rule.seconds)
        start = _EPOCH + timedelta(seconds=number * self.rule.seconds)
        return start, start + timedelta(seconds=self.rule.seconds)

    def _is_full(self, running: _Running) -> bool:
        if self.rule.ticks is not None:
            return running.count >= self.rule.ticks
        return self.rule.volume is not None and running.volume >= self.rule.volume

    def _end(self, number: int, *, complete: bool) -> TickBar:
        running = self._running.pop(number)
        if running.end is not None:
            self._ended[number] = running.end
        return running.bar(complete=complete)

    def close_until(self, now: datetime) -> list[TickBar]:
        """The bars whose interval is over at market time `now`."""
        over = [number for number, row in self._running.items() if row.end is not None and row.end <= now]
        return [self._end(number, complete=True) for number in over]

    def cut(self, symbols: Iterable[str], since: datetime | None = None) -> list[TickBar]:
        """Trades of `symbols` (none: of all) may be missing: their bars end here, incomplete, and what begins before
        `since` will be incomplete too."""
        named = set(symbols)
        hit = [number for number, row in self._running.items() if not named or row.instrument.symbol in named]
        bars = [self._running.pop(number).bar(complete=False) for number in hit]
        if since is not None:
            self._since = since if self._since is None else max(self._since, since)
        return bars

    def running(self) -> list[TickBar]:
        """The bars that still run, as they stand."""
        return [row.bar(complete=False) for row in self._running.values()]


class BatchedTrades(Protocol):
    """The stream that bars are made of: a broker's MarketSubscription of trades."""

    @property
    def counts(self) -> StreamCounts: ...

    async def open(self) -> None: ...

    def batches(
        self, max_events: int | None = None, max_seconds: float | None = None
    ) -> AsyncIterator[list[MarketEvent]]: ...

    async def aclose(self) -> None: ...


class TickBars(AsyncIterator[TickBar]):
    """Bars as they end, of every symbol of a stream; what still runs at its end comes last, incomplete. A bar of time
    ends by the market's clock when no trade ends it."""

    def __init__(self, stream: BatchedTrades, rule: BarRule, clock: Clock) -> None:
        self.builder = BarBuilder(rule)
        self._stream = stream
        self._batches = stream.batches()
        self._clock = clock
        self._next: asyncio.Task[list[MarketEvent] | None] | None = None
        self._bars: deque[TickBar] = deque()
        self._is_open = self._ended = False

    def __aiter__(self) -> TickBars:
        return self

    async def __anext__(self) -> TickBar:
        while not self._bars:
            if self._ended:
                raise StopAsyncIteration
            await self._more()
        return self._bars.popleft()

    async def _more(self) -> None:
        if self._next is None:
            self._next = asyncio.create_task(self._following(), name="trades of bars")
        await asyncio.wait({self._next}, timeout=_LOOK_EVERY if self.builder.is_timed else None)
        if not self._next.done():
            # a trade that waits for its batch may still belong to a bar whose time is over
            if not self._stream.counts.waiting:
                self._bars += self.builder.close_until(self._clock.now())
            return
        task, self._next = self._next, None
        if task.cancelled():
            self._end()
            return
        batch = task.result()
        if batch is None:
            self._end()
            return
        for event in batch:
            self._take(event)

    async def _following(self) -> list[MarketEvent] | None:
        """The next batch, None at the end."""
        try:
            if not self._is_open:
                await self._stream.open()
                self._is_open = True
                # whatever began before this moment is seen in part only
                self.builder.cut((), self._clock.now())
            return await anext(self._batches)
        except StopAsyncIteration:
            return None

    def _take(self, event: MarketEvent) -> None:
        if isinstance(event, Trade):
            self._bars += self.builder.add(event)
        elif isinstance(event, Resumed):
            self._bars += self.builder.cut(event.symbols, event.at)
        elif isinstance(event, Gap | Lost):
            self._bars += self.builder.cut(event.symbols, self._clock.now())

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._bars += self.builder.running()

    async def aclose(self) -> None:
        """End the stream; the bars that still run are handed over, incomplete."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._stream.aclose()
        self._end()
