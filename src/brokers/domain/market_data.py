"""Quotes, trades, depth and bars. Floats: market data, not money. A missing value is None."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ..errors import InvalidRequest
from .instrument import Instrument
from .news import Headline


class StreamKind(StrEnum):
    QUOTES = "QUOTES"
    TRADES = "TRADES"
    DEPTH = "DEPTH"
    TICK_BY_TICK = "TICK_BY_TICK"
    NEWS = "NEWS"


class DataType(StrEnum):
    """Which market data the broker delivers (IB message 58)."""

    LIVE = "LIVE"
    FROZEN = "FROZEN"
    DELAYED = "DELAYED"
    DELAYED_FROZEN = "DELAYED_FROZEN"


@dataclass(frozen=True, slots=True)
class Quote:
    """Top of book at `time` (market time, aware UTC: when this value was last changed by the source).

    Prices in the instrument's currency, sizes in shares; None where the source gave nothing. `close` is the previous
    session's close. `halted` None when the source does not tell. `source` names the door, `suspect` says why a second
    source disagrees (None: it does not). `polled`: the symbol has no market-data line, and this is its last snapshot.
    """

    instrument: Instrument
    time: datetime
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last: float | None = None
    last_size: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    halted: bool | None = None
    data_type: DataType = DataType.LIVE
    source: str = ""
    suspect: str | None = None
    polled: bool = False

    @property
    def is_two_sided(self) -> bool:
        return self.bid is not None and self.ask is not None and 0 < self.bid < self.ask

    @property
    def mid(self) -> float | None:
        """Half way between bid and ask; None unless two-sided."""
        if self.bid is None or self.ask is None or not self.is_two_sided:
            return None
        return (self.bid + self.ask) / 2

    @property
    def is_delayed(self) -> bool:
        return self.data_type in (DataType.DELAYED, DataType.DELAYED_FROZEN)

    def age(self, now: datetime) -> timedelta:
        return now - self.time


@dataclass(frozen=True, slots=True)
class Trade:
    """One print. `size` in shares. `past_limit` and `unreported` as IB's tick attributes. `source` names the door."""

    instrument: Instrument
    time: datetime
    price: float
    size: float
    exchange: str = ""
    conditions: str = ""
    past_limit: bool = False
    unreported: bool = False
    source: str = ""

    def age(self, now: datetime) -> timedelta:
        return now - self.time


@dataclass(frozen=True, slots=True)
class BidAsk:
    """One tick-by-tick change of the top of book."""

    instrument: Instrument
    time: datetime
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    source: str = ""

    def age(self, now: datetime) -> timedelta:
        return now - self.time


@dataclass(frozen=True, slots=True)
class DepthLevel:
    price: float
    size: float
    market_maker: str = ""


@dataclass(frozen=True, slots=True)
class Depth:
    """An order book, best price first on both sides."""

    instrument: Instrument
    time: datetime
    bids: tuple[DepthLevel, ...]
    asks: tuple[DepthLevel, ...]
    source: str = ""

    def age(self, now: datetime) -> timedelta:
        return now - self.time


@dataclass(frozen=True, slots=True)
class Bar:
    """One OHLCV bar; `time` is its start (aware UTC; midnight of its day for daily bars). `volume` in shares, None
    where the source has none; `complete` is False while the bar may still change (fault H12)."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    average: float | None = None
    count: int | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class BarUpdate:
    """A live bar changed (`closed` False) or a bar ended (`closed` True)."""

    instrument: Instrument
    size: BarSize
    bar: Bar
    closed: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """The stream lost its source; values from `since` on may be missing. Always followed by Resumed or the end."""

    since: datetime
    source: str
    reason: str
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resumed:
    """The stream is whole again. `missed` counts events known to be lost (None: not knowable)."""

    at: datetime
    source: str
    restored: int
    failed: int
    missed: int | None = None
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """This consumer fell behind: `count` events of `symbols`, the first of `since` (market time), fell off its buffer
    at this place. Nobody else lost them."""

    since: datetime
    count: int
    symbols: tuple[str, ...]


MarketEvent = Quote | Trade | BidAsk | Depth | Headline | Gap | Resumed | Lost


class BarSize(StrEnum):
    """Bar sizes; the value is IB's own spelling (barSizeSetting)."""

    S1 = "1 secs"
    S5 = "5 secs"
    S10 = "10 secs"
    S15 = "15 secs"
    S30 = "30 secs"
    M1 = "1 min"
    M2 = "2 mins"
    M3 = "3 mins"
    M5 = "5 mins"
    M10 = "10 mins"
    M15 = "15 mins"
    M20 = "20 mins"
    M30 = "30 mins"
    H1 = "1 hour"
    H2 = "2 hours"
    H3 = "3 hours"
    H4 = "4 hours"
    H8 = "8 hours"
    D1 = "1 day"
    W1 = "1 week"
    MONTH1 = "1 month"

    @property
    def seconds(self) -> int:
        """Nominal length; a month counts as 30 days."""
        number, unit = self.value.split()
        return int(number) * _UNIT_SECONDS[unit.rstrip("s")]

    @property
    def is_intraday(self) -> bool:
        return self.seconds < 86_400

    @classmethod
    def parse(cls, text: str) -> BarSize:
        """Accepts IB's spelling or short forms: `1m` `5m` `1h`/`1H` `1d`/`1D` `1w`/`1W` `1M` (month) `30s`.

        Case matters for `m` (minute) and `M` (month). Raises InvalidRequest (fault H09: never a silent default).
        """
        for size in cls:
            if size.value == text:
                return size
        short = re.fullmatch(r"(\d+)([smhHdDwWM])", text.strip())
        if short:
            unit = {"s": "sec", "m": "min", "h": "hour", "d": "day", "w": "week", "M": "month"}.get(
                short[2] if short[2] in "sm M" else short[2].lower()
            )
            for size in cls:
                number, name = size.value.split()
                if number == short[1] and name.rstrip("s") == unit:
                    return size
        raise InvalidRequest(
            f"bar size {text!r}",
            "the broker has no such bars",
            f"use one of {', '.join(s.value for s in cls)}",
        )


_UNIT_SECONDS = {"sec": 1, "min": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}


class BarSource(StrEnum):
    """What bars are made of; the value is IB's own spelling (whatToShow)."""

    TRADES = "TRADES"
    MIDPOINT = "MIDPOINT"
    BID = "BID"
    ASK = "ASK"
    BID_ASK = "BID_ASK"
    ADJUSTED_LAST = "ADJUSTED_LAST"
    #: Of the options on the instrument, and of the instrument itself: a year's volatility, 0.25 is 25 %.
    IMPLIED_VOLATILITY = "OPTION_IMPLIED_VOLATILITY"
    HISTORICAL_VOLATILITY = "HISTORICAL_VOLATILITY"


#: Sources that are no prices.
VOLATILITY_SOURCES = frozenset({BarSource.IMPLIED_VOLATILITY, BarSource.HISTORICAL_VOLATILITY})
