"""One WebSocket's way out: a task that sends what waits, so that writing never blocks the door."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from .backlog import Backlog, Frame, Overflow

log = logging.getLogger(__name__)


class SocketOutlet:
    """`binary`: frames are binary messages with UTF-8 JSON, as IB's are. `released` is awaited before each frame."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        binary: bool,
        released: Callable[[], Awaitable[None]],
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._binary = binary
        self._released = released
        self._backlog = Backlog()
        self._wake = asyncio.Event()
        self._sending = False
        #: It has not read for so long that market time no longer waits for it.
        self.stalled = False
        self._close_code: int | None = None
        self._task = asyncio.create_task(self._work(), name="portal stream")

    @property
    def is_slow(self) -> bool:
        return self._backlog.is_slow

    @property
    def idle(self) -> bool:
        """Nothing waits inside this process."""
        if self._task.done() or self._transport.is_closing():
            return True
        return not self._backlog and not self._sending and self._transport.get_write_buffer_size() == 0

    def write(self, frame: Frame) -> None:
        if self._close_code is not None or self._task.done():
            return
        try:
            self._backlog.put(frame)
        except Overflow as overflow:
            log.warning("a stream is ended: %s", overflow)
            self.abort()
            return
        self._wake.set()

    def close(self, code: int) -> None:
        if self._close_code is None:
            self._close_code = code
            self._wake.set()

    def abort(self) -> None:
        """RST: what was written may be lost."""
        self._transport.abort()
        self._task.cancel()

    async def end(self) -> None:
        """After the connection: the task is over when this returns."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while True:
                frame = self._backlog.take()
                if frame is not None:
                    await self._send(json.dumps(frame, separators=(",", ":"), default=float))
                elif self._close_code is not None:
                    await self._socket.close(code=self._close_code)
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except ConnectionError:
            log.debug("a stream's client has gone")

    async def _send(self, text: str) -> None:
        self._sending = True
        try:
            await self._released()
            if self._binary:
                await self._socket.send_bytes(text.encode())
            else:
                await self._socket.send_str(text)
        finally:
            self._sending = False
