"""The order manager: intent, risk, journal, wire, and what the broker answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from ..base_broker import PositionDifference
from ..domain.account import Position
from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.order import Bracket, Fill, NewOrder, Order, OrderChange, Side
from ..domain.order_states import OrderSignal
from ..domain.reports import BrokerOrder, CommissionReport, OrderError, StatusReport
from ..errors import DeadlineExceeded, JournalError, UnknownOrder
from ..journal import DoorLease, Journal
from ..order_port import OrderPort
from .adoption import Adoption
from .book import Record
from .brackets import AT_BROKER, Protection
from .changing import CancelOutcome, Changes
from .contracts import DetailsLookup, OrderSettings, RiskGate
from .deadlines import Deadlines
from .desk import Desk
from .doubt import Doubt, doubts
from .events import EventStream
from .inbound import Inbound
from .ownership import Ownership
from .placing import Placing
from .reconciliation import Reconciler
from .restoring import UNANSWERED, Restorer
from .sending import Sender

log = logging.getLogger(__name__)

T = TypeVar("T")


class OrderManager:
    """The life cycle of every order of one session. An OrderListener; on the event loop's thread only.

    `port` is the door to the broker, already connected when `start` is called; `gate` the risk rules; `clock` gives
    market time for records and monotonic time for deadlines; `details` qualifies instruments.
    """

    def __init__(
        self,
        port: OrderPort,
        journal: Journal,
        gate: RiskGate,
        clock: Clock,
        details: DetailsLookup,
        settings: OrderSettings | None = None,
    ) -> None:
        self._desk = Desk(port, journal, gate, clock, details, settings or OrderSettings())
        self._life, self._book = self._desk.life, self._desk.book
        self._ownership = Ownership(journal, self._life)
        self._restorer = Restorer(self._desk)
        self._inbound = Inbound(self._life, lambda: port.client_id, self._restorer.load, self._need_evidence)
        self._reconciler = Reconciler(self._desk, self._inbound, self._ownership)
        self._sender = Sender(self._desk)
        self._placing = Placing(self._desk, self._sender, self._ownership, self._restorer.load)
        self._changes = Changes(self._desk, self._sender, self._reconciler, self._placing)
        self._adoption = Adoption(self._desk, self._ownership)
        self._protection = Protection(self._desk, self._sender, self._ownership)
        self._inbound.on_change = self._changed
        self._inbound.on_refusal = self._refused
        self._reconciler.before = self._restorer.refresh
        self._reconciler.after = self._reconciled
        self._deadlines = Deadlines(self._desk, self._inbound, self._protection, self._reconciler)
        self._sender.watch = self._deadlines.watch

    # Session

    async def start(self, account: str | None = None) -> None:
        """Load the journal, claim the door, listen to the port (already connected), reconcile.

        `account` is used by orders that name none; None leaves that to the settings.
        Orders that an earlier process left unanswered become UNKNOWN until evidence is found. Raises JournalError,
        DoorFenced, and whatever a query of the reconciliation raises.
        """
        desk, journal = self._desk, self._desk.journal
        desk.account = account or desk.account
        self._life.writer.open()
        desk.lease = journal.claim_door(desk.port.name)
        desk.halted = journal.halted
        self._life.blocks.update(journal.blocks())
        self._ownership.load()
        self._restorer.load_all()
        desk.link.epoch += 1
        self._life.recovering = True
        self._sender.load_sent_times(journal.sent_times(desk.clock.now() - timedelta(days=2)))
        desk.port.set_listener(self)
        await self._reconciler.run()

    def change_door(self, lease: DoorLease) -> None:
        """Intents are recorded under `lease` from here on; the port calls `on_link_restored` once that door is ready.

        Until what was missed is read there, nothing opens; an order that the old door left unanswered is UNKNOWN.
        """
        self._desk.lease = lease
        self.on_link_lost(f"orders go through {lease.door} from now on")

    @property
    def lease(self) -> DoorLease:
        """The door that this process writes through, and its epoch."""
        return self._desk.lease

    def door_of(self, key: str) -> str | None:
        """The door that an order of this journal was sent through; None for a key that it does not have."""
        record = self._book.records.get(key) or self._restorer.load(key)
        return None if record is None or record.order.foreign else record.door

    def key_of_number(self, perm_id: int) -> str | None:
        """The key of this journal's order with that permId; None for anybody else's."""
        record = self._book.by_perm_id.get(perm_id)
        return None if record is None or record.order.foreign else record.key

    def seen_live(self, door: str) -> set[str]:
        """Keys of orders sent through `door` that the broker showed at work and that have not ended as far as known."""
        return {
            key
            for key, record in self._book.open.items()
            if record.door == door and record.acknowledged and record.order.state in AT_BROKER
        }

    def doubts(self) -> list[Doubt]:
        """Orders whose state, change or cancel is not known, and what is known of each."""
        return doubts(self._book, self._desk.clock.monotonic())

    async def stop(self) -> None:
        """Cancel timers and tasks, flush the journal, end the event streams. Does not close journal or port."""
        self._deadlines.cancel()
        self._reconciler.cancel()
        await self._desk.end_tasks()
        try:
            await self._life.writer.close()
        finally:
            self._life.hub.close()

    # Orders

    async def place(self, order: NewOrder | Bracket, *, closing: bool = False) -> Order:
        """Risk, journal, wire; answers once the broker has answered, or the order is UNKNOWN (a bracket: its entry).

        The same key with the same order answers with that order, with another raises KeyConflict. `closing` is for the
        closing orders of an emergency stop: reduce-only, and let through the kill switch and blocks.
        Raises RiskRefusal, TradingHalted, NotOwned, InvalidOrder, NotConnected (nothing left), JournalError (nothing
        left), OrderRejected, MismatchDetected (the order is live and not what was meant).
        """
        return await self._placing.place(order, closing=closing)

    async def modify(self, key: str, change: OrderChange) -> Order:
        """Change a live order; checked like a new one; answers once the broker shows the change.

        Raises ModifyRejected (still live as it was), OutcomeUnknown (which of the two is live is not known yet),
        NotOwned, UnknownOrder, and what `place` raises before it sends.
        """
        return await self._changes.modify(self._own(key, "change"), change)

    async def cancel(self, key: str) -> Order:
        """Ask for a cancel; never refused by us, in any state. Waits up to `cancel_deadline` for the end and answers
        with the order as it then stands; with the link down the cancel is kept and sent when it is back.

        Raises UnknownOrder, NotOwned (a FOREIGN order), CancelRejected (the broker refused, and the order lives on).
        """
        return await self._changes.cancel(self._own(key, "cancel"))

    async def cancel_all(self, instrument: Instrument | None = None, *, everything: bool = False) -> list[Order]:
        """Cancel every working order that this journal owns, of one contract when given; `everything`: also FOREIGN
        ones (IB global cancel). Answers with the orders as they stand after `cancel_deadline` at the latest."""
        return await self._changes.cancel_all(instrument, everything=everything)

    async def cancel_and_verify(self, *, everything: bool = False) -> CancelOutcome:
        """Cancel all, then ask the broker what still works. An answer that does not come counts as "still working"."""
        return await self._changes.cancel_and_verify(everything=everything)

    async def wait(self, key: str, timeout: float) -> Order:
        """The order once terminal. Raises DeadlineExceeded after `timeout` real seconds (the order is untouched)."""
        record = self._record(key)
        if not await self._life.until_terminal(record, timeout):
            raise DeadlineExceeded(
                f"end of order {key}",
                timedelta(seconds=timeout),
                f"it is {record.order.state}; wait longer or cancel it",
            )
        return record.order

    async def adopt(self, instrument: Instrument, positions: Sequence[Position] | None = None) -> list[Order]:
        """Take over FOREIGN orders and the foreign position of a contract, durably. Answers the orders adopted.

        `positions` are the broker's, asked for when None. An own order of the contract that is UNKNOWN and gone from
        the broker's books is closed by this: adopting accepts the position as it is.
        """
        told = list(positions) if positions is not None else list(await self._desk.port.positions())
        return self._adoption.adopt(instrument, told)

    def _record(self, key: str) -> Record:
        record = self._book.records.get(key) or self._restorer.load(key)
        if record is None:
            raise UnknownOrder(f"order {key}", "this journal holds no such order", "list the orders to see their keys")
        return record

    def _own(self, key: str, verb: str) -> Record:
        return self._changes.require_own(self._record(key), verb)

    # Safety

    def halt(self, reason: str) -> None:
        """Refuse new orders from this moment on, over restarts, and in every process that shares the journal."""
        self._desk.halted = reason
        try:
            self._desk.journal.halt(reason)
        except JournalError as failure:
            # This process stays halted; the others cannot record an intent either while the journal fails.
            self._desk.note_journal_failure(failure)

    def resume(self) -> None:
        """Lift the kill switch, and the blocks that mismatches set. Raises JournalError, and stays halted then."""
        self._desk.journal.resume()
        self._desk.halted = None
        self._life.blocks.clear()

    @property
    def halted(self) -> str | None:
        """Why trading is halted; None while it is not."""
        return self._desk.halted

    def blocked(self, instrument: Instrument) -> str | None:
        """Why new exposure in this contract is blocked (a mismatch, an UNKNOWN order); None when all is clear."""
        return self._placing.blocked(instrument)

    def alarm(self, text: str) -> None:
        """Report something that a person must look at, as an ALARM event and in the journal."""
        self._life.alarm(text)

    # What stands

    def order(self, key: str) -> Order:
        """Raises UnknownOrder."""
        return self._record(key).order

    def orders(self) -> list[Order]:
        """Every order of this journal, oldest first, and foreign open orders."""
        return [record.order for record in self._book.records.values()]

    def open_orders(self) -> list[Order]:
        """Orders that may still fill, foreign ones flagged."""
        return [record.order for record in self._book.open.values()]

    def working_orders(self) -> list[Order]:
        """The same as `open_orders`: what risk counts as working."""
        return self.open_orders()

    def note_others(self) -> None:
        """Take over what other processes of this journal have written since; from now on an intent is recorded only
        if none of them recorded one in between. Raises JournalError."""
        self._desk.looked_until = self._desk.looked_until or 0
        self._restorer.refresh()

    def recent_orders(self, since: datetime) -> list[Order]:
        """This journal's orders created at or after `since` (market time), newest first."""
        recent: list[Order] = []
        for record in reversed(self._book.records.values()):
            created = record.order.created_at
            if record.order.foreign or created is None:
                continue
            if created < since and record.order.client_id == self._desk.port.client_id:
                break
            if created >= since:
                recent.append(record.order)
        return recent

    def messages_sent(self, since: datetime) -> int:
        """New orders and changes sent at or after `since` (market time), those of earlier processes included."""
        return self._sender.count_since(since)

    def fills(self) -> list[Fill]:
        """Executions of this journal's orders, in the order in which they were booked."""
        return [fill for fill in self._book.fills.values() if fill.order_key is not None]

    def events(self) -> EventStream:
        """Everything that happens to orders and fills from now on; never conflated, never dropped."""
        return self._life.hub.stream()

    def owned_position(self, account: str, instrument: Instrument) -> Decimal:
        """Signed quantity that this journal opened or adopted and still holds."""
        return self._ownership.owned(account, instrument)

    def working_sells(self, account: str, instrument: Instrument) -> Decimal:
        """Shares that this journal's open sell orders can still fill at worst; an OCA group counts once."""
        return self._book.working_quantity(account, instrument, Side.SELL)

    def position_differences(self, positions: Iterable[Position]) -> list[PositionDifference]:
        """Where the broker's positions are not what this journal and the last comparison add up to. Changes nothing."""
        return self._ownership.differences(positions)

    def latency_report(self) -> dict[str, dict[str, float]]:
        """Stage -> {count, p50, p95, p99, max} in milliseconds."""
        return self._life.latency.report()

    @property
    def alarms(self) -> int:
        return self._life.alarms

    # Reconciliation and deadlines

    async def reconcile(self) -> list[PositionDifference]:
        """Read orders, executions and positions, compare, emit what was missed once. A failed query changes nothing
        and is raised. Answers the positions that differed; the broker is the truth from here on."""
        return await self._reconciler.run()

    async def verify_protection(self) -> None:
        """Check every bracket now: protect, cancel or flatten what stands without its stop."""
        self._protection.check_all()
        await self._protection.verify()

    def _reconciled(self) -> None:
        """After every reading: send the cancels that waited, look after protection."""
        if self._changes.has_kept_cancels():
            self._desk.spawn(self._changes.send_kept_cancels(), "cancels that waited for the link")
        self._protection.check_all()
        self._deadlines.check()

    def _need_evidence(self, delay: float) -> None:
        self._reconciler.soon(delay)

    def _changed(self, record: Record) -> None:
        self._protection.changed(record)
        self._deadlines.arm()

    def _refused(self, record: Record) -> None:
        self._protection.refused(record)
        self._deadlines.arm()

    def check_deadlines(self) -> None:
        """Act on deadlines that have passed on `clock.monotonic()`; the manager's own timer calls it."""
        self._deadlines.check()

    # What the port tells

    def _hear(self, handle: Callable[[T], None], message: T) -> None:
        """One message's failure must not take the link or the next message with it (faults C19, C21)."""
        try:
            handle(message)
        except Exception:  # boundary between the port and the books
            log.exception("message %r", message)
            self._desk.task_failures += 1
            self._life.alarm(f"a {type(message).__name__} could not be applied; orders are being read anew")
            self._reconciler.soon()

    def on_broker_order(self, order: BrokerOrder) -> None:
        self._hear(self._inbound.broker_order, order)

    def on_status(self, report: StatusReport) -> None:
        self._hear(self._inbound.status, report)
        if self._inbound.short:
            self._deadlines.arm()

    def on_execution(self, fill: Fill) -> None:
        self._hear(self._inbound.execution, fill)

    def on_commission(self, report: CommissionReport) -> None:
        self._hear(self._life.book_commission, report)

    def on_order_error(self, error: OrderError) -> None:
        self._hear(self._inbound.error, error)

    def on_link_lost(self, reason: str) -> None:
        """No answer can be trusted to come: what is unanswered becomes UNKNOWN, and nothing opens until synced."""
        self._desk.link.synced = False
        for record in list(self._book.open.values()):
            if record.order.state in UNANSWERED and record.sent_epoch == self._desk.link.epoch:
                self._life.apply(record, OrderSignal.LINK_LOST, f"the link ended before an answer: {reason}")
                self._life.alarm(f"order {record.key} is UNKNOWN: the link ended before an answer", record)
        self._changes.link_lost(reason)

    def on_link_restored(self, reason: str) -> None:
        self._desk.link.epoch += 1
        self._desk.link.synced = False
        self._life.recovering = True
        self._desk.spawn(self._reconciler.run(), f"reconciliation after {reason}")
