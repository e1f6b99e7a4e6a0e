"""The score's numbers against a direct pandas computation, and each rule at its edge."""

from __future__ import annotations

import math
import random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.agents.trading.aegs_score import (
    ENHANCED_RULES,
    LIVE_RULES,
    Indicators,
    Rule,
    ScoreKind,
    Tier,
    indicators,
    score,
)
from moondev_ibkr.brokers.errors import InvalidData, NoData


def walk(seed: int, rows: int = 200, drop: float = 0.0) -> pd.DataFrame:
    """A random walk that ends in a fall of `drop` on its last day."""
    rng = random.Random(seed)
    close, price = [], 100.0
    for _ in range(rows):
        price *= 1 + rng.gauss(0, 0.02)
        close.append(price)
    close[-1] = close[-2] * (1 - drop)
    volume = [float(rng.randrange(1_000, 9_000)) for _ in range(rows)]
    return pd.DataFrame({"Open": close, "High": close, "Low": close, "Close": close, "Volume": volume})


def direct(frame: pd.DataFrame) -> dict[str, float]:
    """The definitions of the host's AEGS_complete_strategy, written out once more on columns."""
    df = frame.copy()
    delta = df["Close"].diff()
    gain = delta.where(delta > 0, 0).rolling(window=14).mean()
    loss = (-delta.where(delta < 0, 0)).rolling(window=14).mean()
    df["RSI"] = 100 - (100 / (1 + gain / loss))
    df["SMA20"] = df["Close"].rolling(window=20).mean()
    std = df["Close"].rolling(window=20).std()
    df["BB"] = (df["Close"] - (df["SMA20"] - 2 * std)) / (4 * std)
    df["Dist"] = (df["Close"] - df["SMA20"]) / df["SMA20"] * 100
    df["MACD"] = df["Close"].ewm(span=12).mean() - df["Close"].ewm(span=26).mean()
    df["Signal"] = df["MACD"].ewm(span=9).mean()
    df["VR"] = df["Volume"] / df["Volume"].rolling(window=20).mean()
    df["Daily"] = df["Close"].pct_change() * 100
    last, previous = df.iloc[-1], df.iloc[-2]
    return {
        "rsi": last.RSI,
        "bb_position": last.BB,
        "distance_pct": last.Dist,
        "volume_ratio": last.VR,
        "daily_change_pct": last.Daily,
        "macd": last.MACD,
        "macd_signal": last.Signal,
        "macd_previous": previous.MACD,
        "macd_signal_previous": previous.Signal,
    }


def live_points(v: dict[str, float]) -> int:
    """aegs_live_scanner's sum, written as the if-chains it is."""
    points = 30 if v["rsi"] < 30 else 15 if v["rsi"] < 35 else 0
    points += 30 if v["bb_position"] < 0 else 20 if v["bb_position"] < 0.1 else 0
    points += 25 if v["distance_pct"] < -5 else 15 if v["distance_pct"] < -3 else 0
    if v["volume_ratio"] > 2.0 and v["daily_change_pct"] < -2:
        points += 30
    elif v["volume_ratio"] > 1.5:
        points += 10
    points += 30 if v["daily_change_pct"] < -10 else 15 if v["daily_change_pct"] < -5 else 0
    if v["macd"] > v["macd_signal"] and v["macd_previous"] <= v["macd_signal_previous"]:
        points += 20
    return points


@given(seed=st.integers(0, 10_000), drop=st.floats(0, 0.2))
def test_numbers_equal_the_direct_computation(seed: int, drop: float) -> None:
    frame = walk(seed, drop=drop)
    expected, result = direct(frame), score(frame)
    for name, value in expected.items():
        assert getattr(result.indicators, name) == pytest.approx(value, rel=1e-9, nan_ok=True), name
    assert result.points == live_points(expected)


def test_only_the_last_200_bars_count() -> None:
    frame = walk(7, rows=400)
    assert score(frame) == score(frame.tail(200))


@pytest.mark.parametrize(("kind", "rows"), [(ScoreKind.LIVE, 99), (ScoreKind.ENHANCED, 49)])
def test_too_short_a_history_is_an_error_not_a_zero(kind: ScoreKind, rows: int) -> None:
    with pytest.raises(NoData, match=f"{rows} bars"):
        score(walk(1, rows=rows), kind)
    assert score(walk(1, rows=rows + 1), kind).kind is kind


def test_a_missing_close_is_an_error() -> None:
    frame = walk(1)
    frame.loc[150, "Close"] = math.nan
    with pytest.raises(InvalidData, match="closing price"):
        score(frame)


CALM = Indicators(100, 50, 0.5, 0, 1, 0, 0, 0, 1, 0, 1)


def with_values(**values: float) -> Indicators:
    return Indicators(**{name: values.get(name, getattr(CALM, name)) for name in Indicators.__slots__})


@pytest.mark.parametrize(
    ("values", "live", "enhanced"),
    [
        ({"rsi": 29.9}, 30, 35),
        ({"rsi": 30.0}, 15, 20),
        ({"rsi": 35.0}, 0, 0),
        ({"bb_position": -0.01}, 30, 35),
        ({"bb_position": 0.05}, 20, 20),
        ({"bb_position": 0.15}, 0, 20),
        ({"bb_position": 0.2}, 0, 0),
        ({"distance_pct": -5.1}, 25, 0),
        ({"distance_pct": -5.0}, 15, 0),
        ({"distance_pct": -3.0}, 0, 0),
        ({"volume_ratio": 2.1, "daily_change_pct": -2.1}, 30, 30),
        ({"volume_ratio": 2.1, "daily_change_pct": -2.0}, 10, 10),
        ({"volume_ratio": 1.5}, 0, 0),
        ({"daily_change_pct": -10.1}, 30, 35),
        ({"daily_change_pct": -10.0}, 15, 20),
        ({"daily_change_pct": -5.0}, 0, 0),
        ({"macd": 2.0}, 20, 0),
        ({"macd": 2.0, "macd_previous": 1.1}, 0, 0),
        ({"rsi": math.nan, "bb_position": math.nan}, 0, 0),
    ],
)
def test_each_rule_at_its_edge(values: dict[str, float], live: int, enhanced: int) -> None:
    assert total(LIVE_RULES, with_values(**values)) == live
    assert total(ENHANCED_RULES, with_values(**values)) == enhanced


def total(rules: tuple[Rule, ...], values: Indicators) -> int:
    """First rule of each group that holds."""
    best: dict[str, int] = {}
    for rule in rules:
        if rule.group not in best and rule.holds(values):
            best[rule.group] = rule.points
    return sum(best.values())


@pytest.mark.parametrize(("rules", "highest"), [(LIVE_RULES, 165), (ENHANCED_RULES, 135)])
def test_the_highest_possible_score(rules: tuple[Rule, ...], highest: int) -> None:
    worst = with_values(
        rsi=10, bb_position=-1, distance_pct=-20, volume_ratio=5, daily_change_pct=-15, macd=2, macd_previous=0
    )
    assert total(rules, worst) == highest


def test_tiers_and_reasons() -> None:
    falling = walk(3)
    before = float(falling.loc[189, "Close"])
    falling.loc[190:, "Close"] = [before * (1 - part / 100) for part in (3, 5, 7, 9, 11, 13, 15, 17, 19, 35)]
    result = score(falling)
    assert result.tier is Tier.STRONG_BUY
    assert any("RSI" in reason for reason in result.reasons)
    assert score(walk(3)).tier in tuple(Tier)
    assert indicators(falling).close == before * 0.65
