"""Promises Q2, Q4, Q6, Q9 and Q16 over real sockets: one order per key, told once, never in doubt by a timer."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import OrderType, Side, TimeInForce, new_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import OrderEventKind
from moondev_ibkr.brokers.errors import KeyConflict, MismatchDetected, RiskRefusal
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.orders import OrderSettings

from .adapter_world import QUICK, WIDE, adapter_world, buy
from .wire_tap import wire_tap

KEY = "decided-once"


async def successor(world, journal, *, client_id=7):
    """A process that starts after the adapter of `world` is gone, on the same journal."""
    client = IbAsyncClient(replace(QUICK, port=world.gateway.tws_port, client_id=client_id), clock=world.clock)
    orders = OrderSettings(quiet_time=0.2, retry_delay=0.05)
    adapter = IBAdapter(client, journal=journal, policy=WIDE, clock=world.clock, orders=orders)
    await adapter.connect()
    return adapter


def seconds_by_hand(world):
    """The monotonic clock of the world's deadlines, moved by the story."""
    now = [1000.0]
    world.clock._monotonic = lambda: now[0]
    return now


# Q2


@pytest.mark.parametrize(
    "other",
    [
        {"quantity": Decimal(11)},
        {"side": Side.SELL},
        {"limit_price": Decimal("140.01")},
        {"type": OrderType.STOP_LIMIT, "stop_price": Decimal(150)},
        {"tif": TimeInForce.GTC},
        {"outside_rth": True},
        {"oca_group": "another"},
        {"reduce_only": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_q2_a_key_means_one_order_over_a_restart_and_a_week(other, tmp_path):
    async with adapter_world() as world:
        journal = Journal(tmp_path / "journal.sqlite", now=world.clock.now)
        await world.adapter.disconnect()
        first = await successor(world, journal)
        await first.quote("AAPL")
        asked = buy(limit=140, key=KEY)
        order = await first.place(asked)
        await first.disconnect()
        journal.close()

        await world.gateway.advance_to(world.gateway.now + timedelta(days=8))
        journal = Journal(tmp_path / "journal.sqlite", now=world.clock.now)
        second = await successor(world, journal)
        with wire_tap(world.gateway) as tap:
            again = await second.place(asked)
            with pytest.raises(KeyConflict):
                await second.place(replace(asked, **other))
            await second.market_time()
            assert tap.count("placeOrder") == 0
        assert (again.order_id, again.perm_id) == (order.order_id, order.perm_id)
        await second.disconnect()
        journal.close()


async def test_q2_two_tasks_with_one_key_send_one_order():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        asked = buy(limit=140, key=KEY)
        with wire_tap(world.gateway) as tap:
            orders = await asyncio.gather(*(world.adapter.place(asked) for _ in range(5)))
            assert tap.count("placeOrder") == 1
        assert len({order.order_id for order in orders}) == 1


# Q4, and the three seconds of an order that nobody answers


async def test_o01_an_unacknowledged_order_is_noticed_in_three_seconds():
    async with adapter_world(connect=False) as world:
        now = seconds_by_hand(world)
        await world.adapter.connect()
        await world.advance(60)
        await world.adapter.quote("AAPL")
        events = world.adapter.order_events()
        world.arm("drop-ack")
        placing = asyncio.ensure_future(world.adapter.place(buy(limit=140, key=KEY)))
        await world.until(lambda: world.gateway.exchange.open_orders(), "the order to arrive")
        now[0] += 2.99
        world.adapter.manager.check_deadlines()
        assert world.adapter.order(KEY).state is OrderState.SENT
        now[0] += 0.01
        world.adapter.manager.check_deadlines()
        assert world.adapter.order(KEY).state is OrderState.UNKNOWN
        assert (await placing).key == KEY
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(buy(1, limit=141))
        assert refused.value.rule == "in_doubt"
        await world.until(lambda: world.adapter.order(KEY).state is OrderState.WORKING, "the queries to show it")
        await events.aclose()
        told = [event async for event in events if event.order is not None and event.order.key == KEY]
        assert OrderEventKind.ALARM in {event.kind for event in told}
        assert len(world.gateway.exchange.open_orders()) == 1


async def test_o02_q4_an_order_that_arrives_late_is_never_called_dead_by_a_timer():
    async with adapter_world(connect=False) as world:
        now = seconds_by_hand(world)
        await world.adapter.connect()
        await world.advance(60)
        await world.adapter.quote("AAPL")
        world.arm("late-order", "20")
        with wire_tap(world.gateway) as tap:
            placing = asyncio.ensure_future(world.adapter.place(buy(limit=140, key=KEY)))
            await world.until(lambda: tap.count("placeOrder"), "the bytes to arrive")
            now[0] += 3
            world.adapter.manager.check_deadlines()
            assert (await placing).state is OrderState.UNKNOWN
            for _ in range(5):
                now[0] += 60
                await world.adapter.reconcile()
                assert world.adapter.order(KEY).state is OrderState.UNKNOWN, (
                    "nobody has seen it, and that proves nothing"
                )
            await world.advance(21)
            await world.until(lambda: world.adapter.order(KEY).state is OrderState.WORKING, "the order to turn up")
        assert len(world.gateway.exchange.open_orders()) == 1


@pytest.mark.parametrize(("fault", "arrived"), [("reset-after-order", True), ("reset-before-order", False)])
async def test_o01_a_link_that_dies_with_the_order_leaves_it_unknown_until_two_readings(fault, arrived):
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        world.arm(fault)
        order = await world.adapter.place(buy(limit=140, key=KEY))
        assert order.state is OrderState.UNKNOWN
        ended = OrderState.WORKING if arrived else OrderState.NOT_SENT
        await world.until(lambda: world.adapter.order(KEY).state is ended, f"{ended}")
        assert len(world.gateway.exchange.open_orders()) == int(arrived)


# Q6


async def test_q6_what_a_dropped_link_missed_is_told_once_within_five_seconds():
    async with adapter_world() as world:
        await world.adapter.quote("AAPL")
        filled = await world.adapter.place(buy(limit=142))
        cancelled = await world.adapter.place(buy(limit=120))
        events = world.adapter.order_events()
        world.arm("eof-on-connect")
        world.arm("reset")
        await world.until(lambda: world.count(LinkEventKind.LOST), "the link to be lost")
        world.gateway.exchange.cancel_perm(cancelled.perm_id)
        await world.gateway.advance_to(world.gateway.now + timedelta(hours=6))
        assert world.gateway.exchange.positions()[0].quantity == 10
        loop = asyncio.get_running_loop()
        world.release("eof-on-connect")
        await world.until_restored()
        back = loop.time()
        await world.until(lambda: world.adapter.order(filled.key).state is OrderState.FILLED, "the fill", 5)
        await world.until(lambda: world.adapter.order(cancelled.key).state is OrderState.CANCELLED, "the cancel", 5)
        assert loop.time() - back <= 5
        await world.adapter.reconcile()
        await events.aclose()
        told = [event async for event in events]
        fills = [event for event in told if event.kind is OrderEventKind.FILL]
        ends = [event for event in told if event.order is not None and event.order.state is OrderState.CANCELLED]
        assert [(event.fill.quantity, event.recovered) for event in fills] == [(10, True)]
        assert [(event.order.key, event.recovered) for event in ends] == [(cancelled.key, True)]


async def test_c01_q6_a_batch_that_fills_at_the_open_inside_a_1100_window():
    """Five orders for the opening auction, and 1100 over it: the incident of Lean's issue 249."""
    policy = replace(WIDE, max_quote_age=timedelta(days=4))
    async with adapter_world(policy=policy) as world:
        await world.adapter.quote("AAPL")
        await world.advance(8 * 3600)
        await world.gateway.advance_to(world.gateway.next_session().open - timedelta(minutes=20))
        await world.adapter.market_time()
        limit = round((await world.adapter.quote("AAPL")).last * 1.15, 2)
        asked = [buy(quantity, limit=limit, tif=TimeInForce.OPG) for quantity in (1, 2, 3, 4, 5)]
        placed = [await world.adapter.place(order) for order in asked]
        events = world.adapter.order_events()
        world.arm("1100")
        await world.gateway.advance_to(world.gateway.next_session().open + timedelta(minutes=5))
        assert world.gateway.exchange.positions()[0].quantity == 15
        assert all(world.adapter.order(order.key).filled == 0 for order in placed)
        world.arm("1102")
        for order in placed:
            await world.until(lambda key=order.key: world.adapter.order(key).state is OrderState.FILLED, "the fill", 5)
        await events.aclose()
        fills = [event async for event in events if event.kind is OrderEventKind.FILL]
        assert sorted(event.fill.quantity for event in fills) == [1, 2, 3, 4, 5]
        assert all(event.recovered for event in fills)


# Q9


async def test_o32_q9_an_echo_of_another_contract_halts_the_symbol_over_a_restart(tmp_path):
    async with adapter_world() as world:
        journal = Journal(tmp_path / "journal.sqlite", now=world.clock.now)
        await world.adapter.disconnect()
        first = await successor(world, journal)
        await first.quote("AAPL")
        world.arm("wrong-echo")
        with pytest.raises(MismatchDetected):
            await first.place(buy(limit=140, key=KEY))
        await first.disconnect()

        second = await successor(world, journal)
        await second.quote("AAPL")
        with wire_tap(world.gateway) as tap:
            with pytest.raises(RiskRefusal) as refused:
                await second.place(buy(1, limit=141))
            await second.market_time()
            assert refused.value.rule == "in_doubt"
            assert tap.count("placeOrder") == 0
        assert (await second.cancel(KEY)).state is OrderState.CANCELLED
        await second.resume()
        assert (await second.place(buy(1, limit=141))).state is OrderState.WORKING
        await second.disconnect()
        journal.close()


# Q16


@pytest.mark.parametrize("end", ["live", "over"])
async def test_c11_q16_order_ids_rise_although_the_gateway_was_restarted_and_counts_back(tmp_path, end):
    """Live orders show the ids that are taken; of those that ended days ago only the journal knows."""
    async with adapter_world() as world:
        journal = Journal(tmp_path / "journal.sqlite", now=world.clock.now)
        await world.adapter.disconnect()
        used = []
        for back in ("1", "3", "100"):
            adapter = await successor(world, journal)
            await adapter.quote("AAPL")
            orders = [await adapter.place(buy(1, limit=round((await adapter.quote("AAPL")).bid * 0.9, 2)))]
            orders.append(await adapter.place(replace(orders[0].intent, key=new_key())))
            used += [order.order_id for order in orders]
            if end == "over":
                for order in orders:
                    await adapter.cancel(order.key)
            await adapter.disconnect()
            world.arm("next-id-back", back)
            if end == "over":
                await world.gateway.advance_to(world.gateway.now + timedelta(days=3))
        assert used == sorted(set(used))
        journal.close()
