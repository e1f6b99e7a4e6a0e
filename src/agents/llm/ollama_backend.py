"""Chat with a model on one or several Ollama servers, for callers without an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...brokers.errors import ConfigurationError
from ...brokers.sync import LoopThread, shared_loop
from .asking import Ledger
from .ollama_client import OllamaClient
from .pool import Pool
from .pooled_chat import PooledChat, close_with


class OllamaBackend(PooledChat):
    """One model on the servers that `host` names, several separated by commas. Constructing it reaches nothing; it may
    be shared by threads.

    `num_ctx` counts tokens of question and answer together; `slots` are questions under way at each server. Times are
    seconds: `timeout` for the answer, waiting included; `connect_timeout` for reaching a server, `check_timeout` for
    asking whether it is there, which is remembered for `remember`. `keep_alive` is how long a server keeps the model
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
        slots: int = 4,
        waiting: int = 256,
        ledger: Ledger | None = None,
        loop: LoopThread | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not max_tokens < num_ctx:
            raise ConfigurationError(
                f"Ollama model {model!r} with num_ctx {num_ctx}, max_tokens {max_tokens}",
                "an answer fits its context",
                "correct what is not so",
            )
        clients = [
            OllamaClient(
                part,
                num_ctx=num_ctx,
                timeout=timeout,
                connect_timeout=connect_timeout,
                check_timeout=check_timeout,
                remember=remember,
                keep_alive=keep_alive,
                clock=clock,
            )
            for part in host.split(",")
        ]
        loop = loop or shared_loop()
        pool = Pool(clients, slots=slots, waiting=waiting, clock=clock)
        super().__init__(
            pool,
            model,
            max_tokens=max_tokens,
            timeout=timeout,
            check_timeout=check_timeout,
            remember=remember,
            ledger=ledger,
            loop=loop,
            clock=clock,
        )
        close_with(self, pool, loop)
