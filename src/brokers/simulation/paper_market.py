"""Market data of the in-process paper broker: quotes, bars and streams read straight from the exchange."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from ..domain.instrument import Instrument, InstrumentDetails, normalize_symbol
from ..domain.market_data import (
    Bar,
    BarSize,
    BarSource,
    BarUpdate,
    BidAsk,
    Depth,
    DepthLevel,
    MarketEvent,
    Quote,
    StreamKind,
    Trade,
)
from ..errors import AmbiguousInstrument, InvalidRequest, NoData, UnknownInstrument
from .events import ExchangeEvent, Printed, QuoteChanged
from .exchange import Exchange
from .models import MarketView

#: Market events that one consumer may fall behind; the oldest are dropped and counted.
QUEUE_LIMIT = 10_000
T = TypeVar("T")


class PaperStream(AsyncIterator[T], Generic[T]):
    """A bounded queue for one consumer. `dropped` counts events that fell off."""

    def __init__(self, limit: int | None = QUEUE_LIMIT) -> None:
        self._queue: deque[T] = deque(maxlen=limit)
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._on_close: list[Callable[[], None]] = []
        self.dropped = 0

    def put(self, event: T) -> None:
        if self._queue.maxlen is not None and len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self._queue.append(event)
        self._wake()

    def on_close(self, callback: Callable[[], None]) -> None:
        self._on_close.append(callback)

    def __aiter__(self) -> PaperStream[T]:
        return self

    async def __anext__(self) -> T:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._queue.popleft()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            for callback in self._on_close:
                callback()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class PaperMarket:
    """What the exchange's market looks like to a client in the same process."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._details: dict[int, InstrumentDetails] = {
            details.instrument.con_id: details
            for details in exchange.catalogue()
            if details.instrument.con_id is not None
        }

    def details(self, instrument: Instrument) -> InstrumentDetails:
        """Exact matches only; raises UnknownInstrument or AmbiguousInstrument."""
        if instrument.con_id is not None and instrument.con_id in self._details:
            return self._details[instrument.con_id]
        found = [row for row in self._details.values() if _fits(row.instrument, instrument)]
        if not found:
            raise UnknownInstrument(f"contract {instrument}", "the paper exchange lists no such contract", "see `bars`")
        if len(found) > 1:
            raise AmbiguousInstrument(
                f"contract {instrument}",
                f"{len(found)} contracts fit",
                "name the expiry or the exchange",
                candidates=[str(row.instrument) for row in found],
            )
        return found[0]

    def quote(self, instrument: Instrument) -> Quote | None:
        """The present quote of a qualified instrument, None before its first price."""
        view = self._exchange.market(instrument.con_id or 0)
        return None if view.bid is None and view.last is None else quote_of(instrument, view, self._exchange.now)

    def bars(
        self,
        instrument: Instrument,
        size: BarSize,
        source: BarSource,
        count: int | None,
        start: datetime | None,
        end: datetime | None,
        regular_hours: bool,
    ) -> list[Bar]:
        now = self._exchange.now
        end = min(end, now) if end is not None else now
        if count is None and start is None:
            raise InvalidRequest(f"bars of {instrument}", "neither count nor start is given")
        if count is not None and count < 1:
            raise InvalidRequest(f"bars of {instrument}", f"count {count} is below 1")
        # Weekends, holidays and nights hold no bars: look back far enough that `count` trading bars fit.
        seconds = size.seconds * (count or 0)
        first = start or end - timedelta(seconds=seconds * (5 if size.is_intraday else 2), days=10)
        found = self._exchange.prices.history(
            instrument.con_id or 0,
            size,
            source,
            start=first,
            end=end + timedelta(microseconds=1),
            now=now,
            regular_hours=regular_hours,
        )
        if not found:
            raise NoData(f"bars of {instrument}", f"there are none between {first} and {end}", "ask for another range")
        return found if count is None else found[-count:]

    def live_bars(self, instrument: Instrument, size: BarSize, source: BarSource, count: int) -> PaperStream[BarUpdate]:
        stream: PaperStream[BarUpdate] = PaperStream(limit=None)
        known: dict[datetime, Bar] = {}

        def refresh(bars: Iterable[Bar]) -> None:
            for bar in bars:
                if known.get(bar.time) != bar:
                    known[bar.time] = bar
                    stream.put(BarUpdate(instrument, size, bar, closed=bar.complete))

        def on_print(event: ExchangeEvent) -> None:
            if isinstance(event, Printed) and event.con_id == instrument.con_id:
                refresh(self.bars(instrument, size, source, 2, None, None, True))

        refresh(self.bars(instrument, size, source, count + 1, None, None, True))
        stream.on_close(self._exchange.subscribe(on_print, Printed))
        return stream

    def stream(self, instruments: Iterable[Instrument], kinds: Iterable[StreamKind]) -> PaperStream[MarketEvent]:
        wanted = {instrument.con_id: instrument for instrument in instruments}
        chosen = frozenset(kinds)
        stream: PaperStream[MarketEvent] = PaperStream()

        def on_event(event: ExchangeEvent) -> None:
            if isinstance(event, QuoteChanged | Printed) and (instrument := wanted.get(event.con_id)) is not None:
                for market_event in self._translate(event, instrument, chosen):
                    stream.put(market_event)

        if StreamKind.QUOTES in chosen:
            for instrument in wanted.values():
                quote = self.quote(instrument)
                if quote is not None:
                    stream.put(quote)
        stream.on_close(self._exchange.subscribe(on_event, QuoteChanged, Printed))
        return stream

    def _translate(
        self, event: QuoteChanged | Printed, instrument: Instrument, kinds: frozenset[StreamKind]
    ) -> Iterable[MarketEvent]:
        quote = self.quote(instrument) if StreamKind.QUOTES in kinds else None
        if quote is not None:
            yield quote
        if isinstance(event, Printed):
            if kinds & {StreamKind.TRADES, StreamKind.TICK_BY_TICK}:
                yield Trade(instrument, event.time, float(event.price), float(event.size or 0))
            return
        sides = (float(event.bid), float(event.ask), float(event.bid_size), float(event.ask_size))
        if StreamKind.TICK_BY_TICK in kinds:
            yield BidAsk(instrument, event.time, *sides)
        if StreamKind.DEPTH in kinds:
            bid, ask, bid_size, ask_size = sides
            yield Depth(instrument, event.time, (DepthLevel(bid, bid_size),), (DepthLevel(ask, ask_size),))


def quote_of(instrument: Instrument, view: MarketView, now: datetime) -> Quote:
    """The exchange's market as a quote. Read from the book itself, so it is as fresh as `now`."""
    return Quote(
        instrument=instrument,
        time=now,
        bid=_float(view.bid),
        ask=_float(view.ask),
        bid_size=_float(view.bid_size),
        ask_size=_float(view.ask_size),
        last=_float(view.last),
        last_size=_float(view.last_size),
        open=_float(view.open),
        high=_float(view.high),
        low=_float(view.low),
        close=_float(view.close),
        volume=float(view.volume),
        halted=view.halted,
        source="paper",
    )


def _float(number: object) -> float | None:
    return None if number is None else float(number)  # type: ignore[arg-type]


def _fits(listed: Instrument, wanted: Instrument) -> bool:
    """Whether every field that `wanted` names agrees; SMART fits any exchange."""
    pairs = (
        (listed.symbol, normalize_symbol(wanted.symbol)),
        (listed.sec_type, wanted.sec_type),
        (listed.currency, wanted.currency),
        (listed.primary_exchange, wanted.primary_exchange),
        (listed.local_symbol, wanted.local_symbol),
        (listed.expiry, wanted.expiry),
        (listed.strike, wanted.strike),
        (listed.right, wanted.right),
    )
    return wanted.con_id in (None, listed.con_id) and all(want in (None, have) for have, want in pairs)
