"""Options of the suite: `--soak` runs what takes minutes too. Some tests run without the measuring of coverage."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parent
#: What starts processes, or plays the same lines for minutes that other tests cover: measured, it takes twice the time.
UNMEASURED = (
    "benchmarks",
    "brokers/interactive_brokers/test_decoding_ticks.py",
    "brokers/interactive_brokers/test_ib_client_lines.py",
    "brokers/interactive_brokers/test_ib_line_budget.py::test_a_simulated_day_",
    "brokers/interactive_brokers/test_ib_line_budget.py::TestDay",
    "brokers/test_risk_bounds.py",
    "cli/test_cli_demo.py",
    "cli/test_cli_host.py",
    "cli/test_cli_process.py",
    "cli/test_cli_run.py",
    "host",
    "scenarios/test_gateway_pool.py",
    "scenarios/test_gateway_process.py",
    "scenarios/test_sigkill.py",
    "scenarios/test_sigkill_failover.py",
    "scenarios/test_sigkill_portal.py",
    "scenarios/test_subscription_budget.py",
    "sim",
    "test_docs.py",
    "test_docs_streams.py",
    "test_imports.py",
    "wire/test_wire_responses.py",
    "wire_interop",
)
_PREFIXES = tuple(f"{ROOT.name}/{name}" for name in UNMEASURED)
#: By this, coverage begins to measure in a process that is started.
_HANDED_ON = "COVERAGE_PROCESS_CONFIG"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests as well (whole ranges, every seed)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes minutes; runs with --soak only")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # as a shell's background job has it, and so would every process that a test starts and presses Ctrl-C on
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    skip = pytest.mark.skip(reason="long; run with --soak")
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not item.nodeid.startswith(_PREFIXES):
        return (yield)
    with _unmeasured():
        return (yield)


@contextmanager
def _unmeasured() -> Iterator[None]:
    """No measuring in this process, which may do it more than once (a worker is a process that was started), nor in
    those that it starts."""
    handed_on = os.environ.pop(_HANDED_ON, None)
    stopped = []
    while (running := coverage.Coverage.current()) is not None:
        running.stop()
        stopped.append(running)
    try:
        yield
    finally:
        for paused in reversed(stopped):
            paused.start()
        if handed_on is not None:
            os.environ[_HANDED_ON] = handed_on
