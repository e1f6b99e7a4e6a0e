"""One gateway of a pool: its connection kept up, its health as it was seen, and what it has done so far."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ...config.gateways import Balance, GatewayMode
from ..domain.clock import Clock
from ..errors import (
    BrokerError,
    DeadlineExceeded,
    LinkError,
    NoPermission,
    NotSupported,
    PacingViolation,
    RequestFailed,
)
from ..orders.latency import distribution
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, LinkState

_Answer = TypeVar("_Answer")
#: Latencies kept for the statistics.
KEPT = 1_000
#: Looks at the counters that rates are made of; the pool takes one every `beat_every / 2`.
LOOKS = 11


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """Monotonic seconds.

    `prewarm`: backups are connected at the start, else once a gateway is lost. `start_deadline`: how long a start waits
    for the first attempt of every gateway. `first_wait` and `longest_wait` space attempts to connect, doubled each
    time. A gateway that has answered nothing for `beat_every` is asked the time; one that owes an answer for
    `suspect_after` gets nothing new while another one answers. `back_after`: how long every gateway must stand before
    backups give their lines back.
    """

    balance: Balance = Balance.LEAST_LOADED
    prewarm: bool = True
    start_deadline: float = 5.0
    first_wait: float = 0.5
    longest_wait: float = 60.0
    beat_every: float = 2.0
    suspect_after: float = 5.0
    back_after: float = 30.0


@dataclass(frozen=True, slots=True)
class GatewayTerms:
    """What a gateway is called and may be given. `lines` None: no limit of its own."""

    name: str
    mode: GatewayMode = GatewayMode.DIRECT
    weight: int = 1
    is_backup: bool = False
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """Health and statistics of one gateway.

    `has_orders`: orders go through it and nowhere else. `heartbeat_age`: monotonic seconds since its last answer, None
    before the first. `round_trip`: milliseconds of the latest heartbeat, None before it. `last_error` "" when there was
    none. `sessions` established so far, each but the first a reconnect. `errors` are questions that it left unanswered
    or refused for its own reasons; "no such data" is an answer. Latencies of questions are milliseconds over the last
    thousand, None before the first. Bytes are those of the API's messages, before TLS; rates are a second's over the
    last ten or so, None before two looks.
    """

    name: str
    mode: GatewayMode
    state: LinkState
    is_backup: bool
    has_orders: bool
    is_responsive: bool
    heartbeat_age: float | None
    last_error: str
    sessions: int
    lost: int
    lines: int
    streams: int
    in_flight: int
    requests: int
    errors: int
    p50: float | None
    p95: float | None
    p99: float | None
    round_trip: float | None
    bytes_in: int
    bytes_out: int
    bytes_in_rate: float | None
    bytes_out_rate: float | None
    request_rate: float | None

    @property
    def role(self) -> str:
        """ "orders" (and data), "backup" or "data"."""
        return "orders" if self.has_orders else "backup" if self.is_backup else "data"

    @property
    def reconnects(self) -> int:
        return max(0, self.sessions - 1)


class PoolMember:
    """`has_orders`: the pool's order transport, which its owner connects; any other one is connected by `keep`."""

    def __init__(
        self, transport: IbTransport, terms: GatewayTerms, clock: Clock, policy: PoolPolicy, *, has_orders: bool = False
    ) -> None:
        self.transport = transport
        self.terms = terms
        self.has_orders = has_orders
        self._clock = clock
        self._policy = policy
        #: Quote lines, and tick-by-tick, depth and live-bar streams, that are here now.
        self.lines = self.streams = 0
        self.in_flight = self.requests = self.errors = self.sessions = self.lost = 0
        self.latencies: deque[float] = deque(maxlen=KEPT)
        #: (monotonic seconds, bytes received, bytes sent, requests) at the latest looks.
        self._looks: deque[tuple[float, int, int, int]] = deque(maxlen=LOOKS)
        self.last_error = ""
        self.on_refused: Callable[[PoolMember, str], None] = lambda member, why: None
        #: Whether this member should be connected now.
        self.is_wanted = not terms.is_backup or policy.prewarm
        self._tried = asyncio.Event()
        self._changed = asyncio.Event()
        self._answered: float | None = None
        self._owes_since: float | None = None
        self._is_beating = False
        #: Monotonic time since which it is ready, None while it is not.
        self.ready_since: float | None = None

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def is_ready(self) -> bool:
        return self.transport.state is LinkState.READY

    @property
    def is_responsive(self) -> bool:
        """Ready, and owing no heartbeat for too long."""
        owes = self._owes_since
        return self.is_ready and (owes is None or self._clock.monotonic() - owes < self._policy.suspect_after)

    @property
    def has_room(self) -> bool:
        return self.terms.lines is None or self.lines < self.terms.lines

    @property
    def load(self) -> float:
        """What it has to do, for its weight."""
        return (self.in_flight + self.lines + self.streams) / self.terms.weight

    def hear(self, event: LinkEvent) -> None:
        """Take over what a link event says; the pool hands every one on."""
        if event.kind in (LinkEventKind.UP, LinkEventKind.RESTORED):
            self.sessions += 1
            self.ready_since = self._answered = self._clock.monotonic()
            self._owes_since = None
        elif event.kind is LinkEventKind.LOST:
            self.lost += 1
            self.ready_since = None
            self.last_error = event.text
        self._changed.set()

    # Being connected

    def want(self, wanted: bool) -> None:
        if wanted is not self.is_wanted:
            self.is_wanted = wanted
            self._changed.set()

    async def tried(self) -> None:
        """Until the first attempt to connect has ended."""
        await self._tried.wait()

    async def keep(self) -> None:
        """Connect while wanted, with back-off; a session that stands reconnects itself."""
        wait = self._policy.first_wait
        while True:
            self._changed.clear()
            if self.is_wanted and self.transport.state is LinkState.DOWN:
                if await self._connect():
                    wait = self._policy.first_wait
                else:
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, self._policy.longest_wait)
                    continue
            elif not self.is_wanted and self.transport.state is not LinkState.DOWN:
                await self.transport.disconnect()
                self.ready_since = None
            await self._changed.wait()

    async def _connect(self) -> bool:
        try:
            await self.transport.connect()
        except BrokerError as refusal:
            self.last_error = str(refusal)
            self.on_refused(self, str(refusal))
            return False
        finally:
            self._tried.set()
        return True

    # Being asked

    async def ask(self, question: Callable[[IbTransport], Awaitable[_Answer]]) -> _Answer:
        """One question, measured. Raises what the transport raises."""
        self.requests += 1
        self.in_flight += 1
        began = self._clock.monotonic()
        try:
            answer = await question(self.transport)
        except (LinkError, DeadlineExceeded, PacingViolation, NoPermission, NotSupported) as error:
            self.errors += 1
            self.last_error = str(error)
            raise
        except RequestFailed:
            self._note_answer(began)
            raise
        finally:
            self.in_flight -= 1
        self._note_answer(began)
        return answer

    def _note_answer(self, began: float) -> None:
        self._answered = self._clock.monotonic()
        self._owes_since = None
        self.latencies.append(self._answered - began)

    @property
    def needs_heartbeat(self) -> bool:
        if not self.is_ready or self._is_beating:
            return False
        return self._answered is None or self._clock.monotonic() - self._answered >= self._policy.beat_every

    async def beat(self) -> None:
        """Ask the time: a round trip that tells whether it still answers. It owes an answer until one has come."""
        if self._owes_since is None:
            self._owes_since = self._clock.monotonic()
        self._is_beating = True
        try:
            await self.transport.market_time()
        except BrokerError as error:
            self.last_error = f"no heartbeat: {error}"
            return
        finally:
            self._is_beating = False
        self._answered = self._clock.monotonic()
        self._owes_since = None

    async def examine(self) -> None:
        """One attempt to connect, and one heartbeat; what fails is in the status."""
        if self.transport.state is LinkState.DOWN and not await self._connect():
            return
        await self.beat()

    def sample(self) -> None:
        """Look at the counters, for the rates."""
        traffic = self.transport.traffic()
        self._looks.append((self._clock.monotonic(), traffic.received, traffic.sent, self.requests))

    def _rates(self) -> tuple[float | None, float | None, float | None]:
        if len(self._looks) < 2:
            return None, None, None
        (began, *before), (ended, *after) = self._looks[0], self._looks[-1]
        received, sent, requests = (
            (later - earlier) / (ended - began) for later, earlier in zip(after, before, strict=True)
        )
        return received, sent, requests

    def status(self) -> GatewayStatus:
        told = distribution(self.latencies, len(self.latencies)) if self.latencies else {}
        trips = self.transport.latencies().get("round_trip", ())
        traffic = self.transport.traffic()
        received_rate, sent_rate, request_rate = self._rates()
        return GatewayStatus(
            name=self.name,
            mode=self.terms.mode,
            state=self.transport.state,
            is_backup=self.terms.is_backup,
            has_orders=self.has_orders,
            is_responsive=self.is_responsive,
            heartbeat_age=None if self._answered is None else self._clock.monotonic() - self._answered,
            last_error=self.last_error,
            sessions=self.sessions,
            lost=self.lost,
            lines=self.lines,
            streams=self.streams,
            in_flight=self.in_flight,
            requests=self.requests,
            errors=self.errors,
            p50=told.get("p50"),
            p95=told.get("p95"),
            p99=told.get("p99"),
            round_trip=trips[-1] * 1000 if trips else None,
            bytes_in=traffic.received,
            bytes_out=traffic.sent,
            bytes_in_rate=received_rate,
            bytes_out_rate=sent_rate,
            request_rate=request_rate,
        )
