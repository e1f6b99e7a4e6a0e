"""The whole of a client's day with a client of sockets and `struct` alone, at four server versions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal

import pytest

from . import plain_client as m
from .gateway_process import Served, gateway_process
from .plain_client import PlainClient

VERSIONS = (157, 163, 176, 178)
ACCOUNT = "DU0000001"
_client_ids = itertools.count(1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with gateway_process(tmp_path_factory.mktemp("gateway")) as served:
        yield served


@pytest.fixture(params=VERSIONS)
def client(gateway: Served, request: pytest.FixtureRequest) -> Iterator[PlainClient]:
    """Joined at the version, under an id of its own."""
    one = PlainClient(gateway.port, next(_client_ids), request.param)
    one.until(m.NEXT_VALID_ID)
    one.settle()
    yield one
    one.close()


def touch(client: PlainClient) -> tuple[Decimal, Decimal]:
    """Bid and ask out of a snapshot."""
    client.send(1, 11, 900, *m.contract("AAPL"), 0, "", 1, 0, "")
    client.until(m.SNAPSHOT_END, f2=900)
    prices = {fields[3]: Decimal(fields[4]) for fields in client.all(m.TICK_PRICE, f2=900)}
    return prices["1"], prices["2"]


def free_id(client: PlainClient) -> int:
    client.send(8, 1, 1)
    return int(client.until(m.NEXT_VALID_ID)[2])


def position(client: PlainClient) -> Decimal:
    client.send(61, 1)
    client.until(m.POSITION_END)
    client.send(64, 1)
    return sum((Decimal(fields[14]) for fields in client.all(m.POSITION)[-1:]), Decimal(0))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_greeting(gateway: Served, version: int) -> None:
    client = PlainClient(gateway.port, next(_client_ids), version)
    assert client.version == version
    assert client.until(m.NEXT_VALID_ID)[2].isdigit()
    assert client.all(m.MANAGED_ACCOUNTS)[0][2].split(",") == [ACCOUNT]
    client.settle()
    assert [fields[3] for fields in client.all(m.ERROR)] == ["2104", "2106", "2158"]
    client.close()


def test_a_newer_client_is_met_at_178(gateway: Served) -> None:
    client = PlainClient(gateway.port, next(_client_ids), 220)
    assert client.version == 178
    client.until(m.NEXT_VALID_ID)
    client.close()


def test_contract_details(client: PlainClient) -> None:
    client.details(1, "AAPL")
    fields = client.until(m.CONTRACT_DATA)
    at = 1 + (client.version < 164)  # where the request id stands
    assert fields[at] == "1"
    assert fields[at + 1 : at + 3] == ["AAPL", "STK"]
    assert (fields[at + 11], Decimal(fields[at + 12])) == ("265598", Decimal("0.01"))
    count_at = 30 + 2 * (client.version < 164)
    sizes = {157: 0, 163: 1}.get(client.version, 3)
    assert len(fields) == count_at + 1 + 2 * int(fields[count_at]) + 6 + sizes
    client.until(m.CONTRACT_END, f2=1)
    client.details(2, "NOSUCH")
    assert client.until(m.ERROR, f2=2)[3] == "200"


def test_snapshot_and_stream(client: PlainClient, gateway: Served) -> None:
    bid, ask = touch(client)
    assert Decimal(0) < bid < ask
    client.send(1, 11, 2, *m.contract("AAPL"), 0, "233", 0, 0, "")
    client.until(m.TICK_PRICE, f2=2, f3=2)
    client.settle()
    before = len(client.all(m.TICK_PRICE, f2=2))
    gateway.advance(120)
    client.settle()
    assert len(client.all(m.TICK_PRICE, f2=2)) > before
    assert client.all(m.TICK_STRING, f2=2, f3=48)
    client.send(2, 2, 2)
    client.settle()
    told = len(client.seen)
    gateway.advance(120)
    client.settle()
    assert len(client.seen) == told + 1  # nothing but the answer to the question for the time
    if client.version < 163:
        assert all(fields[4].isdigit() for fields in client.all(m.TICK_SIZE))


def test_history_and_live_bars(client: PlainClient, gateway: Served) -> None:
    client.send(20, 3, *m.contract("AAPL"), 0, "", "1 day", "10 D", 1, "TRADES", 1, 0, "")
    answer = client.until(m.HISTORY, f1=3)
    assert answer[4] == "10"
    assert len(answer) == 5 + 8 * 10
    for row in range(10):
        date, opened, high, low, close, volume, _, count = answer[5 + 8 * row : 13 + 8 * row]
        assert len(date) == 8
        assert Decimal(low) <= min(Decimal(opened), Decimal(close)) <= max(Decimal(opened), Decimal(close))
        assert Decimal(high) >= max(Decimal(opened), Decimal(close))
        assert Decimal(volume) >= int(count) > 0
        assert client.version >= 163 or volume.isdigit()
    client.send(20, 4, *m.contract("AAPL"), 0, "", "1 min", "1800 S", 1, "TRADES", 2, 1, "")
    last = int(client.until(m.HISTORY, f1=4)[-8])
    gateway.advance(120)
    client.settle()
    updates = client.all(m.HISTORY_UPDATE, f1=4)
    assert int(updates[-1][3]) >= last + 60
    for fields in updates:
        opened, close, high, low = map(Decimal, fields[4:8])
        assert low <= min(opened, close) <= max(opened, close) <= high
    client.send(25, 1, 4)
    client.settle()


REST = ["openOrder", "PreSubmitted", "openOrder", "Submitted"]
CANCEL = ["PendingCancel", "Cancelled", "error 202"]
FILL = ["execDetails", "openOrder", "Filled", "commissionReport"]


def test_place_modify_cancel(client: PlainClient) -> None:
    bid, _ = touch(client)
    order = free_id(client)
    terms = {"action": "BUY", "quantity": 10, "type": "LMT", "tif": "GTC", "ref": "one"}
    client.place(order, limit=bid - 20, **terms)
    client.until(m.ORDER_STATUS, f1=order, f2="Submitted")
    client.place(order, limit=bid - 19, **terms)
    client.settle()
    assert Decimal(client.all(m.OPEN_ORDER, f1=order)[-1][16]) == bid - 19
    assert client.life(order)[:4] == REST
    client.cancel(order)
    client.until(m.ERROR, f2=order, f3=202)
    assert client.life(order)[-3:] == CANCEL
    client.cancel(order)
    assert client.until(m.ERROR, f2=order)[3] in ("161", "10147", "10148")


def test_market_stop_what_if_and_a_wrong_price(client: PlainClient) -> None:
    bid, ask = touch(client)
    order = free_id(client)
    held = position(client)
    client.place(order, action="BUY", quantity=10, type="MKT")
    client.until(m.COMMISSION)
    assert client.life(order) == ["openOrder", "PreSubmitted", *FILL]
    status = client.all(m.ORDER_STATUS, f1=order)[-1]
    assert (Decimal(status[3]), Decimal(status[4])) == (10, 0)
    assert client.version >= 163 or status[3].isdigit()
    assert position(client) == held + 10

    client.place(order + 1, action="SELL", quantity=10, type="STP", aux=bid - 20)
    client.until(m.ORDER_STATUS, f1=order + 1, f2="PreSubmitted")
    client.cancel(order + 1)
    client.until(m.ERROR, f2=order + 1, f3=202)
    assert client.life(order + 1) == ["openOrder", "PreSubmitted", *CANCEL]

    client.place(order + 2, action="BUY", quantity=100, type="LMT", limit=ask, what_if=1)
    estimate = client.until(m.OPEN_ORDER, f1=order + 2)
    # Status and nine margins stand before the commission: whatIf is the field before them.
    at = next(i for i, field in enumerate(estimate) if field == "PreSubmitted")
    assert estimate[at - 1] == "1"
    assert all(Decimal(value) >= 0 for value in (estimate[at + 4], estimate[at + 7], estimate[at + 10]))
    assert Decimal(estimate[at + 4]) > 0

    client.place(order + 3, action="BUY", quantity=1, type="LMT", limit=bid - Decimal("20.001"))
    client.until(m.ERROR, f2=order + 3, f3=110)
    client.settle()
    assert client.life(order + 2) == ["openOrder"]
    assert client.life(order + 3) == ["error 110"]


def test_a_bracket(client: PlainClient) -> None:
    bid, ask = touch(client)
    root = free_id(client)
    client.place(root, action="BUY", quantity=10, type="LMT", limit=ask + 2, transmit=0)
    client.place(root + 1, action="SELL", quantity=10, type="LMT", limit=ask + 50, parent=root, transmit=0)
    client.settle()
    assert "Submitted" not in client.life(root)
    client.place(root + 2, action="SELL", quantity=10, type="STP", aux=bid - 50, parent=root)
    client.until(m.ORDER_STATUS, f1=root + 1, f2="Submitted")
    client.settle()
    assert client.life(root)[-4:] == FILL
    assert client.all(m.ORDER_STATUS, f1=root + 2)[-1][2] == "PreSubmitted"
    # The target is made marketable: it fills, and the stop goes.
    client.place(root + 1, action="SELL", quantity=10, type="LMT", limit=bid - 2)
    client.until(m.ORDER_STATUS, f1=root + 2, f2="Cancelled")
    client.settle()
    assert client.life(root + 1)[-4:] == FILL


def test_partial_fills_add_up(client: PlainClient, gateway: Served) -> None:
    _, ask = touch(client)
    order = free_id(client)
    client.place(order, action="BUY", quantity=2000, type="LMT", limit=ask + 5)
    for _ in range(60):
        client.settle()
        if "Filled" in client.life(order):
            break
        gateway.advance(30)
    fills = client.all(m.EXECUTION, f1=-1, f2=order)
    assert len(fills) > 1
    running = list(itertools.accumulate(Decimal(fields[19]) for fields in fills))
    assert running == [Decimal(fields[24]) for fields in fills]
    assert running[-1] == 2000
    remaining = [Decimal(f[4]) for f in client.all(m.ORDER_STATUS, f1=order) if Decimal(f[3])]
    assert remaining == [2000 - filled for filled in running]
    assert len({fields[14] for fields in fills}) == len(fills)
    # One commission an execution; together the order's minimum or more.
    reports = {f[2]: Decimal(f[3]) for f in client.all(m.COMMISSION)}
    assert sum(reports[fields[14]] for fields in fills) >= 1
    client.place(order + 1, action="SELL", quantity=2000, type="LMT", limit=ask - 5)
    for _ in range(60):
        client.settle()
        if "Filled" in client.life(order + 1):
            return
        gateway.advance(30)
    pytest.fail("the shares were not sold")


def test_the_account_adds_up(client: PlainClient) -> None:
    order = free_id(client)
    client.place(order, action="BUY", quantity=10, type="MKT")
    client.until(m.COMMISSION)
    held = position(client)
    client.send(62, 1, 5, "All", "NetLiquidation,TotalCashValue,GrossPositionValue")
    client.until(m.SUMMARY_END, f2=5)
    summary = {fields[4]: Decimal(fields[5]) for fields in client.all(m.SUMMARY, f2=5)}
    assert summary["NetLiquidation"] == summary["TotalCashValue"] + summary["GrossPositionValue"]
    client.send(63, 1, 5)
    client.send(6, 2, 1, ACCOUNT)
    client.until(m.ACCOUNT_END, f2=ACCOUNT)
    (portfolio,) = client.all(m.PORTFOLIO)
    assert (portfolio[2:5], Decimal(portfolio[13])) == (["265598", "AAPL", "STK"], held)
    values = {(f[2], f[4]): f[3] for f in client.all(m.ACCOUNT_VALUE)}
    assert Decimal(values["NetLiquidation", "USD"]) == summary["NetLiquidation"]
    client.send(6, 2, 0, ACCOUNT)
    client.send(92, 6, ACCOUNT, "")
    unrealized = Decimal(client.until(m.PNL, f1=6)[3])
    client.send(94, 7, ACCOUNT, "", 265598)
    single = client.until(m.PNL_SINGLE, f1=7)
    assert (Decimal(single[2]), Decimal(single[4])) == (held, unrealized)
    assert abs(Decimal(portfolio[17]) - unrealized) < Decimal("0.01")
    client.send(93, 6)
    client.send(95, 7)
    client.settle()


@pytest.mark.parametrize("version", VERSIONS)
def test_after_a_reconnect_everything_is_found_again(gateway: Served, version: int) -> None:
    number = next(_client_ids)
    before = PlainClient(gateway.port, number, version)
    before.until(m.NEXT_VALID_ID)
    bid, _ = touch(before)
    order = free_id(before)
    before.place(order, action="BUY", quantity=10, type="MKT", ref="filled")
    before.until(m.COMMISSION)
    before.place(order + 1, action="BUY", quantity=10, type="LMT", limit=bid - 20, tif="GTC", ref="rests")
    before.until(m.ORDER_STATUS, f1=order + 1, f2="Submitted")
    execution = before.all(m.EXECUTION, f2=order)[0]

    twin = PlainClient(gateway.port, number, version)
    assert twin.until(m.ERROR, f2=-1)[3] == "326"
    with pytest.raises(EOFError):
        twin.next()
    twin.close()
    before.settle()
    held = position(before)
    before.close()

    client = rejoined(gateway, number, version)
    client.send(5, 1)
    client.until(m.OPEN_ORDER_END)
    assert [fields[1] for fields in client.all(m.OPEN_ORDER)] == [str(order + 1)]
    assert "rests" in client.all(m.OPEN_ORDER)[0]
    client.send(7, 3, 8, number, "", "", "", "", "", "")
    client.until(m.EXECUTION_END, f2=8)
    again = client.all(m.EXECUTION, f1=8)
    assert [fields[2:] for fields in again] == [execution[2:]]
    assert [fields[2] for fields in client.all(m.COMMISSION)] == [execution[14]]
    assert position(client) == held
    client.send(99, 0)
    client.until(m.COMPLETED_END)
    assert any("filled" in fields for fields in client.all(m.COMPLETED_ORDER))
    assert free_id(client) > order + 1

    client.send(58, 1)
    client.until(m.ERROR, f2=order + 1, f3=202)
    assert client.life(order + 1)[-2:] == ["Cancelled", "error 202"]
    client.close()


def rejoined(gateway: Served, number: int, version: int) -> PlainClient:
    """The same client id again; 326 until the gateway has seen the end of the connection before."""
    for _ in range(200):
        client = PlainClient(gateway.port, number, version)
        try:
            while client.next()[0] not in (str(m.NEXT_VALID_ID), str(m.ERROR)):
                pass
        except EOFError:
            pass
        if client.seen[-1][0] == str(m.NEXT_VALID_ID):
            return client
        client.close()
    raise AssertionError(f"client id {number} stays in use")


def test_an_empty_transmit_is_false(client: PlainClient) -> None:
    """As @stoqey/ib leaves it when its caller did not set it."""
    bid, _ = touch(client)
    order = free_id(client)
    client.place(order, action="BUY", quantity=1, type="LMT", limit=bid - 20, transmit="")
    client.settle()
    assert not {"PreSubmitted", "Submitted"} & set(client.life(order))
    client.place(order, action="BUY", quantity=1, type="LMT", limit=bid - 20)
    client.until(m.ORDER_STATUS, f1=order, f2="Submitted")
    client.cancel(order)
    client.until(m.ERROR, f2=order, f3=202)
