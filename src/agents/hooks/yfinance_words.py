"""yfinance's words: intervals, periods, moments, and which tickers name something that IB knows under that name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType

import pandas as pd

from ...brokers.domain.market_data import BarSize
from ...brokers.errors import InvalidRequest
from .host_timeframes import NEW_YORK, TIMEFRAMES, Grouping, Timeframe

#: What yfinance has as default; it means one month unless start or end is given.
DEFAULT_PERIOD = "1mo if start & end None"
#: Hours begin at the open (09:30, 10:30 …) as at Yahoo, hence built from half hours; longer bars from adjusted days.
INTERVALS: Mapping[str, Timeframe] = MappingProxyType(
    {
        row.name: row
        for row in (
            Timeframe("1m", BarSize.M1),
            Timeframe("2m", BarSize.M2),
            Timeframe("5m", BarSize.M5),
            Timeframe("15m", BarSize.M15),
            Timeframe("30m", BarSize.M30),
            Timeframe("60m", BarSize.M30, 2, Grouping.SESSION),
            Timeframe("90m", BarSize.M30, 3, Grouping.SESSION),
            Timeframe("1h", BarSize.M30, 2, Grouping.SESSION),
            Timeframe("1d", BarSize.D1),
            Timeframe("1wk", BarSize.D1, 7, Grouping.WEEK),
            Timeframe("1mo", BarSize.D1, 30, Grouping.MONTH),
            Timeframe("3mo", BarSize.D1, 91, Grouping.QUARTER),
        )
    }
)
#: How far back `max` goes, by bar length; days and longer as far as IB's daily history usually reaches.
_MAX_BACK: tuple[tuple[timedelta, timedelta], ...] = (
    (timedelta(minutes=1), timedelta(days=8)),
    (timedelta(minutes=30), timedelta(days=60)),
    (timedelta(minutes=90), timedelta(days=730)),
    (timedelta.max, timedelta(days=30 * 365)),
)
_PERIOD = re.compile(r"^([1-9]\d*)(d|wk|mo|y)$")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of each ticker, at `now` (market time). `start` and `end` aware or None (`end` None: now);
    `sessions` is the number of last trading days instead of a start, None where a start is given."""

    now: datetime
    row: Timeframe
    start: datetime | None
    end: datetime | None
    sessions: int | None
    text: str


def interval_row(word: str) -> Timeframe:
    """Raises InvalidRequest naming the intervals that are answered."""
    row = INTERVALS.get(word.lower()) if isinstance(word, str) else None
    if row is None:
        raise InvalidRequest(f"interval {word!r}", "there are no such bars", f"use one of {', '.join(INTERVALS)}")
    return row


def question(period: str | None, interval: str, start: object, end: object, now: datetime) -> Question:
    """yfinance's arguments as one question; `now` is market time. `Nd` means N trading days, as Yahoo has it.

    Raises InvalidRequest for words that nobody knows, and for period, start and end together.
    """
    row = interval_row(interval)
    begin, until = moment(start), moment(end)
    if period in (None, DEFAULT_PERIOD):
        period = None if begin or until else "1mo"
    if period is None:
        if begin is None and until is not None:
            begin = _back(until, "1mo")
        return Question(now, row, begin, until, None, f"({row.name} {start} -> {end})")
    if begin is not None and until is not None:
        raise InvalidRequest(f"period {period} with start and end", "two of the three say it all", "leave one out")
    word = period.lower()
    text = f"(period={period})"
    if word == "max":
        reach = next(back for length, back in _MAX_BACK if row.length <= length)
        return Question(now, row, begin or (until or now) - reach, until, None, text)
    if word == "ytd":
        return Question(now, row, begin or _local_midnight(date(_local(now).year, 1, 1)), until, None, text)
    if not _PERIOD.match(word):
        raise InvalidRequest(f"period {period!r}", "there is no such period", "use e.g. 5d, 3wk, 6mo, 2y, ytd or max")
    if begin is not None:
        return Question(now, row, begin, _on(begin, word), None, text)
    if until is not None:
        return Question(now, row, _back(until, word), until, None, text)
    if word.endswith("d"):
        return Question(now, row, None, None, int(word[:-1]), text)
    return Question(now, row, _back(_local_midnight(_local(now).date()), word), None, None, text)


def moment(value: object) -> datetime | None:
    """A start or an end as yfinance takes it: text, a date, a datetime (naive: New York) or seconds since 1970.

    Raises InvalidRequest for anything else.
    """
    if value is None:
        return None
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        stamp = pd.Timestamp(value)  # type: ignore[arg-type]
        if pd.isna(stamp):
            raise ValueError("no moment")
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise InvalidRequest(f"moment {value!r}", str(error), "use YYYY-MM-DD or a datetime") from None
    local = stamp.tz_localize(NEW_YORK) if stamp.tzinfo is None else stamp
    return local.tz_convert("UTC").to_pydatetime()


def _local(value: datetime) -> datetime:
    return value.astimezone(NEW_YORK)


def _local_midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def _back(value: datetime, word: str) -> datetime:
    return _shifted(value, word, -1)


def _on(value: datetime, word: str) -> datetime:
    return _shifted(value, word, 1)


def _offset(unit: str, count: int) -> pd.DateOffset:
    if unit == "d":
        return pd.DateOffset(days=count)
    if unit == "wk":
        return pd.DateOffset(weeks=count)
    return pd.DateOffset(months=count * (12 if unit == "y" else 1))


def _shifted(value: datetime, word: str, sign: int) -> datetime:
    match = _PERIOD.match(word)
    if match is None:
        raise InvalidRequest(f"period {word!r}", "there is no such period")
    try:
        shifted = pd.Timestamp(_local(value)) + _offset(match[2], sign * int(match[1]))
    except (OverflowError, ValueError) as error:
        raise InvalidRequest(f"period {word!r}", str(error), "ask for a shorter one") from None
    return shifted.tz_convert("UTC").to_pydatetime()


#: Why a ticker in Yahoo's spelling is not asked at IB; the first row that matches counts.
_ELSEWHERE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^\^"), "an index"),
    (re.compile(r"=F$"), "a future"),
    (re.compile(r"=X$"), "a currency pair"),
    (re.compile(r"="), "no stock"),
    (re.compile(r"-[A-Z]{3,4}$"), "a cryptocurrency"),
    (re.compile(r"^[A-Z]{2}[A-Z0-9]{9}\d$"), "an ISIN"),
    # Yahoo writes share classes with a hyphen; people write a dot. A, B and C are no listing of Yahoo's.
    (re.compile(r"\.(?![ABC]$)[A-Z0-9]+$"), "a listing outside the United States"),
)
_PREFERRED = re.compile(r"^([A-Z]+)-P([A-Z])?$")


def elsewhere(ticker: str) -> str | None:
    """What kind of thing a ticker of Yahoo's names that IB does not know by that name; None for a US stock or fund."""
    return next((kind for pattern, kind in _ELSEWHERE if pattern.search(ticker.upper())), None)


def ib_symbol(ticker: str) -> str:
    """Yahoo's spelling of a preferred share (`BAC-PL`) as IB's (`BAC PRL`); everything else as it is."""
    match = _PREFERRED.match(ticker)
    return f"{match[1]} PR{match[2] or ''}" if match else ticker


def ticker_list(tickers: object) -> list[str]:
    """yfinance's ways of naming several: text divided by commas or spaces, or a list, tuple or set. Upper case, once
    each, in order. Raises InvalidRequest for anything else, or for none."""
    if isinstance(tickers, str):
        found = tickers.replace(",", " ").split()
    elif isinstance(tickers, list | tuple | set | frozenset | pd.Index | pd.Series):
        found = [str(ticker) for ticker in tickers]
    else:
        raise InvalidRequest(f"tickers {tickers!r}", "it is neither text nor a list", "use e.g. 'AAPL MSFT'")
    if not found:
        raise InvalidRequest("a download of no ticker", "the list is empty", "name at least one")
    return list(dict.fromkeys(ticker.strip().upper() for ticker in found))


DAILY = TIMEFRAMES["1D"]
