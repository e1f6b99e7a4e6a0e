"""One WebSocket of the portal door, as text in and frames out: no sockets here.

stream.receive(text)          what the client sent: a session, `tic`, or a topic
stream.send(frame)            one JSON object to the client
stream.keep(key, close)       a subscription; an older one of the same key is closed
stream.drop(key)              ends it; False when there was none

Source: client-portal.md section 3.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .request import PortalRefusal

if TYPE_CHECKING:
    from .alarms import Alarm
    from .door import PortalDoor
    from .session import PortalSession

log = logging.getLogger(__name__)

#: Seconds that a stream without a session waits for one.
WAIT_SECONDS = 15.0
NORMAL_CLOSURE = 1000
TOO_SLOW = 1008


class Outlet(Protocol):
    """Where frames go. `write` never blocks; `close` comes after what was written, `abort` at once."""

    def write(self, frame: dict[str, Any]) -> None: ...

    def close(self, code: int) -> None: ...

    def abort(self) -> None: ...


class Stream:
    """Not thread-safe. `session` may be asked for once the stream has one; topics are served only then."""

    def __init__(self, door: PortalDoor, outlet: Outlet) -> None:
        self.door = door
        self.outlet = outlet
        self.closed = False
        self._session: PortalSession | None = None
        self._kept: dict[str, Callable[[], None]] = {}
        self._alarm: Alarm | None = None

    @property
    def session(self) -> PortalSession:
        if self._session is None:
            raise PortalRefusal("no session")
        return self._session

    def wait_for_session(self) -> None:
        self.send({"message": "waiting for session"})
        self._alarm = self.door.after(WAIT_SECONDS, self.close)

    def attach(self, session: PortalSession) -> None:
        """Greets; heartbeats follow."""
        self._session = session
        session.streams.append(self)
        if self._alarm is not None:
            self._alarm.cancel()
        self.send({"topic": "system", "success": session.user})
        accounts = self.door.accounts_of(session)
        if accounts is not None:
            self.send({"topic": "act", "args": accounts})
        self.send({"topic": "sts", "args": {"authenticated": session.authenticated}})
        self._alarm = self.door.after(self.door.settings.heartbeat_seconds, self._beat)

    def _beat(self) -> None:
        if not self.door.faults.silent_heartbeat:
            self.send({"topic": "system", "hb": self.door.milliseconds})
        self._alarm = self.door.after(self.door.settings.heartbeat_seconds, self._beat)

    # out

    def send(self, frame: dict[str, Any]) -> None:
        if not self.closed:
            self.outlet.write(frame)

    def close(self, code: int = NORMAL_CLOSURE) -> None:
        """Ends the stream after what was sent; nothing when it has ended."""
        if not self.closed:
            self.leave()
            self.outlet.close(code)

    def leave(self) -> None:
        """The connection is gone: subscriptions end."""
        self.closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for key in tuple(self._kept):
            self.drop(key)
        if self._session is not None and self in self._session.streams:
            self._session.streams.remove(self)
        if self in self.door.streams:
            self.door.streams.remove(self)

    # subscriptions

    @property
    def keys(self) -> tuple[str, ...]:
        """The subscriptions, oldest first."""
        return tuple(self._kept)

    def keep(self, key: str, close: Callable[[], None]) -> None:
        """`key` begins with the topic's name, then "+" and whatever tells it from others ("smd+265598")."""
        self.drop(key)
        self._kept[key] = close

    def drop(self, key: str) -> bool:
        close = self._kept.pop(key, None)
        if close is None:
            return False
        close()
        return True

    def drop_brokerage(self) -> None:
        """The subscriptions that need the brokerage session end with it."""
        for key in self.keys:
            if self.door.needs_brokerage(key.partition("+")[0]):
                self.drop(key)

    # in

    def receive(self, text: str) -> None:
        """Never raises for what a client can send."""
        try:
            self._take(text.strip())
        except PortalRefusal as refusal:
            self.send({"error": refusal.why, "code": refusal.answer.status})
        except Exception:  # the boundary of one message of one stream
            self.door.failures["stream"] += 1
            log.exception("a stream's message %r failed", text[:80])
            self.send({"error": "unknown", "code": 500})

    def _take(self, text: str) -> None:
        if self._session is None:
            self._take_session(text)
            return
        if text == "tic":
            self.session.touch()
            self.send({"topic": "tic", "lastAccessed": self.door.milliseconds})
            return
        if text.startswith("{") or not text:
            return
        name, words, arguments = split_topic(text)
        row = self.door.topic(name)
        if row is None:
            raise PortalRefusal(f"unknown topic {name}")
        topic, begins = row
        if topic.needs_brokerage:
            self.session.require_bridge()
        (topic.subscribe if begins else topic.unsubscribe)(self, words, arguments)

    def _take_session(self, text: str) -> None:
        """{"session": "…"}, as the client was asked for it."""
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        named = content.get("session") if isinstance(content, dict) else None
        session = self.door.session_named(str(named)) if named else None
        if session is None:
            self.send({"message": "waiting for session"})
        else:
            self.attach(session)


def split_topic(text: str) -> tuple[str, list[str], dict[str, Any]]:
    """ "smd+265598+{…}" -> ("smd", ["265598"], {…}); the object may be missing or empty. Raises PortalRefusal."""
    head, brace, rest = text.partition("{")
    words = [word for word in head.split("+") if word]
    if not brace:
        return (words[0] if words else ""), words[1:], {}
    try:
        arguments = json.loads(brace + rest)
    except ValueError:
        raise PortalRefusal("malformed arguments") from None
    return (words[0] if words else ""), words[1:], arguments


def names_in(arguments: dict[str, Any], name: str) -> list[str]:
    """A list argument of a topic, or text with commas, as words; [] when it is missing. Raises PortalRefusal."""
    value = arguments.get(name) or []
    if isinstance(value, str):
        return value.split(",")
    if not isinstance(value, list):
        raise PortalRefusal(f"malformed {name}")
    return [str(entry) for entry in value]
