"""A pool of gateways: who is asked, what moves when one is lost, and that orders never do. Virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.errors import (
    ConnectFailed,
    DeadlineExceeded,
    LinkLost,
    NoData,
    NoPermission,
    NotSupported,
)
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkScope, LinkState
from moondev_ibkr.config.gateways import Balance

from .rig import AAPL, ALL, GOOG, IBM, MSFT, PoolWorld, terms, virtually

LOST, RESTORED, UP = LinkEventKind.LOST, LinkEventKind.RESTORED, LinkEventKind.UP
FARM_DOWN, RESUMED = LinkEventKind.FARM_DOWN, LinkEventKind.SUBSCRIPTIONS_RESTORED
REFUSED = ConnectFailed("g", "nothing listens", kind="refused")
EITHER = pytest.mark.parametrize("balance", list(Balance))


async def ask(world: PoolWorld, times: int = 1) -> list[str]:
    return [await world.pool.historical_bars(None) for _ in range(times)]  # type: ignore[arg-type, misc]


# Balance


@EITHER
def test_questions_and_lines_are_spread_over_every_gateway(balance: Balance) -> None:
    async def story(world: PoolWorld) -> None:
        await ask(world, 30)
        assert [gateway.asked for gateway in world.gateways] == [10, 10, 10]
        for instrument in ALL[:3]:
            world.pool.subscribe_quotes(instrument)
        assert world.spread() == [1, 1, 1]

    virtually(story, balance=balance)


@EITHER
def test_twice_the_weight_gets_twice_the_work(balance: Balance) -> None:
    async def story(world: PoolWorld) -> None:
        await ask(world, 40)
        assert [gateway.asked for gateway in world.gateways] == [10, 20, 10]

    virtually(story, terms(3, g1={"weight": 2}), balance=balance)


def test_a_slow_gateway_gets_less_while_it_has_more_to_do() -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[1].answer = 1.0

        async def asker() -> None:
            while world.loop.time() < end:
                await ask(world)

        for gateway in (world.gateways[0], world.gateways[2]):
            gateway.answer = 0.01
        end = world.loop.time() + 5
        await asyncio.gather(*(asker() for _ in range(6)))
        fast, slow, other = (gateway.asked for gateway in world.gateways)
        assert slow * 10 < min(fast, other)

    virtually(story)


def test_a_contract_has_one_line_whoever_asks_and_it_ends_with_the_last_user() -> None:
    async def story(world: PoolWorld) -> None:
        line = world.pool.subscribe_quotes(AAPL)
        assert world.pool.subscribe_quotes(AAPL) is line
        assert sum(world.spread()) == 1
        world.pool.unsubscribe_quotes(AAPL)
        assert sum(world.spread()) == 1
        world.pool.unsubscribe_quotes(AAPL)
        assert sum(world.spread()) == 0
        assert [row.lines for row in world.pool.status()] == [0, 0, 0]

    virtually(story)


def test_no_gateway_gets_more_lines_than_its_user_has() -> None:
    async def story(world: PoolWorld) -> None:
        for instrument in ALL:
            world.pool.subscribe_quotes(instrument)
        assert world.spread() == [1, 1, 2]

    virtually(story, terms(3, g0={"lines": 1}, g1={"lines": 1}))


# What a gateway refuses


@pytest.mark.parametrize("error", [LinkLost("q"), NoPermission("q"), NotSupported("q")], ids=lambda e: type(e).__name__)
def test_what_one_gateway_may_not_answer_another_one_does(error: Exception) -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[0].error = world.gateways[1].error = error  # type: ignore[assignment]
        assert await ask(world, 6) == ["g2"] * 6
        assert [row.errors for row in world.pool.status()][2] == 0
        assert sum(row.errors for row in world.pool.status()) > 0
        world.gateways[2].error = error  # type: ignore[assignment]
        with pytest.raises(type(error)):
            await ask(world)

    virtually(story)


def test_an_answer_that_there_is_nothing_is_an_answer() -> None:
    async def story(world: PoolWorld) -> None:
        for gateway in world.gateways:
            gateway.error = NoData("bars", "no data")
        with pytest.raises(NoData):
            await ask(world)
        assert sum(gateway.asked for gateway in world.gateways) == 1
        assert [row.errors for row in world.pool.status()] == [0, 0, 0]

    virtually(story)


def test_a_question_that_ran_out_of_time_is_not_asked_twice() -> None:
    async def story(world: PoolWorld) -> None:
        for gateway in world.gateways:
            gateway.error = DeadlineExceeded("bars", timedelta(seconds=10))
        with pytest.raises(DeadlineExceeded):
            await ask(world)
        assert sum(gateway.asked for gateway in world.gateways) == 1
        assert sum(row.errors for row in world.pool.status()) == 1

    virtually(story)


def test_a_stream_that_one_gateway_does_not_have_is_opened_at_another() -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[0].error = world.gateways[1].error = NotSupported("tick by tick")
        handle = world.pool.subscribe_ticks(AAPL, "AllLast")
        assert list(world.gateways[2].handles.values()) == ["AllLast AAPL"]
        world.pool.unsubscribe(handle)
        assert not world.gateways[2].handles

    virtually(story)


# A data gateway is lost


def test_what_a_lost_gateway_carried_moves_at_once_between_a_gap_and_resumed() -> None:
    async def story(world: PoolWorld) -> None:
        lines = {one.symbol: world.pool.subscribe_quotes(one) for one in ALL[:3]}
        world.pool.subscribe_ticks(AAPL, "AllLast")
        carried = [line.instrument.symbol for line in world.gateways[1].lines.values()]
        at = world.loop.time()
        world.gateways[1].lose()
        assert world.loop.time() == at, "nothing is waited for"
        assert sum(world.spread()) == 3
        assert world.spread()[1] == 0
        assert lines[carried[0]].quote().source in ("g0", "g2")
        gap, resumed = world.told
        assert (gap.kind, resumed.kind) == (FARM_DOWN, RESUMED)
        assert gap.symbols == resumed.symbols == tuple(carried)
        assert {gap.scope, resumed.scope} == {LinkScope.DATA}
        assert (gap.source, resumed.restored, resumed.failed) == ("g1", 1, 0)
        assert resumed.source in ("g0", "g2")
        assert world.pool.is_healthy

    virtually(story)


def test_streams_move_as_well() -> None:
    async def story(world: PoolWorld) -> None:
        handles = [world.pool.subscribe_ticks(one, "AllLast") for one in ALL[:3]]
        assert [len(gateway.handles) for gateway in world.gateways] == [1, 1, 1]
        world.gateways[2].lose()
        assert [len(gateway.handles) for gateway in world.gateways] == [2, 1, 0]
        for handle in handles:
            world.pool.unsubscribe(handle)
        assert [len(gateway.handles) for gateway in world.gateways] == [0, 0, 0]

    virtually(story)


def test_a_gateway_that_carried_nothing_leaves_no_gap() -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[1].lose()
        assert world.told == []
        world.gateways[1].come_back()
        assert world.kinds(LinkScope.ALL) == world.kinds(LinkScope.ORDERS) == []

    virtually(story)


def test_a_question_under_way_at_a_lost_gateway_is_asked_at_another() -> None:
    async def story(world: PoolWorld) -> None:
        for gateway in world.gateways:
            gateway.answer = 1.0
        world.gateways[0].error = LinkLost("bars", "reset")
        assert await ask(world) == ["g1"]

    virtually(story)


def test_lines_stay_where_they_are_when_a_gateway_comes_back() -> None:
    """Nothing oscillates: what is new goes to the empty one, what runs is left alone."""

    async def story(world: PoolWorld) -> None:
        for one in ALL[:3]:
            world.pool.subscribe_quotes(one)
        world.gateways[1].lose()
        world.gateways[1].come_back()
        await asyncio.sleep(600)
        assert world.spread()[1] == 0
        world.pool.subscribe_quotes(GOOG)
        assert world.spread()[1] == 1
        assert world.pool.moves == 1

    virtually(story)


def test_what_no_other_gateway_has_room_for_stays_intended_and_its_gap_stays_open() -> None:
    async def story(world: PoolWorld) -> None:
        for one in ALL[:2]:
            world.pool.subscribe_quotes(one)
        assert world.spread() == [1, 1]
        lost = next(iter(world.gateways[1].lines.values())).instrument.symbol
        world.gateways[1].lose()
        assert [event.kind for event in world.told] == [FARM_DOWN]
        assert world.told[0].symbols == (lost,)
        assert world.spread() == [1, 1], "the session asks for it again when it is back"
        world.told.clear()
        world.gateways[1].come_back()
        assert [(event.kind, event.symbols) for event in world.told if event.kind is not RESTORED] == [
            (RESUMED, (lost,))
        ]

    virtually(story, terms(2, g0={"lines": 1}, g1={"lines": 1}))


def test_all_lost_is_one_gap_and_the_first_one_back_carries_everything() -> None:
    async def story(world: PoolWorld) -> None:
        for one in ALL[:3]:
            world.pool.subscribe_quotes(one)
        for gateway in (world.gateways[1], world.gateways[2]):
            gateway.lose()
        world.told.clear()
        world.gateways[0].lose()
        assert [(event.kind, event.scope) for event in world.told] == [(LOST, LinkScope.ALL)]
        world.told.clear()
        world.gateways[2].come_back()
        assert world.spread() == [0, 0, 3]
        assert [(event.kind, event.scope) for event in world.told] == [
            (RESUMED, LinkScope.DATA),
            (RESTORED, LinkScope.DATA),
        ]
        assert (world.told[0].restored, world.told[0].symbols) == (3, ())
        world.told.clear()
        world.gateways[0].come_back()
        assert [(event.kind, event.scope) for event in world.told] == [(RESTORED, LinkScope.ORDERS)]

    virtually(story)


def test_a_feed_that_fell_silent_is_asked_for_again_where_it_is() -> None:
    async def story(world: PoolWorld) -> None:
        for one in ALL[:3]:
            world.pool.subscribe_quotes(one)
        world.pool.resubscribe_silent(0.0)
        assert [event.kind for event in world.told] == [FARM_DOWN, RESUMED] * 3
        assert {symbol for event in world.told for symbol in event.symbols} == {"AAPL", "MSFT", "IBM"}

    virtually(story)


def test_a_farm_of_a_data_gateway_says_which() -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[0].farms_down = {"usfarm": "broken"}
        world.gateways[1].farms_down = {"usfarm": "broken"}
        assert set(world.pool.farms_down) == {"usfarm", "usfarm at g1"}

    virtually(story)


# Orders are sticky


def test_orders_and_their_evidence_are_the_order_gateways_alone() -> None:
    async def story(world: PoolWorld) -> None:
        heard = Listener()
        world.pool.set_listener(heard)  # type: ignore[arg-type]
        calls = (
            world.pool.place(None),  # type: ignore[arg-type]
            world.pool.cancel(7),
            world.pool.open_orders(),
            world.pool.executions(),
            world.pool.cancel_everything(),
        )
        for call in calls:
            await call
        assert world.gateways[0].order_calls == ["place", "cancel", "open_orders", "executions", "cancel_everything"]
        assert world.gateways[1].order_calls == world.gateways[2].order_calls == []
        world.gateways[1].lose()
        world.gateways[1].come_back()
        assert heard.lines == [], "a data gateway puts nothing in doubt"
        world.gateways[0].lose()
        assert heard.lines == ["lost"]
        assert not world.pool.is_healthy
        assert world.pool.state is LinkState.WAITING

    virtually(story)


def test_a_lost_order_gateway_is_told_as_orders_only_and_its_lines_move() -> None:
    async def story(world: PoolWorld) -> None:
        for one in ALL[:3]:
            world.pool.subscribe_quotes(one)
        world.gateways[0].lose()
        assert world.kinds(LinkScope.ORDERS) == [LOST]
        assert world.kinds(LinkScope.DATA) == [FARM_DOWN, RESUMED]
        assert world.kinds(LinkScope.ALL) == []
        assert world.spread()[0] == 0
        world.told.clear()
        await ask(world, 4)
        world.gateways[0].come_back()
        assert world.kinds(LinkScope.ORDERS) == [RESTORED]

    virtually(story)


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_link_lost(self, reason: str) -> None:
        self.lines.append("lost")

    def on_link_restored(self, reason: str) -> None:
        self.lines.append("restored")


# Connecting


def test_no_order_gateway_is_no_session() -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[0].refusal = REFUSED
        with pytest.raises(ConnectFailed):
            await world.pool.connect()
        assert {gateway.state for gateway in world.gateways} == {LinkState.DOWN}
        asked = [len(gateway.connects) for gateway in world.gateways]
        await asyncio.sleep(300)
        assert [len(gateway.connects) for gateway in world.gateways] == asked

    virtually(story, connect=False)


def test_every_gateway_is_warm_when_connect_returns() -> None:
    async def story(world: PoolWorld) -> None:
        await world.pool.connect()
        assert {gateway.state for gateway in world.gateways} == {LinkState.READY}

    virtually(story, terms(32, g31={"is_backup": True}), connect=False)


def test_a_data_gateway_that_is_not_there_is_tried_with_back_off_and_alarms_once() -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[2].refusal = REFUSED
        await world.pool.connect()
        assert world.pool.is_healthy
        await asyncio.sleep(300)
        first, *later = world.gateways[2].connects
        gaps = [round(b - a, 3) for a, b in zip([first, *later], later, strict=False)]
        assert gaps[:8] == [0.5, 1, 2, 4, 8, 16, 32, 60]
        assert set(gaps[8:]) == {60}
        alarms = [event for event in world.told if event.kind is LinkEventKind.ALARM]
        assert len(alarms) == 1
        assert "g2" in alarms[0].text
        assert "nothing listens" in alarms[0].text
        world.gateways[2].refusal = None
        await asyncio.sleep(61)
        assert world.gateways[2].state is LinkState.READY
        world.pool.subscribe_quotes(AAPL)
        world.pool.subscribe_quotes(MSFT)
        world.pool.subscribe_quotes(IBM)
        assert world.spread() == [1, 1, 1]

    virtually(story, connect=False)


# Backups


def test_a_backup_gets_nothing_while_another_gateway_is_ready() -> None:
    async def story(world: PoolWorld) -> None:
        await ask(world, 10)
        for one in ALL:
            world.pool.subscribe_quotes(one)
        assert world.spread() == [2, 2, 0]
        assert world.gateways[2].asked == 0
        world.gateways[0].lose()
        assert world.spread() == [0, 4, 0]
        world.gateways[1].lose()
        assert world.spread() == [0, 0, 4]
        assert await ask(world) == ["g2"]

    virtually(story, terms(3, g2={"is_backup": True}))


def test_a_backup_gives_its_lines_back_when_all_others_have_stood_for_a_while() -> None:
    async def story(world: PoolWorld) -> None:
        world.pool.subscribe_quotes(AAPL)
        world.gateways[0].lose()
        assert world.spread() == [0, 1]
        world.gateways[0].come_back()
        await asyncio.sleep(29)
        assert world.spread() == [0, 1]
        world.told.clear()
        await asyncio.sleep(3)
        assert world.spread() == [1, 0]
        assert [event.kind for event in world.told] == [FARM_DOWN, RESUMED]

    virtually(story, terms(2, g1={"is_backup": True}))


def test_a_cold_backup_is_connected_when_a_gateway_is_lost_and_let_go_afterwards() -> None:
    async def story(world: PoolWorld) -> None:
        await asyncio.sleep(60)
        assert world.gateways[1].connects == []
        world.pool.subscribe_quotes(AAPL)
        lost = world.loop.time()
        world.gateways[0].lose()
        await asyncio.sleep(1)
        assert world.gateways[1].connects == [lost]
        assert world.spread() == [0, 1]
        assert world.kinds(LinkScope.DATA) == [RESUMED, UP]
        world.gateways[0].come_back()
        await asyncio.sleep(35)
        assert world.spread() == [1, 0]
        assert world.gateways[1].state is LinkState.DOWN

    virtually(story, terms(2, g1={"is_backup": True}), prewarm=False)


# Health


def test_a_gateway_that_stops_answering_gets_nothing_new_and_is_asked_again() -> None:
    async def story(world: PoolWorld) -> None:
        world.gateways[1].hangs = True
        await asyncio.sleep(8)
        status = world.pool.status()[1]
        assert status.state is LinkState.READY
        assert not status.is_responsive
        assert status.heartbeat_age is not None
        assert status.heartbeat_age >= 5
        asked = world.gateways[1].asked
        assert "g1" not in await ask(world, 9)
        assert world.gateways[1].asked == asked
        world.gateways[1].hangs = False
        await asyncio.sleep(15)
        assert world.pool.status()[1].is_responsive
        assert "g1" in await ask(world, 9)

    virtually(story)


def test_a_gateway_that_answers_questions_needs_no_heartbeat() -> None:
    async def story(world: PoolWorld) -> None:
        for _ in range(100):
            await ask(world, 3)
            await asyncio.sleep(1)
        assert [gateway.beats for gateway in world.gateways] == [0, 0, 0]
        await asyncio.sleep(100)
        assert all(30 <= gateway.beats <= 51 for gateway in world.gateways)
        assert all(row.heartbeat_age is not None and row.heartbeat_age <= 3 for row in world.pool.status())

    virtually(story)


def test_statistics_count_requests_errors_and_latency_by_gateway() -> None:
    async def story(world: PoolWorld) -> None:
        for index, gateway in enumerate(world.gateways):
            gateway.answer = 0.010 * (index + 1)
        await ask(world, 30)
        world.gateways[1].error = DeadlineExceeded("bars", timedelta(seconds=10))
        with pytest.raises(DeadlineExceeded):
            await ask(world, 30)
        first, second, third = world.pool.status()
        assert (first.errors, second.errors, third.errors) == (0, 1, 0)
        assert second.requests == 11
        assert "bars" in second.last_error
        assert [round(row.p50 or 0) for row in (first, second, third)] == [10, 20, 30]
        assert [round(row.p99 or 0) for row in (first, second, third)] == [10, 20, 30]
        assert first.has_orders
        assert not second.has_orders
        assert (first.sessions, first.lost, first.in_flight) == (1, 0, 0)
        assert set(world.pool.latencies()) == {"gateway g0", "gateway g1", "gateway g2"}

    virtually(story)


def test_statistics_tell_bytes_rates_and_reconnects_by_gateway() -> None:
    async def story(world: PoolWorld) -> None:
        assert world.pool.status()[0].request_rate is None
        for _ in range(20):
            await ask(world, 3)
            await asyncio.sleep(1)
        first, *others = world.pool.status()
        assert (first.bytes_in, first.bytes_out) == (1000 * first.requests, 100 * first.requests)
        assert first.request_rate == pytest.approx(1.0, rel=0.15)
        assert first.bytes_in_rate == pytest.approx(1000.0, rel=0.15)
        assert first.bytes_out_rate == pytest.approx(100.0, rel=0.15)
        assert world.pool.traffic().received == 60_000
        assert [row.role for row in (first, *others)] == ["orders", "data", "data"]
        world.gateways[1].lose()
        await asyncio.sleep(5)
        world.gateways[1].come_back()
        assert [row.reconnects for row in world.pool.status()] == [0, 1, 0]

    virtually(story)


def test_live_bars_are_counted_where_they_are() -> None:
    async def story(world: PoolWorld) -> None:
        handle, _ = await world.pool.live_bars(None, None)  # type: ignore[arg-type]
        assert sum(row.streams for row in world.pool.status()) == 1
        world.pool.unsubscribe(handle)
        assert sum(row.streams for row in world.pool.status()) == 0
        assert not any(gateway.handles for gateway in world.gateways)

    virtually(story)
