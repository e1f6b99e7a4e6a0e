"""What the session of either door has: a state, listeners, tasks of its own, and start-up queries (fault C09)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from ..domain.clock import Clock
from ..errors import BrokerError, DeadlineExceeded, LinkError, NotConnected, RequestFailed
from .ib_transport import LinkEvent, LinkEventKind, LinkListener, LinkState, StartupSection

logger = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")
Query = Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class _Section:
    known: bool = False
    why: str = "not asked yet"


class Sections:
    """Start-up queries: what is not known blocks trading, and is asked again. `deadline` seconds for each, `again`
    between attempts at those that failed."""

    def __init__(self, deadline: float, again: float) -> None:
        self._deadline = deadline
        self._again = again
        self._rows: dict[str, _Section] = {}

    def told(self) -> Sequence[StartupSection]:
        return tuple(StartupSection(name, row.known, row.why) for name, row in self._rows.items())

    @property
    def is_known(self) -> bool:
        """Whether every query was answered."""
        return bool(self._rows) and all(row.known for row in self._rows.values())

    def forget(self, why: str) -> None:
        for row in self._rows.values():
            row.known, row.why = False, why

    async def ask(self, queries: Mapping[str, Query], first: str = "") -> list[str]:
        """Every query at once, after `first` where one has to be; the names of those that are not known after it."""
        self._rows = {name: _Section() for name in queries}
        if first:
            await self._one(first, queries[first])
        await asyncio.gather(*(self._one(name, query) for name, query in queries.items() if name != first))
        return [name for name, row in self._rows.items() if not row.known]

    async def ask_again(self, queries: Mapping[str, Query], is_wanted: Callable[[], bool]) -> None:
        """Until all are known, or nobody wants them any more."""
        while is_wanted() and not self.is_known:
            await asyncio.sleep(self._again)
            unknown = [name for name, row in self._rows.items() if not row.known]
            await asyncio.gather(*(self._one(name, queries[name]) for name in unknown))

    async def _one(self, name: str, query: Query) -> None:
        row = self._rows[name]
        try:
            async with asyncio.timeout(self._deadline):
                await query()
        except TimeoutError:
            error: BrokerError = DeadlineExceeded(
                f"start-up query: {name}", timedelta(seconds=self._deadline), "it is asked again"
            )
            row.known, row.why = False, str(error)
        except (RequestFailed, LinkError) as failure:
            row.known, row.why = False, str(failure)
        else:
            row.known, row.why = True, ""


class LinkSession:
    """Base of both doors' sessions. `label` begins the names of its tasks; `connected_in` are the states in which
    requests can be sent."""

    label: ClassVar[str] = ""
    connected_in: ClassVar[frozenset[LinkState]]

    def __init__(self, clock: Clock, sections: Sections) -> None:
        self._clock = clock
        self._sections = sections
        self.state = LinkState.DOWN
        self._listeners: list[LinkListener] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._probe: asyncio.Task[Any] | None = None
        self._wanted = False
        self._offset: timedelta | None = None
        #: Sessions established, attempts made, probes that failed.
        self.established = 0
        self.attempts = 0
        self.failed_probes = 0

    @property
    def sections(self) -> Sequence[StartupSection]:
        return self._sections.told()

    @property
    def is_synced(self) -> bool:
        """Whether every start-up query was answered."""
        return self._sections.is_known

    @property
    def is_connected(self) -> bool:
        return self.state in self.connected_in

    @property
    def offset(self) -> timedelta | None:
        """How far the broker's clock is ahead of the machine's; None before it told its time."""
        return self._offset

    def add_listener(self, listener: LinkListener) -> None:
        self._listeners.append(listener)

    def tell(self, kind: LinkEventKind, text: str, **details: Any) -> None:
        event = LinkEvent(kind, self._clock.now(), text, **details)
        level = logging.WARNING if kind in (LinkEventKind.LOST, LinkEventKind.ALARM) else logging.INFO
        logger.log(level, "%s%s: %s", self.label, kind, text)
        for listener in tuple(self._listeners):
            listener(event)

    def require(self, what: str) -> None:
        """Raise NotConnected unless requests can be sent."""
        if not self.is_connected:
            raise NotConnected(what, f"the session is {self.state}", "connect first, or wait until it is back")

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task of this session: ended with it, and its failure is logged."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.label}{name}")
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("task %s failed", task.get_name(), exc_info=task.exception())

    async def _end_tasks(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def within(self, what: str, answer: Awaitable[_Answer], seconds: float) -> _Answer:
        """The answer, or DeadlineExceeded; what comes later is nobody's (fault H03)."""
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise DeadlineExceeded(what, timedelta(seconds=seconds), "ask again") from None

    async def _ask_sections(self, queries: Mapping[str, Query], first: str = "") -> None:
        """Ask what a session begins with; what stays unanswered is unknown, not empty, and asked again."""
        epoch = self.attempts
        missing = await self._sections.ask(queries, first)
        if missing:
            self.tell(LinkEventKind.ALARM, f"not known yet, trading is blocked: {', '.join(missing)}")
            again = self._sections.ask_again(queries, lambda: self._wanted and epoch == self.attempts)
            self.spawn(again, "retry sections")
