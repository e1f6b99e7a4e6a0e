"""Frames put together as the installed yfinance does it, from the same histories and without the network.

Runs only where yfinance is installed (the host's environment); the layouts themselves are in `test_yfinance_facade`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from moondev_ibkr.agents.hooks.host_timeframes import Timeframe
from moondev_ibkr.agents.hooks.yfinance_frames import empty_history, history, side_by_side
from moondev_ibkr.agents.hooks.yfinance_words import INTERVALS

yfinance = pytest.importorskip("yfinance", reason="yfinance is not installed here")

NEW_YORK = "America/New_York"
DAYS = pd.bdate_range("2024-02-26", "2024-03-15")


def chart(interval: str, skip: int) -> dict[str, Any]:
    """Yahoo's answer: days, or the half hours of three of them."""
    opens = [day.tz_localize(NEW_YORK) + pd.Timedelta(hours=9.5) for day in DAYS[skip:]]
    if interval != "1d":
        opens = [start + pd.Timedelta(minutes=30 * part) for start in opens[:3] for part in range(13)]
    times = [int(start.timestamp()) for start in opens]
    prices = [100 + number / 2 for number in range(len(times))]
    periods = [
        [
            {
                "timezone": "EST",
                "gmtoffset": -18000,
                "start": int((day.tz_localize(NEW_YORK) + pd.Timedelta(hours=9.5)).timestamp()),
                "end": int((day.tz_localize(NEW_YORK) + pd.Timedelta(hours=16)).timestamp()),
            }
        ]
        for day in DAYS
    ]
    meta = {
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": NEW_YORK,
        "currency": "USD",
        "validRanges": ["1mo"],
        "priceHint": 2,
        "tradingPeriods": periods,
        "currentTradingPeriod": {part: dict(periods[-1][0]) for part in ("pre", "regular", "post")},
    }
    quote = dict.fromkeys(("open", "high", "low", "close"), prices) | {"volume": [1000] * len(times)}
    indicators = {"quote": [quote], "adjclose": [{"adjclose": prices}]}
    return {"chart": {"error": None, "result": [{"meta": meta, "timestamp": times, "indicators": indicators}]}}


class Yahoo:
    """The part of yfinance that goes to the network."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer, self.text = answer, ""

    def get(self, **_: Any) -> Yahoo:
        return self

    cache_get = get

    def json(self) -> dict[str, Any]:
        return self.answer


def theirs(interval: str = "1d", skip: int = 0, **options: Any) -> pd.DataFrame:
    from yfinance.scrapers.history import PriceHistory

    prices = PriceHistory(Yahoo(chart(interval, skip)), "X", NEW_YORK, session=object())
    return prices.history(period="1mo", interval=interval, actions=False, **options)


def as_host_bars(frame: pd.DataFrame, row: Timeframe) -> pd.DataFrame:
    """The same prices as HostBars has them."""
    index = frame.index.tz_convert("UTC") if row.is_intraday else frame.index.tz_localize(None).tz_localize("UTC")
    made = frame[["Open", "High", "Low", "Close", "Volume"]].astype("float64")
    made.index = index.rename("Date")
    return made


@pytest.mark.parametrize("interval", ["1d", "30m", "15m"])
@pytest.mark.parametrize("auto_adjust", [True, False])
def test_one_history(interval: str, auto_adjust: bool) -> None:
    expected, row = theirs(interval, auto_adjust=auto_adjust), INTERVALS[interval]
    bars = as_host_bars(expected, row)
    ours = history(bars, row, None, None, None if auto_adjust else bars["Close"])
    pd.testing.assert_frame_equal(ours, expected, check_freq=False)


SELECTIONS: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {
    "one": (("AAA",), "1d", {}),
    "two of unequal length": (("AAA", "BBB"), "1d", {}),
    "one of them unknown": (("AAA", "ZZZ"), "1d", {}),
    "unknown": (("ZZZ",), "1d", {}),
    "by ticker": (("AAA", "BBB"), "1d", {"group_by": "ticker"}),
    "flat": (("AAA",), "1d", {"multi_level_index": False}),
    "flat by ticker": (("AAA",), "1d", {"multi_level_index": False, "group_by": "ticker"}),
    "days in a zone": (("AAA",), "1d", {"ignore_tz": False}),
    "minutes": (("AAA", "BBB"), "15m", {}),
    "minutes without a zone": (("AAA",), "15m", {"ignore_tz": True}),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_several_side_by_side(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import yfinance.multi as multi

    tickers, interval, options = SELECTIONS[name]
    frames: dict[str, pd.DataFrame] = {"AAA": theirs(interval), "BBB": theirs(interval, 2), "ZZZ": empty_history()}

    class Ticker:
        _price_history = None

        def __init__(self, ticker: str) -> None:
            self.ticker = ticker

        def history(self, **_: Any) -> pd.DataFrame:
            if frames[self.ticker].empty:
                raise ValueError("no data")
            return frames[self.ticker].copy()

    monkeypatch.setattr(multi, "Ticker", Ticker)
    monkeypatch.setattr(multi, "YfData", lambda **_: None)
    download: Callable[..., pd.DataFrame] = multi.download
    words = {"interval": interval, "progress": False, "threads": False, "session": object()}
    expected = download(list(tickers), **words, **options)
    if options.get("group_by") == "ticker" and len(tickers) > 1:
        expected = expected[list(tickers)]  # theirs come in the order of a set
    chosen = {"group_by": "column", "multi_level_index": True, "ignore_tz": interval == "1d"} | options
    ours = side_by_side({ticker: frames[ticker] for ticker in tickers}, **chosen)
    pd.testing.assert_frame_equal(ours, expected, check_freq=False)
