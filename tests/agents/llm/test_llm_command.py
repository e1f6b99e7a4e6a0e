"""`moondev-ibkr llm log|stats|hosts` as a user gives it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moondev_ibkr.agents.hooks.model_backend import backend_maker
from moondev_ibkr.brokers.errors import RequestFailed
from moondev_ibkr.cli import main

from .model_server import ModelServer, fails, model_server, says

MODEL = "small:8b"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A server that the environment names."""
    for name in [name for name in os.environ if name.startswith(("IB_", "IBKR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IB_STATE_DIR", str(tmp_path))
    with model_server() as served:
        monkeypatch.setenv("IB_OLLAMA_HOST", served.url)
        monkeypatch.setenv("IB_OLLAMA_MODEL", MODEL)
        yield served


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["llm", *arguments])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def ask_twice(server: ModelServer) -> None:
    """One question that is answered, one that fails."""
    server.plays(says("BUY"), fails(503, "server busy"))
    chat = backend_maker()(None)
    chat.chat("be brief", "is AAPL cheap?")
    with pytest.raises(RequestFailed):
        chat.chat("be brief", "is MSFT cheap?")


def test_the_log_tells_every_question(server: ModelServer, command: Command) -> None:
    ask_twice(server)
    code, out, _ = command("log", "--json")
    rows = json.loads(out)["questions"]
    assert code == 0
    assert [row["outcome"] for row in rows] == ["failed", "answered"]
    assert "prompt" not in rows[0]
    full = json.loads(command("log", "--full", "--json")[1])["questions"]
    assert [row["prompt"] for row in full] == ["is MSFT cheap?", "is AAPL cheap?"]
    assert full[1]["answer"] == "BUY"
    assert len(json.loads(command("log", "--failed", "--json")[1])["questions"]) == 1
    assert len(json.loads(command("log", "--last", "1", "--json")[1])["questions"]) == 1


def test_the_log_for_eyes(server: ModelServer, command: Command) -> None:
    ask_twice(server)
    out = command("log", "--full")[1]
    assert "queue_full" in out
    assert "is AAPL cheap?" in out
    assert "server busy" in out


def test_sums_by_day_and_model(server: ModelServer, command: Command) -> None:
    ask_twice(server)
    told = json.loads(command("stats", "--json")[1])
    (row,) = told["models"]
    assert (row["model"], row["asked"], row["answered"], row["failed"]) == (MODEL, 2, 1, 1)
    assert told["troubles"] == [{"trouble": "queue_full", "count": 1}]
    out = command("stats")[1]
    assert "spent today: 0.0000 USD" in out
    assert "queue_full 1" in out


def test_hosts_and_the_gpu(server: ModelServer, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = command("hosts", "--json")
    told = json.loads(out)
    assert code == 0
    assert [row["name"] for row in told["hosts"][0]["loaded"]] == [MODEL, "large:70b"]
    assert told["gpu"]["absent"] or told["gpu"]["gpus"]
    assert "rules alone" in command("hosts")[1]
    monkeypatch.setenv("IB_LLM_BACKENDS", "ollama")
    assert "rules alone" not in command("hosts")[1]


def test_a_host_that_analysis_needs_and_is_down_is_a_failure(
    server: ModelServer, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("IB_OLLAMA_HOST", f"127.0.0.1:{taken.getsockname()[1]}")
        assert command("hosts")[0] == 0
        monkeypatch.setenv("IB_LLM_BACKENDS", "ollama")
        code, out, _ = command("hosts")
    assert code == 1
    assert "connection refused" in out


def test_nothing_asked_yet_says_what_to_do(server: ModelServer, command: Command, tmp_path: Path) -> None:
    for view in ("log", "stats"):
        code, _, err = command(view)
        assert code == 1
        assert "nothing was asked yet" in err
        assert "IB_LLM_BACKENDS" in err
    assert not list(tmp_path.iterdir())
