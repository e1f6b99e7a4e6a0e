"""What a scoring model answers: reasons first, then a threat score that they lead to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from .request import StructuredAnswer

Ids = Annotated[tuple[Annotated[str, Field(max_length=48)], ...], Field(min_length=1, max_length=20)]


class Factor(StructuredAnswer):
    """One reason, whether it raises or lowers the score, and the evidence that it rests on."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    effect: Literal["raises", "lowers"]
    evidence_ids: Ids


class Assessment(StructuredAnswer):
    """`score` is 0 (nothing unusual) to 100 (act now); `confidence` 0 to 1."""

    reasoning: Annotated[str, Field(min_length=1, max_length=1200)]
    factors: Annotated[tuple[Factor, ...], Field(max_length=8)]
    score: Annotated[int, Field(ge=0, le=100)]
    confidence: Annotated[float, Field(ge=0, le=1)]
    direction: Literal["up", "down", "unclear"]
    evidence_ids: Ids

    def cited(self) -> Iterable[str]:
        yield from self.evidence_ids
        for factor in self.factors:
            yield from factor.evidence_ids
