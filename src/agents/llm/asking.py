"""One question to one model of a pool: from the cache when it was answered before, else written down, sent, checked."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Generic, TypeVar

from ...brokers.errors import BrokerError, RequestFailed
from .call_log import Call, CallLog, Ending, Stored
from .chat_backend import Completion
from .model_client import ModelClient, Question
from .pool import Host, Pool
from .prices import PriceTable
from .request import Priority, Rung, Usage
from .troubles import Trouble, failed, trouble_of

log = logging.getLogger(__name__)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Asked(Generic[R]):
    """What the check made of the answer. `completion` is None when it came from the cache."""

    value: R
    host: str | None
    usage: Usage
    completion: Completion | None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a question is asked. `deadline` is a moment of the event loop's clock; `avoid` are hosts by their URL."""

    purpose: str
    rung: Rung
    subject: str
    deadline: float
    priority: Priority = Priority.NORMAL
    avoid: frozenset[str] = frozenset()
    schema_version: str = ""
    may_cache: bool = False


@dataclass(eq=False)
class Counts:
    """Since the ledger was made."""

    asked: int = 0
    cached: int = 0
    log_failures: int = 0


class Ledger:
    """The log and the prices that every question of this process passes. Disk access stays off the event loop."""

    def __init__(self, calls: CallLog, prices: PriceTable) -> None:
        self.calls, self._prices = calls, prices
        self.counts = Counts()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="llm-log")
        weakref.finalize(self, _let_go, self._disk, calls)

    def close(self) -> None:
        """Finish what is being written and close the log. Calling it twice does nothing."""
        self._disk.shutdown()
        self.calls.close()

    async def on_disk(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def most(self, client: ModelClient, question: Question) -> Decimal:
        """The most that it can cost. Raises RequestFailed when no price is known: unknown is not free."""
        prompt, answer = client.most_tokens(question)
        most = self._prices.most(question.model, _today(), prompt, answer)
        if most is not None:
            return most
        if client.is_free:
            return Decimal(0)
        raise failed(
            Trouble.PRICE_UNKNOWN,
            f"question to {question.model} at {client.url}",
            "its price is not known, so the daily cap could not hold",
            "add it to a file of prices and set IB_LLM_PRICES",
        )

    def cost(self, client: ModelClient, model: str, done: Completion) -> Decimal | None:
        """What it cost; None when that cannot be told, and then the most that it can have cost stands."""
        cost = self._prices.cost(model, _today(), done)
        return Decimal(0) if cost is None and client.is_free else cost


@dataclass(eq=False)
class Course:
    """How far a question came; whoever asks reads it after a failure."""

    host: Host | None = None
    digest: str | None = None
    completion: Completion | None = None
    queued: float = 0.0
    seconds: float = 0.0


#: Troubles after which nothing was computed, so that nothing is charged.
_FREE = frozenset(
    {
        Trouble.HOST_DOWN,
        Trouble.NO_PERMISSION,
        Trouble.QUEUE_FULL,
        Trouble.OVERLOADED,
        Trouble.MODEL_MISSING,
        Trouble.CANNOT_ASK,
    }
)


@dataclass(eq=False)
class Target:
    """A model of a pool: one step of a ladder, or what is behind a chat. Without a ledger nothing is written down, no
    earlier answer is used and no cost is capped."""

    pool: Pool
    model: str
    ledger: Ledger | None = None

    async def ask(self, question: Question, terms: Terms, check: Callable[[Completion], R], course: Course) -> Asked[R]:
        """`check` makes the value, and raises RequestFailed for an answer that is none. Raises errors of the tree."""
        begun = asyncio.get_running_loop().time()
        async with self.pool.slot(
            self.model, priority=terms.priority, deadline=terms.deadline, avoid=terms.avoid
        ) as host:
            course.host, course.queued = host, asyncio.get_running_loop().time() - begun
            if self.ledger is None:
                done = await self._complete(question, course)
                return Asked(check(done), host.client.url, _usage(course, Decimal(0)), done)
            return await self._ask_once(self.ledger, host, question, terms, check, course)

    async def _ask_once(
        self,
        ledger: Ledger,
        host: Host,
        question: Question,
        terms: Terms,
        check: Callable[[Completion], R],
        course: Course,
    ) -> Asked[R]:
        call = Call(
            terms.purpose,
            terms.rung,
            terms.subject,
            self.pool.backend,
            self.model,
            terms.schema_version,
            question.system,
            question.user,
            ledger.most(host.client, question),
        )
        course.digest = await self._digest(host)
        key = None
        if terms.may_cache and course.digest is not None:
            key = question.key(self.pool.backend, course.digest, terms.schema_version)
        begun = await ledger.on_disk(lambda: (key and ledger.calls.earlier(key)) or ledger.calls.begin(call))
        if isinstance(begun, Stored):
            again = await self._again(ledger, begun, call, check, course)
            if again is not None:
                return again
            begun = await ledger.on_disk(lambda: ledger.calls.begin(call))
        ledger.counts.asked += 1
        return await self._sent(ledger, begun, key, question, check, course)

    async def _again(
        self, ledger: Ledger, stored: Stored, call: Call, check: Callable[[Completion], R], course: Course
    ) -> Asked[R] | None:
        """The earlier answer, None when it is not valid any more."""
        try:
            value = check(Completion(stored.text, self.model, None, None, None, {}))
        except RequestFailed:
            return None
        await ledger.on_disk(lambda: ledger.calls.answered_from(stored, call))
        ledger.counts.cached += 1
        return Asked(value, stored.host, _usage(course, Decimal(0)), None)

    async def _sent(
        self,
        ledger: Ledger,
        number: int,
        key: str | None,
        question: Question,
        check: Callable[[Completion], R],
        course: Course,
    ) -> Asked[R]:
        assert course.host is not None
        client = course.host.client
        ending = Ending(trouble="cancelled")
        try:
            done = await self._complete(question, course)
            cost = ledger.cost(client, self.model, done)
            ending = Ending(completion=done, cost=cost, trouble="invalid")
            value = check(done)
            ending = Ending(completion=done, cost=cost, key=key)
            return Asked(value, client.url, _usage(course, cost), done)
        except BrokerError as error:
            trouble = trouble_of(error)
            nothing = ending.completion is None and trouble in _FREE
            ending = replace(
                ending, trouble=trouble.value, error=str(error), cost=Decimal(0) if nothing else ending.cost
            )
            raise
        finally:
            await asyncio.shield(self._write_end(ledger, number, ending, course))

    async def _complete(self, question: Question, course: Course) -> Completion:
        assert course.host is not None
        begun = asyncio.get_running_loop().time()
        try:
            course.completion = await course.host.client.complete(question)
        finally:
            course.seconds = asyncio.get_running_loop().time() - begun
        return course.completion

    async def _digest(self, host: Host) -> str | None:
        try:
            return await host.client.digest(self.model)
        except BrokerError:
            # The question itself will show what is wrong with the host.
            return None

    @staticmethod
    async def _write_end(ledger: Ledger, number: int, ending: Ending, course: Course) -> None:
        url = None if course.host is None else course.host.client.url
        full = replace(ending, host=url, digest=course.digest, queued=course.queued, seconds=course.seconds)
        try:
            await ledger.on_disk(lambda: ledger.calls.end(number, full))
        except RequestFailed as error:
            # The answer is good, and its row keeps the most that it can have cost.
            ledger.counts.log_failures += 1
            log.error("an answer was not written down: %s", error)


def _let_go(disk: ThreadPoolExecutor, calls: CallLog) -> None:
    # Whoever collects garbage may be the thread that would be waited for.
    disk.shutdown(wait=False)
    calls.close()


def _usage(course: Course, cost: Decimal | None) -> Usage:
    done = course.completion
    return Usage(
        done.prompt_tokens if done else None,
        done.completion_tokens if done else None,
        done.cached_tokens if done else None,
        None if cost is None else float(cost),
        course.seconds,
        course.queued,
    )


def _today() -> date:
    return datetime.now(UTC).date()
