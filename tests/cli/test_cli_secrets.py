"""Row R3: a secret in the environment shows nowhere; our own servers listen to this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from moondev_ibkr.brokers.simulation.gateway_settings import GatewaySettings
from moondev_ibkr.cli.gateway_command import _networks
from moondev_ibkr.config.settings import Settings

from .conftest import Command

SECRETS = {
    "IB_SECRETS__OAUTH_TOKEN": "hunter2-oauth-5f1c",
    "ANTHROPIC_API_KEY": "sk-ant-REDHERRING-88aa77bb",
    "IBKR_SECRETS__PORTAL_PASSWORD": "correct-horse-battery",
    "TWS_PASSWORD": "tr0ub4dor-and-3-more",
}
#: Commands that work, that are refused, and that cannot even start.
COMMANDS = (
    "quote AAPL",
    "buy AAPL 1 --market",
    "buy AAPL 9999",
    "orders --all --json",
    "doctor --broker paper",
    "doctor --broker ib",
    "run --config /no/such/file",
    "kill",
)


def test_secrets_are_in_no_output_and_no_file(on_market: Command, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, "IB_LOG_LEVEL": "DEBUG", "IB_CONNECT_TIMEOUT": "1"}.items():
        monkeypatch.setenv(name, value)
    shown = ""
    for line in COMMANDS:
        told = on_market(*line.split())
        shown += told.out + told.err
    files = [path for path in state.rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    assert any(path.name == "moondev-ibkr.log" and path.stat().st_size for path in files)
    for value in SECRETS.values():
        assert value not in shown
        assert value.encode() not in kept


def test_a_secret_in_a_wrong_setting_is_not_repeated(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_SECRETS", "hunter2-not-a-table")
    told = command("account", "--json")
    assert told.code == 2
    assert "hunter2" not in told.out + told.err


def test_servers_listen_on_loopback_and_named_networks_come_beside_it() -> None:
    assert GatewaySettings().tws.host == "127.0.0.1"
    assert _networks((), Settings()) == ()
    allowed = _networks(("10.1.0.0/16",), Settings(allowed_clients="192.168.1.7"))  # type: ignore[arg-type]
    assert set(allowed) == {"127.0.0.0/8", "::1/128", "10.1.0.0/16", "192.168.1.7/32"}
