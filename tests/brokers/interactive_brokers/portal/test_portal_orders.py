"""Orders through the portal client against a paper door in memory: faults O48, O49, Q19 and what the port tells."""

from __future__ import annotations

import asyncio

import pytest
from moondev_ibkr.brokers.domain.order import Bracket, NewOrder, OrderChange, OrderType, Side, TimeInForce, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import BrokerStatus, OrderEffect
from moondev_ibkr.brokers.errors import (
    ConfigurationError,
    ModifyRejected,
    NotConnected,
    NotSupported,
    OrderRejected,
    OutcomeUnknown,
)
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import PortalSettings
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import Ambiguous
from moondev_ibkr.brokers.simulation.portal.orders import OrderDesk
from moondev_ibkr.brokers.simulation.portal.settings import OrderIds, SorFrames

from .rig import AAPL, ACCOUNT, START, D, PortalWorld, limit, virtually, wire_order


def refs(world: PortalWorld) -> list[str]:
    """The references of every order that the exchange ever took."""
    return sorted(row.ticket.order_ref for row in (*world.exchange.open_orders(), *world.exchange.completed_orders()))


# What the port tells


def test_an_order_is_told_with_its_key_its_own_number_and_a_negative_perm_id() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            await world.client.place(wire_order(4, limit("k1")))
            await world.until(lambda: world.listener.orders, "the echo")
            told = world.listener.orders[-1]
            assert (told.key, told.order_id, told.client_id, told.account) == ("k1", 4, 7, ACCOUNT)
            assert told.perm_id < 0
            assert (told.type, told.tif, told.quantity, told.limit_price) == (
                OrderType.LIMIT, TimeInForce.DAY, D(10), D(250),
            )  # fmt: skip
            assert told.status in (BrokerStatus.SUBMITTED, BrokerStatus.PRE_SUBMITTED)
            assert world.client.next_order_id == 5

    virtually(story())


def test_an_order_whose_echo_came_by_the_stream_asks_for_no_list() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            begun = world.wire.count("GET /iserver/account/orders")
            await world.broker.place(limit("k1"))
            await world.broker.modify("k1", OrderChange(limit_price=D(251)))
            await world.broker.cancel("k1")
            await asyncio.sleep(30)
            assert world.wire.count("GET /iserver/account/orders") == begun

    virtually(story())


@pytest.mark.parametrize("frames", list(SorFrames))
@pytest.mark.parametrize("ids", list(OrderIds))
def test_both_readings_of_ids_and_frames_trade_alike(frames: SorFrames, ids: OrderIds) -> None:
    async def story() -> None:
        async with PortalWorld(broker=True, sor_frames=frames, order_ids=ids) as world:
            placed = await world.broker.place(limit("k1", price="270"))
            done = await world.broker.wait(placed.key, 5)
            assert (done.state, done.filled) == (OrderState.FILLED, D(10))
            resting = await world.broker.place(limit("k2", price="250"))
            changed = await world.broker.modify("k2", OrderChange(limit_price=D("251.5"), quantity=D(20)))
            assert (changed.intent.limit_price, changed.intent.quantity) == (D("251.5"), D(20))
            await world.broker.cancel("k2")
            assert (await world.broker.wait(resting.key, 5)).state is OrderState.CANCELLED
            assert world.broker.manager.alarms == 0

    virtually(story())


def test_a_bracket_leaves_in_one_request_and_its_children_carry_no_coid() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            bracket = Bracket(limit("root", price="260"), stop_price=D(240), target_price=D(300))
            await world.broker.place(bracket)
            assert world.wire.count(f"POST /iserver/account/{ACCOUNT}/orders") == 1
            for number in (0, 1, 2):
                order = world.broker.order(leg_key("root", number))
                assert order.state in (OrderState.WORKING, OrderState.PRE_SUBMITTED)
                assert order.perm_id is not None
            assert [row.ticket.order_ref for row in world.exchange.open_orders()] == ["root", "", ""]
            await world.broker.cancel("root")
            for number in (0, 1, 2):
                assert (await world.broker.wait(leg_key("root", number), 5)).state is OrderState.CANCELLED
            assert world.broker.manager.alarms == 0

    virtually(story())


def test_a_bracket_whose_answer_is_lost_is_found_and_taken_back_p01() -> None:
    """The manager cancels an entry whose last leg is in doubt; the children end with it."""

    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            world.arm("abort-after")
            bracket = Bracket(limit("root", price="260"), stop_price=D(240), target_price=D(300))
            await world.broker.place(bracket)
            legs = [leg_key("root", number) for number in (0, 1, 2)]
            await world.until(lambda: all(world.broker.order(key).is_terminal for key in legs), "every leg's end")
            assert {world.broker.order(key).state for key in legs} == {OrderState.CANCELLED}
            assert len({world.broker.order(key).perm_id for key in legs}) == 3
            assert world.exchange.open_orders() == []
            assert world.wire.count(f"POST /iserver/account/{ACCOUNT}/orders") == 1

    virtually(story())


# What this door lacks


@pytest.mark.parametrize(
    "intent",
    [
        NewOrder(AAPL, Side.BUY, D(1), OrderType.TRAIL, trail_amount=D(2)),
        NewOrder(AAPL, Side.BUY, D(1), OrderType.MARKET_ON_CLOSE),
        NewOrder(AAPL, Side.BUY, D(1), OrderType.LIMIT_ON_CLOSE, limit_price=D(100)),
        NewOrder(AAPL, Side.BUY, D(1), OrderType.LIMIT, limit_price=D(100), tif=TimeInForce.GTD, good_till=START),
        NewOrder(AAPL, Side.BUY, D(1), OrderType.LIMIT, limit_price=D(100), oca_group="pair"),
    ],
    ids=["TRAIL", "MOC", "LOC", "GTD", "OCA"],
)
def test_o48_what_the_door_lacks_is_refused_before_the_wire(intent: NewOrder) -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            await world.client.place(wire_order(1, intent))
            assert [(row.order_id, row.code, row.effect) for row in world.listener.errors] == [
                (1, 387, OrderEffect.REJECTED)
            ]
            assert world.wire.count(f"POST /iserver/account/{ACCOUNT}/orders") == 0
            if intent.oca_group is None:
                with pytest.raises(NotSupported):
                    await world.client.what_if(wire_order(2, intent))

    virtually(story())


def test_o48_a_bracket_with_a_leg_that_the_door_lacks_is_refused_whole() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            entry = limit("root")
            trail = NewOrder(AAPL, Side.SELL, D(10), OrderType.TRAIL, trail_amount=D(2), key="root-1")
            await world.client.place(wire_order(1, entry, transmit=False))
            await world.client.place(wire_order(2, trail, transmit=False, parent_id=1))
            await world.client.place(wire_order(3, limit("root-2", side=Side.SELL), parent_id=1))
            assert sorted(row.order_id for row in world.listener.errors) == [1, 2, 3]
            assert refs(world) == []

    virtually(story())


# Questions


def test_q19_a_question_that_is_not_on_the_list_is_answered_no_and_told() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True, questions=("o354",)) as world:
            with pytest.raises(OrderRejected) as refused:
                await world.broker.place(limit("k1"))
            assert "o354" in str(refused.value)
            assert "without market data" in str(refused.value)
            assert refs(world) == []
            assert world.broker.order("k1").state is OrderState.REJECTED

    virtually(story())


def test_q19_a_chain_of_listed_questions_is_answered_yes() -> None:
    async def story() -> None:
        settings = {"confirm": frozenset({"o354", "o403", "p12"})}
        async with PortalWorld(broker=True, questions=("o354", "o403", "p12"), client=settings) as world:
            # suppressed at the beginning of the session; asked all the same once that is undone
            world.gateway.portal.session.brokerage(OrderDesk).suppressed.clear()
            placed = await world.broker.place(limit("k1"))
            assert placed.state in (OrderState.WORKING, OrderState.PRE_SUBMITTED)
            assert world.wire.count("POST /iserver/reply/") == 2
            assert world.wire.count("POST /iserver/notification") == 1
            assert refs(world) == ["k1"]

    virtually(story())


@pytest.mark.parametrize("cap", ["o163", "o383", "o451"])
def test_q19_price_size_and_value_caps_are_never_confirmed(cap: str) -> None:
    with pytest.raises(ConfigurationError):
        PortalSettings(confirm=frozenset({cap}))


def test_q19_an_order_beyond_the_account_s_size_limit_is_refused_with_the_broker_s_words() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True, size_limit=D(5)) as world:
            with pytest.raises(OrderRejected, match="Size Limit"):
                await world.broker.place(limit("k1", 10))
            assert refs(world) == []

    virtually(story())


def test_a_question_about_a_change_that_is_not_confirmed_leaves_the_order_as_it_was() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True, size_limit=D(50)) as world:
            await world.broker.place(limit("k1", 10))
            with pytest.raises(ModifyRejected):
                await world.broker.modify("k1", OrderChange(quantity=D(100)))
            assert world.broker.order("k1").intent.quantity == 10
            assert [row.ticket.quantity for row in world.exchange.open_orders()] == [10]

    virtually(story())


def test_nothing_leaves_between_a_question_and_its_reply() -> None:
    async def story() -> None:
        async with PortalWorld(client={"confirm": frozenset({"o354"})}, questions=("o354",)) as world:
            world.gateway.portal.session.brokerage(OrderDesk).suppressed.clear()
            placing = asyncio.create_task(world.client.place(wire_order(1, limit("k1"))))
            await asyncio.sleep(0.001)
            reads = [asyncio.create_task(world.client.account_summary()) for _ in range(3)]
            second = asyncio.create_task(world.client.place(wire_order(2, limit("k2"))))
            await asyncio.gather(placing, second, *reads)
            names = [name for _, name in world.wire.calls]
            first = names.index(f"POST /iserver/account/{ACCOUNT}/orders")
            assert names[first + 1].startswith("POST /iserver/reply/")
            again = names.index(f"POST /iserver/account/{ACCOUNT}/orders", first + 1)
            assert names[again + 1].startswith("POST /iserver/reply/")
            assert refs(world) == ["k1", "k2"]

    virtually(story())


# Cancels and changes


def test_a_cancel_of_an_order_that_is_done_is_refused_with_its_number() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            await world.client.place(wire_order(1, limit("k1", price="270")))
            await world.until(lambda: world.listener.fills, "the fill")
            await world.client.cancel(1, world.listener.fills[0].perm_id, 7)
            errors = [(row.order_id, row.code, row.effect) for row in world.listener.errors]
            assert errors == [(1, 10148, OrderEffect.CANCEL_REJECTED)]
            await world.client.cancel(99, -12345, 7)
            assert world.listener.errors[-1].code == 10147

    virtually(story())


def test_a_cancel_waits_for_the_answer_to_its_own_order() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("delay", "1", "POST /orders")
            placing = asyncio.create_task(world.client.place(wire_order(1, limit("k1"))))
            await asyncio.sleep(0.1)
            await world.client.cancel(1, None, 7)
            await placing
            await world.until(lambda: not world.exchange.open_orders(), "the cancel")

    virtually(story())


def test_a_cancel_without_a_number_anywhere_is_kept_by_the_manager() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            with pytest.raises(NotConnected):
                await world.client.cancel(99, None, 7)
            with pytest.raises(NotConnected):
                # TWS's own name for an order says nothing here
                await world.client.cancel(99, 1_234_567, 3)

    virtually(story())


def test_cancelling_everything_reaches_orders_of_others() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            for number in (1, 2, 3):
                await world.client.place(wire_order(number, limit(f"k{number}")))
            await world.client.cancel_everything()
            assert world.exchange.open_orders() == []

    virtually(story())


def test_a_nameless_row_is_never_taken_for_an_order_that_left_with_a_reference() -> None:
    """Found by the simulation: a late order was cancelled before the portal knew it, and its neighbour went instead."""

    async def story() -> None:
        async with PortalWorld() as world:
            await world.client.place(wire_order(1, limit("root"), transmit=False))
            await world.client.place(wire_order(2, limit("root-2", price="290", side=Side.SELL), parent_id=1))
            await world.until(lambda: len(world.exchange.open_orders()) == 2, "the bracket")
            real = world.wire.exchange

            async def lose(call):
                if call.path.endswith("/orders") and call.method == "POST":
                    raise Ambiguous("the connection was reset")
                return await real(call)

            world.wire.exchange = lose
            world.client._own.by_portal_id.clear()
            with pytest.raises(OutcomeUnknown):
                await world.client.place(wire_order(3, limit("k3", side=Side.SELL)))
            world.client._own.by_portal_id.clear()
            with pytest.raises(NotConnected, match="no number"):
                await world.client.cancel(3)
            assert len(world.exchange.open_orders()) == 2

    virtually(story())


def test_a_change_of_what_the_portal_does_not_show_changes_nobody_else_s_order() -> None:
    """Found by the simulation: an exit placed through TWS was changed, and the stop of another bracket became it."""

    async def story() -> None:
        async with PortalWorld() as world:
            await world.client.place(wire_order(1, limit("root"), transmit=False))
            await world.client.place(wire_order(2, limit("root-2", price="290", side=Side.SELL), parent_id=1))
            await world.until(lambda: len(world.exchange.open_orders()) == 2, "the bracket")
            world.client._own.by_portal_id.clear()
            with pytest.raises(NotConnected, match="not known"):
                await world.client.modify(wire_order(9, limit("elsewhere", quantity=600, side=Side.SELL)))
            assert all(row.ticket.quantity == 10 for row in world.exchange.open_orders())

    virtually(story())
