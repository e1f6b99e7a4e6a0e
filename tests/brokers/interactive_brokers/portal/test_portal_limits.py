"""The lanes in front of the portal: priorities, limits, places, the penalty box (P10), on virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from moondev_ibkr.brokers.errors import PacingViolation
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.limits import (
    LIMITS,
    PLACES,
    PROBATION,
    Lanes,
    PortalLimit,
    Priority,
)
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import HttpCall, HttpReply, NotSent

from .rig import ScriptedWire, virtually

ORDERS = HttpCall("GET", "/iserver/account/orders")
TEN_A_SECOND = (PortalLimit("everything", ".*", 10, 1.0, "test", spare=2),)


def times(wire: ScriptedWire, path: str) -> list[float]:
    return [at for at, call in wire.calls if call.path == path]


def test_every_row_names_its_source_and_fits_a_path() -> None:
    assert len({row.name for row in LIMITS}) == len(LIMITS)
    assert all(row.source and row.count > 0 and row.seconds > 0 for row in LIMITS)
    assert set(PLACES) == set(Priority)
    assert PLACES[Priority.DATA] < PLACES[Priority.ORDER] < PLACES[Priority.CANCEL]


def test_never_more_than_ten_in_any_second() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        lanes = Lanes(wire)
        calls = [HttpCall("GET", f"/portfolio/DU1/positions/{page}") for page in range(35)]
        await asyncio.gather(*(lanes.call(call) for call in calls))
        moments = [at for at, _ in wire.calls]
        assert all(later - earlier >= 1.0 - 1e-6 for earlier, later in zip(moments, moments[10:], strict=False))
        # eight a second are for data, the others for what is more urgent
        assert moments[-1] - moments[0] == pytest.approx(4.0, abs=0.2)

    virtually(story())


def test_live_orders_leave_five_seconds_apart_whatever_their_query() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        lanes = Lanes(wire)
        forced = HttpCall("GET", "/iserver/account/orders", {"force": "true"})
        await asyncio.gather(lanes.call(forced), lanes.call(ORDERS), lanes.call(ORDERS))
        begun = wire.calls[0][0]
        assert [at - begun for at in times(wire, ORDERS.path)] == pytest.approx([0.0, 5.0, 10.0])
        assert wire.calls[0][1].query == {"force": "true"}

    virtually(story())


def test_placing_orders_has_no_limit_of_the_list_of_orders() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        lanes = Lanes(wire)
        post = HttpCall("POST", "/iserver/account/DU1/orders")
        begun = asyncio.get_running_loop().time()
        await lanes.call(ORDERS)
        await lanes.call(post, Priority.ORDER)
        assert asyncio.get_running_loop().time() - begun < 0.1

    virtually(story())


def test_c23_q10_a_cancel_and_an_order_pass_two_hundred_questions_at_once() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.delay = 0.05
        lanes = Lanes(wire, TEN_A_SECOND)
        loop = asyncio.get_running_loop()
        reads = [asyncio.create_task(lanes.call(HttpCall("GET", f"/q/{n}"))) for n in range(200)]
        await asyncio.sleep(2.01)
        asked = loop.time()
        order = asyncio.create_task(lanes.call(HttpCall("POST", "/order"), Priority.ORDER))
        cancel = asyncio.create_task(lanes.call(HttpCall("DELETE", "/order/1"), Priority.CANCEL))
        await asyncio.gather(order, cancel)
        names = [call.method for at, call in wire.calls if at >= asked]
        assert sorted(names[:2]) == ["DELETE", "POST"]
        assert times(wire, "/order/1")[0] - asked <= 0.025
        assert times(wire, "/order")[0] - asked <= 0.025
        for task in reads:
            task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    virtually(story())


def test_places_are_kept_for_orders_while_answers_are_slow() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.delay = 8.0
        lanes = Lanes(wire, ())
        reads = [asyncio.create_task(lanes.call(HttpCall("GET", f"/q/{n}"))) for n in range(20)]
        await asyncio.sleep(0.1)
        assert len(wire.calls) == PLACES[Priority.DATA]
        cancel = asyncio.create_task(lanes.call(HttpCall("DELETE", "/order/1"), Priority.CANCEL))
        await asyncio.sleep(0.1)
        assert times(wire, "/order/1")
        await asyncio.gather(cancel, *reads)

    virtually(story())


def test_history_has_five_places() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.delay = 3.0
        lanes = Lanes(wire)
        calls = [HttpCall("GET", "/iserver/marketdata/history", {"conid": str(n)}) for n in range(8)]
        reads = [asyncio.create_task(lanes.call(call)) for call in calls]
        await asyncio.sleep(1.0)
        assert len(wire.calls) == 5
        await asyncio.gather(*reads)
        assert len(wire.calls) == 8

    virtually(story())


def test_while_a_chain_is_open_only_replies_and_cancels_leave() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        lanes = Lanes(wire, ())
        with lanes.reserved():
            held = asyncio.create_task(lanes.call(HttpCall("GET", "/q")))
            await lanes.call(HttpCall("POST", "/reply"), Priority.REPLY)
            await lanes.call(HttpCall("DELETE", "/order/1"), Priority.CANCEL)
            await asyncio.sleep(1)
            assert Counter(call.path for _, call in wire.calls) == {"/reply": 1, "/order/1": 1}
        await held
        assert times(wire, "/q")

    virtually(story())


def test_a_caller_who_leaves_the_queue_sends_nothing() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        lanes = Lanes(wire)
        await lanes.call(ORDERS)
        second = asyncio.create_task(lanes.call(ORDERS))
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.sleep(10)
        assert len(wire.calls) == 1
        third = asyncio.create_task(lanes.call(ORDERS))
        await third
        lanes.stop()

    virtually(story())


def test_what_waits_when_the_session_ends_is_proven_not_sent() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        lanes = Lanes(wire)
        await lanes.call(ORDERS)
        second = asyncio.create_task(lanes.call(ORDERS))
        await asyncio.sleep(1)
        lanes.fail_waiting("the session was lost")
        with pytest.raises(NotSent):
            await second

    virtually(story())


def test_p10_a_first_429_pauses_and_a_second_one_means_the_box() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.on("GET /q", HttpReply(429, '{"error":"too many"}'))
        told: list[str] = []
        lanes = Lanes(wire, (), penalty=900.0)
        lanes.on_penalty = told.append
        loop = asyncio.get_running_loop()
        await lanes.call(HttpCall("GET", "/q"))
        assert lanes.closed_until - loop.time() < 10
        with pytest.raises(PacingViolation):
            await lanes.call(HttpCall("GET", "/q"))
        await lanes.call(HttpCall("DELETE", "/order/1"), Priority.CANCEL)
        await asyncio.sleep(7)
        await lanes.call(HttpCall("GET", "/q"))
        assert lanes.closed_until - loop.time() == pytest.approx(900.0)
        assert len(told) == 2
        sent = len(wire.calls)
        await asyncio.sleep(800)
        with pytest.raises(PacingViolation):
            await lanes.call(HttpCall("GET", "/q"))
        assert len(wire.calls) == sent
        wire.on("GET /q", HttpReply(200, "{}"))
        await asyncio.sleep(101 + PROBATION)
        assert (await lanes.call(HttpCall("GET", "/q"))).status == 200

    virtually(story())


def test_p10_what_waits_in_the_queue_is_refused_when_the_box_closes() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.on("GET /iserver/account/orders", HttpReply(429, "{}"))
        lanes = Lanes(wire)
        first = asyncio.create_task(lanes.call(ORDERS))
        second = asyncio.create_task(lanes.call(ORDERS))
        await first
        with pytest.raises(PacingViolation):
            await second

    virtually(story())


def test_too_many_charts_is_no_penalty() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        words = "Too many history charts requests, please try again later."
        wire.on("GET /chart", HttpReply(429, f'{{"error":"{words}"}}'))
        lanes = Lanes(wire, ())
        await lanes.call(HttpCall("GET", "/chart"))
        assert (await lanes.call(HttpCall("GET", "/q"))).status == 200

    virtually(story())
