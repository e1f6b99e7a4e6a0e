"""What is asked of a language model, and what comes back: a validated answer and who gave it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from ...brokers.errors import InvalidRequest
from .troubles import Trouble

#: Longest text of one piece of evidence, in characters.
LONGEST_EVIDENCE = 500
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,48}\Z")


class StructuredAnswer(BaseModel):
    """Base of every schema: frozen, nothing coerced, nothing unknown. Bounds belong into the fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def cited(self) -> Iterable[str]:
        """Ids of the evidence that the answer rests on; each must have been in the question."""
        return ()


T = TypeVar("T", bound=StructuredAnswer)


class Priority(IntEnum):
    """Lower goes first; within one the earlier deadline."""

    HOT = 0
    NORMAL = 1
    BACKGROUND = 2


class Rung(StrEnum):
    """Which step of the ladder an answer or a failure is of."""

    ASKED = "asked"
    RE_ASKED = "re_asked"  #: once, with what was wrong
    OTHER_HOST = "other_host"  #: the same model elsewhere
    OTHER_MODEL = "other_model"
    RULES = "rules"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact. `text` is the line that the model reads, every number in it computed by us; `value` is what rules
    read, None when it is not known. Raises InvalidRequest for an id or a text that could break out of its line."""

    id: str
    text: str
    value: float | str | None = None

    def __post_init__(self) -> None:
        if not _ID.match(self.id):
            raise InvalidRequest(f"evidence {self.id!r:.60}", "an id is 1 to 48 of A-Z a-z 0-9 _ . : -", "rename it")
        if not self.text.strip() or len(self.text) > LONGEST_EVIDENCE or not _one_line(self.text):
            raise InvalidRequest(
                f"evidence {self.id}",
                f"its text is blank, longer than {LONGEST_EVIDENCE} characters, or holds control characters",
                "clean it first",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[T]):
    """One question. `system` stays the same for all subjects, so that the engine's prompt cache serves it; `evidence`
    and `subject` come last. `deadline` is seconds for all rungs together, waiting in the queue included; `max_tokens`
    bounds the answer. `nonces` are words drawn at random for this question alone, which do not decide its answer: an
    earlier answer to the same question with others serves. Raises InvalidRequest."""

    system: str
    subject: str
    evidence: tuple[Evidence, ...]
    schema: type[T]
    priority: Priority = Priority.NORMAL
    deadline: float = 60.0
    max_tokens: int = 700
    nonces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ids = [row.id for row in self.evidence]
        wrong = None
        if not ids or len(set(ids)) != len(ids):
            wrong = "it needs evidence, each under an id of its own"
        elif not self.subject.strip() or len(self.subject) > 100 or not _one_line(self.subject):
            wrong = "the subject is one line of at most 100 characters"
        elif not (self.deadline > 0 and self.max_tokens > 0):
            wrong = "deadline and max_tokens are above 0"
        if wrong is not None:
            raise InvalidRequest(f"question about {self.subject!r:.60}", wrong, "correct it")

    @property
    def evidence_ids(self) -> frozenset[str]:
        return frozenset(row.id for row in self.evidence)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, None where the server does not tell; `cost` is in USD, 0.0 for a model of one's own, None when it cannot
    be told. `seconds` is how
    long the answer took from asking to whole, `queued` how long the question had waited here before."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = 0.0
    seconds: float = 0.0
    queued: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A rung that did not answer. `host` is None when none was reached."""

    rung: Rung
    backend: str
    model: str
    host: str | None
    trouble: Trouble
    why: str


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """A validated answer. `degraded` is True when rules stand in for models that were asked and failed, and `failures`
    says how each did. `host` is None for rules; `cached` is an earlier answer to exactly this question."""

    answer: T
    rung: Rung
    backend: str
    model: str
    host: str | None
    usage: Usage
    failures: tuple[Failure, ...] = ()
    degraded: bool = False
    cached: bool = False


class JsonBackend(Protocol):
    """Whatever answers a request: one model, a ladder of several, or rules."""

    async def complete_json(self, request: Request[T]) -> Result[T]:
        """A validated answer, never a made-up one. Raises an error of the tree when nothing can answer."""


def _one_line(text: str) -> bool:
    """Whether nothing in it ends a line, is invisible, or changes the direction of what follows."""
    if text.isascii():
        return text.isprintable()
    return not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for letter in text)
