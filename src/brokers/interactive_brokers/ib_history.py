"""Historical bars: cut into requests that IB allows, paced, shared, cached, and resumable."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import Bar, BarSize, BarSource, Trade
from ..errors import InvalidRequest, NoData, RequestFailed
from .ib_pacing import HistoricalPacer, HistoricalRequest, HistoryKind, Ticket
from .ib_transport import BarRequest, IbTransport
from .ib_vocabulary import LONGEST_REQUEST, duration_words

#: Chunks kept in memory; the least recently used one goes first.
CACHE_CHUNKS = 512
#: A chunk that reaches into the present is believed this long (monotonic): IB refuses the same question within 15 s.
PRESENT_LIFE = 15.0
#: Requests of one series in flight together; IB counts six of one contract within two seconds as a violation.
TOGETHER = 4
#: Ticks in one answer of reqHistoricalTicks.
TICKS_PER_REQUEST = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Series:
    """What a series of bars is, without its time span."""

    instrument: Instrument
    size: BarSize
    source: BarSource = BarSource.TRADES
    regular_hours: bool = True

    def request(self, duration: str, end: datetime | None) -> BarRequest:
        return BarRequest(self.instrument, self.size, duration, end, self.source, self.regular_hours)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One request of a longer series: from `start` to `end` (None: now), both aware UTC."""

    start: datetime
    end: datetime | None
    duration: str


def paced(request: BarRequest) -> HistoricalRequest:
    """A bar request as IB's limits see it."""
    return HistoricalRequest(
        request.instrument.con_id,
        request,
        request.source.value,
        request.instrument.exchange,
        HistoryKind.BARS,
        request.size.seconds,
    )


def span_of(count: int, size: BarSize, regular_hours: bool) -> timedelta:
    """A calendar span that holds at least `count` bars of an ordinary market, week-ends and holidays allowed for."""
    if not size.is_intraday:
        days = count * max(size.seconds // 86_400, 1)
        # five sessions in seven days, ten holidays a year, and a long week-end at the end
        return timedelta(days=days * 7 / 5 * 1.05 + 5) if size is BarSize.D1 else timedelta(days=days + 7)
    hours = 6.5 if regular_hours else 16.0
    sessions = count * size.seconds / (hours * 3600)
    return timedelta(days=sessions * 7 / 5 + 4)


def chunks_of(start: datetime, end: datetime, size: BarSize, *, open_end: bool) -> list[Chunk]:
    """Newest first. A span that fits one request is one chunk; a longer one is cut on a fixed grid, so that the same
    past is always asked for with the same words and found in the cache."""
    longest, step = LONGEST_REQUEST[size]
    if end - start <= step:
        return [Chunk(start, None if open_end else end, duration_words(end - start, size))]
    found: list[Chunk] = []
    edge = _EPOCH + ((end - _EPOCH) // step) * step
    if edge < end:
        found.append(Chunk(edge, None if open_end else end, duration_words(end - edge, size)))
    while edge > start:
        found.append(Chunk(edge - step, None if open_end and not found else edge, longest))
        edge -= step
    return found


def merged(parts: Iterable[Iterable[Bar]]) -> list[Bar]:
    """Ascending, one bar per time; of two, the one that came later in `parts`."""
    by_time: dict[datetime, Bar] = {}
    for part in parts:
        for bar in part:
            by_time[bar.time] = bar
    return [by_time[time] for time in sorted(by_time)]


@dataclass(slots=True)
class _Held:
    bars: list[Bar]
    told_at: float
    #: Market time when it was told; None for a chunk that lies wholly in the past and cannot change.
    present_at: datetime | None


class HistoryStore:
    """Answers for bars. `keep` False keeps no answer beyond the question that it came for.

    `session_close(instrument, day)` tells when a day's session ends (aware UTC), None when it is not known; it decides
    whether today's daily bar may still change.
    """

    def __init__(
        self,
        transport: IbTransport,
        pacer: HistoricalPacer,
        clock: Clock,
        session_close: Callable[[Instrument, date], datetime | None] = lambda _instrument, _day: None,
        *,
        keep: bool = True,
    ) -> None:
        self._transport = transport
        self._pacer = pacer
        self._clock = clock
        self._session_close = session_close
        self._keep = keep
        self._held: OrderedDict[tuple[Series, datetime | None, str], _Held] = OrderedDict()
        self._asking: dict[tuple[Series, datetime | None, str], asyncio.Task[list[Bar]]] = {}
        #: Requests sent to IB.
        self.asked = 0

    async def bars(
        self,
        series: Series,
        *,
        count: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Bar]:
        """Ascending bars that begin before `end` (None: now): the last `count`, or those from `start` on.

        Known to be none is an empty list; not known raises (RequestFailed, LinkLost, DeadlineExceeded), and what had
        arrived by then is kept, so that the next call asks only for the rest.
        """
        now = self._clock.now()
        self._check(series, count, start, end, now)
        until = min(end, now) if end is not None else now
        open_end = end is None or end >= now
        if start is not None:
            plan = [await self._gathered(series, self._plan(series, start, until, open_end))]
        else:
            plan = await self._counted(series, count or 1, until, open_end)
        bars = [bar for bar in merged(plan) if bar.time < until and (start is None or bar.time >= start)]
        return bars[-count:] if count is not None else bars

    @staticmethod
    def _check(series: Series, count: int | None, start: datetime | None, end: datetime | None, now: datetime) -> None:
        what = f"bars of {series.instrument}"
        if (count is None) == (start is None):
            raise InvalidRequest(what, "either count or start must be given", "not both, not neither")
        if count is not None and count < 1:
            raise InvalidRequest(what, f"count {count} is below 1")
        for name, moment in (("start", start), ("end", end)):
            if moment is not None and moment.tzinfo is None:
                raise InvalidRequest(what, f"{name} {moment.isoformat()} carries no time zone")
        if start is not None and start >= (end or now):
            raise InvalidRequest(what, f"start {start.isoformat()} is not before the end")
        if series.source is BarSource.ADJUSTED_LAST and end is not None and end < now:
            raise InvalidRequest(what, "ADJUSTED_LAST only ends now", "leave out the end, and cut the answer yourself")

    def _plan(self, series: Series, start: datetime, until: datetime, open_end: bool) -> list[Chunk]:
        if series.source is BarSource.ADJUSTED_LAST:
            return [Chunk(start, None, duration_words(until - start, series.size))]
        return chunks_of(start, until, series.size, open_end=open_end)

    async def _counted(self, series: Series, count: int, until: datetime, open_end: bool) -> list[list[Bar]]:
        """Backwards until there are enough bars; three more stretches of the same length at most."""
        span = span_of(count, series.size, series.regular_hours)
        parts: list[list[Bar]] = []
        for attempt in range(4):
            start = until - span
            parts.insert(0, await self._gathered(series, self._plan(series, start, until, open_end and attempt == 0)))
            if len(merged(parts)) >= count or series.source is BarSource.ADJUSTED_LAST or (attempt and not parts[0]):
                break
            until = start
        return parts

    async def _gathered(self, series: Series, chunks: list[Chunk]) -> list[Bar]:
        gate = asyncio.Semaphore(TOGETHER)

        async def one(chunk: Chunk) -> list[Bar]:
            async with gate:
                return await self._chunk(series, chunk)

        answers = await asyncio.gather(*(one(chunk) for chunk in chunks), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return merged(reversed([answer for answer in answers if not isinstance(answer, BaseException)]))

    async def _chunk(self, series: Series, chunk: Chunk) -> list[Bar]:
        key = (series, chunk.end, chunk.duration)
        held = self._held.get(key)
        if held is not None and self._still_true(series, held):
            self._held.move_to_end(key)
            return [self.dated(series, bar) for bar in held.bars]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(series, chunk))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._answered(key, chunk, done))
        return await asyncio.shield(task)

    def _still_true(self, series: Series, held: _Held) -> bool:
        if held.present_at is None:
            return True
        length = series.size.seconds
        same_bar = held.present_at.timestamp() // length == self._clock.now().timestamp() // length
        return same_bar and self._clock.monotonic() - held.told_at < PRESENT_LIFE

    def _answered(self, key: tuple[Series, datetime | None, str], chunk: Chunk, done: asyncio.Task[list[Bar]]) -> None:
        if self._asking.get(key) is done:
            del self._asking[key]
        if done.cancelled() or done.exception() is not None or not self._keep:
            return
        now = self._clock.now()
        series = key[0]
        settled = chunk.end is not None and chunk.end + timedelta(seconds=series.size.seconds) <= now
        self._held[key] = _Held(done.result(), self._clock.monotonic(), None if settled else now)
        self._held.move_to_end(key)
        while len(self._held) > CACHE_CHUNKS:
            self._held.popitem(last=False)

    async def _ask(self, series: Series, chunk: Chunk) -> list[Bar]:
        request = series.request(chunk.duration, chunk.end)
        with await self._pacer.turn(paced(request)):
            self.asked += 1
            try:
                bars = await self._transport.historical_bars(request)
            except NoData:
                bars = []
        return [self.dated(series, bar) for bar in bars]

    def dated(self, series: Series, bar: Bar) -> Bar:
        """The bar with `complete` as market time has it."""
        complete = self.is_complete(series, bar)
        return bar if bar.complete is complete else replace(bar, complete=complete)

    def is_complete(self, series: Series, bar: Bar) -> bool:
        """Whether the bar can no longer change: its time is up, and for a daily bar its session is over (H12)."""
        now = self._clock.now()
        if series.size is BarSize.D1:
            close = self._session_close(series.instrument, bar.time.date())
            if close is not None:
                return now >= close
        return bar.time + timedelta(seconds=series.size.seconds) <= now

    async def turn(self, request: BarRequest) -> Ticket:
        """Permission for a subscription of live bars; it counts as open until the ticket is closed (H04)."""
        return await self._pacer.turn(paced(request))

    async def ticks(
        self, instrument: Instrument, start: datetime, end: datetime, *, limit: int, regular_hours: bool = True
    ) -> list[Trade]:
        """Trades from `start` until `end`, at most `limit`, page by page; each page must lead on in time (H08)."""
        found: list[Trade] = []
        at = start
        while at < end and len(found) < limit:
            question = HistoricalRequest(instrument.con_id, at, exchange=instrument.exchange, kind=HistoryKind.TICKS)
            with await self._pacer.turn(question):
                self.asked += 1
                try:
                    page = await self._transport.historical_ticks(
                        instrument, at, None, TICKS_PER_REQUEST, regular_hours
                    )
                except NoData:
                    break
            if not page:
                break
            found += [trade for trade in page if at <= trade.time < end]
            later = page[-1].time.replace(microsecond=0) + timedelta(seconds=1)
            if later <= at:
                raise RequestFailed(
                    f"trades of {instrument}", f"the answer for {at.isoformat()} ends at {page[-1].time.isoformat()}"
                )
            at = later
        return found[:limit]
