"""What the parts of one order manager share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..errors import BrokerError, DeadlineExceeded, JournalError, LinkLost, NotConnected
from ..journal import DoorLease, Journal
from ..order_port import OrderPort
from .book import OrderBook
from .contracts import DetailsLookup, OrderSettings, RiskGate
from .lifecycle import Lifecycle

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LinkState:
    """`epoch` grows with every session of the link; `synced` is whether what was missed has been read since."""

    epoch: int = 0
    synced: bool = False
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class Desk:
    """Port, journal, gate and books of one manager, and its background tasks."""

    def __init__(
        self,
        port: OrderPort,
        journal: Journal,
        gate: RiskGate,
        clock: Clock,
        details: DetailsLookup,
        settings: OrderSettings,
    ) -> None:
        self.port = port
        self.journal = journal
        self.gate = gate
        self.clock = clock
        self.details = details
        self.settings = settings
        self.book = OrderBook()
        self.life = Lifecycle(self.book, journal, clock, settings)
        self.link = LinkState()
        #: Used by orders that name none.
        self.account = settings.account
        self.lease = DoorLease(port.name, 0)
        self.halted: str | None = None
        #: The last event of the journal when the rules last looked at what other processes opened; None: they never do.
        self.looked_until: int | None = None
        self.closing = False
        self.task_failures = 0
        self._qualified: dict[Instrument, Instrument] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def qualify(self, instrument: Instrument) -> Instrument:
        """The instrument with its contract number, asked for once."""
        if instrument.con_id is not None:
            return instrument
        known = self._qualified.get(instrument)
        if known is None:
            known = (await self.details(instrument)).instrument
            self._qualified[instrument] = known
        return known

    async def check_link(self, what: str) -> None:
        """Refuse to send on a link that is down or fails its probe (faults C10, O16). Raises NotConnected."""
        if self.port.is_healthy:
            try:
                await self.port.verify_link(self.settings.link_deadline)
            except (LinkLost, DeadlineExceeded) as failure:
                raise NotConnected(what, f"the link failed its probe: {failure}", "nothing was sent") from failure
        self.require_link(what)

    def require_link(self, what: str) -> None:
        """Raises NotConnected."""
        if not self.port.is_healthy:
            raise NotConnected(what, "the link to the broker is down", "nothing was sent; wait for it, then try again")

    async def until_synced(self, what: str) -> None:
        """Wait for the reconciliation after a gap; raises NotConnected when it does not come (fault C09)."""
        if self.link.synced:
            return
        waiter = asyncio.get_running_loop().create_future()
        self.link.waiters.append(waiter)
        try:
            async with asyncio.timeout(self.settings.sync_deadline + self.port.reading_time):
                await waiter
        except TimeoutError:
            raise NotConnected(
                what, "orders and positions have not been compared since the gap", "nothing was sent; try again"
            ) from None
        finally:
            if waiter in self.link.waiters:
                self.link.waiters.remove(waiter)

    def set_synced(self) -> None:
        self.link.synced = True
        waiters, self.link.waiters = self.link.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run in the background; a failure is logged and counted, and ends only this task."""
        if self.closing:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(self._guard(work, name), name=f"orders: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task cancelled before its first step leaves its work unstarted.
        task.add_done_callback(lambda _: work.close())

    async def _guard(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except BrokerError as failure:
            self.task_failures += 1
            log.warning("%s: %s", name, failure)
        except Exception:  # task boundary
            self.task_failures += 1
            log.exception("%s failed", name)
            self.life.alarm(f"{name} failed; see the log")

    async def end_tasks(self) -> None:
        self.closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def note_journal_failure(self, failure: JournalError) -> None:
        """Count and report a failure that must not stop what is being done (a cancel, a halt)."""
        self.life.alarms += 1
        log.error("ALARM %s", failure)
