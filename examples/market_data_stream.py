"""Stream quotes of several symbols for a while, gaps included, then fetch bars as a pandas frame.

Run it: python examples/market_data_stream.py [SECONDS]
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from moondev_ibkr import BarSize, Gap, Quote, Resumed, get_broker
from moondev_ibkr.brokers.base_broker import bars_to_frame

SYMBOLS = ("AAPL", "MSFT", "IBM")
#: Market seconds per real second: a quiet replay is more fun to watch this way.
SPEED = 600


async def watch(seconds: float) -> None:
    async with get_broker("paper", speed=SPEED) as broker:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for event in broker.stream(SYMBOLS):
                    if isinstance(event, Quote):
                        print(f"{event.time:%H:%M:%S} {event.instrument} {event.bid} / {event.ask} last {event.last}")
                    elif isinstance(event, Gap | Resumed):
                        # Between these two markers nothing is known: hold decisions, never assume.
                        print(f"--- {type(event).__name__}")

        frame = bars_to_frame(await broker.bars("AAPL", BarSize.D1, count=5))
        print(frame)


if __name__ == "__main__":
    asyncio.run(watch(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0))
