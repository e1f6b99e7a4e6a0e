"""Outcomes that are not known, cold lists and executions of the portal client: P01, P02, P08, P13, Q1, Q3, Q5."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, OrderChange, Side, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEffect
from moondev_ibkr.brokers.errors import (
    NotConnected,
    OutcomeUnknown,
)
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import NotSent
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.portal.orders import OrderDesk
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings as DoorSettings
from moondev_ibkr.brokers.simulation.portal.settings import Registry

from .rig import AAPL, ACCOUNT, START, D, PortalWorld, limit, virtually, wire_order


def refs(world: PortalWorld) -> list[str]:
    """The references of every order that the exchange ever took."""
    return sorted(row.ticket.order_ref for row in (*world.exchange.open_orders(), *world.exchange.completed_orders()))


# Outcomes that are not known


@pytest.mark.parametrize("fault", ["abort-after", "503-after"])
def test_p01_an_order_whose_answer_is_lost_is_found_and_never_sent_again(fault: str) -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            world.arm(fault)
            await world.broker.place(limit("k1"))
            live = (OrderState.WORKING, OrderState.PRE_SUBMITTED)
            await world.until(lambda: world.broker.order("k1").state in live, "the order to be found")
            assert refs(world) == ["k1"]
            assert world.wire.count(f"POST /iserver/account/{ACCOUNT}/orders") == 1
            assert world.client.is_healthy

    virtually(story())


def test_p01_an_order_cut_off_before_it_was_taken_ends_as_not_sent_by_two_readings() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            world.arm("abort-before")
            placed = await world.broker.place(limit("k1"))
            assert placed.state is OrderState.UNKNOWN
            assert world.broker.in_doubt(AAPL) is not None
            await world.until(lambda: world.broker.order("k1").state is OrderState.NOT_SENT, "its absence", 120)
            assert refs(world) == []
            assert world.wire.count(f"POST /iserver/account/{ACCOUNT}/orders") == 1

    virtually(story())


@pytest.mark.parametrize("when", ["after", "before"])
def test_p02_a_lost_reply_is_unknown_until_the_orders_tell(when: str) -> None:
    async def story() -> None:
        settings = {"confirm": frozenset({"o354"})}
        async with PortalWorld(broker=True, client=settings, questions=("o354",)) as world:
            world.gateway.portal.session.brokerage(OrderDesk).suppressed.clear()
            world.arm("reply-lost", when)
            await world.broker.place(limit("k1"))
            ended = (OrderState.WORKING, OrderState.PRE_SUBMITTED, OrderState.NOT_SENT)
            await world.until(lambda: world.broker.order("k1").state in ended, "the outcome", 120)
            assert refs(world) == (["k1"] if when == "after" else [])
            assert (world.broker.order("k1").state is OrderState.NOT_SENT) is (when == "before")

    virtually(story())


@pytest.mark.parametrize("registry", list(Registry))
def test_a_coid_that_is_taken_means_that_the_order_exists(registry: Registry) -> None:
    async def story() -> None:
        async with PortalWorld(coid_registry=registry) as world:
            await world.client.place(wire_order(1, limit("k1")))
            with pytest.raises(OutcomeUnknown, match="already registered"):
                await world.client.place(wire_order(2, limit("k1")))
            await world.until(lambda: world.listener.restored, "the orders to be compared")
            assert world.listener.errors == []
            assert refs(world) == ["k1"]

    virtually(story())


def test_an_order_that_cannot_leave_is_not_connected_and_nothing_was_sent() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.wire.unreachable = True
            with pytest.raises(NotConnected):
                await world.client.place(wire_order(1, limit("k1")))
            await world.client.place(wire_order(2, limit("r"), transmit=False))
            with pytest.raises(NotConnected):
                await world.client.place(wire_order(3, limit("r-1", side=Side.SELL), parent_id=2))
            assert [(row.order_id, row.effect) for row in world.listener.errors] == [(2, OrderEffect.REJECTED)]
            await world.until(lambda: world.client.state is LinkState.WAITING, "the loss to be noticed")
            world.wire.unreachable = False
            await world.until(lambda: world.client.is_healthy, "the session to be back")
            assert refs(world) == []

    virtually(story())


def test_a_caller_who_leaves_before_anything_left_leaves_no_order() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("delay", "5", "POST /orders")
            first = asyncio.create_task(world.client.place(wire_order(1, limit("k1"))))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(world.client.place(wire_order(2, limit("k2"))))
            await asyncio.sleep(0.1)
            second.cancel()
            first.cancel()
            await asyncio.sleep(20)
            assert refs(world) == ["k1"]
            assert [row.order_id for row in world.listener.errors] == [2]
            assert any(row.key == "k1" for row in world.listener.orders)

    virtually(story())


def test_a_disconnect_waits_for_the_answer_to_what_has_left_and_lets_nothing_else_leave() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("delay", "5", "POST /orders")
            first = asyncio.create_task(world.client.place(wire_order(1, limit("k1"))))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(world.client.place(wire_order(2, limit("k2"))))
            await asyncio.sleep(0.1)
            begun = asyncio.get_running_loop().time()
            await world.client.disconnect()
            assert 4 < asyncio.get_running_loop().time() - begun < 6
            await first
            with pytest.raises(NotConnected, match="safe to send again"):
                await second
            assert refs(world) == ["k1"]
            assert [row.order_id for row in world.listener.statuses] == [1]
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await world.client.connect()
            await world.client.place(wire_order(3, limit("k3")))
            assert refs(world) == ["k1", "k3"]

    virtually(story())


# Warmth and executions


def test_p08_cold_lists_are_warmed_before_they_are_believed() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            await world.client.place(wire_order(1, limit("k1")))
            await world.client.place(wire_order(2, limit("k2", price="270")))
            await world.until(lambda: world.listener.fills, "the fill")
            world.arm("cold")
            assert [row.key for row in await world.client.open_orders()] == ["k1"]
            assert [row.key for row in await world.client.completed_orders()] == ["k2"]
            assert {row.order_key for row in await world.client.executions()} == {"k2"}

    virtually(story())


def test_completed_orders_come_from_the_reading_of_the_open_ones() -> None:
    async def story() -> None:
        async with PortalWorld(paced=True) as world:
            await asyncio.sleep(10)
            begun = world.wire.count("GET /iserver/account/orders")
            await world.client.open_orders()
            await world.client.completed_orders()
            assert world.wire.count("GET /iserver/account/orders") == begun + 1

    virtually(story())


def test_p13_partial_fills_are_booked_by_execution_and_commissions_follow() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True, cash=10**6) as world:
            placed = await world.broker.place(limit("k1", 500, "270"))
            for _ in range(20):
                world.advance(30)
                await asyncio.sleep(1)
            done = await world.broker.wait(placed.key, 5)
            fills = world.broker.fills()
            assert sum(fill.quantity for fill in fills) == done.filled == 500
            assert len({fill.exec_id for fill in fills}) == len(fills)
            await world.until(lambda: world.broker.order("k1").commission is not None, "the commission")

    virtually(story())


def test_without_a_stream_orders_and_fills_are_polled() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            await world.broker.place(limit("k1"))
            world.arm("drop-streams")
            world.client._session.stream.open = _refuse  # type: ignore[method-assign, assignment]
            await world.until(lambda: not world.client.stream_is_open, "the stream to end")
            placed = await world.broker.place(limit("k2", price="270"))
            await world.until(lambda: world.broker.order("k2").state is OrderState.FILLED, "the fill by polling")
            assert placed.key == "k2"
            assert sum(fill.quantity for fill in world.broker.fills()) == 10

    virtually(story())


async def _refuse(session_id: str) -> None:
    raise NotSent("no stream")


def test_a_fill_while_the_stream_is_down_is_told_once_when_it_is_back() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True, client={"poll_every": 1_000.0, "first_wait": 5.0}) as world:
            placed = await world.broker.place(limit("k1", price="264"))
            await world.client.settled()
            world.arm("drop-streams")
            await world.until(lambda: not world.client.stream_is_open, "the stream to end")
            await world.broker.modify("k1", OrderChange(limit_price=D(270)))
            await world.until(lambda: world.client.stream_is_open, "the stream to be back")
            done = await world.broker.wait(placed.key, 20)
            assert (done.state, done.filled) == (OrderState.FILLED, D(10))
            assert len(world.broker.fills()) == 1

    virtually(story())


def test_a_restarted_process_finds_its_orders_by_reference_and_can_cancel_them() -> None:
    async def story() -> None:
        journal = Journal(":memory:", now=lambda: START)
        world = PortalWorld(broker=True, journal=journal)
        await world.broker.connect()
        await world.broker.place(limit("k1"))
        bracket = Bracket(limit("root", price="251"), stop_price=D(240), target_price=D(300))
        await world.broker.place(bracket)
        await world.broker.disconnect()
        again = PortalWorld(broker=True, journal=journal, gateway=world.gateway)
        await again.broker.connect()
        keys = ["k1", *(leg_key("root", number) for number in (0, 1, 2))]
        assert {key: again.broker.order(key).state.may_be_live for key in keys} == dict.fromkeys(keys, True)
        assert not [row for row in again.broker.open_orders() if row.foreign]
        changed = await again.broker.modify("k1", OrderChange(limit_price=D(249)))
        assert changed.intent.limit_price == 249
        for key in keys:
            await again.broker.cancel(key)
        await again.until(lambda: not world.exchange.open_orders(), "the cancels")
        await again.broker.disconnect()
        journal.close()

    virtually(story())


def test_orders_of_others_are_told_as_foreign() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            other = PortalWorld(gateway=world.gateway)
            await other.client.connect()
            await other.client.place(wire_order(1, limit("theirs")))
            await world.until(lambda: world.listener.orders, "the order of the other client")
            told = world.listener.orders[-1]
            assert (told.key, told.order_id, told.client_id) == ("theirs", 0, -1)
            await other.client.disconnect()

    virtually(story())


def test_what_if_tells_margin_and_commission_and_places_nothing() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            answer = await world.client.what_if(wire_order(1, limit("k1", 100)))
            assert answer.commission == D(1)
            assert answer.initial_margin_change is not None
            assert answer.initial_margin_change > 0
            assert answer.excess_liquidity_after is not None
            assert refs(world) == []

    virtually(story())


def test_o49_the_ticket_s_preset_is_no_lot() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            (details,) = await world.client.contract_details(Instrument("AAPL"))
            assert (details.min_size, details.size_increment) == (1, 1)
            assert details.instrument.con_id == AAPL.con_id
            assert details.increments[0].increment == D("0.01")
            assert "TRAIL" not in details.order_types

    virtually(story())


def test_the_lists_of_two_accounts_are_read_one_by_one_and_told_once() -> None:
    async def story() -> None:
        accounts = tuple(AccountSettings(f"DU000000{number}", D(100_000)) for number in (1, 2))
        gateway = Gateway(
            GatewaySettings(
                clock=ClockMode.CONTROL,
                portal=DoorSettings(port=None, requests_per_second=0),
                exchange=ExchangeSettings(accounts=accounts),
            ),
            prices=FlatPrices({"AAPL": 265.0}, calendar_for(), START),
            monotonic=asyncio.get_running_loop().time,
        )
        async with PortalWorld(gateway=gateway) as world:
            first, second = world.client.accounts()
            await world.client.place(wire_order(1, limit("k1")))
            await world.client.place(replace(wire_order(2, limit("k2", price="270")), account=second))
            assert {row.key: row.account for row in await world.client.open_orders()} == {"k1": first}
            assert {row.key: row.account for row in await world.client.completed_orders()} == {"k2": second}
            assert [(row.account, row.quantity) for row in await world.client.executions()] == [(second, D(10))]
            assert [(row.account, row.quantity) for row in await world.client.positions()] == [(second, D(10))]
            await world.client.cancel_everything()
            assert world.exchange.open_orders() == []

    virtually(story())
