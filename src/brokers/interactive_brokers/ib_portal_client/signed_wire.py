"""A portal wire whose requests are signed by OAuth 1.0a: tokens are fetched when due, and once after a 401."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from .oauth import TOKEN_PATH, OAuthSession
from .wire import BASE, Ambiguous, ClosedListener, FrameListener, FrameSender, HttpCall, HttpReply, NotSent, PortalWire


class SignedWire:
    """`url` is what the signatures name, "https://api.ibkr.com"."""

    def __init__(self, wire: PortalWire, oauth: OAuthSession, url: str) -> None:
        self._wire = wire
        self._oauth = oauth
        self._base = url.rstrip("/") + BASE
        self._exchanging = asyncio.Lock()

    async def exchange(self, call: HttpCall) -> HttpReply:
        """Raises NotSent, Ambiguous, and ConnectFailed or ProtocolViolation when no token can be had."""
        while True:
            await self._refresh(call.deadline)
            used = self._oauth.token
            signature = self._oauth.headers(call.method, self._base + call.path, call.query)
            reply = await self._wire.exchange(replace(call, headers={**call.headers, **signature}))
            if reply.status != 401:
                self._oauth.worked()
                return reply
            # a request that met 401 did nothing, so that a write may be signed and sent anew
            if used is None or not self._oauth.refused(used):
                return reply

    async def _refresh(self, deadline: float) -> None:
        if not self._oauth.due:
            return
        async with self._exchanging:
            if not self._oauth.due:
                return
            exchange = self._oauth.exchange()
            call = HttpCall(exchange.method, TOKEN_PATH, deadline=deadline, headers=exchange.headers)
            try:
                reply = await self._wire.exchange(call)
            except Ambiguous as failure:
                # no token came of it, and the caller's own request has not begun
                raise NotSent(failure.why) from None
            body = reply.json()
            self._oauth.accept(exchange, reply.status, reply.text if body is None else body)

    async def open(
        self, cookie: str, on_frame: FrameListener, on_closed: ClosedListener, deadline: float, suffix: str = ""
    ) -> FrameSender:
        address = self._oauth.websocket_url(suffix)
        return await self._wire.open(cookie, on_frame, on_closed, deadline, address)

    async def close(self) -> None:
        await self._wire.close()
