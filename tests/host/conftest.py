"""A host and a market for each file of the contract, and a state folder for each story."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .bars import write_bars
from .contract import Host, HostName, Stage, open_host
from .market import Market

#: So many that each story has some that nobody else trades.
SYMBOLS = tuple(f"S{first}{second}" for first in "ABCDEFGH" for second in "ABCDEF")


@pytest.fixture(scope="module", params=list(HostName), ids=lambda name: str(name))
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return open_host(request.param, tmp_path_factory.mktemp("host") / "host")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A minute after an open, where time stands still."""
    folder = tmp_path_factory.mktemp("market")
    start = write_bars(folder / "bars", SYMBOLS)
    with Market(folder, ["--bars", str(folder / "bars"), "--start", start]) as running:
        running.tell("advance_by", 60)
        yield running


@pytest.fixture(scope="module")
def unused() -> list[str]:
    return list(SYMBOLS)


@pytest.fixture
def stage(host: Host, market: Market, unused: list[str], tmp_path: Path) -> Stage:
    return Stage(host, market, market.serve(tmp_path / "state"), unused)
