"""What a tick costs that comes by itself, as most do at a hundred lines of an ordinary market.

The gateway's process writes a thousand ticks a second to one client, one to a write, and the row is processor time of
the client's process by tick, its event loop and the waiting for each included. The rates of `ticks` are of a client
that never waits: there the next read finds the processor's caches as the one before left them. "Reading alone" is a
protocol that decodes nothing.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import AsyncExitStack

from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import WHY_NOT_COMPILED
from moondev_ibkr.config.settings import TickDecoder

from .market import symbol_names
from .options import Options
from .rows import Row, shorter
from .servers import GatewayServer
from .sides import BARE_CLIENT, OUR_CLIENT, RAW_CLIENT, raw_side
from .statistics import median
from .ticks import ByteCounter, Finish, Plan, open_raw, subscribed

#: Ticks a second, and of a measurement.
RATE, TICKS = 1_000, 2_000
DECODER = TickDecoder.PURE if WHY_NOT_COMPILED else TickDecoder.COMPILED
PLANS = (
    Plan("stream, every change", "stream", DECODER, {}),
    Plan("stream, default profile", "stream", DECODER, {}, "balanced"),
    Plan("line listener", "lines", DECODER, {}),
    Plan("quote table", "table", DECODER, {}),
)


async def run(options: Options) -> list[Row]:
    symbols = symbol_names(options.amount(100, 4))
    seconds = options.amount(TICKS, 50) / RATE
    rows = []
    async with GatewayServer(symbols=len(symbols)) as server, AsyncExitStack() as stack:
        await open_raw(server, await stack.enter_async_context(raw_side(server)), symbols)
        bare = await stack.enter_async_context(raw_side(server, BARE_CLIENT))
        await open_raw(server, bare, symbols, BARE_CLIENT)
        bare.client.conn.transport.set_protocol(ByteCounter(1 << 62, Finish()))
        for plan in PLANS:
            times: dict[int, list[float]] = {client: [] for client in (RAW_CLIENT, OUR_CLIENT, BARE_CLIENT)}
            async with subscribed(server, symbols, plan):
                for number in range(options.rounds):
                    turn = number % len(times)
                    for client in (*times, *times)[turn : turn + len(times)]:
                        times[client].append(await _processor_time(server, client, seconds))
            rows.append(
                shorter(
                    "arrivals",
                    f"processor time of a tick that comes alone, {plan.title}, {DECODER.value}",
                    "us",
                    times[RAW_CLIENT],
                    times[OUR_CLIENT],
                    reading_alone=median(times[BARE_CLIENT]),
                )
            )
    return rows


async def _processor_time(server: GatewayServer, client: int, seconds: float) -> float:
    """Microseconds of this process by tick written to `client`."""
    gc.collect()
    await server.tell("flood", client=client, rate=RATE, batch=1)
    started = time.process_time()
    await asyncio.sleep(seconds)
    ticks = (await server.tell("calm"))["ticks"]
    return (time.process_time() - started) / max(ticks, 1) * 1e6
