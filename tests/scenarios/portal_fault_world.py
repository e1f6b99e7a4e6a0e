"""The adapter over the portal, or over both doors of one gateway in this process, on a loop whose time jumps.

    @virtual                                          runs a story; a minute of it costs milliseconds
    async def test_…():
        async with PortalOnly() as world: …           the portal alone, market time by hand
        async with DoorsWorld(Users.ONE) as world: …  TWS over a network in memory, the portal by calls

Nothing here waits for real time, so that limits in seconds are asserted on the loop's own.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from moondev_ibkr.brokers.calendar import MarketCalendar, calendar_for
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEvent, OrderEventKind
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import PortalSettings, TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_door_pair import DoorPair
from moondev_ibkr.brokers.interactive_brokers.ib_failover import Failover
from moondev_ibkr.brokers.interactive_brokers.ib_failover_policy import FailoverPolicy, Users
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.limits import LIMITS
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import HttpCall, HttpReply
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEvent
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.portal.request import PortalRequest
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings as PortalDoor
from moondev_ibkr.brokers.simulation.tickets import OrderView
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as TwsDoor

from tests.brokers.interactive_brokers.portal.rig import (
    AAPL,
    ACCOUNT,
    START,
    WIDE,
    DoorWire,
    PortalWorld,
    limit,
    virtually,
)
from tests.sim.faults import Faults
from tests.sim.loop import Owner
from tests.sim.messages import Kind
from tests.sim.network import Network, Pipe
from tests.sim.trace import Trace

__all__ = ["AAPL", "ACCOUNT", "DoorsWorld", "PortalOnly", "buy", "limit", "next_of", "sell", "virtual"]

TWS_PORT = 4_000
PLACING = f"POST /iserver/account/{ACCOUNT}/orders"
ORDER = f"/iserver/account/{ACCOUNT}/order/"
Story = Callable[..., Coroutine[Any, Any, None]]


def virtual(story: Story) -> Callable[..., None]:
    """A test that runs this story on a loop whose time jumps."""

    @functools.wraps(story)
    def run(*arguments: Any, **named: Any) -> None:
        virtually(_alone(story(*arguments, **named)))

    return run


async def _alone(story: Coroutine[Any, Any, None]) -> None:
    """A story that fails half-way leaves no task behind."""
    try:
        await story
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def next_of(stream: Any, kind: type, seconds: float = 300.0) -> Any:
    """The next event of a kind; everything before it is passed over."""
    async with asyncio.timeout(seconds):
        async for event in stream:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the stream ended before a {kind.__name__}")


class Heard:
    """What the adapter told of its orders, kept from `begin` to `end`."""

    def __init__(self) -> None:
        self.events: list[OrderEvent] = []
        self._hearing: asyncio.Task[None] | None = None

    def begin(self, adapter: IBAdapter) -> None:
        stream = adapter.order_events()

        async def hear() -> None:
            async for event in stream:
                self.events.append(event)

        self._hearing = asyncio.ensure_future(hear())

    async def end(self) -> None:
        """After the adapter has ended its streams."""
        if self._hearing is not None:
            await self._hearing

    def of(self, kind: OrderEventKind) -> list[OrderEvent]:
        return [event for event in self.events if event.kind is kind]

    @property
    def alarms(self) -> list[str]:
        return [event.text for event in self.of(OrderEventKind.ALARM)]


class PortalOnly(PortalWorld):
    """An adapter over the portal client. Market time stands still unless `advance` moves it; prices at 265 and 408."""

    def __init__(self, **options: Any) -> None:
        super().__init__(broker=True, **options)
        assert self.broker is not None
        self.adapter: IBAdapter = self.broker
        self.heard = Heard()

    async def __aenter__(self) -> PortalOnly:
        await self.adapter.connect()
        self.heard.begin(self.adapter)
        return self

    async def __aexit__(self, *problem: object) -> None:
        await super().__aexit__(*problem)
        await self.heard.end()

    @property
    def placings(self) -> int:
        """Requests for new orders that left."""
        return self.wire.count(PLACING)

    @property
    def refs(self) -> list[str]:
        """The references of every order that the exchange ever took."""
        views = (*self.exchange.open_orders(), *self.exchange.completed_orders())
        return sorted(view.ticket.order_ref for view in views)

    @property
    def held(self) -> Decimal:
        """Shares of AAPL that the exchange's own ledger holds."""
        rows = [row for row in self.exchange.positions() if row.instrument.con_id == AAPL.con_id]
        return sum((row.quantity for row in rows), Decimal(0))

    def state(self, key: str) -> OrderState | None:
        """None for an order that was not made yet."""
        return next((order.state for order in self.adapter.orders() if order.key == key), None)

    def number(self, key: str) -> int:
        """The portal's own number of an order that it has told."""
        perm_id = self.adapter.order(key).perm_id
        assert perm_id is not None
        return -perm_id

    def tell(self, topic: str, *rows: Mapping[str, Any]) -> None:
        """A frame of the door's stream that says what the exchange never did."""
        self.gateway.portal.session.publish({"topic": topic, "args": [dict(row) for row in rows]})

    def answer(self, call: str, text: str, status: int = 200) -> None:
        """The next such request is not done and answered with this body, whatever it means."""
        real = self.wire.exchange

        async def exchange(asked: HttpCall) -> HttpReply:
            if f"{asked.method} {asked.path}" != call:
                return await real(asked)
            self.wire.exchange = real  # type: ignore[method-assign]
            self.wire.calls.append((asyncio.get_running_loop().time(), call))
            return HttpReply(status, text)

        self.wire.exchange = exchange  # type: ignore[method-assign]

    def other_client(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """What another program of the same login asks; the answer's body."""
        request = PortalRequest(method, path, dict(query or {}), json.loads(json.dumps(body or {})))
        answer = self.gateway.portal.serve(request)
        self.wire.settle()
        return answer.body


class Counting(Faults):
    """A network without faults of its own that counts what clients send, by name."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.carried: Counter[str] = Counter()

    def carry(self, pipe: Pipe, frame: bytes, name: str, kind: Kind) -> None:
        if pipe.to_server:
            self.carried[name] += 1
        super().carry(pipe, frame, name, kind)


class DoorsWorld:
    """`users` also decides the gateway's user names: one for both doors, or two. `door` are settings of the portal's
    door, `policy` of the failover. Prices stand still at 265 and 408, with so many `prints` a session; market time runs
    with the loop. `paced`: both sides keep to IB's limits of the portal."""

    def __init__(
        self,
        users: Users = Users.TWO,
        *,
        journal: Journal | None = None,
        policy: Mapping[str, Any] | None = None,
        prints: int = 390,
        paced: bool = False,
        **door: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        trace = Trace(loop.time)
        self.network = Network(loop, Counting(Random(0), trace, 0.0), trace, contextvars.copy_context())
        names = {"user": "one", "tws_user": "one"} if users is Users.ONE else {"user": "portal", "tws_user": "tws"}
        limits = {"size_limit": Decimal(10**6), "value_limit": Decimal(10**9), "price_percent": Decimal(50)}
        self.gateway = Gateway(
            GatewaySettings(
                tws=TwsDoor(port=TWS_PORT, message_rate=0),
                portal=PortalDoor(**{"port": None, "requests_per_second": 10 * paced, **names, **limits, **door}),
                clock=ClockMode.REPLAY,
            ),
            prices=FlatPrices({"AAPL": 265.0, "MSFT": 408.0}, calendar_for(), START, prints=prints),
            monotonic=loop.time,
        )
        self.exchange = self.gateway.exchange
        self.wire = DoorWire(self.gateway)
        self.clock = MarketClock(loop.time, rate=1.0)
        self._owner = Owner()
        self._owns_journal = journal is None
        self.journal = journal or Journal(":memory:", now=self.clock.now)
        self._limits = LIMITS if paced else ()
        self._policy = FailoverPolicy(users, **(policy or {}))
        self.heard = Heard()
        self._make_adapter()

    def _make_adapter(self) -> None:
        """A process's own parts, not connected."""
        tws = TwsSettings(port=TWS_PORT, client_id=7, jitter=0.0)
        self.tws = IbAsyncClient(tws, clock=self.clock, opener=self._open)
        portal = PortalSettings(client_id=7, jitter=0.0)
        self.portal = IbPortalClient(portal, clock=self.clock, wire=self.wire, limits=self._limits)
        self.pair = DoorPair(self.tws, self.portal, self.clock)
        self.failover = Failover(self.pair, self.journal, self._policy, self.clock)
        self.adapter = IBAdapter(
            self.pair,
            journal=self.journal,
            policy=replace(WIDE, max_quote_age=timedelta(hours=8)),
            clock=self.clock,
            calendar=MarketCalendar(),
            margin_what_if=False,
            failover=self.failover,
        )
        self.told: list[LinkEvent] = []
        self.pair.add_link_listener(self.told.append)

    async def restart(self) -> None:
        """The process ends in good order, and another one begins on its journal."""
        await self.adapter.disconnect()
        await self.heard.end()
        self._make_adapter()
        await self.adapter.connect()
        self.heard.begin(self.adapter)

    async def _open(self, protocol: Any, _host: str, port: int) -> asyncio.Transport:
        link = await self.network.open(self._owner, protocol, port)
        return link.client

    async def __aenter__(self) -> DoorsWorld:
        await self.gateway.__aenter__()
        await self.adapter.connect()
        self.heard.begin(self.adapter)
        await self.until(lambda: self.exchange.market(AAPL.con_id or 0).bid, "a price")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.adapter.disconnect()
        await self.heard.end()
        if self._owns_journal:
            self.journal.close()
        await self.gateway.close()
        if kind is None:
            self.check()

    def check(self) -> None:
        """What holds at the end of every story: no key has two orders, and every fill of ours is booked once."""
        views = [*self.exchange.open_orders(), *self.exchange.completed_orders()]
        keys = [view.ticket.order_ref for view in views if view.ticket.order_ref]
        assert len(keys) == len(set(keys)), "one intent has two orders"
        ours = {row.exec_id: row.quantity for row in self.exchange.executions() if row.order_ref in keys}
        assert {fill.exec_id: fill.quantity for fill in self.adapter.fills()} == ours
        door = self.gateway.portal
        assert not door.failures
        assert not self.gateway.door.failures
        assert not self.gateway.timers.failures

    # the gateway's side

    def arm(self, name: str, *arguments: str) -> None:
        self.gateway.faults.arm(name, *arguments)
        self.wire.settle()

    def release(self, name: str) -> None:
        self.gateway.faults.release(name)
        self.wire.settle()

    def orders_of(self, key: str) -> list[OrderView]:
        """Every order of the exchange, living or ended, that carries this reference."""
        views = [*self.exchange.open_orders(), *self.exchange.completed_orders()]
        return [view for view in views if view.ticket.order_ref == key]

    # the adapter's side

    @property
    def pen(self) -> str:
        return self.pair.live.name

    def state(self, key: str) -> OrderState | None:
        """None for an order that was not made yet."""
        return next((order.state for order in self.adapter.orders() if order.key == key), None)

    def sent_to_tws(self, name: str = "placeOrder") -> int:
        """Messages of this kind that reached the TWS door."""
        return self.network.faults.carried[name]

    @property
    def placings(self) -> int:
        """Requests for new orders that left for the portal."""
        return self.wire.count(PLACING)

    def shows(self, viewer: str, other: str) -> bool:
        """Whether a door is believed to show the orders of the other one."""
        return self.pair.evidence.shows(viewer, other)

    def portal_number(self, key: str) -> int:
        """The portal's number of an order of its own."""
        number = self.portal._own.by_key[key].portal_id
        assert number is not None
        return number

    def watch_inits(self) -> list[tuple[float, bool]]:
        """(moment, compete) of every ssodh/init from here on."""
        found: list[tuple[float, bool]] = []
        real = self.wire.exchange

        async def exchange(call: HttpCall) -> HttpReply:
            if call.path.endswith("/ssodh/init"):
                found.append((asyncio.get_running_loop().time(), call.body["compete"]))
            return await real(call)

        self.wire.exchange = exchange  # type: ignore[method-assign]
        return found

    async def lose_tws(self, *, with_order: str = "") -> None:
        """TWS is gone and refuses connections; `with_order` "after" or "before" the next order was taken."""
        self.arm("eof-on-connect")
        self.arm(f"reset-{with_order}-order" if with_order else "reset")

    async def until(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> float:
        """Virtual time until it is so; returns how long that took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not condition():
            assert loop.time() - begun < seconds, f"not within {seconds:g} s: {what}"
            await asyncio.sleep(0.02)
        return loop.time() - begun


def buy(key: str, quantity: int = 10, price: str | None = "250", side: Side = Side.BUY, **fields: Any) -> NewOrder:
    """A limit order, or a market order without a price."""
    limits: dict[str, Any] = (
        {"type": OrderType.MARKET} if price is None else {"type": OrderType.LIMIT, "limit_price": Decimal(price)}
    )
    return NewOrder(fields.pop("instrument", AAPL), side, Decimal(quantity), key=key, **{**limits, **fields})


def sell(key: str, quantity: int = 10, price: str | None = "280", **fields: Any) -> NewOrder:
    return buy(key, quantity, price, Side.SELL, **fields)
