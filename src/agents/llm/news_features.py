"""What a story becomes before anything weighs it: words of two enums and two small numbers, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ...brokers.errors import InvalidRequest
from .request import StructuredAnswer
from .troubles import Trouble
from .untrusted import folded


class Topic(StrEnum):
    """What a story is about; OTHER when it is about none of these."""

    EARNINGS = "earnings"
    GUIDANCE = "guidance"
    DEAL = "deal"
    LEGAL = "legal"
    SECURITY = "security"
    DISTRESS = "distress"
    FINANCING = "financing"
    MANAGEMENT = "management"
    PRODUCT = "product"
    RATING = "rating"
    TRADING = "trading"
    OTHER = "other"


class Way(StrEnum):
    """Where a story points for the company's share price."""

    UP = "up"
    DOWN = "down"
    UNCLEAR = "unclear"


class NewsFeatures(StructuredAnswer):
    """All that leaves quarantine. `severity` is 0 (nothing new) to 3 (may change what the company is worth),
    `relevance` 0 (not about it) to 3 (mainly about it)."""

    topic: Topic
    direction: Way
    severity: Annotated[int, Field(ge=0, le=3)]
    relevance: Annotated[int, Field(ge=0, le=3)]
    is_about_company: bool


#: By severity, by relevance and by direction: the factors of harm.
SEVERITY_SHARE = (0.0, 0.2, 0.5, 1.0)
RELEVANCE_SHARE = (0.0, 0.3, 0.7, 1.0)
WAY_SHARE: Mapping[Way, float] = {Way.DOWN: 1.0, Way.UNCLEAR: 0.4, Way.UP: 0.0}
#: A story that is not about the company is at most this relevant.
PASSING = 1


def harm(features: NewsFeatures) -> float:
    """0 (no reason for caution) to 1. Good news are no reason, and take none away."""
    relevance = features.relevance if features.is_about_company else min(features.relevance, PASSING)
    return SEVERITY_SHARE[features.severity] * RELEVANCE_SHARE[relevance] * WAY_SHARE[features.direction]


@dataclass(frozen=True, slots=True)
class Company:
    """Whom the news were asked for. `name` is from the broker's contract details, None when it is not known; it is
    treated like any text from outside. Raises InvalidRequest for a symbol that cannot be one."""

    symbol: str
    name: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w./ -]{0,29}", self.symbol, re.ASCII):
            raise InvalidRequest(f"news of {self.symbol!r:.60}", "it is no symbol", "give one such as AAPL")

    @property
    def first_word(self) -> str | None:
        """The word of the name that a headline uses, folded; None when the name has none of its own."""
        first, *_ = (*folded(self.name or "").split(), "")
        return first if len(first) > 2 and first not in PLAIN_WORDS else None


#: Words that a company's name begins with and that name no company.
PLAIN_WORDS = frozenset(
    {"the", "inc", "first", "american", "united", "general", "national", "new", "global", "international", "advanced"}
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One story's features. `lexicon` is always there; `model` is None when none was asked or none answered, and
    `trouble` then says why (None when none was asked). `speaks_to_machines` tells text that looks written for a model
    rather than for people; it changes no feature."""

    lexicon: NewsFeatures
    model: NewsFeatures | None = None
    trouble: Trouble | None = None
    speaks_to_machines: bool = False

    @property
    def features(self) -> NewsFeatures:
        """Of the two the one with more reason for caution; the model's when they are equal."""
        if self.model is None or harm(self.lexicon) > harm(self.model):
            return self.lexicon
        return self.model

    @property
    def harm(self) -> float:
        """0 to 1; a model can raise what the lexicon found, not lower it."""
        return harm(self.features)
