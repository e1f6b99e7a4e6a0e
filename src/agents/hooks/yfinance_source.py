"""The real yfinance as a second source of data for the nice_funcs helpers, where the host's environment has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType, ModuleType
from typing import Any

import pandas as pd

from ...brokers.errors import NoData

#: The host's timeframes that yfinance has by itself -> its word. The others are IB's alone.
INTERVALS: Mapping[str, str] = MappingProxyType(
    {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "1d": "1d", "1w": "1wk", "1M": "1mo"}
)
_COLUMNS = ["Open", "High", "Low", "Close", "Volume"]


class YFinanceSource:
    """`real` gives the package itself (not our façade), None where it is not installed."""

    name = "yfinance"

    def __init__(self, real: Callable[[], ModuleType | None]) -> None:
        self._real = real

    def price(self, symbol: str) -> float:
        """The last close of the last days. Raises NoData."""
        frame = self._history(symbol, period="5d", interval="1d")
        return float(frame["Close"].iloc[-1])

    def frame(self, symbol: str, timeframe: str, days_back: float) -> pd.DataFrame:
        interval = INTERVALS.get(timeframe if timeframe == "1M" else timeframe.lower())
        if interval is None:
            raise NoData(f"{timeframe} bars of {symbol}", "yfinance has no such bars")
        start = datetime.now(UTC) - timedelta(days=days_back)
        frame = self._history(symbol, start=start, interval=interval)
        index = pd.DatetimeIndex(frame.index)
        frame.index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
        frame.index.name = "Date"
        return frame[_COLUMNS].astype("float64")

    def _history(self, symbol: str, **words: Any) -> pd.DataFrame:
        module = self._real()
        if module is None:
            raise NoData(f"bars of {symbol}", "yfinance is not installed")
        try:
            frame: pd.DataFrame = module.Ticker(symbol.replace(" ", "-")).history(**words)
        # The boundary to a package that raises anything, its web client's errors included.
        except Exception as error:
            raise NoData(f"bars of {symbol} from yfinance", f"{type(error).__name__}: {error}") from error
        if frame.empty:
            raise NoData(f"bars of {symbol} from yfinance", "it has none")
        return frame
