"""Questions under IB's limit of 50 messages a second for each connection: how much sooner a pool has asked them all.

Contract details of as many symbols, all at once, by clients that pace themselves: raw ib_async on its one connection,
ours on one, and ours on a pool of three.
"""

from __future__ import annotations

import asyncio
import time

from moondev_ibkr.brokers.domain.instrument import Instrument

from .market import symbol_names
from .options import Options
from .rows import Row, shorter
from .servers import GatewayServer
from .sides import our_side, raw_side, stock

CONNECTIONS = 3


async def run(options: Options) -> list[Row]:
    symbols = symbol_names(options.amount(300, 6))
    raw, single, pooled = [], [], []
    async with GatewayServer(symbols=len(symbols), quick=options.quick) as server:
        for _ in range(1 if options.quick else min(options.rounds, 3)):
            raw.append(await _raw(server, symbols))
            single.append(await _ours(server, symbols, 1))
            pooled.append(await _ours(server, symbols, CONNECTIONS))
    name = f"{len(symbols)} questions at 50 messages/s a connection"
    return [
        shorter("pool", f"{name}: pool of {CONNECTIONS}, against raw on one", "s", raw, pooled),
        shorter("pool", f"{name}: one connection, against raw on one", "s", raw, single),
    ]


async def _raw(server: GatewayServer, symbols: list[str]) -> float:
    async with raw_side(server) as ib:
        await server.idle()
        started = time.perf_counter()
        await asyncio.gather(*(ib.reqContractDetailsAsync(stock(symbol)) for symbol in symbols))
        return time.perf_counter() - started


async def _ours(server: GatewayServer, symbols: list[str], connections: int) -> float:
    rows = ",".join([f"{server.host}:{server.port}"] * connections)
    async with our_side(server, gateways=rows) as adapter:
        await server.idle()
        started = time.perf_counter()
        found = await asyncio.gather(*(adapter.transport.contract_details(Instrument(symbol)) for symbol in symbols))
        if not all(found):
            raise RuntimeError("a contract was not found")
        return time.perf_counter() - started
