"""After any gap: read orders, executions and positions, compare, and emit what was missed, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..base_broker import PositionDifference
from ..domain.account import Position
from ..domain.order import Fill
from ..domain.order_states import OrderSignal, OrderState
from ..domain.reports import BrokerOrder
from ..errors import BrokerError
from ..journal import instrument_key
from .book import NAMELESS_CHILDREN, Record
from .desk import Desk
from .inbound import Inbound
from .ownership import Ownership

#: Seconds by which a broker's positions may lag behind its executions.
POSITIONS_LAG = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One complete set of answers. `started` is the monotonic moment of the first question, `epoch` the link's."""

    started: float
    epoch: int
    open: Sequence[BrokerOrder]
    completed: Sequence[BrokerOrder]
    fills: Sequence[Fill]
    positions: Sequence[Position]


class Reconciler:
    """One reconciliation at a time. A query that fails changes nothing (promise Q13)."""

    def __init__(self, desk: Desk, inbound: Inbound, ownership: Ownership) -> None:
        self._desk = desk
        self._inbound = inbound
        self._ownership = ownership
        self._lock = asyncio.Lock()
        self._retry: asyncio.TimerHandle | None = None
        #: The loop's time of `_retry`, kept here: uvloop's handle for "at once" does not know it.
        self._retry_due = 0.0
        self.failures = 0
        self.completed_runs = 0
        #: Called before a reading is applied: what other processes wrote is taken over. Raises JournalError.
        self.before: Callable[[], None] = lambda: None
        #: Called after every reading that was applied.
        self.after: Callable[[], None] = lambda: None

    async def run(self) -> list[PositionDifference]:
        """Raises what the failing query raised; nothing was changed then, and it is tried again soon."""
        async with self._lock:
            desk = self._desk
            try:
                reading = await self._read()
            except BrokerError:
                self.failures += 1
                self.soon(desk.settings.retry_delay)
                raise
            if reading.epoch != desk.link.epoch:
                self.soon(0.0)
                return []
            return self._apply(reading)

    async def _read(self) -> Reading:
        # One after the other, and open orders first: an order that ends meanwhile is then in one answer at least.
        desk, port = self._desk, self._desk.port
        started, epoch = desk.clock.monotonic(), desk.link.epoch
        open_ = await port.open_orders()
        completed = await port.completed_orders()
        fills = await port.executions()
        positions = await port.positions()
        return Reading(started, epoch, open_, completed, fills, positions)

    def soon(self, delay: float = 0.0) -> None:
        """Ask for another run; several requests before it make one, at the earliest moment asked for."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        if self._desk.closing or (self._retry is not None and self._retry_due <= due):
            return
        self.cancel()
        self._retry_due = due
        self._retry = loop.call_later(delay, self._again)

    def _again(self) -> None:
        self._retry = None
        if self._desk.port.is_healthy:
            self._desk.spawn(self.run(), "reconciliation")
        else:
            # a link that is up and lacks an answer becomes healthy without telling: the wish must outlive that
            self.soon(self._desk.settings.retry_delay)

    def cancel(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _apply(self, reading: Reading) -> list[PositionDifference]:
        desk, inbound = self._desk, self._inbound
        life = desk.life
        self.before()
        life.recovering = inbound.all_told = True
        inbound.epoch = reading.epoch
        try:
            for order in reading.open:
                if not self._overtaken(order, reading):
                    inbound.broker_order(order)
            for order in reading.completed:
                inbound.introduce(order)
            inbound.release_orphans()
            for fill in reading.fills:
                inbound.execution(fill)
            for order in reading.completed:
                inbound.completed(order)
            inbound.report_missing()
            self._judge_absent(reading)
            differences = self._ownership.settle(list(reading.positions), reading.started - POSITIONS_LAG)
        finally:
            life.recovering = inbound.all_told = False
        self.completed_runs += 1
        desk.set_synced()
        self.after()
        return differences

    def _overtaken(self, order: BrokerOrder, reading: Reading) -> bool:
        """Whether a live message told more than this answer does."""
        record = self._desk.book.find(
            key=order.key, perm_id=order.perm_id, client_id=order.client_id, order_id=order.order_id
        )
        if record is None or order.perm_id not in record.lives:
            return False
        return record.seen_at > reading.started

    def _judge_absent(self, reading: Reading) -> None:
        shown = set()
        for order in reading.open:
            record = self._desk.book.find(
                key=order.key, perm_id=order.perm_id, client_id=order.client_id, order_id=order.order_id
            )
            if record is not None:
                shown.add(record.key)
        for record in list(self._desk.book.open.values()):
            if record.key not in shown:
                self._absent(record, reading)

    def _absent(self, record: Record, reading: Reading) -> None:
        """An order that none of the answers shows as open, completed or filled."""
        desk = self._desk
        order = record.order
        if order.foreign:
            desk.life.end_life(record, order.perm_id, OrderSignal.CANCEL, "gone from the broker's open orders")
            desk.book.forget(record)
            return
        if record.seen_at >= reading.started or (
            record.sent_epoch >= reading.epoch and record.sent_at >= reading.started
        ):
            return
        if order.state in (OrderState.INTENT, OrderState.SENT):
            return  # its acknowledgement deadline is still running, here or in the process that sent it
        if self._kept_by_another(record) or not desk.port.shows_orders_of(record.door):
            return
        if order.state is not OrderState.UNKNOWN and not order.state.is_terminal:
            desk.life.apply(record, OrderSignal.ABSENT, "the broker no longer shows it and told no end")
            if record.order.state is OrderState.UNKNOWN:
                desk.life.alarm(f"order {record.key} is gone from the broker's books with no end told", record)
        self._count_absence(record, reading)

    def _may_be_nameless(self, record: Record, reading: Reading) -> bool:
        """Whether an open order that carries no reference, and that nobody else claims, could be this one: it may have
        been changed since, so that its prices and its quantity tell nothing."""
        order = record.order
        if not order.leg or record.door not in NAMELESS_CHILDREN:
            return False
        where, find = instrument_key(order.instrument), self._desk.book.find
        for told in reading.open:
            if told.key is not None or told.side is not order.intent.side or told.account != record.account:
                continue
            if instrument_key(told.instrument) == where:
                known = find(perm_id=told.perm_id, client_id=told.client_id, order_id=told.order_id)
                if known is None or known.order.foreign:
                    return True
        return False

    def _kept_by_another(self, record: Record) -> bool:
        """Whether a living process holds the client id that sent it: that process watches over it."""
        client_id = record.order.client_id
        if client_id is None or client_id == self._desk.port.client_id:
            return False
        return self._desk.journal.is_client_alive(client_id)

    def _count_absence(self, record: Record, reading: Reading) -> None:
        """Absence counts after two clean readings on a later epoch, quiet time apart (promise Q4)."""
        desk = self._desk
        if self._may_be_nameless(record, reading):
            record.absent_since = None
            return
        if record.sent_epoch >= reading.epoch:
            return
        if record.absent_since is None:
            record.absent_since = reading.started
            self.soon(desk.settings.quiet_time)
            return
        if reading.started - record.absent_since < desk.settings.quiet_time:
            self.soon(desk.settings.quiet_time - (reading.started - record.absent_since))
            return
        if not self._left_no_trace(record, reading):
            # the position says that something has traded: it may be this order
            self.soon(desk.settings.quiet_time)
            return
        never_shown = record.order.perm_id is None and not record.acknowledged and record.order.filled == 0
        if record.order.state is OrderState.UNKNOWN and never_shown:
            desk.life.apply(record, OrderSignal.ABSENT, "two complete readings of the broker do not show it")
        else:
            reason = "gone from the broker's books, and the position shows no further fill"
            for perm_id in record.lives:
                record.lives[perm_id] = False
            desk.life.end_life(record, None, OrderSignal.CANCEL, reason)

    def _left_no_trace(self, record: Record, reading: Reading) -> bool:
        """Whether the broker's position is exactly what the booked fills say."""
        key = instrument_key(record.order.instrument)
        return not any(
            row.account == record.account and instrument_key(row.instrument) == key
            for row in self._ownership.differences(reading.positions)
        )
