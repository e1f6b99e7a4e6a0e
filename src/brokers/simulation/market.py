"""What the exchange needs of a market: its instruments, its prices as they happen, and its past.

Two parties meet here: price sources (synthetic, replay, flat) produce; the exchange consumes and never looks ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from ..domain.instrument import InstrumentDetails
from ..domain.market_data import Bar, BarSize, BarSource


@dataclass(frozen=True, slots=True)
class PriceStep:
    """One change of one instrument's market at `time` (aware UTC, market time). Prices on the tick grid.

    `bid < ask` unless the bar has no room for both (then equal to its only price). `last`/`last_size` are a print at
    this moment, None when only the quote moved. Sizes in shares. `halted` stops trading until a step says False.
    """

    time: datetime
    con_id: int
    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal
    last: Decimal | None = None
    last_size: Decimal | None = None
    halted: bool = False


class TickKind(StrEnum):
    """Historical ticks (reqHistoricalTicks whatToShow)."""

    TRADES = "TRADES"
    BID_ASK = "BID_ASK"
    MIDPOINT = "MIDPOINT"


class PriceSource(Protocol):
    """Instruments and their prices. Deterministic: same seed and inputs, same steps."""

    @property
    def start(self) -> datetime:
        """Where market time begins: inside a regular session, with history behind it."""
        ...

    @property
    def end(self) -> datetime | None:
        """The last moment there is anything to serve; None when endless."""
        ...

    def catalogue(self) -> Sequence[InstrumentDetails]:
        """Every tradable instrument, qualified (con_id set)."""
        ...

    def steps(self) -> Iterator[PriceStep]:
        """All steps from `start` on, in time order, lazily; the first step of each instrument comes at `start`."""
        ...

    def history(
        self,
        con_id: int,
        size: BarSize,
        source: BarSource,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        regular_hours: bool = True,
    ) -> list[Bar]:
        """Bars whose start lies in [start, end), ascending, built only from what happened up to `now`.

        The bar that contains `now` is there with complete=False. Raises NoData when the instrument has none at all.
        """
        ...

    def head_timestamp(self, con_id: int) -> datetime | None:
        """The earliest moment with data."""
        ...

    def ticks(
        self,
        con_id: int,
        kind: TickKind,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        now: datetime,
        number: int,
        regular_hours: bool = True,
    ) -> list[PriceStep]:
        """Historical ticks up to `now`, ascending: the first `number` from `start`, or the last `number` up to `end`.

        TRADES gives the prints, BID_ASK the steps that changed the quote, MIDPOINT those that changed its middle.
        """
        ...
