"""Every benchmark runs, tiny, and answers with finite numbers. How fast is no test's business."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import WHY_NOT_COMPILED

ROOT = Path(__file__).parents[2]
#: Bench -> how many rows it answers with.
ROWS = {
    "ticks": 12 if WHY_NOT_COMPILED else 24,
    "arrivals": 4,
    "scale": 5,
    "tick_to_trade": 6,
    "place": 11,
    "cancel": 1,
    "quotes": 3,
    "scan": 6,
    "fills": 2,
    "memory": 1,
    "link": 16 if WHY_NOT_COMPILED else 29,
    "llm": 6,
    "pool": 2,
}


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=180
    )


@dataclass(frozen=True)
class Run:
    """One quick run of every bench: what it printed and what it wrote."""

    table: str
    data: dict[str, Any]

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.data["rows"] if row["bench"] == name]


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    result = bench("--quick", "--rounds", "1", "--json", str(file))
    assert result.returncode == 0, result.stderr
    return Run(result.stdout, json.loads(file.read_text()))


def numbers_of(row: dict[str, Any]) -> list[float]:
    named = [row[name] for name in ("ours", "raw", "ratio", "worst", "best") if row[name] is not None]
    return [*named, *row["extra"].values()]


@pytest.mark.parametrize("name", ROWS)
def test_a_bench_answers_with_finite_numbers(quick_run: Run, name: str) -> None:
    rows = quick_run.rows(name)
    assert len(rows) == ROWS[name]
    for row in rows:
        assert row["unit"]
        assert all(math.isfinite(number) for number in numbers_of(row)), row
        assert (row["aim"] is None) == (row["met"] is None)
        assert row["name"] in quick_run.table


def test_the_json_tells_on_what_it_was_measured(quick_run: Run) -> None:
    assert {row["bench"] for row in quick_run.data["rows"]} == set(ROWS)
    assert quick_run.data["quick"] is True
    assert quick_run.data["machine"]["cpus"] >= 1
    assert quick_run.data["machine"]["packages"]["ib_async"].startswith("2.1")


def test_a_bench_that_is_not_there_is_refused() -> None:
    result = bench("--only", "nothing")
    assert result.returncode == 2
    assert "invalid choice" in result.stderr
