"""A server that speaks Ollama's API: always a timeout, a context window and a longest answer, and never half a one.

The `ollama` package is asked for on first use, so that this package can be installed and imported without it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ...brokers.errors import (
    BrokerError,
    ConfigurationError,
    DeadlineExceeded,
    InvalidRequest,
    LinkLost,
    NotSupported,
    ProtocolViolation,
    RequestFailed,
)
from .answers import without_thinking
from .chat_backend import Completion
from .model_client import LoadedModel, Question, prompt_bound
from .server_address import connect_failed, server_url
from .troubles import Trouble, failed, of_status

if TYPE_CHECKING:
    import ollama

DEFAULT_PORT = 11434
#: Extra arguments of a chat that are the model's options, and those that are the request's own.
MODEL_OPTIONS = frozenset({"seed", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "stop"})
REQUEST_OPTIONS = frozenset({"format", "think", "keep_alive"})
#: The seed of a constrained answer: with temperature 0 the same question has the same answer.
SEED = 7
#: What an HTTP status means to the user: why, and what to do next.
STATUS_ADVICE: Mapping[int, tuple[str, str]] = {
    401: ("it wants a key", "set OLLAMA_API_KEY"),
    403: ("it does not answer this machine", "allow it in the server's OLLAMA_ORIGINS or its proxy"),
    429: ("it is asked too often", "ask again later"),
    500: ("the model failed on the server", "read the server's log; a smaller model or context may fit its memory"),
    503: ("its queue is full", "ask again later, or raise OLLAMA_MAX_QUEUE on the server"),
}


class OllamaClient:
    """One Ollama server, any of its models.

    `num_ctx` counts tokens of question and answer together and never changes, since a change makes the server load the
    model again. Times are seconds: `timeout` is the longest silence, and Ollama is silent until the whole answer is
    there; `connect_timeout` is for reaching the server, `check_timeout` for asking what it has, which is remembered
    for `remember`. `keep_alive` is how long the server keeps a model loaded. Raises ConfigurationError.
    """

    backend = "ollama"

    def __init__(
        self,
        host: str,
        *,
        num_ctx: int = 16_384,
        timeout: float = 90.0,
        connect_timeout: float = 3.0,
        check_timeout: float = 2.0,
        remember: float = 10.0,
        keep_alive: str | float = "30m",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if num_ctx < 1 or min(timeout, connect_timeout, check_timeout) <= 0:
            raise ConfigurationError(
                f"Ollama server with num_ctx {num_ctx}, timeout {timeout:g} s", "both are above 0", "correct them"
            )
        self._url = server_url(host, DEFAULT_PORT)
        self.num_ctx = num_ctx
        self.timeout, self.check_timeout = timeout, check_timeout
        self._connect_timeout, self._remember, self._clock = connect_timeout, remember, clock
        self._keep_alive = keep_alive
        self._clients: dict[float, ollama.AsyncClient] = {}
        #: (when they were asked, name -> digest)
        self._models: tuple[float, dict[str, str | None]] | None = None
        self._windows: dict[str, int] = {}

    @property
    def url(self) -> str:
        return self._url

    @property
    def is_free(self) -> bool:
        """Always: a server of Ollama's kind is one's own, rented by the hour, or a subscription."""
        return True

    def most_tokens(self, question: Question) -> tuple[int, int]:
        return min(prompt_bound(question), self.num_ctx), question.max_tokens

    async def complete(self, question: Question) -> Completion:
        """Raises InvalidRequest for what cannot be asked, NotSupported without the `ollama` package, ConnectFailed,
        DeadlineExceeded, LinkLost, ProtocolViolation, and RequestFailed: the model is missing (404), the queue is
        full (503), the answer is blank or cut, or the question did not fit the context."""
        request = self._request(question)
        with self._translated(question.model, self.timeout):
            answer = _mapping(await self._client(self.timeout).chat(**request))
        return await self._completion(question.model, answer)

    async def models(self) -> Mapping[str, str | None]:
        now = self._clock()
        if self._models is None or now - self._models[0] > self._remember:
            with self._translated(None, self.check_timeout):
                listed = _mapping(await self._client(self.check_timeout).list())
            rows = listed.get("models") or ()
            self._models = (now, {str(row.get("model") or row.get("name")): row.get("digest") for row in rows})
        return self._models[1]

    async def digest(self, model: str) -> str | None:
        found = await self.models()
        return found.get(model) or found.get(f"{model}:latest")

    async def loaded(self) -> tuple[LoadedModel, ...]:
        with self._translated(None, self.check_timeout):
            rows = _mapping(await self._client(self.check_timeout).ps()).get("models") or ()
        return tuple(
            LoadedModel(
                str(row.get("model") or row.get("name")),
                row.get("size"),
                row.get("size_vram"),
                row.get("context_length"),
            )
            for row in rows
        )

    async def preload(self, model: str) -> None:
        """Load the model and keep it, so that the first question need not wait. Raises like `complete`."""
        with self._translated(model, self.timeout):
            await self._client(self.timeout).generate(
                model=model, keep_alive=self._keep_alive, options={"num_ctx": self.num_ctx}
            )

    async def aclose(self) -> None:
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client._client.aclose()

    def _request(self, question: Question) -> dict[str, Any]:
        unknown = sorted(question.options.keys() - MODEL_OPTIONS - REQUEST_OPTIONS)
        if unknown:
            known = ", ".join(sorted(MODEL_OPTIONS | REQUEST_OPTIONS))
            raise InvalidRequest(
                f"option {unknown[0]!r} of {question.model}", "there is no such option", f"use {known}"
            )
        if not 0 < question.max_tokens < self.num_ctx:
            raise InvalidRequest(
                f"an answer of {question.max_tokens} tokens from {question.model}",
                f"question and answer share {self.num_ctx} tokens",
                "ask for a shorter answer, or raise IB_OLLAMA_NUM_CTX",
            )
        messages = [{"role": "system", "content": question.system}] if question.system else []
        options: dict[str, Any] = {"num_ctx": self.num_ctx, "num_predict": question.max_tokens}
        if question.temperature is not None:
            options["temperature"] = question.temperature
        constrained = {}
        if question.schema is not None:
            options["seed"] = SEED
            constrained = {"format": dict(question.schema), "think": False}
        return {
            "model": question.model,
            "messages": [*messages, {"role": "user", "content": question.user}],
            "stream": False,
            "keep_alive": self._keep_alive,
            "options": {**options, **{n: value for n, value in question.options.items() if n in MODEL_OPTIONS}},
            **constrained,
            **{name: value for name, value in question.options.items() if name in REQUEST_OPTIONS},
        }

    async def _completion(self, model: str, answer: Mapping[str, Any]) -> Completion:
        prompt, written = answer.get("prompt_eval_count"), answer.get("eval_count")
        what, reason = f"answer of {model}", answer.get("done_reason")
        if reason == "length":
            raise failed(Trouble.TRUNCATED, what, f"it was cut after {written} tokens", "ask with a higher max_tokens")
        if reason != "stop":
            raise failed(Trouble.UNFINISHED, what, f"it ended with {reason!r}, not with stop", "read the server's log")
        await self._refuse_a_cut_question(model, prompt, written)
        message = answer.get("message")
        content = without_thinking(str(message.get("content") or "")) if isinstance(message, Mapping) else ""
        if not content:
            raise failed(Trouble.UNFINISHED, what, "it is blank", "ask again, or another model")
        total, writing = answer.get("total_duration"), answer.get("eval_duration")
        return Completion(
            content,
            model,
            prompt,
            written,
            None if total is None else total / 1e9,
            answer,
            writing_seconds=None if not writing else writing / 1e9,
        )

    async def _refuse_a_cut_question(self, model: str, prompt: int | None, written: int | None) -> None:
        """Ollama drops the middle of a question that does not fit, and shows it only in its count."""
        if prompt is None:
            return
        window = await self._smallest_window(model)
        if prompt >= window or prompt + (written or 0) > window:
            raise failed(
                Trouble.QUESTION_CUT,
                f"question of {prompt} tokens to {model}",
                f"its context holds {window}, so the server cut the question",
                "ask with less data, or raise IB_OLLAMA_NUM_CTX",
            )

    async def _smallest_window(self, model: str) -> int:
        """Tokens of the loaded model's context, asked once: a model made for fewer is loaded with fewer."""
        if model not in self._windows:
            try:
                rows = await self.loaded()
            except BrokerError:
                return self.num_ctx
            lengths = [row.context_length for row in rows if row.name in (model, f"{model}:latest")]
            self._windows[model] = min([self.num_ctx, *(length for length in lengths if length)])
        return self._windows[model]

    def _client(self, timeout: float) -> ollama.AsyncClient:
        import httpx
        import ollama

        if timeout not in self._clients:
            connect = min(timeout, self._connect_timeout)
            self._clients[timeout] = ollama.AsyncClient(host=self._url, timeout=httpx.Timeout(timeout, connect=connect))
        return self._clients[timeout]

    @contextmanager
    def _translated(self, model: str | None, waited: float) -> Iterator[None]:
        """Whatever the client raises, as an error of the tree."""
        what = f"models at {self._url}" if model is None else f"{model} at {self._url}"
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
            raise self._refusal(what, model, error) from error
        except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise connect_failed(what, error, "start it with `ollama serve`, or correct IB_OLLAMA_HOST") from error
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(what, timedelta(seconds=waited), "raise IB_OLLAMA_TIMEOUT or ask less") from error
        except httpx.TransportError as error:
            raise LinkLost(what, str(error) or type(error).__name__, "see whether the server still runs") from error
        except TypeError as error:
            raise NotSupported(what, f"this version of ollama: {error}", "pip install -U ollama") from error
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
            raise ProtocolViolation(what, "what came is not Ollama's answer", "see what listens there") from error

    def _refusal(self, what: str, model: str | None, error: ollama.ResponseError) -> RequestFailed:
        said = " ".join(str(error.error).split())[:200]
        if error.status_code == 404 and model is not None and "model" in said.lower():
            return self.missing(model, said)
        why, advice = STATUS_ADVICE.get(error.status_code, ("it refused", "see what listens there"))
        text = f"{why}: {said} (HTTP {error.status_code})"
        return failed(of_status(error.status_code), what, text, advice, code=error.status_code)

    def missing(self, model: str, why: str = "it is not there") -> RequestFailed:
        """The error for a model that this server does not have."""
        advice = f"run `ollama pull {model}` there"
        return failed(Trouble.MODEL_MISSING, f"{model} at {self._url}", why, advice, code=404)


def _mapping(answer: Any) -> Mapping[str, Any]:
    """The client's answer as plain data: it is a model from `ollama` 0.4 on, a dictionary before."""
    return answer if isinstance(answer, dict) else answer.model_dump()
