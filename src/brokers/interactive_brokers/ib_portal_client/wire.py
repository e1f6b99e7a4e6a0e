"""What the portal client needs of a wire: one HTTP exchange at a time, and one WebSocket. No I/O here.

`requests_wire` fills it with sockets; tests go straight to a paper door.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Everything lives below it.
BASE = "/v1/api"
WEBSOCKET = f"{BASE}/ws"


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request. `path` is below BASE; `body` None sends none, {} an empty JSON object. `deadline` seconds for the
    whole answer. `what` names it in errors."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    deadline: float = 10.0
    what: str = ""
    #: Added to those of the wire: a signature, say. Never logged.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return self.what or f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """`text` as it came. `seconds` is how long the exchange took, by the wire's clock."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 0.0

    def json(self) -> Any:
        """The parsed body; None for an empty one, and for one that is no JSON (an HTML page, say)."""
        try:
            return json.loads(self.text) if self.text else None
        except ValueError:
            return None

    @property
    def error(self) -> str:
        """The text under "error" of a JSON object, else ""."""
        body = self.json()
        told = body.get("error") if isinstance(body, dict) else None
        return "" if told is None else str(told)


class WireFailure(Exception):
    """An exchange without an answer. `why` in words for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class NotSent(WireFailure):
    """Proven that nothing of the request left: refused connection, TLS failure, a name that cannot be resolved."""


class Ambiguous(WireFailure):
    """The request may have arrived: read timeout, reset, half an answer."""


class FrameSender(Protocol):
    """The client's end of an open WebSocket. Neither call blocks or raises."""

    def send(self, text: str) -> None: ...

    def close(self) -> None: ...


FrameListener = Callable[[str], None]
#: Called once, with the reason, when the WebSocket has ended by whatever cause but our own `close`.
ClosedListener = Callable[[str], None]


class PortalWire(Protocol):
    """Listeners are called on the event loop."""

    async def exchange(self, call: HttpCall) -> HttpReply:
        """Any status is an answer. Raises NotSent or Ambiguous."""
        ...

    async def open(
        self, cookie: str, on_frame: FrameListener, on_closed: ClosedListener, deadline: float, suffix: str = ""
    ) -> FrameSender:
        """A WebSocket with this Cookie header, `suffix` behind its address. Raises NotSent."""
        ...

    async def close(self) -> None:
        """End everything that is open. A later call begins anew."""
        ...
