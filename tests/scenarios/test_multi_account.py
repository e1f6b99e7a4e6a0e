"""Two accounts in one session (row B12): every order names its own, and nothing of one shows in the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from tests.conformance.world import OPEN, WIDE

FIRST, SECOND = "DU0000001", "DU0000002"
D = Decimal


@dataclass
class Pair:
    broker: IBAdapter
    gateway: Gateway


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    calendar = MarketCalendar()
    accounts = (AccountSettings(FIRST, D(100_000)), AccountSettings(SECOND, D(50_000)))
    settings = GatewaySettings(
        tws=DoorSettings(port=0, message_rate=0), exchange=ExchangeSettings(accounts=accounts), clock=ClockMode.CONTROL
    )
    prices = FlatPrices({"AAPL": 100.0}, calendar, OPEN)
    clock = MarketClock(rate=0.0)
    async with Gateway(settings, prices=prices) as gateway:
        await gateway.advance_to(OPEN)
        client = IbAsyncClient(TwsSettings(port=gateway.tws_port, client_id=3), clock=clock)
        journal = Journal(":memory:", now=clock.now)
        broker = IBAdapter(client, journal=journal, policy=WIDE, clock=clock, account=FIRST, margin_what_if=False)
        async with broker:
            yield Pair(broker, gateway)
        journal.close()


async def buy(pair: Pair, quantity: int, account: str | None) -> None:
    order = NewOrder(Instrument("AAPL"), Side.BUY, D(quantity), account=account)
    placed = await pair.broker.place(order)
    assert (await pair.broker.wait(placed.key, 5)).state is OrderState.FILLED


async def held(pair: Pair, account: str) -> Decimal:
    return sum((row.quantity for row in await pair.broker.positions(account)), D(0))


async def test_orders_and_positions_stay_in_their_account(pair: Pair) -> None:
    assert pair.broker.accounts() == (FIRST, SECOND)
    await buy(pair, 30, SECOND)
    await buy(pair, 10, None)
    assert (await held(pair, FIRST), await held(pair, SECOND)) == (10, 30)
    assert {fill.account: fill.quantity for fill in pair.broker.fills()} == {SECOND: 30, FIRST: 10}
    assert len(await pair.broker.positions()) == 2


async def test_balances_and_pnl_are_each_account_s_own(pair: Pair) -> None:
    await buy(pair, 100, SECOND)
    first, second = await pair.broker.account(FIRST), await pair.broker.account(SECOND)
    assert (first.account, first.total_cash) == (FIRST, 100_000)
    assert second.total_cash == pair.gateway.exchange.summary(SECOND).total_cash
    assert (await pair.broker.pnl(SECOND)).account == SECOND


async def test_what_one_account_holds_cannot_be_sold_from_the_other(pair: Pair) -> None:
    await buy(pair, 30, SECOND)
    with pytest.raises(BrokerError):
        await pair.broker.place(NewOrder(Instrument("AAPL"), Side.SELL, D(40), account=SECOND))
    assert await held(pair, SECOND) == 30
    sold = await pair.broker.place(NewOrder(Instrument("AAPL"), Side.SELL, D(30), account=SECOND))
    assert (await pair.broker.wait(sold.key, 5)).state is OrderState.FILLED
    assert (await held(pair, FIRST), await held(pair, SECOND)) == (0, 0)


async def test_the_emergency_stop_flattens_every_account(pair: Pair) -> None:
    await buy(pair, 10, FIRST)
    await buy(pair, 20, SECOND)
    report = await pair.broker.emergency_stop("two accounts")
    assert report.not_flat == ()
    assert (await held(pair, FIRST), await held(pair, SECOND)) == (0, 0)


async def test_an_account_that_the_session_lacks_is_refused(pair: Pair) -> None:
    with pytest.raises(BrokerError):
        await pair.broker.place(NewOrder(Instrument("AAPL"), Side.BUY, D(1), account="DU0000009"))
    assert pair.gateway.exchange.open_orders() == []
    with pytest.raises(BrokerError):
        await pair.broker.account("DU0000009")
