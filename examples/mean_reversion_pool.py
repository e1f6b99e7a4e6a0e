"""Mean reversion on a pool of three gateways, one of which is killed on the way: the orders and the data go on.

It starts three paper gateways of its own, as processes: the first has the orders, the others only data.

Run it: python examples/mean_reversion_pool.py [SECONDS [SYMBOL …]]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections import defaultdict, deque
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

from moondev_ibkr import BrokerError, Gap, Instrument, NewOrder, OrderType, Quote, Resumed, Side, get_broker
from moondev_ibkr.cli.gateway_process import GatewayProcess
from moondev_ibkr.config.settings import load_settings

SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
WINDOW, DISTANCE = 30, 0.0005
OPTIONS = ("--speed", "60", "--prices", "synthetic")


async def trade(broker, seconds: float, symbols: list[str]) -> None:
    """Buy a share below the mean of the last values, sell it above; never more than one of a symbol."""
    values: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
    held: set[str] = set()
    stream = broker.stream(symbols)
    asyncio.get_running_loop().call_later(seconds, lambda: asyncio.ensure_future(stream.aclose()))
    async for event in stream:
        if isinstance(event, Gap | Resumed):
            print(f"{type(event).__name__}: {', '.join(event.symbols)} ({event.source})")
            # what was not seen is no part of the mean
            for symbol in event.symbols:
                values[symbol].clear()
        elif isinstance(event, Quote) and event.mid is not None:
            symbol, seen = event.instrument.symbol, values[event.instrument.symbol]
            seen.append(event.mid)
            mean = sum(seen) / len(seen)
            if len(seen) == WINDOW and symbol not in held and event.ask < mean * (1 - DISTANCE):
                held |= await send(broker, symbol, Side.BUY, event.ask)
            elif symbol in held and event.bid > mean:
                held -= await send(broker, symbol, Side.SELL, event.bid)


async def send(broker, symbol: str, side: Side, price: float) -> set[str]:
    """The symbol, if its order was filled."""
    order = NewOrder(Instrument(symbol), side, Decimal(1), OrderType.LIMIT, limit_price=Decimal(str(price)))
    try:
        done = await broker.wait((await broker.place(order)).key, 2)
    except BrokerError as error:
        print(f"{side} {symbol}: {error}")
        return set()
    print(f"{done.state} {side} {symbol} at {price}")
    return {symbol} if done.filled else set()


async def main(seconds: float, symbols: list[str]) -> None:
    # the log says again what Gap and Resumed say
    logging.getLogger("moondev_ibkr").addHandler(logging.NullHandler())
    options = (*OPTIONS, "--symbols", ",".join(symbols))
    with tempfile.TemporaryDirectory() as name:
        async with AsyncExitStack() as stack:
            gateways = []
            for number in range(3):
                folder = Path(name) / str(number)
                folder.mkdir()
                gateways.append(await stack.enter_async_context(GatewayProcess(options, folder, driven=False)))
            first, *others = [gateway.where for gateway in gateways]
            rows = ",".join(f"{where.host}:{where.port}" for where in others)
            settings = load_settings(host=first.host, port=first.port, gateways=rows, state_dir=Path(name))
            async with get_broker("ib", settings=settings) as broker:
                asyncio.get_running_loop().call_later(seconds / 2, os.kill, others[0].pid, signal.SIGTERM)
                await trade(broker, seconds, symbols)
                for row in broker.pool.status():
                    told = f"{row.state}, {row.lines} lines, {row.requests} questions, lost {row.lost} times"
                    print(f"{row.name}{' (orders)' if row.has_orders else ''}: {told}")
                print(f"in doubt: {len(broker.manager.doubts())}, fills: {len(broker.fills())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=20.0)
    parser.add_argument("symbols", nargs="*", default=SYMBOLS)
    chosen = parser.parse_args()
    try:
        asyncio.run(main(chosen.seconds, list(chosen.symbols)))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokerError as error:
        sys.exit(str(error))
