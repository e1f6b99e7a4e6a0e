"""From a broker's quotes to the agents that want to know: one consumer of the stream, one queue for each agent."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from ....brokers.base_broker import MarketSubscription, Symbol
from ....brokers.domain.market_data import BarSize, Gap, Lost, MarketEvent, Quote, Resumed, StreamKind
from ....brokers.errors import BrokerError, InvalidRequest, NoData
from ..collecting import spelling
from .agent_feed import QUEUE_LIMIT, AgentEvent, AgentFeed
from .day_figures import VOLUME_BARS, DayReader, load_days
from .detectors import DETECTORS, DetectorRow
from .events import StreamEvent, StreamEventKind
from .symbol_watch import SymbolWatch

log = logging.getLogger(__name__)

#: Market time between two tries to read figures that could not be read.
TRY_AGAIN = timedelta(minutes=1)
Handler = Callable[[AgentEvent], Awaitable[None] | None]
#: Told of every event before it is queued: the place to ask the subscription budget for a better line.
Promotion = Callable[[str, StreamEvent], object]


class EventSource(DayReader, Protocol):
    """The verbs of a broker that events are made from."""

    def stream(
        self, symbols: Iterable[Symbol], kinds: Iterable[StreamKind] = (StreamKind.QUOTES,)
    ) -> MarketSubscription: ...


class StreamEvents:
    """Use as ``async with``. `errors` tells which symbols are not watched, and why; `failures` counts exceptions of
    agents' handlers, by agent.

    Entering reads the figures of the day and raises what concerns all symbols (LinkError; NoData when none is left).
    """

    def __init__(
        self,
        source: EventSource,
        symbols: Iterable[str],
        *,
        table: Mapping[StreamEventKind, DetectorRow] = DETECTORS,
        promote: Promotion | None = None,
        volume_bars: BarSize = VOLUME_BARS,
    ) -> None:
        self.symbols = tuple(dict.fromkeys(spelling(symbol) for symbol in symbols))
        if not self.symbols:
            raise InvalidRequest("stream events", "no symbol was named", "name the symbols to watch")
        self.errors: dict[str, BrokerError] = {}
        self.failures: dict[str, int] = {}
        self.quotes = self.lost = 0
        self._source, self._table, self._promote, self._volume_bars = source, table, promote, volume_bars
        self._watches: dict[str, SymbolWatch] = {}
        self._feeds: list[AgentFeed] = []
        self._stream: MarketSubscription | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loading: asyncio.Task[None] | None = None
        self._stale: set[str] = set()
        self._tried_at: datetime | None = None
        self._ended = False
        self._error: Exception | None = None

    def agent(
        self,
        name: str,
        on_event: Handler | None = None,
        *,
        kinds: Iterable[StreamEventKind] | None = None,
        symbols: Iterable[str] | None = None,
        limit: int = QUEUE_LIMIT,
    ) -> AgentFeed:
        """A queue of an agent's own, of events from now on: iterated over by the agent, or handed event by event to
        `on_event`, whose exceptions are logged and counted and end nothing."""
        wanted = None if symbols is None else [spelling(symbol) for symbol in symbols]
        feed = AgentFeed(name, kinds, wanted, limit)
        self._feeds.append(feed)
        if self._ended:
            feed.end(self._error)
        if on_event is not None:
            self._tasks.append(asyncio.create_task(self._hand(feed, on_event), name=f"stream events of {name}"))
        return feed

    def leave(self, feed: AgentFeed) -> None:
        """End one agent's queue."""
        if feed in self._feeds:
            self._feeds.remove(feed)
        feed.end()

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _begin(self) -> None:
        found = await load_days(self._source, self.symbols, self._volume_bars)
        for symbol, day in found.items():
            if isinstance(day, BrokerError):
                self.errors[symbol] = day
                continue
            self._watches[symbol] = watch = SymbolWatch(symbol, self._table)
            watch.set_day(day)
        if not self._watches:
            raise NoData(
                "stream events", f"none of {len(self.symbols)} symbols can be watched", str(found[self.symbols[0]])
            )
        self._stream = self._source.stream(list(self._watches), (StreamKind.QUOTES,))
        self._tasks.append(asyncio.create_task(self._consume(self._stream), name="stream events"))

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the stream back; every agent's queue ends."""
        if self._stream is not None:
            await self._stream.aclose()
        running = [*self._tasks, *([self._loading] if self._loading is not None else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for feed in self._feeds:
            feed.end()

    def statistics(self) -> dict[str, Any]:
        """Counts: quotes seen, lost on the way here and left out, and for each agent what was delivered, dropped and
        failed."""
        return {
            "quotes": self.quotes,
            "lost": self.lost,
            "skipped": {name: dict(watch.skipped) for name, watch in self._watches.items() if watch.skipped},
            "missing": {
                name: dict(watch.day.missing)
                for name, watch in self._watches.items()
                if watch.day is not None and watch.day.missing
            },
            "agents": {
                feed.name: {
                    "delivered": feed.delivered,
                    "dropped": feed.dropped,
                    "failed": self.failures.get(feed.name, 0),
                }
                for feed in self._feeds
            },
        }

    async def _consume(self, stream: MarketSubscription) -> None:
        error: Exception | None = None
        try:
            async for batch in stream.batches():
                for event in batch:
                    self._hear(event)
        except Exception as failure:  # noqa: BLE001  the task's boundary: every agent is told, by its own iteration
            log.error("stream events ended: %s", failure)
            error = failure
        self._ended, self._error = True, error
        for feed in self._feeds:
            feed.end(error)

    def _hear(self, event: MarketEvent) -> None:
        if isinstance(event, Quote):
            self._take(event)
        elif isinstance(event, Gap | Resumed):
            self._mark(event)
        elif isinstance(event, Lost):
            self.lost += event.count

    def _take(self, quote: Quote) -> None:
        watch = self._watches.get(quote.instrument.symbol)
        if watch is None:
            return
        self.quotes += 1
        for event in watch.on_quote(quote):
            if self._promote is not None:
                self._promoted(self._promote, event)
            for feed in self._feeds:
                feed.offer(event)
        if watch.needs_day:
            self._stale.add(watch.symbol)
        if self._stale:
            self._reload(quote.time)

    def _promoted(self, promote: Promotion, event: StreamEvent) -> None:
        try:
            promote(event.symbol, event)
        except Exception:  # somebody else's callback: the agents' events must not end with it
            log.exception("promotion of %s failed", event.symbol)
            self.failures["promotion"] = self.failures.get("promotion", 0) + 1

    def _mark(self, marker: Gap | Resumed) -> None:
        touched = [self._watches[name] for name in marker.symbols if name in self._watches]
        for watch in touched if marker.symbols else self._watches.values():
            if isinstance(marker, Gap):
                watch.on_gap()
            else:
                self._stale.add(watch.symbol)
        if isinstance(marker, Resumed):
            self._tried_at = None
            self._reload(marker.at)
        for feed in self._feeds:
            feed.mark(marker)

    def _reload(self, at: datetime) -> None:
        """Read the figures of symbols that lack them, one round at a time."""
        busy = self._loading is not None and not self._loading.done()
        if busy or (self._tried_at is not None and at - self._tried_at < TRY_AGAIN):
            return
        names, self._stale = sorted(self._stale), set()
        self._tried_at = at
        self._loading = asyncio.create_task(self._load(names, at), name="figures of the day")

    async def _load(self, names: list[str], at: datetime) -> None:
        try:
            found = await load_days(self._source, names, self._volume_bars, at=at)
        except BrokerError as error:
            log.warning("figures of the day are not known yet: %s", error)
            self._stale.update(names)
            return
        for name, day in found.items():
            if isinstance(day, BrokerError):
                self._stale.add(name)
                self.errors[name] = day
            else:
                self.errors.pop(name, None)
                self._watches[name].set_day(day)

    async def _hand(self, feed: AgentFeed, on_event: Handler) -> None:
        try:
            async for event in feed:
                try:
                    answer = on_event(event)
                    if inspect.isawaitable(answer):
                        await answer
                except Exception:  # an agent's own failure is counted, and nobody else's
                    log.exception("agent %s failed on an event", feed.name)
                    self.failures[feed.name] = self.failures.get(feed.name, 0) + 1
        except BrokerError as error:
            log.error("agent %s gets no more events: %s", feed.name, error)


def stream_to_agents(
    broker: EventSource,
    symbols: Iterable[str],
    on_event: Handler | None = None,
    *,
    kinds: Iterable[StreamEventKind] | None = None,
    table: Mapping[StreamEventKind, DetectorRow] = DETECTORS,
    promote: Promotion | None = None,
    volume_bars: BarSize = VOLUME_BARS,
) -> StreamEvents:
    """Watch `symbols` on a connected broker for as long as the block lasts; call it on a running loop.

    ``async with stream_to_agents(broker, ["AAPL"], handler):`` hands every event to `handler`; without one, take
    ``events.agent("name", kinds=…)`` for each agent and iterate over it. `kinds` filters what `on_event` gets.
    `promote` is called with every event; None is the broker's own `promote`, where it has one.
    """
    promote = promote or getattr(broker, "promote", None)
    events = StreamEvents(broker, symbols, table=table, promote=promote, volume_bars=volume_bars)
    if on_event is not None:
        events.agent("on_event", on_event, kinds=kinds)
    return events
