"""Chat for callers without an event loop: through the pool, on the process's background loop."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ...brokers.errors import BrokerError, ConfigurationError
from ...brokers.sync import LoopThread, shared_loop
from .asking import Course, Ledger, Target, Terms
from .chat_backend import Completion
from .model_client import ModelClient, Question
from .pool import Pool
from .request import Priority, Rung
from .troubles import Trouble, failed

R = TypeVar("R")
#: Seconds beyond a deadline that the loop gets to say what happened.
GRACE = 5.0


class PooledChat:
    """A model of `pool` as a ChatBackend, for any thread. `timeout` is seconds for the answer, waiting for a free slot
    included; `check_timeout` for asking a host what it has, which `trouble` remembers for `remember`. `owner` is kept
    alive as long as this."""

    def __init__(
        self,
        pool: Pool,
        model: str,
        *,
        max_tokens: int = 2_048,
        timeout: float = 90.0,
        check_timeout: float = 2.0,
        remember: float = 10.0,
        ledger: Ledger | None = None,
        loop: LoopThread | None = None,
        clock: Callable[[], float] = time.monotonic,
        owner: object = None,
    ) -> None:
        if not model.strip() or max_tokens < 1:
            raise ConfigurationError(f"model {model!r}", "a model has a name and its answers a length", "correct it")
        self.pool, self._loop, self._owner = pool, loop or shared_loop(), owner
        self._target = Target(pool, model.strip(), ledger)
        self._max_tokens, self._timeout, self._check_timeout = max_tokens, timeout, check_timeout
        self._remember, self._clock = remember, clock
        #: (when it was asked, what was wrong)
        self._checked: tuple[float, str | None] | None = None
        self._checking = threading.Lock()

    @property
    def model(self) -> str:
        return self._target.model

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
        """One question, answered whole. `max_tokens` None means the constructor's; `options` are the server's own, by
        name. Raises what the client of the server raises, and what the pool does."""
        longest = self._max_tokens if max_tokens is None else max_tokens
        question = Question(
            self.model, str(system_prompt or ""), str(user_content), longest, None, temperature, options
        )
        return self._on_loop(self._chat(question), self._timeout, f"answer of {self.model}")

    def installed(self) -> tuple[str, ...]:
        """Names of the models that any host has. Raises when none answers."""
        return self._on_loop(self._installed(), self._check_timeout, "models")

    def trouble(self) -> str | None:
        with self._checking:
            now = self._clock()
            if self._checked is None or now - self._checked[0] > self._remember:
                self._checked = (now, self._look())
            return self._checked[1]

    def close(self) -> None:
        """Close the connections; a later question opens new ones."""
        self._on_loop(self.pool.aclose(), self._check_timeout, "closing")

    def _on_loop(self, work: Coroutine[Any, Any, R], seconds: float, what: str) -> R:
        return self._loop.call(work, seconds + GRACE, what)

    async def _chat(self, question: Question) -> Completion:
        deadline = asyncio.get_running_loop().time() + self._timeout
        terms = Terms("chat", Rung.ASKED, "", deadline, Priority.NORMAL)
        asked = await self._target.ask(question, terms, lambda done: done, Course())
        return asked.value

    async def _installed(self) -> tuple[str, ...]:
        found = await asyncio.gather(*(_names(host.client) for host in self.pool.hosts), return_exceptions=True)
        names = [name for answer in found if not isinstance(answer, BaseException) for name in answer]
        errors = [answer for answer in found if isinstance(answer, BaseException)]
        if len(errors) == len(found):
            raise errors[0]
        return tuple(dict.fromkeys(names))

    def _look(self) -> str | None:
        try:
            names = self.installed()
        except BrokerError as error:
            return str(error)
        if self.model in names or f"{self.model}:latest" in names:
            return None
        where = ", ".join(host.client.url for host in self.pool.hosts)
        what, why = f"{self.model} at {where}", "it is not there"
        return str(failed(Trouble.MODEL_MISSING, what, why, f"run `ollama pull {self.model}` there", code=404))


async def _names(client: ModelClient) -> tuple[str, ...]:
    return tuple(await client.models() or ())


def close_with(owner: object, pool: Pool, loop: LoopThread) -> None:
    """Close the pool's connections when nobody holds `owner` any more."""
    weakref.finalize(owner, loop.start_soon, pool.aclose).atexit = False
