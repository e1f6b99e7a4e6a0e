"""The session's life: connect, sync, watch, reconnect. One state machine, one task at a time, one client id."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from ...domain.clock import MarketClock
from ...errors import (
    BrokerError,
    ConnectFailed,
    DeadlineExceeded,
    LinkError,
    LinkLost,
    RequestFailed,
)
from ..config.ib_config import TwsSettings
from ..ib_error_codes import ConnectionEffect, Farm, farm_name, new_port
from ..ib_link_session import LinkSession, Sections
from ..ib_transport import LinkEventKind, LinkState
from .api import TwsApi
from .listener import ErrorMessage

logger = logging.getLogger(__name__)

#: The start-up query that is answered before the others are asked.
TIME = "current time"
#: currentTime is told in whole seconds, so a clock within this of it is right.
CLOCK_SLACK = timedelta(seconds=1.2)


class SessionOwner(Protocol):
    """What the session asks of the client that it belongs to."""

    def check_session(self) -> None:
        """Refuse the session that was just established (its accounts); may raise any BrokerError."""
        ...

    def startup_queries(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        """Section -> query; each ends when IB's end marker came."""
        ...

    def restore_subscriptions(self) -> tuple[int, int]:
        """Ask again for every stream of the intent registry: (asked again, failed)."""
        ...

    def restore_silent_lines(self, since: float) -> tuple[str, ...]:
        """Ask again for the quote lines that were silent since that loop time; their symbols."""
        ...

    def on_session_lost(self, error: LinkError) -> None:
        """The socket is gone. Runs before anybody else hears of it."""
        ...

    def on_trust_lost(self, reason: str) -> None:
        """Messages may be missed from here on (socket or broker side)."""
        ...

    def on_trust_restored(self, reason: str) -> None: ...


class Session(LinkSession):
    """Keeps one TWS session alive. `random_number` gives the jitter, 0 to 1."""

    label = "tws: "
    connected_in = frozenset({LinkState.SYNCING, LinkState.READY, LinkState.BROKER_DOWN})

    def __init__(
        self,
        api: TwsApi,
        settings: TwsSettings,
        clock: MarketClock,
        owner: SessionOwner,
        random_number: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(clock, Sections(settings.section_deadline, settings.section_retry))
        self._api = api
        self.settings = settings
        self._market_clock = clock
        self._owner = owner
        self._random = random_number
        self.farms_down: dict[str, str] = {}
        self._farm_since: dict[str, float] = {}
        self._reconnecting: asyncio.Task[None] | None = None
        self._connecting = False
        self._clock_asked = 0.0
        #: Whether IB's own link was told down while the present session was being established, and whether the
        #: subscriptions of the link before it are still to be restored for that reason.
        self._cut_off = self._owes_restoring = False
        self.round_trips: list[float] = []

    # Connecting

    async def connect(self) -> None:
        """Establish the session and sync. Raises ConnectFailed; nothing is retried."""
        if self._connecting or self.is_connected:
            raise ConnectFailed(
                "connecting", f"the session is already {self.state}", "disconnect first", kind="closed_early"
            )
        self._wanted = True
        try:
            await self._establish()
        except BaseException:
            self._wanted = False
            self._api.client.disconnect()
            self.state = LinkState.DOWN
            raise
        self.tell(LinkEventKind.UP, f"connected to {self.settings.host}:{self.settings.port}")

    async def _establish(self) -> None:
        self._connecting = True
        self.attempts += 1
        self.state = LinkState.CONNECTING
        self._cut_off = False
        settings = self.settings
        try:
            await self._api.client.connectAsync(
                settings.host, settings.port, settings.client_id, settings.handshake_deadline
            )
            self._owner.check_session()
            self.state = LinkState.SYNCING
            await self._sync()
        finally:
            self._connecting = False
        if not self._api.client.isReady():
            raise ConnectFailed("connecting", "the link ended while it was synced", kind="closed_early")
        self.established += 1
        self.state = LinkState.BROKER_DOWN if self._cut_off else LinkState.READY
        self._schedule_watch()

    async def _sync(self) -> None:
        # market time stamps whatever the others tell
        await self._ask_sections({TIME: self.ask_time, **self._owner.startup_queries()}, first=TIME)

    async def disconnect(self) -> None:
        """End the session for good; nothing reconnects it."""
        self._wanted = False
        self._stop_watch()
        self._api.client.disconnect()
        await self._end_tasks()
        self._reconnecting = None
        self.state = LinkState.DOWN

    # Losing and restoring

    def on_link_down(self, error: LinkError) -> None:
        """The link's end, from the listener. Starts the one reconnecting task."""
        was = self.state
        self._stop_watch()
        self.state = LinkState.WAITING if self._wanted else LinkState.DOWN
        self.farms_down.clear()
        self._sections.forget("the link was lost")
        self._owner.on_session_lost(error)
        if was in (LinkState.READY, LinkState.BROKER_DOWN) and self._wanted:
            self._owner.on_trust_lost(str(error))
            self.tell(LinkEventKind.LOST, str(error))
            if self._reconnecting is None or self._reconnecting.done():
                self._reconnecting = self.spawn(self._reconnect(), "reconnect")

    async def _reconnect(self) -> None:
        """Back off with jitter on the same client id until the session is back (C07, C14)."""
        failures = 0
        wait = self.settings.first_wait
        while self._wanted:
            spread = 1 + self.settings.jitter * (2 * self._random() - 1)
            await asyncio.sleep(wait * spread)
            try:
                await self._establish()
            except ConnectFailed as error:
                failures += 1
                self.state = LinkState.WAITING
                wait = min(wait * 2, self.settings.longest_wait)
                if failures in (3, 10) or error.kind in ("version", "account"):
                    self.tell(LinkEventKind.ALARM, f"attempt {failures} to reconnect: {error}")
                continue
            except BrokerError as error:
                # the session is there and was refused (another account): trying again would not change that
                self._wanted = False
                self._api.client.disconnect()
                self.state = LinkState.DOWN
                self.tell(LinkEventKind.ALARM, f"the new session was refused: {error}")
                return
            break
        if not self._wanted:
            return
        if self._cut_off:
            self._owes_restoring = True
            return
        restored, failed = self._owner.restore_subscriptions()
        text = f"connected again after {failures} failed attempts"
        self.tell(LinkEventKind.SUBSCRIPTIONS_RESTORED, text, restored=restored, failed=failed)
        self._owner.on_trust_restored(text)
        self.tell(LinkEventKind.RESTORED, text)

    def on_error(self, message: ErrorMessage) -> None:
        """What an error code says about the connection, by the table."""
        effect = message.row.connection
        if effect is ConnectionEffect.LINK_LOST:
            self._broker_down(message)
        elif effect in (ConnectionEffect.LINK_RESTORED_KEPT, ConnectionEffect.LINK_RESTORED_LOST):
            self._broker_up(message, lost=effect is ConnectionEffect.LINK_RESTORED_LOST)
        elif effect is ConnectionEffect.FARM_DOWN:
            self._farm_down(message)
        elif effect in (ConnectionEffect.FARM_UP, ConnectionEffect.FARM_IDLE):
            self._farm_up(message)
        elif effect is ConnectionEffect.PORT_CHANGED:
            port = new_port(message.text)
            if port is not None:
                self.settings = replace(self.settings, port=port)
            self.tell(LinkEventKind.ALARM, f"the gateway moved: {message.text}", code=message.code)
        elif effect in (ConnectionEffect.RATE_EXCEEDED, ConnectionEffect.PROTOCOL_ERROR):
            self.tell(LinkEventKind.ALARM, f"IB error {message.code}: {message.text}", code=message.code)

    def _broker_down(self, message: ErrorMessage) -> None:
        if self.state in (LinkState.CONNECTING, LinkState.SYNCING):
            self._cut_off = True
        if self.state is not LinkState.READY:
            return
        self.state = LinkState.BROKER_DOWN
        text = f"IB error {message.code}: {message.text}"
        self._owner.on_trust_lost(text)
        self.tell(LinkEventKind.LOST, text, code=message.code)

    def _broker_up(self, message: ErrorMessage, *, lost: bool) -> None:
        self._cut_off = False
        if self.state not in (LinkState.BROKER_DOWN, LinkState.READY):
            return
        if self.state is LinkState.READY:
            # a 1101 or 1102 with no 1100 before it: the gap began at a moment that nobody told
            self._owner.on_trust_lost(message.text)
        self.state = LinkState.READY
        text = f"IB error {message.code}: {message.text}"
        lost = lost or self._owes_restoring
        self._owes_restoring = False
        if lost:
            restored, failed = self._owner.restore_subscriptions()
        else:
            # Kept by IB are the lines that it had; what was asked for while it was away reached nobody.
            restored, failed = len(self._owner.restore_silent_lines(-math.inf)), 0
        self.tell(
            LinkEventKind.SUBSCRIPTIONS_RESTORED,
            text,
            code=message.code,
            restored=restored,
            failed=failed,
            data_lost=lost,
        )
        self._owner.on_trust_restored(text)
        self.tell(LinkEventKind.RESTORED, text, code=message.code)

    def _farm_down(self, message: ErrorMessage) -> None:
        name = farm_name(message.text) or f"farm of {message.code}"
        self.farms_down[name] = message.text
        self._farm_since.setdefault(name, asyncio.get_running_loop().time())
        self.tell(LinkEventKind.FARM_DOWN, message.text, code=message.code, farm=name)

    def _farm_up(self, message: ErrorMessage) -> None:
        name = farm_name(message.text)
        if self.farms_down.pop(name, None) is None:
            return
        since = self._farm_since.pop(name, 0.0)
        self.tell(LinkEventKind.FARM_UP, message.text, code=message.code, farm=name)
        if message.row.farm is Farm.MARKET_DATA:
            # only what the farm silenced is asked again; the order channel was never touched (C03)
            symbols = self._owner.restore_silent_lines(since)
            if symbols:
                self.tell(
                    LinkEventKind.SUBSCRIPTIONS_RESTORED,
                    message.text,
                    restored=len(symbols),
                    symbols=symbols,
                    farm=name,
                )

    # Watching

    def _schedule_watch(self) -> None:
        self._stop_watch()
        self._watch = asyncio.get_running_loop().call_later(self.settings.watch_every, self._look)

    def _look(self) -> None:
        """Once a second: probe a silent link, and keep the market clock right."""
        self._watch = None
        if not self.is_connected:
            return
        now = asyncio.get_running_loop().time()
        silent = now - self._api.client.last_received
        due = silent >= self.settings.idle_before_probe or now - self._clock_asked >= self.settings.clock_every
        if due and (self._probe is None or self._probe.done()):
            self._probe = self.spawn(self._probe_link(self.settings.probe_deadline), "probe")
        self._schedule_watch()

    async def _probe_link(self, deadline: float) -> None:
        try:
            await self.within("heartbeat", self.ask_time(), deadline)
        except DeadlineExceeded:
            self.failed_probes += 1
            self._api.client.abandon(f"no answer to a heartbeat within {deadline:g} s")
        except (LinkError, RequestFailed) as error:
            logger.debug("heartbeat: %s", error)

    async def ask_time(self) -> datetime:
        """A round trip; the market clock is set by its answer."""
        self.require("the broker's time")
        loop = asyncio.get_running_loop()
        asked = self._clock_asked = loop.time()
        told: datetime = await self._api.reqCurrentTimeAsync()
        self.round_trips.append(loop.time() - asked)
        del self.round_trips[:-1000]
        self._set_clock(told)
        return told

    def _set_clock(self, told: datetime) -> None:
        # told in whole seconds: the true time lies within the second that begins with it
        apart = told + timedelta(seconds=0.5) - self._clock.now()
        if self._offset is None or abs(apart) > CLOCK_SLACK or self._market_clock.rate != 1.0:
            self._market_clock.tell(told)
        self._offset = self._market_clock.offset()

    async def verify(self, deadline: float) -> None:
        """Prove that the link carries bytes, unless it did within the last second (C10); else it is dropped."""
        self.require("an order")
        now = asyncio.get_running_loop().time()
        if now - self._api.client.last_received <= self.settings.silent_before_order:
            return
        try:
            await self.within("probe before an order", self.ask_time(), deadline)
        except DeadlineExceeded:
            self.failed_probes += 1
            self._api.client.abandon(f"no answer to a probe within {deadline:g} s")
            raise
        except LinkLost:
            raise
        except BrokerError as error:
            raise LinkLost("probe before an order", str(error)) from error
