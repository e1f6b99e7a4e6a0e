"""A cancel behind 200 market-data requests that wait for IB's message rate.

Both clients ask for 200 quote lines at once, then cancel a working order; measured is the time from the cancel to the
status Cancelled. Every measurement has connections of its own, so that no queue is left over from the one before.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from ib_async import LimitOrder
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState

from .market import contract_number, symbol_names
from .options import Options
from .place import LIMIT, PRINTS
from .rows import Aim, Row, shorter
from .servers import GatewayServer
from .sides import our_side, raw_side, stock

QUEUED = 200
AIM = Aim("ours", "<=", 25.0, "<= 25 ms")


async def run(options: Options) -> list[Row]:
    queued = options.amount(QUEUED, 60)
    raw, ours = [], []
    async with GatewayServer(symbols=1, prints=PRINTS, quick=options.quick) as server:
        for _ in range(1 if options.quick else min(options.rounds, 3)):
            raw.append(await _raw(server, queued))
            ours.append(await _ours(server, queued))
    return [shorter("cancel", f"cancel behind {queued} queued requests", "ms", raw, ours, AIM)]


def _others(count: int) -> list[str]:
    """Symbols that the gateway may not know: only their requests matter here."""
    return [f"Q{name}" for name in symbol_names(count)]


async def _raw(server: GatewayServer, queued: int) -> float:
    async with raw_side(server) as ib:
        trade = ib.placeOrder(stock(symbol_names(1)[0]), LimitOrder("BUY", 1, LIMIT))
        while trade.orderStatus.status != "Submitted":
            await asyncio.wait_for(trade.statusEvent, 5.0)
        await server.idle()
        for symbol in _others(queued):
            ib.reqMktData(stock(symbol))
        started = time.perf_counter()
        ib.cancelOrder(trade.order)
        while trade.orderStatus.status != "Cancelled":
            await asyncio.wait_for(trade.statusEvent, 60.0)
        return (time.perf_counter() - started) * 1000


async def _ours(server: GatewayServer, queued: int) -> float:
    symbol = symbol_names(1)[0]
    async with our_side(server) as adapter:
        await adapter.quote(symbol)
        order = NewOrder(Instrument(symbol), Side.BUY, Decimal(1), OrderType.LIMIT, limit_price=Decimal(str(LIMIT)))
        await adapter.place(order)
        await server.idle()
        for name in _others(queued):
            adapter.transport.subscribe_quotes(Instrument(name, con_id=contract_number(name)))
        started = time.perf_counter()
        cancelled = await adapter.cancel(order.key)
        took = (time.perf_counter() - started) * 1000
        if cancelled.state is not OrderState.CANCELLED:
            raise RuntimeError(f"the order is {cancelled.state}, not cancelled: {cancelled.reason}")
        return took
