"""One attempt to connect at a time, told to everybody who waits for it; a close does not wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from moondev_ibkr.agents.hooks.host_broker import HostBroker
from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.errors import BrokerError, NotConnected
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.sync import LoopThread

THREADS = 16


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    with LoopThread("host broker test") as made:
        yield made


class Door:
    """A broker behind a door that opens when told: `attempts` counts, `knocked` is set at the first."""

    def __init__(self) -> None:
        self.attempts = 0
        self.left = 0
        self.knocked = threading.Event()
        self.opens = threading.Event()
        self.error: BrokerError | None = None

    @contextlib.asynccontextmanager
    async def make(self) -> AsyncIterator[BaseBroker]:
        self.attempts += 1
        self.knocked.set()
        try:
            while not self.opens.is_set():
                await asyncio.sleep(0.005)
            if self.error is not None:
                raise self.error
            async with get_broker("paper") as broker:
                yield broker
        finally:
            self.left += 1


def ask(held: HostBroker) -> object:
    try:
        return held.sync()
    except BrokerError as error:
        return error


def test_a_failing_connection_is_tried_once_for_all_who_wait(loop: LoopThread) -> None:
    door = Door()
    door.error = NotConnected("connecting", "nobody answers", "start it")
    held = HostBroker(door.make, loop=loop)
    waiting = threading.Barrier(THREADS + 1)

    def come_and_ask() -> object:
        waiting.wait()
        return ask(held)

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [pool.submit(come_and_ask) for _ in range(THREADS)]
        waiting.wait()
        assert door.knocked.wait(5)
        door.opens.set()
        told = [answer.result(5) for answer in answers]
    assert all(answer is door.error for answer in told)
    assert door.attempts < THREADS
    before = door.attempts
    door.error = None
    assert not isinstance(ask(held), BrokerError), "the next call does not try again"
    assert door.attempts == before + 1
    held.close()
    assert door.left == door.attempts


def test_all_who_wait_get_the_one_broker(loop: LoopThread) -> None:
    door = Door()
    held = HostBroker(door.make, loop=loop)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = [pool.submit(held.sync) for _ in range(THREADS)]
        assert door.knocked.wait(5)
        assert not held.is_connected
        door.opens.set()
        assert len({id(answer.result(5)) for answer in answers}) == 1
    assert held.is_connected
    assert door.attempts == 1
    held.close()
    assert not held.is_connected


def test_a_close_ends_an_attempt_and_leaves_it(loop: LoopThread) -> None:
    door = Door()
    held = HostBroker(door.make, loop=loop)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(ask, held)
        assert door.knocked.wait(5)
        pool.submit(held.close).result(5)
        assert isinstance(answer.result(5), NotConnected)
    assert door.left == 1
    assert isinstance(ask(held), NotConnected)
