"""Two agents that wait for events instead of polling: one sees everything, the other only moves of the price.

It replays shipped daily bars on the in-process paper broker, whose time it moves itself. A daily bar is walked in 24
prints, so the windows here are longer than the defaults, which are made for a live market.

Run it: python examples/event_driven_agent.py [SESSIONS [SYMBOL …]]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from datetime import timedelta

from moondev_ibkr import BrokerError, get_broker
from moondev_ibkr.agents.analysis.stream_events import DETECTORS, StreamEvent, StreamEventKind, stream_to_agents
from moondev_ibkr.brokers.calendar import MarketCalendar

SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
TABLE = dict(DETECTORS) | {
    StreamEventKind.PRICE_SURGE: replace(
        DETECTORS[StreamEventKind.PRICE_SURGE], threshold=1.0, window=timedelta(hours=1)
    ),
    StreamEventKind.GAP: replace(DETECTORS[StreamEventKind.GAP], threshold=1.0),
}


def tell(event: object) -> None:
    if isinstance(event, StreamEvent):
        print(f"{event.time:%Y-%m-%d %H:%M} {event.symbol} {event.kind}: {event.detail}")


async def momentum(feed) -> None:
    """An agent's own loop. Gaps of the stream and lost events come in the same order, as what they are."""
    surges = 0
    async for event in feed:
        surges += isinstance(event, StreamEvent)
    print(f"momentum agent: {surges} events")


async def main(sessions: int, symbols: list[str]) -> None:
    calendar = MarketCalendar()
    async with get_broker("paper", speed=None) as broker:
        async with stream_to_agents(broker, symbols, tell, table=TABLE) as events:
            agent = asyncio.create_task(momentum(events.agent("momentum", kinds={StreamEventKind.PRICE_SURGE})))
            for _ in range(sessions):
                day = calendar.next_day(await broker.market_time())
                while await broker.market_time() < day.close:
                    # from the broker, time comes by itself: here it is moved, and agents get their turn
                    await broker.advance_to(max(day.open, await broker.market_time() + timedelta(minutes=10)))
                    await asyncio.sleep(0.001)
            print(events.statistics()["agents"])
        await agent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sessions", nargs="?", type=int, default=5)
    parser.add_argument("symbols", nargs="*", default=SYMBOLS)
    chosen = parser.parse_args()
    try:
        asyncio.run(main(chosen.sessions, list(chosen.symbols)))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokerError as error:
        sys.exit(str(error))
