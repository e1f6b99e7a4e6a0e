"""The many spellings of a bar's time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

_SLASHED = re.compile(r"^(\d{1,2})[/.](\d{1,2})[/.](\d{4})(?:[ T]+(.+))?$")
_COMPACT = re.compile(r"^(\d{8})[ -]+(\d{1,2}:\d{2}(?::\d{2})?)$")
_NUMBER = re.compile(r"^\d+(\.\d+)?$")
#: From 10 digits on a number is an epoch: seconds, then milliseconds, microseconds, nanoseconds.
_EPOCH_SCALES = ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))
_WORDED = ("%d-%b-%Y", "%b %d, %Y", "%d %b %Y", "%d-%b-%y")


class TimeReader:
    """Reads one column of dates; how 03/04/2024 is meant is decided from the whole column.

    Accepts ISO 8601 with or without time and zone, `20240131`, `20240131 09:30`, `01/31/2024`, `31.01.2024`,
    `31-Jan-2024`, epoch seconds to nanoseconds, and date objects. A time without a zone stays naive.
    """

    def __init__(self, column: Sequence[Any]) -> None:
        parts = [match for value in column if isinstance(value, str) and (match := _SLASHED.match(value.strip()))]
        self._day_first: bool | None = None
        if any(int(match[1]) > 12 for match in parts):
            self._day_first = True
        elif any(int(match[2]) > 12 for match in parts):
            self._day_first = False

    def read(self, value: Any) -> datetime:
        """Raises ValueError with the reason."""
        if isinstance(value, datetime):
            # pandas' Timestamp is a datetime with nanoseconds; NaT is one that equals nothing.
            if value != value:
                raise ValueError("it is missing")
            return datetime.combine(value.date(), value.time(), value.tzinfo)
        if isinstance(value, date):
            return datetime.combine(value, time())
        if value is None or isinstance(value, bool):
            raise ValueError("it is missing")
        if isinstance(value, int | float):
            return self._number(float(value), str(value))
        return self._text(str(value).strip())

    def _text(self, text: str) -> datetime:
        if not text or text.lower() in ("nan", "nat", "none", "null"):
            raise ValueError("it is missing")
        if _NUMBER.match(text):
            return self._number(float(text), text)
        if slashed := _SLASHED.match(text):
            return self._slashed(slashed)
        if compact := _COMPACT.match(text):
            text = f"{compact[1][:4]}-{compact[1][4:6]}-{compact[1][6:]}T{compact[2]:0>5}"
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
        for form in _WORDED:
            try:
                return datetime.strptime(text, form)  # noqa: DTZ007 - a day as written has no zone
            except ValueError:
                continue
        raise ValueError("it is not a date in any known spelling")

    def _number(self, number: float, text: str) -> datetime:
        digits = text.split(".")[0]
        if len(digits) == 8:
            return datetime.fromisoformat(digits)
        if len(digits) < 9:
            raise ValueError("the number is neither YYYYMMDD nor an epoch")
        scale = next(scale for limit, scale in _EPOCH_SCALES if number < limit)
        return datetime.fromtimestamp(number / scale, UTC)

    def _slashed(self, match: re.Match[str]) -> datetime:
        first, second, year = int(match[1]), int(match[2]), int(match[3])
        if self._day_first is None and first != second:
            raise ValueError("day and month cannot be told apart anywhere in the column")
        day, month = (first, second) if self._day_first else (second, first)
        clock = time.fromisoformat(f"{match[4]:0>5}") if match[4] else time()
        return datetime.combine(date(year, month, day), clock)
