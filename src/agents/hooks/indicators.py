"""Indicator columns as the host's data functions carry them, and the three shapes of frame that its agents read.

Figures are those of the `ta` package that the host falls back to. The first bars of a series, where an indicator has
not seen enough, are NaN.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

PRICES = ("Open", "High", "Low", "Close", "Volume")


def sma(close: pd.Series[float], length: int) -> pd.Series[float]:
    """Simple moving average of the last `length` values."""
    return close.rolling(length).mean()


def rsi(close: pd.Series[float], length: int = 14) -> pd.Series[float]:
    """Relative strength index, 0 to 100, with Wilder's smoothing; 100 where nothing was lost."""
    change = close.diff()
    gains = change.where(change > 0, 0.0)
    losses = -change.where(change < 0, 0.0)
    gain = gains.ewm(alpha=1 / length, min_periods=length, adjust=False).mean()
    loss = losses.ewm(alpha=1 / length, min_periods=length, adjust=False).mean()
    strength = gain / loss.where(loss != 0)
    value = 100 - 100 / (1 + strength)
    return cast("pd.Series[float]", value.mask(loss == 0, 100.0))


def macd(close: pd.Series[float], fast: int = 12, slow: int = 26, signal: int = 9) -> pd.DataFrame:
    """MACD, its histogram and its signal line, in the price's unit: columns MACD_…, MACDh_…, MACDs_…"""
    line = _ema(close, fast) - _ema(close, slow)
    smooth = _ema(line, signal)
    name = f"{fast}_{slow}_{signal}"
    return pd.DataFrame({f"MACD_{name}": line, f"MACDh_{name}": line - smooth, f"MACDs_{name}": smooth})


def bollinger(close: pd.Series[float], length: int = 20, deviations: float = 2.0) -> pd.DataFrame:
    """Bollinger bands by the population's deviation: lower, middle and upper band in the price's unit, their width in
    percent of the middle, and the place of the close between them (0 lower, 1 upper; NaN where they meet)."""
    middle = close.rolling(length).mean()
    reach = deviations * close.rolling(length).std(ddof=0)
    lower, upper = middle - reach, middle + reach
    width = upper - lower
    name = f"{length}_{float(deviations)}"
    return pd.DataFrame(
        {
            f"BBL_{name}": lower,
            f"BBM_{name}": middle,
            f"BBU_{name}": upper,
            f"BBB_{name}": width / middle * 100,
            f"BBP_{name}": (close - lower) / width.where(upper != lower, np.nan),
        }
    )


def _ema(series: pd.Series[float], length: int) -> pd.Series[float]:
    return series.ewm(span=length, min_periods=length, adjust=False).mean()


def solana_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A HostBars frame as the host's Solana `get_data` shapes it, with the bars' own DatetimeIndex instead of numbers:
    'Datetime (UTC)' as text, Open … Volume, MA20, RSI, MA40 and the three comparisons (False where an average is
    missing)."""
    close = frame["Close"]
    shaped = frame.loc[:, list(PRICES)].copy()
    shaped.insert(0, "Datetime (UTC)", _utc(frame).strftime("%Y-%m-%d %H:%M:%S").astype(object))
    shaped["MA20"] = sma(close, 20)
    shaped["RSI"] = rsi(close, 14)
    shaped["MA40"] = sma(close, 40)
    shaped["Price_above_MA20"] = close > shaped["MA20"]
    shaped["Price_above_MA40"] = close > shaped["MA40"]
    shaped["MA20_above_MA40"] = shaped["MA20"] > shaped["MA40"]
    return shaped


def hyperliquid_columns(frame: pd.DataFrame, add_indicators: bool = True) -> pd.DataFrame:
    """A HostBars frame as the host's Hyperliquid `get_data` shapes it: timestamp (naive UTC), lower-case prices, and,
    unless switched off, sma_20, sma_50, rsi, MACD and Bollinger bands; numbered from 0."""
    shaped = robinhood_columns(frame)
    if not add_indicators:
        return shaped
    close = shaped["close"]
    shaped["sma_20"] = sma(close, 20)
    shaped["sma_50"] = sma(close, 50)
    shaped["rsi"] = rsi(close, 14)
    wide = pd.concat([shaped, macd(close), bollinger(close)], axis=1)
    wide.attrs = dict(frame.attrs)
    return wide


def robinhood_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A HostBars frame as the host's stock adapters shape it: timestamp (naive UTC) and lower-case prices, numbered
    from 0."""
    shaped = frame.loc[:, list(PRICES)].rename(columns=str.lower).reset_index(drop=True)
    shaped.insert(0, "timestamp", _utc(frame).tz_localize(None).as_unit("ns"))
    shaped.attrs = dict(frame.attrs)
    return shaped


def _utc(frame: pd.DataFrame) -> pd.DatetimeIndex:
    index = cast("pd.DatetimeIndex", frame.index)
    return index.tz_convert("UTC")
