"""`python -m benchmarks.performance [--bench FILE] [--soak FILE]`: docs/performance.md and .svg from measured data.

The files are what the `--json` of the benchmarks and of the soak wrote. They are kept beside the page, as
performance.json and performance-soak.json, so that a test can hold it to them; what is not named is read from there.
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

Written by `python -m benchmarks.performance` from one run of `python -m benchmarks`, whose data is
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
{soak}"""

_SOAK = """
## The soak

One run of `python -m benchmarks.soak`, {minutes:.0f} minutes, whose data is
[performance-soak.json](performance-soak.json): {events:,} market events, {orders} orders, {fills} fills and {faults}
faults of the link. {machine}

{checks}

What became of every event that a consumer's stream received:

{consumers}
"""
_COUNTS = ("streams", "received", "delivered", "conflated", "filtered", "dropped")
_OK = {True: "held", False: "FAILED", None: "not judged"}


def render(data: Mapping[str, Any], soak: Mapping[str, Any] | None = None) -> str:
    """The page of the data that the `--json` of benchmarks and soak write."""
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
        soak="" if soak is None else _soak(soak),
    )


def _soak(data: Mapping[str, Any]) -> str:
    checks = [[check["name"], _OK[check["ok"]], check["text"]] for check in data["checks"]]
    counts = [[name, *(f"{row[count]:,}" for count in _COUNTS)] for name, row in data["consumers"].items()]
    return _SOAK.format(
        minutes=data["lasted_seconds"] / 60,
        events=data["minutes"][-1]["events"] if data["minutes"] else 0,
        orders=sum(data["trading"]["placed"].values()),
        fills=data["trading"]["fills"],
        faults=sum(data["faults"].values()),
        machine=_machine(data["machine"]),
        checks=_markdown(["what must hold", "", "seen"], checks),
        consumers=_markdown(["consumer", *_COUNTS], counts),
    )


def _machine(facts: Mapping[str, Any]) -> str:
    busy = " (more than the CPUs can serve: absolute figures are poor, and ratios what to look at)"
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return (
        f"{facts['time'][:10]}: {facts['cpus']} CPUs ({facts['processor']}), {facts['system']}, "
        f"{facts['implementation']} {facts['python']}, {facts['event_loop']}, SQLite {facts['sqlite']}, {packages}. "
        f"Load average at the end {facts['load']:.1f}{busy if facts['load'] > facts['cpus'] else ''}."
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
    return _markdown(head, cells)


def _markdown(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
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
    parser.add_argument("--bench", type=Path, metavar="FILE", help="what the --json of the benchmarks wrote")
    parser.add_argument("--soak", type=Path, metavar="FILE", help="what the --json of the soak wrote")
    parser.add_argument("--to", type=Path, default=DOCS, metavar="FOLDER", help="where the page goes (default docs)")
    chosen = parser.parse_args(arguments)
    kept, kept_soak = chosen.to / f"{NAME}.json", chosen.to / f"{NAME}-soak.json"
    text = (chosen.bench or kept).read_text(encoding="utf-8")
    source = chosen.soak or kept_soak
    soak_text = source.read_text(encoding="utf-8") if source.exists() else None
    data = json.loads(text)
    page = render(data, None if soak_text is None else json.loads(soak_text))
    files = {kept: text, chosen.to / f"{NAME}.md": page, chosen.to / f"{NAME}.svg": plot(data)}
    if soak_text is not None:
        files[kept_soak] = soak_text
    for file, content in files.items():
        file.write_text(content, encoding="utf-8")
    print("written: " + ", ".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
