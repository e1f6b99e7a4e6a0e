"""IB_GATEWAYS: rows of text or tables, what each option may be, and who carries the orders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.cli.opening import Opening, settings_for
from moondev_ibkr.cli.options import BrokerChoice
from moondev_ibkr.config.gateways import Balance, GatewayMode
from moondev_ibkr.config.settings import load_settings

PIN = ":".join(["AB"] * 32)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("IB_", "IBKR_")):
            monkeypatch.delenv(name)


def test_one_gateway_is_the_default() -> None:
    settings = load_settings()
    assert settings.data_gateways == ()
    assert settings.order_gateway.address == "127.0.0.1:14002"
    assert settings.gateway_balance is Balance.LEAST_LOADED


def test_rows_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = f"10.0.0.5:4101, gw.local:4102 mode=TLS fingerprint={PIN} weight=3 backup,[::1]:5000 mode=portal lines=50,"
    monkeypatch.setenv("IB_GATEWAYS", rows)
    monkeypatch.setenv("IB_GATEWAY_BALANCE", "Round_Robin")
    settings = load_settings()
    plain, secured, portal = settings.data_gateways
    assert (plain.host, plain.port, plain.mode, plain.weight, plain.backup) == ("10.0.0.5", 4101, "direct", 1, False)
    assert (secured.mode, secured.weight, secured.backup) == (GatewayMode.TLS, 3, True)
    assert secured.fingerprint == "ab" * 32
    assert (portal.address, portal.mode, portal.lines) == ("[::1]:5000", GatewayMode.PORTAL, 50)
    assert settings.gateway_balance is Balance.ROUND_ROBIN


def test_rows_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'port = 4100\n[[gateways]]\nhost = "127.0.0.1"\nport = 4100\nmode = "tls"\nca_file = "/certificates/ca.pem"\n'
        '[[gateways]]\nhost = "gw"\nport = 4101\nbackup = true\n'
    )
    settings = load_settings(file)
    assert settings.order_gateway.mode is GatewayMode.TLS
    assert settings.order_gateway.ca_file == Path("/certificates/ca.pem")
    assert [row.address for row in settings.data_gateways] == ["gw:4101"]


def test_orders_keep_to_host_and_port_wherever_the_row_stands() -> None:
    """Rows in another order must not send orders elsewhere."""
    for rows in ("gw:4101,gw:4102", "gw:4102,gw:4101", "gw:4101,127.0.0.1:14002 weight=2,gw:4102"):
        settings = load_settings(gateways=rows)
        assert settings.order_gateway.address == "127.0.0.1:14002"
        assert {row.address for row in settings.data_gateways} == {"gw:4101", "gw:4102"}
    assert settings.order_gateway.weight == 2


def test_a_second_row_of_the_order_gateway_is_a_second_connection_to_it() -> None:
    settings = load_settings(gateways="127.0.0.1:14002,127.0.0.1:14002")
    assert [row.address for row in settings.data_gateways] == ["127.0.0.1:14002"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("gw", "'gw' is not host:port"),
        ("gw:", "'gw:' is not host:port"),
        ("gw:4101 fast", "gw:4101 has 'fast'"),
        ("gw:4101 host=other", "gw:4101 has 'host'"),
        ("gw:4101 weight=2 weight=3", "weight twice"),
        ("gw:4101 weight", "weight without a value"),
        ("gw:4101,gw:4102 weight=0", "row 2, weight='0'"),
        ("gw:99999", "row 1, port=99999"),
        ("gw:4101 mode=ftp", "'direct', 'tls', 'portal' or 'fix'"),
        ("gw:4101 backup=perhaps", "yes or no"),
        ("gw:4101 fingerprint=12 mode=tls", "64 hex digits"),
        ("gw:4101 ca_file=/ca.pem", "mode direct has no certificate"),
        ("gw:4101 mode=portal certificate=/me.pem", "only mode tls"),
        ("gw:4101 mode=tls key=/me.key", "a key and no certificate"),
        ("gw:4001", "port 4001 is that of gateway in environment live"),
        ("127.0.0.1:14002 backup", "carries the orders"),
        ("127.0.0.1:14002 mode=portal", "carries the orders"),
        (",".join(f"gw:{4101 + index}" for index in range(32)), "33 connections, and a pool has at most 32"),
    ],
)
def test_a_row_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, rows: str, says: str) -> None:
    monkeypatch.setenv("IB_GATEWAYS", rows)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_32_connections_are_taken() -> None:
    assert len(load_settings(gateways=",".join(f"gw:{4101 + index}" for index in range(31))).data_gateways) == 31


def test_the_paper_gateway_is_never_pooled_with_gateways_of_a_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_GATEWAYS", "127.0.0.1:4002,gw:4101")
    assert settings_for(Opening(BrokerChoice.PAPER)).data_gateways == ()
    monkeypatch.setenv("IB_ENVIRONMENT", "paper")
    rows = settings_for(Opening(BrokerChoice.IB)).data_gateways
    assert [row.address for row in rows] == ["gw:4101"]
