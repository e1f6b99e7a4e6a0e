"""The paper gateway: one exchange, its doors, and whoever moves its time.

async with Gateway(settings) as gateway:      # listens on gateway.tws_port
    await gateway.advance_to(moment)          # everything until `moment` has happened and has been sent
    await gateway.run()                       # until `stop` is called, for a gateway of its own
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..calendar import calendar_for
from ..domain.sessions import TradingDay
from ..errors import BrokerError, ConfigurationError, InvalidRequest
from .commissions import PriceList
from .doors import Doors
from .events import AccountChanged, ExchangeEvent, StatusChanged
from .exchange import Exchange
from .faults import Faults, parse_fault
from .gateway_settings import ClockMode, GatewaySettings
from .history import SessionCalendar
from .market_source import MarketSource
from .models import CommissionSchedule
from .prices import PriceKind, make_prices
from .state_file import AccountFile, KeptAccount
from .timers import MarketTimers
from .tws.door import TwsDoor
from .tws.server import TwsServer

if TYPE_CHECKING:
    from .portal.door import PortalDoor

log = logging.getLogger(__name__)

#: Events between two looks at the sockets while time runs ahead.
STRIDE = 64
#: Real seconds that a running clock sleeps at most, and at least.
LONGEST_NAP, SHORTEST_NAP = 0.25, 0.001
#: Real seconds between a change of the account and its being written.
SAVE_DELAY = 1.0


class Gateway:
    """`prices` None: what the settings describe. `monotonic` drives a running clock and IB's pacing; a controlled
    gateway reads no other time than market time for anything that it sends."""

    def __init__(
        self,
        settings: GatewaySettings | None = None,
        *,
        prices: MarketSource | None = None,
        calendar: SessionCalendar | None = None,
        commissions: CommissionSchedule | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings = settings or GatewaySettings()
        self.calendar: SessionCalendar = calendar or calendar_for()
        self._monotonic = monotonic
        self._wall = wall
        self._file = AccountFile(settings) if settings.state_file is not None else None
        if self._file is not None and settings.fresh:
            self._file.forget()
        kept = self._file.read() if self._file is not None else None
        self.prices: MarketSource = prices or self._make_prices(kept.market_time if kept else None)
        self.exchange = Exchange(
            self.prices,
            calendar=self.calendar,
            commissions=commissions or PriceList(),
            settings=settings.exchange,
        )
        self._begin(kept)
        self.timers = MarketTimers()
        self.faults = Faults(portal_door=self._portal_to_disturb)
        self.door = TwsDoor(self.exchange, self.prices, self.timers, settings.tws, self.faults, monotonic)
        self._portal: PortalDoor | None = None
        self._doors: Doors | None = None
        self._clock: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._save_timer: asyncio.TimerHandle | None = None
        self._anchor = (monotonic(), self.exchange.now)
        self._advancing = asyncio.Lock()
        self._unsubscribe = self.exchange.subscribe(self._on_account, AccountChanged, StatusChanged)

    def _begin(self, kept: KeptAccount | None) -> None:
        """Market time and the account where they were left, or at their start."""
        if kept is not None:
            self._resume(kept.market_time)
        if self.settings.settle and self.settings.clock is ClockMode.REPLAY:
            self._enter_session()
        if kept is not None:
            self._check_listed(kept)
            self.exchange.restore(kept.exchange)

    def _check_listed(self, kept: KeptAccount) -> None:
        """Without its market a position could be neither valued nor closed."""
        listed = {details.instrument.con_id for details in self.exchange.catalogue()}
        if missing := sorted(kept.held_contracts() - listed):
            raise ConfigurationError(
                f"paper account {self.settings.state_file}",
                f"it holds contracts that are not listed: {', '.join(map(str, missing))}",
                "name their symbols as well with --symbols, or start a new account with --fresh",
            )

    def _make_prices(self, resume_at: datetime | None) -> MarketSource:
        settings = self.settings
        kind, start = settings.price_kind, settings.start
        if settings.clock is ClockMode.WALL:
            kind, start = PriceKind.SYNTHETIC, self._last_session(self._wall()).day
        options: dict[str, Any] = {
            "kind": kind,
            "paths": settings.bars,
            "symbols": settings.symbols or None,
            "seed": settings.exchange.seed,
            "prints": settings.prints,
            "quiet": settings.quiet,
            "halts": settings.halts,
            "others": settings.others,
        }
        if resume_at is not None and start is None:
            try:
                return make_prices(self.calendar, start=self._last_session(resume_at).day, **options)
            except InvalidRequest:
                log.info("the prices do not reach %s, where the paper account stands: they begin anew", resume_at)
        return make_prices(self.calendar, start=start, **options)

    def _last_session(self, moment: datetime) -> TradingDay:
        """The session of `moment`, or the last one that had been open for a while by then."""
        days = self.calendar.trading_days((moment - timedelta(days=14)).date(), moment.date())
        begun = [day for day in days if day.open + timedelta(minutes=30) <= moment]
        if not begun:
            raise ConfigurationError(f"market time {moment}", "the calendar has no session before it", "choose a start")
        return begun[-1]

    def _resume(self, moment: datetime) -> None:
        """Market time goes on from where the account was kept, if the prices reach it."""
        end = self.prices.end
        if self.settings.start is None and moment > self.exchange.now and (end is None or moment <= end):
            near = self._last_session(moment).day == self.exchange.now.date()
            if near or moment - self.exchange.now < timedelta(days=7):
                self.exchange.advance_to(moment)

    def _enter_session(self) -> None:
        """Whoever connects can trade at once: inside a session, and after its first moments."""
        begin = self.next_session().open + self.settings.settle
        end = self.prices.end
        if self.exchange.now < begin and (end is None or begin <= end):
            self.exchange.advance_to(begin)

    # life

    async def __aenter__(self) -> Gateway:
        doors = self._doors = Doors(self.settings, self.door, lambda: self.portal, self.timers, self.catch_up)
        self.faults.attach(self.door, doors.tws)
        self.faults.restart, self.faults.move = doors.plan_restart, doors.plan_move
        self.faults.restart_portal = doors.plan_portal_restart
        await doors.open()
        try:
            for text in self.settings.faults:
                name, arguments = parse_fault(text)
                self.faults.arm(name, *arguments)
        except InvalidRequest:
            await self.close()
            raise
        self._anchor = (self._monotonic(), self.exchange.now)
        if self.settings.clock is not ClockMode.CONTROL:
            self._clock = asyncio.create_task(self._run_clock(), name="gateway clock")
        if self.settings.ready_file is not None:
            doors.write_ready(self.settings.ready_file, list(self.exchange.accounts))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every connection and keeps the account."""
        self.stop()
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        if self._doors is not None:
            await self._doors.close()
        self._unsubscribe()
        self.door.close()
        if self._portal is not None:
            self._portal.close()
        if self._save_timer is not None:
            self._save_timer.cancel()
        self.save()
        if self.settings.ready_file is not None:
            self.settings.ready_file.unlink(missing_ok=True)

    async def run(self) -> None:
        """Serves until `stop`."""
        await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def server(self) -> TwsServer:
        return self.doors.tws

    @property
    def doors(self) -> Doors:
        """The sockets; InvalidRequest before they are open."""
        if self._doors is None:
            raise InvalidRequest("the gateway", "it is not listening", "enter it with `async with`")
        return self._doors

    @property
    def portal(self) -> PortalDoor:
        """The portal door, made at its first use: a gateway without it does not pay for it."""
        if self._portal is None:
            from .portal.door import PortalDoor
            from .portal.order_sight import hidden_from_tws

            self.door.hidden_clients = hidden_from_tws(self.settings.portal)
            self._portal = PortalDoor(
                self.exchange,
                self.prices,
                self.timers,
                self.settings.portal,
                self.faults.portal,
                self.door,
                monotonic=self._monotonic,
                seed=self.settings.exchange.seed,
                options=self.door.options,
            )
        return self._portal

    def _portal_to_disturb(self) -> PortalDoor:
        if self.settings.portal.port is None and self._portal is None:
            raise InvalidRequest("a fault of the portal", "that door is closed", "open it with --portal-port")
        return self.portal

    @property
    def tws_port(self) -> int:
        return self.server.port

    @property
    def now(self) -> datetime:
        """Market time, aware UTC."""
        return self.exchange.now

    # time

    def catch_up(self) -> None:
        """Lets a running clock's market time reach the present; nothing for one that is told."""
        if self._clock is None or (self.settings.speed == 0 and self.settings.clock is ClockMode.REPLAY):
            return
        self.go_to(self._target())

    def _target(self) -> datetime:
        if self.settings.clock is ClockMode.WALL:
            return self._wall()
        began, market = self._anchor
        return market + timedelta(seconds=(self._monotonic() - began) * self.settings.speed)

    def _due(self) -> datetime | None:
        times = [moment for moment in (self.exchange.next_event_time(), self.timers.next_time()) if moment is not None]
        return min(times) if times else None

    def _step(self, moment: datetime) -> int:
        """What is due at `moment`, and what that makes due."""
        told = self.exchange.advance_to(max(moment, self.exchange.now))
        self.timers.run_until(self.exchange.now)
        return told

    def go_to(self, moment: datetime) -> int:
        """Everything up to `moment`, timers and prices in their order, without a look at the sockets; returns how many
        events that were."""
        told = 0
        while (due := self._due()) is not None and due <= moment:
            told += self._step(due)
        if moment > self.exchange.now:
            told += self._step(moment)
        self.door.flush()
        return told

    async def advance_to(self, moment: datetime) -> dict[str, Any]:
        """Returns when all that happened until `moment` has been sent and drained: {now, events, ended, stalled}.

        `ended`: the prices end before `moment`. `stalled` lists clients that did not read for `stall_seconds`.
        Raises InvalidRequest for a moment in the past or without a time zone.
        """
        if moment.tzinfo is None:
            raise InvalidRequest(f"advance to {moment}", "it carries no time zone", "write 2026-04-15T14:30:00+00:00")
        async with self._advancing:
            if moment < self.exchange.now:
                raise InvalidRequest(f"advance to {moment}", f"market time is {self.exchange.now} and does not go back")
            events = await self._advance(moment)
            await self.doors.drained()
        end = self.prices.end
        return {
            "now": self.exchange.now.isoformat(),
            "events": events,
            "ended": end is not None and moment > end,
            "stalled": self.server.stalled_clients,
        }

    async def _advance(self, moment: datetime) -> int:
        events, steps = 0, 0
        while (due := self._due()) is not None and due <= moment:
            events += self._step(due)
            steps += 1
            if steps % STRIDE == 0 or self.doors.is_congested:
                await self.doors.drained()
        if moment > self.exchange.now:
            events += self._step(moment)
        self.door.flush()
        return events

    async def _run_clock(self) -> None:
        try:
            if self.settings.clock is ClockMode.REPLAY and self.settings.speed == 0:
                await self._run_flat_out()
            else:
                await self._run_paced()
        except asyncio.CancelledError:
            raise
        except Exception:  # the boundary of the clock's task: without it nobody would ever hear of it
            log.exception("market time has stopped")
            self.stop()

    async def _run_paced(self) -> None:
        while True:
            self.catch_up()
            due = self._due()
            nap = LONGEST_NAP
            if due is not None:
                speed = self.settings.speed if self.settings.clock is ClockMode.REPLAY else 1.0
                nap = (due - self.exchange.now).total_seconds() / speed
            await asyncio.sleep(min(max(nap, SHORTEST_NAP), LONGEST_NAP))

    async def _run_flat_out(self) -> None:
        """As fast as clients read, until the prices end."""
        end = self.prices.end
        while (due := self._due()) is not None and (end is None or due <= end):
            async with self._advancing:
                self._step(due)
                await self.doors.drained()
            await asyncio.sleep(0)

    def next_session(self) -> TradingDay:
        """The session that is open now, or the next one. Raises InvalidRequest beyond the calendar."""
        first = self.exchange.now.date() - timedelta(days=1)
        for day in self.calendar.trading_days(first, first + timedelta(days=16)):
            if day.close > self.exchange.now:
                return day
        raise InvalidRequest("the next session", f"the calendar has none after {self.exchange.now}")

    # files

    def _on_account(self, event: ExchangeEvent) -> None:
        if self._file is not None and self._save_timer is None and self._doors is not None:
            self._save_timer = self._doors.tws.loop.call_later(SAVE_DELAY, self._save_soon)

    def _save_soon(self) -> None:
        self._save_timer = None
        try:
            self.save()
        except BrokerError as error:
            log.error("%s", error)

    def save(self) -> None:
        """Keeps the account in the state file; nothing without one. Raises ConfigurationError when it cannot."""
        if self._file is not None:
            self._file.write(self.exchange.now, self.exchange.snapshot())

    def status(self) -> dict[str, Any]:
        """What a control line `status` answers."""
        return {
            "now": self.exchange.now.isoformat(),
            "start": self.prices.start.isoformat(),
            "end": self.prices.end.isoformat() if self.prices.end else None,
            "accounts": list(self.exchange.accounts),
            "clients": sorted(self.door.sessions),
            "open_orders": len(self.exchange.open_orders()),
            "positions": len(self.exchange.positions()),
            "faults": list(self.faults.armed),
            "failures": dict(self.door.failures + (self._portal.failures if self._portal else Counter())),
            "tws": {"host": self.server.host, "port": self.server.port},
            "portal": self._portal_status(),
        }

    def _portal_status(self) -> dict[str, Any] | None:
        if self.doors.portal is None:
            return None
        return {"url": self.doors.portal.url, "holder": self.portal.seat.holder.value, **self.portal.session.tiers()}
