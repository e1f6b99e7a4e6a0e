"""The real `ollama` client talks over a socket to a server that speaks Ollama's API; every failure is an error."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from moondev_ibkr.agents.llm.chat_backend import ChatBackend
from moondev_ibkr.agents.llm.ollama_backend import OllamaBackend
from moondev_ibkr.agents.llm.ollama_client import DEFAULT_PORT
from moondev_ibkr.agents.llm.server_address import server_url
from moondev_ibkr.brokers.errors import (
    ConfigurationError,
    ConnectFailed,
    DeadlineExceeded,
    InvalidRequest,
    LinkLost,
    NotSupported,
    ProtocolViolation,
    RequestFailed,
)
from moondev_ibkr.config.settings import Settings

from .ollama_server import OllamaServer, answer, ollama_server

MODEL = "llama3.1:8b"


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with ollama_server() as served:
        yield served


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def backend(server: OllamaServer, model: str = MODEL, **settings: Any) -> OllamaBackend:
    return OllamaBackend(server.host, model, **settings)


def refusal(server: OllamaServer, **settings: Any) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        backend(server, **settings).chat("be brief", "AAPL?")
    return caught.value


def test_an_answer_comes_whole_with_its_usage(server):
    server.says("**BUY**\nRSI is 25")
    asked: ChatBackend = backend(server, num_ctx=4096, max_tokens=300, keep_alive="5m")
    completion = asked.chat("be brief", "AAPL?", temperature=0.2)
    assert (completion.content, completion.model) == ("**BUY**\nRSI is 25", MODEL)
    assert (completion.prompt_tokens, completion.completion_tokens, completion.seconds) == (120, 3, 1.5)
    assert completion.raw["message"]["content"] == "**BUY**\nRSI is 25"
    (request,) = server.chats
    assert request["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "AAPL?"},
    ]
    assert request["options"] == {"temperature": 0.2, "num_ctx": 4096, "num_predict": 300}
    assert (request["model"], request["stream"], request["keep_alive"]) == (MODEL, False, "5m")


def test_options_of_one_call_reach_the_server(server):
    backend(server).chat("", "AAPL?", max_tokens=50, seed=7, stop=["\n\n"], keep_alive=-1, think=False)
    (request,) = server.chats
    assert request["messages"] == [{"role": "user", "content": "AAPL?"}]
    assert (request["options"]["num_predict"], request["options"]["seed"]) == (50, 7)
    assert (request["options"]["stop"], request["keep_alive"], request["think"]) == (["\n\n"], -1, False)


@pytest.mark.parametrize("more", [{"best_of": 3}, {"num_ctx": 9}, {"max_tokens": 16_384}, {"max_tokens": 0}])
def test_what_cannot_be_asked_is_refused_before_it_is_sent(server, more):
    with pytest.raises(InvalidRequest):
        backend(server).chat("", "AAPL?", **more)
    assert server.paths == []


def test_thoughts_are_taken_out_and_an_answer_of_nothing_else_is_an_error(server):
    server.says("<think>SELL?\nno</think>\n\nBUY")
    assert backend(server).chat("", "AAPL?").content == "BUY"
    server.says("<think>I go on and on")
    assert "blank" in str(refusal(server))


def test_an_empty_answer_is_an_error(server):
    server.says("  \n")
    assert "blank" in str(refusal(server))


def test_a_cut_answer_is_an_error(server):
    server.says("BUY", done_reason="length", eval_count=2048)
    assert "cut after 2048 tokens" in str(refusal(server))


@pytest.mark.parametrize("reason", ["load", "unload", None])
def test_an_answer_that_did_not_come_to_its_end_is_an_error(server, reason):
    server.says("BUY", done_reason=reason)
    assert "not with stop" in str(refusal(server))


@pytest.mark.parametrize(("prompt", "written"), [(4096, 1), (4000, 97), (9000, 5)])
def test_a_question_that_the_server_cut_is_an_error(server, prompt, written):
    server.says("BUY", prompt_eval_count=prompt, eval_count=written)
    assert "the server cut the question" in str(refusal(server, num_ctx=4096))
    server.says("BUY", prompt_eval_count=3000, eval_count=written)
    assert backend(server, num_ctx=4096).chat("", "AAPL?").content == "BUY"


def test_a_model_loaded_with_a_smaller_context_is_found_out(server):
    server.context_length = 2048
    server.says("BUY", prompt_eval_count=2048)
    assert "its context holds 2048" in str(refusal(server, num_ctx=4096))


def test_a_missing_model_says_how_to_get_it(server):
    with pytest.raises(RequestFailed, match=r"ollama pull mixtral:8x7b") as caught:
        backend(server, "mixtral:8x7b").chat("", "AAPL?")
    assert caught.value.code == 404


def test_another_server_on_that_port_is_not_told_to_pull_a_model(server):
    error = refusal_at(f"{server.host}/elsewhere")
    assert (error.code, "pull" in str(error), "page not found" in str(error)) == (404, False, True)


def refusal_at(host: str) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        OllamaBackend(host, MODEL).chat("", "AAPL?")
    return caught.value


@pytest.mark.parametrize(("status", "word"), [(503, "queue is full"), (500, "model failed"), (418, "it refused")])
def test_a_failing_server_is_an_error_with_its_status(server, status, word):
    server.fails(status, "server busy,\nplease try again")
    error = refusal(server)
    assert (error.code, word in str(error), "please try again" in str(error)) == (status, True, True)


def test_a_server_that_is_not_there_is_refused(closed_port):
    asked = OllamaBackend(f"127.0.0.1:{closed_port}", MODEL)
    with pytest.raises(ConnectFailed, match="ollama serve") as caught:
        asked.chat("", "AAPL?")
    assert caught.value.kind == "refused"


def test_a_host_without_address_is_unreachable():
    with pytest.raises(ConnectFailed) as caught:
        OllamaBackend("no-such-host.invalid", MODEL, connect_timeout=5).chat("", "AAPL?")
    assert caught.value.kind == "unreachable"


def test_silence_ends_at_the_deadline(server):
    server.reply = lambda request: None
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        backend(server, timeout=0.3).chat("", "AAPL?")
    assert caught.value.waited.total_seconds() == 0.3
    assert 0.25 < time.monotonic() - begun < 5


def test_a_connection_that_drops_is_lost(server):
    server.released.set()
    server.reply = lambda request: None
    with pytest.raises(LinkLost):
        backend(server).chat("", "AAPL?")


@pytest.mark.parametrize("body", [b"<html>login</html>", b"\xff\xfe", {"model": MODEL, "message": "BUY"}])
def test_bytes_that_are_no_answer_are_an_error(server, body):
    server.reply = lambda request: (200, body)
    with pytest.raises(ProtocolViolation):
        backend(server).chat("", "AAPL?")


def test_trouble_is_asked_lazily_and_remembered(server):
    now = [100.0]
    asked = backend(server, remember=10.0, clock=lambda: now[0])
    assert server.paths == []
    assert (asked.trouble(), asked.trouble(), server.paths) == (None, None, ["/api/tags"])
    server.models.clear()
    assert asked.trouble() is None
    now[0] += 10.1
    assert "ollama pull llama3.1:8b" in (asked.trouble() or "")
    server.models.append(MODEL)
    now[0] += 10.1
    assert asked.trouble() is None
    assert asked.installed() == (MODEL,)


def test_a_name_without_tag_means_the_latest(server):
    server.models.append("llama3.2:latest")
    assert backend(server, "llama3.2").trouble() is None
    assert backend(server, "llama3").trouble() is not None


def test_trouble_with_no_server_is_told_and_not_raised(closed_port):
    assert "refused" in (OllamaBackend(f"127.0.0.1:{closed_port}", MODEL).trouble() or "")


def test_threads_share_one_backend(server):
    server.reply = lambda request: (200, answer(request["messages"][-1]["content"]))
    asked = backend(server)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: asked.chat("", f"question {number}").content, range(24)))
    assert answers == [f"question {number}" for number in range(24)]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("gpu.lan:8080", "http://gpu.lan:8080"),
        ("http://gpu.lan:11434/", "http://gpu.lan:11434"),
        ("HTTP://gpu.lan", "http://gpu.lan:80"),
        ("https://gpu.lan", "https://gpu.lan:443"),
        ("https://gpu.lan/ollama/", "https://gpu.lan:443/ollama"),
        ("[::1]:9000", "http://[::1]:9000"),
        (" localhost ", "http://localhost:11434"),
    ],
)
def test_a_host_is_read_as_ollama_reads_it(host, url):
    import ollama

    assert server_url(host, DEFAULT_PORT) == url
    client = ollama.Client(host=server_url(host, DEFAULT_PORT))
    assert str(client._client.base_url).rstrip("/") == url.removesuffix(":80").removesuffix(":443").replace(
        ":443/", "/"
    )


@pytest.mark.parametrize(
    "host", ["", "http://", "ftp://gpu", "gpu:port", "gpu:99999", "http://me:s3cret@gpu", "gpu?x=1", "two words", "::1"]
)
def test_what_is_no_address_is_refused_without_showing_it(host):
    with pytest.raises(ConfigurationError) as caught:
        OllamaBackend(host, MODEL)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"num_ctx": 100}, {"max_tokens": 0}, {"timeout": 0}, {"model": " "}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigurationError):
        OllamaBackend("127.0.0.1", settings.pop("model", MODEL), **settings)


WITHOUT = """
import sys
sys.modules["ollama"] = None
from moondev_ibkr.agents.llm.ollama_backend import OllamaBackend
from moondev_ibkr.brokers.errors import NotSupported
asked = OllamaBackend("127.0.0.1", "llama3.1:8b")
print(asked.trouble())
try:
    asked.chat("", "AAPL?")
except NotSupported as error:
    print(error)
"""


def test_an_option_that_the_installed_client_does_not_know_says_so(server, monkeypatch):
    import ollama

    async def chat(client, model, messages, *, stream, options, keep_alive):
        raise AssertionError("reached")

    monkeypatch.setattr(ollama.AsyncClient, "chat", chat)
    with pytest.raises(NotSupported, match="pip install -U ollama"):
        backend(server).chat("", "AAPL?", think=False)


def test_without_the_ollama_package_importing_works_and_using_says_what_to_install(monkeypatch):
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)
    told, raised = done.stdout.splitlines()
    assert "pip install 'moondev-ibkr[llm]'" in told
    assert "pip install 'moondev-ibkr[llm]'" in raised
    monkeypatch.setitem(sys.modules, "ollama", None)
    with pytest.raises(NotSupported):
        OllamaBackend("127.0.0.1", MODEL).installed()


def test_the_smallest_context_of_the_settings_has_room_for_the_longest_answer(server):
    (least,) = [rule.ge for rule in Settings.model_fields["ollama_num_ctx"].metadata if hasattr(rule, "ge")]
    assert backend(server, num_ctx=least).chat("", "AAPL?").content == "BUY"
