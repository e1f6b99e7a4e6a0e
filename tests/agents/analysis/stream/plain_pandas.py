"""The same six definitions over a whole day at once, in plain pandas: what the detectors are checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
from moondev_ibkr.agents.analysis.stream.day_figures import DayFigures
from moondev_ibkr.agents.analysis.stream.detectors import DETECTORS, DetectorRow
from moondev_ibkr.agents.analysis.stream.events import StreamEventKind as Kind
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.sessions import Session

SETTLE = timedelta(minutes=15)


def table_of(quotes: Sequence[Quote], day: DayFigures, breaks: frozenset[int] = frozenset()) -> pd.DataFrame:
    """One row per quote, with what is told of a print, of the session and of the part between two breaks."""
    names = ("bid", "ask", "last", "volume", "high", "low")
    frame = pd.DataFrame(
        [[getattr(quote, name) for name in names] for quote in quotes], columns=list(names), dtype="float64"
    )
    frame["time"] = pd.Series(pd.to_datetime([quote.time for quote in quotes], utc=True))
    hours = day.hours.day
    assert hours is not None
    edges = [hours.pre_open, hours.open, hours.close, hours.post_close]
    sessions = [Session.CLOSED, Session.PRE, Session.REGULAR, Session.POST, Session.CLOSED]
    frame["session"] = [sessions[sum(time >= edge for edge in edges)] for time in frame["time"]]
    frame["part"] = np.cumsum([index in breaks for index in range(len(frame))])
    parts = frame.groupby("part")
    frame["print"] = (parts["last"].diff() != 0) & parts["last"].shift().notna() | (parts["volume"].diff() > 0)
    frame["since_open"] = frame["time"] - pd.Timestamp(hours.open)
    return frame


def expected(
    quotes: Sequence[Quote],
    day: DayFigures,
    breaks: frozenset[int] = frozenset(),
    rows: Mapping[Kind, DetectorRow] = DETECTORS,
) -> list[tuple[int, Kind, float]]:
    """(number of the quote, kind, value), in the order of the quotes."""
    if not quotes:
        return []
    frame = table_of(quotes, day, breaks)
    values = {
        Kind.VOLUME_SPIKE: volume_spikes(frame, day),
        Kind.PRICE_SURGE: price_surges(frame, rows[Kind.PRICE_SURGE]),
        Kind.SPREAD_TIGHTENING: spreads(frame, rows[Kind.SPREAD_TIGHTENING]),
        Kind.NEW_HIGH: new_highs(frame),
        Kind.GAP: gaps(frame, day),
        Kind.VOLATILITY_SURGE: ranges(frame, day),
    }
    found = []
    for kind, series in values.items():
        row = rows[kind]
        hit = {
            Kind.VOLUME_SPIKE: series > row.threshold,
            Kind.PRICE_SURGE: series.abs() >= row.threshold,
            Kind.SPREAD_TIGHTENING: series <= row.threshold,
            Kind.NEW_HIGH: series > row.threshold,
            Kind.GAP: series.abs() >= row.threshold,
            Kind.VOLATILITY_SURGE: series > row.threshold,
        }[kind]
        hit &= frame["session"].isin(list(row.sessions))
        if row.warm_up:
            hit &= frame["since_open"] >= row.warm_up
        found += [(index, kind, float(series[index])) for index in cooled(frame, hit, row)]
    order = list(rows)
    return sorted(found, key=lambda event: (event[0], order.index(event[1])))


def cooled(frame: pd.DataFrame, hit: pd.Series, row: DetectorRow) -> list[int]:
    kept: list[int] = []
    told: set[Session] = set()
    last: pd.Timestamp | None = None
    for index, time, session in frame.loc[hit, ["time", "session"]].itertuples():
        if (session in told) if row.cooldown is None else (last is not None and time - last < row.cooldown):
            continue
        kept.append(int(index))
        told.add(session)
        last = time
    return kept


def volume_spikes(frame: pd.DataFrame, day: DayFigures) -> pd.Series:
    before = frame.loc[frame["session"].eq(Session.PRE), "volume"].dropna()
    base = before.iloc[-1] if len(before) else 0.0
    regular = frame["session"].eq(Session.REGULAR)
    told = frame.loc[regular, "volume"].dropna()
    if len(told) and told.iloc[0] < base:
        base = 0.0
    minute = (frame["since_open"] // pd.Timedelta(minutes=1)).clip(lower=0, upper=len(day.usual) - 1)
    usual = pd.Series(np.asarray(day.usual)[minute.to_numpy()], frame.index)
    return ((frame["volume"] - base) / usual.where(usual > 0)).where(regular)


def price_surges(frame: pd.DataFrame, row: DetectorRow) -> pd.Series:
    values = pd.Series(np.nan, frame.index)
    for _part, rows in frame[frame["print"]].groupby("part"):
        prices = pd.Series(rows["last"].to_numpy(), pd.DatetimeIndex(rows["time"]))
        window = prices.rolling(row.window)
        up = ((prices / window.min() - 1) * 100).to_numpy()
        down = ((prices / window.max() - 1) * 100).to_numpy()
        values[rows.index] = np.where(up >= -down, up, down)
    return values


def spreads(frame: pd.DataFrame, row: DetectorRow) -> pd.Series:
    width = row.window / 180
    enough = row.warm_up // width
    values = pd.Series(np.nan, frame.index)
    regular = frame[frame["session"].eq(Session.REGULAR)]
    for _part, rows in regular.groupby("part"):
        two_sided = (rows["bid"] > 0) & (rows["bid"] < rows["ask"])
        spread = ((rows["ask"] - rows["bid"]) / ((rows["bid"] + rows["ask"]) / 2)).where(two_sided)
        slot = ((rows["time"] - pd.Timestamp(0, tz="UTC")) // width).astype("int64")
        # -1 stands for "one-sided", which is carried on like any other value
        last = spread.fillna(-1).groupby(slot).last()
        grid = last.reindex(range(slot.iloc[0], slot.iloc[-1] + 1)).ffill().replace(-1, np.nan)
        filled = grid.rolling(180, min_periods=1).count().shift()
        usual = grid.rolling(180, min_periods=1).median().shift()
        ratio = spread / usual.reindex(slot).to_numpy()
        values[rows.index] = ratio.where(filled.reindex(slot).to_numpy() >= enough)
    return values


def followed(frame: pd.DataFrame) -> pd.DataFrame:
    """The regular session's running high and low with each row, and whether they are the whole session's."""
    regular = frame[frame["session"].eq(Session.REGULAR)].copy()
    price = regular["last"].where(regular["print"])
    start = regular.groupby("part")["time"].transform("min")
    first = regular.groupby("part")["time"].head(1).index
    opened = {
        regular["part"][index]: regular["since_open"][index] == pd.Timedelta(0)
        or (index > 0 and frame["part"][index - 1] == frame["part"][index])
        for index in first
    }
    from_open = regular["part"].map(opened).astype(bool)
    settling = ~from_open & (regular["time"] < start + SETTLE)
    told = settling & regular["high"].notna() & regular["low"].notna()
    regular["high_so_far"] = pd.concat([price, regular["high"].where(settling)], axis=1).max(axis=1).cummax().ffill()
    regular["low_so_far"] = pd.concat([price, regular["low"].where(settling)], axis=1).min(axis=1).cummin().ffill()
    settled = told.groupby(regular["part"]).cummax() & (regular["time"] >= start + SETTLE)
    regular["whole"] = from_open | settled
    regular["price"] = price
    return regular


def new_highs(frame: pd.DataFrame) -> pd.Series:
    rows = followed(frame)
    value = (rows["price"] / rows["high_so_far"].shift() - 1) * 100
    return value.where(rows["whole"]).reindex(frame.index)


def ranges(frame: pd.DataFrame, day: DayFigures) -> pd.Series:
    rows = followed(frame)
    high = pd.concat([rows["high_so_far"].shift(), rows["price"]], axis=1).max(axis=1)
    low = pd.concat([rows["low_so_far"].shift(), rows["price"]], axis=1).min(axis=1)
    assert day.atr
    return ((high - low) / day.atr).where(rows["price"].notna()).reindex(frame.index)


def gaps(frame: pd.DataFrame, day: DayFigures) -> pd.Series:
    price = frame["last"].where(frame["print"])
    base = pd.Series(day.previous_close, frame.index, dtype="float64")
    base = base.where(~frame["session"].eq(Session.POST), np.nan if day.regular_close is None else day.regular_close)
    return (price / base - 1) * 100
