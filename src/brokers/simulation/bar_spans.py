"""Where a length of time before a moment begins, counted as a charting service counts it: by trading sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from .history import ScheduleRow, midnight
from .market_source import MarketSource


class Span(NamedTuple):
    """Bars whose start lies in [start, end)."""

    start: datetime
    end: datetime


def span_before(
    source: MarketSource, con_id: int, number: int, unit: str, end: datetime, *, intraday: bool, regular_hours: bool
) -> Span:
    """Where the bars of `number` `unit`s before `end` begin; a unit is one of S D W M Y.

    Days are trading days, the one of `end` included once it has begun; seconds are counted inside sessions; weeks,
    months and years are calendar time.
    """
    if unit in "WMY":
        start = _calendar_start(number, unit, end)
        return Span(start if intraday else midnight(start.date()), end)
    head = source.head_timestamp(con_id)
    days = number if unit == "D" else 1 + number // 3_600
    first = end.date() - timedelta(days=days * 3 // 2 + 14)
    if head is not None:
        first = max(first, head.date())
    sessions = [row for row in source.schedule(first, end.date(), regular_hours=regular_hours) if row.start < end]
    if not sessions:
        return Span(end, end)
    start = _days_back(sessions, number, intraday) if unit == "D" else _seconds_back(sessions, number, end)
    return Span(start, end)


def _days_back(sessions: list[ScheduleRow], number: int, intraday: bool) -> datetime:
    row = sessions[-number] if number <= len(sessions) else sessions[0]
    return row.start if intraday else midnight(row.day)


def _seconds_back(sessions: list[ScheduleRow], number: int, end: datetime) -> datetime:
    left = timedelta(seconds=number)
    for row in reversed(sessions):
        until = min(row.end, end)
        if until - row.start >= left:
            return until - left
        left -= until - row.start
    return sessions[0].start


def _calendar_start(number: int, unit: str, end: datetime) -> datetime:
    if unit == "W":
        return end - timedelta(weeks=number)
    months = end.year * 12 + end.month - 1 - number * (12 if unit == "Y" else 1)
    year, month = divmod(months, 12)
    return _clamped(lambda day: end.replace(year=year, month=month + 1, day=day), end.day)


def _clamped(make: Callable[[int], datetime], day: int) -> datetime:
    """The 31st of a month that has fewer days is its last."""
    while True:
        try:
            return make(day)
        except ValueError:
            day -= 1
