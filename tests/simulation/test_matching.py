"""Matching alone: never more than is there, never worse than the limit, never outside the step."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.order import OrderType, Side
from moondev_ibkr.brokers.simulation import matching
from moondev_ibkr.brokers.simulation.book import WorkingOrder
from moondev_ibkr.brokers.simulation.market_state import MarketState
from moondev_ibkr.brokers.simulation.models import FillModel
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

from .exchange_fakes import AAPL, START, STOCKS, D, step

CENTS = st.integers(9_900, 10_100).map(lambda cents: Decimal(cents) / 100)
SIZES = st.integers(0, 500).map(Decimal)
SETTINGS = st.builds(
    FillModel,
    participation=st.sampled_from([D(1), D("0.25")]),
    queue_ahead=st.sampled_from([D(0), D("0.5"), D(1)]),
    slippage_ticks=st.sampled_from([0, 3]),
)


def market_at(bid, spread, sizes, last, last_size, settings) -> MarketState:
    market = MarketState.of(STOCKS[AAPL])
    moved = step(START, bid, bid + spread, last, bid_size=sizes[0], ask_size=sizes[1], last_size=last_size)
    market.apply(moved, settings, trading=True)
    return market


MARKETS = st.builds(
    market_at,
    CENTS,
    st.integers(1, 9).map(lambda cents: Decimal(cents) / 100),
    st.tuples(SIZES, SIZES),
    st.one_of(st.none(), CENTS),
    st.one_of(st.none(), SIZES),
    SETTINGS,
)


def order_of(side: Side, quantity: int, limit: Decimal, type: OrderType = OrderType.LIMIT) -> WorkingOrder:
    ticket = OrderTicket(1, 1, AAPL, side, Decimal(quantity), type, limit_price=limit)
    return WorkingOrder(ticket=ticket, instrument=STOCKS[AAPL].instrument, perm_id=1, created_at=START)


ORDERS = st.builds(
    order_of,
    st.sampled_from(Side),
    st.integers(1, 900),
    CENTS,
    st.sampled_from([OrderType.LIMIT, OrderType.MARKET, OrderType.MIDPRICE]),
)


@given(ORDERS, MARKETS, SETTINGS, st.integers(0, 99), st.booleans())
def test_fills_keep_to_size_limit_and_step(order, market, settings, seed, resting):
    if resting:
        matching.join_queue(order, market, settings)
    found = matching.continuous(order, market, settings, Random(seed))
    assert sum((match.quantity for match in found), Decimal(0)) <= order.fillable
    now = market.step
    prices = [now.bid, now.ask] if now.last is None else [now.bid, now.ask, now.last]
    for match in found:
        assert match.quantity > 0
        assert min(prices) <= match.price <= max(prices)
        assert matching.within_limit(order, match.price)
        assert market.details.on_tick(match.price)


@given(MARKETS, SETTINGS, st.sampled_from(Side), st.integers(1, 900), st.integers(1, 500))
def test_what_is_out_of_reach_gets_nothing(market, settings, side, quantity, cents):
    behind = market.step.bid if side is Side.BUY else market.step.ask
    limit = max(behind - side.sign * Decimal(cents) / 100, Decimal("0.01"))
    order = order_of(side, quantity, limit)
    matching.join_queue(order, market, settings)
    assume(matching.out_of_reach(order, market))
    assert matching.continuous(order, market, settings, Random(0)) == []


@given(st.lists(ORDERS, max_size=8), MARKETS, SETTINGS)
def test_orders_share_one_steps_liquidity(orders, market, settings):
    """Without slippage, all buys together never take more than the ask showed, all sells never more than the bid."""
    settings = FillModel(settings.participation)
    there = {Side.BUY: market.ask_left, Side.SELL: market.bid_left}
    taken = {Side.BUY: Decimal(0), Side.SELL: Decimal(0)}
    for order in orders:
        found = matching.continuous(order, market, settings, Random(0))
        matching.spend(order, market, found)
        taken[order.side] += sum((match.quantity for match in found if not match.added), Decimal(0))
    assert all(taken[side] <= there[side] for side in Side)


@given(MARKETS, st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_a_queue_is_served_before_the_order(market, prints):
    """An order at the bid gets exactly what prints there leave after what stood before it."""
    bid, ahead = market.step.bid, market.step.bid_size
    order = order_of(Side.BUY, 10_000, bid)
    settings = FillModel(queue_ahead=D(1))
    matching.join_queue(order, market, settings)
    got = Decimal(0)
    for size in prints:
        market.apply(step(START, bid, bid + 1, bid, last_size=size), settings, trading=True)
        found = matching.continuous(order, market, settings, Random(0))
        matching.spend(order, market, found)
        got += sum((match.quantity for match in found), Decimal(0))
    assert got == max(Decimal(sum(prints)) - ahead, Decimal(0))


def test_a_trailing_stop_rounds_away_from_the_market():
    market = MarketState.of(STOCKS[AAPL])
    market.apply(step(START, "99.99", "100.01", "99.99"), FillModel(), trading=True)
    ticket = OrderTicket(1, 1, AAPL, Side.SELL, D(1), OrderType.TRAIL, trail_percent=D("1.5"))
    order = WorkingOrder(ticket=ticket, instrument=STOCKS[AAPL].instrument, perm_id=1, created_at=START)
    assert matching.trail(order, market)
    assert order.stop_now == D("98.49")
    assert not matching.trail(order, market)
