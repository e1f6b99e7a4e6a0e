"""Positions, cash and P&L equal the exchange's ledger, and market data is the exchange's own."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import BarSize, Quote, StreamKind
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import DeadlineExceeded, NotConnected, TradingHalted, UnknownInstrument

from .world import ACCOUNT, World

SOON = 5.0
D = Decimal


async def trade(world: World, side: Side, quantity: int, symbol: str = "AAPL") -> None:
    placed = await world.broker.place(NewOrder(Instrument(symbol), side, D(quantity)))
    await world.broker.wait(placed.key, SOON)


async def assert_equals_the_ledger(world: World) -> None:
    ledger = {row.instrument.symbol: row for row in world.exchange.positions(ACCOUNT)}
    told = {row.instrument.symbol: row for row in await world.broker.positions()}
    assert {name: row.quantity for name, row in told.items()} == {name: row.quantity for name, row in ledger.items()}
    for name, row in told.items():
        assert row.average_cost == pytest.approx(ledger[name].average_cost, abs=D("0.0001"))
    summary, expected = await world.broker.account(), world.exchange.summary(ACCOUNT)
    for field in ("total_cash", "net_liquidation", "gross_position_value", "excess_liquidity"):
        told_value, true_value = getattr(summary, field), getattr(expected, field)
        assert told_value == pytest.approx(true_value, abs=D("0.01")), field


async def test_positions_cash_and_liquidation_equal_the_ledger(world: World) -> None:
    await trade(world, Side.BUY, 200)
    await trade(world, Side.BUY, 100, "MSFT")
    await world.to(11)
    await trade(world, Side.SELL, 50)
    await assert_equals_the_ledger(world)


async def test_a_random_day_adds_up(world: World) -> None:
    rng = random.Random(7)
    held = {"AAPL": 0, "MSFT": 0}
    for minute in range(1, 40, 3):
        await world.to(minute)
        symbol = rng.choice(sorted(held))
        quantity = rng.randrange(1, 30) * 10
        side = Side.BUY if held[symbol] <= 0 or rng.random() < 0.5 else Side.SELL
        quantity = min(quantity, held[symbol]) if side is Side.SELL else quantity
        await trade(world, side, quantity, symbol)
        held[symbol] += quantity * side.sign
    await assert_equals_the_ledger(world)
    fills = world.broker.fills()
    assert {name: sum(f.quantity * f.side.sign for f in fills if f.instrument.symbol == name) for name in held} == held


async def test_commissions_are_told_for_every_fill(world: World) -> None:
    await trade(world, Side.BUY, 100)
    await world.to(1)
    assert [fill.commission for fill in world.broker.fills()] == [D("1")]


async def test_pnl_of_account_and_position(world: World) -> None:
    await trade(world, Side.BUY, 100)
    await world.to(11)
    whole, single = await world.broker.pnl(), await world.broker.pnl(symbol="AAPL")
    # 100 shares bought at 100.01, now at 102, one dollar of commission.
    assert whole.unrealized == pytest.approx(D(198), abs=D("2"))
    assert single.quantity == 100
    assert whole.daily is not None


async def test_quotes_are_the_exchange_s(world: World) -> None:
    quote = await world.broker.quote("AAPL")
    assert (quote.bid, quote.ask) == (99.99, 100.01)
    await world.to(6)
    both = await world.broker.quotes(["AAPL", "MSFT", "NOSUCH"])
    assert {name: (row.bid, row.ask) for name, row in both.items()} == {"AAPL": (97.99, 98.01), "MSFT": (97.99, 98.01)}


async def test_an_unknown_symbol_is_an_error_not_an_empty_quote(world: World) -> None:
    with pytest.raises(UnknownInstrument):
        await world.broker.quote("NOSUCH")


async def test_daily_bars_end_with_today_s_incomplete_one(world: World) -> None:
    bars = await world.broker.bars("AAPL", BarSize.D1, count=5)
    assert len(bars) == 5
    assert [bar.complete for bar in bars] == [True, True, True, True, False]
    assert bars == sorted(bars, key=lambda bar: bar.time)


async def test_a_stream_brings_the_path(world: World) -> None:
    stream = world.broker.stream(["AAPL"], {StreamKind.QUOTES})
    seen: list[float | None] = []
    await world.to(1)
    await world.to(6)
    async for event in stream:
        if isinstance(event, Quote):
            seen.append(event.bid)
            if event.bid == 97.99:
                break
    await stream.aclose()
    assert seen[-1] == 97.99


async def test_emergency_stop_refuses_cancels_closes_and_verifies_q12(world: World) -> None:
    await trade(world, Side.BUY, 200)
    resting = await world.broker.place(
        NewOrder(Instrument("MSFT"), Side.BUY, D(10), OrderType.LIMIT, limit_price=D(90))
    )
    report = await world.broker.emergency_stop("test")
    assert report.refused_after <= 0.05
    assert resting.key in report.cancelled
    assert report.not_flat == ()
    assert report.still_working == ()
    assert world.broker.order(resting.key).state is OrderState.CANCELLED
    assert await world.broker.positions() == []
    with pytest.raises(TradingHalted):
        await world.broker.place(NewOrder(Instrument("AAPL"), Side.BUY, D(1)))
    await world.broker.resume()
    await trade(world, Side.BUY, 1)


async def test_flatten_closes_one_symbol_and_leaves_the_other(world: World) -> None:
    await trade(world, Side.BUY, 100)
    await trade(world, Side.BUY, 100, "MSFT")
    for closing in await world.broker.flatten("AAPL"):
        await world.broker.wait(closing.key, SOON)
    assert {row.instrument.symbol: row.quantity for row in await world.broker.positions()} == {"MSFT": 100}


async def test_waiting_for_an_order_that_rests_leaves_it_alone(world: World) -> None:
    placed = await world.broker.place(NewOrder(Instrument("AAPL"), Side.BUY, D(10), OrderType.LIMIT, limit_price=D(90)))
    with pytest.raises(DeadlineExceeded):
        await world.broker.wait(placed.key, 0.01)
    assert world.broker.order(placed.key).state.may_be_live


async def test_nothing_is_sent_without_a_session(world: World) -> None:
    await world.broker.disconnect()
    with pytest.raises(NotConnected):
        await world.broker.place(NewOrder(Instrument("AAPL"), Side.BUY, D(1)))
    with pytest.raises(NotConnected):
        await world.broker.positions()
    assert world.exchange.open_orders() == []
