"""A scan: 200 adjusted daily bars of 97 symbols, as the host's AEGS scanners ask for, with IB's pacing on.

One by one, as code does that asks and waits: raw ib_async's `reqHistoricalDataAsync`, and our `bars`. Batched:
`await broker.many_bars(symbols)`. The gateway takes 50 messages a second and 50 open requests from a client, and
answers each request LATENCY seconds after it (a real IB takes some 0.2 to 0.6 for daily bars).

What limits the batch is the message rate: of 49 messages that the gateway may count in one second, 7 are kept for
orders and cancels, so that 97 requests take 2.1 s to leave, and 97 questions for contracts, where they are not known
yet, as long again. One by one it is the latency. Their ratio therefore falls with the latency, and both ends of its
range are shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ib_async import IB
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.simulation.tws.pacing import MESSAGES_PER_SECOND

from .market import symbol_names
from .options import Options
from .rows import Aim, Row, shorter
from .servers import GatewayServer
from .sides import our_side, raw_side, stock
from .statistics import median

SYMBOLS, BARS = 97, 200
LATENCY, SHORTEST, LONGEST = 0.4, 0.2, 0.6
#: Calendar days that hold BARS sessions; what our `bars` asks for, too.
DURATION = "299 D"
#: Trades a session: the gateway makes its bars of them, before anything is timed.
PRINTS = 24
AIM = Aim("ratio", "<=", 0.1, ">= 10x faster")


@dataclass(slots=True)
class Times:
    """Seconds to the first and to the last symbol's bars, one per round."""

    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)


Ask = Callable[[str], Awaitable[object]]


async def run(options: Options) -> list[Row]:
    symbols = symbol_names(options.amount(SYMBOLS, 4))
    raw, together, single, warm, cold = (Times() for _ in range(5))
    async with _server(symbols, LATENCY, options) as server:
        for _ in range(1 if options.quick else min(options.rounds, 2)):
            await _raw(server, symbols, raw)
            await _many(server, symbols, warm)
            await _many(server, symbols, cold, known=False)
            await _one_by_one(server, symbols, single)
            await _raw(server, symbols, together, at_once=True)
    name = f"{BARS} daily bars of {len(symbols)} symbols"
    rows = [
        _row(f"{name}: batched, against raw one by one", raw, warm, AIM),
        _row(f"{name}: batched, contracts unknown, against raw one by one", raw, cold),
        _row(f"{name}: one by one, against raw one by one", raw, single),
        _row(f"{name}: batched, against raw all at once by hand", together, warm),
    ]
    for latency in (SHORTEST, LONGEST):
        plain, batched = Times(), Times()
        async with _server(symbols, latency, options) as server:
            await _raw(server, symbols, plain)
            await _many(server, symbols, batched)
        rows.append(_row(f"{name}: batched, answers after {latency:g} s", plain, batched))
    return rows


def _row(name: str, raw: Times, ours: Times, aim: Aim | None = None) -> Row:
    firsts = {"first symbol": median(ours.first), "first symbol raw": median(raw.first)}
    return shorter("scan", name, "s", raw.last, ours.last, aim, **firsts)


@asynccontextmanager
async def _server(symbols: list[str], latency: float, options: Options) -> AsyncIterator[GatewayServer]:
    """A gateway that has made its bars already: its own work is not what is measured."""
    server = GatewayServer(
        symbols=len(symbols),
        prints=PRINTS,
        history_seconds=0.02 if options.quick else latency,
        message_rate=MESSAGES_PER_SECOND,
        quick=options.quick,
    )
    async with server:
        await _many(server, symbols, Times())
        yield server


async def _raw(server: GatewayServer, symbols: list[str], times: Times, *, at_once: bool = False) -> None:
    async with raw_side(server) as ib:
        await server.idle()
        await _timed(lambda symbol: _raw_bars(ib, symbol), symbols, times, at_once=at_once)


async def _raw_bars(ib: IB, symbol: str) -> None:
    bars = await ib.reqHistoricalDataAsync(stock(symbol), "", DURATION, "1 day", "ADJUSTED_LAST", True)
    _check(symbol, len(bars))


async def _one_by_one(server: GatewayServer, symbols: list[str], times: Times) -> None:
    async with our_side(server) as adapter:
        await asyncio.gather(*map(adapter.details, symbols))
        await server.idle()

        async def ask(symbol: str) -> None:
            bars = await adapter.bars(symbol, BarSize.D1, count=BARS, source=BarSource.ADJUSTED_LAST)
            _check(symbol, len(bars))

        await _timed(ask, symbols, times, at_once=False)


async def _many(server: GatewayServer, symbols: list[str], times: Times, *, known: bool = True) -> None:
    async with our_side(server) as adapter:
        if known:
            await asyncio.gather(*map(adapter.details, symbols))
        await server.idle()
        arrivals = _arrivals(adapter)
        started = time.perf_counter()
        found = await adapter.many_bars(symbols, BarSize.D1, count=BARS, source=BarSource.ADJUSTED_LAST)
        times.last.append(time.perf_counter() - started)
        times.first.append(arrivals[0] - started)
    for symbol in symbols:
        answer = found[symbol]
        if isinstance(answer, Exception):
            raise answer
        _check(symbol, len(answer))


def _arrivals(adapter: IBAdapter) -> list[float]:
    """When each symbol's bars came: `many_bars` asks `bars` for them, and answers when it has all."""
    moments: list[float] = []
    ask = adapter.bars

    async def noted(*arguments: object, **options: object) -> list[Bar]:
        bars = await ask(*arguments, **options)  # type: ignore[arg-type]
        moments.append(time.perf_counter())
        return bars

    adapter.bars = noted  # type: ignore[method-assign]
    return moments


async def _timed(ask: Ask, symbols: list[str], times: Times, *, at_once: bool) -> None:
    started = time.perf_counter()
    first = 0.0

    async def one(symbol: str) -> None:
        nonlocal first
        await ask(symbol)
        first = first or time.perf_counter() - started

    if at_once:
        await asyncio.gather(*map(one, symbols))
    else:
        for symbol in symbols:
            await one(symbol)
    times.last.append(time.perf_counter() - started)
    times.first.append(first)


def _check(symbol: str, count: int) -> None:
    if count < BARS:
        raise RuntimeError(f"{count} bars of {symbol} came where {BARS} were asked for")
