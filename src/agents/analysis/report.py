"""What an analysis leaves behind: one row a symbol, and the report that is saved as JSON and as Markdown."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ...brokers.errors import ConfigurationError
from ..llm.assessment import Assessment
from ..llm.prompts import schema_version
from ..llm.request import Result
from .evidence import EvidenceRow, EvidenceSet, row_json

Stage = Literal["rules", "small", "large"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageAnswer(_Frozen):
    """What one stage made of the evidence, and who answered. `degraded`: rules stood in for a model that failed.
    `score` 0 to 100, `confidence` 0 to 1, `cost` USD (None when it cannot be told), `seconds` from
    asking to answer. `reasoning` may be a model's
    words: to be read by people, never acted on."""

    stage: Stage
    score: int
    confidence: float
    direction: Literal["up", "down", "unclear"]
    reasoning: str
    rung: str
    backend: str
    model: str
    host: str | None = None
    degraded: bool = False
    cached: bool = False
    failures: tuple[str, ...] = ()
    cost: float | None = 0.0
    seconds: float = 0.0

    @classmethod
    def of(cls, stage: Stage, result: Result[Assessment]) -> StageAnswer:
        answer = result.answer
        return cls(
            stage=stage,
            score=answer.score,
            confidence=answer.confidence,
            direction=answer.direction,
            reasoning=one_line(answer.reasoning),
            rung=result.rung.value,
            backend=result.backend,
            model=result.model,
            host=result.host,
            degraded=result.degraded,
            cached=result.cached,
            failures=tuple(
                one_line(f"{row.rung.value} {row.backend}/{row.model}: {row.why}") for row in result.failures
            ),
            cost=result.usage.cost,
            seconds=result.usage.seconds,
        )


class AnalysisRow(_Frozen):
    """One symbol. `threat` is 0 to 100, None when too little is known, and then `error` says what. `leading` is the
    group of evidence that leads; `reasons` are our own words, the heaviest first."""

    symbol: str
    time: datetime
    evidence: tuple[EvidenceRow, ...] = ()
    rules: StageAnswer | None = None
    small: StageAnswer | None = None
    large: StageAnswer | None = None
    threat: int | None = None
    direction: Literal["up", "down", "unclear"] = "unclear"
    coverage: float = 0.0
    leading: str | None = None
    reasons: tuple[str, ...] = ()
    error: str | None = None

    @property
    def last(self) -> StageAnswer | None:
        """The answer of the last stage that this symbol came to."""
        return self.large or self.small or self.rules

    @property
    def answered_by(self) -> str:
        """Rung and model: `asked ollama/llama3.1:8b`, `rules`; empty when nothing answered."""
        if self.last is None:
            return ""
        if self.last.rung == "rules":
            return "rules"
        return f"{self.last.rung} {self.last.backend}/{self.last.model}"

    @property
    def degraded(self) -> bool:
        return self.last is not None and self.last.degraded

    @property
    def cost(self) -> float | None:
        """USD of all stages; None when one of them cannot be told."""
        return total_cost(answer.cost for answer in (self.small, self.large) if answer is not None)

    @property
    def evidence_set(self) -> EvidenceSet:
        return EvidenceSet(self.symbol, self.time, self.evidence)

    def to_json(self) -> dict[str, Any]:
        stages = {name: getattr(self, name) for name in ("rules", "small", "large")}
        return {
            "symbol": self.symbol,
            "time": self.time.isoformat(),
            "threat": self.threat,
            "direction": self.direction,
            "coverage": self.coverage,
            "leading": self.leading,
            "reasons": list(self.reasons),
            "answered_by": self.answered_by,
            "degraded": self.degraded,
            "error": self.error,
            "cost": self.cost,
            "stages": {name: answer.model_dump(mode="json") for name, answer in stages.items() if answer is not None},
            "evidence": [row_json(row) for row in self.evidence],
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What is analysed by whom: equal plans of one day are one report. `small` and `large` name models, None for none.
    `rules` is the version of the rules."""

    symbols: tuple[str, ...]
    day: date
    small: str | None
    large: str | None
    top: int
    rules: str

    @property
    def id(self) -> str:
        parts = [self.symbols, self.small, self.large, self.top, self.rules, schema_version(Assessment)]
        return f"{self.day:%Y%m%d}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of a plan, by threat. `interrupted` when it was stopped: rows then stand as far as they came. `began`
    and `ended` are real time, aware UTC; `resumed` counts rows that an earlier, interrupted run had done."""

    plan: Plan
    broker: str
    began: datetime
    ended: datetime
    rows: tuple[AnalysisRow, ...]
    interrupted: bool = False
    resumed: int = 0
    alerts: tuple[dict[str, Any], ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Symbols that the run did not come to."""
        done = {row.symbol for row in self.rows}
        return tuple(symbol for symbol in self.plan.symbols if symbol not in done)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.plan.id,
            "broker": self.broker,
            "day": self.plan.day.isoformat(),
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "interrupted": self.interrupted,
            "resumed": self.resumed,
            "models": {"small": self.plan.small, "large": self.plan.large, "top": self.plan.top},
            "rules": self.plan.rules,
            "cost": total_cost(row.cost for row in self.rows),
            "rows": [row.to_json() for row in self.rows],
            "not_done": list(self.missing),
            "alerts": list(self.alerts),
        }

    def to_markdown(self) -> str:
        """For people: a table, then each row's reasons and evidence."""
        who = ", ".join(f"{name} model {model}" for name, model in self._models()) or "rules alone"
        lines = [
            f"# Analysis {self.plan.id}",
            "",
            f"{len(self.rows)} of {len(self.plan.symbols)} symbols on {self.plan.day}, broker {self.broker}, by {who}."
            + (" Interrupted." if self.interrupted else ""),
            "",
            "| symbol | threat | direction | coverage | answered by | reasons |",
            "|---|---:|---|---:|---|---|",
        ]
        for row in self.rows:
            told = "; ".join(row.reasons[:3]) or row.error or "nothing out of the ordinary"
            who = row.answered_by + (" (degraded)" if row.degraded else "")
            cells = (row.symbol, shown_threat(row), row.direction, f"{row.coverage:.0%}", who, told)
            lines.append("| " + " | ".join(_cell(text) for text in cells) + " |")
        for row in self.rows:
            lines += ["", f"## {_cell(row.symbol)}", "", *_stage_lines(row), "", *_evidence_lines(row.evidence)]
        return "\n".join(lines) + "\n"

    def _models(self) -> list[tuple[str, str]]:
        named = (("small", self.plan.small), ("large", self.plan.large))
        return [(name, model) for name, model in named if model is not None]


def total_cost(costs: Iterable[float | None]) -> float | None:
    """The sum; None when a part is not known."""
    known = list(costs)
    return None if None in known else sum(cost for cost in known if cost is not None)


def by_threat(rows: Iterable[AnalysisRow]) -> tuple[AnalysisRow, ...]:
    """The highest first; those without a score last, by symbol."""
    return tuple(sorted(rows, key=lambda row: (row.threat is None, -(row.threat or 0), row.symbol)))


def save_report(folder: Path, report: Report) -> tuple[Path, Path]:
    """The JSON and the Markdown file, each written whole or not at all. Raises ConfigurationError."""
    paths = folder / f"{report.plan.id}.json", folder / f"{report.plan.id}.md"
    content = json.dumps(report.to_json(), indent=2, sort_keys=True) + "\n", report.to_markdown()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, content, strict=True):
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"report in {folder}", error.strerror or str(error), "set IB_STATE_DIR to a writable folder"
        ) from None
    return paths


def shown_threat(row: AnalysisRow) -> str:
    return "–" if row.threat is None else str(row.threat)


def one_line(text: str) -> str:
    """On one line, without control and format characters: a model's words may hold anything."""
    plain = "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    return " ".join(plain.split())


def _stage_lines(row: AnalysisRow) -> list[str]:
    told = [answer for answer in (row.rules, row.small, row.large) if answer is not None]
    lines = [
        f"- {answer.stage}: {answer.score}, {answer.direction}, confidence {answer.confidence:.2f}, by {answer.rung}"
        f" {_cell(answer.backend)}/{_cell(answer.model)}{' (degraded)' if answer.degraded else ''}:"
        f" {_cell(answer.reasoning)}"
        for answer in told
    ]
    lines += [f"  - failed before: {_cell(failure)}" for answer in told for failure in answer.failures]
    return lines or [f"- not scored: {_cell(row.error or 'nothing came')}"]


def _evidence_lines(rows: Sequence[EvidenceRow]) -> list[str]:
    if not rows:
        return []
    lines = ["| evidence | value | unit | source | time |", "|---|---|---|---|---|"]
    for row in rows:
        value = row.missing if row.value is None else row.value if isinstance(row.value, str) else f"{row.value:.4g}"
        when = "" if row.time is None else f"{row.time:%Y-%m-%d %H:%M}"
        lines.append(f"| {row.id} | {_cell(str(value))} | {_cell(row.unit)} | {_cell(row.source)} | {when} |")
    return lines


def _cell(text: str) -> str:
    """Text that cannot break out of a table or a line of Markdown."""
    escaped = one_line(text).replace("\\", "\\\\")
    for letter in "|`*_<>[]#":
        escaped = escaped.replace(letter, f"\\{letter}")
    return escaped
