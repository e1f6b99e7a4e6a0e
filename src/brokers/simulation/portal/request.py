"""One HTTP request of the portal door and its answer, as values: no sockets, no HTTP library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import InvalidRequest

#: Everything lives below it; the server takes paths without it too, as IB's own gateway does.
BASE = "/v1/api"
#: Digits of a whole number at most.
LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True)
class PortalRequest:
    """`path` is below BASE, without a trailing slash ("/iserver/accounts"); `parts` are what its template captured.

    `query` has the last value of each name. `body` is the parsed JSON: {} when the request had none. `headers` are
    lower-case names. `peer` is the address that pacing counts by. `arrived` is monotonic seconds.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    peer: str = "127.0.0.1"
    arrived: float = 0.0
    parts: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """A query value, else one of a JSON object body, as text."""
        if name in self.query:
            return self.query[name]
        value = self.body.get(name, default) if isinstance(self.body, Mapping) else default
        return default if value is None else str(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """True for true, True, 1, yes in query or body (real clients differ)."""
        text = self.text(name)
        return text.strip().lower() in ("true", "1", "yes") if text else default


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is sent as JSON, or as it is when it is text; None sends nothing. `delay` is real seconds before it
    leaves. `abort` cuts the connection instead of answering, after everything that the request did has been done."""

    body: Any = None
    status: int = 200
    content_type: str = "application/json; charset=utf-8"
    delay: float = 0.0
    abort: bool = False

    def encoded(self) -> bytes:
        if self.body is None:
            return b""
        if isinstance(self.body, str) and not self.content_type.startswith("application/json"):
            return self.body.encode()
        return json.dumps(self.body, separators=(",", ":"), default=_number).encode()


class PortalRefusal(InvalidRequest):
    """A handler's no: the door answers with `status` and {"error": text}, or with `body` where IB sends another."""

    def __init__(self, text: str, status: int = 400, body: Any = None) -> None:
        super().__init__("the request", text)
        self.answer = Answer({"error": text} if body is None else body, status)

    @classmethod
    def access_denied(cls) -> PortalRefusal:
        """401 as text, where there is no login."""
        refusal = cls("Access Denied", 401)
        refusal.answer = Answer("Access Denied", 401, "text/html; charset=utf-8")
        return refusal


def whole_number(text: str) -> int | None:
    """A number of digits alone, as ids, pages and days are written; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else None


def _number(value: Any) -> Any:
    """Decimals leave as JSON numbers."""
    return float(value)
