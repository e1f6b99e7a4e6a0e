"""What every client of a model server offers the pool: asynchronous questions, and no policy of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .chat_backend import Completion


@dataclass(frozen=True, slots=True)
class Question:
    """`schema` constrains the answer to JSON, None leaves it free. `temperature` None means the server's own; a client
    leaves it out for models that refuse it. `options` are the server's own, by name."""

    model: str
    system: str
    user: str
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    temperature: float | None = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    #: `user` as it counts for the cache, where it holds words drawn at random; None for as it is.
    keyed_user: str | None = None

    def key(self, backend: str, digest: str, schema_version: str) -> str:
        """SHA-256 in hex over everything that decides the answer."""
        parts = [
            backend,
            self.model,
            digest,
            schema_version,
            self.system,
            self.user if self.keyed_user is None else self.keyed_user,
            self.max_tokens,
            self.temperature,
            sorted((name, str(value)) for name, value in self.options.items()),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in a server's memory. Sizes are bytes, `vram` the part on GPUs; None where the server does not tell."""

    name: str
    size: int | None
    vram: int | None
    context_length: int | None


class ModelClient(Protocol):
    """One server. Constructing one reaches nothing; every method is bounded by a timeout of its own, raises errors of
    the tree only, and gives its connection back when it is cancelled."""

    @property
    def backend(self) -> str:
        """ollama, openai_compatible or anthropic."""

    @property
    def url(self) -> str:
        """Where it is, without any secret; also its name in the pool."""

    @property
    def is_free(self) -> bool:
        """Whether tokens cost nothing there."""

    async def complete(self, question: Question) -> Completion:
        """A whole answer, never a blank or cut one."""

    async def models(self) -> Mapping[str, str | None] | None:
        """Name -> digest of the models that the server has, remembered for some seconds; None where it has no list."""

    async def digest(self, model: str) -> str | None:
        """What names the model's weights; None where nothing does, and then no earlier answer counts as the same."""

    async def loaded(self) -> tuple[LoadedModel, ...] | None:
        """Models in memory, None where the server does not tell."""

    def most_tokens(self, question: Question) -> tuple[int, int]:
        """(prompt, answer): more tokens than the question can cost."""

    async def aclose(self) -> None:
        """Close the connections. Calling it twice does nothing."""


def prompt_bound(question: Question) -> int:
    """More tokens than the prompt has: no tokenizer in use makes more than one of a UTF-8 byte; the rest is framing."""
    schema = len(json.dumps(question.schema)) if question.schema is not None else 0
    return len(question.system.encode()) + len(question.user.encode()) + schema + 500
