"""Writes src/brokers/simulation/bundled/*.csv out of the PyPI package bokeh_sampledata.

    pip install bokeh_sampledata==2026.1
    python tools/extract_bars.py

Refuses to write when the package's own record does not say public domain, when the data is not the file that the record
describes, or when a split lies in the window.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import sys
from importlib import metadata
from pathlib import Path

SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
FIRST_DAY = "2006-01-03"
TARGET = Path(__file__).resolve().parent.parent / "src" / "brokers" / "simulation" / "bundled"
SOURCE = "bokeh_sampledata/_data/stocks.csv.gz"
RECORD = "licenses/datasets.json"


def package_file(ending: str) -> Path:
    files = metadata.files("bokeh_sampledata") or []
    return Path(str(next(entry for entry in files if str(entry).endswith(ending)).locate()))


def checked_source() -> bytes:
    """The unpacked CSV, after the record was checked."""
    datasets = json.loads(package_file(RECORD).read_text(encoding="utf-8"))["datasets"]
    record = next(entry for entry in datasets if entry["module"] == "stocks")
    packed = package_file(SOURCE).read_bytes()
    if record["recorded_license"] != "Public domain":
        raise SystemExit(f"the record says {record['recorded_license']!r}, not public domain")
    if hashlib.sha256(packed).hexdigest() != record["sha256"]["stocks.csv.gz"]:
        raise SystemExit("stocks.csv.gz is not the file that the record describes")
    return gzip.decompress(packed)


def cents(text: str) -> int:
    return round(float(text) * 100)


def extract(rows: list[dict[str, str]]) -> str:
    """One symbol's CSV: traded prices to the cent, nothing adjusted."""
    lines = ["Date,Open,High,Low,Close,Volume"]
    ratio = 0.0
    for row in rows:
        opened, high, low, close = (cents(row[name]) for name in ("Open", "High", "Low", "Close"))
        if not 0 < low <= min(opened, close) <= max(opened, close) <= high:
            raise SystemExit(f"impossible bar: {row}")
        # A split changes adjusted over traded close by a third or more in a day, a dividend by one or two per cent.
        previous, ratio = ratio, float(row["Adj Close"]) / float(row["Close"])
        if previous and not 0.9 < ratio / previous < 1.1:
            raise SystemExit(f"a split before {row['Date']}")
        prices = ",".join(f"{value / 100:.2f}" for value in (opened, high, low, close))
        lines.append(f"{row['Date']},{prices},{int(float(row['Volume']))}")
    return "\n".join(lines) + "\n"


def main() -> None:
    text = checked_source().decode("utf-8")
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["Date"] >= FIRST_DAY]
    TARGET.mkdir(parents=True, exist_ok=True)
    for symbol in SYMBOLS:
        content = extract([row for row in rows if row["Ticker"] == symbol]).encode()
        (TARGET / f"{symbol}.csv").write_bytes(content)
        digest, bars = hashlib.sha256(content).hexdigest(), len(content.splitlines()) - 1
        sys.stdout.write(f"{digest}  {symbol}.csv  {bars} bars, {len(content)} bytes" + "\n")


if __name__ == "__main__":
    main()
