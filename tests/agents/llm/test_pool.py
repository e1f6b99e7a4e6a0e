"""The pool on a loop of virtual time: where questions go, what failures mean; nothing ever blocks the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.agents.llm.breaker import FIRST_REST, LONGEST_REST, THRESHOLD, Breaker, BreakerState
from moondev_ibkr.agents.llm.chat_backend import Completion
from moondev_ibkr.agents.llm.model_client import LoadedModel, Question
from moondev_ibkr.agents.llm.pool import Pool
from moondev_ibkr.agents.llm.request import Priority
from moondev_ibkr.agents.llm.troubles import Trouble, failed, trouble_of
from moondev_ibkr.brokers.errors import (
    BrokerError,
    ConfigurationError,
    ConnectFailed,
    DeadlineExceeded,
    LinkLost,
    RequestFailed,
)

from tests.sim.loop import VirtualLoop

R = TypeVar("R")
MODEL = "small:8b"
DONE = Completion("{}", MODEL, 1, 1, None, {})
TAKES = 1.0


@dataclass(eq=False)
class FakeHost:
    """A client that answers after `takes` seconds, or raises what `error` holds."""

    url: str = "http://one"
    takes: float = TAKES
    error: BrokerError | None = None
    memory: tuple[str, ...] | None = None
    backend: str = "ollama"
    is_free: bool = True
    under_way: int = 0
    most: int = 0
    asked: list[str] = field(default_factory=list)

    async def complete(self, question: Question) -> Completion:
        self.asked.append(question.user)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        if self.error is not None:
            raise self.error
        return DONE

    async def loaded(self) -> tuple[LoadedModel, ...] | None:
        if self.memory is None:
            return None
        return tuple(LoadedModel(name, None, None, None) for name in self.memory)

    async def models(self) -> Mapping[str, str | None] | None:
        return None

    async def digest(self, model: str) -> str | None:
        return None

    def most_tokens(self, question: Question) -> tuple[int, int]:
        return 1, 1

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class Scene:
    """A pool of fake hosts on one virtual loop."""

    loop: VirtualLoop
    hosts: tuple[FakeHost, ...]
    slots: int = 2
    waiting: int = 100

    def __post_init__(self) -> None:
        self.pool = Pool(self.hosts, slots=self.slots, waiting=self.waiting, clock=self.loop.time)

    async def ask(
        self, name: str = "q", *, priority: Priority = Priority.NORMAL, seconds: float = 60.0, model: str = MODEL
    ) -> str:
        """The URL of the host that answered."""
        deadline = self.loop.time() + seconds
        async with self.pool.slot(model, priority=priority, deadline=deadline) as host:
            await host.client.complete(Question(model, "", name, 1))
        return host.client.url


def played(*hosts: FakeHost, story: Callable[[Scene], Coroutine[Any, Any, R]], **settings: int) -> R:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(story(Scene(loop, hosts, **settings)))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def outcome(work: Awaitable[R]) -> R | BrokerError:
    try:
        return await work
    except BrokerError as error:
        return error


def test_no_host_has_more_under_way_than_its_slots() -> None:
    host = FakeHost()

    async def story(scene: Scene) -> float:
        begun = scene.loop.time()
        await asyncio.gather(*(scene.ask() for _ in range(7)))
        return scene.loop.time() - begun

    assert played(host, story=story, slots=3) == pytest.approx(3 * TAKES)
    assert host.most == 3


def test_the_host_with_the_fewest_under_way_is_next() -> None:
    fast, slow = FakeHost("http://fast", takes=1), FakeHost("http://slow", takes=5)

    async def story(scene: Scene) -> None:
        await asyncio.gather(*(scene.ask() for _ in range(4)))
        assert (len(slow.asked), len(fast.asked)) == (2, 2)
        await asyncio.gather(*(scene.ask() for _ in range(20)))

    played(slow, fast, story=story, slots=4)
    assert len(fast.asked) > len(slow.asked)


def test_a_host_that_has_the_model_in_memory_comes_before_an_idle_one() -> None:
    cold, warm = FakeHost("http://cold", memory=()), FakeHost("http://warm", memory=(MODEL,))

    async def story(scene: Scene) -> None:
        await asyncio.gather(*(scene.ask() for _ in range(4)))

    played(cold, warm, story=story)
    assert (len(cold.asked), len(warm.asked)) == (0, 4)


def test_a_queue_longer_than_the_warm_places_wakes_a_cold_host() -> None:
    cold, warm = FakeHost("http://cold", memory=()), FakeHost("http://warm", memory=(MODEL,))

    async def story(scene: Scene) -> None:
        await asyncio.gather(*(scene.ask() for _ in range(12)))

    played(cold, warm, story=story)
    assert cold.asked


def test_the_queue_goes_by_priority_then_deadline() -> None:
    host = FakeHost()

    async def story(scene: Scene) -> None:
        first = asyncio.create_task(scene.ask("first"))
        await asyncio.sleep(0)
        rows = (
            ("late", Priority.NORMAL, 50.0),
            ("soon", Priority.NORMAL, 40.0),
            ("background", Priority.BACKGROUND, 30.0),
            ("hot", Priority.HOT, 60.0),
        )
        others = [scene.ask(name, priority=rank, seconds=seconds) for name, rank, seconds in rows]
        await asyncio.gather(first, *others)

    played(host, story=story, slots=1)
    assert host.asked == ["first", "hot", "soon", "late", "background"]


def test_a_full_queue_is_an_error_at_once() -> None:
    host = FakeHost()

    async def story(scene: Scene) -> None:
        tasks = [asyncio.create_task(outcome(scene.ask())) for _ in range(4)]
        await asyncio.sleep(0)
        begun = scene.loop.time()
        refused = await outcome(scene.ask())
        assert isinstance(refused, RequestFailed)
        assert (trouble_of(refused), scene.loop.time()) == (Trouble.WAITING_FULL, begun)
        assert not any(isinstance(ended, BrokerError) for ended in await asyncio.gather(*tasks))

    played(host, story=story, slots=1, waiting=3)


def test_a_question_for_another_host_is_not_held_up_by_a_full_queue() -> None:
    busy, idle = FakeHost("http://busy"), FakeHost("http://idle")

    async def story(scene: Scene) -> None:
        for host in scene.pool.hosts:
            host.lacking = {"only-busy": 1e9} if host.client.url == "http://idle" else {"only-idle": 1e9}
        tasks = [asyncio.create_task(scene.ask(model="only-busy")) for _ in range(3)]
        while scene.pool.waiting < 2:
            await asyncio.sleep(0)
        assert await scene.ask(model="only-idle") == "http://idle"
        await asyncio.gather(*tasks)

    played(busy, idle, story=story, slots=1, waiting=2)


def test_a_deadline_ends_the_wait_in_the_queue() -> None:
    host = FakeHost(takes=10)

    async def story(scene: Scene) -> None:
        first = asyncio.create_task(scene.ask())
        await asyncio.sleep(0)
        begun = scene.loop.time()
        ended = await outcome(scene.ask("late", seconds=3))
        assert isinstance(ended, DeadlineExceeded)
        assert ended.waited.total_seconds() == 3
        assert scene.loop.time() - begun == pytest.approx(3)
        await first

    played(host, story=story, slots=1)
    assert host.asked == ["q"]


def test_a_deadline_ends_an_answer_and_frees_the_slot() -> None:
    host = FakeHost(takes=100)

    async def story(scene: Scene) -> None:
        assert isinstance(await outcome(scene.ask(seconds=2)), DeadlineExceeded)
        host.takes = 1
        assert await scene.ask(seconds=2) == host.url

    played(host, story=story, slots=1)
    assert host.under_way == 0


def test_a_host_that_keeps_failing_rests_and_is_tried_with_one_question() -> None:
    host = FakeHost(error=LinkLost("host", "gone"))

    async def story(scene: Scene) -> None:
        for _ in range(THRESHOLD):
            assert isinstance(await outcome(scene.ask()), LinkLost)
        assert isinstance(await outcome(scene.ask()), ConnectFailed)
        assert len(host.asked) == THRESHOLD
        await asyncio.sleep(FIRST_REST)
        host.error = None
        tried = [asyncio.create_task(scene.ask(str(number))) for number in range(3)]
        await asyncio.sleep(TAKES / 2)
        assert host.asked[THRESHOLD:] == ["0"]
        await asyncio.gather(*tried)
        assert scene.pool.status()[0].breaker is BreakerState.CLOSED

    played(host, story=story)


def test_a_try_that_fails_sends_the_waiting_away() -> None:
    host = FakeHost(error=LinkLost("host", "gone"))

    async def story(scene: Scene) -> None:
        for _ in range(THRESHOLD):
            await outcome(scene.ask())
        await asyncio.sleep(FIRST_REST)
        ended = await asyncio.gather(*(outcome(scene.ask(seconds=1000)) for _ in range(3)))
        assert [type(error) for error in ended] == [LinkLost, ConnectFailed, ConnectFailed]

    played(host, story=story)


def test_a_try_that_is_cancelled_is_made_again() -> None:
    host = FakeHost(error=LinkLost("host", "gone"))

    async def story(scene: Scene) -> None:
        for _ in range(THRESHOLD):
            await outcome(scene.ask())
        await asyncio.sleep(FIRST_REST)
        host.error = None
        tried = asyncio.create_task(scene.ask())
        await asyncio.sleep(TAKES / 2)
        tried.cancel()
        await asyncio.wait({tried})
        assert await scene.ask() == host.url

    played(host, story=story)


def test_each_failed_try_doubles_the_rest_up_to_the_longest() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(THRESHOLD):
        breaker.end(False, probe=breaker.begin())
    rests = []
    for _ in range(7):
        begun = now[0]
        while breaker.state is BreakerState.OPEN:
            now[0] += 1.0
        rests.append(now[0] - begun)
        breaker.end(False, probe=breaker.begin())
    assert rests == [5, 10, 20, 40, 80, LONGEST_REST, LONGEST_REST]


def test_a_bad_answer_is_no_failure_of_the_host() -> None:
    host = FakeHost(error=failed(Trouble.OUT_OF_RANGE, "answer", "score 300", "ask again"))

    async def story(scene: Scene) -> None:
        for _ in range(THRESHOLD * 2):
            await outcome(scene.ask())
        assert scene.pool.status()[0].breaker is BreakerState.CLOSED

    played(host, story=story)


def test_a_host_without_the_model_is_passed_over_and_its_others_are_not() -> None:
    lacks = FakeHost("http://lacks", error=failed(Trouble.MODEL_MISSING, "model", "not there", "pull it"))
    has = FakeHost("http://has")

    async def story(scene: Scene) -> None:
        assert isinstance(await outcome(scene.ask()), RequestFailed)
        for _ in range(3):
            assert await scene.ask() == "http://has"
        lacks.error = None
        assert await scene.ask(model="another") == "http://lacks"

    played(lacks, has, story=story)


def test_a_short_deadline_says_nothing_against_a_host_that_had_little_of_it() -> None:
    host = FakeHost(takes=1000)

    async def story(scene: Scene) -> None:
        for _ in range(THRESHOLD + 1):
            first = asyncio.create_task(scene.ask(seconds=100))
            scene.loop.call_later(10, first.cancel)
            await asyncio.sleep(0)
            assert isinstance(await outcome(scene.ask(seconds=11)), DeadlineExceeded)
        assert scene.pool.status()[0].breaker is BreakerState.CLOSED
        for _ in range(THRESHOLD):
            await outcome(scene.ask(seconds=11))
        assert scene.pool.status()[0].breaker is BreakerState.OPEN

    played(host, story=story, slots=1)


def test_a_pool_needs_hosts_each_once() -> None:
    for urls in ((), ("http://a", "http://a")):
        with pytest.raises(ConfigurationError):
            Pool([FakeHost(url) for url in urls])


ERRORS = (
    None,
    LinkLost("host", "gone"),
    failed(Trouble.QUEUE_FULL, "host", "busy", "later", code=503),
    failed(Trouble.MODEL_MISSING, "model", "not there", "pull it"),
    failed(Trouble.INVALID_JSON, "answer", "not JSON", "ask again"),
)
STEP = st.tuples(
    st.sampled_from(ERRORS),  # what the host does from now on
    st.sampled_from([0.0, 0.5, 3.0, 1e6]),  # how long it takes
    st.sampled_from(list(Priority)),
    st.sampled_from([0.0, 1.0, 10.0, 1000.0]),  # the deadline
    st.sampled_from([None, 0.0, 0.7, 5.0]),  # when the caller gives up
    st.sampled_from([0.0, 0.4, 7.0]),  # until the next question
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=25), st.integers(1, 3), st.integers(1, 3), st.integers(1, 8))
def test_no_sequence_of_failures_blocks_the_queue(
    steps: list[tuple[BrokerError | None, float, Priority, float, float | None, float]],
    count: int,
    slots: int,
    waiting: int,
) -> None:
    hosts = tuple(FakeHost(f"http://{number}") for number in range(count))

    async def story(scene: Scene) -> None:
        tasks = []
        for number, (error, takes, priority, seconds, gives_up, pause) in enumerate(steps):
            host = hosts[number % count]
            host.error, host.takes = error, takes
            task = asyncio.create_task(outcome(scene.ask(priority=priority, seconds=seconds)))
            if gives_up is not None:
                scene.loop.call_later(gives_up, task.cancel)
            tasks.append(task)
            await asyncio.sleep(pause)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(row, str | BrokerError | asyncio.CancelledError) for row in ended), ended
        assert scene.pool.waiting == 0
        assert [(row.under_way, host.most <= slots) for row, host in zip(scene.pool.status(), hosts, strict=True)] == [
            (0, True)
        ] * count
        for host in hosts:
            host.error, host.takes = None, TAKES
        await asyncio.sleep(LONGEST_REST)
        # Whatever was, every place of every host serves again, at the same time.
        begun = scene.loop.time()
        served = await asyncio.gather(*(scene.ask() for _ in range(count * slots)), return_exceptions=True)
        assert all(isinstance(url, str) for url in served), served
        assert scene.loop.time() - begun <= 2 * TAKES + 1e-6

    played(*hosts, story=story, slots=slots, waiting=max(waiting, count * slots))
