"""The exchange on the project's own prices, calendar and price list: fills stay in their bars, the books add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource
from moondev_ibkr.brokers.domain.order import OrderType, Side, TimeInForce
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.events import Executed
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.hours import NEW_YORK
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings, FillModel
from moondev_ibkr.brokers.simulation.prices import make_prices
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

DAYS = 6
TYPES = [OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.MARKET_ON_CLOSE, OrderType.MIDPRICE]


def traded(kind: str, seed: int) -> tuple[Exchange, list[Executed]]:
    """Some days of orders of many kinds in every symbol."""
    accounts = (AccountSettings(cash=Decimal(5_000_000)),)
    exchange = Exchange(
        make_prices(MarketCalendar(), kind=kind, symbols=["AAPL", "IBM"], seed=seed),
        calendar=MarketCalendar(),
        commissions=PriceList(),
        settings=ExchangeSettings(accounts=accounts, seed=seed, fills=FillModel(slippage_ticks=3)),
    )
    told: list[Executed] = []
    exchange.subscribe(told.append, Executed)
    random, number = Random(seed), 0
    for _ in range(DAYS * 8):
        for details in exchange.catalogue():
            con_id = details.instrument.con_id
            view = exchange.market(con_id)
            if view.bid is None or not details.instrument.symbol.isalpha():
                continue
            number += 1
            type = random.choice(TYPES)
            near = view.bid + random.randint(-30, 30) * details.increment_at(view.bid)
            exchange.place(
                OrderTicket(
                    1,
                    number,
                    con_id,
                    random.choice(list(Side)),
                    Decimal(random.choice([1, 50, 2_000])),
                    type,
                    limit_price=near if type is OrderType.LIMIT else None,
                    stop_price=near if type is OrderType.STOP else None,
                    tif=TimeInForce.GTC if type in (OrderType.LIMIT, OrderType.STOP) else TimeInForce.DAY,
                )
            )
        exchange.advance_to(exchange.now + timedelta(hours=3))
    # After the close: the last day's bar is whole.
    exchange.advance_to((exchange.now + timedelta(days=1)).replace(hour=23))
    return exchange, told


@pytest.mark.parametrize("kind", ["shipped", "synthetic"])
def test_every_fill_lies_in_its_days_bar_and_the_books_add_up(kind):
    exchange, told = traded(kind, seed=7)
    assert len(told) > 50
    profit = Decimal(0)
    for row in (event.execution for event in told):
        day = row.time.astimezone(NEW_YORK).date()
        midnight = datetime.combine(day, datetime.min.time(), UTC)
        bars = exchange.prices.history(
            row.instrument.con_id,
            BarSize.D1,
            BarSource.TRADES,
            start=midnight,
            end=midnight + timedelta(days=1),
            now=exchange.now,
        )
        assert len(bars) == 1
        assert Decimal(str(bars[0].low)) <= row.price <= Decimal(str(bars[0].high))
        profit -= row.quantity * row.side.sign * row.price * row.instrument.multiplier + row.commission
    account = exchange.accounts[0]
    for position in exchange.positions(account):
        assert position.market_value is not None
        profit += position.market_value
    assert exchange.summary(account).net_liquidation == 5_000_000 + profit


def test_the_same_seed_trades_the_same_and_another_does_not():
    first, second, other = (traded("synthetic", seed)[1] for seed in (1, 1, 2))
    assert first == second
    assert first != other
