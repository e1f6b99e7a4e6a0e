"""Chat with a model on an Ollama server: always a timeout, a context window and a longest answer, and never half a one.

The `ollama` package is asked for on first use, so that this package can be installed and imported without it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...brokers.errors import (
    BrokerError,
    ConfigurationError,
    ConnectFailed,
    DeadlineExceeded,
    InvalidRequest,
    LinkLost,
    NotSupported,
    ProtocolViolation,
    RequestFailed,
)
from .answers import without_thinking
from .chat_backend import Completion

if TYPE_CHECKING:
    import ollama

DEFAULT_PORT = 11434
#: Extra arguments of `chat` that are the model's options, and those that are the request's own.
MODEL_OPTIONS = frozenset({"seed", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "stop"})
REQUEST_OPTIONS = frozenset({"format", "think", "keep_alive"})
#: What an HTTP status means to the user: why, and what to do next.
STATUS_ADVICE: Mapping[int, tuple[str, str]] = {
    401: ("it wants a key", "set OLLAMA_API_KEY"),
    403: ("it does not answer this machine", "allow it in the server's OLLAMA_ORIGINS or its proxy"),
    429: ("it is asked too often", "ask again later"),
    500: ("the model failed on the server", "read the server's log; a smaller model or context may fit its memory"),
    503: ("its queue is full", "ask again later, or raise OLLAMA_MAX_QUEUE on the server"),
}


def server_url(host: str) -> str:
    """`host`, `host:port` or a URL as a URL with its port: 11434 without a scheme, else the scheme's own, as Ollama
    reads it. Raises ConfigurationError for anything else, without showing a password."""
    scheme, given, rest = host.strip().rpartition("://")
    scheme = scheme.lower() if given else "http"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or ({"http": 80, "https": 443}.get(scheme) if given else DEFAULT_PORT)
    except ValueError as error:
        raise ConfigurationError("Ollama server", str(error), "give host, host:port or http://host:port") from None
    if scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in rest):
        raise ConfigurationError("Ollama server", "it is no address", "give host, host:port or http://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("Ollama server", "its URL holds more than a place", "give http://host:port alone")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{name}:{port}{parts.path.rstrip('/')}"


class OllamaBackend:
    """One model on one Ollama server. Constructing it reaches nothing; it may be shared by threads.

    `num_ctx` counts tokens of question and answer together. Times are seconds: `timeout` is the longest silence, and
    Ollama is silent until the whole answer is there; `connect_timeout` is for reaching the server, `check_timeout` for
    asking whether it is there, which is remembered for `remember`. `keep_alive` is how long the server keeps the model
    loaded. Raises ConfigurationError.
    """

    def __init__(
        self,
        host: str,
        model: str,
        *,
        num_ctx: int = 16_384,
        max_tokens: int = 2_048,
        timeout: float = 90.0,
        connect_timeout: float = 3.0,
        check_timeout: float = 2.0,
        remember: float = 10.0,
        keep_alive: str | float = "30m",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not model.strip() or not 0 < max_tokens < num_ctx or min(timeout, connect_timeout, check_timeout) <= 0:
            raise ConfigurationError(
                f"Ollama model {model!r} with num_ctx {num_ctx}, max_tokens {max_tokens}, timeout {timeout:g} s",
                "a model has a name, an answer fits its context, and a timeout is above 0",
                "correct what is not so",
            )
        self.url = server_url(host)
        self.num_ctx = num_ctx
        self._model, self._max_tokens = model.strip(), max_tokens
        self._timeout, self._connect_timeout, self._check_timeout = timeout, connect_timeout, check_timeout
        self._remember, self._keep_alive, self._clock = remember, keep_alive, clock
        self._lock = threading.Lock()
        self._clients: dict[float, ollama.Client] = {}
        #: (when it was asked, what was wrong)
        self._checked: tuple[float, str | None] | None = None
        self._checking = threading.Lock()
        self._window: int | None = None

    @property
    def model(self) -> str:
        return self._model

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def chat(
        self,
        system_prompt: str,
        user_content: str,
        *,
        temperature: float = 0.7,
        max_tokens: int | None = None,
        **options: Any,
    ) -> Completion:
        """One question, answered whole. `max_tokens` None means the constructor's; `options` are Ollama's own, by name.

        Raises InvalidRequest for what cannot be asked, NotSupported without the `ollama` package, ConnectFailed,
        DeadlineExceeded, LinkLost, ProtocolViolation, and RequestFailed: the model is missing (404), the queue is
        full (503), the answer is blank or cut, or the question did not fit the context.
        """
        request = self._request(system_prompt, user_content, temperature, max_tokens, options)
        with self._translated(f"{self._model} at {self.url}", self._timeout):
            answer = _mapping(self._client(self._timeout).chat(**request))
        return self._completion(answer)

    def installed(self) -> tuple[str, ...]:
        """Names of the models that the server has pulled, within `check_timeout`. Raises like `chat`."""
        with self._translated(f"models at {self.url}", self._check_timeout):
            listed = _mapping(self._client(self._check_timeout).list())
        rows = listed.get("models") or ()
        return tuple(str(row.get("model") or row.get("name")) for row in rows)

    def trouble(self) -> str | None:
        """Why no answer can be had now: the server does not answer, or has no such model. None when it has."""
        with self._checking:
            now = self._clock()
            if self._checked is None or now - self._checked[0] > self._remember:
                self._checked = (now, self._look())
            return self._checked[1]

    def _look(self) -> str | None:
        try:
            names = self.installed()
        except BrokerError as error:
            return str(error)
        if self._model in names or f"{self._model}:latest" in names:
            return None
        return str(self._missing("it is not there"))

    def _request(
        self, system_prompt: str, user_content: str, temperature: float, max_tokens: int | None, extra: dict[str, Any]
    ) -> dict[str, Any]:
        unknown = sorted(extra.keys() - MODEL_OPTIONS - REQUEST_OPTIONS)
        if unknown:
            known = ", ".join(sorted(MODEL_OPTIONS | REQUEST_OPTIONS))
            raise InvalidRequest(f"option {unknown[0]!r} of {self._model}", "there is no such option", f"use {known}")
        longest = self._max_tokens if max_tokens is None else max_tokens
        if not 0 < longest < self.num_ctx:
            raise InvalidRequest(
                f"an answer of {longest} tokens from {self._model}",
                f"question and answer share {self.num_ctx} tokens",
                "ask for a shorter answer, or raise IB_OLLAMA_NUM_CTX",
            )
        messages = [{"role": "system", "content": str(system_prompt)}] if system_prompt else []
        options = {name: value for name, value in extra.items() if name in MODEL_OPTIONS}
        return {
            "model": self._model,
            "messages": [*messages, {"role": "user", "content": str(user_content)}],
            "stream": False,
            "keep_alive": self._keep_alive,
            "options": {**options, "temperature": temperature, "num_ctx": self.num_ctx, "num_predict": longest},
            **{name: value for name, value in extra.items() if name in REQUEST_OPTIONS},
        }

    def _completion(self, answer: Mapping[str, Any]) -> Completion:
        prompt, written = answer.get("prompt_eval_count"), answer.get("eval_count")
        what, reason = f"answer of {self._model}", answer.get("done_reason")
        if reason == "length":
            raise RequestFailed(what, f"it was cut after {written} tokens", "ask with a higher max_tokens")
        if reason != "stop":
            raise RequestFailed(what, f"it ended with {reason!r}, not with stop", "read the server's log")
        self._refuse_a_cut_question(prompt, written)
        message = answer.get("message")
        content = without_thinking(str(message.get("content") or "")) if isinstance(message, Mapping) else ""
        if not content:
            raise RequestFailed(what, "it is blank", "ask again, or another model")
        duration = answer.get("total_duration")
        seconds = None if duration is None else duration / 1e9
        return Completion(content, self._model, prompt, written, seconds, answer)

    def _refuse_a_cut_question(self, prompt: int | None, written: int | None) -> None:
        """Ollama drops the middle of a question that does not fit, and shows it only in its count."""
        if prompt is None:
            return
        window = self._smallest_window()
        if prompt >= window or prompt + (written or 0) > window:
            raise RequestFailed(
                f"question of {prompt} tokens to {self._model}",
                f"its context holds {window}, so the server cut the question",
                "ask with less data, or raise IB_OLLAMA_NUM_CTX",
            )

    def _smallest_window(self) -> int:
        """Tokens of the loaded model's context, asked once: a model made for fewer is loaded with fewer."""
        if self._window is None:
            try:
                with self._translated(f"loaded models at {self.url}", self._check_timeout):
                    rows = _mapping(self._client(self._check_timeout).ps()).get("models") or ()
            except BrokerError:
                return self.num_ctx
            lengths = [row.get("context_length") for row in rows if row.get("model") == self._model]
            self._window = min([self.num_ctx, *(length for length in lengths if length)])
        return self._window

    def _client(self, timeout: float) -> ollama.Client:
        import httpx
        import ollama

        with self._lock:
            if timeout not in self._clients:
                connect = min(timeout, self._connect_timeout)
                self._clients[timeout] = ollama.Client(host=self.url, timeout=httpx.Timeout(timeout, connect=connect))
            return self._clients[timeout]

    def _missing(self, why: str) -> RequestFailed:
        return RequestFailed(f"{self._model} at {self.url}", why, f"run `ollama pull {self._model}` there", code=404)

    @contextmanager
    def _translated(self, what: str, waited: float) -> Iterator[None]:
        """Whatever the client raises, as an error of the tree."""
        try:
            import httpx
            import ollama
        except ImportError:
            raise NotSupported(
                what, "the package `ollama` is not installed", "pip install 'moondev-ibkr[llm]'"
            ) from None
        try:
            yield
        except ollama.ResponseError as error:
            raise self._refusal(what, error) from error
        except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _no_connection(what, error) from error
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(what, timedelta(seconds=waited), "raise IB_OLLAMA_TIMEOUT or ask less") from error
        except httpx.TransportError as error:
            raise LinkLost(what, str(error) or type(error).__name__, "see whether the server still runs") from error
        except TypeError as error:
            raise NotSupported(what, f"this version of ollama: {error}", "pip install -U ollama") from error
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
            raise ProtocolViolation(what, "what came is not Ollama's answer", "see what listens there") from error

    def _refusal(self, what: str, error: ollama.ResponseError) -> RequestFailed:
        said = " ".join(str(error.error).split())[:200]
        if error.status_code == 404 and "model" in said.lower():
            return self._missing(said)
        why, advice = STATUS_ADVICE.get(error.status_code, ("it refused", "see what listens there"))
        return RequestFailed(what, f"{why}: {said} (HTTP {error.status_code})", advice, code=error.status_code)


def _no_connection(what: str, error: BaseException) -> ConnectFailed:
    """The client hides the cause behind a sentence of its own; it is the error that it was handling."""
    import httpx

    cause = error if isinstance(error, httpx.TransportError) else error.__context__ or error
    if isinstance(cause, httpx.TimeoutException):
        kind = "timeout"
    else:
        kind = "refused" if "refused" in str(cause).lower() else "unreachable"
    return ConnectFailed(what, str(cause) or kind, "start it with `ollama serve`, or correct IB_OLLAMA_HOST", kind=kind)


def _mapping(answer: Any) -> Mapping[str, Any]:
    """The client's answer as plain data: it is a model from `ollama` 0.4 on, a dictionary before."""
    return answer if isinstance(answer, dict) else answer.model_dump()
