"""The cost of one more fill of an order that has 1000 of them.

The gateway's process sends one-share fills of one working order, rendered beforehand, each as execution, status and
commission. After 10 and after 1000 of them, a burst of further ones is timed until the subscriber has the last: raw's
handler of `commissionReportEvent`, our reader of `order_events()`. Ours books every fill in the journal (synchronous
NORMAL). The design's 0.2 ms stand beside 8.2 ms of raw; their ratio is the aim, since machines differ.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

from ib_async import IB, LimitOrder
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter

from .market import symbol_names
from .options import Options
from .place import LIMIT, PRINTS
from .rows import Aim, Row, shorter
from .servers import GatewayServer
from .sides import OUR_CLIENT, RAW_CLIENT, our_side, raw_side, stock

QUANTITY = 9_000
BURST = 40
AIM = Aim("ratio", "<=", 0.2 / 8.2, "<= 0.024x, flat")


class Counter:
    """Waits until so many fills were seen."""

    def __init__(self) -> None:
        self.seen = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    def count(self, *_: Any) -> None:
        self.seen += 1
        if self.seen == self._wanted:
            self._reached.set()

    async def reach(self, wanted: int) -> None:
        self._wanted = wanted
        self._reached.clear()
        if self.seen < wanted:
            await asyncio.wait_for(self._reached.wait(), 120.0)


class FillStream:
    """One side's order, and the fills that it gets."""

    def __init__(self, server: GatewayServer, client: int, order_id: int, counter: Counter) -> None:
        self._server, self._client, self._order_id, self._counter = server, client, order_id, counter

    async def fill(self, count: int) -> float:
        """Milliseconds a fill."""
        wanted = self._counter.seen + count
        await self._server.tell("fills", client=self._client, order_id=self._order_id, count=count)
        started = time.perf_counter()
        sent = asyncio.ensure_future(self._server.tell("pour", client=self._client))
        await self._counter.reach(wanted)
        took = time.perf_counter() - started
        await sent
        return took / count * 1000

    async def fill_up(self, total: int) -> None:
        while self._counter.seen < total:
            await self.fill(min(100, total - self._counter.seen))


async def open_raw(server: GatewayServer, ib: IB) -> FillStream:
    counter = Counter()
    ib.commissionReportEvent += counter.count
    trade = ib.placeOrder(stock(symbol_names(1)[0]), LimitOrder("BUY", QUANTITY, LIMIT))
    while trade.orderStatus.status != "Submitted":
        await asyncio.wait_for(trade.statusEvent, 5.0)
    return FillStream(server, RAW_CLIENT, trade.order.orderId, counter)


async def open_ours(server: GatewayServer, adapter: IBAdapter) -> tuple[FillStream, asyncio.Task[None]]:
    counter = Counter()
    events = adapter.order_events()

    async def read() -> None:
        async for event in events:
            if event.kind is OrderEventKind.FILL:
                counter.count()

    reader = asyncio.create_task(read())
    symbol = symbol_names(1)[0]
    await adapter.quote(symbol)
    price = Decimal(str(LIMIT))
    order = await adapter.place(
        NewOrder(Instrument(symbol), Side.BUY, Decimal(QUANTITY), OrderType.LIMIT, limit_price=price)
    )
    assert order.order_id is not None
    return FillStream(server, OUR_CLIENT, order.order_id, counter), reader


async def run(options: Options) -> list[Row]:
    marks = (10, options.amount(1000, 30))
    rows = []
    async with GatewayServer(symbols=1, prints=PRINTS) as server, raw_side(server) as ib, our_side(server) as adapter:
        raw = await open_raw(server, ib)
        ours, reader = await open_ours(server, adapter)
        for mark in marks:
            times: tuple[list[float], list[float]] = ([], [])
            await raw.fill_up(mark)
            await ours.fill_up(mark)
            for number in range(options.rounds):
                for place in (0, 1) if number % 2 == 0 else (1, 0):
                    times[place].append(await (raw, ours)[place].fill(BURST))
            aim = AIM if mark == marks[-1] else None
            rows.append(
                shorter(
                    "fills", f"one more fill, {mark} to {mark + BURST * options.rounds} before it", "ms", *times, aim
                )
            )
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    return rows
