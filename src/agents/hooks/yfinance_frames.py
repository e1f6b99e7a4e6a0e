"""yfinance's shapes of frames: one ticker's history, and several put side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

import pandas as pd

from .host_timeframes import NEW_YORK, SESSION, Grouping, Timeframe

_OPEN = timedelta(hours=SESSION[True][0].hour, minutes=SESSION[True][0].minute)
_COLUMNS = ("Open", "High", "Low", "Close", "Adj Close", "Volume")


def empty_history() -> pd.DataFrame:
    """What yfinance answers for a ticker that it knows nothing of: all six columns, no row."""
    index = pd.DatetimeIndex([], name="Date")
    return pd.DataFrame({column: pd.Series(dtype="float64") for column in _COLUMNS}, index=index)


def history(
    frame: pd.DataFrame,
    row: Timeframe,
    start: datetime | None,
    end: datetime | None,
    adjusted_close: pd.Series[float] | None,
) -> pd.DataFrame:
    """A HostBars frame as `Ticker.history` shapes it: New York index (Date at midnight, or Datetime), whole volumes,
    'Adj Close' before Volume where it is given; rows that begin in [start, end), a day beginning at its open."""
    shaped = frame.copy()
    if adjusted_close is not None:
        shaped.insert(4, "Adj Close", adjusted_close.reindex(shaped.index))
    if shaped["Volume"].notna().all():
        shaped["Volume"] = shaped["Volume"].round().astype("int64")
    index = cast("pd.DatetimeIndex", shaped.index)
    # The zone by its name: pandas then takes the class of zone that yfinance's own frames have.
    if row.is_intraday:
        shaped.index = index.tz_convert(NEW_YORK.key).rename("Datetime")
        begins = shaped.index
    else:
        shaped.index = index.tz_localize(None).tz_localize(NEW_YORK.key).rename("Date")
        begins = shaped.index + _OPEN
    keep = pd.Series(True, index=shaped.index)
    if start is not None and row.grouping in (Grouping.NONE, Grouping.SESSION):
        keep &= begins >= pd.Timestamp(start)
    if end is not None:
        keep &= begins < pd.Timestamp(end)
    return shaped.loc[keep.to_numpy()]


def last_sessions(shaped: pd.DataFrame, sessions: int) -> pd.DataFrame:
    """The rows of the last `sessions` days that have any."""
    days = cast("pd.DatetimeIndex", shaped.index).normalize()
    kept = days.unique()[-sessions:]
    return shaped.loc[days.isin(kept)]


def side_by_side(
    frames: Mapping[str, pd.DataFrame], *, group_by: str, multi_level_index: bool, ignore_tz: bool
) -> pd.DataFrame:
    """Histories as `download` puts them together: columns (Price, Ticker) sorted, or (Ticker, Price) with
    `group_by` "ticker"; all rows of all, NaN where one has none; index without a time zone when `ignore_tz`."""
    zones = Counter(str(_index(frame).tz) for frame in frames.values() if not frame.empty)
    common = zones.most_common(1)[0][0] if zones else None
    parts: dict[str, pd.DataFrame] = {}
    union: pd.Index | None = None
    for ticker, frame in frames.items():
        part = frame.copy()
        if not part.empty:
            index = _index(part)
            part.index = index.tz_localize(None) if ignore_tz else index.tz_convert(common)
            union = part.index if union is None else union.union(part.index)
        parts[ticker] = part
    rows = pd.DatetimeIndex([]) if union is None else union
    for part in parts.values():
        part.attrs = {}
    data = pd.concat({ticker: part.reindex(rows) for ticker, part in parts.items()}, axis=1, names=["Ticker", "Price"])
    if group_by == "column":
        data.columns = cast("pd.MultiIndex", data.columns).swaplevel(0, 1)
        data = data.sort_index(level=0, axis=1)
    if not multi_level_index and len(frames) == 1:
        data = data.droplevel(0 if group_by == "ticker" else 1, axis=1).rename_axis(None, axis=1)
    return data


def _index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return cast("pd.DatetimeIndex", frame.index)
