"""The worlds of the conformance suite: a broker, the exchange behind it, and a market that moves on a known path."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.instrument import InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource
from moondev_ibkr.brokers.errors import NoData
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.contracts import stock
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.market import PriceStep, TickKind
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker

NEW_YORK = ZoneInfo("America/New_York")
#: A Wednesday.
DAY = datetime(2026, 4, 15, tzinfo=NEW_YORK)
OPEN = DAY.replace(hour=10).astimezone(UTC)
CLOSE = DAY.replace(hour=16).astimezone(UTC)
#: The next regular open, after which the market stands at MORNING for ten minutes.
REOPEN = (DAY + timedelta(days=1)).replace(hour=9, minute=30).astimezone(UTC)
MORNING = Decimal("101.00")
ACCOUNT = "DU0000001"

#: Minutes after 10:00 -> last price; bid and ask stand a cent either side, 300 shares each.
PATH: Sequence[tuple[int, str]] = (
    (0, "100.00"),
    (5, "98.00"),
    (10, "102.00"),
    (15, "105.00"),
    (20, "101.00"),
    (25, "96.00"),
    (30, "100.00"),
)
DISPLAYED = Decimal(300)
CENT = Decimal("0.01")


class PathPrices:
    """AAPL and MSFT on the same path, a print every ten seconds until the close of the day, and after the next open."""

    def __init__(self) -> None:
        self.start = OPEN
        self.end: datetime | None = None
        self._details = (stock("AAPL"), stock("MSFT"))

    def catalogue(self) -> Sequence[InstrumentDetails]:
        return self._details

    def price_at(self, moment: datetime) -> Decimal:
        if moment >= REOPEN:
            return MORNING
        minutes = (moment - OPEN).total_seconds() / 60
        return Decimal(next((price for start, price in reversed(PATH) if minutes >= start), PATH[0][1]))

    def steps(self) -> Iterator[PriceStep]:
        for moment in (*_every_ten_seconds(OPEN, CLOSE), *_every_ten_seconds(REOPEN, REOPEN + timedelta(minutes=10))):
            price = self.price_at(moment)
            for details in self._details:
                yield PriceStep(
                    moment,
                    details.instrument.con_id or 0,
                    price - CENT,
                    price + CENT,
                    DISPLAYED,
                    DISPLAYED,
                    price,
                    DISPLAYED,
                )

    def history(
        self,
        con_id: int,
        size: BarSize,
        source: BarSource,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        regular_hours: bool = True,
    ) -> list[Bar]:
        """Daily bars of ten days, each at 100, and today's so far."""
        if size is not BarSize.D1:
            raise NoData(f"bars of {con_id}", "daily bars only")
        midnight = datetime(2026, 4, 15, tzinfo=UTC)
        days = [midnight - timedelta(days=back) for back in (14, 13, 12, 9, 8, 7, 6, 5, 2, 1)]
        bars = [Bar(day, 100, 100, 100, 100, 1_000) for day in days]
        price = float(self.price_at(now))
        bars.append(Bar(midnight, 100, max(100, price), min(100, price), price, 1_000, complete=False))
        return [bar for bar in bars if start <= bar.time < end]

    def ticks(self, con_id: int, kind: TickKind, **query: object) -> list[PriceStep]:
        """Nothing has printed before the start."""
        return []

    def head_timestamp(self, con_id: int) -> datetime | None:
        return OPEN - timedelta(days=14)


def _every_ten_seconds(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += timedelta(seconds=10)


#: Wide limits: the suite is about orders, not about refusals.
WIDE = RiskPolicy(
    max_position_value=Decimal(10**7),
    max_exposure=Decimal(10**7),
    max_concentration=Decimal(1000),
    max_order_value=Decimal(10**7),
    max_orders_per_minute=10_000,
    collar_bps=Decimal(2_000),
    exit_collar_bps=Decimal(5_000),
    duplicate_window=timedelta(0),
    open_blackout=timedelta(0),
    max_quote_age=timedelta(hours=8),
    allow_short=True,
)


def make_exchange() -> Exchange:
    return Exchange(
        PathPrices(),
        calendar=MarketCalendar(),
        commissions=PriceList(),
        settings=ExchangeSettings(accounts=(AccountSettings(ACCOUNT, Decimal(100_000)),)),
    )


class World(abc.ABC):
    """A connected broker over `exchange`."""

    exchange: Exchange
    broker: BaseBroker
    #: Order types, times in force and features that this world's door refuses; the stories assert that it does.
    lacks: frozenset[str] = frozenset()

    @abc.abstractmethod
    async def open(self, policy: RiskPolicy = WIDE) -> None: ...

    @abc.abstractmethod
    async def close(self) -> None: ...

    @abc.abstractmethod
    async def to(self, minutes: float) -> None:
        """Market time to that many minutes after 10:00, and everything it brings known to the broker."""


class PaperWorld(World):
    async def open(self, policy: RiskPolicy = WIDE) -> None:
        self.exchange = make_exchange()
        broker = PaperBroker(self.exchange, MarketCalendar(), journal=Journal(":memory:"), policy=policy, speed=None)
        self.broker = broker
        await broker.connect()

    async def close(self) -> None:
        assert isinstance(self.broker, PaperBroker)
        await self.broker.disconnect()
        self.broker.journal.close()

    async def to(self, minutes: float) -> None:
        assert isinstance(self.broker, PaperBroker)
        await self.broker.advance_to(OPEN + timedelta(minutes=minutes))


#: Name -> how to make it. A new broker joins the suite with one row.
WORLDS: dict[str, type[World]] = {"paper": PaperWorld}
