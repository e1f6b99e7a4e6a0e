"""The account that a brokerage session works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import PortalSession


class Chosen:
    """The first account, until the client sets another."""

    def __init__(self, session: PortalSession) -> None:
        self.account = session.door.exchange.accounts[0]

    def close(self) -> None:
        """Nothing runs by itself."""
