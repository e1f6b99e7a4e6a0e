"""The host's models over the pool: several servers, one log, from threads and from inside a running loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.hooks.model_backend import backend_maker
from moondev_ibkr.agents.llm import call_reports
from moondev_ibkr.agents.llm.call_log import CallLog
from moondev_ibkr.agents.llm.ollama_backend import OllamaBackend
from moondev_ibkr.agents.llm.pooled_chat import PooledChat
from moondev_ibkr.brokers.errors import ConnectFailed, RequestFailed
from moondev_ibkr.brokers.sync import LoopThread

from .model_server import ModelServer, Told, fails, model_server, says

MODEL = "small:8b"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as served:
        served.plays(says("BUY"))
        yield served


@pytest.fixture
def other() -> Iterator[ModelServer]:
    with model_server() as served:
        served.plays(says("SELL"))
        yield served


@pytest.fixture
def set_up(server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of somebody with one server; answers the state folder."""
    for name in [name for name in os.environ if name.startswith(("IB_", "IBKR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IB_OLLAMA_HOST", server.url)
    monkeypatch.setenv("IB_OLLAMA_MODEL", MODEL)
    monkeypatch.setenv("IB_STATE_DIR", str(tmp_path))
    return tmp_path


def logged(folder: Path) -> list[dict[str, Any]]:
    with closing(CallLog(folder / "llm.sqlite3", redact=str, daily_cap=None)) as calls:
        return call_reports.questions(calls, 99)


class Busy:
    """Counts how many questions a server has at once; each takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.most = seconds, 0, 0
        self.lock = threading.Lock()

    def __call__(self, server: ModelServer, path: str, request: dict[str, Any]) -> Told:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return says(request["messages"][-1]["content"])(server, path, request)


def test_what_the_hosts_models_ask_is_in_the_log(server: ModelServer, set_up: Path) -> None:
    make = backend_maker()
    default, large = make(None), make("large:70b")
    assert isinstance(default, PooledChat)
    assert isinstance(large, PooledChat)
    assert default.pool is large.pool
    assert not any(set_up.iterdir())
    assert (default.chat("be brief", "AAPL?").content, large.chat("", "MSFT?").content) == ("BUY", "BUY")
    last, first = logged(set_up)
    assert (first["purpose"], first["model"], first["system"], first["answer"]) == ("chat", MODEL, "be brief", "BUY")
    assert (last["model"], last["prompt"], last["outcome"]) == ("large:70b", "MSFT?", "answered")
    assert first["host"] == server.url


def test_a_chat_is_never_answered_from_the_log(server: ModelServer, set_up: Path) -> None:
    chat = backend_maker()(None)
    for _ in range(2):
        chat.chat("", "AAPL?")
    assert len(server.asked) == 2


def test_a_failed_chat_is_in_the_log_with_its_reason(server: ModelServer, set_up: Path) -> None:
    server.plays(fails(503, "server busy"))
    with pytest.raises(RequestFailed):
        backend_maker()(None).chat("", "AAPL?")
    (row,) = logged(set_up)
    assert (row["outcome"], row["trouble"]) == ("failed", "queue_full")
    assert "server busy" in row["error"]


def test_threads_have_no_more_under_way_than_the_slots(server: ModelServer) -> None:
    busy = Busy(0.05)
    server.plays(busy)
    chat = OllamaBackend(server.url, MODEL, slots=3)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda number: chat.chat("", f"q{number}").content, range(12)))
    assert answers == [f"q{number}" for number in range(12)]
    assert busy.most == 3


def test_two_servers_share_the_work(server: ModelServer, other: ModelServer) -> None:
    for served in (server, other):
        served.plays(Busy(0.05))
    chat = OllamaBackend(f"{server.url},{other.url}", MODEL, slots=1)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: chat.chat("", f"q{number}"), range(6)))
    assert min(len(server.asked), len(other.asked)) >= 2


def test_one_server_of_two_is_enough(server: ModelServer, other: ModelServer) -> None:
    server.models.clear()
    chat = OllamaBackend(f"{server.url},{other.url}", MODEL)
    assert chat.trouble() is None
    assert set(chat.installed()) == set(other.models)
    other.models.clear()
    assert "ollama pull" in (OllamaBackend(f"{server.url},{other.url}", MODEL).trouble() or "")


async def test_a_chat_works_from_inside_a_running_loop(server: ModelServer) -> None:
    assert OllamaBackend(server.url, MODEL).chat("", "AAPL?").content == "BUY"


def test_connections_are_closed_with_the_last_holder(server: ModelServer) -> None:
    with LoopThread("chat") as loop:
        chat = OllamaBackend(server.url, MODEL, loop=loop)
        chat.chat("", "AAPL?")
        (client,) = [host.client for host in chat.pool.hosts]
        assert client._clients  # type: ignore[attr-defined]
        del chat
        deadline = time.monotonic() + 5
        while client._clients and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(0.01)
        assert not client._clients  # type: ignore[attr-defined]
        # The loop may only end once the closing is done.
        loop.call(others_done(), 5.0)


def test_connections_are_closed_where_the_collector_runs_on_the_loop(server: ModelServer) -> None:
    with LoopThread("chat") as loop:
        held = [OllamaBackend(server.url, MODEL, loop=loop)]
        held[0].chat("", "AAPL?")
        (client,) = [host.client for host in held[0].pool.hosts]

        async def drop() -> None:
            held.clear()

        loop.call(drop(), 5.0)
        loop.call(others_done(), 5.0)
        assert not client._clients  # type: ignore[attr-defined]


async def others_done() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=5.0)


def test_a_server_that_keeps_failing_is_left_alone(server: ModelServer) -> None:
    server.plays(fails(500, "cuda error"))
    chat = OllamaBackend(server.url, MODEL)
    for _ in range(3):
        with pytest.raises(RequestFailed):
            chat.chat("", "AAPL?")
    with pytest.raises(ConnectFailed, match="failed lately"):
        chat.chat("", "AAPL?")
    assert len(server.asked) == 3
