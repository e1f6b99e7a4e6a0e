"""A portal wire that counts what goes through it."""

from __future__ import annotations

import json

from .wire import ClosedListener, FrameListener, FrameSender, HttpCall, HttpReply, PortalWire


class MeteredWire:
    """Passes everything on to `wire`. Counted are bytes of paths, bodies and frames, without headers and TLS."""

    def __init__(self, wire: PortalWire) -> None:
        self._wire = wire
        self.received = self.sent = 0

    async def exchange(self, call: HttpCall) -> HttpReply:
        self.sent += len(call.path.encode()) + (0 if call.body is None else len(json.dumps(call.body)))
        reply = await self._wire.exchange(call)
        self.received += len(reply.text.encode())
        return reply

    async def open(
        self, cookie: str, on_frame: FrameListener, on_closed: ClosedListener, deadline: float, suffix: str = ""
    ) -> FrameSender:
        def receive(text: str) -> None:
            self.received += len(text.encode())
            on_frame(text)

        return _MeteredSender(self, await self._wire.open(cookie, receive, on_closed, deadline, suffix))

    async def close(self) -> None:
        await self._wire.close()


class _MeteredSender:
    def __init__(self, wire: MeteredWire, sender: FrameSender) -> None:
        self._wire = wire
        self._sender = sender

    def send(self, text: str) -> None:
        self._wire.sent += len(text.encode())
        self._sender.send(text)

    def close(self) -> None:
        self._sender.close()
