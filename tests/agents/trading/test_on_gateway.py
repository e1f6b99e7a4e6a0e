"""The agents of this folder over IBAdapter and the paper gateway's TWS door: real sockets, and links that break."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from moondev_ibkr.agents.trading.aegs_agent import AegsAgent
from moondev_ibkr.agents.trading.position_manager import PositionManager, PositionUpdate
from moondev_ibkr.agents.trading.trading_agent import OutcomeKind, TradingAgent
from moondev_ibkr.brokers.domain.market_data import Gap, Resumed
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind

from tests.scenarios.adapter_world import adapter_world

BUY = {"token": "AAPL", "signal": 1, "direction": "BUY"}
SELL = {"token": "AAPL", "signal": 1, "direction": "SELL"}


async def test_signals_open_and_close_once_through_the_real_adapter() -> None:
    async with adapter_world() as world:
        agent = TradingAgent(world.adapter)
        assert [outcome.kind for outcome in await agent.execute_strategy([BUY])] == [OutcomeKind.ENTERED]
        await world.advance(60)
        (position,) = await agent.positions()
        assert position.quantity > 0
        assert len(world.gateway.exchange.open_orders()) == 2  # stop and target
        assert [outcome.kind for outcome in await agent.execute_strategy([BUY])] == [OutcomeKind.SKIPPED]
        assert [outcome.kind for outcome in await agent.execute_strategy([SELL])] == [OutcomeKind.CLOSING]
        await world.advance(60)
        assert await agent.positions() == []
        assert world.gateway.exchange.open_orders() == []


async def test_a_lost_link_buys_nothing_and_sells_nothing() -> None:
    async with adapter_world() as world:
        agent = TradingAgent(world.adapter)
        await agent.execute_strategy([BUY])
        await world.advance(60)
        world.arm("restart", "0.5")
        await world.until(lambda: world.count(LinkEventKind.LOST), "the loss to be noticed")
        outcomes = await agent.execute_strategy([{**BUY, "token": "MSFT"}, SELL, BUY])
        assert {outcome.kind for outcome in outcomes} <= {OutcomeKind.FAILED, OutcomeKind.SKIPPED}
        await world.until_restored()
        await world.advance(60)
        assert len(world.gateway.exchange.open_orders()) == 2
        assert len(await agent.positions()) == 1


async def test_a_stream_of_positions_tells_of_the_gap_and_goes_on_after_it() -> None:
    async with adapter_world() as world:
        await TradingAgent(world.adapter).execute_strategy([BUY])
        await world.advance(60)
        told: list[Any] = []

        async def watch() -> None:
            async with aclosing(PositionManager(world.adapter).stream_positions()) as stream:
                async for event in stream:
                    told.append(event)

        watching = asyncio.create_task(watch())
        try:
            await world.until(lambda: any(getattr(event, "mark", None) for event in told), "a mark")
            world.arm("reset")
            await world.until(lambda: any(isinstance(event, Resumed) for event in told), "the stream to be whole again")
            resumed = next(number for number, event in enumerate(told) if isinstance(event, Resumed))
            await world.until(lambda: any(getattr(event, "mark", None) for event in told[resumed:]), "a mark after it")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        assert isinstance(told[resumed - 1], Gap), "nothing is told of a position between the two"
        assert isinstance(told[resumed + 1], PositionUpdate)


async def test_a_single_aegs_scan_over_the_adapter_leaves_only_the_unknown_symbol_out() -> None:
    async with adapter_world() as world:
        agent = AegsAgent(world.adapter, ["AAPL", "MSFT", "NOSUCH"])
        assert {signal.symbol for signal in await agent.scan()} == {"AAPL", "MSFT"}
        assert [(action.what, action.symbol) for action in agent.actions] == [("NOT SCORED", "NOSUCH")]
