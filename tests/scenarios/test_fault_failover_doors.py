"""When the pen changes hands between TWS and the portal, and one user name for both (catalogue P16), on virtual time.

Both doors are those of one gateway. At the end of every story no key has two orders, and every fill is booked once.
"""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Gap, Quote, Resumed
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import (
    BrokerError,
    ConnectFailed,
    DoorFenced,
    RiskRefusal,
)
from moondev_ibkr.brokers.interactive_brokers.ib_door_health import Sign
from moondev_ibkr.brokers.interactive_brokers.ib_failover_policy import Users
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState
from moondev_ibkr.brokers.simulation.portal.request import PortalRequest
from moondev_ibkr.brokers.simulation.portal.settings import KickedOrders, SoftInit, Visibility

from .portal_fault_world import AAPL, ORDER, DoorsWorld, buy, next_of, virtual

LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)
UNKNOWN, FILLED, CANCELLED = OrderState.UNKNOWN, OrderState.FILLED, OrderState.CANCELLED
MSFT = Instrument("MSFT")


async def standing_by(world: DoorsWorld) -> None:
    await world.until(lambda: world.portal.is_healthy, "the standby")


async def handed_over(world: DoorsWorld, to: str = "portal") -> float:
    return await world.until(lambda: world.pen == to and world.pair.is_healthy, f"the pen at {to}", 120)


# When the doors change


@virtual
async def test_c10_q14_a_half_open_tws_is_noticed_in_ten_seconds_and_left_ten_seconds_later():
    async with DoorsWorld() as world:
        await standing_by(world)
        await asyncio.sleep(100)
        stream = world.adapter.stream(["AAPL"])
        await next_of(stream, Quote)
        world.arm("half-open")
        noticed = await world.until(lambda: not world.tws.is_healthy, "the silence to be noticed", 20)
        assert noticed <= 10
        assert world.pair.data is world.portal, "data moves at once"
        assert (await next_of(stream, Gap)).source == "tws"
        resumed = await next_of(stream, Resumed)
        assert (resumed.source, resumed.restored, resumed.failed) == ("portal", 1, 0)
        assert (await next_of(stream, Quote)).source == "portal"
        assert noticed + await handed_over(world) <= 21
        assert (await world.adapter.place(buy("k1"))).state in LIVE
        assert (world.placings, world.sent_to_tws()) == (1, 0)
        await stream.aclose()


@virtual
async def test_c10_q3_no_order_leaves_on_a_half_open_link_and_none_is_sent_twice():
    async with DoorsWorld() as world:
        await world.adapter.quote(AAPL)
        await standing_by(world)
        await asyncio.sleep(2)
        world.arm("half-open")
        begun = world.clock.monotonic()
        with pytest.raises(BrokerError):
            await world.adapter.place(buy("k1"))
        assert world.clock.monotonic() - begun <= 1.05
        assert world.sent_to_tws() == 0
        await handed_over(world)
        assert world.state("k1") in (None, OrderState.NOT_SENT)
        assert (await world.adapter.place(buy("k2"))).state in LIVE


@pytest.mark.parametrize("code", ["1101", "1102"])
@virtual
async def test_c01_a_short_loss_of_the_broker_changes_no_doors_and_a_long_one_does(code):
    async with DoorsWorld() as world:
        await standing_by(world)
        world.arm("1100")
        await world.until(lambda: world.tws.state is LinkState.BROKER_DOWN, "1100")
        await asyncio.sleep(8)
        world.arm(code)
        await world.until(lambda: world.pair.is_healthy, "the way back")
        await asyncio.sleep(30)
        assert world.pen == "tws"
        world.arm("1100")
        assert 10 <= await handed_over(world) <= 11
        assert (await world.adapter.place(buy("k1"))).state in LIVE
        world.arm(code)
        await world.until(lambda: world.tws.is_healthy, "TWS to stand by")
        await asyncio.sleep(60)
        assert world.pen == "portal"


@virtual
async def test_q13_a_reading_that_fails_at_the_new_door_changes_nothing_and_is_done_again():
    async with DoorsWorld() as world:
        await world.adapter.wait((await world.adapter.place(buy("k1", price=None))).key, 10)
        await world.adapter.place(buy("k2"))
        await standing_by(world)
        before = world.adapter.orders()
        await world.lose_tws()
        for path in ("GET /iserver/account/orders", "GET /iserver/account/trades"):
            world.arm("portal-fail", "503", path)
        await handed_over(world)
        assert [(order.key, order.state) for order in world.adapter.orders()] == [
            (order.key, order.state) for order in before
        ]
        await world.until(lambda: world.adapter.health().can_trade, "the reading", 60)
        assert (await world.adapter.place(buy("k3"))).state in LIVE
        assert (await world.adapter.positions())[0].quantity == 10


@virtual
async def test_q3_with_both_doors_gone_nothing_leaves_and_what_was_in_doubt_is_found_when_one_is_back():
    async with DoorsWorld() as world:
        await standing_by(world)
        world.wire.unreachable = True
        world.arm("portal-drop-streams")
        await world.lose_tws(with_order="after")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        await asyncio.sleep(120)
        with pytest.raises(BrokerError):
            await world.adapter.place(buy("m1", instrument=MSFT))
        assert (world.placings, world.state("k1")) == (0, UNKNOWN)
        world.wire.unreachable = False
        await world.until(lambda: world.state("k1") in LIVE, "the order to be found", 600)
        assert len(world.orders_of("k1")) == 1
        assert world.orders_of("m1") == []


@virtual
async def test_q18_a_process_that_starts_again_writes_through_the_door_that_holds_the_pen():
    async with DoorsWorld() as world:
        await standing_by(world)
        await world.lose_tws(with_order="after")
        await world.adapter.place(buy("k1"))
        await handed_over(world)
        world.release("eof-on-connect")
        await world.restart()
        assert world.pen == "portal"
        await world.until(lambda: world.state("k1") in LIVE, "the order to be found", 5)
        sent = world.sent_to_tws()
        assert (await world.adapter.place(buy("k2"))).state in LIVE
        assert (world.sent_to_tws(), world.placings) == (sent, 1)


@virtual
async def test_q18_the_epoch_fences_a_process_that_does_not_know_yet_that_the_doors_were_changed():
    async with DoorsWorld(policy={"lease_every": 1_000.0}) as world:
        await world.adapter.quote(AAPL)
        await standing_by(world)
        world.journal.switch_door("portal")
        with pytest.raises(DoorFenced):
            await world.adapter.place(buy("k1"))
        assert (world.sent_to_tws(), world.placings, world.state("k1")) == (0, 0, None)
        await handed_over(world)
        assert (await world.adapter.place(buy("k2"))).state in LIVE
        assert (world.sent_to_tws(), world.placings) == (0, 1)


@pytest.mark.parametrize("visibility", list(Visibility))
@virtual
async def test_q5_q18_a_fill_of_the_door_that_lost_the_pen_is_still_heard(visibility):
    async with DoorsWorld(cross_visibility=visibility) as world:
        await standing_by(world)
        await world.failover.hand_over("portal")
        await world.adapter.place(buy("k1"))
        await world.until(lambda: world.tws.is_healthy, "TWS to stand by", 60)
        await world.failover.hand_over("tws")
        await world.until(lambda: world.adapter.health().can_trade, "the reading", 30)
        ticket = {"conid": AAPL.con_id, "orderType": "LMT", "price": 270, "side": "BUY", "quantity": 10, "tif": "DAY"}
        number = world.portal_number("k1")
        world.wire.gateway.portal.serve(PortalRequest("POST", f"{ORDER}{number}", {}, ticket))
        world.wire.settle()
        await world.until(lambda: world.state("k1") is FILLED, "the fill", 30)
        await world.adapter.reconcile()
        assert len(world.adapter.fills()) == 1


# One user name: a take-over


@pytest.mark.parametrize("reading", list(SoftInit))
@virtual
async def test_p16_q18_one_user_fences_tws_asks_without_force_and_only_then_takes_the_session(reading):
    async with DoorsWorld(Users.ONE, soft_init=reading) as world:
        await world.adapter.place(buy("k1"))
        assert world.portal.state is LinkState.DOWN, "no standby: it would take the session away"
        inits = world.watch_inits()
        await world.lose_tws(with_order="after")
        assert (await world.adapter.place(buy("k2"))).state is UNKNOWN
        await handed_over(world)
        assert [compete for _, compete in inits] == ([False, True] if reading is SoftInit.FAIL else [False])
        assert world.tws.state is LinkState.DOWN
        assert world.pair.health["tws"].has(Sign.FENCED)
        await world.until(lambda: world.state("k2") in LIVE, "the order to be found", 10)
        connects = world.network._numbers
        world.release("eof-on-connect")
        await asyncio.sleep(300)
        assert world.network._numbers == connects, "the fenced door does not come back by itself"
        assert (await world.adapter.place(buy("k3"))).state in LIVE
        assert (world.placings, world.sent_to_tws()) == (1, 2)
        assert (await world.adapter.cancel("k1")).state is CANCELLED


@virtual
async def test_p16_a_portal_that_is_not_there_is_no_reason_to_close_tws():
    async with DoorsWorld(Users.ONE) as world:
        world.wire.unreachable = True
        await world.lose_tws()
        await asyncio.sleep(30)
        assert not world.pair.health["tws"].has(Sign.FENCED)
        world.release("eof-on-connect")
        await world.until(lambda: world.tws.is_healthy, "TWS to be back", 60)
        assert world.pen == "tws"
        assert (await world.adapter.place(buy("k1"))).state in LIVE


@virtual
async def test_p16_kicked_by_tws_while_in_doubt_the_pen_stays_and_nobody_flaps():
    async with DoorsWorld(Users.ONE) as world:
        await world.lose_tws()
        await handed_over(world)
        await world.adapter.quote(AAPL)
        world.arm("portal-abort-before")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        world.arm("portal-tws-reclaim")
        inits = world.watch_inits()
        await world.until(lambda: not world.portal.is_healthy, "the kick to be noticed", 15)
        await asyncio.sleep(120)
        assert world.pen == "portal"
        assert not any(compete for _, compete in inits), "the session is not torn back and forth"
        assert any("stay with portal" in text for text in world.heard.alarms)
        world.release("eof-on-connect")
        with pytest.raises(BrokerError):
            await world.adapter.place(buy("k2"))
        assert world.state("k1") is UNKNOWN
        await world.failover.hand_over("tws")
        await asyncio.sleep(120)
        assert world.state("k1") is UNKNOWN, "nobody has seen that TWS shows what the portal placed"
        await world.failover.hand_over("portal")
        await world.until(lambda: world.state("k1") is OrderState.NOT_SENT, "its absence where it was sent", 120)
        await world.until(lambda: world.adapter.health().can_trade, "the reading", 10)
        assert (await world.adapter.place(buy("k2"))).state in LIVE


@virtual
async def test_q10_a_cancel_of_what_only_the_portal_may_have_is_kept_while_tws_has_the_pen():
    """TWS, asked, would answer that there is no such order (10147): of an order at the portal that says nothing."""
    async with DoorsWorld(Users.ONE) as world:
        await world.lose_tws()
        await handed_over(world)
        world.arm("portal-abort-before")
        placed = await world.adapter.place(buy("k1"))
        assert (placed.state, placed.perm_id) == (UNKNOWN, None)
        world.release("eof-on-connect")
        world.arm("portal-tws-reclaim")
        await world.failover.hand_over("tws")
        assert world.portal.state is LinkState.DOWN
        assert (await world.adapter.cancel("k1")).state is UNKNOWN
        assert world.sent_to_tws("cancelOrder") == 0
        await world.failover.hand_over("portal")
        await world.until(lambda: world.state("k1") is OrderState.NOT_SENT, "its absence where it was sent", 120)


@virtual
async def test_q4_p17_one_users_untested_portal_is_no_proof_that_an_order_at_tws_is_absent():
    """The order lives at TWS, and the portal, which shows nothing of TWS, has never been seen to show any."""
    async with DoorsWorld(Users.ONE, cross_visibility=Visibility.NONE) as world:
        await world.adapter.quote(AAPL)
        world.arm("reset-after-order")
        world.arm("eof-on-connect")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        await handed_over(world)
        await world.until(lambda: world.adapter.health().can_trade, "the reading", 30)
        await asyncio.sleep(200)
        assert world.state("k1") is UNKNOWN
        with pytest.raises(RiskRefusal):
            await world.adapter.place(buy("k2"))
        world.release("eof-on-connect")
        with pytest.raises(ConnectFailed, match="another session of this user"):
            await world.failover.hand_over("tws")
        assert world.pen == "portal"
        world.arm("portal-tws-reclaim")
        await world.failover.hand_over("tws")
        await world.until(lambda: world.state("k1") in LIVE, "the order where it was sent", 60)


@virtual
async def test_p16_kicked_by_tws_with_nothing_in_doubt_the_pen_goes_back_with_a_new_epoch():
    async with DoorsWorld(Users.ONE) as world:
        await world.adapter.place(buy("k1"))
        await world.lose_tws()
        await handed_over(world)
        await world.until(lambda: world.adapter.health().can_trade, "the reading", 10)
        world.release("eof-on-connect")
        world.arm("portal-tws-reclaim")
        await handed_over(world, "tws")
        assert world.journal.door().epoch == 3
        assert world.portal.state is LinkState.DOWN, "the portal is fenced now"
        await world.until(lambda: world.adapter.health().can_trade, "the reading", 10)
        assert world.state("k1") in LIVE
        assert (await world.adapter.cancel("k1")).state is CANCELLED


@pytest.mark.parametrize("kept", list(KickedOrders))
@virtual
async def test_p16_o16_an_order_that_meets_a_kicked_tws_is_in_doubt_and_at_the_end_one_or_none(kept):
    async with DoorsWorld(Users.ONE, kicked_orders=kept, tws_reclaim_seconds=40.0) as world:
        await world.adapter.quote(AAPL)
        # TWS tells its clients nothing of the kick, nor of its way back
        world.gateway.door.faults.muted["error"] = 3
        world.gateway.portal.session.begin_brokerage(compete=True)
        placing = asyncio.create_task(world.adapter.place(buy("k1")))
        await world.until(lambda: world.state("k1") is UNKNOWN, "the doubt", 3.1)
        await placing
        with pytest.raises(BrokerError):
            await world.adapter.place(buy("k2"))
        arrived = kept is KickedOrders.QUEUED
        ends = LIVE if arrived else (OrderState.NOT_SENT,)
        await world.until(lambda: world.state("k1") in ends, "the outcome", 400)
        assert len(world.orders_of("k1")) == int(arrived)
        assert world.orders_of("k2") == []


@virtual
async def test_p16_p17_a_portal_that_shows_none_of_the_orders_of_tws_is_found_blind_and_proves_nothing():
    async with DoorsWorld(Users.ONE, cross_visibility=Visibility.NONE) as world:
        await world.adapter.place(buy("shown"))
        await world.lose_tws(with_order="after")
        assert (await world.adapter.place(buy("k1"))).state is UNKNOWN
        await handed_over(world)
        await asyncio.sleep(300)
        assert (world.state("k1"), world.state("shown")) == (UNKNOWN, OrderState.WORKING)
        assert any("does not show" in text for text in world.heard.alarms)
        with pytest.raises(RiskRefusal):
            await world.adapter.place(buy("k2"))
        assert world.placings == 0
