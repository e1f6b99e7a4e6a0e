"""What the portal tells about orders and executions: its lists, and the streams `sor` and `str`, as one story.

An answer that lacks orders known to work is not believed at once (fault P08): unknown is not empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ...domain.order import Fill, exec_base_id
from ...domain.reports import BrokerOrder, StatusReport
from ...errors import BrokerError, InvalidData, InvalidInstrument
from ...order_port import OrderListener
from ..config.ib_config import PortalSettings
from ..ib_transport import LinkState
from .contracts import Contracts
from .order_lists import OrderLists
from .order_rows import (
    is_whole,
    row_number,
    row_status,
    to_broker_order,
    to_commission,
    to_fill,
    to_perm_id,
    to_row_number,
    with_intent,
)
from .own_orders import OwnOrders
from .session import Session
from .words import TERMINAL, to_number

logger = logging.getLogger(__name__)

#: Rows and executions remembered; the oldest go first.
MEMORY = 20_000
#: Readings for commissions that an execution still lacks.
COMMISSION_READINGS = 5
#: Seconds for which completed orders are those of the reading that told the open ones.
ONE_READING = 5.0


class OrderFeed:
    """`client_id` is told for our own orders. `on_traded` is called after executions."""

    def __init__(
        self, session: Session, contracts: Contracts, own: OwnOrders, settings: PortalSettings, client_id: int
    ) -> None:
        self._session = session
        self._contracts = contracts
        self._own = own
        self._settings = settings
        self._client_id = client_id
        self._listener: OrderListener | None = None
        self.on_traded: Callable[[], None] = lambda: None
        self._rows: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._fills: OrderedDict[str, Fill] = OrderedDict()
        self._commissions: OrderedDict[str, None] = OrderedDict()
        self._undecided: dict[str, dict[str, Any]] = {}
        #: Shares executed by the portal's number of the order, and ends that wait for executions told of.
        self._executed: dict[int, Decimal] = {}
        self._ends: dict[int, asyncio.TimerHandle] = {}
        self._lists = OrderLists(session)
        #: The last whole reading of orders and the loop time of its answer.
        self._reading: tuple[float, list[dict[str, Any]]] | None = None
        self._awaited: dict[int, asyncio.TimerHandle] = {}
        #: Loop time of the last frame or reading of each order.
        self._heard_at: dict[int, float] = {}
        self._following: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        #: Rows that could not be told in neutral words, by kind.
        self.untold: Counter[str] = Counter()
        stream = session.stream
        stream.handle("sor", self._on_sor)
        stream.handle("str", self._on_str)
        stream.subscribe("sor", "sor+{}")
        stream.subscribe("str", 'str+{"realtimeUpdatesOnly":false,"days":1}')

    def set_listener(self, listener: OrderListener) -> None:
        self._listener = listener

    @property
    def listener(self) -> OrderListener | None:
        return self._listener

    def forget_caches(self) -> None:
        """A new brokerage session: its caches are cold."""
        self._lists.cool()
        self._reading = None

    # Asking

    async def warm_up(self) -> None:
        """The first calls, whose answers say nothing (start-up section)."""
        await self._lists.warm_up()

    async def read_orders(self) -> list[dict[str, Any]]:
        """Every row that the portal shows now. Raises what asking raises, and ProtocolViolation."""
        rows = await self._lists.orders(self._lacks_known)
        await self._contracts.learn(rows)
        self._reading = (asyncio.get_running_loop().time(), rows)
        shown = set()
        for row in rows:
            number = row_number(row)
            if number is not None:
                shown.add(number)
                if row_status(self.row(number)) not in TERMINAL:
                    # the stream may have told an end while the answer was on its way
                    self._keep(number, row)
        for number in [one for one, row in self._rows.items() if one not in shown and row_status(row) not in TERMINAL]:
            # what a fresh reading no longer shows is not known to work any more
            del self._rows[number]
        return rows

    def _lacks_known(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether an order that is known to work is not in the answer (fault P08)."""
        shown = {row_number(row) for row in rows}
        return any(number not in shown and row_status(row) not in TERMINAL for number, row in self._rows.items())

    async def read_trades(self) -> list[Fill]:
        """Every execution of a week. Raises as `read_orders`."""
        rows = await self._lists.trades()
        await self._contracts.learn(rows)
        fills = [self._told_fill(row) for row in rows]
        return [fill for fill in fills if fill is not None]

    async def open_orders(self) -> list[BrokerOrder]:
        rows = await self.read_orders()
        return [order for row in rows if row_status(row) not in TERMINAL and (order := self._told(row)) is not None]

    async def completed_orders(self) -> list[BrokerOrder]:
        """Those of the reading that `open_orders` made a moment ago, so that one request serves both."""
        reading, now = self._reading, asyncio.get_running_loop().time()
        rows = reading[1] if reading is not None and now - reading[0] <= ONE_READING else await self.read_orders()
        return [order for row in rows if row_status(row) in TERMINAL and (order := self._told(row)) is not None]

    # Telling

    def row(self, number: int) -> Mapping[str, Any]:
        """What is known of an order; empty when nothing is."""
        return self._rows.get(number, {})

    def number_of(self, key: str) -> int | None:
        """The portal's number of the order with this reference."""
        return next((number for number, row in self._rows.items() if row.get("order_ref") == key), None)

    def _keep(self, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
        merged = {**self._rows.pop(number, {}), **row}
        self._rows[number] = merged
        while len(self._rows) > MEMORY:
            self._heard_at.pop(self._rows.popitem(last=False)[0], None)
        return merged

    def _told(self, row: Mapping[str, Any]) -> BrokerOrder | None:
        """A whole row in neutral words, under our own names when it is ours."""
        try:
            told = to_broker_order(row, self._contracts.of_row(row))
        except (InvalidData, InvalidInstrument) as error:
            self.untold["order"] += 1
            logger.error("an order of the portal cannot be told: %s", error)
            return None
        own = self._own.of(told)
        if own is None:
            return told
        return with_intent(told, own.order_id, self._client_id, own.intent, row)

    def _told_fill(self, row: Mapping[str, Any]) -> Fill | None:
        """An execution in neutral words; None when it cannot be read, or when its order is not known yet."""
        try:
            fill = to_fill(row, self._contracts.of_row(row))
        except (InvalidData, InvalidInstrument) as error:
            self.untold["execution"] += 1
            logger.error("an execution of the portal cannot be told: %s", error)
            return None
        own = self._own.of_execution(
            to_row_number(fill.perm_id), fill.order_key, fill.account, fill.instrument.con_id or 0, fill.side.value
        )
        if own is not None:
            perm_id = fill.perm_id if own.portal_id is None else to_perm_id(own.portal_id)
            fill = replace(fill, order_key=own.key, order_id=own.order_id, perm_id=perm_id, client_id=self._client_id)
        base = exec_base_id(fill.exec_id)
        known = self._fills.get(base)
        news = fill.quantity - (known.quantity if known is not None else Decimal(0))
        if own is not None:
            own.booked += news
        number = to_row_number(fill.perm_id)
        if number is not None:
            self._executed[number] = self._executed.get(number, Decimal(0)) + news
        self._fills[base] = fill
        while len(self._fills) > MEMORY:
            self._fills.popitem(last=False)
        return fill

    @property
    def _is_beginning(self) -> bool:
        """Whether the session is not ready yet. What a new stream repeats then is old: the readings that follow tell
        it, as missed and not as happening now (promise Q6)."""
        return self._session.state is LinkState.SYNCING

    def _on_sor(self, frame: dict[str, Any]) -> None:
        for row in _rows_of(frame):
            number = row_number(row)
            if number is not None and self._is_beginning:
                self._keep(number, row)
            elif number is not None:
                self._take_row(number, row)

    def _take_row(self, number: int, row: Mapping[str, Any]) -> None:
        timer = self._awaited.pop(number, None)
        if timer is not None:
            timer.cancel()
        self._heard_at[number] = asyncio.get_running_loop().time()
        merged = self._keep(number, row)
        if not is_whole(merged) or not self._contracts.knows(merged):
            self.follow_up()
            self._tell_status(number, merged)
            return
        if self._is_ahead(number, merged):
            self._hold_end(number)
            return
        told = self._told(merged)
        if told is not None and self._listener is not None:
            self._listener.on_broker_order(told)
        self._retry_undecided()

    def _is_ahead(self, number: int, row: Mapping[str, Any]) -> bool:
        """Whether an order's end tells of more than its executions do: `sor` and `str` come in either order."""
        filled = to_number(row.get("filledQuantity")) or Decimal(0)
        return row_status(row) in TERMINAL and self._executed.get(number, Decimal(0)) < filled

    def _hold_end(self, number: int) -> None:
        """The end is told after the executions, or when they do not come in time; the manager asks for them then."""
        if number in self._ends:
            return
        self._own_number(number)
        delay = self._settings.echo_after
        self._ends[number] = asyncio.get_running_loop().call_later(delay, self._tell_end, number)
        self.follow_up()

    def _own_number(self, number: int) -> None:
        """Bind the number now, so that executions without a reference find their order."""
        row = self._rows.get(number)
        if row is not None and is_whole(row):
            self._told(row)
        self._retry_undecided()

    def _tell_end(self, number: int) -> None:
        timer = self._ends.pop(number, None)
        if timer is not None:
            timer.cancel()
        row = self._rows.get(number)
        told = self._told(row) if row is not None else None
        if told is not None and self._listener is not None:
            self._listener.on_broker_order(told)

    def _tell_status(self, number: int, row: Mapping[str, Any]) -> None:
        """The part of an order's row that a status is."""
        own, status = self._own.by_portal_id.get(number), row_status(row)
        if own is None or status is None or self._listener is None:
            return
        filled = to_number(row.get("filledQuantity")) or own.booked
        left = to_number(row.get("remainingQuantity"))
        remaining = own.intent.quantity - filled if left is None else left
        price = to_number(row.get("avgPrice"))
        self._listener.on_status(
            StatusReport(own.order_id, self._client_id, to_perm_id(number), status, filled, remaining, price)
        )

    def _on_str(self, frame: dict[str, Any]) -> None:
        if not self._is_beginning:
            self.take_executions(_rows_of(frame))

    def take_executions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Executions as they arrive, by whatever way; the manager books each once, by its id."""
        news = False
        for row in rows:
            base = exec_base_id(str(row.get("execution_id") or ""))
            known = self._fills.get(base)
            fill = self._told_fill(row)
            if fill is None:
                continue
            if known is None or known.exec_id != fill.exec_id:
                news = True
                if fill.client_id != self._client_id and fill.order_key is None and fill.perm_id is None:
                    self._undecided[base] = dict(row)
                    continue
                if self._listener is not None:
                    self._listener.on_execution(fill)
            self._tell_commission(fill)
        self._release_ends()
        if news:
            self.on_traded()
            self.follow_up()

    def _release_ends(self) -> None:
        for number in [one for one in self._ends if not self._is_ahead(one, self._rows.get(one, {}))]:
            self._tell_end(number)

    def _tell_commission(self, fill: Fill) -> None:
        report = to_commission(fill)
        if report is None or fill.exec_id in self._commissions:
            return
        self._commissions[fill.exec_id] = None
        while len(self._commissions) > MEMORY:
            self._commissions.popitem(last=False)
        if self._listener is not None:
            self._listener.on_commission(report)

    def _retry_undecided(self) -> None:
        """Executions without reference and number, once an order has become known that may claim them."""
        if not self._undecided:
            return
        waiting, self._undecided = self._undecided, {}
        for base in waiting:
            self._fills.pop(base, None)
        self.take_executions(waiting.values())

    # Following up

    def expect(self, number: int, asked_at: float) -> None:
        """The stream owes a frame of this order since loop time `asked_at`; the orders are read when it does not come
        in time. Frames often come before the answer to the request that causes them."""
        if self._heard_at.get(number, float("-inf")) >= asked_at:
            return
        timer = self._awaited.pop(number, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._awaited[number] = loop.call_later(self._settings.echo_after, self._not_echoed, number)

    def _not_echoed(self, number: int) -> None:
        self._awaited.pop(number, None)
        if self._session.is_connected:
            self._session.spawn(self.read_and_tell(), "orders without an echo")

    def follow_up(self) -> None:
        """Read what the streams do not tell: commissions, whole rows, contracts."""
        if (self._following is None or self._following.done()) and self._session.is_connected:
            self._following = self._session.spawn(self._follow_up(), "follow-up of the streams")

    async def _follow_up(self) -> None:
        for _ in range(COMMISSION_READINGS):
            if any(not self._contracts.knows(row) or not is_whole(row) for row in self._rows.values()):
                await self.read_and_tell(trades=False)
            if not self._lacks_commission():
                return
            await self.read_and_tell(orders=False)

    def _lacks_commission(self) -> bool:
        return any(fill.commission is None for fill in self._fills.values())

    async def read_and_tell(self, *, orders: bool = True, trades: bool = True) -> None:
        """Read, and tell the listener what the streams would have told. A failure is logged: it is read again later."""
        try:
            if orders:
                for row in await self.read_orders():
                    number = row_number(row)
                    if number is not None:
                        self._take_row(number, self.row(number))
            if trades:
                before = dict(self._fills)
                for fill in await self.read_trades():
                    known = before.get(exec_base_id(fill.exec_id))
                    if (known is None or known.exec_id != fill.exec_id) and self._listener is not None:
                        self._listener.on_execution(fill)
                    self._tell_commission(fill)
                self._release_ends()
        except BrokerError as error:
            logger.info("reading orders and trades: %s", error)

    async def settled(self) -> None:
        """Until what the streams told has been followed up."""
        while self._following is not None and not self._following.done():
            await asyncio.wait({self._following})

    # Without a stream

    def poll(self, wanted: bool) -> None:
        """Read orders and trades again and again while the stream is down."""
        if wanted and (self._polling is None or self._polling.done()):
            self._polling = self._session.spawn(self._poll(), "polling of orders")
        elif not wanted and self._polling is not None:
            self._polling.cancel()
            self._polling = None

    async def _poll(self) -> None:
        while True:
            await self.read_and_tell()
            await asyncio.sleep(self._settings.poll_every)

    def stop(self) -> None:
        for timer in (*self._awaited.values(), *self._ends.values()):
            timer.cancel()
        self._awaited.clear()
        self._ends.clear()
        self.poll(False)


def _rows_of(frame: Mapping[str, Any]) -> list[dict[str, Any]]:
    args = frame.get("args")
    rows = args if isinstance(args, list) else [args]
    return [row for row in rows if isinstance(row, dict)]


def fills_since(fills: Iterable[Fill], moment: datetime | None) -> list[Fill]:
    """Those at or after `moment`; all of them for None."""
    return [fill for fill in fills if moment is None or fill.time >= moment.astimezone(UTC)]
