"""`python -m benchmarks.soak [--minutes 60] [--json FILE]`: streams, orders and faults for an hour, and what must hold.

A paper gateway in a process of its own, whose market moves in real time; in this process an adapter on it with streams
of every kind, consumers of different speed, an order now and then, and a fault of the link now and then. Prints a line
each minute, and at the end a table. Ends 0 when everything held, 1 when something did not, 130 after Ctrl-C, which
judges what there is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .machine import machine_facts
from .soak_run import Plan, Soak

#: The market's session leaves five and a half hours from the soak's start.
LONGEST = 330.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="an hour of streams, orders, faults")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60, at most 330)")
    parser.add_argument("--symbols", type=int, default=40, help="symbols of the market (default 40)")
    parser.add_argument("--prints", type=float, default=4.0, metavar="N", help="trades a second of each (default 4)")
    parser.add_argument("--every-fault", type=float, default=45.0, metavar="S", help="seconds between faults")
    parser.add_argument("--every-order", type=float, default=7.0, metavar="S", help="seconds between orders")
    parser.add_argument("--seed", type=int, default=0, help="of the market")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.minutes <= LONGEST:
        parser.error(f"--minutes must lie above 0 and at or below {LONGEST:.0f}")
    if not 6 <= chosen.symbols <= 90 or not 0 < chosen.prints <= 100:
        parser.error("--symbols must lie between 6 and 90, --prints above 0 and at or below 100")
    if min(chosen.every_fault, chosen.every_order) <= 0:
        parser.error("--every-fault and --every-order must lie above 0")
    seconds = chosen.minutes * 60
    plan = Plan(
        seconds,
        chosen.symbols,
        chosen.prints,
        chosen.every_order,
        chosen.every_fault,
        min(60.0, seconds / 4),
        chosen.seed,
    )
    logging.disable(logging.WARNING)
    run = Soak(plan, lambda line: print(line, flush=True))
    interrupted = asyncio.run(soak(run))
    print_summary(run)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"machine": machine_facts(), **run.as_data()}, indent=2) + "\n")
        print(f"written to {chosen.json}")
    return 130 if interrupted else 0 if run.passed else 1


async def soak(run: Soak) -> bool:
    """Whether Ctrl-C ended it."""
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        print("Ctrl-C: ends with what there is; once more ends at once", flush=True)
        run.stop.set()

    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, interrupt)
    except NotImplementedError:
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(interrupt))
    await run.run()
    return interrupted


def print_summary(run: Soak) -> None:
    columns = ("streams", "received", "delivered", "conflated", "filtered", "dropped")
    print(f"\n{run.lasted / 60:.1f} minutes\n" + "{:<32}".format("consumer") + "".join(f"{c:>12}" for c in columns))
    for consumer in run.consumers:
        figures = "".join(f"{getattr(consumer.account, column):>12,}" for column in columns)
        print(f"{consumer.appetite.name:<32}{figures}")
    for name, counts in (
        ("orders", run.trading.as_data()),
        ("faults", dict(run.faults)),
        ("live bars", dict(run.bars)),
    ):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in counts.items()))
    print()
    for check in run.checks:
        print(f"{ {True: 'ok', False: 'FAILED', None: 'not judged'}[check.ok]:<11} {check.name}: {check.text}")
    for failure in run.failures:
        print(f"           {failure}")


if __name__ == "__main__":
    sys.exit(main())
