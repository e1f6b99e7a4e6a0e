"""One soak: a gateway's process, an adapter on it with every kind of stream, orders and faults, and what must hold."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter

from .market import symbol_names
from .servers import GatewayProcess
from .sides import our_side
from .soak_consumers import APPETITES, Consumer, Witness, read_live_bars
from .soak_resources import Resources, descriptors, growing
from .soak_trading import Trading, calm, disturb

#: Seconds until everything must have settled after the last fault: a link that is back, an order whose end is known.
SETTLE = 120.0
#: Of trades that carry the time, price and size of the one before: chance makes few, a doubled subscription half.
MOST_REPEATED = 0.2
LIVE_SYMBOLS = 2
#: So many that depth and ticks have streams for every consumer; the gateway of the soak grants them.
LINES = 2_000
#: Longest time for which memory is traced after it was found to grow.
TRACED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Times in seconds. `prints_per_second` of each symbol; `every_order` and `every_fault`: from one to the next."""

    seconds: float = 3600.0
    symbols: int = 40
    prints_per_second: float = 4.0
    every_order: float = 7.0
    every_fault: float = 45.0
    every_line: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` None: it could not be judged, `text` says why."""

    name: str
    ok: bool | None
    text: str


@dataclass
class Soak:
    """State and outcome of one run; `stop` ends it early, with everything judged that can be."""

    plan: Plan
    say: Callable[[str], None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    trading: Trading = field(default_factory=Trading)
    faults: Counter[str] = field(default_factory=Counter)
    bars: Counter[str] = field(default_factory=Counter)
    checks: list[Check] = field(default_factory=list)
    lines: list[dict[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    lasted: float = 0.0

    def __post_init__(self) -> None:
        self.resources = Resources(self.plan.seconds)

    async def run(self) -> None:
        tasks, files = len(asyncio.all_tasks()), descriptors()
        options = {
            "symbols": self.plan.symbols,
            "prints_per_second": self.plan.prints_per_second,
            "seconds": self.plan.seconds,
            "seed": self.plan.seed,
        }
        async with GatewayProcess("benchmarks.soak_gateway", options) as server:
            # the gateway's pipes belong to the process, not to the adapter
            piped = descriptors()
            async with our_side(server, profile="balanced", synchronous="FULL", market_data_lines=LINES) as adapter:
                await self._soak(server, adapter)
            left = len(asyncio.all_tasks()) - tasks
            self._check("no task is left when all is closed", left == 0, f"{left} more than before")
            if files is not None and piped is not None:
                # a socket is closed by the step of the loop after the one that gives it up
                await _until(lambda: (descriptors() or 0) <= piped, 2.0)
                more = (descriptors() or 0) - piped
                self._check("no descriptor is left when all is closed", more <= 0, f"{more:+d} against before")

    def _check(self, name: str, ok: bool | None, text: str) -> None:
        self.checks.append(Check(name, ok, text))

    async def _soak(self, server: GatewayProcess, adapter: IBAdapter) -> None:
        symbols = symbol_names(self.plan.symbols)
        witness = Witness(adapter)
        self.consumers = [Consumer(adapter, witness, appetite, symbols) for appetite in APPETITES]
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            reading = [self._start(stack, consumer.run(), consumer.appetite.name) for consumer in self.consumers]
            for symbol in symbols[:LIVE_SYMBOLS]:
                self._start(stack, read_live_bars(adapter, symbol, self.bars), f"live bars of {symbol}")
            self._start(stack, self.trading.watch(adapter), "order events")
            trader = self._start(stack, self.trading.trade(adapter, symbols[:6], self.plan.every_order), "orders")
            faults = self._start(stack, disturb(server, self.plan.every_fault, self.faults), "faults")
            watching = self._start(stack, self.resources.watch(), "resources")
            started = loop.time()
            self.say(f"soaking for {self.plan.seconds / 60:g} minutes, {self.plan.symbols} symbols; Ctrl-C ends it")
            await self._report(witness, started + self.plan.seconds)
            self.lasted = loop.time() - started
            await self._end(trader, faults, watching)
            await self._judge_memory()
            # whatever goes wrong there, the streams are judged all the same
            await asyncio.wait({self._start(stack, self._settle(server, adapter), "the settlement")})
            for consumer in self.consumers:
                consumer.end()
            await asyncio.wait(reading, timeout=SETTLE)
            self._judge_streams(reading)

    def _start(self, stack: AsyncExitStack, work: Any, name: str) -> asyncio.Task[None]:
        """A task whose failure is kept, and which ends with the soak."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # the boundary of one task: the soak goes on and tells of it
                logging.getLogger(__name__).exception("%s failed", name)
                self.failures.append(f"{name}: {type(error).__name__}: {error}")

        task = asyncio.create_task(guarded(), name=name)
        stack.push_async_callback(self._end, task)
        return task

    @staticmethod
    async def _end(*tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _report(self, witness: Witness, ends: float) -> None:
        """A line each `every_line` seconds, until the time is over or `stop` is set."""
        loop = asyncio.get_running_loop()
        began, before = loop.time(), 0
        while (left := ends - loop.time()) > 0 and not self.stop.is_set():
            try:
                await asyncio.wait_for(self.stop.wait(), min(left, self.plan.every_line))
            except TimeoutError:
                self.say(self._line(witness, loop.time() - began, before))
                before = witness.total

    def _line(self, witness: Witness, at: float, before: int) -> str:
        last = self.resources.samples[-1]
        total = [
            sum(getattr(consumer.account, name) + getattr(consumer.now(), name) for consumer in self.consumers)
            for name in ("delivered", "conflated", "dropped")
        ]
        recent = [sample.late for sample in self.resources.samples if sample.at >= last.at - self.plan.every_line]
        row = {
            "minutes": at / 60,
            "events": witness.total,
            "events_per_second": (witness.total - before) / self.plan.every_line,
            "delivered": total[0],
            "conflated": total[1],
            "dropped": total[2],
            "orders": self.trading.placed.total(),
            "fills": len(self.trading.fills),
            "faults": self.faults.total(),
            "rss_mb": last.rss / 1e6,
            "tasks": last.tasks,
            "descriptors": last.descriptors or 0,
            "latest_loop_ms": max(recent, default=0.0) * 1000,
        }
        self.lines.append(row)
        return " ".join(f"{name} {value:,.1f}" if value % 1 else f"{name} {value:,.0f}" for name, value in row.items())

    async def _judge_memory(self) -> None:
        for of in ("tasks", "descriptors"):
            more = self.resources.more(of)
            text = "too short to tell" if more is None else f"{more:+.0f} from the first quarter to the last (medians)"
            self._check(f"{of} stay as many", None if more is None else more <= 2, text)
        try:
            risen, allowed, span = self.resources.growth()
        except ValueError as error:
            self._check("memory is flat", None, str(error))
            return
        warm = self.resources.warm
        text = f"{risen:+.1f} MB in {span / 60:.1f} min by least squares, {allowed:.1f} allowed"
        text += f"; {warm[0].rss / 1e6:.1f} MB after warm-up, {warm[-1].rss / 1e6:.1f} at the end"
        self._check("memory is flat", risen <= allowed, text)
        if risen > allowed:
            seconds = min(TRACED_SECONDS, self.plan.seconds / 4)
            self.say(f"memory grows; tracing it for {seconds:.0f} s")
            self.failures += [f"grows: {line}" for line in await growing(lambda: asyncio.sleep(seconds))]

    async def _settle(self, server: GatewayProcess, adapter: IBAdapter) -> None:
        """The faults are over: the link comes back, every order has an end, and the books agree."""
        await calm(server)
        back = await _until(lambda: adapter.health().connected, SETTLE)
        self._check("the link is up again", back, "connected" if back else adapter.health().reason)
        if not back:
            return
        await adapter.cancel_all()
        await adapter.reconcile()
        settled = await _until(lambda: not adapter.manager.doubts() and not adapter.open_orders(), SETTLE)
        doubts = "; ".join(f"{doubt.order.key}: {doubt.evidence}" for doubt in adapter.manager.doubts())
        working = len(adapter.open_orders())
        self._check("no order is in doubt", settled, doubts or f"{len(adapter.orders())} orders, {working} still open")
        books = await server.control("books", True)
        true = {row["exec_id"] for row in books["executions"]}
        await _until(lambda: set(self.trading.fills) >= true, 10.0)
        told, booked = self.trading.fills, [fill.exec_id for fill in adapter.fills()]
        twice = [fill for fill, times in told.items() if times > 1]
        same = set(told) == true == set(booked) and len(booked) == len(true) and not twice
        text = f"{len(true)} at the exchange, {len(told)} told, {len(booked)} booked, {len(twice)} told twice"
        self._check("every fill is told and booked once", same, f"{text}, {self.trading.recovered} recovered")

    def _judge_streams(self, reading: list[asyncio.Task[None]]) -> None:
        stuck = [task.get_name() for task in reading if not task.done()]
        self._check("every consumer came to its end", not stuck, ", ".join(stuck) or f"{len(reading)} consumers")
        wrong = [f"{c.appetite.name}: {fault}" for c in self.consumers for fault in c.account.faults]
        events = sum(consumer.account.received for consumer in self.consumers)
        text = "; ".join(wrong[:3]) or f"{events:,} events received by {sum(c.account.streams for c in self.consumers)}"
        self._check("every event is accounted for", not wrong, text if wrong else f"{text} streams")
        trades, repeated = (sum(getattr(c.account, name) for c in self.consumers) for name in ("trades", "repeated"))
        once = repeated <= trades * MOST_REPEATED
        self._check("each trade reaches a consumer once", once, f"{repeated:,} of {trades:,} look like the one before")
        for slow in (consumer for consumer in self.consumers if consumer.appetite.pause):
            dropped, behind = slow.account.dropped, slow.account.dropped + slow.account.conflated
            self._check("the slow consumer did fall behind", behind > 0, f"{dropped:,} dropped, {behind:,} in all")
        lost = [c.appetite.name for c in self.consumers if c.account.told_lost != c.account.dropped]
        self._check("what was dropped was told", not lost, ", ".join(lost) or "Lost says as many as were dropped")
        late = self.bars["out_of_order"]
        self._check("closed bars come in order", not late, f"{self.bars['closed']} closed, {late} out of order")
        self._check("no part of the soak failed", not self.failures, "; ".join(self.failures[:3]) or "none did")

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.ok is not False for check in self.checks)

    def as_data(self) -> dict[str, Any]:
        return {
            "plan": asdict(self.plan),
            "lasted_seconds": self.lasted,
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
            "consumers": {consumer.appetite.name: consumer.account.as_data() for consumer in self.consumers},
            "trading": self.trading.as_data(),
            "faults": dict(self.faults),
            "live_bars": dict(self.bars),
            "minutes": self.lines,
            "failures": self.failures,
        }


async def _until(holds: Callable[[], bool], seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while not holds():
        if loop.time() > ends:
            return False
        await asyncio.sleep(0.1)
    return True
