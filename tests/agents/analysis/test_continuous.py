"""Watching: what changed is analysed again, what wavers is not, and no budget is passed. The clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from moondev_ibkr.agents.analysis.alerts import Alert, AlertDesk
from moondev_ibkr.agents.analysis.analysis_store import AnalysisStore
from moondev_ibkr.agents.analysis.collecting import EvidenceCollector
from moondev_ibkr.agents.analysis.continuous import Look, Watcher, WatchSettings
from moondev_ibkr.agents.analysis.evidence import EvidenceSet
from moondev_ibkr.agents.analysis.screening import Models, Screening
from moondev_ibkr.agents.llm.assessment import Assessment
from moondev_ibkr.agents.llm.request import Request, Result, Rung, Usage
from moondev_ibkr.brokers.errors import LinkLost

from .conftest import evidence


@dataclass
class Model:
    cost: float | None = 0.0
    asked: list[str] = field(default_factory=list)

    async def complete_json(self, request: Request[Any]) -> Result[Any]:
        self.asked.append(request.subject)
        answer = Assessment(
            reasoning="-", factors=(), score=1, confidence=1.0, direction="up", evidence_ids=(request.evidence[0].id,)
        )
        usage = Usage(cost=self.cost)  # type: ignore[arg-type]
        return Result(answer, Rung.ASKED, "ollama", "m", "host", usage)


class Rig(EvidenceCollector):
    """Evidence by the gap of each symbol (2 % is calm, 8 % is 35 points), and a clock that the test moves."""

    def __init__(self, model: Model | None = None, settings: WatchSettings | None = None, **more: Any) -> None:
        self.sigma: dict[str, float] = {}
        self.volume: dict[str, float] = {}
        self.now = 0.0
        self.looks: list[Look] = []
        self.lost: LinkLost | None = None
        self.screening = Screening(self, Models(small=model), **more)
        self.watcher = Watcher(
            self, self.screening, settings, clock=lambda: self.now, sleep=self.sleep, told=self.looks.append
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def collect(self, symbols: Any) -> dict[str, EvidenceSet]:
        if self.lost is not None:
            raise self.lost
        return {
            name: evidence(name, price__sigma=self.sigma.get(name, 0.0), volume__ratio=self.volume.get(name, 1.0))
            for name in symbols
        }

    async def look(self, sigmas: Mapping[str, float], names: tuple[str, ...] = ("AAA",), wait: float = 600.0) -> Look:
        self.sigma |= sigmas
        self.now += wait
        return await self.watcher.look(names)


#: Sigma -> points of the rules: 50 x (sigma - 1.5) / 3.5.
CALM, TEN, NINE = 1.5, 2.2, 2.13


async def test_the_first_look_analyses_all_and_the_next_nothing() -> None:
    model = Model()
    rig = Rig(model)
    first = await rig.look({}, ("AAA", "BBB"))
    again = await rig.look({}, ("AAA", "BBB"))
    assert [row.symbol for row in first.changed] == ["AAA", "BBB"]
    assert (again.changed, model.asked) == ((), ["AAA", "BBB"])


async def test_a_change_is_measured_from_the_last_analysis_so_that_nothing_oscillates() -> None:
    model = Model()
    rig = Rig(model)
    for sigma in (CALM, NINE, CALM, NINE, CALM, NINE):
        await rig.look({"AAA": sigma})
    assert len(model.asked) == 1
    assert [row.symbol for row in (await rig.look({"AAA": TEN})).changed] == ["AAA"]
    for sigma in (NINE, TEN, NINE, TEN):
        await rig.look({"AAA": sigma})
    assert len(model.asked) == 2


async def test_slow_drift_adds_up_to_a_change() -> None:
    model = Model()
    rig = Rig(model)
    for step in range(9):
        await rig.look({"AAA": CALM + step * 0.1})
    assert len(model.asked) == 2


async def test_a_symbol_rests_after_a_question_and_is_asked_about_afterwards() -> None:
    model = Model()
    rig = Rig(model, WatchSettings(rest=300))
    await rig.look({"AAA": CALM})
    held = await rig.look({"AAA": 3.0}, wait=100)
    assert held.changed == ()
    assert held.held_back == {"AAA": "it was analysed a short while ago"}
    assert [row.symbol for row in (await rig.look({}, wait=201)).changed] == ["AAA"]
    assert len(model.asked) == 2


async def test_becoming_a_finding_waits_for_nothing_and_is_told_once(store: AnalysisStore) -> None:
    heard: list[Alert] = []

    class Ear:
        name = "ear"

        async def send(self, alert: Alert) -> None:
            heard.append(alert)

    model = Model()
    rig = Rig(model, alerts=AlertDesk([Ear()], store))
    await rig.look({"AAA": 4.9})
    rig.volume["AAA"] = 5.0
    assert [row.threat for row in (await rig.look({"AAA": 5.0}, wait=1)).changed] == [70]
    rig.volume["AAA"] = 4.8
    await rig.look({}, wait=1)
    rig.volume["AAA"] = 5.0
    await rig.look({}, wait=1)
    assert (len(heard), len(model.asked)) == (1, 2)


async def test_questions_of_an_hour_run_out_and_come_back() -> None:
    model = Model()
    rig = Rig(model, WatchSettings(questions=2, rest=0))
    names = ("AAA", "BBB", "CCC")
    first = await rig.look({}, names, wait=1)
    assert model.asked == ["AAA", "BBB"]
    assert first.held_back == {"CCC": "2 questions an hour are used up"}
    assert [row.answered_by for row in first.changed] == ["asked ollama/m", "asked ollama/m", "rules"]
    assert first.questions == 2
    await rig.look({"AAA": 5.0}, names, wait=60)
    assert len(model.asked) == 2
    later = await rig.look({"AAA": 1.5}, names, wait=3601)
    assert (len(model.asked), later.questions) == (3, 1)


@pytest.mark.parametrize(
    ("cost", "why"), [(0.6, "1 USD a day are used up"), (None, "what the last answers cost is not known")]
)
async def test_the_money_of_a_day_runs_out(cost: float | None, why: str) -> None:
    model = Model(cost)
    rig = Rig(model, WatchSettings(cost=1.0))
    look = await rig.look({}, ("AAA", "BBB", "CCC"), wait=1)
    assert len(model.asked) == (2 if cost else 1)
    assert look.held_back["CCC"] == why
    await rig.look({"AAA": 5.0}, ("AAA",), wait=86_500)
    assert len(model.asked) == (3 if cost else 2)


async def test_no_money_means_that_a_paid_answer_is_the_last() -> None:
    paid, own = Model(0.01), Model(0.0)
    for model, answers in ((paid, 1), (own, 3)):
        await Rig(model, WatchSettings(cost=0.0)).look({}, ("AAA", "BBB", "CCC"))
        assert len(model.asked) == answers


async def test_more_symbols_than_lines_are_looked_at_in_turn_and_hot_ones_always() -> None:
    rig = Rig(None, WatchSettings(lines=4))
    names = tuple(f"A{n}" for n in range(10))
    rig.sigma["A7"] = 5.0
    looks = [await rig.look({}, names) for _ in range(8)]
    assert all(len(look.looked_at) == 4 for look in looks)
    assert {name for look in looks for name in look.looked_at} == set(names)
    found = next(number for number, look in enumerate(looks) if "A7" in look.looked_at)
    assert all("A7" in look.looked_at for look in looks[found:])


async def test_a_lost_link_is_told_and_the_watch_goes_on() -> None:
    rig = Rig()
    rig.lost = LinkLost("quotes", "the link was lost")

    async def sleep(seconds: float) -> None:
        rig.lost = None
        if len(rig.looks) == 3:
            raise asyncio.CancelledError

    rig.watcher._sleep = sleep
    with pytest.raises(asyncio.CancelledError):
        await rig.watcher.run(["aaa"])
    assert [look.error for look in rig.looks] == ["quotes: the link was lost", None, None]
    assert [len(look.changed) for look in rig.looks] == [0, 1, 0]


async def test_without_models_rules_watch_alone() -> None:
    rig = Rig()
    await rig.look({"AAA": CALM})
    look = await rig.look({"AAA": 4.0}, wait=1)
    assert [row.answered_by for row in look.changed] == ["rules"]
    assert look.held_back == {}


class Ranking:
    """A scanner whose list the test sets; None fails."""

    def __init__(self, *lists: list[str] | None) -> None:
        self.lists = list(lists)

    async def __call__(self) -> list[str]:
        found = self.lists.pop(0)
        if found is None:
            raise LinkLost("scan", "gone")
        return found


async def watch_looks(rig: Rig, count: int, names: tuple[str, ...], scan: Ranking) -> list[Look]:
    """So many looks of a watch, which then is cancelled."""

    async def sleep(seconds: float) -> None:
        rig.now += seconds
        if len(rig.looks) >= count:
            raise asyncio.CancelledError

    rig.watcher._sleep = sleep
    with pytest.raises(asyncio.CancelledError):
        await rig.watcher.run(names, scan)
    return rig.looks


async def test_what_falls_out_of_a_scan_is_looked_at_no_more_and_what_enters_is() -> None:
    rig = Rig(None, WatchSettings(every=60, scan_every=60))
    scan = Ranking(["BBB", "CCC"], ["CCC", "ddd"], ["CCC", "DDD"])
    looks = await watch_looks(rig, 3, ("AAA",), scan)
    assert [look.looked_at for look in looks] == [("AAA", "BBB", "CCC"), ("AAA", "CCC", "DDD"), ("AAA", "CCC", "DDD")]
    assert [look.entered for look in looks] == [("BBB", "CCC"), ("DDD",), ()]
    assert [look.left for look in looks] == [(), ("BBB",), ()]
    assert [[row.symbol for row in look.changed] for look in looks] == [["AAA", "BBB", "CCC"], ["DDD"], []]


async def test_a_scan_keeps_its_own_interval_and_the_list_stays_between_and_when_it_fails() -> None:
    rig = Rig(None, WatchSettings(every=60, scan_every=120))
    looks = await watch_looks(rig, 5, (), Ranking(["AAA"], None, ["BBB"]))
    assert [look.looked_at for look in looks] == [("AAA",)] * 4 + [("BBB",)]
    assert [look.scan_error is not None for look in looks] == [False, False, True, False, False]


async def test_a_name_that_flaps_in_and_out_rests_as_any_other() -> None:
    model = Model()
    rig = Rig(model, WatchSettings(every=60, scan_every=60, rest=1_000))
    rig.sigma["AAA"] = CALM
    looks = await watch_looks(rig, 6, (), Ranking(["AAA"], [], ["AAA"], [], ["AAA"], []))
    assert [look.looked_at for look in looks] == [("AAA",), ()] * 3
    assert model.asked == ["AAA"]


async def test_a_long_scan_stays_within_the_lines() -> None:
    rig = Rig(None, WatchSettings(every=60, scan_every=60, lines=4))
    many = [f"S{number}" for number in range(30)]
    looks = await watch_looks(rig, 3, ("AAA",), Ranking(many, many[10:], many[20:]))
    assert [len(look.looked_at) for look in looks] == [4, 4, 4]
    assert set(looks[2].looked_at) <= {"AAA", *many[20:]}
