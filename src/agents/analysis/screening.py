"""Screening: rules and a small model for every symbol, a large model for the few that stand out.

A model's answer is a number and words. It sends no order and changes no limit: a row can become an alert, or a caution
that makes an order smaller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...brokers.errors import BrokerError
from ..llm.assessment import Assessment
from ..llm.request import Evidence, JsonBackend, Priority, Request
from ..llm.rules_backend import RulesBackend
from .alerts import Alert, AlertDesk, Told
from .collecting import EvidenceCollector, spelling
from .evidence import EvidenceSet
from .measures import trading_date
from .report import AnalysisRow, Stage, StageAnswer
from .threat_score import ALERT_AT, Threat, rules_assessment, threat, with_news

#: Changes when a rule, a weight or a measure does.
RULES_VERSION = "threat-2"
#: What the scoring model is told; constant, so that an engine's prompt cache serves it.
RUBRIC = """You judge how much of one stock's market evidence is out of the ordinary and could surprise a holder.
0 means an ordinary day. 30 means one thing stands out. 70 means several independent kinds of evidence agree that
something is happening now. 90 means act at once. Evidence of different kinds that agrees weighs more than one extreme
number. Evidence that is missing is not calm: lower your confidence instead.
Judge price, volume, volatility and options together. `direction` is where the evidence points, unclear when mixed."""


def analysis_rules() -> RulesBackend:
    """The floor under every model."""
    return RulesBackend({Assessment: rules_assessment}, name=RULES_VERSION)


@dataclass(frozen=True, slots=True)
class ScreeningSettings:
    """`top` symbols go to the large model, and all whose rules score is at least `always_from`. `in_flight` questions
    are asked at once, `deadline` seconds each. Alerts go out from a threat of `alert_at`."""

    top: int = 10
    always_from: int = 60
    in_flight: int = 8
    deadline: float = 120.0
    alert_at: int = ALERT_AT


@dataclass(frozen=True, slots=True)
class Models:
    """Who answers; None leaves that stage out."""

    small: JsonBackend | None = None
    large: JsonBackend | None = None


#: (stage, done, of how many)
Progress = Callable[[str, int, int], None]
Keep = Callable[[AnalysisRow], None]


def _nothing(*_: object) -> None:
    """Neither progress nor keeping is wanted."""


class Screening:
    """Runs over any collector. `keep` is told of every row each time it comes further; `rows` holds them all."""

    def __init__(
        self,
        collector: EvidenceCollector,
        models: Models | None = None,
        settings: ScreeningSettings | None = None,
        *,
        alerts: AlertDesk | None = None,
        keep: Keep = _nothing,
        progress: Progress = _nothing,
    ) -> None:
        self._collector, self._alerts, self._keep, self._progress = collector, alerts, keep, progress
        self.models, self.settings = models or Models(), settings or ScreeningSettings()
        self._rules = analysis_rules()
        self.rows: dict[str, AnalysisRow] = {}
        self.told: list[Told] = []

    async def run(self, symbols: Iterable[str], done: Mapping[str, AnalysisRow] | None = None) -> list[AnalysisRow]:
        """Analyse the list, in its order; `done` are rows of an interrupted run, whose evidence and answers stand.

        Raises LinkError when the broker is lost. Cancelling keeps what is done in `rows`.
        """
        names = list(dict.fromkeys(spelling(symbol) for symbol in symbols))
        self.rows = {name: row for name, row in (done or {}).items() if name in names and _is_scored(row)}
        new = [name for name in names if name not in self.rows]
        self._progress("evidence", 0, len(names))
        evidence = await self._collector.collect(new)
        self._progress("evidence", len(names), len(names))
        for found in evidence.values():
            self._came(self.scored(found))
        # A threat is never below what rules make of it: these are findings whatever a model says.
        await self._alert_all(
            name for name, row in self.rows.items() if row.rules and self._is_finding(row.rules.score)
        )
        await self._stage("small", self.models.small, names)
        chosen = self.chosen() if self.models.large is not None else []
        await self._alert_all(name for name in names if name not in chosen)
        await self._stage("large", self.models.large, chosen)
        return [self.rows[name] for name in names]

    def scored(self, found: EvidenceSet) -> AnalysisRow:
        """The row as rules alone have it."""
        try:
            judged = threat(found.values)
            result = self._rules.answer(_request(found, self.settings, Priority.NORMAL, with_news=True))
        except BrokerError as error:
            return AnalysisRow(symbol=found.symbol, time=found.time, evidence=found.rows, error=_lack(found, error))
        return _judged(found, judged, rules=StageAnswer.of("rules", result))

    def chosen(self) -> list[str]:
        """Symbols for the large model: the `top` by the small one's score, and every one that rules rate high."""
        scored = [row for row in self.rows.values() if row.threat is not None]
        ranked = sorted(scored, key=lambda row: (-_stage_score(row), row.symbol))
        top = {row.symbol for row in ranked[: self.settings.top]}
        high = {row.symbol for row in scored if row.rules is not None and row.rules.score >= self.settings.always_from}
        return [row.symbol for row in ranked if row.symbol in top | high]

    @property
    def stages(self) -> int:
        """How many models there are to ask."""
        return sum(backend is not None for backend in (self.models.small, self.models.large))

    async def reassess(self, found: EvidenceSet, *, ask: bool = True) -> AnalysisRow:
        """One symbol again: by rules, with `ask` by the small model, and by the large one where those rate it high.
        An alert goes out where it is a finding."""
        name = found.symbol
        self._came(self.scored(found))
        if ask and self.models.small is not None and self.rows[name].threat is not None:
            await self._ask("small", self.models.small, name)
        if ask and self.models.large is not None and _stage_score(self.rows[name]) >= self.settings.always_from:
            await self._ask("large", self.models.large, name)
        await self._alert_all([name])
        return self.rows[name]

    async def _stage(self, stage: Stage, backend: JsonBackend | None, names: Sequence[str]) -> None:
        """Ask for every one of `names` that has no answer of this stage, a bounded number at once."""
        if backend is None:
            return
        waiting = [name for name in names if _wants(self.rows[name], stage)]
        total, finished = len(waiting), 0
        self._progress(stage, 0, total)
        queue = iter(waiting)

        async def work() -> None:
            nonlocal finished
            for name in queue:
                await self._ask(stage, backend, name)
                if stage == "large":
                    await self._alert_all([name])
                finished += 1
                self._progress(stage, finished, total)

        await _all_or_none([work() for _ in range(min(self.settings.in_flight, total))])

    async def _ask(self, stage: Stage, backend: JsonBackend, name: str) -> None:
        row = self.rows[name]
        hot = row.rules is not None and row.rules.score >= self.settings.always_from
        request = _request(row.evidence_set, self.settings, Priority.HOT if hot else Priority.NORMAL)
        try:
            answer = StageAnswer.of(stage, await backend.complete_json(request))
        except BrokerError as error:
            # Rules answered with the news and a model without them: only they can be short of evidence here.
            self._came(row.model_copy(update={"error": f"{stage} model: {error}"}))
            return
        stages = {"rules": row.rules, "small": row.small, "large": row.large} | {stage: answer}
        self._came(_judged(row.evidence_set, threat(row.evidence_set.values), **stages))

    def _came(self, row: AnalysisRow) -> None:
        self.rows[row.symbol] = row
        self._keep(row)

    def _is_finding(self, score: int) -> bool:
        return score >= self.settings.alert_at

    async def _alert_all(self, names: Iterable[str]) -> None:
        if self._alerts is None:
            return
        for name in list(names):
            row = self.rows[name]
            if row.threat is not None and self._is_finding(row.threat):
                self.told.append(await self._alerts.tell(alert_of(row)))


def alert_of(row: AnalysisRow) -> Alert:
    """The alert of a scored row; in our own words alone."""
    return Alert(
        row.symbol,
        trading_date(row.time),
        row.time,
        row.threat or 0,
        row.direction,
        row.leading or "model",
        row.reasons,
        row.answered_by,
        row.degraded,
    )


def _judged(
    found: EvidenceSet,
    judged: Threat,
    *,
    rules: StageAnswer | None = None,
    small: StageAnswer | None = None,
    large: StageAnswer | None = None,
) -> AnalysisRow:
    """The row: the higher of the rules and the last model counts, so that a model's miss is no veto."""
    reasons = tuple(reason.text for reason in judged.reasons)
    model, score, direction = large or small, judged.score, judged.direction
    if model is not None and model.rung != "rules":
        reasons = (*reasons, f"{model.stage} model scores {model.score} without the news")
        joined = with_news(model.score, found.values)
        if joined > score:
            score, direction = joined, model.direction
    return AnalysisRow(
        symbol=found.symbol,
        time=found.time,
        evidence=found.rows,
        rules=rules,
        small=small,
        large=large,
        threat=score,
        direction=direction,
        coverage=judged.coverage,
        leading=judged.leading.value if judged.leading is not None else None,
        reasons=reasons,
    )


def _request(
    found: EvidenceSet, settings: ScreeningSettings, priority: Priority, *, with_news: bool = False
) -> Request[Assessment]:
    """The question about one symbol. News never reach a scoring model: `with_news` joins them to its answer."""
    rows = [row for row in found.rows if row.value is not None and not row.private]
    rows = [row for row in rows if with_news or not row.id.startswith("news.")]
    return Request(
        system=RUBRIC,
        subject=found.symbol,
        evidence=tuple(Evidence(row.id, row.text, row.value) for row in rows),
        schema=Assessment,
        priority=priority,
        deadline=settings.deadline,
    )


def _stage_score(row: AnalysisRow) -> int:
    return max(row.small.score if row.small is not None else 0, row.threat or 0)


def _wants(row: AnalysisRow, stage: Stage) -> bool:
    """Whether this stage is to be asked: scored by rules, and without an answer of a model at this stage."""
    answer = row.small if stage == "small" else row.large
    return row.threat is not None and (answer is None or answer.degraded)


def _is_scored(row: AnalysisRow) -> bool:
    return row.threat is not None


def _lack(found: EvidenceSet, error: BrokerError) -> str:
    """Why there is no score, with the first thing that is missing."""
    first = next(iter(found.missing.values()), "")
    return f"{error.what}: {error.why}" + (f"; {first}" if first else "")


async def _all_or_none(works: Sequence[Coroutine[None, None, None]]) -> None:
    """Wait for all; when one fails or the caller is cancelled, the others are cancelled and waited for."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
