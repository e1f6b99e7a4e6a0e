"""Market data of one IB session: quotes one by one and in one round, streams, bars, and a second opinion."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...config.settings import Settings
from ..base_broker import Symbol
from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import Bar, BarSize, BarSource, Gap, MarketEvent, Quote, Resumed, StreamKind, Trade
from ..errors import BrokerError, DeadlineExceeded, InvalidRequest, NoData, NoPermission, RequestFailed
from .ib_contracts import ContractBook, as_instrument
from .ib_history import HistoryStore, Series
from .ib_live_bars import LiveBars
from .ib_second_source import QuoteSource, SecondOpinion
from .ib_stream import MarketStream, StreamCounts, StreamHub
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, LinkScope, QuoteLine, ScheduledSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """How market data is asked for. Seconds are monotonic unless said otherwise.

    `lines` is the account's market-data allowance (100 unless IB grants more, fault D12). `fresh_for` is market time:
    a value that the source changed longer ago is asked for again before it is used for an order.
    `disagreement_bps`: beyond it, a second source makes a quote suspect.
    """

    lines: int = 100
    quote_deadline: float = 11.0
    #: Lines at once for questions that open one of their own (options), so that quotes keep the others.
    lines_for_questions: int = 30
    fresh_for: timedelta = timedelta(seconds=5)
    second_source_deadline: float = 2.0
    second_source_life: float = 30.0
    disagreement_bps: float = 100.0
    depth_rows: int = 10
    #: How long an order may wait for a fresh quote before it is judged by what there is.
    freshen_deadline: float = 2.0
    #: Events that a slow consumer of a stream may fall behind, and how close together two quotes of one symbol may
    #: reach him (0: every change).
    buffer_size: int = 10_000
    conflation: float = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> DataPolicy:
        profile = settings.performance
        return cls(
            lines=settings.market_data_lines,
            lines_for_questions=max(1, settings.market_data_lines * 3 // 10),
            quote_deadline=min(11.0, settings.request_timeout),
            buffer_size=profile.buffer_size,
            conflation=profile.conflation_ms / 1000,
        )


class IBDataManager:
    """Quotes, streams, bars and reference questions over one transport.

    A contract that was asked for once keeps its line until the allowance needs it for another (the least recently
    used goes first; lines of running streams stay).
    """

    def __init__(
        self,
        transport: IbTransport,
        contracts: ContractBook,
        history: HistoryStore,
        clock: Clock,
        policy: DataPolicy | None = None,
        second_source: QuoteSource | None = None,
    ) -> None:
        self._transport = transport
        self._contracts = contracts
        self._history = history
        self._clock = clock
        self.policy = policy or DataPolicy()
        self._second = SecondOpinion(
            second_source,
            clock,
            deadline=self.policy.second_source_deadline,
            life=self.policy.second_source_life,
            tolerance_bps=self.policy.disagreement_bps,
        )
        self._warm: OrderedDict[int, QuoteLine] = OrderedDict()
        #: Contract number -> the last snapshot, asked for because its line had been quiet.
        self._snapshots: dict[int, Quote] = {}
        self._streamed: dict[int, int] = {}
        #: Lines that no quote shares: of running questions, and of each stream's news.
        self._questions = 0
        self._news: dict[MarketStream, int] = {}
        #: Contract number -> how many wait for its line's first value; such a line is not given up.
        self._awaited: Counter[int] = Counter()
        self._waiting: list[asyncio.Future[None]] = []
        self._live: weakref.WeakSet[LiveBars] = weakref.WeakSet()
        self._handles: dict[MarketStream, list[int]] = {}
        self._held: dict[MarketStream, list[int]] = {}
        self._gap: Gap | None = None
        self._restored = asyncio.Event()
        self.hub = StreamHub(self.policy.buffer_size, self.policy.conflation)
        #: Why the symbols that the last `quotes` left out have no quote.
        self.quote_errors: dict[str, Exception] = {}
        #: Quotes answered from a live line, and by asking.
        self.from_line = 0
        self.asked = 0
        transport.add_market_listener(self.hub)
        transport.add_link_listener(self._on_link)

    # Quotes

    def cached_quote(self, instrument: Instrument) -> Quote | None:
        """What the line of this contract last said, of any age; None without a line or a value. Never waits."""
        number = instrument.con_id
        if number is None:
            known = self._contracts.known(instrument)
            number = known.instrument.con_id if known else None
        line = self._warm.get(number) if number is not None else None
        if line is None or line.error is not None or line.last_update is None:
            return None
        quote = line.quote()
        # A quiet line that was confirmed by a snapshot is as fresh as the snapshot.
        snapshot = self._snapshots.get(number or 0)
        return self._second.mark(snapshot if snapshot is not None and snapshot.time > quote.time else quote)

    def warm_lines(self) -> list[QuoteLine]:
        """Every line that is open."""
        return list(self._warm.values())

    def shortable(self, instrument: Instrument) -> tuple[float | None, float | None]:
        """What the line of this contract told about borrowing its shares (IB ticks 46 and 89)."""
        line = self._warm.get(instrument.con_id or 0)
        return line.shortable() if line is not None else (None, None)

    async def quote(self, symbol: Symbol, *, max_age: timedelta | None = None, deadline: float | None = None) -> Quote:
        """The present quote. With `max_age` (market time), an older value is asked for again.

        Raises NoPermission, NoData, DeadlineExceeded, or what qualifying raised.
        """
        instrument = await self._contracts.qualify(symbol)
        quote = await self._one(instrument, max_age, deadline or self.policy.quote_deadline)
        await self._second.ask(instrument)
        return self._second.mark(quote)

    async def _one(self, instrument: Instrument, max_age: timedelta | None, deadline: float) -> Quote:
        line = await self._line(instrument, deadline)
        if line.error is None and line.last_update is not None:
            quote = line.quote()
            if max_age is None or quote.age(self._clock.now()) <= max_age:
                self.from_line += 1
                return quote
            self.asked += 1
            snapshot = await self._transport.snapshot(instrument, deadline)
            self._snapshots[instrument.con_id or 0] = snapshot
            return snapshot
        self.asked += 1
        number = instrument.con_id or 0
        self._awaited[number] += 1
        try:
            quote = await line.first(deadline)
        except RequestFailed:
            self._let_go(number)
            raise
        finally:
            self._awaited[number] -= 1
            self._wake()
        if not _has_price(quote):
            raise NoData(f"quote of {instrument}", "the broker sent no price", "the market may be closed")
        return quote

    async def quotes(self, symbols: Iterable[Symbol]) -> dict[str, Quote]:
        """Many quotes in one round: every line is asked for at once, and all are awaited under one deadline.

        Keyed by normalised symbol; a symbol that fails is left out, and `quote_errors` tells why.
        """
        wanted = {as_instrument(symbol).symbol: symbol for symbol in symbols}
        errors: dict[str, Exception] = {}
        found: dict[str, Quote] = {}
        names = list(wanted)
        while names:
            batch, names = names[: self.policy.lines], names[self.policy.lines :]
            answers = await asyncio.gather(*(self.quote(wanted[name]) for name in batch), return_exceptions=True)
            for name, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Quote):
                    found[name] = answer
                elif isinstance(answer, BrokerError):
                    errors[name] = answer
                else:
                    raise answer
        self.quote_errors = errors
        return found

    async def freshen(self, instrument: Instrument) -> Quote | None:
        """Make the quote fresh before an order is judged by it; None when none can be had in time."""
        try:
            return await self.quote(instrument, max_age=self.policy.fresh_for, deadline=self.policy.freshen_deadline)
        except (RequestFailed, DeadlineExceeded) as error:
            logger.info("no fresh quote of %s: %s", instrument, error)
            return None

    async def _line(self, instrument: Instrument, deadline: float) -> QuoteLine:
        number = instrument.con_id or 0
        line = self._warm.get(number)
        if line is None or line.error is not None:
            self._let_go(number)
            await self._room(deadline)
            line = self._warm.get(number)  # somebody else may have asked meanwhile
        if line is None:
            line = self._warm[number] = self._transport.subscribe_quotes(instrument)
        self._warm.move_to_end(number)
        return line

    @asynccontextmanager
    async def lent_line(self) -> AsyncIterator[None]:
        """One line of the allowance for a question of its own, once there is room. Raises InvalidRequest when streams
        hold all lines, DeadlineExceeded when other questions do for long."""
        await self._room(self.policy.quote_deadline)
        self._questions += 1
        try:
            yield
        finally:
            self._questions -= 1
            self._wake()

    async def _room(self, deadline: float) -> None:
        """Wait until one more line may be opened."""
        try:
            async with asyncio.timeout(deadline):
                while not self._has_room():
                    self._waiting.append(asyncio.get_running_loop().create_future())
                    await self._waiting[-1]
        except TimeoutError:
            what = "one more market-data line"
            raise DeadlineExceeded(what, timedelta(seconds=deadline), "ask for less at once") from None

    def _wake(self) -> None:
        """A line came free, or may be given up from now on."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _has_room(self) -> bool:
        """Give up the least recently used line that nobody needs, while the allowance is used up (D12). False while
        questions that will end hold the rest; InvalidRequest when streams do."""
        while len(set(self._warm) | set(self._streamed)) + self._questions + sum(self._news.values()) >= (
            self.policy.lines
        ):
            idle = next((one for one in self._warm if one not in self._streamed and not self._awaited[one]), None)
            if idle is not None:
                self._let_go(idle)
            elif self._questions or any(one not in self._streamed for one in self._warm):
                return False
            else:
                raise InvalidRequest(
                    "one more market-data line",
                    f"all {self.policy.lines} lines of the account are in use by streams",
                    "close a stream, or raise the number of lines if the account has more",
                )
        return True

    def _let_go(self, number: int) -> None:
        line = self._warm.pop(number, None)
        self._snapshots.pop(number, None)
        if line is not None:
            self._transport.unsubscribe_quotes(line.instrument)

    # Bars

    async def bars(
        self,
        symbol: Symbol,
        size: BarSize = BarSize.D1,
        *,
        count: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
    ) -> list[Bar]:
        """See `BaseBroker.bars`."""
        known = _bar_size(size)
        instrument = await self._contracts.qualify(symbol)
        series = Series(instrument, known, source, regular_hours)
        return await self._history.bars(series, count=count, start=start, end=end)

    def live_bars(self, symbol: Symbol, size: BarSize, count: int, source: BarSource = BarSource.TRADES) -> LiveBars:
        """One keepUpToDate subscription, made at the first step of the iterator."""
        if count < 1:
            raise InvalidRequest(f"live bars of {symbol}", f"count {count} is below 1")
        known = _bar_size(size)

        async def series() -> Series:
            return Series(await self._contracts.qualify(symbol), known, source)

        bars = LiveBars(self._transport, self._history, series, count, self._pause)
        self._live.add(bars)
        return bars

    async def _pause(self, seconds: float) -> None:
        """Wait that long, or until the link is back, whichever comes first."""
        try:
            async with asyncio.timeout(seconds):
                await self._restored.wait()
        except TimeoutError:
            return

    async def head_timestamp(
        self, symbol: Symbol, source: BarSource = BarSource.TRADES, regular_hours: bool = True
    ) -> datetime:
        """When the broker's history of this series begins, aware UTC."""
        instrument = await self._contracts.qualify(symbol)
        return await self._transport.head_timestamp(instrument, source, regular_hours)

    async def schedule(self, symbol: Symbol, days: int, end: datetime | None = None) -> Sequence[ScheduledSession]:
        """The last `days` sessions until `end` (None: now)."""
        instrument = await self._contracts.qualify(symbol)
        return await self._transport.schedule(instrument, days, end)

    async def historical_trades(
        self, symbol: Symbol, start: datetime, end: datetime, *, limit: int = 10_000, regular_hours: bool = True
    ) -> list[Trade]:
        """Single trades of a stretch of time, at most `limit`."""
        instrument = await self._contracts.qualify(symbol)
        return await self._history.ticks(instrument, start, end, limit=limit, regular_hours=regular_hours)

    # Streams

    def stream(self, symbols: Iterable[Symbol], kinds: Iterable[StreamKind]) -> OpenStream:
        """Everything from the first step of the iterator on; end it with `aclose`."""
        wanted, chosen = tuple(symbols), frozenset(StreamKind(kind) for kind in kinds)
        if not wanted or not chosen:
            raise InvalidRequest("stream", "no symbol or no kind of data was named")
        return OpenStream(self, wanted, chosen)

    async def open_stream(self, symbols: Iterable[Symbol], kinds: frozenset[StreamKind]) -> MarketStream:
        """Qualify, subscribe, and answer the queue that gets everything from now on."""
        wanted = await asyncio.gather(*(self._contracts.qualify(symbol) for symbol in symbols))
        providers = await self._news_providers() if StreamKind.NEWS in kinds else []
        stream = self.hub.open(wanted, kinds, self._stream_ended)
        handles = self._handles.setdefault(stream, [])
        try:
            for instrument in wanted:
                if StreamKind.QUOTES in kinds:
                    await self._hold_line(instrument, stream)
                if StreamKind.TRADES in kinds or StreamKind.TICK_BY_TICK in kinds:
                    handles.append(self._transport.subscribe_ticks(instrument, "AllLast"))
                if StreamKind.TICK_BY_TICK in kinds:
                    handles.append(self._transport.subscribe_ticks(instrument, "BidAsk"))
                if StreamKind.DEPTH in kinds:
                    handles.append(self._transport.subscribe_depth(instrument, self.policy.depth_rows))
                if StreamKind.NEWS in kinds:
                    await self._room(self.policy.quote_deadline)
                    self._news[stream] = self._news.get(stream, 0) + 1
                    handles.append(self._transport.subscribe_news(instrument, providers))
        except BaseException:
            stream.close()
            raise
        if self._gap is not None:
            stream.offer(self._gap)
        return stream

    async def _news_providers(self) -> list[str]:
        providers = [row.code for row in await self._transport.news_providers()]
        if not providers:
            raise NoPermission("a stream of news", "this login has no news provider", "subscribe to one for the API")
        return providers

    async def _hold_line(self, instrument: Instrument, stream: MarketStream) -> None:
        number = instrument.con_id or 0
        line = await self._line(instrument, self.policy.quote_deadline)
        self._streamed[number] = self._streamed.get(number, 0) + 1
        self._held.setdefault(stream, []).append(number)
        if line.last_update is not None:
            # a new consumer begins with what is known, not with silence
            stream.offer_line(number, line)

    def _stream_ended(self, stream: MarketStream) -> None:
        for number in self._held.pop(stream, []):
            self._streamed[number] -= 1
            if not self._streamed[number]:
                del self._streamed[number]
        self._news.pop(stream, None)
        for handle in self._handles.pop(stream, []):
            self._transport.unsubscribe(handle)
        self._wake()

    def _on_link(self, event: LinkEvent) -> None:
        if event.scope is LinkScope.ORDERS:
            return
        source = event.source or self._transport.name
        if event.kind is LinkEventKind.RESTORED:
            # whoever waits goes on; the next one waits for the next time
            self._restored.set()
            self._restored.clear()
        if event.kind is LinkEventKind.LOST and self._gap is None:
            self._gap = Gap(event.time, source, event.text)
            self.hub.mark(self._gap)
        elif event.kind is LinkEventKind.FARM_DOWN and event.symbols:
            self.hub.mark(Gap(event.time, source, event.text, event.symbols))
        elif event.kind is LinkEventKind.SUBSCRIPTIONS_RESTORED:
            if self._gap is None and not event.symbols:
                self.hub.mark(Gap(event.time, source, event.text))
            self._gap = None
            self.hub.mark(Resumed(event.time, source, event.restored, event.failed, None, event.symbols))

    async def close(self) -> None:
        """End every stream, live bar and line."""
        self.hub.close()
        for bars in tuple(self._live):
            await bars.aclose()
        for number in tuple(self._warm):
            self._let_go(number)


class OpenStream:
    """A stream that subscribes at its first step, so that it can be made without waiting."""

    def __init__(self, manager: IBDataManager, symbols: Sequence[Symbol], kinds: frozenset[StreamKind]) -> None:
        self._manager = manager
        self._symbols = symbols
        self._kinds = kinds
        self._stream: MarketStream | None = None
        self._closed = False

    def __aiter__(self) -> OpenStream:
        return self

    def __anext__(self) -> Coroutine[Any, Any, MarketEvent]:
        stream = self._stream
        return self._first() if stream is None else stream.__anext__()

    async def _first(self) -> MarketEvent:
        if self._closed:
            raise StopAsyncIteration
        self._stream = await self._manager.open_stream(self._symbols, self._kinds)
        return await anext(self._stream)

    @property
    def counts(self) -> StreamCounts:
        """Delivered, conflated and dropped so far."""
        return StreamCounts() if self._stream is None else self._stream.counts

    async def aclose(self) -> None:
        self._closed = True
        if self._stream is not None:
            await self._stream.aclose()


def _bar_size(size: BarSize | str) -> BarSize:
    """Raises InvalidRequest for a size that IB does not have; IB itself would serve another one (fault H09)."""
    try:
        return BarSize(size)
    except ValueError:
        raise InvalidRequest(f"bars of {size}", "there is no such size", f"one of {', '.join(BarSize)}") from None


def _has_price(quote: Quote) -> bool:
    return any(value is not None for value in (quote.bid, quote.ask, quote.last, quote.close))
