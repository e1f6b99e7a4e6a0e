"""Every order and execution that the manager knows, findable by key, by order id and by permId."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from ..domain.instrument import Instrument
from ..domain.order import Fill, NewOrder, Order, Side
from ..domain.order_states import OrderState
from ..domain.reports import BrokerOrder, CommissionReport
from ..journal import OrderRow, instrument_key

ZERO = Decimal(0)
#: Legs of a bracket as it was asked for, beside the entry; higher numbers are stops put in place of a missing one.
ASKED_LEGS = (1, 2)
#: Doors through which a bracket's exits carry no reference of their own (client-portal.md 2.5).
NAMELESS_CHILDREN = ("portal",)


@dataclass(slots=True, eq=False)
class Record:
    """One order with what a frozen Order does not show."""

    order: Order
    request: NewOrder
    account: str
    #: A change that was sent and not answered yet.
    pending: NewOrder | None = None
    #: permId -> whether it may still fill. More than one is the fork of fault O16.
    lives: dict[int, bool] = field(default_factory=dict)
    #: Every permId that the broker ever told for it; positive ones are TWS's, negative ones the portal's.
    names: set[int] = field(default_factory=set)
    #: Which door its intent was sent through.
    door: str = ""
    acknowledged: bool = False
    echo_checked: bool = False
    cancel_asked: bool = False
    #: The cancel did not get out, or its answer may be lost: it is sent when the link is back.
    cancel_kept: bool = False
    #: Link epoch in which the last cancel was sent.
    cancel_epoch: int = 0
    #: Why the broker's echo differs from the intent; None while it does not.
    mismatch: str | None = None
    #: Code of the refusal that ended it.
    reject_code: int | None = None
    #: Link epoch and monotonic moment of the send; epoch 0 is before this process began.
    sent_epoch: int = 0
    sent_at: float = 0.0
    #: `time.perf_counter` when `place` was called.
    started: float = 0.0
    #: Monotonic moment of the last message that showed it at the broker.
    seen_at: float = -1.0
    #: Monotonic moment of the first clean query on a later epoch that did not show it.
    absent_since: float | None = None
    #: The largest filled quantity that a status told.
    told_filled: Decimal = ZERO
    cost: Decimal = ZERO
    first_fill_due: bool = True
    #: Whether `place` may answer with the order as it stands, and who waits for that.
    is_settled: bool = False
    settled: list[asyncio.Future[None]] = field(default_factory=list)
    #: Who waits for the answer to `pending`.
    answered: asyncio.Future[None] | None = None
    pending_epoch: int = 0
    pending_at: float = 0.0
    #: The broker's words when it last refused a cancel.
    cancel_refusal: str = ""
    #: Who waits for the end, and who also for a refused cancel.
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    cancel_waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.order.intent.key

    @property
    def root(self) -> str:
        """The bracket's key; its own for a single order."""
        return self.order.parent_key or self.order.intent.key

    @property
    def may_fill(self) -> bool:
        """Whether it can still fill as far as is known; a forked permId keeps an ended order alive."""
        state = self.order.state
        return state.may_be_live or state is OrderState.INTENT or any(self.lives.values())

    @property
    def worst_quantity(self) -> Decimal:
        """The larger of the quantity now and of a change under way."""
        quantity = self.order.intent.quantity
        return quantity if self.pending is None else max(quantity, self.pending.quantity)

    def row(self) -> OrderRow:
        order = self.order
        return OrderRow(
            intent=order.intent,
            state=order.state,
            order_id=order.order_id,
            client_id=order.client_id,
            perm_ids=(*sorted(self.names - self.lives.keys()), *self.lives),
            pending=self.pending,
            parent_key=order.parent_key,
            leg=order.leg,
            reason=order.reason,
            cancel_asked=self.cancel_asked,
            created_at=order.created_at,
            updated_at=order.updated_at,
        )


class OrderBook:
    """In-memory index; the journal is its durable twin."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        #: Records that may still fill, and those of them that are UNKNOWN.
        self.open: dict[str, Record] = {}
        self.unknown: dict[str, Record] = {}
        self.by_order_id: dict[tuple[int, int], Record] = {}
        self.by_perm_id: dict[int, Record] = {}
        #: bracket key -> its exits (stop, target, later stops) by leg number; the entry is `records[key]`.
        self.brackets: dict[str, list[Record]] = {}
        #: Execution base id -> the latest revision.
        self.fills: dict[str, Fill] = {}
        #: Commissions that came before their executions, by base id.
        self.early_commissions: dict[str, CommissionReport] = {}
        #: Executions of an order that no message has introduced yet, by base id.
        self.orphans: dict[str, Fill] = {}

    def add(self, record: Record) -> None:
        order = record.order
        self.records[record.key] = record
        if order.order_id is not None and order.client_id is not None and order.order_id > 0:
            self.by_order_id[order.client_id, order.order_id] = record
        for perm_id in record.names | record.lives.keys():
            self.by_perm_id[perm_id] = record
        if order.parent_key is not None:
            legs = self.brackets.setdefault(order.parent_key, [])
            legs.append(record)
            legs.sort(key=lambda leg: leg.order.leg)
        self.refresh(record)

    def refresh(self, record: Record) -> None:
        """Keep `open` and `unknown` in step after a change of state."""
        if record.may_fill:
            self.open[record.key] = record
        else:
            self.open.pop(record.key, None)
        if record.order.state is OrderState.UNKNOWN:
            self.unknown[record.key] = record
        elif self.unknown:
            self.unknown.pop(record.key, None)

    def forget(self, record: Record) -> None:
        """Drop a foreign order that ended."""
        self.records.pop(record.key, None)
        self.open.pop(record.key, None)
        for perm_id in record.names | record.lives.keys():
            self.by_perm_id.pop(perm_id, None)
        order = record.order
        if order.client_id is not None and order.order_id is not None:
            self.by_order_id.pop((order.client_id, order.order_id), None)

    def find(
        self, *, key: str | None = None, perm_id: int | None = None, client_id: int | None, order_id: int | None
    ) -> Record | None:
        """By key, then by permId, then by order id of its client. An order id alone never beats another key's echo."""
        if key is not None:
            record = self.records.get(key)
            if record is not None:
                return record
        if perm_id:
            record = self.by_perm_id.get(perm_id)
            if record is not None:
                return record
        if key is None and order_id is not None and order_id > 0 and client_id is not None:
            return self.by_order_id.get((client_id, order_id))
        return None

    def unnamed_exits(self, account: str, instrument: Instrument, side: Side, perm_id: int | None) -> list[Record]:
        """Exits of brackets that may be at the broker and for which the door that told `perm_id` has told no number.

        Those put in place of a lost one are not among them: they are sent alone, with a reference.
        """
        is_portal = (perm_id or 0) < 0
        return [
            record
            for record in self.in_instrument(account, instrument)
            if record.order.leg in ASKED_LEGS
            and record.door in NAMELESS_CHILDREN
            and record.order.intent.side is side
            and not any((name < 0) is is_portal for name in record.names)
        ]

    def unnamed_exit(self, told: BrokerOrder) -> Record | None:
        """The exit that an order without reference can only be, by side, type and price: the portal's children carry
        none. None when it may be another one's, when several fit, or when it ended before the exit was meant."""
        fitting = [
            record
            for record in self.unnamed_exits(told.account, told.instrument, told.side, told.perm_id)
            if _may_be(record, told)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def in_instrument(self, account: str, instrument: Instrument) -> list[Record]:
        """Open records of one account and contract."""
        key = instrument_key(instrument)
        return [
            record
            for record in self.open.values()
            if record.account == account and instrument_key(record.order.instrument) == key
        ]

    def unknown_in(self, instrument: Instrument) -> Record | None:
        """An own order in this contract that may or may not be at the broker."""
        if not self.unknown:
            return None
        key = instrument_key(instrument)
        return next((one for one in self.unknown.values() if instrument_key(one.order.instrument) == key), None)

    def working_quantity(self, account: str, instrument: Instrument, side: Side) -> Decimal:
        """Shares that own open orders of `side` can still fill at worst.

        Orders of one OCA group cancel each other and count once, at the largest. A leg whose entry still works can
        fill only as far as the entry has.
        """
        loose = ZERO
        groups: dict[str, Decimal] = {}
        for record in self.in_instrument(account, instrument):
            order = record.order
            if order.foreign or order.intent.side is not side:
                continue
            remaining = max(record.worst_quantity - order.filled, ZERO)
            entry = self.records.get(order.parent_key) if order.parent_key and order.leg else None
            if entry is not None and entry.may_fill:
                remaining = min(remaining, entry.order.filled)
            group = order.intent.oca_group
            if group is None:
                loose += remaining
            else:
                groups[group] = max(groups.get(group, ZERO), remaining)
        return loose + sum(groups.values(), ZERO)


def _may_be(record: Record, told: BrokerOrder) -> bool:
    """Whether an order without reference has the type and the prices of `record`, now or as they are being changed."""
    begun, ended = record.order.created_at, told.completed_time
    if begun is not None and ended is not None and ended < begun:
        return False
    shape = (told.type, told.limit_price, told.stop_price)
    meant = [one for one in (record.order.intent, record.pending) if one is not None]
    return any(shape == (one.type, one.limit_price, one.stop_price) for one in meant)
