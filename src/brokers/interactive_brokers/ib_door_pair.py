"""Two doors to one account behind one transport: orders go through the live one, data through whichever has it.

    pair = DoorPair(tws, portal, clock)
    pair.live, pair.data          which door writes, which one tells
    pair.move_data(door)          streams are told Gap, then Resumed
    pair.hand_over(door)          orders go through `door` from here on (`ib_failover` decides when)

Reads of orders and executions ask every door that can answer, so that what one door does not show is still evidence
from the other. Nothing here decides anything about a switch, and nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from ..domain.account import Position
from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import Bar
from ..domain.order import Fill
from ..domain.reports import BrokerOrder, WireOrder
from ..errors import BrokerError, ConnectFailed, LinkError, NotConnected
from ..order_port import OrderListener
from .ib_account_half import AccountHalf
from .ib_door_health import DoorHealth, Sign
from .ib_order_relay import Evidence, OrderRelay, merged_fills, merged_orders
from .ib_question_half import Answer, QuestionHalf
from .ib_shared_lines import SharedLine, SharedLines, SharedStreams
from .ib_transport import (
    BarListener,
    BarRequest,
    IbTransport,
    LinkEvent,
    LinkEventKind,
    LinkListener,
    LinkScope,
    LinkState,
    MarketListener,
    PositionListener,
    Traffic,
    added,
)


class DoorPair(AccountHalf, QuestionHalf):
    """An IbTransport over two. `live` writes; the other is fenced, standing by, or still told about its own orders.

    `watch` is called with every link event of either door, before it is handed on.
    """

    def __init__(self, first: IbTransport, second: IbTransport, clock: Clock) -> None:
        self.doors = (first, second)
        self.live = self.data = first
        self.clock = clock
        self.health = {door.name: DoorHealth(door.name, clock.now()) for door in self.doors}
        self.evidence = Evidence()
        #: Whether the pen is changing hands: nothing is written meanwhile.
        self.handing_over = False
        self.watch: Callable[[IbTransport, LinkEvent], None] = lambda door, event: None
        #: Data moved by itself, orders handed over.
        self.data_moves = self.hand_overs = 0
        self._lines = SharedLines(first)
        self._streams = SharedStreams(first)
        self._listener: OrderListener | None = None
        self._link_listeners: list[LinkListener] = []
        self._market_listeners: list[MarketListener] = []
        self._position_listeners: list[PositionListener] = []
        #: Entry's order id -> the door that a bracket's first leg left through.
        self._entries: dict[int, IbTransport] = {}
        #: Doors that took part in the present reading from its beginning.
        self._asked: set[str] = {first.name}
        for door in self.doors:
            door.set_listener(OrderRelay(self, door))
            door.add_link_listener(partial(self._on_link, door))
            door.add_position_listener(partial(self._on_position, door))
        self._note_roles()

    def other(self, door: IbTransport) -> IbTransport:
        return self.doors[1] if door is self.doors[0] else self.doors[0]

    def door(self, name: str) -> IbTransport:
        """Raises StopIteration for a name that neither has."""
        return next(door for door in self.doors if door.name == name)

    def _note_roles(self) -> None:
        now = self.clock.now()
        for door in self.doors:
            health = self.health[door.name]
            for sign, holder in ((Sign.PEN, self.live), (Sign.DATA, self.data)):
                if door is holder:
                    health.note(sign, now)
                else:
                    health.lift(sign)

    # What the doors tell

    def _on_link(self, door: IbTransport, event: LinkEvent) -> None:
        if event.scope is LinkScope.DATA:
            self._on_data_link(door, event)
            return
        self.health[door.name].hear(event)
        self.watch(door, event)
        if event.kind is LinkEventKind.ALARM:
            self.tell(LinkEventKind.ALARM, f"{door.name}: {event.text}", code=event.code)
            return
        is_live, is_data = door is self.live, door is self.data and event.scope is not LinkScope.ORDERS
        if not is_live and not is_data:
            return
        scope = LinkScope.ALL if is_live and is_data else LinkScope.ORDERS if is_live else LinkScope.DATA
        self._hand_on(event, scope, door)
        other = self.other(door)
        if is_data and event.kind is LinkEventKind.LOST and other.state is LinkState.READY:
            self.move_data(other, event.text)

    def _on_data_link(self, door: IbTransport, event: LinkEvent) -> None:
        """Of a pool of gateways: one that has no orders says nothing of the door."""
        if door is not self.data:
            return
        for listener in tuple(self._link_listeners):
            listener(event)
        other = self.other(door)
        if event.kind is LinkEventKind.LOST and other.state is LinkState.READY:
            self.move_data(other, event.text)

    def _hand_on(self, event: LinkEvent, scope: LinkScope, door: IbTransport) -> None:
        told = LinkEvent(
            event.kind,
            event.time,
            event.text,
            event.code,
            event.farm,
            event.symbols,
            event.restored,
            event.failed,
            event.data_lost,
            scope,
            door.name,
        )
        for listener in tuple(self._link_listeners):
            listener(told)

    def tell(self, kind: LinkEventKind, text: str, scope: LinkScope = LinkScope.ALL, **fields: object) -> None:
        event = LinkEvent(kind, self.clock.now(), text, scope=scope, **fields)  # type: ignore[arg-type]
        for listener in tuple(self._link_listeners):
            listener(event)

    def _on_position(self, door: IbTransport, position: Position) -> None:
        if door is self.live:
            for listener in tuple(self._position_listeners):
                listener(position)

    # Moving

    def move_data(self, door: IbTransport, why: str) -> None:
        """Quotes, bars and streams come through `door` from here on: a Gap, unless one stands, then Resumed."""
        if door is self.data:
            return
        old, self.data = self.data, door
        self.data_moves += 1
        if not self.health[old.name].has(Sign.LOST):
            self.tell(LinkEventKind.LOST, why, LinkScope.DATA, source=old.name)
        for listener in self._market_listeners:
            old.remove_market_listener(listener)
            door.add_market_listener(listener)
        asked, failed = self._lines.move(door)
        again, ended = self._streams.move(door)
        self._note_roles()
        text = f"market data comes through {door.name} now: {why}"
        restored = LinkEventKind.SUBSCRIPTIONS_RESTORED
        self.tell(restored, text, LinkScope.DATA, source=door.name, restored=asked + again, failed=failed + ended)
        self.tell(LinkEventKind.RESTORED, text, LinkScope.DATA, source=door.name)

    def hand_over(self, door: IbTransport) -> None:
        """Orders go through `door` from here on. The caller has fenced the other one and holds the lease."""
        self.live = door
        self.hand_overs += 1
        self._entries.clear()
        self._note_roles()

    def synchronise(self, why: str) -> None:
        """Have the manager read what was missed, through the live door. Its positions are told first: fills that come
        from here on are counted on top of them."""
        for position in self.live.cached_positions() or ():
            self._on_position(self.live, position)
        if self._listener is not None:
            self._listener.on_link_restored(why)
        self.tell(LinkEventKind.RESTORED, why, LinkScope.ORDERS, source=self.live.name)

    # IbTransport: the session

    @property
    def orders(self) -> IbTransport:
        return self.live

    @property
    def farms_down(self) -> Mapping[str, str]:
        return self.data.farms_down

    @property
    def is_healthy(self) -> bool:
        return not self.handing_over and self.live.is_healthy

    @property
    def next_order_id(self) -> int:
        return max(door.next_order_id for door in self.doors if door is self.live or door.is_healthy)

    @property
    def reading_time(self) -> float:
        asked = [self.live] + ([witness] if (witness := self._second_witness()) is not None else [])
        return max(door.reading_time for door in asked)

    async def connect(self) -> None:
        """The live door. Raises ConnectFailed."""
        try:
            await self.live.connect()
        except ConnectFailed as error:
            self.health[self.live.name].note(Sign.REFUSED, self.clock.now(), str(error))
            raise

    async def disconnect(self) -> None:
        await asyncio.gather(*(door.disconnect() for door in self.doors))

    def add_link_listener(self, listener: LinkListener) -> None:
        self._link_listeners.append(listener)

    def add_market_listener(self, listener: MarketListener) -> None:
        self._market_listeners.append(listener)
        self.data.add_market_listener(listener)

    def remove_market_listener(self, listener: MarketListener) -> None:
        if listener in self._market_listeners:
            self._market_listeners.remove(listener)
            self.data.remove_market_listener(listener)

    def add_position_listener(self, listener: PositionListener) -> None:
        self._position_listeners.append(listener)

    def latencies(self) -> Mapping[str, Sequence[float]]:
        return self.live.latencies()

    def traffic(self) -> Traffic:
        return added(door.traffic() for door in self.doors)

    async def market_time(self) -> datetime:
        return await self._read(lambda door: door.market_time())

    async def _read(self, ask: Callable[[IbTransport], Awaitable[Answer]]) -> Answer:
        """One question about the market, asked at the data's door; at the other when that door is lost meanwhile."""
        door = self.data
        try:
            return await ask(door)
        except LinkError:
            other = self.other(door) if self.data is door else self.data
            if other.state is not LinkState.READY:
                raise
            return await ask(other)

    # Quotes and streams

    def subscribe_quotes(self, instrument: Instrument) -> SharedLine:
        return self._lines.subscribe(instrument)

    def unsubscribe_quotes(self, instrument: Instrument) -> None:
        self._lines.unsubscribe(instrument)

    def resubscribe_silent(self, since: float, only: frozenset[int] | None = None) -> None:
        self.data.resubscribe_silent(since, only)

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        return self._streams.open(lambda door: door.subscribe_ticks(instrument, kind), f"{kind} of {instrument}")

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        return self._streams.open(lambda door: door.subscribe_depth(instrument, rows), f"depth of {instrument}")

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        return self._streams.open(lambda door: door.subscribe_news(instrument, providers), f"news of {instrument}")

    def unsubscribe(self, handle: int) -> None:
        self._streams.close(handle)

    async def live_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        return await self._streams.open_bars(request, listener)

    # OrderPort: writes

    def set_listener(self, listener: OrderListener) -> None:
        self._listener = listener

    @property
    def listener(self) -> OrderListener | None:
        return self._listener

    async def verify_link(self, deadline: float) -> None:
        self._require_pen("an order")
        await self.live.verify_link(deadline)

    def _require_pen(self, what: str) -> None:
        if self.handing_over:
            raise NotConnected(what, "the doors are being changed", "nothing was sent; try again in a moment")

    async def place(self, order: WireOrder) -> None:
        what = f"order {order.intent.key}"
        self._require_pen(what)
        if not order.transmit:
            self._entries[order.order_id] = self.live
        entry = self._entries.get(order.parent_id)
        if order.parent_id and entry is not None and entry is not self.live:
            raise NotConnected(what, f"its entry went through {entry.name}, which is fenced", "nothing was sent")
        self.evidence.sent(self.live.client_id, order.order_id, order.intent.key)
        await self.live.place(order)

    async def modify(self, order: WireOrder) -> None:
        self._require_pen(f"change of order {order.intent.key}")
        await self.live.modify(order)

    async def cancel(self, order_id: int, perm_id: int | None = None, client_id: int | None = None) -> None:
        """Through the live door; through the other, by its own name of the order, where that one cannot: a cancel takes
        no pen (promise Q10)."""
        other = self.other(self.live)
        owner = self.live.client_id if client_id is None else client_id
        if perm_id is None and self.evidence.is_unnamed(self.live.name, other.name, owner, order_id):
            # The live door never had it: its "not found" would say nothing of an order that may be at the other.
            if not other.is_healthy:
                why = f"it went through {other.name}, which cannot be asked now"
                raise NotConnected(f"cancel of order {order_id}", why, "it is sent when the order is found")
            await other.cancel(order_id, None, client_id)
            return
        try:
            await self.live.cancel(order_id, perm_id, client_id)
        except BrokerError:
            if not other.is_healthy:
                raise
            await other.cancel(order_id, self.evidence.name(other.name, owner, order_id) or perm_id, client_id)

    async def cancel_everything(self) -> None:
        await self.live.cancel_everything()

    # OrderPort: reads

    def _second_witness(self) -> IbTransport | None:
        """The other door, when it can be asked too."""
        other = self.other(self.live)
        return other if other.is_healthy else None

    def shows_orders_of(self, door: str) -> bool:
        return door == "" or door in self._asked or self.evidence.shows(self.live.name, door)

    def _ask_both(self, *, begins: bool = False) -> IbTransport | None:
        """The second witness of a reading; a door counts as asked only when every part of the reading had it."""
        witness = self._second_witness()
        asked = {self.live.name} | ({witness.name} if witness is not None else set())
        self._asked = asked if begins else self._asked & asked
        return witness

    async def open_orders(self) -> Sequence[BrokerOrder]:
        return await self._orders(lambda door: door.open_orders(), is_open=True)

    async def completed_orders(self) -> Sequence[BrokerOrder]:
        return await self._orders(lambda door: door.completed_orders(), is_open=False)

    async def _orders(
        self, ask: Callable[[IbTransport], Awaitable[Sequence[BrokerOrder]]], *, is_open: bool
    ) -> Sequence[BrokerOrder]:
        witness = self._ask_both(begins=is_open)
        told = await ask(self.live)
        self.evidence.orders(self.live.name, told, is_open=is_open)
        if witness is None:
            return told
        return merged_orders(told, await ask(witness), witness.name, self.evidence)

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        witness = self._ask_both()
        told = await self.live.executions(since)
        self.evidence.fills(self.live.name, told)
        return told if witness is None else merged_fills(told, await witness.executions(since), self.evidence)
