"""What every broker must do with orders: the same stories over every world."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import (
    Bracket,
    NewOrder,
    Order,
    OrderChange,
    OrderType,
    Side,
    TimeInForce,
    leg_key,
)
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import (
    BrokerError,
    InvalidOrder,
    KeyConflict,
    OrderRejected,
    RiskRefusal,
    UnknownInstrument,
    UnknownOrder,
)
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.smart_orders import SmartOrderPolicy

from .world import ACCOUNT, CLOSE, OPEN, World

AAPL = Instrument("AAPL")
#: Real seconds to wait for what is under way on a socket.
SOON = 5.0
D = Decimal


def order(side: Side, quantity: int, type: OrderType = OrderType.MARKET, **fields: object) -> NewOrder:
    return NewOrder(AAPL, side, D(quantity), type, **fields)  # type: ignore[arg-type]


async def bought(world: World, quantity: int) -> Order:
    placed = await world.broker.place(order(Side.BUY, quantity))
    return await world.broker.wait(placed.key, SOON)


async def position(world: World) -> Decimal:
    rows = [row for row in await world.broker.positions() if row.instrument.symbol == "AAPL"]
    return rows[0].quantity if rows else D(0)


async def nearly_all_the_margin_used(world: World) -> None:
    """1 900 shares in two orders, since no single one may be worth more than the account."""
    for minute, quantity in ((1, 950), (2, 950)):
        placed = await world.broker.place(order(Side.BUY, quantity, OrderType.LIMIT, limit_price=D("100.01")))
        assert (await done_at(world, placed.key, minute)).state is OrderState.FILLED


async def refused_by_the_door(world: World, intent: NewOrder) -> bool:
    """Whether the world's door lacks the order's type or TIF, and said so before anything left (fault O48)."""
    if not world.lacks & {intent.type, intent.tif}:
        return False
    with pytest.raises(RiskRefusal) as refused:
        await world.broker.place(intent)
    assert refused.value.rule == "order_type_offered"
    assert world.exchange.open_orders() == []
    return True


async def done_at(world: World, key: str, minutes: float) -> Order:
    await world.to(minutes)
    return await world.broker.wait(key, SOON)


#: Order, the minute at which the path fills it, the price it gets at least (buy: at most).
FILLED = [
    pytest.param(order(Side.BUY, 100), 0, "100.01", id="MKT"),
    pytest.param(order(Side.BUY, 100, OrderType.LIMIT, limit_price=D(101)), 0, "100.01", id="LMT at once"),
    pytest.param(order(Side.BUY, 100, OrderType.LIMIT, limit_price=D("98.50")), 6, "98.50", id="LMT rests"),
    pytest.param(order(Side.BUY, 100, OrderType.STOP, stop_price=D(104)), 16, "105.01", id="STP"),
    pytest.param(
        order(Side.BUY, 100, OrderType.STOP_LIMIT, stop_price=D("101.50"), limit_price=D("102.50")),
        11,
        "102.01",
        id="STP_LMT",
    ),
    pytest.param(order(Side.BUY, 100, OrderType.TRAIL, trail_amount=D(3)), 11, "102.01", id="TRAIL amount"),
    pytest.param(order(Side.BUY, 100, OrderType.TRAIL, trail_percent=D(3)), 11, "102.01", id="TRAIL percent"),
    pytest.param(order(Side.BUY, 100, OrderType.MIDPRICE), 1, "100.01", id="MIDPRICE"),
    pytest.param(order(Side.BUY, 100, OrderType.MARKET_ON_CLOSE), 361, "100.01", id="MOC"),
    pytest.param(order(Side.BUY, 100, OrderType.LIMIT_ON_CLOSE, limit_price=D(101)), 361, "100.01", id="LOC"),
    pytest.param(order(Side.BUY, 100, tif=TimeInForce.IOC), 0, "100.01", id="MKT IOC"),
    pytest.param(
        order(Side.BUY, 100, OrderType.LIMIT, limit_price=D("98.50"), tif=TimeInForce.GTC), 6, "98.50", id="LMT GTC"
    ),
    pytest.param(
        order(
            Side.BUY,
            100,
            OrderType.LIMIT,
            limit_price=D("98.50"),
            tif=TimeInForce.GTD,
            good_till=CLOSE - timedelta(hours=1),
        ),
        6,
        "98.50",
        id="LMT GTD",
    ),
]


@pytest.mark.parametrize(("intent", "minute", "price"), FILLED)
async def test_every_order_type_fills_when_the_path_says_so(
    world: World, intent: NewOrder, minute: float, price: str
) -> None:
    intent = intent.with_key(f"type-{intent.type.value.replace('_', '')}")
    if await refused_by_the_door(world, intent):
        return
    placed = await world.broker.place(intent)
    assert placed.key == intent.key
    filled = await done_at(world, intent.key, minute)
    assert filled.state is OrderState.FILLED
    assert filled.filled == 100
    assert filled.average_price is not None
    assert filled.average_price <= D(price)
    assert await position(world) == 100


async def test_a_limit_that_the_path_does_not_reach_expires_at_the_close(world: World) -> None:
    placed = await world.broker.place(order(Side.BUY, 10, OrderType.LIMIT, limit_price=D(90)))
    assert placed.state in (OrderState.WORKING, OrderState.PRE_SUBMITTED)
    ended = await done_at(world, placed.key, 362)
    assert ended.state is OrderState.CANCELLED
    assert await position(world) == 0


async def test_a_gtd_order_ends_at_its_time(world: World) -> None:
    until = OPEN + timedelta(minutes=3)
    intent = order(Side.BUY, 10, OrderType.LIMIT, limit_price=D(90), tif=TimeInForce.GTD, good_till=until)
    if await refused_by_the_door(world, intent):
        return
    placed = await world.broker.place(intent)
    assert (await done_at(world, placed.key, 4)).state is OrderState.CANCELLED


async def test_an_ioc_limit_takes_what_is_there_and_cancels_the_rest(world: World) -> None:
    intent = order(Side.BUY, 500, OrderType.LIMIT, limit_price=D("100.01"), tif=TimeInForce.IOC)
    placed = await world.broker.place(intent)
    ended = await world.broker.wait(placed.key, SOON)
    assert ended.state is OrderState.CANCELLED
    assert ended.filled == 300
    assert await position(world) == 300


async def test_partial_fills_add_up(world: World) -> None:
    placed = await world.broker.place(order(Side.BUY, 700, OrderType.LIMIT, limit_price=D("100.01")))
    await world.to(0)
    assert world.broker.order(placed.key).filled == 300
    ended = await done_at(world, placed.key, 4)
    fills = [fill for fill in world.broker.fills() if fill.order_key == placed.key]
    assert ended.filled == sum(fill.quantity for fill in fills) == 700
    assert len(fills) >= 3
    assert len({fill.base_id for fill in fills}) == len(fills)


async def test_long_flat_short_and_back(world: World) -> None:
    assert (await bought(world, 100)).state is OrderState.FILLED
    sold = await world.broker.place(order(Side.SELL, 100))
    await world.broker.wait(sold.key, SOON)
    assert await position(world) == 0
    short = await world.broker.place(order(Side.SELL, 50))
    await world.broker.wait(short.key, SOON)
    assert await position(world) == -50
    await bought(world, 50)
    assert await position(world) == 0


async def test_crossing_zero_takes_two_orders(world: World) -> None:
    await bought(world, 100)
    with pytest.raises(RiskRefusal) as refused:
        await world.broker.place(order(Side.SELL, 150))
    assert refused.value.largest == 100
    assert await position(world) == 100


async def test_cancel_and_cancel_again(world: World) -> None:
    placed = await world.broker.place(order(Side.BUY, 10, OrderType.LIMIT, limit_price=D(90)))
    first = await world.broker.cancel(placed.key)
    assert first.state in (OrderState.PENDING_CANCEL, OrderState.CANCELLED)
    assert (await world.broker.wait(placed.key, SOON)).state is OrderState.CANCELLED
    assert (await world.broker.cancel(placed.key)).state is OrderState.CANCELLED


async def test_cancel_all_leaves_nothing_working(world: World) -> None:
    for price in (90, 91, 92):
        await world.broker.place(order(Side.BUY, 10, OrderType.LIMIT, limit_price=D(price)))
    await world.broker.cancel_all("AAPL")
    await world.to(1)
    assert [row for row in world.broker.open_orders() if not row.foreign] == []


async def test_a_modify_moves_the_price_and_the_fill_follows(world: World) -> None:
    placed = await world.broker.place(order(Side.BUY, 100, OrderType.LIMIT, limit_price=D(90)))
    changed = await world.broker.modify(placed.key, OrderChange(limit_price=D("98.20")))
    assert changed.intent.limit_price == D("98.20")
    ended = await done_at(world, placed.key, 6)
    assert ended.state is OrderState.FILLED
    assert ended.average_price is not None
    assert ended.average_price <= D("98.20")


async def test_a_modify_of_the_quantity_counts_what_is_filled(world: World) -> None:
    placed = await world.broker.place(order(Side.BUY, 700, OrderType.LIMIT, limit_price=D("100.01")))
    await world.to(0)
    await world.broker.modify(placed.key, OrderChange(quantity=D(400)))
    ended = await done_at(world, placed.key, 4)
    assert ended.state is OrderState.FILLED
    assert ended.filled == 400


async def test_a_modify_of_a_done_order_is_refused_and_sends_nothing(world: World) -> None:
    done = await bought(world, 10)
    with pytest.raises(BrokerError):
        await world.broker.modify(done.key, OrderChange(quantity=D(20)))
    assert await position(world) == 10


async def test_a_bracket_protects_from_the_first_share_and_its_target_cancels_the_stop(world: World) -> None:
    entry = order(Side.BUY, 100, OrderType.LIMIT, limit_price=D("100.01"), key="br1")
    await world.broker.place(Bracket(entry, stop_price=D(95), target_price=D(104)))
    await world.to(1)
    assert world.broker.order("br1").state is OrderState.FILLED
    assert world.broker.order(leg_key("br1", 1)).state.may_be_live
    ended = await done_at(world, leg_key("br1", 2), 16)
    assert ended.state is OrderState.FILLED
    assert (await world.broker.wait(leg_key("br1", 1), SOON)).state is OrderState.CANCELLED
    assert await position(world) == 0


async def test_a_bracket_whose_stop_fills_cancels_the_target(world: World) -> None:
    entry = order(Side.BUY, 100, OrderType.LIMIT, limit_price=D("100.01"), key="br2")
    await world.broker.place(Bracket(entry, stop_price=D(99), target_price=D(120)))
    ended = await done_at(world, leg_key("br2", 1), 6)
    assert ended.state is OrderState.FILLED
    assert (await world.broker.wait(leg_key("br2", 2), SOON)).state is OrderState.CANCELLED
    assert await position(world) == 0


async def test_cancelling_a_bracket_s_entry_cancels_its_children(world: World) -> None:
    entry = order(Side.BUY, 100, OrderType.LIMIT, limit_price=D(90), key="br3")
    await world.broker.place(Bracket(entry, stop_price=D(80), target_price=D(120)))
    await world.broker.cancel("br3")
    for number in (0, 1, 2):
        assert (await world.broker.wait(leg_key("br3", number), SOON)).state is OrderState.CANCELLED


async def test_an_oca_group_s_fill_cancels_the_others(world: World) -> None:
    low = order(Side.BUY, 10, OrderType.LIMIT, limit_price=D(98), oca_group="pair", key="oca-low")
    high = order(Side.BUY, 10, OrderType.STOP, stop_price=D(104), oca_group="pair", key="oca-high")
    if "OCA group" in world.lacks:
        with pytest.raises(OrderRejected, match="OCA"):
            await world.broker.place(low)
        assert world.exchange.open_orders() == []
        return
    await world.broker.place(low)
    await world.broker.place(high)
    assert (await done_at(world, "oca-low", 6)).state is OrderState.FILLED
    assert (await world.broker.wait("oca-high", SOON)).state is OrderState.CANCELLED


async def test_what_if_answers_margin_and_commission_and_places_nothing(world: World) -> None:
    answer = await world.broker.what_if(order(Side.BUY, 100, OrderType.LIMIT, limit_price=D(100)))
    assert answer.initial_margin_change is not None
    assert answer.initial_margin_change > 0
    assert answer.commission == 1
    assert answer.excess_liquidity_after is not None
    assert world.broker.open_orders() == []
    assert world.exchange.open_orders() == []


async def test_the_broker_s_refusal_is_an_error_and_leaves_no_order(world: World) -> None:
    await nearly_all_the_margin_used(world)
    with pytest.raises(OrderRejected) as refused:
        await world.broker.place(order(Side.BUY, 900, OrderType.LIMIT, limit_price=D("100.01"), key="poor"))
    assert refused.value.code == 201
    assert world.broker.order("poor").state is OrderState.REJECTED
    assert await position(world) == 1_900


async def test_an_unknown_contract_is_refused_before_the_wire(world: World) -> None:
    with pytest.raises(UnknownInstrument):
        await world.broker.place(replace(order(Side.BUY, 1), instrument=Instrument("NOSUCH")))
    assert world.exchange.open_orders() == []


async def test_a_price_off_the_tick_grid_is_refused_before_the_wire(world: World) -> None:
    with pytest.raises((RiskRefusal, InvalidOrder)):
        await world.broker.place(order(Side.BUY, 1, OrderType.LIMIT, limit_price=D("99.999")))
    assert world.exchange.open_orders() == []


async def test_the_same_key_and_order_answer_the_same_order_q2(world: World) -> None:
    intent = order(Side.BUY, 100, key="once")
    await world.broker.place(intent)
    await world.broker.wait("once", SOON)
    again = await world.broker.place(intent)
    assert again.state is OrderState.FILLED
    assert await position(world) == 100
    with pytest.raises(KeyConflict):
        await world.broker.place(replace(intent, quantity=D(200)))
    assert await position(world) == 100


async def test_an_unknown_key_is_an_error(world: World) -> None:
    with pytest.raises(UnknownOrder):
        world.broker.order("never-placed")
    with pytest.raises(UnknownOrder):
        await world.broker.cancel("never-placed")


async def test_a_smart_order_never_pays_beyond_its_cap(world: World) -> None:
    placed = await world.broker.place_smart_order(order(Side.BUY, 100), SmartOrderPolicy(max_slippage_bps=D(10)))
    assert placed.intent.type is OrderType.LIMIT
    ended = await world.broker.wait(placed.key, SOON)
    assert ended.average_price is not None
    assert ended.average_price <= D("100.01") * D("1.001")


async def test_events_tell_every_state_and_fill_in_order(world: World) -> None:
    events = world.broker.order_events()
    done = await bought(world, 100)
    seen = []
    async for event in events:
        if event.order is not None and event.order.key == done.key:
            seen.append(event)
            if event.order.commission is not None and event.order.is_terminal:
                break
    await events.aclose()
    assert sum(event.fill.quantity for event in seen if event.kind.value == "FILL" and event.fill) == 100
    assert not any(event.recovered for event in seen)
    assert seen[-1].order is not None
    assert seen[-1].order.account if hasattr(seen[-1].order, "account") else ACCOUNT


async def test_the_largest_order_that_margin_allows_is_really_accepted(world: World) -> None:
    """Equity of 100 000 carries at most 200 000 of stock at 50 % initial margin, not 400 000 at 25 % maintenance."""
    if not isinstance(world.broker, IBAdapter):
        return
    await nearly_all_the_margin_used(world)
    world.broker._margin_what_if = True
    with pytest.raises(RiskRefusal) as refused:
        await world.broker.place(order(Side.BUY, 900, OrderType.LIMIT, limit_price=D("100.01")))
    largest = refused.value.largest
    assert refused.value.rule == "margin"
    assert largest is not None
    assert 50 < largest < 100
    placed = await world.broker.place(order(Side.BUY, int(largest), OrderType.LIMIT, limit_price=D("100.01")))
    assert (await done_at(world, placed.key, 4)).filled == largest


async def test_an_absurd_quantity_is_refused_by_our_own_rule_and_no_question_is_asked(world: World) -> None:
    if not isinstance(world.broker, IBAdapter):
        return
    world.broker._margin_what_if = True
    with pytest.raises(RiskRefusal) as refused:
        await world.broker.place(order(Side.BUY, 10**15, OrderType.LIMIT, limit_price=D("100.01")))
    assert refused.value.rule == "order_quantity"
