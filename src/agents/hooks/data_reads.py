"""Prices and bars for the host's helpers: IB first; another source for data alone, and never without saying so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

import pandas as pd

from ...brokers.errors import InvalidRequest, NoData, NoPermission, NotSupported, UnknownInstrument
from .desk import Desk
from .host_bars import HostBars

log = logging.getLogger(__name__)
T = TypeVar("T")

#: What makes another source worth asking. A lost or stale link is none of these: it is raised.
_LACKING = (NoPermission, NoData, UnknownInstrument)
SOURCES = ("auto", "ib", "other")


class OtherSource(Protocol):
    """A second source of data. Methods raise NoData when they have none."""

    name: str

    def price(self, symbol: str) -> float: ...

    def frame(self, symbol: str, timeframe: str, days_back: float) -> pd.DataFrame:
        """Columns Open High Low Close Volume, ascending UTC DatetimeIndex."""
        ...


class DataReads:
    """`other` None: nothing but IB is asked."""

    def __init__(self, desk: Desk, bars: HostBars, other: OtherSource | None = None) -> None:
        self._desk = desk
        self._bars = bars
        self._other = other

    def price(self, symbol: str, source: str = "auto") -> float:
        """`source`: "auto" (IB, then the other source), "ib" or "other". Raises rather than answer 0 or None."""
        return self._from(
            source,
            f"price of {symbol}",
            lambda: self._desk.price(symbol),
            lambda other: other.price(symbol),
        )

    def frame(self, symbol: str, timeframe: str, days_back: float, source: str = "auto") -> pd.DataFrame:
        """Bars as `HostBars.frame` answers them."""
        return self._from(
            source,
            f"bars of {symbol}",
            lambda: self._bars.frame(symbol, timeframe, days_back),
            lambda other: other.frame(symbol, timeframe, days_back),
        )

    def last(self, symbol: str, timeframe: str, bars: int) -> pd.DataFrame:
        """The last `bars` bars, from IB alone."""
        return self._bars.last(symbol, timeframe, bars)

    def _from(self, source: str, what: str, ib: Callable[[], T], ask: Callable[[OtherSource], T]) -> T:
        if source not in SOURCES:
            raise InvalidRequest(f"{what} from {source!r}", "there is no such source", f"one of {', '.join(SOURCES)}")
        other = self._other
        if source == "other":
            if other is None:
                raise NotSupported(f"{what} from another source", "there is none", "install yfinance, or ask IB")
            return ask(other)
        try:
            return ib()
        except _LACKING as error:
            if source == "ib" or other is None:
                raise
            try:
                found = ask(other)
            except NoData as second:
                log.info("%s has no %s either: %s", other.name, what, second)
                raise error from None
            self._desk.say_once(f"{what}: {error}; taken from {other.name} instead, for data only")
            return found
