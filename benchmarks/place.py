"""From placing an order to its acknowledgement.

Raw: `ib.placeOrder` until `orderStatusEvent` says PreSubmitted or Submitted; nothing is checked or written. Ours:
`await broker.place(order)`: quote, every risk rule, an intent in the journal, the wire, and the broker's answer; once
with the journal's `synchronous` NORMAL, once with FULL, the default, which waits for the disk. The same limit order far
from the market; it is cancelled outside the measured time. Orders are spaced so that neither client's send limit is
reached. The processor time of a whole turn, cancel included, is there because a busy machine disturbs it least.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from decimal import Decimal

from ib_async import IB, LimitOrder, Trade
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.orders.latency import Stage

from .market import PRICE, symbol_names
from .options import Options
from .rows import Aim, Row, shorter
from .servers import GatewayServer
from .sides import our_side, raw_side, stock
from .statistics import percentile

#: Trades a session, so about two a second: quotes stay fresh as in a liquid stock.
PRINTS = 46_800
LIMIT = round(PRICE * 0.985, 2)
#: Seconds between two orders: with its cancel each takes two of 45 messages a second.
SPACING = 0.05
#: Seconds until what a session asks at its start no longer counts against that limit.
STARTED = 1.1
ACKNOWLEDGED = (OrderState.PRE_SUBMITTED, OrderState.WORKING)
#: What is compared: raw ib_async, and ours by the journal's synchronous level.
SIDES = ("raw", "NORMAL", "FULL")
AIM_P50 = Aim("ratio", "<=", 1.0, "<= 1.0x")
AIM_GATE = Aim("ours", "<=", 1.0, "<= 1 ms")
AIM_P99 = Aim("ratio", "<=", 0.6, "<= 0.6x")


class RawPlacer:
    def __init__(self, ib: IB, symbol: str) -> None:
        self._ib, self._contract = ib, stock(symbol)
        self._awaited: int | None = None
        self._answer: asyncio.Future[float] | None = None
        ib.orderStatusEvent += self._on_status

    def _on_status(self, trade: Trade) -> None:
        if trade.order.orderId == self._awaited and trade.orderStatus.status in ("PreSubmitted", "Submitted"):
            self._awaited = None
            if self._answer is not None:
                self._answer.set_result(time.perf_counter())

    async def place(self) -> float:
        """Milliseconds."""
        order = LimitOrder("BUY", 1, LIMIT, tif="DAY")
        self._answer = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        trade = self._ib.placeOrder(self._contract, order)
        self._awaited = trade.order.orderId
        took = await asyncio.wait_for(self._answer, 5.0) - started
        self._ib.cancelOrder(trade.order)
        return took * 1000


class OurPlacer:
    def __init__(self, adapter: IBAdapter, symbol: str) -> None:
        self._adapter, self._instrument = adapter, Instrument(symbol)

    async def place(self) -> float:
        """Milliseconds."""
        order = NewOrder(self._instrument, Side.BUY, Decimal(1), OrderType.LIMIT, limit_price=Decimal(str(LIMIT)))
        started = time.perf_counter()
        placed = await self._adapter.place(order)
        took = time.perf_counter() - started
        if placed.state not in ACKNOWLEDGED:
            raise RuntimeError(f"an order was not acknowledged but is {placed.state}: {placed.reason}")
        await self._adapter.cancel(placed.key)
        return took * 1000

    def stages(self, latest: int) -> list[list[float]]:
        """Milliseconds that the latest orders spent in the risk rules, in writing the intent, and in its sync."""
        recorder = self._adapter.manager._life.latency
        stages = (Stage.GATE, Stage.JOURNAL, Stage.JOURNAL_SYNC)
        return [[seconds * 1000 for seconds in recorder.samples(stage)[-latest:]] for stage in stages]


async def run(options: Options) -> list[Row]:
    samples, warm_up = options.amount(60, 3), options.amount(10, 1)
    found: dict[str, list[list[float]]] = {name: [] for name in SIDES}
    processor: dict[str, list[float]] = {name: [] for name in SIDES}
    gate: dict[str, list[float]] = {"gate": [], "sync NORMAL": [], "sync FULL": []}
    async with GatewayServer(symbols=1, prints=PRINTS) as server:
        for number in range(options.rounds):
            turn = number % len(SIDES)
            for name in SIDES[turn:] + SIDES[:turn]:
                async with _placer(name, server) as placer:
                    await _place(placer, warm_up)
                    await asyncio.sleep(STARTED)
                    gc.collect()
                    used = time.process_time()
                    found[name].append(await _place(placer, samples))
                    processor[name].append((time.process_time() - used) / samples * 1000)
                    if isinstance(placer, OurPlacer):
                        rules, writes, syncs = placer.stages(samples)
                        gate["gate"] += [sum(pair) for pair in zip(rules, writes, strict=True)]
                        gate[f"sync {name}"] += syncs
    cpu = shorter("place", "processor time of one order and its cancel", "ms", processor["raw"], processor["NORMAL"])
    return [*_rows(found), cpu, *_gate_rows(gate)]


@contextlib.asynccontextmanager
async def _placer(name: str, server: GatewayServer) -> AsyncIterator[RawPlacer | OurPlacer]:
    """One side, alone on the gateway, which tells every client about the account after each order."""
    symbol = symbol_names(1)[0]
    if name == "raw":
        async with raw_side(server) as ib:
            yield RawPlacer(ib, symbol)
    else:
        async with our_side(server, synchronous=name) as adapter:
            await adapter.quote(symbol)
            yield OurPlacer(adapter, symbol)


async def _place(placer: RawPlacer | OurPlacer, samples: int) -> list[float]:
    times = []
    for _ in range(samples):
        times.append(await placer.place())
        await asyncio.sleep(SPACING)
    return times


def _rows(found: dict[str, list[list[float]]]) -> list[Row]:
    rows = []
    for name, is_aim in (("NORMAL", True), ("FULL", False)):
        title = f"place -> acknowledged, journal {name}"
        for percent, aim in ((50, AIM_P50), (99, AIM_P99)):
            raw = [percentile(times, percent) for times in found["raw"]]
            ours = [percentile(times, percent) for times in found[name]]
            rows.append(shorter("place", f"{title}, p{percent}", "ms", raw, ours, aim if is_aim else None))
    return rows


def _gate_rows(times: dict[str, list[float]]) -> list[Row]:
    """The gate alone, out of the same orders, as the order manager times itself."""
    titles = {"gate": "gate alone: risk rules and intent, in process"}
    titles |= {f"sync {level}": f"gate alone: the disk's sync, {level}" for level in ("NORMAL", "FULL")}
    return [
        Row(
            "place",
            f"{titles[name]}, p{percent}",
            "ms",
            percentile(samples, percent),
            aim=aim if name == "gate" else None,
        )
        for name, samples in times.items()
        for percent, aim in ((50, None), (99, AIM_GATE))
    ]
