"""What a tick costs with the number of symbols, and with the number of consumers.

The gateway's process pours ticks that it rendered beforehand, as in `ticks`, read 100 at a time. Each consumer of raw
ib_async is a handler of `pendingTickersEvent`, each of ours a task in `async for quote in broker.stream(symbols)`, and
every one of them sees every symbol. The cost of a tick is the time from the command to the moment the last consumer saw
the last tick, by messages: reading, decoding, and the work of all consumers.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from .market import symbol_names
from .options import Options
from .rows import Row, shorter
from .servers import GatewayServer
from .sides import OUR_CLIENT, RAW_CLIENT, our_side, raw_side
from .ticks import Finish, Flood, all_quoted, open_raw, our_transport, raw_subscriber, stream_subscriber

BURST, MESSAGES = 100, 100_000
#: (symbols, consumers) of each row: one goes up, the other stays.
SIZES = ((10, 1), (100, 1), (1_000, 1), (100, 4), (100, 16))
QUICK = {10: 2, 100: 4, 1_000: 8}
#: At 45 messages a second more could not be answered before a quote's deadline.
ASKED_AT_ONCE = 200


class FinishOfAll(Finish):
    """Told by each of several consumers that it saw the last tick."""

    def __init__(self, consumers: int) -> None:
        super().__init__()
        self._consumers = consumers
        self._left = consumers

    def arm(self) -> None:
        super().arm()
        self._left = self._consumers

    def saw_last(self) -> None:
        self._left -= 1
        if not self._left:
            super().saw_last()


async def run(options: Options) -> list[Row]:
    messages = options.amount(MESSAGES, 200)
    rows = []
    for symbols, consumers in SIZES:
        names = symbol_names(QUICK[symbols] if options.quick else symbols)
        raw, ours = await _costs(names, consumers, messages, options)
        name = f"{symbols} symbols, {consumers} consumer{'s' if consumers > 1 else ''}"
        rows.append(shorter("scale", name, "µs/tick", raw, ours, symbols=symbols, consumers=consumers))
    return rows


async def _costs(
    symbols: list[str], consumers: int, messages: int, options: Options
) -> tuple[list[float], list[float]]:
    """Microseconds a tick, of raw and of ours, a round each in turns."""
    costs: tuple[list[float], list[float]] = ([], [])
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(GatewayServer(symbols=len(symbols), prints=39, quick=options.quick))
        sides = (await _raw(stack, server, symbols, consumers), await _ours(stack, server, symbols, consumers))
        for side in sides:
            await side.render(messages, len(symbols))
            await side.rate(BURST, messages)
        for number in range(options.rounds):
            for place in (0, 1) if number % 2 else (1, 0):
                costs[place].append(1e6 / await sides[place].rate(BURST, messages))
    return costs


async def _raw(stack: AsyncExitStack, server: GatewayServer, symbols: list[str], consumers: int) -> Flood:
    ib = await stack.enter_async_context(raw_side(server))
    await open_raw(server, ib, symbols)
    finish = FinishOfAll(consumers)
    ib.pendingTickersEvent.clear()
    for _ in range(consumers):
        ib.pendingTickersEvent += raw_subscriber(finish, {})
    return Flood(server, RAW_CLIENT, ib.client.conn.transport, finish)


async def _ours(stack: AsyncExitStack, server: GatewayServer, symbols: list[str], consumers: int) -> Flood:
    adapter = await stack.enter_async_context(our_side(server))
    for first in range(0, len(symbols), ASKED_AT_ONCE):
        await all_quoted(adapter, symbols[first : first + ASKED_AT_ONCE])
    finish = FinishOfAll(consumers)
    for _ in range(consumers):
        task = asyncio.create_task(stream_subscriber(adapter, symbols, finish, {}))
        stack.push_async_callback(asyncio.wait, [task])
        stack.callback(task.cancel)
    return Flood(server, OUR_CLIENT, our_transport(adapter), finish)
