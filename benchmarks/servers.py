"""The gateway's process, seen from the measuring one."""

from __future__ import annotations

import asyncio
import json
import sys
from types import TracebackType
from typing import Any

_SECONDS = 120.0


class GatewayServer:
    """``async with GatewayServer(symbols=100) as server:`` starts it; leaving ends it.

    `prints`: trades a session of every symbol, so how lively the market is; `delay`: real seconds to the first tick;
    `history_seconds`: real seconds to an answer with bars; `message_rate`: messages a second that a client may send, 0
    for any number.
    """

    def __init__(
        self,
        *,
        symbols: int,
        prints: int = 390,
        delay: float = 0.0,
        history_seconds: float = 0.0,
        message_rate: int = 0,
        quick: bool = False,
    ) -> None:
        self._idle = 0.0 if quick else 1.2
        self._options = json.dumps(
            {
                "symbols": symbols,
                "prints": prints,
                "delay": delay,
                "history_seconds": history_seconds,
                "message_rate": message_rate,
            }
        )
        self._process: asyncio.subprocess.Process | None = None
        self.host, self.port = "", 0

    async def __aenter__(self) -> GatewayServer:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.bench_gateway", self._options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        ready = await self._answer()
        self.host, self.port = ready["host"], ready["port"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 10.0)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def idle(self) -> None:
        """A second in which nothing is sent: both clients' message limits begin anew."""
        await asyncio.sleep(self._idle)

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the gateway is not running: enter it with `async with`")
        return self._process

    async def tell(self, command: str, **arguments: Any) -> dict[str, Any]:
        process = self._running()
        process.stdin.write(json.dumps({command: arguments}).encode() + b"\n")  # type: ignore[union-attr]
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        process = self._running()
        line = await asyncio.wait_for(process.stdout.readline(), _SECONDS)  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"the gateway ended with {await process.wait()}; its error output is above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the gateway refused: {answer['error']}")
        return answer
