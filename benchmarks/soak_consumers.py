"""Consumers of the soak, and the witness that counts what the door gave beside them.

The witness listens where the streams' hub does. What a consumer's stream says that it received must be what the
witness saw of its symbols and kinds, and the markers of gaps; what it says that it delivered must be what was taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from moondev_ibkr.brokers.domain.market_data import (
    BarSize,
    BidAsk,
    Depth,
    Gap,
    Lost,
    MarketEvent,
    Resumed,
    StreamKind,
    Trade,
)
from moondev_ibkr.brokers.domain.news import Headline
from moondev_ibkr.brokers.domain.streams import StreamCounts, StreamOptions
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_transport import QuoteLine

from .market import contract_number

#: Kinds of stream -> kinds of event that they bring.
_BRINGS: dict[StreamKind, tuple[str, ...]] = {
    StreamKind.QUOTES: ("quote",),
    StreamKind.TRADES: ("trade",),
    StreamKind.TICK_BY_TICK: ("trade", "bid_ask"),
    StreamKind.DEPTH: ("depth",),
}


@dataclass(frozen=True, slots=True)
class Appetite:
    """One consumer: `kinds` of the first `symbols` of the market. It rests `pause` seconds after every event. With a
    `life` it ends its stream after so many seconds and opens another."""

    name: str
    kinds: frozenset[StreamKind]
    symbols: int
    pause: float = 0.0
    life: float | None = None
    options: StreamOptions | None = None


QUOTES, TRADES, TICKS, DEPTH = StreamKind.QUOTES, StreamKind.TRADES, StreamKind.TICK_BY_TICK, StreamKind.DEPTH
APPETITES = (
    Appetite("every quote", frozenset({QUOTES}), 40, options=StreamOptions(conflation=0)),
    Appetite("quotes, one a second", frozenset({QUOTES}), 40, options=StreamOptions(conflation=1)),
    Appetite("quotes and trades, filtered", frozenset({QUOTES, TRADES}), 5, options=StreamOptions(min_change_bps=2)),
    Appetite("trades", frozenset({TRADES}), 6),
    Appetite("tick by tick", frozenset({TICKS}), 4),
    Appetite("depth", frozenset({DEPTH}), 3),
    Appetite("slow, on purpose", frozenset({QUOTES, TRADES, DEPTH}), 5, 0.25, options=StreamOptions(buffer_size=64)),
    Appetite("comes and goes", frozenset({QUOTES, TICKS}), 2, life=15.0),
)


class Witness:
    """A MarketListener of the soak's own."""

    def __init__(self, adapter: IBAdapter) -> None:
        self._counts: Counter[tuple[int, str]] = Counter()
        adapter.transport.add_market_listener(self)

    def on_lines(self, lines: Sequence[QuoteLine]) -> None:
        for line in lines:
            self._counts[line.instrument.con_id or 0, "quote"] += 1

    def on_trade(self, trade: Trade) -> None:
        self._counts[trade.instrument.con_id or 0, "trade"] += 1

    def on_bid_ask(self, tick: BidAsk) -> None:
        self._counts[tick.instrument.con_id or 0, "bid_ask"] += 1

    def on_depth(self, depth: Depth) -> None:
        self._counts[depth.instrument.con_id or 0, "depth"] += 1

    def on_news(self, headline: Headline) -> None: ...

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    def seen(self, numbers: Sequence[int], kinds: frozenset[StreamKind]) -> int:
        """Events that a stream of these contracts and kinds had to receive so far; markers apart."""
        events = {event for kind in kinds for event in _BRINGS[kind]}
        return sum(self._counts[number, event] for number in numbers for event in events)


@dataclass(slots=True)
class Account:
    """What became of the events of one consumer, over all its streams. `faults` says what does not add up."""

    streams: int = 0
    received: int = 0
    delivered: int = 0
    conflated: int = 0
    filtered: int = 0
    dropped: int = 0
    markers: int = 0
    told_lost: int = 0
    trades: int = 0
    #: Trades with the time, price and size of the one before them in the same symbol.
    repeated: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, counts: StreamCounts) -> None:
        self.streams += 1
        for name in ("received", "delivered", "conflated", "filtered", "dropped"):
            setattr(self, name, getattr(self, name) + getattr(counts, name))

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


class Consumer:
    """Reads its streams until `end`, then takes what still waits and settles the account."""

    def __init__(self, adapter: IBAdapter, witness: Witness, appetite: Appetite, symbols: Sequence[str]) -> None:
        self.appetite = appetite
        self.account = Account()
        self.taken = 0
        self._adapter, self._witness = adapter, witness
        self._symbols = list(symbols[: appetite.symbols])
        self._numbers = [contract_number(symbol) for symbol in self._symbols]
        self._ending = asyncio.Event()
        self._stream: Any = None
        self._last_trade: dict[str, tuple[object, float, float]] = {}

    def end(self) -> None:
        self._ending.set()

    async def run(self) -> None:
        """Until `end`. Raises what a stream raised."""
        while not self._ending.is_set():
            life = _Life(self._adapter.stream(self._symbols, self.appetite.kinds, self.appetite.options))
            await self._live(life)

    async def _live(self, life: _Life) -> None:
        self._stream = life.stream
        self._note(life, await anext(life.stream))
        # what waits is taken in the same step of the loop: every marker from here on came after the account was opened
        for event in (await life.stream.opened()).take_all():
            self._note(life, event)
        before, seen = life.stream.counts.received, self._witness.seen(self._numbers, self.appetite.kinds)
        life.markers = 0
        ender = asyncio.create_task(self._ender())
        reader = asyncio.create_task(self._read(life))
        try:
            await asyncio.wait({ender, reader}, return_when=asyncio.FIRST_COMPLETED)
            # no step of the loop lies between the three: nothing can come in between
            received = life.stream.counts.received - before
            given = self._witness.seen(self._numbers, self.appetite.kinds) - seen
            await life.stream.aclose()
            life.hurried = True
            await reader
        finally:
            for task in (ender, reader):
                task.cancel()
            await asyncio.gather(ender, reader, return_exceptions=True)
        self._settle(life, received, given)

    async def _ender(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), self.appetite.life)

    async def _read(self, life: _Life) -> None:
        async for event in life.stream:
            self._note(life, event)
            if self.appetite.pause and not life.hurried:
                await asyncio.sleep(self.appetite.pause)

    def _note(self, life: _Life, event: MarketEvent) -> None:
        if isinstance(event, Lost):
            self.account.told_lost += event.count
            return
        self.taken += 1
        life.taken += 1
        if isinstance(event, Gap | Resumed):
            self.account.markers += 1
            life.markers += 1
        elif isinstance(event, Trade):
            self.account.trades += 1
            print_ = (event.time, event.price, event.size)
            self.account.repeated += self._last_trade.get(event.instrument.symbol) == print_
            self._last_trade[event.instrument.symbol] = print_

    def _settle(self, life: _Life, received: int, given: int) -> None:
        counts: StreamCounts = life.stream.counts
        self.account.add(counts)
        if counts.unaccounted or counts.waiting:
            self.account.faults.append(f"{counts.unaccounted} unaccounted, {counts.waiting} waiting at the end")
        if counts.delivered != life.taken:
            self.account.faults.append(f"{counts.delivered} counted as delivered, {life.taken} taken")
        if received != given + life.markers:
            told = f"{received} received, where the door gave {given} events and {life.markers} markers"
            self.account.faults.append(told)

    def now(self) -> StreamCounts:
        """Of the present stream alone."""
        return StreamCounts() if self._stream is None else self._stream.counts


class _Life:
    """One stream of a consumer. `markers`: those taken since its account was opened."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.taken = self.markers = 0
        self.hurried = False


async def read_live_bars(adapter: IBAdapter, symbol: str, counts: Counter[str]) -> None:
    """Until cancelled. Closed bars must come in the order of their time, each once."""
    bars = adapter.live_bars(symbol, BarSize.S30, count=20)
    last = None
    try:
        async for update in bars:
            counts["updates"] += 1
            if update.closed:
                counts["closed"] += 1
                counts["out_of_order"] += last is not None and update.bar.time <= last
                last = update.bar.time
    finally:
        await bars.aclose()
