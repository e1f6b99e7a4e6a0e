"""No entry without its stop: brackets are watched from their first fill to their last exit (promise Q17)."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal

from ..domain.order import OrderType, TimeInForce, leg_key
from ..domain.order_states import OrderState
from ..errors import BrokerError
from .book import ZERO, Record
from .desk import Desk
from .ownership import Ownership
from .sending import Sender

STOP_TYPES = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL})
#: Proven at the broker and able to fill.
AT_BROKER = frozenset({OrderState.STAGED, OrderState.PRE_SUBMITTED, OrderState.WORKING, OrderState.INACTIVE})
#: Leg numbers of what is put in place of a missing stop. Keys have room for one digit, and a broker that has refused
#: this often needs a person.
_REPLACEMENTS = range(3, 10)


@dataclass(frozen=True, slots=True)
class BracketView:
    """One bracket as it stands. `exposure` is what the entry filled, less exits, and never more than is still owned."""

    entry: Record
    legs: tuple[Record, ...]
    exposure: Decimal

    @property
    def stops(self) -> list[Record]:
        return [leg for leg in self.legs if leg.order.intent.type in STOP_TYPES]

    @property
    def live_legs(self) -> list[Record]:
        return [leg for leg in self.legs if leg.order.state in AT_BROKER]

    @property
    def live_stops(self) -> list[Record]:
        return [leg for leg in self.stops if leg.order.state in AT_BROKER]

    @property
    def doubtful_stops(self) -> list[Record]:
        """Stops that may be at the broker, or on their way there."""
        return [leg for leg in self.stops if leg.may_fill and leg.order.state not in AT_BROKER]


class Protection:
    """Checks brackets a moment after every change of theirs, and mends: protect, cancel or flatten."""

    def __init__(self, desk: Desk, sender: Sender, ownership: Ownership) -> None:
        self._desk = desk
        self._sender = sender
        self._ownership = ownership
        #: bracket key -> monotonic moment of the next check.
        self.due: dict[str, float] = {}
        #: bracket key -> monotonic moment since which something is missing.
        self._since: dict[str, float] = {}
        #: Single stops that the broker cancelled, to be looked at once their OCA partner's fill is known.
        self._lost: dict[str, float] = {}
        #: bracket key -> why it could not be mended, as it was last told.
        self._unmended: dict[str, str] = {}

    def changed(self, record: Record) -> None:
        """A fill, or an end, of any order."""
        now = self._desk.clock.monotonic()
        if record.root in self._desk.book.brackets:
            self.due.setdefault(record.root, now + self._desk.settings.protect_delay)
        order = record.order
        ended = order.state in (OrderState.CANCELLED, OrderState.REJECTED) and self._is_of_this_client(record)
        if ended and not record.cancel_asked and not order.foreign and order.intent.type in STOP_TYPES:
            self._lost.setdefault(record.key, now + self._desk.settings.protect_delay)

    def refused(self, record: Record) -> None:
        """The broker refused to resize an exit: a person is told, and it is tried again later."""
        if record.root in self._desk.book.brackets:
            view = self.view(record.root)
            if record in view.legs and record.order.remaining < view.exposure:
                self._desk.life.alarm(
                    f"exit {record.key} covers {record.order.remaining} of {view.exposure} held", record
                )
            self.due[record.root] = self._desk.clock.monotonic() + self._desk.settings.protect_within

    def check_all(self) -> None:
        """After a reconciliation every bracket that is not over is due."""
        now = self._desk.clock.monotonic()
        for root, legs in self._desk.book.brackets.items():
            entry = self._desk.book.records.get(root)
            if entry is not None and not self._is_over(entry, legs):
                self.due[root] = now

    @staticmethod
    def _is_over(entry: Record, legs: list[Record]) -> bool:
        filled = sum((leg.order.filled for leg in legs), ZERO)
        ended = not entry.may_fill and not any(leg.may_fill for leg in legs)
        return ended and filled >= entry.order.filled

    @property
    def next_due(self) -> float | None:
        moments = [*self.due.values(), *self._lost.values()]
        return min(moments) if moments else None

    def is_due(self, now: float) -> bool:
        moment = self.next_due
        return moment is not None and moment <= now

    async def verify(self) -> None:
        """Check what is due. Nothing is done on a link that is down; the check stays due."""
        desk = self._desk
        if not desk.port.is_healthy or not desk.link.synced:
            return
        now = desk.clock.monotonic()
        for key in [key for key, moment in self._lost.items() if moment <= now]:
            del self._lost[key]
            self._report_lost(desk.book.records[key])
        for root in [root for root, moment in self.due.items() if moment <= now]:
            del self.due[root]
            try:
                await self._check(root, now)
            except BrokerError as failure:
                self._tell_unmended(root, str(failure))
                self.due[root] = now + desk.settings.retry_delay
            else:
                self._unmended.pop(root, None)

    def _tell_unmended(self, root: str, why: str) -> None:
        """Once for each reason: it is tried again and again."""
        if self._unmended.get(root) != why:
            self._unmended[root] = why
            self._desk.life.alarm(f"bracket {root} could not be mended: {why}", self._desk.book.records.get(root))

    def _report_lost(self, record: Record) -> None:
        """A stop that the broker ended while its position is still there (fault O43)."""
        order = record.order
        held = self._ownership.owned(record.account, order.instrument) * -order.intent.side.sign
        group = order.intent.oca_group
        partners = [
            other
            for other in self._desk.book.records.values()
            if group is not None and other.order.intent.oca_group == group and other is not record
        ]
        if held > 0 and not any(other.order.filled > 0 or other.cancel_asked for other in partners):
            why = order.reason or "no reason told"
            self._desk.life.alarm(
                f"the broker ended stop {record.key} and {held} {order.instrument} are held: {why}", record
            )

    def view(self, root: str) -> BracketView:
        book = self._desk.book
        entry, legs = book.records[root], tuple(book.brackets[root])
        exits = sum((leg.order.filled for leg in legs), ZERO)
        exposure = entry.order.filled - exits
        if exposure > 0:
            sign = entry.order.intent.side.sign
            owned = self._ownership.owned(entry.account, entry.order.instrument) * sign
            exposure = max(min(exposure, owned), ZERO)
        return BracketView(entry, legs, exposure)

    def _is_of_this_client(self, record: Record) -> bool:
        """Whether the broker takes changes and cancels of it from here: an order id means nothing to another client."""
        return record.order.client_id in (None, self._desk.port.client_id)

    def _is_watched_elsewhere(self, entry: Record) -> bool:
        """Whether another living process of this journal placed it, and looks after it."""
        client_id = entry.order.client_id
        return client_id is not None and self._desk.journal.is_client_alive(client_id)

    async def _check(self, root: str, now: float) -> None:
        view = self.view(root)
        if not self._is_of_this_client(view.entry):
            # what a dead process left can be given a new stop from here, and nothing else
            if view.exposure > 0 and not view.live_stops and not self._is_watched_elsewhere(view.entry):
                await self._keep_protected(root, view, now)
        elif view.exposure < 0:
            self._desk.life.alarm(
                f"the exits of bracket {root} filled {-view.exposure} more than its entry", view.entry
            )
            await self._cancel(view.live_legs)
        elif view.exposure > 0:
            await self._keep_protected(root, view, now)
        else:
            await self._keep_covered(root, view, now)

    def _overdue(self, root: str, now: float) -> bool:
        """Whether the trouble of a bracket has lasted for `protect_within`; checks again when that is up."""
        limit = self._since.setdefault(root, now) + self._desk.settings.protect_within
        if now >= limit:
            return True
        self.due.setdefault(root, limit)
        return False

    async def _keep_covered(self, root: str, view: BracketView, now: float) -> None:
        """Nothing is held: an entry may work only with a stop behind it, and exits only behind an entry."""
        entry = view.entry
        if entry.order.state in AT_BROKER and not view.live_stops:
            if not view.doubtful_stops or self._overdue(root, now):
                self._desk.life.alarm(f"entry {root} has no stop behind it; it is being cancelled", entry)
                await self._cancel([entry])
        elif not entry.may_fill and view.live_legs:
            if self._overdue(root, now):
                await self._cancel(view.live_legs)
        else:
            self._since.pop(root, None)

    async def _keep_protected(self, root: str, view: BracketView, now: float) -> None:
        if view.live_stops:
            self._since.pop(root, None)
            await self._resize(view)
            return
        if any(stop.cancel_asked for stop in view.stops) or self._alarmed_only(view):
            return
        if view.doubtful_stops and not self._overdue(root, now):
            return
        replacements = [leg for leg in view.legs if leg.order.leg in _REPLACEMENTS]
        if any(leg.may_fill for leg in replacements):
            return
        refused = [leg for leg in replacements if leg.order.state is OrderState.REJECTED]
        if len(refused) > 1 and not self._overdue(root, now):
            return
        self._since.pop(root, None)
        await self._add(root, view, OrderType.MARKET if refused else OrderType.STOP)

    @staticmethod
    def _alarmed_only(view: BracketView) -> bool:
        """Whether the broker cancelled the stop of a complete entry, as it does after a split: the old price may be
        wrong by then, so a person is told and nothing is placed (fault O43). A stop that went together with the rest
        of a part-filled entry is put back."""
        last = max(view.stops, key=lambda stop: stop.order.leg)
        return last.order.state is OrderState.CANCELLED and view.entry.order.state is OrderState.FILLED

    async def _resize(self, view: BracketView) -> None:
        """Exits cover exactly what is held (fault O50)."""
        for leg in view.live_legs:
            wanted = leg.order.filled + view.exposure
            if leg.order.intent.quantity == wanted or leg.pending is not None or leg.cancel_asked:
                continue
            if self._is_of_this_client(leg):
                await self._sender.send_change(leg, replace(leg.order.intent, quantity=wanted))

    async def _add(self, root: str, view: BracketView, type_: OrderType) -> None:
        """Put a stop in the place of the missing one, in its OCA group: should the first one turn up after all, only
        one of them can fill. Where a stop was refused, flatten."""
        stop = view.stops[0].order.intent
        number = max(_REPLACEMENTS.start, max(leg.order.leg for leg in view.legs) + 1)
        is_stop = type_ is OrderType.STOP
        if number not in _REPLACEMENTS:
            self._desk.life.alarm(
                f"{view.exposure} {stop.instrument} of bracket {root} stay without a stop", view.entry
            )
            return
        order = replace(
            stop,
            key=leg_key(root, number),
            quantity=view.exposure,
            type=type_,
            stop_price=stop.stop_price if is_stop else None,
            tif=TimeInForce.GTC if is_stop else TimeInForce.DAY,
            reason=f"protection of {root}",
        )
        verb = "a stop is put in its place" if is_stop else "the position is being closed"
        self._desk.life.alarm(f"{view.exposure} {stop.instrument} of bracket {root} have no stop; {verb}", view.entry)
        records = self._sender.journal_intents(
            [order], view.entry.account, first_leg=number, root=root, allow_halted=True
        )
        if records is not None:
            await self._sender.send(records, time.perf_counter())

    async def _cancel(self, records: list[Record]) -> None:
        for record in records:
            if not record.cancel_asked and self._is_of_this_client(record):
                await self._sender.cancel_record(record)
