"""A scripted broker behind the order port, and a bench with a manager in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.brokers.domain.account import Position
from moondev_ibkr.brokers.domain.clock import ManualClock
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.order import Fill, NewOrder, Order, OrderType, Side, WhatIf
from moondev_ibkr.brokers.domain.reports import (
    BrokerOrder,
    BrokerStatus,
    CommissionReport,
    OrderEffect,
    OrderError,
    OrderEvent,
    OrderEventKind,
    StatusReport,
    WireOrder,
)
from moondev_ibkr.brokers.errors import LinkLost, NotConnected, OutcomeUnknown, RequestFailed
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.orders import EventStream, OrderManager, OrderSettings

ACCOUNT = "DU000001"
START = datetime(2024, 3, 4, 15, 0, tzinfo=UTC)
CON_IDS = {"AAPL": 265598, "MSFT": 272093, "IBM": 8314}

DONE = frozenset({BrokerStatus.CANCELLED, BrokerStatus.FILLED, BrokerStatus.API_CANCELLED})


@dataclass
class Held:
    """One order at the scripted broker."""

    wire: WireOrder
    perm_id: int
    client_id: int
    status: BrokerStatus = BrokerStatus.SUBMITTED
    filled: Decimal = Decimal(0)
    key: str | None = None

    def told(self, **changes: object) -> BrokerOrder:
        intent = self.wire.intent
        told = BrokerOrder(
            perm_id=self.perm_id,
            order_id=self.wire.order_id,
            client_id=self.client_id,
            account=self.wire.account,
            instrument=intent.instrument,
            side=intent.side,
            quantity=intent.quantity,
            type=intent.type,
            type_text=intent.type.value,
            tif=intent.tif,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            trail_amount=intent.trail_amount,
            trail_percent=intent.trail_percent,
            key=self.key,
            oca_group=intent.oca_group,
            parent_id=self.wire.parent_id,
            status=self.status,
            filled=self.filled,
            transmit=self.wire.transmit,
        )
        return replace(told, **changes)  # type: ignore[arg-type]


class ScriptedBroker:
    """An order port with a broker's memory. What it answers, and what it loses, is set by the test."""

    name = "tws"
    reading_time = 0.0

    def __init__(self, client_id: int = 7) -> None:
        self.client_id = client_id
        self.is_healthy = True
        self.next_order_id = 1
        self.orders: dict[int, Held] = {}
        self.executions_: list[Fill] = []
        self.foreign_position: dict[str, Decimal] = {}
        self.placed: list[WireOrder] = []
        self.modified: list[WireOrder] = []
        self.cancelled: list[tuple[int, int | None, int | None]] = []
        self.global_cancels = 0
        #: "answer", "silent" (arrives, no answer), "lost" (never arrives), "refused" (proven not to have left),
        #: "unknown" (arrives, the write fails), "unknown-lost" (does not arrive, the write fails)
        self.on_place: str | Callable[[WireOrder], str] = "answer"
        self.first_status = BrokerStatus.SUBMITTED
        self.echo: dict[str, object] = {}
        self.cancel_answer = "cancel"
        self.modify_answer = "echo"
        self.failing: set[str] = set()
        self.link_fails_probe = False
        self.listener: OrderManager | None = None
        self._perm = 1000
        self._exec = 0
        self.before_place: Callable[[WireOrder], None] = lambda wire: None
        self.after_place: Callable[[WireOrder], None] = lambda wire: None
        self.queries: list[str] = []
        self.forget_completed = False
        #: Doors whose orders are among the answers here.
        self.shown_doors = {"tws"}

    # Port

    def shows_orders_of(self, door: str) -> bool:
        return door in self.shown_doors

    def set_listener(self, listener: OrderManager) -> None:
        self.listener = listener

    async def verify_link(self, deadline: float) -> None:
        if self.link_fails_probe:
            raise LinkLost("probe", "no answer")

    async def place(self, order: WireOrder) -> None:
        if not self.is_healthy:
            raise NotConnected("place", "the link is down")
        self.before_place(order)
        mode = self.on_place(order) if callable(self.on_place) else self.on_place
        if mode == "refused":
            raise NotConnected("place", "the queue was cleared")
        self.placed.append(order)
        if mode in ("answer", "silent", "unknown"):
            held = self.accept(order)
            if mode == "answer":
                self.soon(lambda: self.tell(held, **self.echo))
        self.after_place(order)
        if mode.startswith("unknown"):
            raise OutcomeUnknown("place", "the link broke while writing")

    def accept(self, order: WireOrder) -> Held:
        self._perm += 1
        held = Held(order, self._perm, self.client_id, self.first_status, key=order.intent.key)
        self.orders[order.order_id] = held
        return held

    async def modify(self, order: WireOrder) -> None:
        if not self.is_healthy:
            raise NotConnected("modify", "the link is down")
        self.modified.append(order)
        held = self.orders[order.order_id]
        if self.modify_answer == "echo":
            held.wire = replace(order, transmit=held.wire.transmit)
            self.soon(lambda: self.tell(held))
        elif self.modify_answer == "applied-silently":
            held.wire = order
        elif self.modify_answer == "refused":
            self.soon(lambda: self.error(order.order_id, 201, OrderEffect.REJECTED, "margin"))

    async def cancel(self, order_id: int, perm_id: int | None = None, client_id: int | None = None) -> None:
        if not self.is_healthy:
            raise NotConnected("cancel", "the link is down")
        self.cancelled.append((order_id, perm_id, client_id))
        held = self.orders.get(order_id)
        if held is None or held.status in DONE:
            self.soon(lambda: self.error(order_id, 10147, OrderEffect.CANCEL_REJECTED, "not found"))
        elif self.cancel_answer == "cancel":
            self.soon(lambda: self.end(held))

    async def cancel_everything(self) -> None:
        self.global_cancels += 1
        for held in self.orders.values():
            if held.status not in DONE:
                self.soon(lambda held=held: self.end(held))

    async def what_if(self, order: WireOrder) -> WhatIf:
        return WhatIf()

    def _query(self, name: str) -> None:
        self.queries.append(name)
        if name in self.failing or not self.is_healthy:
            raise RequestFailed(name, "the broker did not answer")

    async def open_orders(self) -> list[BrokerOrder]:
        self._query("open_orders")
        return [held.told() for held in self.orders.values() if held.status not in DONE]

    async def completed_orders(self) -> list[BrokerOrder]:
        self._query("completed_orders")
        if self.forget_completed:
            return []
        return [held.told(completed_status=held.status.value) for held in self.orders.values() if held.status in DONE]

    async def executions(self, since: datetime | None = None) -> list[Fill]:
        self._query("executions")
        return list(self.executions_)

    async def positions(self) -> list[Position]:
        self._query("positions")
        return [
            Position(ACCOUNT, stock(symbol), quantity, Decimal(100))
            for symbol, quantity in self.ledger().items()
            if quantity
        ]

    def ledger(self) -> dict[str, Decimal]:
        """Symbol -> position, corrections applied."""
        latest: dict[str, Fill] = {}
        for fill in self.executions_:
            latest[fill.base_id] = fill
        total = dict(self.foreign_position)
        for fill in latest.values():
            symbol = fill.instrument.symbol
            total[symbol] = total.get(symbol, Decimal(0)) + fill.side.sign * fill.quantity
        return total

    # Script

    def soon(self, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(act)

    def held(self, key: str) -> Held:
        return next(held for held in self.orders.values() if held.key == key)

    def tell(self, held: Held, **changes: object) -> None:
        assert self.listener is not None
        self.listener.on_broker_order(held.told(**changes))
        self.listener.on_status(self.status(held))

    def status(self, held: Held, status: BrokerStatus | None = None) -> StatusReport:
        remaining = held.wire.intent.quantity - held.filled
        return StatusReport(
            held.wire.order_id, held.client_id, held.perm_id, status or held.status, held.filled, remaining
        )

    def end(self, held: Held) -> None:
        assert self.listener is not None
        if held.status in DONE:
            return
        held.status = BrokerStatus.CANCELLED
        self.listener.on_status(self.status(held))
        self.error(held.wire.order_id, 202, OrderEffect.CANCELLED, "cancelled")

    def error(self, order_id: int, code: int, effect: OrderEffect, text: str = "") -> None:
        assert self.listener is not None
        self.listener.on_order_error(OrderError(order_id, code, text, effect))

    def execute(self, key: str, quantity: int, price: str = "100", **changes: object) -> Fill:
        """Fill at the broker, telling nobody."""
        held = self.held(key)
        self._exec += 1
        held.filled += quantity
        if held.filled >= held.wire.intent.quantity:
            held.status = BrokerStatus.FILLED
        intent = held.wire.intent
        fill = Fill(
            exec_id=f"0000e0d5.{self._exec:04d}.01",
            instrument=intent.instrument,
            side=intent.side,
            quantity=Decimal(quantity),
            price=Decimal(price),
            time=START,
            account=held.wire.account,
            order_key=key,
            order_id=held.wire.order_id,
            perm_id=held.perm_id,
            client_id=held.client_id,
        )
        fill = replace(fill, **changes)  # type: ignore[arg-type]
        self.executions_.append(fill)
        return fill

    def fill(self, key: str, quantity: int, price: str = "100", fee: str | None = "1") -> Fill:
        """Fill and tell, in the order in which TWS does."""
        assert self.listener is not None
        fill = self.execute(key, quantity, price)
        self.listener.on_execution(fill)
        self.listener.on_status(self.status(self.held(key)))
        if fee is not None:
            self.listener.on_commission(CommissionReport(fill.exec_id, Decimal(fee), "USD"))
        return fill

    def foreign(self, symbol: str = "AAPL", quantity: int = 5, order_id: int = 0) -> Held:
        """An order placed by hand in TWS."""
        self._perm += 1
        intent = NewOrder(stock(symbol), Side.SELL, Decimal(quantity), OrderType.LIMIT, limit_price=Decimal(200))
        held = Held(WireOrder(order_id, intent, ACCOUNT), self._perm, 0)
        self.orders[-self._perm] = held
        return held


class OpenGate:
    """A risk gate that lets everything pass and remembers what it saw; refuses with `refusal` when set."""

    def __init__(self) -> None:
        self.seen: list[tuple[NewOrder, Order | None, NewOrder | None, bool]] = []
        self.prepared: list[NewOrder] = []
        self.refusal: Exception | None = None

    async def prepare(self, order: NewOrder, *, replaces: object = None) -> None:
        self.prepared.append(order)

    def check(
        self, order: NewOrder, *, replaces: Order | None, parent: NewOrder | None = None, emergency: bool = False
    ) -> None:
        self.seen.append((order, replaces, parent, emergency))
        if self.refusal is not None:
            raise self.refusal


def stock(symbol: str = "AAPL") -> Instrument:
    return Instrument(symbol, con_id=CON_IDS[symbol])


@dataclass
class Bench:
    """One manager, its broker, its clock; `restart` ends the process and begins another on the same journal."""

    path: str | Path = ":memory:"
    settings: OrderSettings = field(default_factory=lambda: OrderSettings(account=ACCOUNT, cancel_deadline=0.3))
    broker: ScriptedBroker = field(default_factory=ScriptedBroker)
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    gate: OpenGate = field(default_factory=OpenGate)
    synchronous: str = "NORMAL"
    journal: Journal = field(init=False)
    manager: OrderManager = field(init=False)
    stream: EventStream = field(init=False)

    def __post_init__(self) -> None:
        self._build()

    def _build(self) -> None:
        self.journal = Journal(self.path, synchronous=self.synchronous, now=self.clock.now)
        self.manager = OrderManager(self.broker, self.journal, self.gate, self.clock, self.details, self.settings)
        self.stream = self.manager.events()

    async def details(self, instrument: Instrument) -> InstrumentDetails:
        return InstrumentDetails(replace(instrument, con_id=CON_IDS[instrument.symbol]))

    async def start(self) -> Bench:
        await self.manager.start()
        return self

    async def stop(self) -> None:
        await self.manager.stop()
        self.journal.close()

    def die(self) -> None:
        """End the process as SIGKILL does: nothing is flushed, nothing runs on."""
        desk = self.manager._desk
        desk.closing = True
        self.manager._deadlines.cancel()
        self.manager._reconciler.cancel()
        for task in desk._tasks:
            task.cancel()
        if desk.life.writer._scheduled is not None:
            desk.life.writer._scheduled.cancel()
        self.broker.listener = None
        self.journal.close()

    async def restart(self, *, start: bool = True) -> None:
        self.die()
        self.broker.before_place = self.broker.after_place = lambda wire: None
        self._build()
        if start:
            await self.manager.start()

    # Verbs

    def order(self, quantity: int = 10, side: Side = Side.BUY, limit: str | None = "100", **fields: object) -> NewOrder:
        instrument = fields.pop("instrument", stock())
        type_ = OrderType.LIMIT if limit is not None else OrderType.MARKET
        price = Decimal(limit) if limit is not None else None
        return NewOrder(instrument, side, Decimal(quantity), type_, limit_price=price, **fields)  # type: ignore[arg-type]

    async def buy(self, quantity: int = 10, **fields: object) -> Order:
        return await self.manager.place(self.order(quantity, **fields))

    async def sell(self, quantity: int = 10, **fields: object) -> Order:
        return await self.manager.place(self.order(quantity, Side.SELL, **fields))

    async def hold(self, quantity: int = 10) -> Order:
        """Own a position."""
        order = await self.buy(quantity)
        self.broker.fill(order.key, quantity)
        await self.settle()
        return self.manager.order(order.key)

    async def settle(self) -> None:
        """Let everything that was scheduled for now happen, the journal's writing included."""
        for _ in range(30):
            await asyncio.sleep(0)
        self.write()

    def write(self) -> None:
        """The writer's turn, which comes a moment later by itself."""
        writer = self.manager._desk.life.writer
        if writer._scheduled is not None:
            writer._scheduled.cancel()
            writer._flush()

    async def advance(self, seconds: float) -> None:
        """Move both clocks, and act on what became due."""
        self.clock.advance(seconds)
        self.manager.check_deadlines()
        await self.settle()

    async def lose_link(self) -> None:
        self.broker.is_healthy = False
        self.manager.on_link_lost("1100")
        await self.settle()

    async def restore_link(self) -> None:
        self.broker.is_healthy = True
        self.manager.on_link_restored("1102")
        await self.settle()

    def events(self, *kinds: OrderEventKind) -> list[OrderEvent]:
        """What this bench's stream got since the last call; only `kinds` when given."""
        taken = list(self.stream._queue)
        self.stream._queue.clear()
        return [event for event in taken if not kinds or event.kind in kinds]

    def alarms(self) -> list[str]:
        return [event.text for event in self.events(OrderEventKind.ALARM)]

    def position(self, symbol: str = "AAPL") -> Decimal:
        return self.manager.owned_position(ACCOUNT, stock(symbol))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = await Bench().start()
    yield bench
    await bench.stop()


@pytest.fixture
async def disk_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """On a journal file, for restarts."""
    bench = await Bench(tmp_path / "journal.db").start()
    yield bench
    await bench.stop()


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda **fields: Bench(**{"path": tmp_path / "journal.db", **fields})


@pytest.fixture
def fake() -> type[ScriptedBroker]:
    return ScriptedBroker


@pytest.fixture
def aapl() -> Instrument:
    return stock()
