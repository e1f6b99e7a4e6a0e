"""Faults of orders (catalogue 1.2 and 1.5) met by the adapter over the portal: placing them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderChange, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import (
    BrokerError,
    ConfigurationError,
    InvalidOrder,
    NotConnected,
    OrderRejected,
    RiskRefusal,
)
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import CAPS, PortalSettings
from moondev_ibkr.brokers.simulation.events import StatusChanged
from moondev_ibkr.brokers.simulation.portal.orders import OrderDesk

from tests.brokers.interactive_brokers.portal.rig import D

from .portal_fault_world import AAPL, ORDER, PLACING, PortalOnly, limit, virtual

MSFT = Instrument("MSFT")
LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)
#: A question that may be confirmed here; suppressed until a story undoes that.
ASKING = {"client": {"confirm": frozenset({"o354"})}, "questions": ("o354",)}


def undo_suppressions(world: PortalOnly) -> None:
    world.gateway.portal.session.brokerage(OrderDesk).suppressed.clear()


# An outcome that is not known


@pytest.mark.parametrize("fault", ["abort-after", "503-after", "lost"])
@virtual
async def test_p01_o01_q3_an_order_without_an_answer_is_in_doubt_blocks_its_symbol_and_is_found(fault):
    async with PortalOnly(paced=True) as world:
        await world.adapter.place(limit("old", price="240"))
        await asyncio.sleep(10)
        world.exchange.faults.hold(StatusChanged)
        if fault == "lost":
            world.arm("delay", "60", "POST /orders")
        else:
            world.arm(fault)
        placing = asyncio.create_task(world.adapter.place(limit("k1")))
        await world.until(lambda: world.state("k1") is OrderState.UNKNOWN, "the doubt", 4)
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(limit("k2"))
        assert refused.value.rule == "in_doubt"
        cancelling = asyncio.create_task(world.adapter.cancel("old"))
        await world.until(lambda: world.wire.count(f"DELETE {ORDER}{world.number('old')}"), "the cancel to leave", 0.1)
        world.exchange.faults.discard_held()
        await world.until(lambda: world.adapter.order("k1").state in LIVE, "the order to be found")
        await placing
        assert (await cancelling).key == "old"
        await world.until(lambda: world.adapter.order("old").state is OrderState.CANCELLED, "the cancel")
        assert world.refs == ["k1", "old"]
        assert world.placings == 2, "a write is never repeated"
        assert world.adapter.in_doubt(AAPL) is None
        assert any("k1" in text for text in world.heard.alarms)


@pytest.mark.parametrize("fault", ["503-after", "lost"])
@virtual
async def test_p01_an_order_that_the_stream_shows_is_in_no_doubt_although_its_answer_is_lost(fault):
    async with PortalOnly() as world:
        arguments = ("delay", "60", "POST /orders") if fault == "lost" else (fault,)
        world.arm(*arguments)
        assert (await world.adapter.place(limit("k1"))).state in LIVE
        await asyncio.sleep(60)
        assert world.heard.alarms == []
        assert (world.refs, world.placings) == (["k1"], 1)


@virtual
async def test_p01_q4_absence_takes_two_readings_that_are_quiet_time_apart():
    async with PortalOnly() as world:
        world.arm("abort-before")
        placed = await world.adapter.place(limit("k1"))
        assert placed.state is OrderState.UNKNOWN
        for _ in range(5):
            await world.adapter.reconcile()
            await asyncio.sleep(5)
            assert world.state("k1") is OrderState.UNKNOWN, "many readings in a hurry prove no more than one"
        await world.until(lambda: world.state("k1") is OrderState.NOT_SENT, "its absence", 10)
        assert world.adapter.in_doubt(AAPL) is None
        assert (world.refs, world.placings) == ([], 1)


@virtual
async def test_o02_a_swallowed_order_is_noticed_in_three_seconds_and_never_sent_again():
    async with PortalOnly() as world:
        world.exchange.faults.swallow_next()
        placing = asyncio.create_task(world.adapter.place(limit("k1")))
        took = await world.until(lambda: world.state("k1") is OrderState.UNKNOWN, "the doubt", 4)
        assert took <= 3.1
        assert any("k1" in text for text in world.heard.alarms)
        await placing
        await world.until(lambda: world.adapter.order("k1").state is OrderState.NOT_SENT, "its absence", 120)
        assert (world.refs, world.placings) == ([], 1)


@pytest.mark.parametrize("when", ["before", "after"])
@virtual
async def test_p02_a_lost_reply_is_a_doubt_and_the_next_order_has_a_chain_of_its_own(when):
    async with PortalOnly(**ASKING) as world:
        undo_suppressions(world)
        world.arm("reply-lost", when)
        first = asyncio.create_task(world.adapter.place(limit("k1")))
        second = asyncio.create_task(world.adapter.place(replace(limit("k2"), instrument=MSFT)))
        assert (await second).state in LIVE
        await first
        ends = (*LIVE, OrderState.NOT_SENT)
        await world.until(lambda: world.adapter.order("k1").state in ends, "the outcome", 120)
        assert world.adapter.order("k1").state in (LIVE if when == "after" else (OrderState.NOT_SENT,))
        assert world.refs == (["k1", "k2"] if when == "after" else ["k2"])
        assert world.placings == 2


#: Body of a 200 -> what became of the order that it answers.
SHAPES = {
    '{"error": "We cannot accept an order at this price."}': OrderState.REJECTED,
    '[{"id": "q", "message": ["Sure?"], "isSuppressed": false, "messageIds": ["o999"]}]': OrderState.REJECTED,
    '{"error": "no session"}': OrderState.NOT_SENT,
    "[]": OrderState.UNKNOWN,
    "<html>Access Denied</html>": OrderState.UNKNOWN,
    "": OrderState.UNKNOWN,
}


@pytest.mark.parametrize("body", list(SHAPES))
@virtual
async def test_p03_a_200_is_read_for_what_it_says(body):
    async with PortalOnly() as world:
        world.answer(PLACING, body)
        try:
            await world.adapter.place(limit("k1"))
        except (OrderRejected, NotConnected):
            assert SHAPES[body] in (OrderState.REJECTED, OrderState.NOT_SENT)
        assert world.adapter.order("k1").state is SHAPES[body]
        assert (world.refs, world.placings) == ([], 1)


@virtual
async def test_p03_the_three_shapes_of_the_real_door():
    async with PortalOnly(**ASKING) as world:
        undo_suppressions(world)
        assert (await world.adapter.place(limit("asked"))).state in LIVE
        assert world.wire.count("POST /iserver/reply/") == 1
        undo_suppressions(world)
        world.exchange.faults.reject_next(201, "Order rejected - reason: no trading permission")
        with pytest.raises(OrderRejected, match="permission"):
            await world.adapter.place(limit("refused"))
        assert (await world.adapter.place(limit("plain"))).state in LIVE
        assert [view.ticket.order_ref for view in world.exchange.open_orders()] == ["asked", "plain"]


@virtual
async def test_o20_no_two_orders_share_a_number_or_a_reference():
    async with PortalOnly() as world:
        keys = [f"k{number}" for number in range(12)]
        placed = await asyncio.gather(*(world.adapter.place(limit(key, 1)) for key in keys))
        assert len({order.order_id for order in placed}) == len({order.perm_id for order in placed}) == 12
        assert world.refs == sorted(keys)
        assert world.adapter.order("k0") == await world.adapter.place(limit("k0", 1)), "the same key is the same order"
        assert world.placings == 12


@virtual
async def test_o20_a_reference_that_is_taken_means_that_the_order_exists():
    async with PortalOnly() as world:
        ticket = {"conid": AAPL.con_id, "orderType": "LMT", "price": 250, "side": "BUY", "quantity": 10, "tif": "DAY"}
        world.other_client("POST", PLACING.partition(" ")[2], body={"orders": [{**ticket, "cOID": "k1"}]})
        await world.adapter.place(limit("k1"))
        await world.until(lambda: world.adapter.order("k1").state in LIVE, "the order to be found")
        assert world.refs == ["k1"]


# Before the wire


@virtual
async def test_o23_o33_what_cannot_be_is_refused_before_anything_leaves():
    async with PortalOnly() as world:
        with pytest.raises(InvalidOrder):
            NewOrder(AAPL, Side.SELL, D(10), OrderType.STOP)
        done = await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        before = len(world.wire.calls)
        with pytest.raises(BrokerError):
            await world.adapter.modify(done.key, OrderChange(quantity=D(20)))
        assert not [name for _, name in world.wire.calls[before:] if name.startswith("POST")]
        assert world.held == 10


@pytest.mark.parametrize(
    "intent",
    [
        NewOrder(AAPL, Side.BUY, D(10), OrderType.TRAIL, trail_amount=D(2), key="k1"),
        NewOrder(AAPL, Side.BUY, D(10), OrderType.MARKET_ON_CLOSE, key="k1"),
    ],
    ids=["TRAIL", "MOC"],
)
@virtual
async def test_o48_o45_a_type_that_this_door_lacks_is_refused_and_never_translated(intent):
    async with PortalOnly() as world:
        with pytest.raises(BrokerError) as refused:
            await world.adapter.place(intent)
        assert str(intent.type) in str(refused.value)
        assert (world.refs, world.placings) == ([], 0)


@virtual
async def test_o46_extended_hours_do_not_go_with_an_opening_order():
    async with PortalOnly() as world:
        with pytest.raises(RiskRefusal):
            await world.adapter.place(limit("k1", tif=TimeInForce.OPG, outside_rth=True))
        assert world.placings == 0


@virtual
async def test_o47_o27_a_fraction_is_refused_with_the_whole_shares_that_fit():
    async with PortalOnly() as world:
        asked = replace(limit("k1"), quantity=D("10.5"))
        with pytest.raises(RiskRefusal):
            await world.adapter.place(asked)
        rounded = await world.adapter.rounded(asked)
        assert rounded.order.quantity == 10
        assert world.placings == 0


@virtual
async def test_o26_o49_prices_lie_on_the_contracts_grid_and_the_presets_are_no_lot():
    async with PortalOnly() as world:
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(limit("k1", price="250.005"))
        assert refused.value.rule == "tick_size"
        # the rules of the ticket show an increment of 100, which is a preset of the account
        assert (await world.adapter.place(limit("k2", 7))).state in LIVE


@virtual
async def test_o36_orders_of_one_side_are_counted_before_the_wire():
    async with PortalOnly() as world:
        for number in range(15):
            await world.adapter.place(limit(f"k{number}", 1))
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(limit("k15", 1))
        assert refused.value.rule == "open_orders_per_side"
        assert world.placings == 15


@pytest.mark.parametrize("cap", sorted(CAPS))
def test_o38_q19_a_cap_cannot_be_put_on_the_list(cap):
    with pytest.raises(ConfigurationError, match=cap):
        PortalSettings(confirm=frozenset({cap}))


@pytest.mark.parametrize(
    ("door", "words"),
    [({"size_limit": D(5)}, "Size Limit"), ({"value_limit": D(500)}, "Total Value"), ({"price_percent": D(0)}, "o163")],
)
@virtual
async def test_o38_a_warning_about_price_size_or_value_is_never_confirmed(door, words):
    async with PortalOnly(**door) as world:
        with pytest.raises(OrderRejected, match=words):
            await world.adapter.place(limit("k1", price="266"))
        assert (world.refs, world.held) == ([], 0)
        assert world.adapter.order("k1").state is OrderState.REJECTED


@virtual
async def test_o28_a_refusal_ends_the_order_at_once():
    async with PortalOnly() as world:
        world.exchange.faults.reject_next(460, "No trading permissions.")
        before = asyncio.get_running_loop().time()
        with pytest.raises(OrderRejected, match="No trading permissions"):
            await world.adapter.place(limit("k1"))
        assert asyncio.get_running_loop().time() - before < 1
        assert world.adapter.in_doubt(AAPL) is None
