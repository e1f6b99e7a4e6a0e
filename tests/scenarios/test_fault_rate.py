"""The message rate against a running gateway that counts what it reads, behind a network that bunches it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.errors import UnknownInstrument
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from .adapter_world import QUICK, WIDE
from .pool_world import SYMBOLS, FrontGateway


class BunchingGateway(FrontGateway):
    """Holds everything from the next request on for `hold` seconds, once; keeps what the gateway said."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.hold = 0.0
        self.said = b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = asyncio.StreamReader()
        feeding = asyncio.ensure_future(self._feed(reader, held))
        try:
            await super()._serve(held, writer)
        finally:
            feeding.cancel()

    async def _feed(self, reader: asyncio.StreamReader, held: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            hold, self.hold = self.hold, 0.0
            if hold:
                await asyncio.sleep(hold)
            held.feed_data(data)
        held.feed_eof()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = asyncio.StreamReader()
        passing = asyncio.ensure_future(super()._pass(heard, writer))
        try:
            while data := await reader.read(65536):
                self.said += data
                heard.feed_data(data)
        except ConnectionError:
            pass
        finally:
            heard.feed_eof()
            await passing


async def test_c22_a_burst_that_arrives_late_and_the_next_one_bring_no_error_100():
    settings = GatewaySettings(tws=DoorSettings(port=0), clock=ClockMode.CONTROL, symbols=SYMBOLS, prints=500)
    async with Gateway(settings) as gateway:
        front = BunchingGateway(gateway.tws_port)
        await front.start()
        clock, journal = MarketClock(rate=0.0), Journal(":memory:")
        client = IbAsyncClient(replace(QUICK, port=front.port, client_id=7), clock=clock)
        adapter = IBAdapter(client, journal=journal, policy=WIDE, clock=clock)
        try:
            await adapter.connect()
            await asyncio.sleep(1.1)  # what connecting asked is out of the gateway's second
            front.hold = 0.5
            answers = await asyncio.gather(
                *(adapter.details(f"NONE{index}") for index in range(90)), return_exceptions=True
            )
            assert {type(answer) for answer in answers} == {UnknownInstrument}
            assert b"Max rate of messages" not in front.said
            assert adapter.health().can_trade
        finally:
            await adapter.disconnect()
            journal.close()
            front.kill()
