"""Claude over the `anthropic` package, 0.75 as well as 2.x, which is asked for on first use.

No sampling parameter is ever sent: newer models refuse them. An answer's shape is asked for by `output_config` where
the package knows it, by a forced tool where it does not; a model that refuses forced tools is asked by the former.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ...brokers.errors import (
    ConfigurationError,
    DeadlineExceeded,
    LinkError,
    LinkLost,
    NotSupported,
    ProtocolViolation,
    RequestFailed,
)
from .chat_backend import Completion
from .model_client import LoadedModel, Question, prompt_bound
from .server_address import connect_failed, is_private_server, server_url
from .troubles import Trouble, failed, of_status

if TYPE_CHECKING:
    import anthropic

SERVICE = "https://api.anthropic.com"
TOOL = "answer"
#: A name that ends in a date is one snapshot for ever; another one may come to mean the next.
_SNAPSHOT = re.compile(r".*-\d{8}\Z")
Shape: TypeAlias = Literal["output_config", "tool"]
#: How a whole answer ends, by how its shape was asked for.
_ENDS: Mapping[Shape | None, str] = {"output_config": "end_turn", "tool": "tool_use", None: "end_turn"}


class AnthropicClient:
    """Claude at `url`. `thoughts` are tokens that a model may think beside the answer, where it thinks; `retries` are
    the package's own, after its own pauses. `shape` None means the best that the package knows. Times are seconds.
    Raises ConfigurationError without a key."""

    backend = "anthropic"

    def __init__(
        self,
        key: str,
        *,
        url: str = SERVICE,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        retries: int = 1,
        thoughts: int = 4_096,
        shape: Shape | None = None,
    ) -> None:
        if not key.strip():
            raise ConfigurationError("Claude", "it wants a key", "set IB_SECRETS__ANTHROPIC_KEY")
        self._url = server_url(url, 443)
        self._key, self.timeout, self._connect_timeout = key.strip(), timeout, connect_timeout
        self._retries, self._thoughts, self._shape = retries, thoughts, shape
        self._client: anthropic.AsyncAnthropic | None = None

    @property
    def url(self) -> str:
        return self._url

    @property
    def is_free(self) -> bool:
        return is_private_server(self._url)

    def most_tokens(self, question: Question) -> tuple[int, int]:
        return prompt_bound(question), question.max_tokens + self._thoughts

    async def complete(self, question: Question) -> Completion:
        """Raises ConnectFailed, DeadlineExceeded, LinkLost, ProtocolViolation, NotSupported without the package, and
        RequestFailed, which names its trouble: refused, cut, overloaded (529), no permission."""
        shape = None if question.schema is None else self._shape_of()
        try:
            return await self._complete(question, shape)
        except RequestFailed as error:
            # Some models refuse a forced tool; the service then still takes output_config, whatever the package knows.
            if shape != "tool" or error.code != 400 or "tool_choice" not in error.why:
                raise
        self._shape = "output_config"
        return await self._complete(question, self._shape)

    async def models(self) -> Mapping[str, str | None] | None:
        return None

    async def digest(self, model: str) -> str | None:
        """The name where it is that of one snapshot, None where it may come to mean another model."""
        return model if _SNAPSHOT.match(model) else None

    async def loaded(self) -> tuple[LoadedModel, ...] | None:
        return None

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _complete(self, question: Question, shape: Shape | None) -> Completion:
        with self._translated(question.model):
            client = self._made()
            message = await client.messages.create(**self._request(question, shape))
        return _completion(question, message, shape)

    def _shape_of(self) -> Shape:
        if self._shape is None:
            with self._translated("its package"):
                known = inspect.signature(self._made().messages.create).parameters
            self._shape = "output_config" if "output_config" in known else "tool"
        return self._shape

    def _request(self, question: Question, shape: Shape | None) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": question.model,
            "max_tokens": question.max_tokens + self._thoughts,
            "messages": [{"role": "user", "content": question.user}],
        }
        if question.system:
            text = {"type": "text", "text": question.system, "cache_control": {"type": "ephemeral"}}
            request["system"] = [text]
        if question.schema is not None:
            request |= _shaped(question.schema, shape)
        return request

    def _made(self) -> anthropic.AsyncAnthropic:
        import anthropic

        if self._client is None:
            self._client = anthropic.AsyncAnthropic(
                api_key=self._key, base_url=self._url, max_retries=self._retries, timeout=self._timeouts()
            )
        return self._client

    def _timeouts(self) -> Any:
        import anthropic

        return anthropic.Timeout(self.timeout, connect=min(self.timeout, self._connect_timeout))

    @contextmanager
    def _translated(self, model: str) -> Iterator[None]:
        what = f"{model} at {self._url}"
        try:
            import anthropic
        except ImportError:
            raise NotSupported(
                what, "the package `anthropic` is not installed", "pip install 'moondev-ibkr[llm]'"
            ) from None
        try:
            yield
        except anthropic.APITimeoutError as error:
            raise DeadlineExceeded(what, timedelta(seconds=self.timeout), "ask less, or wait longer") from error
        except anthropic.APIConnectionError as error:
            raise _no_connection(what, error) from error
        except anthropic.APIStatusError as error:
            raise _refusal(what, error) from error
        except (anthropic.APIError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ProtocolViolation(
                what, f"it is no message of Claude: {error}"[:200], "see IB_ANTHROPIC_URL"
            ) from error


def _shaped(schema: Mapping[str, Any], shape: Shape | None) -> dict[str, Any]:
    """The arguments that ask for JSON of the schema."""
    import anthropic

    if shape == "tool":
        tool = {"name": TOOL, "description": "Give the answer.", "input_schema": dict(schema)}
        return {"tools": [tool], "tool_choice": {"type": "tool", "name": TOOL}}
    plain = anthropic.transform_schema(dict(schema))
    config = {"format": {"type": "json_schema", "schema": plain}}
    # In the body rather than as an argument: an older package has no argument for it.
    return {"extra_body": {"output_config": config}}


def _completion(question: Question, message: Any, shape: Shape | None) -> Completion:
    what = f"answer of {question.model}"
    reason = getattr(message, "stop_reason", None)
    if reason in ("max_tokens", "model_context_window_exceeded"):
        raise failed(Trouble.TRUNCATED, what, f"it was cut ({reason})", "ask with a higher max_tokens")
    if reason == "refusal":
        raise failed(Trouble.REFUSED, what, "the model declined to answer", "ask another model")
    if reason not in (_ENDS[shape], "stop_sequence"):
        raise failed(Trouble.UNFINISHED, what, f"it ended with {reason!r}", "ask again, or another model")
    blocks = getattr(message, "content", None) or []
    if shape == "tool":
        inputs = [block.input for block in blocks if block.type == "tool_use" and block.name == TOOL]
        text = json.dumps(inputs[0]) if len(inputs) == 1 else ""
    else:
        text = "".join(block.text for block in blocks if block.type == "text").strip()
    if not text:
        raise failed(Trouble.UNFINISHED, what, "it is blank", "ask again, or another model")
    read, written = message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens
    return Completion(
        text,
        question.model,
        message.usage.input_tokens + (read or 0) + (written or 0),
        message.usage.output_tokens,
        None,
        message.model_dump(),
        cached_tokens=read,
        cache_written_tokens=written,
    )


def _no_connection(what: str, error: Exception) -> LinkError:
    """A connection that was never made, or one that broke while the answer was awaited."""
    cause = error.__cause__
    if cause is not None and "connect" not in type(cause).__name__.lower():
        return LinkLost(what, str(cause) or type(cause).__name__, "ask again")
    return connect_failed(what, error, "see whether this machine reaches it, or correct IB_ANTHROPIC_URL")


def _refusal(what: str, error: anthropic.APIStatusError) -> RequestFailed:
    said = " ".join(str(error.message).split())[:200]
    trouble, advice = of_status(error.status_code), "ask again later"
    if error.status_code == 404 and "model" in said.lower():
        trouble, advice = Trouble.MODEL_MISSING, "correct IB_ANTHROPIC_MODEL"
    elif trouble is Trouble.NO_PERMISSION:
        advice = "correct IB_SECRETS__ANTHROPIC_KEY, or the account's limits"
    elif trouble is Trouble.CANNOT_ASK:
        advice = "another model, or pip install -U anthropic"
    return failed(trouble, what, f"it refused: {said} (HTTP {error.status_code})", advice, code=error.status_code)
