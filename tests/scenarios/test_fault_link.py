"""Faults of the link and of market data that no other story of the adapter plays, and the table that names them all."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from moondev_ibkr.brokers.domain.market_data import Depth, StreamKind
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError, ConnectFailed, RiskRefusal
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind, LinkState
from moondev_ibkr.brokers.simulation.fault_table import FAULTS
from moondev_ibkr.brokers.simulation.faults import Place

from .adapter_world import QUICK, WIDE, adapter_world, buy
from .wire_tap import wire_tap

#: Silence is noticed in less than a second.
HASTY = replace(QUICK, handshake_deadline=0.5, idle_before_probe=0.3, probe_deadline=0.3, watch_every=0.05)


def test_every_scripted_fault_of_the_tws_door_is_played_to_the_adapter():
    stories = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    ours = [name for name, fault in FAULTS.items() if fault.place is not Place.PORTAL]
    assert [name for name in ours if f'"{name}"' not in stories] == []


@pytest.mark.parametrize(("fault", "argument"), [("split", None), ("delay", "0.02")])
async def test_c17_orders_live_on_a_link_that_delivers_in_pieces_and_late(fault, argument):
    async with adapter_world() as world:
        world.arm(fault, *([argument] if argument else []))
        await world.adapter.quote("AAPL")
        done = await world.adapter.wait((await world.adapter.place(buy())).key, 3)
        assert done.state is OrderState.FILLED
        assert await world.adapter.reconcile() == []
        assert world.count(LinkEventKind.LOST) == 0


async def test_c16_a_message_that_stops_in_the_middle_costs_the_link_and_nothing_else():
    async with adapter_world(settings=HASTY) as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(limit=140))
        world.arm("partial-frame")
        asking = asyncio.ensure_future(world.client.open_orders())
        await world.until(lambda: world.count(LinkEventKind.LOST), "the silence to be noticed")
        with pytest.raises(BrokerError):
            await asking
        world.release("partial-frame")
        await world.until_restored()
        assert world.adapter.order(order.key).state is OrderState.WORKING
        assert len(await world.client.open_orders()) == 1


@pytest.mark.parametrize("fault", ["no-accounts", "no-next-id"])
async def test_c08_half_a_greeting_is_no_session(fault):
    async with adapter_world(connect=False, settings=HASTY) as world:
        world.arm(fault)
        with pytest.raises(ConnectFailed) as failed:
            await world.adapter.connect()
        assert failed.value.kind in ("no_handshake", "account")
        await world.until(lambda: not world.gateway.door.sessions, "the socket to be closed")
        await world.adapter.connect()
        assert world.client.is_healthy


async def test_o02_a_swallowed_order_stays_unknown_and_is_never_sent_again():
    async with adapter_world(connect=False) as world:
        now = [1000.0]
        world.clock._monotonic = lambda: now[0]
        await world.adapter.connect()
        await world.advance(60)
        await world.adapter.quote("AAPL")
        world.arm("swallow-order")
        with wire_tap(world.gateway) as tap:
            placing = asyncio.ensure_future(world.adapter.place(buy(limit=140, key="swallowed")))
            await world.until(tap.orders, "the bytes to arrive")
            now[0] += 3
            world.adapter.manager.check_deadlines()
            assert (await placing).state is OrderState.UNKNOWN
            now[0] += 600
            await world.adapter.reconcile()
            assert world.adapter.order("swallowed").state is OrderState.UNKNOWN
            world.arm("reset")
            await world.until_restored()
            # a reading of the link's own may be under way: this one is whole, and the next is apart from it
            await world.adapter.reconcile()
            now[0] += 1
            await world.adapter.reconcile()
            state = world.adapter.order("swallowed").state
            assert state is OrderState.NOT_SENT, "two readings on a later link, quiet time apart, do not show it"
            assert len(tap.orders()) == 1


async def test_d01_a_competing_session_opens_nothing_on_old_quotes():
    policy = replace(WIDE, max_quote_age=timedelta(seconds=30))
    async with adapter_world(policy=policy) as world:
        await world.adapter.quote("AAPL")
        world.arm("competing-session")
        await world.advance(120)
        with wire_tap(world.gateway) as tap:
            with pytest.raises(RiskRefusal) as refused:
                await world.adapter.place(buy(limit=140))
            assert refused.value.rule == "fresh_quote"
            await world.client.market_time()
            assert tap.orders() == []
        assert world.client.is_healthy


async def test_d05_no_permission_is_told_and_the_link_lives():
    async with adapter_world() as world:
        world.arm("no-market-data")
        with pytest.raises(BrokerError) as failed:
            await world.adapter.quote("MSFT")
        assert "354" in str(failed.value) or failed.value.data.get("code") == 354
        world.release("no-market-data")
        assert (await world.adapter.quote("MSFT")).bid > 0


async def test_d11_a_depth_reset_empties_the_book():
    async with adapter_world() as world:
        depth = world.adapter.stream(["AAPL"], [StreamKind.DEPTH])
        first = asyncio.ensure_future(anext(depth))
        await world.until(lambda: world.client._market._streams, "the subscription")
        await world.advance(3600)
        assert isinstance(await asyncio.wait_for(first, 3), Depth)
        world.arm("depth-reset")
        await world.advance(3600)
        async with asyncio.timeout(3):
            book = await anext(depth)
        assert all(bid.price > 0 for bid in book.bids)
        assert not book.bids or not book.asks or book.bids[0].price < book.asks[0].price
        await depth.aclose()


@pytest.mark.parametrize(("down", "up"), [("2103", "2104"), ("2105", "2106"), ("2157", "2158")])
async def test_c03_c04_a_farm_that_is_down_has_a_name_and_orders_go_on(down, up):
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        world.arm(down)
        await world.until(lambda: world.client.farms_down, "the farm to be down")
        assert world.client.is_healthy
        assert (await world.adapter.place(buy(limit=140))).state is OrderState.WORKING
        assert any(not ok for name, ok, _ in world.adapter.health().details if name.startswith("farm"))
        world.arm(up)
        await world.until(lambda: not world.client.farms_down, "the farm to be up")


@pytest.mark.parametrize("fault", [("2107",), ("2108",), ("2119",), ("bulletin", "words"), ("notice", "2100", "words")])
async def test_what_is_only_said_changes_nothing(fault):
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        order = await world.adapter.place(buy(limit=140))
        world.arm(*fault)
        await world.adapter.market_time()
        assert world.client.state is LinkState.READY
        assert not world.client.farms_down
        assert world.adapter.order(order.key).state is OrderState.WORKING
