"""Stock, unmodified ibind at the portal: a client that this project did not write, and the limits that are IB's.

Each session is a process of its own against the gateway as a process of its own, over TLS that the gateway's authority
vouches for; what it found is compared with the exchange's own books.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ib_async import IB, ExecutionFilter, LimitOrder, MarketOrder, Stock

from .gateway_process import Served, gateway_process

SESSION = Path(__file__).parent / "foreign" / "ibind_session.py"
DEADLINE = 60.0
ACCOUNT = "DU0000001"
AAPL_ID = 265598
#: ibind's reading thread notices the end of its own WebSocket only at its next ping; the rest is its patience.
PATIENCE = {"IBIND_WS_PING_INTERVAL": "3", "IBIND_WS_TIMEOUT": "15"}

Errand = Callable[[str], Awaitable[None]]


@dataclass
class Told:
    """What the session asked for, in order, and what it found."""

    errands: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


async def session(name: str, gateway: Served, errand: Errand) -> Told:
    """Runs it to its end; `errand` does what it asks for."""
    told = Told()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SESSION),
        gateway.portal["url"],
        gateway.portal["ca_file"],
        name,
        env=os.environ | PATIENCE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE):
            async for line in process.stdout:
                word, _, rest = line.decode().strip().partition(" ")
                if word == "TELL":
                    told.errands.append(rest)
                    await errand(rest)
                    process.stdin.write(b"done\n")
                elif word == "FACTS":
                    told.facts = json.loads(rest)
            errors = await process.stderr.read()
            assert await process.wait() == 0, errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return told


def order_of(books: dict[str, Any], ref: str) -> dict[str, Any]:
    (order,) = [order for order in books["orders"] if order["order_ref"] == ref]
    return order  # type: ignore[no-any-return]


async def test_a_whole_session_of_ibind(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as gateway:

        async def advance(text: str) -> None:
            word, seconds = text.split()
            assert word == "advance"
            gateway.advance(float(seconds))

        facts = (await session("trade", gateway, advance)).facts
        books = gateway.tell(books=True)

    assert facts["problems"] == []
    assert facts["healthy"] is facts["tic"] is True
    assert facts["session_id"] == 32
    assert facts["accounts"] == [ACCOUNT, ACCOUNT]

    assert facts["search"] == [str(AAPL_ID), "AAPL", True]
    assert facts["stock"] == {"AAPL": AAPL_ID}
    assert facts["order_types"] == ["limit", "market", "midprice", "stop", "stop_limit"]
    assert facts["pre_flight"] == ["conid", "conidEx"]
    bid, ask = facts["quote"]
    assert 0 < bid < ask
    assert facts["by_symbol"] == ["AAPL", bid]
    assert facts["bars"] == [10, True]
    assert facts["cold"] == [{}, [], {}]

    assert facts["subscribed"] is facts["unsubscribed"] is facts["left"] is True
    assert {"last_price", "bid_price", "ask_price", "symbol"} <= set(facts["streamed"])
    assert_orders(facts, books)
    assert_account(facts, books)


def assert_orders(facts: dict[str, Any], books: dict[str, Any]) -> None:
    assert "600 Shares" in facts["what_if"]["amount"]["amount"]
    assert facts["what_if"]["error"] is None
    assert "exceeds the Size Limit of 500" in facts["unanswered"]
    assert "already registered" in facts["duplicate"]
    assert facts["placed"] == "Submitted"
    assert facts["changed"][0] is facts["same_number"] is True
    price = f"{facts['changed'][1]:.2f}"
    assert facts["live"] == {
        "resting": ["Submitted", 700.0, 0.0, price, "BUY"],
        "entry": ["Filled", 100.0, 100.0, "", "BUY"],
    }
    assert facts["cancel"] == "Request was submitted"
    assert facts["status"] == "Cancelled"
    assert facts["refused_cancel"] is True
    assert facts["states"] == {
        "resting": ["PreSubmitted", "Submitted", "PendingCancel", "Cancelled"],
        "entry": ["PreSubmitted", "Filled"],
    }
    assert sorted(order["order_ref"] for order in books["orders"]) == ["entry", "resting"]
    resting, entry = order_of(books, "resting"), order_of(books, "entry")
    assert [resting[key] for key in ("quantity", "limit_price", "status")] == ["700", price, "Cancelled"]
    assert [entry[key] for key in ("quantity", "filled", "status")] == ["100", "100", "Filled"]


def assert_account(facts: dict[str, Any], books: dict[str, Any]) -> None:
    told = [[exec_id, ref, float(size), float(price)] for exec_id, ref, _, size, price in facts["trades"]]
    assert told == [
        [row["exec_id"], row["order_ref"], float(row["quantity"]), float(row["price"])] for row in books["executions"]
    ]
    assert facts["streamed_trades"] == [row["exec_id"] for row in books["executions"]]
    (account,) = books["accounts"].values()
    assert account["positions"] == {"AAPL": "100"}
    assert facts["positions"] == facts["positions2"] == {str(AAPL_ID): 100.0}
    assert facts["cash"] == float(account["cash"])
    assert facts["summary"] == pytest.approx(1_000_000, rel=0.01)
    assert facts["pnl"]["nl"] == pytest.approx(facts["pnl"]["mv"] + facts["cash"])


@asynccontextmanager
async def ib_async_at(port: int) -> AsyncIterator[IB]:
    ib = IB()
    await ib.connectAsync("127.0.0.1", port, clientId=7, timeout=5, raiseSyncErrors=True)
    try:
        yield ib
    finally:
        ib.disconnect()
        await asyncio.sleep(0)


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.002)


class Counterpart:
    """ib_async at the TWS door: places orders of its own when told, and tells what it saw of ibind's."""

    def __init__(self, ib: IB, bid: float) -> None:
        self.ib = ib
        self.stock = Stock("AAPL", "SMART", "USD")
        self.far = round(bid * 0.9, 2)
        self.seen: dict[str, Any] = {}
        self.errors: list[int] = []
        ib.errorEvent += lambda request, code, *rest: self.errors.append(code)

    async def errand(self, text: str) -> None:
        await {"placed": self.on_placed, "cancelled": self.on_cancelled}[text]()

    async def on_placed(self) -> None:
        """Both of ibind's orders are at the exchange: find them, then trade."""
        trades = await self.ib.reqAllOpenOrdersAsync()
        self.seen["open"] = {trade.order.orderRef: trade.orderStatus.status for trade in trades}
        self.resting = self.ib.placeOrder(self.stock, LimitOrder("BUY", 20, self.far, orderRef="of-ib-async"))
        filled = self.ib.placeOrder(self.stock, MarketOrder("BUY", 5, orderRef="fill-of-ib-async"))
        await eventually(lambda: filled.orderStatus.status == "Filled")
        await eventually(lambda: self.resting.orderStatus.status == "Submitted")
        fills = await self.ib.reqExecutionsAsync(ExecutionFilter())
        self.seen["fills"] = {fill.execution.orderRef: fill.execution.execId for fill in fills}

    async def on_cancelled(self) -> None:
        """ibind has cancelled the order of this client."""
        await eventually(lambda: self.resting.orderStatus.status == "Cancelled")
        await eventually(lambda: self.errors == [202])
        await eventually(lambda: [row.position for row in self.ib.positions()] == [15.0])


async def test_ibind_and_ib_async_see_the_same_book(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as gateway:
        async with ib_async_at(gateway.port) as ib:
            (stock,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            (ticker,) = await ib.reqTickersAsync(stock)
            other = Counterpart(ib, ticker.bid)
            told = await session("reconcile", gateway, other.errand)
        books = gateway.tell(books=True)

    facts, seen = told.facts, other.seen
    assert facts["problems"] == []
    assert told.errands == ["placed", "cancelled"]
    assert seen["open"] == {"of-ibind": "Submitted"}
    assert facts["live"] == {
        "of-ibind": "Submitted",
        "fill-of-ibind": "Filled",
        "of-ib-async": "Submitted",
        "fill-of-ib-async": "Filled",
    }
    executed = {row["order_ref"]: row["exec_id"] for row in books["executions"]}
    assert set(executed) == {"fill-of-ibind", "fill-of-ib-async"}
    assert facts["trades"] == seen["fills"] == executed

    assert facts["cancel"] == "Request was submitted"
    assert facts["ended"] == facts["live"] | {"of-ib-async": "Cancelled"}
    assert {order["order_ref"]: order["status"] for order in books["orders"]} == facts["ended"]
    assert facts["positions"] == {str(AAPL_ID): 15.0}
