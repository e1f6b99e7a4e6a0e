"""Two stages over scripted models: who is asked, what a failure leaves, what stopping keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from moondev_ibkr.agents.analysis.alerts import Alert, AlertDesk
from moondev_ibkr.agents.analysis.analysis_store import AnalysisStore
from moondev_ibkr.agents.analysis.collecting import EvidenceCollector
from moondev_ibkr.agents.analysis.evidence import EvidenceRow, EvidenceSet
from moondev_ibkr.agents.analysis.report import AnalysisRow
from moondev_ibkr.agents.analysis.screening import Models, Screening, ScreeningSettings, analysis_rules
from moondev_ibkr.agents.llm.assessment import Assessment
from moondev_ibkr.agents.llm.request import Failure, Priority, Request, Result, Rung, Usage
from moondev_ibkr.agents.llm.troubles import Trouble
from moondev_ibkr.brokers.errors import LinkLost, RequestFailed

from .conftest import NOON, FakeMarket, evidence


@dataclass
class Model:
    """Scores by symbol; a symbol in `down` falls to the rules of the ladder. Keeps what it was asked."""

    name: str
    scores: Mapping[str, int] = field(default_factory=dict)
    down: frozenset[str] = frozenset()
    wait: Callable[[], Any] | None = None
    asked: list[Request[Any]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    async def complete_json(self, request: Request[Any]) -> Result[Any]:
        self.asked.append(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await (asyncio.sleep(0) if self.wait is None else self.wait())
        finally:
            self.under_way -= 1
        if request.subject in self.down:
            failure = Failure(Rung.ASKED, "ollama", self.name, None, Trouble.HOST_DOWN, "nothing listens there")
            rules = analysis_rules().answer(request)
            return Result(rules.answer, Rung.RULES, "rules", rules.model, None, Usage(), (failure,), degraded=True)
        answer = Assessment(
            reasoning="words of a model",
            factors=(),
            score=self.scores.get(request.subject, 5),
            confidence=0.8,
            direction="down",
            evidence_ids=(request.evidence[0].id,),
        )
        return Result(answer, Rung.ASKED, "ollama", self.name, "http://host", Usage(cost=0.01, seconds=1.0))

    @property
    def symbols(self) -> list[str]:
        return [request.subject for request in self.asked]


class Collector(EvidenceCollector):
    """Gives what it is told to."""

    def __init__(self, rows: Mapping[str, EvidenceSet]) -> None:
        self.rows = rows
        self.collected: list[list[str]] = []

    async def collect(self, symbols: Any) -> dict[str, EvidenceSet]:
        self.collected.append(list(symbols))
        return {name: self.rows[name] for name in self.collected[-1]}


def calm(*names: str) -> dict[str, EvidenceSet]:
    return {name: evidence(name) for name in names}


async def test_all_to_the_small_model_and_the_top_to_the_large() -> None:
    small, large = Model("small", {"BBB": 60, "CCC": 40}), Model("large", {"BBB": 20, "CCC": 90})
    screening = Screening(Collector(calm("AAA", "BBB", "CCC", "DDD")), Models(small, large), ScreeningSettings(top=2))
    rows = await screening.run(["AAA", "BBB", "CCC", "DDD"])
    assert sorted(small.symbols) == ["AAA", "BBB", "CCC", "DDD"]
    assert sorted(large.symbols) == ["BBB", "CCC"]
    found = {row.symbol: row for row in rows}
    assert [row.symbol for row in rows] == ["AAA", "BBB", "CCC", "DDD"]
    assert (found["CCC"].threat, found["BBB"].threat) == (90, 20)
    assert found["CCC"].answered_by == "asked ollama/large"
    assert found["AAA"].answered_by == "asked ollama/small"
    assert found["CCC"].direction == "down"


async def test_what_rules_rate_high_goes_to_the_large_model_whatever_the_small_one_says() -> None:
    hot = evidence("HOT", price__sigma=5.0, volume__ratio=5.0)
    small, large = Model("small", {"AAA": 50, "HOT": 0}), Model("large", {"HOT": 1})
    screening = Screening(Collector(calm("AAA") | {"HOT": hot}), Models(small, large), ScreeningSettings(top=1))
    found = {row.symbol: row for row in await screening.run(["AAA", "HOT"])}
    assert "HOT" in large.symbols
    assert found["HOT"].threat == 70, "a model's miss is no veto"
    assert [request.priority for request in small.asked if request.subject == "HOT"] == [Priority.HOT]


async def test_no_model_is_rules_and_not_degraded() -> None:
    rows = await Screening(Collector(calm("AAA"))).run(["AAA"])
    assert (rows[0].answered_by, rows[0].degraded, rows[0].small) == ("rules", False, None)


async def test_a_model_that_is_down_is_told_on_the_row() -> None:
    rows = await Screening(Collector(calm("AAA")), Models(Model("small", down=frozenset({"AAA"})))).run(["AAA"])
    assert rows[0].degraded
    assert rows[0].answered_by == "rules"
    assert rows[0].small is not None
    assert rows[0].small.failures == ("asked ollama/small: nothing listens there",)


async def test_news_and_the_account_never_reach_a_scoring_model() -> None:
    extra = (
        EvidenceRow("news.threat", "news", 1.0, "of 1", "news", NOON),
        EvidenceRow("position.weight_pct", "weight", 20.0, "%", "account", NOON, private=True),
    )
    base = evidence("AAA")
    small = Model("small", {"AAA": 50})
    rows = await Screening(Collector({"AAA": EvidenceSet("AAA", NOON, base.rows + extra)}), Models(small)).run(["AAA"])
    assert [row.id for row in small.asked[0].evidence] == [row.id for row in base.rows]
    assert rows[0].threat == 60, "news add at most 20 to what is left"
    assert rows[0].evidence[-2:] == extra


async def test_too_little_evidence_is_no_score_and_no_question() -> None:
    blank = EvidenceSet("ZZZ", NOON, ())
    small = Model("small")
    rows = await Screening(Collector(calm("AAA") | {"ZZZ": blank}), Models(small)).run(["AAA", "ZZZ"])
    assert small.symbols == ["AAA"]
    assert (rows[1].threat, rows[1].last) == (None, None)
    assert "0% of its weight is known" in str(rows[1].error)


async def test_only_so_many_questions_are_under_way() -> None:
    names = [f"A{n}" for n in range(30)]
    small = Model("small")
    await Screening(Collector(calm(*names)), Models(small), ScreeningSettings(in_flight=4)).run(names)
    assert (small.most, len(small.asked)) == (4, 30)


async def test_stopping_keeps_what_is_done_and_the_next_run_goes_on(store: AnalysisStore) -> None:
    names = [f"A{n}" for n in range(6)]
    reached = asyncio.Event()

    async def third_never_ends() -> None:
        if len(small.asked) == 3:
            reached.set()
            await asyncio.Event().wait()

    small = Model("small", wait=third_never_ends)
    screening = Screening(
        Collector(calm(*names)),
        Models(small),
        ScreeningSettings(in_flight=1),
        keep=lambda row: store.keep_row("r", row.symbol, row.model_dump_json()),
    )
    run = asyncio.create_task(screening.run(names))
    await reached.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    kept = {name: AnalysisRow.model_validate_json(text) for name, text in store.kept_rows("r").items()}
    assert sum(row.small is not None for row in kept.values()) == 2
    assert kept == screening.rows
    again, collector = Model("small"), Collector({})
    rows = await Screening(collector, Models(again)).run(names, kept)
    assert collector.collected == [[]]
    assert sorted(again.symbols) == ["A2", "A3", "A4", "A5"]
    assert all(row.small is not None for row in rows)


async def test_a_degraded_row_is_asked_again_when_it_goes_on() -> None:
    first = await Screening(Collector(calm("AAA")), Models(Model("small", down=frozenset({"AAA"})))).run(["AAA"])
    again = Model("small", {"AAA": 33})
    rows = await Screening(Collector({}), Models(again)).run(["AAA"], {"AAA": first[0]})
    assert (rows[0].threat, rows[0].degraded) == (33, False)


async def test_a_store_that_cannot_write_stops_with_its_own_error() -> None:
    def full(row: AnalysisRow) -> None:
        if row.small is not None:
            raise RequestFailed("analysis file", "disk full")

    with pytest.raises(RequestFailed, match="disk full"):
        await Screening(Collector(calm("AAA", "BBB")), Models(Model("small")), keep=full).run(["AAA", "BBB"])


async def test_progress_counts_each_stage_to_its_end() -> None:
    seen: list[tuple[str, int, int]] = []
    screening = Screening(
        Collector(calm("AAA", "BBB")),
        Models(Model("small"), Model("large")),
        ScreeningSettings(top=1),
        progress=lambda *row: seen.append(row),
    )
    await screening.run(["AAA", "BBB"])
    assert seen[-1] == ("large", 1, 1)
    assert ("small", 2, 2) in seen
    assert ("evidence", 2, 2) in seen


@dataclass
class Ear:
    name: str = "ear"
    heard: list[Alert] = field(default_factory=list)

    async def send(self, alert: Alert) -> None:
        self.heard.append(alert)


async def test_a_finding_is_told_once_and_in_our_own_words(store: AnalysisStore) -> None:
    ear = Ear()
    hot = evidence("HOT", price__sigma=-5.0, volume__ratio=5.0)
    small = Model("small", {"AAA": 75, "BBB": 69})
    for _ in range(2):
        desk = AlertDesk([ear], store)
        rows = calm("AAA", "BBB") | {"HOT": hot}
        await Screening(Collector(rows), Models(small), alerts=desk).run(["AAA", "BBB", "HOT"])
    assert sorted((alert.symbol, alert.threat) for alert in ear.heard) == [("AAA", 75), ("HOT", 70)]
    assert not any("words of a model" in reason for alert in ear.heard for reason in alert.reasons)


async def test_the_large_model_decides_before_a_small_one_s_finding_is_told(store: AnalysisStore) -> None:
    ear = Ear()
    models = Models(Model("small", {"AAA": 95, "BBB": 80}), Model("large", {"AAA": 10}))
    screening = Screening(
        Collector(calm("AAA", "BBB")), models, ScreeningSettings(top=1), alerts=AlertDesk([ear], store)
    )
    await screening.run(["AAA", "BBB"])
    assert [alert.symbol for alert in ear.heard] == ["BBB"]


async def test_a_lost_broker_ends_the_screening_with_its_error(market: FakeMarket) -> None:
    market.fails["quotes"] = LinkLost("quotes", "gone")
    with pytest.raises(LinkLost):
        await Screening(EvidenceCollector(market)).run(["AAA"])
