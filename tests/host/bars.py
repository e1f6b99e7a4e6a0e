"""Daily bars of the contract's market: quiet symbols at 300 dollars, and one that crashes before the market opens."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from moondev_ibkr.brokers.simulation import bundled

#: Its last days before the start are what an AEGS scanner calls a strong buy.
CRASHED = "CRSH"
#: Days in the files, and on which of them the market opens.
DAYS, START = 280, 250


def trading_days() -> list[str]:
    """Real ones, from a file that the package ships."""
    path = Path(bundled.__file__).parent / "AAPL.csv"
    with path.open() as file:
        return [row["Date"] for row in csv.DictReader(file)][:DAYS]


def write_bars(folder: Path, symbols: Iterable[str]) -> str:
    """A file for each symbol and the crashed one; returns the day on which the market is to open."""
    folder.mkdir(parents=True)
    days = trading_days()
    for number, symbol in enumerate(symbols):
        closes = [300 + 5 * math.sin(day / 3 + number) for day in range(DAYS)]
        _write(folder / f"{symbol}.csv", days, closes, [1_000_000] * DAYS)
    falling = [200 + 3 * math.sin(day / 3) for day in range(START - 15)]
    while len(falling) < START - 1:
        falling.append(falling[-1] * 0.985)
    falling.append(falling[-1] * 0.87)
    while len(falling) < DAYS:
        falling.append(falling[-1] * 0.93)
    volumes = [1_000_000] * (START - 1) + [5_000_000] * (DAYS - START + 1)
    _write(folder / f"{CRASHED}.csv", days, falling, volumes)
    return days[START]


def _write(path: Path, days: list[str], closes: list[float], volumes: list[int]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Date", "Open", "High", "Low", "Close", "Volume"])
        for day, before, close, volume in zip(days, [closes[0], *closes], closes, volumes, strict=False):
            high, low = max(before, close) * 1.002, min(before, close) * 0.998
            rows.writerow([day, *(f"{price:.2f}" for price in (before, high, low, close)), volume])
