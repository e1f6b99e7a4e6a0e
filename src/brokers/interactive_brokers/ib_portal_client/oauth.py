"""OAuth 1.0a for headless use of the Client Portal API: the live session token and the signing of requests.

No I/O: a TokenExchange says what to send and reads what came back; the portal client does the sending. Facts and
their sources: docs/oauth.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from ...errors import ConnectFailed, ProtocolViolation
from .oauth_credentials import OAuthCredentials
from .oauth_signature import authorization, base_string

#: Below the API's base address; the request is a POST with an empty body ("Content-Length: 0", else 411).
TOKEN_PATH = "/oauth/live_session_token"
#: How long before its end a token is renewed, unless it lives for less than ten times that.
RENEW_BEFORE = timedelta(hours=1)

_WHAT = "the OAuth live session token"


def new_nonce() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(16))


def new_exponent() -> int:
    """The private half of a Diffie-Hellman exchange: 256 bits, never 0."""
    return secrets.randbits(256) | 1 << 255


def shared_key(shared: int) -> bytes:
    """The shared secret as IB's Java writes it: big-endian two's complement, so that a leading zero byte stands where
    the high bit is set. Left out, every second exchange fails for good (fault P14)."""
    return shared.to_bytes(shared.bit_length() // 8 + 1, "big")


@dataclass(frozen=True, slots=True, eq=False)
class LiveSessionToken:
    """The key that signs every request until `expires`. Times are aware UTC. Its value is never shown."""

    key: bytes = field(repr=False)
    obtained: datetime
    expires: datetime

    @property
    def renew_at(self) -> datetime:
        return self.expires - min(RENEW_BEFORE, (self.expires - self.obtained) / 10)


class OAuthSigner:
    """Signs requests with one live session token."""

    def __init__(self, credentials: OAuthCredentials, token: LiveSessionToken) -> None:
        self._credentials = credentials
        self.token = token

    def headers(self, method: str, url: str, query: Mapping[str, str], now: datetime, nonce: str) -> dict[str, str]:
        """The headers of one request. `url` is absolute and without query; a JSON body is not signed."""
        parameters = _parameters(self._credentials, "HMAC-SHA256", now, nonce)
        text = base_string(method, url, parameters.items(), query.items(), self._credentials.reading)
        signature = hmac.digest(self.token.key, text.encode(), hashlib.sha256)
        parameters["oauth_signature"] = base64.b64encode(signature).decode()
        return {"Authorization": authorization(self._credentials.realm, parameters)}


class TokenExchange:
    """One request for a live session token: send `headers` and an empty body to `url` by POST, give the answer to
    `read`. `exponent` is the private half of the exchange, fresh for each."""

    method = "POST"

    def __init__(self, credentials: OAuthCredentials, url: str, now: datetime, nonce: str, exponent: int) -> None:
        self.url = url
        self._credentials = credentials
        self._exponent = exponent
        parameters = _parameters(credentials, "RSA-SHA256", now, nonce)
        challenge = pow(credentials.generator, exponent, credentials.prime)
        parameters["diffie_hellman_challenge"] = f"{challenge:x}"
        text = credentials.secret.hex() + base_string("POST", url, parameters.items())
        signature = credentials.signature_key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        parameters["oauth_signature"] = base64.b64encode(signature).decode()
        self.headers: dict[str, str] = {"Authorization": authorization(credentials.realm, parameters)}

    def read(self, status: int, body: Any, now: datetime) -> LiveSessionToken:
        """`body` is the parsed JSON, or text. Raises ConnectFailed when IB refuses or the token is not the one that it
        signed, ProtocolViolation when the answer is none."""
        if status != 200:
            raise _refused(status, body)
        try:
            response = int(body["diffie_hellman_response"], 16)
            signature = str(body["live_session_token_signature"])
            expires = datetime.fromtimestamp(int(body["live_session_token_expiration"]) / 1000, UTC)
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            raise ProtocolViolation(_WHAT, "the answer lacks a part of it") from None
        if not 1 < response < self._credentials.prime - 1:
            raise ProtocolViolation(_WHAT, "the Diffie-Hellman response is out of range")
        shared = pow(response, self._exponent, self._credentials.prime)
        key = hmac.digest(shared_key(shared), self._credentials.secret, hashlib.sha1)
        expected = hmac.digest(key, self._credentials.consumer_key.encode(), hashlib.sha1).hex()
        if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
            raise ConnectFailed(
                _WHAT, "IB signed another one", "dhparam.pem or an RSA key is not the registered one", kind="protocol"
            )
        if expires <= now:
            raise ConnectFailed(_WHAT, "it came expired", "set this machine's clock", kind="protocol")
        return LiveSessionToken(key, now, expires)


class OAuthSession:
    """The token's life: who asks when a new one is due, and what a 401 means. It has no lock: the portal client
    exchanges under its own.

    `base` is the API's address, "https://api.ibkr.com/v1/api"; `now` gives aware UTC of the wall clock.
    """

    def __init__(
        self,
        credentials: OAuthCredentials,
        base: str,
        now: Callable[[], datetime],
        nonce: Callable[[], str] = new_nonce,
        exponent: Callable[[], int] = new_exponent,
    ) -> None:
        self._credentials = credentials
        self._base = base.rstrip("/")
        self._now = now
        self._nonce = nonce
        self._exponent = exponent
        self._signer: OAuthSigner | None = None
        self._refusals = 0

    @property
    def token(self) -> LiveSessionToken | None:
        """None before the first exchange and after a refusal."""
        return self._signer.token if self._signer is not None else None

    @property
    def due(self) -> bool:
        """True when the next request needs an exchange first: no token, or one near its end."""
        return self.token is None or self._now() >= self.token.renew_at

    def exchange(self) -> TokenExchange:
        url = self._base + TOKEN_PATH
        return TokenExchange(self._credentials, url, self._now(), self._nonce(), self._exponent())

    def accept(self, exchange: TokenExchange, status: int, body: Any) -> LiveSessionToken:
        """Takes the answer to `exchange`; the token before stays in use when it is refused. Raises as
        TokenExchange.read."""
        token = exchange.read(status, body, self._now())
        self._signer = OAuthSigner(self._credentials, token)
        return token

    def headers(self, method: str, url: str, query: Mapping[str, str]) -> dict[str, str]:
        """Raises ConnectFailed without a token."""
        if self._signer is None:
            raise ConnectFailed(_WHAT, "there is none", "exchange first", kind="account")
        return self._signer.headers(method, url, query, self._now(), self._nonce())

    def worked(self) -> None:
        """A signed request was answered otherwise than by 401."""
        self._refusals = 0

    def refused(self, used: LiveSessionToken) -> bool:
        """A request signed with `used` met 401, so nothing of it was done. True: sign it anew, after an exchange where
        one is due. False: the token before was refused as well, and another exchange will not help."""
        if used is not self.token:
            return self.token is not None or self._refusals <= 1
        self._signer = None
        self._refusals += 1
        return self._refusals <= 1

    def websocket_url(self, url: str) -> str:
        """The stream's address: the access token in the query; the session of /tickle goes into the cookie."""
        return f"{url}?oauth_token={quote(self._credentials.access_token, safe='')}"


def _parameters(credentials: OAuthCredentials, method: str, now: datetime, nonce: str) -> dict[str, str]:
    return {
        "oauth_consumer_key": credentials.consumer_key,
        "oauth_nonce": nonce,
        "oauth_signature_method": method,
        "oauth_timestamp": str(int(now.timestamp())),
        "oauth_token": credentials.access_token,
    }


def _refused(status: int, body: Any) -> ConnectFailed:
    told = body.get("error", "") if isinstance(body, Mapping) else str(body or "")
    why = f"HTTP {status}" + (f", {told[:200]}" if told else "")
    if status in (401, 403):
        remedy = "check the consumer key, the signature key and the clock; a new registration works after the weekend"
        return ConnectFailed(_WHAT, why, remedy, kind="account")
    return ConnectFailed(_WHAT, why, "try again later", kind="unreachable")
