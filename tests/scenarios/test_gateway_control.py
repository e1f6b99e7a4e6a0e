"""A gateway that is told the time: control lines, determinism, its account on disk, its clocks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.order import Side
from moondev_ibkr.brokers.errors import ConfigurationError, InvalidRequest
from moondev_ibkr.brokers.simulation.control import COMMANDS, obey, obey_all
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.prices import PriceKind
from moondev_ibkr.brokers.simulation.tickets import OrderTicket
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

from ..simulation.tws.orders import order
from ..simulation.tws.rig import AAPL, START, RawClient, joined, running


async def tell(gateway: Gateway, **command: Any) -> dict[str, Any]:
    return await obey(gateway, json.dumps(command))


async def test_advance_answers_when_everything_has_been_sent() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(r.ReqMktData(reqId=9, contract=AAPL, genericTickList="", snapshot=False, regulatorySnapshot=False))
        await client.quiet()
        answer = await tell(gateway, advance_to="2026-04-15T15:10:00Z")
        assert answer["now"] == "2026-04-15T15:10:00+00:00"
        assert answer["events"] > 0
        assert (answer["ended"], answer["stalled"]) == (False, [])
        await client.until("tickSize", tickType=8)
        client.send(r.ReqCurrentTime())
        assert (await client.until("currentTime"))["time"] == int(datetime(2026, 4, 15, 15, 10, tzinfo=UTC).timestamp())


async def test_time_stands_still_until_it_is_told() -> None:
    async with running() as gateway, joined(gateway) as client:
        before = gateway.now
        client.send(order(1, "BUY", 1))
        await client.until("commissionReport")
        assert gateway.now == before
        assert (await tell(gateway, advance_by=1.5))["now"] == (before + timedelta(seconds=1.5)).isoformat()


async def test_next_session_status_and_faults() -> None:
    async with running() as gateway, joined(gateway, 3) as client:
        day = await tell(gateway, next_session=True)
        assert (day["day"], day["open"]) == ("2026-04-15", "2026-04-15T13:30:00+00:00")
        await tell(gateway, advance_to="2026-04-17T21:00:00Z")
        assert (await tell(gateway, next_session=True))["day"] == "2026-04-20"
        status = await tell(gateway, status=True)
        assert (status["clients"], status["accounts"], status["open_orders"]) == ([3], ["DU0000001"], 0)
        assert (await tell(gateway, fault="read-only"))["lasting"] == ["read-only"]
        assert (await tell(gateway, status=True))["faults"] == ["read-only"]
        assert (await tell(gateway, release=True))["released"] == ["read-only"]
        assert "hold" in (await tell(gateway, faults=True))["faults"]
        assert await tell(gateway, save=True) == {"saved": None}
        await client.quiet()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("advance", "not JSON"),
        ("[]", "one command"),
        ("{}", "one command"),
        ('{"advance_to": "x", "status": true}', "one command"),
        ('{"dance": true}', "no such command"),
        ('{"advance_to": "noon"}', "ISO 8601"),
        ('{"advance_to": 5}', "text"),
        ('{"advance_to": "2026-04-15T15:10:00"}', "time zone"),
        ('{"advance_to": "2020-01-01T00:00:00Z"}', "does not go back"),
        ('{"advance_by": -1}', "seconds"),
        ('{"advance_by": "1"}', "seconds"),
        ('{"fault": "gremlin"}', "no such fault"),
        ('{"fault": 7}', "text"),
        ('{"release": "gremlin"}', "no such fault"),
        ("\u0000", "not JSON"),
        ("9" * 5000, "not JSON"),
    ],
)
async def test_a_bad_line_gets_an_error_and_the_gateway_goes_on(line: str, words: str) -> None:
    async with running() as gateway:
        before = gateway.now
        assert words in (await obey(gateway, line))["error"]
        assert gateway.now == before
        assert "now" in await tell(gateway, status=True)


async def test_the_end_of_input_ends_the_gateway() -> None:
    async def lines() -> AsyncIterator[str]:
        yield '{"status": true}'
        yield "\n"

    answers: list[str] = []
    async with running() as gateway:
        await obey_all(gateway, lines(), answers.append)
        await gateway.run()
    assert len(answers) == 1


def test_the_commands_are_documented() -> None:
    assert all(command.argument and command.answer for command in COMMANDS.values())


async def script(gateway: Gateway, version: int) -> bytes:
    """A day in the life of one client; what the server sent, byte for byte."""
    client = await RawClient.join(gateway.tws_port, 1, version)
    client.send(r.ReqMktData(reqId=9, contract=AAPL, genericTickList="233", snapshot=False, regulatorySnapshot=False))
    client.send(r.ReqMktDepth(reqId=10, contract=AAPL, numRows=3, isSmartDepth=True))
    client.send(r.ReqAccountUpdates(subscribe=True, acctCode=""))
    client.send(r.ReqPnL(reqId=11, account="DU0000001", modelCode=""))
    client.send(r.ReqRealTimeBars(reqId=12, contract=AAPL, barSize=5, whatToShow="TRADES", useRTH=True))
    await client.quiet()
    for number, minutes in enumerate((1, 2, 30), start=1):
        client.send(order(number, "BUY", 50 * number))
        client.send(order(10 + number, "SELL", 10, "LMT", limit=400))
        await client.quiet()
        await gateway.advance_to(gateway.now + timedelta(minutes=minutes))
        await client.quiet()
    client.send(r.ReqGlobalCancel())
    await client.quiet()
    await client.close()
    return bytes(client.raw)


@pytest.mark.parametrize("version", [157, 178])
async def test_same_seed_and_inputs_same_bytes(version: int) -> None:
    runs = []
    for _ in range(2):
        settings = GatewaySettings(
            tws=TwsSettings(port=0, message_rate=0),
            clock=ClockMode.CONTROL,
            price_kind=PriceKind.SYNTHETIC,
            symbols=("AAPL",),
        )
        async with Gateway(settings) as gateway:
            runs.append(await script(gateway, version))
    assert len(runs[0]) > 50_000
    assert runs[0] == runs[1]


async def test_another_seed_another_market() -> None:
    from moondev_ibkr.brokers.simulation.models import ExchangeSettings

    bids = set()
    for seed in (1, 2):
        settings = GatewaySettings(
            tws=TwsSettings(port=0),
            exchange=ExchangeSettings(seed=seed),
            clock=ClockMode.CONTROL,
            price_kind=PriceKind.SYNTHETIC,
            symbols=("AAPL",),
        )
        async with Gateway(settings) as gateway:
            bids.add(gateway.exchange.market(265598).bid)
    assert len(bids) == 2


def kept(tmp_path: Path, **fields: Any) -> GatewaySettings:
    return GatewaySettings(
        tws=TwsSettings(port=0),
        clock=ClockMode.CONTROL,
        state_file=tmp_path / "account.json",
        symbols=("AAPL", "IBM"),
        **fields,
    )


async def test_the_account_and_its_time_live_on(tmp_path: Path) -> None:
    async with Gateway(kept(tmp_path)) as gateway, joined(gateway) as client:
        client.send(order(7, "BUY", 10))
        client.send(order(8, "BUY", 10, "LMT", limit=1, tif="GTC"))
        await client.quiet()
        await gateway.advance_to(gateway.now + timedelta(days=2))
        then, cash = gateway.now, gateway.exchange.summary("DU0000001").total_cash
    async with Gateway(kept(tmp_path)) as gateway, joined(gateway) as client:
        assert gateway.now == then
        assert gateway.exchange.summary("DU0000001").total_cash == cash
        assert [row.quantity for row in gateway.exchange.positions()] == [10]
        assert next(v["orderId"] for n, v in client.seen if n == "nextValidId") == 9
        client.send(r.CancelOrder(orderId=8))
        await client.error(202)
    async with Gateway(kept(tmp_path, fresh=True)) as gateway:
        assert gateway.exchange.positions() == []


async def test_an_account_of_other_prices_or_a_broken_file_is_refused(tmp_path: Path) -> None:
    async with Gateway(kept(tmp_path)):
        pass
    with pytest.raises(ConfigurationError, match="other prices"):
        Gateway(GatewaySettings(state_file=tmp_path / "account.json", price_kind=PriceKind.SYNTHETIC))
    (tmp_path / "account.json").write_text("{broken")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Gateway(kept(tmp_path))


async def test_the_ready_file_tells_where_and_goes_with_the_gateway(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ready.json"
    async with running(ready_file=path) as gateway:
        content = json.loads(path.read_text())
        assert content["tws"] == {"host": "127.0.0.1", "port": gateway.tws_port}
        assert content["accounts"] == ["DU0000001"]
        assert content["pid"] > 0
        assert not list(path.parent.glob("*.part"))
    assert not path.exists()


async def test_a_taken_port_is_a_clear_error() -> None:
    async with running() as gateway:
        with pytest.raises(ConfigurationError, match="choose another --tws-port"):
            async with running(tws={"port": gateway.tws_port}):
                raise AssertionError("two gateways cannot share a port")


class SteppedClock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_replay_runs_at_a_multiple_of_real_time() -> None:
    clock = SteppedClock()
    settings = GatewaySettings(tws=TwsSettings(port=0), clock=ClockMode.REPLAY, speed=60)
    async with Gateway(settings, prices=FlatPrices({"AAPL": 265}, calendar_for(), START), monotonic=clock) as gateway:
        clock.seconds += 10
        gateway.catch_up()
        assert gateway.now == START + timedelta(minutes=10)
        async with joined(gateway) as client:
            clock.seconds += 1
            client.send(r.ReqCurrentTime())
            assert (await client.until("currentTime"))["time"] == int((START + timedelta(minutes=11)).timestamp())


async def test_as_fast_as_possible_runs_to_the_end_of_the_bars(tmp_path: Path) -> None:
    rows = "\n".join(f"2024-03-{day:02d},10,11,9,10,100000" for day in (11, 12, 13, 14, 15, 18, 19, 20))
    (tmp_path / "XYZ.csv").write_text("Date,Open,High,Low,Close,Volume\n" + rows)
    settings = GatewaySettings(tws=TwsSettings(port=0), bars=(tmp_path / "XYZ.csv",), speed=0)
    async with Gateway(settings) as gateway:
        end = gateway.prices.end
        async with asyncio.timeout(10):
            while gateway.now < (end or START):
                await asyncio.sleep(0)
        assert gateway.now == end


async def test_the_walls_time_is_the_markets_time() -> None:
    wall = [datetime(2026, 4, 18, 12, 0, tzinfo=UTC)]
    settings = GatewaySettings(tws=TwsSettings(port=0), clock=ClockMode.WALL, symbols=("AAPL",))
    async with Gateway(settings, wall=lambda: wall[0]) as gateway:
        gateway.catch_up()
        assert gateway.now == wall[0]
        assert gateway.exchange.market(265598).last is not None
        wall[0] += timedelta(seconds=5)
        gateway.catch_up()
        assert gateway.now == wall[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"speed": -1.0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"clock": ClockMode.WALL, "bars": (Path("x.csv"),)}, "past bars"),
    ],
)
def test_settings_that_contradict_themselves(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        GatewaySettings(**fields)


async def test_a_gateway_that_was_not_entered_says_so() -> None:
    gateway = Gateway(GatewaySettings(clock=ClockMode.CONTROL), prices=FlatPrices({"AAPL": 265}, calendar_for(), START))
    with pytest.raises(InvalidRequest, match="not listening"):
        _ = gateway.tws_port


async def test_the_exchanges_own_books_are_told() -> None:
    async with running() as gateway:
        (account,) = gateway.exchange.accounts
        gateway.exchange.place(OrderTicket(3, 1, 265598, Side.BUY, Decimal(10), order_ref="agent-1"))
        await tell(gateway, advance_by=5)
        books = await tell(gateway, books=True)
    assert books["accounts"][account]["positions"] == {"AAPL": "10"}
    ((order, fill),) = zip(books["orders"], books["executions"], strict=True)
    assert (order["order_ref"], order["status"], order["filled"]) == ("agent-1", "Filled", "10")
    assert (order["type"], order["limit_price"], order["parent_perm_id"]) == ("MKT", None, 0)
    assert (fill["order_ref"], fill["quantity"], fill["perm_id"]) == ("agent-1", "10", order["perm_id"])
