"""OAuth at the portal door: the consumers of its settings, and the route that gives out live session tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .oauth import TOKEN_PATH, OAuthVerifier
from .oauth_consumers import Consumer
from .request import Answer, PortalRequest
from .routes import Route, Tier

if TYPE_CHECKING:
    from .door import PortalDoor
    from .session import PortalSession


class OAuthLogins:
    """One for the door's life. Raises ConfigurationError when the folder of a consumer is damaged."""

    def __init__(self, door: PortalDoor) -> None:
        self._door = door
        settings = door.settings
        names = dict.fromkeys((settings.host, "localhost", "127.0.0.1")) if settings.port else ()
        self.verifier = OAuthVerifier(
            [Consumer.read(Path(folder)) for folder in settings.oauth_consumers],
            hosts=[f"{name}:{settings.port}" for name in names],
            covers_query=settings.oauth_covers_query,
            on_token=self._log_in,
        )

    def _log_in(self, user: str) -> None:
        """A token is a login without the browser; the brokerage session is asked for with ssodh/init."""
        session = self._door.session_for(user)
        if not session.logged_in:
            session.log_in(brokerage=False)


def live_session_token(session: PortalSession, request: PortalRequest) -> Answer:
    return session.door.state(OAuthLogins).verifier.exchange(request)


ROUTES: tuple[Route, ...] = (
    Route(
        ("POST",),
        TOKEN_PATH,
        live_session_token,
        Tier.OPEN,
        "a live session token for a signed Diffie-Hellman challenge",
    ),
)
