"""The portal door on its real TLS port, and aiohttp's own client for it, on the test's loop."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

from .rig import ACCOUNT, PRICES, START

DEADLINE = aiohttp.ClientTimeout(total=5.0)


@asynccontextmanager
async def serving(
    *, gateway: dict[str, Any] | None = None, monotonic: Callable[[], float] | None = None, **settings: Any
) -> AsyncIterator[Gateway]:
    """Both doors over a flat market; nobody but the test moves market time. Pacing is off unless a setting says so."""
    chosen = PortalSettings(**{"port": 0, "requests_per_second": 0, **settings})
    options = {} if monotonic is None else {"monotonic": monotonic}
    async with Gateway(
        GatewaySettings(tws=TwsSettings(port=0), portal=chosen, clock=ClockMode.CONTROL, **(gateway or {})),
        prices=FlatPrices(PRICES, calendar_for(), START),
        **options,
    ) as made:
        yield made
        assert not made.portal.failures
        assert not made.portal.alarms.failures


def trust(gateway: Gateway) -> ssl.SSLContext:
    assert gateway.doors.portal is not None
    return ssl.create_default_context(cadata=gateway.doors.portal.certificate.authority_pem.decode())


class Client:
    """A portal client of aiohttp's: paths below the base, JSON in and out."""

    def __init__(self, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        assert gateway.doors.portal is not None
        self.url = gateway.doors.portal.url
        self.http = session

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body: JSON where it is, text otherwise."""
        async with self.http.request(method, self.url + path, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" and text else text

    async def get(self, path: str) -> tuple[int, Any]:
        return await self.ask("GET", path)

    async def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        return await self.ask("POST", path, body)

    async def buy(self, quantity: int = 1) -> tuple[int, Any]:
        """AAPL at the market, after the calls that have to come first."""
        await self.get("/iserver/accounts")
        ticket = {"conid": 265598, "orderType": "MKT", "side": "BUY", "quantity": quantity, "tif": "DAY"}
        return await self.post(f"/iserver/account/{ACCOUNT}/orders", {"orders": [ticket]})

    async def stream(self, cookie: str | None = "") -> aiohttp.ClientWebSocketResponse:
        """A WebSocket; by default with the cookie that tickle tells, None for none."""
        headers = {}
        if cookie is not None:
            named = cookie or (await self.post("/tickle"))[1]["session"]
            headers["Cookie"] = f"api={named}"
        return await self.http.ws_connect(self.url + "/ws", headers=headers)


async def frame(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """The next frame, in whichever kind of message it comes; aiohttp's closing messages as they are."""
    message = await socket.receive(timeout=5.0)
    if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        return json.loads(message.data)
    return message


async def until(socket: aiohttp.ClientWebSocketResponse, topic: str) -> Any:
    """The next frame of this topic."""
    while True:
        found = await frame(socket)
        assert isinstance(found, dict), found
        if found.get("topic") == topic:
            return found


@asynccontextmanager
async def client_of(gateway: Gateway) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(ssl=trust(gateway))
    async with aiohttp.ClientSession(connector=connector, timeout=DEADLINE) as session:
        yield Client(gateway, session)


async def raw_stream(gateway: Gateway, limit: int = 1 << 16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket by hand; nothing is read beyond `limit` bytes until somebody reads."""
    assert gateway.doors.portal is not None
    before = len(gateway.portal.streams)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", gateway.doors.portal.port, ssl=trust(gateway), server_hostname="localhost", limit=limit
    )
    lines = (
        "GET /v1/api/ws HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Cookie: api={gateway.portal.session.session_id}",
    )
    writer.write("\r\n".join((*lines, "", "")).encode())
    async with asyncio.timeout(5.0):
        while len(gateway.portal.streams) == before:
            await asyncio.sleep(0.001)
    return reader, writer
