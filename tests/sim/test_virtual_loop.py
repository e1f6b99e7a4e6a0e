"""The loop of the simulation: time jumps, nothing waits for real, and the dead run no more code."""

from __future__ import annotations

import asyncio
import time

import pytest

from .loop import OWNER, Owner, Stalled, VirtualLoop


@pytest.fixture
def loop():
    made = VirtualLoop(start=100.0)
    yield made
    made.close()


def test_an_hour_passes_at_once(loop):
    began = time.monotonic()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == 3700.0
    assert time.monotonic() - began < 5


def test_timers_run_in_the_order_of_their_moments(loop):
    told = []

    async def story():
        loop.call_later(2.0, told.append, "b")
        loop.call_later(1.0, told.append, "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await asyncio.sleep(10)
        told.append("timeout")
        await asyncio.sleep(1)

    loop.run_until_complete(story())
    assert told == ["a", "timeout", "b"]


def test_waiting_for_nothing_is_an_error_and_not_a_hang(loop):
    with pytest.raises(Stalled):
        loop.run_until_complete(loop.create_future())


def test_work_for_a_thread_is_done_here(loop):
    assert loop.run_until_complete(asyncio.to_thread(lambda: "done")) == "done"


def test_a_dead_owner_s_tasks_and_timers_never_run_again(loop):
    told, owner = [], Owner()

    async def work():
        told.append("begun")
        try:
            await asyncio.sleep(1)
            told.append("survived")
        finally:
            loop.call_later(0.1, told.append, "left behind")

    async def story():
        task = loop.create_task(work(), context=owner.context)
        await asyncio.sleep(0.5)
        assert OWNER.get() is None
        loop.drop(owner)
        loop.bury(owner)
        await asyncio.sleep(5)
        assert not task.done()

    loop.run_until_complete(story())
    assert told == ["begun"]


def test_what_fails_with_nobody_to_take_it_is_told(loop):
    told = []
    loop.failed = lambda text, error: told.append(type(error))
    loop.call_later(1.0, lambda: 1 / 0)
    loop.run_until_complete(asyncio.sleep(2))
    assert told == [ZeroDivisionError]
