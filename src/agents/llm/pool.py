"""Hosts of one backend behind one queue: who is asked next, where, and what a host's failures mean.

The queue is bounded and ordered by priority, then deadline. A question goes to the host with the fewest under way among
those that have the model in memory; where none has, among all. Runs on one event loop.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import NamedTuple

from ...brokers.errors import BrokerError, ConfigurationError, ConnectFailed, DeadlineExceeded
from .breaker import Breaker, BreakerState
from .model_client import LoadedModel, ModelClient
from .request import Priority
from .troubles import Fault, Trouble, failed, fault_of, trouble_of

#: Seconds that what a host has in memory, or lacks on its disk, is believed.
BELIEVED = 15.0
#: A deadline that passed says something about a host that had this share of the time.
FAIR_SHARE = 0.5


@dataclass(eq=False)
class Host:
    """A server and what is known of it. `loaded` is None while that is not known."""

    client: ModelClient
    slots: int
    breaker: Breaker
    under_way: int = 0
    answered: int = 0
    failed: int = 0
    loaded: tuple[LoadedModel, ...] | None = None
    #: model -> until when the host is believed not to have it
    lacking: dict[str, float] = field(default_factory=dict)

    def has_loaded(self, model: str) -> bool:
        return any(row.name in (model, f"{model}:latest") for row in self.loaded or ())


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host as it stands. Counts are since the pool was made."""

    url: str
    breaker: BreakerState
    under_way: int
    slots: int
    answered: int
    failed: int
    loaded: tuple[LoadedModel, ...] | None


class _Place(NamedTuple):
    """A slot of a host; `probe` when its breaker waits for this question's fate."""

    host: Host
    probe: bool


@dataclass(eq=False)
class _Waiter:
    """A question in the queue."""

    model: str
    avoid: frozenset[str]
    order: tuple[int, float, int]
    place: asyncio.Future[_Place]


class Pool:
    """`slots` are questions under way at each host, `waiting` the longest queue. `clock` is monotonic seconds; it rules
    breakers and beliefs, while deadlines are the event loop's. Raises ConfigurationError."""

    def __init__(
        self,
        clients: Sequence[ModelClient],
        *,
        slots: int = 4,
        waiting: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        names = [client.url for client in clients]
        if not names or len(set(names)) != len(names) or slots < 1 or waiting < 1:
            raise ConfigurationError(
                f"pool of {names}", "it needs hosts, each once, and at least one slot and place", "correct the settings"
            )
        self.hosts = tuple(Host(client, slots, Breaker(clock)) for client in clients)
        self._waiting_limit, self._clock = waiting, clock
        self._queue: list[_Waiter] = []
        self._numbers = count()
        self._looked: float | None = None
        self._looking: asyncio.Task[None] | None = None
        #: Whether the first look has ended.
        self._known = False

    @property
    def backend(self) -> str:
        return self.hosts[0].client.backend

    @property
    def waiting(self) -> int:
        """Questions in the queue."""
        return len(self._queue)

    def status(self) -> tuple[HostStatus, ...]:
        return tuple(
            HostStatus(
                host.client.url,
                host.breaker.state,
                host.under_way,
                host.slots,
                host.answered,
                host.failed,
                host.loaded,
            )
            for host in self.hosts
        )

    @asynccontextmanager
    async def slot(
        self,
        model: str,
        *,
        priority: Priority = Priority.NORMAL,
        deadline: float,
        avoid: frozenset[str] = frozenset(),
    ) -> AsyncIterator[Host]:
        """A host to ask within the block. `deadline` is a moment of the loop's clock; the block is cancelled at it.

        Raises RequestFailed at once when the queue is full or no host has the model, ConnectFailed when every host is
        resting, and DeadlineExceeded. Leaving the block in any way frees the slot.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        place = await self._place(model, priority, deadline, avoid, begun)
        host, got = place.host, loop.time()
        good: bool | None = None
        try:
            async with asyncio.timeout_at(deadline):
                yield host
            good = True
            self._note_answer(host, model)
        except TimeoutError:
            host.failed += 1
            good = False if deadline - got >= FAIR_SHARE * (deadline - begun) else None
            raise _too_late(model, deadline - begun) from None
        except BrokerError as error:
            host.failed += 1
            good = self._blameless(host, model, error)
            raise
        finally:
            host.breaker.end(good, probe=place.probe)
            self._free(host)

    async def aclose(self) -> None:
        """Close every host's connections; questions that wait are cancelled."""
        if self._looking is not None:
            self._looking.cancel()
        for waiter in self._queue:
            waiter.place.cancel()
        self._queue.clear()
        for host in self.hosts:
            await host.client.aclose()

    async def look(self) -> None:
        """Ask every host what it has in memory. A host that does not answer keeps None."""
        await asyncio.gather(*(self._look_at(host) for host in self.hosts))

    def _note_answer(self, host: Host, model: str) -> None:
        host.answered += 1
        if host.loaded is not None and not host.has_loaded(model):
            self._looked = None

    def _blameless(self, host: Host, model: str, error: BrokerError) -> bool:
        """Whether the host did its part; a model that it lacks is no failure of its own."""
        fault = fault_of(error)
        if fault is Fault.PLACE:
            host.lacking[model] = self._clock() + BELIEVED
        return fault is not Fault.HOST

    async def _place(
        self, model: str, priority: Priority, deadline: float, avoid: frozenset[str], begun: float
    ) -> _Place:
        await self._looked_lately(deadline)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(model, avoid, (priority, deadline, next(self._numbers)), loop.create_future())
        insort(self._queue, waiter, key=lambda row: row.order)
        self._dispatch()
        if not waiter.place.done() and len(self._queue) > self._waiting_limit:
            self._queue.remove(waiter)
            raise failed(
                Trouble.WAITING_FULL,
                f"question to {model}",
                f"{self._waiting_limit} questions wait already",
                "ask fewer at once, or raise IB_LLM_WAITING",
            )
        return await self._wait(waiter, deadline, begun)

    async def _wait(self, waiter: _Waiter, deadline: float, begun: float) -> _Place:
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter.place
        except TimeoutError:
            self._give_up(waiter)
            raise _too_late(waiter.model, deadline - begun) from None
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise

    def _give_up(self, waiter: _Waiter) -> None:
        """The question is not asked any more; a host that it was given in the same moment goes to the next."""
        if waiter in self._queue:
            self._queue.remove(waiter)
        elif waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
            host, probe = waiter.place.result()
            host.breaker.end(None, probe=probe)
            self._free(host)

    def _free(self, host: Host) -> None:
        host.under_way -= 1
        self._dispatch()

    @staticmethod
    def _take(host: Host) -> _Place:
        host.under_way += 1
        return _Place(host, host.breaker.begin())

    def _dispatch(self) -> None:
        """Give free places to those who wait, in order; those whom no host can serve any more learn it."""
        #: What cannot be served now, and why it never can, None while it may.
        stuck: dict[tuple[str, frozenset[str]], BrokerError | None] = {}
        left: list[_Waiter] = []
        for waiter in self._queue:
            if waiter.place.done():
                continue
            kind = (waiter.model, waiter.avoid)
            host = None if kind in stuck else self._choose(waiter)
            if host is not None:
                waiter.place.set_result(self._take(host))
                continue
            if kind not in stuck:
                stuck[kind] = self._hopeless(*kind)
            if (error := stuck[kind]) is not None:
                waiter.place.set_exception(error)
            else:
                left.append(waiter)
        self._queue[:] = left

    def _choose(self, waiter: _Waiter) -> Host | None:
        """The host to ask now; None when those that could answer are busy. A queue longer than the places of hosts
        that have the model in memory is worth loading it on one more."""
        able = [host for host in self.hosts if self._could(host, waiter.model, waiter.avoid)]
        warm = [host for host in able if host.has_loaded(waiter.model)]
        crowded = len(self._queue) > sum(host.slots for host in warm)
        free = [host for host in warm or able if host.under_way < host.slots and host.breaker.passes]
        if not free and crowded:
            free = [host for host in able if host.under_way < host.slots and host.breaker.passes]
        return min(free, key=lambda host: host.under_way, default=None)

    def _could(self, host: Host, model: str, avoid: frozenset[str]) -> bool:
        """Whether the host may come to answer it: now, or after what it does now."""
        if host.client.url in avoid or host.lacking.get(model, 0.0) > self._clock():
            return False
        return host.breaker.state is not BreakerState.OPEN

    def _hopeless(self, model: str, avoid: frozenset[str]) -> BrokerError | None:
        """Why no host can come to answer it, None when one can."""
        if any(self._could(host, model, avoid) for host in self.hosts):
            return None
        what = f"question to {model}"
        wanted = [host for host in self.hosts if host.client.url not in avoid]
        if any(host.breaker.state is BreakerState.OPEN for host in wanted):
            why = "every host that could answer failed lately"
            return ConnectFailed(what, why, "try later", kind="unreachable")
        if wanted:
            return failed(Trouble.MODEL_MISSING, what, "no host has it", "pull it on one of them")
        return ConnectFailed(what, "no host is left", "add another", kind="unreachable")

    async def _looked_lately(self, deadline: float) -> None:
        """Know what is in memory where; only several hosts leave a choice. The first time all wait for it."""
        if len(self.hosts) == 1:
            return
        busy = self._looking is not None and not self._looking.done()
        if not busy and (self._looked is None or self._clock() - self._looked >= BELIEVED):
            self._looked = self._clock()
            self._looking = asyncio.create_task(self.look(), name="models in memory")
        if not self._known and self._looking is not None:
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.wait({self._looking}, timeout=max(0.0, left))
            self._known = True

    @staticmethod
    async def _look_at(host: Host) -> None:
        try:
            host.loaded = await host.client.loaded()
        except BrokerError:
            host.loaded = None


def _too_late(model: str, allowed: float) -> DeadlineExceeded:
    waited = timedelta(seconds=round(allowed, 3))
    return DeadlineExceeded(f"answer of {model}", waited, "allow more time, or ask fewer at once")


def is_about_the_host(error: BrokerError) -> bool:
    """Whether another host of the same model may do better."""
    return fault_of(error) in (Fault.HOST, Fault.PLACE) and trouble_of(error) is not Trouble.DEADLINE
