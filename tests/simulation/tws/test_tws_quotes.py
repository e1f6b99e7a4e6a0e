"""Market data lines: the order of ticks, what is delayed, frozen or refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.tws import requests as r

from .rig import AAPL, AAPL_ID, MSFT, RawClient, joined, moving, running


def watch(req_id: int, contract: Any = AAPL, generics: str = "", *, snapshot: bool = False) -> r.ReqMktData:
    return r.ReqMktData(
        reqId=req_id, contract=contract, genericTickList=generics, snapshot=snapshot, regulatorySnapshot=False
    )


def ticks(client: RawClient) -> list[tuple[str, int | None]]:
    names = ("tickReqParams", "marketDataType", "tickPrice", "tickSize", "tickString", "tickGeneric", "tickSnapshotEnd")
    return [(name, values.get("tickType")) for name, values in client.seen if name in names]


async def after(gateway: Gateway, client: RawClient, seconds: float) -> list[tuple[str, dict[str, Any]]]:
    """What the market's next seconds bring."""
    await client.quiet()
    begin = len(client.seen)
    await gateway.advance_to(gateway.now + timedelta(seconds=seconds))
    await client.quiet()
    return client.seen[begin:-1]


async def test_a_line_begins_as_tws_begins_it() -> None:
    async with running(source=moving()) as gateway:
        await gateway.advance_to(gateway.now + timedelta(minutes=1))
        async with joined(gateway) as client:
            client.send(watch(9))
            await client.until("tickGeneric", tickType=49)
            assert ticks(client) == [
                ("tickReqParams", None),
                ("marketDataType", None),
                *[("tickPrice", 1), ("tickSize", 0), ("tickPrice", 2), ("tickSize", 3)],
                *[("tickPrice", 4), ("tickSize", 5), ("tickSize", 8)],
                *[("tickPrice", 6), ("tickPrice", 7), ("tickPrice", 9), ("tickPrice", 14)],
                *[("tickString", 45), ("tickGeneric", 49)],
            ]
            values = {v["tickType"]: v for n, v in client.seen if n == "tickPrice"}
            assert 0 < values[1]["price"] < values[2]["price"]
            assert values[7]["price"] <= values[4]["price"] <= values[6]["price"]


async def test_a_price_is_followed_by_its_size_and_a_size_comes_alone() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(watch(9))
        moved = await after(gateway, client, 300)
        lines = [(name, values.get("tickType")) for name, values in moved]
        assert len(lines) > 50
        for at, (name, tick) in enumerate(lines):
            if name == "tickPrice" and tick in (1, 2, 4):
                follower = lines[at + 1]
                assert follower == ("tickSize", {1: 0, 2: 3, 4: 5}[tick])
        quotes = [(v["tickType"], v["price"]) for n, v in moved if n == "tickPrice" and v["tickType"] in (1, 2)]
        assert all(a != b for a, b in itertools.pairwise(quotes))


async def test_a_snapshot_ends_and_leaves_no_line_behind() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(watch(9, snapshot=True))
        await client.until("tickSnapshotEnd", reqId=9)
        assert gateway.door.sessions[1].count("quotes") == 0
        client.send(r.CancelMktData(reqId=9))
        await client.error(300)


async def test_a_cancelled_line_is_silent_and_its_number_free() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(watch(9))
        client.send(watch(9))
        assert (await client.error(102))["reqId"] == 9
        client.send(r.CancelMktData(reqId=9))
        assert await after(gateway, client, 120) == []
        client.send(watch(9, MSFT))
        await client.until("tickGeneric", tickType=49)


async def test_the_hundred_and_first_line_is_too_many() -> None:
    async with running(tws={"market_data_lines": 3}) as gateway, joined(gateway) as client:
        for number in range(4):
            client.send(watch(number + 1))
        assert (await client.error(101))["reqId"] == 4


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (watch(9, replace(AAPL, symbol="NOPE")), 200),
        (watch(9, generics="233,999"), 321),
        (watch(9, generics="x"), 321),
        (watch(9, generics="233", snapshot=True), 321),
        (watch(9, replace(AAPL, secType="")), 321),
        (r.CancelMktData(reqId=9), 300),
    ],
)
async def test_what_cannot_be_is_refused(request_: r.Request, code: int) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(request_)
        assert (await client.error(code))["reqId"] == 9


async def test_generic_ticks_bring_what_the_market_knows() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(watch(9, generics="100,104,165,221,233,236,293,375,411"))
        moved = await after(gateway, client, 60)
        shown = {values.get("tickType") for name, values in client.seen if name.startswith("tick")}
        assert {15, 16, 17, 18, 19, 20, 21, 23, 37, 46, 48, 54, 77, 89} <= shown
        price, size, stamp, volume, average, single = next(
            v["value"] for n, v in moved if n == "tickString" and v["tickType"] == 48
        ).split(";")
        assert float(price) > 0
        assert 0 < float(size) <= float(volume)
        assert int(stamp) > 1_700_000_000_000
        assert float(average) > 0
        assert single == "true"


async def test_without_a_subscription_there_is_only_delayed_data() -> None:
    tws = {"not_subscribed": frozenset({"AAPL"})}
    async with running(source=moving(), tws=tws) as gateway, joined(gateway) as client:
        client.send(watch(9))
        await client.error(10089)
        client.send(r.ReqMarketDataType(marketDataType=3))
        client.send(watch(9))
        assert (await client.error(10167))["reqId"] == 9
        assert (await client.until("marketDataType"))["marketDataType"] == 3
        assert not [1 for _, tick in ticks(client) if tick in (1, 2, 4)]
        assert await after(gateway, client, 14 * 60) == []
        live_bid = gateway.exchange.market(AAPL_ID).bid
        moved = await after(gateway, client, 15 * 60)
        kinds = {values.get("tickType") for _, values in moved}
        assert {66, 67, 68, 69, 70, 71, 88} <= kinds
        assert not {1, 2, 4} & kinds
        bids = [values["price"] for name, values in moved if values.get("tickType") == 66]
        assert float(live_bid or 0) in bids


async def test_no_data_at_all_is_354_and_10168() -> None:
    async with running(tws={"no_data": frozenset({"AAPL"})}) as gateway, joined(gateway) as client:
        client.send(watch(9))
        await client.error(354)
        client.send(r.ReqMarketDataType(marketDataType=3))
        client.send(watch(9))
        await client.error(10168)
        client.send(r.ReqMarketDataType(marketDataType=7))
        await client.error(321)


async def test_after_the_close_live_quotes_are_absent_and_frozen_ones_are_not() -> None:
    async with running() as gateway, joined(gateway) as client:
        await gateway.advance_to(gateway.now + timedelta(hours=12))
        client.send(watch(1))
        await client.until("tickGeneric", tickType=49)
        bid = next(v for n, v in client.seen if n == "tickPrice" and v["tickType"] == 1)
        assert bid["price"] is None
        client.send(r.ReqMarketDataType(marketDataType=2))
        client.send(watch(2))
        assert (await client.until("marketDataType", reqId=2))["marketDataType"] == 2
        assert (await client.until("tickPrice", reqId=2, tickType=1))["price"] == 264.99


async def test_an_open_line_is_told_the_new_close_once_on_the_next_day() -> None:
    async with running(source=moving()) as gateway:
        await gateway.advance_to(gateway.now + timedelta(minutes=1))
        async with joined(gateway) as client:
            client.send(watch(1))
            await client.until("tickGeneric", tickType=49)
            told = [values["price"] for name, values in client.seen if name == "tickPrice" and values["tickType"] == 9]
            moved = await after(gateway, client, 26 * 3600)
            new = [values["price"] for name, values in moved if name == "tickPrice" and values["tickType"] == 9]
            close = gateway.exchange.market(AAPL_ID).close
            assert new == [float(close)]
            assert new != told


async def test_a_halt_shows_on_the_line() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(watch(1))
        await client.quiet()
        gateway.faults.arm("halt", "AAPL")
        assert (await client.until("tickGeneric", tickType=49))["value"] == 1
        gateway.faults.arm("resume", "AAPL")
        assert (await client.until("tickGeneric", tickType=49))["value"] == 0


def stream(req_id: int, kind: str, number: int = 0, *, ignore_size: bool = False) -> r.ReqTickByTickData:
    return r.ReqTickByTickData(reqId=req_id, contract=AAPL, tickType=kind, numberOfTicks=number, ignoreSize=ignore_size)


async def test_tick_by_tick_tells_every_print_and_every_quote() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        for number, kind in enumerate(("Last", "AllLast", "BidAsk", "MidPoint"), start=1):
            client.send(stream(number, kind))
        moved = await after(gateway, client, 120)
        counts = {n: sum(values["reqId"] == n for _, values in moved) for n in (1, 2, 3, 4)}
        assert counts[1] == counts[2] > 5
        assert counts[3] >= counts[4] > 5
        last = next(values for _, values in moved if values["reqId"] == 1)
        assert (last["tickType"], last["exchange"]) == (1, "NASDAQ")
        client.send(r.CancelTickByTickData(reqId=1))
        assert not [1 for _, values in await after(gateway, client, 60) if values["reqId"] == 1]


async def test_earlier_ticks_come_first_when_asked_for() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(stream(1, "Last", 20))
        earlier = await client.until("historicalTicksLast", reqId=1)
        assert len(earlier["ticks"]) == 20
        assert earlier["ticks"][-1].time <= gateway.now.timestamp()


async def test_tick_by_tick_limits() -> None:
    async with running(tws={"tick_by_tick_lines": 1}) as gateway, joined(gateway) as client:
        client.send(stream(1, "Last"))
        client.send(stream(2, "Last"))
        assert (await client.error(10190))["reqId"] == 2
        client.send(stream(2, "Sideways"))
        assert (await client.error(321))["reqId"] == 2
        client.send(r.CancelTickByTickData(reqId=2))
        await client.error(300)


def depth(req_id: int, rows: int = 5, exchange: str = "SMART", *, smart: bool = True) -> r.ReqMktDepth:
    return r.ReqMktDepth(reqId=req_id, contract=replace(AAPL, exchange=exchange), numRows=rows, isSmartDepth=smart)


class Book:
    """Applies depth messages as a client does."""

    def __init__(self) -> None:
        self.sides: dict[int, list[tuple[float, float]]] = {0: [], 1: []}

    def apply(self, values: dict[str, Any]) -> None:
        side, position = self.sides[values["side"]], values["position"]
        row = (values["price"], float(values["size"]))
        if values["operation"] == 0:
            assert position <= len(side)
            side.insert(position, row)
        elif values["operation"] == 1:
            side[position] = row
        else:
            del side[position]


async def test_the_book_stays_whole_and_its_top_is_the_quote() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(depth(1))
        await after(gateway, client, 300)
        book = Book()
        for name, values in client.seen:
            if name == "updateMktDepthL2":
                book.apply(values)
                assert values["marketMaker"] in ("NYSE", "NASDAQ", "ARCA", "BATS", "IEX")
        view = gateway.exchange.market(AAPL_ID)
        asks, bids = book.sides[0], book.sides[1]
        assert asks[0] == (float(view.ask or 0), float(view.ask_size or 0))
        assert bids[0] == (float(view.bid or 0), float(view.bid_size or 0))
        assert asks == sorted(asks)
        assert [price for price, _ in bids] == sorted((price for price, _ in bids), reverse=True)
        assert len(asks) == len(bids) == 5


async def test_a_plain_book_has_no_market_makers() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(depth(1, exchange="NASDAQ", smart=False))
        assert "marketMaker" not in await client.until("updateMktDepth")


async def test_depth_limits() -> None:
    async with running(tws={"depth_lines": 1}) as gateway, joined(gateway) as client:
        client.send(depth(1))
        client.send(depth(2))
        assert (await client.error(309))["reqId"] == 2
        client.send(depth(1))
        await client.error(102)
        client.send(depth(3, 0))
        await client.error(321)
        client.send(r.CancelMktDepth(reqId=1, isSmartDepth=True))
        client.send(r.CancelMktDepth(reqId=1, isSmartDepth=True))
        await client.error(310)
