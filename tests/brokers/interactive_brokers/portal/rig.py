"""The portal client on a loop whose time jumps: a scripted wire, or a wire that goes straight to a paper door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from moondev_ibkr.brokers.calendar import MarketCalendar, calendar_for
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Fill, NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.reports import BrokerOrder, CommissionReport, OrderError, StatusReport, WireOrder
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import PortalSettings
from moondev_ibkr.brokers.interactive_brokers.ib_portal_broker import PortalBroker
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.limits import LIMITS
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import Ambiguous, HttpCall, HttpReply, NotSent
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEvent, LinkEventKind
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.portal.request import PortalRequest
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings as DoorSettings

from tests.sim.loop import VirtualLoop

ACCOUNT = "DU0000001"
AAPL = Instrument("AAPL", con_id=265598, primary_exchange="NASDAQ")
#: A Wednesday, 11:00 in New York.
START = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
LATENCY = 0.002
D = Decimal

WIDE = RiskPolicy(
    max_position_value=D(10**7),
    max_exposure=D(10**7),
    max_concentration=D(1000),
    max_order_value=D(10**7),
    max_orders_per_minute=10_000,
    collar_bps=D(2_000),
    exit_collar_bps=D(5_000),
    duplicate_window=timedelta(0),
    open_blackout=timedelta(0),
    max_quote_age=timedelta(hours=8),
    allow_short=True,
)


def virtually(story: Coroutine[Any, Any, None]) -> None:
    """Runs a story on a loop whose time jumps."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(story)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


class _Outlet:
    """The door's end of one WebSocket; `send` and `close` are the client's."""

    def __init__(self, wire: DoorWire, on_frame: Callable[[str], None], on_closed: Callable[[str], None]) -> None:
        self._wire = wire
        self._on_frame = on_frame
        self._on_closed = on_closed
        self.stream: Any = None
        self.open = True

    def write(self, frame: dict[str, Any]) -> None:
        if self.open:
            self._wire.loop.call_soon(self._on_frame, json.dumps(frame))

    def _end(self, why: str) -> None:
        if self.open:
            self.open = False
            self._wire.loop.call_soon(self._on_closed, why)

    #: The door's calls.
    def abort(self) -> None:
        self._end("it was cut off")

    def send(self, text: str) -> None:
        if self.open:
            self._wire.loop.call_soon(self._receive, text)

    def _receive(self, text: str) -> None:
        if self.open:
            self.stream.receive(text)
            self._wire.settle()

    def close(self, code: int | None = None) -> None:
        if code is not None:
            self._end(f"closed with {code}")
        elif self.open:
            self.open = False
            self.stream.leave()


class DoorWire:
    """A PortalWire without sockets. `unreachable` refuses connections, `deaf` lets nothing be answered."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.loop = asyncio.get_running_loop()
        self.unreachable = self.deaf = False
        self.calls: list[tuple[float, str]] = []
        self.opened = 0
        self._alarm: asyncio.TimerHandle | None = None
        gateway.portal.alarms.on_earlier = self._arm

    def settle(self) -> None:
        """What is due at this moment of market time has happened."""
        self.gateway.timers.run_until(self.gateway.now)
        self._arm()

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        due = self.gateway.portal.alarms.next_time()
        self._alarm = None if due is None else self.loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self.gateway.portal.alarms.run_due()
        self.settle()

    async def exchange(self, call: HttpCall) -> HttpReply:
        self.calls.append((self.loop.time(), f"{call.method} {call.path}"))
        if self.unreachable:
            raise NotSent("connection refused")
        await asyncio.sleep(LATENCY)
        if self.deaf:
            await asyncio.sleep(call.deadline)
            raise Ambiguous("no answer in time")
        body = {} if call.body is None else json.loads(json.dumps(call.body))
        request = PortalRequest(call.method, call.path, dict(call.query), body, arrived=self.loop.time())
        answer = self.gateway.portal.serve(request)
        self.settle()
        if answer.abort:
            raise Ambiguous("the connection was reset")
        if answer.delay:
            await asyncio.sleep(min(answer.delay, call.deadline))
            if answer.delay > call.deadline:
                raise Ambiguous("no answer in time")
        await asyncio.sleep(LATENCY)
        return HttpReply(answer.status, answer.encoded().decode(), {}, 2 * LATENCY)

    async def open(self, cookie: str, on_frame: Any, on_closed: Any, deadline: float, suffix: str = "") -> Any:
        if self.unreachable:
            raise NotSent("connection refused")
        self.opened += 1
        request = PortalRequest("GET", "/ws", cookies={"api": cookie.removeprefix("api=")})
        outlet = _Outlet(self, on_frame, on_closed)
        outlet.stream = self.gateway.portal.open_stream(self.gateway.portal.stream_session(request), outlet)
        self.settle()
        return outlet

    async def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def count(self, call: str) -> int:
        """How often "POST /path" was sent; a path's beginning is enough when it ends with a slash."""
        return sum(1 for _, name in self.calls if name == call or (call.endswith("/") and name.startswith(call)))


class Listener:
    """An OrderListener that remembers."""

    def __init__(self) -> None:
        self.orders: list[BrokerOrder] = []
        self.statuses: list[StatusReport] = []
        self.fills: list[Fill] = []
        self.commissions: list[CommissionReport] = []
        self.errors: list[OrderError] = []
        self.lost: list[str] = []
        self.restored: list[str] = []

    def on_broker_order(self, order: BrokerOrder) -> None:
        self.orders.append(order)

    def on_status(self, report: StatusReport) -> None:
        self.statuses.append(report)

    def on_execution(self, fill: Fill) -> None:
        self.fills.append(fill)

    def on_commission(self, report: CommissionReport) -> None:
        self.commissions.append(report)

    def on_order_error(self, error: OrderError) -> None:
        self.errors.append(error)

    def on_link_lost(self, reason: str) -> None:
        self.lost.append(reason)

    def on_link_restored(self, reason: str) -> None:
        self.restored.append(reason)


class PortalWorld:
    """A paper door in memory and a client of it. `broker` True adds adapter and journal; else `listener` hears."""

    def __init__(
        self,
        *,
        broker: bool = False,
        paced: bool = False,
        client: Mapping[str, Any] | None = None,
        limits: Any = None,
        journal: Journal | None = None,
        gateway: Gateway | None = None,
        cash: int = 100_000,
        **door: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        chosen = {"port": None, "size_limit": D(10**6), "value_limit": D(10**9), "price_percent": D(50), **door}
        if not paced:
            chosen.setdefault("requests_per_second", 0)
        self.gateway = gateway or Gateway(
            GatewaySettings(
                clock=ClockMode.CONTROL,
                portal=DoorSettings(**chosen),
                exchange=ExchangeSettings(accounts=(AccountSettings(ACCOUNT, D(cash)),)),
            ),
            prices=FlatPrices({"AAPL": 265.0, "MSFT": 408.0, "MES": 7039.5}, calendar_for(), START),
            monotonic=loop.time,
        )
        self.exchange = self.gateway.exchange
        self.wire = DoorWire(self.gateway)
        self.clock = MarketClock(loop.time, rate=0.0)
        rows = limits if limits is not None else (LIMITS if paced else ())
        settings = PortalSettings(client_id=7, **{"jitter": 0.0, **(client or {})})
        self.client = IbPortalClient(settings, clock=self.clock, wire=self.wire, limits=rows)
        self.events: list[LinkEvent] = []
        self.client.add_link_listener(self.events.append)
        self.listener = Listener()
        self.broker: PortalBroker | None = None
        if broker:
            self.journal = journal or Journal(":memory:", now=self.clock.now)
            self.broker = PortalBroker(
                self.client,
                journal=self.journal,
                policy=WIDE,
                clock=self.clock,
                calendar=MarketCalendar(),
                margin_what_if=False,
            )
        else:
            self.client.set_listener(self.listener)

    async def __aenter__(self) -> PortalWorld:
        await (self.broker or self.client).connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await (self.broker or self.client).disconnect()
        if self.broker is not None:
            self.journal.close()
        door = self.gateway.portal
        assert not door.failures
        assert not door.alarms.failures
        assert not self.gateway.timers.failures
        assert not self.client._stream.failures

    def arm(self, name: str, *arguments: str) -> None:
        self.gateway.faults.arm(f"portal-{name}", *arguments)
        self.wire.settle()

    def release(self, name: str) -> None:
        self.gateway.faults.release(f"portal-{name}")
        self.wire.settle()

    def advance(self, seconds: float) -> None:
        """Market time passes; monotonic time stands still."""
        self.gateway.go_to(self.gateway.now + timedelta(seconds=seconds))

    def count(self, kind: LinkEventKind) -> int:
        return sum(1 for event in self.events if event.kind is kind)

    async def until(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> float:
        """Virtual time until it is so; returns how long that took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not condition():
            assert loop.time() - begun < seconds, f"not within {seconds:g} s: {what}"
            await asyncio.sleep(0.05)
        return loop.time() - begun


def limit(key: str, quantity: int = 10, price: str = "250", side: Side = Side.BUY, **fields: Any) -> NewOrder:
    return NewOrder(AAPL, side, D(quantity), OrderType.LIMIT, limit_price=D(price), key=key, account=ACCOUNT, **fields)


def wire_order(order_id: int, intent: NewOrder, **fields: Any) -> WireOrder:
    return WireOrder(order_id, intent, ACCOUNT, **fields)


class ScriptedWire:
    """A PortalWire that answers by (method, path) from lists: the next reply, the last one again and again. A reply
    that is an exception is raised. What is not scripted is answered with {}."""

    def __init__(self) -> None:
        self.script: dict[str, list[Any]] = {}
        self.calls: list[tuple[float, HttpCall]] = []
        self.delay = 0.0

    def on(self, call: str, *replies: Any) -> None:
        self.script[call] = list(replies)

    async def exchange(self, call: HttpCall) -> HttpReply:
        self.calls.append((asyncio.get_running_loop().time(), call))
        await asyncio.sleep(self.delay)
        replies = self.script.get(f"{call.method} {call.path}", [HttpReply(200, "{}")])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, HttpReply) else HttpReply(200, json.dumps(reply))

    async def open(self, cookie: str, on_frame: Any, on_closed: Any, deadline: float, suffix: str = "") -> Any:
        raise NotSent("no stream here")

    async def close(self) -> None:
        """Nothing is open."""

    def sent(self, path: str) -> list[Any]:
        """The bodies sent to a path, oldest first."""
        return [call.body for _, call in self.calls if call.path == path]
