"""IBAdapter over the portal client on a paper gateway's portal door, over real TLS, as a world of the suite."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.order import OrderType, TimeInForce
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import PortalSettings
from moondev_ibkr.brokers.interactive_brokers.ib_portal_broker import PortalBroker
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings as DoorSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

from .gateway_world import GatewayPrices
from .world import ACCOUNT, OPEN, WIDE, World


class PortalWorld(World):
    lacks = frozenset(
        {
            OrderType.TRAIL,
            OrderType.MARKET_ON_CLOSE,
            OrderType.LIMIT_ON_CLOSE,
            TimeInForce.GTD,
            "OCA group",
        }
    )

    async def open(self, policy: RiskPolicy = WIDE) -> None:
        self.folder = TemporaryDirectory()
        ca_file = Path(self.folder.name) / "ca.pem"
        settings = GatewaySettings(
            tws=TwsSettings(port=0, message_rate=0),
            portal=DoorSettings(
                port=0,
                requests_per_second=0,
                ca_file=ca_file,
                # the presets of the account, wide enough for these stories: what exceeds them is never confirmed
                size_limit=Decimal(10**6),
                value_limit=Decimal(10**9),
                price_percent=Decimal(50),
            ),
            exchange=ExchangeSettings(accounts=(AccountSettings(ACCOUNT, Decimal(100_000)),)),
            clock=ClockMode.CONTROL,
        )
        self.gateway = Gateway(settings, prices=GatewayPrices(), commissions=PriceList())
        await self.gateway.__aenter__()
        self.exchange = self.gateway.exchange
        server = self.gateway.doors.portal
        assert server is not None
        clock = MarketClock(rate=0.0)
        # the door's limits are off, and so are the client's own
        self.client = IbPortalClient(
            PortalSettings(url=server.url, ca_file=ca_file, client_id=11), clock=clock, limits=()
        )
        self.journal = Journal(":memory:", now=clock.now)
        self.adapter = PortalBroker(self.client, journal=self.journal, policy=policy, clock=clock, margin_what_if=False)
        self.broker = self.adapter
        try:
            await self.gateway.advance_to(OPEN)
            await self.adapter.connect()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.adapter.disconnect()
        self.journal.close()
        await self.gateway.close()
        self.folder.cleanup()

    async def to(self, minutes: float) -> None:
        moment = OPEN + timedelta(minutes=minutes)
        if moment > self.gateway.now:
            await self.gateway.advance_to(moment)
        if self.adapter.health().connected:
            await self.adapter.market_time()
            async with asyncio.timeout(5.0):
                await self.client.settled()
