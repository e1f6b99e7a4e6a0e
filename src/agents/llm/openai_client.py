"""A server with OpenAI's chat route: vLLM, llama-server, SGLang, or a service. Over httpx, with no client of theirs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ...brokers.errors import DeadlineExceeded, LinkLost, NotSupported, ProtocolViolation, RequestFailed
from .answers import without_thinking
from .chat_backend import Completion
from .model_client import LoadedModel, Question, prompt_bound
from .server_address import connect_failed, is_private_server, server_url
from .troubles import Trouble, failed, of_status

if TYPE_CHECKING:
    import httpx

DEFAULT_PORT = 8000
#: Arguments of a chat that are handed on by their own names.
OPTIONS = frozenset({"seed", "top_p", "presence_penalty", "frequency_penalty", "stop"})
#: Parts of a model's listing that change without the model changing.
_RESTLESS = frozenset({"created", "permission", "status"})


class OpenAiClient:
    """One server at `url`, which ends where `/v1/…` begins. `key` goes into the Authorization header and nowhere else;
    None sends none. Times are seconds, as for OllamaClient. Raises ConfigurationError."""

    backend = "openai_compatible"

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 90.0,
        connect_timeout: float = 3.0,
        check_timeout: float = 2.0,
        remember: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = server_url(url, DEFAULT_PORT).removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.timeout, self.check_timeout = timeout, check_timeout
        self._connect_timeout, self._remember, self._clock = connect_timeout, remember, clock
        self._http: httpx.AsyncClient | None = None
        #: (when they were asked, name -> digest)
        self._models: tuple[float, dict[str, str | None]] | None = None

    @property
    def url(self) -> str:
        return self._url

    @property
    def is_free(self) -> bool:
        return is_private_server(self._url)

    def most_tokens(self, question: Question) -> tuple[int, int]:
        return prompt_bound(question), question.max_tokens

    async def complete(self, question: Question) -> Completion:
        """Raises like OllamaClient.complete; `refused` where the model declined."""
        body = await self._ask("POST", "/v1/chat/completions", question.model, _request(question))
        try:
            choice = body["choices"][0]
            message, reason, usage = choice["message"], choice["finish_reason"], body.get("usage") or {}
            content, refusal = message.get("content"), message.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ProtocolViolation(
                f"{question.model} at {self._url}", "what came is no chat completion", "see what listens there"
            ) from None
        _refuse_part(question.model, reason, refusal)
        text = without_thinking(content) if isinstance(content, str) else ""
        if not text:
            raise failed(
                Trouble.UNFINISHED, f"answer of {question.model}", "it is blank", "ask again, or another model"
            )
        details = usage.get("prompt_tokens_details") or {}
        return Completion(
            text,
            question.model,
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
            None,
            body,
            cached_tokens=details.get("cached_tokens"),
        )

    async def models(self) -> Mapping[str, str | None]:
        """The digest is over what the server tells of the model, which does not name its weights everywhere."""
        now = self._clock()
        if self._models is None or now - self._models[0] > self._remember:
            body = await self._ask("GET", "/v1/models", None, None)
            rows = body.get("data")
            if not isinstance(rows, list):
                raise ProtocolViolation(f"models at {self._url}", "it is no list of models", "see what listens there")
            self._models = (now, {str(row.get("id")): _digest(row) for row in rows if isinstance(row, dict)})
        return self._models[1]

    async def digest(self, model: str) -> str | None:
        return (await self.models()).get(model)

    async def loaded(self) -> tuple[LoadedModel, ...] | None:
        return None

    async def aclose(self) -> None:
        client, self._http = self._http, None
        if client is not None:
            await client.aclose()

    async def _ask(self, method: str, path: str, model: str | None, body: Any) -> dict[str, Any]:
        waited = self.check_timeout if model is None else self.timeout
        what = f"models at {self._url}" if model is None else f"{model} at {self._url}"
        with _translated(what, waited):
            import httpx

            if self._http is None:
                self._http = httpx.AsyncClient(headers=self._headers)
            timeout = httpx.Timeout(waited, connect=min(waited, self._connect_timeout))
            answer = await self._http.request(method, self._url + path, json=body, timeout=timeout)
            if answer.status_code >= 400:
                raise _refusal(what, model, answer.status_code, answer.text)
            parsed = answer.json()
        if not isinstance(parsed, dict):
            raise ProtocolViolation(what, "what came is no JSON object", "see what listens there")
        return parsed


def _request(question: Question) -> dict[str, Any]:
    messages = [{"role": "system", "content": question.system}] if question.system else []
    body: dict[str, Any] = {
        "model": question.model,
        "messages": [*messages, {"role": "user", "content": question.user}],
        "max_tokens": question.max_tokens,
        "stream": False,
        **{name: value for name, value in question.options.items() if name in OPTIONS},
    }
    if question.temperature is not None:
        body["temperature"] = question.temperature
    if question.schema is not None:
        schema = {"name": "answer", "schema": dict(question.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _refuse_part(model: str, reason: object, refusal: object) -> None:
    what = f"answer of {model}"
    if reason == "length":
        raise failed(Trouble.TRUNCATED, what, "it was cut at its longest length", "ask with a higher max_tokens")
    if reason == "content_filter" or refusal:
        raise failed(Trouble.REFUSED, what, "the model declined to answer", "ask another model")
    if reason != "stop":
        raise failed(Trouble.UNFINISHED, what, f"it ended with {reason!r}, not with stop", "read the server's log")


def _refusal(what: str, model: str | None, status: int, text: str) -> RequestFailed:
    said = " ".join(text.split())[:200]
    trouble, advice = of_status(status), "see what listens there, and its log"
    if status == 404 and model is not None and "model" in said.lower():
        trouble, advice = Trouble.MODEL_MISSING, "start the server with that model, or correct IB_OPENAI_MODEL"
    if trouble is Trouble.NO_PERMISSION:
        advice = "set IB_SECRETS__OPENAI_KEY"
    return failed(trouble, what, f"it refused: {said} (HTTP {status})", advice, code=status)


def _digest(row: Mapping[str, Any]) -> str:
    told = {name: value for name, value in row.items() if name not in _RESTLESS}
    return "listing:" + hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


@contextmanager
def _translated(what: str, waited: float) -> Iterator[None]:
    """Whatever httpx raises, as an error of the tree."""
    try:
        import httpx
    except ImportError:
        raise NotSupported(what, "the package `httpx` is not installed", "pip install 'moondev-ibkr[llm]'") from None
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise connect_failed(what, error, "start the server, or correct IB_OPENAI_URL") from error
    except httpx.TimeoutException as error:
        raise DeadlineExceeded(what, timedelta(seconds=waited), "ask less, or wait longer") from error
    except httpx.TransportError as error:
        raise LinkLost(what, str(error) or type(error).__name__, "see whether the server still runs") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ProtocolViolation(what, "what came is no JSON", "see what listens there") from error
