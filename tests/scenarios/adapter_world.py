"""IBAdapter over real sockets on a paper gateway in the same loop; market time moves when a story says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_data_manager import DataPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkState
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.orders import OrderSettings
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

ACCOUNT = "DU0000001"

#: Waits shrunk tenfold and more. Deadlines stay wide: the gateway shares the loop, and a machine may be slow. A story
#: about silence shrinks the one deadline that it is about.
QUICK = TwsSettings(
    client_id=7,
    handshake_deadline=5.0,
    section_deadline=5.0,
    section_retry=0.1,
    request_deadline=5.0,
    history_deadline=5.0,
    idle_before_probe=60.0,
    watch_every=0.05,
    first_wait=0.02,
    longest_wait=0.1,
)
#: Wide limits: these stories are about the wire.
WIDE = RiskPolicy(
    max_position_value=Decimal(10**7),
    max_exposure=Decimal(10**7),
    max_concentration=Decimal(1000),
    max_order_value=Decimal(10**7),
    collar_bps=Decimal(2_000),
    duplicate_window=timedelta(0),
    open_blackout=timedelta(0),
    max_quote_age=timedelta(hours=8),
    allow_short=True,
)


class AdapterWorld:
    """A gateway, and the adapter's parts, made but not connected."""

    def __init__(self, gateway: Gateway, settings: TwsSettings, policy: RiskPolicy, check: Callable[..., None]) -> None:
        self.gateway = gateway
        self.clock = MarketClock(rate=0.0)
        self.client = IbAsyncClient(replace(settings, port=gateway.tws_port), clock=self.clock, check_accounts=check)
        self.journal = Journal(":memory:", now=self.clock.now)
        self.adapter = IBAdapter(
            self.client,
            journal=self.journal,
            policy=policy,
            clock=self.clock,
            data=DataPolicy(quote_deadline=1.0, freshen_deadline=0.5),
            orders=OrderSettings(quiet_time=0.2, retry_delay=0.05, sync_deadline=1.0),
        )
        self.events: list[object] = []
        self.client.add_link_listener(self.events.append)

    async def advance(self, seconds: float) -> None:
        """Market time goes on; everything that follows from it has been told when this returns."""
        await self.gateway.advance_to(self.gateway.now + timedelta(seconds=seconds))
        if self.client.state is LinkState.READY:
            await self.adapter.market_time()

    async def until(self, condition: Callable[[], object], what: str, seconds: float = 3.0) -> None:
        """Wait for a condition with a deadline; nothing sleeps for luck."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: {what}") from None

    async def until_restored(self, times: int = 1) -> None:
        await self.until(lambda: self.count(LinkEventKind.RESTORED) >= times, "the session to be restored")

    def count(self, kind: LinkEventKind) -> int:
        return sum(1 for event in self.events if event.kind is kind)

    def arm(self, name: str, *arguments: str) -> None:
        self.gateway.faults.arm(name, *arguments)

    def release(self, name: str) -> None:
        self.gateway.faults.release(name)


@asynccontextmanager
async def adapter_world(
    *,
    connect: bool = True,
    settings: TwsSettings = QUICK,
    policy: RiskPolicy = WIDE,
    door: DoorSettings | None = None,
    check: Callable[..., None] = lambda _accounts: None,
    **gateway_settings: object,
):
    """The world, connected unless told otherwise, with AAPL's line open and one minute of the session gone."""
    chosen = GatewaySettings(
        tws=door or DoorSettings(port=0),
        clock=ClockMode.CONTROL,
        **{"symbols": ("AAPL", "MSFT"), **gateway_settings},
    )
    async with Gateway(chosen) as gateway:
        world = AdapterWorld(gateway, settings, policy, check)
        try:
            if connect:
                await world.adapter.connect()
                await world.advance(60)
            yield world
        finally:
            await world.adapter.disconnect()
            world.journal.close()


def buy(quantity: int = 10, symbol: str = "AAPL", **fields: object) -> NewOrder:
    """A market order, or whatever the fields make of it."""
    limit = fields.pop("limit", None)
    if limit is not None:
        fields |= {"type": OrderType.LIMIT, "limit_price": Decimal(str(limit))}
    side = fields.pop("side", Side.BUY)
    return NewOrder(Instrument(symbol), side, Decimal(quantity), **fields)
