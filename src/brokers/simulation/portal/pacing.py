"""IB's limits on requests to the portal, as rows, and the penalty box. Seconds are of the injected monotonic clock.

Source: client-portal.md section 4. A route names its row in `pace`; the query string does not change the bucket. Rows
and the global limit count by peer address, as the penalty box does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .settings import PortalSettings

#: Less than a window by what floats lose.
_SLACK = 1e-6
#: Seconds within which refused requests of one peer add up to a penalty.
STRIKE_WINDOW = 60.0
#: Seconds of the longest window whose limit slows a client instead of refusing it: what the way to IB takes anyhow.
SLOWED_WINDOW = 1.0
#: Peers and rows that are remembered at most.
REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` requests in `seconds`."""

    count: int
    seconds: float
    about: str


LIMITS: dict[str, Limit] = {
    "snapshot": Limit(10, 1.0, "GET /iserver/marketdata/snapshot"),
    "history": Limit(10, 1.0, "GET /iserver/marketdata/history"),
    "orders": Limit(1, 5.0, "GET /iserver/account/orders"),
    "trades": Limit(1, 5.0, "GET /iserver/account/trades"),
    "pnl": Limit(1, 5.0, "GET /iserver/account/pnl/partitioned"),
    "portfolio-accounts": Limit(1, 5.0, "GET /portfolio/accounts"),
    "portfolio-subaccounts": Limit(1, 5.0, "GET /portfolio/subaccounts"),
    "scanner-params": Limit(1, 900.0, "GET /iserver/scanner/params"),
    "scanner-run": Limit(1, 1.0, "POST /iserver/scanner/run"),
    "tickle": Limit(1, 1.0, "/tickle"),
    "fyi": Limit(1, 1.0, "/fyi/*"),
    "sso-validate": Limit(1, 60.0, "GET /sso/validate"),
    "performance": Limit(1, 900.0, "POST /pa/performance"),
    "performance-summary": Limit(1, 900.0, "POST /pa/summary"),
    "transactions": Limit(1, 900.0, "POST /pa/transactions"),
}


@dataclass(frozen=True, slots=True)
class Admission:
    """`refusal` is the text of a 429, "" for a request that runs. `delay`: seconds by which its answer is late."""

    refusal: str = ""
    delay: float = 0.0


LONGEST_WINDOW = max(limit.seconds for limit in LIMITS.values())
TOO_MANY = "Too many requests, please try again later."


class Pacer:
    """Who may ask now. `requests_per_second` 0 admits everything, but for a penalty that was imposed by hand."""

    def __init__(self, settings: PortalSettings, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._times: dict[tuple[str, str], deque[float]] = {}
        self._strikes: dict[str, deque[float]] = {}
        self._boxed: dict[str, float] = {}
        #: When the last answer that was made to wait leaves, by peer.
        self._answered_at: dict[str, float] = {}
        self._everybody_until = float("-inf")

    def admit(self, peer: str, pace: str) -> Admission:
        """Whether the request may run. `pace` names a row, "" only the global limit; KeyError for one that does not
        exist. A refused request is not counted against the limits, but is a strike.

        With `slow_sequential`, one that is beyond a limit of a second runs, and its answer waits until it would be
        within; who does not wait for that answer asks in parallel, and is refused.
        """
        now = self._monotonic()
        if self.is_boxed(peer):
            return Admission(TOO_MANY)
        rate = self._settings.requests_per_second
        if not rate:
            return Admission()
        if len(self._times) > REMEMBERED:
            self._forget(now)
        limits = {"": Limit(rate, 1.0, "all requests")} | ({pace: LIMITS[pace]} if pace else {})
        windows = [(self._window(peer, name, limit, now), limit) for name, limit in limits.items()]
        patient = self._settings.slow_sequential and now >= self._answered_at.get(peer, now)
        delay = 0.0
        for times, limit in windows:
            if len(times) >= limit.count:
                if not patient or limit.seconds > SLOWED_WINDOW:
                    return self._strike(peer, now)
                delay = max(delay, times[-limit.count] + limit.seconds - now)
        if delay:
            self._answered_at[peer] = now + delay
        for times, _ in windows:
            times.append(now + delay)
        return Admission(delay=delay)

    def is_boxed(self, peer: str) -> bool:
        now = self._monotonic()
        return now < max(self._everybody_until, self._boxed.get(peer, float("-inf")))

    def punish_everybody(self, seconds: float | None = None) -> None:
        """Nobody is served for `seconds` (None: as long as the box lasts)."""
        self._everybody_until = self._monotonic() + (self._settings.penalty_seconds if seconds is None else seconds)

    def pardon(self) -> None:
        """Ends every penalty."""
        self._everybody_until = float("-inf")
        self._boxed.clear()
        self._strikes.clear()
        self._answered_at.clear()

    def _window(self, peer: str, name: str, limit: Limit, now: float) -> deque[float]:
        times = self._times.setdefault((peer, name), deque())
        while times and now - times[0] >= limit.seconds - _SLACK:
            times.popleft()
        return times

    def _strike(self, peer: str, now: float) -> Admission:
        strikes = self._strikes.setdefault(peer, deque())
        strikes.append(now)
        while now - strikes[0] >= STRIKE_WINDOW:
            strikes.popleft()
        if len(strikes) >= self._settings.penalty_strikes:
            self._boxed[peer] = now + self._settings.penalty_seconds
            del self._strikes[peer]
        return Admission(TOO_MANY)

    def _forget(self, now: float) -> None:
        """Bounded memory: peers whom no limit and no penalty concerns any more are dropped."""
        self._times = {key: times for key, times in self._times.items() if times and now - times[-1] < LONGEST_WINDOW}
        self._strikes = {peer: strikes for peer, strikes in self._strikes.items() if now - strikes[-1] < STRIKE_WINDOW}
        self._boxed = {peer: until for peer, until in self._boxed.items() if now < until}
        self._answered_at = {peer: at for peer, at in self._answered_at.items() if now < at}
