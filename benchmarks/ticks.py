"""Ticks per second to a subscriber, by burst size.

The gateway's process pours 100 lines' ticks that it rendered beforehand, as fast as the client reads. The client's
transport is told to take exactly one burst of bytes at a time (`max_size`, the same on both sides), so that a burst of
1 is one message per read and turn of the event loop. A rate is messages over the time from the command to the moment
the subscriber saw the last one. Raw's subscriber is a handler of `pendingTickersEvent`; ours is `async for quote in
broker.stream(symbols)`, and beside it a listener of `add_market_listener`, which reads lines without making quotes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from ib_async import IB
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter

from .market import LAST, symbol_names
from .options import Options
from .rows import Aim, Row, faster
from .servers import GatewayServer
from .sides import OUR_CLIENT, RAW_CLIENT, our_side, raw_side, stock

#: Burst -> messages a measurement.
BURSTS = {1: 20_000, 10: 40_000, 100: 100_000, 10_000: 200_000}
AIMS = {
    1: Aim("ratio", ">=", 1.3, ">= 1.3x"),
    10: None,
    100: None,
    10_000: Aim("ratio", ">=", 3.0, ">= 3x pure"),
}
SLIM = Aim("ratio", ">=", 3.0, ">= 3x (slim)")


class Finish:
    """Told by a subscriber that it saw the last tick."""

    def __init__(self) -> None:
        self._seen = asyncio.Event()
        self.reads = 0

    def arm(self) -> None:
        self._seen.clear()
        self.reads = 0

    def saw_last(self) -> None:
        self._seen.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self._seen.wait(), 120.0)


def raw_subscriber(finish: Finish, bids: dict[int, float]) -> Callable[[Iterable[Any]], None]:
    def on_tickers(tickers: Iterable[Any]) -> None:
        for ticker in tickers:
            bid = bids[ticker.contract.conId] = ticker.bid
            if bid == LAST:
                finish.saw_last()

    return on_tickers


async def stream_subscriber(adapter: IBAdapter, symbols: list[str], finish: Finish, bids: dict[int, float]) -> None:
    async for quote in adapter.stream(symbols):
        bid = bids[quote.instrument.con_id] = quote.bid  # type: ignore[union-attr,index]
        if bid == LAST:
            finish.saw_last()


class LineListener:
    """Reads lines as they change: no Quote is made."""

    def __init__(self, finish: Finish, bids: dict[int, float]) -> None:
        self._finish, self._bids = finish, bids

    def on_lines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            bid = self._bids[line.instrument.con_id] = line.ticker.bid
            if bid == LAST:
                self._finish.saw_last()

    def on_trade(self, trade: object) -> None: ...

    def on_bid_ask(self, tick: object) -> None: ...

    def on_depth(self, depth: object) -> None: ...


class Flood:
    """One side with its lines open and its subscriber listening."""

    def __init__(self, server: GatewayServer, client: int, transport: Any, finish: Finish) -> None:
        self._server, self._client, self._transport, self._finish = server, client, transport, finish
        self._bytes = 0

    async def render(self, messages: int, lines: int) -> None:
        answer = await self._server.tell("render", client=self._client, messages=messages)
        if not answer["equal"] or answer["lines"] != lines:
            raise RuntimeError(f"the flood is not what was ordered: {answer}")
        self._bytes = answer["bytes_per_message"]

    async def rate(self, burst: int, messages: int) -> float:
        """Messages a second until the subscriber saw the last one."""
        self._transport.max_size = burst * self._bytes
        self._finish.arm()
        started = time.perf_counter()
        poured = asyncio.ensure_future(self._server.tell("pour", client=self._client))
        await self._finish.wait()
        rate = messages / (time.perf_counter() - started)
        await poured
        return rate


async def open_raw(server: GatewayServer, ib: IB, symbols: list[str]) -> Flood:
    finish = Finish()
    ib.pendingTickersEvent += raw_subscriber(finish, {})
    tickers = [ib.reqMktData(stock(symbol)) for symbol in symbols]
    while any(ticker.bid != ticker.bid for ticker in tickers):
        await asyncio.sleep(0.05)
    return Flood(server, RAW_CLIENT, ib.client.conn.transport, finish)


async def all_quoted(adapter: IBAdapter, symbols: list[str]) -> None:
    quotes = await adapter.quotes(symbols)
    if len(quotes) != len(symbols):
        raise RuntimeError(f"no quote of {sorted(set(symbols) - set(quotes))[:3]}: {adapter.data.quote_errors}")


def our_transport(adapter: IBAdapter) -> Any:
    return adapter.transport._api.client.conn.transport  # type: ignore[attr-defined]


async def run(options: Options) -> list[Row]:
    symbols = symbol_names(options.amount(100, 4))
    bursts = {burst: options.amount(count, 200) for burst, count in BURSTS.items()}
    async with GatewayServer(symbols=len(symbols)) as server:
        stream = await _compare(server, symbols, bursts, options.rounds, "ultra_low_latency", as_stream=True)
        slim = await _compare(server, symbols, bursts, options.rounds, "ultra_low_latency", as_stream=False)
        calm = await _compare(server, symbols, bursts, options.rounds, "balanced", as_stream=True)
    rows = []
    for title, rates, aims in (
        ("stream, every change", stream, AIMS),
        ("stream, default profile", calm, dict.fromkeys(bursts)),
        ("line listener", slim, dict.fromkeys(bursts, SLIM)),
    ):
        for burst, (raw, ours) in rates.items():
            rows.append(faster("ticks", f"bursts of {burst}, {title}", "ticks/s", raw, ours, aims[burst]))
    return rows


async def _compare(
    server: GatewayServer,
    symbols: list[str],
    bursts: dict[int, int],
    rounds: int,
    profile: str,
    *,
    as_stream: bool,
) -> dict[int, tuple[list[float], list[float]]]:
    """Rates by burst: raw's and ours, one pair a round."""
    rates: dict[int, tuple[list[float], list[float]]] = {burst: ([], []) for burst in bursts}
    async with raw_side(server) as ib, our_side(server, profile=profile) as adapter:
        raw = await open_raw(server, ib, symbols)
        await all_quoted(adapter, symbols)
        finish = Finish()
        consumer = None
        if as_stream:
            consumer = asyncio.ensure_future(stream_subscriber(adapter, symbols, finish, {}))
        else:
            adapter.transport.add_market_listener(LineListener(finish, {}))
        ours = Flood(server, OUR_CLIENT, our_transport(adapter), finish)
        for burst, messages in bursts.items():
            for side in (raw, ours):
                await side.render(messages, len(symbols))
                await side.rate(burst, messages)
            for number in range(rounds):
                for place in (0, 1) if number % 2 == 0 else (1, 0):
                    rates[burst][place].append(await (raw, ours)[place].rate(burst, messages))
        if consumer is not None:
            consumer.cancel()
            await asyncio.gather(consumer, return_exceptions=True)
    return rates
