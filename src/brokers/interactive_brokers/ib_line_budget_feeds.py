"""Tick-by-tick and depth subscriptions under their own limits; ticks beyond them are made of the quote line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import BidAsk, Depth, Quote, Trade
from ..domain.news import Headline
from ..errors import InvalidRequest
from .ib_line_budget_allowance import LineAllowance
from .ib_lines import LineKeeper
from .ib_pacing import RepeatPacer, depth_limit, tick_by_tick_limit
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, QuoteLine

logger = logging.getLogger(__name__)

#: IB's codes for too many of a kind.
TOO_MANY_TICKS, TOO_MANY_BOOKS = 10190, 309
_DEPTH = "Depth"


class TickListener(Protocol):
    def on_trade(self, trade: Trade) -> None: ...

    def on_bid_ask(self, tick: BidAsk) -> None: ...


@dataclass(slots=True)
class _Feed:
    """`inner` is the handle at the transport, None while there is none; `seen` what its quotes told last."""

    instrument: Instrument
    what: str
    subscribe: Callable[[], int]
    inner: int | None = None
    seen: tuple[float | None, ...] = ()

    @property
    def key(self) -> tuple[int | None, str]:
        return self.instrument.con_id, self.what


class FeedKeeper:
    """What streams subscribe beside quotes. Everything runs on the loop."""

    def __init__(self, transport: IbTransport, lines: LineKeeper, listener: TickListener, clock: Clock) -> None:
        self._transport = transport
        self._lines = lines
        self._listener = listener
        terms, allowed = lines.budget.terms, lines.allowance
        self.ticks = LineAllowance(tick_by_tick_limit(allowed), terms, clock.monotonic)
        self.books = LineAllowance(depth_limit(allowed), terms, clock.monotonic)
        self._pacer = RepeatPacer(clock.monotonic)
        self._feeds: dict[int, _Feed] = {}
        #: Ticks that are made of quotes, by handle.
        self._made: dict[int, _Feed] = {}
        self._next = 1
        lines.after_look = self._look
        transport.add_link_listener(self._on_link)

    def used(self, *, depth: bool) -> int:
        """Subscriptions of the kind that IB has."""
        return sum(feed.inner is not None and (feed.what == _DEPTH) is depth for feed in self._limited())

    def limits(self) -> dict[str, tuple[int, int]]:
        """Name -> (used, allowed)."""
        return {
            "tick_by_tick": (self.used(depth=False), self.ticks.believed),
            "depth": (self.used(depth=True), self.books.believed),
        }

    def _limited(self) -> list[_Feed]:
        return [feed for feed in self._feeds.values() if feed.what]

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        """As the transport's; beyond the limit, or too soon after the last time, ticks are made of the quote line
        meanwhile."""
        feed = _Feed(instrument, kind, lambda: self._transport.subscribe_ticks(instrument, kind))
        handle = self._add(feed)
        if self._may_ask(feed):
            self._ask(feed)
        else:
            self._fall_back(handle, feed)
        return handle

    def _may_ask(self, feed: _Feed) -> bool:
        return self.used(depth=False) < self.ticks.believed and not self._pacer.wait(feed.key)

    def _ask(self, feed: _Feed) -> None:
        self._pacer.asked(feed.key)
        feed.inner = feed.subscribe()

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        """Raises InvalidRequest beyond the limit: nothing else tells what is in a book."""
        if self.used(depth=True) >= self.books.believed:
            raise InvalidRequest(
                f"market depth of {instrument}",
                f"all {self.books.believed} depth streams of the account are in use",
                "end one first, or raise market_data_lines if the account has more lines",
            )
        feed = _Feed(instrument, _DEPTH, lambda: self._transport.subscribe_depth(instrument, rows))
        handle = self._add(feed)
        feed.inner = feed.subscribe()
        return handle

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        feed = _Feed(instrument, "", lambda: self._transport.subscribe_news(instrument, providers))
        handle = self._add(feed)
        feed.inner = feed.subscribe()
        return handle

    def _add(self, feed: _Feed) -> int:
        handle, self._next = self._next, self._next + 1
        self._feeds[handle] = feed
        return handle

    def unsubscribe(self, handle: int) -> None:
        feed = self._feeds.pop(handle, None)
        if feed is None:
            return
        if feed.inner is not None:
            self._transport.unsubscribe(feed.inner)
        if handle in self._made:
            self._end_made(handle)
        self._take_room()

    # Ticks made of quotes

    def _fall_back(self, handle: int, feed: _Feed) -> None:
        used, wait = self.used(depth=False), self._pacer.wait(feed.key)
        logger.info(
            "ticks of %s are made of its quotes: %d streams are in use, not before %.0f s", feed.instrument, used, wait
        )
        if not self._made:
            self._transport.add_market_listener(self)
            self._lines.add_listener(self)
        self._made[handle] = feed
        self._lines.keep(feed.instrument)

    def _end_made(self, handle: int) -> None:
        feed = self._made.pop(handle)
        self._lines.unhold(feed.instrument.con_id or 0)
        if not self._made:
            self._transport.remove_market_listener(self)
            self._lines.remove_listener(self)

    def _take_room(self) -> None:
        """Streams of ticks that came free go to those that wait longest."""
        for handle, feed in list(self._made.items()):
            if self._may_ask(feed):
                self._ask(feed)
                self._end_made(handle)

    def _look(self) -> None:
        if self._made:
            if self.used(depth=False) >= self.ticks.believed:
                self.ticks.look()
            self._take_room()
        if self.books.is_learnt:
            self.books.look()

    def _on_link(self, event: LinkEvent) -> None:
        if event.kind is not LinkEventKind.STREAM_REFUSED:
            return
        for handle, feed in list(self._feeds.items()):
            if feed.inner is None or feed.instrument.symbol not in event.symbols:
                continue
            if event.code == TOO_MANY_BOOKS and feed.what == _DEPTH:
                feed.inner = None
                self.books.refused(self.used(depth=True))
            elif event.code == TOO_MANY_TICKS and feed.what not in ("", _DEPTH):
                feed.inner = None
                self.ticks.refused(self.used(depth=False))
                self._fall_back(handle, feed)
                return

    # MarketListener, while ticks are made

    def on_lines(self, lines: Sequence[QuoteLine]) -> None:
        for line in lines:
            for feed in self._made.values():
                if feed.instrument.con_id == line.instrument.con_id:
                    self._make(feed, line.quote())

    def _make(self, feed: _Feed, quote: Quote) -> None:
        source = f"{quote.source} quotes"
        if feed.what == "BidAsk":
            told = (quote.bid, quote.ask, quote.bid_size, quote.ask_size)
            if told != feed.seen and quote.bid is not None and quote.ask is not None:
                feed.seen = told
                sizes = quote.bid_size or 0.0, quote.ask_size or 0.0
                self._listener.on_bid_ask(BidAsk(feed.instrument, quote.time, quote.bid, quote.ask, *sizes, source))
            return
        seen = (quote.last, quote.last_size, quote.volume)
        if seen == feed.seen or quote.last is None:
            return
        was_first, feed.seen = not feed.seen, seen
        if not was_first:  # the first is what was there before, no print
            self._listener.on_trade(
                Trade(feed.instrument, quote.time, quote.last, quote.last_size or 0.0, source=source)
            )

    def on_trade(self, trade: Trade) -> None:
        """Of others; nothing to make."""

    def on_bid_ask(self, tick: BidAsk) -> None:
        """Of others; nothing to make."""

    def on_depth(self, depth: Depth) -> None:
        """Of others; nothing to make."""

    def on_news(self, headline: Headline) -> None:
        """Of others; nothing to make."""
