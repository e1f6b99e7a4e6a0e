"""The two clients that are compared, each connected to the same gateway process.

Both keep their defaults, the send limits of about 45 messages a second included, and share one process, one event loop
and one garbage collector; Python's collector settings are those of a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ib_async import IB, Stock
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.config.settings import Settings

from .market import contract_number
from .servers import GatewayServer

#: Lines that the gateway of the benchmarks grants, and that a client counts with.
LINES = 10_000
RAW_CLIENT, OUR_CLIENT, BARE_CLIENT = 1, 2, 3
#: Every risk rule runs; what would stop a benchmark that trades one symbol all the time is raised.
RISK = {
    "max_orders_per_minute": 1_000_000,
    "max_orders_per_day": 1_000_000,
    "max_position_value": 1_000_000,
    "max_order_value": 1_000_000,
    "max_exposure": 10_000_000,
    "duplicate_window": 0,
    "open_blackout": 0,
}


def stock(symbol: str) -> Stock:
    return Stock(symbol, "SMART", "USD", conId=contract_number(symbol))


@contextlib.asynccontextmanager
async def raw_side(server: GatewayServer, client: int = RAW_CLIENT) -> AsyncIterator[IB]:
    """ib_async as it comes. Its log is off, as for an application that asks for none."""
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    ib = IB()
    await ib.connectAsync(server.host, server.port, client)
    # request ids of one length, so that its ticks are all equally long
    ib.client.updateReqId(1000)
    try:
        yield ib
    finally:
        ib.disconnect()


@contextlib.asynccontextmanager
async def our_side(
    server: GatewayServer,
    *,
    client: int = OUR_CLIENT,
    synchronous: str = "NORMAL",
    profile: str = "ultra_low_latency",
    **changes: Any,
) -> AsyncIterator[IBAdapter]:
    """The adapter with every risk rule and a journal on disk, in a folder of its own."""
    logging.getLogger("moondev_ibkr").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="moondev-bench-", ignore_cleanup_errors=True) as folder:
        settings = Settings(
            host=server.host,
            port=server.port,
            client_id=client,
            state_dir=Path(folder),
            journal_synchronous=synchronous,
            profile=profile,
            risk=RISK,
            **({"market_data_lines": LINES} | changes),
        )
        async with IBAdapter.from_settings(settings) as adapter:
            assert isinstance(adapter, IBAdapter)
            yield adapter
