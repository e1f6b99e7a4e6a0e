"""The portal's limits as rows, and the queue in front of them: cancel, order, reply, data, in this order.

Sources: client-portal.md section 4 (P 4); IB's cpapi-v1 page of 2026-07 for the penalty box.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from ...errors import PacingViolation
from .wire import HttpCall, HttpReply, NotSent, PortalWire


class Priority(IntEnum):
    CANCEL = 0
    ORDER = 1
    REPLY = 2
    #: Keeping the session alive, and proving that the link carries.
    SESSION = 3
    DATA = 4


@dataclass(frozen=True, slots=True)
class PortalLimit:
    """`count` requests in any `seconds`, and `together` at the same time (0: no such limit). The query string does not
    make another bucket. `spare` of them are not for data: an order or a cancel must not wait for a second (promise
    Q10)."""

    name: str
    pattern: str
    count: int
    seconds: float
    source: str
    together: int = 0
    methods: frozenset[str] = frozenset({"GET", "POST", "DELETE", "PUT"})
    spare: int = 0


_GET, _POST = frozenset({"GET"}), frozenset({"POST"})

#: Every row whose pattern fits the whole path counts.
LIMITS: Sequence[PortalLimit] = (
    PortalLimit("everything", r".*", 10, 1.0, "P 4: 10 a second through the gateway", spare=2),
    PortalLimit("snapshot", r"/iserver/marketdata/snapshot", 10, 1.0, "P 4"),
    PortalLimit("history", r"/iserver/marketdata/history", 10, 1.0, "P 4: 5 at once, 10/s, 50/min", together=5),
    PortalLimit("history a minute", r"/iserver/marketdata/history", 50, 60.0, "P 4"),
    PortalLimit("live orders", r"/iserver/account/orders", 1, 5.0, "P 4", methods=_GET),
    PortalLimit("trades", r"/iserver/account/trades", 1, 5.0, "P 4", methods=_GET),
    PortalLimit("P&L", r"/iserver/account/pnl/partitioned", 1, 5.0, "P 4", methods=_GET),
    PortalLimit("portfolio accounts", r"/portfolio/accounts", 1, 5.0, "P 4", methods=_GET),
    PortalLimit("sub-accounts", r"/portfolio/subaccounts", 1, 5.0, "P 4", methods=_GET),
    PortalLimit("scanner parameters", r"/iserver/scanner/params", 1, 900.0, "P 4", methods=_GET),
    PortalLimit("scanner", r"/iserver/scanner/run", 1, 1.0, "P 4"),
    PortalLimit("tickle", r"/tickle", 1, 1.0, "P 4"),
    PortalLimit("notices", r"/fyi/.*", 1, 1.0, "P 4"),
    PortalLimit("login", r"/sso/validate", 1, 60.0, "P 4"),
    PortalLimit("performance", r"/pa/.*", 1, 900.0, "P 4", methods=_POST),
)
#: Calls in flight at the same time, by priority and above: the last places are kept for what matters more.
PLACES: dict[Priority, int] = {
    Priority.CANCEL: 8,
    Priority.ORDER: 7,
    Priority.REPLY: 7,
    Priority.SESSION: 7,
    Priority.DATA: 5,
}
#: Seconds of silence after a first 429. Another one within PROBATION seconds of it means the penalty box.
FIRST_PAUSE, PROBATION = 6.0, 60.0
#: 429 with these words slows one endpoint down and is no penalty (P 2.2).
_SOFT = "too many history charts"


class PaceMemory(Protocol):
    """See `pace_file.PaceFile`."""

    def recall(self) -> tuple[dict[str, float], float]: ...

    def note(self, row: str) -> None: ...

    def close(self, seconds: float) -> None: ...


class _Bucket:
    """One row: the moments of the last `count` departures, and what is in flight."""

    def __init__(self, row: PortalLimit) -> None:
        self.row = row
        self._pattern = re.compile(row.pattern)
        self.left: deque[float] = deque(maxlen=row.count)
        self.in_flight = 0

    def applies(self, call: HttpCall) -> bool:
        return call.method in self.row.methods and self._pattern.fullmatch(call.path) is not None

    def free_at(self, now: float, priority: Priority) -> float:
        """The moment at which one more may leave; infinity while too many are in flight."""
        if self.row.together and self.in_flight >= self.row.together:
            return float("inf")
        most = self.row.count - (self.row.spare if priority is Priority.DATA else 0)
        return now if len(self.left) < most else self.left[-most] + self.row.seconds

    def leave(self, now: float) -> None:
        self.left.append(now)
        self.in_flight += 1

    def arrive(self, now: float) -> None:
        """Answered or failed. A row of one counts from here on: the way there may have taken long (a TLS handshake, an
        OAuth exchange), and the next one's less."""
        self.in_flight -= 1
        if self.row.count == 1:
            self.left[-1] = now


@dataclass(slots=True, eq=False)
class _Waiting:
    call: HttpCall
    priority: Priority
    buckets: list[_Bucket]
    go: asyncio.Future[None]
    queued: float


class Lanes:
    """Lets calls out by priority as the limits allow. `penalty` is how long a repeated 429 closes everything but
    cancels, seconds. `memory` tells what other processes of this machine asked. Times are the running loop's."""

    def __init__(
        self,
        wire: PortalWire,
        rows: Iterable[PortalLimit] = LIMITS,
        penalty: float = 900.0,
        memory: PaceMemory | None = None,
    ) -> None:
        self._wire = wire
        self._memory = memory
        self._buckets = [_Bucket(row) for row in rows]
        self._penalty = penalty
        self._queues: dict[Priority, deque[_Waiting]] = {priority: deque() for priority in Priority}
        self._in_flight: Counter[Priority] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._held = 0
        #: Loop time until which the gateway must be left alone.
        self.closed_until = float("-inf")
        #: Called with the reason when a 429 closed the lanes.
        self.on_penalty: Callable[[str], None] = lambda why: None
        #: Loop time of the last answer of any status.
        self.last_heard = float("-inf")
        #: Seconds that orders and cancels waited, the latest thousand.
        self.waits: list[float] = []
        self.answers: Counter[int] = Counter()

    def recall(self) -> None:
        """Count what the processes before this one asked: a limit knows addresses only."""
        if self._memory is None:
            return
        now = asyncio.get_running_loop().time()
        ages, closed = self._memory.recall()
        for bucket in self._buckets:
            age = ages.get(bucket.row.name)
            if age is not None and not bucket.left:
                bucket.left.append(now - age)
        if closed:
            self.closed_until = max(self.closed_until, now + closed)

    async def call(
        self, call: HttpCall, priority: Priority = Priority.DATA, on_leave: Callable[[], None] = lambda: None
    ) -> HttpReply:
        """`on_leave` is called as it leaves. Raises PacingViolation in the penalty box (nothing left), NotSent,
        Ambiguous."""
        loop = asyncio.get_running_loop()
        self._refuse_in_the_box(call, priority, loop.time())
        waiting = _Waiting(
            call, priority, [one for one in self._buckets if one.applies(call)], loop.create_future(), loop.time()
        )
        self._queues[priority].append(waiting)
        self._pump()
        try:
            await waiting.go
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise
        on_leave()
        try:
            reply = await self._wire.exchange(call)
        finally:
            self._arrived(waiting)
        self.last_heard = loop.time()
        self.answers[reply.status] += 1
        if reply.status == 429:
            self._too_many(call, reply)
        return reply

    def _refuse_in_the_box(self, call: HttpCall, priority: Priority, now: float) -> None:
        if now < self.closed_until and priority is not Priority.CANCEL:
            raise PacingViolation(
                str(call),
                f"the gateway answered 429; it is left alone for {self.closed_until - now:.0f} s more",
                "cancels are still tried; everything else waits",
                code=429,
            )

    def _withdraw(self, waiting: _Waiting) -> None:
        if waiting.go.done() and not waiting.go.cancelled():
            # it was let go, or refused, in the moment in which its caller left
            if waiting.go.exception() is None:
                self._arrived(waiting)
        elif waiting in self._queues[waiting.priority]:
            self._queues[waiting.priority].remove(waiting)

    def _arrived(self, waiting: _Waiting) -> None:
        self._in_flight[waiting.priority] -= 1
        now = asyncio.get_running_loop().time()
        for bucket in waiting.buckets:
            bucket.arrive(now)
            if self._memory is not None and bucket.row.count == 1:
                self._memory.note(bucket.row.name)
        self._pump()

    def _too_many(self, call: HttpCall, reply: HttpReply) -> None:
        if _SOFT in reply.error.lower():
            return
        now = asyncio.get_running_loop().time()
        if now < self.closed_until:
            return
        again = now < self.closed_until + PROBATION
        pause = self._penalty if again else min(FIRST_PAUSE, self._penalty)
        self.closed_until = now + pause
        if self._memory is not None:
            self._memory.close(pause)
        why = f"{call} was answered 429; nothing but cancels leaves for {pause:.0f} s"
        for queue in (self._queues[one] for one in Priority if one is not Priority.CANCEL):
            while queue:
                waiting = queue.popleft()
                if not waiting.go.done():
                    waiting.go.set_exception(PacingViolation(str(waiting.call), why, code=429))
        self.on_penalty(why)

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """While a reply chain is open nothing but its replies and cancels leaves: any other request would end it."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._pump()

    def fail_waiting(self, why: str) -> None:
        """Whatever has not left is not sent."""
        for queue in self._queues.values():
            while queue:
                waiting = queue.popleft()
                if not waiting.go.done():
                    waiting.go.set_exception(NotSent(why))

    def _pump(self) -> None:
        """Let out what may leave, the most urgent first; be woken for the rest."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        earliest = float("inf")
        for priority in Priority:
            if self._held and priority > Priority.REPLY:
                break
            queue = self._queues[priority]
            for waiting in list(queue):
                if sum(self._in_flight.values()) >= PLACES[priority]:
                    break
                free = max((bucket.free_at(now, priority) for bucket in waiting.buckets), default=now)
                if free > now:
                    earliest = min(earliest, free)
                    continue
                queue.remove(waiting)
                self._let_go(waiting, now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if earliest < float("inf"):
            self._timer = loop.call_at(earliest, self._pump)

    def _let_go(self, waiting: _Waiting, now: float) -> None:
        if waiting.go.done():
            return
        for bucket in waiting.buckets:
            bucket.leave(now)
        self._in_flight[waiting.priority] += 1
        if waiting.priority <= Priority.ORDER:
            self.waits.append(now - waiting.queued)
            del self.waits[:-1000]
        waiting.go.set_result(None)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.fail_waiting("the client disconnects")
