"""An HTTP server with the routes of Ollama, OpenAI and Anthropic, whose answers a test scripts one by one."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

#: (status, body) in the words of the route that was asked; None drops the connection.
Told: TypeAlias = tuple[int, Any] | None
Act: TypeAlias = Callable[["ModelServer", str, dict[str, Any]], Told]

CHATS = ("/api/chat", "/v1/chat/completions", "/v1/messages")
DIGEST = "sha256:0123456789abcdef"


@dataclass
class ModelServer:
    """Each question takes the next act of `script`, the last one for ever. `asked` keeps (path, request)."""

    port: int = 0
    models: dict[str, str] = field(default_factory=lambda: {"small:8b": DIGEST, "large:70b": DIGEST[::-1]})
    #: What /api/ps tells, None for the models above.
    loaded: list[str] | None = None
    script: deque[Act] = field(default_factory=deque)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    #: Headers of the questions.
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plays(self, *acts: Act) -> None:
        self.script = deque(acts)

    def respond(self, path: str, request: dict[str, Any]) -> Told:
        if path == "/api/tags":
            return 200, {"models": [{"name": n, "model": n, "digest": d} for n, d in self.models.items()]}
        if path == "/api/ps":
            names = list(self.models) if self.loaded is None else self.loaded
            return 200, {"models": [{"name": n, "model": n, "size": 9, "size_vram": 9} for n in names]}
        if path == "/v1/models":
            return 200, {"data": [{"id": n, "created": len(self.asked), "root": d} for n, d in self.models.items()]}
        if path not in CHATS:
            return 404, {"error": "page not found"}
        with self.lock:
            self.asked.append((path, request))
            act = self.script.popleft() if len(self.script) > 1 else self.script[0]
        return act(self, path, request)


def says(text: str, *, ends: str | None = None, tokens: tuple[int, int] = (120, 40)) -> Act:
    """A whole answer in the words of whichever route is asked; `ends` replaces what a whole answer ends with."""

    def act(server: ModelServer, path: str, request: dict[str, Any]) -> Told:
        prompt, written = tokens
        if path == "/api/chat":
            return 200, {
                "model": request["model"],
                "created_at": "2026-11-27T15:00:00Z",
                "message": {"role": "assistant", "content": text},
                "done": True,
                "done_reason": ends or "stop",
                "total_duration": 1_500_000_000,
                "eval_duration": 1_000_000_000,
                "prompt_eval_count": prompt,
                "eval_count": written,
            }
        if path == "/v1/chat/completions":
            message = {"role": "assistant", "content": text}
            usage = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
            choice = {"index": 0, "message": message, "finish_reason": ends or "stop"}
            return 200, {"id": "c1", "object": "chat.completion", "choices": [choice], "usage": usage}
        return 200, claude(request, text, ends, tokens)

    return act


def claude(request: dict[str, Any], text: str, ends: str | None, tokens: tuple[int, int]) -> dict[str, Any]:
    """A message of Claude's, through the forced tool where the request forces one."""
    block: dict[str, Any] = {"type": "text", "text": text}
    end = "end_turn"
    if "tool_choice" in request:
        block = {"type": "tool_use", "id": "t1", "name": request["tool_choice"]["name"], "input": json.loads(text)}
        end = "tool_use"
    return {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": [block],
        "stop_reason": ends or end,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 0,
        },
    }


def fails(status: int, error: str = "no", kind: str = "api_error") -> Act:
    """An error in the words of the route."""

    def act(server: ModelServer, path: str, request: dict[str, Any]) -> Told:
        if path == "/v1/messages":
            return status, {"type": "error", "error": {"type": kind, "message": error}}
        return status, {"error": error if path == "/api/chat" else {"message": error}}

    return act


def silent(server: ModelServer, path: str, request: dict[str, Any]) -> Told:
    """Says nothing until the test ends."""
    server.released.wait(30)
    return None


def drops(server: ModelServer, path: str, request: dict[str, Any]) -> Told:
    return None


def missing(server: ModelServer, path: str, request: dict[str, Any]) -> Told:
    return fails(404, f"model '{request['model']}' not found", "not_found_error")(server, path, request)


def judgement(score: Any = 72, ids: tuple[str, ...] = ("rsi14",), **more: Any) -> str:
    """An assessment as JSON; whatever a test gives replaces what a valid one holds."""
    body: Mapping[str, Any] = {
        "reasoning": "volume is far above its own history",
        "factors": [{"name": "volume", "effect": "raises", "evidence_ids": list(ids)}],
        "score": score,
        "confidence": 0.6,
        "direction": "down",
        "evidence_ids": list(ids),
        **more,
    }
    return json.dumps(body)


@contextmanager
def model_server(port: int = 0) -> Iterator[ModelServer]:
    """The server on a free port of loopback, until the block ends."""
    served = ModelServer()
    served.plays(says(judgement()))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path in CHATS:
                served.headers.append(dict(self.headers.items()))
            told = served.respond(self.path, json.loads(body) if body else {})
            if told is None:
                self.close_connection = True
                return
            status, payload = told
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except OSError:
                self.close_connection = True

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is no error of the test's."""

    server = Server(("127.0.0.1", port), Handler)
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        served.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
