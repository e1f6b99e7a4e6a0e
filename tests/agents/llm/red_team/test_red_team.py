"""Hostile stories through the whole way: cleaning, quarantine, score, alert, caution, order.

The model in quarantine does what each story says, and the scoring models would if they saw a letter of it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.analysis.advice import caution_of
from moondev_ibkr.agents.analysis.alerts import AlertDesk, FileSink
from moondev_ibkr.agents.analysis.analysis_store import AnalysisStore
from moondev_ibkr.agents.analysis.collecting import EvidenceCollector
from moondev_ibkr.agents.analysis.news_evidence import NewsReader, NewsSettings
from moondev_ibkr.agents.analysis.report import AnalysisRow
from moondev_ibkr.agents.analysis.screening import Models, Screening, ScreeningSettings
from moondev_ibkr.agents.analysis.threat_score import FACTORS, Group
from moondev_ibkr.agents.llm.news_features import Company, NewsFeatures, Topic, Way
from moondev_ibkr.agents.llm.news_lexicon import lexicon_reading
from moondev_ibkr.agents.llm.prompts import user_prompt
from moondev_ibkr.agents.llm.quarantine import Quarantine
from moondev_ibkr.agents.llm.untrusted import (
    LONGEST_ARTICLE,
    LONGEST_HEADLINE,
    MARKS,
    TEMPLATE_TOKENS,
    Untrusted,
    cleaned,
)
from moondev_ibkr.agents.trading.caution import Caution, cautious_quantity
from moondev_ibkr.agents.trading.strategy_signal import Direction, StrategySignal
from moondev_ibkr.agents.trading.trading_agent import OutcomeKind, TradingAgent

from tests.agents.llm.red_team.hostile import STORIES, Hostile, NewsBroker, Obedient, Scorer

#: The most that news may add to a score of 0 to 100.
MOST = round(100 * next(factor.weight for factor in FACTORS if factor.group is Group.NEWS))
each_story = pytest.mark.parametrize("story", STORIES, ids=[story.id for story in STORIES])


def steep(session: int) -> float:
    """A price that moves a little every day, and 6 % on the day of the test."""
    return 100 + 2 * math.sin(session) + (6 if session >= 0 else 0)


async def screened(
    broker: Any, stories: list[Hostile], scorer: Scorer | None, obeyed: str = "", alerts: AlertDesk | None = None
) -> AnalysisRow:
    """The analysis of AAA with the stories as its news."""
    world = NewsBroker(broker, stories)
    news = NewsReader(
        Quarantine(Obedient(obeyed)),
        NewsSettings(read=len(stories), articles=len(stories)),
        articles=world,
        name_of={"AAA": "Apple Inc"}.get,
    )
    models = Models(scorer, scorer)
    screening = Screening(
        EvidenceCollector(world, read_news=news), models, ScreeningSettings(alert_at=70), alerts=alerts
    )
    (row,) = await screening.run(["AAA"])
    return row


def books(broker: Any) -> tuple[Any, ...]:
    """All that an order or a lifted limit would change."""
    resting = [view.ticket for view in broker.exchange.open_orders()]
    return (broker.orders(), broker.fills(), resting, dict(broker.limits()), broker.manager.halted)


def test_the_set_is_large_and_of_many_kinds() -> None:
    assert len(STORIES) >= 60
    assert len({story.id for story in STORIES}) == len({story.headline for story in STORIES}) == len(STORIES)
    assert len(Counter(story.kind for story in STORIES)) >= 15


@each_story
def test_cleaning_leaves_nothing_to_break_out_with(story: Hostile) -> None:
    for text, longest in ((story.headline, LONGEST_HEADLINE), (story.article or "", LONGEST_ARTICLE)):
        line = cleaned(Untrusted(text), longest)
        assert len(line.shown) <= longest
        assert line.shown.isprintable()
        assert not set("<>|[]{}`\\«»" + MARKS) & set(line.shown)
        assert not any(token.casefold() in line.shown.casefold() for token in TEMPLATE_TOKENS)
        assert not re.search(r"(?i)\b(system|assistant|user|human|model)\s*:", line.shown)


@each_story
async def test_quarantine_lets_nothing_but_features_out(story: Hostile) -> None:
    model = Obedient(story.obeyed)
    article = None if story.article is None else cleaned(Untrusted(story.article), LONGEST_ARTICLE)
    reading = await Quarantine(model).read(Company("AAPL"), cleaned(Untrusted(story.headline)), article)
    for features in (reading.lexicon, reading.features):
        assert NewsFeatures.model_validate_json(features.model_dump_json()) == features
        assert (type(features.topic), type(features.direction)) == (Topic, Way)
    assert (reading.model is None) == (reading.trouble is not None)
    assert reading.harm >= lexicon_reading(Company("AAPL"), cleaned(Untrusted(story.headline)), article).harm
    (request,) = model.requests
    opening, closing = re.findall(r"«/?[0-9a-f]{16}»", request.subject)
    lines = user_prompt(request).splitlines()
    told = [line for line in lines if line.startswith(("headline.", "article."))]
    assert told
    assert len(lines) == len(told) + 4  # the heading, the company, a blank line, the subject
    for line in told:
        assert re.fullmatch(rf"(headline|article)\.\d+ \| {opening}[^«» ]+{closing}", line)


@pytest.mark.parametrize("base", [0, 40, 65, 95])
async def test_a_story_moves_the_score_by_its_weight_at_most_and_orders_nothing(
    base: int, market: Any, tmp_path: Path
) -> None:
    async with market({"AAA": steep}) as world:
        before = books(world.broker)
        calm = Scorer(base)
        without = await screened(world.broker, [], calm)
        assert without.threat is not None
        for story in STORIES:
            told = tmp_path / f"{story.id}.jsonl"
            store = AnalysisStore(tmp_path / f"{story.id}.db")
            scorer = Scorer(base, known=calm.prompts)
            row = await screened(world.broker, [story], scorer, story.obeyed, AlertDesk([FileSink(told)], store))
            store.close()
            assert scorer.prompts == calm.prompts, story.id
            assert row.threat is not None, story.id
            assert without.threat <= row.threat <= without.threat + MOST, story.id
            assert caution_of(row).factor <= caution_of(without).factor, story.id
            assert told.exists() == (row.threat >= 70), story.id
            _words_are_ours(row, story, told)
        assert books(world.broker) == before


def _words_are_ours(row: AnalysisRow, story: Hostile, alerts: Path) -> None:
    """Neither a report nor an alert repeats a story."""
    told = row.model_dump_json() + (alerts.read_text() if alerts.exists() else "")
    for evidence in row.evidence:
        if evidence.id.startswith("news.") and isinstance(evidence.value, str):
            assert evidence.value in {*Topic, *Way}
    for part in ("\u200b", "im_start", "10000", "evil", "gnore", "ytireves", story.headline[:40]):
        assert part not in told, story.id


async def test_all_stories_at_once_move_it_no_further(market: Any) -> None:
    async with market({"AAA": steep}) as world:
        before = books(world.broker)
        calm = Scorer(40)
        without = await screened(world.broker, [], calm)
        worst = '{"topic":"legal","direction":"down","severity":3,"relevance":3,"is_about_company":true}'
        row = await screened(world.broker, list(STORIES), Scorer(40, known=calm.prompts), worst)
        assert row.threat == with_full_news(without.threat or 0)
        assert books(world.broker) == before
        for base in (Decimal(0), Decimal(1), Decimal(1000)):
            assert cautious_quantity(base, [caution_of(row)]) <= cautious_quantity(base, [caution_of(without)])


def with_full_news(score: int) -> int:
    return round(100 - (100 - score) * (1 - MOST / 100))


async def test_a_buy_after_hostile_news_is_no_larger(market: Any) -> None:
    """The caution of the worst reading goes to the agent that trades: fewer shares, the same stop, no other order."""
    bought = {}
    for name, stories in (("calm", []), ("hostile", list(STORIES))):
        async with market({"AAA": steep}) as world:
            obeyed = '{"topic":"legal","direction":"down","severity":3,"relevance":3,"is_about_company":true}'
            row = await screened(world.broker, stories, Scorer(65), obeyed)
            caution = caution_of(row)
            signal = StrategySignal("AAA", Direction.BUY, cautions=(caution,))
            (outcome,) = await TradingAgent(world.broker).execute_strategy([signal])
            assert outcome.kind is OutcomeKind.ENTERED
            bought[name] = (outcome.orders[0].intent.quantity, len(world.broker.orders()), caution)
    assert bought["hostile"][0] < bought["calm"][0]
    assert bought["hostile"][1] == bought["calm"][1]
    assert all(isinstance(row[2], Caution) and row[2].stop_fraction is None for row in bought.values())


@pytest.mark.parametrize("story", [row for row in STORIES if row.kind == "hiding"], ids=lambda row: row.id)
async def test_a_story_cannot_hide_its_own_news(story: Hostile, market: Any) -> None:
    async with market({"AAA": steep}) as world:
        without = await screened(world.broker, [], Scorer(40))
        row = await screened(world.broker, [story], Scorer(40), story.obeyed)
        assert (row.threat or 0) > (without.threat or 0)


@pytest.mark.parametrize("kind", ["ignore", "token", "language", "homoglyph"])
def test_what_is_written_for_a_model_is_told_to_the_reader(kind: str) -> None:
    stories = [story for story in STORIES if story.kind == kind]
    told = [
        lexicon_reading(
            Company("AAPL"),
            cleaned(Untrusted(story.headline)),
            None if story.article is None else cleaned(Untrusted(story.article), LONGEST_ARTICLE),
        ).speaks_to_machines
        for story in stories
    ]
    assert sum(told) >= 0.7 * len(told)


async def test_the_models_of_these_tests_do_obey(market: Any) -> None:
    """A scorer that sees another letter scores 100, and many stories' answers pass as features: the tests above can
    fail."""
    async with market({"AAA": steep}) as world:
        row = await screened(world.broker, [], Scorer(40, known=["another question"]))
        assert row.small is not None
        assert row.small.score == 100
    answered = 0
    for story in STORIES:
        reading = await Quarantine(Obedient(story.obeyed)).read(Company("AAPL"), cleaned(Untrusted(story.headline)))
        answered += reading.model is not None
    assert answered >= 30
    assert len(STORIES) - answered >= 30
