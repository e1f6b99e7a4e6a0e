"""The GPU model behind the host's type `gpu_ollama`, from the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...brokers.sync import shared_loop
from ...config.settings import LlmBackend, Settings, load_settings
from ..llm.chat_backend import ChatBackend
from ..llm.models import Models
from ..llm.pooled_chat import PooledChat, close_with


def backend_maker() -> Callable[[str | None], ChatBackend]:
    """Answers a function from a model's name (None: the settings') to its backend; nothing is reached. All models of
    the same settings share one pool and one log."""
    made: list[tuple[Settings, Models]] = []
    making = threading.Lock()

    def models(settings: Settings) -> Models:
        with making:
            for known, shared in made:
                if known == settings:
                    return shared
            new = Models(settings.model_copy(update={"llm_backends": ()}))
            close_with(new, new.pool(LlmBackend.OLLAMA), shared_loop())
            made.append((settings, new))
            return new

    def make(model: str | None) -> ChatBackend:
        # The broker's environment does not matter for a model, and live trading's second step is not asked of it.
        settings = load_settings(i_understand_live=True)
        shared = models(settings)
        return PooledChat(
            shared.pool(LlmBackend.OLLAMA),
            model or settings.ollama_model,
            timeout=settings.ollama_timeout,
            ledger=shared.ledger,
            loop=shared_loop(),
            owner=shared,
        )

    return make
