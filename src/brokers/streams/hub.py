"""From a broker's door to its consumers: every event goes to the streams that asked for its contract and kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar, cast

from ..domain.instrument import Instrument
from ..domain.market_data import BidAsk, Depth, Gap, Quote, Resumed, StreamKind, Trade
from ..domain.news import Headline
from ..domain.streams import Rate, StreamCounts, StreamOptions
from ..errors import InvalidRequest
from ..histogram import Histogram
from .columns import ColumnStream
from .defaults import StreamDefaults
from .held_lines import Line
from .market_stream import MarketStream, PlainEvent
from .rates import RateMeter

_Event = TypeVar("_Event", Trade, BidAsk, Depth)
_Streams = dict[int, tuple[MarketStream, ...]]
#: Kind of event -> kinds of streams that want it.
_WANTED_BY: dict[type, frozenset[StreamKind]] = {
    Quote: frozenset({StreamKind.QUOTES}),
    Trade: frozenset({StreamKind.TRADES, StreamKind.TICK_BY_TICK}),
    BidAsk: frozenset({StreamKind.TICK_BY_TICK}),
    Depth: frozenset({StreamKind.DEPTH}),
    Headline: frozenset({StreamKind.NEWS}),
}


class LatestQuote:
    """The line of a broker that tells quotes as values."""

    def __init__(self, quote: Quote) -> None:
        self.instrument = quote.instrument
        self.last_update: float | None = None
        self._quote = quote

    def set(self, quote: Quote, now: float) -> None:
        self._quote, self.last_update = quote, now

    def quote(self) -> Quote:
        return self._quote


class StreamHub:
    """Opens streams and fills them. All calls on the event loop; it fulfils the doors' MarketListener."""

    def __init__(self, defaults: StreamDefaults | None = None) -> None:
        self.defaults = defaults or StreamDefaults()
        self.rates = RateMeter(kind.value for kind in StreamKind)
        self._totals = self.rates.totals
        #: Durations from the door to the consumers (a sample), and of filling batches.
        self.tick, self.batch = Histogram(), Histogram()
        self._routes: dict[type, _Streams] = {kind: {} for kind in _WANTED_BY}
        self._quotes = self._routes[Quote]
        self._streams: list[MarketStream] = []
        self._latest: dict[int, LatestQuote] = {}
        #: Kind of event -> contract number -> the last that came.
        self._last: dict[type, dict[int, PlainEvent]] = {kind: {} for kind in _WANTED_BY}
        self._ended = StreamCounts()
        self._ended_failures = 0
        #: The loop's clock, once a stream was opened on it.
        self._time: Callable[[], float] | None = None

    @property
    def streams(self) -> Sequence[MarketStream]:
        return tuple(self._streams)

    def open(
        self,
        instruments: Iterable[Instrument],
        kinds: Iterable[StreamKind],
        on_close: Callable[[MarketStream], None],
        options: StreamOptions | None = None,
    ) -> MarketStream:
        """A stream over qualified instruments; `on_close` runs once, when it ends. Raises InvalidRequest for columns of
        anything but trades."""
        names = {instrument.con_id: instrument.symbol for instrument in instruments if instrument.con_id is not None}
        options = options or StreamOptions()

        def ended(stream: MarketStream) -> None:
            self._remove(stream)
            on_close(stream)

        chosen = frozenset(kinds)
        if options.columns and chosen != {StreamKind.TRADES}:
            raise InvalidRequest("a stream of columns", f"it is of {', '.join(sorted(chosen))}", "stream TRADES alone")
        settings = self.defaults.chosen(options)
        kind = ColumnStream if options.columns else MarketStream
        stream = kind(names, chosen, ended, settings, options, self.tick, self.batch)
        self._time = asyncio.get_running_loop().time
        self.rates.look(self._time())
        self._streams.append(stream)
        for route in self._routes_of(stream):
            for number in names:
                route[number] = (*route.get(number, ()), stream)
        return stream

    def _routes_of(self, stream: MarketStream) -> list[_Streams]:
        return [self._routes[kind] for kind, wanted in _WANTED_BY.items() if wanted & stream.kinds]

    def _remove(self, stream: MarketStream) -> None:
        self._streams.remove(stream)
        for route in self._routes_of(stream):
            for number in stream.names:
                left = tuple(other for other in route[number] if other is not stream)
                if left:
                    route[number] = left
                else:
                    del route[number]
        self._ended = _sum([self._ended, stream.counts])
        self._ended_failures += stream.failures

    def close(self) -> None:
        for stream in tuple(self._streams):
            stream.close()

    def wants(self, number: int, kind: type) -> bool:
        """Whether a stream waits for this kind of event of a contract."""
        return number in self._routes[kind]

    # What the door tells

    def on_lines(self, lines: Sequence[Line]) -> None:
        quotes = self._quotes
        if quotes:
            for line in lines:
                number = line.instrument.con_id or 0
                for stream in quotes.get(number, ()):
                    stream.offer_line(number, line)
        if lines:
            self._totals["QUOTES"] += len(lines)
            now = lines[0].last_update
            if now is not None and now >= self.rates.next_look:
                self.rates.look(now)

    def on_quote(self, quote: Quote) -> None:
        """A quote as a value, from a broker that has no lines."""
        number, now = quote.instrument.con_id or 0, asyncio.get_running_loop().time()
        line = self._latest.get(number)
        if line is None:
            line = self._latest[number] = LatestQuote(quote)
        line.set(quote, now)
        for stream in self._quotes.get(number, ()):
            stream.offer_quote(number, line)
        self._totals["QUOTES"] += 1
        self.rates.look(now)

    def begin_with(self, stream: MarketStream, quote: Quote) -> None:
        """A new consumer begins with what is known, not with silence."""
        number = quote.instrument.con_id or 0
        line = self._latest.setdefault(number, LatestQuote(quote))
        line.set(quote, asyncio.get_running_loop().time())
        stream.offer_quote(number, line)

    def on_trade(self, trade: Trade) -> None:
        self._give("TRADES", trade)

    def on_bid_ask(self, tick: BidAsk) -> None:
        self._give("TICK_BY_TICK", tick)

    def on_depth(self, depth: Depth) -> None:
        self._give("DEPTH", depth)

    def on_news(self, headline: Headline) -> None:
        self._give("NEWS", headline)

    def _give(self, kind: str, event: PlainEvent) -> None:
        number, form = event.instrument.con_id or 0, type(event)
        self._last[form][number] = event
        self._totals[kind] += 1
        if self._time is not None:
            self.rates.look(self._time())
        for stream in self._routes[form].get(number, ()):
            stream.offer(event)

    def give_to(self, stream: MarketStream, kind: StreamKind, event: PlainEvent) -> None:
        """An event of one consumer's own subscription."""
        stream.offer(event)
        self._totals[kind.value] += 1

    def mark(self, event: Gap | Resumed) -> None:
        """Put a marker in its place in every stream that it touches; one that names no symbol touches all."""
        touched = set(event.symbols)
        for stream in self._streams:
            if not touched or touched & set(stream.names.values()):
                stream.mark(event)

    # What can be told

    def last(self, number: int, kind: type[_Event]) -> _Event | None:
        """The last Trade, BidAsk or Depth that came for a contract, whoever wanted it."""
        return cast(_Event | None, self._last[kind].get(number))

    def counts(self) -> StreamCounts:
        """Over every stream; one that ended counts as it stood then."""
        return _sum([self._ended, *(stream.counts for stream in self._streams)])

    def failures(self) -> int:
        return self._ended_failures + sum(stream.failures for stream in self._streams)

    def event_rates(self) -> Mapping[str, Rate]:
        return self.rates.report(asyncio.get_running_loop().time())

    def latencies(self) -> dict[str, dict[str, float]]:
        """`tick`: from the door to a consumer, one of many timed; `batch`: from a batch's first event to its handing
        over. Milliseconds; stages without any left out."""
        told = {"tick": self.tick.report(), "batch": self.batch.report()}
        return {stage: row for stage, row in told.items() if row}


def _sum(rows: Sequence[StreamCounts]) -> StreamCounts:
    return StreamCounts(
        received=sum(row.received for row in rows),
        delivered=sum(row.delivered for row in rows),
        conflated=sum(row.conflated for row in rows),
        filtered=sum(row.filtered for row in rows),
        dropped=sum(row.dropped for row in rows),
        waiting=sum(row.waiting for row in rows),
    )
