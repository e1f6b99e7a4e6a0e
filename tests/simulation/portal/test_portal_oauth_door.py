"""A client without browser and gateway: our signing wire against the portal door, in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError, ConnectFailed
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth import OAuthSession
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth_credentials import OAuthCredentials
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.signed_wire import SignedWire
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import HttpCall, HttpReply
from moondev_ibkr.brokers.simulation.portal.oauth_consumers import write_consumer
from moondev_ibkr.brokers.simulation.portal.oauth_door import OAuthLogins
from moondev_ibkr.brokers.simulation.portal.request import BASE, PortalRefusal, PortalRequest

from .rig import ACCOUNT, Rig

URL = "https://127.0.0.1:15000"


class Wire:
    """Straight to the door. `calls` are the paths that were asked for."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.calls: list[str] = []

    async def exchange(self, call: HttpCall) -> HttpReply:
        self.calls.append(call.path)
        headers = {"host": "127.0.0.1:15000"} | {name.lower(): value for name, value in call.headers.items()}
        answer = self.rig.door.serve(PortalRequest(call.method, call.path, call.query, call.body or {}, headers))
        return HttpReply(answer.status, answer.encoded().decode())

    async def open(self, *arguments: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


class Headless:
    """A door that nobody logged in to, its consumer, and the wall clock of both."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
        self.rig = Rig(warm=False, logged_in=False, oauth_consumers=(str(folder),), **settings)
        self.rig.door.state(OAuthLogins).verifier.wall = lambda: self.now
        self.wire = Wire(self.rig)
        self.oauth = OAuthSession(OAuthCredentials.from_folder(folder / "client"), URL + BASE, lambda: self.now)
        self.signed = SignedWire(self.wire, self.oauth, URL)

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> HttpReply:
        return await self.signed.exchange(HttpCall(method, path, query, body))

    async def begin(self) -> None:
        assert (await self.ask("POST", "/iserver/auth/ssodh/init", {"publish": True, "compete": True})).status == 200
        self.rig.wait(5)
        assert (await self.ask("GET", "/iserver/accounts")).json()["accounts"] == [ACCOUNT]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("oauth")
    write_consumer(made, "paperportal")
    return made


async def test_a_consumer_logs_in_without_the_browser(folder: Path) -> None:
    headless = Headless(folder)
    assert headless.rig.get("/iserver/accounts").status == 401
    first = (await headless.ask("POST", "/iserver/auth/status")).json()
    assert (first["connected"], first["authenticated"]) == (True, False)
    await headless.begin()
    assert headless.wire.calls.count("/oauth/live_session_token") == 1
    headless.rig.check()


async def test_a_signed_query_with_commas_reaches_its_handler(folder: Path) -> None:
    headless = Headless(folder)
    await headless.begin()
    reply = await headless.ask("GET", "/iserver/account/orders", filters="filled,submitted", force="true")
    assert (reply.status, reply.error) == (200, "")


async def test_p14_a_day_passes_and_the_token_was_renewed_before_its_end(folder: Path) -> None:
    headless = Headless(folder)
    await headless.begin()
    for _ in range(50):
        headless.now += timedelta(hours=1)
        assert (await headless.ask("POST", "/tickle")).status == 200
    assert headless.wire.calls.count("/oauth/live_session_token") == 3
    headless.rig.check()


async def test_a_refused_token_is_exchanged_once_and_the_request_goes_through(folder: Path) -> None:
    headless = Headless(folder)
    await headless.begin()
    other = OAuthSession(OAuthCredentials.from_folder(folder / "client"), URL + BASE, lambda: headless.now)
    await SignedWire(headless.wire, other, URL).exchange(HttpCall("POST", "/tickle"))
    headless.wire.calls.clear()
    assert (await headless.ask("POST", "/tickle")).status == 200
    assert headless.wire.calls == ["/tickle", "/oauth/live_session_token", "/tickle"]


async def test_after_a_logout_the_next_request_logs_in_anew(folder: Path) -> None:
    headless = Headless(folder)
    await headless.begin()
    assert (await headless.ask("POST", "/logout")).json() == {"status": True}
    headless.wire.calls.clear()
    assert (await headless.ask("GET", "/sso/validate")).status == 200
    assert headless.wire.calls == ["/sso/validate", "/oauth/live_session_token", "/sso/validate"]


async def test_a_clock_that_is_far_off_is_said_once_not_hammered(folder: Path) -> None:
    headless = Headless(folder)
    wrong = headless.now - timedelta(hours=2)
    late = OAuthSession(OAuthCredentials.from_folder(folder / "client"), URL + BASE, lambda: wrong)
    with pytest.raises(ConnectFailed, match=r"invalid timestamp.*clock"):
        await SignedWire(headless.wire, late, URL).exchange(HttpCall("POST", "/tickle"))
    assert headless.wire.calls == ["/oauth/live_session_token"]


@pytest.mark.parametrize("host", ["localhost:15000", "api.ibkr.com"])
async def test_a_door_is_known_by_its_names(folder: Path, host: str) -> None:
    headless = Headless(folder, port=15000)
    asked = headless.oauth.exchange()
    request = PortalRequest(
        "POST", "/oauth/live_session_token", headers={"host": host, "authorization": asked.headers["Authorization"]}
    )
    assert headless.rig.door.serve(request).status == 200


async def test_two_users_have_sessions_of_their_own(folder: Path, tmp_path: Path) -> None:
    write_consumer(tmp_path, "second")
    headless = Headless(folder)
    headless.rig = Rig(warm=False, oauth_consumers=(str(folder), str(tmp_path)))
    headless.rig.door.state(OAuthLogins).verifier.wall = lambda: headless.now
    headless.wire.rig = headless.rig
    second = OAuthSession(OAuthCredentials.from_folder(tmp_path / "client"), URL + BASE, lambda: headless.now)
    reply = await SignedWire(headless.wire, second, URL).exchange(HttpCall("GET", "/sso/validate"))
    assert reply.json()["USER_NAME"] == "second"
    assert (await headless.ask("GET", "/sso/validate")).json()["USER_NAME"] == "paperportal"


async def test_a_stream_is_opened_by_the_access_token(folder: Path) -> None:
    headless = Headless(folder)
    token = OAuthCredentials.from_folder(folder / "client").access_token
    request = PortalRequest("GET", "/ws", {"oauth_token": token})
    with pytest.raises(PortalRefusal, match="Access Denied"):
        headless.rig.door.stream_session(request)
    await headless.begin()
    assert headless.rig.door.stream_session(request) is headless.rig.session


def test_a_door_without_its_consumers_folder_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"consumer\.json"):
        Rig(oauth_consumers=(str(tmp_path),))
