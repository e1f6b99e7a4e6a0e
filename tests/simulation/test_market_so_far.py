"""A market that begins within a session has that session's figures, as a client that joins late finds them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.hours import NEW_YORK
from moondev_ibkr.brokers.simulation.market import TickKind
from moondev_ibkr.brokers.simulation.models import MarketView
from moondev_ibkr.brokers.simulation.prices import make_prices

LATER = timedelta(hours=2)


def opened() -> Exchange:
    prices = make_prices(MarketCalendar(), kind="synthetic", symbols=["AAPL", "IBM"])
    return Exchange(prices, calendar=MarketCalendar(), commissions=PriceList())


def of_the_day_bar(exchange: Exchange, con_id: int) -> tuple[Decimal, ...]:
    """Open, high, low and volume of today's bar as history tells it."""
    day = exchange.now.astimezone(NEW_YORK).date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)  # a daily bar carries its date as UTC
    (bar,) = exchange.prices.history(
        con_id, BarSize.D1, BarSource.TRADES, start=midnight, end=midnight + timedelta(days=1), now=exchange.now
    )
    return tuple(Decimal(str(value)) for value in (bar.open, bar.high, bar.low, bar.volume))


def of_the_quote(view: MarketView) -> tuple[object, ...]:
    return view.open, view.high, view.low, view.volume


@pytest.mark.parametrize("passed", [timedelta(0), LATER], ids=["at the start", "later"])
def test_the_quote_has_the_figures_of_the_days_bar(passed: timedelta) -> None:
    exchange = opened()
    exchange.advance_to(exchange.now + passed)
    for details in exchange.catalogue():
        con_id = details.instrument.con_id or 0
        assert of_the_quote(exchange.market(con_id)) == of_the_day_bar(exchange, con_id)


def test_the_last_price_is_the_last_print_before_the_start() -> None:
    exchange = opened()
    for details in exchange.catalogue():
        con_id = details.instrument.con_id or 0
        (tick,) = exchange.prices.ticks(con_id, TickKind.TRADES, end=exchange.now, now=exchange.now, number=1)
        view = exchange.market(con_id)
        assert (view.last, view.last_size, view.last_time) == (tick.last, tick.last_size, tick.time)
        assert tick.time < exchange.now
