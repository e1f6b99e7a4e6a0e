"""Finds the stretch of the shipped bars that `moondev-ibkr run` trades by default, and lists the AEGS scores around it.

    python tools/scan_signals.py

A stretch is 20 sessions. Each morning the closed bars are scored; a score of 50 or more buys at the open; the position
ends at 20 % below or 30 % above its entry. The best stretch has the most such exits, then the most entries; a stretch
in which a level is hit or missed by less than one per cent is passed over: the fill, not the open, decides there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

BARS = Path(__file__).resolve().parent.parent / "src" / "brokers" / "simulation" / "bundled"
SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
SESSIONS, HISTORY = 20, 200
BUY, STRONG = 50, 70
STOP, TARGET, MARGIN = 0.8, 1.3, 0.01


def score(bars: pd.DataFrame) -> pd.Series:
    """The AEGS live score after each bar."""
    close, volume = bars["Close"], bars["Volume"]
    change = close.diff()
    gain, loss = change.clip(lower=0).rolling(14).mean(), (-change.clip(upper=0)).rolling(14).mean()
    rsi = 100 - 100 / (1 + gain / loss)
    middle, width = close.rolling(20).mean(), 2 * close.rolling(20).std()
    place = (close - middle + width) / (2 * width)
    distance = (close / middle - 1) * 100
    macd = close.ewm(span=12).mean() - close.ewm(span=26).mean()
    signal = macd.ewm(span=9).mean()
    ratio, daily = volume / volume.rolling(20).mean(), close.pct_change() * 100
    sold = (ratio > 2) & (daily < -2)
    return (
        _tiers(rsi, (30, 30), (35, 15))
        + _tiers(place, (0, 30), (0.1, 20))
        + _tiers(distance, (-5, 25), (-3, 15))
        + sold * 30
        + (~sold & (ratio > 1.5)) * 10
        + _tiers(daily, (-10, 30), (-5, 15))
        + ((macd > signal) & (macd.shift() <= signal.shift())) * 20
    )


def _tiers(values: pd.Series, first: tuple[float, int], second: tuple[float, int]) -> pd.Series:
    below = values < first[0]
    return below * first[1] + (~below & (values < second[0])) * second[1]


@dataclass
class Stretch:
    start: str
    entries: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    close_calls: int = 0


def play(bars: dict[str, pd.DataFrame], scores: dict[str, pd.Series], first: int) -> Stretch:
    days = bars[SYMBOLS[0]].index
    stretch, held = Stretch(f"{days[first]:%Y-%m-%d}"), {}
    for at in range(first, first + SESSIONS):
        for symbol in SYMBOLS:
            bar, seen = bars[symbol].iloc[at], scores[symbol].iloc[at - 1]
            if symbol not in held and seen >= BUY:
                held[symbol] = bar["Open"]
                stretch.entries.append(f"{days[at]:%m-%d} {symbol} {seen}")
            if symbol not in held:
                continue
            low, high = bar["Low"] / (STOP * held[symbol]), bar["High"] / (TARGET * held[symbol])
            stretch.close_calls += abs(low - 1) < MARGIN or abs(high - 1) < MARGIN
            if low <= 1 or high >= 1:
                stretch.exits.append(f"{days[at]:%m-%d} {symbol} {'stop' if low <= 1 else 'target'}")
                del held[symbol]
    return stretch


def best_stretch(bars: dict[str, pd.DataFrame], scores: dict[str, pd.Series]) -> Stretch:
    count = len(bars[SYMBOLS[0]])
    stretches = (play(bars, scores, first) for first in range(HISTORY, count - SESSIONS))
    safe = [stretch for stretch in stretches if not stretch.close_calls]
    return max(safe, key=lambda stretch: (len(stretch.exits), len(stretch.entries)))


def read_bars() -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(BARS / f"{name}.csv", index_col=0, parse_dates=True) for name in SYMBOLS}


def main() -> None:
    bars = read_bars()
    scores = {name: score(frame) for name, frame in bars.items()}
    best = best_stretch(bars, scores)
    lines = [f"best start: {best.start}", "entries: " + ", ".join(best.entries), "exits: " + ", ".join(best.exits)]
    window = slice(pd.Timestamp(best.start) - pd.Timedelta(days=14), pd.Timestamp(best.start) + pd.Timedelta(days=42))
    for name in SYMBOLS:
        near = [(day, value) for day, value in scores[name].loc[window].items() if value >= BUY]
        marks = (
            f"{day:%m-%d} {'**' if value >= STRONG else ''}{value}{'**' if value >= STRONG else ''}"
            for day, value in near
        )
        lines.append(f"{name}: " + ", ".join(marks))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
