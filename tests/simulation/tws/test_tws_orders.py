"""Orders at the door: what each type, change and cancel is answered with, and to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.conditions import (
    Condition,
    ExecutionCondition,
    MarginCondition,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    VolumeCondition,
)
from moondev_ibkr.brokers.simulation.tws.contract import Contract, TagValue

from .orders import order
from .rig import AAPL, AAPL_ID, MES_ID, MSFT_ID, RawClient, joined, order_lines, running

RESTING = ["openOrder", "orderStatus PreSubmitted", "openOrder", "orderStatus Submitted"]
FILLED = ["execDetails", "openOrder", "orderStatus Filled", "commissionReport"]
CANCELLED = ["orderStatus PendingCancel", "orderStatus Cancelled", "error 202"]


async def lines(client: RawClient, order_id: int) -> list[str]:
    await client.quiet()
    return order_lines(client.seen, order_id)


def statuses(found: list[str]) -> list[str]:
    return [line for line in found if line.startswith(("orderStatus", "error"))]


async def test_a_market_order_fills_in_the_order_that_tws_tells() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10))
        assert await lines(client, 1) == ["openOrder", "orderStatus PreSubmitted", *FILLED]


async def test_a_resting_limit_is_cancelled_in_the_order_that_tws_tells() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, "LMT", limit=100))
        assert await lines(client, 1) == RESTING
        client.send(r.CancelOrder(orderId=1))
        assert [line for line in await lines(client, 1) if line != "openOrder"][2:] == CANCELLED
        client.send(r.CancelOrder(orderId=1))
        assert (await lines(client, 1))[-1] in ("error 161", "error 10148")
        client.send(r.CancelOrder(orderId=99))
        assert (await lines(client, 99)) == ["error 10147"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "LMT", "limit": 266}, "orderStatus Filled"),
        ({"kind": "STP", "aux": 270}, "orderStatus PreSubmitted"),
        ({"kind": "STP LMT", "aux": 270, "limit": 271}, "orderStatus PreSubmitted"),
        ({"kind": "TRAIL", "aux": 1}, "orderStatus PreSubmitted"),
        ({"kind": "TRAIL", "trailingPercent": Decimal(2)}, "orderStatus PreSubmitted"),
        ({"kind": "MOC"}, "orderStatus PreSubmitted"),
        ({"kind": "LOC", "limit": 266}, "orderStatus PreSubmitted"),
        ({"kind": "MIDPRICE", "limit": 266}, "orderStatus Submitted"),
        ({"kind": "LMT", "limit": 100, "tif": "GTC"}, "orderStatus Submitted"),
        ({"kind": "LMT", "limit": 100, "tif": "IOC"}, "orderStatus Cancelled"),
        ({"kind": "LMT", "limit": 266, "tif": "OPG"}, "orderStatus PreSubmitted"),
        (
            {"kind": "LMT", "limit": 100, "tif": "GTD", "goodTillDate": "20260415 15:30:00 US/Eastern"},
            "orderStatus Submitted",
        ),
        ({"kind": "LMT", "limit": 100, "outsideRth": True}, "orderStatus Submitted"),
    ],
)
async def test_every_order_type_is_taken(fields: dict[str, Any], expected: str) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, fields.pop("kind"), **fields))
        found = statuses(await lines(client, 1))
        assert expected in found, found


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"kind": "LMT", "limit": 100.123}, 110),
        ({"kind": "PEG MID"}, 387),
        ({"kind": "LMT", "limit": 100, "tif": "FOK"}, 321),
        ({"kind": "MOC", "tif": "GTC"}, 113),
        ({"kind": "MKT", "algoStrategy": "Adaptive", "algoParams": (TagValue("adaptivePriority", "Normal"),)}, 439),
        ({"kind": "MKT", "hedgeType": "D", "hedgeParam": "1"}, 387),
        ({"kind": "MKT", "cashQty": Decimal(1000)}, 10244),
        ({"kind": "MKT", "faGroup": "family"}, 321),
        ({"kind": "LMT", "limit": 100, "tif": "GTD", "goodTillDate": "soon"}, 337),
        ({"kind": "LMT", "limit": 100, "goodAfterTime": "later"}, 136),
        ({"kind": "MKT", "account": "U7654321"}, 321),
        ({"kind": "MKT", "contract": replace(AAPL, symbol="NOPE")}, 200),
        ({"kind": "MKT", "contract": replace(AAPL, secType="BOG")}, 321),
        ({"kind": "MKT", "quantity": 10_000_000}, 201),
    ],
)
async def test_what_cannot_be_traded_is_refused_with_ibs_code(fields: dict[str, Any], code: int) -> None:
    async with running() as gateway, joined(gateway) as client:
        quantity = fields.pop("quantity", 10)
        client.send(order(1, "BUY", quantity, fields.pop("kind"), **fields))
        found = await lines(client, 1)
        assert f"error {code}" in found, [v for n, v in client.seen if n == "error"]
        assert "execDetails" not in found
        assert gateway.exchange.positions() == []


async def test_an_action_that_is_none_is_refused() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "HOLD", 1))
        assert await lines(client, 1) == ["error 321"]


async def test_a_modify_is_the_same_id_again() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, "LMT", limit=100))
        client.send(order(1, "BUY", 20, "LMT", limit=101, orderRef="changed"))
        await client.quiet()
        last = [values for name, values in client.seen if name == "openOrder"][-1]
        assert (last["totalQuantity"], last["lmtPrice"], last["orderRef"]) == (20, 101, "changed")
        client.send(order(1, "BUY", 20, "LMT", limit=101.001))
        assert "error 110" in await lines(client, 1)
        assert gateway.exchange.open_orders()[0].ticket.limit_price == 101
        client.send(order(1, "BUY", 20, "LMT", limit=266))
        assert (await lines(client, 1))[-4:] == FILLED


async def test_a_staged_order_says_nothing_until_it_is_transmitted() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, "LMT", limit=100, transmit=False))
        assert await lines(client, 1) == []
        client.send(r.ReqOpenOrders())
        await client.until("openOrderEnd")
        assert await lines(client, 1) == []
        client.send(order(1, "BUY", 10, "LMT", limit=100))
        assert await lines(client, 1) == RESTING


async def bracket(client: RawClient, entry: float) -> None:
    client.send(order(1, "BUY", 10, "LMT", limit=entry, transmit=False))
    client.send(order(2, "SELL", 10, "STP", aux=250, parentId=1, tif="GTC", transmit=False))
    client.send(order(3, "SELL", 10, "LMT", limit=300, parentId=1, tif="GTC"))
    await client.quiet()


async def test_a_brackets_children_wait_for_the_parent_and_cancel_each_other() -> None:
    async with running() as gateway, joined(gateway) as client:
        await bracket(client, 266)
        assert "orderStatus Filled" in await lines(client, 1)
        assert {view.order_id for view in gateway.exchange.open_orders()} == {2, 3}
        client.send(order(3, "SELL", 10, "LMT", limit=264, tif="GTC"))
        await client.quiet()
        assert "orderStatus Filled" in await lines(client, 3)
        assert "orderStatus Cancelled" in await lines(client, 2)
        assert gateway.exchange.positions() == []


async def test_cancelling_the_parent_cancels_the_children() -> None:
    async with running() as gateway, joined(gateway) as client:
        await bracket(client, 100)
        client.send(r.CancelOrder(orderId=1))
        await client.quiet()
        assert gateway.exchange.open_orders() == []
        for number in (1, 2, 3):
            assert "orderStatus Cancelled" in await lines(client, number)


async def test_an_oca_group_cancels_the_rest() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, "LMT", limit=100, ocaGroup="g", ocaType=1))
        client.send(order(2, "BUY", 10, "LMT", limit=266, ocaGroup="g", ocaType=1))
        assert "orderStatus Filled" in await lines(client, 2)
        assert "orderStatus Cancelled" in await lines(client, 1)


CONDITIONS: list[Condition] = [
    PriceCondition("a", True, Decimal(270), AAPL_ID, "SMART", 0),
    TimeCondition("a", True, "20260415 12:00:00 US/Eastern"),
    MarginCondition("a", False, 5),
    ExecutionCondition("a", "STK", "SMART", "MSFT"),
    VolumeCondition("a", True, 10**9, AAPL_ID, "SMART"),
    PercentChangeCondition("a", True, Decimal(5), AAPL_ID, "SMART"),
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda row: type(row).__name__)
async def test_conditions_are_taken_held_and_echoed(condition: Condition) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, "LMT", limit=266, conditions=(condition,), conditionsIgnoreRth=True))
        found = await lines(client, 1)
        assert "execDetails" not in found
        shown = next(values for name, values in client.seen if name == "openOrder")
        assert shown["conditions"] == (condition,)
        if isinstance(condition, TimeCondition):
            await gateway.advance_to(gateway.now + timedelta(hours=2))
            assert "execDetails" in await lines(client, 1)


async def test_what_if_tells_margins_and_places_nothing() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 100, "LMT", limit=265, whatIf=True))
        answer = await client.until("openOrder")
        assert answer["initMarginChange"] > 0
        assert answer["equityWithLoanBefore"] == 100_000
        assert answer["commission"] == 1
        assert await lines(client, 1) == ["openOrder"]
        assert gateway.exchange.open_orders() == []
        client.send(order(2, "BUY", 100, "LMT", limit=265.001, whatIf=True))
        assert await lines(client, 2) == ["error 110"]


async def test_global_cancel_reaches_every_client() -> None:
    async with running() as gateway, joined(gateway, 1) as one, joined(gateway, 2) as two:
        one.send(order(1, "BUY", 10, "LMT", limit=100))
        two.send(order(1, "BUY", 10, "LMT", limit=101))
        await one.quiet()
        await two.quiet()
        one.send(r.ReqGlobalCancel())
        await one.until("error", errorCode=202)
        await two.until("error", errorCode=202)
        assert gateway.exchange.open_orders() == []


async def test_events_reach_the_owner_and_not_the_others() -> None:
    async with running() as gateway, joined(gateway, 1) as owner, joined(gateway, 2) as other:
        owner.send(order(1, "BUY", 10))
        await owner.until("commissionReport")
        assert await other.quiet() == []
        other.send(
            r.ReqExecutions(reqId=3, clientId=0, acctCode="", time="", symbol="", secType="", exchange="", side="")
        )
        fill = await other.until("execDetails", reqId=3)
        assert (fill["clientId"], fill["orderId"]) == (1, 1)
        await other.until("execDetailsEnd")


async def test_a_master_client_hears_everything() -> None:
    async with (
        running(tws={"master_client_id": 9}) as gateway,
        joined(gateway, 9) as master,
        joined(gateway, 1) as owner,
    ):
        owner.send(order(1, "BUY", 10))
        await owner.quiet()
        assert "orderStatus Filled" in await lines(master, 1)


async def test_open_orders_are_the_clients_own_or_all() -> None:
    async with running() as gateway, joined(gateway, 1) as one, joined(gateway, 2) as two:
        one.send(order(5, "BUY", 10, "LMT", limit=100))
        await one.quiet()
        two.send(r.ReqOpenOrders())
        await two.until("openOrderEnd")
        assert await lines(two, 5) == []
        two.send(r.ReqAllOpenOrders())
        await two.until("openOrderEnd")
        assert await lines(two, 5) == ["openOrder", "orderStatus Submitted"]
        two.send(r.ReqAutoOpenOrders(autoBind=True))
        await two.error(321)


async def test_client_zero_sees_and_cancels_what_was_placed_by_hand() -> None:
    async with running() as gateway, joined(gateway, 0) as zero, joined(gateway, 1) as one:
        zero.send(r.ReqAutoOpenOrders(autoBind=True))
        await zero.until("openOrderEnd")
        gateway.faults.arm("manual-order", "AAPL", "7")
        fill = await zero.until("execDetails")
        assert (fill["clientId"], fill["shares"]) == (0, 7)
        assert fill["orderId"] < 0
        assert "execDetails" not in [name for name, _ in await one.quiet()]


async def test_completed_orders_tell_how_they_ended() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, orderRef="mine"))
        client.send(order(2, "BUY", 10, "LMT", limit=100))
        client.send(r.CancelOrder(orderId=2))
        client.send(r.ReqCompletedOrders(apiOnly=True))
        await client.until("completedOrdersEnd")
        rows = [values for name, values in client.seen if name == "completedOrder"]
        assert [(row["status"], row["filledQuantity"], row["orderRef"]) for row in rows] == [
            ("Filled", 10, "mine"),
            ("Cancelled", 0, ""),
        ]
        assert rows[0]["completedStatus"] == "Filled Size: 10"
        assert rows[0]["completedTime"] == "20260415 11:00:00 US/Eastern"


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 2),
        ({"symbol": "AAPL"}, 1),
        ({"side": "SELL"}, 1),
        ({"clientId": 8}, 0),
        ({"acctCode": "DU0000001"}, 2),
        ({"secType": "FUT"}, 0),
        ({"time": "20260415 11:00:00 US/Eastern"}, 2),
        ({"time": "20260415-15:00:01"}, 0),
    ],
)
async def test_executions_pass_the_filter(filters: dict[str, Any], count: int) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10))
        client.send(order(2, "SELL", 10, contract=Contract(conId=MSFT_ID)))
        await client.quiet()
        begin = len(client.seen)
        values = {"clientId": 0, "acctCode": "", "time": "", "symbol": "", "secType": "", "exchange": "", "side": ""}
        client.send(r.ReqExecutions(reqId=3, **{**values, **filters}))
        await client.until("execDetailsEnd", reqId=3)
        names = [name for name, _ in client.seen[begin:]]
        assert names.count("execDetails") == names.count("commissionReport") == count


async def test_a_future_trades_too() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 1, contract=Contract(conId=MES_ID, exchange="CME")))
        fill = await client.until("execDetails")
        assert (fill["contract"].localSymbol, fill["exchange"]) == ("MESM6", "CME")
        assert fill["execId"].startswith("0000e1a7.")


async def test_every_field_of_an_order_is_echoed_also_after_a_restart(tmp_path: Any) -> None:
    state = tmp_path / "account.json"
    sent = order(
        4,
        "BUY",
        10,
        "LMT",
        limit=100,
        tif="GTC",
        orderRef="k-1",
        openClose="O",
        hidden=True,
        discretionaryUpToLimitPrice=True,
    )
    async with running(state_file=state) as gateway, joined(gateway) as client:
        client.send(sent)
        await client.quiet()
    async with running(state_file=state) as gateway, joined(gateway) as client:
        client.send(r.ReqOpenOrders())
        echo = await client.until("openOrder")
        for name in ("orderId", "orderRef", "openClose", "hidden", "discretionaryUpToLimitPrice", "lmtPrice", "tif"):
            assert echo[name] == getattr(sent, name)
        assert (echo["contract"].conId, echo["clientId"]) == (AAPL_ID, 1)


async def test_read_only_refuses_orders_and_nothing_else() -> None:
    async with running(tws={"read_only": True}) as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 1))
        assert "Read-Only" in (await client.error(321))["errorString"]
        client.send(r.CancelOrder(orderId=1))
        await client.error(321)
        client.send(r.ReqPositions())
        await client.until("positionEnd")


async def run_day(gateway: Gateway) -> None:
    await gateway.advance_to(gateway.now + timedelta(hours=6))


async def test_a_day_order_expires_at_the_close_and_moc_fills_there() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(order(1, "BUY", 10, "LMT", limit=100))
        client.send(order(2, "BUY", 10, "MOC"))
        await client.quiet()
        await run_day(gateway)
        assert "orderStatus Cancelled" in await lines(client, 1)
        assert "orderStatus Filled" in await lines(client, 2)
