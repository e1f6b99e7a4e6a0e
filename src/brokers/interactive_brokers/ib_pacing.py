"""IB's limits as rows, and an exact limiter for historical requests.

The message rate is kept by the send queue (`ib_async_client/send_queue.py`); what is here decides whether a request may
be asked at all. Sources: IB's "Historical Data Limitations" and "Market Data Subscriptions" pages, faults.md H01, H04.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

from ..errors import InvalidRequest, PacingViolation


@dataclass(frozen=True, slots=True)
class Limit:
    """How many at once, or how many a second."""

    name: str
    value: int
    unit: str
    #: IB's answer when it is exceeded.
    code: int
    source: str


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        row.name: row
        for row in (
            Limit("messages", 50, "per second", 100, "P 2.6"),
            Limit("market_data_lines", 100, "at once", 101, "F D12"),
            Limit("market_depth", 3, "at once with 100 lines", 309, "F D12"),
            Limit("tick_by_tick", 5, "at once with 100 lines", 10190, "F D12"),
            Limit("tick_by_tick_repeat", 15, "seconds between two of one instrument", 10189, "analytics.md 4"),
            Limit("historical_open", 50, "at once, bars kept up to date included", 162, "F H04"),
            Limit("scanners", 10, "at once", 165, "IB market scanners page"),
            Limit("ticks_per_request", 1000, "in one answer", 321, "F H08"),
        )
    }
)


def depth_limit(lines: int) -> int:
    """Market depth streams allowed beside this many market data lines: 3 up to 400, 4 up to 500 …, at most 60."""
    return min(60, max(LIMITS["market_depth"].value, -(-lines // 100) - 1))


def tick_by_tick_limit(lines: int) -> int:
    """Tick-by-tick streams allowed beside this many market data lines: one in twenty, at least 5."""
    return max(LIMITS["tick_by_tick"].value, lines // 20)


class RepeatPacer:
    """When a tick-by-tick stream may be asked for once more; `clock` is monotonic seconds.

    IB's text names the instrument only ("one request for an instrument in 15 s"). The key is contract and kind all the
    same, since prints and quotes of one contract are two streams that are asked for together.
    """

    #: Added to the rule's seconds, for requests that the network brings nearer together.
    MARGIN = 0.25

    def __init__(self, clock: Callable[[], float], seconds: float = LIMITS["tick_by_tick_repeat"].value) -> None:
        self._clock = clock
        self.seconds = seconds
        self._asked: dict[Hashable, float] = {}

    def wait(self, key: Hashable) -> float:
        """Seconds until it may be asked for; 0 is now."""
        asked = self._asked.get(key)
        return 0.0 if asked is None else max(0.0, asked + self.seconds + self.MARGIN - self._clock())

    def asked(self, key: Hashable) -> None:
        self._asked = {one: at for one, at in self._asked.items() if self.wait(one) > 0}
        self._asked[key] = self._clock()

    def clear(self) -> None:
        """IB has none of the streams any more."""
        self._asked.clear()


class HistoryKind(Enum):
    BARS = "bars"
    TICKS = "ticks"
    HEAD_TIMESTAMP = "head_timestamp"
    REALTIME_BARS = "realtime_bars"


#: Bars of this many seconds or less are under IB's hard limits; larger ones are only slowed down by IB itself.
SMALL_BAR_SECONDS = 30


@dataclass(frozen=True, slots=True)
class HistoricalRequest:
    """What the limits look at.

    `contract`, `exchange` and `what` (TRADES, MIDPOINT, BID_ASK …) make "the same contract, exchange and tick type";
    `identity` is everything that makes two requests the same question. `bar_seconds` counts for BARS alone; None
    stands for a small bar, the safe reading.
    """

    contract: Hashable
    identity: Hashable
    what: str = "TRADES"
    exchange: str = "SMART"
    kind: HistoryKind = HistoryKind.BARS
    bar_seconds: float | None = None
    #: How often it counts; None for IB's own rule (BID_ASK twice, all else once).
    weight: int | None = None

    @property
    def cost(self) -> int:
        if self.weight is not None:
            return self.weight
        return 2 if self.what == "BID_ASK" else 1

    @property
    def is_hard_limited(self) -> bool:
        if self.kind is not HistoryKind.BARS:
            return True
        return self.bar_seconds is None or self.bar_seconds <= SMALL_BAR_SECONDS

    @property
    def burst_key(self) -> tuple[Hashable, str, str]:
        return (self.contract, self.exchange, self.what)


@dataclass(frozen=True, slots=True)
class PacingRow:
    """At most `limit` (by `cost`) among requests of the same `key` within any `window` seconds."""

    name: str
    limit: int
    window: float
    key: Callable[[HistoricalRequest], Hashable]
    cost: Callable[[HistoricalRequest], int]
    applies: Callable[[HistoricalRequest], bool]
    source: str


HISTORICAL_ROWS: Sequence[PacingRow] = (
    PacingRow(
        "60 requests in ten minutes",
        60,
        600.0,
        key=lambda request: "all",
        cost=lambda request: request.cost,
        applies=lambda request: request.is_hard_limited,
        source="F H01",
    ),
    PacingRow(
        # IB calls six within two seconds a violation, so five may leave
        "5 requests of one contract, exchange and type in two seconds",
        5,
        2.0,
        key=lambda request: request.burst_key,
        cost=lambda request: request.cost,
        applies=lambda request: request.is_hard_limited,
        source="F H01",
    ),
    PacingRow(
        "the same request once in 15 seconds",
        1,
        15.0,
        key=lambda request: (request.kind, request.burst_key, request.identity),
        cost=lambda request: 1,
        applies=lambda request: request.is_hard_limited,
        source="F H01",
    ),
)


class Ticket:
    """A request that was admitted. `close` it when its answer or its end has come."""

    __slots__ = ("_pacer", "at", "open", "request")

    def __init__(self, pacer: HistoricalPacer, request: HistoricalRequest, at: float) -> None:
        self._pacer = pacer
        self.request = request
        #: Monotonic seconds at which it counts.
        self.at = at
        self.open = True

    def sent(self) -> None:
        """The message left only now (it waited in the send queue): let it count from here on."""
        self._pacer._restamp(self)

    def close(self) -> None:
        """Answered, failed or cancelled: it is no longer open. It still counts against the rates."""
        self._pacer._close(self)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Timer(Protocol):
    def cancel(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Waiter:
    request: HistoricalRequest
    turn: asyncio.Future[Ticket]


class HistoricalPacer:
    """Admits historical requests so that no row is ever broken, in the order of asking wherever that matters.

    `clock` is monotonic seconds. `margin` is added to every window, for requests that the network brings nearer
    together. `call_later(seconds, callback)` is a timer of the same clock; None takes the running loop's.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        rows: Sequence[PacingRow] = HISTORICAL_ROWS,
        open_limit: int = LIMITS["historical_open"].value,
        margin: float = 0.25,
        call_later: Callable[[float, Callable[[], None]], _Timer] | None = None,
    ) -> None:
        if margin < 0:
            raise ValueError("margin must not be negative")
        self._clock = clock
        self._rows = tuple(rows)
        self._open_limit = open_limit
        self._margin = margin
        self._call_later = call_later
        self._seen: dict[tuple[int, Hashable], deque[Ticket]] = {}
        self._waiters: deque[_Waiter] = deque()
        self._timer: _Timer | None = None
        self._sweep_at = -math.inf
        #: Requests admitted and not yet closed.
        self.open = 0

    @property
    def waiting(self) -> int:
        """Callers of `turn` that have not got theirs."""
        return len(self._waiters)

    def delay(self, request: HistoricalRequest) -> float:
        """Seconds until the rates would admit it (0: now); infinity while as many are open as IB allows."""
        if self.open >= self._open_limit:
            return math.inf
        now = self._clock()
        return max((self._wait_of(index, row, request, now) for index, row in self._applicable(request)), default=0.0)

    def admit(self, request: HistoricalRequest) -> Ticket:
        """Admit it now. PacingViolation, with the seconds to wait, when a limit would be broken."""
        wait = self.delay(request)
        if wait > 0:
            raise PacingViolation(
                f"historical request for {request.contract}",
                "too many are open" if wait == math.inf else f"IB's limits allow it in {wait:.1f} s",
                "wait for a turn",
                seconds=wait,
            )
        return self._admit(request)

    async def turn(self, request: HistoricalRequest) -> Ticket:
        """Wait until it may be asked. InvalidRequest when it costs more than a row ever allows."""
        for _, row in self._applicable(request):
            if row.cost(request) > row.limit:
                raise InvalidRequest(f"historical request for {request.contract}", f"it can never fit {row.name!r}")
        waiter = _Waiter(request, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self.pump()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self._close(waiter.turn.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            self.pump()
            raise

    def pump(self) -> None:
        """Give every turn that is due now, and set the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        held: set[tuple[int, Hashable]] = set()
        next_due = math.inf
        still: deque[_Waiter] = deque()
        waiters, self._waiters = self._waiters, still
        for waiter in waiters:
            if waiter.turn.done():
                continue  # its caller was cancelled
            wait = self._next_wait(waiter.request, now, held)
            if wait <= 0:
                waiter.turn.set_result(self._admit(waiter.request))
            else:
                still.append(waiter)
                next_due = min(next_due, wait)
        if still and next_due < math.inf:
            self._timer = self._later(next_due, self._on_timer)

    def _next_wait(self, request: HistoricalRequest, now: float, held: set[tuple[int, Hashable]]) -> float:
        """Seconds to wait, counting the rows that an earlier waiter holds: nobody overtakes in the same row."""
        wait = 0.0 if self.open < self._open_limit else math.inf
        mine = [((index, row.key(request)), row) for index, row in self._applicable(request)]
        blocked = [(key, self._wait_of(key[0], row, request, now)) for key, row in mine]
        wait = max([wait, *(seconds for _, seconds in blocked)])
        if any(key in held for key, _ in mine):
            wait = max(wait, self._earliest_change(mine, now))
        if wait > 0:
            held.update(key for key, seconds in blocked if seconds > 0)
        return wait

    def _earliest_change(self, mine: Sequence[tuple[tuple[int, Hashable], PacingRow]], now: float) -> float:
        """When something that its rows count goes out of its window; the smallest positive wait of these."""
        waits = [self._seen[key][0].at + row.window + self._margin - now for key, row in mine if self._seen.get(key)]
        return min((wait for wait in waits if wait > 0), default=math.inf)

    def _applicable(self, request: HistoricalRequest) -> list[tuple[int, PacingRow]]:
        return [(index, row) for index, row in enumerate(self._rows) if row.applies(request)]

    def _wait_of(self, index: int, row: PacingRow, request: HistoricalRequest, now: float) -> float:
        """Seconds until this row has room for the request."""
        tickets = self._seen.get((index, row.key(request)))
        if not tickets:
            return 0.0
        span = row.window + self._margin
        while tickets and tickets[0].at + span <= now:
            tickets.popleft()
        used = sum(row.cost(ticket.request) for ticket in tickets)
        excess = used + row.cost(request) - row.limit
        wait = 0.0
        for ticket in tickets:
            if excess <= 0:
                break
            excess -= row.cost(ticket.request)
            wait = ticket.at + span - now
        return math.inf if excess > 0 else wait

    def _admit(self, request: HistoricalRequest) -> Ticket:
        now = self._clock()
        ticket = Ticket(self, request, now)
        self.open += 1
        for index, row in self._applicable(request):
            self._seen.setdefault((index, row.key(request)), deque()).append(ticket)
        self._sweep(now)
        return ticket

    def _sweep(self, now: float) -> None:
        """Forget keys whose every ticket is out of its window; once a minute, so that memory stays bounded."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + 60.0
        for key in list(self._seen):
            tickets, span = self._seen[key], self._rows[key[0]].window + self._margin
            while tickets and tickets[0].at + span <= now:
                tickets.popleft()
            if not tickets:
                del self._seen[key]

    def _restamp(self, ticket: Ticket) -> None:
        ticket.at = self._clock()
        for index, row in self._applicable(ticket.request):
            tickets = self._seen.setdefault((index, row.key(ticket.request)), deque())
            if ticket in tickets:
                tickets.remove(ticket)
            tickets.append(ticket)
        self.pump()

    def _close(self, ticket: Ticket) -> None:
        if ticket.open:
            ticket.open = False
            self.open -= 1
            self.pump()

    def _on_timer(self) -> None:
        self._timer = None
        self.pump()

    def _later(self, seconds: float, callback: Callable[[], None]) -> Any:
        if self._call_later is not None:
            return self._call_later(seconds, callback)
        return asyncio.get_running_loop().call_later(seconds, callback)
