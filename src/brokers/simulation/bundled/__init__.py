"""Real daily bars that ship with the package: AAPL, MSFT, IBM, GOOG, 2006 to 2013 (docs/shipped-bars.md)."""

from __future__ import annotations

from importlib import resources

SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")


def read(symbol: str) -> str:
    """The CSV text of one of SYMBOLS."""
    return resources.files(__name__).joinpath(f"{symbol}.csv").read_text(encoding="utf-8")
