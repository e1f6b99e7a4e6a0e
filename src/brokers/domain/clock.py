"""Two clocks: monotonic time for deadlines, market time for everything that trades.

Monotonic time runs deadlines, heartbeats, reconnects and message pacing. Market time is the exchange's: sessions, TIF,
ages of quotes, the daily loss. In a replay the two have nothing to do with each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What every component that needs time is given."""

    def now(self) -> datetime:
        """Market time, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """Wall time as market time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class MarketClock:
    """Market time told by the broker, carried on by the machine's clock between tellings.

    Until `tell` was called, market time is the machine's own. `rate` is market seconds per real second (0 for a
    clock that moves only when told, as a gateway under `--control stdio` has).
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, rate: float = 1.0) -> None:
        self._monotonic = monotonic
        self._told_at: float | None = None
        self._told = datetime.now(UTC)
        self.rate = rate

    def tell(self, market_time: datetime) -> None:
        """Set market time. Naive datetimes are refused with ValueError."""
        if market_time.tzinfo is None:
            raise ValueError(f"market time must carry a time zone: {market_time!r}")
        self._told = market_time.astimezone(UTC)
        self._told_at = self._monotonic()

    def now(self) -> datetime:
        if self._told_at is None:
            return datetime.now(UTC)
        return self._told + timedelta(0, (self._monotonic() - self._told_at) * self.rate)

    def monotonic(self) -> float:
        return self._monotonic()

    def offset(self) -> timedelta:
        """How far market time is ahead of the machine's wall clock (fault C28 alarms above one second)."""
        return self.now() - datetime.now(UTC)


class ManualClock:
    """Both clocks moved by hand, for tests and for the simulated exchange."""

    def __init__(self, start: datetime, monotonic: float = 0.0) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start must carry a time zone: {start!r}")
        self._now = start.astimezone(UTC)
        self._mono = monotonic

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._mono

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self._now += timedelta(seconds=seconds)
        self._mono += seconds

    def set_now(self, market_time: datetime) -> None:
        """Move market time alone; it may not go back."""
        if market_time < self._now:
            raise ValueError(f"market time does not go back: {market_time} < {self._now}")
        self._now = market_time.astimezone(UTC)
