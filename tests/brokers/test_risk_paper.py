"""The limits of a paper broker from plain values, and a host's hazards on it: what is asked twice is bought once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderType, Side
from moondev_ibkr.brokers.errors import ConfigurationError, RiskRefusal
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.config.settings import load_settings

D = Decimal
START = date(2009, 1, 5)
IBM = Instrument("IBM")
#: Wide caps, so that nothing but the rule of the story refuses.
WIDE = {
    "max_position_value": 10**9,
    "max_order_value": 10**9,
    "max_order_quantity": 10**9,
    "max_exposure": "1e9",
    "max_concentration": 10**6,
}


def buy(quantity: int, **fields: object) -> NewOrder:
    return NewOrder(IBM, Side.BUY, D(quantity), **fields)  # type: ignore[arg-type]


@pytest.fixture
async def broker() -> AsyncIterator[PaperBroker]:
    made = PaperBroker.from_bars(
        symbols=["IBM"], start=START, risk={**WIDE, "entry_window": "900", "duplicate_window": 0}, speed=None
    )
    async with made:
        await made.advance_to(made.exchange.now + timedelta(minutes=1))
        yield made


async def filled(broker: PaperBroker, order: NewOrder) -> None:
    placed = await broker.place(order)
    await broker.advance_to(broker.exchange.now + timedelta(minutes=1))
    await broker.wait(placed.key, 5.0)


async def held(broker: PaperBroker) -> Decimal:
    return sum((row.quantity for row in await broker.positions()), D(0))


def test_limits_come_as_plain_values() -> None:
    broker = PaperBroker.from_bars(symbols=["IBM"], risk={"max_order_value": "500", "queue_outside_session": "yes"})
    assert broker.risk.policy == RiskPolicy(max_order_value=D(500), queue_outside_session=True)
    broker.journal.close()


def test_a_limit_that_cannot_be_is_refused_before_anything_is_made() -> None:
    with pytest.raises(ConfigurationError, match="max_order_valeu"):
        PaperBroker.from_bars(risk={"max_order_valeu": 500})
    with pytest.raises(ConfigurationError, match="both"):
        PaperBroker.from_bars(policy=RiskPolicy(), risk={})


def test_the_environment_sets_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_RISK__ENTRY_WINDOW", "60")
    monkeypatch.setenv("IB_RISK__QUEUE_OUTSIDE_SESSION", "true")
    policy = RiskPolicy.from_settings(load_settings().policy_values)
    assert (policy.entry_window, policy.queue_outside_session) == (timedelta(minutes=1), True)


async def test_cycles_that_replay_their_rows_buy_once_a_window(broker: PaperBroker) -> None:
    await filled(broker, buy(10))
    for cycle in range(5):
        with pytest.raises(RiskRefusal) as refused:
            await broker.place(buy(11 + cycle))
        assert refused.value.rule == "repeated_entry"
        await broker.advance_to(broker.exchange.now + timedelta(minutes=1))
    assert await held(broker) == 10
    await broker.advance_to(broker.exchange.now + timedelta(minutes=15))
    await filled(broker, buy(5))
    assert await held(broker) == 15


async def test_a_resting_entry_is_in_the_way_until_it_is_cancelled(broker: PaperBroker) -> None:
    quote = await broker.quote("IBM")
    assert quote.bid is not None
    low = (D(str(quote.bid)) * D("0.9")).quantize(D("0.01"))
    resting = await broker.place(buy(10, type=OrderType.LIMIT, limit_price=low))
    await broker.advance_to(broker.exchange.now + timedelta(hours=1))
    with pytest.raises(RiskRefusal, match=resting.key):
        await broker.place(buy(3))
    await broker.cancel(resting.key)
    await filled(broker, buy(3))
    assert await held(broker) == 3


async def test_exits_and_a_bracket_s_legs_are_no_entries(broker: PaperBroker) -> None:
    entry = buy(10)
    quote = await broker.quote("IBM")
    assert quote.bid is not None
    price = D(str(quote.bid))
    stop, target = ((price * D(factor)).quantize(D("0.01")) for factor in ("0.5", "1.5"))
    await broker.place(Bracket(entry, stop_price=stop, target_price=target))
    await broker.advance_to(broker.exchange.now + timedelta(minutes=1))
    for closing in await broker.flatten("IBM"):
        await broker.advance_to(broker.exchange.now + timedelta(minutes=1))
        await broker.wait(closing.key, 5.0)
    assert await held(broker) == 0
    with pytest.raises(RiskRefusal, match=entry.key):
        await broker.place(buy(4))
    await broker.advance_to(broker.exchange.now + timedelta(minutes=15))
    await filled(broker, buy(4))
    assert await held(broker) == 4


async def test_eight_times_the_equity_is_refused_with_what_the_account_is_worth(broker: PaperBroker) -> None:
    """0.9 of the equity at a leverage of 9, as the host asks."""
    account = await broker.account()
    quote = await broker.quote("IBM")
    assert account.net_liquidation is not None
    assert quote.ask is not None
    asked = int(account.net_liquidation * D("8.1") / D(str(quote.ask)))
    with pytest.raises(RiskRefusal) as refused:
        await broker.place(buy(asked))
    assert refused.value.rule == "order_equity"
    largest = refused.value.largest
    assert largest is not None
    assert 0 < largest * D(str(quote.ask)) <= account.net_liquidation
    await broker.place(buy(int(largest)))
