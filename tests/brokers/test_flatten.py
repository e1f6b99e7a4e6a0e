"""Flattening prices the close before it cancels anything: what cannot be closed keeps its stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr import Bracket, Instrument, NewOrder, OrderType, Side
from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import StaleData, TradingHalted
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker

NIGHT = timedelta(hours=9)


async def held_with_a_stop(broker: BaseBroker) -> None:
    """Ten AAPL with a stop under them."""
    assert isinstance(broker, PaperBroker)
    await broker.advance_to(await broker.market_time() + timedelta(minutes=5))
    quote = await broker.quote("AAPL")
    assert quote.ask is not None
    price = Decimal(str(quote.ask)) + 1
    entry = NewOrder(Instrument("AAPL"), Side.BUY, Decimal(10), OrderType.LIMIT, limit_price=price)
    await broker.place(Bracket(entry, (price * Decimal("0.8")).quantize(Decimal("0.01"))))
    await broker.advance_to(await broker.market_time() + timedelta(minutes=1))
    assert (await broker.owned_positions())[0].quantity == 10


async def test_a_halted_flatten_leaves_the_stop_where_it_is() -> None:
    async with get_broker("paper", speed=None) as broker:
        await held_with_a_stop(broker)
        assert isinstance(broker, PaperBroker)
        broker.manager.halt("a test")
        with pytest.raises(TradingHalted, match="flatten AAPL"):
            await broker.flatten("AAPL")
        (stop,) = broker.open_orders()
        assert stop.intent.type is OrderType.STOP
        assert stop.state in (OrderState.WORKING, OrderState.PRE_SUBMITTED)


async def test_an_unpriced_flatten_leaves_the_stop_and_with_queueing_waits_for_the_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for queue in (False, True):
        async with get_broker("paper", speed=None, risk={"queue_outside_session": queue}) as broker:
            assert isinstance(broker, PaperBroker)
            await held_with_a_stop(broker)
            await broker.advance_to(await broker.market_time() + NIGHT)
            asleep = replace(await broker.quote("AAPL"), bid=None, ask=None)

            async def quote(symbol: object, *, max_age: object = None, told: Quote = asleep) -> Quote:
                return told

            monkeypatch.setattr(broker, "quote", quote)
            if not queue:
                with pytest.raises(StaleData):
                    await broker.flatten("AAPL")
                (stop,) = broker.open_orders()
                assert stop.intent.type is OrderType.STOP
                continue
            (closing,) = await broker.flatten("AAPL")
            assert closing.intent.type is OrderType.LIMIT
            assert not closing.intent.outside_rth
            assert [order.key for order in broker.open_orders()] == [closing.key]
            day = broker.calendar.next_day(await broker.market_time())
            await broker.advance_to(day.open + timedelta(minutes=2))
            assert broker.order(closing.key).state is OrderState.FILLED
            assert await broker.owned_positions() == []
