"""News as evidence: a symbol's headlines, each story once, read in quarantine, joined into rows of numbers and words.

No text of a story leaves here in a row. The rows reach the threat score by their weight alone (`threat_score.FACTORS`),
after every model has answered, and only upwards: a threat makes sizes smaller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from ...brokers.domain.news import Article, ArticleKind, Headline
from ...brokers.errors import BrokerError, InvalidRequest
from ..llm.news_features import Company, Reading, Way
from ..llm.news_lexicon import lexicon_reading
from ..llm.quarantine import Quarantine
from ..llm.untrusted import LONGEST_ARTICLE, Cleaned, Untrusted, cleaned, folded
from .evidence import EvidenceRow, Kind

#: Every evidence id of news.
NEWS_KINDS: Mapping[str, Kind] = {
    "news.threat": Kind("reason for caution in the news", "of 1", "news features"),
    "news.severity": Kind("severity of the worst story", "of 3", "news features"),
    "news.topic": Kind("topic of the worst story", "word", "news features"),
    "news.direction": Kind("where the worst story points", "word", "news features"),
    "news.stories": Kind("different stories", "stories", "headlines"),
    "news.repeats": Kind("repeats of the same stories", "headlines", "headlines"),
    "news.by_model": Kind("stories that a model read", "stories", "news features"),
    "news.articles": Kind("stories whose article was read", "stories", "news features"),
    "news.for_machines": Kind("stories written for a model rather than for people", "stories", "headlines"),
}
#: Share of common words from which two headlines are one story, and the fewest words that can tell.
SAME_STORY, FEWEST_WORDS = 0.7, 4


@dataclass(frozen=True, slots=True)
class NewsSettings:
    """`window` is how far back stories count, `read` the most stories of a symbol that a model reads, `articles` how
    many of these are read with their article, `in_flight` the most questions at once. Raises InvalidRequest."""

    window: timedelta = timedelta(days=3)
    read: int = 5
    articles: int = 0
    in_flight: int = 8

    def __post_init__(self) -> None:
        if not (self.window > timedelta(0) and self.read >= self.articles >= 0 and self.in_flight > 0):
            raise InvalidRequest(
                "news settings", f"{self} cannot be followed", "window and in_flight above 0, read not below articles"
            )


class ArticleReader(Protocol):
    """The verb of `BaseBroker` that fetches an article."""

    async def article(self, provider: str, article_id: str) -> Article: ...


@dataclass(frozen=True, slots=True)
class Story:
    """The headline that stands for a story, when the story first came (aware UTC), and in how many more it stood."""

    time: datetime
    provider: str
    article_id: str
    headline: Cleaned
    reading: Reading
    repeats: int = 0
    has_article: bool = False


@dataclass(frozen=True, slots=True)
class SymbolNews:
    """What was found of one symbol between `as_of - window` and `as_of`, the worst story first."""

    symbol: str
    as_of: datetime
    stories: tuple[Story, ...]

    @property
    def threat(self) -> float:
        """0 (no reason for caution) to 1: the worst story's. However many others come, none lowers it."""
        return max((story.reading.harm for story in self.stories), default=0.0)

    def rows(self) -> list[EvidenceRow]:
        """The rows of `NEWS_KINDS`, all computed here."""
        features = self.stories[0].reading.features if self.stories else None
        values: dict[str, float | str | None] = {
            "news.threat": self.threat,
            "news.severity": 0.0 if features is None else float(features.severity),
            "news.topic": None if features is None else features.topic.value,
            "news.direction": None if features is None else features.direction.value,
            "news.stories": float(len(self.stories)),
            "news.repeats": float(sum(story.repeats for story in self.stories)),
            "news.by_model": float(sum(story.reading.model is not None for story in self.stories)),
            "news.articles": float(sum(story.has_article for story in self.stories)),
            "news.for_machines": float(sum(story.reading.speaks_to_machines for story in self.stories)),
        }
        return [_row(id, value, self.as_of, "there is no story") for id, value in values.items()]


class NewsReader:
    """Headlines of many symbols to rows of evidence; fits `collecting.NewsReader`.

    `name_of` tells a company's name by symbol where it is known. `articles` is asked for articles; None reads headlines
    alone, whatever the settings say. `progress` hears how many stories models have read, of how many so far: the
    stories of a list become known one symbol after another.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        settings: NewsSettings | None = None,
        *,
        name_of: Callable[[str], str | None] = lambda _: None,
        articles: ArticleReader | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._progress, self._done, self._total = progress, 0, 0
        self._quarantine, self._name_of, self._articles = quarantine, name_of, articles
        self.settings = settings or NewsSettings()
        self._places = asyncio.Semaphore(self.settings.in_flight)

    async def __call__(
        self, found: Mapping[str, Sequence[Headline] | BrokerError], as_of: datetime
    ) -> dict[str, list[EvidenceRow]]:
        """Rows by symbol; headlines that could not be had are missing evidence with the reason. Raises InvalidRequest
        for a naive time."""
        _aware(as_of)
        rows = await asyncio.gather(*(self._rows(symbol, headlines, as_of) for symbol, headlines in found.items()))
        return dict(zip(found, rows, strict=True))

    async def read(self, symbol: str, headlines: Iterable[Headline], as_of: datetime) -> SymbolNews:
        """The stories of a symbol, the worst first. `as_of` is aware; nothing published after it is looked at. Raises
        InvalidRequest for a naive time or a symbol that cannot be one."""
        company = Company(symbol, self._name_of(symbol))
        told = within(headlines, as_of, self.settings.window)
        # A millisecond a headline adds up over a long list, and the loop has a link to keep alive.
        stories = await asyncio.to_thread(distinct_stories, company, told)
        count = self.settings.read if self._quarantine.has_model or self._articles is not None else 0
        if self._quarantine.has_model and stories[:count]:
            self._total += len(stories[:count])
            self._progress(self._done, self._total)
        read = await asyncio.gather(*(self._read(company, row, n) for n, row in enumerate(stories[:count])))
        return SymbolNews(symbol, as_of, tuple(sorted([*read, *stories[count:]], key=_rank)))

    async def _rows(
        self, symbol: str, headlines: Sequence[Headline] | BrokerError, as_of: datetime
    ) -> list[EvidenceRow]:
        if not isinstance(headlines, BrokerError):
            try:
                return (await self.read(symbol, headlines, as_of)).rows()
            except InvalidRequest as error:
                headlines = error
        return [_row(id, None, None, _why(headlines)) for id in NEWS_KINDS]

    async def _read(self, company: Company, story: Story, number: int) -> Story:
        async with self._places:
            body = await self._article(story) if number < self.settings.articles else None
            reading = await self._quarantine.read(company, story.headline, body)
            if self._quarantine.has_model:
                self._done += 1
                self._progress(self._done, self._total)
            return replace(story, reading=reading, has_article=body is not None)

    async def _article(self, story: Story) -> Cleaned | None:
        """The cleaned article; None when there is none to read, and then the headline alone is read."""
        if self._articles is None:
            return None
        try:
            found = await self._articles.article(story.provider, story.article_id)
        except BrokerError:
            return None
        return cleaned(Untrusted(found.text), LONGEST_ARTICLE) if found.kind is ArticleKind.TEXT else None


def within(headlines: Iterable[Headline], as_of: datetime, window: timedelta) -> list[Headline]:
    """Those published after `as_of - window` and up to `as_of`: nothing that was not known yet. Raises InvalidRequest
    for a naive `as_of`."""
    _aware(as_of)
    return [row for row in headlines if as_of - window < row.time <= as_of]


def _aware(as_of: datetime) -> None:
    if as_of.tzinfo is None:
        raise InvalidRequest(f"news as of {as_of}", "the time has no zone", "give an aware one")


def distinct_stories(company: Company, headlines: Iterable[Headline]) -> list[Story]:
    """Each story once, by the lexicon's worst reading of its headlines, the worst story first.

    Of several headlines the worst one stands for the story, so that a harmless copy cannot hide it.
    """
    groups: list[tuple[frozenset[str], list[Story]]] = []
    for row in sorted(headlines, key=lambda row: (row.time, row.provider, row.article_id, row.text)):
        line = cleaned(Untrusted(row.text))
        story = Story(row.time, row.provider, row.article_id, line, lexicon_reading(company, line))
        words = frozenset(line.folded.split())
        same = next((found for known, found in groups if _is_same(known, words)), None)
        if same is None:
            groups.append((words, [story]))
        else:
            same.append(story)
    found = []
    for _, group in groups:
        worst = max(group, key=lambda story: story.reading.harm)
        found.append(replace(worst, time=group[0].time, repeats=len(group) - 1))
    return sorted(found, key=_rank)


def with_keywords(headlines: Iterable[Headline], keywords: Iterable[str]) -> list[Headline]:
    """Those in which any of the keywords stands as whole words, accents, case and look-alike letters aside. Raises
    InvalidRequest for a keyword of no letter and no digit."""
    wanted = [folded(word) for word in keywords]
    if not all(wanted):
        raise InvalidRequest("keyword filter", "a keyword has no letter and no digit", "give words")
    return [row for row in headlines if any(f" {word} " in f" {_words(row)} " for word in wanted)]


def _words(row: Headline) -> str:
    return cleaned(Untrusted(row.text)).folded


def _is_same(known: frozenset[str], words: frozenset[str]) -> bool:
    if known == words:
        return True
    if min(len(known), len(words)) < FEWEST_WORDS:
        return False
    return len(known & words) >= SAME_STORY * len(known | words)


#: Down before unclear before up where the harm is the same.
_WAYS = (Way.DOWN, Way.UNCLEAR, Way.UP)


def _rank(story: Story) -> tuple[float, int, float]:
    """The worst first, then the newest."""
    features = story.reading.features
    return (-story.reading.harm, _WAYS.index(features.direction), -story.time.timestamp())


def _row(id: str, value: float | str | None, time: datetime | None, missing: str) -> EvidenceRow:
    kind = NEWS_KINDS[id]
    return EvidenceRow(id, kind.name, value, kind.unit, kind.source, time, missing if value is None else None)


def _why(error: BrokerError) -> str:
    """The error on one bounded line."""
    return " ".join(f"{error.what}: {error.why}".split())[:200]
