"""The adapter that settings describe: which accounts it takes, where its state lies, what health says."""

import asyncio
import json

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError, ConnectFailed, LiveNotAllowed, NotConnected
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings
from moondev_ibkr.config.settings import load_settings


@pytest.fixture
async def gateway():
    settings = GatewaySettings(tws=DoorSettings(port=0), clock=ClockMode.CONTROL, symbols=("AAPL",))
    async with Gateway(settings) as running:
        yield running


@pytest.fixture
def settings_for(tmp_path, gateway):
    def make(**changes):
        live = changes.get("environment") == "live"
        given = {"port": gateway.tws_port, "state_dir": tmp_path, "connect_timeout": 3.0} | changes
        return load_settings(i_understand_live=live, **given)

    return make


async def test_a_simulation_account_is_taken_by_a_simulation(settings_for, tmp_path):
    adapter = get_broker("ib", settings=settings_for())
    async with adapter:
        assert adapter.accounts() == ("DU0000001",)
        await adapter.details("AAPL")
        health = adapter.health()
        assert health.can_trade
        assert ("kill switch", True, "off") in health.details
    cache = json.loads((tmp_path / "simulation" / "contracts.json").read_text())
    assert [row["details"]["instrument"]["symbol"] for row in cache["contracts"]] == ["AAPL"]
    assert (tmp_path / "simulation" / "journal.sqlite").exists()


async def test_live_refuses_a_paper_account_before_it_asks_anything(settings_for, gateway):
    adapter = IBAdapter.from_settings(settings_for(environment="live"))
    with pytest.raises(LiveNotAllowed):
        await adapter.connect()
    assert not adapter.health().connected
    await adapter.disconnect()


async def test_an_account_that_the_session_does_not_hold_is_refused(settings_for):
    adapter = IBAdapter.from_settings(settings_for(account="DU0000009"))
    with pytest.raises(ConfigurationError, match="DU0000009"):
        await adapter.connect()
    await adapter.disconnect()


async def test_before_it_is_connected_it_says_so(settings_for):
    adapter = IBAdapter.from_settings(settings_for())
    health = adapter.health()
    assert not health.connected
    assert not health.can_trade
    assert "DOWN" in health.reason
    with pytest.raises(NotConnected):
        await adapter.positions()
    await adapter.disconnect()


async def test_nothing_listens(settings_for):
    adapter = IBAdapter.from_settings(settings_for(port=1))
    with pytest.raises(ConnectFailed) as failed:
        await adapter.connect()
    assert failed.value.kind == "refused"
    await adapter.disconnect()


async def test_c12_a_lost_link_is_a_failing_health(settings_for, gateway):
    adapter = IBAdapter.from_settings(settings_for())
    async with adapter:
        lost = asyncio.Event()
        adapter.transport.add_link_listener(lambda event: event.kind is LinkEventKind.LOST and lost.set())
        gateway.faults.arm("eof-on-connect")
        gateway.faults.arm("close")
        await asyncio.wait_for(lost.wait(), 3)
        assert not adapter.health().connected
        assert not adapter.health().can_trade
        gateway.faults.release("eof-on-connect")
