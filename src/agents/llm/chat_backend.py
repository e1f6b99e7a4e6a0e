"""What every chat backend offers: one question, one whole answer or an error, and whether it could answer now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer; `content` is never blank and holds no <think> block.

    Token counts and `seconds` (the server's own time, `writing_seconds` the part for the answer's tokens) are None
    where the server does not tell. `raw` is its answer. `cached_tokens` of the prompt were not computed again.
    """

    content: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float | None
    raw: Mapping[str, Any]
    cached_tokens: int | None = None
    writing_seconds: float | None = None
    cache_written_tokens: int | None = None


class ChatBackend(Protocol):
    """A model behind a server. Safe from several threads at once; constructing one reaches nothing."""

    @property
    def model(self) -> str:
        """Name by which the server knows the model."""

    @property
    def max_tokens(self) -> int:
        """Longest answer in tokens where the caller names none."""

    def chat(
        self,
        system_prompt: str,
        user_content: str,
        *,
        temperature: float = 0.7,
        max_tokens: int | None = None,
        **options: Any,
    ) -> Completion:
        """The answer. Raises an error of the tree instead of an empty, cut or missing one."""

    def installed(self) -> tuple[str, ...]:
        """Names of the models that the server has. Raises like `chat`."""

    def trouble(self) -> str | None:
        """Why it could not answer now, None when it could; asked with a short timeout, remembered for some seconds."""
