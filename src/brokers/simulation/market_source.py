"""What the doors ask of a price source beyond the exchange's needs: contracts and schedules."""

from __future__ import annotations

from datetime import date
from typing import Protocol

from .contracts import ContractBook
from .history import ScheduleRow, SessionCalendar
from .market import PriceSource


class MarketSource(PriceSource, Protocol):
    """A PriceSource that knows its contracts and its calendar."""

    @property
    def calendar(self) -> SessionCalendar: ...

    @property
    def contracts(self) -> ContractBook: ...

    def schedule(self, start: date, end: date, *, regular_hours: bool = True) -> list[ScheduleRow]: ...
