"""`doctor` against everything that is wrong with a connection: it says what, and what next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings as ClientSettings
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.journal import IntentRow, Journal, Observed, OrderRow
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings
from moondev_ibkr.cli import doctor
from moondev_ibkr.cli.doctor import Check, Verdict, checklist, pen_checks
from moondev_ibkr.config.settings import Environment, Settings

from .conftest import Command, free_port

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


def settings(folder: Path, port: int, **changes: object) -> Settings:
    """A paper account's settings, with little patience."""
    given = {"environment": Environment.PAPER, "port": port, "state_dir": folder, "connect_timeout": 1.0} | changes
    return Settings(**given)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def gateway(*faults: str, **changes: object) -> AsyncIterator[int]:
    chosen = GatewaySettings(
        tws=TwsSettings(port=0, **changes),  # type: ignore[arg-type]
        settle=timedelta(minutes=1),
        faults=faults,
    )
    async with Gateway(chosen) as running:
        yield running.tws_port


@contextlib.asynccontextmanager
async def server(answer: Answering) -> AsyncIterator[int]:
    """A TCP server that is no gateway."""
    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def closed_market(*faults: str) -> AsyncIterator[int]:
    """A gateway whose market time stands in the night."""
    chosen = GatewaySettings(tws=TwsSettings(port=0), clock=ClockMode.CONTROL)
    async with Gateway(chosen) as running:
        await running.advance_to(running.next_session().close + timedelta(hours=6))
        for name in faults:
            running.faults.arm(name)
        yield running.tws_port


async def examine(chosen: Settings, symbol: str = "AAPL") -> dict[str, Check]:
    return {check.name: check async for check in checklist(chosen, symbol)}


def failures(checks: dict[str, Check]) -> list[str]:
    return [name for name, check in checks.items() if check.verdict is Verdict.FAIL]


async def test_a_healthy_gateway_passes_every_check(tmp_path: Path) -> None:
    async with gateway() as port:
        checks = await examine(settings(tmp_path, port))
    assert failures(checks) == []
    warned = [name for name, check in checks.items() if check.verdict is Verdict.WARN]
    assert warned == ["order precautions"]
    assert list(checks)[:4] == ["settings", "journal", "tick decoder", "session"]
    assert list(checks)[-2:] == ["orders", "order precautions"]
    assert "conId 265598" in checks["contract"].found


async def test_nothing_listens(tmp_path: Path) -> None:
    checks = await examine(settings(tmp_path, free_port()))
    assert list(checks)[-1] == "session"
    assert "closed" in checks["session"].found
    assert "log in" in checks["session"].next


async def test_nothing_listens_here_but_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway() as port:
        ports = {**doctor.TWS_PORTS, (Environment.PAPER, doctor.Settings(port=None).software): port}
        monkeypatch.setattr(doctor, "TWS_PORTS", ports)
        checks = await examine(settings(tmp_path, free_port()))
    assert f"something listens on {port} (paper gateway)" in checks["session"].next


async def test_an_http_server_is_not_the_api(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    async with server(refuse) as port:
        checks = await examine(settings(tmp_path, port))
    assert failures(checks) == ["session"]
    assert "API" in checks["session"].next


async def test_something_that_never_answers(tmp_path: Path) -> None:
    async def listen_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with server(listen_only) as port:
        checks = await examine(settings(tmp_path, port))
    assert failures(checks) == ["session"]
    assert "is that the API's port?" in checks["session"].next


#: Fault of the gateway -> the check that fails, words of what was found, words of what next.
FAULTS: tuple[tuple[str, str, str, str], ...] = (
    ("no-handshake", "session", "never sent its version", "look at the gateway's window"),
    ("eof-on-connect", "session", "closed the connection", "log in"),
    ("no-accounts", "session", "account list", ""),
    ("no-next-id", "session", "next order id", "look at the gateway's window"),
    ("read-only", "orders", "Read-Only", "untick Read-Only API"),
    ("no-market-data", "market data", "354", "moondev-ibkr costs AAPL"),
    ("competing-session", "market data", "10197", "logged in elsewhere"),
    ("silent-feed", "market data", "no answer", "market may be closed"),
)


@pytest.mark.parametrize(("fault", "name", "found", "next_step"), FAULTS, ids=[row[0] for row in FAULTS])
async def test_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, name: str, found: str, next_step: str
) -> None:
    monkeypatch.setattr(doctor, "QUOTE_DEADLINE", 0.4)
    async with gateway(fault) as port:
        checks = await examine(settings(tmp_path, port))
    assert failures(checks) == [name]
    assert found in checks[name].found
    assert next_step in checks[name].next


async def test_a_farm_that_is_down_is_a_warning(tmp_path: Path) -> None:
    farms = ((2103, "Market data farm connection is broken:usfarm"), (2106, "HMDS data farm connection is OK:ushmds"))
    async with gateway(farms=farms) as port:
        checks = await examine(settings(tmp_path, port))
    assert checks["data farms"].verdict is Verdict.WARN
    assert "usfarm" in checks["data farms"].found


async def test_d07_sizes_in_round_lots_are_a_warning(tmp_path: Path) -> None:
    async with gateway("round-lots") as port:
        lots = await examine(settings(tmp_path, port))
    async with gateway() as port:
        shares = await examine(settings(tmp_path, port))
    assert lots["market data"].verdict is Verdict.WARN
    assert "round lots" in lots["market data"].found
    assert "in shares" in lots["market data"].next
    assert shares["market data"].verdict is Verdict.OK


async def test_delayed_data_is_a_warning(tmp_path: Path) -> None:
    async with gateway(not_subscribed=frozenset({"AAPL"})) as port:
        refused = await examine(settings(tmp_path, port))
        delayed = await examine(settings(tmp_path, port, delayed_data=True))
    assert failures(refused) == ["market data"]
    assert "IB_DELAYED_DATA" in refused["market data"].next
    assert failures(delayed) == []
    assert delayed["market data"].verdict is Verdict.WARN
    assert "delayed" in delayed["market data"].found


async def test_the_client_id_is_in_use(tmp_path: Path) -> None:
    async with gateway() as port:
        other = IbAsyncClient(ClientSettings(port=port, client_id=1))
        await other.connect()
        try:
            checks = await examine(settings(tmp_path, port))
        finally:
            await other.disconnect()
    assert failures(checks) == ["session"]
    assert "already in use" in checks["session"].found
    assert "IB_CLIENT_ID" in checks["session"].next


async def test_an_account_of_another_kind(tmp_path: Path) -> None:
    async with gateway() as port:
        checks = await examine(settings(tmp_path, port, environment=Environment.LIVE))
        asked = await examine(settings(tmp_path, port, account="DU0000009"))
    assert checks["account"].verdict is Verdict.FAIL
    assert "IB_ENVIRONMENT" in checks["account"].next
    assert asked["account"].verdict is Verdict.FAIL
    assert "DU0000009" in asked["account"].found


async def test_an_unknown_symbol_ends_what_depends_on_it(tmp_path: Path) -> None:
    async with gateway() as port:
        checks = await examine(settings(tmp_path, port), "ZZZZ")
    assert failures(checks) == ["contract"]
    assert checks["orders"].found.startswith("not tried")


def test_a_journal_that_was_changed_from_outside(tmp_path: Path) -> None:
    chosen = settings(tmp_path, 4002)
    chosen.state_folder.mkdir(parents=True)
    path = chosen.state_folder / "journal.sqlite"
    with contextlib.closing(Journal(path)) as journal:
        journal.halt("drill")
    assert doctor.journal_check(chosen).verdict is Verdict.OK
    path.write_bytes(b"this is not a database, whatever its name says" * 50)
    assert doctor.journal_check(chosen).verdict is Verdict.FAIL


def test_the_command_joins_the_running_gateway(on_market: Command) -> None:
    told = on_market("doctor", "--broker", "paper")
    assert told.code == 0
    assert "order precautions" in told.out
    assert {check["verdict"] for check in on_market("doctor", "--broker", "paper", "--json").data["checks"]} == {
        "ok",
        "warning",
    }


def test_the_command_fails_when_a_check_does(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_PORT", str(free_port()))
    told = command("doctor", "--json")
    assert told.code == 1
    assert [check["name"] for check in told.data["checks"] if check["verdict"] == "failed"] == ["session"]


async def test_a_closed_market_is_named_and_no_fault(tmp_path: Path) -> None:
    async with closed_market("silent-feed") as port:
        checks = await examine(settings(tmp_path, port))
    assert failures(checks) == []
    assert checks["market data"].verdict is Verdict.WARN
    assert "closed" in checks["market data"].found
    assert "once it is open (" in checks["market data"].next


async def test_the_last_prices_of_a_closed_market_are_good_enough(tmp_path: Path) -> None:
    async with closed_market() as port:
        checks = await examine(settings(tmp_path, port))
    assert failures(checks) == []
    assert "last" in checks["market data"].found


def test_the_pen_and_the_orders_in_doubt_are_read_from_the_journal(tmp_path: Path) -> None:
    chosen = settings(tmp_path, 4002)
    assert pen_checks(chosen) == []
    chosen.state_folder.mkdir(parents=True)
    with contextlib.closing(Journal(chosen.state_folder / "journal.sqlite")) as journal:
        journal.claim_door("tws")
        lease = journal.switch_door("portal")
        intent = NewOrder(Instrument("AAPL"), Side.BUY, Decimal(10), key="k1")
        journal.record_intents([IntentRow(intent, "DU1", "k1")], client_id=1, floor=1, lease=lease)
        row = OrderRow(intent, OrderState.UNKNOWN, 1, 1, reason="the link ended before an answer")
        journal.write(Observed(orders={"k1": row}))
    pen, doubt = pen_checks(chosen)
    assert (pen.verdict, pen.found) == (Verdict.WARN, "orders go through portal (epoch 2)")
    assert "doors --to tws" in pen.next
    assert doubt.verdict is Verdict.WARN
    assert "k1 (BUY 10 AAPL, through portal): the link ended" in doubt.found


@contextlib.asynccontextmanager
async def both_doors(folder: Path, **portal: object) -> AsyncIterator[tuple[Gateway, dict[str, object]]]:
    """A gateway with both doors, and the settings that lead to its portal."""
    ca_file = folder / "ca.pem"
    chosen = GatewaySettings(
        tws=TwsSettings(port=0),
        portal=PortalSettings(port=0, ca_file=ca_file, **portal),  # type: ignore[arg-type]
        settle=timedelta(minutes=1),
    )
    async with Gateway(chosen) as running:
        portal_port = int(str(running.doors.portal.url).rpartition(":")[2].partition("/")[0])  # type: ignore[union-attr]
        yield running, {"portal_port": portal_port, "portal_ca_file": ca_file, "portal_host": "127.0.0.1"}


async def test_the_portal_is_examined_like_tws(tmp_path: Path) -> None:
    async with both_doors(tmp_path) as (running, where):
        chosen = settings(tmp_path, running.tws_port, **where | {"connect_timeout": 15.0})
        checks = {check.name: check async for check in checklist(chosen, "AAPL", "portal")}
    assert failures(checks) == []
    assert checks["session"].found.startswith("connected to https://127.0.0.1:")
    assert "conId 265598" in checks["contract"].found
    assert list(checks)[-1] == "orders"


async def test_a_portal_where_nobody_is_logged_in_says_so(tmp_path: Path) -> None:
    async with both_doors(tmp_path, logged_in=False) as (running, where):
        chosen = settings(tmp_path, running.tws_port, **where)
        checks = {check.name: check async for check in checklist(chosen, "AAPL", "portal")}
    assert failures(checks) == ["session"]
    assert "log in" in checks["session"].next


async def test_the_door_behind_tws_is_looked_at_and_not_taken(tmp_path: Path) -> None:
    async with both_doors(tmp_path, user="one", tws_user="one") as (running, where):
        chosen = settings(tmp_path, running.tws_port, failover="one_user", **where)
        checks = await examine(chosen)
        holder = running.portal.seat.holder.value
        assert failures(checks) == []
    assert "is logged in" in checks["portal, standing by"].found
    assert holder == "tws"


async def test_a_door_behind_tws_that_is_not_there_warns(tmp_path: Path) -> None:
    async with gateway() as port:
        chosen = settings(tmp_path, port, failover="two_users", portal_port=free_port(), portal_host="127.0.0.1")
        checks = await examine(chosen)
    assert failures(checks) == []
    assert checks["portal, standing by"].verdict is Verdict.WARN
