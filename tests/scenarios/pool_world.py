"""Several gateways in front of one exchange, on real sockets, each of which can be killed; and an adapter over them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_data_manager import DataPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_gateway_pool import GatewayPool
from moondev_ibkr.brokers.interactive_brokers.ib_pool_member import GatewayTerms, PoolMember, PoolPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEvent, LinkState
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.orders import OrderSettings
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.listening import stop_listening
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from .adapter_world import QUICK, WIDE

SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
#: A placeOrder message, as it begins on the wire.
_PLACE = b"3\0"


class FrontGateway:
    """One gateway of several at the same broker: it passes bytes on, until it is killed.

    `cut` "before" dies in place of passing the next order on, "after" right behind it, with whatever answers come.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self.port = 0
        self.cut: str | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Future[None] | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, where it did before."""
        if self._ending is not None:
            await self._ending
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def kill(self) -> None:
        """As SIGKILL does: every socket is gone, and nobody listens any more."""
        if self._server is not None:
            server, self._server = self._server, None
            self._ending = asyncio.ensure_future(stop_listening(server))
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """Killed, and nothing of it is left on the loop."""
        self.kill()
        if self._ending is not None:
            await self._ending
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        self._writers.add(writer)
        if self._server is None:
            # accepted in the moment in which it was killed
            writer.transport.abort()
        try:
            behind, answers = await asyncio.open_connection("127.0.0.1", self._behind)
            try:
                await self._serve_both(reader, writer, behind, answers)
            finally:
                answers.close()
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _serve_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        behind: asyncio.StreamReader,
        answers: asyncio.StreamWriter,
    ) -> None:
        self._writers.add(answers)
        back = asyncio.ensure_future(self._pass(behind, writer))
        try:
            await self._pass_requests(reader, answers)
        finally:
            back.cancel()
            self._writers.discard(answers)

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await reader.readexactly(4))
            while True:
                head = await reader.readexactly(4)
                message = await reader.readexactly(int.from_bytes(head, "big"))
                is_cut = self.cut is not None and message.startswith(_PLACE)
                if not is_cut or self.cut == "after":
                    writer.write(head + message)
                    await writer.drain()
                if is_cut:
                    self.cut = None
                    # what was passed on gets there; the answer finds nobody
                    writer.close()
                    self.kill()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            # a broker that hangs up ends the session here too
            writer.close()


class PoolWorldOnSockets:
    """`fronts[0]` has the orders."""

    def __init__(self, gateway: Gateway, fronts: list[FrontGateway], policy: PoolPolicy, backups: int) -> None:
        self.gateway = gateway
        self.fronts = fronts
        self.clock = MarketClock(rate=0.0)
        clients = [
            IbAsyncClient(replace(QUICK, port=front.port, client_id=7 + index), clock=self.clock)
            for index, front in enumerate(fronts)
        ]
        members = [
            PoolMember(
                client,
                GatewayTerms(f"g{index}", is_backup=index >= len(fronts) - backups),
                self.clock,
                policy,
                has_orders=index == 0,
            )
            for index, client in enumerate(clients)
        ]
        self.pool = GatewayPool(members[0], members[1:], self.clock, policy)
        self.journal = Journal(":memory:", now=self.clock.now)
        self.adapter = IBAdapter(
            self.pool,
            journal=self.journal,
            policy=WIDE,
            clock=self.clock,
            data=DataPolicy(quote_deadline=2.0, freshen_deadline=0.5),
            orders=OrderSettings(quiet_time=0.2, retry_delay=0.05, sync_deadline=1.0),
        )
        self.adapter.pool = self.pool
        self.events: list[LinkEvent] = []
        self.pool.add_link_listener(self.events.append)

    async def advance(self, seconds: float) -> None:
        """Market time goes on; what follows from it has left the exchange when this returns."""
        await self.gateway.advance_to(self.gateway.now + timedelta(seconds=seconds))
        for member in self.pool.members:
            if member.transport.state is LinkState.READY:
                await member.transport.market_time()

    async def until(self, condition: Any, what: str, seconds: float = 5.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: {what}") from None

    def orders_at_exchange(self, key: str) -> list[Any]:
        return [order for order in self.gateway.exchange.open_orders() if order.ticket.order_ref == key]


@asynccontextmanager
async def pool_world(count: int = 3, *, backups: int = 0, **policy: Any) -> AsyncIterator[PoolWorldOnSockets]:
    """Connected, one minute of the session gone. The last `backups` gateways are backups."""
    settings = GatewaySettings(tws=DoorSettings(port=0), clock=ClockMode.CONTROL, symbols=SYMBOLS, prints=2_000)
    async with Gateway(settings) as gateway:
        fronts = [FrontGateway(gateway.tws_port) for _ in range(count)]
        for front in fronts:
            await front.start()
        world = PoolWorldOnSockets(gateway, fronts, PoolPolicy(first_wait=0.02, **policy), backups)
        try:
            await world.adapter.connect()
            await world.advance(60)
            yield world
        finally:
            await world.adapter.disconnect()
            world.journal.close()
            await asyncio.gather(*(front.close() for front in fronts))
