"""Bars kept between two questions of an agent, so that a scan is one round and a second look asks only for what is new.

An answer serves only the question that it was given for: same symbol, size, source and hours, and a span inside the one
that was asked. Closed bars stay for the rest of the exchange's day (a split or a dividend changes the past overnight);
what may still change is asked again after `LIFE`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ...brokers.domain.market_data import Bar, BarSize, BarSource
from ...brokers.errors import BrokerError, InvalidInstrument, NoData
from ...brokers.sync import SyncBroker
from .host_timeframes import NEW_YORK

#: Seconds, of the machine's and of the market's clock, that the newest bar is believed.
LIFE = 15.0
#: Series kept; the least recently used one goes first.
CAPACITY = 1024

Answer = list[Bar] | BrokerError


@dataclass(frozen=True, slots=True)
class Series:
    """What bars are made of, without a symbol and a span."""

    size: BarSize
    source: BarSource = BarSource.TRADES
    regular_hours: bool = True


@dataclass(frozen=True, slots=True)
class _Held:
    """An answer from `start` to `end` (None: to the moment `asked_at`, market time)."""

    answer: Answer
    start: datetime
    end: datetime | None
    asked_at: datetime
    told_at: float

    @property
    def day(self) -> date:
        return self.asked_at.astimezone(NEW_YORK).date()


class BarCache:
    """Asks a SyncBroker for many symbols at a time and keeps the answers. Safe from several threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, Series, datetime | None], _Held] = OrderedDict()

    def read(
        self,
        broker: SyncBroker,
        symbols: Iterable[str],
        series: Series,
        start: datetime,
        end: datetime | None,
        now: datetime,
    ) -> dict[str, Answer]:
        """Bars that begin in [start, end) per symbol as spelt, ascending; `end` None or after `now` means now.

        Known to be none is an empty list. A symbol that fails has its error as value, a lost link too: the caller
        decides. `now` is market time. Raises what the round as a whole raises (DeadlineExceeded, NotConnected).
        """
        adjusted = series.source is BarSource.ADJUSTED_LAST  # which IB only answers up to now
        closed = end if end is not None and end < now and not adjusted else None
        wanted = list(dict.fromkeys(symbols))
        found: dict[str, Answer] = {}
        whole: list[str] = []
        onward: dict[datetime, list[str]] = {}
        for symbol in wanted:
            held = self._look_up(symbol, series, start, closed, now)
            if held is None:
                whole.append(symbol)
            elif self._is_fresh(held, now):
                found[symbol] = held.answer
            else:
                since = _last_closed(held.answer)
                if since is None or closed is not None:
                    whole.append(symbol)
                else:
                    onward.setdefault(since, []).append(symbol)
        for since, group in onward.items():
            for symbol, answer in self._ask(broker, group, series, since, None).items():
                joined = self._join(symbol, series, answer, since, now)
                if joined is None:
                    whole.append(symbol)
                else:
                    found[symbol] = joined
        if whole:
            for symbol, answer in self._ask(broker, whole, series, start, closed).items():
                self._keep(symbol, series, _Held(answer, start, closed, now, self._monotonic()))
                found[symbol] = answer
        return {symbol: _cut(found[symbol], start, end) for symbol in wanted}

    def _look_up(
        self, symbol: str, series: Series, start: datetime, end: datetime | None, now: datetime
    ) -> _Held | None:
        key = (symbol, series, end)
        with self._lock:
            held = self._held.get(key)
            if held is None or held.start > start or held.day != now.astimezone(NEW_YORK).date():
                return None
            self._held.move_to_end(key)
            return held

    def _is_fresh(self, held: _Held, now: datetime) -> bool:
        if held.end is not None and isinstance(held.answer, list) and all(bar.complete for bar in held.answer[-1:]):
            return True
        young = self._monotonic() - held.told_at < LIFE
        return young and timedelta(0) <= now - held.asked_at < timedelta(seconds=LIFE)

    def _join(self, symbol: str, series: Series, newer: Answer, since: datetime, now: datetime) -> Answer | None:
        """What was held and what came after it; None when the two do not fit (a split, a correction): ask for all."""
        if isinstance(newer, BrokerError):
            return newer
        with self._lock:
            held = self._held.get((symbol, series, None))
        if held is None or isinstance(held.answer, BrokerError) or not newer:
            return None
        older = [bar for bar in held.answer if bar.time <= since]
        if not older or not _same(older[-1], newer[0]):
            return None
        answer: Answer = [*older[:-1], *newer]
        self._keep(symbol, series, _Held(answer, held.start, None, now, self._monotonic()))
        return answer

    def _ask(
        self, broker: SyncBroker, symbols: Sequence[str], series: Series, start: datetime, end: datetime | None
    ) -> dict[str, Answer]:
        answers = broker.many_bars(
            symbols, series.size, start=start, end=end, source=series.source, regular_hours=series.regular_hours
        )
        found: dict[str, Answer] = {}
        for symbol in symbols:
            answer: Answer = answers[symbol]
            found[symbol] = [] if isinstance(answer, NoData) else answer
        return found

    def _keep(self, symbol: str, series: Series, held: _Held) -> None:
        """Only what is known is kept: bars, none, or that there is no such instrument."""
        if isinstance(held.answer, BrokerError) and not isinstance(held.answer, InvalidInstrument):
            return
        key = (symbol, series, held.end)
        with self._lock:
            self._held[key] = held
            self._held.move_to_end(key)
            while len(self._held) > CAPACITY:
                self._held.popitem(last=False)


def _last_closed(answer: Answer) -> datetime | None:
    if isinstance(answer, BrokerError):
        return None
    return next((bar.time for bar in reversed(answer) if bar.complete), None)


def _same(older: Bar, newer: Bar) -> bool:
    return (older.time, older.open, older.high, older.low, older.close) == (
        newer.time,
        newer.open,
        newer.high,
        newer.low,
        newer.close,
    )


def _cut(answer: Answer, start: datetime, end: datetime | None) -> Answer:
    if isinstance(answer, BrokerError):
        return answer
    return [bar for bar in answer if bar.time >= start and (end is None or bar.time < end)]
