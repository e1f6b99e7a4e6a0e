"""Watching a list: looked at again and again, analysed again where its evidence changed, within a budget.

The list may come from a market scan, which is asked again on an interval of its own: what falls out of its ranking is
looked at no more, what enters is. A name that comes back is compared with its last analysis, and rests as any other.

A symbol is compared with what it was when it was last analysed, not when it was last looked at: what wavers by less
than the threshold never sets off anything, however often it wavers.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ...brokers.errors import BrokerError
from .collecting import EvidenceCollector, spelling
from .evidence import EvidenceSet
from .report import AnalysisRow
from .screening import Screening

log = logging.getLogger(__name__)

HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """`every` is seconds between two looks; `lines` symbols are looked at in one, the rest in turn. `change` is points
    of the rules score since the last analysis that call for another, which waits `rest` seconds after the last one
    unless the symbol becomes a finding. `questions` to models are for an hour, `cost` is USD for a day. A scan is
    asked for every `scan_every` seconds at most, and at the beginning of a look."""

    every: float = 60.0
    scan_every: float = 60.0
    lines: int = 50
    change: int = 10
    rest: float = 300.0
    questions: int = 120
    cost: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """One look. `changed` are rows that were analysed again, `held_back` symbols that changed and were not given to a
    model, with the reason (their row is then by rules). `error` tells why nothing could be seen; `time` is market time,
    None then. `questions` of the last hour and `spent` of the last day (USD, None when it cannot be told). `entered`
    and `left` are what a scan changed of the list; `scan_error` why it could not be asked: the list then stays."""

    number: int
    time: datetime | None
    looked_at: tuple[str, ...] = ()
    changed: tuple[AnalysisRow, ...] = ()
    held_back: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    questions: int = 0
    spent: float | None = 0.0
    entered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    scan_error: str | None = None


#: The symbols that a market scan ranks now, best first.
Scan = Callable[[], Awaitable[Sequence[str]]]


@dataclass(eq=False)
class _Known:
    """A symbol as it was when it was last analysed. `at` is the clock's time of the last question to a model."""

    score: int | None = None
    at: float | None = None
    looked: int = -1


class Watcher:
    """Watches over a screening's models and alerts. `clock` is monotonic seconds, `sleep` waits that long."""

    def __init__(
        self,
        collector: EvidenceCollector,
        screening: Screening,
        settings: WatchSettings | None = None,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        told: Callable[[Look], None],
    ) -> None:
        self._collector, self._screening = collector, screening
        self.settings = settings or WatchSettings()
        self._clock, self._sleep, self._told = clock, sleep, told
        self._known: dict[str, _Known] = {}
        self._asked: deque[float] = deque()
        self._costs: deque[tuple[float, float | None]] = deque()
        self._number = 0
        #: What the last scan ranked, and the clock's time of it; None before the first.
        self._ranked: list[str] = []
        self._scanned: float | None = None

    async def run(self, symbols: Iterable[str], scan: Scan | None = None) -> None:
        """Look until cancelled, at `symbols` and at what `scan` ranks. A look or a scan that fails is told, and the
        next one tries again."""
        fixed = list(dict.fromkeys(spelling(symbol) for symbol in symbols))
        while True:
            entered, left, why = await self._rescan(scan)
            look = await self.look(list(dict.fromkeys([*fixed, *self._ranked])))
            self._told(replace(look, entered=entered, left=left, scan_error=why))
            await self._sleep(self.settings.every)

    async def _rescan(self, scan: Scan | None) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
        """(who entered, who left, why the scan failed), after a scan that was due."""
        due = self._scanned is None or self._clock() - self._scanned >= self.settings.scan_every
        if scan is None or not due:
            return (), (), None
        self._scanned = self._clock()
        try:
            ranked = list(dict.fromkeys(spelling(symbol) for symbol in await scan()))
        except BrokerError as error:
            log.warning("the scan failed, and its last list stays: %s", error)
            return (), (), str(error)
        before, self._ranked = self._ranked, ranked
        entered = tuple(name for name in ranked if name not in before)
        return entered, tuple(name for name in before if name not in ranked), None

    async def look(self, names: Sequence[str]) -> Look:
        """One look at as many of `names` as the lines allow."""
        self._number += 1
        turn = self._turn(names)
        try:
            evidence = await self._collector.collect(turn)
        except BrokerError as error:
            log.warning("look %s failed: %s", self._number, error)
            return Look(self._number, None, tuple(turn), error=str(error), questions=self._hour(), spent=self._day())
        changed: list[AnalysisRow] = []
        held: dict[str, str] = {}
        for name, found in evidence.items():
            self._known[name].looked = self._number
            row, why = await self._weigh(name, found)
            changed += [row] if row is not None else []
            held |= {name: why} if why is not None else {}
        time = next((found.time for found in evidence.values()), None)
        return Look(self._number, time, tuple(turn), tuple(changed), held, None, self._hour(), self._day())

    def _turn(self, names: Sequence[str]) -> list[str]:
        """All of them, or the hottest half of the lines and, in turn, those that were not looked at for longest."""
        for name in names:
            self._known.setdefault(name, _Known())
        if len(names) <= self.settings.lines:
            return list(names)
        hot = sorted(names, key=lambda name: -(self._known[name].score or 0))[: self.settings.lines // 2]
        cold = sorted((name for name in names if name not in hot), key=lambda name: self._known[name].looked)
        return [*hot, *cold[: self.settings.lines - len(hot)]]

    async def _weigh(self, name: str, found: EvidenceSet) -> tuple[AnalysisRow | None, str | None]:
        """(the row when it was analysed again, why no model was asked although it changed)."""
        row, known = self._screening.scored(found), self._known[name]
        score = row.rules.score if row.rules is not None else None
        first = name not in self._screening.rows
        if not first and not self._is_change(known.score, score):
            return None, None
        why = self._why_not(known, score) if score is not None else None
        if why == _RESTING:
            # It stays a change against the last analysis, and is asked about when its rest is over.
            return None, why
        row = await self._screening.reassess(found, ask=why is None)
        known.score = score
        self._count(row, known, asked=why is None)
        return row, why

    def _is_change(self, before: int | None, now: int | None) -> bool:
        if before is None or now is None:
            return before is not now
        return abs(now - before) >= self.settings.change or self._becomes_finding(before, now)

    def _becomes_finding(self, before: int | None, now: int | None) -> bool:
        alert_at = self._screening.settings.alert_at
        return now is not None and now >= alert_at and (before is None or before < alert_at)

    def _why_not(self, known: _Known, score: int | None) -> str | None:
        """Why no model may be asked now; None when one may, or when there is none."""
        stages = self._screening.stages
        if not stages:
            return None
        resting = known.at is not None and self._clock() - known.at < self.settings.rest
        if resting and not self._becomes_finding(known.score, score):
            return _RESTING
        if self._hour() + stages > self.settings.questions:
            return f"{self.settings.questions} questions an hour are used up"
        spent = self._day()
        if spent is None:
            return "what the last answers cost is not known"
        if spent > 0 and spent >= self.settings.cost:
            return f"{self.settings.cost:g} USD a day are used up"
        return None

    def _count(self, row: AnalysisRow, known: _Known, *, asked: bool) -> None:
        answers = [answer for answer in (row.small, row.large) if answer is not None] if asked else []
        if not answers:
            return
        known.at = self._clock()
        for answer in answers:
            tries = len(answer.failures) + (answer.rung != "rules")
            self._asked.extend([known.at] * max(1, tries))
            self._costs.append((known.at, answer.cost))

    def _hour(self) -> int:
        """Questions of the last hour."""
        while self._asked and self._asked[0] <= self._clock() - HOUR:
            self._asked.popleft()
        return len(self._asked)

    def _day(self) -> float | None:
        """USD of the last day; None when one answer's cost cannot be told."""
        while self._costs and self._costs[0][0] <= self._clock() - DAY:
            self._costs.popleft()
        costs = [cost for _, cost in self._costs]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


_RESTING = "it was analysed a short while ago"
