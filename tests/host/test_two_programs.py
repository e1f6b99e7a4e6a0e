"""Two programs of a host at the same time, in two processes on one gateway and one account; and one by the command,
with a model on an Ollama server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..agents.llm.ollama_server import ollama_server
from .bars import CRASHED
from .contract import Host, HostName, Stage, open_host
from .market import Market
from .story import Told


@pytest.fixture(scope="module", params=[HostName.LOOKALIKE, HostName.FORK, HostName.UPSTREAM], ids=str)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return open_host(request.param, tmp_path_factory.mktemp("host") / "host")


@pytest.fixture(autouse=True)
def flat(market: Market) -> Iterator[None]:
    yield
    market.flatten()


def buyer(symbol: str, cycles: int) -> Any:
    """The trading agent, whose model always says BUY."""
    attach_ib([symbol])
    from src.agents import trading_agent as module
    from src.models.base_model import ModelResponse
    from src.models.model_factory import model_factory

    class Scripted:
        model_name = "scripted"

        def generate_response(self, **_: object) -> object:
            return ModelResponse(content="BUY", raw_response=None, model_name="scripted")

    module.USE_SWARM_MODE = False
    module.AI_MODEL_TYPE = "xai"
    model_factory._models["xai"] = Scripted()
    agent = module.TradingAgent()
    broker.sync()
    pause("both are connected")
    for _ in range(cycles):
        agent.run_trading_cycle()
    position = module.n.get_position(symbol)
    pause("both are done")
    return {"shares": position and position["position_amount"], "health": broker.sync().health().connected}


def scanner(symbols: list[str], rounds: int) -> Any:
    """The live scanner again and again where the host has one, else a look at the bars, prices and the account."""
    attach_ib(symbols)
    from src import nice_funcs as n

    broker.sync()
    pause("both are connected")
    found = []
    for _ in range(rounds):
        try:
            import aegs_live_scanner as module
        except ModuleNotFoundError:
            found.append([row for row in symbols if len(n.get_data(row, 100, "1D")) and n.token_price(row)][:1])
            continue
        one = module.AEGSLiveScanner()
        one.priority_symbols, one.all_symbols = {"all": symbols}, symbols
        one.scan_all_symbols()
        found.append([row["symbol"] for row in one.buy_signals])
    seen = n.get_position(symbols[1])
    pause("both are done")
    return {"found": found, "seen": seen, "health": broker.sync().health().connected}


def together(stage: Stage, first: tuple[Any, dict[str, Any]], second: tuple[Any, dict[str, Any]]) -> list[Told]:
    """Both stories in processes of their own; they meet where they pause, and what fails in one fails here."""
    meeting = {name: threading.Barrier(2, timeout=60) for name in ("both are connected", "both are done")}
    meanwhile = {name: barrier.wait for name, barrier in meeting.items()}

    def run(act: tuple[Any, dict[str, Any]]) -> Told:
        try:
            return stage.tell(act[0], meanwhile=meanwhile, **act[1])
        except BaseException:
            for barrier in meeting.values():
                barrier.abort()
            raise

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, [first, second]))


def test_an_agent_trades_while_a_scanner_scans(stage: Stage) -> None:
    (symbol,) = stage.symbols(1)
    listed = [CRASHED, symbol]
    agent, scan = together(stage, (buyer, {"symbol": symbol, "cycles": 2}), (scanner, {"symbols": listed, "rounds": 3}))
    assert len(stage.market.orders(symbol)) == 1, agent.out
    (buy,) = stage.market.orders(symbol)
    shares = float(buy["filled"])
    assert agent.result == {"shares": shares, "health": True}
    assert scan.result["found"] == [[CRASHED]] * 3
    assert scan.result["health"]
    assert stage.market.orders(CRASHED) == []


def test_two_agents_on_one_symbol_open_one_position(stage: Stage) -> None:
    (symbol,) = stage.symbols(1)
    act = (buyer, {"symbol": symbol, "cycles": 2})
    one, other = together(stage, act, act)
    filled = [float(row["filled"]) for row in stage.market.orders(symbol) if float(row["filled"])]
    assert len(filled) == 1, "an order was doubled"
    assert stage.market.held(symbol) == filled[0]
    assert {one.result["shares"], other.result["shares"]} <= {filled[0], None}
    assert one.result["health"]
    assert other.result["health"]
    clients = {row["client_id"] for row in stage.market.orders(symbol)}
    assert len(clients) == len(stage.market.orders(symbol))


def test_the_command_runs_the_agent_with_a_model_on_an_ollama_server(stage: Stage, tmp_path: Path) -> None:
    (symbol,) = stage.symbols(1)
    words = ["trading_agent", "--once", "--symbols", symbol, "--set", "USE_SWARM_MODE=False"]
    with ollama_server() as server:
        env = {"IB_OLLAMA_HOST": server.host}
        server.says("BUY\nConfidence: 70%")
        bought = stage.command(*words, "--set", "AI_MODEL_TYPE=gpu_ollama", env=env)
        server.says("I would SELL some of it")
        kept = stage.command(*words, "--set", "AI_MODEL_TYPE=gpu_ollama", env=env)
        server.says("**SELL**")
        sold = stage.command(*words, "--set", "AI_MODEL_TYPE=gpu_ollama", env=env)
        assert len(server.chats) == 3
        assert "open" in server.chats[0]["messages"][-1]["content"], "the model saw no bars"
    assert [told.code for told in (bought, kept, sold)] == [0, 0, 0], (bought.err, kept.err, sold.err)
    assert len(stage.market.orders(symbol)) == 2, f"{bought.out}{bought.err}"
    buy, sell = stage.market.orders(symbol)
    assert (buy["side"], sell["side"], sell["filled"]) == ("BUY", "SELL", buy["filled"])
    assert f"{int(float(buy['filled']))} {symbol}" in bought.err
    assert "taken as NOTHING" in kept.err
    assert "owned: nothing" in sold.err
