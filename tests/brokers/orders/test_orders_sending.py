"""Writes that the socket does not take at once."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import NotConnected
from moondev_ibkr.brokers.orders import OrderSettings

S = OrderState


class SlowSocket:
    """Holds the scripted broker's writes back, twice, until `go` ends."""

    def __init__(self, broker) -> None:
        self.go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = ""
        self._place = broker.place
        broker.place = self.place

    async def place(self, wire) -> None:
        try:
            await asyncio.sleep(0)
            await self.go
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        await self._place(wire)


async def begun(bench) -> asyncio.Task:
    task = asyncio.create_task(bench.buy())
    await bench.settle()
    return task


async def test_an_order_waits_for_the_socket_and_is_then_acknowledged(bench):
    socket = SlowSocket(bench.broker)
    task = await begun(bench)
    assert bench.broker.placed == []
    assert [order.state for order in bench.manager.orders()] == [S.INTENT]
    socket.go.set_result(None)
    assert (await task).state is S.WORKING


async def test_a_write_that_fails_after_waiting_tells_why(bench):
    socket = SlowSocket(bench.broker)
    task = await begun(bench)
    socket.go.set_exception(NotConnected("order", "the link ended before it left"))
    with pytest.raises(NotConnected, match="before it left"):
        await task
    assert [order.state for order in bench.manager.orders()] == [S.NOT_SENT]


async def test_a_write_that_does_not_end_leaves_the_order_unknown(make_bench):
    bench = await make_bench(settings=OrderSettings(account="DU000001", write_deadline=0.01)).start()
    socket = SlowSocket(bench.broker)
    order = await bench.buy()
    assert order.state is S.UNKNOWN
    assert order.reason == "the write did not end in time"
    assert socket.ended == "CancelledError"


async def test_a_caller_who_leaves_while_the_write_waits_ends_it(bench):
    socket = SlowSocket(bench.broker)
    task = await begun(bench)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert socket.ended == "CancelledError"
    assert bench.broker.placed == []
