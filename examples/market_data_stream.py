"""Stream quotes of several symbols for a while, gaps included, then fetch bars as a pandas frame.

Run it: python examples/market_data_stream.py [SECONDS [SYMBOL …]]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from moondev_ibkr import BarSize, BrokerError, Gap, Quote, Resumed, get_broker
from moondev_ibkr.brokers.base_broker import bars_to_frame

SYMBOLS = ("AAPL", "MSFT", "IBM")
#: Market seconds per real second: a quiet replay is more fun to watch this way.
SPEED = 600


async def watch(seconds: float, symbols: list[str]) -> None:
    async with get_broker("paper", speed=SPEED) as broker:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for event in broker.stream(symbols):
                    if isinstance(event, Quote):
                        print(f"{event.time:%H:%M:%S} {event.instrument} {event.bid} / {event.ask} last {event.last}")
                    elif isinstance(event, Gap | Resumed):
                        # Between these two markers nothing is known: hold decisions, never assume.
                        print(f"--- {type(event).__name__}")

        frame = bars_to_frame(await broker.bars(symbols[0], BarSize.D1, count=5))
        print(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=3.0)
    parser.add_argument("symbols", nargs="*", default=SYMBOLS)
    chosen = parser.parse_args()
    try:
        asyncio.run(watch(chosen.seconds, list(chosen.symbols)))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokerError as error:
        sys.exit(str(error))
