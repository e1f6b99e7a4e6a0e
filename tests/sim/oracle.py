"""What must hold, checked as things happen: the exchange's own books against what each process writes and says.

Q1   one order per key at the exchange, at most, and its intent durable before
Q3   no message of an order repeated; an UNKNOWN order blocks new exposure in its symbol
Q5   every execution booked once, as the exchange has it; holdings are their sum
Q13  nothing ends, and no position or order vanishes, but by evidence
Q18  every intent under the epoch that holds the pen; a key's bytes through one door only
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side, exec_base_id, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.journal import DoorLease, ForeignPosition, IntentRow, Observed, instrument_key
from moondev_ibkr.brokers.simulation.events import Executed, OrderAccepted, PositionChanged
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.tickets import Execution, OrderView

if TYPE_CHECKING:
    from .process import TradingProcess

ZERO = Decimal(0)
#: How old a question may be whose answer is shared: IB's deadline for it.
SHARED_ANSWER = 10.0
#: How long ago the oldest answer of a reading may have been asked for.
OLD_READING = 20.0
STOP_TYPES = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL})


class Violation(AssertionError):
    """An invariant that does not hold; `invariant` names it."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(invariant, text)
        self.invariant = invariant

    def __str__(self) -> str:
        return ": ".join(self.args)


@dataclass(slots=True)
class Known:
    """One key, from its intent on."""

    intent: NewOrder
    account: str
    client_id: int
    #: The door that its intent names.
    door: str
    changes: int = 0
    #: Messages with it that were written to a socket, by door.
    writes: dict[str, int] = field(default_factory=dict)
    perm_ids: set[int] = field(default_factory=set)
    #: The last state that its process wrote to the journal.
    state: OrderState = OrderState.INTENT

    @property
    def total_writes(self) -> int:
        return sum(self.writes.values())


class Oracle:
    """One exchange, one journal file. `now` is the loop's time; the first violation is kept and ends the episode."""

    def __init__(self, exchange: Exchange, now: Callable[[], float], trace: Callable[..., None]) -> None:
        self.exchange = exchange
        self._now = now
        self._trace = trace
        self.violation: Violation | None = None
        self.keys: dict[str, Known] = {}
        self.numbers: dict[tuple[int, int], str] = {}
        self.executions: dict[str, Execution] = {}
        self._key_of_perm: dict[int, str] = {}
        self._key_of_id: dict[tuple[int, int], str] = {}
        self.booked: dict[str, Decimal] = {}
        #: The lease that stands in the journal.
        self.pen: DoorLease | None = None
        self.portal_changes = 0
        self.foreign: dict[int, Decimal] = defaultdict(Decimal)
        self._held: dict[int, list[tuple[float, Decimal]]] = defaultdict(lambda: [(0.0, ZERO)])
        exchange.subscribe(self._on_exchange, OrderAccepted, Executed, PositionChanged)

    def fail(self, invariant: str, text: str) -> None:
        if self.violation is None:
            self.violation = Violation(invariant, text)
            self._trace("VIOLATION", invariant, text)

    # the exchange

    def _on_exchange(self, event: Any) -> None:
        if isinstance(event, OrderAccepted):
            self._on_accepted(event)
        elif isinstance(event, Executed):
            self._on_executed(event.execution)
        else:
            held = event.position
            self._held[held.instrument.con_id].append((self._now(), held.quantity))

    def _on_accepted(self, event: OrderAccepted) -> None:
        order = event.order
        key = order.ticket.order_ref or self._key_of_perm.get(order.perm_id) or self._child_key(order)
        self._trace("exchange", "changed" if event.modified else "took", key, order.perm_id)
        if not key:
            return
        known = self.keys.get(key)
        if known is None:
            self.fail("Q1", f"the exchange took {key}, whose intent is not durable")
            return
        known.perm_ids.add(order.perm_id)
        self._key_of_perm[order.perm_id] = key
        self._key_of_id[order.client_id, order.order_id] = key
        if len(known.perm_ids) > 1:
            self.fail("Q1", f"{key} is at the exchange {len(known.perm_ids)} times: permIds {sorted(known.perm_ids)}")
        if known.state is OrderState.NOT_SENT:
            self.fail("Q13", f"{key} was declared NOT_SENT, and now the exchange takes it")

    def _child_key(self, order: OrderView) -> str:
        """A child of a portal bracket carries no reference: it is known by its parent and its type."""
        parent = self._key_of_id.get((order.client_id, order.ticket.parent_id)) if order.ticket.parent_id else None
        if parent is None:
            return ""
        return leg_key(parent, 1 if order.ticket.type in STOP_TYPES else 2)

    def key_of(self, execution: Execution) -> str:
        """The key whose order traded; "" for somebody else's."""
        return execution.order_ref or self._key_of_perm.get(execution.perm_id, "")

    def _on_executed(self, execution: Execution) -> None:
        base = exec_base_id(execution.exec_id)
        self._trace("exchange", "filled", self.key_of(execution), execution.exec_id, execution.quantity)
        self.executions[base] = execution
        if not self.key_of(execution):
            con_id = execution.instrument.con_id or 0
            self.foreign[con_id] += execution.side.sign * execution.quantity

    # the journal

    def committed_lease(self, lease: DoorLease | None) -> None:
        """The journal names this door from now on."""
        self.pen = lease
        self._trace("journal", "the pen", lease)

    def committed_intents(
        self, process: TradingProcess, rows: list[IntentRow], client_id: int, lease: DoorLease
    ) -> None:
        """Rows whose transaction has just committed."""
        if lease != self.pen:
            self.fail("Q18", f"{rows[0].intent.key} was recorded under {lease}, and {self.pen} stands")
        for row in rows:
            key = row.intent.key
            if key in self.keys:
                self.fail("Q1", f"a second intent of {key} was recorded")
            self.keys[key] = Known(row.intent, row.account, client_id, lease.door)
        entry = rows[0].intent
        if rows[0].leg == 0 and not entry.reduce_only:
            self._check_unknown_blocks(process, entry)

    def _check_unknown_blocks(self, process: TradingProcess, entry: NewOrder) -> None:
        where = instrument_key(entry.instrument)
        doubtful = [
            order.key
            for order in process.adapter.orders()
            if order.state is OrderState.UNKNOWN
            and instrument_key(order.instrument) == where
            and order.key != entry.key
        ]
        if not doubtful:
            return
        # what only reduces an owned position passes
        held = sum((signed for _, signed in self._booked_of(where)), ZERO)
        if held * entry.side.sign < 0 and entry.quantity <= abs(held):
            return
        self.fail("Q3", f"{entry.key} opens {entry.instrument} while {', '.join(doubtful)} is UNKNOWN")

    def _booked_of(self, where: str) -> list[tuple[str, Decimal]]:
        return [
            (base, signed)
            for base, signed in self.booked.items()
            if instrument_key(self.keys[self.key_of(self.executions[base])].intent.instrument) == where
        ]

    def committed_change(self, key: str) -> None:
        known = self.keys.get(key)
        if known is None:
            self.fail("Q1", f"a change of {key} was recorded, and no intent of it")
        else:
            known.changes += 1

    def numbered(self, rows: list[IntentRow], client_id: int, order_ids: tuple[int, ...]) -> None:
        for row, order_id in zip(rows, order_ids, strict=True):
            other = self.numbers.setdefault((client_id, order_id), row.intent.key)
            if other != row.intent.key:
                self.fail("Q1", f"order id {order_id} of client {client_id} was given to {other} and {row.intent.key}")

    def committed_observed(self, observed: Observed, holding: Callable[[str, str], Decimal]) -> None:
        """What a process learnt, now durable."""
        for kind, key, body in observed.notes:
            if kind == "STATE":
                self._check_state(key, OrderState(json.loads(body)["to"]))
        for key, row in observed.orders.items():
            known = self.keys.get(key)
            if known is not None and not known.state.is_terminal:
                known.state = row.state
        touched = set()
        for fill in observed.fills:
            base = exec_base_id(fill.exec_id)
            told = self.executions.get(base)
            if told is None:
                self.fail("Q5", f"execution {fill.exec_id} was booked, and the exchange has no such execution")
                return
            if (told.exec_id, told.quantity, told.price, told.side) != (
                fill.exec_id,
                fill.quantity,
                fill.price,
                fill.side,
            ):
                self.fail("Q5", f"execution {fill.exec_id} was booked as {fill.quantity} at {fill.price}")
            true_key = self.key_of(told)
            if fill.order_key is None:
                if true_key in self.keys:
                    self.fail("Q5", f"execution {fill.exec_id} of {true_key} was booked as foreign")
                continue
            if fill.order_key != true_key:
                self.fail("Q5", f"execution {fill.exec_id} of {true_key} was booked on {fill.order_key}")
            self.booked[base] = fill.side.sign * fill.quantity
            touched.add((fill.account, instrument_key(fill.instrument)))
        for account, where in touched:
            total = sum((signed for _, signed in self._booked_of(where)), ZERO)
            if holding(account, where) != total:
                self.fail("Q5", f"the journal holds {holding(account, where)} of {where}, its executions are {total}")

    def committed_foreign(self, rows: list[ForeignPosition], holding: Callable[[str, str], Decimal]) -> None:
        """What a process takes for others' positions: with its own it must add up to what the account really held."""
        for row in rows:
            con_id = row.instrument.con_id or 0
            total = row.quantity + holding(row.account, instrument_key(row.instrument))
            if total not in self._values_since(con_id, self._now() - OLD_READING):
                self.fail("Q13", f"the position in {row.instrument} was taken to be {total}, which it was not")

    def _values_since(self, con_id: int, began: float) -> list[Decimal]:
        """What the account held in a contract from then on, the value of that moment first."""
        rows = self._held[con_id]
        before = [value for moment, value in rows if moment < began]
        return before[-1:] + [value for moment, value in rows if moment >= began]

    def _check_state(self, key: str, state: OrderState) -> None:
        """An end is believed only when it is so at the exchange."""
        known = self.keys.get(key)
        if known is None:
            return
        self._trace("journal", key, state)
        if not known.state.is_terminal:
            known.state = state
        if not state.is_terminal:
            return
        orders = [self.exchange.order_by_perm(perm_id) for perm_id in known.perm_ids]
        live = [order for order in orders if order is not None and order.completed_at is None]
        if state is OrderState.NOT_SENT and (live or self.truth(key)[1]):
            # one that was cancelled unfilled and has left the broker's books cannot be told from one that never came
            self.fail("Q13", f"{key} was declared NOT_SENT, and the exchange has it")
        elif live:
            self.fail("Q13", f"{key} was declared {state}, and it is live at the exchange")
        elif state is OrderState.FILLED and any(order is not None and order.remaining > 0 for order in orders):
            self.fail("Q13", f"{key} was declared FILLED, and the exchange did not fill it")

    # the wire

    def placed_at_tws(self, client_id: int, order_id: int) -> None:
        """The bytes of a new order or a change were handed to the socket: at this door both are placeOrder."""
        key = self.numbers.get((client_id, order_id))
        if key is None:
            self.fail("Q1", f"order {order_id} of client {client_id} was sent with no durable intent")
        else:
            self._written(key, "tws")

    def placed_at_portal(self, key: str) -> None:
        """The bytes of a new order were handed to the portal's wire."""
        if key not in self.keys:
            self.fail("Q1", f"{key} was sent to the portal with no durable intent")
        else:
            self._written(key, "portal")

    def changed_at_portal(self, process: str) -> None:
        """A change left for the portal; it names the order by the portal's own number."""
        self.portal_changes += 1
        allowed = sum(known.changes for known in self.keys.values())
        if self.portal_changes > allowed:
            self.fail("Q3", f"{process} sent change {self.portal_changes} to the portal, and {allowed} were recorded")

    def _written(self, key: str, door: str) -> None:
        known = self.keys[key]
        is_new = not known.writes
        known.writes[door] = known.writes.get(door, 0) + 1
        if len(known.writes) > 1:
            self.fail("Q18", f"{key} was written to {' and '.join(known.writes)}")
        if known.total_writes > 1 + known.changes:
            self.fail("Q3", f"{key} was sent {known.total_writes} times for one intent and {known.changes} changes")
        if is_new and self.pen is not None and self.pen.door != door:
            self.fail(
                "Q18", f"{key} was written to {door}, and {self.pen.door} has the pen since epoch {self.pen.epoch}"
            )

    # what a caller was told

    def check_positions(self, told: dict[int, Decimal], began: float) -> None:
        """Each quantity must have been so at the exchange at some moment since the question, or a little before: who
        asks while an answer is under way gets that one."""
        began -= SHARED_ANSWER
        for con_id in {*told, *self._held}:
            quantity = told.get(con_id, ZERO)
            rows = self._held[con_id]
            values = [value for moment, value in rows if moment >= began]
            before = [value for moment, value in rows if moment < began]
            if quantity not in (*values, *before[-1:]):
                self.fail(
                    "Q13", f"positions told {quantity} of {con_id}; since the question it was {before[-1:] + values}"
                )

    def truth(self, key: str) -> tuple[str, Decimal]:
        """(none | open | done, filled) of one key at the exchange."""
        known = self.keys[key]
        filled = sum((row.quantity for row in self.executions.values() if self.key_of(row) == key), ZERO)
        if not known.perm_ids:
            return "none", filled
        order = self.exchange.order_by_perm(min(known.perm_ids))
        return ("done" if order is None or order.completed_at is not None else "open"), filled

    def sum_executions(self) -> dict[int, Decimal]:
        """Contract number -> what executions with a key add up to."""
        total: dict[int, Decimal] = defaultdict(Decimal)
        for row in self.executions.values():
            if self.key_of(row):
                total[row.instrument.con_id or 0] += Side(row.side).sign * row.quantity
        return total
