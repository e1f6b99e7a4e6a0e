"""Changes an order in one place: the transition table, the books of fills, the journal and the events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.order import Fill, NewOrder, exec_base_id, exec_revision
from ..domain.order_states import OrderSignal, OrderState, next_state
from ..domain.reports import CommissionReport, OrderEvent, OrderEventKind
from ..errors import JournalError
from ..journal import Journal, instrument_key
from ..journal.codec import order_text, to_json
from .book import ZERO, OrderBook, Record
from .contracts import OrderSettings
from .events import EventHub
from .latency import LatencyRecorder, Stage
from .writer import JournalWriter

log = logging.getLogger(__name__)

#: States in which `place` has no answer yet.
UNSETTLED = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.INACTIVE})
#: Ends that say "it never worked": a fill or a live message contradicts them.
NEVER_WORKED = frozenset({OrderState.REJECTED, OrderState.NOT_SENT})


def release(waiting: Iterable[asyncio.Future[None]]) -> None:
    """Wake those who wait."""
    for waiter in waiting:
        if not waiter.done():
            waiter.set_result(None)


def _owned(fill: Fill | None) -> Decimal:
    """What an execution adds to the owned position."""
    return ZERO if fill is None or fill.order_key is None else fill.side.sign * fill.quantity


class Lifecycle:
    """Owns every change of a record. On the event loop's thread only."""

    def __init__(self, book: OrderBook, journal: Journal, clock: Clock, settings: OrderSettings) -> None:
        self.book = book
        self.journal = journal
        self.clock = clock
        self.settings = settings
        self.hub = EventHub()
        self.latency = LatencyRecorder()
        self.writer = JournalWriter(journal, self._journal_failed, settings.retry_delay)
        #: Set while a reconciliation applies what it read: events then carry `recovered`.
        self.recovering = False
        self.alarms = 0
        #: instrument key -> why new exposure is blocked, beside UNKNOWN orders.
        self.blocks: dict[str, str] = {}
        #: instrument key -> monotonic moment of the last execution, as far as positions may not show it yet.
        self.traded_at: dict[str, float] = {}

    # Events

    def emit(self, kind: OrderEventKind, record: Record | None = None, **fields: Any) -> None:
        if not self.hub.is_heard:
            return
        order = record.order if record is not None else None
        self.hub.emit(OrderEvent(kind, self.clock.now(), order, recovered=self.recovering, **fields))

    def alarm(self, text: str, record: Record | None = None, code: int | None = None) -> None:
        """Something a person must look at: logged, journalled, counted and emitted."""
        self.alarms += 1
        log.error("ALARM %s", text)
        self.writer.note("ALARM", record.key if record is not None else "", to_json({"text": text}))
        self.emit(OrderEventKind.ALARM, record, text=text, code=code)

    def warn(self, text: str, record: Record | None = None, code: int | None = None) -> None:
        log.warning("%s", text)
        self.emit(OrderEventKind.WARNING, record, text=text, code=code)

    def block(self, instrument: Instrument, reason: str) -> None:
        """Block new exposure in this contract until `resume`, over restarts."""
        key = instrument_key(instrument)
        if key in self.blocks:
            return
        self.blocks[key] = reason
        try:
            self.journal.block(instrument, reason)
        except JournalError as failure:
            self._journal_failed(failure)

    def _journal_failed(self, failure: JournalError) -> None:
        log.error("ALARM %s", failure)
        self.alarms += 1
        self.emit(OrderEventKind.ALARM, text=str(failure))

    # States

    def apply(self, record: Record, signal: OrderSignal, reason: str = "") -> bool:
        """Run the transition table; answers whether the state changed."""
        before = record.order.state
        after = next_state(before, signal)
        if after is before:
            return False
        record.order = replace(record.order, state=after, reason=reason, updated_at=self.clock.now())
        if after.is_terminal and len(record.lives) <= 1:
            record.lives = dict.fromkeys(record.lives, False)
        self.book.refresh(record)
        if not record.order.foreign:
            body = f'{{"from":"{before}","signal":"{signal}","to":"{after}"}}'
            self.writer.note("STATE", record.key, body)
            self.writer.touch(record)
        self.emit(OrderEventKind.STATE, record, text=reason)
        if after not in UNSETTLED:
            self.settle(record)
        if after.is_terminal:
            self._end(record)
        return True

    @staticmethod
    def settle(record: Record) -> None:
        """Let `place` answer with the order as it stands."""
        record.is_settled = True
        if record.settled:
            waiting, record.settled = record.settled, []
            release(waiting)

    def _end(self, record: Record) -> None:
        record.absent_since = None
        waiting = record.waiters + record.cancel_waiters
        record.waiters, record.cancel_waiters = [], []
        release(waiting)
        if record.answered is not None:
            release([record.answered])
        if record.pending is not None:
            record.pending = None
            self.writer.touch(record)

    def seen(self, record: Record) -> None:
        """The broker showed this order: it is acknowledged, and not absent."""
        record.seen_at = self.clock.monotonic()
        record.absent_since = None
        record.acknowledged = True

    def end_life(self, record: Record, perm_id: int | None, signal: OrderSignal, reason: str = "") -> bool:
        """End an order; after a fork (fault O16) only one of its lives, and False while another may still fill."""
        if perm_id and perm_id in record.lives:
            record.lives[perm_id] = False
        if len(record.lives) > 1 and any(record.lives.values()):
            return False
        self.apply(record, signal, reason)
        self.book.refresh(record)
        return True

    def update_intent(self, record: Record, intent: NewOrder, text: str = "") -> None:
        """The live order's quantity or prices changed."""
        record.order = replace(record.order, intent=intent, updated_at=self.clock.now())
        record.pending = None
        self.writer.note("MODIFIED", record.key, order_text(intent))
        self.writer.touch(record)
        self.emit(OrderEventKind.MODIFIED, record, text=text)
        if record.answered is not None:
            release([record.answered])

    def drop_change(self, record: Record, text: str, code: int | None = None) -> None:
        """A change did not take: the order is what it was."""
        record.pending = None
        self.writer.touch(record)
        self.emit(OrderEventKind.MODIFY_REJECTED, record, text=text, code=code)

    # Fills

    def book_fill(self, fill: Fill, record: Record | None) -> None:
        """Book one execution: first sight, or a later revision of a known one. Duplicates change nothing (Q5)."""
        base = exec_base_id(fill.exec_id)
        known = self.book.fills.get(base)
        if known is not None and exec_revision(known.exec_id) >= exec_revision(fill.exec_id):
            return
        told = fill
        fill = self._as_ours(fill, record)
        if known is not None and fill.commission is None:
            fill = replace(
                fill,
                commission=known.commission,
                commission_currency=known.commission_currency,
                realized_pnl=known.realized_pnl,
            )
        else:
            fill = replace(fill, commission=None, commission_currency=None, realized_pnl=None)
        self.book.fills[base] = fill
        self.book.orphans.pop(base, None)
        self._note_trade(fill)
        self.writer.fill(fill, _owned(fill) - _owned(known))
        if record is not None:
            self._count(record, fill, known)
        kind = OrderEventKind.FILL if known is None else OrderEventKind.FILL_CORRECTED
        self.emit(kind, record, fill=fill)
        if record is not None:
            self._signal_fill(record, fill)
        self._join_commission(told, base)

    def _note_trade(self, fill: Fill) -> None:
        """A reading's executions count from when they traded: its positions show those of long ago."""
        age = (self.clock.now() - fill.time).total_seconds() if self.recovering else 0.0
        where = instrument_key(fill.instrument)
        moment = self.clock.monotonic() - max(age, 0.0)
        self.traded_at[where] = max(moment, self.traded_at.get(where, moment))

    def _as_ours(self, fill: Fill, record: Record | None) -> Fill:
        key = record.key if record is not None else None
        owned_key = key if record is not None and not record.order.foreign else None
        instrument = record.order.instrument if record is not None else fill.instrument
        return replace(fill, order_key=owned_key, instrument=instrument, recovered=self.recovering)

    def _count(self, record: Record, fill: Fill, known: Fill | None) -> None:
        order = record.order
        filled, cost = order.filled + fill.quantity, record.cost + fill.quantity * fill.price
        if known is not None:
            filled -= known.quantity
            cost -= known.quantity * known.price
        record.cost = cost
        record.order = replace(
            order,
            filled=filled,
            average_price=cost / filled if filled else None,
            updated_at=self.clock.now(),
        )
        self.seen(record)
        if record.first_fill_due:
            record.first_fill_due = False
            # A bracket's legs wait for their price, which says nothing about speed.
            if record.sent_epoch and not record.order.leg:
                self.latency.add(Stage.PLACE_TO_FILL, time.perf_counter() - record.started)
        self.writer.touch(record)

    def _signal_fill(self, record: Record, fill: Fill) -> None:
        order = record.order
        if order.state in NEVER_WORKED:
            self.alarm(f"order {record.key} was {order.state} and has filled {order.filled}", record)
        if fill.side is not order.intent.side:
            self.alarm(f"order {record.key} is a {order.intent.side} and filled as a {fill.side}", record)
        if fill.liquidation:
            self.alarm(f"the broker closed {fill.quantity} {fill.instrument} by force", record)
        if order.filled > order.intent.quantity:
            self.alarm(f"order {record.key} filled {order.filled} of {order.intent.quantity}", record)
        if order.filled <= 0:
            return
        # a change under way may have made it larger: what ends it then is the broker's word
        complete = order.filled >= record.worst_quantity
        if complete and fill.perm_id in record.lives:
            record.lives[fill.perm_id] = False
        self.apply(record, OrderSignal.FILL if complete else OrderSignal.PARTIAL_FILL)
        self.book.refresh(record)

    # Commissions

    def _join_commission(self, told: Fill, base: str) -> None:
        early = self.book.early_commissions.pop(base, None)
        if told.commission is not None:
            currency = told.commission_currency or told.instrument.currency
            self.book_commission(CommissionReport(told.exec_id, told.commission, currency, told.realized_pnl))
        elif early is not None:
            self.book_commission(early)

    def book_commission(self, report: CommissionReport) -> None:
        """Amend the fee of an execution, also one that has not arrived yet (fault O11)."""
        base = exec_base_id(report.exec_id)
        fill = self.book.fills.get(base)
        if fill is None:
            self.book.early_commissions[base] = report
            return
        if exec_revision(report.exec_id) < exec_revision(fill.exec_id) and fill.commission is not None:
            return
        amended = replace(
            fill,
            commission=report.commission,
            commission_currency=report.currency,
            realized_pnl=report.realized_pnl if report.realized_pnl is not None else fill.realized_pnl,
        )
        if amended == fill:
            return
        self.book.fills[base] = amended
        self.writer.commission(report)
        record = self.book.records.get(amended.order_key) if amended.order_key else None
        if record is not None:
            before = fill.commission if fill.commission is not None else ZERO
            total = (record.order.commission or ZERO) - before + report.commission
            record.order = replace(record.order, commission=total)
        self.emit(OrderEventKind.COMMISSION, record, fill=amended)

    # Waiting

    async def until_terminal(self, record: Record, seconds: float) -> bool:
        """Whether the order ended within `seconds` of real time."""
        if record.order.state.is_terminal:
            return True
        waiter = asyncio.get_running_loop().create_future()
        record.waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return record.order.state.is_terminal
        finally:
            if waiter in record.waiters:
                record.waiters.remove(waiter)
        return True
