"""From a tick to the order that it causes, under a flood.

The gateway's process writes 50 000 ticks a second on 100 lines, 100 to a write; about ten times a second one of them
is a print 7.8 % up. Ours is an agent on `async for quote in broker.stream(symbols)`: every quote goes through the
package's `PriceSurge` detector, and what it finds becomes `await broker.place(...)`: all risk rules, the intent in the
journal, the wire. Measured is from the read of the packet with the print to the moment the order's bytes are handed to
the socket; `from_write` in the same row is from the gateway's write, so with the kernel and whatever the loop was busy
with, and `gate` and `journal` are the two longest stages of it. The order is far from the market and cancelled outside
the measured time. Once with the journal's `synchronous`
NORMAL, once with FULL, the default, which waits for the disk. Start-up objects are frozen as `moondev-ibkr run` does it
in this profile.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from moondev_ibkr.agents.analysis.stream.detectors import DETECTORS, DetectorRow
from moondev_ibkr.agents.analysis.stream.events import StreamEventKind
from moondev_ibkr.agents.analysis.stream.symbol_watch import SymbolWatch
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter

from .market import PRICE, SURGE, symbol_names
from .options import Options
from .rows import Aim, Row
from .servers import GatewayServer
from .sides import OUR_CLIENT, our_side
from .statistics import median, percentile
from .ticks import all_quoted

RATE, BATCH = 50_000, 100
#: Orders of a round before the measured ones.
WARM_UP = 5
LIMIT = Decimal(str(round(PRICE * 0.985, 2)))
#: Seconds of other work before an order is judged by the rules alone.
OTHER_WORK = 0.01
#: Of the adapter's latency report.
STAGES = ("gate", "journal")
AIMS = {50: Aim("ours", "<=", 0.5, "<= 0.5 ms"), 99: Aim("ours", "<=", 5.0, "<= 5 ms")}
#: The row of the package's own table, told of every surge.
_SURGE = DETECTORS[StreamEventKind.PRICE_SURGE]
_TABLE = {
    StreamEventKind.PRICE_SURGE: DetectorRow(
        _SURGE.threshold, _SURGE.unit, _SURGE.sessions, timedelta(0), _SURGE.window
    )
}
_PRINT = f"\0{SURGE:.2f}\0".encode()
_ORDER = b"3\0"


@dataclass(slots=True)
class Found:
    """Milliseconds from read and from write to the order's bytes, the ticks a second that were written, and the
    adapter's own account of its stages, one a round."""

    inside: list[float] = field(default_factory=list)
    from_write: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    stages: dict[str, list[dict[str, float]]] = field(default_factory=dict)


class Stamps:
    """When a packet with the print was read, and when an order left; monotonic seconds."""

    def __init__(self, connection: Any) -> None:
        self.read: list[float] = []
        self.left: list[float] = []
        self._on_data, self._transport = connection.on_data, connection.transport
        connection.on_data, connection.transport = self._data, self

    def _data(self, data: bytes) -> None:
        if _PRINT in data:
            self.read.append(time.monotonic())
        self._on_data(data)

    def write(self, payload: bytes) -> None:
        if payload[4:6] == _ORDER:
            self.left.append(time.monotonic())
        self._transport.write(payload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Agent:
    """Buys one share of whatever surges, and takes the order back."""

    def __init__(self, adapter: IBAdapter, symbols: list[str]) -> None:
        self._adapter, self._symbols = adapter, symbols
        self._watches = {symbol: SymbolWatch(symbol, _TABLE) for symbol in symbols}
        self._cancels: set[asyncio.Task[Any]] = set()
        self.quotes = 0

    async def run(self) -> None:
        async for quote in self._adapter.stream(self._symbols):
            assert isinstance(quote, Quote)
            self.quotes += 1
            for event in self._watches[quote.instrument.symbol].on_quote(quote):
                if event.value > 0:
                    await self._buy(event.symbol)

    async def _buy(self, symbol: str) -> None:
        order = NewOrder(Instrument(symbol), Side.BUY, Decimal(1), OrderType.LIMIT, limit_price=LIMIT)
        placed = await self._adapter.place(order)
        cancel = asyncio.create_task(self._adapter.cancel(placed.key))
        self._cancels.add(cancel)
        cancel.add_done_callback(self._cancels.discard)

    async def settled(self) -> None:
        await asyncio.gather(*self._cancels)


async def run(options: Options) -> list[Row]:
    symbols = symbol_names(options.amount(100, 4))
    surges = options.amount(60, 3)
    found: dict[str, Found] = {}
    async with GatewayServer(symbols=len(symbols)) as server:
        for number in range(options.rounds):
            for level in ("NORMAL", "FULL") if number % 2 == 0 else ("FULL", "NORMAL"):
                await _round(server, symbols, surges, level, found.setdefault(level, Found()))
        rules = await _rules(server, symbols[0], options.amount(200, 3))
    return [*(_row(level, percent, found[level]) for level in found for percent in AIMS), *rules]


async def _round(server: GatewayServer, symbols: list[str], surges: int, level: str, found: Found) -> None:
    async with AsyncExitStack() as stack:
        adapter = await stack.enter_async_context(our_side(server, synchronous=level, market_data_lines=1_000))
        await all_quoted(adapter, symbols)
        stamps = Stamps(adapter.transport._api.client.conn)  # type: ignore[attr-defined]
        agent = Agent(adapter, symbols)
        follow = asyncio.create_task(agent.run())
        stack.push_async_callback(asyncio.wait, [follow])
        stack.callback(follow.cancel)
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        await server.tell("flood", client=OUR_CLIENT, rate=RATE, batch=BATCH)
        sent: list[float] = []
        for number in range(WARM_UP + surges):
            sent.append(await _surge(server, number % len(symbols), stamps, follow))
        rate = (await server.tell("calm"))["rate"]
        await agent.settled()
        stages = adapter.latency_report()
    read, left, sent = stamps.read[WARM_UP:], stamps.left[WARM_UP:], sent[WARM_UP:]
    found.inside += [(end - start) * 1000 for start, end in zip(read, left, strict=True)]
    found.from_write += [(end - start) * 1000 for start, end in zip(sent, left, strict=True)]
    found.rates.append(rate)
    for stage in STAGES:
        found.stages.setdefault(stage, []).append(stages[stage])


async def _surge(server: GatewayServer, line: int, stamps: Stamps, agent: asyncio.Task[None]) -> float:
    """One line's price jumps and comes back; when it was written. RuntimeError when no order follows."""
    count = len(stamps.left) + 1
    await server.tell("print", client=OUR_CLIENT, line=line, price=PRICE + 0.01)
    sent: float = (await server.tell("print", client=OUR_CLIENT, line=line, price=SURGE))["sent"]
    deadline = time.monotonic() + 5
    while len(stamps.left) < count:
        if agent.done() or time.monotonic() > deadline:
            raise RuntimeError("no order followed the surge") from agent.exception() if agent.done() else None
        await asyncio.sleep(0.01)
    await server.tell("print", client=OUR_CLIENT, line=line, price=PRICE)
    return sent


async def _rules(server: GatewayServer, symbol: str, checks: int) -> list[Row]:
    """One order before the same risk rules twice: after other work of this process, and again at once. Between the two
    nothing differs but what processor and operating system still have at hand."""
    first, again = [], []
    async with our_side(server, synchronous="NORMAL") as adapter:
        await all_quoted(adapter, [symbol])
        instrument = (await adapter.details(symbol)).instrument
        order = NewOrder(instrument, Side.BUY, Decimal(1), OrderType.LIMIT, limit_price=LIMIT)
        for _ in range(checks):
            await adapter.data.freshen(instrument)
            _work(OTHER_WORK)
            for times in (first, again):
                started = time.perf_counter()
                adapter.risk.check(order)
                times.append((time.perf_counter() - started) * 1000)
    after = f"after {OTHER_WORK * 1000:g} ms of other work"
    named = ((f"risk rules of one order, {after}, p50", first), ("the same, again at once, p50", again))
    return [Row("tick_to_trade", name, "ms", percentile(times, 50)) for name, times in named]


def _work(seconds: float) -> None:
    """Keep the processor busy in one small loop."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def _row(level: str, percent: int, found: Found) -> Row:
    extra = {"from_write": percentile(found.from_write, percent)}
    extra |= {stage: median([row[f"p{percent}"] for row in rounds]) for stage, rounds in found.stages.items()}
    extra |= {"orders": float(len(found.inside)), "ticks_a_second": min(found.rates)}
    name = f"tick to trade, journal {level}, p{percent}"
    aim = AIMS[percent] if level == "NORMAL" else None
    return Row("tick_to_trade", name, "ms", percentile(found.inside, percent), aim=aim, extra=extra)
