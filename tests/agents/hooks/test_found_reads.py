"""What was last heard is no answer while IB is away, and a position without a price can still be closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moondev_ibkr.agents.hooks.data_reads import DataReads
from moondev_ibkr.agents.hooks.desk import Desk
from moondev_ibkr.agents.hooks.hook_settings import HookSettings
from moondev_ibkr.agents.hooks.host_bars import HostBars
from moondev_ibkr.agents.hooks.host_broker import HostBroker
from moondev_ibkr.agents.hooks.nice_funcs_aster import AsterFuncs
from moondev_ibkr.agents.hooks.nice_funcs_solana import SolanaFuncs
from moondev_ibkr.brokers.base_broker import Health
from moondev_ibkr.brokers.errors import NoData, NotConnected
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.sync import LoopThread

AWAY = Health(True, False, "link: BROKER_DOWN", (("link", False, "BROKER_DOWN"),))


@pytest.fixture
def desk() -> Iterator[Desk]:
    with LoopThread("reads test") as loop:
        held = HostBroker(lambda: get_broker("paper"), loop=loop)
        yield Desk(held.sync, HookSettings(symbols=("AAPL", "MSFT"), fill_deadline=5.0), lambda text: None)
        held.close()


def test_no_read_answers_while_ib_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = HostBars(desk.live)
    assert desk.buy("AAPL", 2_000) is not None
    assert len(bars.frame("AAPL", "1D", 10))
    monkeypatch.setattr(PaperBroker, "health", lambda self: AWAY)
    reads: tuple[Callable[[], Any], ...] = (
        lambda: desk.price("AAPL"),
        lambda: desk.holding("AAPL"),
        lambda: desk.holding("MSFT"),
        desk.holdings,
        desk.owned,
        desk.equity,
        desk.cash,
        lambda: bars.frame("AAPL", "1D", 10),
    )
    for read in reads:
        with pytest.raises(NotConnected, match="BROKER_DOWN"):
            read()
    assert desk.read_failures == len(reads) - 1


def test_what_has_no_price_is_closed_all_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.buy("AAPL", 2_000) is not None
    assert desk.buy("MSFT", 2_000) is not None

    def no_price(self: Desk, row: Any) -> Any:
        raise NoData(f"price of {row.instrument.symbol}", "the broker told none", "")

    monkeypatch.setattr(Desk, "_holding", no_price)
    data = DataReads(desk, HostBars(desk.live))
    with pytest.raises(NoData):
        desk.holdings()
    assert AsterFuncs(desk, data).chunk_kill("AAPL", 3, 199) is True
    assert len(SolanaFuncs(desk, data, lambda name, default: default).close_all_positions()) == 1
    assert desk.owned() == []


def test_what_is_left_of_a_close_is_told_without_a_price(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.buy("AAPL", 2_000) is not None

    def no_price(self: Desk, row: Any) -> Any:
        raise NoData(f"price of {row.instrument.symbol}", "the broker told none", "")

    monkeypatch.setattr(Desk, "_holding", no_price)
    monkeypatch.setattr(Desk, "close", lambda self, symbol: None)
    funcs = AsterFuncs(desk, DataReads(desk, HostBars(desk.live)))
    assert funcs.chunk_kill("AAPL", 3, 199) is False
    assert funcs.chunk_kill("MSFT", 3, 199) is True
