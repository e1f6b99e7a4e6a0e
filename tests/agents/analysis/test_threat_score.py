"""The threat score: bounded, monotone, deterministic, and moved by no factor beyond its weight."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.agents.analysis.advice import caution_of
from moondev_ibkr.agents.analysis.report import AnalysisRow
from moondev_ibkr.agents.analysis.screening import Screening, analysis_rules
from moondev_ibkr.agents.analysis.threat_score import FACTORS, Group, threat, with_news
from moondev_ibkr.agents.llm.assessment import Assessment
from moondev_ibkr.agents.llm.request import Evidence, Request, Rung
from moondev_ibkr.agents.trading.caution import cautious_quantity
from moondev_ibkr.brokers.errors import NoData

from .conftest import NOON, evidence

IDS = [factor.evidence for factor in FACTORS]
NUMBERS = st.floats(-1e6, 1e6)
VALUES = st.fixed_dictionaries(dict.fromkeys(IDS, NUMBERS)).flatmap(
    lambda full: st.sets(st.sampled_from(IDS)).map(lambda drop: {k: v for k, v in full.items() if k not in drop})
)
CALM = {factor.evidence: 0.0 for factor in FACTORS}


def test_nothing_unusual_is_zero_and_everything_is_near_a_hundred() -> None:
    assert threat(CALM).score == 0
    assert threat(CALM).leading is None
    wild = threat({factor.evidence: factor.full for factor in FACTORS})
    assert 95 <= wild.score <= 100
    assert wild.leading is Group.OPTIONS


def test_two_kinds_that_agree_are_an_alert_and_one_is_not() -> None:
    moved = CALM | {"price.sigma": -5.0}
    assert threat(moved).score == 50
    assert threat(moved | {"volume.ratio": 5.0}).score == 70
    assert threat(moved).direction == "down"


@pytest.mark.parametrize("factor", FACTORS, ids=lambda factor: factor.evidence)
def test_a_factor_adds_its_weight_at_most_and_says_so(factor: object) -> None:
    row = next(one for one in FACTORS if one is factor)
    full = threat(CALM | {row.evidence: row.full * 100})
    assert full.score == round(100 * row.weight)
    assert [reason.evidence for reason in full.reasons] == [row.evidence]
    assert threat(CALM | {row.evidence: row.calm}).score == 0


@given(VALUES)
def test_the_score_stays_in_range_whatever_is_known(values: dict[str, float]) -> None:
    try:
        found = threat(values)
    except NoData:
        assert sum(f.weight for f in FACTORS if f.evidence in values) < 0.25 * sum(f.weight for f in FACTORS)
        return
    assert 0 <= found.score <= 100
    assert 0.25 <= found.coverage <= 1
    assert threat(dict(reversed(values.items()))) == found


@given(VALUES, st.sampled_from(IDS))
def test_a_missing_factor_never_raises_the_score(values: dict[str, float], lost: str) -> None:
    rest = {id: value for id, value in values.items() if id != lost}
    try:
        assert threat(rest).score <= threat(values).score
    except NoData:
        return


@given(VALUES, st.floats(0, 1))
def test_news_move_the_score_by_their_weight_at_most(values: dict[str, float], news: float) -> None:
    without = {id: value for id, value in values.items() if id != "news.threat"}
    try:
        before = threat(without).score
    except NoData:
        return
    after = threat(without | {"news.threat": news}).score
    assert before <= after <= before + 20 + 1


@given(st.integers(0, 100), st.one_of(st.none(), NUMBERS))
def test_news_never_lower_a_model_s_score_nor_raise_it_beyond_their_weight(score: int, news: float | None) -> None:
    joined = with_news(score, {} if news is None else {"news.threat": news})
    assert score <= joined <= min(100, score + 20)
    assert news is not None or joined == score


def test_a_halt_counts_and_too_little_is_no_score() -> None:
    assert threat(CALM | {"quote.halted": "yes"}).score == 60
    assert threat(CALM | {"quote.halted": "no"}).score == 0
    with pytest.raises(NoData, match="25% are needed"):
        threat({"aegs.points": 165.0})


def test_rules_answer_like_a_model_and_cite_what_they_were_given() -> None:
    found = evidence("AAA", price__sigma=-4.0, volume__ratio=4.0)
    rows = tuple(Evidence(row.id, row.text, row.value) for row in found.rows)
    result = analysis_rules().answer(Request(system="s", subject="AAA", evidence=rows, schema=Assessment))
    assert result.rung is Rung.RULES
    assert result.answer.score == threat(found.values).score
    assert set(result.answer.cited()) <= {row.id for row in rows}
    assert result.answer.direction == "down"


@pytest.mark.parametrize(("score", "shares"), [(None, 50), (0, 100), (49, 100), (50, 50), (70, 25), (85, 0), (100, 0)])
def test_an_analysis_can_only_make_an_order_smaller(score: int | None, shares: int) -> None:
    row = AnalysisRow(symbol="AAA", time=NOON, threat=score)
    assert cautious_quantity(Decimal(100), [caution_of(row)]) == shares


def test_a_screening_needs_no_model_to_score(market: object) -> None:
    row = Screening(market).scored(evidence("AAA", price__gap_pct=8.0))  # type: ignore[arg-type]
    assert row.threat == 35
    assert row.answered_by == "rules"
    assert not row.degraded
