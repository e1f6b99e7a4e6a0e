"""docs/performance.md and .svg are what the data of a run gives; no figure in them is typed by hand."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks.performance import figure, main, render
from benchmarks.plot import plot

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def data() -> dict[str, Any]:
    return json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))


@pytest.fixture
def soak() -> dict[str, Any]:
    return json.loads((DOCS / "performance-soak.json").read_text(encoding="utf-8"))


def test_the_page_is_what_the_data_gives(data: dict[str, Any], soak: dict[str, Any]) -> None:
    assert (DOCS / "performance.md").read_text(encoding="utf-8") == render(data, soak), (
        "python -m benchmarks.performance"
    )
    assert (DOCS / "performance.svg").read_text(encoding="utf-8") == plot(data), "python -m benchmarks.performance"


def test_the_data_is_of_a_full_run(data: dict[str, Any]) -> None:
    assert data["quick"] is False
    assert {"ticks", "scale", "place", "cancel", "quotes", "fills", "memory"} <= {row["bench"] for row in data["rows"]}


def test_every_row_stands_on_the_page_with_its_figures(data: dict[str, Any]) -> None:
    lines = render(data).splitlines()
    for row in data["rows"]:
        (line,) = [line for line in lines if line.startswith(f"| {row['bench']}: {row['name']} (")]
        assert f"| {figure(row['ours'])} |" in line
        assert row["aim"] is None or f"| {row['aim']} | {'yes' if row['met'] else 'no'} |" in line


def test_another_figure_is_another_page(data: dict[str, Any]) -> None:
    changed = copy.deepcopy(data)
    changed["rows"][0]["ours"] *= 2
    assert render(changed) != render(data)


def test_the_plot_has_a_point_for_each_figure(data: dict[str, Any]) -> None:
    root = ET.fromstring(plot(data))
    told = [mark.text for circle in root.iter(f"{SVG}circle") for mark in circle.iter(f"{SVG}title")]
    sizes = [row for row in data["rows"] if row["bench"] == "scale"]
    # the row of 100 symbols and one consumer stands in both panels
    assert len(told) == 2 * (len(sizes) + 1)
    assert {f"{row[side]:.3g}" for row in sizes for side in ("raw", "ours")} == set(told)
    costs = sorted(row["raw"] for row in sizes)
    heights = {mark.text: float(circle.get("cy", "")) for circle in root.iter(f"{SVG}circle") for mark in circle}
    assert heights[f"{costs[0]:.3g}"] > heights[f"{costs[-1]:.3g}"], "a higher cost stands higher"


def test_a_run_without_scale_rows_cannot_be_drawn(data: dict[str, Any]) -> None:
    rest = [row for row in data["rows"] if row["bench"] != "scale"]
    with pytest.raises(ValueError, match="run the benchmark `scale`"):
        plot(data | {"rows": rest})


def test_the_files_are_written_where_they_are_wanted(data: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "bench.json"
    source.write_text(json.dumps(data))
    assert main(["--bench", str(source), "--to", str(tmp_path)]) == 0
    assert (tmp_path / "performance.md").read_text(encoding="utf-8") == render(data)
    assert json.loads((tmp_path / "performance.json").read_text()) == data


def test_a_soak_is_added_to_what_is_there(data: dict[str, Any], soak: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "performance.json").write_text(json.dumps(data))
    source = tmp_path / "soak.json"
    source.write_text(json.dumps(soak))
    assert main(["--soak", str(source), "--to", str(tmp_path)]) == 0
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert page == render(data, soak)
    for check in soak["checks"]:
        assert f"| {check['name']} | {'held' if check['ok'] else ''}" in page
    for account in soak["consumers"].values():
        assert f"| {account['received']:,} | {account['delivered']:,} |" in page
