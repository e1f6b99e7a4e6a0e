"""IB's limits on how fast a client may ask, as rows; seconds of the machine's monotonic clock.

    MessageRate(limit)         50 messages a second, three strikes (error 100)
    HistoryPacing(rules)       requests for small bars (error 162)
    TickByTickPacing(seconds)  requests for tick-by-tick data

Sources: IB API, "Pacing Limitations" (message rate) and "Historical Data Limitations" (bars of 30 seconds and less).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum

MESSAGES_PER_SECOND = 50
STRIKES = 3
#: Less than a second by what floats lose.
_SECOND = 1.0 - 1e-6


class Verdict(Enum):
    ADMITTED = "admitted"
    #: answered with error 100; the message is still served, as TWS does
    WARNED = "warned"
    #: the last strike: error 100, then the connection ends
    DISCONNECTED = "disconnected"


class MessageRate:
    """Counts one client's messages in a sliding second. `limit` 0 turns it off."""

    __slots__ = ("_last_strike", "_limit", "_times", "strikes")

    def __init__(self, limit: int = MESSAGES_PER_SECOND) -> None:
        self._limit = limit
        self._times: deque[float] = deque(maxlen=limit + 1 if limit else 1)
        self._last_strike = float("-inf")
        self.strikes = 0

    @property
    def limit(self) -> int:
        return self._limit

    def admit(self, now: float) -> Verdict:
        """`now` in seconds, monotonic. At most one strike a second: a burst is one offence."""
        if not self._limit:
            return Verdict.ADMITTED
        times = self._times
        times.append(now)
        if len(times) <= self._limit or now - times[0] >= _SECOND:
            return Verdict.ADMITTED
        if now - self._last_strike < 1.0:
            return Verdict.ADMITTED
        self._last_strike = now
        self.strikes += 1
        return Verdict.DISCONNECTED if self.strikes >= STRIKES else Verdict.WARNED

    def wait(self, now: float) -> float:
        """Seconds until one more message fits: how long a client that asked for `+PACEAPI` is made to wait."""
        if not self._limit or len(self._times) < self._limit:
            return 0.0
        return max(0.0, self._times[-self._limit] + 1.0 - now)


@dataclass(frozen=True, slots=True)
class HistoryRule:
    """At most `limit` requests in `window` seconds among those that share `scope`."""

    text: str
    #: "identical": the same request; "series": same contract, exchange and whatToShow; "all": every request
    scope: str
    limit: int
    window: float


HISTORY_RULES: tuple[HistoryRule, ...] = (
    HistoryRule("identical historical data requests within 15 seconds", "identical", 1, 15.0),
    HistoryRule(
        "six or more requests for the same contract, exchange and tick type within two seconds", "series", 5, 2.0
    ),
    HistoryRule("more than 60 requests within ten minutes", "all", 60, 600.0),
)
#: One tick-by-tick request for an instrument and kind in this time. IB's campus page names the rule and no error: code
#: and text of the refusal are from memory.
TICK_BY_TICK_SECONDS = 15.0
TICK_BY_TICK_TOO_SOON = 10189, "Failed to request tick-by-tick data:Request for the same instrument too soon"
#: Bars of this many seconds and less are paced; IB lifted the limits for longer ones.
SMALL_BAR_SECONDS = 30
#: Open historical requests, live ones (`keepUpToDate`) included.
OPEN_HISTORY_REQUESTS = 50


class HistoryPacing:
    """One client's historical requests; `rules` empty turns it off."""

    def __init__(self, rules: Sequence[HistoryRule] = HISTORY_RULES) -> None:
        self._rules = rules
        self._times: dict[Hashable, deque[float]] = {}

    def admit(self, now: float, identity: Hashable, series: Hashable, weight: int = 1) -> str | None:
        """None when the request may run, else the text of the rule that it breaks. BID_ASK weighs two.

        A refused request is not counted.
        """
        counted: list[deque[float]] = []
        for rule in self._rules:
            scope = {"identical": identity, "series": series, "all": None}[rule.scope]
            times = self._times.setdefault((rule.scope, scope), deque())
            while times and now - times[0] >= rule.window:
                times.popleft()
            if len(times) + (1 if rule.scope == "identical" else weight) > rule.limit:
                return rule.text
            counted.append(times)
        for times in counted:
            times.extend([now] * weight)
        self._forget(now)
        return None

    def _forget(self, now: float) -> None:
        """Bounded memory: series that have been silent for longer than the longest window are dropped."""
        if len(self._times) < 4096:
            return
        longest = max(rule.window for rule in self._rules)
        self._times = {key: times for key, times in self._times.items() if times and now - times[-1] < longest}


class TickByTickPacing:
    """One client's tick-by-tick requests; `seconds` 0 turns it off."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: dict[Hashable, float] = {}

    def admit(self, now: float, key: Hashable) -> bool:
        """Whether the request may run. A refused one is not counted."""
        self._asked = {one: at for one, at in self._asked.items() if now - at < self._seconds}
        if key in self._asked:
            return False
        self._asked[key] = now
        return True
