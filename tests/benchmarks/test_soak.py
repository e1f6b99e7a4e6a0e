"""The soak itself: it runs, tells what it saw, and calls out what does not add up."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.market_data import StreamKind
from moondev_ibkr.brokers.domain.streams import StreamCounts

from benchmarks.soak_consumers import APPETITES, Consumer
from benchmarks.soak_resources import Resources, Sample, descriptors, growing, slope
from benchmarks.soak_run import Plan, Soak

ROOT = Path(__file__).parents[2]


def command(minutes: float, *more: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.soak", "--minutes", str(minutes), "--every-order", "0.5", *more]


def soak(minutes: float, file: Path, *more: str) -> tuple[dict[str, Any], str]:
    """What a soak of so many minutes wrote, and printed; it must have passed."""
    done = subprocess.run(
        [*command(minutes), "--json", str(file), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=minutes * 60 + 180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text()), done.stdout


def test_a_soak_of_seconds_accounts_for_every_event(tmp_path: Path) -> None:
    data, printed = soak(0.2, tmp_path / "soak.json", "--symbols", "8", "--every-fault", "4")
    assert data["passed"] is True
    assert {check["name"]: check["ok"] for check in data["checks"]}["every event is accounted for"] is True
    assert set(data["consumers"]) == {appetite.name for appetite in APPETITES}
    for name, account in data["consumers"].items():
        kept = account["delivered"] + account["conflated"] + account["filtered"] + account["dropped"]
        assert account["received"] == kept, name
    assert data["consumers"]["slow, on purpose"]["conflated"] > 0
    assert data["trading"]["fills"] >= 1
    assert data["faults"]["1100, 1102 after 4 s"] == 1
    assert "every fill is told and booked once" in printed


@pytest.mark.soak
def test_a_soak_of_minutes_plays_every_fault(tmp_path: Path) -> None:
    data, _ = soak(4.0, tmp_path / "soak.json", "--every-fault", "10")
    assert len(data["faults"]) >= 10
    assert {check["ok"] for check in data["checks"]} == {True}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a process of its own there")
def test_ctrl_c_ends_a_soak_with_what_there_is() -> None:
    process = subprocess.Popen(command(5, "--symbols", "6"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert "soaking" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert "every event is accounted for" in rest
    assert "too few for a slope" in rest


class FakeStream:
    """A stream that ends at once; `counts` is what it claims."""

    def __init__(self, counts: StreamCounts) -> None:
        self.counts = counts


class FakeLife:
    def __init__(self, counts: StreamCounts, taken: int, markers: int = 0) -> None:
        self.stream, self.taken, self.markers = FakeStream(counts), taken, markers


GOOD = StreamCounts(received=10, delivered=6, conflated=2, dropped=2)


@pytest.mark.parametrize(
    ("counts", "taken", "received", "given", "fault"),
    [
        (GOOD, 6, 10, 10, None),
        (replace(GOOD, dropped=1), 6, 10, 10, "1 unaccounted"),
        (replace(GOOD, dropped=1, waiting=1), 6, 10, 10, "1 waiting"),
        (GOOD, 5, 10, 10, "6 counted as delivered, 5 taken"),
        (GOOD, 6, 9, 10, "9 received, where the door gave 10"),
    ],
)
def test_an_account_that_does_not_add_up_is_told(
    counts: StreamCounts, taken: int, received: int, given: int, fault: str | None
) -> None:
    consumer = Consumer(None, None, APPETITES[0], ["B000"])  # type: ignore[arg-type]
    consumer._settle(FakeLife(counts, taken), received, given)  # type: ignore[arg-type]
    assert [fault is not None and fault in text for text in consumer.account.faults] == (
        [] if fault is None else [True]
    )


def samples(megabytes_an_hour: float, seconds: int = 1000) -> list[Sample]:
    return [
        Sample(float(at), int(1e8 + megabytes_an_hour * 1e6 * at / 3600 + 1e6 * (at % 7)), 30, 17, 0.0)
        for at in range(seconds)
    ]


def test_a_slope_is_the_least_squares_line() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    with pytest.raises(ValueError, match="two points"):
        slope([(1, 1), (1, 2)])


@pytest.mark.parametrize(("megabytes_an_hour", "flat"), [(0, True), (10, True), (100, False)])
def test_memory_that_grows_is_told_from_memory_that_wobbles(megabytes_an_hour: float, flat: bool) -> None:
    risen, allowed, span = Resources(1000, samples(megabytes_an_hour)).growth()
    assert span == 749
    assert risen == pytest.approx(megabytes_an_hour * span / 3600, abs=0.1)
    assert (risen <= allowed) is flat


def test_tasks_that_pile_up_are_told() -> None:
    leaking = [replace(sample, tasks=30 + int(sample.at) // 100) for sample in samples(0)]
    assert Resources(1000, leaking).more("tasks") == pytest.approx(6, abs=1)
    assert Resources(1000, leaking).more("descriptors") == 0
    assert Resources(1000, samples(0)[:5]).more("tasks") is None


async def test_what_grows_is_named_by_its_line() -> None:
    kept: list[bytearray] = []

    async def grow() -> None:
        kept.extend(bytearray(100_000) for _ in range(20))

    assert any("test_soak.py" in line for line in (await growing(grow))[:3])


def test_a_failed_check_fails_the_soak() -> None:
    run = Soak(Plan(), print)
    assert not run.passed
    run._check("one", True, "")
    run._check("too short", None, "")
    assert run.passed
    run._check("other", False, "")
    assert not run.passed


async def test_a_task_that_fails_is_kept_and_ends_nothing() -> None:
    async def breaks() -> None:
        raise RuntimeError("broken")

    run = Soak(Plan(), print)
    async with AsyncExitStack() as stack:
        task = run._start(stack, breaks(), "breaks")
        await asyncio.wait([task], timeout=5)
    run._judge_streams([])
    failed = {check.name: check.text for check in run.checks if check.ok is False}
    assert failed["no part of the soak failed"] == "breaks: RuntimeError: broken"


def test_every_kind_of_stream_has_a_consumer() -> None:
    kinds = {kind for appetite in APPETITES for kind in appetite.kinds}
    assert kinds == set(StreamKind) - {StreamKind.NEWS}
    assert descriptors() is None or descriptors() > 0  # type: ignore[operator]
