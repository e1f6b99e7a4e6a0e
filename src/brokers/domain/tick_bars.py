"""Bars that are made here, of single trades."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidRequest
from .instrument import Instrument
from .market_data import Bar


@dataclass(frozen=True, slots=True)
class BarRule:
    """When a bar ends; exactly one is given. `seconds`: intervals counted from 1970 in UTC, so that 60 are the
    minutes of the clock. `ticks`: after so many trades. `volume`: with the trade that makes it so many shares, which
    is not split."""

    seconds: float | None = None
    ticks: int | None = None
    volume: float | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest."""
        given = [value for value in (self.seconds, self.ticks, self.volume) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise InvalidRequest("rule of bars", f"{self} is none", "give seconds, ticks or volume, above 0")


@dataclass(frozen=True, slots=True)
class TickBar:
    """A bar of `instrument` made of the trades that were seen. `bar.complete` is False where some are missing: the bar
    is cut by a Gap or a Lost, had begun before anybody listened, or still runs as the stream ends."""

    instrument: Instrument
    bar: Bar
