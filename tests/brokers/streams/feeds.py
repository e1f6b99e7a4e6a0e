"""Lines and trades to fill streams with, and a loop whose time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Quote, StreamKind, Trade
from moondev_ibkr.brokers.streams.hub import StreamHub
from moondev_ibkr.brokers.streams.market_stream import MarketStream

from tests.sim.loop import VirtualLoop

NOW = datetime(2025, 1, 2, 15, tzinfo=UTC)
AAPL = Instrument("AAPL", con_id=265598)
MSFT = Instrument("MSFT", con_id=272093)
QUOTES, TRADES = StreamKind.QUOTES, StreamKind.TRADES


@dataclass
class Line:
    """A quote line whose value moves under its reader."""

    instrument: Instrument
    last: float | None = 0.0
    last_update: float | None = 0.0
    bid: float | None = None
    ask: float | None = None

    def quote(self) -> Quote:
        return Quote(self.instrument, NOW, last=self.last, bid=self.bid, ask=self.ask)


def trade(number: float, instrument: Instrument = AAPL, *, size: float = 1.0, at: float = 0.0) -> Trade:
    """A print at `number`, `at` seconds after NOW."""
    return Trade(instrument, NOW + timedelta(seconds=at), float(number), size)


def open_stream(
    hub: StreamHub, *instruments: Instrument, kinds: Any = (QUOTES,), options: Any = None
) -> tuple[MarketStream, list[MarketStream]]:
    """The stream, and the list that it is put into when it closes."""
    closed: list[MarketStream] = []
    return hub.open(instruments, kinds, closed.append, options), closed


def run_virtually(story: Coroutine[Any, Any, Any]) -> Any:
    """Run `story` on a loop whose time jumps to the next timer."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(story)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
