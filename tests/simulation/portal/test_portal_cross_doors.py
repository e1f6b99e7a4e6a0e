"""One order seen through both doors: the portal by aiohttp over TLS, TWS by stock ib_async over its socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ib_async import IB, LimitOrder, MarketOrder, Stock, StopOrder, Trade
from moondev_ibkr.brokers.domain.order import OrderType, Side
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.portal.request import Answer
from moondev_ibkr.brokers.simulation.portal.settings import Visibility
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

from ..exchange_fakes import D
from .orders import ORDERS, live, place, placed, ticket
from .rig import ACCOUNT, Rig
from .sockets import Client, client_of, serving, until

AAPL = Stock("AAPL", "SMART", "USD", conId=265598)


@asynccontextmanager
async def doors(client_id: int = 1, **settings: Any) -> AsyncIterator[tuple[Gateway, Client, IB]]:
    """A gateway with both doors open, a portal client that has asked for the accounts, and an ib_async client."""
    async with serving(**settings) as gateway, client_of(gateway) as portal:
        await portal.get("/iserver/accounts")
        ib = IB()
        await ib.connectAsync("127.0.0.1", gateway.tws_port, clientId=client_id, timeout=5, raiseSyncErrors=True)
        try:
            yield gateway, portal, ib
        finally:
            ib.disconnect()
            await asyncio.sleep(0)


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.002)


async def send(portal: Client, *tickets: dict[str, Any]) -> int:
    """The order id of the first one; every question is answered with yes."""
    _, rows = await portal.post(ORDERS, {"orders": list(tickets)})
    while "id" in rows[0]:
        _, rows = await portal.post(f"/iserver/reply/{rows[0]['id']}", {"confirmed": True})
    return int(rows[0]["order_id"])


async def orders_of(portal: Client) -> list[dict[str, Any]]:
    await portal.get("/iserver/account/orders?force=true")
    return list((await portal.get("/iserver/account/orders"))[1]["orders"])


async def trades_of(portal: Client) -> list[dict[str, Any]]:
    await portal.get("/iserver/account/trades")
    return list((await portal.get("/iserver/account/trades"))[1])


async def open_trades(ib: IB) -> list[Trade]:
    return list(await ib.reqAllOpenOrdersAsync())


# what each door shows of the other


async def test_a_portal_order_is_seen_at_tws_with_its_reference() -> None:
    async with doors() as (gateway, portal, ib):
        await send(portal, ticket(cOID="key-1", quantity=7))
        (trade,) = await open_trades(ib)
        view = gateway.exchange.open_orders()[0]
        order = trade.order
        assert (order.orderRef, order.totalQuantity, order.lmtPrice, order.tif) == ("key-1", 7, 260, "DAY")
        assert (order.permId, order.clientId, order.orderId) == (view.perm_id, 0, view.order_id)
        assert order.orderId < 0
        assert trade.contract.symbol == "AAPL"


async def test_a_tws_order_is_seen_at_the_portal_with_its_reference() -> None:
    async with doors() as (_, portal, ib):
        trade = ib.placeOrder(AAPL, LimitOrder("BUY", 7, 260, orderRef="key-2", tif="GTC"))
        await eventually(lambda: trade.orderStatus.status == "Submitted")
        (row,) = await orders_of(portal)
        assert (row["order_ref"], row["totalSize"], row["price"], row["timeInForce"]) == ("key-2", 7.0, "260.00", "GTC")
        assert row["status"] == "Submitted"


async def test_every_kind_of_tws_order_can_be_told_at_the_portal() -> None:
    async with doors() as (_, portal, ib):
        stop = ib.placeOrder(AAPL, StopOrder("SELL", 3, 250))
        await eventually(lambda: stop.orderStatus.status == "PreSubmitted")
        (row,) = await orders_of(portal)
        assert (row["orderType"], row["price"], row["auxPrice"]) == ("Stop", "250.00", "250.00")
        assert "order_ref" not in row


async def test_fills_and_positions_are_the_same_at_both_doors() -> None:
    async with doors() as (gateway, portal, ib):
        trade = ib.placeOrder(AAPL, MarketOrder("BUY", 10, orderRef="key-tws"))
        await eventually(lambda: trade.isDone())
        await send(portal, ticket("MKT", "SELL", quantity=4, cOID="key-portal"))
        fills = await ib.reqExecutionsAsync()
        rows = await trades_of(portal)
        at_tws = [
            (fill.execution.execId, fill.execution.orderRef, fill.execution.shares, fill.execution.price)
            for fill in fills
        ]
        at_portal = [(row["execution_id"], row["order_ref"], row["size"], float(row["price"])) for row in rows]
        assert at_tws == at_portal
        assert [row["order_ref"] for row in rows] == ["key-tws", "key-portal"]
        fees = {fill.execution.execId: fill.commissionReport.commission for fill in ib.fills()}
        assert {row["execution_id"]: float(row["commission"]) for row in rows} == pytest.approx(fees)
        await portal.get("/portfolio/accounts")
        _, positions = await portal.get(f"/portfolio/{ACCOUNT}/positions/0")
        (held,) = await ib.reqPositionsAsync()
        assert positions[0]["position"] == held.position == 6
        assert positions[0]["avgCost"] == pytest.approx(held.avgCost)
        assert gateway.exchange.positions()[0].quantity == 6


async def test_balances_are_the_same_at_both_doors() -> None:
    async with doors() as (_, portal, ib):
        await send(portal, ticket("MKT", quantity=10))
        await portal.get("/portfolio/accounts")
        _, summary = await portal.get(f"/portfolio/{ACCOUNT}/summary")
        values = {row.tag.lower(): row.value for row in await ib.accountSummaryAsync() if row.currency == "USD"}
        shared = set(summary) & set(values)
        assert {"netliquidation", "totalcashvalue", "initmarginreq"} <= shared
        for name in shared:
            assert summary[name]["amount"] == pytest.approx(float(values[name]), abs=0.006), name


async def test_both_doors_hear_of_a_fill_as_it_happens() -> None:
    async with doors(client_id=0) as (_, portal, ib):
        stream = await portal.stream()
        await until(stream, "sts")
        await stream.send_str('str+{"realtimeUpdatesOnly":true}')
        await stream.send_str("sor+{}")
        await until(stream, "sor")
        await send(portal, ticket("MKT", quantity=2, cOID="key-1"))
        await eventually(lambda: [fill.execution.orderRef for fill in ib.fills()] == ["key-1"])
        assert (await until(stream, "str"))["args"][0]["execution_id"] == ib.fills()[0].execution.execId
        ib.placeOrder(AAPL, MarketOrder("SELL", 2, orderRef="key-2"))
        assert (await until(stream, "str"))["args"][0]["order_ref"] == "key-2"
        await stream.close()


async def test_a_finished_portal_order_is_among_tws_completed_orders() -> None:
    async with doors() as (_, portal, ib):
        number = await send(portal, ticket(cOID="key-1"))
        await portal.ask("DELETE", f"/iserver/account/{ACCOUNT}/order/{number}")
        everything = await ib.reqCompletedOrdersAsync(apiOnly=False)
        assert [trade.order.orderRef for trade in everything] == ["key-1"]
        assert await ib.reqCompletedOrdersAsync(apiOnly=True) == []


# who may cancel what


async def test_the_portal_cancels_an_order_of_a_tws_client_and_its_owner_hears_of_it() -> None:
    async with doors() as (_, portal, ib):
        trade = ib.placeOrder(AAPL, LimitOrder("BUY", 7, 260))
        await eventually(lambda: trade.orderStatus.status == "Submitted")
        (row,) = await orders_of(portal)
        await portal.ask("DELETE", f"/iserver/account/{ACCOUNT}/order/{row['orderId']}")
        await eventually(lambda: trade.orderStatus.status == "Cancelled")


async def test_the_portal_changes_an_order_of_a_tws_client_and_its_owner_hears_of_it() -> None:
    async with doors() as (gateway, portal, ib):
        trade = ib.placeOrder(AAPL, LimitOrder("BUY", 7, 260, orderRef="key-1"))
        await eventually(lambda: trade.orderStatus.status == "Submitted")
        (row,) = await orders_of(portal)
        path = f"/iserver/account/{ACCOUNT}/order/{row['orderId']}"
        _, changed = await portal.post(path, ticket(quantity=7, price=261))
        assert changed[0]["order_id"] == str(row["orderId"])
        await eventually(lambda: trade.order.lmtPrice == 261)
        assert gateway.exchange.open_orders()[0].ticket.order_ref == "key-1"


async def test_client_zero_cancels_a_portal_order_and_another_client_cannot() -> None:
    async with doors(client_id=3) as (gateway, portal, ib):
        await send(portal, ticket(cOID="key-1"))
        (trade,) = await open_trades(ib)
        codes: list[int] = []
        ib.errorEvent += lambda number, code, text, contract: codes.append(code)
        ib.cancelOrder(trade.order)
        await eventually(lambda: 10147 in codes)
        assert gateway.exchange.open_orders()
    async with doors(client_id=0) as (gateway, portal, ib):
        await send(portal, ticket(cOID="key-1"))
        (trade,) = await open_trades(ib)
        ib.cancelOrder(trade.order)
        await eventually(lambda: not gateway.exchange.open_orders())


async def test_client_zero_changes_a_portal_order_and_makes_no_second_one() -> None:
    async with doors(client_id=0) as (gateway, portal, ib):
        await send(portal, ticket(cOID="key-1"))
        (trade,) = await open_trades(ib)
        trade.order.lmtPrice = 261
        ib.placeOrder(AAPL, trade.order)
        await eventually(lambda: gateway.exchange.open_orders()[0].ticket.limit_price == 261)
        (view,) = gateway.exchange.open_orders()
        assert view.ticket.order_ref == "key-1"
        assert (await orders_of(portal))[0]["price"] == "261.00"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (ticket("STP", "SELL", price=250), ("STP", 0.0, 250.0)),
        (ticket("STOP_LIMIT", "SELL", price=249, auxPrice=250), ("STP LMT", 249.0, 250.0)),
        (ticket("LIMIT", price=260), ("LMT", 260.0, 0.0)),
        (ticket("TRAIL", "SELL", trailingAmt=2, trailingType="amt"), ("TRAIL", 0.0, 2.0)),
    ],
)
async def test_tws_tells_a_portal_order_in_its_own_words(body: dict[str, Any], words: tuple[str, float, float]) -> None:
    async with doors() as (_, portal, ib):
        await send(portal, body)
        (trade,) = await open_trades(ib)
        unset = 1.7976931348623157e308
        prices = [0.0 if value == unset else value for value in (trade.order.lmtPrice, trade.order.auxPrice)]
        assert (trade.order.orderType, *prices) == words


async def test_a_global_cancel_reaches_both_doors() -> None:
    async with doors() as (gateway, portal, ib):
        await send(portal, ticket())
        trade = ib.placeOrder(AAPL, LimitOrder("BUY", 7, 260))
        await eventually(lambda: trade.orderStatus.status == "Submitted")
        ib.reqGlobalCancel()
        await eventually(lambda: not gateway.exchange.open_orders())


# the other reading of the open questions


async def test_with_no_visibility_each_door_sees_its_own_orders_alone() -> None:
    async with doors(client_id=0, cross_visibility=Visibility.NONE) as (gateway, portal, ib):
        await send(portal, ticket("MKT", cOID="key-portal"))
        await send(portal, ticket(cOID="key-rests"))
        trade = ib.placeOrder(AAPL, MarketOrder("BUY", 3, orderRef="key-tws"))
        await eventually(lambda: trade.isDone())
        resting = ib.placeOrder(AAPL, LimitOrder("BUY", 7, 260, orderRef="key-tws-rests"))
        await eventually(lambda: resting.orderStatus.status == "Submitted")
        assert {one.order.orderRef for one in await open_trades(ib)} == {"key-tws-rests"}
        assert {fill.execution.orderRef for fill in await ib.reqExecutionsAsync()} == {"key-tws"}
        assert {one.order.orderRef for one in await ib.reqCompletedOrdersAsync(apiOnly=False)} == {"key-tws"}
        assert {row["order_ref"] for row in await orders_of(portal)} == {"key-portal", "key-rests"}
        assert {row["order_ref"] for row in await trades_of(portal)} == {"key-portal"}
        await portal.get("/portfolio/accounts")
        assert (await portal.get(f"/portfolio/{ACCOUNT}/positions/0"))[1][0]["position"] == 8
        ib.reqGlobalCancel()
        await eventually(lambda: resting.orderStatus.status == "Cancelled")
        assert [view.ticket.order_ref for view in gateway.exchange.open_orders()] == ["key-rests"]
        ib.placeOrder(AAPL, LimitOrder("BUY", 7, 260, orderRef="key-last"))
        await eventually(lambda: len(gateway.exchange.open_orders()) == 2)
        await portal.ask("DELETE", f"/iserver/account/{ACCOUNT}/order/-1")
        assert [view.ticket.order_ref for view in gateway.exchange.open_orders()] == ["key-last"]


def foreign(rig: Rig) -> str:
    """A resting order from outside the portal; its number there."""
    rig.exchange.place(OrderTicket(5, 1, 265598, Side.BUY, D(7), OrderType.LIMIT, limit_price=D(260), order_ref="tws"))
    return str(next(row["orderId"] for row in live(rig) if row.get("order_ref") == "tws"))


def test_orders_that_are_seen_need_not_be_touchable() -> None:
    rig = Rig(cross_cancel=False)
    number = foreign(rig)
    gone = {"error": f"OrderID {number} doesn't exist"}
    assert rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}").body == gone
    assert rig.post(f"/iserver/account/{ACCOUNT}/order/{number}", ticket(quantity=7)).body == gone
    placed(rig)
    rig.delete(f"/iserver/account/{ACCOUNT}/order/-1")
    assert [view.ticket.order_ref for view in rig.exchange.open_orders()] == ["tws"]


def test_a_reference_of_tws_is_no_coid(rig: Rig) -> None:
    foreign(rig)
    placed(rig, ticket(cOID="tws"))
    assert len(rig.exchange.open_orders()) == 2


# answers that are lost


@pytest.mark.parametrize("change", [Answer(None, 503), Answer(abort=True)])
def test_q01_a_write_whose_answer_is_lost_has_happened_all_the_same(rig: Rig, change: Answer) -> None:
    rig.door.faults.wait_for("POST /orders", True, lambda request, answer: change)
    assert place(rig, ticket(cOID="key-1")) == change
    assert [row["order_ref"] for row in live(rig)] == ["key-1"]
    assert "already registered" in place(rig, ticket(cOID="key-1")).body["error"]
    question = place(rig, ticket("STP", "SELL", price=250, cOID="key-2")).body[0]["id"]
    rig.door.faults.wait_for("POST /reply", True, lambda request, answer: change)
    assert rig.post(f"/iserver/reply/{question}", {"confirmed": True}) == change
    assert [row["order_ref"] for row in live(rig)] == ["key-1", "key-2"]


# a gateway that was ended and began again


def test_orders_and_their_coids_outlive_the_process() -> None:
    before = Rig()
    number = placed(before, ticket(cOID="key-1", tif="GTC"))
    after = Rig()
    after.exchange.restore(before.exchange.snapshot())
    after.session.log_in()
    after.warm()
    assert [(row["orderId"], row["order_ref"]) for row in live(after)] == [(int(number), "key-1")]
    assert "already registered" in place(after, ticket(cOID="key-1")).body["error"]
    assert placed(after) != number
    assert after.delete(f"/iserver/account/{ACCOUNT}/order/{number}").body["order_id"] == int(number)
