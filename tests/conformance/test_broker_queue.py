"""Orders that wait for the open: kept by the broker through the night, filled after it, on every door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderChange, OrderType, Side, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import RiskRefusal

from .world import MORNING, OPEN, REOPEN, WIDE, WORLDS, World

SOON = 5.0
D = Decimal
#: As it is shipped, but for the flag and the size of one position.
QUEUEING = replace(
    WIDE, queue_outside_session=True, max_quote_age=timedelta(seconds=30), collar_bps=D(200), allow_short=False
)
NIGHT = (OPEN.replace(hour=3) + timedelta(days=1) - OPEN).total_seconds() / 60  # 23:00 in New York
EVENING = 7 * 60.0  # 17:00
BEFORE, AFTER = ((REOPEN - OPEN).total_seconds() / 60 + minute for minute in (-1, 1))


@pytest.fixture(params=sorted(WORLDS))
async def night(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Connected in the session; no quote was asked for before the story."""
    made = WORLDS[request.param]()
    await made.open(QUEUEING)
    try:
        yield made
    finally:
        await made.close()


def limit(side: Side, quantity: int, price: str, **fields: object) -> NewOrder:
    return NewOrder(Instrument("AAPL"), side, D(quantity), OrderType.LIMIT, limit_price=D(price), **fields)  # type: ignore[arg-type]


def at_the_exchange(world: World) -> set[str]:
    return {view.ticket.order_ref for view in world.exchange.open_orders()}


@pytest.mark.parametrize("hour", [EVENING, NIGHT])
async def test_a_limit_order_is_kept_through_the_night_and_fills_after_the_open(night: World, hour: float) -> None:
    await night.to(hour)
    placed = await night.broker.place(limit(Side.BUY, 100, "101.50", key="early"))
    assert placed.state in (OrderState.PRE_SUBMITTED, OrderState.WORKING)
    await night.to(BEFORE)
    kept = night.broker.order("early")
    assert kept.state.may_be_live
    assert kept.filled == 0
    assert at_the_exchange(night) == {"early"}
    await night.to(AFTER)
    filled = await night.broker.wait("early", SOON)
    assert (filled.state, filled.filled) == (OrderState.FILLED, 100)
    assert filled.average_price == MORNING + D("0.01")


async def test_an_exit_rests_until_the_open_too(night: World) -> None:
    bought = await night.broker.place(limit(Side.BUY, 100, "100.01"))
    await night.broker.wait(bought.key, SOON)
    await night.to(NIGHT)
    await night.broker.place(limit(Side.SELL, 100, "100.50", key="leave", reduce_only=True))
    await night.to(BEFORE)
    assert at_the_exchange(night) == {"leave"}
    await night.to(AFTER)
    assert (await night.broker.wait("leave", SOON)).state is OrderState.FILLED
    assert await night.broker.positions() == []


async def test_a_waiting_order_can_be_changed_and_cancelled(night: World) -> None:
    await night.to(NIGHT)
    await night.broker.place(limit(Side.BUY, 100, "99.00", key="wait"))
    changed = await night.broker.modify("wait", OrderChange(limit_price=D("99.50")))
    assert changed.intent.limit_price == D("99.50")
    await night.broker.cancel("wait")
    assert (await night.broker.wait("wait", SOON)).state is OrderState.CANCELLED
    await night.to(AFTER)
    assert await night.broker.positions() == []


async def test_a_bracket_waits_whole(night: World) -> None:
    await night.to(NIGHT)
    entry = limit(Side.BUY, 100, "101.50", key="nb")
    await night.broker.place(Bracket(entry, stop_price=D(95), target_price=D(110)))
    await night.to(AFTER)
    assert (await night.broker.wait("nb", SOON)).state is OrderState.FILLED
    assert all(night.broker.order(leg_key("nb", number)).state.may_be_live for number in (1, 2))


async def test_a_market_order_and_a_price_far_away_are_refused_at_night(night: World) -> None:
    await night.to(NIGHT)
    with pytest.raises(RiskRefusal, match="queue_outside_session"):
        await night.broker.place(NewOrder(Instrument("AAPL"), Side.BUY, D(10)))
    with pytest.raises(RiskRefusal) as refused:
        await night.broker.place(limit(Side.BUY, 10, "110"))
    assert refused.value.rule == "collar"
    assert at_the_exchange(night) == set()


async def test_without_the_flag_nothing_waits(world: World) -> None:
    await world.to(NIGHT)
    with pytest.raises(RiskRefusal, match="queue_outside_session"):
        await world.broker.place(limit(Side.BUY, 10, "100"))
    assert at_the_exchange(world) == set()
