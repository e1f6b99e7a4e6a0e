"""The two tiers of a portal session, and the one brokerage session that both doors may want."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.portal.request import Answer
from moondev_ibkr.brokers.simulation.portal.routes import Tier
from moondev_ibkr.brokers.simulation.portal.settings import KickedOrders, SoftInit

from ..tws.orders import order
from .rig import AAPL_ID, Rig
from .tws_client import TwsClient

NO_BRIDGE = {"error": "Bad Request: no bridge", "statusCode": 400}
INIT_FIRST = {"error": "Init session first", "statusCode": 400}
DENIED = Answer("Access Denied", 401, "text/html; charset=utf-8")
INIT = {"publish": True, "compete": False}
TAKE = {"publish": True, "compete": True}


@contextmanager
def made(**settings: Any) -> Iterator[Rig]:
    rig = Rig(**settings)
    yield rig
    rig.check()


def status(rig: Rig) -> dict[str, Any]:
    body: dict[str, Any] = rig.post("/iserver/auth/status").body
    return body


# the outer login


def test_a_gateway_without_a_login_answers_401_until_somebody_logs_in() -> None:
    with made(logged_in=False, warm=False) as rig:
        assert rig.get("/sso/validate") == DENIED
        assert rig.post("/tickle") == DENIED
        assert rig.get("/iserver/accounts") == DENIED
        assert rig.post("/iserver/auth/ssodh/init", INIT) == DENIED
        assert status(rig) == {
            "authenticated": False,
            "competing": False,
            "connected": False,
            "MAC": "02:00:00:DD:00:01",
        }
        assert "<form" in rig.get("/sso/Login").body
        assert rig.post("/sso/Login", {"user_name": "somebody", "password": "x"}).status == 401
        assert rig.post("/sso/Login", {"user_name": "paperportal", "password": "x"}).body == "Client login succeeds"
        assert status(rig)["authenticated"] is True
        found = rig.get("/sso/validate").body
        assert (found["USER_NAME"], found["RESULT"], found["LOGIN_TYPE"]) == ("paperportal", True, 2)
        assert found["EXPIRES"] == 86_400_000


def test_logging_out_ends_both_tiers_and_the_streams(rig: Rig) -> None:
    stream = rig.stream()
    assert rig.post("/logout").body == {"status": True}
    assert stream.closed == 1000
    assert rig.post("/tickle").body == {"error": "no session"}
    assert rig.get("/portfolio/accounts") == DENIED
    assert rig.post("/iserver/auth/ssodh/init", INIT) == DENIED


def test_a_login_ends_at_its_hard_limit_whatever_is_done_meanwhile(rig: Rig) -> None:
    for _ in range(24):
        rig.wait(3599.0)
        rig.post("/tickle")
    rig.wait(25.0)
    assert rig.get("/sso/validate") == DENIED
    assert rig.post("/iserver/auth/ssodh/init", INIT).status == 410


# the brokerage session


def test_without_a_brokerage_session_there_is_no_bridge_until_it_is_begun() -> None:
    with made(brokerage_at_login=False, warm=False) as rig:
        assert rig.get("/iserver/accounts") == Answer(NO_BRIDGE, 400)
        assert rig.get("/portfolio/accounts").status == 200
        assert rig.post("/iserver/auth/ssodh/init", {"publish": False}) == Answer({"error": "unknown"}, 500)
        begun = rig.post("/iserver/auth/ssodh/init", INIT).body
        assert (begun["authenticated"], begun["established"], begun["competing"]) == (True, True, False)
        assert "fail" not in begun
        assert rig.get("/iserver/accounts").status == 200


@pytest.mark.parametrize("body", [{"publish": "True", "compete": "false"}, {"publish": True}, {"publish": "true"}])
def test_real_clients_spell_true_in_many_ways(rig: Rig, body: dict[str, Any]) -> None:
    assert rig.post("/iserver/auth/ssodh/init", body).body["authenticated"] is True


def test_a_silent_client_loses_the_brokerage_session_and_keeps_the_login(rig: Rig) -> None:
    stream = rig.stream()
    rig.wait(300.0)
    rig.post("/tickle")
    rig.wait(329.0)
    assert status(rig)["authenticated"] is True
    rig.wait(331.0)
    told = [frame["args"] for frame in stream.of("sts")]
    assert {"authenticated": False} in told
    found = status(rig)
    assert (found["connected"], found["authenticated"], found["established"]) == (True, False, False)
    assert rig.get("/iserver/accounts") == Answer(INIT_FIRST, 400)
    rig.post("/iserver/auth/ssodh/init", INIT)
    assert stream.of("sts")[-3]["args"] == {"authenticated": True}
    assert status(rig)["authenticated"] is True


def test_a_stream_that_says_tic_keeps_the_session_alive(rig: Rig) -> None:
    stream = rig.stream()
    for _ in range(6):
        rig.wait(100.0)
        assert set(stream.say("tic")[0]) == {"topic", "lastAccessed"}
    assert status(rig)["authenticated"] is True


def test_what_belongs_to_a_brokerage_session_ends_with_it(rig: Rig) -> None:
    ended: list[str] = []

    class Book:
        def __init__(self, session: object) -> None:
            self.session = session

        def close(self) -> None:
            ended.append("book")

    first = rig.session.brokerage(Book)
    outer = rig.session.login(Book)
    assert rig.session.brokerage(Book) is first
    rig.post("/iserver/auth/ssodh/init", INIT)
    assert ended == ["book"]
    assert rig.session.brokerage(Book) is not first
    assert rig.session.login(Book) is outer
    assert rig.get("/iserver/account/orders").body == {"error": "Please query /accounts first"}


def test_reauthenticate_ends_a_live_session(rig: Rig) -> None:
    assert rig.post("/iserver/reauthenticate").body == {"message": "triggered"}
    assert status(rig)["authenticated"] is False


def test_a_session_is_established_a_while_after_it_is_authenticated() -> None:
    with made(establish_seconds=2.0) as rig:
        rig.wait(3.0)
        begun = rig.post("/iserver/auth/ssodh/init", INIT).body
        assert (begun["authenticated"], begun["established"]) == (True, False)
        assert rig.get("/iserver/accounts") == Answer(NO_BRIDGE, 400)
        rig.wait(2.0)
        assert rig.get("/iserver/accounts").status == 200


def test_the_first_status_of_a_login_may_lie() -> None:
    with made(first_status_lies=True) as rig:
        assert status(rig)["authenticated"] is False
        assert status(rig)["authenticated"] is True


def test_tickle_tells_what_the_recordings_have_and_more_when_asked() -> None:
    with made() as rig:
        assert set(rig.get("/tickle").body) == {"session", "hmds", "iserver"}
    with made(tickle_extras=True) as rig:
        assert rig.get("/tickle").body["collission"] is False


def test_the_brokerage_session_ends_every_weekday_night_where_ib_resets_it() -> None:
    with made(nightly_reset=True, idle_seconds=1e6) as rig:
        rig.advance(14 * 3600.0 - 60.0)
        assert status(rig)["authenticated"] is True
        rig.advance(120.0)
        assert (status(rig)["connected"], status(rig)["authenticated"]) == (True, False)
        rig.post("/iserver/auth/ssodh/init", INIT)
        rig.advance(24 * 3600.0)
        assert status(rig)["authenticated"] is False
        rig.post("/iserver/auth/ssodh/init", INIT)
        rig.advance(24 * 3600.0)
        assert status(rig)["authenticated"] is True


# routes


def test_a_path_may_be_unknown_or_known_by_another_method(rig: Rig) -> None:
    assert rig.get("/iserver/nothing").status == 404
    assert rig.delete("/iserver/auth/status").status == 405
    assert rig.get("/v1/api/iserver/auth/status/").status == 200


def test_every_route_needs_what_its_tier_says() -> None:
    with made(logged_in=False, warm=False) as rig:
        from moondev_ibkr.brokers.simulation.portal.handlers import ROUTES

        for route in ROUTES:
            if route.tier is not Tier.OPEN:
                path = route.path.replace("{", "").replace("}", "")
                assert rig.ask(route.methods[0], path).status == 401, route.path
        rig.session.log_in(brokerage=False)
        for route in ROUTES:
            if route.tier >= Tier.BROKERAGE:
                path = route.path.replace("{", "").replace("}", "")
                assert rig.ask(route.methods[0], path).status == 400, route.path


# one user name on both doors


SAME = {"user": "trader", "tws_user": "trader"}


def test_two_user_names_do_not_compete() -> None:
    with made() as rig:
        client = TwsClient(rig)
        rig.post("/iserver/auth/ssodh/init", TAKE)
        assert client.codes() == []


def test_tws_has_the_session_first_and_a_soft_init_leaves_it_alone() -> None:
    with made(**SAME) as rig:
        client = TwsClient(rig)
        assert (status(rig)["authenticated"], status(rig)["competing"]) == (False, True)
        found = rig.post("/iserver/auth/ssodh/init", INIT).body
        assert (found["authenticated"], found["competing"]) == (False, True)
        assert "compete" in status(rig)["fail"]
        assert rig.get("/iserver/accounts").status == 400
        assert rig.get("/portfolio/accounts").status == 200
        assert client.codes() == []


def test_a_soft_init_takes_the_session_where_ib_reads_it_that_way() -> None:
    with made(**SAME, soft_init=SoftInit.TAKE) as rig:
        client = TwsClient(rig)
        assert rig.post("/iserver/auth/ssodh/init", INIT).body["authenticated"] is True
        assert client.codes() == [1100]


def test_whoever_takes_the_session_kicks_the_other_door() -> None:
    with made(**SAME) as rig:
        client = TwsClient(rig)
        client.quote(9, AAPL_ID)
        client.send(order(1, "BUY", 10, "LMT", limit=100))
        client.read()
        stream = rig.stream()
        rig.post("/iserver/auth/ssodh/init", TAKE)
        assert client.codes() == [10197, 1100]
        assert client.errors(10197)[0]["reqId"] == 9
        assert {"authenticated": True} in [frame["args"] for frame in stream.of("sts")]

        client.send(order(2, "BUY", 10, "MKT"))
        client.quote(10, AAPL_ID)
        rig.advance(60.0)
        assert client.names() == ["error"]
        assert rig.exchange.positions() == []
        assert [view.order_id for view in rig.exchange.open_orders()] == [1]

        assert rig.door.seat.reclaim()
        assert client.codes()[-1] == 1102
        told = [frame["args"] for frame in stream.of("sts")]
        assert told[-3:-1] == [{"authenticated": False}, {"competing": True}]
        assert rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields=31) == Answer(
            {"error": "Trading TWS session is connected from a different IP address"}, 500
        )
        client.send(order(3, "BUY", 10, "MKT"))
        assert "execDetails" in client.names()


def test_fills_while_tws_is_kicked_are_lost_to_it_and_in_the_books() -> None:
    with made(**SAME) as rig:
        client = TwsClient(rig)
        client.send(order(1, "BUY", 10, "MOC"))
        client.read()
        rig.post("/iserver/auth/ssodh/init", TAKE)
        client.read()
        rig.advance(6 * 3600.0)
        assert "execDetails" not in client.names()
        assert len(rig.exchange.positions()) == 1


def test_a_kicked_tws_may_send_its_orders_once_it_is_back() -> None:
    with made(**SAME, kicked_orders=KickedOrders.QUEUED, tws_return_code=1101) as rig:
        client = TwsClient(rig)
        client.quote(9, AAPL_ID)
        rig.post("/iserver/auth/ssodh/init", TAKE)
        client.send(order(1, "BUY", 10, "MKT"))
        assert rig.exchange.positions() == []
        rig.door.seat.reclaim()
        assert 1101 in client.codes()
        assert len(rig.exchange.positions()) == 1
        assert client.session.count("quotes") == 0


def test_two_sides_that_reclaim_by_themselves_flap() -> None:
    with made(**SAME, tws_reclaim_seconds=30.0) as rig:
        client = TwsClient(rig)
        for _ in range(3):
            rig.post("/iserver/auth/ssodh/init", TAKE)
            assert status(rig)["authenticated"] is True
            rig.wait(31.0)
            assert status(rig)["competing"] is True
        assert client.codes() == [1100, 1102] * 3


def test_tws_does_not_come_back_by_itself_when_the_portal_leaves() -> None:
    with made(**SAME) as rig:
        client = TwsClient(rig)
        rig.post("/iserver/auth/ssodh/init", TAKE)
        rig.post("/logout")
        assert client.codes() == [1100]
        other = TwsClient(rig, 2)
        assert other.greeting[-1] == 2110
        rig.door.seat.reclaim()
        assert client.codes() == [1100, 1102]


# streams


def test_a_stream_tells_its_session_in_either_spelling_of_the_cookie_or_is_asked(rig: Rig) -> None:
    sid = rig.session.session_id
    for cookie in (sid, f'{{"session": "{sid}"}}', f'{{"session":"{sid}"}}'):
        assert rig.stream(cookie).frames[0] == {"topic": "system", "success": "paperportal"}
    waiting = rig.stream(None)
    assert waiting.frames == [{"message": "waiting for session"}]
    assert waiting.say("smd+265598+{}") == [{"message": "waiting for session"}]
    assert waiting.say(f'{{"session": "{sid}"}}')[0] == {"topic": "system", "success": "paperportal"}


def test_a_stream_without_a_session_is_closed(rig: Rig) -> None:
    waiting = rig.stream("wrong")
    rig.wait(20.0)
    assert waiting.closed == 1000
    assert rig.door.streams == []


def test_a_stream_is_greeted_with_its_accounts_and_beats(rig: Rig) -> None:
    stream = rig.stream()
    assert [frame["topic"] for frame in stream.frames] == ["system", "act", "sts"]
    assert stream.frames[1]["args"] == rig.get("/iserver/accounts").body
    rig.wait(31.0)
    assert len([frame for frame in stream.of("system") if "hb" in frame]) == 3


def test_looking_at_the_accounts_of_a_greeting_does_not_count_as_asking() -> None:
    with made(warm=False) as rig:
        rig.stream()
        assert rig.get("/iserver/account/orders").body == {"error": "Please query /accounts first"}


def test_nonsense_on_a_stream_gets_an_error_and_costs_nothing(rig: Rig) -> None:
    stream = rig.stream()
    for text in ("xyz+1+{}", "smd+265598+{not json", "", "{}", "+", "smd", "\x00" * 20):
        stream.say(text)
    assert stream.closed is None
    assert stream.say("tic")[0]["topic"] == "tic"


def test_subscriptions_that_need_the_brokerage_session_end_with_it(rig: Rig) -> None:
    stream = rig.stream()
    stream.say('smd+265598+{"fields":["31"]}')
    stream.say("sld+DU0000001+{}")
    assert len(stream.stream.keys) == 2
    rig.post("/iserver/reauthenticate")
    assert [key.split("+")[0] for key in stream.stream.keys] == ["sld"]
    assert "error" in stream.say('smd+265598+{"fields":["31"]}')[0]
