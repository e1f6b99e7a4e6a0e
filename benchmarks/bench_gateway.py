"""The paper gateway as the benchmarks run it: a process of its own that can also pour bytes rendered beforehand.

    python -m benchmarks.bench_gateway '{"symbols": 100, "prints": 390, "delay": 0.0, "history_seconds": 0.0, …}'

It is the gateway of the package (`Gateway`) on a market that stands still, with conflation off, and IB's message limit
off unless `message_rate` names it. One JSON command a line on standard input, one JSON answer a line; the end of the
input ends it. Beside the gateway's own control commands there are:

    {"render": {"client": 1, "messages": 20000}}       ticks for all quote lines of that client -> {"bytes_per_message"}
    {"fills": {"client": 1, "order_id": 5, "count": 9}}    one-share fills of a working order, and their statuses
    {"pour": {"client": 1}}                            writes what was rendered; ticks end with a bid of LAST
    {"flood": {"client": 1, "rate": 50000, "batch": 100}}  writes so many ticks a second, `batch` to a write, until calm
    {"print": {"client": 1, "line": 5, "price": 101.0}}    a trade in the middle of a write -> {"sent"}
    {"calm": {}}                                       ends the flood -> {"rate", "ticks"}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.control import obey
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.tickets import Execution, OrderView
from moondev_ibkr.brokers.simulation.tws.codec import pack
from moondev_ibkr.brokers.simulation.tws.handlers import HANDLERS
from moondev_ibkr.brokers.simulation.tws.messages_out import encode
from moondev_ibkr.brokers.simulation.tws.render import commission_values, execution_values, status_values
from moondev_ibkr.brokers.simulation.tws.requests import ReqMktData
from moondev_ibkr.brokers.simulation.tws.session import Session
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

from .market import LAST, PRICE, symbol_names

START = datetime(2026, 4, 15, 14, 30, tzinfo=UTC)
#: Two texts of one size, so that a size tick is exactly as long as a price tick and a read can end between any two.
SIZE, LONG_SIZE = "300", "300.00000000"
PRICES_PER_LINE = 10


class BenchGateway:
    """A gateway with prepared bytes and the commands that send them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._rendered: dict[int, bytes] = {}
        self._filled: dict[int, int] = {}
        self._commands: dict[str, Callable[..., Awaitable[dict[str, Any]]]]
        self._commands = {"render": self._render, "pour": self._pour, "fills": self._fills}
        self._commands |= {"flood": self._flood, "print": self._print_one, "calm": self._calm}
        self._flooding: asyncio.Future[None] | None = None
        self._surge: tuple[bytes, asyncio.Future[float]] | None = None
        self._flooded, self._flood_rate = 0, 0.0

    async def obey(self, line: str) -> dict[str, Any]:
        ((name, value),) = json.loads(line).items()
        command = self._commands.get(name)
        return await obey(self._gateway, line) if command is None else await command(**value)

    def _session(self, client: int) -> Session:
        return self._gateway.door.sessions[client]

    async def _render(self, client: int, messages: int) -> dict[str, Any]:
        lines = self._lines(client)
        cycle = list(_ticks(lines))
        whole, rest = divmod(messages, len(cycle))
        last = pack(("1", "6", str(lines[0]), "1", f"{LAST:.1f}", SIZE, "0"))
        self._rendered[client] = b"".join(cycle) * whole + b"".join(cycle[:rest]) + last
        return {
            "bytes_per_message": len(cycle[0]),
            "equal": len({len(row) for row in cycle}) == 1,
            "lines": len(lines),
            "total": len(self._rendered[client]),
        }

    async def _fills(self, client: int, order_id: int, count: int) -> dict[str, Any]:
        session = self._session(client)
        views = self._gateway.exchange.open_orders()
        view = next(row for row in views if (row.client_id, row.order_id) == (client, order_id))
        first = self._filled.get(view.perm_id, 0) + 1
        self._filled[view.perm_id] = first + count - 1
        self._rendered[client] = b"".join(
            _fill(session.version, view, number) for number in range(first, first + count)
        )
        return {"filled": self._filled[view.perm_id]}

    async def _pour(self, client: int) -> dict[str, Any]:
        data = self._rendered[client]
        self._session(client).write(data)
        self._gateway.door.flush()
        return {"bytes": len(data)}

    async def _flood(self, client: int, rate: int, batch: int) -> dict[str, Any]:
        """Begin to write `batch` ticks at a time, `rate` a second, until `calm`."""
        self._flooding = asyncio.ensure_future(self._write_on(client, rate, batch))
        return {"rate": rate}

    async def _write_on(self, client: int, rate: int, batch: int) -> None:
        session, loop = self._session(client), asyncio.get_running_loop()
        cycle = list(_ticks(self._lines(client)))
        began = due = loop.time()
        while True:
            rows = [cycle[(self._flooded + at) % len(cycle)] for at in range(batch)]
            self._flooded += batch
            if self._surge is not None:
                (rows[batch // 2], written), self._surge = self._surge, None
                written.set_result(time.monotonic())
            session.write(b"".join(rows))
            self._gateway.door.flush()
            due += batch / rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._flood_rate = self._flooded / (loop.time() - began)

    async def _print_one(self, client: int, line: int, price: float) -> dict[str, Any]:
        """A trade in the middle of the next write."""
        written: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        number = self._lines(client)[line]
        self._surge = pack(("1", "6", str(number), "4", f"{price:.2f}", SIZE, "0")), written
        sent = await written
        # the answer must not be read while the client decides
        await asyncio.sleep(0.03)
        return {"sent": sent}

    async def _calm(self) -> dict[str, Any]:
        if self._flooding is not None:
            self._flooding.cancel()
        ticks, self._flooded = self._flooded, 0
        return {"rate": self._flood_rate, "ticks": ticks}

    def _lines(self, client: int) -> list[int]:
        return [number for family, number in self._session(client)._subscriptions if family == "quotes"]


def _ticks(lines: list[int]) -> Iterator[bytes]:
    """Bid and ask of every line in turn, each followed by its size once more, as TWS does."""
    for step in range(PRICES_PER_LINE):
        for line in lines:
            for price_tick, size_tick, price in (("1", "0", PRICE + step / 100), ("2", "3", PRICE + (step + 2) / 100)):
                yield pack(("1", "6", str(line), price_tick, f"{price:.2f}", SIZE, "0"))
                yield pack(("2", "6", str(line), size_tick, LONG_SIZE))


def _fill(version: int, view: OrderView, number: int) -> bytes:
    """The `number`-th share of an order: execution, status and commission, as TWS sends them."""
    price, done = view.ticket.limit_price or Decimal(1), Decimal(number)
    execution = Execution(
        exec_id=f"0000e0d5.{view.perm_id:08x}.{number:06x}.01",
        time=START,
        account=view.account,
        instrument=view.instrument,
        side=view.ticket.side,
        quantity=Decimal(1),
        price=price,
        perm_id=view.perm_id,
        client_id=view.client_id,
        order_id=view.order_id,
        order_ref=view.ticket.order_ref,
        exchange="NASDAQ",
        cumulative=done,
        average_price=price,
        commission=Decimal("0.35") if number == 1 else Decimal(0),
        currency="USD",
        realized_pnl=Decimal(0),
    )
    after = replace(
        view, filled=done, remaining=view.ticket.quantity - done, average_price=price, last_fill_price=price
    )
    return b"".join(
        (
            encode(version, "execDetails", **execution_values(execution)),
            encode(version, "orderStatus", **status_values(after)),
            encode(version, "commissionReport", **commission_values(execution)),
        )
    )


def delay_first_ticks(gateway: Gateway, seconds: float) -> None:
    """Quotes begin `seconds` of real time after they were asked for."""
    serve = HANDLERS[ReqMktData]

    def late(session: Session, request: ReqMktData) -> None:
        def now() -> None:
            if not session.closed:
                serve(session, request)
                gateway.door.flush()

        asyncio.get_running_loop().call_later(seconds, now)

    HANDLERS[ReqMktData] = late


async def serve(symbols: int, prints: int, delay: float, history_seconds: float, message_rate: int) -> None:
    prices = FlatPrices(dict.fromkeys(symbol_names(symbols), PRICE), calendar_for(), START, prints=prints)
    settings = GatewaySettings(
        tws=TwsSettings(
            port=0,
            message_rate=message_rate,
            history_seconds=history_seconds,
            conflate=False,
            market_data_lines=10_000,
        ),
        exchange=ExchangeSettings(accounts=(AccountSettings(cash=Decimal(10_000_000)),)),
        clock=ClockMode.REPLAY,
    )
    async with Gateway(settings, prices=prices) as gateway:
        if delay:
            delay_first_ticks(gateway, delay)
        bench = BenchGateway(gateway)
        _say({"host": gateway.server.host, "port": gateway.tws_port})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(await bench.obey(line))


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(**json.loads(sys.argv[1])))
