"""`doctor` with several gateways: each with its role, what it answers, what went through it, and what failed last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import GatewaySettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings
from moondev_ibkr.cli.doctor import client_of, examine
from moondev_ibkr.cli.gateway_checks import gateway_checks
from moondev_ibkr.cli.journal_checks import Verdict
from moondev_ibkr.cli.opening import Opening
from moondev_ibkr.cli.options import BrokerChoice
from moondev_ibkr.config.gateways import read_rows
from moondev_ibkr.config.settings import Environment, Settings

from .conftest import free_port


def settings(folder: Path, port: int, *rows: str) -> Settings:
    return Settings(
        environment=Environment.SIMULATION,
        port=port,
        state_dir=folder,
        connect_timeout=2.0,
        gateways=read_rows(",".join(rows)),
    )


def running() -> Gateway:
    return Gateway(GatewaySettings(tws=TwsSettings(port=0), symbols=("AAPL",)))


async def test_every_gateway_is_shown_with_its_role_its_answer_and_its_bytes(tmp_path: Path) -> None:
    async with running() as first, running() as second:
        nobody = free_port()
        rows = (f"127.0.0.1:{second.tws_port}", f"127.0.0.1:{nobody} backup")
        chosen = settings(tmp_path, first.tws_port, *rows)
        checks, seen = await gateway_checks(chosen, lambda own: client_of(own, "tws"))
    assert [(one.role, one.mode, one.state) for one in seen] == [
        ("orders", "direct", LinkState.READY),
        ("data", "direct", LinkState.READY),
        ("backup", "direct", LinkState.DOWN),
    ]
    assert all(one.bytes_in > 200 and one.bytes_out > 30 and (one.round_trip or 0) > 0 for one in seen[:2])
    assert (seen[2].bytes_in, seen[2].round_trip) == (0, None)
    assert "closed" in seen[2].last_error
    assert [check.verdict for check in checks] == [Verdict.OK, Verdict.OK, Verdict.WARN]
    assert f"127.0.0.1:{nobody}" in checks[2].name


async def test_a_mode_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    chosen = settings(tmp_path, free_port(), f"127.0.0.1:{free_port()} mode=fix")
    checks, seen = await gateway_checks(chosen, lambda own: client_of(own, "tws"))
    assert seen == ()
    assert checks[0].verdict is Verdict.FAIL
    assert "there is no FIX session here" in checks[0].found
    assert "use mode direct, tls or portal" in checks[0].next


async def test_the_other_gateways_are_looked_at_where_the_order_gateway_is_not_there(tmp_path: Path) -> None:
    async with running() as second:
        chosen = settings(tmp_path, free_port(), f"127.0.0.1:{second.tws_port}")
        checks, _ = await gateway_checks(chosen, lambda own: client_of(own, "tws"))
    assert [check.verdict for check in checks] == [Verdict.FAIL, Verdict.OK]
    assert "nothing trades without it" in checks[0].next


async def test_a_client_id_of_a_living_process_is_left_to_it(tmp_path: Path) -> None:
    used: list[int] = []
    async with running() as first, running() as second:
        chosen = settings(tmp_path, first.tws_port, f"127.0.0.1:{second.tws_port}")
        journal = Journal(chosen.state_folder / "journal.sqlite")
        held = journal.lease_client_id(chosen.client_id)

        def door(own: Settings):
            used.append(own.client_id)
            return client_of(own, "tws")

        await gateway_checks(chosen, door)
    held.release()
    journal.close()
    assert used == [held.client_id + 1]


async def test_json_has_a_list_of_gateways_and_one_gateway_is_no_pool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running() as first, running() as second:
        opening = Opening(BrokerChoice.IB, None, False)
        pooled = settings(tmp_path, first.tws_port, f"127.0.0.1:{second.tws_port}")
        await examine(opening, pooled, "AAPL", True)
        told = json.loads(capsys.readouterr().out)
        assert [row["role"] for row in told["gateways"]] == ["orders", "data"]
        assert {"bytes_in", "bytes_out", "requests", "reconnects", "last_error", "round_trip"} <= set(
            told["gateways"][0]
        )
        await examine(opening, pooled, "AAPL", False)
        assert "bytes out" in capsys.readouterr().out
        await examine(opening, settings(tmp_path, first.tws_port), "AAPL", True)
        assert json.loads(capsys.readouterr().out)["gateways"] == []
