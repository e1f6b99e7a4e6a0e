"""Streams of one session: what each subscribes, holds and gives back, and the markers of a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from ..base_broker import Symbol
from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import Gap, Resumed, StreamKind
from ..domain.streams import StreamOptions
from ..errors import InvalidRequest, NoPermission
from ..streams.defaults import StreamDefaults
from ..streams.hub import StreamHub
from ..streams.market_stream import MarketStream
from ..streams.open_stream import OpenStream
from .ib_contracts import ContractBook
from .ib_line_budget_feeds import FeedKeeper
from .ib_lines import LineKeeper
from .ib_stream_feeds import FeedKey, SharedFeeds
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, LinkScope

_NEWS = "News"


class StreamPolicy(Protocol):
    """What `Streams` reads of the data policy: seconds, rows of a depth book, what consumers get by default."""

    @property
    def quote_deadline(self) -> float: ...
    @property
    def depth_rows(self) -> int: ...
    @property
    def streams(self) -> StreamDefaults: ...


class Streams:
    """Opens and ends the streams over one transport."""

    def __init__(
        self, transport: IbTransport, contracts: ContractBook, lines: LineKeeper, policy: StreamPolicy, clock: Clock
    ) -> None:
        self._transport = transport
        self._contracts = contracts
        self._lines = lines
        self.policy = policy
        self.hub = StreamHub(policy.streams)
        self.feeds = FeedKeeper(transport, lines, self.hub, clock)
        self._feeds = SharedFeeds(self.feeds.unsubscribe)
        #: Of each stream: what it takes of the feeds, and contracts whose line it holds.
        self._taken: dict[MarketStream, list[FeedKey]] = {}
        self._held: dict[MarketStream, list[int]] = {}
        self._gap: Gap | None = None
        #: Symbols whose gap was told alone, and since when which farm is down.
        self._silent: set[str] = set()
        self._farms_down: dict[str, datetime] = {}
        transport.add_market_listener(self.hub)
        transport.add_link_listener(self._on_link)

    def stream(
        self, symbols: Iterable[Symbol], kinds: Iterable[StreamKind], options: StreamOptions | None = None
    ) -> OpenStream:
        """Everything from the first step of the iterator on; end it with `aclose`."""
        wanted, chosen = tuple(symbols), frozenset(StreamKind(kind) for kind in kinds)
        if not wanted or not chosen:
            raise InvalidRequest("stream", "no symbol or no kind of data was named")
        return OpenStream(lambda: self.open_stream(wanted, chosen, options))

    async def open_stream(
        self, symbols: Iterable[Symbol], kinds: frozenset[StreamKind], options: StreamOptions | None = None
    ) -> MarketStream:
        """Qualify, subscribe, and answer the queue that gets everything from now on."""
        wanted = await asyncio.gather(*(self._contracts.qualify(symbol) for symbol in symbols))
        providers = await self._news_providers() if StreamKind.NEWS in kinds else []
        stream = self.hub.open(wanted, kinds, self._ended, options)
        try:
            for instrument in wanted:
                if StreamKind.QUOTES in kinds:
                    self._hold_line(instrument, stream)
                self._take_feeds(instrument, kinds, stream)
                if StreamKind.NEWS in kinds:
                    await self._take_news(instrument, providers, stream)
        except BaseException:
            stream.close()
            raise
        if self._gap is not None:
            stream.mark(self._gap)
        return stream

    def _take_feeds(self, instrument: Instrument, kinds: frozenset[StreamKind], stream: MarketStream) -> None:
        feeds, rows = self.feeds, self.policy.depth_rows
        if kinds & {StreamKind.TRADES, StreamKind.TICK_BY_TICK}:
            self._take(stream, instrument, "AllLast", lambda: feeds.subscribe_ticks(instrument, "AllLast"))
        if StreamKind.TICK_BY_TICK in kinds:
            self._take(stream, instrument, "BidAsk", lambda: feeds.subscribe_ticks(instrument, "BidAsk"))
        if StreamKind.DEPTH in kinds:
            self._take(stream, instrument, "Depth", lambda: feeds.subscribe_depth(instrument, rows))

    async def _take_news(self, instrument: Instrument, providers: list[str], stream: MarketStream) -> None:
        """News needs a line of the allowance, one for all consumers of a contract."""
        if (instrument.con_id or 0, _NEWS) not in self._feeds:
            await self._lines.take_news(self.policy.quote_deadline)
            if (instrument.con_id or 0, _NEWS) in self._feeds:
                self._lines.give_news(1)
        self._take(stream, instrument, _NEWS, lambda: self.feeds.subscribe_news(instrument, providers))

    def _take(self, stream: MarketStream, instrument: Instrument, what: str, subscribe: Callable[[], int]) -> None:
        key = self._feeds.take((instrument.con_id or 0, what), subscribe)
        self._taken.setdefault(stream, []).append(key)

    async def _news_providers(self) -> list[str]:
        providers = [row.code for row in await self._transport.news_providers()]
        if not providers:
            raise NoPermission("a stream of news", "this login has no news provider", "subscribe to one for the API")
        return providers

    def _hold_line(self, instrument: Instrument, stream: MarketStream) -> None:
        """The contract's line, or its polls where the account has no line left."""
        number = instrument.con_id or 0
        line = self._lines.keep(instrument)
        self._held.setdefault(stream, []).append(number)
        if line.last_update is not None:
            # a new consumer begins with what is known, not with silence
            stream.offer_line(number, line)

    def _ended(self, stream: MarketStream) -> None:
        for number in self._held.pop(stream, []):
            self._lines.unhold(number)
        for key in self._taken.pop(stream, []):
            if self._feeds.give_back(key) and key[1] == _NEWS:
                self._lines.give_news(1)
        self._lines.wake()

    def _on_link(self, event: LinkEvent) -> None:
        if event.scope is LinkScope.ORDERS:
            return
        source = event.source or self._transport.name
        if event.kind is LinkEventKind.LOST and self._gap is None:
            self._farms_down.clear()
            self._gap = Gap(event.time, source, event.text)
            self.hub.mark(self._gap)
        elif event.kind is LinkEventKind.FARM_DOWN:
            if event.farm:
                self._farms_down.setdefault(event.farm, event.time)
            if event.symbols:
                self._silent.update(event.symbols)
                self.hub.mark(Gap(event.time, source, event.text, event.symbols))
        elif event.kind is LinkEventKind.SUBSCRIPTIONS_RESTORED:
            self._on_restored(event, source)

    def _on_restored(self, event: LinkEvent, source: str) -> None:
        """Whatever is resumed had its gap told before (Q22): a farm that falls says no symbols, so it is told here."""
        since = self._farms_down.pop(event.farm, event.time)
        untold = tuple(symbol for symbol in event.symbols if symbol not in self._silent)
        if self._gap is None and (untold or not event.symbols):
            self.hub.mark(Gap(since, source, event.text, untold))
        self._gap = None
        self._silent.difference_update(event.symbols or tuple(self._silent))
        self.hub.mark(Resumed(event.time, source, event.restored, event.failed, None, event.symbols))

    def close(self) -> None:
        self.hub.close()
