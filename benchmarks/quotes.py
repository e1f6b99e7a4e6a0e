"""Quotes of 100 symbols whose first tick comes 150 ms after its request.

One by one, as code does that asks and waits: raw ib_async's `reqMktData` until both sides are there, and our `quote`.
Batched: `await broker.quotes(symbols)`. Contracts are known beforehand; every measurement has lines of its own.
"""

from __future__ import annotations

import asyncio
import time

from .market import symbol_names
from .options import Options
from .rows import Aim, Row, shorter
from .servers import GatewayServer
from .sides import our_side, raw_side, stock

DELAY = 0.15
AIM = Aim("ratio", "<=", 0.1, ">= 10x faster")


async def run(options: Options) -> list[Row]:
    symbols = symbol_names(options.amount(100, 4))
    raw, single, batched, raw_batched = [], [], [], []
    delay = DELAY if not options.quick else 0.02
    async with GatewayServer(symbols=len(symbols), delay=delay, quick=options.quick) as server:
        for _ in range(1 if options.quick else min(options.rounds, 2)):
            raw.append(await _raw(server, symbols, together=False))
            batched.append(await _ours(server, symbols, together=True))
            single.append(await _ours(server, symbols, together=False))
            raw_batched.append(await _raw(server, symbols, together=True))
    name = f"{len(symbols)} quotes"
    return [
        shorter("quotes", f"{name}: batched, against raw one by one", "s", raw, batched, AIM),
        shorter("quotes", f"{name}: one by one, against raw one by one", "s", raw, single),
        shorter("quotes", f"{name}: batched, against raw all at once by hand", "s", raw_batched, batched),
    ]


async def _raw(server: GatewayServer, symbols: list[str], *, together: bool) -> float:
    async with raw_side(server) as ib:
        await server.idle()

        async def quote(symbol: str) -> None:
            ticker = ib.reqMktData(stock(symbol))
            while not (ticker.bid > 0 and ticker.ask > 0):
                await ticker.updateEvent

        started = time.perf_counter()
        if together:
            await asyncio.gather(*map(quote, symbols))
        else:
            for symbol in symbols:
                await quote(symbol)
        return time.perf_counter() - started


async def _ours(server: GatewayServer, symbols: list[str], *, together: bool) -> float:
    async with our_side(server) as adapter:
        await asyncio.gather(*map(adapter.details, symbols))
        await server.idle()
        started = time.perf_counter()
        if together:
            found = await adapter.quotes(symbols)
            if len(found) != len(symbols):
                raise RuntimeError(f"{len(found)} of {len(symbols)} quotes came: {adapter.data.quote_errors}")
        else:
            for symbol in symbols:
                await adapter.quote(symbol)
        return time.perf_counter() - started
