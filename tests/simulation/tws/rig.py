"""A gateway on the test's own loop, and a plain socket client that speaks any version of the protocol."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.prices import make_prices
from moondev_ibkr.brokers.simulation.tapes import WalkedPrices
from moondev_ibkr.brokers.simulation.tws.codec import FrameReader, pack, unpack
from moondev_ibkr.brokers.simulation.tws.contract import Contract
from moondev_ibkr.brokers.simulation.tws.messages_in import write
from moondev_ibkr.brokers.simulation.tws.messages_out import decode
from moondev_ibkr.brokers.simulation.tws.request import Request
from moondev_ibkr.brokers.simulation.tws.requests import StartApi
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

#: A Wednesday, 11:00 in New York.
START = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
PRICES = {"AAPL": 265.0, "MSFT": 408.0, "MES": 7039.5}
AAPL = Contract(symbol="AAPL", secType="STK", exchange="SMART", currency="USD")
MSFT = Contract(symbol="MSFT", secType="STK", exchange="SMART", currency="USD")
AAPL_ID, MSFT_ID, MES_ID = 265598, 272093, 770561194
DEADLINE = 5.0

Message = tuple[str, dict[str, Any]]


@asynccontextmanager
async def running(
    prices: Mapping[str, float] | None = None,
    *,
    start: datetime = START,
    tws: Mapping[str, Any] | None = None,
    source: Any = None,
    monotonic: Callable[[], float] | None = None,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """A controlled gateway over a flat market; nobody but the test moves its time."""
    chosen = GatewaySettings(
        tws=TwsSettings(**{"port": 0, "message_rate": 0, **(tws or {})}), clock=ClockMode.CONTROL, **settings
    )
    source = source or FlatPrices(prices or PRICES, calendar_for(), start)
    options = {} if monotonic is None else {"monotonic": monotonic}
    async with Gateway(chosen, prices=source, **options) as gateway:
        yield gateway
        assert not gateway.door.failures
        assert not gateway.timers.failures


class RawClient:
    """Frames in, frames out; messages are kept in `seen` in the order of their arrival."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.version = 0
        self.seen: list[Message] = []
        self.raw = bytearray()
        self._frames = FrameReader()
        self._waiting: list[bytes] = []
        self._mark = 0

    @classmethod
    async def open(cls, port: int) -> RawClient:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def join(cls, port: int, client_id: int = 1, version: int = 178, options: str = "") -> RawClient:
        """Handshake, startApi, and the greeting up to nextValidId."""
        client = await cls.open(port)
        await client.greet(version, options)
        client.send(StartApi(clientId=client_id))
        await client.until("nextValidId")
        return client

    async def greet(self, version: int = 178, options: str = "") -> None:
        offer = f"v157..{version}".encode() + (b" " + options.encode() if options else b"")
        self.writer.write(b"API\0" + struct.pack(">I", len(offer)) + offer)
        payload = await self.frame()
        self.version = int(unpack(payload)[0])

    def send(self, request: Request) -> None:
        self.writer.write(pack(write(self.version, request)))

    def send_fields(self, *fields: object) -> None:
        self.writer.write(pack([str(field) for field in fields]))

    async def frame(self) -> bytes:
        """The next payload; EOFError when the server has ended the connection."""
        while not self._waiting:
            async with asyncio.timeout(DEADLINE):
                data = await self.reader.read(1 << 16)
            if not data:
                raise EOFError("the server has ended the connection")
            self.raw += data
            self._waiting = self._frames.feed(data)
        return self._waiting.pop(0)

    async def message(self) -> Message:
        found = decode(self.version, unpack(await self.frame()))
        self.seen.append(found)
        return found

    async def until(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The values of the next message of this name with these values; what comes before it is kept in `seen`."""
        while True:
            found, values = await self.message()
            if found == name and all(values.get(key) == value for key, value in wanted.items()):
                return values

    async def error(self, code: int) -> dict[str, Any]:
        return await self.until("error", errorCode=code)

    async def quiet(self) -> list[Message]:
        """Everything that was on its way: asks for the time and collects what comes before the answer."""
        begin = len(self.seen)
        self.send_fields(49, 1)
        await self.until("currentTime")
        return self.seen[begin:-1]

    def names(self) -> list[str]:
        return [name for name, _ in self.seen]

    async def ended(self) -> bool:
        """Whether the server ends this connection within the deadline; it is closed on this side too."""
        try:
            while True:
                await self.message()
        except (EOFError, ConnectionError):
            return True
        except TimeoutError:
            return False
        finally:
            await self.close()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


@asynccontextmanager
async def joined(gateway: Gateway, client_id: int = 1, version: int = 178) -> AsyncIterator[RawClient]:
    client = await RawClient.join(gateway.tws_port, client_id, version)
    try:
        await client.quiet()
        yield client
    finally:
        await client.close()


def order_lines(messages: list[Message], order_id: int) -> list[str]:
    """What happened to one order, a word a message: `openOrder`, `orderStatus Filled`, `execDetails`, `error 202`."""
    lines = []
    executions = {
        values["execId"] for name, values in messages if name == "execDetails" and values["orderId"] == order_id
    }
    for name, values in messages:
        if name == "commissionReport" and values["execId"] in executions:
            lines.append(name)
        elif name == "error" and values["reqId"] == order_id:
            lines.append(f"error {values['errorCode']}")
        elif values.get("orderId") == order_id and name in ("openOrder", "orderStatus", "execDetails"):
            lines.append(f"{name} {values['status']}" if name == "orderStatus" else name)
    return lines


def moving(symbol: str = "AAPL") -> WalkedPrices:
    """A market that moves: the synthetic one, from 2026-04-15 10:00 in New York."""
    return make_prices(calendar_for(), kind="synthetic", symbols=[symbol])
