"""The contract: hooks go on and come off whole; late, twice, or on another version they say so. Nothing connects."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .contract import ATTACH, Host, Stage
from .lookalike import edit, write_host
from .story import Told, run, tell


@pytest.fixture
def stage(host: Host, tmp_path: Path) -> Stage:
    """A host with no market: whoever connects fails."""
    return Stage(host, None, tmp_path / "state", [])  # type: ignore[arg-type]  # nothing asks it


def checked(told: Told) -> dict[str, dict[str, Any]]:
    """Rows by module; what the host itself prints while it is imported and at its end stands around them."""
    rows, _ = json.JSONDecoder().raw_decode(told.out, told.out.index("[\n"))
    return {row["module"]: row for row in rows}


def test_check_lists_every_hook_as_attached_or_absent(stage: Stage) -> None:
    told = stage.command("--check", "--json")
    rows = checked(told)
    assert told.code == 0, told.out
    assert {"src.config", "src.nice_funcs", "src.exchange_manager", "src.agents.trading_agent", "yfinance"} <= set(rows)
    for module, row in rows.items():
        file = f"{module.replace('.', '/')}.py"
        expected = True if module == "yfinance" or stage.host.has(file) else None
        assert row["attached"] is expected, row
        assert row["text"]


def on_and_off() -> Any:
    import sys

    before = {"path": list(sys.path), "finders": len(sys.meta_path)}
    from src import config

    exchange, monitored, active = config.EXCHANGE, config.MONITORED_TOKENS, config.get_active_tokens
    held = list(monitored)
    attach_ib(["AAPL"])
    answers: dict[str, Any] = {"attached": config.EXCHANGE}
    try:
        attach_ib(["AAPL"])
    except Exception as error:
        answers["twice"] = f"{type(error).__name__}: {error}"
    import moondev_ibkr.brokers.errors as ours
    from src.brokers import errors as through_the_host
    from src.brokers.errors import BrokerError

    answers["same"] = through_the_host is ours and BrokerError is ours.BrokerError
    from src.exchange_manager import ExchangeManager
    from src.models.model_factory import ModelFactory

    detach()
    detach()
    import src.exchange_manager

    answers["off"] = {
        "exchange": exchange == config.EXCHANGE,
        "list": config.MONITORED_TOKENS is monitored and monitored == held,
        "tokens": config.get_active_tokens is active,
        "manager": src.exchange_manager.ExchangeManager is not ExchangeManager,
        "models": "gpu_ollama" not in ModelFactory.MODEL_IMPLEMENTATIONS,
        "finders": len(sys.meta_path) == before["finders"],
        "path": sys.path == before["path"],
        "aliases": [name for name in sys.modules if name.startswith("src.brokers")],
        "ours": sys.modules["moondev_ibkr.brokers.errors"] is ours,
    }
    attach_ib(["IBM"])
    answers["again"] = config.get_active_tokens()
    detach()
    answers["connected"] = broker.is_connected
    return answers


def test_attach_comes_off_whole_and_goes_on_again(stage: Stage) -> None:
    told = stage.tell(on_and_off).result
    assert told["attached"] == "ib"
    assert told["twice"].startswith("UsageError")
    assert "detach() first" in told["twice"]
    assert told["same"]
    off = told["off"]
    assert off.pop("aliases") == []
    assert off == dict.fromkeys(off, True)
    assert told["again"] == ["IBM"]
    assert not told["connected"]


def late() -> Any:
    answers: dict[str, Any] = {}
    try:
        from src import nice_funcs
        from src.agents import solana_agent
    except ImportError as error:
        return {"lacking": str(error)}
    original = solana_agent.token_price
    attach_ib(["AAPL"])
    answers["bound"] = solana_agent.token_price is nice_funcs.token_price is not original
    answers["said"] = [text for text in said if "imported before" in text]
    detach()
    answers["back"] = solana_agent.token_price is nice_funcs.token_price is original
    try:
        from src.agents import trading_agent

        answers["exchange"] = trading_agent.EXCHANGE
    except SystemExit:
        return answers
    from src import config

    try:
        attach_ib(["AAPL"])
    except Exception as error:
        answers["late"] = f"{type(error).__name__}: {error}"
    answers["untouched"] = (config.EXCHANGE, nice_funcs.token_price is original, trading_agent.LEVERAGE)
    return answers


def test_late_helpers_are_bound_anew_and_a_late_agent_is_refused(stage: Stage) -> None:
    told = stage.tell(late).result
    if "lacking" in told and not stage.host.wire:
        pytest.skip(f"this interpreter lacks what the host's own module needs: {told['lacking']}")
    assert told["bound"]
    assert told["back"]
    assert any("src.nice_funcs" in text for text in told["said"])
    if "exchange" in told:
        assert told["late"].startswith("UsageError")
        assert "src.agents.trading_agent" in told["late"]
        assert told["untouched"] == ["solana", True, 9]


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    return {"IB_STATE_DIR": str(tmp_path / "state"), "IB_LOG_LEVEL": "WARNING"}


def check(host: Path, env: dict[str, str]) -> Told:
    words = [sys.executable, "-m", "moondev_ibkr", "host", str(host), "--check", "--json"]
    return run(host, words, env=env)


def test_a_host_without_some_modules_is_attached_for_the_rest(tmp_path: Path, state: dict[str, str]) -> None:
    gone = ("src/exchange_manager.py", "src/nice_funcs_aster.py", "aegs_live_scanner.py", "yfinance.py")
    told = check(write_host(tmp_path / "host", without=gone), state)
    rows = checked(told)
    assert rows["src.exchange_manager"]["attached"] is None
    assert rows["src.nice_funcs_aster"]["attached"] is None
    assert rows["aegs_live_scanner"]["attached"] is None
    assert rows["src.nice_funcs"]["attached"] is True
    assert rows["yfinance"]["attached"] is True
    # The collector imports the helpers that are gone, and so the host's own trading agent cannot run either.
    assert (told.code, rows["src.agents.trading_agent"]["attached"]) == (1, False)
    assert "nice_funcs_aster" in rows["src.agents.trading_agent"]["text"]


def imported() -> Any:
    from src import wire

    attach_ib(["AAPL"])
    answers = {}
    for name in ("src.nice_funcs", "src.agents.trading_agent", "src.agents.risk_agent", "src.exchange_manager"):
        try:
            __import__(name)
            answers[name] = "imported"
        except Exception as error:
            answers[name] = type(error).__name__
    return {**answers, "asked": [call for call in wire.calls if call["service"] != "ollama"]}


def test_helpers_of_another_version_are_refused_and_so_is_who_uses_them(tmp_path: Path, state: dict[str, str]) -> None:
    host = write_host(tmp_path / "host")
    edit(host, "src/nice_funcs.py", "def market_buy(token, amount, slippage):", "def market_buy(mint, usd, wallet):")
    told = check(host, state)
    rows = checked(told)
    assert told.code == 1
    assert "market_buy takes (mint, usd, wallet)" in rows["src.nice_funcs"]["text"]
    assert rows["src.nice_funcs_aster"]["attached"] is True
    assert tell(host, imported, env=state, preamble=ATTACH).result == {
        "src.nice_funcs": "ConfigurationError",
        "src.agents.trading_agent": "ConfigurationError",
        "src.agents.risk_agent": "ConfigurationError",
        "src.exchange_manager": "imported",
        "asked": [],
    }


def test_agents_of_another_version_are_refused_whole(tmp_path: Path, state: dict[str, str]) -> None:
    host = write_host(tmp_path / "host")
    edit(host, "src/agents/trading_agent.py", "def calculate_position_size(", "def position_size_of(")
    edit(host, "src/agents/risk_agent.py", "def handle_limit_breach(", "def on_breach(")
    edit(host, "src/exchange_manager.py", "def ai_entry(", "def enter(")
    told = check(host, state)
    refused = {module: row["text"] for module, row in checked(told).items() if row["attached"] is False}
    assert told.code == 1
    assert set(refused) == {
        *("src.exchange_manager", "src.agents.trading_agent", "src.agents.strategy_agent", "src.agents.risk_agent"),
    }
    assert "calculate_position_size" in refused["src.agents.trading_agent"]
    assert "handle_limit_breach" in refused["src.agents.risk_agent"]
    assert "ai_entry" in refused["src.exchange_manager"]


def test_a_folder_that_is_no_host_is_refused(tmp_path: Path, state: dict[str, str]) -> None:
    told = run(tmp_path, [sys.executable, "-m", "moondev_ibkr", "host", str(tmp_path), "--check"], env=state)
    assert told.code in (1, 2)
    assert "it has no src/config.py" in told.err
    assert "Traceback" not in told.err
    host = write_host(tmp_path / "host")
    told = run(host, [sys.executable, "-m", "moondev_ibkr", "host", str(host), "trading_agnet"], env=state)
    assert (told.code, "trading_agent" in told.err) == (2, True), told.err
