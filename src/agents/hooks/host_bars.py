"""Bars as the host's agents ask for them: a timeframe's name, days back, a DataFrame. Synchronous, from any thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...brokers.base_broker import bars_to_frame
from ...brokers.domain.instrument import normalize_symbol
from ...brokers.domain.market_data import Bar, BarSource
from ...brokers.errors import BrokerError, InvalidInstrument, InvalidRequest, LinkError, NoData
from ...brokers.sync import SyncBroker
from .bar_cache import Answer, BarCache, Series
from .host_timeframes import TIMEFRAMES, Timeframe, midnight
from .host_timeframes import timeframe as find_timeframe

if TYPE_CHECKING:
    import pandas as pd

#: Days before an empty span in which the last traded session is looked for.
LOOK_BACK = timedelta(days=15)
#: The longest span that may be asked for.
LONGEST = timedelta(days=40 * 366)
#: Real seconds that a round of many symbols gets for each of them, when that is more than the broker's own deadline.
SECONDS_PER_SYMBOL = 2.0
#: Spans tried by `last` before fewer bars are answered than were asked for.
_WIDENINGS = 4
_DAILY = TIMEFRAMES["1D"]


class HostBars:
    """Historical bars in the host's words, read through one broker with one cache.

    Frames have an ascending UTC DatetimeIndex named Date (each bar's start) and float columns Open High Low Close
    Volume; nothing is padded or invented. `frame.attrs` tells `symbol`, `timeframe`, `source`, `running` (whether the
    last bar may still change) and `note` (None, or why the span is not the one that was asked for). Every frame is the
    caller's own copy.

    Every call ends within a deadline: the broker's, or two seconds a symbol where that is more; `timeout` (real
    seconds) sets another one. A lost link raises LinkError (also when only some symbols met it), a passed deadline
    DeadlineExceeded; an empty answer is never given for an unknown one.
    """

    def __init__(self, broker: Callable[[], SyncBroker], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._cache = BarCache(monotonic)

    def frame(
        self,
        symbol: str,
        timeframe: str,
        days_back: float,
        *,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
        timeout: float | None = None,
    ) -> pd.DataFrame:
        """The bars that reach into the last `days_back` calendar days (a fraction is allowed: 0.083 is two hours).

        Days count back from market time. Where the market was closed all that time, the answer is the last stretch of
        the same length that was traded (at night, two hours are the session's last two), and `attrs["note"]` says so.

        Raises InvalidRequest for an unknown timeframe or span, UnknownInstrument, NoData when nothing was traded.
        """
        answer = self.frames(
            [symbol], timeframe, days_back, source=source, regular_hours=regular_hours, timeout=timeout
        )[symbol]
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    def frames(
        self,
        symbols: Iterable[str],
        timeframe: str,
        days_back: float,
        *,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
        timeout: float | None = None,
    ) -> dict[str, pd.DataFrame | BrokerError]:
        """`frame` of a list in one round, keyed as the caller spelt them; a symbol that fails has its error as
        value."""
        row, span = find_timeframe(timeframe), _span(days_back)
        wanted = list(dict.fromkeys(symbols))
        broker = self._for(len(wanted), timeout)
        now = broker.market_time()
        answers = self._bars(broker, wanted, row, now - span, None, now, source, regular_hours)
        notes: dict[str, str] = {}
        idle = [symbol for symbol in wanted if answers[symbol] == []]
        if idle:
            earlier = self._last_stretches(broker, idle, row, span, now, source, regular_hours)
            answers |= earlier
            notes = {symbol: _closed_note(row, span, now) for symbol in idle}
        return {symbol: _framed(symbol, row, source, answer, notes.get(symbol)) for symbol, answer in answers.items()}

    def last(
        self,
        symbol: str,
        timeframe: str,
        bars: int,
        *,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
        timeout: float | None = None,
    ) -> pd.DataFrame:
        """The last `bars` bars that were traded, the running one included; fewer (and a note) where there are no more.

        Raises as `frame` does, and InvalidRequest for a number below 1.
        """
        answer = self.lasts([symbol], timeframe, bars, source=source, regular_hours=regular_hours, timeout=timeout)
        framed = answer[symbol]
        if isinstance(framed, BrokerError):
            raise framed
        return framed

    def lasts(
        self,
        symbols: Iterable[str],
        timeframe: str,
        bars: int,
        *,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
        timeout: float | None = None,
    ) -> dict[str, pd.DataFrame | BrokerError]:
        """`last` of a list in one round, keyed as the caller spelt them; a symbol that fails has its error as value.
        Each `last` that follows is answered from the cache."""
        row = find_timeframe(timeframe)
        if bars < 1:
            raise InvalidRequest(f"the last {bars} {row.name} bars", "it is below 1", "ask for at least one bar")
        wanted = list(dict.fromkeys(symbols))
        broker = self._for(len(wanted), timeout)
        now = broker.market_time()
        found: dict[str, Answer] = {symbol: [] for symbol in wanted}
        open_ones, span = wanted, row.span_for(bars, regular_hours)
        for _ in range(_WIDENINGS):
            answers = self._bars(broker, open_ones, row, now - span, None, now, source, regular_hours)
            # Days cost little to look for; minutes are not looked for before the first that there are.
            before = {symbol: _count(found[symbol]) if row.is_intraday else 0 for symbol in open_ones}
            found |= answers
            open_ones = [
                symbol
                for symbol, answer in answers.items()
                if isinstance(answer, list) and len(answer) < bars and not 0 < len(answer) <= before[symbol]
            ]
            if not open_ones or span >= LONGEST:
                break
            span = min(span * 3, LONGEST)
        return {symbol: _framed_last(symbol, row, source, answer, bars) for symbol, answer in found.items()}

    def daily(
        self,
        symbols: Iterable[str],
        *,
        days: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        source: BarSource = BarSource.ADJUSTED_LAST,
        timeout: float | None = None,
    ) -> dict[str, pd.DataFrame | BrokerError]:
        """Daily bars in one round, adjusted for splits and dividends: the last `days` trading days, or those of the
        days from `start` on (both: the last `days` of them) and before `end` (aware; None means now), today's running
        bar included. IB adjusts only up to now, so an earlier `end` is cut afterwards.

        Keyed as the caller spelt them; a symbol that fails, or has no bars (NoData), has its error as value.
        """
        if days is None and start is None:
            raise InvalidRequest("daily bars", "neither days nor start is given", "give one of them")
        if days is not None and days < 1:
            raise InvalidRequest(f"daily bars of {days} days", "it is below 1")
        wanted = list(dict.fromkeys(symbols))
        broker = self._for(len(wanted), timeout)
        now = broker.market_time()
        first = start or min(end or now, now) - _DAILY.span_for(days or 1)
        if first >= now:
            error = NoData("daily bars", f"the span begins at {first:%Y-%m-%d %H:%M}, market time is {now:%Y-%m-%d}")
            return dict.fromkeys(wanted, error)
        answers = self._bars(broker, wanted, _DAILY, first, end, now, source, True)
        cut = {
            symbol: answer[-(days or 0) :] if isinstance(answer, list) else answer for symbol, answer in answers.items()
        }
        return {symbol: _framed(symbol, _DAILY, source, answer) for symbol, answer in cut.items()}

    def span(
        self,
        symbols: Iterable[str],
        row: Timeframe,
        start: datetime,
        end: datetime | None = None,
        *,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
        timeout: float | None = None,
    ) -> dict[str, pd.DataFrame | BrokerError]:
        """The bars of any timeframe that reach into [start, end), aware moments; `end` None means now. Nothing there
        is NoData. In one round, keyed as the caller spelt them."""
        wanted = list(dict.fromkeys(symbols))
        broker = self._for(len(wanted), timeout)
        now = broker.market_time()
        if start >= now:
            error = NoData(
                f"{row.name} bars", f"the span begins at {start.isoformat()}, market time is {now.isoformat()}"
            )
            return dict.fromkeys(wanted, error)
        answers = self._bars(broker, wanted, row, start, end, now, source, regular_hours)
        return {symbol: _framed(symbol, row, source, answer) for symbol, answer in answers.items()}

    def prefetch(
        self,
        symbols: Iterable[str],
        timeframe: str,
        days: float,
        *,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
    ) -> dict[str, BrokerError]:
        """Ask for a whole list in one round, so that the `frame` of each that follows is answered from the cache.
        Returns the errors of the symbols that have any."""
        answers = self.frames(symbols, timeframe, days, source=source, regular_hours=regular_hours)
        return {symbol: answer for symbol, answer in answers.items() if isinstance(answer, BrokerError)}

    def market_time(self) -> datetime:
        """The exchange's clock, aware UTC; raises LinkError when there is no link."""
        return self._broker().market_time()

    def _for(self, symbols: int, timeout: float | None) -> SyncBroker:
        broker = self._broker()
        return broker.within(max(broker.timeout, symbols * SECONDS_PER_SYMBOL) if timeout is None else timeout)

    def _bars(
        self,
        broker: SyncBroker,
        symbols: Sequence[str],
        row: Timeframe,
        start: datetime,
        end: datetime | None,
        now: datetime,
        source: BarSource,
        regular_hours: bool,
    ) -> dict[str, Answer]:
        """Bars of a timeframe that reach into [start, end), keyed as spelt; raises LinkError, whoever met it."""
        names = {symbol: _spelling(symbol) for symbol in symbols}
        series = Series(row.size, source, regular_hours)
        answers = self._cache.read(broker, names.values(), series, row.fetch_start(start), end, now)
        for answer in answers.values():
            if isinstance(answer, LinkError):
                raise answer
        found: dict[str, Answer] = {}
        for symbol, name in names.items():
            answer = answers[name]
            if isinstance(answer, list):
                answer = row.reaching(answer, start, now, regular_hours)
            found[symbol] = answer
        return found

    def _last_stretches(
        self,
        broker: SyncBroker,
        symbols: Sequence[str],
        row: Timeframe,
        span: timedelta,
        now: datetime,
        source: BarSource,
        regular_hours: bool,
    ) -> dict[str, Answer]:
        """For symbols that did not trade in a span: the last stretch of that length that they did trade in."""
        days = self._bars(broker, symbols, _DAILY, now - span - LOOK_BACK, None, now, source, regular_hours)
        found: dict[str, Answer] = {}
        by_day: dict[datetime, list[str]] = {}
        for symbol, answer in days.items():
            if isinstance(answer, BrokerError) or not answer:
                found[symbol] = answer
            else:
                # Noon UTC of a day lies on the same day in New York.
                by_day.setdefault(midnight(answer[-1].time.date()) + timedelta(hours=12), []).append(symbol)
        for day, group in by_day.items():
            for symbol, answer in self._bars(broker, group, row, day, None, now, source, regular_hours).items():
                if isinstance(answer, list) and answer:
                    first = row.end_of(answer[-1], regular_hours) - span
                    if row.fetch_start(first) < row.fetch_start(day):
                        answer = self._bars(broker, [symbol], row, first, None, now, source, regular_hours)[symbol]
                    if isinstance(answer, list):
                        answer = [bar for bar in answer if row.end_of(bar, regular_hours) > first]
                found[symbol] = answer
        return found


def _spelling(symbol: str) -> str:
    """The normalised symbol; text that is no ticker stays as it is, and the broker says so."""
    try:
        return normalize_symbol(symbol)
    except InvalidInstrument:
        return symbol


def _span(days_back: float) -> timedelta:
    if not (math.isfinite(days_back) and 0 < days_back <= LONGEST.days):
        raise InvalidRequest(
            f"bars of the last {days_back} days", f"it is not between 0 and {LONGEST.days}", "ask for a shorter span"
        )
    return timedelta(days=days_back)


def _closed_note(row: Timeframe, span: timedelta, now: datetime) -> str:
    span = timedelta(seconds=round(span.total_seconds()))
    return f"no {row.name} bar in the {span} before {now:%Y-%m-%d %H:%M} UTC: the last {span} that were traded instead"


def _count(answer: Answer) -> int:
    return len(answer) if isinstance(answer, list) else 0


def _framed_last(
    symbol: str, row: Timeframe, source: BarSource, answer: Answer, bars: int
) -> pd.DataFrame | BrokerError:
    if isinstance(answer, BrokerError):
        return answer
    note = None if len(answer) >= bars else f"there are no more than {len(answer)} of {bars} bars"
    return _framed(symbol, row, source, answer[-bars:], note)


def _framed(
    symbol: str, row: Timeframe, source: BarSource, answer: Answer, note: str | None = None
) -> pd.DataFrame | BrokerError:
    if isinstance(answer, BrokerError):
        return answer
    if not answer:
        return NoData(f"{row.name} bars of {symbol}", "nothing was traded in that span", "ask for a longer one")
    frame = bars_to_frame(answer)
    frame.attrs.update(_attributes(symbol, row, source, answer[-1], note))
    return frame


def _attributes(symbol: str, row: Timeframe, source: BarSource, last: Bar, note: str | None) -> Mapping[str, object]:
    return {
        "symbol": symbol,
        "timeframe": row.name,
        "source": source.value,
        "running": not last.complete,
        "note": note,
    }
