"""Puts order messages on the wire: intents journalled first, then the legs in order, then what became of them."""

from __future__ import annotations

import asyncio
import time
import types
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from ..domain.order import NewOrder, Order
from ..domain.order_states import OrderSignal, OrderState
from ..domain.reports import WireOrder
from ..errors import BrokerError, NotConnected, OutcomeUnknown
from ..journal import IntentRow
from .book import ASKED_LEGS, Record
from .desk import Desk
from .latency import Stage


@types.coroutine
def _rest_of(work: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """A coroutine that has begun, from where it waits."""
    while True:
        try:
            told = yield waits_for
        except BaseException as error:  # noqa: BLE001 - handed on, a cancellation above all
            step = partial(work.throw, error)
        else:
            step = partial(work.send, told)
        try:
            waits_for = step()
        except StopIteration:
            return


class Sender:
    """The only place from which order bytes leave."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        #: Starts the acknowledgement deadline of a record.
        self.watch: Callable[[Record], None] = lambda record: None
        self._sent_times: list[datetime] = []

    def load_sent_times(self, times: Sequence[datetime]) -> None:
        """Orders and changes of earlier processes, ascending."""
        self._sent_times = list(times)

    def count_since(self, since: datetime) -> int:
        """Orders and changes sent at or after `since` (market time)."""
        return len(self._sent_times) - bisect_left(self._sent_times, since)

    def journal_intents(
        self,
        legs: Sequence[NewOrder],
        account: str,
        *,
        first_leg: int = 0,
        root: str | None = None,
        allow_halted: bool = False,
        seen: int | None = None,
    ) -> list[Record] | None:
        """Make the intents durable and known; None when another process has used the key, none of them when another
        recorded an intent after event `seen`. Raises JournalError, TradingHalted, DoorFenced; nothing is known or sent
        then."""
        desk = self._desk
        root = root or legs[0].key
        rows = [
            IntentRow(leg, account, root, number, root if number else None)
            for number, leg in enumerate(legs, first_leg)
        ]
        port = desk.port
        with desk.life.writer.taken() as observed:
            order_ids = desk.journal.record_intents(
                rows,
                client_id=port.client_id,
                floor=port.next_order_id,
                lease=desk.lease,
                allow_halted=allow_halted,
                observed=observed,
                seen=seen,
            )
        if order_ids is None:
            return None
        if not order_ids:
            return []
        database = desk.journal.database
        desk.life.latency.add(Stage.JOURNAL, database.last_write)
        desk.life.latency.add(Stage.JOURNAL_SYNC, database.last_sync)
        now = desk.clock.now()
        records = []
        for order_id, row in zip(order_ids, rows, strict=True):
            order = Order(
                row.intent,
                OrderState.INTENT,
                order_id=order_id,
                client_id=port.client_id,
                parent_key=row.parent_key,
                leg=row.leg,
                created_at=now,
                updated_at=now,
            )
            record = Record(order, row.intent, account, door=desk.lease.door)
            desk.book.add(record)
            records.append(record)
        return records

    async def send(self, records: Sequence[Record], started: float) -> None:
        """Send the legs in order, all but the last held back at the broker (transmit=False).

        A leg that fails ends the sending: what is proven not to have left is NOT_SENT, the rest UNKNOWN, and an entry
        that waits for its legs is cancelled. Raises NotConnected only when nothing at all has left.
        """
        last = len(records) - 1
        for number, record in enumerate(records):
            failure = await self._send_one(record, records[0], transmit=number == last, started=started)
            if failure is None:
                continue
            for unsent in records[number + 1 :]:
                self._desk.life.apply(unsent, OrderSignal.SEND_FAILED, "an earlier leg was not sent")
            if number:
                await self.cancel_record(records[0])
            elif isinstance(failure, NotConnected):
                raise failure
            return

    async def _send_one(self, record: Record, entry: Record, *, transmit: bool, started: float) -> BrokerError | None:
        desk = self._desk
        order = record.order
        record.started, record.sent_at, record.sent_epoch = started, desk.clock.monotonic(), desk.link.epoch
        parent_id = (entry.order.order_id or 0) if record is not entry else 0
        wire = WireOrder(order.order_id or 0, order.intent, record.account, transmit, parent_id)
        try:
            await self._write(desk.port.place(wire), lambda: self._note_sent(record))
        except NotConnected as failure:
            desk.life.apply(record, OrderSignal.SEND_FAILED, str(failure))
            return failure
        except (BrokerError, TimeoutError) as failure:
            reason = str(failure) or "the write did not end in time"
            desk.life.apply(record, OrderSignal.ACK_TIMEOUT, reason)
            if record.order.state is OrderState.UNKNOWN:
                # else the broker has shown it meanwhile, by another way than the answer
                desk.life.alarm(f"order {record.key} may or may not have left: {reason}", record)
            return failure if isinstance(failure, BrokerError) else BrokerError(f"order {record.key}", reason)
        desk.life.apply(record, OrderSignal.SEND)
        desk.life.latency.add(Stage.PLACE_TO_SENT, time.perf_counter() - started)
        return None

    def _note_sent(self, record: Record) -> None:
        self._sent_times.append(self._desk.clock.now())
        self.watch(record)

    async def _write(self, write: Coroutine[Any, Any, None], begun: Callable[[], None]) -> None:
        """Await a write for as long as `write_deadline`; `begun` is called once it is under way.

        The socket takes most writes at once, at the coroutine's first step: those get no timer.
        """
        try:
            waits_for = write.send(None)
        except StopIteration:
            return
        finally:
            begun()
        async with asyncio.timeout(self._desk.settings.write_deadline):
            await _rest_of(write, waits_for)

    async def send_change(self, record: Record, changed: NewOrder) -> None:
        """Journal a change, then send it; it is `pending` until the broker shows it, refuses it, or shows the order as
        it was on a later link. Raises JournalError or NotConnected when nothing left, OutcomeUnknown when that is not
        known."""
        desk = self._desk
        desk.life.writer.flush()
        desk.journal.record_change(record.key, changed, lease=desk.lease)
        record.pending, record.pending_epoch = changed, desk.link.epoch
        record.pending_at = desk.clock.monotonic()
        what = f"change of order {record.key}"
        try:
            change = desk.port.modify(self._changed_wire(record, changed))
            await self._write(change, lambda: self._sent_times.append(desk.clock.now()))
        except NotConnected as failure:
            desk.life.drop_change(record, f"it did not leave: {failure}")
            raise
        except TimeoutError as failure:
            raise OutcomeUnknown(what, "the write did not end in time", key=record.key) from failure

    def _changed_wire(self, record: Record, changed: NewOrder) -> WireOrder:
        # A child whose parent is gone may not name it any more (fault O22).
        entry = self._desk.book.records.get(record.order.parent_key or "")
        attached = entry is not None and record.order.leg in ASKED_LEGS and not entry.order.state.is_terminal
        parent_id = (entry.order.order_id or 0) if entry is not None and attached else 0
        return WireOrder(record.order.order_id or 0, changed, record.account, True, parent_id, record.order.perm_id)

    async def cancel_record(self, record: Record) -> bool:
        """Send a cancel for every life of the order, whatever its state; never refused here (promise Q10).

        False when it did not get out: the wish is kept, and the cancel is sent (again) once the link is back.
        """
        desk = self._desk
        started = time.perf_counter()
        record.cancel_asked, record.cancel_epoch, record.cancel_refusal = True, desk.link.epoch, ""
        desk.life.writer.note("CANCEL", record.key, "{}")
        desk.life.writer.touch(record)
        order = record.order
        perm_ids: list[int | None] = [perm for perm, alive in record.lives.items() if alive and perm] or [order.perm_id]
        try:
            for perm_id in perm_ids:
                await desk.port.cancel(order.order_id or 0, perm_id, order.client_id)
        except BrokerError as failure:
            record.cancel_kept = True
            desk.life.warn(f"cancel of order {record.key} waits for the link: {failure}", record)
            return False
        record.cancel_kept = False
        desk.life.latency.add(Stage.CANCEL_TO_SENT, time.perf_counter() - started)
        if not record.cancel_refusal:
            # a door that answers in the same exchange has refused it before we are here
            desk.life.apply(record, OrderSignal.CANCEL_SENT)
        return True
