"""Both layers of a portal session kept alive: faults P04, P05, P07, P10, P15, P16 and C10, on virtual time."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.errors import ConnectFailed, LinkLost, LiveNotAllowed, PacingViolation
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.handshake import is_usable
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkState

from .rig import ACCOUNT, PortalWorld, limit, virtually, wire_order

STATUS = {"authenticated": True, "established": True, "connected": True, "competing": False}


@pytest.mark.parametrize(
    ("change", "usable"),
    [
        ({}, True),
        ({"authenticated": False}, False),
        ({"established": False}, False),
        ({"connected": False}, False),
        ({"competing": True}, False),
    ],
)
def test_the_gate_takes_all_four(change: dict[str, bool], usable: bool) -> None:
    assert is_usable(STATUS | change) is usable


def test_a_session_is_ready_with_accounts_stream_and_every_section_known() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            client = world.client
            assert client.state is LinkState.READY
            assert client.is_healthy
            assert client.accounts() == (ACCOUNT,)
            assert client.stream_is_open
            assert {row.name for row in client.sections} == {"orders and trades", "positions", f"account {ACCOUNT}"}
            assert client.cached_positions() == []
            assert client.cached_summary(ACCOUNT) is not None
            assert await client.market_time() == world.gateway.now
            assert world.count(LinkEventKind.UP) == 1

    virtually(story())


def test_a_first_status_that_lies_is_asked_again_and_begins_nothing() -> None:
    async def story() -> None:
        world = PortalWorld(first_status_lies=True)
        async with world:
            assert world.wire.count("POST /iserver/auth/status") == 2
            assert world.wire.count("POST /iserver/auth/ssodh/init") == 0

    virtually(story())


def test_p04_a_login_without_a_brokerage_session_begins_one() -> None:
    async def story() -> None:
        world = PortalWorld(brokerage_at_login=False)
        async with world:
            assert world.client.is_healthy
            assert world.wire.count("POST /iserver/auth/ssodh/init") == 1

    virtually(story())


def test_an_account_that_is_refused_ends_the_attempt_before_any_question() -> None:
    async def story() -> None:
        world = PortalWorld()

        def refuse(accounts: tuple[str, ...]) -> None:
            raise LiveNotAllowed(f"account {accounts[0]}", "not here")

        world.client._check_accounts = refuse
        with pytest.raises(LiveNotAllowed):
            await world.client.connect()
        assert world.client.state is LinkState.DOWN
        assert world.wire.count("GET /iserver/account/orders") == 0
        await world.client.disconnect()

    virtually(story())


def test_without_a_login_connecting_says_where_to_log_in() -> None:
    async def story() -> None:
        world = PortalWorld(logged_in=False)
        with pytest.raises(ConnectFailed) as failed:
            await world.client.connect()
        assert failed.value.kind == "account"
        assert "browser" in failed.value.next
        await world.client.disconnect()

    virtually(story())


def test_a_gateway_that_is_not_there_is_unreachable() -> None:
    async def story() -> None:
        world = PortalWorld()
        world.wire.unreachable = True
        with pytest.raises(ConnectFailed) as failed:
            await world.client.connect()
        assert failed.value.kind == "unreachable"
        await world.client.disconnect()

    virtually(story())


def test_the_session_outlives_its_idle_time_by_tickles() -> None:
    async def story() -> None:
        async with PortalWorld(idle_seconds=330.0) as world:
            await asyncio.sleep(3_600)
            assert world.client.is_healthy
            assert world.count(LinkEventKind.LOST) == 0
            assert world.wire.count("POST /tickle") >= 59

    virtually(story())


def test_p15_suppressions_are_sent_at_each_beginning() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            assert world.wire.count("POST /iserver/questions/suppress") == 1
            world.arm("auth-lost")
            await world.until(lambda: world.count(LinkEventKind.RESTORED) == 1, "the session to be back")
            assert world.wire.count("POST /iserver/questions/suppress") == 2

    virtually(story())


def test_p04_a_lost_brokerage_session_is_told_and_begun_again() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("auth-lost")
            assert await world.until(lambda: world.listener.lost, "the loss to be told") < 1
            taken = await world.until(lambda: world.listener.restored, "the session to be back")
            assert taken < 5
            assert world.wire.count("POST /iserver/auth/ssodh/init") == 1
            assert world.client.is_healthy
            assert world.client.stream_is_open

    virtually(story())


def test_p05_no_bridge_is_answered_by_one_init() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("no-bridge")
            with pytest.raises(Exception, match="no brokerage session"):
                await world.client.open_orders()
            assert world.client.state is LinkState.BROKER_DOWN
            await world.until(lambda: world.count(LinkEventKind.RESTORED) == 1, "the session to be back")
            assert await world.client.open_orders() == []

    virtually(story())


def test_p05_p11_a_bridge_that_stays_down_is_asked_ever_more_seldom() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("maintenance")
            await world.until(lambda: world.client.state is not LinkState.READY, "the loss to be noticed")
            begun = len(world.wire.calls)
            await asyncio.sleep(3_600)
            assert len(world.wire.calls) - begun < 40
            assert world.count(LinkEventKind.ALARM) >= 1
            world.release("maintenance")
            await world.until(lambda: world.client.is_healthy, "the session to be back", 400)

    virtually(story())


def test_p16_another_session_of_the_user_is_left_alone() -> None:
    async def story() -> None:
        world = PortalWorld(user="one", tws_user="one")
        with pytest.raises(ConnectFailed) as failed:
            await world.client.connect()
        assert "second user" in failed.value.next
        assert not world.gateway.portal.session.authenticated
        await world.client.disconnect()

    virtually(story())


def test_p16_it_is_taken_when_told_so() -> None:
    async def story() -> None:
        async with PortalWorld(user="one", tws_user="one", client={"compete": True}) as world:
            assert world.client.is_healthy
            world.arm("tws-reclaim")
            await world.until(lambda: world.listener.lost, "the kick to be noticed")

    virtually(story())


def test_p07_a_stream_that_does_not_beat_is_closed_and_rebuilt() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.client.subscribe_quotes(limit("k").instrument)
            world.arm("silent-heartbeat")
            await world.until(lambda: world.wire.opened == 2, "the stream to be rebuilt")
            world.release("silent-heartbeat")
            await world.until(lambda: world.client.stream_is_open, "the stream to be open")
            kinds = [event.kind for event in world.events]
            assert kinds.index(LinkEventKind.FARM_DOWN) < kinds.index(LinkEventKind.SUBSCRIPTIONS_RESTORED)
            assert world.count(LinkEventKind.LOST) == 0
            assert world.listener.restored

    virtually(story())


def test_c10_a_gateway_that_answers_no_more_is_noticed_within_ten_seconds() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.wire.deaf = True
            world.arm("silent-heartbeat")
            assert await world.until(lambda: world.listener.lost, "the silence to be noticed") <= 10
            assert world.client.state in (LinkState.WAITING, LinkState.CONNECTING)
            world.wire.deaf = False
            world.release("silent-heartbeat")
            await world.until(lambda: world.client.is_healthy, "the session to be back", 400)

    virtually(story())


def test_c10_an_order_is_not_sent_where_a_probe_finds_no_answer() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            await asyncio.sleep(2)
            world.wire.deaf = True
            with pytest.raises(LinkLost):
                await world.client.verify_link(1.0)
            assert not world.client.is_healthy

    virtually(story())


def test_p10_a_429_stops_everything_but_cancels_and_the_box_is_left_alone() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            await world.client.place(wire_order(1, limit("k1")))
            await world.until(lambda: world.listener.orders, "the order")
            number = world.listener.orders[0].perm_id
            world.arm("penalty", "600")
            with pytest.raises(PacingViolation):
                await world.client.account_summary()
            assert world.client.state is LinkState.BROKER_DOWN
            begun = len(world.wire.calls)
            await asyncio.sleep(500)
            assert len(world.wire.calls) - begun <= 2
            with pytest.raises(Exception, match="429"):
                await world.client.cancel(1, number, 7)
            assert world.wire.calls[-1][1].startswith("DELETE")
            world.release("penalty")
            await world.until(lambda: world.client.is_healthy, "the session to be back", 1_000)

    virtually(story())


def test_p14_a_login_that_ended_is_told_at_once_and_taken_up_when_somebody_logs_in() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("login-lost")
            await world.until(lambda: world.count(LinkEventKind.ALARM), "the alarm")
            assert world.client.state is LinkState.BROKER_DOWN
            assert any("log in" in event.text for event in world.events if event.kind is LinkEventKind.ALARM)
            begun = len(world.wire.calls)
            await asyncio.sleep(600)
            assert len(world.wire.calls) - begun < 20
            world.gateway.portal.session.log_in()
            await world.until(lambda: world.client.is_healthy, "the session to be back", 400)

    virtually(story())


def test_a_disconnected_client_connects_again() -> None:
    async def story() -> None:
        world = PortalWorld()
        for _ in range(2):
            async with world:
                assert world.client.is_healthy
            assert world.client.state is LinkState.DOWN

    virtually(story())


def test_a_clock_that_the_stream_tells_is_market_time() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.advance(3_600)
            assert await world.client.market_time() == world.gateway.now
            assert world.clock.now() == world.gateway.now

    virtually(story())
