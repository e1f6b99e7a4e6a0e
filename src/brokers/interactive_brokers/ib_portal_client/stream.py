"""The portal's WebSocket: topics as intents that outlive connections, and frames handed out by topic."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..config.ib_config import PortalSettings
from .wire import FrameSender, NotSent, PortalWire

logger = logging.getLogger(__name__)

#: Called with each frame of a topic.
FrameHandler = Callable[[dict[str, Any]], None]


class Stream:
    """One WebSocket at a time. `on_down` is called with the reason when an open one ends, `on_up` when its topics have
    been sent. Everything on the loop."""

    def __init__(self, wire: PortalWire, settings: PortalSettings) -> None:
        self._wire = wire
        self._settings = settings
        self._handlers: dict[str, FrameHandler] = {}
        #: Topic key -> the text that subscribes it, in the order of asking.
        self._wanted: dict[str, str] = {}
        self._sender: FrameSender | None = None
        self._session_id = ""
        self._epoch = 0
        self._greeted: asyncio.Future[None] | None = None
        self._tics: list[asyncio.Future[int | None]] = []
        self.on_down: Callable[[str], None] = lambda why: None
        #: Loop time of the last frame.
        self.last_frame = float("-inf")
        #: Whether topics have been sent on the present connection.
        self.is_open = False
        self.opened = 0
        #: Frames that nobody handles, by topic.
        self.unhandled: Counter[str] = Counter()
        #: Frames whose handler failed.
        self.failures = 0

    def handle(self, topic: str, handler: FrameHandler) -> None:
        """Frames whose topic is `topic`, alone or before a "+"."""
        self._handlers[topic] = handler

    # Topics

    def subscribe(self, key: str, text: str) -> None:
        """Intend `text`; it is sent now if the stream is open, and on every later connection."""
        self._wanted[key] = text
        if self.is_open:
            self._send(text)

    def unsubscribe(self, key: str, text: str) -> None:
        if self._wanted.pop(key, None) is not None and self.is_open:
            self._send(text)

    def again(self, key: str) -> None:
        """Send the subscription once more: streams of quotes end by themselves (fault P06)."""
        text = self._wanted.get(key)
        if text is not None and self.is_open:
            self._send(text)

    def _send(self, text: str) -> None:
        if self._sender is not None:
            self._sender.send(text)

    # Connections

    async def open(self, session_id: str) -> None:
        """A new connection in place of any old one, and every topic on it. Raises NotSent."""
        self.close()
        self._session_id = session_id
        self._epoch += 1
        epoch, loop = self._epoch, asyncio.get_running_loop()
        self._greeted = loop.create_future()
        cookie = "api=" + json.dumps({"session": session_id}, separators=(",", ":"))
        sender = await self._wire.open(
            cookie,
            lambda text: self._on_frame(text, epoch),
            lambda why: self._on_closed(why, epoch),
            self._settings.probe_deadline,
        )
        if epoch != self._epoch:
            sender.close()
            raise NotSent("the stream was closed meanwhile")
        self._sender = sender
        self.last_frame = loop.time()
        try:
            async with asyncio.timeout(self._settings.stream_greeting):
                await self._greeted
        except TimeoutError:
            logger.info("the stream told no status within %g s", self._settings.stream_greeting)
        if epoch != self._epoch or self._sender is None:
            raise NotSent("the stream ended at once")
        self.is_open = True
        self.opened += 1
        for text in tuple(self._wanted.values()):
            self._send(text)

    def close(self) -> None:
        """End the connection; the intents stay."""
        self._epoch += 1
        self.is_open = False
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()
        self._release()

    def _release(self) -> None:
        tics, self._tics = self._tics, []
        for tic in tics:
            if not tic.done():
                tic.set_result(None)
        self._greet()

    def _greet(self) -> None:
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_result(None)

    def abandon(self, why: str) -> None:
        """Close and say so, as if the other side had."""
        was_open = self.is_open
        self.close()
        if was_open:
            self.on_down(why)

    def _on_closed(self, why: str, epoch: int) -> None:
        if epoch == self._epoch:
            self.abandon(why)

    # Frames

    def _on_frame(self, text: str, epoch: int) -> None:
        if epoch != self._epoch:
            return
        self.last_frame = asyncio.get_running_loop().time()
        try:
            frame = json.loads(text)
        except ValueError:
            self.unhandled["no JSON"] += 1
            return
        if not isinstance(frame, dict):
            self.unhandled["no object"] += 1
            return
        try:
            self._dispatch(frame)
        except Exception:  # boundary of one frame: the next one must not suffer (faults C19, C21)
            self.failures += 1
            logger.exception("a frame of topic %r could not be handled", frame.get("topic"))
            failed = self._handlers.get("failed")
            if failed is not None:
                failed(frame)

    def _dispatch(self, frame: dict[str, Any]) -> None:
        topic = str(frame.get("topic") or "")
        name = topic.partition("+")[0]
        if name == "tic":
            self._on_tic(frame)
        elif not topic and "waiting for session" in str(frame.get("message", "")):
            self._send(json.dumps({"session": self._session_id}, separators=(",", ":")))
        elif name in self._handlers and "error" not in frame:
            self._handlers[name](frame)
        elif "error" in frame and "error" in self._handlers:
            self._handlers["error"](frame)
        elif name != "system":
            self.unhandled[name or "message"] += 1
        args = frame.get("args")
        if name == "sts" and isinstance(args, dict) and args.get("authenticated") is True:
            self._greet()

    # Time

    async def tic(self) -> int | None:
        """A round trip: epoch milliseconds of the server, after every frame that it sent before; None when the stream
        is not open or ended first."""
        if not self.is_open:
            return None
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._tics.append(answer)
        self._send("tic")
        return await answer

    def _on_tic(self, frame: dict[str, Any]) -> None:
        told = frame.get("lastAccessed")
        waiting = self._tics.pop(0) if self._tics else None
        if waiting is not None and not waiting.done():
            waiting.set_result(int(told) if isinstance(told, int | float) else None)
