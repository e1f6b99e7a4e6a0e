"""Replay of OHLCV bars as a market: each bar walked inside its own interval, sessions from the calendar."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from itertools import groupby

from ..domain.instrument import InstrumentDetails
from ..domain.sessions import Session, TradingDay
from ..errors import InvalidData, InvalidRequest
from .bars_files import BarRow, BarSeries, day_of
from .history import EXCHANGE_ZONE, SessionCalendar, exchange_date
from .tapes import WalkedPrices
from .walk import Grid, RawStep, SourceBar, WalkStyle

HISTORY_BARS = 200  #: bars behind the start, where there are as many (AEGS asks for 200 days)
DAILY_PRINTS = 24  #: prints of a daily bar: 20 sessions of four symbols stay below 2 000 steps
INTRADAY_PRINTS = 4


class ReplayTape:
    """One series as a tape. Rows are checked against the calendar: a bar of a closed exchange is refused.

    A row of a closed day is forgiven when nothing traded in it (volume 0, one price): some vendors fill holidays.
    """

    def __init__(self, series: BarSeries, calendar: SessionCalendar, prints: int | None = None) -> None:
        self.series = series
        self._calendar = calendar
        count = prints if prints is not None else DAILY_PRINTS if series.is_daily else INTRADAY_PRINTS
        self._style = WalkStyle(count, u_shaped=series.is_daily)
        self._days: dict[date, list[BarRow]] = {}
        for day, rows in groupby(series.rows, key=day_of):
            kept = [row for row in rows if self._is_open(row, day)]
            if kept:
                self._days[day] = kept
        if not self._days:
            raise InvalidData(f"bars in {series.source}", "none lies in a trading session", "check the dates")
        self._dates = sorted(self._days)

    @property
    def details(self) -> InstrumentDetails:
        return self.series.details

    @property
    def grid(self) -> Grid:
        return self.series.grid

    @property
    def first_day(self) -> date:
        return self._dates[0]

    @property
    def last_day(self) -> date:
        return self._dates[-1]

    def bars_on(self, day: TradingDay) -> Sequence[SourceBar]:
        return [self._bar(row, day) for row in self._days.get(day.day, ())]

    def day_before(self, day: date) -> date | None:
        at = bisect_left(self._dates, day)
        return self._dates[at - 1] if at else None

    def day_from(self, day: date) -> date | None:
        """The first day with bars at or after `day`."""
        at = bisect_left(self._dates, day)
        return self._dates[at] if at < len(self._dates) else None

    def style_on(self, day: date) -> WalkStyle:
        return self._style

    def adjustment(self, day: date) -> float:
        rows = self._days.get(day) or self._days.get(self.day_before(day) or day)
        return rows[-1].adjusted if rows else 1.0

    def disturb(self, day: TradingDay, steps: list[RawStep]) -> list[RawStep]:
        return steps

    def start_after(self, bars: int) -> datetime | None:
        """Where the first bar begins that has `bars` before it and lies in a regular session; None beyond the end.

        A shorter series is cut in half.
        """
        rows = [row for day in self._dates for row in self._days[day]]
        ahead = rows[bars if len(rows) > bars else len(rows) // 2 :]
        for row in ahead:
            session = self._calendar.trading_day(day_of(row))
            start = row.start if session and not self.series.is_daily else session and session.open
            if session and start and session.session_at(start) is Session.REGULAR:
                return start
        return None

    def _is_open(self, row: BarRow, day: date) -> bool:
        session = self._calendar.trading_day(day)
        if session is not None and (
            self.series.is_daily or session.session_at(row.start) not in (Session.CLOSED, Session.UNKNOWN)
        ):
            return True
        if row.volume == 0 and row.high == row.low:
            return False
        local = row.start if self.series.is_daily else row.start.astimezone(EXCHANGE_ZONE)
        raise InvalidData(
            f"bars in {self.series.source}, row {row.row}",
            f"the exchange was closed on {local:%A %Y-%m-%d}" + ("" if self.series.is_daily else f" at {local:%H:%M}"),
            "remove the row, or write times with their zone (without one they are New York time)",
            file=self.series.source,
            row=row.row,
        )

    def _bar(self, row: BarRow, day: TradingDay) -> SourceBar:
        prices = (row.open, row.high, row.low, row.close, row.volume)
        if self.series.is_daily:
            return SourceBar(day.open, day.close, *prices)
        base = datetime.combine(day.day, time(), EXCHANGE_ZONE).astimezone(UTC) + self.series.phase
        width = self.series.width
        end = row.start + width - (row.start - base) % width
        for edge in (day.open, day.close, day.post_close):
            if row.start < edge < end:
                end = edge
        return SourceBar(row.start, end, *prices, ends_session=end == day.close)


class ReplayPrices(WalkedPrices):
    """A PriceSource over OHLCV series. `prints` per bar (None: 24 for daily bars, 4 for shorter ones; at least 4).

    `start` is the first day to trade; None leaves HISTORY_BARS behind every symbol. A symbol rests on the days that
    its file lacks. Times without a zone are New York time. Raises InvalidData when the files and the start do not meet.
    """

    def __init__(
        self,
        series: Sequence[BarSeries],
        calendar: SessionCalendar,
        *,
        start: date | None = None,
        seed: int = 0,
        prints: int | None = None,
        quiet: int = 0,
    ) -> None:
        if not series:
            raise InvalidRequest("a replay", "there are no bars", "name at least one file")
        tapes = [ReplayTape(one, calendar, prints) for one in series]
        super().__init__(tapes, calendar, replay_start(tapes, calendar, start), seed=seed, quiet=quiet)


def replay_start(tapes: Sequence[ReplayTape], calendar: SessionCalendar, start: date | None) -> datetime:
    """Where market time begins over these bars, as ReplayPrices has it. Raises InvalidData, InvalidRequest."""
    return _default_start(tapes) if start is None else _start_on(tapes, calendar, start)


def _default_start(tapes: Sequence[ReplayTape]) -> datetime:
    begins = []
    for tape in tapes:
        start = tape.start_after(HISTORY_BARS)
        if start is None:
            raise InvalidData(
                f"bars in {tape.series.source}", "no bar of a regular session follows its history", "give more bars"
            )
        begins.append(start)
    start = max(begins)
    for tape in tapes:
        if exchange_date(start) > tape.last_day:
            raise InvalidData(
                f"bars in {tape.series.source}",
                f"they end on {tape.last_day}, before another file has its history ({exchange_date(start)})",
                "give files of the same time, or a start date",
                file=tape.series.source,
            )
    return start


def _start_on(tapes: Sequence[ReplayTape], calendar: SessionCalendar, start: date) -> datetime:
    """The first regular open at or after `start` on which a symbol trades, with at least one bar behind it."""
    first, last = min(tape.first_day for tape in tapes), max(tape.last_day for tape in tapes)
    days = [day for tape in tapes if (day := tape.day_from(start)) is not None]
    session = calendar.trading_day(min(days)) if days else None
    if session is None or session.day <= first:
        raise InvalidRequest(
            f"a replay from {start}",
            f"the bars reach from {first} to {last}",
            "start after the first day, and not after the last",
        )
    return session.open
