"""Bars of any size out of steps: the one engine behind history, `keepUpToDate` and real-time bars.

Everything is built from what happened, step by step, so that a bar read as history equals the bar that was streamed.
Intraday bars start on the exchange's clock, the first of a session at its open (one hour: 09:30, 10:00, 11:00 …).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from ..domain.market_data import Bar, BarSize, BarSource
from ..domain.sessions import TradingDay
from .market import PriceStep

TRADE_SOURCES = (BarSource.TRADES, BarSource.ADJUSTED_LAST)
EXCHANGE_ZONE = ZoneInfo("America/New_York")


class SessionCalendar(Protocol):
    """When the market trades."""

    def trading_day(self, day: date) -> TradingDay | None:
        """The day's session times; None when the exchange is closed."""
        ...

    def trading_days(self, start: date, end: date) -> Sequence[TradingDay]:
        """All trading days from `start` to `end`, both included, ascending."""
        ...


def midnight(day: date) -> datetime:
    """The time that a bar of a whole day carries: midnight UTC of its day."""
    return datetime.combine(day, time(), UTC)


def exchange_date(moment: datetime) -> date:
    """The calendar day of `moment` where the exchange stands."""
    return moment.astimezone(EXCHANGE_ZONE).date()


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bar's interval: a step belongs to it when start <= time < end, and at `end` when `closing` (closing print).

    `label` is the bar's time. `last` says that no bucket of the same session follows.
    """

    label: datetime
    start: datetime
    end: datetime
    closing: bool
    last: bool

    def holds(self, moment: datetime) -> bool:
        return moment < self.end or (self.closing and moment == self.end)


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One session of a SCHEDULE answer (message 106), aware UTC; `day` is its reference date."""

    start: datetime
    end: datetime
    day: date


def session_bounds(day: TradingDay, regular_hours: bool) -> tuple[datetime, datetime]:
    return (day.open, day.close) if regular_hours else (day.pre_open, day.post_close)


def schedule(calendar: SessionCalendar, start: date, end: date, *, regular_hours: bool = True) -> list[ScheduleRow]:
    """The sessions of all trading days from `start` to `end`, both included."""
    days = calendar.trading_days(start, end)
    return [ScheduleRow(*session_bounds(day, regular_hours), day.day) for day in days]


def group_days(calendar: SessionCalendar, day: date, size: BarSize) -> Sequence[TradingDay]:
    """The trading days of the day, ISO week or month around `day`."""
    if size is BarSize.W1:
        first = day - timedelta(days=day.weekday())
        return calendar.trading_days(first, first + timedelta(days=6))
    if size is BarSize.MONTH1:
        first = day.replace(day=1)
        return calendar.trading_days(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))
    return calendar.trading_days(day, day)


def bucket_at(
    moment: datetime, day: TradingDay, size: BarSize, regular_hours: bool, calendar: SessionCalendar
) -> Bucket | None:
    """The interval of the bar that `moment` belongs to; None outside the session."""
    opens, closes = session_bounds(day, regular_hours)
    if not opens <= moment <= closes:
        return None
    if not size.is_intraday:
        days = group_days(calendar, day.day, size)
        start, end = session_bounds(days[0], regular_hours)[0], session_bounds(days[-1], regular_hours)[1]
        return Bucket(midnight(days[0].day), start, end, True, True)
    # The closing print is the last of the bar that it closes, not the first of the next.
    inside = moment - timedelta(microseconds=1) if moment in (day.close, closes) else moment
    base = datetime.combine(day.day, time(), EXCHANGE_ZONE).astimezone(UTC)
    width = timedelta(seconds=size.seconds)
    start = base + (inside - base) // width * width
    end = start + width
    if inside < day.close < end:
        end = day.close
    elif start < day.close <= inside:
        start = day.close
    start, end = max(start, opens), min(end, closes)
    return Bucket(start, start, end, end in (day.close, closes), end >= closes)


class BarBuilder:
    """One bar in the making, of any source. Prices as floats; quote sources have no volume, average or count."""

    __slots__ = (
        "_area_ask",
        "_area_bid",
        "_ask",
        "_bid",
        "_count",
        "_quoted",
        "_seconds",
        "_source",
        "_turnover",
        "_volume",
        "close",
        "high",
        "low",
        "open",
    )

    def __init__(self, source: BarSource) -> None:
        self._source = source
        self.open: float | None = None
        self.high = self.low = self.close = 0.0
        self._volume = self._turnover = 0.0
        self._count = 0
        self._bid = self._ask = self._area_bid = self._area_ask = self._seconds = 0.0
        self._quoted: datetime | None = None

    def trade(self, price: float, size: float) -> None:
        """One print; a size of 0 is a price without volume."""
        if self.open is None:
            self.open = self.low = self.high = price
        elif price < self.low:
            self.low = price
        elif price > self.high:
            self.high = price
        self.close = price
        self._volume += size
        self._turnover += price * size
        self._count += 1

    def flat(self, price: float) -> None:
        """An interval without a print keeps the price before it."""
        self._touch(price, price, price)

    def quote(self, moment: datetime, bid: float, ask: float) -> None:
        """The quote in force from `moment` on."""
        if self._source is BarSource.BID_ASK:
            self._weigh(moment)
            self._bid, self._ask, self._quoted = bid, ask, moment
            self._touch(bid, ask, ask)
        else:
            price = bid if self._source is BarSource.BID else ask if self._source is BarSource.ASK else (bid + ask) / 2
            self._touch(price, price, price)

    def resume(self, bar: Bar) -> None:
        """Go on from a bar that was read as history."""
        self.open, self.high, self.low, self.close = bar.open, bar.high, bar.low, bar.close
        self._volume, self._count = bar.volume or 0.0, bar.count or 0
        self._turnover = (bar.average or 0.0) * self._volume

    def bar(self, label: datetime, until: datetime, complete: bool) -> Bar | None:
        """The bar as it stands at `until`; None when nothing happened in it."""
        if self.open is None:
            return None
        if self._source in TRADE_SOURCES:
            average = self._turnover / self._volume if self._volume else self.close
            return Bar(
                label, self.open, self.high, self.low, self.close, self._volume, average, self._count, complete=complete
            )
        if self._source is not BarSource.BID_ASK:
            return Bar(label, self.open, self.high, self.low, self.close, complete=complete)
        # IB: open is the time-weighted average bid, close the time-weighted average ask.
        self._weigh(until)
        self._quoted = until
        bid = self._area_bid / self._seconds if self._seconds else self._bid
        ask = self._area_ask / self._seconds if self._seconds else self._ask
        return Bar(label, bid, self.high, self.low, ask, complete=complete)

    def _touch(self, low: float, high: float, close: float) -> None:
        if self.open is None:
            self.open, self.low, self.high = low, low, high
        else:
            if low < self.low:
                self.low = low
            if high > self.high:
                self.high = high
        self.close = close

    def _weigh(self, moment: datetime) -> None:
        if self._quoted is not None and moment > self._quoted:
            seconds = (moment - self._quoted).total_seconds()
            self._area_bid += self._bid * seconds
            self._area_ask += self._ask * seconds
            self._seconds += seconds


class LiveBar:
    """The bar that is being made, and the bars that its steps close.

    Feed every step in time order; call `advance` when time passes without one, after all steps up to that moment were
    fed. `fill` gives intervals without a print a flat bar of volume 0 (real-time bars come every five seconds whatever
    happens; quote sources always fill); without it they are left out, as in IB's history of trades.

    `current` is the incomplete bar that history returned for this moment, to go on from.
    """

    def __init__(
        self,
        size: BarSize,
        source: BarSource,
        calendar: SessionCalendar,
        *,
        regular_hours: bool = True,
        fill: bool = False,
        current: Bar | None = None,
    ) -> None:
        self.size, self.source, self.regular_hours = size, source, regular_hours
        self._trades = source in TRADE_SOURCES
        self._fill = fill or not self._trades
        self._calendar = calendar
        self._day: TradingDay | None = None
        self._bucket: Bucket | None = None
        self._builder = BarBuilder(source)
        self._quote: tuple[float, float] | None = None
        self._last: float | None = None
        self._now: datetime | None = None
        self._current = current

    @property
    def bar(self) -> Bar | None:
        """The bar as it stands, complete=False; None before the first step or outside the session."""
        if self._bucket is None or self._now is None:
            return None
        return self._builder.bar(self._bucket.label, self._now, False)

    def feed(self, step: PriceStep) -> list[Bar]:
        """Take one step; returns the bars that it closed, oldest first."""
        last = None if step.last is None else float(step.last)
        size = 0.0 if step.last_size is None else float(step.last_size)
        return self.take(step.time, float(step.bid), float(step.ask), last, size)

    def take(self, moment: datetime, bid: float, ask: float, last: float | None, size: float) -> list[Bar]:
        """`feed` in plain floats."""
        bucket = self._bucket
        closed: list[Bar] = []
        if bucket is None or (moment >= bucket.end and not bucket.holds(moment)):
            closed = self._roll(moment)
            bucket = self._bucket
        self._now = moment
        if bucket is None:
            return closed
        if not self._trades:
            self._builder.quote(moment, bid, ask)
            self._quote = (bid, ask)
        elif last is not None:
            self._builder.trade(last, size)
            self._last = last
        return closed

    def advance(self, now: datetime) -> list[Bar]:
        """Close every bar whose interval ends at or before `now`."""
        closed: list[Bar] = []
        while self._bucket is not None and self._bucket.end <= now:
            closed += self._close()
        self._now = now if self._now is None else max(self._now, now)
        return closed

    def _roll(self, moment: datetime) -> list[Bar]:
        """Close what `moment` ends and open the bar that it belongs to."""
        closed: list[Bar] = []
        while self._bucket is not None and not self._bucket.holds(moment):
            closed += self._close()
        if self._bucket is not None:
            return closed
        if self._day is None or not self._day.pre_open <= moment <= self._day.post_close:
            self._day = self._calendar.trading_day(exchange_date(moment))
            self._quote = self._last = None
        self._bucket = None
        if self._day is not None:
            self._bucket = bucket_at(moment, self._day, self.size, self.regular_hours, self._calendar)
        self._builder = BarBuilder(self.source)
        if self._bucket is not None and self._current is not None:
            if self._current.time == self._bucket.label and not self._current.complete:
                self._builder.resume(self._current)
            self._current = None
        return closed

    def _close(self) -> list[Bar]:
        """Close the bar in the making and, within the session, open the next one."""
        bucket = self._bucket
        if bucket is None:
            return []
        bar = self._builder.bar(bucket.label, bucket.end, True)
        self._builder = BarBuilder(self.source)
        self._bucket = None
        if self._fill and not bucket.last and self._day is not None:
            # One microsecond on: at the regular close itself a moment still belongs to the bar before.
            inside = bucket.end + timedelta(microseconds=1)
            self._bucket = bucket_at(inside, self._day, self.size, self.regular_hours, self._calendar)
            self._carry(bucket.end)
        return [] if bar is None else [bar]

    def _carry(self, moment: datetime) -> None:
        if self._quote is not None:
            self._builder.quote(moment, *self._quote)
        elif self._last is not None:
            self._builder.flat(self._last)


def merge_bars(bars: Sequence[Bar], label: datetime, source: BarSource, complete: bool) -> Bar:
    """One bar out of several consecutive ones (a week of days). At least one is needed."""
    first, last = bars[0], bars[-1]
    opened, closed = first.open, last.close
    if source is BarSource.BID_ASK:
        opened = sum(bar.open for bar in bars) / len(bars)
        closed = sum(bar.close for bar in bars) / len(bars)
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    if first.volume is None:
        return Bar(label, opened, high, low, closed, complete=complete)
    volume = sum(bar.volume or 0.0 for bar in bars)
    turnover = sum((bar.average or 0.0) * (bar.volume or 0.0) for bar in bars)
    average = turnover / volume if volume else closed
    count = sum(bar.count or 0 for bar in bars)
    return Bar(label, opened, high, low, closed, volume, average, count, complete=complete)


def adjust_bar(bar: Bar, factor: float, digits: int = 4) -> Bar:
    """Prices times `factor` (dividends and splits between the bar and now), rounded to `digits` decimals."""
    average = None if bar.average is None else bar.average * factor
    opened, high, low, closed = (round(price * factor, digits) for price in (bar.open, bar.high, bar.low, bar.close))
    return Bar(bar.time, opened, high, low, closed, bar.volume, average, bar.count, complete=bar.complete)
