"""IB's side of OAuth 1.0a: issues live session tokens and checks the signature of every request made with one.

Facts and their sources, and what is only inferred: docs/oauth.md. The client's side is another implementation.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import quote, quote_plus, unquote, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from .oauth_consumers import Consumer
from .request import BASE, Answer, PortalRefusal, PortalRequest

log = logging.getLogger(__name__)

Pairs = list[tuple[str, str]]

TOKEN_PATH = "/oauth/live_session_token"
SOCKET_PATH = "/ws"

LIFETIME = timedelta(hours=24)
#: How far a request's timestamp may lie from the door's clock; IB's own figure is not published.
WINDOW = timedelta(minutes=5)

_FIELD = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_HEADER = re.compile(rf"OAuth +(?:{_FIELD.pattern})(?: *, *{_FIELD.pattern})*", re.IGNORECASE)
_STAMP = re.compile(r"[0-9]{1,12}")
_REQUIRED = ("oauth_consumer_key", "oauth_nonce", "oauth_signature", "oauth_signature_method", "oauth_timestamp")


class _Denied(Exception):
    """Why a request is not let in; the log's word, and the answer's where IB gives one."""


@dataclass(slots=True)
class _Login:
    """One consumer's state: its token (None before the first) and the (timestamp, nonce) pairs seen in the window, in
    a set to find them and in a heap to forget the oldest first."""

    consumer: Consumer
    key: bytes | None = field(default=None, repr=False)
    #: None before the first token
    expires: datetime | None = None
    seen: set[tuple[int, str]] = field(default_factory=set)
    ages: list[tuple[int, str]] = field(default_factory=list)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class OAuthVerifier:
    """`wall` tells aware UTC of the wall clock, for clients stamp with theirs and know nothing of market time.

    `hosts` ("localhost:15000") are names under which a client may have signed beside the request's own Host header.
    `covers_query` refuses signatures that leave the query out, as those of most clients do. A new token ends the one
    before, and `on_token` is told whom it logs in.
    """

    def __init__(
        self,
        consumers: Iterable[Consumer],
        *,
        hosts: Sequence[str] = (),
        covers_query: bool = False,
        wall: Callable[[], datetime] = _utc_now,
        on_token: Callable[[str], None] = lambda user: None,
    ) -> None:
        self._logins = {consumer.consumer_key: _Login(consumer) for consumer in consumers}
        self._hosts = hosts
        self._covers_query = covers_query
        self.wall = wall
        self._on_token = on_token
        self._number = count(1)
        #: Requests that were refused, by reason.
        self.refused: dict[str, int] = {}

    def exchange(self, request: PortalRequest) -> Answer:
        """Answers POST /oauth/live_session_token."""
        try:
            fields, login = self._identified(request, "RSA-SHA256")
            self._verify_rsa(request, fields, login.consumer)
            self._take_nonce(fields, login)
            body = self._issue(login, fields)
        except _Denied as denied:
            self._count(denied)
            text = f"id: {next(self._number)}, error: {denied}"
            return Answer({"error": text, "statusCode": 401}, 401)
        self._on_token(login.consumer.user)
        return Answer(body)

    def authenticate(self, request: PortalRequest) -> str | None:
        """The user whom the request's signature (a stream's access token) proves; None when it carries neither, which
        leaves the browser's login, and for the exchange. Raises PortalRefusal 401 for a proof that is not right."""
        token = request.query.get("oauth_token") if request.path == SOCKET_PATH else None
        try:
            if token is not None:
                return self._of_stream(token)
            signs = request.headers.get("authorization", "").lower().startswith("oauth ")
            if not signs or request.path in (TOKEN_PATH, SOCKET_PATH):
                return None
            fields, login = self._identified(request, "HMAC-SHA256")
            self._verify_hmac(request, fields, login)
            self._take_nonce(fields, login)
        except _Denied as denied:
            self._count(denied)
            refusal = PortalRefusal("Access Denied", 401)
            refusal.answer = Answer("Access Denied", 401, "text/html; charset=utf-8")
            raise refusal from None
        return login.consumer.user

    def _count(self, denied: _Denied) -> None:
        reason = str(denied)
        self.refused[reason] = self.refused.get(reason, 0) + 1
        log.warning("OAuth request refused: %s", reason)

    def _of_stream(self, token: str) -> str:
        for login in self._logins.values():
            if secrets.compare_digest(login.consumer.access_token.encode(), token.encode()) and self._key(login):
                return login.consumer.user
        raise _Denied("invalid token")

    def _key(self, login: _Login) -> bytes | None:
        """None without a token, or when its time is over."""
        return login.key if login.expires is not None and self.wall() < login.expires else None

    def _identified(self, request: PortalRequest, method: str) -> tuple[dict[str, str], _Login]:
        header = request.headers.get("authorization", "")
        if not (header + request.headers.get("host", "")).isascii():
            raise _Denied("invalid header")
        fields = _header_fields(header)
        if any(not fields.get(name) for name in _REQUIRED):
            raise _Denied("missing parameter")
        login = self._logins.get(fields["oauth_consumer_key"])
        if login is None or fields.get("realm") != login.consumer.realm:
            raise _Denied("invalid consumer")
        if fields.get("oauth_token") != login.consumer.access_token:
            raise _Denied("invalid token")
        if fields["oauth_signature_method"] != method:
            raise _Denied("invalid signature method")
        stamp = fields["oauth_timestamp"]
        if not _STAMP.fullmatch(stamp) or self._is_outside(int(stamp)):
            raise _Denied("invalid timestamp")
        if (int(stamp), fields["oauth_nonce"]) in login.seen:
            raise _Denied("nonce used")
        return fields, login

    def _is_outside(self, stamp: int) -> bool:
        return abs(self.wall().timestamp() - stamp) > WINDOW.total_seconds()

    def _take_nonce(self, fields: Mapping[str, str], login: _Login) -> None:
        while login.ages and self._is_outside(login.ages[0][0]):
            login.seen.discard(heapq.heappop(login.ages))
        pair = int(fields["oauth_timestamp"]), fields["oauth_nonce"]
        login.seen.add(pair)
        heapq.heappush(login.ages, pair)

    def _verify_rsa(self, request: PortalRequest, fields: Mapping[str, str], consumer: Consumer) -> None:
        signature = _signature(fields)
        for text in self._texts(request, fields):
            signed = (consumer.secret.hex() + text).encode()
            try:
                consumer.signature_key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                continue
            return
        raise _Denied("invalid signature")

    def _verify_hmac(self, request: PortalRequest, fields: Mapping[str, str], login: _Login) -> None:
        key = self._key(login)
        if key is None:
            raise _Denied("no live session token")
        signature = _signature(fields)
        for text in self._texts(request, fields):
            if hmac.compare_digest(hmac.digest(key, text.encode(), hashlib.sha256), signature):
                return
        raise _Denied("invalid signature")

    def _texts(self, request: PortalRequest, fields: Mapping[str, str]) -> Iterator[str]:
        """Every base string that a client could have signed for this request: its address with or without the base
        path and a trailing slash, its query left out, in the address, or among the parameters in either encoding."""
        own = [(name, value) for name, value in fields.items() if name not in ("realm", "oauth_signature")]
        query = list(request.query.items())
        hosts = dict.fromkeys((request.headers.get("host", ""), *self._hosts))
        paths = (BASE + request.path, request.path, BASE + request.path + "/", request.path + "/")
        for address in (f"https://{host}{path}" for host in hosts for path in paths):
            for tail in _addressed(query):
                yield _text(request.method, address + tail, _once(own))
            yield _text(request.method, address, _once(own + query))
            yield _text(request.method, address, _rfc5849(own + query))
            if query and not self._covers_query:
                yield _text(request.method, address, _once(own))

    def _issue(self, login: _Login, fields: Mapping[str, str]) -> dict[str, object]:
        consumer = login.consumer
        try:
            challenge = int(fields.get("diffie_hellman_challenge", ""), 16)
        except ValueError:
            raise _Denied("invalid diffie_hellman_challenge") from None
        if not 1 < challenge < consumer.prime - 1:
            raise _Denied("invalid diffie_hellman_challenge")
        exponent = secrets.randbits(256) | 1
        shared = pow(challenge, exponent, consumer.prime)
        login.key = hmac.digest(_java_bytes(shared), consumer.secret, hashlib.sha1)
        login.expires = self.wall() + LIFETIME
        return {
            "diffie_hellman_response": f"{pow(consumer.generator, exponent, consumer.prime):x}",
            "live_session_token_signature": hmac.digest(login.key, consumer.consumer_key.encode(), hashlib.sha1).hex(),
            "live_session_token_expiration": int(login.expires.timestamp() * 1000),
        }


def _text(method: str, address: str, parameters: str) -> str:
    return f"{method.upper()}&{quote(address, safe='~')}&{parameters}"


def _addressed(query: Pairs) -> tuple[str, ...]:
    """A query as it stands in an address, with and without percent-encoding; nothing for none."""
    if not query:
        return ()
    return ("?" + "&".join(map("=".join, query)), "?" + urlencode(query, quote_via=quote, safe="~"))


def _once(pairs: Pairs) -> str:
    """As IB's own samples do it: joined as they are, then quoted."""
    return quote_plus("&".join(map("=".join, sorted(pairs))))


def _rfc5849(pairs: Pairs) -> str:
    encoded = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs)
    return quote("&".join(map("=".join, encoded)), safe="~")


def _java_bytes(number: int) -> bytes:
    """As java.math.BigInteger.toByteArray: the fewest bytes of two's complement, sign bit included."""
    return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)


def _header_fields(header: str) -> dict[str, str]:
    """The parameters of an OAuth header, decoded. Raises _Denied for another one, or when one stands twice."""
    if not _HEADER.fullmatch(header):
        raise _Denied("invalid header")
    found = _FIELD.findall(header)
    fields = {name: unquote(value) for name, value in found}
    if len(fields) != len(found):
        raise _Denied("duplicate parameter")
    return fields


def _signature(fields: Mapping[str, str]) -> bytes:
    """Raises _Denied unless it is base64 in its one canonical spelling."""
    text = fields["oauth_signature"].encode()
    try:
        signature = base64.b64decode(text, validate=True)
    except ValueError:
        signature = b""
    if not signature or base64.b64encode(signature) != text:
        raise _Denied("invalid signature")
    return signature
