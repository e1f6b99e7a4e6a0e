"""Market data of the in-process paper broker: quotes, bars and streams read straight from the exchange."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from ..domain.instrument import Instrument, InstrumentDetails, normalize_symbol
from ..domain.market_data import (
    VOLATILITY_SOURCES,
    Bar,
    BarSize,
    BarSource,
    BarUpdate,
    BidAsk,
    Depth,
    DepthLevel,
    Quote,
    Trade,
)
from ..errors import AmbiguousInstrument, InvalidRequest, NoData, NotSupported, UnknownInstrument
from .events import ExchangeEvent, Printed, QuoteChanged
from .exchange import Exchange
from .models import MarketView

#: What values of this market name as their source.
SOURCE = "paper"


class MarketSink(Protocol):
    """Who is told of the market's events."""

    def wants(self, number: int, kind: type) -> bool: ...

    def on_quote(self, quote: Quote) -> None: ...

    def on_trade(self, trade: Trade) -> None: ...

    def on_bid_ask(self, tick: BidAsk) -> None: ...

    def on_depth(self, depth: Depth) -> None: ...


class PaperBars(AsyncIterator[BarUpdate]):
    """Live bars of one consumer, none of which is ever left out."""

    def __init__(self) -> None:
        self._queue: deque[BarUpdate] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._on_close: list[Callable[[], None]] = []

    def put(self, event: BarUpdate) -> None:
        self._queue.append(event)
        self._wake()

    def on_close(self, callback: Callable[[], None]) -> None:
        self._on_close.append(callback)

    def __aiter__(self) -> PaperBars:
        return self

    async def __anext__(self) -> BarUpdate:
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
        if source in VOLATILITY_SOURCES:
            raise NotSupported(f"{source} of {instrument}", "it does not stream", "ask for daily bars of the past")
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

    def live_bars(self, instrument: Instrument, size: BarSize, source: BarSource, count: int) -> PaperBars:
        stream = PaperBars()
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

    def feed(self, sink: MarketSink) -> Callable[[], None]:
        """Tell `sink` of quotes, trades and depth that it wants from now on; returns how to stop."""

        def on_event(event: ExchangeEvent) -> None:
            if isinstance(event, QuoteChanged | Printed) and (details := self._details.get(event.con_id)) is not None:
                self._tell(sink, event, details.instrument)

        return self._exchange.subscribe(on_event, QuoteChanged, Printed)

    def _tell(self, sink: MarketSink, event: QuoteChanged | Printed, instrument: Instrument) -> None:
        number = event.con_id
        quote = self.quote(instrument) if sink.wants(number, Quote) else None
        if quote is not None:
            sink.on_quote(quote)
        if isinstance(event, Printed):
            if sink.wants(number, Trade):
                price, size = float(event.price), float(event.size or 0)
                sink.on_trade(Trade(instrument, event.time, price, size, source=SOURCE))
            return
        bid, ask, bid_size, ask_size = map(float, (event.bid, event.ask, event.bid_size, event.ask_size))
        if sink.wants(number, BidAsk):
            sink.on_bid_ask(BidAsk(instrument, event.time, bid, ask, bid_size, ask_size, SOURCE))
        if sink.wants(number, Depth):
            bids, asks = (DepthLevel(bid, bid_size),), (DepthLevel(ask, ask_size),)
            sink.on_depth(Depth(instrument, event.time, bids, asks, SOURCE))


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
        source=SOURCE,
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
