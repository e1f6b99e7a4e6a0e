"""`python -m benchmarks.performance [FILE]`: docs/performance.md and .svg from what `make bench` wrote (bench.json).

The data is kept beside them as docs/performance.json, so that a test can hold the page to it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .plot import plot

DOCS = Path(__file__).resolve().parent.parent / "docs"
NAME = "performance"
_MET = {True: "yes", False: "no", None: ""}

_PAGE = """# Performance

Written by `python -m benchmarks.performance` from one run of `make bench`, whose data is
[performance.json](performance.json). Nothing here is typed by hand.

{machine}

Both sides run in turns against the same paper gateway, which is a process of its own on the same machine, so that no
network is in any figure. "Raw" is `ib_async` as it comes, or what the row names. Figures are medians over {rounds}
rounds at most; the ratio is the median of the rounds' ratios, and worst..best are its extremes.{quick}

## Cost against symbols and consumers

Ticks that the gateway rendered beforehand, read 100 at a time. Every consumer sees every symbol. Raw's consumers are
handlers of `pendingTickersEvent`; ours are tasks in `async for quote in broker.stream(symbols)`, each with a queue of
its own.

![Microseconds a tick against symbols and consumers](performance.svg)

{scale}

## What was aimed at, and reached

{aims}

## Everything else that was measured

{others}
"""


def render(data: Mapping[str, Any]) -> str:
    """The page of the data that `--json` writes."""
    rows = data["rows"]
    scale = [row for row in rows if row["bench"] == "scale"]
    aims = [row for row in rows if row["aim"] is not None and row["bench"] != "scale"]
    others = [row for row in rows if row["aim"] is None and row["bench"] != "scale"]
    return _PAGE.format(
        machine=_machine(data["machine"]),
        rounds=data["rounds"],
        quick=" This was a quick run, whose figures mean nothing." if data["quick"] else "",
        scale=_table(scale, ("symbols", "consumers")),
        aims=_table(aims, aimed=True),
        others=_table(others),
    )


def _machine(facts: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return (
        f"{facts['time'][:10]}: {facts['cpus']} CPUs ({facts['processor']}), {facts['system']}, "
        f"{facts['implementation']} {facts['python']}, {facts['event_loop']}, SQLite {facts['sqlite']}, {packages}. "
        f"Load average at the end {facts['load']:.1f}."
    )


def _table(rows: Sequence[Mapping[str, Any]], left_out: Sequence[str] = (), *, aimed: bool = False) -> str:
    head = [
        "what",
        "raw",
        "this package",
        "ours / raw",
        "worst..best",
        *(["aim", "reached"] if aimed else []),
        "besides",
    ]
    cells = [[_name(row), *_figures(row), *(_aim(row) if aimed else []), _besides(row, left_out)] for row in rows]
    if not any(line[-1] for line in cells):
        head, cells = head[:-1], [line[:-1] for line in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *cells))


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['bench']}: {row['name']} ({row['unit']})".replace("|", "\\|")


def _figures(row: Mapping[str, Any]) -> list[str]:
    spread = "" if row["worst"] is None else f"{figure(row['worst'])}..{figure(row['best'])}"
    ratio = "" if row["ratio"] is None else f"{figure(row['ratio'])}×"
    return ["" if row["raw"] is None else figure(row["raw"]), figure(row["ours"]), ratio, spread]


def _aim(row: Mapping[str, Any]) -> list[str]:
    return [row["aim"], _MET[row["met"]]]


def _besides(row: Mapping[str, Any], left_out: Sequence[str]) -> str:
    return ", ".join(f"{name} {figure(value)}" for name, value in row["extra"].items() if name not in left_out)


def figure(value: float) -> str:
    """Three digits, or whole thousands."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description="docs/performance.*")
    parser.add_argument("file", type=Path, nargs="?", default=Path("bench.json"), help="what --json wrote")
    parser.add_argument("--to", type=Path, default=DOCS, metavar="FOLDER", help="where the page goes (default docs)")
    chosen = parser.parse_args(arguments)
    text = chosen.file.read_text()
    data = json.loads(text)
    for ending, content in (("json", text), ("md", render(data)), ("svg", plot(data))):
        (chosen.to / f"{NAME}.{ending}").write_text(content, encoding="utf-8")
    print(f"written to {chosen.to / NAME}.md, .svg and .json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
