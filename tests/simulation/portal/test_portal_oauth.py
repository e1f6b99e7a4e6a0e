"""OAuth 1.0a over both sides: our client signs, the door checks; whatever is touched on the way is refused."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth import OAuthSession
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth_credentials import OAuthCredentials
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth_signature import Reading
from moondev_ibkr.brokers.simulation.portal.oauth import OAuthVerifier
from moondev_ibkr.brokers.simulation.portal.oauth_consumers import Consumer, consumer_in, write_consumer
from moondev_ibkr.brokers.simulation.portal.request import BASE, PortalRefusal, PortalRequest

HOST = "127.0.0.1:15000"
START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
EVERY_READING = pytest.mark.parametrize("reading", list(Reading))


class Pair:
    """A client and a door with one wall clock, and what travels between them."""

    def __init__(self, folder: Path, reading: Reading = Reading.RFC5849) -> None:
        self.now = START
        self.consumer = Consumer.read(folder)
        self.credentials = replace(OAuthCredentials.from_folder(folder / "client"), reading=reading)
        covers_query = reading is not Reading.WITHOUT_QUERY
        self.door = OAuthVerifier([self.consumer], covers_query=covers_query, wall=lambda: self.now)
        numbers = count(1)
        url = f"https://{HOST}{BASE}"
        self.client = OAuthSession(self.credentials, url, lambda: self.now, lambda: f"nonce{next(numbers)}")

    def exchange(self) -> None:
        asked = self.client.exchange()
        reply = self.door.exchange(PortalRequest("POST", "/oauth/live_session_token", headers=arrived(asked.headers)))
        self.client.accept(asked, reply.status, json.loads(reply.encoded()))

    def request(self, path: str = "/iserver/accounts", method: str = "GET", **query: str) -> PortalRequest:
        headers = self.client.headers(method, f"https://{HOST}{BASE}{path}", query)
        return PortalRequest(method, path, query, headers=arrived(headers))

    def is_refused(self, request: PortalRequest) -> bool:
        try:
            self.door.authenticate(request)
        except PortalRefusal as refusal:
            return (refusal.answer.status, refusal.answer.encoded()) == (401, b"Access Denied")
        return False


def arrived(headers: Mapping[str, str]) -> dict[str, str]:
    return {"host": HOST} | {name.lower(): value for name, value in headers.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("oauth")
    write_consumer(made, "paperportal")
    return made


@pytest.fixture(scope="module")
def connected(folder: Path) -> dict[Reading, Pair]:
    """For property tests, which exchange once."""
    pairs = {reading: Pair(folder, reading) for reading in Reading}
    for one in pairs.values():
        one.exchange()
    return pairs


@pytest.fixture
def pair(folder: Path) -> Pair:
    made = Pair(folder)
    made.exchange()
    return made


def test_a_signed_request_names_its_user(pair: Pair) -> None:
    assert pair.door.authenticate(pair.request()) == "paperportal"
    assert pair.door.authenticate(pair.request("/iserver/auth/ssodh/init", "POST")) == "paperportal"


def test_a_request_without_a_signature_is_the_browsers(pair: Pair) -> None:
    assert pair.door.authenticate(PortalRequest("GET", "/iserver/accounts")) is None
    assert pair.door.authenticate(PortalRequest("GET", "/ws", headers={"authorization": "Basic eDp5"})) is None


@EVERY_READING
@settings(deadline=None)
@given(query=st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=16), max_size=5))
def test_any_query_is_signed_and_checked_alike(
    connected: dict[Reading, Pair], reading: Reading, query: dict[str, str]
) -> None:
    pair = connected[reading]
    headers = pair.client.headers("GET", f"https://{HOST}{BASE}/iserver/marketdata/snapshot", query)
    request = PortalRequest("GET", "/iserver/marketdata/snapshot", query, headers=arrived(headers))
    changed = replace(request, query=query | {"conids": "another"})
    if reading is not Reading.WITHOUT_QUERY:
        assert pair.is_refused(changed)
    assert pair.door.authenticate(replace(request, query=dict(reversed(query.items())))) == "paperportal"


def test_p14_client_and_door_agree_on_keys_with_and_without_the_high_bit(folder: Path) -> None:
    pair = Pair(folder)
    for _ in range(24):
        pair.exchange()
        assert pair.door.authenticate(pair.request()) == "paperportal"


#: What is changed on the way -> how.
TAMPERINGS: dict[str, Callable[[PortalRequest], PortalRequest]] = {
    "method": lambda request: replace(request, method="DELETE"),
    "path": lambda request: replace(request, path="/iserver/account"),
    "query": lambda request: replace(request, query={"conids": "265599"}),
    "query gone": lambda request: replace(request, query={}),
    "query more": lambda request: replace(request, query={**request.query, "force": "true"}),
    "host": lambda request: replace(request, headers=request.headers | {"host": "127.0.0.1:15001"}),
    "not ascii": lambda request: replace(request, headers=request.headers | {"host": "\udc80"}),
    "consumer": lambda request: edited(request, "PAPER", "OTHER"),
    "token": lambda request: edited(request, 'oauth_token="', 'oauth_token="0'),
    "nonce": lambda request: edited(request, "nonce", "nonse"),
    "timestamp": lambda request: edited(request, 'oauth_timestamp="1', 'oauth_timestamp="2'),
    "timestamp, a second": lambda request: edited(
        request, str(int(START.timestamp())), str(int(START.timestamp()) + 1)
    ),
    "timestamp, no number": lambda request: edited(request, 'oauth_timestamp="', 'oauth_timestamp="-'),
    "timestamp, endless": lambda request: edited(request, 'oauth_timestamp="', 'oauth_timestamp="' + "9" * 5000),
    "signature": lambda request: edited(request, 'oauth_signature="', 'oauth_signature="AAAA'),
    "signature, no base64": lambda request: edited(request, 'oauth_signature="', 'oauth_signature="*'),
    "signature, gone": lambda request: edited(request, "oauth_signature=", "oauth_signed="),
    "method of signing": lambda request: edited(request, "HMAC-SHA256", "RSA-SHA256"),
    "weaker method": lambda request: edited(request, "HMAC-SHA256", "PLAINTEXT"),
    "realm": lambda request: edited(request, "limited_poa", "test_realm"),
    "twice": lambda request: edited(request, "oauth_nonce=", 'oauth_nonce="x", oauth_nonce='),
    "more": lambda request: edited(request, "oauth_nonce=", 'oauth_version="1.0", oauth_nonce='),
    "empty": lambda request: replace(request, headers=request.headers | {"authorization": "OAuth "}),
}


def edited(request: PortalRequest, old: str, new: str) -> PortalRequest:
    header = request.headers["authorization"]
    assert old in header
    return replace(request, headers=request.headers | {"authorization": header.replace(old, new, 1)})


@pytest.mark.parametrize("what", TAMPERINGS)
def test_whatever_is_touched_on_the_way_is_refused(pair: Pair, what: str) -> None:
    request = pair.request(conids="265598")
    assert pair.is_refused(TAMPERINGS[what](request))
    assert sum(pair.door.refused.values()) == 1
    assert pair.door.authenticate(request) == "paperportal", "the request itself is good, and its nonce was not taken"


@settings(deadline=None)
@given(place=st.integers(len("OAuth "), 400), letter=st.sampled_from('aZ09%=+", '))
def test_any_other_character_of_the_header_is_refused(connected: dict[Reading, Pair], place: int, letter: str) -> None:
    pair = connected[Reading.RFC5849]
    request = pair.request()
    header = request.headers["authorization"]
    changed = header[:place] + letter + header[place + 1 :]
    if changed not in (header, header + letter):
        assert pair.is_refused(replace(request, headers=request.headers | {"authorization": changed}))


def test_a_request_is_good_once(pair: Pair) -> None:
    request = pair.request()
    assert pair.door.authenticate(request) == "paperportal"
    assert pair.is_refused(request)
    assert pair.door.refused == {"nonce used": 1}


def test_a_nonce_is_forgotten_when_its_time_is_refused_anyway(pair: Pair) -> None:
    old = pair.request()
    assert pair.door.authenticate(old) == "paperportal"
    pair.now += timedelta(minutes=6)
    assert pair.door.authenticate(pair.request()) == "paperportal"
    assert pair.is_refused(old)
    assert pair.door.refused == {"invalid timestamp": 1}


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_that_is_far_off_is_refused(pair: Pair, minutes: int) -> None:
    request = pair.request()
    pair.now += timedelta(minutes=minutes)
    assert pair.is_refused(request)


def test_a_token_ends_after_a_day_and_the_client_renews_before(pair: Pair) -> None:
    pair.now = START + timedelta(hours=23, minutes=59)
    assert pair.client.due
    assert pair.door.authenticate(pair.request()) == "paperportal"
    pair.now = START + timedelta(hours=24)
    assert pair.is_refused(pair.request())
    pair.exchange()
    assert pair.door.authenticate(pair.request()) == "paperportal"


def test_a_new_token_ends_the_one_before(pair: Pair) -> None:
    request = pair.request()
    pair.exchange()
    assert pair.is_refused(request)


def test_before_the_exchange_no_request_is_let_in(folder: Path, pair: Pair) -> None:
    fresh = Pair(folder)
    assert fresh.is_refused(pair.request())
    assert fresh.door.refused == {"no live session token": 1}


def test_a_stream_is_known_by_its_access_token(folder: Path, pair: Pair) -> None:
    token = pair.consumer.access_token
    assert pair.door.authenticate(PortalRequest("GET", "/ws", {"oauth_token": token})) == "paperportal"
    assert pair.is_refused(PortalRequest("GET", "/ws", {"oauth_token": token[:-1]}))
    assert pair.is_refused(PortalRequest("GET", "/ws", {"oauth_token": "\u20ac"}))
    assert Pair(folder).is_refused(PortalRequest("GET", "/ws", {"oauth_token": token}))


def exchange_refused(pair: Pair, change: Callable[[str], str], path: str = "/oauth/live_session_token") -> str:
    """The error with which the door refuses an exchange whose header was changed."""
    headers = arrived(pair.client.exchange().headers)
    request = PortalRequest("POST", path, headers=headers | {"authorization": change(headers["authorization"])})
    reply = pair.door.exchange(request)
    assert reply.status == 401
    body: dict[str, Any] = json.loads(reply.encoded())
    assert body["statusCode"] == 401
    return str(body["error"]).partition("error: ")[2]


def test_an_exchange_that_is_touched_is_refused(folder: Path) -> None:
    pair = Pair(folder)
    assert exchange_refused(pair, lambda header: header.replace("PAPER", "OTHER")) == "invalid consumer"
    assert exchange_refused(pair, lambda header: header.replace("nonce", "nonse")) == "missing parameter"
    assert exchange_refused(pair, lambda header: header.replace('="nonce', '="nonse')) == "invalid signature"
    assert exchange_refused(pair, lambda header: header.replace('challenge="', 'challenge="1')) == "invalid signature"
    assert exchange_refused(pair, lambda header: header.replace("RSA", "HMAC")) == "invalid signature method"
    assert exchange_refused(pair, lambda header: header, path="/oauth/access_token") == "invalid signature"
    assert exchange_refused(pair, lambda header: "") == "invalid header"
    assert pair.client.token is None


def test_an_exchange_is_good_once(folder: Path) -> None:
    pair = Pair(folder)
    request = PortalRequest("POST", "/oauth/live_session_token", headers=arrived(pair.client.exchange().headers))
    assert pair.door.exchange(request).status == 200
    assert pair.door.exchange(request).status == 401


def test_a_challenge_that_gives_the_secret_away_is_refused(folder: Path) -> None:
    pair = Pair(folder)
    for exponent in (0, pair.consumer.prime - 1):
        weak = OAuthSession(
            pair.credentials, f"https://{HOST}{BASE}", lambda: START, exponent=lambda exponent=exponent: exponent
        )
        headers = arrived(weak.exchange().headers)
        reply = pair.door.exchange(PortalRequest("POST", "/oauth/live_session_token", headers=headers))
        assert "invalid diffie_hellman_challenge" in str(reply.body)


def test_another_realm_or_key_set_is_another_consumer(folder: Path, pair: Pair, tmp_path: Path) -> None:
    write_consumer(tmp_path, "second")
    second = Pair(tmp_path)
    second.exchange()
    assert second.consumer.consumer_key != pair.consumer.consumer_key
    assert pair.is_refused(second.request())
    both = OAuthVerifier([pair.consumer, second.consumer], wall=lambda: START)
    for one in (pair, second):
        one.door = both
        one.exchange()
    assert both.authenticate(second.request()) == "second"
    assert both.authenticate(pair.request()) == "paperportal"


def test_a_client_may_sign_another_name_of_the_same_door(folder: Path) -> None:
    """ibind sends "Host: api.ibkr.com" wherever it goes."""
    pair = Pair(folder)
    pair.door = OAuthVerifier([pair.consumer], hosts=[HOST], wall=lambda: START)
    pair.exchange()
    request = pair.request()
    assert pair.door.authenticate(replace(request, headers=request.headers | {"host": "api.ibkr.com"})) == "paperportal"


def test_a_door_may_ask_that_the_query_is_covered(folder: Path) -> None:
    pair = Pair(folder, Reading.WITHOUT_QUERY)
    pair.exchange()
    assert pair.door.authenticate(pair.request(conids="265598,8314")) == "paperportal"
    pair.door = OAuthVerifier([pair.consumer], covers_query=True, wall=lambda: START)
    pair.exchange()
    assert pair.is_refused(pair.request(conids="265598,8314"))
    assert pair.door.authenticate(pair.request()) == "paperportal"


@pytest.mark.parametrize("tail", ["?conids=265598,8314&since=0", "?conids=265598%2C8314&since=0"])
def test_a_client_may_sign_the_query_in_the_address(pair: Pair, tail: str) -> None:
    headers = pair.client.headers("GET", f"https://{HOST}{BASE}/iserver/marketdata/snapshot{tail}", {})
    query = {"conids": "265598,8314", "since": "0"}
    request = PortalRequest("GET", "/iserver/marketdata/snapshot", query, headers=arrived(headers))
    assert pair.is_refused(replace(request, query=query | {"since": "1"}))
    assert pair.door.authenticate(request) == "paperportal"


@pytest.mark.parametrize("path", ["/iserver/accounts", "/iserver/accounts/"])
@pytest.mark.parametrize("base", ["", BASE])
def test_a_client_may_leave_out_the_base_or_add_a_slash(pair: Pair, base: str, path: str) -> None:
    headers = pair.client.headers("GET", f"https://{HOST}{base}{path}", {})
    assert pair.door.authenticate(PortalRequest("GET", "/iserver/accounts", headers=arrived(headers))) == "paperportal"


def test_a_folder_keeps_its_consumer(folder: Path, tmp_path: Path) -> None:
    first = consumer_in(tmp_path / "new", "paperportal")
    again = consumer_in(tmp_path / "new", "paperportal")
    assert (first.consumer_key, first.secret, first.prime) == (again.consumer_key, again.secret, again.prime)
    assert first.consumer_key.startswith("PAPER")
    assert len(first.consumer_key) == 9
    assert first.secret.hex() not in repr(first)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
def test_keys_are_readable_by_their_owner_only(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 9
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("consumer.json", None, "consumer.json"),
        ("consumer.json", "{}", "damaged"),
        ("consumer.json", "[1]", "damaged"),
        ("public_signature.pem", "no key", "damaged"),
    ],
)
def test_a_damaged_consumer_is_named(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    write_consumer(tmp_path, "paperportal")
    (tmp_path / "door" / name).unlink()
    if content is not None:
        (tmp_path / "door" / name).write_text(content)
    with pytest.raises(ConfigurationError, match=says):
        Consumer.read(tmp_path)
