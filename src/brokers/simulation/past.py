"""The past of a market that is walked out of bars: bars and ticks as they stood at a moment `now`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from ..domain.instrument import InstrumentDetails
from ..domain.market_data import Bar, BarSize, BarSource
from ..domain.sessions import TradingDay
from .history import (
    TRADE_SOURCES,
    BarBuilder,
    LiveBar,
    SessionCalendar,
    adjust_bar,
    exchange_date,
    group_days,
    merge_bars,
    midnight,
    session_bounds,
)
from .market import PriceStep, TickKind
from .walk import Grid, RawStep, SourceBar, WalkStyle, price_step


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
        """The day's steps with whatever the source adds (halts); prints keep their prices, sizes and order."""
        ...


#: All steps of a tape's day, also those ahead of any `now`: the reader cuts.
Walk = Callable[[Tape, TradingDay], list[RawStep]]
#: Price in grid units and size of one source bar's prints.
Prints = Callable[[Tape, SourceBar, date], list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Query:
    """What bars are asked for, and the moment that they may know of."""

    tape: Tape
    size: BarSize
    source: BarSource
    now: datetime
    regular_hours: bool

    @property
    def con_id(self) -> int:
        return self.tape.details.instrument.con_id or 0


class Past:
    """Reads bars and ticks out of walked days; finished days are remembered."""

    def __init__(self, calendar: SessionCalendar, walk: Walk, prints: Prints) -> None:
        self._calendar = calendar
        self._walk = walk
        self._prints = prints
        self._days: dict[tuple[int, date, BarSource, bool], Bar | None] = {}

    def bars(self, query: Query, start: datetime, end: datetime) -> list[Bar]:
        """Bars whose time lies in [start, end), ascending; the one that contains `now` is incomplete."""
        end = min(end, query.now + timedelta(microseconds=1))
        first, last = exchange_date(start), exchange_date(end)
        if not query.size.is_intraday:
            # A daily bar carries midnight UTC, which is the evening before at the exchange.
            first, last = start.date(), min(end.date(), exchange_date(query.now))
        first = max(first, query.tape.first_day)
        days = self._calendar.trading_days(first, last) if first <= last else ()
        if query.size in (BarSize.W1, BarSize.MONTH1):
            found = self._groups(query, first, last)
        elif query.size is BarSize.D1:
            found = [bar for day in days if (bar := self._day_bar(query, day)) is not None]
        else:
            found = [bar for day in days for bar in self._adjusted(query, day, self._day_bars(query, day, query.size))]
        return [bar for bar in found if start <= bar.time < end]

    def _groups(self, query: Query, first: date, last: date) -> list[Bar]:
        """Weekly or monthly bars, each carrying its first trading day."""
        bars: list[Bar] = []
        day = first
        while day <= last:
            group = group_days(self._calendar, day, query.size)
            known = [bar for part in group if (bar := self._day_bar(query, part)) is not None]
            if known:
                complete = session_bounds(group[-1], query.regular_hours)[1] <= query.now
                bars.append(merge_bars(known, midnight(group[0].day), query.source, complete))
            if query.size is BarSize.W1:
                day += timedelta(days=7 - day.weekday())
            else:
                day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
        return bars

    def _day_bar(self, query: Query, day: TradingDay) -> Bar | None:
        """The day's bar as it stands at `now`, None when nothing has happened in it."""
        opens, closes = session_bounds(day, query.regular_hours)
        if opens > query.now:
            return None
        key = (query.con_id, day.day, query.source, query.regular_hours)
        if closes <= query.now and key in self._days:
            bar = self._days[key]
        else:
            bar = self._whole_day(query, day) if closes <= query.now else None
            if bar is None:
                bars = self._day_bars(query, day, BarSize.D1)
                bar = bars[0] if bars else None
            if closes <= query.now:
                self._days[key] = bar
        return None if bar is None else self._adjusted(query, day, [bar])[0]

    def _whole_day(self, query: Query, day: TradingDay) -> Bar | None:
        """The bar of a day that is over, made of its prints without walking their times and quotes; None where more
        than one source bar, or quotes, are needed. It equals what `_day_bars` makes."""
        source = query.tape.bars_on(day)
        if query.source not in TRADE_SOURCES or len(source) != 1:
            return None
        (whole,) = source
        if (whole.start, whole.end, whole.ends_session) != (day.open, day.close, True):
            return None
        price, builder = query.tape.grid.float, BarBuilder(query.source)
        for units, size in self._prints(query.tape, whole, day.day):
            builder.trade(price(units), size)
        return builder.bar(midnight(day.day), day.close, True)

    def _day_bars(self, query: Query, day: TradingDay, size: BarSize) -> list[Bar]:
        """The day's bars of any intraday size or of one day, from the steps up to `now`."""
        live = LiveBar(size, query.source, self._calendar, regular_hours=query.regular_hours)
        take, price, trades = live.take, query.tape.grid.float, query.source in TRADE_SOURCES
        bars: list[Bar] = []
        for moment, bid, ask, _, _, last, volume, _ in self._walk(query.tape, day):
            if moment > query.now:
                break
            if not trades:
                bars += take(moment, price(bid), price(ask), None, 0)
            elif last is not None:
                bars += take(moment, 0.0, 0.0, price(last), volume)
        bars += live.advance(min(query.now, day.post_close))
        return bars if live.bar is None else [*bars, live.bar]

    def _adjusted(self, query: Query, day: TradingDay, bars: list[Bar]) -> list[Bar]:
        """ADJUSTED_LAST, normalised to the latest day that `now` knows, so that no later dividend shows."""
        if query.source is not BarSource.ADJUSTED_LAST:
            return bars
        today = self._calendar.trading_day(exchange_date(query.now))
        known = today is not None and today.open <= query.now and bool(query.tape.bars_on(today))
        latest = today.day if today and known else query.tape.day_before(exchange_date(query.now))
        factor = 1.0 if latest is None else query.tape.adjustment(day.day) / query.tape.adjustment(latest)
        return bars if factor == 1.0 else [adjust_bar(bar, factor) for bar in bars]

    def ticks(
        self,
        tape: Tape,
        kind: TickKind,
        start: datetime | None,
        upto: datetime,
        number: int,
        regular_hours: bool,
    ) -> list[PriceStep]:
        """The first `number` from `start`, or the last `number` up to `upto`; nothing after `upto`."""
        day: date | None = exchange_date(upto if start is None else start)
        rows: list[PriceStep] = []
        while day is not None and len(rows) < number:
            session = self._calendar.trading_day(day)
            found = [] if session is None else self._day_ticks(tape, session, kind, start, upto, regular_hours)
            if start is None:
                rows, day = found + rows, tape.day_before(day)
            else:
                rows, day = rows + found, day + timedelta(days=1)
                day = day if day <= exchange_date(upto) else None
        return rows[:number] if start is not None else rows[max(0, len(rows) - number) :]

    def _day_ticks(
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
