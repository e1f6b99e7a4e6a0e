"""Indicators equal to those of the `ta` package, and the three shapes that the host's agents read."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from moondev_ibkr.agents.hooks.indicators import (
    bollinger,
    hyperliquid_columns,
    macd,
    robinhood_columns,
    rsi,
    solana_columns,
)

CLOSE = pd.Series([100 + 10 * math.sin(i / 5) + i * 0.3 + (3 if i % 7 == 0 else 0) for i in range(60)])


@pytest.fixture
def frame() -> pd.DataFrame:
    start = datetime(2024, 5, 1, 13, 30, tzinfo=UTC)
    index = pd.DatetimeIndex([start + timedelta(hours=i) for i in range(60)], name="Date")
    close = CLOSE.to_numpy()
    columns = {"Open": close, "High": close + 1, "Low": close - 1, "Close": close, "Volume": np.arange(60.0)}
    made = pd.DataFrame(columns, index=index)
    made.attrs["symbol"] = "AAPL"
    return made


def test_figures_of_ta_0_11(frame: pd.DataFrame) -> None:
    strength = rsi(CLOSE)
    assert strength.first_valid_index() == 13
    assert strength[13] == pytest.approx(57.19432800030224)
    assert strength[59] == pytest.approx(49.36457259843582)
    lines = macd(CLOSE)
    assert lines["MACD_12_26_9"].first_valid_index() == 25
    assert lines["MACD_12_26_9"][25] == pytest.approx(-2.399401893503594)
    assert lines["MACDs_12_26_9"].first_valid_index() == 33
    assert lines["MACDs_12_26_9"][33] == pytest.approx(-0.6906132436759047)
    assert lines["MACDh_12_26_9"][59] == pytest.approx(-0.6262609588917794)
    bands = bollinger(CLOSE)
    assert bands["BBL_20_2.0"].first_valid_index() == 19
    assert bands["BBL_20_2.0"][59] == pytest.approx(101.83666189193433)
    assert bands["BBU_20_2.0"][59] == pytest.approx(124.59603396418306)
    assert bands["BBB_20_2.0"][59] == pytest.approx(20.10254922434945)
    assert bands["BBP_20_2.0"][59] == pytest.approx(0.39228179195597235)


def test_a_series_that_never_falls_has_strength_100() -> None:
    assert rsi(pd.Series([5.0] * 20)).iloc[-1] == 100
    assert rsi(pd.Series(np.arange(20.0))).iloc[-1] == 100
    assert rsi(pd.Series(np.arange(20.0)[::-1])).iloc[-1] == 0
    assert math.isnan(bollinger(pd.Series([5.0] * 20))["BBP_20_2.0"].iloc[-1])


def test_the_solana_shape(frame: pd.DataFrame) -> None:
    shaped = solana_columns(frame)
    assert list(shaped.columns) == [
        "Datetime (UTC)", "Open", "High", "Low", "Close", "Volume", "MA20", "RSI", "MA40",
        "Price_above_MA20", "Price_above_MA40", "MA20_above_MA40",
    ]  # fmt: skip
    assert shaped["Datetime (UTC)"].iloc[0] == "2024-05-01 13:30:00"
    assert type(shaped["Datetime (UTC)"].iloc[0]) is str
    assert shaped.index[0] == frame.index[0]
    assert shaped["MA40"].first_valid_index() == frame.index[39]
    assert shaped["Price_above_MA20"].dtype == bool
    assert bool(shaped["Price_above_MA20"].iloc[59]) is bool(CLOSE[59] > CLOSE[40:60].mean())
    assert list(frame.columns) == ["Open", "High", "Low", "Close", "Volume"]


def test_the_solana_shape_in_another_zone_is_still_told_in_utc(frame: pd.DataFrame) -> None:
    shaped = solana_columns(frame.tz_convert("America/New_York"))
    assert shaped["Datetime (UTC)"].iloc[0] == "2024-05-01 13:30:00"


def test_the_hyperliquid_shape(frame: pd.DataFrame) -> None:
    shaped = hyperliquid_columns(frame)
    assert list(shaped.columns) == [
        "timestamp", "open", "high", "low", "close", "volume", "sma_20", "sma_50", "rsi",
        "MACD_12_26_9", "MACDh_12_26_9", "MACDs_12_26_9",
        "BBL_20_2.0", "BBM_20_2.0", "BBU_20_2.0", "BBB_20_2.0", "BBP_20_2.0",
    ]  # fmt: skip
    assert str(shaped["timestamp"].dtype) == "datetime64[ns]"
    assert shaped["timestamp"].iloc[0] == pd.Timestamp("2024-05-01 13:30:00")
    assert isinstance(shaped.index, pd.RangeIndex)
    assert shaped["sma_50"].first_valid_index() == 49
    assert shaped["sma_20"].iloc[59] == pytest.approx(CLOSE[40:60].mean())
    assert list(hyperliquid_columns(frame, add_indicators=False).columns) == list(robinhood_columns(frame).columns)


def test_the_robinhood_shape(frame: pd.DataFrame) -> None:
    shaped = robinhood_columns(frame)
    assert list(shaped.columns) == ["timestamp", "open", "high", "low", "close", "volume"]
    assert shaped["close"].iloc[3] == CLOSE[3]
    assert shaped.attrs["symbol"] == "AAPL"
