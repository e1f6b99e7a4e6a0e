"""Links that break in every way that the catalogue knows, on real sockets."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.market_data import Gap, Quote, Resumed
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import ConfigurationError, ConnectFailed, LinkLost, NotConnected
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkState

from .adapter_world import QUICK, adapter_world, buy


async def test_every_startup_section_is_known_before_trading():
    async with adapter_world() as world:
        assert world.client.is_healthy
        assert {section.name for section in world.client.sections} == {
            "current time",
            "positions",
            "open orders",
            "completed orders",
            "executions",
            "account DU0000001",
        }
        assert world.adapter.health().can_trade


async def test_nothing_listens():
    client = IbAsyncClient(replace(QUICK, port=1))
    with pytest.raises(ConnectFailed) as failed:
        await client.connect()
    assert failed.value.kind == "refused"
    assert client.state is LinkState.DOWN


async def test_c08_a_gateway_that_accepts_and_says_nothing_ends_with_the_deadline():
    async with adapter_world(connect=False, settings=replace(QUICK, handshake_deadline=0.5)) as world:
        world.arm("no-handshake")
        with pytest.raises(ConnectFailed) as failed:
            await world.adapter.connect()
        assert failed.value.kind == "no_handshake"
        world.release("no-handshake")
        await world.adapter.connect()
        assert world.client.is_healthy


async def test_c07_a_client_id_in_use_is_told_at_once():
    async with adapter_world() as world:
        second = IbAsyncClient(replace(QUICK, port=world.gateway.tws_port))
        with pytest.raises(ConnectFailed) as failed:
            await second.connect()
        assert failed.value.kind == "client_id_in_use"
        assert world.client.is_healthy


async def test_the_account_guard_refuses_before_anything_is_asked():
    def refuse(accounts):
        raise ConfigurationError(f"account {accounts[0]}", "it is not the one")

    async with adapter_world(connect=False, check=refuse) as world:
        with pytest.raises(ConfigurationError):
            await world.adapter.connect()
        assert world.client.state is LinkState.DOWN
        await world.until(lambda: not world.gateway.door.sessions, "the gateway to see the client leave")


async def test_another_account_after_a_reconnect_ends_the_session_for_good():
    seen = []

    def only_once(accounts):
        seen.append(accounts)
        if len(seen) > 1:
            raise ConfigurationError(f"account {accounts[0]}", "it is another one")

    async with adapter_world(check=only_once) as world:
        world.arm("reset")
        await world.until(lambda: world.client.state is LinkState.DOWN, "the session to be given up")
        assert world.count(LinkEventKind.ALARM) == 1
        with pytest.raises(NotConnected):
            await world.adapter.place(buy(limit=140))
        assert len(seen) == 2


async def test_client_zero_asks_for_orders_placed_by_hand():
    async with adapter_world(settings=replace(QUICK, client_id=0)) as world:
        world.arm("manual-order", "AAPL", "5")
        await world.client.market_time()
        assert (await world.client.positions())[0].quantity == 5


@pytest.mark.parametrize("fault", ["reset", "close", "corrupt-length"])
async def test_a_lost_link_comes_back_on_the_same_client_id(fault):
    async with adapter_world() as world:
        world.arm(fault)
        if fault == "corrupt-length":
            await asyncio.gather(world.client.market_time(), return_exceptions=True)
        await world.until_restored()
        assert world.client.client_id == 7
        assert world.client.is_healthy
        assert world.count(LinkEventKind.LOST) == 1
        assert set(world.gateway.door.sessions) == {7}


async def test_c14_one_reconnect_at_a_time():
    async with adapter_world() as world:
        for _ in range(3):
            world.arm("reset")
            await world.until(lambda: world.client.state is LinkState.READY and world.client.is_healthy, "the link")
        await world.until_restored()
        session = world.client._session
        await world.until(lambda: session.state is LinkState.READY, "the session")
        assert session.established == 1 + world.count(LinkEventKind.RESTORED)
        assert len(world.gateway.door.sessions) == 1


async def test_a_gateway_restart_is_outlived():
    async with adapter_world() as world:
        world.arm("restart", "0.3")
        await world.until_restored()
        assert world.client._session.attempts > 2, "it was refused while the gateway was away"
        assert world.client.is_healthy


async def test_c06_the_port_moves_and_the_client_follows():
    async with adapter_world() as world:
        old = world.gateway.tws_port
        world.arm("1300")
        await world.until_restored()
        assert world.gateway.tws_port != old
        assert world.client.is_healthy


async def test_c10_a_half_open_link_is_noticed_while_idle():
    async with adapter_world(settings=replace(QUICK, idle_before_probe=0.3, probe_deadline=0.5)) as world:
        world.arm("half-open")
        await world.until(lambda: world.count(LinkEventKind.LOST), "the half-open link to be noticed")
        assert world.client._session.failed_probes >= 1
        world.release("half-open")
        await world.until_restored()
        assert world.client.is_healthy


async def test_c10_the_shipped_deadlines_keep_the_promise_of_ten_seconds():
    settings = type(QUICK)()
    assert settings.idle_before_probe + settings.probe_deadline + settings.watch_every <= 10


async def test_c10_no_order_leaves_on_a_link_that_fails_its_probe():
    async with adapter_world(settings=replace(QUICK, silent_before_order=0.0)) as world:
        await world.adapter.quote("AAPL")
        world.arm("half-open")
        with pytest.raises(NotConnected):
            await world.adapter.place(buy(limit=140))
        world.release("half-open")
        await world.until_restored()
        assert not world.gateway.exchange.open_orders()
        assert await world.client.open_orders() == []


async def test_c09_a_missing_end_marker_blocks_trading_until_it_is_known():
    async with adapter_world(connect=False, settings=replace(QUICK, section_deadline=0.5)) as world:
        world.arm("mute", "execDetailsEnd")
        await world.client.connect()
        unknown = [section.name for section in world.client.sections if not section.known]
        assert unknown == ["executions"]
        assert not world.client.is_healthy
        await world.until(lambda: world.client.is_healthy, "the section to be asked again")


async def test_a_question_ends_with_the_link_and_the_next_one_is_refused():
    async with adapter_world() as world:
        world.arm("drop-answer", "reqAccountSummary")
        asking = asyncio.ensure_future(world.client.account_summary())
        await asyncio.sleep(0.01)
        world.arm("reset")
        with pytest.raises(LinkLost):
            await asking
        with pytest.raises(NotConnected):
            await world.client.account_summary()
        await world.until_restored()


async def stream_of(world, symbol="AAPL"):
    """A stream whose first quote has been read."""
    stream = world.adapter.stream([symbol])
    first = asyncio.ensure_future(anext(stream))
    await world.until(lambda: world.client._market.lines(), "the line")
    await world.advance(60)
    assert isinstance(await first, Quote)
    return stream


async def next_of(stream, kind):
    """The next event of a kind; everything before it is passed over."""
    async with asyncio.timeout(3):
        async for event in stream:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the stream ended before a {kind.__name__}")


@pytest.mark.parametrize("how", ["reset", "1101"])
async def test_c02_d03_subscriptions_come_back_with_gap_resumed_and_a_tick(how):
    async with adapter_world() as world:
        stream = await stream_of(world)
        if how == "1101":
            world.arm("1100")
        world.arm(how)
        assert (await next_of(stream, Gap)).source == "tws"
        resumed = await next_of(stream, Resumed)
        assert (resumed.restored, resumed.failed) == (1, 0)
        await world.until_restored()
        await world.advance(3600)
        assert isinstance(await next_of(stream, Quote), Quote)
        await stream.aclose()


async def test_c03_a_farm_flap_touches_only_the_silent_lines():
    async with adapter_world() as world:
        stream = await stream_of(world)
        before = world.client._market.lines()[0].request_id
        world.arm("2103")
        await world.until(lambda: world.client.farms_down, "the farm to be down")
        assert world.client.is_healthy, "orders do not go through a data farm"
        world.arm("2104")
        await world.until(lambda: not world.client.farms_down, "the farm to be up")
        resumed = await next_of(stream, Resumed)
        assert resumed.symbols == ("AAPL",)
        assert world.client._market.lines()[0].request_id != before
        assert world.count(LinkEventKind.LOST) == 0
        await stream.aclose()


@pytest.mark.parametrize("code", ["1100", "2110"])
async def test_c05_the_brokers_own_link_down_refuses_orders_and_keeps_the_socket(code):
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        world.arm(*(("1100", "tell") if code == "1100" else ("2110",)))
        await world.until(lambda: world.client.state is LinkState.BROKER_DOWN, "the news")
        with pytest.raises(NotConnected):
            await world.adapter.place(buy())
        world.arm("1102")
        await world.until_restored()
        assert world.client._session.established == 1
        order = await world.adapter.place(buy())
        assert order.state is OrderState.FILLED


async def test_a_line_asked_for_while_ib_was_away_is_asked_for_again_when_it_is_back():
    async with adapter_world() as world:
        instrument = (await world.adapter.details("AAPL")).instrument
        world.gateway.doors.tws.door.lose_session(queue_orders=False)
        await world.until(lambda: world.client.state is LinkState.BROKER_DOWN, "the news")
        line = world.client.subscribe_quotes(instrument)
        await world.client.market_time()
        assert line.last_update is None, "nobody answers it now"
        world.gateway.doors.tws.door.regain_session(1102)
        await world.until_restored()
        await world.until(lambda: line.last_update is not None, "its first tick")


async def test_c01_q6_a_fill_missed_in_the_gap_is_told_once_as_recovered():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(limit=142))
        events = world.adapter.order_events()
        world.arm("1100")
        await world.gateway.advance_to(world.gateway.now + timedelta(hours=6))
        filled = [row for row in world.gateway.exchange.positions() if row.quantity]
        assert filled, "the market came down to the limit inside the gap"
        assert world.adapter.order(order.key).filled == 0
        world.arm("1102")
        await world.until(lambda: world.adapter.order(order.key).state is OrderState.FILLED, "the missed fill")
        await world.until_restored()
        await events.aclose()
        fills = [event async for event in events if event.kind is OrderEventKind.FILL]
        assert [(event.fill.quantity, event.recovered) for event in fills] == [(10, True)]


async def test_c11_q16_order_ids_never_go_back():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        first = await world.adapter.place(buy())
        world.arm("next-id-back", "1")
        world.arm("reset")
        await world.until_restored()
        second = await world.adapter.place(buy(11))
        assert second.order_id > first.order_id


async def test_c05_a_tws_that_ib_is_not_behind_is_told_from_the_start():
    async with adapter_world(connect=False, settings=replace(QUICK, section_deadline=0.2)) as world:
        world.gateway.doors.tws.door.lose_session(queue_orders=False)
        await world.client.connect()
        assert world.client.state is LinkState.BROKER_DOWN
        assert not world.client.is_healthy
        world.gateway.doors.tws.door.regain_session(1102)
        await world.until(lambda: world.client.is_healthy, "the start-up queries to be answered")
        assert world.client.state is LinkState.READY


async def test_c05_nothing_is_restored_by_a_new_link_to_a_tws_that_ib_is_not_behind():
    async with adapter_world(settings=replace(QUICK, section_deadline=0.2)) as world:
        await world.adapter.quote("AAPL")
        world.gateway.doors.tws.door.lose_session(queue_orders=False)
        world.arm("reset")
        await world.until(lambda: world.client.state is LinkState.BROKER_DOWN and world.count(LinkEventKind.LOST), "it")
        await world.until(lambda: len(world.gateway.doors.tws.door.sessions) == 1, "the new link")
        assert world.count(LinkEventKind.RESTORED) == 0
        world.gateway.doors.tws.door.regain_session(1102)
        await world.until_restored()
        (again,) = [event for event in world.events if event.kind is LinkEventKind.SUBSCRIPTIONS_RESTORED]
        assert again.restored >= 1
        await world.until(lambda: world.adapter.health().can_trade, "orders to be possible again")
