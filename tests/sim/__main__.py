"""`python -m tests.sim`: many episodes over all cores until enough faults hit, or one seed again in full.

    python -m tests.sim --seconds 600 --jobs 2       at least --faults of them, or until the time is over
    python -m tests.sim --seed 1234                  that episode alone, with its trace

Ends 1 when an invariant did not hold; every failing seed is printed with the command that replays it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from .episode import Outcome, run_episode

#: Lines of the trace that are printed for a failing seed, and for one that is replayed.
TAIL, LONG_TAIL = 60, 400


@dataclass(slots=True)
class Tally:
    """What all episodes came to."""

    episodes: int = 0
    orders: int = 0
    executions: int = 0
    steps: int = 0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.episodes += 1
        self.orders += outcome.orders
        self.executions += outcome.executions
        self.steps += outcome.steps
        self.kills += outcome.kills
        self.faults += outcome.faults
        if outcome.violation is not None:
            self.failures.append(outcome)

    @property
    def total(self) -> int:
        return sum(self.faults.values())

    def table(self) -> str:
        rows = [f"{number:>9,}  {name}" for name, number in self.faults.most_common()]
        return "\n".join([*rows, f"{self.total:>9,}  faults that hit something in flight"])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _play(seed: int) -> Outcome:
    return run_episode(seed, tail=TAIL)


def _outcomes(seeds: Iterator[int], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(_play, seeds)
        return
    # forked children have the modules and the calendar's tables already
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(_play, seeds)


def _bounded(first: int, deadline: float, tally: Tally, wanted: int) -> Iterator[int]:
    for seed in count(first):
        if time.monotonic() >= deadline or tally.total >= wanted:
            return
        yield seed


def _told(outcome: Outcome) -> str:
    lines = [
        f"seed {outcome.seed}, step {outcome.steps}: {outcome.violation}",
        f"  {outcome.plan}",
        *(f"  {line}" for line in outcome.tail),
        f"  again: python -m tests.sim --seed {outcome.seed}",
    ]
    return "\n".join(lines)


def replay(seed: int) -> int:
    """One seed, with all that is kept of its trace."""
    outcome = run_episode(seed, tail=LONG_TAIL)
    _say("\n".join(outcome.tail))
    held = "every invariant held" if outcome.violation is None else f"{outcome.violation}"
    _say(f"seed {seed}: {held}; {outcome.steps} steps, {sum(outcome.faults.values())} faults, trace {outcome.digest}")
    return 0 if outcome.violation is None else 1


def run(first: int, seconds: float, jobs: int, wanted: int) -> int:
    began = time.monotonic()
    tally = Tally()
    # imap reads ahead: the seeds are handed out as answers come
    seeds = _Fed(_bounded(first, began + seconds, tally, wanted), jobs)
    for outcome in _outcomes(seeds, jobs):
        tally.add(outcome)
        seeds.answered()
        if outcome.violation is not None:
            _say(_told(outcome))
    _say(tally.table())
    _say(
        f"{tally.episodes:,} episodes from seed {first}, {tally.orders:,} orders, {tally.executions:,} executions,"
        f" {tally.steps:,} steps, {tally.kills:,} restarts in {time.monotonic() - began:.0f} s;"
        f" {len(tally.failures)} failed"
    )
    if tally.total < wanted:
        _say(f"the time was over before {wanted:,} faults")
    return 1 if tally.failures else 0


class _Fed:
    """Seeds for a pool, a few ahead of the answers and no more, so that "enough" is noticed in time."""

    def __init__(self, seeds: Iterator[int], jobs: int) -> None:
        self._seeds = seeds
        self._room = multiprocessing.get_context("fork").Semaphore(4 * jobs)

    def __iter__(self) -> _Fed:
        return self

    def __next__(self) -> int:
        self._room.acquire()
        return next(self._seeds)

    def answered(self) -> None:
        self._room.release()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="replay this one and print its trace")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many (0)")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long at most (600)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--faults", type=int, default=20_000, help="how many must have hit (20000)")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return replay(chosen.seed)
    return run(chosen.first, chosen.seconds, max(1, chosen.jobs), chosen.faults)


if __name__ == "__main__":
    sys.exit(main())
