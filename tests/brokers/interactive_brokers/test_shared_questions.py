"""Questions without a request id are shared: by those who ask while the answer comes, and by nobody afterwards."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from eventkit import Event
from ib_async.contract import Stock
from moondev_ibkr.brokers.domain.clock import ManualClock
from moondev_ibkr.brokers.errors import NotConnected
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.account_feed import AccountFeed
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.api import TwsApi

AAPL = Stock("AAPL", "SMART", "USD", conId=265598)
MSFT = Stock("MSFT", "SMART", "USD", conId=272093)


async def test_q13_a_second_caller_does_not_make_the_first_rows_of_an_answer_forgotten():
    """Found by the simulation: the position told before he asked was missing, which reads as flat."""
    ended = asyncio.get_running_loop().create_future()

    async def answer():
        await asyncio.shield(ended)

    events = {name: Event(name) for name in ("accountValueEvent", "updatePortfolioEvent", "pnlEvent", "pnlSingleEvent")}
    api = SimpleNamespace(reqPositionsAsync=answer, **events)
    feed = AccountFeed(api, SimpleNamespace(), ManualClock(datetime(2026, 4, 15, tzinfo=UTC)))
    first = asyncio.create_task(feed.ask_positions())
    await asyncio.sleep(0)
    feed.on_position("DU1", AAPL, 1600.0, 250.0)
    second = asyncio.create_task(feed.ask_positions())
    await asyncio.sleep(0)
    feed.on_position("DU1", MSFT, 600.0, 370.0)
    feed.on_positions_end()
    ended.set_result(None)
    for told in (await first, await second):
        assert {row.instrument.symbol: row.quantity for row in told} == {"AAPL": Decimal(1600), "MSFT": Decimal(600)}


async def test_c09_a_question_that_did_not_leave_is_not_waited_for_on_the_next_link():
    """Found by the simulation: asked between two links, it was never sent again and trading stayed blocked."""
    api = TwsApi()
    for _ in range(2):
        with pytest.raises(NotConnected):
            await asyncio.wait_for(api.reqPositionsAsync(), 1)
    assert api.wrapper.in_flight("positions") is None
    # whoever left is counted off in one of the loop's next turns; from Python 3.12 on `wait_for` itself takes none
    async with asyncio.timeout(1):
        while api.wrapper.waiters("positions"):
            await asyncio.sleep(0)
