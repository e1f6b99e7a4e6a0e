"""The gateway's process, seen from the measuring one."""

from __future__ import annotations

import asyncio
import json
import sys
from types import TracebackType
from typing import Any, Self

_SECONDS = 120.0
#: Bytes of one answer: the books of a long day take more than asyncio's own 64 KiB.
LONGEST_ANSWER = 2**26


class GatewayProcess:
    """``async with GatewayProcess(module, options) as server:`` starts `python -m module`, `options` as JSON; leaving
    ends it. The process says where it listens in its first line, then answers a line for each that it is told."""

    def __init__(self, module: str, options: dict[str, Any]) -> None:
        self._command = (sys.executable, "-m", module, json.dumps(options))
        self._process: asyncio.subprocess.Process | None = None
        self._talking = asyncio.Lock()
        self.host, self.port = "", 0

    async def __aenter__(self) -> Self:
        # of a group of its own: Ctrl-C is the measuring process's to hear, which then ends this one
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=LONGEST_ANSWER,
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

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the gateway is not running: enter it with `async with`")
        return self._process

    @property
    def pid(self) -> int:
        return self._running().pid

    async def tell(self, command: str, **arguments: Any) -> dict[str, Any]:
        return await self.control(command, arguments)

    async def control(self, command: str, value: Any) -> dict[str, Any]:
        """One line of the gateway's control channel. Raises RuntimeError for one that it refuses."""
        process = self._running()
        async with self._talking:
            process.stdin.write(json.dumps({command: value}).encode() + b"\n")  # type: ignore[union-attr]
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


class GatewayServer(GatewayProcess):
    """The gateway that the tables are measured on.

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
        options = {
            "symbols": symbols,
            "prints": prints,
            "delay": delay,
            "history_seconds": history_seconds,
            "message_rate": message_rate,
        }
        super().__init__("benchmarks.bench_gateway", options)
        self._idle = 0.0 if quick else 1.2

    async def idle(self) -> None:
        """A second in which nothing is sent: both clients' message limits begin anew."""
        await asyncio.sleep(self._idle)
