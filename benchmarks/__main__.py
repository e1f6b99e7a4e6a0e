"""`python -m benchmarks [--json FILE] [--plot FILE] [--only NAME]… [--rounds N] [--quick]`: the table of README and
design."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from . import arrivals, cancel, fills, link, llm, memory, place, pool, quotes, scale, scan, tick_to_trade, ticks
from .machine import machine_facts
from .options import Options
from .plot import plot
from .rows import Row

Bench = Callable[[Options], Awaitable[list[Row]]]

#: by the name that --only takes
BENCHES: dict[str, Bench] = {
    "ticks": ticks.run,
    "arrivals": arrivals.run,
    "tick_to_trade": tick_to_trade.run,
    "scale": scale.run,
    "place": place.run,
    "cancel": cancel.run,
    "quotes": quotes.run,
    "scan": scan.run,
    "fills": fills.run,
    "memory": memory.run,
    "link": link.run,
    "llm": llm.run,
    "pool": pool.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="raw clients and this package, in turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the scale rows as SVG")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both sides in turns (default 5)")
    parser.add_argument("--quick", action="store_true", help="tiny amounts: does it work, not how fast")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    chosen = options.only or list(BENCHES)
    if options.plot and "scale" not in chosen:
        parser.error("--plot draws the rows of scale: name it with --only as well")
    logging.disable(logging.WARNING)
    rows: list[Row] = []
    for name in chosen:
        print(f"{name} …", file=sys.stderr, flush=True)
        gc.collect()
        rows += asyncio.run(BENCHES[name](Options(options.rounds, options.quick)))
    facts = machine_facts()
    print_table(rows, facts)
    data = {"machine": facts, "rounds": options.rounds, "quick": options.quick, "rows": [r.as_data() for r in rows]}
    if options.json:
        options.json.write_text(json.dumps(data, indent=2) + "\n")
        print(f"written to {options.json}")
    if options.plot:
        options.plot.write_text(plot(data), encoding="utf-8")
        print(f"drawn to {options.plot}")
    return 0


_LINE = "{:<58} {:>12} {:>12} {:>9} {:>15}  {:<16} {:<8}"


def print_table(rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Ratios are ours / raw, the median over the rounds, then the worst and best round."""
    print(_LINE.format("what", "raw client", "this package", "ours/raw", "worst..best", "aim", "reached") + " besides")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
        spread = "" if row.worst is None or row.best is None else f"{row.worst:.3g}..{row.best:.3g}"
        raw = "-" if row.raw is None else _figure(row.raw)
        met = {None: "", True: "yes", False: "NO"}[row.met]
        aim = row.aim.text if row.aim else ""
        line = _LINE.format(f"{row.name} ({row.unit})", raw, _figure(row.ours), ratio, spread, aim, met)
        more = ", ".join(f"{name} {_figure(value)}" for name, value in row.extra.items())
        print(f"{line}{more}".rstrip())
    print(f"{facts['cpus']} CPUs, load {facts['load']}, Python {facts['python']}, {facts['system']}")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
