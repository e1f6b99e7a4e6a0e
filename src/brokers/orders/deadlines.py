"""One timer for every deadline of a manager, on the injected monotonic clock."""

from __future__ import annotations

import asyncio
from collections import deque

from ..domain.order_states import OrderSignal
from .book import Record
from .brackets import Protection
from .desk import Desk
from .inbound import Inbound
from .reconciliation import Reconciler
from .restoring import UNANSWERED


class Deadlines:
    """Acknowledgements, executions that lag behind their status, and checks of protection."""

    def __init__(self, desk: Desk, inbound: Inbound, protection: Protection, reconciler: Reconciler) -> None:
        self._desk = desk
        self._inbound = inbound
        self._protection = protection
        self._reconciler = reconciler
        #: Every order waits equally long, so the first one sent is the first one due.
        self._waiting: deque[tuple[float, Record]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._verifying = False

    def watch(self, record: Record) -> None:
        """Start the acknowledgement deadline of an order that is being sent."""
        self._waiting.append((record.sent_at + self._desk.settings.ack_deadline, record))
        self.arm()

    def arm(self) -> None:
        """Set the timer to the earliest deadline; cheap when an earlier one is set already."""
        due = self._next()
        if due is None or self._desk.closing or (self._timer is not None and self._timer_at <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        delay = max(0.0, due - self._desk.clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _next(self) -> float | None:
        moments = [*self._inbound.short.values()]
        if self._waiting:
            moments.append(self._waiting[0][0])
        # A check that cannot run now is taken up again when the link is synchronised.
        protection = self._protection.next_due if self._desk.link.synced and not self._verifying else None
        if protection is not None and not self._desk.port.is_healthy:
            # synchronised and not healthy: nobody tells when that ends
            protection = max(protection, self._desk.clock.monotonic() + self._desk.settings.retry_delay)
        if protection is not None:
            moments.append(protection)
        return min(moments) if moments else None

    def _fire(self) -> None:
        self._timer = None
        self.check()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def check(self) -> None:
        """Act on what is due, and set the timer for the rest."""
        now = self._desk.clock.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self._judge_silence(self._waiting.popleft()[1])
        late = [key for key, moment in self._inbound.short.items() if moment <= now]
        for key in late:
            del self._inbound.short[key]
            self._inbound.missing.add(key)
        if late:
            self._reconciler.soon()
        can_verify = self._desk.link.synced and self._desk.port.is_healthy
        if self._protection.is_due(now) and not self._verifying and can_verify:
            self._verifying = True
            self._desk.spawn(self._verify(), "protection check")
        self.arm()

    async def _verify(self) -> None:
        try:
            await self._protection.verify()
        finally:
            self._verifying = False
            self.arm()

    def _judge_silence(self, record: Record) -> None:
        if not record.acknowledged and record.order.state in UNANSWERED:
            seconds = self._desk.settings.ack_deadline
            self._desk.life.apply(record, OrderSignal.ACK_TIMEOUT, f"no answer within {seconds:g} s")
            self._desk.life.alarm(f"order {record.key} is UNKNOWN: no answer within {seconds:g} s", record)
            self._reconciler.soon()
        self._desk.life.settle(record)
