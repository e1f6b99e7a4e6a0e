"""A pool over gateways that are a few lines each, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import DataType, Quote
from moondev_ibkr.brokers.errors import BrokerError, LinkLost
from moondev_ibkr.brokers.interactive_brokers.ib_gateway_pool import GatewayPool
from moondev_ibkr.brokers.interactive_brokers.ib_pool_member import GatewayTerms, PoolMember, PoolPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_transport import (
    LinkEvent,
    LinkEventKind,
    LinkScope,
    LinkState,
    Traffic,
)

from tests.sim.loop import VirtualLoop

NOW = datetime(2026, 4, 15, 15, tzinfo=UTC)
AAPL, MSFT, IBM, GOOG = (
    Instrument(name, con_id=number) for number, name in enumerate(("AAPL", "MSFT", "IBM", "GOOG"), 1)
)
ALL = (AAPL, MSFT, IBM, GOOG)


#: Calls that only count.
_ORDER_HALF = frozenset(
    {"place", "modify", "cancel", "cancel_everything", "what_if", "open_orders", "completed_orders", "executions"}
)


class LoopClock:
    """Both clocks are the loop's."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


class FakeLine:
    def __init__(self, gateway: FakeGateway, instrument: Instrument) -> None:
        self.gateway, self.instrument = gateway, instrument
        self.updates, self.last_update, self.error = 0, None, None
        self.data_type = DataType.LIVE

    def quote(self) -> Quote:
        return Quote(self.instrument, NOW, source=self.gateway.address)


class FakeGateway:
    """A transport with as much behind it as a pool needs. `refusal` is what a connect raises, `answer` what a question
    takes in seconds, `error` what it raises; `hangs` answers nothing until the session is lost."""

    name = "tws"
    client_id, next_order_id, reading_time, minimum_quantity = 1, 7, 0.0, Decimal(1)
    sections: tuple[Any, ...] = ()

    def __init__(self, address: str) -> None:
        self.address = address
        self.state = LinkState.DOWN
        self.refusal: BrokerError | None = None
        self.error: BrokerError | None = None
        self.answer = 0.0
        self.hangs = False
        self.connects: list[float] = []
        self.asked = self.beats = 0
        self.lines: dict[int, FakeLine] = {}
        self.handles: dict[int, str] = {}
        self.farms_down: dict[str, str] = {}
        self.market_listeners: list[Any] = []
        self.link_listeners: list[Callable[[LinkEvent], None]] = []
        self.order_calls: list[str] = []
        self.listener: Any = None

    @property
    def is_healthy(self) -> bool:
        return self.state is LinkState.READY

    async def connect(self) -> None:
        self.connects.append(asyncio.get_running_loop().time())
        if self.refusal is not None:
            raise self.refusal
        self.state = LinkState.READY
        self.event(LinkEventKind.UP)

    async def disconnect(self) -> None:
        self.state = LinkState.DOWN

    def event(self, kind: LinkEventKind, text: str = "", **fields: Any) -> None:
        for listener in self.link_listeners:
            listener(LinkEvent(kind, NOW, text or str(kind), **fields))

    def lose(self) -> None:
        self.state = LinkState.WAITING
        if self.listener is not None:
            self.listener.on_link_lost("reset")
        self.event(LinkEventKind.LOST, "reset")

    def come_back(self) -> None:
        """As a session does: what it still has is asked for again, and then it says so."""
        self.state = LinkState.READY
        self.event(LinkEventKind.SUBSCRIPTIONS_RESTORED, "back", restored=len(self.lines) + len(self.handles))
        if self.listener is not None:
            self.listener.on_link_restored("back")
        self.event(LinkEventKind.RESTORED, "back")

    def set_listener(self, listener: Any) -> None:
        self.listener = listener

    def add_link_listener(self, listener: Any) -> None:
        self.link_listeners.append(listener)

    def add_market_listener(self, listener: Any) -> None:
        self.market_listeners.append(listener)

    def remove_market_listener(self, listener: Any) -> None:
        self.market_listeners.remove(listener)

    # data

    async def _question(self) -> str:
        if self.state is not LinkState.READY:
            raise LinkLost("a question", f"{self.address} is {self.state}")
        if self.hangs:
            await asyncio.sleep(10)
            raise LinkLost("a question", "no answer")
        await asyncio.sleep(self.answer)
        if self.error is not None:
            raise self.error
        return self.address

    async def market_time(self) -> datetime:
        self.beats += 1
        await self._question()
        return NOW

    async def historical_bars(self, request: Any) -> str:
        self.asked += 1
        return await self._question()

    async def live_bars(self, request: Any, listener: Any) -> tuple[int, list[Any]]:
        self.asked += 1
        await self._question()
        handle = len(self.handles) + 100
        self.handles[handle] = "bars"
        return handle, [self.address]

    def subscribe_quotes(self, instrument: Instrument) -> FakeLine:
        if self.error is not None:
            raise self.error
        line = self.lines[instrument.con_id or 0] = FakeLine(self, instrument)
        return line

    def unsubscribe_quotes(self, instrument: Instrument) -> None:
        del self.lines[instrument.con_id or 0]

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        if self.error is not None:
            raise self.error
        handle = len(self.handles) + 100
        self.handles[handle] = f"{kind} {instrument.symbol}"
        return handle

    def unsubscribe(self, handle: int) -> None:
        self.handles.pop(handle, None)

    def resubscribe_silent(self, since: float, only: frozenset[int] | None = None) -> None:
        symbols = tuple(line.instrument.symbol for line in self.lines.values())
        self.event(LinkEventKind.FARM_DOWN, "silent", symbols=symbols)
        self.event(LinkEventKind.SUBSCRIPTIONS_RESTORED, "asked again", symbols=symbols, restored=len(symbols))

    def add_position_listener(self, listener: Any) -> None:
        return None

    def cached_positions(self) -> list[Any]:
        return []

    def latencies(self) -> dict[str, list[float]]:
        return {}

    def traffic(self) -> Traffic:
        return Traffic(received=1000 * self.asked, sent=100 * self.asked)

    # orders

    def __getattr__(self, name: str) -> Any:
        if name not in (
            "place",
            "modify",
            "cancel",
            "cancel_everything",
            "what_if",
            "open_orders",
            "completed_orders",
            "executions",
        ):
            raise AttributeError(name)

        async def call(*_: Any) -> list[Any]:
            self.order_calls.append(name)
            return []

        return call


class PoolWorld:
    """A pool, its gateways by position (the first has the orders), and every link event that it told."""

    def __init__(self, loop: VirtualLoop, terms: tuple[GatewayTerms, ...], policy: PoolPolicy) -> None:
        self.loop = loop
        self.clock = LoopClock(loop)
        self.gateways = [FakeGateway(one.name) for one in terms]
        members = [
            PoolMember(gateway, one, self.clock, policy, has_orders=gateway is self.gateways[0])  # type: ignore[arg-type]
            for gateway, one in zip(self.gateways, terms, strict=True)
        ]
        self.pool = GatewayPool(members[0], members[1:], self.clock, policy)
        self.told: list[LinkEvent] = []
        self.pool.add_link_listener(self.told.append)

    def kinds(self, scope: LinkScope) -> list[LinkEventKind]:
        return [event.kind for event in self.told if event.scope is scope]

    def spread(self) -> list[int]:
        """Quote lines at each gateway, by what it was asked for."""
        return [len(gateway.lines) for gateway in self.gateways]


def terms(count: int, **by_name: dict[str, Any]) -> tuple[GatewayTerms, ...]:
    """g0, g1, …; `g1={"weight": 2}` sets what one of them has."""
    return tuple(replace(GatewayTerms(f"g{index}"), **by_name.get(f"g{index}", {})) for index in range(count))


def virtually(
    story: Callable[[PoolWorld], Coroutine[Any, Any, None]],
    gateways: tuple[GatewayTerms, ...] | None = None,
    *,
    connect: bool = True,
    **policy: Any,
) -> None:
    """Runs a story on a loop whose time jumps, over three gateways unless told otherwise."""
    loop = VirtualLoop()

    async def run() -> None:
        world = PoolWorld(loop, gateways or terms(3), PoolPolicy(**policy))
        try:
            if connect:
                await world.pool.connect()
                world.told.clear()
            await story(world)
        finally:
            await world.pool.disconnect()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
