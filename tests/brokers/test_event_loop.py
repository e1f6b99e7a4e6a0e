"""Trading and streams on other event loops than asyncio's own."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.order import NewOrder, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.event_loop import new_event_loop
from moondev_ibkr.brokers.loop_thread import LoopThread

from tests.conformance.gateway_world import GatewayWorld
from tests.conformance.world import PaperWorld, World

HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None


class HandleLoop(asyncio.SelectorEventLoop):
    """As uvloop: "after no time" is "soon", and its handle does not know when."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        if delay <= 0:
            return self.call_soon(callback, *args, context=context)
        return super().call_later(delay, callback, *args, context=context)


async def trade(world: World) -> str:
    """Stream a quote, buy, be filled and have it in the journal; the kind of loop that it ran on."""
    await world.open()
    try:
        await world.to(0.2)
        stream = world.broker.stream(["AAPL"])
        following = asyncio.ensure_future(anext(stream))
        await world.to(0.5)
        assert isinstance(await asyncio.wait_for(following, 10), Quote)
        await stream.aclose()
        instrument = (await world.broker.details("AAPL")).instrument
        order = await world.broker.place(NewOrder(Instrument("AAPL"), Side.BUY, Decimal(5), key="one"))
        await world.to(1)
        order = await world.broker.wait("one", 10)
        assert order.state is OrderState.FILLED
        assert world.broker.fills()[0].quantity == 5
        assert (await world.broker.owned_positions())[0].instrument.con_id == instrument.con_id
        for _ in range(2):  # as when two messages in a row cannot be applied
            world.broker.manager._reconciler.soon()  # type: ignore[attr-defined]
        assert await world.broker.reconcile() == []
        return await kind_of_loop()
    finally:
        await world.close()


@pytest.mark.parametrize("world", [PaperWorld, GatewayWorld])
def test_a_loop_whose_handles_do_not_know_their_time_books_every_fill(world: type[World]) -> None:
    with asyncio.Runner(loop_factory=HandleLoop) as runner:
        runner.run(trade(world()))


@pytest.mark.skipif(not HAS_UVLOOP, reason="uvloop is not installed")
@pytest.mark.parametrize("world", [PaperWorld, GatewayWorld])
def test_uvloop_trades_and_streams_through_both_ends_of_the_socket(world: type[World]) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(trade(world())).startswith("uvloop")


async def kind_of_loop() -> str:
    names = [base.__module__ for base in type(asyncio.get_running_loop()).__mro__]
    return next((name for name in names if name.startswith("uvloop")), "asyncio")


async def steps_of_time() -> list[float]:
    now = asyncio.get_running_loop().time
    moments = [now() for _ in range(1_000)]
    return [after - before for before, after in pairwise(moments) if after > before]


def test_a_latency_is_told_in_less_than_milliseconds_on_every_loop() -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert min(runner.run(steps_of_time())) < 0.0005


def test_the_synchronous_facade_runs_on_the_fastest_loop_that_is_installed() -> None:
    with LoopThread("loop of the test") as loop:
        assert loop.call(kind_of_loop()).startswith("uvloop" if HAS_UVLOOP else "asyncio")
