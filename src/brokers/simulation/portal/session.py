"""One user of the portal door: the outer login, the brokerage session inside it, and what belongs to either.

    session.login(Cls)         the instance of Cls that lives as long as the login
    session.brokerage(Cls)     the one that lives as long as the brokerage session
    session.publish(frame)     to every open stream
    session.require(route)     raises the refusal of client-portal.md section 1.4 when a tier is missing

A class kept here is made by Cls(session) at its first use, and closed when its span ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .request import PortalRefusal
from .routes import Route, Tier

if TYPE_CHECKING:
    from .alarms import Alarm
    from .door import PortalDoor
    from .stream import Stream


class Part(Protocol):
    """Something of a module's own that a session keeps. `cool()`, where there is one, empties its caches (a fault)."""

    def close(self) -> None: ...


P = TypeVar("P", bound=Part)

SERVER_INFO = {"serverName": "PaperGateway01", "serverVersion": "Build 10.44.1d, Mar 3, 2026 1:55:32 PM"}
MAC = "02:00:00:DD:00:01"
NO_BRIDGE = "Bad Request: no bridge"
INIT_FIRST = "Init session first"
ACCOUNTS_FIRST = "Please query /accounts first"
COMPETING = "Trading TWS session is connected from a different IP address"
COMPETE_FLAG = "Force compete capability must be used together with compete flag"


class Span:
    """The parts that live as long as one login or one brokerage session."""

    def __init__(self, session: PortalSession) -> None:
        self._session = session
        self._parts: dict[Any, Part] = {}

    def part(self, kind: Callable[[PortalSession], P]) -> P:
        if kind not in self._parts:
            self._parts[kind] = kind(self._session)
        return self._parts[kind]  # type: ignore[return-value]

    def close(self) -> None:
        while self._parts:
            self._parts.popitem()[1].close()

    def cool(self) -> None:
        for part in tuple(self._parts.values()):
            cool = getattr(part, "cool", None)
            if cool is not None:
                cool()


class PortalSession:
    """Not thread-safe. `streams` are the open WebSockets. `accounts_asked` and `portfolio_asked` are set by the
    handlers of /iserver/accounts and /portfolio/accounts; they end with the brokerage session and with the login."""

    def __init__(self, door: PortalDoor, user: str) -> None:
        self.door = door
        self.user = user
        self.streams: list[Stream] = []
        self.accounts_asked = False
        self.portfolio_asked = False
        #: The login was ended by `logout`, or by its hard limit.
        self.logged_out = self.expired = False
        #: The bridge of the present brokerage session answers nothing: 0 it does, else the status (400, 410).
        self.bridge_down = 0
        #: auth/status that still say authenticated: false, whatever is true.
        self.lies = 0
        self.fail = ""
        self.session_id = ""
        self.last_access = door.monotonic()
        self.login_at = door.now
        #: When the present, or the last, brokerage session began; market time.
        self.brokerage_at = door.now
        self._logins = 0
        self._login: Span | None = None
        self._brokerage: Span | None = None
        self._was_begun = False
        self._established_at = 0.0
        self._idle: Alarm | None = None
        self._limit: Alarm | None = None

    # what belongs to it

    def login(self, kind: Callable[[PortalSession], P]) -> P:
        """Raises PortalRefusal (401) when logged out."""
        if self._login is None:
            raise PortalRefusal.access_denied()
        return self._login.part(kind)

    def brokerage(self, kind: Callable[[PortalSession], P]) -> P:
        """Raises PortalRefusal ("no bridge") without a brokerage session."""
        if self._brokerage is None:
            raise self._no_bridge()
        return self._brokerage.part(kind)

    def publish(self, frame: dict[str, Any]) -> None:
        for stream in tuple(self.streams):
            stream.send(frame)

    def cool(self) -> None:
        """Every cache is as cold as after a new session (a fault)."""
        for span in (self._login, self._brokerage):
            if span is not None:
                span.cool()

    # the two tiers

    @property
    def logged_in(self) -> bool:
        return self._login is not None

    @property
    def authenticated(self) -> bool:
        """Whether there is a brokerage session."""
        return self._brokerage is not None

    @property
    def established(self) -> bool:
        """And its account information is loaded."""
        return self.authenticated and self.door.monotonic() >= self._established_at

    @property
    def competing(self) -> bool:
        """Whether another session of this user name is in the way."""
        return self.logged_in and (self.door.faults.competing or self.door.seat.is_taken_from(self))

    def log_in(self, *, brokerage: bool | None = None) -> None:
        """A new outer session; `brokerage` None: as the settings say, unless another session is in the way."""
        self.log_out()
        self._logins += 1
        self.logged_out = self.expired = False
        settings = self.door.settings
        digest = hashlib.sha256(f"{self.user}:{self.door.seed}:{self._logins}".encode())
        self.session_id = digest.hexdigest()[:32]
        self.login_at = self.door.now
        self._login = Span(self)
        self._was_begun = False
        self.lies = int(settings.first_status_lies)
        self.last_access = self.door.monotonic()
        self._limit = self.door.after(settings.login_seconds, self.expire)
        wanted = settings.brokerage_at_login if brokerage is None else brokerage
        if wanted and not self.door.seat.is_taken_from(self):
            self.begin_brokerage(compete=False)

    def log_out(self) -> None:
        """Ends both tiers; nothing when logged out."""
        if self._login is None:
            return
        self.end_brokerage()
        self._login.close()
        self._login = None
        self.portfolio_asked = False
        self.session_id = ""
        if self._limit is not None:
            self._limit.cancel()
        for stream in tuple(self.streams):
            stream.close()

    def expire(self) -> None:
        """The hard limit of a login: only a new one helps."""
        self.log_out()
        self.expired = True

    def begin_brokerage(self, *, compete: bool) -> bool:
        """A new brokerage session in place of the old one; False while another door keeps it."""
        if not self.door.seat.take(self, compete=compete):
            self.fail = COMPETE_FLAG
            self.announce()
            return False
        self.end_brokerage(quietly=True)
        self.fail = ""
        self.bridge_down = 0
        self._brokerage = Span(self)
        self.brokerage_at = self.door.now
        self._was_begun = True
        self._established_at = self.door.monotonic() + self.door.settings.establish_seconds
        self.touch()
        self._watch_idleness()
        if not self.door.faults.silent_restoration:
            self.announce()
        return True

    def end_brokerage(self, *, quietly: bool = False) -> None:
        """Nothing when there is none. `quietly`: a new one follows at once, and the streams hear of that."""
        if self._brokerage is None:
            return
        span, self._brokerage = self._brokerage, None
        span.close()
        self.accounts_asked = False
        if self._idle is not None:
            self._idle.cancel()
        for stream in tuple(self.streams):
            stream.drop_brokerage()
        if not quietly:
            self.door.seat.leave(self)
            self.announce()

    def announce(self) -> None:
        """Tells the streams what auth/status says; as IB does it, one fact a frame."""
        self.publish({"topic": "sts", "args": {"authenticated": self.authenticated}})
        self.publish({"topic": "sts", "args": {"competing": self.competing}})
        self.publish({"topic": "sts", "args": {"message": ""}})

    # idleness

    def touch(self) -> None:
        """A request, or a `tic`, keeps the brokerage session alive."""
        self.last_access = self.door.monotonic()

    def _watch_idleness(self) -> None:
        self._idle = self.door.after(self.door.settings.idle_seconds, self._check_idleness)

    def _check_idleness(self) -> None:
        left = self.last_access + self.door.settings.idle_seconds - self.door.monotonic()
        if left <= 0:
            self.end_brokerage()
        else:
            self._idle = self.door.after(left, self._check_idleness)

    # what is asked of it

    @property
    def milliseconds_left(self) -> int:
        """Until the login ends by itself; 0 when logged out."""
        if self._limit is None or not self.logged_in:
            return 0
        return int((self._limit.at - self.door.monotonic()) * 1000)

    def tiers(self) -> dict[str, Any]:
        """The state as a control line tells it."""
        return {
            "user": self.user,
            "logged_in": self.logged_in,
            "authenticated": self.authenticated,
            "streams": len(self.streams),
        }

    def status(self) -> dict[str, Any]:
        """The object of auth/status and ssodh/init, without `fail`."""
        if not self.logged_in:
            return {"authenticated": False, "competing": False, "connected": False, "MAC": MAC}
        return {
            "authenticated": self.authenticated,
            "established": self.established,
            "competing": self.competing,
            "connected": True,
            "message": "",
            "MAC": MAC,
            "serverInfo": dict(SERVER_INFO),
            "hardware_info": f"paper001|{MAC}",
        }

    def require(self, route: Route) -> None:
        """Raises PortalRefusal when a tier that the route needs is missing."""
        if route.tier >= Tier.LOGIN and not self.logged_in:
            raise PortalRefusal.access_denied()
        if route.tier is Tier.PORTFOLIO and not self.portfolio_asked:
            raise PortalRefusal(ACCOUNTS_FIRST)
        if route.tier < Tier.BROKERAGE:
            return
        if self.competing and route.path.startswith("/iserver/marketdata"):
            raise PortalRefusal(COMPETING, 500)
        self.require_bridge()
        if route.tier >= Tier.ACCOUNTS and not self.accounts_asked:
            raise PortalRefusal(ACCOUNTS_FIRST)

    def require_bridge(self) -> None:
        """Raises PortalRefusal without a brokerage session that answers."""
        if not self.established or self.bridge_down:
            raise self._no_bridge()

    def _no_bridge(self) -> PortalRefusal:
        if self.bridge_down == 410:
            return PortalRefusal("gone", 410)
        ended = self._was_begun and not self.authenticated
        text = INIT_FIRST if ended else NO_BRIDGE
        return PortalRefusal(text, 400, {"error": text, "statusCode": 400})
