"""Failing over between TWS and the portal (catalogue P16 and P17, promises Q3, Q13, Q18), on virtual time.

Both doors are those of one gateway. At the end of every story no key has two orders, and every fill is booked once.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import CancelRejected, ModifyRejected, NotConnected, RiskRefusal
from moondev_ibkr.brokers.simulation.portal.settings import Registry, SorFrames, Visibility

from tests.brokers.interactive_brokers.portal.rig import D

from .portal_fault_world import DoorsWorld, buy, sell, virtual

LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)
UNKNOWN, FILLED, CANCELLED = OrderState.UNKNOWN, OrderState.FILLED, OrderState.CANCELLED
MSFT = Instrument("MSFT")


async def standing_by(world: DoorsWorld) -> None:
    await world.until(lambda: world.portal.is_healthy, "the standby")


async def handed_over(world: DoorsWorld, to: str = "portal") -> float:
    return await world.until(lambda: world.pen == to and world.pair.is_healthy, f"the pen at {to}", 120)


# An order in doubt, two user names


@pytest.mark.parametrize("frames", list(SorFrames))
@pytest.mark.parametrize("registry", list(Registry))
@virtual
async def test_p17_q18_an_order_whose_bytes_had_left_is_found_through_the_other_door(registry, frames):
    async with DoorsWorld(coid_registry=registry, sor_frames=frames) as world:
        await standing_by(world)
        await world.lose_tws(with_order="after")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        lost = world.clock.monotonic()
        waiting = asyncio.ensure_future(world.adapter.place(buy("k2")))
        await handed_over(world)
        assert 10 <= world.clock.monotonic() - lost <= 11
        assert world.placings == 0, "nothing new is sent while an order is in doubt"
        await world.until(lambda: world.state("k1") in LIVE, "the order to be found", 5)
        assert (await world.adapter.place(buy("k1"))).key == "k1", "the same key is never sent again"
        assert (await waiting).state in LIVE
        assert (await world.adapter.place(buy("k3"))).state in LIVE
        assert world.placings == 2
        assert world.journal.door().epoch == 2


@virtual
async def test_p17_q4_an_order_that_never_arrived_blocks_its_symbol_until_two_readings_prove_it():
    async with DoorsWorld() as world:
        await world.adapter.place(buy("old", price="240"))
        await standing_by(world)
        await world.lose_tws(with_order="before")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        await handed_over(world)
        assert world.shows("portal", "tws")
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(buy("k2"))
        assert refused.value.rule == "in_doubt"
        assert (await world.adapter.place(buy("m1", instrument=MSFT))).state in LIVE, "other symbols go on"
        assert (await world.adapter.cancel("old")).state is CANCELLED, "cancels pass"
        assert await world.until(lambda: world.state("k1") is OrderState.NOT_SENT, "its absence", 120) >= 25
        assert (await world.adapter.place(buy("k2"))).state in LIVE
        assert world.orders_of("k1") == []


@pytest.mark.parametrize("arrived", [True, False])
@virtual
async def test_p17_q4_absence_at_a_door_that_is_blind_proves_nothing_and_the_old_door_ends_the_doubt(arrived):
    async with DoorsWorld(cross_visibility=Visibility.NONE) as world:
        await standing_by(world)
        await world.lose_tws(with_order="after" if arrived else "before")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        await handed_over(world)
        await asyncio.sleep(600)
        assert world.state("k1") is UNKNOWN
        with pytest.raises(RiskRefusal):
            await world.adapter.place(buy("k2"))
        assert (await world.adapter.place(buy("m1", instrument=MSFT))).state in LIVE
        world.release("eof-on-connect")
        await world.until(lambda: world.tws.is_healthy, "TWS to stand by", 120)
        ends = LIVE if arrived else (OrderState.NOT_SENT,)
        await world.until(lambda: world.state("k1") in ends, "the evidence", 120)
        assert (world.pen, len(world.orders_of("k1"))) == ("portal", int(arrived))
        assert world.placings == 1


@virtual
async def test_q18_p17_the_way_back_waits_for_a_command_and_for_the_doubts():
    async with DoorsWorld() as world:
        await standing_by(world)
        await world.lose_tws(with_order="after")
        await world.adapter.place(buy("k1"))
        await handed_over(world)
        world.release("eof-on-connect")
        await world.until(lambda: world.tws.is_healthy, "TWS to stand by", 120)
        await asyncio.sleep(300)
        assert world.pen == "portal", "latched"
        await world.failover.hand_over("tws")
        await handed_over(world, "tws")
        assert world.journal.door().epoch == 3
        sent = world.sent_to_tws()
        assert (await world.adapter.place(buy("k2"))).state in LIVE
        assert world.sent_to_tws() == sent + 1
        assert world.placings == 0


@virtual
async def test_q5_a_fill_that_both_doors_tell_is_booked_once():
    async with DoorsWorld() as world:
        await world.adapter.place(buy("k1", price="264"))
        await standing_by(world)
        await world.lose_tws()
        await handed_over(world)
        changed = await world.adapter.modify("k1", OrderChange(limit_price=D(270)))
        assert changed.intent.limit_price == 270
        done = await world.adapter.wait("k1", 10)
        assert (done.state, done.filled) == (FILLED, D(10))
        world.release("eof-on-connect")
        await world.until(lambda: world.tws.is_healthy, "TWS to stand by", 120)
        await world.adapter.reconcile()
        await world.failover.hand_over("tws")
        await world.adapter.reconcile()
        assert len(world.adapter.fills()) == 1
        assert (await world.adapter.positions())[0].quantity == 10


@virtual
async def test_p17_q10_an_order_of_the_lost_door_is_cancelled_through_the_other_one_at_once():
    async with DoorsWorld() as world:
        await world.adapter.place(buy("k1"))
        await standing_by(world)
        await world.lose_tws()
        await world.until(lambda: not world.tws.is_healthy, "the loss")
        begun = world.clock.monotonic()
        cancelling = asyncio.create_task(world.adapter.cancel("k1"))
        await world.until(lambda: not world.exchange.open_orders(), "the cancel", 5)
        assert world.clock.monotonic() - begun <= 1
        assert world.pen == "tws", "a cancel takes no pen"
        await cancelling
        await handed_over(world)
        await world.until(lambda: world.state("k1") is CANCELLED, "its end", 5)


@virtual
async def test_p17_a_cancel_that_the_other_door_may_not_do_is_kept_for_the_one_that_may():
    async with DoorsWorld(cross_cancel=False) as world:
        await world.adapter.place(buy("k1"))
        await standing_by(world)
        await world.lose_tws()
        await handed_over(world)
        with pytest.raises(CancelRejected):
            await world.adapter.cancel("k1")
        assert not world.adapter.order("k1").is_terminal
        world.release("eof-on-connect")
        await world.until(lambda: world.tws.is_healthy, "TWS to stand by", 120)
        await world.failover.hand_over("tws")
        await world.adapter.cancel("k1")
        assert (await world.adapter.wait("k1", 10)).state is CANCELLED


@virtual
async def test_o16_an_order_in_doubt_is_changed_through_neither_door():
    async with DoorsWorld() as world:
        await standing_by(world)
        await world.lose_tws(with_order="after")
        await world.adapter.place(buy("k1"))
        with pytest.raises((ModifyRejected, NotConnected)):
            await world.adapter.modify("k1", OrderChange(limit_price=D(251)))
        await handed_over(world)
        await world.until(lambda: world.state("k1") in LIVE, "the order to be found", 5)
        assert (await world.adapter.modify("k1", OrderChange(limit_price=D(251)))).intent.limit_price == 251


@pytest.mark.parametrize("fault", ["reset-after-order", "reset-before-order"])
@virtual
async def test_o24_q17_a_bracket_that_is_torn_by_the_loss_leaves_no_entry_alone(fault):
    async with DoorsWorld() as world:
        await world.adapter.place(buy("shown", price="240"))
        await standing_by(world)
        world.arm("eof-on-connect")
        world.arm(fault, "transmitted")
        bracket = Bracket(buy("root", price="260"), stop_price=D(240), target_price=D(300))
        await asyncio.gather(world.adapter.place(bracket), return_exceptions=True)
        await handed_over(world)
        await asyncio.sleep(90)
        working = {view.ticket.order_ref for view in world.exchange.open_orders() if view.ticket.transmit}
        assert "root" not in working or len(working) > 1, "an entry without its stop"
        states = {world.state(leg_key("root", number)) for number in (0, 1, 2)}
        assert UNKNOWN not in states


@virtual
async def test_p17_selling_to_close_passes_through_the_new_door_while_another_order_is_in_doubt():
    async with DoorsWorld() as world:
        await world.adapter.wait((await world.adapter.place(buy("k1", price=None))).key, 10)
        await standing_by(world)
        await world.lose_tws(with_order="before")
        assert (await world.adapter.place(buy("k2"))).state is UNKNOWN
        await handed_over(world)
        closing = await world.adapter.place(sell("k3", price=None, reduce_only=True))
        assert (await world.adapter.wait(closing.key, 10)).state is FILLED
        assert await world.adapter.positions() == []


@pytest.mark.parametrize("arrived", [True, False])
@virtual
async def test_p17_p10_q4_within_ibs_limits_the_proof_takes_its_time_and_nobody_is_put_into_the_box(arrived):
    async with DoorsWorld(paced=True) as world:
        await world.adapter.place(buy("shown", price="240"))
        await standing_by(world)
        await world.until(lambda: world.shows("portal", "tws"), "the probe of the standby", 30)
        await world.lose_tws(with_order="after" if arrived else "before")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        await handed_over(world)
        ends = LIVE if arrived else (OrderState.NOT_SENT,)
        took = await world.until(lambda: world.state("k1") in ends, "the proof", 120)
        assert took <= 15 if arrived else took >= 25
        await world.until(lambda: world.adapter.health().can_trade, "the reading", 30)
        assert (await world.adapter.place(buy("k2"))).state in LIVE
        for path in ("/iserver/account/orders", "/iserver/account/trades"):
            moments = [moment for moment, name in world.wire.calls if name == f"GET {path}"]
            assert all(later - first >= 5 for first, later in itertools.pairwise(moments)), path
        assert world.portal._lanes.answers[429] == 0
        assert len(world.orders_of("k1")) == int(arrived)
