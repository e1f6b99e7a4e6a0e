"""What the broker tells about orders, applied to the books as it arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from ..domain.order import Fill, Order, exec_base_id
from ..domain.order_states import OrderSignal, OrderState
from ..domain.reports import BrokerOrder, BrokerStatus, OrderEffect, OrderError, OrderEventKind, StatusReport
from ..errors import ModifyRejected
from .book import Record
from .echo import as_told, differences, foreign_intent
from .lifecycle import NEVER_WORKED, Lifecycle, release

#: Status -> signal. None: the status proves that the broker has the order and says nothing of how it stands;
#: executions alone tell of fills (fault O10).
STATUS_SIGNALS: dict[BrokerStatus, OrderSignal | None] = {
    BrokerStatus.PENDING_SUBMIT: None,
    BrokerStatus.API_PENDING: None,
    BrokerStatus.PRE_SUBMITTED: OrderSignal.PRE_SUBMIT,
    BrokerStatus.SUBMITTED: OrderSignal.WORK,
    BrokerStatus.PENDING_CANCEL: OrderSignal.CANCEL_SENT,
    BrokerStatus.CANCELLED: OrderSignal.CANCEL,
    BrokerStatus.API_CANCELLED: OrderSignal.CANCEL,
    BrokerStatus.FILLED: None,
    BrokerStatus.INACTIVE: OrderSignal.HOLD,
}

#: Effect of an error code -> signal. Effects without a row leave the state alone (promise Q7).
EFFECT_SIGNALS: dict[OrderEffect, OrderSignal] = {
    OrderEffect.REJECTED: OrderSignal.REJECT,
    OrderEffect.CANCELLED: OrderSignal.CANCEL,
    OrderEffect.HELD: OrderSignal.HOLD,
    OrderEffect.CANCEL_REJECTED: OrderSignal.CANCEL_REFUSED,
}

_IN_DOUBT = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN})
_LIVE_STATUS = frozenset({BrokerStatus.PRE_SUBMITTED, BrokerStatus.SUBMITTED, BrokerStatus.PENDING_SUBMIT})
#: Early statuses kept for orders that no openOrder has introduced yet.
_KEPT_STATUSES = 1000


class Inbound:
    """Applies one message at a time; never waits and never raises on what the broker says."""

    def __init__(
        self,
        life: Lifecycle,
        client_id: Callable[[], int],
        load: Callable[[str], Record | None],
        evidence: Callable[[float], None],
    ) -> None:
        self._life = life
        self._book = life.book
        self._client_id = client_id
        #: Finds an order of another process in the shared journal.
        self._load = load
        #: Asks for a reconciliation after so many seconds.
        self._evidence = evidence
        self._early: dict[int, StatusReport] = {}
        #: key -> monotonic moment by which the executions that a status told of must have come.
        self.short: dict[str, float] = {}
        #: Link epoch of the reading that is being applied.
        self.epoch = 0
        #: Set while all that the broker tells is at hand: what no order claims then is foreign.
        self.all_told = False
        #: Called with the record after a fill or an end, so that protection can follow.
        self.on_change: Callable[[Record], None] = lambda record: None
        #: Called with the record of a change that the broker refused.
        self.on_refusal: Callable[[Record], None] = lambda record: None
        #: Keys whose executions were asked for because a status told of more than they add up to.
        self.missing: set[str] = set()

    # Orders

    def broker_order(self, told: BrokerOrder) -> None:
        record = self._shown(told)
        if record is None:
            self._add_foreign(told)
            return
        self._bind(record, told.perm_id, told.client_id, told.order_id)
        if record.order.foreign:
            self._refresh_foreign(record, told)
        else:
            self._check_echo(record, told)
        if told.warning:
            self._life.warn(told.warning, record)
        if told.status is not None:
            self._status(record, told.status, told.perm_id, "")
        elif not told.transmit:
            self._show(record, OrderSignal.STAGE)
        else:
            self._show(record, None)
        if told.filled is not None:
            self._told_filled(record, told.filled)
        self._claim_orphans(record)

    def introduce(self, told: BrokerOrder) -> None:
        """Bind the broker's numbers of a known order, so that its executions find it."""
        record = self._shown(told)
        if record is not None:
            self._bind(record, told.perm_id, told.client_id, told.order_id)

    def completed(self, told: BrokerOrder) -> None:
        """One of the broker's completed orders: final, and only of interest when the order is known."""
        record = self._shown(told)
        if record is None:
            return
        self._bind(record, told.perm_id, told.client_id, told.order_id)
        self._life.seen(record)
        if told.filled is not None:
            self._told_filled(record, told.filled)
        if told.status in (BrokerStatus.CANCELLED, BrokerStatus.API_CANCELLED):
            self._end(record, told.perm_id, OrderSignal.CANCEL, told.completed_status)
        elif told.status is BrokerStatus.INACTIVE:
            self._end(record, told.perm_id, OrderSignal.REJECT, told.completed_status)
        elif told.status is BrokerStatus.FILLED:
            self._told_filled(record, told.quantity)
            self._show(record, None)
            self._told_complete(record, told.quantity)

    def status(self, report: StatusReport) -> None:
        record = self._find(None, report.perm_id, report.client_id, report.order_id)
        if record is None:
            if report.perm_id:
                self._early[report.perm_id] = report
                while len(self._early) > _KEPT_STATUSES:
                    self._early.pop(next(iter(self._early)))
            return
        self._bind(record, report.perm_id, report.client_id, report.order_id)
        self._status(record, report.status, report.perm_id, report.why_held)
        self._told_filled(record, report.filled)
        if report.status is BrokerStatus.FILLED and report.remaining == 0:
            self._told_complete(record, report.filled)
        self._claim_orphans(record)

    def _status(self, record: Record, status: BrokerStatus, perm_id: int, why_held: str) -> None:
        if record.order.state in NEVER_WORKED and status in _LIVE_STATUS:
            self._contradiction(record, perm_id, status)
        signal = STATUS_SIGNALS[status]
        if status is BrokerStatus.FILLED and record.order.state is not OrderState.PENDING_CANCEL:
            signal = OrderSignal.WORK
        if signal is OrderSignal.CANCEL:
            self._life.seen(record)
            self._end(record, perm_id, signal, "")
            return
        self._show(record, signal, f"held: {why_held}" if why_held else "")
        if why_held:
            self._life.settle(record)
        elif status is BrokerStatus.INACTIVE and not record.order.foreign and not self.all_told:
            # Refused or parked: where no error tells which, the broker's books do.
            self._evidence(self._life.settings.execution_grace)

    def _show(self, record: Record, signal: OrderSignal | None, reason: str = "") -> None:
        """The broker has the order. With no signal only a doubt about that is lifted."""
        self._life.seen(record)
        if signal is None:
            signal = OrderSignal.PRE_SUBMIT if record.order.state is OrderState.UNKNOWN else OrderSignal.SEND
        self._life.apply(record, signal, reason)

    def _end(self, record: Record, perm_id: int, signal: OrderSignal, reason: str) -> None:
        before = record.order.state
        if not self._life.end_life(record, perm_id, signal, reason):
            self._evidence(0.0)
        if record.order.state is not before:
            self.on_change(record)
            if record.order.foreign and record.order.state.is_terminal:
                self._book.forget(record)

    def _contradiction(self, record: Record, perm_id: int, status: BrokerStatus) -> None:
        """An order that was thought never to have worked is live: it is watched and can be cancelled again."""
        if any(record.lives.values()):
            return
        record.lives[perm_id or next(iter(record.lives), 0)] = True
        self._book.refresh(record)
        text = f"order {record.key} was {record.order.state} and the broker shows it {status.value}"
        self._life.alarm(text, record)
        self._life.block(record.order.instrument, text)

    def _told_complete(self, record: Record, quantity: Decimal) -> None:
        """The broker says that the order is over with so much filled, which answers a change that was under way."""
        if record.pending is None:
            return
        if record.pending.quantity == quantity:
            self._confirm_change(record)
        else:
            self._life.drop_change(record, "the order filled as it was")
        if record.order.filled >= record.order.intent.quantity:
            self._life.apply(record, OrderSignal.FILL)
            self._book.refresh(record)

    def _told_filled(self, record: Record, filled: Decimal) -> None:
        if filled <= record.told_filled:
            return
        record.told_filled = filled
        if filled > record.order.filled and not record.order.foreign:
            grace = self._life.settings.execution_grace
            self.short.setdefault(record.key, self._life.clock.monotonic() + grace)

    # Who is meant

    def _find(self, key: str | None, perm_id: int | None, client_id: int | None, order_id: int | None) -> Record | None:
        record = self._book.find(key=key, perm_id=perm_id, client_id=client_id, order_id=order_id)
        if record is None and key is not None:
            record = self._load(key)
        return record

    def _shown(self, told: BrokerOrder) -> Record | None:
        record = self._find(told.key, told.perm_id, told.client_id, told.order_id)
        return self._book.unnamed_exit(told) if record is None and told.key is None else record

    def _bind(self, record: Record, perm_id: int, client_id: int, order_id: int) -> None:
        """Remember the broker's numbers. A second permId for one key is a fork: both are watched (promise Q8).

        The first number that another door tells is that door's name of the same order.
        """
        if perm_id and perm_id not in record.lives:
            if 0 in record.lives:
                del record.lives[0]
            rivals = {name for name in record.names if (name < 0) is (perm_id < 0)}
            forked = bool(rivals - {perm_id}) or len(record.lives) > 1
            if not forked:
                # what the other door called it lives on under its name here
                alive = any(record.lives.values()) if record.lives else not record.order.state.is_terminal
                record.lives = {perm_id: alive}
            else:
                record.lives[perm_id] = True
            record.names.add(perm_id)
            self._book.by_perm_id[perm_id] = record
            self._book.refresh(record)
            if forked:
                numbers = ", ".join(str(number) for number in record.lives)
                text = f"order {record.key} is at the broker under several permIds: {numbers}"
                self._life.alarm(text, record)
                self._life.block(record.order.instrument, text)
            else:
                record.order = replace(record.order, perm_id=perm_id)
            self._life.writer.touch(record)
        if record.order.order_id is None and order_id > 0:
            record.order = replace(record.order, order_id=order_id, client_id=client_id)
            self._book.by_order_id[client_id, order_id] = record

    # Echo

    def _check_echo(self, record: Record, told: BrokerOrder) -> None:
        found = differences(record.order.intent, record.account, told)
        if record.pending is not None:
            if not differences(record.pending, record.account, told):
                self._confirm_change(record)
            elif self.all_told and not found:
                self._judge_pending(record)
            return
        if not found:
            record.echo_checked = True
            return
        if record.mismatch is not None:
            return
        text = f"order {record.key} at the broker is not what was meant: {'; '.join(found)}"
        if record.echo_checked:
            self._changed_elsewhere(record, told, text)
            return
        record.echo_checked = True
        record.mismatch = text
        self._life.alarm(text, record)
        self._life.block(record.order.instrument, text)
        self._life.block(told.instrument, text)

    def _judge_pending(self, record: Record) -> None:
        """A reading shows the order as it was: on a later link, or after quiet time, the change did not arrive."""
        quiet = record.pending_at + self._life.settings.quiet_time - self._life.clock.monotonic()
        if record.pending_epoch < self.epoch or quiet <= 0:
            self._life.drop_change(record, "the broker shows the order as it was")
        else:
            self._evidence(quiet)

    def _confirm_change(self, record: Record) -> None:
        changed = record.pending
        assert changed is not None
        record.echo_checked = True
        self._life.update_intent(record, changed)

    def _changed_elsewhere(self, record: Record, told: BrokerOrder, text: str) -> None:
        """Somebody changed our order at the broker (in TWS, say): what is live there is what counts."""
        intent = as_told(record.order.intent, told)
        if intent is None or intent == record.order.intent:
            if record.mismatch is None:
                record.mismatch = text
                self._life.alarm(text, record)
            return
        self._life.update_intent(record, intent, text)
        self._life.alarm(text, record)

    # Foreign orders

    def _add_foreign(self, told: BrokerOrder) -> None:
        if told.status in (BrokerStatus.CANCELLED, BrokerStatus.API_CANCELLED, BrokerStatus.FILLED):
            return
        name = str(told.perm_id) if told.perm_id else f"{told.client_id}-{abs(told.order_id)}"
        intent = foreign_intent(told, f"foreign-{name}"[:32])
        now = self._life.clock.now()
        order = Order(
            intent,
            OrderState.INTENT,
            order_id=told.order_id,
            perm_id=told.perm_id or None,
            client_id=told.client_id,
            foreign=True,
            created_at=now,
            updated_at=now,
        )
        record = Record(order, intent, told.account)
        if told.perm_id:
            record.lives[told.perm_id] = True
            record.names.add(told.perm_id)
        record.echo_checked = True
        self._book.add(record)
        early = self._early.pop(told.perm_id, None)
        status = told.status or (early.status if early else None)
        if status is not None:
            self._status(record, status, told.perm_id, early.why_held if early else "")
        if record.order.state in _IN_DOUBT:
            self._show(record, OrderSignal.PRE_SUBMIT)
        self._claim_orphans(record)

    def _refresh_foreign(self, record: Record, told: BrokerOrder) -> None:
        intent = foreign_intent(told, record.key)
        if intent != record.order.intent:
            record.order = replace(record.order, intent=intent, updated_at=self._life.clock.now())
            self._life.emit(OrderEventKind.MODIFIED, record, text="changed where it was placed")

    # Executions

    def execution(self, fill: Fill) -> None:
        record = self._find(fill.order_key, fill.perm_id, fill.client_id, fill.order_id)
        if record is None:
            record = self._of_known_execution(fill)
        if record is None and self._may_be_ours(fill):
            self._book.orphans[exec_base_id(fill.exec_id)] = fill
            self._evidence(0.0)
            return
        if record is not None and fill.perm_id:
            self._bind(record, fill.perm_id, fill.client_id or 0, fill.order_id or 0)
        self._life.book_fill(fill, record)
        if record is None:
            return
        if record.order.filled >= record.told_filled:
            self.short.pop(record.key, None)
        self.on_change(record)
        if record.order.foreign and record.order.state.is_terminal:
            self._book.forget(record)

    def _of_known_execution(self, fill: Fill) -> Record | None:
        known = self._book.fills.get(exec_base_id(fill.exec_id))
        return self._book.records.get(known.order_key) if known is not None and known.order_key else None

    def _may_be_ours(self, fill: Fill) -> bool:
        """Whether an order of this client may still claim the execution (fault O19)."""
        if exec_base_id(fill.exec_id) in self._book.fills or self.all_told:
            return False
        if fill.order_key is None and self._book.unnamed_exits(fill.account, fill.instrument, fill.side, fill.perm_id):
            return True
        return fill.client_id is None or (fill.client_id == self._client_id() and (fill.order_id or 0) > 0)

    def _claim_orphans(self, record: Record) -> None:
        if not self._book.orphans:
            return
        for fill in list(self._book.orphans.values()):
            if fill.perm_id and fill.perm_id in record.lives:
                self.execution(fill)

    def report_missing(self) -> None:
        """Say for which orders even a complete reading lacks executions that a status told of."""
        missing, self.missing = self.missing, set()
        for key in missing:
            record = self._book.records.get(key)
            if record is not None and record.told_filled > record.order.filled:
                told, booked = record.told_filled, record.order.filled
                self._life.alarm(f"order {key}: the broker told {told} filled, its executions are {booked}", record)

    def release_orphans(self) -> None:
        """Book executions that no order claimed as foreign ones. Called when the broker has been asked for all."""
        for base in list(self._book.orphans):
            self.execution(self._book.orphans[base])

    # Errors

    def error(self, error: OrderError) -> None:
        record = self._book.by_order_id.get((self._client_id(), error.order_id))
        if record is None:
            return
        effect = error.effect
        text = f"{error.code}: {error.text}"
        if effect is OrderEffect.MODIFY_REJECTED or (effect is OrderEffect.REJECTED and record.pending is not None):
            self._modify_refused(record, error, text)
            return
        signal = EFFECT_SIGNALS.get(effect)
        if signal is None:
            self._life.warn(text, record, error.code)
            if effect is OrderEffect.UNKNOWN:
                self._evidence(self._life.settings.execution_grace)
            return
        record.acknowledged = True
        if signal is OrderSignal.CANCEL_REFUSED:
            self._cancel_refused(record, error, text)
        elif signal is OrderSignal.HOLD:
            self._show(record, signal, text)
            self._life.settle(record)
        else:
            record.reject_code = error.code
            self._end(record, 0, signal, text)

    def _modify_refused(self, record: Record, error: OrderError, text: str) -> None:
        if record.pending is None:
            self._life.warn(text, record, error.code)
            return
        if record.answered is not None and not record.answered.done():
            record.answered.set_exception(_refused_change(record, error))
        self._life.drop_change(record, text, error.code)
        self.on_refusal(record)
        self._evidence(0.0)

    def _cancel_refused(self, record: Record, error: OrderError, text: str) -> None:
        self._life.apply(record, OrderSignal.CANCEL_REFUSED, text)
        self._life.emit(OrderEventKind.CANCEL_REJECTED, record, text=text, code=error.code)
        record.cancel_refusal = text
        record.cancel_kept = False
        waiting, record.cancel_waiters = record.cancel_waiters, []
        release(waiting)
        self._evidence(0.0)


def _refused_change(record: Record, error: OrderError) -> ModifyRejected:
    return ModifyRejected(
        f"change of order {record.key}",
        error.text,
        "the order is still live as it was",
        code=error.code,
        key=record.key,
    )
