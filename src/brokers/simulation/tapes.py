"""A market whose prices are walked out of bars: what replay and the synthetic market have in common."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from operator import itemgetter

from ..domain.instrument import InstrumentDetails
from ..domain.market_data import Bar, BarSize, BarSource
from ..domain.sessions import TradingDay
from ..errors import InvalidRequest, NoData, UnknownInstrument
from .contracts import ContractBook
from .history import ScheduleRow, SessionCalendar, exchange_date, schedule, session_bounds
from .market import PriceStep, TickKind
from .past import Past, Query, Tape
from .walk import Grid, RawStep, SourceBar, WalkStyle, price_step, printed, walk

_DAYS_AT_ONCE = 40  #: trading days asked of the calendar in one go while streaming
_GIVE_UP = 4  #: so many empty stretches in a row mean that the calendar has ended
_WALKS_KEPT = 96


class WalkedPrices:
    """A PriceSource over tapes. `quiet` quote-only steps are sent in each extended session (0: silence).

    Nothing that it answers for a moment `now` depends on a source bar that begins after `now`.
    """

    def __init__(
        self, tapes: Sequence[Tape], calendar: SessionCalendar, start: datetime, *, seed: int = 0, quiet: int = 0
    ) -> None:
        self._calendar = calendar
        self._seed = seed
        self._quiet = quiet
        self._start = start
        self._tapes = tuple(tapes)
        self._book = ContractBook(tape.details for tape in tapes)
        self._by_id = {tape.details.instrument.con_id or 0: tape for tape in tapes}
        self._walks: OrderedDict[tuple[int, date], list[RawStep]] = OrderedDict()
        self._past = Past(calendar, self._walk, self._prints)

    @property
    def start(self) -> datetime:
        return self._start

    @property
    def end(self) -> datetime | None:
        lasts = [tape.last_day for tape in self._tapes]
        known = [day for day in lasts if day is not None]
        session = self._calendar.trading_day(max(known)) if len(known) == len(lasts) else None
        return None if session is None else session_bounds(session, not self._quiet)[1]

    @property
    def calendar(self) -> SessionCalendar:
        return self._calendar

    @property
    def contracts(self) -> ContractBook:
        return self._book

    def catalogue(self) -> Sequence[InstrumentDetails]:
        return self._book.all()

    def steps(self) -> Iterator[PriceStep]:
        """All steps from `start` on, a day at a time, in time order; ties keep the order of the catalogue."""
        for day in self._trading_days(exchange_date(self._start)):
            merged = []
            for tape in self._tapes:
                con_id, grid = tape.details.instrument.con_id or 0, tape.grid
                merged += [(raw[0], con_id, grid, raw) for raw in self._day_ahead(tape, day)]
            # A stable sort merges the symbols' ordered runs faster than a heap does.
            merged.sort(key=itemgetter(0))
            for _, con_id, grid, raw in merged:
                yield price_step(raw, con_id, grid)

    def head_timestamp(self, con_id: int) -> datetime | None:
        tape = self._tape(con_id)
        session = self._calendar.trading_day(tape.first_day)
        bars = tape.bars_on(session) if session else ()
        return bars[0].start if bars else None

    def schedule(self, start: date, end: date, *, regular_hours: bool = True) -> list[ScheduleRow]:
        """Sessions from `start` to `end`, both included."""
        return schedule(self._calendar, start, end, regular_hours=regular_hours)

    def history(
        self,
        con_id: int,
        size: BarSize,
        source: BarSource,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        regular_hours: bool = True,
    ) -> list[Bar]:
        """See PriceSource. ADJUSTED_LAST is adjusted for what the source's adjusted closes tell up to `now`."""
        tape = self._tape(con_id)
        head = self.head_timestamp(con_id)
        if head is None or head > now:
            raise NoData(
                f"{size.value} bars of {tape.details.instrument}", "nothing has traded yet", "ask later", code=162
            )
        return self._past.bars(Query(tape, size, source, now, regular_hours), start, end)

    def ticks(
        self,
        con_id: int,
        kind: TickKind,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        now: datetime,
        number: int,
        regular_hours: bool = True,
    ) -> list[PriceStep]:
        """See PriceSource."""
        upto = now if end is None else min(end, now)
        return self._past.ticks(self._tape(con_id), kind, start, upto, number, regular_hours)

    def _tape(self, con_id: int) -> Tape:
        tape = self._by_id.get(con_id)
        if tape is None:
            raise UnknownInstrument(f"contract {con_id}", "this market does not list it", con_id=con_id)
        return tape

    def _trading_days(self, first: date) -> Iterator[TradingDay]:
        """Trading days from `first` to the last that any tape has; endless when one of them is."""
        lasts = [tape.last_day for tape in self._tapes]
        final = max((day for day in lasts if day is not None), default=first) if None not in lasts else None
        empty = 0
        while empty < _GIVE_UP and (final is None or first <= final):
            until = first + timedelta(days=_DAYS_AT_ONCE)
            try:
                days = self._calendar.trading_days(first, until if final is None else min(until, final))
            except InvalidRequest:
                return  # the calendar's last year is the end of every market
            empty = 0 if days else empty + 1
            yield from days
            first = until + timedelta(days=1)

    def _day_ahead(self, tape: Tape, day: TradingDay) -> list[RawStep]:
        """The day's steps that are not behind the start."""
        steps = self._walk(tape, day)
        return self._from_start(tape, day, steps) if day.pre_open <= self._start <= day.post_close else steps

    def _from_start(self, tape: Tape, day: TradingDay, steps: list[RawStep]) -> list[RawStep]:
        """The day's steps from `start` on; the first is at `start`, the quote in force when nothing prints there."""
        ahead = [raw for raw in steps if raw[0] >= self._start]
        if ahead and ahead[0][0] == self._start:
            return ahead
        behind = [raw for raw in steps if raw[0] < self._start]
        standing = behind[-1] if behind else self._last_before(tape, day.day)
        if standing is None:
            return ahead
        return [(self._start, *standing[1:5], None, 0, standing[7]), *ahead]

    def _last_before(self, tape: Tape, day: date) -> RawStep | None:
        before = tape.day_before(day)
        session = None if before is None else self._calendar.trading_day(before)
        steps = [] if session is None else self._walk(tape, session)
        return steps[-1] if steps else None

    def _walk(self, tape: Tape, day: TradingDay) -> list[RawStep]:
        """All steps of the day, also those ahead of any `now`: callers cut."""
        con_id = tape.details.instrument.con_id or 0
        key = (con_id, day.day)
        steps = self._walks.get(key)
        if steps is None:
            style, symbol = tape.style_on(day.day), tape.details.instrument.symbol
            steps = []
            for bar in tape.bars_on(day):
                steps += walk(bar, style, tape.grid, self._seed, symbol)
            steps = tape.disturb(day, steps)
            if self._quiet:
                steps = self._with_quiet(tape, day, steps)
            self._walks[key] = steps
            if len(self._walks) > _WALKS_KEPT:
                self._walks.popitem(last=False)
        else:
            self._walks.move_to_end(key)
        return steps

    def _prints(self, tape: Tape, bar: SourceBar, day: date) -> list[tuple[int, int]]:
        """The prints of one source bar, as `_walk` has them."""
        return printed(bar, tape.style_on(day), tape.grid, self._seed, tape.details.instrument.symbol)

    def _with_quiet(self, tape: Tape, day: TradingDay, steps: list[RawStep]) -> list[RawStep]:
        """Quote-only steps before the open and after the close, where the source has no prints of its own."""
        style = tape.style_on(day.day)
        before: list[RawStep] = []
        if not steps or steps[0][0] >= day.open:
            previous = tape.day_before(day.day)
            session = None if previous is None else self._calendar.trading_day(previous)
            bars = tape.bars_on(session) if session else ()
            if bars:
                before = _quotes(bars[-1].close, day.pre_open, day.open, self._quiet, style, tape.grid)
        after: list[RawStep] = []
        if steps and steps[-1][0] <= day.close:
            price = tape.bars_on(day)[-1].close
            after = _quotes(price, day.close, day.post_close, self._quiet, style, tape.grid)
        return before + steps + after


def _quotes(price: int, start: datetime, end: datetime, number: int, style: WalkStyle, grid: Grid) -> list[RawStep]:
    """`number` quotes around `price` strictly between `start` and `end`, twice as wide as in the session."""
    gap = (end - start) / (number + 1)
    width = style.spread * grid.step_at(price)
    bid, ask = max(grid.snap(price - width), grid.step_at(0)), price + width
    return [(start + gap * (k + 1), bid, ask, style.lot, style.lot, None, 0, False) for k in range(number)]
