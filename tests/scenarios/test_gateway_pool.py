"""One of several gateways dies while data flows and orders work: nothing in doubt that need not be, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from moondev_ibkr.brokers.domain.market_data import Gap, Quote, Resumed, StreamKind, Trade
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState
from moondev_ibkr.cli.gateway_process import GatewayProcess
from moondev_ibkr.config.settings import load_settings

from .adapter_world import buy
from .pool_world import SYMBOLS, FrontGateway, PoolWorldOnSockets, pool_world
from .wire_tap import wire_tap

KEY = "pooled"


class Consumer:
    """Reads a stream in a task of its own, and notes when each symbol had a gap, came back, and had a value again."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.events: list[Any] = []
        self.gaps: list[Gap] = []
        self.resumed: list[Resumed] = []
        #: Symbol -> loop time of its gap, and of the first value after it.
        self.lost_at: dict[str, float] = {}
        self.back_at: dict[str, float] = {}
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        async for event in self._stream:
            self.events.append(event)
            if isinstance(event, Gap):
                self.gaps.append(event)
                self.lost_at |= dict.fromkeys(event.symbols or SYMBOLS, loop.time())
            elif isinstance(event, Resumed):
                self.resumed.append(event)
            elif isinstance(event, Quote) and event.instrument.symbol in self.lost_at and event.bid is not None:
                self.back_at.setdefault(event.instrument.symbol, loop.time())

    async def close(self) -> None:
        await self._stream.aclose()
        await self.task


async def consumer(world: PoolWorldOnSockets) -> Consumer:
    reading = Consumer(world.adapter.stream(SYMBOLS, {StreamKind.QUOTES, StreamKind.TRADES}))
    await world.until(
        lambda: {event.instrument.symbol for event in reading.events if isinstance(event, Quote)} == set(SYMBOLS),
        "a quote of every symbol",
    )
    return reading


class Load:
    """A market that moves, and questions without pause from several tasks, until it is stopped."""

    def __init__(self, world: PoolWorldOnSockets, tasks: int = 8) -> None:
        self._adapter = world.adapter
        self._gateway = world.gateway
        self.answers = 0
        self.failures: list[BrokerError] = []
        self._is_on = True
        self._tasks = [asyncio.ensure_future(self._ask(index)) for index in range(tasks)]
        self._tasks.append(asyncio.ensure_future(self._move()))

    async def _move(self) -> None:
        while self._is_on:
            await self._gateway.advance_to(self._gateway.now + timedelta(seconds=5))
            await asyncio.sleep(0.02)

    async def _ask(self, index: int) -> None:
        symbol = SYMBOLS[index % len(SYMBOLS)]
        instrument = (await self._adapter.details(symbol)).instrument
        while self._is_on:
            try:
                await self._adapter.transport.snapshot(instrument, 2.0)
                self.answers += 1
            except BrokerError as error:
                self.failures.append(error)
            # below the 50 messages a second that IB takes of a client, with one gateway gone as well
            await asyncio.sleep(0.15)

    async def stop(self) -> None:
        self._is_on = False
        await asyncio.gather(*self._tasks)


async def test_a_data_gateway_killed_under_load_puts_no_order_in_doubt_and_its_data_is_back_within_a_second():
    async with pool_world() as world:
        reading = await consumer(world)
        working = await world.adapter.place(buy(limit=100, key=KEY))
        load = Load(world)
        await world.until(lambda: load.answers > 20, "the load to run")
        killed = next(member for member in world.pool.members[1:] if member.lines)
        carried = set(world.pool.lines.symbols_at(killed))
        quoted = {line.instrument.symbol for line in killed.transport._market.lines()}
        answered = load.answers
        world.fronts[world.pool.members.index(killed)].kill()
        await world.until(lambda: reading.resumed, "the data to resume")
        await world.until(lambda: set(reading.back_at) >= quoted, "a value of every line that had a gap")
        assert max(reading.back_at[symbol] - reading.lost_at[symbol] for symbol in quoted) <= 1.0
        placed = await world.adapter.place(buy(limit=101))
        await world.until(lambda: load.answers > answered + 20, "questions to be answered as before")
        await load.stop()
        # every gap is told and closed, for what was there and nothing else
        assert {symbol for gap in reading.gaps for symbol in gap.symbols} == carried
        assert {symbol for row in reading.resumed for symbol in row.symbols} == carried
        assert all(gap.source == killed.name for gap in reading.gaps)
        assert load.failures == [], "a question under way at the killed one was asked at another"
        # orders never noticed
        assert world.adapter.manager.doubts() == []
        assert {world.adapter.order(one.key).state for one in (working, placed)} == {OrderState.WORKING}
        assert await world.adapter.reconcile() == []
        health = world.adapter.health()
        assert health.can_trade
        rows = {name: ok for name, ok, _ in health.details}
        assert not rows[f"gateway {killed.name}"]
        # the quotes go on as the market does
        before = len(reading.events)
        await world.advance(300)
        await world.until(lambda: len(reading.events) > before, "the stream to go on")
        assert {
            event.instrument.symbol for event in reading.events[before:] if isinstance(event, Trade | Quote)
        } == set(SYMBOLS)
        await reading.close()


async def test_a_killed_data_gateway_that_comes_back_is_used_again():
    async with pool_world() as world:
        reading = await consumer(world)
        world.fronts[1].kill()
        await world.until(lambda: reading.resumed, "the data to resume")
        await world.fronts[1].start()
        await world.until(lambda: world.pool.members[1].is_ready, "the gateway to be back")
        asked = world.pool.members[1].requests
        for symbol in SYMBOLS:
            await world.adapter.bars(symbol, count=5)
            await world.adapter.transport.snapshot((await world.adapter.details(symbol)).instrument, 2.0)
        assert world.pool.members[1].requests > asked
        assert world.pool.members[1].status().sessions == 2
        await reading.close()


@pytest.mark.parametrize(("cut", "ends"), [("before", OrderState.NOT_SENT), ("after", OrderState.WORKING)])
async def test_the_order_gateway_killed_with_an_order_leaves_it_unknown_until_evidence_and_nothing_is_doubled(
    cut, ends
):
    async with pool_world() as world:
        reading = await consumer(world)
        with wire_tap(world.gateway) as tap:
            world.fronts[0].cut = cut
            order = await world.adapter.place(buy(limit=100, key=KEY))
            assert order.state is OrderState.UNKNOWN
            await world.until(lambda: world.pool.state is not LinkState.READY, "the loss to be seen")
            assert not world.adapter.health().can_trade
            # data goes on through the others, and tells nothing of the order
            await world.until(lambda: not world.pool.lines.symbols_at(world.pool.first), "the lines to move")
            await world.advance(60)
            assert (await world.adapter.quote("MSFT")).bid is not None
            await asyncio.sleep(0.6)
            assert world.adapter.order(KEY).state is OrderState.UNKNOWN, "no other gateway is a witness"
            with pytest.raises(BrokerError):
                await world.adapter.place(buy(limit=99))
            assert all(member.transport._orders._listener is None for member in world.pool.members[1:])
            await world.fronts[0].start()
            await world.until(lambda: world.adapter.order(KEY).state is ends, f"the order to be {ends}")
            again = await world.adapter.place(buy(limit=100, key=KEY))
            assert again.state is ends
            assert len(tap.orders()) == (1 if cut == "after" else 0)
        assert len(world.gateway.exchange.open_orders()) == (1 if cut == "after" else 0)
        assert world.adapter.manager.doubts() == []
        assert (await world.adapter.place(buy(limit=98))).state is OrderState.WORKING
        await reading.close()


async def test_a_fill_that_happens_while_the_order_gateway_is_away_is_booked_once():
    async with pool_world() as world:
        reading = await consumer(world)
        quote = await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(limit=round(quote.bid - 0.5, 2), key=KEY))
        world.fronts[0].kill()
        await world.until(lambda: world.pool.state is not LinkState.READY, "the loss to be seen")
        for _ in range(48):
            await world.gateway.advance_to(world.gateway.now + timedelta(minutes=30))
            if world.gateway.exchange.positions():
                break
        assert [position.quantity for position in world.gateway.exchange.positions()] == [10]
        assert world.adapter.order(KEY).filled == 0
        await world.fronts[0].start()
        await world.until(lambda: world.adapter.order(KEY).state is OrderState.FILLED, "the fill to be told")
        await world.adapter.reconcile()
        assert [fill.order_key for fill in world.adapter.fills()] == [order.key] * len(world.adapter.fills())
        assert sum(fill.quantity for fill in world.adapter.fills()) == 10
        await reading.close()


async def test_a_cancel_waits_for_the_order_gateway_and_for_no_other():
    async with pool_world() as world:
        order = await world.adapter.place(buy(limit=100, key=KEY))
        with wire_tap(world.gateway) as tap:
            world.fronts[0].kill()
            await world.until(lambda: world.pool.state is not LinkState.READY, "the loss to be seen")
            cancelling = asyncio.ensure_future(_cancel(world.adapter, order.key))
            await asyncio.sleep(0.3)
            assert tap.count("cancelOrder") == 0
            await world.fronts[0].start()
            await world.until(lambda: world.adapter.order(KEY).state is OrderState.CANCELLED, "the cancel to pass")
            await cancelling
        assert world.gateway.exchange.open_orders() == []


async def _cancel(adapter: IBAdapter, key: str) -> None:
    try:
        await adapter.cancel(key)
    except BrokerError:
        return  # it is kept, and sent when the link is back


async def test_all_gateways_gone_is_one_gap_and_it_ends_with_the_first_one_back():
    async with pool_world() as world:
        reading = await consumer(world)
        for front in world.fronts:
            front.kill()
        await world.until(lambda: not any(member.is_ready for member in world.pool.members), "all to be lost")
        await world.fronts[2].start()
        await world.until(lambda: world.pool.members[2].is_ready, "the third to be back")
        await world.advance(60)
        await world.until(lambda: set(reading.back_at) == set(SYMBOLS), "a value of every symbol")
        assert reading.gaps[-1].symbols == ()
        assert reading.resumed[-1].symbols == ()
        assert reading.resumed[-1].restored == len(SYMBOLS)
        assert not world.pool.is_healthy
        for front in world.fronts[:2]:
            await front.start()
        await world.until(lambda: world.pool.is_healthy, "the order gateway")
        assert (await world.adapter.place(buy(limit=100))).state is OrderState.WORKING
        await reading.close()


async def test_32_connections_stand_side_by_side():
    async with pool_world(32, backups=2) as world:
        assert sum(member.is_ready for member in world.pool.members) == 32
        for symbol in SYMBOLS * 8:
            await world.adapter.transport.snapshot((await world.adapter.details(symbol)).instrument, 2.0)
        asked = [member.requests for member in world.pool.members]
        assert min(asked[:30]) >= 1
        assert asked[30:] == [0, 0]


# Real processes, set by the settings


async def test_three_gateway_processes_and_one_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in list(os.environ):
        if name.upper().startswith(("IB_", "IBKR_")):
            monkeypatch.delenv(name)
    folders = [tmp_path / name for name in ("orders", "data", "more")]
    for folder in folders:
        folder.mkdir()
    options = ("--symbols", ",".join(SYMBOLS), "--speed", "10")
    gateways = [GatewayProcess(options, folder, driven=False) for folder in folders]
    async with gateways[0] as first, gateways[1] as second, gateways[2] as third:
        rows = [f"127.0.0.1:{one.where.port}" for one in (second, third)]
        settings = load_settings(
            port=first.where.port, gateways=",".join(rows), state_dir=tmp_path, risk={"open_blackout": 0}
        )
        adapter = IBAdapter.from_settings(settings)
        async with adapter:
            pool = adapter.pool
            assert pool is not None
            assert [row.state for row in pool.status()] == [LinkState.READY] * 3
            reading = Consumer(adapter.stream(SYMBOLS, {StreamKind.QUOTES}))
            await _until(lambda: all(member.lines for member in pool.members), "every gateway to carry a line")
            await _until(
                lambda: {event.instrument.symbol for event in reading.events} == set(SYMBOLS), "a quote of every symbol"
            )
            order = await adapter.place(buy(1, limit=round((await adapter.quote("AAPL")).bid * 0.95, 2)))
            carried = set(pool.lines.symbols_at(pool.members[1]))
            os.kill(second.where.pid, signal.SIGKILL)
            await _until(lambda: set(reading.back_at) >= carried, "the data of the killed one")
            assert max(reading.back_at[symbol] - reading.lost_at[symbol] for symbol in carried) <= 1.0
            assert adapter.order(order.key).state is OrderState.WORKING
            assert adapter.manager.doubts() == []
            assert adapter.health().can_trade
            await reading.close()
            await adapter.cancel(order.key)


async def test_orders_over_tls_and_data_over_the_portal_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in list(os.environ):
        if name.upper().startswith(("IB_", "IBKR_")):
            monkeypatch.delenv(name)
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "front.pem")
    options = ("--symbols", ",".join(SYMBOLS), "--speed", "10", "--portal-port", "0")
    async with GatewayProcess(options, tmp_path, driven=False) as gateway:
        where = gateway.where
        front = FrontGateway(where.port)
        await front.start(context)
        portal = urlsplit(where.portal_url or "")
        rows = (
            f"127.0.0.1:{front.port} mode=tls ca_file={tmp_path / 'front.pem'}",
            f"{portal.hostname}:{portal.port} mode=portal ca_file={where.ca_file}",
        )
        settings = load_settings(
            port=front.port, gateways=",".join(rows), state_dir=tmp_path, risk={"open_blackout": 0}
        )
        async with IBAdapter.from_settings(settings) as adapter:
            pool = adapter.pool
            assert pool is not None
            assert [(row.mode, row.state) for row in pool.status()] == [("tls", "READY"), ("portal", "READY")]
            found = await adapter.quotes(SYMBOLS)
            assert {quote.source for quote in found.values()} == {"tws", "portal"}
            order = await adapter.place(buy(1, limit=round(found["AAPL"].bid * 0.95, 2)))
            assert order.state is OrderState.WORKING
            # neither knows the other's options: the portal has no news, and TWS answers
            assert await adapter.news_providers()
            # the order gateway is lost: everything that can be had at the portal is had there
            front.kill()
            await _until(lambda: not pool.lines.symbols_at(pool.first), "the lines to move to the portal")
            assert (await adapter.quote("AAPL")).source == "portal"
            assert not adapter.health().can_trade
            await front.start(context)
            await _until(lambda: adapter.health().can_trade, "the order gateway")
            assert adapter.order(order.key).state is OrderState.WORKING
            await adapter.cancel(order.key)
        front.kill()


async def _until(condition: Any, what: str) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what
