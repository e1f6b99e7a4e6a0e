"""A market whose prices are walked out of bars: what replay and the synthetic market have in common."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Protocol

from ..domain.instrument import InstrumentDetails
from ..domain.market_data import Bar, BarSize, BarSource
from ..domain.sessions import TradingDay
from ..errors import InvalidRequest, NoData, UnknownInstrument
from .contracts import ContractBook
from .history import (
    LiveBar,
    ScheduleRow,
    SessionCalendar,
    adjust_bar,
    exchange_date,
    group_days,
    last_or_first,
    merge_bars,
    midnight,
    schedule,
    session_bounds,
)
from .market import PriceStep
from .walk import Grid, RawStep, SourceBar, WalkStyle, price_step, walk

_DAYS_AT_ONCE = 40  #: trading days asked of the calendar in one go while streaming
_GIVE_UP = 4  #: so many empty stretches in a row mean that the calendar has ended
_WALKS_KEPT = 96

_step_time = attrgetter("time")


class TickKind(StrEnum):
    """Historical ticks (reqHistoricalTicks whatToShow)."""

    TRADES = "TRADES"
    BID_ASK = "BID_ASK"
    MIDPOINT = "MIDPOINT"


class Tape(Protocol):
    """One instrument's source bars, day by day; it may know more than `now`, its reader never does."""

    @property
    def details(self) -> InstrumentDetails: ...

    @property
    def grid(self) -> Grid: ...

    @property
    def first_day(self) -> date: ...

    @property
    def last_day(self) -> date | None:
        """None when endless."""
        ...

    def bars_on(self, day: TradingDay) -> Sequence[SourceBar]:
        """The day's bars in time order; none when the instrument did not trade."""
        ...

    def day_before(self, day: date) -> date | None:
        """The last day before `day` with bars."""
        ...

    def style_on(self, day: date) -> WalkStyle: ...

    def adjustment(self, day: date) -> float:
        """Adjusted over traded close of that day, 1.0 where the source has no adjusted prices."""
        ...

    def disturb(self, day: TradingDay, steps: list[RawStep]) -> list[RawStep]:
        """The day's steps with whatever the source adds (halts)."""
        ...


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
        self._days: dict[tuple[int, date, BarSource, bool], Bar | None] = {}

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
        """All steps from `start` on, the symbols merged in time order; ties keep the order of the catalogue."""
        for day in self._trading_days(exchange_date(self._start)):
            yield from heapq.merge(*(self._day_steps(tape, day) for tape in self._tapes), key=_step_time)

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
        end = min(end, now + timedelta(microseconds=1))
        bars = [
            bar for bar in self._bars(tape, size, source, start, end, now, regular_hours) if start <= bar.time < end
        ]
        return self._adjusted(tape, bars, now) if source is BarSource.ADJUSTED_LAST else bars

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
        """Historical ticks: the first `number` from `start`, or the last `number` before `end`; whole steps.

        TRADES keeps the prints, BID_ASK the steps that changed the quote, MIDPOINT those that changed its middle.
        """
        tape = self._tape(con_id)
        upto = now if end is None else min(end, now)
        day: date | None = exchange_date(upto if start is None else start)
        rows: list[PriceStep] = []
        while day is not None and len(rows) < number:
            session = self._calendar.trading_day(day)
            found = [] if session is None else self._ticks_on(tape, session, kind, start, upto, regular_hours)
            rows = rows + found if start is not None else found + rows
            day = self._next_tick_day(tape, day, start, upto)
        return last_or_first(rows, number, from_start=start is not None)

    def _next_tick_day(self, tape: Tape, day: date, start: datetime | None, upto: datetime) -> date | None:
        if start is None:
            return tape.day_before(day)
        following = day + timedelta(days=1)
        return following if following <= exchange_date(upto) else None

    def _ticks_on(
        self, tape: Tape, day: TradingDay, kind: TickKind, start: datetime | None, upto: datetime, regular_hours: bool
    ) -> list[PriceStep]:
        opens, closes = session_bounds(day, regular_hours)
        con_id = tape.details.instrument.con_id or 0
        rows: list[PriceStep] = []
        seen: object = None
        for raw in self._walk(tape, day):
            moment, bid, ask, bid_size, ask_size, last = raw[:6]
            if kind is TickKind.TRADES:
                wanted = last is not None
            else:
                key = (bid, ask, bid_size, ask_size) if kind is TickKind.BID_ASK else bid + ask
                wanted, seen = key != seen, key
            if wanted and opens <= moment <= closes and moment <= upto and (start is None or moment >= start):
                rows.append(price_step(raw, con_id, tape.grid))
        return rows

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

    def _day_steps(self, tape: Tape, day: TradingDay) -> Iterator[PriceStep]:
        con_id, grid = tape.details.instrument.con_id or 0, tape.grid
        steps = self._walk(tape, day)
        if day.pre_open <= self._start <= day.post_close:
            steps = self._from_start(tape, day, steps)
        for raw in steps:
            yield price_step(raw, con_id, grid)

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

    def _bars(
        self,
        tape: Tape,
        size: BarSize,
        source: BarSource,
        start: datetime,
        end: datetime,
        now: datetime,
        regular_hours: bool,
    ) -> list[Bar]:
        first, last = exchange_date(start), exchange_date(end)
        if not size.is_intraday:
            # A daily bar carries midnight UTC, which is the evening before at the exchange.
            first, last = start.date(), min(end.date(), exchange_date(now))
        first = max(first, tape.first_day)
        if size in (BarSize.W1, BarSize.MONTH1):
            return self._groups(tape, size, source, first, last, now, regular_hours)
        bars: list[Bar] = []
        for day in self._calendar.trading_days(first, last) if first <= last else ():
            if size is BarSize.D1:
                bar = self._day_bar(tape, day, source, now, regular_hours)
                bars += [] if bar is None else [bar]
            else:
                bars += self._day_bars(tape, day, size, source, now, regular_hours)
        return bars

    def _groups(
        self, tape: Tape, size: BarSize, source: BarSource, first: date, last: date, now: datetime, regular_hours: bool
    ) -> list[Bar]:
        """Weekly or monthly bars, each carrying its first trading day."""
        bars: list[Bar] = []
        day = first
        while day <= last:
            group = group_days(self._calendar, day, size)
            if group:
                parts = [self._day_bar(tape, part, source, now, regular_hours) for part in group]
                known = [part for part in parts if part is not None]
                complete = session_bounds(group[-1], regular_hours)[1] <= now
                bars += [merge_bars(known, midnight(group[0].day), source, complete)] if known else []
            if size is BarSize.W1:
                day += timedelta(days=7 - day.weekday())
            else:
                day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
        return bars

    def _day_bar(
        self, tape: Tape, day: TradingDay, source: BarSource, now: datetime, regular_hours: bool
    ) -> Bar | None:
        """The day's bar as it stands at `now`; finished days are remembered."""
        opens, closes = session_bounds(day, regular_hours)
        if opens > now:
            return None
        key = (tape.details.instrument.con_id or 0, day.day, source, regular_hours)
        if closes <= now and key in self._days:
            return self._days[key]
        bars = self._day_bars(tape, day, BarSize.D1, source, now, regular_hours)
        bar = bars[0] if bars else None
        if closes <= now:
            self._days[key] = bar
        return bar

    def _day_bars(
        self, tape: Tape, day: TradingDay, size: BarSize, source: BarSource, now: datetime, regular_hours: bool
    ) -> list[Bar]:
        """The day's bars of any size, from the steps up to `now`."""
        live = LiveBar(size, source, self._calendar, regular_hours=regular_hours)
        price = tape.grid.float
        bars: list[Bar] = []
        for moment, bid, ask, _, _, last, volume, _ in self._walk(tape, day):
            if moment > now:
                break
            bars += live.take(moment, price(bid), price(ask), None if last is None else price(last), volume)
        bars += live.advance(min(now, day.post_close))
        return bars if live.bar is None else [*bars, live.bar]

    def _adjusted(self, tape: Tape, bars: list[Bar], now: datetime) -> list[Bar]:
        """Normalised to the latest day that `now` knows, so that no later dividend shows."""
        today = exchange_date(now)
        session = self._calendar.trading_day(today)
        latest = today if session is not None and tape.bars_on(session) and session.open <= now else None
        latest = latest or tape.day_before(today)
        if latest is None:
            return bars
        base = tape.adjustment(latest)
        rows = []
        for bar in bars:
            day = bar.time.date() if bar.time == midnight(bar.time.date()) else exchange_date(bar.time)
            factor = tape.adjustment(day) / base
            rows.append(bar if factor == 1.0 else adjust_bar(bar, factor))
        return rows


def _quotes(price: int, start: datetime, end: datetime, number: int, style: WalkStyle, grid: Grid) -> list[RawStep]:
    """`number` quotes around `price` strictly between `start` and `end`, twice as wide as in the session."""
    gap = (end - start) / (number + 1)
    width = style.spread * grid.step_at(price)
    bid, ask = max(grid.snap(price - width), grid.step_at(0)), price + width
    return [(start + gap * (k + 1), bid, ask, style.lot, style.lot, None, 0, False) for k in range(number)]
