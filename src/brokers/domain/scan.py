"""Market scans: what to rank, where, and what to leave out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InvalidRequest

#: Rows that IB answers at most.
MOST_ROWS = 50


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """One scan. `code`, `instrument` and `location` are IB's words (`scan_parameters` lists them).

    Prices in the instrument's currency, `above_volume` in shares or contracts of today, market capitalisations in USD;
    None leaves a filter out. Raises InvalidRequest for what no scanner can answer.
    """

    code: str
    instrument: str = "STK"
    location: str = "STK.US.MAJOR"
    rows: int = MOST_ROWS
    above_price: float | None = None
    below_price: float | None = None
    above_volume: int | None = None
    above_market_cap: float | None = None
    below_market_cap: float | None = None

    def __post_init__(self) -> None:
        for name in ("code", "instrument", "location"):
            word = getattr(self, name)
            if not word or not all(letter.isascii() and (letter.isalnum() or letter in "_.") for letter in word):
                raise InvalidRequest(f"scan {self.code!r:.60}", f"{word!r:.60} is no {name}", "see scan_parameters")
        if not 1 <= self.rows <= MOST_ROWS:
            raise InvalidRequest(
                str(self), f"{self.rows} rows do not lie between 1 and {MOST_ROWS}", "ask for fewer rows"
            )
        limits = (self.above_price, self.below_price, self.above_volume, self.above_market_cap, self.below_market_cap)
        if any(limit is not None and not (math.isfinite(limit) and limit >= 0) for limit in limits):
            raise InvalidRequest(str(self), "a filter is negative or no number", "correct the filter")

    def __str__(self) -> str:
        return f"scan {self.code} of {self.location}"


@dataclass(frozen=True, slots=True)
class ScanParameters:
    """What this session's scanner offers: code -> its name, in the broker's words."""

    codes: Mapping[str, str] = field(default_factory=dict)
    instruments: Mapping[str, str] = field(default_factory=dict)
    locations: Mapping[str, str] = field(default_factory=dict)
