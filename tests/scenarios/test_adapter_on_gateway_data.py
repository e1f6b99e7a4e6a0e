"""Market data of the adapter over real sockets: quotes, permissions, bars, live bars, streams."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource, DataType, Depth, StreamKind, Trade
from moondev_ibkr.brokers.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NoPermission,
    UnknownInstrument,
)
from moondev_ibkr.brokers.interactive_brokers.ib_transport import BarRequest
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings as DoorSettings

from .adapter_world import ACCOUNT, QUICK, adapter_world

DELAYED = replace(QUICK, delayed_data=True)


async def test_a_quote_is_what_the_exchange_shows_and_its_time_is_market_time():
    async with adapter_world() as world:
        quote = await world.adapter.quote("AAPL")
        assert 0 < quote.bid < quote.ask
        assert quote.data_type is DataType.LIVE
        assert quote.time == world.gateway.now
        assert quote.source == "tws"


async def test_the_same_contract_is_one_line_however_often_it_is_asked():
    async with adapter_world() as world:
        await world.adapter.quotes(["AAPL", "MSFT", "aapl"])
        await world.adapter.quote("AAPL")
        stream = world.adapter.stream(["AAPL"])
        await anext(stream)
        (session,) = world.gateway.door.sessions.values()
        assert len(session.numbers("quotes")) == 2
        await stream.aclose()


async def test_unknown_symbols_are_left_out_of_a_round_and_named():
    async with adapter_world() as world:
        found = await world.adapter.quotes(["AAPL", "NOSUCH"])
        assert set(found) == {"AAPL"}
        assert isinstance(world.adapter.data.quote_errors["NOSUCH"], UnknownInstrument)


async def test_d05_no_permission_is_an_error_of_its_own():
    async with adapter_world(door=DoorSettings(port=0, no_data=frozenset({"MSFT"}))) as world:
        with pytest.raises(NoPermission):
            await world.adapter.quote("MSFT")
        assert (await world.adapter.quote("AAPL")).bid


async def test_d04_delayed_data_is_taken_when_allowed_and_flagged():
    door = DoorSettings(port=0, not_subscribed=frozenset({"MSFT"}))
    async with adapter_world(door=door, settings=DELAYED) as world:
        asking = asyncio.ensure_future(world.adapter.quote("MSFT"))
        await asyncio.sleep(0.05)
        await world.advance(1200)
        quote = await asking
        assert quote.data_type is DataType.DELAYED
        assert quote.last is not None
        assert (await world.adapter.quote("AAPL")).data_type is DataType.LIVE
    async with adapter_world(door=door) as world:
        with pytest.raises(NoPermission):
            await world.adapter.quote("MSFT")


async def test_bars_are_counted_dated_in_utc_and_only_the_last_may_change():
    async with adapter_world() as world:
        bars = await world.adapter.bars("AAPL", count=200)
        assert len(bars) == 200
        assert [bar.complete for bar in bars] == [True] * 199 + [False]
        assert all(bar.time.utcoffset() == timedelta(0) for bar in bars)
        assert [bar.time for bar in bars] == sorted({bar.time for bar in bars})
        assert bars[-1].time.date() == world.gateway.now.date()
        assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)


async def test_years_of_bars_come_in_chunks_and_from_the_start_asked_for():
    async with adapter_world() as world:
        start = world.gateway.now - timedelta(days=800)
        bars = await world.adapter.bars("AAPL", start=start)
        assert start <= bars[0].time <= start + timedelta(days=5)
        assert world.adapter.history.asked == 3
        again = await world.adapter.bars("AAPL", start=start)
        assert again == bars
        assert world.adapter.history.asked == 3


async def test_h13_adjusted_bars_only_end_now():
    async with adapter_world() as world:
        with pytest.raises(InvalidRequest):
            await world.adapter.bars(
                "AAPL", count=5, end=world.gateway.now - timedelta(days=9), source=BarSource.ADJUSTED_LAST
            )


async def test_h03_an_unanswered_request_ends_and_its_late_answer_harms_nobody():
    async with adapter_world(settings=replace(QUICK, history_deadline=0.1)) as world:
        world.arm("drop-answer", "reqHistoricalData")
        instrument = await world.adapter.contracts.qualify("AAPL")
        with pytest.raises(DeadlineExceeded):
            await world.client.historical_bars(BarRequest(instrument, BarSize.D1, "5 D"))
        assert len(await world.client.historical_bars(BarRequest(instrument, BarSize.D1, "5 D"))) == 5


async def take(updates, number):
    async with asyncio.timeout(3):
        return [await anext(updates) for _ in range(number)]


async def test_live_bars_close_once_a_day_with_one_subscription():
    async with adapter_world() as world:
        updates = world.adapter.live_bars("AAPL", count=30)
        first = await take(updates, 31)
        assert [update.closed for update in first] == [True] * 30 + [False]
        closed = []
        for _ in range(3):
            await world.gateway.advance_to(world.gateway.next_session().close)
            await world.adapter.market_time()
            await world.gateway.advance_to(world.gateway.next_session().open + timedelta(minutes=1))
            await world.adapter.market_time()
        async with asyncio.timeout(3):
            while len({update.bar.time for update in closed}) < 3:
                update = await anext(updates)
                if update.closed:
                    closed.append(update)
        last = {update.bar.time: update.bar for update in closed}
        expected = (await world.adapter.bars("AAPL", count=4))[:3]
        assert [(bar.time, bar.open, bar.close) for bar in expected] == [
            (bar.time, bar.open, bar.close) for bar in last.values()
        ]
        (session,) = world.gateway.door.sessions.values()
        assert len(session.numbers("bars")) == 1
        await updates.aclose()
        await world.client.market_time()
        assert not session.numbers("bars")


@pytest.mark.parametrize("fault", ["bars-lost", "reset"])
async def test_d02_live_bars_outlive_a_dropped_subscription(fault):
    async with adapter_world() as world:
        updates = world.adapter.live_bars("AAPL", count=5)
        await take(updates, 6)
        world.arm(fault)
        if fault == "reset":
            await world.until_restored()
        await world.until(lambda: updates.renewed == 1, "the bars to be asked for again")
        await world.gateway.advance_to(world.gateway.next_session().close)
        await world.gateway.advance_to(world.gateway.next_session().open + timedelta(minutes=1))
        async with asyncio.timeout(3):
            while not (update := await anext(updates)).closed:
                pass
        assert update.bar.time.date() < world.gateway.now.date()
        await updates.aclose()


async def test_streams_of_trades_and_depth():
    async with adapter_world() as world:
        trades = world.adapter.stream(["AAPL"], [StreamKind.TRADES])
        depth = world.adapter.stream(["AAPL"], [StreamKind.DEPTH])
        waiting = [asyncio.ensure_future(anext(trades)), asyncio.ensure_future(anext(depth))]
        (session,) = world.gateway.door.sessions.values()
        await world.until(lambda: session.count("tickByTick") == session.count("depth") == 1, "both subscriptions")
        await world.advance(7200)
        trade, book = await asyncio.wait_for(asyncio.gather(*waiting), 3)
        assert isinstance(trade, Trade)
        assert trade.price > 0
        assert isinstance(book, Depth)
        assert book.bids[0].price < book.asks[0].price
        await trades.aclose()
        await depth.aclose()
        assert not world.client._market._streams


async def test_reference_questions():
    async with adapter_world() as world:
        head = await world.adapter.data.head_timestamp("AAPL")
        assert head < world.gateway.now - timedelta(days=900)
        sessions = await world.adapter.data.schedule("AAPL", 3)
        assert [(row.end - row.start) for row in sessions] == [timedelta(hours=6, minutes=30)] * 3
        matches = await world.client.matching_symbols("AAP")
        assert [match.instrument.symbol for match in matches] == ["AAPL"]
        costs = world.adapter.calculate_subscription_costs(["AAPL", "MSFT"])
        assert costs.lines


async def test_d18_account_and_pnl_are_the_ledgers():
    async with adapter_world() as world:
        summary = await world.adapter.account()
        ledger = world.gateway.exchange.summary(ACCOUNT)
        assert (summary.net_liquidation, summary.total_cash) == (ledger.net_liquidation, ledger.total_cash)
        pnl = await world.adapter.pnl()
        assert (pnl.daily, pnl.realized) == (0, 0)
        single = await world.client.pnl(ACCOUNT, 265598)
        assert single.instrument == Instrument("CON265598", con_id=265598) or single.instrument.symbol == "AAPL"
