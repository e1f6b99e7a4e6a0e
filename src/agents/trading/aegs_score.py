"""AEGS: how oversold a stock is, in points. Two published scores, live (the default) and enhanced.

The indicators are the host framework's own definitions (`AEGS_complete_strategy`), on daily bars: RSI is a 14-bar
simple rolling mean (not Wilder's), Bollinger bands are 20 bars and two sample standard deviations, MACD uses pandas'
adjusted exponential means, so its value depends on where the window starts: score exactly the last 200 bars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from ...brokers.errors import InvalidData, NoData


class ScoreKind(StrEnum):
    LIVE = "live"
    ENHANCED = "enhanced"


class Tier(StrEnum):
    STRONG_BUY = "STRONG BUY"
    BUY = "BUY"
    NEAR = "NEAR"
    NONE = "NONE"


#: Lower bounds of the tiers, in points, highest first.
TIERS: tuple[tuple[int, Tier], ...] = ((70, Tier.STRONG_BUY), (50, Tier.BUY), (30, Tier.NEAR), (0, Tier.NONE))

#: The window that the host's scanners ask for (yfinance period "200d").
LOOKBACK_BARS = 200
MINIMUM_BARS: Mapping[ScoreKind, int] = {ScoreKind.LIVE: 100, ScoreKind.ENHANCED: 50}


@dataclass(frozen=True, slots=True)
class Indicators:
    """Values on the last bar. Percentages in percent. NaN where the series cannot give one (e.g. no losses at all)."""

    close: float
    rsi: float
    bb_position: float
    distance_pct: float
    volume_ratio: float
    daily_change_pct: float
    three_day_change_pct: float
    macd: float
    macd_signal: float
    macd_previous: float
    macd_signal_previous: float


@dataclass(frozen=True, slots=True)
class Score:
    """Points on the last bar and the reasons for them, strongest rules in table order."""

    kind: ScoreKind
    points: int
    reasons: tuple[str, ...]
    indicators: Indicators

    @property
    def tier(self) -> Tier:
        return next(tier for bound, tier in TIERS if self.points >= bound)


@dataclass(frozen=True, slots=True)
class Rule:
    """Within one group only the first rule that holds counts."""

    group: str
    points: int
    text: str
    holds: Callable[[Indicators], bool]


def _macd_crossed_up(i: Indicators) -> bool:
    return i.macd > i.macd_signal and i.macd_previous <= i.macd_signal_previous


#: aegs_live_scanner: at most 165 points.
LIVE_RULES: tuple[Rule, ...] = (
    Rule("rsi", 30, "RSI {rsi:.1f} < 30", lambda i: i.rsi < 30),
    Rule("rsi", 15, "RSI {rsi:.1f} < 35", lambda i: i.rsi < 35),
    Rule("bands", 30, "below the lower band ({bb_position:.2f})", lambda i: i.bb_position < 0),
    Rule("bands", 20, "near the lower band ({bb_position:.2f})", lambda i: i.bb_position < 0.1),
    Rule("distance", 25, "{distance_pct:.1f} % from SMA20", lambda i: i.distance_pct < -5),
    Rule("distance", 15, "{distance_pct:.1f} % from SMA20", lambda i: i.distance_pct < -3),
    Rule(
        "volume",
        30,
        "volume {volume_ratio:.1f}x on {daily_change_pct:.1f} %",
        lambda i: i.volume_ratio > 2.0 and i.daily_change_pct < -2,
    ),
    Rule("volume", 10, "volume {volume_ratio:.1f}x", lambda i: i.volume_ratio > 1.5),
    Rule("drop", 30, "day {daily_change_pct:.1f} %", lambda i: i.daily_change_pct < -10),
    Rule("drop", 15, "day {daily_change_pct:.1f} %", lambda i: i.daily_change_pct < -5),
    Rule("macd", 20, "MACD crossed its signal upwards", _macd_crossed_up),
)

#: aegs_enhanced_scanner: at most 135 points.
ENHANCED_RULES: tuple[Rule, ...] = (
    Rule("rsi", 35, "RSI {rsi:.1f} < 30", lambda i: i.rsi < 30),
    Rule("rsi", 20, "RSI {rsi:.1f} < 35", lambda i: i.rsi < 35),
    Rule("bands", 35, "below the lower band ({bb_position:.2f})", lambda i: i.bb_position < 0),
    Rule("bands", 20, "near the lower band ({bb_position:.2f})", lambda i: i.bb_position < 0.2),
    Rule(
        "volume",
        30,
        "volume {volume_ratio:.1f}x on {daily_change_pct:.1f} %",
        lambda i: i.volume_ratio > 2.0 and i.daily_change_pct < -2,
    ),
    Rule("volume", 10, "volume {volume_ratio:.1f}x", lambda i: i.volume_ratio > 1.5),
    Rule("drop", 35, "day {daily_change_pct:.1f} %", lambda i: i.daily_change_pct < -10),
    Rule("drop", 20, "day {daily_change_pct:.1f} %", lambda i: i.daily_change_pct < -5),
)

RULES: Mapping[ScoreKind, tuple[Rule, ...]] = {ScoreKind.LIVE: LIVE_RULES, ScoreKind.ENHANCED: ENHANCED_RULES}


def indicators(frame: pd.DataFrame) -> Indicators:
    """The indicators on the last row of `frame` (columns Close and Volume, ascending, one row a day)."""
    close = frame["Close"]
    volume = frame["Volume"]
    change = close.diff()
    gain = change.where(change > 0, 0.0).rolling(14).mean()
    loss = (-change.where(change < 0, 0.0)).rolling(14).mean()
    rsi = 100 - 100 / (1 + gain / loss)
    average = close.rolling(20).mean()
    deviation = close.rolling(20).std()
    lower = average - 2 * deviation
    upper = average + 2 * deviation
    macd = close.ewm(span=12).mean() - close.ewm(span=26).mean()
    signal = macd.ewm(span=9).mean()
    return Indicators(
        close=_at(close),
        rsi=_at(rsi),
        bb_position=_at((close - lower) / (upper - lower)),
        distance_pct=_at((close - average) / average * 100),
        volume_ratio=_at(volume / volume.rolling(20).mean()),
        daily_change_pct=_at(close.pct_change() * 100),
        three_day_change_pct=_at(close.pct_change(3) * 100),
        macd=_at(macd),
        macd_signal=_at(signal),
        macd_previous=_at(macd, -2),
        macd_signal_previous=_at(signal, -2),
    )


def score(frame: pd.DataFrame, kind: ScoreKind = ScoreKind.LIVE) -> Score:
    """Points on the last of the last 200 rows.

    Raises NoData for fewer bars than the score needs (100 live, 50 enhanced), InvalidData for a missing price: a
    score is never made up. A comparison with NaN gives no points.
    """
    if len(frame) < MINIMUM_BARS[kind]:
        raise NoData(f"{kind} score", f"{len(frame)} bars, {MINIMUM_BARS[kind]} are needed", "ask for a longer history")
    window = frame.tail(LOOKBACK_BARS)
    if not window["Close"].map(lambda price: math.isfinite(price) and price > 0).all():
        raise InvalidData(f"{kind} score", "a closing price is missing or not above zero", "check the bars")
    values = indicators(window)
    points, reasons, scored = 0, [], set()
    for rule in RULES[kind]:
        if rule.group not in scored and rule.holds(values):
            scored.add(rule.group)
            points += rule.points
            reasons.append(rule.text.format_map(_as_mapping(values)))
    return Score(kind, points, tuple(reasons), values)


def _at(series: pd.Series[float], position: int = -1) -> float:
    return float(series.iloc[position])


def _as_mapping(values: Indicators) -> dict[str, float]:
    return {name: getattr(values, name) for name in Indicators.__slots__}
