"""Faults of the link and of the session (catalogue 1.1 and 1.5) met by the adapter over the portal."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError, ConnectFailed, LinkLost, NotConnected, PacingViolation
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import HttpCall
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkState
from moondev_ibkr.brokers.simulation.portal.orders import OrderDesk

from .portal_fault_world import AAPL, ORDER, PortalOnly, limit, virtual

LIVE = (OrderState.WORKING, OrderState.PRE_SUBMITTED)
INIT = "POST /iserver/auth/ssodh/init"
HOUR, DAY = 3_600.0, 86_400.0


def ask(world: PortalOnly, count: int) -> list[asyncio.Task[object]]:
    """That many questions in the queue of the lanes, as asked in this moment."""
    call = HttpCall("GET", "/iserver/accounts", what="a question")
    return [asyncio.create_task(world.client._lanes.call(call)) for _ in range(count)]


def now() -> float:
    return asyncio.get_running_loop().time()


# Silence


@virtual
async def test_c10_q14_a_half_open_link_is_noticed_within_ten_seconds_while_idle():
    async with PortalOnly() as world:
        await asyncio.sleep(100)
        world.wire.deaf = True
        world.arm("silent-heartbeat")
        assert await world.until(lambda: not world.adapter.health().can_trade, "the silence to be noticed") <= 10


@virtual
async def test_c10_q14_no_order_leaves_on_a_link_that_fails_its_probe_and_that_takes_a_second():
    async with PortalOnly() as world:
        await world.adapter.quote(AAPL)
        await asyncio.sleep(3)
        world.wire.deaf = True
        begun = now()
        with pytest.raises((LinkLost, NotConnected)):
            await world.adapter.place(limit("k1"))
        assert now() - begun <= 1.05
        assert world.placings == 0
        assert world.state("k1") in (None, OrderState.NOT_SENT)


@virtual
async def test_c10_q3_a_link_that_goes_deaf_under_an_order_leaves_it_in_doubt_and_is_not_written_to_again():
    async with PortalOnly() as world:
        await world.adapter.quote(AAPL)
        await world.client.open_orders()
        world.wire.deaf = True
        world.arm("silent-heartbeat")
        placing = asyncio.create_task(world.adapter.place(limit("k1")))
        assert await world.until(lambda: world.state("k1") is OrderState.UNKNOWN, "the doubt") <= 3.1
        await placing
        await world.until(lambda: not world.client.is_healthy, "the loss")
        world.wire.deaf = False
        world.release("silent-heartbeat")
        await world.until(lambda: world.state("k1") is OrderState.NOT_SENT, "its absence", 600)
        assert (world.refs, world.placings) == ([], 1)


@pytest.mark.parametrize("how", ["never answers", "ends at once", "refused"])
@virtual
async def test_c08_c15_c29_connecting_ends_with_its_deadline_and_says_why(how):
    world = PortalOnly()
    if how == "never answers":
        world.wire.deaf = True
    elif how == "ends at once":
        for _ in range(3):
            world.arm("abort-before", "/tickle")
    else:
        world.wire.unreachable = True
    begun = now()
    with pytest.raises(ConnectFailed) as failed:
        await world.adapter.connect()
    assert now() - begun <= 15
    assert failed.value.kind in ("unreachable", "timeout")
    assert world.client.state is LinkState.DOWN
    world.wire.deaf = world.wire.unreachable = False
    world.gateway.portal.faults.clear()
    await world.adapter.connect()
    assert world.adapter.health().can_trade
    await world.adapter.disconnect()
    world.journal.close()


@virtual
async def test_c09_a_start_up_question_without_an_answer_blocks_trading_until_it_is_known():
    world = PortalOnly()
    world.arm("fail", "500", "/iserver/account/orders")
    await world.adapter.connect()
    assert [row.name for row in world.client.sections if not row.known] == ["orders and trades"]
    assert not world.adapter.health().can_trade
    with pytest.raises(BrokerError):
        await world.adapter.place(limit("k1"))
    assert await world.until(lambda: world.client.is_healthy, "the answer") <= 2
    assert (await world.adapter.place(limit("k2"))).state in LIVE
    assert world.refs == ["k2"]
    await world.adapter.disconnect()
    world.journal.close()


# The session behind the gateway


@virtual
async def test_c01_c05_q6_what_happened_while_the_session_was_gone_is_told_once_as_missed():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1", price="264"))
        await world.adapter.place(limit("k2", price="240"))
        world.arm("maintenance")
        await world.until(lambda: not world.client.is_healthy, "the loss")
        with pytest.raises(BrokerError):
            await world.adapter.place(limit("k3"))
        for view in world.exchange.open_orders():
            if view.ticket.order_ref == "k2":
                world.exchange.cancel_perm(view.perm_id)
        world.release("maintenance")
        await world.until(lambda: world.client.is_healthy, "the session", 400)
        assert await world.until(lambda: world.state("k2") is OrderState.CANCELLED, "the cancel") <= 5
        ends = [event for event in world.heard.events if event.order and event.order.state is OrderState.CANCELLED]
        assert [(event.order.key, event.recovered) for event in ends] == [("k2", True)]
        assert world.state("k1") in LIVE
        assert world.placings == 2


@virtual
async def test_p04_the_login_lives_and_the_session_behind_it_is_begun_again():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        for count in (1, 2, 3):
            world.arm("auth-lost")
            await world.until(lambda: not world.client.is_healthy, "the loss")
            assert await world.until(lambda: world.client.is_healthy, "the session") <= 5
            assert world.wire.count(INIT) == count
        assert world.state("k1") in LIVE
        assert world.adapter.health().can_trade


@virtual
async def test_p05_an_order_that_meets_no_bridge_was_not_sent_and_one_init_mends_it():
    async with PortalOnly() as world:
        await world.adapter.quote(AAPL)
        world.arm("no-bridge")
        with pytest.raises(NotConnected):
            await world.adapter.place(limit("k1"))
        assert world.state("k1") is OrderState.NOT_SENT
        await world.until(lambda: world.client.is_healthy, "the session")
        assert world.wire.count(INIT) == 1
        assert (await world.adapter.place(limit("k2"))).state in LIVE


@virtual
async def test_p07_a_return_that_no_frame_tells_of_is_found_by_asking():
    async with PortalOnly() as world:
        world.arm("silent-return")
        world.arm("auth-lost")
        await world.until(lambda: not world.client.is_healthy, "the loss")
        assert await world.until(lambda: world.client.is_healthy, "the session") <= 10
        assert world.client.stream_is_open
        assert (await world.adapter.place(limit("k1"))).state in LIVE


@virtual
async def test_p15_a_suppression_is_there_again_after_each_beginning():
    async with PortalOnly(questions=("o10151",)) as world:
        for key in ("k1", "k2"):
            assert (await world.adapter.place(limit(key))).state in LIVE
            assert world.wire.count("POST /iserver/reply/") == 0
            assert "o10151" in world.gateway.portal.session.brokerage(OrderDesk).suppressed
            world.arm("auth-lost")
            await world.until(lambda: not world.client.is_healthy, "the loss")
            await world.until(lambda: world.client.is_healthy, "the session")


@virtual
async def test_c12_p14_logged_out_is_a_failing_health_that_alarms_a_few_times_and_mends_itself():
    async with PortalOnly() as world:
        world.arm("login-lost")
        await world.until(lambda: not world.adapter.health().can_trade, "the loss", 70)
        await asyncio.sleep(DAY)
        assert not world.adapter.health().can_trade
        assert 1 <= len(world.heard.alarms) <= 4
        assert any("log in" in text for text in world.heard.alarms)
        with pytest.raises(BrokerError):
            await world.adapter.place(limit("k1"))
        world.gateway.portal.session.log_in()
        await world.until(lambda: world.adapter.health().can_trade, "the session to be back", 400)
        assert (world.refs, world.placings) == ([], 0)


@virtual
async def test_c13_p11_nightly_maintenance_is_outlived_with_patience():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        for _ in range(3):
            await asyncio.sleep(HOUR)
            world.arm("maintenance")
            world.gateway.portal.session.end_brokerage(quietly=True)
            begun = len(world.wire.calls)
            await asyncio.sleep(1_200)
            assert len(world.wire.calls) - begun < 30
            world.release("maintenance")
            await world.until(lambda: world.adapter.health().can_trade, "the session to be back", 400)
        assert world.state("k1") in LIVE
        assert world.placings == 1


@virtual
async def test_c11_a_gateway_that_restarts_under_an_order_loses_none_and_doubles_none():
    async with PortalOnly() as world:
        await world.adapter.quote(AAPL)
        world.arm("abort-after")
        await world.adapter.place(limit("k1"))
        world.wire.unreachable = True
        world.arm("drop-streams")
        await asyncio.sleep(30)
        world.gateway.portal.session.end_brokerage()
        world.wire.unreachable = False
        await world.until(lambda: world.state("k1") in LIVE, "the order to be found", 400)
        assert (world.refs, world.placings) == (["k1"], 1)
        later = await world.adapter.place(limit("k2"))
        assert later.order_id > world.adapter.order("k1").order_id


@virtual
async def test_c14_many_losses_at_once_make_one_attempt_at_a_time():
    async with PortalOnly() as world:
        session = world.client._session
        for _ in range(5):
            world.arm("auth-lost")
            session.lose(LinkState.BROKER_DOWN, "again")
            session.suspect("again")
            await asyncio.sleep(0)
        await world.until(lambda: world.client.is_healthy, "the session")
        await asyncio.sleep(10)
        assert world.wire.count(INIT) == 1
        assert world.count(LinkEventKind.RESTORED) == 1
        assert len(world.gateway.portal.streams) == 1


# Pacing


@virtual
async def test_c22_p10_a_burst_of_questions_stays_within_the_limits():
    async with PortalOnly(paced=True) as world:
        await asyncio.sleep(10)
        begun = now()
        await asyncio.gather(*ask(world, 60), *(world.client.open_orders() for _ in range(4)))
        assert now() - begun >= 15
        assert world.client._lanes.answers[429] == 0


@virtual
async def test_c23_q10_a_cancel_overtakes_what_is_queued():
    async with PortalOnly(paced=True) as world:
        await world.adapter.place(limit("k1"))
        await asyncio.sleep(10)
        questions = ask(world, 80)
        await asyncio.sleep(0.5)
        begun, number = now(), world.number("k1")
        cancelling = asyncio.create_task(world.adapter.cancel("k1"))
        await world.until(lambda: world.wire.count(f"DELETE {ORDER}{number}"), "the cancel to leave", 2)
        left = next(moment for moment, name in world.wire.calls if name.startswith("DELETE"))
        assert left - begun <= 0.6, "the places of one second are taken; the next one that is free is the cancel's"
        assert sum(task.done() for task in questions) <= 10
        assert (await cancelling).state is OrderState.CANCELLED
        await asyncio.gather(*questions)


@virtual
async def test_c24_an_order_that_waits_for_its_turn_when_the_link_ends_is_proven_not_sent():
    async with PortalOnly(paced=True) as world:
        await world.adapter.quote(AAPL)
        await asyncio.sleep(10)
        questions = ask(world, 30)
        # the questions of another order are being answered: nothing may leave between them
        async with world.client._orders._turn:
            placing = asyncio.create_task(world.adapter.place(limit("k1")))
            await world.until(lambda: world.state("k1") is not None, "the intent", 2)
            assert world.placings == 0
            world.client._session.lose(LinkState.WAITING, "the link ended")
        with pytest.raises(NotConnected):
            await placing
        assert world.state("k1") is OrderState.NOT_SENT
        await asyncio.gather(*questions, return_exceptions=True)
        await world.until(lambda: world.client.is_healthy, "the session")
        assert (world.refs, world.placings) == ([], 0)


@virtual
async def test_p10_in_the_penalty_box_orders_are_not_sent_cancels_are_tried_and_the_box_is_left_alone():
    async with PortalOnly() as world:
        await world.adapter.place(limit("k1"))
        number = world.number("k1")
        world.arm("penalty", "600")
        with pytest.raises((NotConnected, PacingViolation)):
            await world.adapter.place(limit("k2"))
        assert world.state("k2") in (None, OrderState.NOT_SENT)
        begun = len(world.wire.calls)
        await world.adapter.cancel("k1")
        assert world.wire.count(f"DELETE {ORDER}{number}") >= 1
        await asyncio.sleep(500)
        asked = [name for _, name in world.wire.calls[begun:] if not name.startswith("DELETE")]
        assert len(asked) <= 2
        await world.until(lambda: world.adapter.health().can_trade, "the session", 1_500)
        await world.until(lambda: world.state("k1") is OrderState.CANCELLED, "the cancel that was kept")
        assert world.refs == ["k1"]


# Frames, and what is known


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"topic": "sor", "args": [{"orderId": 7, "status": 5}]}', "7"])
@virtual
async def test_c16_c19_a_frame_that_cannot_be_read_harms_nobody(text):
    async with PortalOnly() as world:
        world.gateway.portal.streams[0].outlet._on_frame(text)
        placed = await world.adapter.place(limit("k1", price="270"))
        assert (await world.adapter.wait(placed.key, 5)).filled == 10
        assert world.client.is_healthy


@virtual
async def test_c19_c21_a_frame_of_an_order_that_fails_is_counted_alarms_and_is_followed_by_a_look():
    world = PortalOnly()
    async with world:
        await world.adapter.place(limit("k1"))
        await world.client.settled()
        runs = world.adapter.manager._reconciler.completed_runs
        real, failed = world.client._feed._take_row, []

        def broken(number, row):
            failed.append(number)
            world.client._feed._take_row = real
            raise ValueError("a row that nobody expected")

        world.client._feed._take_row = broken
        world.tell("sor", {"orderId": world.number("k1"), "status": "Submitted"})
        await world.until(lambda: world.adapter.manager._reconciler.completed_runs > runs, "the look")
        assert failed == [world.number("k1")]
        assert any("could not be read" in text for text in world.heard.alarms)
        assert world.client._stream.failures == 1
        world.client._stream.failures = 0
        assert world.state("k1") in LIVE


@virtual
async def test_c25_q13_what_is_known_is_kept_while_the_link_is_lost_and_unknown_is_not_empty():
    async with PortalOnly() as world:
        await world.adapter.wait((await world.adapter.place(limit("k1", price="270"))).key, 5)
        await world.adapter.place(limit("k2"))
        await world.client.settled()
        world.arm("maintenance")
        await world.until(lambda: not world.client.is_healthy, "the loss")
        with pytest.raises(BrokerError):
            await world.adapter.positions()
        assert [order.key for order in world.adapter.open_orders()] == ["k2"]
        assert sum(fill.quantity for fill in world.adapter.fills()) == 10
        assert world.adapter.manager.owned_position(world.adapter.accounts()[0], AAPL) == 10


@virtual
async def test_c28_a_clock_that_is_wrong_is_told_and_blocks_nothing():
    async with PortalOnly() as world:
        rows = {name: (well, text) for name, well, text in world.adapter.health().details}
        assert rows["clock"][0] is False, "the gateway's market is months away from this machine"
        assert world.adapter.health().can_trade
