"""Bounded fan-out of market data: each consumer has its own queue; a slow one loses old quotes, nothing else does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from ..domain.instrument import Instrument
from ..domain.market_data import BidAsk, Depth, Gap, MarketEvent, Resumed, StreamKind, Trade
from ..domain.news import Headline
from .ib_transport import QuoteLine

#: Trades, tick-by-tick, depth events and headlines that one consumer may fall behind.
QUEUE_LIMIT = 10_000
#: What may be dropped, and the markers that may not; anything else in a queue is a line.
_PLAIN = (Trade, BidAsk, Depth, Headline)
_MARKERS = (Gap, Resumed)
_EVENTS = frozenset((*_PLAIN, *_MARKERS))


@dataclass(slots=True)
class StreamCounts:
    """`conflated` quotes were replaced by a later one of the same symbol, `dropped` events fell off a full queue."""

    delivered: int = 0
    conflated: int = 0
    dropped: int = 0


class MarketStream(AsyncIterator[MarketEvent]):
    """One consumer's queue. Quotes wait as their line and are read when the consumer takes them: at most one per
    symbol waits, and it is the latest; `conflation` seconds lie at least between two of one symbol. Everything else
    waits in order, the oldest dropped (and counted) when `limit` is exceeded. Gap and Resumed are never dropped."""

    def __init__(
        self,
        names: dict[int, str],
        kinds: frozenset[StreamKind],
        on_close: Callable[[MarketStream], None],
        limit: int = QUEUE_LIMIT,
        conflation: float = 0.0,
    ) -> None:
        #: Contract number -> symbol, of what this consumer asked for.
        self.names = names
        self.kinds = kinds
        self.counts = StreamCounts()
        self._limit = limit
        self._conflation = conflation
        self._taken_at: dict[int, float] = {}
        self._on_close = on_close
        self._queue: deque[QuoteLine | MarketEvent] = deque()
        self._waiting_lines: set[int] = set()
        self._plain = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def offer_line(self, number: int, line: QuoteLine) -> None:
        if number in self._waiting_lines:
            self.counts.conflated += 1
            return
        self._waiting_lines.add(number)
        if self._conflation:
            loop = asyncio.get_running_loop()
            due = self._taken_at.get(number, 0.0) + self._conflation
            if due > loop.time():
                loop.call_at(due, self._queue_line, line)
                return
        self._queue.append(line)
        if self._waiter is not None:
            self._wake()

    def _queue_line(self, line: QuoteLine) -> None:
        self._queue.append(line)
        self._wake()

    def offer(self, event: MarketEvent) -> None:
        if not isinstance(event, _MARKERS):
            if self._plain >= self._limit:
                self._drop_oldest()
            self._plain += 1
        self._queue.append(event)
        self._wake()

    def _drop_oldest(self) -> None:
        for index, waiting in enumerate(self._queue):
            if isinstance(waiting, _PLAIN):
                del self._queue[index]
                self._plain -= 1
                self.counts.dropped += 1
                return

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            # the rest of a packet finds nobody left to wake
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def __aiter__(self) -> MarketStream:
        return self

    async def __anext__(self) -> MarketEvent:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = waiter = asyncio.get_running_loop().create_future()
            await waiter
        return self._take()

    def _take(self) -> MarketEvent:
        item = self._queue.popleft()
        self.counts.delivered += 1
        # a lookup by type: every quote passes here, and isinstance of five classes costs as much as all of it
        if type(item) in _EVENTS:
            if isinstance(item, _PLAIN):
                self._plain -= 1
            return cast(MarketEvent, item)
        line = cast(QuoteLine, item)
        number = line.instrument.con_id or 0
        self._waiting_lines.discard(number)
        if self._conflation:
            self._taken_at[number] = asyncio.get_running_loop().time()
        return line.quote()

    def take_all(self) -> list[MarketEvent]:
        """Everything that waits, without waiting: one wake-up for a whole batch."""
        return [self._take() for _ in range(len(self._queue))]

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def aclose(self) -> None:
        """End the stream and give its lines back; whatever waits is still delivered."""
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._wake()


class StreamHub:
    """A MarketListener that gives every event to the streams that asked for its contract and kind."""

    def __init__(self, limit: int = QUEUE_LIMIT, conflation: float = 0.0) -> None:
        self._limit = limit
        self._conflation = conflation
        self._quotes: dict[int, list[MarketStream]] = {}
        self._events: dict[tuple[int, StreamKind], list[MarketStream]] = {}
        self._streams: list[MarketStream] = []

    @property
    def streams(self) -> Sequence[MarketStream]:
        return tuple(self._streams)

    def open(
        self,
        instruments: Iterable[Instrument],
        kinds: Iterable[StreamKind],
        on_close: Callable[[MarketStream], None],
    ) -> MarketStream:
        """A stream over qualified instruments; `on_close` runs once, when it ends."""
        names = {instrument.con_id: instrument.symbol for instrument in instruments if instrument.con_id is not None}

        def ended(stream: MarketStream) -> None:
            self._remove(stream)
            on_close(stream)

        stream = MarketStream(names, frozenset(kinds), ended, self._limit, self._conflation)
        self._streams.append(stream)
        for number in names:
            for kind in stream.kinds:
                if kind is StreamKind.QUOTES:
                    self._quotes.setdefault(number, []).append(stream)
                else:
                    self._events.setdefault((number, kind), []).append(stream)
        return stream

    def _remove(self, stream: MarketStream) -> None:
        self._streams.remove(stream)
        for number in stream.names:
            if StreamKind.QUOTES in stream.kinds:
                self._quotes[number].remove(stream)
                if not self._quotes[number]:
                    del self._quotes[number]
            for kind in stream.kinds - {StreamKind.QUOTES}:
                self._events[number, kind].remove(stream)
                if not self._events[number, kind]:
                    del self._events[number, kind]

    def close(self) -> None:
        for stream in tuple(self._streams):
            stream.close()

    # MarketListener

    def on_lines(self, lines: Sequence[QuoteLine]) -> None:
        quotes = self._quotes
        for line in lines:
            number = line.instrument.con_id or 0
            for stream in quotes.get(number, ()):
                stream.offer_line(number, line)

    def on_trade(self, trade: Trade) -> None:
        self._give(trade.instrument, StreamKind.TRADES, trade)
        self._give(trade.instrument, StreamKind.TICK_BY_TICK, trade)

    def on_bid_ask(self, tick: BidAsk) -> None:
        self._give(tick.instrument, StreamKind.TICK_BY_TICK, tick)

    def on_depth(self, depth: Depth) -> None:
        self._give(depth.instrument, StreamKind.DEPTH, depth)

    def on_news(self, headline: Headline) -> None:
        self._give(headline.instrument, StreamKind.NEWS, headline)

    def _give(self, instrument: Instrument, kind: StreamKind, event: MarketEvent) -> None:
        for stream in self._events.get((instrument.con_id or 0, kind), ()):
            stream.offer(event)

    def mark(self, event: Gap | Resumed) -> None:
        """Put a marker in its place in every stream that it touches; one that names no symbol touches all."""
        touched = set(event.symbols)
        for stream in self._streams:
            if not touched or touched & set(stream.names.values()):
                stream.offer(event)
