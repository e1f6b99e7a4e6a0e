"""A small fixed set of episodes, and proof that the simulation can fail: `make sim` plays many more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from .__main__ import main
from .episode import run_episode
from .mutants import BUSY, CAUGHT_BY, PLANS, Mutant
from .oracle import Violation
from .plan import Doors, Plan

ROOT = Path(__file__).parents[2]
SEEDS = range(8)
#: A broken adapter is caught with one of these or another.
MUTANT_SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_q20_every_invariant_holds(seed):
    outcome = run_episode(seed)
    assert outcome.violation is None, "\n".join((str(outcome.violation), *outcome.tail))
    assert outcome.orders


@pytest.mark.parametrize("doors", Doors)
@pytest.mark.parametrize("seed", range(2))
def test_q18_every_invariant_holds_through_either_door_and_both(doors, seed):
    outcome = run_episode(seed, plan=Plan.drawn(Random(f"{doors} {seed}"), doors))
    assert outcome.violation is None, "\n".join((str(outcome.violation), *outcome.tail))
    assert outcome.orders


def test_q20_the_seeds_hit_something():
    """Enough kinds of faults, restarts and executions to mean something."""
    outcomes = [run_episode(seed) for seed in (1, 6)]
    faults = sum((outcome.faults for outcome in outcomes), start=outcomes[0].faults.__class__())
    assert len(faults) >= 8
    assert sum(faults.values()) >= 40
    assert sum(outcome.executions for outcome in outcomes) >= 10


def test_q20_a_seed_replays_exactly_whatever_ran_before_and_however_python_hashes():
    script = "from tests.sim.episode import run_episode; print(run_episode(5).digest, run_episode(3).digest)"
    told = set()
    for hash_seed in ("0", "4711"):
        answer = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        told.add(answer.stdout.strip())
    three, five = run_episode(3).digest, run_episode(5).digest
    assert told == {f"{five} {three}"}
    assert three != five


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_broken_adapter_is_caught(mutant: type[Mutant]):
    for seed in MUTANT_SEEDS:
        violation = run_episode(seed, adapter_type=mutant, plan=PLANS.get(mutant, BUSY)).violation
        if violation is not None:
            assert violation.invariant in CAUGHT_BY[mutant], violation
            return
    pytest.fail(f"{mutant.__name__} was not caught with seeds {MUTANT_SEEDS}")


def test_the_command_prints_a_table_by_kind_and_ends_0(capsys):
    assert main(["--jobs", "1", "--faults", "20", "--seconds", "60"]) == 0
    told = capsys.readouterr().out
    assert "faults that hit something in flight" in told
    assert "0 failed" in told


def test_a_failing_seed_is_printed_with_the_command_that_replays_it(capsys, monkeypatch):
    import tests.sim.__main__ as command

    def fails(seed: int, tail: int = 60):
        outcome = run_episode(seed, tail=tail)
        return outcome.__class__(
            **{**_fields(outcome), "violation": Violation("Q1", "made up"), "tail": ("last line",)}
        )

    monkeypatch.setattr(command, "run_episode", fails)
    assert main(["--jobs", "1", "--faults", "1", "--first", "3"]) == 1
    told = capsys.readouterr().out
    assert "seed 3" in told
    assert "Q1: made up" in told
    assert "last line" in told
    assert "python -m tests.sim --seed 3" in told
    assert main(["--seed", "3"]) == 1


def _fields(outcome):
    return {name: getattr(outcome, name) for name in outcome.__slots__}
