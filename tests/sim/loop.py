"""One event loop whose time is virtual: when nothing is ready, time jumps to the next timer. No threads, no sockets.

Whatever belongs to one simulated process runs in a context that names its `Owner`. An owner that has died runs no more
code: its handles are cancelled, new ones are born cancelled, and its coroutines are closed where nobody sees it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from asyncio import events
from collections.abc import Callable
from typing import Any

#: Rounds of the loop without any progress of time that count as a hang.
STANDSTILL = 200_000
#: Tasks of an owner above which those that are done are let go.
MANY = 256


class Killed(BaseException):
    """Raised where a simulated process dies; nothing of it runs after that."""


class Stalled(RuntimeError):
    """Nothing is ready and no timer is set, or time stands still: the simulation would wait for ever."""


class Owner:
    """What owns tasks and timers, and can die."""

    def __init__(self) -> None:
        self.alive = True
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, self)


OWNER: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("owner", default=None)


class _Jump:
    """The selector of a loop without files: waiting is moving the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._rounds = 0

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        if timeout is None:
            raise Stalled("everything waits, and no timer is set")
        if timeout > 0:
            loop.now = max(loop.now, loop._scheduled[0]._when)
            self._rounds = 0
        else:
            self._rounds += 1
            if self._rounds > STANDSTILL:
                raise Stalled(f"{STANDSTILL} rounds without any progress of time")
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`listen` is what `create_server` comes to; `failed` hears of exceptions that no task or caller took."""

    def __init__(self, start: float = 1_000.0) -> None:
        super().__init__()
        self.now = start
        self._selector = _Jump(self)
        self._clock_resolution = 1e-9
        self.listen: Callable[..., Any] | None = None
        self.failed: Callable[[str, BaseException], None] = lambda text, error: None
        self.set_task_factory(_make_task)
        self.set_exception_handler(_report)

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no files to look at."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> events.Handle:
        handle = super().call_soon(callback, *args, context=context)
        owner = handle._context.get(OWNER)
        if owner is not None and not owner.alive:
            handle.cancel()
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> events.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        owner = handle._context.get(OWNER)
        if owner is not None and not owner.alive:
            handle.cancel()
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """At once, here: no thread."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    async def create_server(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        if self.listen is None:
            raise OSError("there is no network in this loop")
        return self.listen(factory, host, port)

    def drop(self, owner: Owner) -> None:
        """Nothing of `owner` runs any more. Its coroutines are closed later, by `bury`."""
        owner.alive = False
        for handle in (*self._ready, *self._scheduled):
            if handle._context is not None and handle._context.get(OWNER) is owner:
                handle.cancel()

    def bury(self, owner: Owner) -> None:
        """Close what `owner` left: in its own context, where every new handle is born cancelled."""
        for task in owner.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if not task.done():
                owner.context.copy().run(_close, task.get_coro())
        owner.tasks.clear()


def _close(coro: Any) -> None:
    """End a coroutine where it stands, and those that it was given and had not begun."""
    given = []
    if inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
        given = [value for value in coro.cr_frame.f_locals.values() if inspect.iscoroutine(value)]
    for one in (coro, *given):
        try:
            one.close()
        except BaseException:
            # what a dead process would still do is nobody's business
            continue


def _make_task(loop: Any, coro: Any, context: Any = None) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
    owner = (context or contextvars.copy_context()).get(OWNER)
    if owner is not None:
        if len(owner.tasks) > MANY:
            owner.tasks = [one for one in owner.tasks if not one.done()]
        owner.tasks.append(task)
    return task


def _report(loop: Any, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, Killed) or error is None or "never retrieved" in context["message"]:
        return
    loop.failed(context["message"], error)
