"""The one brokerage session that IB grants a user name, when both doors log in with the same name.

Source: client-portal.md section 1.2. Whoever takes it kicks the other; with two user names nobody competes.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from .settings import PortalSettings, SoftInit

if TYPE_CHECKING:
    from .alarms import Alarm, Alarms
    from .session import PortalSession

log = logging.getLogger(__name__)


class Holder(StrEnum):
    TWS = "tws"
    PORTAL = "portal"
    NOBODY = "nobody"


class TwsSide(Protocol):
    """What the TWS door does when its session goes and comes."""

    def lose_session(self, *, queue_orders: bool) -> None: ...

    def regain_session(self, code: int) -> None: ...


class Seat:
    """TWS has it at first: it logs in when the gateway starts."""

    def __init__(self, settings: PortalSettings, tws: TwsSide, alarms: Alarms) -> None:
        self._settings = settings
        self._tws = tws
        self._alarms = alarms
        self._reclaim: Alarm | None = None
        self._portal: PortalSession | None = None
        self.holder = Holder.TWS

    def _competes(self, session: PortalSession) -> bool:
        return session.user == self._settings.tws_user

    def is_taken_from(self, session: PortalSession) -> bool:
        """Whether TWS has the session that this user would need."""
        return self._competes(session) and self.holder is Holder.TWS

    def take(self, session: PortalSession, *, compete: bool) -> bool:
        """For the portal; False when TWS keeps it."""
        if not self._competes(session):
            return True
        if self.holder is Holder.TWS:
            if not compete and self._settings.soft_init is SoftInit.FAIL:
                return False
            log.info("the portal takes the brokerage session of %s from TWS", session.user)
            self._tws.lose_session(queue_orders=self._settings.kicked_orders == "queued")
            self._plan_reclaim()
        self.holder, self._portal = Holder.PORTAL, session
        return True

    def leave(self, session: PortalSession) -> None:
        """The portal's brokerage session has ended; TWS does not get it back by itself."""
        if self._competes(session) and self.holder is Holder.PORTAL:
            self.holder, self._portal = Holder.NOBODY, None

    def reclaim(self) -> bool:
        """TWS takes it back, and kicks the portal; False when it has it."""
        if self.holder is Holder.TWS:
            return False
        loser = self._portal
        log.info("TWS takes its brokerage session back")
        self.holder, self._portal = Holder.TWS, None
        if self._reclaim is not None:
            self._reclaim.cancel()
        self._tws.regain_session(self._settings.tws_return_code)
        if loser is not None:
            loser.end_brokerage()
        return True

    def _plan_reclaim(self) -> None:
        seconds = self._settings.tws_reclaim_seconds
        if seconds is not None:
            self._reclaim = self._alarms.after(seconds, self._by_itself)

    def _by_itself(self) -> None:
        self.reclaim()
