"""The portal door of the exchange: requests in, answers out. No sockets and no clock of its own.

door = PortalDoor(exchange, source, timers, settings, faults, tws)
door.serve(request) -> Answer          one HTTP request
door.open_stream(session, outlet)      one WebSocket; the Stream that it returns takes what the client sends
door.alarms.run_due()                  what monotonic time has made due: time-outs, heartbeats
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ...errors import BrokerError
from ..hours import NEW_YORK, midnight_after
from ..options.market import OptionMarket
from ..scans import Scanner
from ..timers import MarketTimers
from .alarms import Alarm, Alarms
from .faults import PortalFaults
from .handlers import ROUTES
from .oauth_door import OAuthLogins
from .order_sight import Fills
from .pacing import Pacer
from .request import BASE, Answer, PortalRefusal, PortalRequest
from .routes import Route, Topic
from .seat import Seat, TwsSide
from .session import PortalSession
from .settings import PortalSettings
from .stream import Outlet, Stream
from .topics import TOPICS

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..market_source import MarketSource

log = logging.getLogger(__name__)

S = TypeVar("S")
#: After midnight in New York; and the first weekday without a reset.
RESET_HOUR = timedelta(hours=1)
SATURDAY = 5
NOT_FOUND = Answer({"error": "Not Found", "statusCode": 404}, 404)
NOT_ALLOWED = Answer({"error": "Method Not Allowed", "statusCode": 405}, 405)
UNAVAILABLE = Answer(None, 503)
UNKNOWN = Answer({"error": "unknown"}, 500)

_BEGINS: dict[str, Topic] = {name: topic for topic in TOPICS for name in (topic.name, *topic.also)}
_ENDS: dict[str, Topic] = {topic.end: topic for topic in TOPICS}


class PortalDoor:
    """Not thread-safe: everything happens on the loop that drives the exchange.

    `monotonic` drives time-outs, heartbeats and pacing. `failures` counts requests that failed for our own fault, by
    path template. `seed` makes session ids. `authenticate` names the user of a request that carries its own proof
    (OAuth), None for one that relies on the browser login; it may raise PortalRefusal. `options` is the other door's
    option market, so that both rank by the same; None makes one.
    """

    def __init__(
        self,
        exchange: Exchange,
        source: MarketSource,
        timers: MarketTimers,
        settings: PortalSettings,
        faults: PortalFaults,
        tws: TwsSide,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        seed: int = 0,
        options: OptionMarket | None = None,
    ) -> None:
        self.exchange = exchange
        self.source = source
        self.scanner = Scanner(exchange, options or OptionMarket(exchange, source.calendar))
        self.timers = timers
        self.settings = settings
        self.faults = faults
        self.monotonic = monotonic
        self.seed = seed
        self.alarms = Alarms(monotonic)
        self.pacer = Pacer(settings, monotonic)
        self.seat = Seat(settings, tws, self.alarms)
        self.failures: Counter[str] = Counter()
        self.streams: list[Stream] = []
        self.sessions: dict[str, PortalSession] = {}
        self._states: dict[Any, Any] = {}
        # Fills are only told once: who is to show those of a week must hear them from the start.
        self.state(Fills)
        self.authenticate: Callable[[PortalRequest], str | None] = self.state(OAuthLogins).verifier.authenticate
        if settings.logged_in:
            self.session.log_in()
        if settings.nightly_reset:
            self._plan_reset()

    @property
    def now(self) -> datetime:
        """Market time."""
        return self.exchange.now

    @property
    def milliseconds(self) -> int:
        """Market time as epoch milliseconds, as every time on this door."""
        return int(self.now.timestamp() * 1000)

    def after(self, seconds: float, action: Callable[[], None]) -> Alarm:
        """`action` after so many seconds of monotonic time."""
        return self.alarms.after(seconds, action)

    def state(self, kind: Callable[[PortalDoor], S]) -> S:
        """The instance of `kind` that lives as long as this door, made at the first use."""
        if kind not in self._states:
            self._states[kind] = kind(self)
        return cast(S, self._states[kind])

    def close(self) -> None:
        for session in self.sessions.values():
            session.log_out()
        self.alarms.clear()

    def _plan_reset(self) -> None:
        self.timers.at(midnight_after(self.now - RESET_HOUR) + RESET_HOUR, self._reset)

    def _reset(self) -> None:
        """IB's own maintenance of the brokerage servers; logins outlive it."""
        if self.now.astimezone(NEW_YORK).weekday() < SATURDAY:
            for session in tuple(self.sessions.values()):
                session.end_brokerage()
        self._plan_reset()

    # users

    @property
    def session(self) -> PortalSession:
        """The one of the browser login."""
        return self.session_for(self.settings.user)

    def session_for(self, user: str) -> PortalSession:
        """The session of this user name, logged out at first."""
        if user not in self.sessions:
            self.sessions[user] = PortalSession(self, user)
        return self.sessions[user]

    def session_named(self, session_id: str) -> PortalSession | None:
        """The one whose `tickle` tells this id."""
        for session in self.sessions.values():
            if session.session_id and session.session_id == session_id:
                return session
        return None

    def session_of(self, request: PortalRequest) -> PortalSession:
        """Whose request it is. Raises PortalRefusal for a proof that is wrong."""
        user = self.authenticate(request)
        return self.session if user is None else self.session_for(user)

    # requests

    def serve(self, request: PortalRequest) -> Answer:
        """Never raises: what a client can send is answered, and our own failure is 500 "unknown"."""
        self.alarms.run_due()
        route, parts = self._find(request)
        try:
            change = self.faults.intercept(request, route, served=False)
            if change is not None:
                return change(request, None)
            return self._admit(request, route, parts)
        except BrokerError as error:
            return Answer({"error": str(error)}, 500)
        except Exception:  # the boundary of one request: the client is told, the others go on
            self.failures[route.path if route is not None else "unknown"] += 1
            log.exception("request %s %s failed", request.method, request.path)
            return UNKNOWN

    def _admit(self, request: PortalRequest, route: Route | None, parts: dict[str, str]) -> Answer:
        admission = self.pacer.admit(request.peer, route.pace if route is not None else "")
        if admission.refusal:
            return Answer({"error": admission.refusal}, 429)
        try:
            answer = self._serve(request, route, parts)
        except PortalRefusal as refusal:
            answer = refusal.answer
        return replace(answer, delay=max(answer.delay, admission.delay)) if admission.delay else answer

    def _serve(self, request: PortalRequest, route: Route | None, parts: dict[str, str]) -> Answer:
        if self.faults.maintenance:
            return UNAVAILABLE
        session = self.session_of(request)
        if route is None:
            known = any(row.pattern.match(request.path) for row in ROUTES)
            return NOT_ALLOWED if known else NOT_FOUND
        session.require(route)
        session.touch()
        if self.faults.competing and route.path == "/iserver/accounts":
            return Answer({})
        try:
            answer = route.handler(session, replace(request, parts=parts))
        except PortalRefusal as refusal:
            answer = refusal.answer
        change = self.faults.intercept(request, route, served=True)
        return answer if change is None else change(request, answer)

    def _find(self, request: PortalRequest) -> tuple[Route | None, dict[str, str]]:
        for route in ROUTES:
            if request.method in route.methods:
                found = route.pattern.match(request.path)
                if found is not None:
                    return route, found.groupdict()
        return None, {}

    # streams

    def stream_session(self, request: PortalRequest) -> PortalSession | None:
        """The session that a WebSocket's request names, in either spelling of the cookie, or proves; None without one.
        Raises PortalRefusal for a proof that is wrong."""
        self.alarms.run_due()
        user = self.authenticate(request)
        return self.session_for(user) if user is not None else self.session_named(cookie_session(request))

    def open_stream(self, session: PortalSession | None, outlet: Outlet) -> Stream:
        """Greets at once; without a session it waits to be told one."""
        stream = Stream(self, outlet)
        self.streams.append(stream)
        if session is None or not session.logged_in:
            stream.wait_for_session()
        else:
            stream.attach(session)
        return stream

    def topic(self, name: str) -> tuple[Topic, bool] | None:
        """The row that a word belongs to, and whether the word begins a subscription; None for an unknown word."""
        if name in _BEGINS:
            return _BEGINS[name], True
        return (_ENDS[name], False) if name in _ENDS else None

    def needs_brokerage(self, name: str) -> bool:
        row = _BEGINS.get(name)
        return row is not None and row.needs_brokerage

    def accounts_of(self, session: PortalSession) -> dict[str, Any] | None:
        """What `act` tells: the answer of /iserver/accounts, which does not count as asked. None without a bridge."""
        if not session.established or session.bridge_down:
            return None
        request = PortalRequest("GET", "/iserver/accounts")
        route, _ = self._find(request)
        if route is None:
            return None
        asked = session.accounts_asked
        body = route.handler(session, request).body
        session.accounts_asked = asked
        return dict(body)


def cookie_session(request: PortalRequest) -> str:
    """The session id of `api={"session":"…"}` or `api=…`; "" when there is none."""
    text = request.cookies.get("api", "").strip()
    if not text.startswith("{"):
        return text
    try:
        content = json.loads(text)
    except ValueError:
        return ""
    return str(content.get("session", ""))


def below_base(path: str) -> str:
    """A path as routes have it: without BASE, a doubled or a trailing slash."""
    while "//" in path:
        path = path.replace("//", "/")
    if path == BASE or path.startswith(BASE + "/"):
        path = path[len(BASE) :]
    return path.rstrip("/") or "/"
