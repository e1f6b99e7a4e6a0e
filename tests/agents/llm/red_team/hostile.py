"""Hostile stories, and models that do what a story says: the worst that a text and a model can do together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from moondev_ibkr.agents.llm.prompts import system_prompt, user_prompt
from moondev_ibkr.agents.llm.request import Request, Result, Rung, T, Usage
from moondev_ibkr.agents.llm.validation import validated
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.news import Article, Headline
from moondev_ibkr.brokers.errors import NoData


@dataclass(frozen=True)
class Hostile:
    """`obeyed` is the answer that the story wants of a model: what an obedient one gives."""

    id: str
    kind: str
    headline: str
    obeyed: str
    article: str | None = None

    def told(self, symbol: str, now: datetime) -> Headline:
        return Headline(Instrument(symbol), now - timedelta(minutes=5), "DJ-N", self.id, self.headline)


STORIES = tuple(Hostile(**row) for row in json.loads(Path(__file__).with_name("hostile.json").read_text("ascii")))


class Obedient:
    """A model in quarantine that answers what the story asks for, through the same checks as any other's answer."""

    def __init__(self, obeyed: str) -> None:
        self.obeyed = obeyed
        self.requests: list[Request[Any]] = []

    async def complete_json(self, request: Request[T]) -> Result[T]:
        self.requests.append(request)
        return Result(validated(self.obeyed, request), Rung.ASKED, "scripted", "obedient", None, Usage())


class Scorer:
    """A scoring model that scores `score`, and `obeyed` as soon as a question differs by one letter from `known` ones:
    had it seen anything of a story, it would have done what the story says."""

    def __init__(self, score: int, *, obeyed: int = 100, known: Iterable[str] | None = None) -> None:
        self._score, self._obeyed = score, obeyed
        self._known = None if known is None else frozenset(known)
        self.prompts: list[str] = []

    async def complete_json(self, request: Request[T]) -> Result[T]:
        prompt = f"{system_prompt(request)}\n{user_prompt(request)}"
        self.prompts.append(prompt)
        saw = self._known is not None and prompt not in self._known
        answer = {
            "reasoning": "the story says so" if saw else "weighed",
            "factors": [],
            "score": self._obeyed if saw else self._score,
            "confidence": 0.5,
            "direction": "unclear",
            "evidence_ids": [request.evidence[0].id],
        }
        return Result(validated(json.dumps(answer), request), Rung.ASKED, "scripted", "scorer", None, Usage())


class NewsBroker:
    """A broker whose news are the stories given; everything else, orders included, is the broker's own."""

    def __init__(self, broker: Any, stories: Iterable[Hostile]) -> None:
        self._broker, self._stories = broker, {story.id: story for story in stories}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def headlines(self, symbol: str, **_: Any) -> list[Headline]:
        now = await self._broker.market_time()
        return [story.told(symbol, now) for story in self._stories.values()]

    async def article(self, provider: str, article_id: str) -> Article:
        text = self._stories[article_id].article
        if text is None:
            raise NoData(f"article {article_id}", "the provider has none")
        return Article(provider, article_id, text)
