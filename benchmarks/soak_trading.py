"""What the soak does beside reading: an order now and then, and a fault of the link now and then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count, cycle
from typing import Any

from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter

from .servers import GatewayProcess

SHARES = Decimal(10)
#: A limit so far below the bid that it rests until it is cancelled.
FAR = Decimal("0.9")


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Steps in turn: a control line (command, value), or seconds to wait."""

    name: str
    steps: tuple[tuple[str, str] | float, ...]


def _fault(text: str) -> tuple[str, str]:
    return "fault", text


DISTURBANCES = (
    Disturbance("1100, 1102 after 4 s", (_fault("1100"), 4.0, _fault("1102"))),
    Disturbance("a fill that is not told, then the link is cut", (_fault("drop-execution"), 10.0, _fault("reset"))),
    Disturbance("a farm is down for 5 s", (_fault("2103"), 5.0, _fault("2104"))),
    Disturbance("the link is cut in the middle of an order", (_fault("reset-after-order"),)),
    Disturbance("1100, 1101 after 4 s", (_fault("1100"), 4.0, _fault("1101"))),
    Disturbance("a fill is told twice", (_fault("duplicate-execution"),)),
    Disturbance("the gateway does not listen for 3 s", (_fault("restart:3"),)),
    Disturbance("depth begins anew", (_fault("depth-reset"),)),
    Disturbance("live bars end", (_fault("bars-lost"),)),
    Disturbance("half-open for 14 s", (_fault("half-open"), 14.0, ("release", "half-open"))),
    Disturbance("silence for 40 s", (_fault("silent-feed"), 40.0, ("release", "silent-feed"))),
)


async def disturb(server: GatewayProcess, every: float, done: Counter[str]) -> None:
    """The rows of DISTURBANCES in turn, the first after `every` seconds. Until cancelled; then `calm`."""
    for row in cycle(DISTURBANCES):
        await asyncio.sleep(every)
        done[row.name] += 1
        for step in row.steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                # an answer that is not read would be taken for the next command's
                await asyncio.shield(server.control(*step))


async def calm(server: GatewayProcess) -> None:
    """Whatever fault still lasts, or waits for its order, ends."""
    for command, value in (("release", True), ("fault", "1102"), ("fault", "2104")):
        await server.control(command, value)


@dataclass(slots=True)
class Trading:
    """Orders by what came of them, and every fill that the order events told."""

    placed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    fills: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    alarms: list[str] = field(default_factory=list)
    _held: Counter[str] = field(default_factory=Counter)

    async def watch(self, adapter: IBAdapter) -> None:
        """Until cancelled: every fill that is told, and every alarm."""
        events = adapter.order_events()
        try:
            async for event in events:
                if event.kind is OrderEventKind.FILL and event.fill is not None:
                    self.fills[event.fill.exec_id] += 1
                    self.recovered += event.recovered
                    self._held[event.fill.instrument.symbol] += int(event.fill.quantity) * event.fill.side.sign
                elif event.kind is OrderEventKind.ALARM:
                    self.alarms.append(event.text)
        finally:
            await events.aclose()

    async def trade(self, adapter: IBAdapter, symbols: Sequence[str], every: float) -> None:
        """Buys, sells what it holds, and lets every third order rest until it cancels it. Until cancelled."""
        for number in count():
            await asyncio.sleep(every)
            symbol = symbols[number // 2 % len(symbols)]
            try:
                await self._one(adapter, symbol, rests=number % 3 == 2)
            except BrokerError as error:
                # a link that is down refuses orders; which refusals there were is told at the end
                self.refused[type(error).__name__] += 1

    async def _one(self, adapter: IBAdapter, symbol: str, *, rests: bool) -> None:
        quote = await adapter.quote(symbol)
        if quote.bid is None or quote.ask is None:
            self.refused["no price"] += 1
            return
        selling = not rests and self._held[symbol] >= SHARES
        bid, ask = Decimal(str(quote.bid)), Decimal(str(quote.ask))
        price = (bid * FAR).quantize(Decimal("0.01")) if rests else bid if selling else ask
        order = NewOrder(
            Instrument(symbol),
            Side.SELL if selling else Side.BUY,
            SHARES,
            OrderType.LIMIT,
            price,
            tif=TimeInForce.DAY if rests else TimeInForce.IOC,
            reason="soak",
        )
        placed = await adapter.place(order)
        self.placed[placed.state.value] += 1
        if rests:
            await adapter.cancel(order.key)

    def as_data(self) -> dict[str, Any]:
        return {
            "placed": dict(self.placed),
            "refused": dict(self.refused),
            "fills": sum(self.fills.values()),
            "recovered": self.recovered,
            "alarms": len(self.alarms),
        }
