"""Market data of one IB session: quotes one by one and in one round, streams, bars, and a second opinion."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ...config.settings import Settings
from ..base_broker import Symbol
from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import Bar, BarSize, BarSource, Quote, StreamKind, Trade
from ..domain.streams import StreamOptions
from ..errors import BrokerError, DeadlineExceeded, InvalidRequest, NoData, RequestFailed
from ..streams.defaults import StreamDefaults
from ..streams.open_stream import OpenStream
from .ib_contracts import ContractBook, as_instrument
from .ib_history import HistoryStore, Series
from .ib_line_budget_terms import TERMS, BudgetTerms
from .ib_lines import LineKeeper
from .ib_live_bars import LiveBars
from .ib_second_source import QuoteSource, SecondOpinion
from .ib_streams import Streams
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, LinkScope, QuoteLine, ScheduledSession

logger = logging.getLogger(__name__)


#: Symbols of a round of quotes: each needs a question for its contract and one for its line, and at IB's 50 messages a
#: second the last of either leaves well within its deadline.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """How market data is asked for. Seconds are monotonic unless said otherwise.

    `lines` is the account's market-data allowance (100 unless IB grants more, fault D12). `fresh_for` is market time:
    a value that the source changed longer ago is asked for again before it is used for an order.
    `disagreement_bps`: beyond it, a second source makes a quote suspect.
    """

    lines: int = 100
    #: How the lines are shared among symbols (docs/subscriptions.md).
    budget: BudgetTerms = TERMS
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
    #: What a consumer of a stream gets who chooses nothing.
    streams: StreamDefaults = field(default_factory=StreamDefaults)

    @classmethod
    def from_settings(cls, settings: Settings) -> DataPolicy:
        return cls(
            lines=settings.market_data_lines,
            budget=replace(TERMS, reserved=settings.reserved_lines),
            lines_for_questions=max(1, settings.market_data_lines * 3 // 10),
            quote_deadline=min(11.0, settings.request_timeout),
            streams=StreamDefaults.from_profile(settings.performance),
        )


class IBDataManager:
    """Quotes, streams, bars and reference questions over one transport.

    A contract that was asked for once keeps its line until the budget needs it for another; what streams want beyond
    the account's lines is polled.
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
        #: Contract number -> the last snapshot, asked for because its line had been quiet.
        self._snapshots: dict[int, Quote] = {}
        share = self.policy.lines_for_questions / self.policy.lines
        self.lines = LineKeeper(
            transport, self.policy.lines, self._forget, clock, self.policy.budget, share_for_questions=share
        )
        self.streams = Streams(transport, contracts, self.lines, self.policy, clock)
        self.lines.add_listener(self.streams.hub)
        self._live: weakref.WeakSet[LiveBars] = weakref.WeakSet()
        self._restored = asyncio.Event()
        #: Why the symbols that the last `quotes` left out have no quote.
        self.quote_errors: dict[str, Exception] = {}
        #: Quotes answered from a live line, and by asking.
        self.from_line = 0
        self.asked = 0
        transport.add_link_listener(self._on_link)

    # Quotes

    def cached_quote(self, instrument: Instrument) -> Quote | None:
        """What the line of this contract last said, of any age; None without a line or a value. Never waits."""
        number = instrument.con_id
        if number is None:
            known = self._contracts.known(instrument)
            number = known.instrument.con_id if known else None
        line = self.lines.get(number) if number is not None else None
        if line is None or line.error is not None or line.last_update is None:
            return None
        quote = line.quote()
        # A quiet line that was confirmed by a snapshot is as fresh as the snapshot.
        snapshot = self._snapshots.get(number or 0)
        return self._second.mark(snapshot if snapshot is not None and snapshot.time > quote.time else quote)

    def warm_lines(self) -> list[QuoteLine]:
        """Every line that is open."""
        return self.lines.lines()

    def shortable(self, instrument: Instrument) -> tuple[float | None, float | None]:
        """What the line of this contract told about borrowing its shares (IB ticks 46 and 89)."""
        line = self.lines.get(instrument.con_id or 0)
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
        line = await self.lines.take(instrument, deadline)
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
        quote = await self._first(instrument, line, deadline)
        if not _has_price(quote):
            raise NoData(f"quote of {instrument}", "the broker sent no price", "the market may be closed")
        return quote

    async def _first(self, instrument: Instrument, line: QuoteLine, deadline: float) -> Quote:
        """A line that is refused because there are too many is asked for once more, and comes by snapshot then."""
        async with self.lines.awaiting(instrument.con_id or 0):
            try:
                return await line.first(deadline)
            except RequestFailed as error:
                if not self.lines.failed(instrument, error):
                    raise
            try:
                return await (await self.lines.take(instrument, deadline)).first(deadline)
            except RequestFailed as error:
                self.lines.failed(instrument, error)
                raise

    async def quotes(self, symbols: Iterable[Symbol]) -> dict[str, Quote]:
        """Many quotes in rounds of at most AT_ONCE: every line of a round is asked for at once, and all are awaited
        under one deadline.

        Keyed by normalised symbol; a symbol that fails is left out, and `quote_errors` tells why.
        """
        wanted = {as_instrument(symbol).symbol: symbol for symbol in symbols}
        errors: dict[str, Exception] = {}
        found: dict[str, Quote] = {}
        names = list(wanted)
        while names:
            size = min(self.policy.lines, AT_ONCE)
            batch, names = names[:size], names[size:]
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

    def lent_line(self) -> AbstractAsyncContextManager[None]:
        """One line of the allowance for a question of its own, once there is room. Raises InvalidRequest when streams
        hold all lines, DeadlineExceeded when other questions do for long."""
        return self.lines.lent(self.policy.quote_deadline)

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

    def stream(
        self, symbols: Iterable[Symbol], kinds: Iterable[StreamKind], options: StreamOptions | None = None
    ) -> OpenStream:
        """Everything from the first step of the iterator on; end it with `aclose`."""
        return self.streams.stream(symbols, kinds, options)

    def _on_link(self, event: LinkEvent) -> None:
        if event.scope is not LinkScope.ORDERS and event.kind is LinkEventKind.RESTORED:
            # whoever waits goes on; the next one waits for the next time
            self._restored.set()
            self._restored.clear()

    async def close(self) -> None:
        """End every stream, live bar and line."""
        self.streams.close()
        for bars in tuple(self._live):
            await bars.aclose()
        self.lines.close()

    def _forget(self, number: int) -> None:
        self._snapshots.pop(number, None)


def _bar_size(size: BarSize | str) -> BarSize:
    """Raises InvalidRequest for a size that IB does not have; IB itself would serve another one (fault H09)."""
    try:
        return BarSize(size)
    except ValueError:
        raise InvalidRequest(f"bars of {size}", "there is no such size", f"one of {', '.join(BarSize)}") from None


def _has_price(quote: Quote) -> bool:
    return any(value is not None for value in (quote.bid, quote.ask, quote.last, quote.close))
