"""IBAdapter on a paper gateway over a real socket, as a world of the conformance suite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.contracts import ContractBook
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.history import ScheduleRow, schedule
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from .world import ACCOUNT, OPEN, WIDE, PathPrices, World


class GatewayPrices(PathPrices):
    """The same path, with what a gateway asks of its prices beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.calendar = MarketCalendar()
        self.contracts = ContractBook(self.catalogue())

    def schedule(self, start: date, end: date, *, regular_hours: bool = True) -> Sequence[ScheduleRow]:
        return schedule(self.calendar, start, end, regular_hours=regular_hours)


class GatewayWorld(World):
    async def open(self, policy: RiskPolicy = WIDE) -> None:
        settings = GatewaySettings(
            tws=DoorSettings(port=0, message_rate=0),
            exchange=ExchangeSettings(accounts=(AccountSettings(ACCOUNT, Decimal(100_000)),)),
            clock=ClockMode.CONTROL,
        )
        self.gateway = Gateway(settings, prices=GatewayPrices(), commissions=PriceList())
        await self.gateway.__aenter__()
        self.exchange = self.gateway.exchange
        clock = MarketClock(rate=0.0)
        client = IbAsyncClient(TwsSettings(port=self.gateway.tws_port, client_id=11), clock=clock)
        self.journal = Journal(":memory:", now=clock.now)
        self.adapter = IBAdapter(client, journal=self.journal, policy=policy, clock=clock, margin_what_if=False)
        self.broker = self.adapter
        await self.gateway.advance_to(OPEN)
        await self.adapter.connect()

    async def close(self) -> None:
        await self.adapter.disconnect()
        self.journal.close()
        await self.gateway.close()

    async def to(self, minutes: float) -> None:
        moment = OPEN + timedelta(minutes=minutes)
        if moment > self.gateway.now:
            await self.gateway.advance_to(moment)
        if self.adapter.health().connected:
            await self.adapter.market_time()
