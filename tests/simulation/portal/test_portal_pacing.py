"""IB's limits on requests to the portal, and the penalty box, on the injected clock."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.simulation.portal.handlers import ROUTES
from moondev_ibkr.brokers.simulation.portal.pacing import LIMITS, REMEMBERED, Pacer
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings

from .rig import Clock, Rig

STATUS = "/iserver/auth/status"


def paced(**settings: object) -> Rig:
    return Rig(**{"requests_per_second": 10, "slow_sequential": False, **settings})


def test_ten_requests_a_second_and_no_more() -> None:
    rig = paced()
    assert [rig.get(STATUS).status for _ in range(11)] == [200] * 10 + [429]
    assert "error" in rig.get(STATUS).body
    rig.wait(1.0)
    assert rig.get(STATUS).status == 200


def test_who_waits_for_each_answer_is_slowed_to_the_limit() -> None:
    rig = paced(slow_sequential=True)
    began = rig.clock.now
    for _ in range(40):
        answer = rig.get(STATUS)
        assert answer.status == 200
        rig.wait(answer.delay + 0.001)
    assert 2.9 < rig.clock.now - began < 3.3


def test_a_row_of_a_second_slows_too_and_longer_ones_refuse() -> None:
    rig = paced(slow_sequential=True)
    assert rig.post("/tickle").delay == 0
    late = rig.post("/tickle")
    assert (late.status, late.delay) == (200, pytest.approx(1.0))
    rig.wait(late.delay)
    assert rig.get("/iserver/account/orders").status == 200
    assert rig.get("/iserver/account/orders").status == 429


def test_who_does_not_wait_is_refused() -> None:
    rig = paced(slow_sequential=True)
    found = [rig.get(STATUS) for _ in range(12)]
    assert [answer.status for answer in found] == [200] * 11 + [429]
    assert found[10].delay == pytest.approx(1.0)
    rig.wait(1.0)
    assert rig.get(STATUS).status == 200


def test_a_row_has_its_own_limit_and_the_query_does_not_change_the_bucket() -> None:
    rig = paced()
    assert rig.get("/iserver/account/orders").status == 200
    assert rig.get("/iserver/account/orders", force="true").status == 429
    assert rig.get("/iserver/account/trades").status == 200
    rig.wait(4.9)
    assert rig.get("/iserver/account/orders", filters="filled").status == 429
    rig.wait(0.2)
    assert rig.get("/iserver/account/orders").status == 200


def test_who_goes_on_after_a_refusal_gets_into_the_penalty_box_and_nobody_else_does() -> None:
    rig = paced(penalty_seconds=600.0)
    assert rig.get("/sso/validate").status == 200
    for _ in range(5):
        rig.wait(1.0)
        assert rig.get("/sso/validate").status == 429
    rig.wait(120.0)
    assert rig.get(STATUS).status == 429
    assert rig.ask("GET", STATUS, peer="10.0.0.9").status == 200
    rig.wait(481.0)
    assert rig.get(STATUS).status == 200


def test_one_strike_is_enough_where_ib_is_read_strictly() -> None:
    rig = paced(penalty_strikes=1)
    rig.get("/tickle")
    assert rig.get("/tickle").status == 429
    rig.wait(899.0)
    assert rig.get(STATUS).status == 429
    rig.wait(2.0)
    assert rig.get(STATUS).status == 200


def test_strikes_far_apart_do_not_add_up() -> None:
    rig = paced()
    for _ in range(20):
        rig.get("/sso/validate")
        assert rig.get("/sso/validate").status == 429
        rig.wait(61.0)
    assert rig.get("/sso/validate").status == 200


def test_no_limit_applies_when_pacing_is_off() -> None:
    rig = Rig()
    assert {rig.get("/sso/validate").status for _ in range(100)} == {200}


def test_routes_name_rows_that_exist_and_the_limits_of_the_reference() -> None:
    named = {route.pace for route in ROUTES if route.pace}
    assert named <= set(LIMITS)
    paced_paths = {route.path: LIMITS[route.pace] for route in ROUTES if route.pace}
    for path, count, seconds in (
        ("/iserver/marketdata/snapshot", 10, 1.0),
        ("/iserver/account/orders", 1, 5.0),
        ("/iserver/account/trades", 1, 5.0),
        ("/iserver/account/pnl/partitioned", 1, 5.0),
        ("/portfolio/accounts", 1, 5.0),
        ("/iserver/scanner/params", 1, 900.0),
        ("/iserver/scanner/run", 1, 1.0),
        ("/tickle", 1, 1.0),
        ("/sso/validate", 1, 60.0),
        ("/fyi/unreadnumber", 1, 1.0),
    ):
        assert (paced_paths[path].count, paced_paths[path].seconds) == (count, seconds), path


def test_a_row_that_does_not_exist_is_an_error_of_ours() -> None:
    with pytest.raises(KeyError):
        Pacer(PortalSettings(), Clock()).admit("10.0.0.1", "nothing")


def test_peers_that_no_limit_concerns_any_more_are_forgotten() -> None:
    clock = Clock()
    pacer = Pacer(PortalSettings(), clock)
    for number in range(10_000):
        clock.now += 1.0
        assert not pacer.admit(f"10.0.{number // 256}.{number % 256}", "").refusal
    assert len(pacer._times) <= REMEMBERED + 1
