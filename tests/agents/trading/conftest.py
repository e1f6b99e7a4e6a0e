"""A market of made-up daily bars behind the in-process paper broker, moved by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.order import Fill, NewOrder, Order, OrderType, Side
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.simulation.prices import make_prices
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

CALENDAR = MarketCalendar()
FIRST = date(2011, 11, 1)
DAYS = [day.day for day in CALENDAR.trading_days(date(2011, 1, 3), date(2012, 3, 30))]
BEFORE = DAYS.index(FIRST)


def csv(price: Callable[[int], float]) -> str:
    """Daily bars whose close is `price(sessions since FIRST)`; before FIRST the price is that of session -1."""
    lines, previous = ["Date,Open,High,Low,Close,Volume"], price(-1)
    for index, day in enumerate(DAYS):
        close = price(max(index - BEFORE, -1))
        low, high = min(previous, close) - 0.10, max(previous, close) + 0.10
        lines.append(f"{day},{previous:.2f},{high:.2f},{low:.2f},{close:.2f},2000000")
        previous = close
    return "\n".join(lines)


@dataclass
class Market:
    """A connected broker and its sessions. `session` is the number of the session since FIRST."""

    broker: PaperBroker
    session: int = 0

    async def open(self, session: int = 0, seconds: float = 10.0) -> None:
        """To `seconds` after the open of a session."""
        self.session = session
        await self._to(0, seconds)

    async def close(self) -> None:
        """To a minute after the close."""
        await self._to(1, 60.0)

    async def later(self, minutes: float) -> None:
        await self.broker.advance_to(self.broker.exchange.now + timedelta(minutes=minutes))
        await self.settle()

    async def _to(self, end: int, seconds: float) -> None:
        hours = CALENDAR.trading_day(DAYS[BEFORE + self.session])
        assert hours is not None
        await self.broker.advance_to((hours.open, hours.close)[end] + timedelta(seconds=seconds))
        await self.settle()

    @staticmethod
    async def settle() -> None:
        """Let every task take what it was told."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def trade(self, symbol: str, quantity: int) -> Fill:
        """A filled order of this journal's: above zero buys, below sells."""
        side = Side.BUY if quantity > 0 else Side.SELL
        details = await self.broker.details(symbol)
        order = NewOrder(details.instrument, side, Decimal(abs(quantity)))
        order = (await self.broker.place_smart_order(order)).intent
        await self.later(1)
        return next(fill for fill in self.broker.fills() if fill.order_key == order.key)

    async def stranger(self, symbol: str, quantity: int) -> None:
        """Somebody trades by hand in the same account: FOREIGN to this journal."""
        number = (await self.broker.details(symbol)).instrument.con_id or 0
        side = Side.BUY if quantity > 0 else Side.SELL
        self.broker.exchange.place_manual(OrderTicket(0, 0, number, side, Decimal(abs(quantity)), OrderType.MARKET))
        await self.later(1)
        await self.broker.reconcile()

    def entries(self) -> list[Order]:
        return [order for order in self.broker.orders() if order.leg == 0 and not order.intent.reduce_only]


MakeMarket = Callable[..., AbstractAsyncContextManager[Market]]


@pytest.fixture
def market(tmp_path: Path) -> MakeMarket:
    """market({"AAA": lambda session: 100.0}, policy=…): connected, ten seconds after the open of FIRST."""

    @asynccontextmanager
    async def make(
        prices: Mapping[str, Callable[[int], float]] | None = None, policy: RiskPolicy | None = None
    ) -> AsyncIterator[Market]:
        for symbol, price in (prices or {"AAA": lambda session: 100.0}).items():
            (tmp_path / f"{symbol}.csv").write_text(csv(price))
        source = make_prices(CALENDAR, paths=[tmp_path], start=FIRST)
        exchange = Exchange(source, calendar=CALENDAR, commissions=PriceList())
        broker = PaperBroker(exchange, CALENDAR, journal=Journal(":memory:"), policy=policy, speed=None)
        async with broker:
            made = Market(broker)
            await made.open()
            yield made
        broker.journal.close()

    return make
