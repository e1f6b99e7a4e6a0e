"""Who moves a run from session to session: a child gateway that is told the time, or the wall clock."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Protocol

from ..brokers.base_broker import BaseBroker
from ..brokers.calendar import MarketCalendar
from ..brokers.domain.sessions import TradingDay
from .gateway_process import GatewayProcess

#: Market time between the open and the agent's look: quotes are two-sided by then and the opening blackout is over.
SETTLE = timedelta(seconds=10)
#: Market time that a replay runs at a stretch, so that the agent sees fills while the session lasts.
STRETCH = timedelta(minutes=65)
#: Real seconds between two looks at the clock while waiting for a session.
LOOK = 15.0


class SessionDriver(Protocol):
    """Both return once the broker has seen everything that happened until then."""

    async def to_open(self) -> TradingDay | None:
        """To the next session's first minute, or stay in the present one the first time; None when the data ends."""
        ...

    async def to_close(self, day: TradingDay) -> None: ...


class ReplayDriver:
    """Tells a child gateway the time, a session at a time."""

    def __init__(self, gateway: GatewayProcess, broker: BaseBroker, calendar: MarketCalendar) -> None:
        self._gateway = gateway
        self._broker = broker
        self._calendar = calendar
        self._last: TradingDay | None = None

    async def to_open(self) -> TradingDay | None:
        now = await self._broker.market_time()
        day = self._calendar.day_at(now) if self._last is None else None
        if day is None or now >= day.close:
            day = self._calendar.next_day(now)
        if not await self._advance(max(now, day.open + SETTLE)):
            return None
        self._last = day
        return day

    async def to_close(self, day: TradingDay) -> None:
        now = await self._broker.market_time()
        end = day.close + SETTLE
        while now < end:
            now = min(now + STRETCH, end)
            if not await self._advance(now):
                return

    async def _advance(self, moment: datetime) -> bool:
        """Whether there was anything left to serve until `moment`."""
        answer = await self._gateway.advance_to(moment)
        # An answer on the same socket arrives after everything that the gateway sent before it.
        await self._broker.market_time()
        return not answer.get("ended", False)


class WallDriver:
    """Waits for real sessions; market time is the broker's."""

    def __init__(self, broker: BaseBroker, calendar: MarketCalendar) -> None:
        self._broker = broker
        self._calendar = calendar
        self._last: TradingDay | None = None

    async def to_open(self) -> TradingDay | None:
        now = await self._broker.market_time()
        day = self._calendar.day_at(now) if self._last is None else None
        if day is None or now >= day.close:
            day = self._calendar.next_day(now)
        await self._wait_until(day.open + SETTLE)
        self._last = day
        return day

    async def to_close(self, day: TradingDay) -> None:
        await self._wait_until(day.close + SETTLE)

    async def _wait_until(self, moment: datetime) -> None:
        while (left := (moment - await self._broker.market_time()).total_seconds()) > 0:
            await asyncio.sleep(min(left, LOOK))
