"""Order events and the quotes of several contracts as one sequence, one subscription a contract."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ...brokers.base_broker import BaseBroker, Subscription
from ...brokers.domain.instrument import Instrument
from ...brokers.domain.market_data import Gap, MarketEvent, Resumed
from ...brokers.domain.reports import OrderEvent
from ...brokers.errors import BrokerError
from .lots import contract_key

T = TypeVar("T")
#: Markers of the past that a further subscription may repeat.
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class QuotesEnded:
    """No quotes of the contract come any more, and why. It is tried again after the next Resumed."""

    instrument: Instrument
    why: str


@dataclass(slots=True)
class _Line:
    """One contract's quotes, and the wait for the next of them."""

    instrument: Instrument
    source: Subscription[MarketEvent]
    waiting: asyncio.Task[MarketEvent | None] | None = None


class PositionSources:
    """Order events come first where both wait; contracts take turns. A marker that several tell is given once."""

    def __init__(self, broker: BaseBroker) -> None:
        self._broker = broker
        self._orders = broker.order_events()
        self._next_order: asyncio.Task[OrderEvent | None] | None = None
        self._lines: dict[Hashable, _Line] = {}
        self._failed: set[Hashable] = set()
        self._markers: deque[Gap | Resumed] = deque(maxlen=_REMEMBERED)

    async def follow(self, instruments: Iterable[Instrument]) -> None:
        """Have the quotes of these, and no longer of others."""
        wanted = {contract_key(instrument): instrument for instrument in instruments}
        for key in [key for key in self._lines if key not in wanted]:
            await self._end(self._lines.pop(key))
        self._failed &= wanted.keys()
        for key, instrument in wanted.items():
            if key not in self._lines and key not in self._failed:
                self._lines[key] = _Line(instrument, self._broker.stream([instrument]))

    async def next(self) -> OrderEvent | MarketEvent | QuotesEnded | None:
        """The next event; None when the order events, and with them the broker's session, have ended."""
        while True:
            await self._any()
            if self._next_order is not None and self._next_order.done():
                order_task, self._next_order = self._next_order, None
                return order_task.result()
            event = await self._take_line()
            if not isinstance(event, Gap | Resumed):
                return event
            if event in self._markers:
                continue
            self._markers.append(event)
            if isinstance(event, Resumed):
                self._failed.clear()
            return event

    async def aclose(self) -> None:
        for line in self._lines.values():
            await self._end(line)
        self._lines.clear()
        await self._orders.aclose()
        await _give_up(self._next_order)
        self._next_order = None

    async def _any(self) -> None:
        if self._next_order is None:
            self._next_order = asyncio.create_task(_following(self._orders), name="positions: orders")
        waiting: list[asyncio.Task[OrderEvent | None] | asyncio.Task[MarketEvent | None]] = [self._next_order]
        for line in self._lines.values():
            if line.waiting is None:
                line.waiting = asyncio.create_task(_following(line.source), name=f"positions: {line.instrument}")
            waiting.append(line.waiting)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _take_line(self) -> MarketEvent | QuotesEnded:
        key, line = next((k, row) for k, row in self._lines.items() if row.waiting is not None and row.waiting.done())
        del self._lines[key]
        task, line.waiting = line.waiting, None
        assert task is not None  # chosen for it
        try:
            event, why = task.result(), "its quotes ended"
        except BrokerError as error:
            event, why = None, str(error)
        if event is None:
            self._failed.add(key)
            await line.source.aclose()
            return QuotesEnded(line.instrument, why)
        self._lines[key] = line  # at the end: the others have their turn first
        return event

    @staticmethod
    async def _end(line: _Line) -> None:
        await _give_up(line.waiting)
        await line.source.aclose()


async def _following(source: Subscription[T]) -> T | None:
    """The next item, None at the end."""
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return None


async def _give_up(task: asyncio.Task[T] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
