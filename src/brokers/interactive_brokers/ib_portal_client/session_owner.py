"""What a portal session asks of the client that it belongs to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ...errors import LinkError


class SessionOwner(Protocol):
    """What the session asks of the client that it belongs to."""

    def check_session(self, accounts: tuple[str, ...]) -> None:
        """Refuse the session that was just established; may raise any BrokerError."""
        ...

    def forget_caches(self) -> None:
        """A new brokerage session: orders and trades are cold again."""
        ...

    def startup_queries(self) -> dict[str, Callable[[], Awaitable[Any]]]: ...

    def restore_subscriptions(self) -> tuple[int, int]:
        """Every stream of the intent registry is asked for again: (asked again, failed)."""
        ...

    def on_session_lost(self, error: LinkError) -> None: ...

    def on_trust_lost(self, reason: str) -> None: ...

    def on_trust_restored(self, reason: str) -> None: ...

    def on_stream(self, is_open: bool, why: str) -> None:
        """The stream came or went while the session itself stands."""
        ...
