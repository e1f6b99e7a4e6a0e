"""The control channel to a child gateway: an answer and a Ctrl-C that come together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.cli.gateway_process import GatewayProcess


class Silent:
    """A child that takes every line."""

    def __init__(self) -> None:
        self.stdin = self
        self.stdout = asyncio.StreamReader()

    def write(self, line: bytes) -> None: ...

    async def drain(self) -> None: ...


async def test_a_cancel_that_comes_with_the_answer_is_not_lost(tmp_path: Path) -> None:
    gateway = GatewayProcess([], tmp_path)
    child: Any = Silent()
    gateway._process = child
    asked = asyncio.create_task(gateway.tell({"advance_to": "2026-01-02T15:00:00+00:00"}))
    for _ in range(5):
        await asyncio.sleep(0)
    child.stdout.feed_data(b"{}\n")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
