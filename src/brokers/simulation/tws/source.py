"""What the TWS door asks of a price source beyond the exchange's needs: contracts, schedules, historical ticks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from ..contracts import ContractBook
from ..history import ScheduleRow, SessionCalendar
from ..market import PriceSource, PriceStep
from ..tapes import TickKind


class MarketSource(PriceSource, Protocol):
    """Never tells what lies ahead of `now`."""

    @property
    def calendar(self) -> SessionCalendar: ...

    @property
    def contracts(self) -> ContractBook: ...

    def schedule(self, start: date, end: date, *, regular_hours: bool = True) -> list[ScheduleRow]: ...

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
    ) -> list[PriceStep]: ...
