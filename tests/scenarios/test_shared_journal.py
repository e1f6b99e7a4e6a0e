"""Two adapters on one journal, as in two processes: each has its own client id, neither takes the other's orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import RiskRefusal, TradingHalted
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings
from moondev_ibkr.config.settings import load_settings

from tests.conformance.world import ACCOUNT, OPEN


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    settings = GatewaySettings(tws=DoorSettings(port=0), clock=ClockMode.CONTROL)
    async with Gateway(settings, prices=FlatPrices({"AAPL": 100.0}, MarketCalendar(), OPEN)) as running:
        await running.advance_to(OPEN)
        yield running


def adapter(gateway: Gateway, folder: Path) -> IBAdapter:
    return IBAdapter.from_settings(load_settings(port=gateway.tws_port, client_id=7, state_dir=folder))


def careful(gateway: Gateway, folder: Path) -> IBAdapter:
    """One that takes one entry of a contract and side in fifteen minutes."""
    limits = {"entry_window": 900, "duplicate_window": 0, "max_position_value": 10**6, "max_order_value": 10**6}
    limits |= {"max_exposure": 10**6, "max_concentration": 10}
    return IBAdapter.from_settings(load_settings(port=gateway.tws_port, client_id=7, state_dir=folder, risk=limits))


def buy(key: str, quantity: int, price: int = 101) -> NewOrder:
    return NewOrder(
        Instrument("AAPL"), Side.BUY, Decimal(quantity), OrderType.LIMIT, limit_price=Decimal(price), key=key
    )


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


async def test_what_one_process_has_just_opened_another_does_not_open_again(gateway: Gateway, tmp_path: Path) -> None:
    async with careful(gateway, tmp_path) as first, careful(gateway, tmp_path) as second:
        await first.place(buy("agent", 10))
        await first.wait("agent", 5.0)
        with pytest.raises(RiskRefusal, match="agent") as refused:
            await second.place(buy("scanner", 20))
        assert refused.value.rule == "repeated_entry"
        await gateway.advance_to(gateway.now + timedelta(minutes=16))
        await second.market_time()
        await second.place(buy("later", 20))
        await second.wait("later", 5.0)
    assert [row.quantity for row in gateway.exchange.positions(ACCOUNT)] == [30]


async def test_an_entry_of_another_process_counts_while_it_works_and_for_what_it_filled(
    gateway: Gateway, tmp_path: Path
) -> None:
    async with careful(gateway, tmp_path) as first, careful(gateway, tmp_path) as second:
        await first.place(buy("idle", 10, 99))
        with pytest.raises(RiskRefusal, match="idle"):
            await second.place(buy("b1", 20, 99))
        await first.cancel("idle")
        await first.reconcile()  # what it has learnt is written now
        placed = await second.place(buy("b2", 20, 99))
        assert placed.state is OrderState.WORKING, "what never filled is no entry"
        await second.cancel("b2")
        await second.reconcile()
        await first.place(buy("part", 900))
        filled = first.order("part").filled
        assert 0 < filled < 900
        with pytest.raises(RiskRefusal, match="part"):
            await second.place(buy("b3", 20))
        await first.cancel("part")
        await first.reconcile()
        with pytest.raises(RiskRefusal, match="part"):
            await second.place(buy("b4", 20))
        assert second.order("part").filled == filled


async def test_the_kill_switch_of_one_holds_the_other(gateway: Gateway, tmp_path: Path) -> None:
    async with adapter(gateway, tmp_path) as first, adapter(gateway, tmp_path) as second:
        await first.emergency_stop("test")
        with pytest.raises(TradingHalted, match="kill switch"):
            await second.place(resting("after"))
    assert gateway.exchange.open_orders() == []


async def test_two_processes_at_the_same_instant_open_one_position(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both pass the rules before either has written: the second finds the other's intent and is judged again."""
    async with careful(gateway, tmp_path) as first, careful(gateway, tmp_path) as second:
        qualified = replace(buy("theirs", 7), instrument=(await second.details("AAPL")).instrument)
        between = [qualified]
        check = first.risk.check

        def checked_then_overtaken(order: NewOrder, **named: Any) -> None:
            check(order, **named)
            while between:
                assert second.manager._sender.journal_intents([between.pop()], second.default_account())

        monkeypatch.setattr(first.risk, "check", checked_then_overtaken)
        with pytest.raises(RiskRefusal, match="theirs") as refused:
            await first.place(buy("ours", 5))
        assert refused.value.rule == "repeated_entry"
        assert [row.intent.key for row in first.journal.load_orders()] == ["theirs"]
    assert gateway.exchange.positions(ACCOUNT) == []
