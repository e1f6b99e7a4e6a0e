"""Two adapters on one journal, as in two processes: each has its own client id, neither takes the other's orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import TradingHalted
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings
from moondev_ibkr.config.settings import load_settings

from tests.conformance.world import OPEN


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    settings = GatewaySettings(tws=DoorSettings(port=0), clock=ClockMode.CONTROL)
    async with Gateway(settings, prices=FlatPrices({"AAPL": 100.0}, MarketCalendar(), OPEN)) as running:
        await running.advance_to(OPEN)
        yield running


def adapter(gateway: Gateway, folder: Path) -> IBAdapter:
    return IBAdapter.from_settings(load_settings(port=gateway.tws_port, client_id=7, state_dir=folder))


def resting(key: str) -> NewOrder:
    return NewOrder(Instrument("AAPL"), Side.BUY, Decimal(1), OrderType.LIMIT, limit_price=Decimal(99), key=key)


async def test_a_second_process_gets_the_next_client_id_and_the_first_gets_its_own_again(
    gateway: Gateway, tmp_path: Path
) -> None:
    async with adapter(gateway, tmp_path) as first:
        async with adapter(gateway, tmp_path) as second:
            assert (first.transport.client_id, second.transport.client_id) == (7, 8)
    async with adapter(gateway, tmp_path) as again:
        assert again.transport.client_id == 7


async def test_an_order_of_the_first_is_known_to_the_second_and_stays_its_owner_s(
    gateway: Gateway, tmp_path: Path
) -> None:
    async with adapter(gateway, tmp_path) as first:
        placed = await first.place(resting("shared-1"))
        assert placed.state is OrderState.WORKING
        async with adapter(gateway, tmp_path) as second:
            seen = second.order("shared-1")
            assert (seen.state, seen.foreign) == (OrderState.WORKING, False)
            # The same key from the other process is the same order, not a second one.
            assert (await second.place(resting("shared-1"))).key == "shared-1"
        assert first.order("shared-1").state is OrderState.WORKING
    assert len(gateway.exchange.open_orders()) == 1


async def test_the_kill_switch_of_one_holds_the_other(gateway: Gateway, tmp_path: Path) -> None:
    async with adapter(gateway, tmp_path) as first, adapter(gateway, tmp_path) as second:
        await first.emergency_stop("test")
        with pytest.raises(TradingHalted, match="kill switch"):
            await second.place(resting("after"))
    assert gateway.exchange.open_orders() == []
