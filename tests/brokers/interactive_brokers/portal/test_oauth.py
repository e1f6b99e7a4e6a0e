"""The client's side of OAuth 1.0a: the token's exchange and life, against an IB of a few lines."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st
from moondev_ibkr.brokers.errors import ConnectFailed, ProtocolViolation
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth import (
    LiveSessionToken,
    OAuthSession,
    TokenExchange,
    new_exponent,
    new_nonce,
    shared_key,
)
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth_credentials import OAuthCredentials
from oauthlib.oauth1.rfc5849.utils import parse_authorization_header

BASE = "https://api.ibkr.com/v1/api"
START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
SECRET = bytes(range(200, 232))
PRIME = 2**128 - 159
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CREDENTIALS = OAuthCredentials("PAPERTEST", "a1b2c3d4e5", SECRET, KEY, PRIME)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def fields(headers: dict[str, str]) -> dict[str, str]:
    return {name: unquote(value) for name, value in parse_authorization_header(headers["Authorization"])}


def answer(exchange: TokenExchange, now: datetime, exponent: int = 12345, hours: float = 24) -> dict[str, Any]:
    """What IB sends to this exchange; the key that both then hold is in `key`."""
    shared = pow(int(fields(exchange.headers)["diffie_hellman_challenge"], 16), exponent, PRIME)
    key = hmac.digest(der_integer(shared), SECRET, hashlib.sha1)
    return {
        "diffie_hellman_response": f"{pow(2, exponent, PRIME):x}",
        "live_session_token_signature": hmac.digest(key, b"PAPERTEST", hashlib.sha1).hex(),
        "live_session_token_expiration": int((now + timedelta(hours=hours)).timestamp() * 1000),
    }


def der_integer(number: int) -> bytes:
    """The content of a DER INTEGER: the fewest bytes of two's complement, which is what Java writes."""
    sequence = encode_dss_signature(number, 1)
    assert sequence[1] < 0x80
    return sequence[4:-3]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def session(clock: Clock) -> OAuthSession:
    numbers = count(1)
    return OAuthSession(CREDENTIALS, BASE + "/", clock, lambda: f"nonce{next(numbers)}", lambda: 987654321)


def connected(clock: Clock, hours: float = 24) -> OAuthSession:
    made = session(clock)
    exchange = made.exchange()
    made.accept(exchange, 200, answer(exchange, clock.now, hours=hours))
    return made


@given(st.integers(1, 2**900))
@example(0x7F)
@example(0x80)
@example(0xFF00)
@example(2**127)
@example(2**127 - 1)
def test_the_shared_key_has_a_sign_byte_exactly_when_its_high_bit_is_set(number: int) -> None:
    assert shared_key(number) == der_integer(number)
    assert (shared_key(number)[0] == 0) == (number.bit_length() % 8 == 0)


def test_p14_every_exchange_ends_in_the_token_that_ib_signed(clock: Clock) -> None:
    """The sign byte left out, half of these would be refused for good."""
    for exponent in range(2, 200):
        made = session(clock)
        exchange = made.exchange()
        made.accept(exchange, 200, answer(exchange, clock.now, exponent))
        assert not made.due


def test_the_exchange_is_signed_with_the_secret_in_front(clock: Clock) -> None:
    exchange = session(clock).exchange()
    sent = fields(exchange.headers)
    assert (exchange.method, exchange.url) == ("POST", BASE + "/oauth/live_session_token")
    assert sent["realm"] == "limited_poa"
    assert sent["oauth_timestamp"] == str(int(START.timestamp()))
    assert int(sent["diffie_hellman_challenge"], 16) == pow(2, 987654321, PRIME)
    listed = "%26".join(
        f"{name}%3D{value}" for name, value in sorted(sent.items()) if name not in ("realm", "oauth_signature")
    )
    text = f"{SECRET.hex()}POST&https%3A%2F%2Fapi.ibkr.com%2Fv1%2Fapi%2Foauth%2Flive_session_token&{listed}"
    KEY.public_key().verify(
        base64.b64decode(sent["oauth_signature"]), text.encode(), padding.PKCS1v15(), hashes.SHA256()
    )


def test_the_test_consumer_has_a_realm_of_its_own() -> None:
    assert OAuthCredentials("TESTCONS", "token", SECRET, KEY, PRIME).realm == "test_realm"


def test_a_new_token_is_due_an_hour_before_the_old_one_ends(clock: Clock) -> None:
    made = connected(clock)
    clock.now = START + timedelta(hours=22, minutes=59)
    assert not made.due
    clock.now = START + timedelta(hours=23)
    assert made.due
    assert made.token is not None


def test_a_short_token_is_not_due_from_its_first_moment(clock: Clock) -> None:
    made = connected(clock, hours=0.5)
    assert not made.due
    clock.now = START + timedelta(minutes=27)
    assert made.due


def test_a_refused_token_is_exchanged_once(clock: Clock) -> None:
    made = connected(clock)
    first = used(made)
    assert made.refused(first)
    assert made.due
    exchange = made.exchange()
    made.accept(exchange, 200, answer(exchange, clock.now))
    assert not made.refused(used(made)), "a second one in a row is IB's last word"


def test_a_token_that_worked_may_be_refused_again(clock: Clock) -> None:
    made = connected(clock)
    for _ in range(3):
        assert made.refused(used(made))
        exchange = made.exchange()
        made.accept(exchange, 200, answer(exchange, clock.now))
        made.worked()


def test_a_late_refusal_of_an_older_token_does_not_end_the_new_one(clock: Clock) -> None:
    made = connected(clock)
    old = used(made)
    assert made.refused(old)
    exchange = made.exchange()
    new = made.accept(exchange, 200, answer(exchange, clock.now))
    assert made.refused(old)
    assert made.token is new


def test_a_refused_exchange_keeps_the_token_before(clock: Clock) -> None:
    made = connected(clock)
    kept = made.token
    with pytest.raises(ConnectFailed) as caught:
        made.accept(made.exchange(), 401, {"error": "id: 3931, error: invalid consumer", "statusCode": 401})
    assert "invalid consumer" in str(caught.value)
    assert caught.value.kind == "account"
    assert made.token is kept


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, "", ConnectFailed),
        (200, None, ProtocolViolation),
        (200, "Access Denied", ProtocolViolation),
        (200, {"diffie_hellman_response": "7"}, ProtocolViolation),
        (200, [], ProtocolViolation),
    ],
)
def test_an_answer_that_is_no_token_is_an_error(clock: Clock, status: int, body: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        session(clock).exchange().read(status, body, clock.now)


@pytest.mark.parametrize("response", ["0", "1", f"{PRIME - 1:x}", f"{PRIME:x}", "-5", "zz"])
def test_a_response_that_gives_the_secret_away_is_refused(clock: Clock, response: str) -> None:
    exchange = session(clock).exchange()
    with pytest.raises(ProtocolViolation):
        exchange.read(200, answer(exchange, clock.now) | {"diffie_hellman_response": response}, clock.now)


def test_a_token_that_ib_did_not_sign_is_refused(clock: Clock) -> None:
    exchange = session(clock).exchange()
    with pytest.raises(ConnectFailed, match="signed another"):
        exchange.read(200, answer(exchange, clock.now) | {"live_session_token_signature": "0" * 40}, clock.now)


def test_a_token_that_comes_expired_means_a_wrong_clock(clock: Clock) -> None:
    exchange = session(clock).exchange()
    with pytest.raises(ConnectFailed, match="clock"):
        exchange.read(200, answer(exchange, clock.now, hours=-1), clock.now)


def test_without_a_token_nothing_is_signed(clock: Clock) -> None:
    with pytest.raises(ConnectFailed, match="exchange first"):
        session(clock).headers("GET", BASE + "/sso/validate", {})


def test_the_stream_names_the_access_token_in_its_address(clock: Clock) -> None:
    url = session(clock).websocket_url("wss://api.ibkr.com/v1/api/ws")
    assert url == "wss://api.ibkr.com/v1/api/ws?oauth_token=a1b2c3d4e5"


def test_nothing_secret_is_shown(clock: Clock) -> None:
    made = connected(clock)
    token = used(made)
    shown = f"{CREDENTIALS!r} {token!r} {made!r} {made.exchange()!r}"
    with pytest.raises(ConnectFailed) as caught:
        made.accept(made.exchange(), 401, "Access Denied")
    shown += f"{caught.value} {caught.value!r}"
    for secret in (SECRET.hex(), repr(SECRET), token.key.hex(), repr(token.key), "a1b2c3d4e5", str(PRIME)):
        assert secret not in shown


def test_nonces_and_exponents_do_not_repeat() -> None:
    assert len({new_nonce() for _ in range(500)}) == 500
    assert all(len(new_nonce()) == 16 and new_nonce().isalnum() for _ in range(50))
    assert all(number.bit_length() == 256 for number in {new_exponent() for _ in range(50)})


def used(made: OAuthSession) -> LiveSessionToken:
    assert made.token is not None
    return made.token
