"""One client of the TWS door: who it is, what it subscribed to, and how a message reaches it.

Session.send(name, **values)         a message of `messages_out`, never dropped
Session.error(id, code, text)        an error, warning or notice
Session.quote(key, frame)            market data; the newest per key survives a slow reader
Refusal(code, text)                  raised by a handler: answered as an error to the request's own id
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Protocol

from .messages_out import encode
from .outbox import Outbox
from .pacing import HistoryPacing, TickByTickPacing

if TYPE_CHECKING:
    from .door import TwsDoor


class Refusal(Exception):
    """What was asked cannot be served; `code` and `text` are IB's own. `subject` None: the request's own id."""

    def __init__(self, code: int, text: str, subject: int | None = None) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.subject = subject


class Subscription(Protocol):
    """Something that goes on until it is cancelled or its client leaves."""

    def close(self) -> None: ...


class Session:
    """State of one client between startApi and the end of its connection. Not thread-safe.

    `data_type` is what the client asked for (1 live, 2 frozen, 3 delayed, 4 delayed frozen).
    """

    def __init__(
        self, door: TwsDoor, client_id: int, version: int, outbox: Outbox, hang_up: Callable[[], None]
    ) -> None:
        self.door = door
        self.client_id = client_id
        self.version = version
        self.outbox = outbox
        #: Ends the connection once what is queued has been written.
        self.hang_up = hang_up
        self.data_type = 1
        self.auto_bind = False
        self.bulletins = False
        self.last_id_told = 0
        self.closed = False
        self.history_pacing = HistoryPacing(door.settings.history_rules)
        self.tick_by_tick_pacing = TickByTickPacing(door.settings.tick_by_tick_seconds)
        self._subscriptions: dict[tuple[str, int], Subscription] = {}

    def send(self, name: str, /, **values: Any) -> None:
        if self.door.faults.muted and self.door.faults.mutes(name):
            return
        self.write(encode(self.version, name, **values))

    def error(self, subject: int, code: int, text: str, advanced: str = "") -> None:
        self.send("error", reqId=subject, errorCode=code, errorString=text, advancedOrderRejectJson=advanced)

    def write(self, frame: bytes) -> None:
        """A whole frame that must arrive."""
        if not self.closed:
            self.door.outgoing(self, None, frame)

    def quote(self, key: Hashable, frame: bytes) -> None:
        """A whole frame that a newer one of the same key may replace."""
        if not self.closed:
            self.door.outgoing(self, key, frame)

    def subscribe(self, family: str, number: int, subscription: Subscription, duplicate: Refusal) -> None:
        """Keeps `subscription` under its reqId; raises `duplicate` when that reqId is in use in this family."""
        if (family, number) in self._subscriptions:
            subscription.close()
            raise duplicate
        self._subscriptions[family, number] = subscription

    def subscription(self, family: str, number: int) -> Subscription | None:
        return self._subscriptions.get((family, number))

    def count(self, family: str) -> int:
        return sum(1 for name, _ in self._subscriptions if name == family)

    def subscriptions(self, family: str) -> list[Subscription]:
        return [entry for (name, _), entry in self._subscriptions.items() if name == family]

    def numbers(self, *families: str) -> list[int]:
        """The reqIds that are in use in these families."""
        return [number for name, number in self._subscriptions if name in families]

    def unsubscribe(self, family: str, number: int) -> bool:
        """False when there is no such subscription."""
        subscription = self._subscriptions.pop((family, number), None)
        if subscription is None:
            return False
        subscription.close()
        return True

    def drop_subscriptions(self, *families: str) -> int:
        """Ends all of these families (none named: every one), unasked; returns how many there were."""
        keys = [key for key in self._subscriptions if not families or key[0] in families]
        for key in keys:
            self._subscriptions.pop(key).close()
        return len(keys)
