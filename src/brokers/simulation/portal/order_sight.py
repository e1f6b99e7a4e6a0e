"""Which orders and fills a portal user sees, under which number, and since when.

sees, may_touch, hidden_from_tws                     the switches cross_visibility and cross_cancel
number_of(door, perm_id), view_of(door, number)      the portal's orderId and back
LiveOrders(session)                                  /iserver/account/orders and `sor`: warm-up, filters, coverage
Fills(door)                                          the executions of a week, for /iserver/account/trades and `str`
Coids(door)                                          which cOIDs are taken
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...domain.order import exec_base_id
from ..events import ExchangeEvent, Executed
from ..tickets import Execution, OrderView
from .order_tickets import PORTAL_CLIENT_ID
from .order_words import SORT_BY_TIME, STATUS, filter_word
from .request import whole_number
from .settings import OrderIds, PortalSettings, Visibility

if TYPE_CHECKING:
    from .door import PortalDoor
    from .session import PortalSession

#: Between a permId and the portal's own number for the order; the same in every run, so that a number outlives it.
OWN_NUMBERS = 900_000_000
MOST_ORDERS = 1_000
LONGEST_DAYS = 7
COID_LIFE = timedelta(hours=24)


def sees(door: PortalDoor, client_id: int) -> bool:
    """Whether the portal shows what `client_id` trades."""
    return client_id == PORTAL_CLIENT_ID or door.settings.cross_visibility is Visibility.FULL


def hidden_from_tws(settings: PortalSettings) -> frozenset[int]:
    """The clients whose orders the TWS door does not show."""
    return frozenset() if settings.cross_visibility is Visibility.FULL else frozenset((PORTAL_CLIENT_ID,))


def may_touch(door: PortalDoor, client_id: int) -> bool:
    """Whether the portal may change or cancel orders of `client_id`."""
    return client_id == PORTAL_CLIENT_ID or (sees(door, client_id) and door.settings.cross_cancel)


def number_of(door: PortalDoor, perm_id: int) -> int:
    """The orderId that the portal shows."""
    return perm_id if door.settings.order_ids is OrderIds.PERM else perm_id - OWN_NUMBERS


def view_of(door: PortalDoor, number: str) -> OrderView | None:
    """The order that a client names; None when there is none, or none to be seen."""
    told = whole_number(number)
    if told is None:
        return None
    perm_id = told if door.settings.order_ids is OrderIds.PERM else told + OWN_NUMBERS
    view = door.exchange.order_by_perm(perm_id)
    return view if view is not None and not view.staged and sees(door, view.client_id) else None


class LiveOrders:
    """Cold until it was asked for once. A filter stays until it is forced off: it then bends later unfiltered answers
    and the `sor` stream too (client-portal.md section 2.5)."""

    def __init__(self, session: PortalSession) -> None:
        self._door = session.door
        self._since: datetime = session.brokerage_at
        self.warm = False
        self.filters: frozenset[str] = frozenset()

    def close(self) -> None:
        """Nothing runs by itself."""

    def cool(self) -> None:
        self.warm = False
        self.filters = frozenset()

    def ask(self, filters: Iterable[str] = (), *, force: bool = False) -> bool:
        """One request; False when it only warms up, and its answer is empty."""
        if force:
            self.cool()
        wanted = frozenset(word for word in map(filter_word, filters) if word)
        if wanted:
            self.filters = wanted
        was_warm, self.warm = self.warm, True
        return was_warm

    def covers(self, view: OrderView) -> bool:
        """Working, or ended in this brokerage session; and seen, and not filtered out."""
        if view.staged or not sees(self._door, view.client_id):
            return False
        if view.completed_at is not None and view.completed_at < self._since:
            return False
        wanted = self.filters - {SORT_BY_TIME}
        return not wanted or filter_word(STATUS[view.status]) in wanted

    def views(self, account: str = "") -> list[OrderView]:
        """At most MOST_ORDERS, the newest; oldest first but for the filter sort_by_time."""
        exchange = self._door.exchange
        rows = [
            view
            for view in (*exchange.open_orders(), *exchange.completed_orders())
            if account in ("", view.account) and self.covers(view)
        ]
        rows.sort(key=lambda view: (view.created_at, view.perm_id))
        rows = rows[-MOST_ORDERS:]
        return rows[::-1] if SORT_BY_TIME in self.filters else rows


class Fills:
    """Every execution of the last week, the latest revision of each; market time."""

    def __init__(self, door: PortalDoor) -> None:
        self._door = door
        self._rows: dict[str, Execution] = {}
        self._last: dict[int, datetime] = {}
        for row in door.exchange.executions():
            self._keep(row)
        self._unsubscribe = door.exchange.subscribe(self._on_executed, Executed)

    def close(self) -> None:
        self._unsubscribe()

    def _on_executed(self, event: ExchangeEvent) -> None:
        assert isinstance(event, Executed)
        oldest = self._door.now - timedelta(days=LONGEST_DAYS)
        while self._rows and (first := next(iter(self._rows))) and self._rows[first].time < oldest:
            self._last.pop(self._rows.pop(first).perm_id, None)
        self._keep(event.execution)

    def _keep(self, row: Execution) -> None:
        self._rows[exec_base_id(row.exec_id)] = row
        self._last[row.perm_id] = row.time

    def last_fill(self, perm_id: int) -> datetime | None:
        """When an order last traded; None when it did not, or not in this week."""
        return self._last.get(perm_id)

    def rows(self, days: int = 1, account: str = "") -> Sequence[Execution]:
        """Seen executions, oldest first, of the last `days` times 24 hours."""
        oldest = self._door.now - timedelta(days=days)
        # What a listener was not told of is in the exchange's books all the same.
        for row in self._door.exchange.executions():
            self._rows.setdefault(exec_base_id(row.exec_id), row)
        found = [
            row
            for row in self._rows.values()
            if row.time >= oldest and account in ("", row.account) and sees(self._door, row.client_id)
        ]
        return sorted(found, key=lambda row: row.time)


class Coids:
    """cOIDs of the last 24 hours of market time; those of orders that the exchange knew before the door are there."""

    def __init__(self, door: PortalDoor) -> None:
        self._door = door
        known = (*door.exchange.completed_orders(), *door.exchange.open_orders())
        self._taken: dict[str, datetime] = {
            view.ticket.order_ref: view.created_at for view in known if view.client_id == PORTAL_CLIENT_ID
        }

    def close(self) -> None:
        """Nothing runs by itself."""

    def take(self, coid: str) -> None:
        self._taken[coid] = self._door.now

    def is_taken(self, coid: str) -> bool:
        taken = self._taken.get(coid)
        return taken is not None and self._door.now - taken < COID_LIFE
