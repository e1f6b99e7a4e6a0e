"""What goes into the journal and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ..domain.instrument import Instrument
from ..domain.order import Fill, NewOrder
from ..domain.order_states import OrderState
from ..domain.reports import CommissionReport


@dataclass(frozen=True, slots=True)
class IntentRow:
    """One order message to be sent. `root` is the bracket's key (its own if single), `leg` its number there."""

    intent: NewOrder
    account: str
    root: str
    leg: int = 0
    parent_key: str | None = None


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as it stood when written. `pending` is a change that was sent and not answered yet.

    `request` is the intent as first asked for, `account` the one it was meant for and `door` the one that it was sent
    through; not set in rows that go in.
    """

    intent: NewOrder
    state: OrderState
    order_id: int | None
    client_id: int | None
    perm_ids: tuple[int, ...] = ()
    pending: NewOrder | None = None
    parent_key: str | None = None
    leg: int = 0
    reason: str = ""
    cancel_asked: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    request: NewOrder | None = None
    account: str = ""
    changed: int = 0
    door: str = ""


@dataclass(slots=True)
class Observed:
    """Things learnt from the broker, written together."""

    orders: dict[str, OrderRow] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    commissions: list[CommissionReport] = field(default_factory=list)
    #: (kind, key, JSON body): events that no table needs.
    notes: list[tuple[str, str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.orders or self.fills or self.commissions or self.notes)


@dataclass(frozen=True, slots=True)
class ForeignPosition:
    """What the account held beside this journal's own position when last compared. Signed."""

    account: str
    instrument: Instrument
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class DoorLease:
    """Which door writes now. `epoch` grows with every take-over; an intent under an older epoch is refused."""

    door: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """The first event (or row) at which the journal no longer agrees with itself."""

    seq: int
    why: str
