"""The GPU model behind the host's type `gpu_ollama`, from the settings."""

from __future__ import annotations

from collections.abc import Callable

from ...config.settings import load_settings
from ..llm.chat_backend import ChatBackend
from ..llm.ollama_backend import OllamaBackend


def backend_maker() -> Callable[[str | None], ChatBackend]:
    """Answers a function from a model's name (None: the settings') to its backend; nothing is reached."""

    def make(model: str | None) -> ChatBackend:
        # The broker's environment does not matter for a model, and live trading's second step is not asked of it.
        settings = load_settings(i_understand_live=True)
        return OllamaBackend(
            settings.ollama_host,
            model or settings.ollama_model,
            num_ctx=settings.ollama_num_ctx,
            timeout=settings.ollama_timeout,
        )

    return make
