"""One live market-data line of the portal: the fields that snapshots and `smd` frames told so far."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...domain.market_data import DataType, Quote
from ..ib_quote_line import WaitedLine
from .words import DATA_TYPES, to_float

#: Fields of a quote (P 2.2): last, bid, ask, their sizes, the day's prices, close, volume, availability, shortable.
FIELDS = ("31", "84", "86", "88", "85", "7059", "7295", "70", "71", "7741", "7762", "87", "6509", "7636")
#: What makes a quote whole enough to be the first.
PRICES = ("31", "84", "86")
#: Ticks 46 of TWS that mean "can be shorted" and "not without a locate".
SHORTABLE, HARD = 3.0, 1.0


def to_quote(fields: Mapping[str, Any], instrument: Instrument, time: datetime, source: str) -> Quote:
    """Values are text: "C168.42" is the close before and no trade of today, "H168.42" a halted price."""
    told = str(fields.get("31") or "")
    last = to_float(told) if told else None
    close = _price(fields.get("7741"))
    if told.startswith("C"):
        close, last = close if close is not None else _price(told), None
    volume = to_float(fields.get("7762"))
    return Quote(
        instrument,
        time,
        bid=_price(fields.get("84")),
        ask=_price(fields.get("86")),
        bid_size=_size(fields.get("88")),
        ask_size=_size(fields.get("85")),
        last=last if last is not None and last > 0 else None,
        last_size=_size(fields.get("7059")),
        open=_price(fields.get("7295")),
        high=_price(fields.get("70")),
        low=_price(fields.get("71")),
        close=close,
        volume=volume if volume is not None else to_float(fields.get("87")),
        halted=told.startswith("H") if told else None,
        data_type=data_type(fields),
        source=source,
    )


def data_type(fields: Mapping[str, Any]) -> DataType:
    return DATA_TYPES.get(str(fields.get("6509") or "R")[:1], DataType.LIVE)


def is_withheld(fields: Mapping[str, Any]) -> bool:
    """Whether the portal says that this login has no data of the contract."""
    return str(fields.get("6509") or "").startswith("N")


def _price(value: Any) -> float | None:
    number = to_float(value)
    return number if number is not None and number > 0 else None


def _size(value: Any) -> float | None:
    number = to_float(value)
    return number if number is not None and number >= 0 else None


class Line(WaitedLine):
    """One market-data line."""

    def __init__(self, instrument: Instrument, clock: Clock, source: str) -> None:
        super().__init__(instrument, clock.now(), source)
        self.fields: dict[str, Any] = {}
        #: Loop time of the last subscription.
        self.asked_at = float("-inf")

    @property
    def con_id(self) -> int:
        return self.instrument.con_id or 0

    @property
    def data_type(self) -> DataType:
        return data_type(self.fields)

    def quote(self) -> Quote:
        return to_quote(self.fields, self.instrument, self.time, self._source)

    def shortable(self) -> tuple[float | None, float | None]:
        shares = to_float(self.fields.get("7636"))
        return (None, None) if shares is None else (SHORTABLE if shares > 0 else HARD, shares)

    def take(self, fields: Mapping[str, Any], now: float, time: datetime) -> bool:
        """Fields as told; True when a value of the quote is new."""
        fresh = {name: fields[name] for name in FIELDS if name in fields and fields[name] != self.fields.get(name)}
        if not fresh:
            return False
        self.fields.update(fresh)
        self.touch(now, time)
        return True
