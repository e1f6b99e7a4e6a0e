"""An HTTP server that speaks the part of Ollama's API that a chat needs, with scripted answers and failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class OllamaServer:
    """Answers `/api/chat` with `reply(request)`: (status, body), or None to say nothing until the test ends.

    `chats` and `paths` keep what was asked. `context_length` is what `/api/ps` tells, None for no loaded model.
    """

    port: int = 0
    models: list[str] = field(default_factory=lambda: ["llama3.1:8b", "qwen3:32b"])
    context_length: int | None = None
    reply: Callable[[dict[str, Any]], tuple[int, Any] | None] = field(default=lambda request: (200, answer("BUY")))
    chats: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def says(self, content: str, **more: Any) -> None:
        self.reply = lambda request: (200, answer(content, request["model"], **more))

    def fails(self, status: int, error: str) -> None:
        self.reply = lambda request: (status, {"error": error})

    def respond(self, path: str, request: dict[str, Any]) -> tuple[int, Any] | None:
        self.paths.append(path)
        if path == "/api/tags":
            return 200, {"models": [{"name": name, "model": name} for name in self.models]}
        if path == "/api/ps":
            rows = [{"name": name, "model": name, "context_length": self.context_length} for name in self.models]
            return 200, {"models": rows if self.context_length else []}
        if path != "/api/chat":
            return 404, {"error": "page not found"}
        self.chats.append(request)
        if request["model"] not in self.models:
            return 404, {"error": f"model '{request['model']}' not found"}
        return self.reply(request)


def answer(content: str, model: str = "llama3.1:8b", **more: Any) -> dict[str, Any]:
    """The body of a whole answer of the chat call without streaming; durations are nanoseconds."""
    return {
        "model": model,
        "created_at": "2026-11-27T15:00:00Z",
        "message": {"role": "assistant", "content": content},
        "done": True,
        "done_reason": "stop",
        "total_duration": 1_500_000_000,
        "prompt_eval_count": 120,
        "eval_count": 3,
        **more,
    }


@contextmanager
def ollama_server(port: int = 0) -> Iterator[OllamaServer]:
    """The server on a free port of loopback, or on `port`, until the block ends."""
    served = OllamaServer()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told = served.respond(self.path, json.loads(body) if body else {})
            if told is None:
                served.released.wait(30)
                return
            status, payload = told
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
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
