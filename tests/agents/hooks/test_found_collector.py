"""The collector's one round holds what the host then asks for, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from moondev_ibkr.agents.hooks.agent_guards import bars_in, ohlcv_collector
from moondev_ibkr.agents.hooks.data_reads import DataReads
from moondev_ibkr.agents.hooks.desk import Desk
from moondev_ibkr.agents.hooks.hook_settings import HookSettings
from moondev_ibkr.agents.hooks.host_bars import HostBars
from moondev_ibkr.agents.hooks.host_broker import HostBroker
from moondev_ibkr.agents.hooks.nice_funcs_hyperliquid import HyperliquidFuncs
from moondev_ibkr.agents.hooks.nice_funcs_solana import SolanaFuncs
from moondev_ibkr.agents.hooks.patches import Patches
from moondev_ibkr.agents.hooks.routing import Routing
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.sync import LoopThread

TICKERS = ["AAPL", "MSFT", "IBM"]


class Collector:
    """A host's collector over the in-process paper broker; `rounds` are the lists that the broker was asked for."""

    def __init__(self, broker: Callable[[], Any]) -> None:
        self.rounds: list[list[str]] = []
        self.asked: list[int] = []
        desk = Desk(broker, HookSettings(symbols=tuple(TICKERS)), print)
        bars = HostBars(broker)
        data = DataReads(desk, bars)
        self.helpers = HyperliquidFuncs(data)
        solana = SolanaFuncs(desk, data, lambda name, default: default)
        self.module = ModuleType("src.data.ohlcv_collector")

        def collect_all_tokens(tokens: Any = None, days_back: Any = None, timeframe: Any = None, exchange: str = "X"):
            self.rounds_before = len(self.rounds)
            chosen = TICKERS if tokens is None else tokens
            if exchange == "SOLANA":
                return {token: solana.get_data(token, days_back, timeframe) for token in chosen}
            return {token: self.helpers.get_data(token, timeframe, bars_in(days_back, timeframe)) for token in chosen}

        vars(self.module).update(
            collect_all_tokens=collect_all_tokens, MONITORED_TOKENS=TICKERS, DATA_TIMEFRAME="1H", DAYSBACK_4_DATA=3
        )
        ohlcv_collector(self.module, bars, Routing(TICKERS), Patches())


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with LoopThread("collector test") as loop:
        held = HostBroker(lambda: get_broker("paper"), loop=loop)
        made = Collector(held.sync)
        asked = PaperBroker.many_bars

        async def many_bars(self: PaperBroker, symbols: Any, *args: Any, **named: Any) -> Any:
            wanted = list(symbols)
            made.rounds.append(wanted)
            return await asked(self, wanted, *args, **named)

        monkeypatch.setattr(PaperBroker, "many_bars", many_bars)
        yield made
        held.close()


@pytest.mark.parametrize("exchange", ["ASTER", "HYPERLIQUID", "EXTENDED", "SOLANA"])
@pytest.mark.parametrize("timeframe", ["15m", "1H", "1D", "1W", "1M"])
def test_after_the_one_round_nothing_is_asked_again(collector: Collector, exchange: str, timeframe: str) -> None:
    frames = collector.module.collect_all_tokens(TICKERS, 3, timeframe, exchange)
    assert all(len(frame) for frame in frames.values())
    assert collector.rounds
    assert all(wanted == TICKERS for wanted in collector.rounds)
    assert len(collector.rounds) == collector.rounds_before


def test_an_empty_list_asks_for_nothing(collector: Collector) -> None:
    assert collector.module.collect_all_tokens([], 3, "1H", "ASTER") == {}
    assert collector.rounds == []


@pytest.mark.parametrize(
    ("days", "timeframe", "expected"),
    [(3, "1H", 72), (3, "1m", 4320), (0.33, "15m", 31), (3, "3D", 1), (3, "1W", 0), (3, "1M", 0), (90, "1month", 3)],
)
def test_the_hosts_own_count_of_bars(days: float, timeframe: str, expected: int) -> None:
    assert bars_in(days, timeframe) == expected


def test_no_bars_are_one_and_fewer_are_refused(collector: Collector) -> None:
    assert len(collector.helpers.get_data("AAPL", "1w", 0)) == 1
    assert len(collector.helpers.get_data("AAPL", "1d", 7)) == 7
    with pytest.raises(InvalidRequest):
        collector.helpers.get_data("AAPL", "1w", -1)
