"""Which part of the trading day a moment lies in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Session(StrEnum):
    PRE = "PRE"
    REGULAR = "RTH"
    POST = "POST"
    OVERNIGHT = "OVERNIGHT"
    CLOSED = "CLOSED"
    UNKNOWN = "UNKNOWN"  #: the calendar does not reach this moment; different from closed


@dataclass(frozen=True, slots=True)
class TradingDay:
    """One day's session times, aware UTC. `early_close` marks a half day."""

    day: date
    pre_open: datetime
    open: datetime
    close: datetime
    post_close: datetime
    early_close: bool = False

    def session_at(self, moment: datetime) -> Session:
        """The session at `moment`; boundaries belong to the later session."""
        if moment < self.pre_open or moment >= self.post_close:
            return Session.CLOSED
        if moment < self.open:
            return Session.PRE
        return Session.REGULAR if moment < self.close else Session.POST


@dataclass(frozen=True, slots=True)
class MarketHours:
    """Where a moment lies for one contract.

    `day` holds the session times of the exchange's date at that moment, None on a date without trading and where
    nothing is known (`session` is UNKNOWN then). `time_zone` is the exchange's IANA name.
    """

    session: Session
    day: TradingDay | None
    time_zone: str
