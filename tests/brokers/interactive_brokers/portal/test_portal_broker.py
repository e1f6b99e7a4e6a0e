"""get_broker("portal") by settings alone: over real TLS, under the live limits, with a journal on disk."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings as DoorSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings
from moondev_ibkr.config.settings import Settings

from .rig import START


async def test_the_portal_trades_by_settings_alone(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    chosen = GatewaySettings(
        tws=TwsSettings(port=0),
        portal=DoorSettings(port=0, ca_file=ca_file),
        clock=ClockMode.CONTROL,
    )
    async with Gateway(chosen, prices=FlatPrices({"AAPL": 265.0}, calendar_for(), START)) as gateway:
        server = gateway.doors.portal
        assert server is not None
        settings = Settings(
            portal_port=int(server.url.split(":")[2].split("/")[0]),
            portal_ca_file=ca_file,
            state_dir=tmp_path,
            risk={"open_blackout": 0, "duplicate_window": 0},
        )
        broker = get_broker("portal", settings=settings)
        assert broker.name == "portal"
        order = NewOrder(Instrument("AAPL"), Side.BUY, Decimal(1), OrderType.LIMIT, limit_price=Decimal(260), key="k1")
        async with broker:
            placed = await broker.place(order)
            assert placed.state in (OrderState.WORKING, OrderState.PRE_SUBMITTED)
            ended = await broker.cancel("k1")
            assert (await broker.wait(ended.key, 10)).state is OrderState.CANCELLED
        assert gateway.exchange.open_orders() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"portal_verify": False, "portal_host": "192.0.2.7"},
        {"portal_fingerprint": "not hex"},
        {"portal_ca_file": Path("/nowhere.pem")},
        {"portal_confirm": "o163"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_settings_that_cannot_be_are_refused_at_once(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        get_broker("portal", settings=Settings(state_dir=tmp_path, **wrong))  # type: ignore[arg-type]
