"""The models that the settings name, as pools behind one ledger; from them come ladders and chats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ...brokers.errors import ConfigurationError
from ...config.logging import Redactor
from ...config.settings import LlmBackend, Settings, default_state_dir, environment_secrets
from .anthropic_client import AnthropicClient
from .asking import Ledger, Target
from .call_log import FILE, CallLog
from .ladder import Ladder
from .model_client import ModelClient
from .ollama_client import OllamaClient
from .openai_client import OpenAiClient
from .pool import Pool
from .prices import load_prices
from .rules_backend import RulesBackend


class Models:
    """Everything that may be asked. Reaches nothing when made; belongs to the one event loop that it is used on.

    Raises ConfigurationError for settings that do not go together.
    """

    def __init__(self, settings: Settings, *, ledger: Ledger | None = None) -> None:
        self.settings = settings
        self.ledger = ledger or open_ledger(settings)
        self._pools: dict[LlmBackend, Pool] = {}
        for backend in settings.llm_backends:
            self.pool(backend)

    def pool(self, backend: LlmBackend) -> Pool:
        """The hosts of a backend; the same each time, whether the settings name it for analysis or not."""
        if backend not in self._pools:
            clients, slots = _CLIENTS[backend](self.settings)
            self._pools[backend] = Pool(clients, slots=slots, waiting=self.settings.llm_waiting)
        return self._pools[backend]

    @property
    def pools(self) -> Mapping[LlmBackend, Pool]:
        return self._pools

    def target(self, backend: LlmBackend, model: str | None = None) -> Target:
        """A model of a backend, None for the settings'. Raises ConfigurationError when the settings name none."""
        return Target(self.pool(backend), model or model_of(self.settings, backend), self.ledger)

    def ladder(
        self,
        rules: RulesBackend,
        *,
        models: Mapping[LlmBackend, str] | None = None,
        purpose: str = "analysis",
    ) -> Ladder:
        """The settings' backends in their order, with rules behind them. `models` names other models than theirs."""
        chosen = models or {}
        targets = [self.target(backend, chosen.get(backend)) for backend in self.settings.llm_backends]
        return Ladder(targets, rules, purpose=purpose)

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()
        self.ledger.close()


def open_ledger(settings: Settings) -> Ledger:
    """The log and prices of these settings. One log for all environments: what models cost is money in each."""
    secrets = [secret.get_secret_value() for secret in settings.secrets.values()]
    redact = Redactor([*secrets, *environment_secrets()], mask_accounts=settings.log_mask_accounts)
    calls = CallLog(log_file(settings), redact=redact, daily_cap=settings.llm_daily_cost)
    return Ledger(calls, load_prices(settings.llm_prices))


def log_file(settings: Settings) -> Path:
    return (settings.state_dir or default_state_dir()) / FILE


def model_of(settings: Settings, backend: LlmBackend) -> str:
    """The model's name that the settings give for a backend. Raises ConfigurationError when they give none."""
    named = {
        LlmBackend.OLLAMA: settings.ollama_model,
        LlmBackend.OPENAI_COMPATIBLE: settings.openai_model,
        LlmBackend.ANTHROPIC: settings.anthropic_model,
    }[backend]
    if named is None:
        raise ConfigurationError(f"models of {backend}", "no model is named", "set IB_OPENAI_MODEL")
    return named


def ollama_clients(settings: Settings) -> list[ModelClient]:
    """A client for each server that IB_OLLAMA_HOST names."""
    alive = settings.ollama_keep_alive.strip()
    try:
        keep_alive: str | float = float(alive)
    except ValueError:
        keep_alive = alive
    return [
        OllamaClient(host, num_ctx=settings.ollama_num_ctx, timeout=settings.ollama_timeout, keep_alive=keep_alive)
        for host in settings.ollama_host.split(",")
    ]


def _ollama(settings: Settings) -> tuple[list[ModelClient], int]:
    return ollama_clients(settings), settings.ollama_parallel


def _openai(settings: Settings) -> tuple[list[ModelClient], int]:
    if settings.openai_url is None:
        raise ConfigurationError("backend openai_compatible", "it has no address", "set IB_OPENAI_URL")
    model_of(settings, LlmBackend.OPENAI_COMPATIBLE)
    key = _secret(settings, "openai_key")
    client = OpenAiClient(settings.openai_url, key=key, timeout=settings.llm_deadline)
    return [client], settings.openai_parallel


def _anthropic(settings: Settings) -> tuple[list[ModelClient], int]:
    key = _secret(settings, "anthropic_key")
    if key is None:
        raise ConfigurationError("backend anthropic", "it has no key", "set IB_SECRETS__ANTHROPIC_KEY")
    client = AnthropicClient(key, url=settings.anthropic_url, timeout=settings.llm_deadline)
    return [client], settings.anthropic_parallel


def _secret(settings: Settings, name: str) -> str | None:
    """A secret by its name, in whichever case it was set."""
    found = {key.lower(): value.get_secret_value() for key, value in settings.secrets.items()}
    return found.get(name)


_CLIENTS: Mapping[LlmBackend, Callable[[Settings], tuple[list[ModelClient], int]]] = {
    LlmBackend.OLLAMA: _ollama,
    LlmBackend.OPENAI_COMPATIBLE: _openai,
    LlmBackend.ANTHROPIC: _anthropic,
}
