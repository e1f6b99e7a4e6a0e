"""Every scripted fault of the portal really happens; the table and these stories cover each other.

Stories on the wire have a gateway with its real port, the others a door in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.simulation.fault_table import FAULTS
from moondev_ibkr.brokers.simulation.faults import Place
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import GatewaySettings

from .rig import AAPL_ID, ACCOUNT, Rig
from .sockets import Client, client_of, frame, serving, until

Story = Callable[[Rig], None]
WireStory = Callable[[Gateway, Client], Awaitable[None]]
STORIES: dict[str, Story] = {}
WIRE_STORIES: dict[str, WireStory] = {}
OURS = {name for name, fault in FAULTS.items() if fault.place is Place.PORTAL}
INIT = {"publish": True, "compete": False}
ORDERS = f"/iserver/account/{ACCOUNT}/orders"
TICKET = {"conid": AAPL_ID, "orderType": "MKT", "side": "BUY", "quantity": 1, "tif": "DAY"}


def story(name: str) -> Callable[[Story], Story]:
    def register(tell: Story) -> Story:
        STORIES[name] = tell
        return tell

    return register


def wire_story(name: str) -> Callable[[WireStory], WireStory]:
    def register(tell: WireStory) -> WireStory:
        WIRE_STORIES[name] = tell
        return tell

    return register


def arm(rig: Rig, name: str, *arguments: str) -> None:
    rig.gateway.faults.arm(name, *arguments)


def status(rig: Rig) -> dict[str, Any]:
    body: dict[str, Any] = rig.get("/iserver/auth/status").body
    return body


@story("portal-fail")
def fail(rig: Rig) -> None:
    arm(rig, "portal-fail", "500", "POST /orders", '{"error"', '"There was an error"}')
    assert rig.get("/iserver/auth/status").status == 200
    answer = rig.post(ORDERS, {"orders": [TICKET]})
    assert (answer.status, answer.body) == (500, {"error": "There was an error"})
    assert rig.exchange.positions() == []
    arm(rig, "portal-fail", "429")
    assert rig.get("/portfolio/accounts").status == 429
    assert rig.get("/portfolio/accounts").status == 200


@story("portal-delay")
def delay(rig: Rig) -> None:
    arm(rig, "portal-delay", "3", "/iserver/accounts")
    answer = rig.get("/iserver/accounts")
    assert (answer.delay, answer.body["selectedAccount"]) == (3.0, ACCOUNT)
    assert rig.get("/iserver/accounts").delay == 0


@story("portal-503-after")
def late_failure(rig: Rig) -> None:
    arm(rig, "portal-503-after")
    answer = rig.post(ORDERS, {"orders": [TICKET]})
    assert (answer.status, answer.body, answer.delay) == (503, None, 10.0)
    assert len(rig.exchange.positions()) == 1


@story("portal-reply-lost")
def reply_lost(_: Rig) -> None:
    rig = Rig(questions=("o163",))
    for when, done in (("before", 0), ("after", 1)):
        question = rig.post(ORDERS, {"orders": [TICKET]}).body[0]["id"]
        arm(rig, "portal-reply-lost", when)
        answer = rig.post(f"/iserver/reply/{question}", {"confirmed": True})
        assert (answer.status, answer.body) == (400, {"error": f"reply id not found: '{question}'"})
        assert len(rig.exchange.positions()) == done
    rig.check()


@story("portal-maintenance")
def maintenance(rig: Rig) -> None:
    arm(rig, "portal-maintenance")
    assert rig.get("/tickle").status == rig.get("/portfolio/accounts").status == 503
    rig.gateway.faults.release("portal-maintenance")
    assert rig.get("/tickle").status == 200


@story("portal-penalty")
def penalty(rig: Rig) -> None:
    arm(rig, "portal-penalty")
    assert rig.get("/tickle").status == 429
    rig.wait(899.0)
    assert rig.get("/tickle").status == 429
    rig.wait(2.0)
    assert rig.get("/tickle").status == 200
    arm(rig, "portal-penalty", "10")
    assert rig.get("/tickle").status == 429
    rig.gateway.faults.release("portal-penalty")
    assert rig.get("/tickle").status == 200


@story("portal-auth-lost")
def auth_lost(rig: Rig) -> None:
    stream = rig.stream()
    arm(rig, "portal-auth-lost")
    assert {"authenticated": False} in [found["args"] for found in stream.of("sts")]
    assert (status(rig)["connected"], status(rig)["authenticated"]) == (True, False)
    assert rig.post("/iserver/auth/ssodh/init", INIT).body["authenticated"] is True


@story("portal-login-lost")
def login_lost(rig: Rig) -> None:
    arm(rig, "portal-login-lost")
    assert rig.get("/sso/validate").status == 401
    assert rig.post("/iserver/auth/ssodh/init", INIT).status == 410
    rig.post("/sso/Login")
    assert rig.get("/sso/validate").status == 200


@story("portal-auth-lie")
def auth_lie(rig: Rig) -> None:
    arm(rig, "portal-auth-lie", "2")
    assert [status(rig)["authenticated"] for _ in range(3)] == [False, False, True]


@story("portal-no-bridge")
def no_bridge(rig: Rig) -> None:
    arm(rig, "portal-no-bridge")
    assert status(rig)["authenticated"] is True
    assert rig.get("/iserver/accounts").body == {"error": "Bad Request: no bridge", "statusCode": 400}
    rig.post("/iserver/auth/ssodh/init", INIT)
    assert rig.get("/iserver/accounts").status == 200


@story("portal-gone")
def gone(rig: Rig) -> None:
    arm(rig, "portal-gone")
    assert rig.get("/iserver/accounts").status == 410
    rig.post("/iserver/auth/ssodh/init", INIT)
    assert rig.get("/iserver/accounts").status == 200


@story("portal-competing")
def competing(rig: Rig) -> None:
    stream = rig.stream()
    arm(rig, "portal-competing")
    assert {"competing": True} in [found["args"] for found in stream.of("sts")]
    assert (status(rig)["authenticated"], status(rig)["competing"]) == (True, True)
    assert rig.get("/iserver/accounts").body == {}
    assert "different IP address" in rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID).body["error"]
    rig.gateway.faults.release("portal-competing")
    assert rig.get("/iserver/accounts").body != {}


@story("portal-tws-reclaim")
def tws_reclaim(_: Rig) -> None:
    rig = Rig(user="same", tws_user="same")
    with pytest.raises(InvalidRequest, match="never taken"):
        arm(rig, "portal-tws-reclaim")
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    arm(rig, "portal-tws-reclaim")
    assert (status(rig)["authenticated"], status(rig)["competing"]) == (False, True)
    rig.check()


@story("portal-cold")
def cold(rig: Rig) -> None:
    rig.get("/iserver/account/trades")
    rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields=31)
    assert "31" in rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields=31).body[0]
    arm(rig, "portal-cold")
    assert "31" not in rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields=31).body[0]
    assert "31" in rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields=31).body[0]


@story("portal-silent-return")
def silent_return(rig: Rig) -> None:
    stream = rig.stream()
    arm(rig, "portal-auth-lost")
    arm(rig, "portal-silent-return")
    before = len(stream.frames)
    assert rig.post("/iserver/auth/ssodh/init", INIT).body["authenticated"] is True
    assert len(stream.frames) == before


@story("portal-expire-quotes")
def expire_quotes(rig: Rig) -> None:
    stream = rig.stream()
    stream.say(f'smd+{AAPL_ID}+{{"fields":["31","84"]}}')
    arm(rig, "portal-expire-quotes")
    before = len(stream.of("smd"))
    rig.advance(300.0)
    assert len(stream.of("smd")) == before
    assert stream.closed is None


@story("portal-silent-heartbeat")
def silent_heartbeat(rig: Rig) -> None:
    stream = rig.stream()
    arm(rig, "portal-silent-heartbeat")
    before = len(stream.frames)
    rig.wait(60.0)
    assert len(stream.frames) == before
    rig.gateway.faults.release("portal-silent-heartbeat")
    rig.wait(11.0)
    assert "hb" in stream.frames[-1]


@story("portal-silent-feed")
def silent_feed(rig: Rig) -> None:
    stream = rig.stream()
    stream.say(f'smd+{AAPL_ID}+{{"fields":["31","87","7059"]}}')
    rig.advance(300.0)
    before = len(stream.of("smd"))
    assert before > 1
    arm(rig, "portal-silent-feed")
    rig.advance(300.0)
    assert len(stream.of("smd")) == before
    rig.gateway.faults.release("portal-silent-feed")
    rig.advance(300.0)
    assert len(stream.of("smd")) > before


@story("portal-no-market-data")
def no_market_data(rig: Rig) -> None:
    arm(rig, "portal-no-market-data")
    for _ in range(2):
        row = rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields="31,6509").body[0]
    assert "31" not in row


@story("portal-cold-charts")
def cold_charts(rig: Rig) -> None:
    arm(rig, "portal-cold-charts")
    chart = {"conid": AAPL_ID, "period": "1d", "bar": "1h"}
    assert rig.get("/iserver/marketdata/history", **chart).status >= 400
    assert rig.get("/iserver/marketdata/history", **chart).status == 200


@story("portal-no-alerts")
def no_alerts(rig: Rig) -> None:
    arm(rig, "portal-no-alerts")
    assert rig.post(f"/iserver/account/{ACCOUNT}/alert", {"alertName": "x"}).status == 403


@wire_story("portal-abort-before")
async def abort_before(gateway: Gateway, client: Client) -> None:
    gateway.faults.arm("portal-abort-before")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.buy()
    assert gateway.exchange.positions() == []


@wire_story("portal-abort-after")
async def abort_after(gateway: Gateway, client: Client) -> None:
    await client.post("/iserver/questions/suppress", {"messageIds": ["o163", "o354", "o382", "o383", "o451", "o10331"]})
    gateway.faults.arm("portal-abort-after")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.buy()
    assert len(gateway.exchange.positions()) == 1
    assert (await client.get("/iserver/accounts"))[0] == 200


@wire_story("portal-hold")
async def hold(gateway: Gateway, client: Client) -> None:
    stream = await client.stream()
    await until(stream, "sts")
    gateway.faults.arm("portal-hold")
    await stream.send_str("tic")
    buying = asyncio.create_task(client.buy())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(buying), 0.1)
    gateway.faults.release("portal-hold")
    assert (await buying)[0] == 200
    await until(stream, "tic")
    await stream.close()


@wire_story("portal-restart")
async def restart(gateway: Gateway, client: Client) -> None:
    stream = await client.stream()
    gateway.faults.arm("portal-restart", "0.05")
    while isinstance(found := await frame(stream), dict):
        assert "topic" in found
    assert found.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)
    assert not await answers(client)
    while not await answers(client):
        await asyncio.sleep(0.01)


async def answers(client: Client) -> bool:
    try:
        return (await client.get("/iserver/auth/status"))[0] == 200
    except aiohttp.ClientConnectionError:
        return False


@wire_story("portal-drop-streams")
async def drop_streams(gateway: Gateway, client: Client) -> None:
    stream = await client.stream()
    await until(stream, "sts")
    gateway.faults.arm("portal-drop-streams")
    assert (await frame(stream)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert stream.close_code in (1006, None)
    assert gateway.portal.streams == []


@pytest.mark.parametrize("name", sorted(STORIES))
def test_fault_happens(rig: Rig, name: str) -> None:
    STORIES[name](rig)
    rig.gateway.faults.release()
    assert rig.gateway.faults.armed == []


@pytest.mark.parametrize("name", sorted(WIRE_STORIES))
async def test_fault_happens_on_the_wire(name: str) -> None:
    async with serving() as gateway, client_of(gateway) as client:
        await WIRE_STORIES[name](gateway, client)
        gateway.faults.release()


def test_every_fault_of_the_portal_has_a_story_and_a_summary() -> None:
    assert {*STORIES, *WIRE_STORIES} == OURS
    assert all(FAULTS[name].summary and name.startswith("portal-") for name in OURS)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("portal-fail", (), "portal-fail:STATUS"),
        ("portal-fail", ("200",), "no status of a failure"),
        ("portal-delay", ("soon",), "could not convert"),
        ("portal-abort-after", ("orders",), "does not begin with /"),
        ("portal-reply-lost", ("never",), "before or after"),
        ("portal-auth-lie", ("0",), "not a count"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(rig: Rig, name: str, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        arm(rig, name, *arguments)
    assert rig.door.faults.interceptions == []


def test_a_fault_waits_for_a_request_that_is_really_served() -> None:
    rig = Rig(requests_per_second=10, slow_sequential=False)
    arm(rig, "portal-503-after")
    rig.session.accounts_asked = False
    assert rig.post(ORDERS, {"orders": [TICKET]}).status == 400
    rig.warm()
    assert [rig.get("/iserver/auth/status").status for _ in range(10)][-1] == 429
    assert rig.post(ORDERS, {"orders": [TICKET]}).status == 429
    rig.wait(1.0)
    assert rig.post(ORDERS, {"orders": [TICKET]}).status == 503
    assert len(rig.exchange.positions()) == 1
    rig.check()


def test_a_closed_portal_has_no_faults() -> None:
    gateway = Gateway(GatewaySettings())
    with pytest.raises(InvalidRequest, match="--portal-port"):
        gateway.faults.arm("portal-cold")
