"""One consumer's queue of market data: bounded, in order, and everything that it received accounted for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..domain.market_data import BidAsk, Depth, Gap, Lost, MarketEvent, Quote, Resumed, StreamKind, Trade
from ..domain.news import Headline
from ..domain.streams import StreamCounts, StreamOptions, StreamStatistics
from ..errors import UsageError
from ..histogram import Histogram
from .batches import Batches
from .defaults import StreamDefaults
from .filters import EventFilter
from .held_lines import HeldLines, Line
from .ring import RingBuffer

if TYPE_CHECKING:
    from .columns import TradeColumns

#: Single events, each of which waits, or falls off a full buffer.
PlainEvent = Quote | Trade | BidAsk | Depth | Headline
#: The first deliveries are all timed, and one of so many after that.
TIMED_AT_FIRST, TIMED_OF = 64, 64


class _Place:
    """Stands in the queue for the oldest event of the ring."""


_PLACE = _Place()
_MARKERS = (Gap, Resumed)
_SPECIAL = frozenset((*_MARKERS, _Place))


class MarketStream(AsyncIterator[MarketEvent]):
    """Quotes wait as their line: at most one per symbol, read when it is taken, at least `conflation` seconds after
    the one before (HeldLines). Everything else waits in order in a ring of `buffer_size` places; the oldest gives way,
    is counted, and Lost stands in its place. Gap and Resumed are never dropped. One task takes from it at a time."""

    def __init__(
        self,
        names: dict[int, str],
        kinds: frozenset[StreamKind],
        on_close: Callable[[MarketStream], None],
        settings: StreamDefaults | None = None,
        options: StreamOptions | None = None,
        tick: Histogram | None = None,
        batch: Histogram | None = None,
    ) -> None:
        #: Contract number -> symbol, of what this consumer asked for.
        self.names = names
        self.kinds = kinds
        self.settings = settings or StreamDefaults()
        #: Durations from the broker's door to this consumer, and of filling a batch.
        self.tick = tick or Histogram()
        self.batch = batch or Histogram()
        self._handler_failures = 0
        self._filter = EventFilter(options) if options is not None and options.filters else None
        self._conflation = self.settings.conflation
        #: Whether a quote that is taken may not be wanted, or is the start of a pause.
        self._is_choosy = self._filter is not None or self._conflation > 0
        self._keeps_quotes = self.settings.every_quote and not self._conflation
        self._on_close = on_close
        #: Lines, markers, and a _PLACE for each event in the ring.
        self._queue: deque[Any] = deque()
        self._ring: RingBuffer[PlainEvent] | None = None
        #: The oldest so many places belong to events that gave way; `_lost` is what to tell of them.
        self._vacant = 0
        self._lost: Lost | None = None
        self._markers = 0
        #: Contract number -> the line whose quote waits to be taken.
        self._waiting_lines: dict[int, Line] = {}
        self._held = HeldLines(self._conflation, self._let_go)
        self._waiter: asyncio.Future[None] | None = None
        self._need = 1
        self._closed = False
        self._received = self._delivered = self._conflated = self._filtered = self._dropped = 0
        self._high_water = 0
        self._next_timed = 0
        self._timed: PlainEvent | None = None
        self._timed_since = 0.0

    # What comes in

    def offer_line(self, number: int, line: Line) -> None:
        """The quote of contract `number` changed."""
        self._received += 1
        waiting = self._waiting_lines.get(number)
        if waiting is not None:
            self._conflated += 1
            if waiting is not line:
                self._replace(number, waiting, line)
            return
        self._waiting_lines[number] = line
        if self._conflation and self._held.hold(number, line):
            return
        self._queue.append(line)
        if self._waiter is not None and len(self._queue) >= self._need:
            self._wake()

    def _replace(self, number: int, old: Line, new: Line) -> None:
        """The symbol got a line of its own, or lost it to polling: what waits in its place is the newer one."""
        self._waiting_lines[number] = new
        if not self._held.replace(number, new):
            self._queue[next(place for place, item in enumerate(self._queue) if item is old)] = new

    def _let_go(self, lines: Iterable[Line]) -> None:
        self._queue.extend(lines)
        if len(self._queue) >= self._need:
            self._wake()

    def offer_quote(self, number: int, line: Line) -> None:
        """As `offer_line`, for a quote that is a value: it is kept like a trade where every quote is wanted."""
        if self._keeps_quotes:
            self.offer(line.quote())
        else:
            self.offer_line(number, line)

    def mark(self, marker: Gap | Resumed) -> None:
        """A marker in its place, told at once."""
        if not self._closed:
            self._received += 1
            self._markers += 1
            self._queue.append(marker)
            self._wake()

    def offer(self, event: PlainEvent) -> None:
        """A single event happened."""
        self._received += 1
        if self._filter is not None and not self._filter.wants(event):
            self._filtered += 1
            return
        ring = self._ring
        if ring is None:
            ring = self._ring = RingBuffer(self.settings.buffer_size)
        if self._delivered >= self._next_timed and self._timed is None:
            self._timed, self._timed_since = event, asyncio.get_running_loop().time()
        gone = ring.push(event)
        if gone is not None:
            self._lose(gone)
        self._queue.append(_PLACE)
        if self._waiter is not None and len(self._queue) >= self._need:
            self._wake()

    def _lose(self, gone: PlainEvent) -> None:
        self._dropped += 1
        if gone is self._timed:
            self._timed = None
        symbol, lost = gone.instrument.symbol, self._lost
        if lost is None:
            self._lost = Lost(gone.time, 1, (symbol,))
        else:
            symbols = lost.symbols if symbol in lost.symbols else (*lost.symbols, symbol)
            self._lost = Lost(lost.since, lost.count + 1, symbols)
        self._vacant += 1
        if self._vacant > self.settings.buffer_size:
            self._clear_vacant()

    def _clear_vacant(self) -> None:
        """Take out all but one of the vacant places, so that a consumer that never takes costs no memory."""
        waiting = tuple(self._queue)
        self._queue.clear()
        for item in waiting:
            if item is _PLACE and self._vacant > 1:
                self._vacant -= 1
            else:
                self._queue.append(item)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            # the rest of a packet finds nobody left to wake
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # What goes out

    def __aiter__(self) -> MarketStream:
        return self

    async def __anext__(self) -> MarketEvent:
        queue = self._queue
        while True:
            while not queue:
                if self._closed:
                    raise StopAsyncIteration
                if self._waiter is not None and not self._waiter.done():
                    raise self._taken_twice()
                self._waiter = waiter = asyncio.get_running_loop().create_future()
                await waiter
                # the body of `_note_depth`, without the call
                if len(queue) - self._vacant > self._high_water:
                    self._high_water = len(queue) - self._vacant
            item = queue.popleft()
            if self._is_choosy or type(item) in _SPECIAL:
                event = self._take(item)
                if event is not None:
                    return event
                continue
            # a quote and nothing else to do: the body of `_take`, without the call
            self._waiting_lines.pop(item.instrument.con_id or 0, None)
            self._delivered += 1
            if self._delivered > self._next_timed:
                self._add_time(item.last_update)
            quote: Quote = item.quote()
            return quote

    @staticmethod
    def _taken_twice() -> UsageError:
        return UsageError("next event", "another task waits for it already", "open a stream for each consumer")

    def _note_depth(self) -> None:
        """The deepest queue is noted now and then, because every event would cost too much."""
        self._high_water = max(self._high_water, len(self._queue) - self._vacant)

    def _take(self, item: Any) -> MarketEvent | None:
        """What is delivered for an item of the queue; None where nothing is."""
        # a lookup by type: every quote passes here, and isinstance of the classes costs as much as all of it
        if type(item) in _SPECIAL:
            return self._take_event() if item is _PLACE else self._take_marker(item)
        number = item.instrument.con_id or 0
        self._waiting_lines.pop(number, None)
        quote: Quote = item.quote()
        if self._filter is not None and not self._filter.wants(quote):
            self._filtered += 1
            return None
        if self._conflation:
            self._held.note_taken(number)
        self._delivered += 1
        if self._delivered > self._next_timed:
            self._add_time(item.last_update)
        return quote

    def _take_marker(self, marker: Gap | Resumed) -> MarketEvent:
        self._markers -= 1
        self._delivered += 1
        return marker

    def _take_event(self) -> MarketEvent | None:
        if self._vacant:
            self._vacant -= 1
            lost, self._lost = self._lost, None
            return lost
        ring = self._ring
        assert ring is not None  # it holds the event of every place
        event = ring.pop()
        self._delivered += 1
        if event is self._timed:
            self._timed = None
            self._add_time(self._timed_since)
        return event

    def _add_time(self, since: float | None) -> None:
        if since is not None:
            self.tick.add(asyncio.get_running_loop().time() - since)
        self._note_depth()
        self._next_timed = self._delivered + (0 if self._delivered < TIMED_AT_FIRST else TIMED_OF - 1)

    def take_all(self, most: int | None = None) -> list[MarketEvent]:
        """Everything that waits, or the first `most` of it, without waiting: one wake-up for a whole batch."""
        self._note_depth()
        events: list[MarketEvent] = []
        while self._queue and (most is None or len(events) < most):
            event = self._take(self._queue.popleft())
            if event is not None:
                events.append(event)
        return events

    def batches(self, max_events: int | None = None, max_seconds: float | None = None) -> Batches:
        """Lists of at most `max_events`, handed over `max_seconds` after the first of them came at the latest, and at
        once when that many are there or a Gap or Resumed is (None: the profile's)."""
        return Batches(self.opened, self.aclose, max_events, max_seconds)

    def take_columns(self) -> TradeColumns:
        """Trades as numpy arrays. Raises UsageError for a stream that was not opened for it."""
        raise UsageError("columns", "this stream keeps events", "open it with StreamOptions(columns=True)")

    async def open(self) -> None:
        """It is open from the start."""

    async def opened(self) -> MarketStream:
        return self

    async def gather(self, enough: int, until: float | None) -> bool:
        """Wait for `enough` events or a marker, at most until that time of the loop; False at the end of the stream."""
        loop = asyncio.get_running_loop()
        is_late = until is not None and until <= loop.time()

        def on_time() -> None:
            nonlocal is_late
            is_late = True
            self._wake()

        timer = None
        if until is not None and not is_late and len(self._queue) < enough:
            timer = loop.call_at(until, on_time)
        self._need = enough
        try:
            while len(self._queue) < enough and not (self._markers or self._closed or is_late):
                if self._waiter is not None and not self._waiter.done():
                    raise self._taken_twice()
                self._waiter = waiter = loop.create_future()
                await waiter
        finally:
            self._need = 1
            if timer is not None:
                timer.cancel()
        return bool(self._queue) or not self._closed

    # What can be told

    def note_failure(self) -> None:
        """The consumer's own code raised."""
        self._handler_failures += 1

    @property
    def counts(self) -> StreamCounts:
        return StreamCounts(
            self._received, self._delivered, self._conflated, self._filtered, self._dropped, self.waiting
        )

    @property
    def waiting(self) -> int:
        """Events not taken yet, those held back by conflation included."""
        return len(self._queue) - self._vacant + len(self._held)

    @property
    def is_ready(self) -> bool:
        """Whether the next step of the iterator need not wait."""
        return bool(self._queue)

    @property
    def failures(self) -> int:
        """How often the consumer's own code raised: its handler, or its filter."""
        return self._handler_failures + (self._filter.failures if self._filter is not None else 0)

    def statistics(self) -> StreamStatistics:
        self._note_depth()
        return StreamStatistics(
            symbols=len(self.names),
            kinds=tuple(sorted(self.kinds)),
            counts=self.counts,
            buffer_size=self.settings.buffer_size,
            high_water=self._high_water,
            failures=self.failures,
        )

    # The end

    async def aclose(self) -> None:
        """End the stream and give its lines back; whatever waits is still delivered."""
        self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._held.release_all()
        self._closed = True
        self._on_close(self)
        self._wake()
