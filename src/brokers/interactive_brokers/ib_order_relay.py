"""What two doors tell of the same orders, made one story: who may speak of what, and what each sees of the other's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from ..domain.order import Fill
from ..domain.reports import BrokerOrder, CommissionReport, OrderError, StatusReport
from .ib_transport import IbTransport

if TYPE_CHECKING:
    from .ib_door_pair import DoorPair


class Sight(Enum):
    """Whether a door shows what was placed through the other."""

    UNTESTED = "untested"
    SEES = "sees"
    BLIND = "blind"


#: Orders whose names are remembered; the oldest go first.
MEMORY = 20_000


class Evidence:
    """What is learnt, order by order, of one door's view of the other's.

    `door_of` tells which door an order of this journal was sent through, None when the key is not this journal's.
    `expected` are the keys of orders that were seen live at a door and have not ended: a complete answer that shows
    none of them comes from a door that does not see them. Nothing is taken on trust, not even that one user's session
    shows the same at both doors (client-portal.md section 5 calls that plausible, and nobody has seen it).
    """

    def __init__(self) -> None:
        self.door_of: Callable[[str], str | None] = lambda key: None
        #: permId -> key of an order of this journal: the children of a portal bracket are told without a reference.
        self.key_of_number: Callable[[int], str | None] = lambda number: None
        self.expected: Callable[[str], set[str]] = lambda door: set()
        self.on_change: Callable[[str, str, Sight], None] = lambda viewer, other, sight: None
        self._sights: dict[tuple[str, str], Sight] = {}
        #: (client id, order id) -> key, and (door, key) -> the number by which that door knows the order.
        self._keys: dict[tuple[int, int], str] = {}
        self._names: dict[tuple[str, str], int] = {}

    def key_of(self, key: str | None, number: int | None) -> str | None:
        """The key that was told, or that of the order with this permId."""
        return key if key is not None or not number else self.key_of_number(number)

    def sight(self, viewer: str, other: str) -> Sight:
        return self._sights.get((viewer, other), Sight.UNTESTED)

    def shows(self, viewer: str, other: str) -> bool:
        return self.sight(viewer, other) is Sight.SEES

    def _learn(self, viewer: str, other: str, sight: Sight) -> None:
        if self.sight(viewer, other) is not sight:
            self._sights[viewer, other] = sight
            self.on_change(viewer, other, sight)

    def _shown(self, viewer: str, keys: Iterable[str | None]) -> set[str]:
        """Other doors whose orders are among `keys`."""
        doors = {self.door_of(key) for key in keys if key is not None}
        return {door for door in doors if door not in (None, "", viewer)}

    def sent(self, client_id: int, order_id: int, key: str) -> None:
        """An order leaves under these names."""
        self._keys[client_id, order_id] = key
        while len(self._keys) > MEMORY:
            del self._keys[next(iter(self._keys))]

    def named(self, viewer: str, told: BrokerOrder) -> None:
        """Remember how `viewer` calls an order of this journal."""
        key = self.key_of(told.key, told.perm_id)
        if key is None or not told.perm_id or self.door_of(key) is None:
            return
        self._names[viewer, key] = told.perm_id
        while len(self._names) > MEMORY:
            del self._names[next(iter(self._names))]
        if told.order_id > 0:
            self.sent(told.client_id, told.order_id, key)

    def name(self, viewer: str, client_id: int, order_id: int) -> int | None:
        """The number by which `viewer` knows the order; None when it has not shown it."""
        return self._names.get((viewer, self._keys.get((client_id, order_id), "")))

    def is_unnamed(self, viewer: str, other: str, client_id: int, order_id: int) -> bool:
        """Whether the order left through `other` in this process, and `viewer` has not shown it."""
        key = self._keys.get((client_id, order_id))
        return key is not None and self.door_of(key) == other and (viewer, key) not in self._names

    def one(self, viewer: str, key: str | None) -> None:
        """A live message of `viewer` about the order `key`."""
        for other in self._shown(viewer, (key,)):
            self._learn(viewer, other, Sight.SEES)

    def orders(self, viewer: str, told: Sequence[BrokerOrder], *, is_open: bool) -> None:
        """A complete answer of `viewer`."""
        for order in told:
            self.named(viewer, order)
        keys = {self.key_of(order.key, order.perm_id) for order in told}
        for other in self._shown(viewer, keys):
            self._learn(viewer, other, Sight.SEES)
        if not is_open:
            return
        for other in ("tws", "portal"):
            missed = self.expected(other) if other != viewer else set()
            if missed and not missed & keys and self.sight(viewer, other) is not Sight.SEES:
                self._learn(viewer, other, Sight.BLIND)

    def fills(self, viewer: str, told: Sequence[Fill]) -> None:
        for other in self._shown(viewer, {self.key_of(fill.order_key, fill.perm_id) for fill in told}):
            self._learn(viewer, other, Sight.SEES)


def merged_orders(
    told: Sequence[BrokerOrder], witnessed: Sequence[BrokerOrder], witness: str, evidence: Evidence
) -> Sequence[BrokerOrder]:
    """The live door's orders, and of the other's only those of this journal that were sent through it and are not shown
    already: a stranger's order would be told twice, under two names."""
    known = {evidence.key_of(order.key, order.perm_id) for order in told}
    ours = [
        order
        for order in witnessed
        if (key := evidence.key_of(order.key, order.perm_id)) is not None
        and key not in known
        and evidence.door_of(key) == witness
    ]
    return [*told, *ours]


def merged_fills(told: Sequence[Fill], witnessed: Sequence[Fill], evidence: Evidence) -> Sequence[Fill]:
    """Execution ids are the same at both doors, so that a fill told twice is booked once; strangers' stay out."""
    known = {fill.exec_id for fill in told}
    ours = [
        fill
        for fill in witnessed
        if fill.exec_id not in known
        and (key := evidence.key_of(fill.order_key, fill.perm_id)) is not None
        and evidence.door_of(key) is not None
    ]
    return [*told, *ours]


class OrderRelay:
    """The listener of one door. The live door is heard in everything. The other one is heard about the orders that were
    sent through it, since nobody else may know of their fills; its silence and its link say nothing to the manager."""

    def __init__(self, pair: DoorPair, door: IbTransport) -> None:
        self._pair = pair
        self._door = door

    @property
    def _is_live(self) -> bool:
        return self._pair.live is self._door

    def _is_own(self, key: str | None) -> bool:
        return key is not None and self._pair.evidence.door_of(key) == self._door.name

    def on_broker_order(self, order: BrokerOrder) -> None:
        evidence = self._pair.evidence
        key = evidence.key_of(order.key, order.perm_id)
        evidence.one(self._door.name, key)
        evidence.named(self._door.name, order)
        listener = self._pair.listener
        if listener is not None and (self._is_live or self._is_own(key)):
            listener.on_broker_order(order)

    def on_status(self, report: StatusReport) -> None:
        listener = self._pair.listener
        if listener is not None and self._is_live:
            listener.on_status(report)

    def on_execution(self, fill: Fill) -> None:
        key = self._pair.evidence.key_of(fill.order_key, fill.perm_id)
        self._pair.evidence.one(self._door.name, key)
        listener = self._pair.listener
        if listener is not None and (self._is_live or self._is_own(key)):
            listener.on_execution(fill)

    def on_commission(self, report: CommissionReport) -> None:
        listener = self._pair.listener
        if listener is not None:
            listener.on_commission(report)

    def on_order_error(self, error: OrderError) -> None:
        listener = self._pair.listener
        if listener is not None and self._is_live:
            listener.on_order_error(error)

    def on_link_lost(self, reason: str) -> None:
        listener = self._pair.listener
        if listener is not None and self._is_live:
            listener.on_link_lost(f"{self._door.name}: {reason}")

    def on_link_restored(self, reason: str) -> None:
        listener = self._pair.listener
        if listener is None:
            return
        if self._is_live and not self._pair.handing_over:
            listener.on_link_restored(f"{self._door.name}: {reason}")
        elif self._pair.live.is_healthy:
            # what the other door can tell again may be the evidence that an order in doubt waits for
            listener.on_link_restored(f"{self._door.name} can be asked again: {reason}")
