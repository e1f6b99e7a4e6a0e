"""The D rows of the catalogue that no other story plays: what TWS tells of prices, sizes, books, greeks and P&L."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.market_data import DataType, Depth, StreamKind
from moondev_ibkr.brokers.domain.order import NewOrder, Side
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import BrokerError, DeadlineExceeded, RiskRefusal
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkEventKind
from moondev_ibkr.config.settings import TickDecoder

from .adapter_world import ACCOUNT, QUICK, adapter_world, buy
from .wire_tap import wire_tap

AAPL_ID = 265598
DOUBLE_MAX = "1.7976931348623157E308"


#: The compiled reader where it was built, and the pure one.
BOTH = pytest.mark.parametrize("decoder", [TickDecoder.PURE, TickDecoder.AUTO])


async def told(world, *ticks):
    """AAPL's quote after these ticks (IB's type, value) on its open line."""
    await world.adapter.quote("AAPL")
    for kind, value in ticks:
        world.arm("tick", "AAPL", str(kind), value)
    await world.client.market_time()
    return await world.adapter.quote("AAPL")


async def refused_by(world, order):
    """The rule that refuses this order; nothing of it reaches the gateway."""
    with wire_tap(world.gateway) as tap:
        with pytest.raises(RiskRefusal) as refused:
            await world.adapter.place(order)
        await world.client.market_time()
        assert tap.orders() == []
    return refused.value.rule


@BOTH
@pytest.mark.parametrize("nothing", ["-1", "0", "nan"])
async def test_d06_what_is_no_price_is_none_and_opens_no_position(nothing, decoder):
    async with adapter_world(settings=replace(QUICK, tick_decoder=decoder)) as world:
        quote = await told(world, (1, nothing), (2, nothing), (4, nothing), (6, nothing), (9, nothing))
        assert (quote.bid, quote.ask, quote.last, quote.high, quote.close) == (None,) * 5
        assert quote.mid is None
        # or a snapshot would have the prices
        world.arm("silent-feed")
        await world.advance(60)
        assert await refused_by(world, buy(limit=140)) == "fresh_quote"
        assert world.count(LinkEventKind.LOST) == 0


@pytest.mark.parametrize("in_lots", [False, True])
async def test_d07_sizes_in_round_lots_are_told_by_health(in_lots):
    async with adapter_world() as world:
        if in_lots:
            world.arm("round-lots")
        await world.adapter.quotes(["AAPL", "MSFT"])
        assert "sizes of stocks" not in {name for name, _, _ in world.adapter.health().details}
        for _ in range(4):
            await world.advance(3600)
            health = world.adapter.health()
        (row,) = [row for row in health.details if row[0] == "sizes of stocks"]
        assert row[1] is not in_lots
        assert ("100 times too small" in row[2]) is in_lots
        assert health.can_trade, "it is told, and blocks nothing"


@BOTH
async def test_d08_fractions_of_a_share_are_neither_cut_nor_rounded(decoder):
    async with adapter_world(settings=replace(QUICK, tick_decoder=decoder)) as world:
        quote = await told(world, (0, "0.25"), (3, "1234.5678"), (5, "0.0001"), (8, "1000000.5"))
        assert (quote.bid_size, quote.ask_size, quote.last_size, quote.volume) == (0.25, 1234.5678, 0.0001, 1000000.5)
        assert world.client.malformed_orders == 0


@BOTH
async def test_d09_the_largest_double_is_no_value_before_and_after_a_reconnect(decoder):
    async with adapter_world(settings=replace(QUICK, tick_decoder=decoder)) as world:
        everything = [(kind, DOUBLE_MAX) for kind in (1, 2, 4, 6, 7, 9, 14, 0, 3, 5, 8)]
        for _ in range(2):
            quote = await told(world, *everything)
            prices = (quote.bid, quote.ask, quote.last, quote.high, quote.low, quote.close, quote.open)
            sizes = (quote.bid_size, quote.ask_size, quote.last_size, quote.volume)
            assert prices + sizes == (None,) * 11
            world.arm("reset")
            await world.until_restored()
            await world.until(lambda: world.client.is_healthy, "the session")
            world.events.clear()


async def test_d10_data_that_is_delivered_delayed_is_flagged_and_opens_nothing():
    async with adapter_world() as world:
        assert (await world.adapter.quote("AAPL")).data_type is DataType.LIVE
        world.arm("data-type", "AAPL", "3")
        await world.client.market_time()
        quote = await world.adapter.quote("AAPL")
        assert quote.is_delayed
        assert await refused_by(world, buy(limit=140)) == "fresh_quote"
        world.arm("data-type", "AAPL", "1")
        await world.client.market_time()
        assert (await world.adapter.place(buy(limit=140))).state is OrderState.WORKING


async def test_d11_rows_out_of_place_neither_break_the_book_nor_its_order():
    async with adapter_world() as world:
        stream = world.adapter.stream(["AAPL"], [StreamKind.DEPTH])
        waiting = asyncio.ensure_future(anext(stream))
        await world.until(lambda: world.client._market._streams, "the subscription")
        await world.advance(60)
        first = await asyncio.wait_for(waiting, 3)
        assert isinstance(first, Depth)
        for row in (("17", "0", "1", "1.5"), ("12", "0", "1", "2.5"), ("15", "2", "1", "0"), ("16", "0", "0", "9999")):
            world.arm("depth-row", "AAPL", *row, "100")
        world.arm("depth-row", "AAPL", "14", "0", "0", "9000", "100")
        await world.client.market_time()
        books = []
        async with asyncio.timeout(3):
            while not books or len(books[-1].asks) < len(first.asks) + 2:
                books.append(await anext(stream))
        for book in books:
            bids, asks = [level.price for level in book.bids], [level.price for level in book.asks]
            assert bids == sorted(bids, reverse=True)
            assert asks == sorted(asks)
            assert bids[0] < asks[0]
        assert [level.price for level in books[-1].bids][-2:] == [2.5, 1.5]
        assert [level.price for level in books[-1].asks][-2:] == [9000, 9999]
        assert world.count(LinkEventKind.LOST) == 0
        await stream.aclose()


async def test_d13_a_cancel_of_what_is_gone_stops_nothing():
    async with adapter_world() as world:
        await world.adapter.quotes(["AAPL", "MSFT"])
        order = await world.adapter.place(buy(limit=140))
        before = len(world.events)
        world.arm("error", "300", "cancelMktData", "Can't find EId with tickerId")
        with wire_tap(world.gateway) as tap:
            world.adapter.data.lines.let_go(AAPL_ID)
            await world.client.market_time()
            assert tap.count("cancelMktData") == 1
        assert world.events[before:] == []
        assert world.adapter.order(order.key).state is OrderState.WORKING
        assert world.adapter.health().can_trade
        assert (await world.adapter.quotes(["AAPL", "MSFT"])).keys() == {"AAPL", "MSFT"}


async def test_d14_an_answer_to_nobodys_question_is_counted_and_believed_by_nobody():
    async with adapter_world() as world:
        world.arm("stray-answer", "MSFT")
        details = await world.adapter.details("AAPL")
        assert (details.instrument.symbol, details.instrument.con_id) == ("AAPL", AAPL_ID)
        assert world.adapter.contracts.known("MSFT") is None
        assert world.client._api.wrapper.late_answers == {"contractDetails": 1, "end": 1}


async def test_d15_a_snapshot_is_complete_with_its_prices_and_does_not_wait_for_its_end():
    async with adapter_world() as world:
        instrument = (await world.adapter.details("MSFT")).instrument
        world.arm("mute", "tickSnapshotEnd")
        quote = await asyncio.wait_for(world.client.snapshot(instrument, 11), 2)
        assert quote.is_two_sided
        assert quote.last is not None
        world.arm("mute", "tickSnapshotEnd")
        world.arm("silent-feed")
        with pytest.raises(DeadlineExceeded):
            await world.client.snapshot(instrument, 0.2)
        assert world.client._market._snapshots == {}


async def test_d16_a_halted_symbol_opens_nothing_and_lets_cancels_pass():
    async with adapter_world() as world:
        resting = await world.adapter.place(buy(limit=140))
        world.arm("halt", "AAPL")
        await world.client.market_time()
        assert (await world.adapter.quote("AAPL")).halted is True
        assert await refused_by(world, buy(limit=139)) == "halted"
        assert (await world.adapter.place(buy(symbol="MSFT", limit=25))).state is OrderState.WORKING
        await world.adapter.cancel(resting.key)
        await world.until(lambda: world.adapter.order(resting.key).state is OrderState.CANCELLED, "the cancel")
        world.arm("resume", "AAPL")
        await world.client.market_time()
        assert (await world.adapter.quote("AAPL")).halted is False
        assert (await world.adapter.place(buy(limit=139))).state is OrderState.WORKING


async def test_d17_greeks_that_were_not_computed_are_none():
    async with adapter_world() as world:
        (chain,) = await world.adapter.option_chain("AAPL")
        last = (await world.adapter.quote("AAPL")).last
        strike = min(chain.strikes, key=lambda one: abs(float(one) - last))
        option = chain.option(chain.expiries[2], strike, "C")
        world.arm("no-greeks")
        (quote,) = (await world.adapter.option_quotes([option])).values()
        assert (quote.delta, quote.gamma, quote.vega, quote.theta, quote.implied_volatility) == (None,) * 5
        assert 0 < quote.bid < quote.ask
        world.release("no-greeks")
        (quote,) = (await world.adapter.option_quotes([option])).values()
        assert 0 < quote.delta < 1


async def test_d18_figures_of_profit_that_are_unset_or_swapped_are_none():
    async with adapter_world(price_kind="synthetic") as world:
        await world.adapter.quote("AAPL")
        await world.adapter.place(buy(100))
        await world.until(lambda: world.gateway.exchange.positions(), "the position")
        await world.advance(1800)
        true = await world.adapter.pnl(symbol="AAPL")
        assert true.unrealized == world.gateway.exchange.pnl_single(ACCOUNT, AAPL_ID).unrealized
        assert true.unrealized != true.realized == 0
        for way in ("swapped", "unset"):
            world.arm("pnl", way)
            await world.advance(600)
            told = await world.adapter.pnl(symbol="AAPL")
            assert (told.unrealized, told.realized) == (None, None), way
            assert told.quantity == Decimal(100)
        world.release("pnl")
        await world.advance(600)
        assert (await world.adapter.pnl(symbol="AAPL")).unrealized is not None


async def test_d19_a_print_of_an_index_before_its_session_is_no_price():
    index = Instrument("SPX", SecType.INDEX, exchange="CBOE")
    async with adapter_world(price_kind="synthetic", symbols=("AAPL", "SPX")) as world:
        true = (await world.adapter.quote(index)).last
        stream = world.adapter.stream([index])
        events = []
        task = asyncio.ensure_future(collect(stream, events))
        while world.adapter._market_session() is Session.REGULAR:
            await world.advance(1800)
        assert (await world.adapter.quote(index)).last == pytest.approx(true, rel=0.2), "the session's last stays"
        opening = world.gateway.next_session().open
        await world.gateway.advance_to(opening - timedelta(minutes=30))
        await world.adapter.market_time()
        told = len(events)
        world.arm("tick", "SPX", "4", "1.25", "0")
        world.arm("tick", "SPX", "9", str(true))
        await world.client.market_time()
        quote = await world.adapter.quote(index)
        assert (quote.last, quote.close) == (None, true)
        await world.gateway.advance_to(opening)
        await world.adapter.market_time()
        await world.advance(300)
        assert (await world.adapter.quote(index)).last == pytest.approx(true, rel=0.2)
        await world.until(lambda: len(events) > told, "quotes of the new day")
        assert 1.25 not in {event.last for event in events}
        with pytest.raises(BrokerError):
            await world.adapter.place(NewOrder(index, Side.BUY, Decimal(1)))
        task.cancel()
        await stream.aclose()


async def collect(stream, events):
    async for event in stream:
        events.append(event)
