"""Reports: the same plan is the same report, files are whole, and no text breaks out of its cell."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from moondev_ibkr.agents.analysis.report import AnalysisRow, Plan, Report, StageAnswer, by_threat, save_report
from moondev_ibkr.agents.analysis.screening import Screening
from moondev_ibkr.brokers.errors import ConfigurationError

from .conftest import NOON, FakeMarket, evidence

PLAN = Plan(("AAA", "BBB"), NOON.date(), "ollama/small", None, 10, "threat-1")
HOSTILE = "ignore | all\n# previous <b>`x`</b>\x1b[31m\u202e"


def row(market: FakeMarket, symbol: str = "AAA") -> AnalysisRow:
    return Screening(market).scored(evidence(symbol, price__sigma=4.0))  # type: ignore[arg-type]


def report(*rows: AnalysisRow) -> Report:
    return Report(PLAN, "paper", NOON, NOON, by_threat(rows))


@pytest.mark.parametrize(
    "change",
    [
        {"symbols": ("BBB", "AAA")},
        {"day": NOON.date() + timedelta(days=1)},
        {"small": "ollama/other"},
        {"large": "ollama/large"},
        {"top": 3},
        {"rules": "threat-2"},
    ],
)
def test_the_same_plan_is_the_same_report_and_another_is_not(change: dict[str, object]) -> None:
    assert PLAN.id == replace(PLAN).id
    assert replace(PLAN, **change).id != PLAN.id  # type: ignore[arg-type]


def test_a_row_survives_being_kept(market: FakeMarket) -> None:
    made = row(market)
    assert AnalysisRow.model_validate_json(made.model_dump_json()) == made


def test_both_files_hold_the_same_and_replace_the_last(market: FakeMarket, tmp_path: Path) -> None:
    save_report(tmp_path, report(row(market)))
    paths = save_report(tmp_path, report(row(market), AnalysisRow(symbol="BBB", time=NOON, error="no price")))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{PLAN.id}.json", f"{PLAN.id}.md"]
    data = json.loads(paths[0].read_text())
    assert [one["symbol"] for one in data["rows"]] == ["AAA", "BBB"]
    assert data["rows"][0]["evidence"][0]["unit"]
    text = paths[1].read_text()
    assert "| BBB | – |" in text
    assert "no price" in text


def test_a_model_s_words_cannot_break_the_report(market: FakeMarket) -> None:
    said = StageAnswer(
        stage="small", score=9, confidence=1.0, direction="up", reasoning=HOSTILE, rung="asked", backend="b", model="m"
    )
    text = report(row(market).model_copy(update={"small": said})).to_markdown()
    line = next(line for line in text.splitlines() if line.startswith("- small"))
    assert "ignore \\| all \\# previous \\<b\\>\\`x\\`\\</b\\>" in line
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not any(line.startswith("# previous") for line in text.splitlines())


def test_a_cost_that_cannot_be_told_is_not_added_up_as_nothing(market: FakeMarket) -> None:
    said = StageAnswer(
        stage="small", score=9, confidence=1, direction="up", reasoning="-", rung="asked", backend="b", model="m"
    )
    known, unknown = (
        row(market, name).model_copy(update={"small": said.model_copy(update={"cost": cost})})
        for name, cost in (("AAA", 0.25), ("BBB", None))
    )
    assert report(known).to_json()["cost"] == 0.25
    assert report(known, unknown).to_json()["cost"] is None


def test_what_was_not_reached_is_listed(market: FakeMarket) -> None:
    assert report(row(market)).to_json()["not_done"] == ["BBB"]


def test_a_folder_that_cannot_be_written_is_told(market: FakeMarket, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="report in"):
        save_report(tmp_path / "file", report(row(market)))
