"""Quotes, bars, contracts and accounts of the portal client against a paper door in memory: P06, P09, D03, H09."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.market_data import (
    Bar,
    BarSize,
    BarSource,
    DataType,
    Depth,
    Gap,
    Quote,
    Resumed,
    StreamKind,
)
from moondev_ibkr.brokers.errors import AmbiguousInstrument, NoPermission, NotSupported, UnknownInstrument
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.history import period_of, span_of
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.quote_line import to_quote
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.words import BAR_WORDS, to_number
from moondev_ibkr.brokers.interactive_brokers.ib_transport import BarRequest, LinkEventKind, QuoteLine

from .rig import AAPL, ACCOUNT, START, D, PortalWorld, limit, virtually

MSFT = Instrument("MSFT", con_id=272093)


class Market:
    """A MarketListener that remembers."""

    def __init__(self) -> None:
        self.quotes: list[Quote] = []
        self.depths: list[Depth] = []

    def on_lines(self, lines: Sequence[QuoteLine]) -> None:
        self.quotes += [line.quote() for line in lines]

    def on_depth(self, depth: Depth) -> None:
        self.depths.append(depth)

    def on_trade(self, trade: object) -> None:
        raise AssertionError("the portal tells no trades")

    on_bid_ask = on_trade


# Words


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("168.42", "168.42"),
        ("1,300", "1300"),
        ("24.2M", "24200000"),
        ("163.773K", "163773"),
        ("C168.42", "168.42"),
        ("H168.42", "168.42"),
        ("19,600.00 USD (100 Shares)", "19600"),
        (100.0, "100"),
        (0.1, "0.1"),
        ("-12.5", "-12.5"),
    ],
)
def test_d08_numbers_are_read_exactly_whatever_stands_around_them(text: object, number: str) -> None:
    assert to_number(text) == D(number)
    assert str(to_number(text)) == number


@pytest.mark.parametrize("text", [None, "", "N/A", "abc", True, float("inf"), float("nan")])
def test_d06_d09_what_is_no_number_is_none(text: object) -> None:
    assert to_number(text) is None


def test_d06_d10_d16_a_prior_close_is_no_last_price_and_a_halted_one_says_so() -> None:
    closed = to_quote({"31": "C168.42", "84": "168.40", "86": "168.44", "88": "1,300"}, AAPL, START, "portal")
    assert (closed.last, closed.close, closed.bid_size) == (None, 168.42, 1300)
    halted = to_quote({"31": "H168.42", "6509": "RpB"}, AAPL, START, "portal")
    assert (halted.last, halted.halted, halted.data_type) == (168.42, True, DataType.LIVE)
    assert to_quote({"31": "168.42", "6509": "DPB"}, AAPL, START, "portal").data_type is DataType.DELAYED
    empty = to_quote({}, AAPL, START, "portal")
    assert (empty.last, empty.bid, empty.halted, empty.volume) == (None, None, None, None)


@pytest.mark.parametrize(
    ("duration", "size", "period"),
    [
        ("1800 S", BarSize.M1, "30min"),
        ("1800 S", BarSize.M5, "1h"),
        ("28800 S", BarSize.M1, "8h"),
        ("1 D", BarSize.M1, "1d"),
        ("3 D", BarSize.M1, "1d"),
        ("5 D", BarSize.M30, "5d"),
        ("2 W", BarSize.M30, "1w"),
        ("1 Y", BarSize.D1, "365d"),
        ("5 Y", BarSize.D1, "3y"),
        ("1 D", BarSize.D1, "1d"),
    ],
)
def test_periods_cover_the_span_and_never_ask_for_more_than_the_bars_allow(
    duration: str, size: BarSize, period: str
) -> None:
    assert period_of(span_of(duration), size, BAR_WORDS[size]) == period


def test_h09_every_word_of_a_bar_is_lower_case() -> None:
    assert all(row.word == row.word.lower() and row.period == row.period.lower() for row in BAR_WORDS.values())


# Quotes


def test_p09_a_snapshot_is_asked_until_its_prices_are_there() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            quote = await world.client.snapshot(AAPL, 5.0)
            assert quote.is_two_sided
            assert quote.last is not None
            assert quote.source == "portal"
            assert world.wire.count("GET /iserver/marketdata/snapshot") >= 2

    virtually(story())


def test_d05_data_that_the_user_lacks_is_no_permission_for_snapshots_and_streams() -> None:
    async def story() -> None:
        async with PortalWorld(no_data=frozenset({"MSFT"})) as world:
            with pytest.raises(NoPermission):
                await world.client.snapshot(MSFT, 5.0)
            line = world.client.subscribe_quotes(MSFT)
            with pytest.raises(NoPermission):
                await line.first(10.0)

    virtually(story())


def test_d04_d10_delayed_data_says_that_it_is() -> None:
    async def story() -> None:
        async with PortalWorld(not_subscribed=frozenset({"MSFT"})) as world:
            line = world.client.subscribe_quotes(MSFT)
            await line.first(10.0)
            assert line.data_type is DataType.DELAYED

    virtually(story())


def test_p06_quotes_go_on_long_after_the_portal_would_have_ended_them() -> None:
    async def story() -> None:
        async with PortalWorld(stream_seconds=600.0) as world:
            market = Market()
            world.client.add_market_listener(market)
            line = world.client.subscribe_quotes(AAPL)
            await line.first(5.0)
            for _ in range(8):
                await asyncio.sleep(450)
                seen = line.updates
                world.advance(60)
                await asyncio.sleep(1)
                assert line.updates > seen
            assert line.error is None
            assert market.quotes

    virtually(story())


def test_p06_d03_a_silent_line_that_is_asked_again_ticks_again() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            line = world.client.subscribe_quotes(AAPL)
            await line.first(5.0)
            world.arm("expire-quotes")
            seen = line.updates
            world.advance(60)
            await asyncio.sleep(1)
            assert line.updates == seen
            world.client.resubscribe_silent(asyncio.get_running_loop().time())
            world.advance(60)
            await asyncio.sleep(1)
            assert line.updates > seen
            kinds = [event.kind for event in world.events if event.symbols == ("AAPL",)]
            assert kinds == [LinkEventKind.FARM_DOWN, LinkEventKind.SUBSCRIPTIONS_RESTORED]

    virtually(story())


def test_d01_a_line_that_stays_silent_is_one_gap_until_it_tells_again() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            line = world.client.subscribe_quotes(AAPL)
            await line.first(5.0)

            def told() -> list[LinkEventKind]:
                return [event.kind for event in world.events if event.symbols == ("AAPL",)]

            world.arm("silent-feed")
            await asyncio.sleep(40)
            for _ in range(3):
                world.client.resubscribe_silent(asyncio.get_running_loop().time())
                assert told() == [LinkEventKind.FARM_DOWN]
            world.release("silent-feed")
            world.advance(60)
            await asyncio.sleep(5)
            assert told() == [LinkEventKind.FARM_DOWN, LinkEventKind.SUBSCRIPTIONS_RESTORED]

    virtually(story())


def test_q22_a_lost_stream_is_a_gap_and_then_resumed_with_a_first_tick() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            stream = world.broker.stream(["AAPL"], {StreamKind.QUOTES})
            first = await anext(stream)
            assert isinstance(first, Quote)
            world.arm("drop-streams")
            await world.until(lambda: not world.client.stream_is_open, "the stream to end")
            await world.until(lambda: world.client.stream_is_open, "the stream to be back")
            world.advance(60)
            await asyncio.sleep(2)
            kinds = []
            while not (kinds and kinds[-1] is Quote and Resumed in kinds):
                kinds.append(type(await anext(stream)))
            assert kinds.index(Gap) < kinds.index(Resumed)
            await stream.aclose()

    virtually(story())


def test_without_a_stream_quotes_come_by_snapshot() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.client._session.stream.close()
            line = world.client.subscribe_quotes(AAPL)
            quote = await line.first(10.0)
            assert quote.is_two_sided

    virtually(story())


def test_the_last_user_of_a_line_ends_it_at_the_portal() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            line = world.client.subscribe_quotes(AAPL)
            world.client.subscribe_quotes(AAPL)
            await line.first(5.0)
            keys = [key for stream in world.gateway.portal.streams for key in stream.keys]
            assert "smd+265598" in keys
            world.client.unsubscribe_quotes(AAPL)
            await asyncio.sleep(1)
            assert "smd+265598" in [key for stream in world.gateway.portal.streams for key in stream.keys]
            world.client.unsubscribe_quotes(AAPL)
            await asyncio.sleep(1)
            assert "smd+265598" not in [key for stream in world.gateway.portal.streams for key in stream.keys]

    virtually(story())


def test_d12_depth_is_one_ladder_and_a_second_is_refused() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            market = Market()
            world.client.add_market_listener(market)
            handle = world.client.subscribe_depth(AAPL, 5)
            await world.until(lambda: market.depths, "the ladder")
            depth = market.depths[-1]
            assert 0 < len(depth.bids) <= 5
            assert depth.bids[0].price < depth.asks[0].price
            assert [row.price for row in depth.bids] == sorted((row.price for row in depth.bids), reverse=True)
            with pytest.raises(NotSupported):
                world.client.subscribe_depth(MSFT, 5)
            world.client.unsubscribe(handle)

    virtually(story())


def test_what_the_portal_has_not_names_the_door() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            client = world.client
            with pytest.raises(NotSupported, match="portal"):
                client.subscribe_ticks(AAPL, "AllLast")
            for question in (
                client.head_timestamp(AAPL, BarSource.TRADES, True),
                client.schedule(AAPL, 5, None),
                client.historical_ticks(AAPL, START, None, 10, True),
                client.market_rule(26),
                client.historical_bars(BarRequest(AAPL, BarSize.S5, "1800 S")),
                client.historical_bars(BarRequest(AAPL, BarSize.M1, "1 D", source=BarSource.ADJUSTED_LAST)),
            ):
                with pytest.raises(NotSupported, match="portal"):
                    await question

    virtually(story())


# Bars


def test_bars_come_ascending_inside_the_span_and_daily_ones_by_their_day() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            world.arm("cold-charts")
            minutes = await world.client.historical_bars(BarRequest(AAPL, BarSize.M5, "3 D"))
            assert minutes == sorted(minutes, key=lambda bar: bar.time)
            assert all(bar.time >= world.gateway.now - timedelta(days=8) for bar in minutes)
            assert len({bar.time for bar in minutes}) == len(minutes) > 78
            days = await world.client.historical_bars(BarRequest(AAPL, BarSize.D1, "20 D"))
            assert all((bar.time.hour, bar.time.minute) == (0, 0) for bar in days)
            assert days[-1].time.date() == world.gateway.now.date()
            past = await world.client.historical_bars(
                BarRequest(AAPL, BarSize.H1, "1 W", end=world.gateway.now - timedelta(days=7))
            )
            assert past[-1].time < world.gateway.now - timedelta(days=7)

    virtually(story())


class Bars:
    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.ended: list[Exception] = []

    def on_bar(self, bar: Bar) -> None:
        self.bars.append(bar)

    def on_bars_ended(self, error: Exception) -> None:
        self.ended.append(error)


def test_d02_live_bars_are_asked_for_again_until_the_session_is_lost() -> None:
    async def story() -> None:
        async with PortalWorld() as world:
            listener = Bars()
            handle, bars = await world.client.live_bars(BarRequest(AAPL, BarSize.M1, "1800 S"), listener)
            assert bars
            world.advance(180)
            await asyncio.sleep(12)
            assert listener.bars
            assert listener.bars[-1].time > bars[-1].time
            world.arm("auth-lost")
            await world.until(lambda: listener.ended, "the end")
            world.client.unsubscribe(handle)

    virtually(story())


# Contracts


def test_contracts_are_found_by_symbol_number_and_expiry() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            found = await world.broker.details("AAPL")
            assert (found.instrument.con_id, found.instrument.primary_exchange) == (265598, "NASDAQ")
            (same,) = await world.client.contract_details(Instrument("X", con_id=265598))
            assert same.instrument.symbol == "AAPL"
            assert await world.client.contract_details(Instrument("NOSUCH")) == []
            with pytest.raises(UnknownInstrument):
                await world.broker.details("NOSUCH")
            futures = await world.client.contract_details(Instrument("MES", SecType.FUTURE, exchange="CME"))
            assert futures
            expiry = futures[0].instrument.expiry
            assert expiry is not None
            one = await world.client.contract_details(Instrument("MES", SecType.FUTURE, exchange="CME", expiry=expiry))
            assert [row.instrument.expiry for row in one] == [expiry]
            assert one[0].instrument.multiplier == 5
            if len(futures) > 1:
                with pytest.raises(AmbiguousInstrument):
                    await world.broker.details(Instrument("MES", SecType.FUTURE, exchange="CME"))
            matches = await world.client.matching_symbols("AAPL")
            assert matches[0].instrument.con_id == 265598
            assert await world.client.matching_symbols("NOSUCH") == []

    virtually(story())


# Accounts


def test_positions_cash_and_profit_are_the_exchange_s() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            placed = await world.broker.place(limit("k1", 100, "270"))
            await world.broker.wait(placed.key, 5)
            await world.client.settled()
            (position,) = await world.client.positions()
            (true,) = world.exchange.positions(ACCOUNT)
            assert (position.quantity, position.instrument.symbol) == (true.quantity, "AAPL")
            assert world.client.cached_positions() == [position]
            (summary,) = await world.client.account_summary()
            assert summary.net_liquidation == pytest.approx(world.exchange.summary(ACCOUNT).net_liquidation)
            assert (summary.currency, summary.day_trades_remaining) == ("USD", None)
            assert world.client.exchange_rate(ACCOUNT, "USD") == 1
            assert world.client.exchange_rate(ACCOUNT, "EUR") is None
            whole, single = await world.client.pnl(ACCOUNT), await world.client.pnl(ACCOUNT, 265598)
            assert whole.daily is not None
            assert single.quantity == 100
            assert (await world.client.pnl(ACCOUNT, 272093)).quantity == 0

    virtually(story())


def test_a_position_that_is_closed_is_told_as_gone() -> None:
    async def story() -> None:
        async with PortalWorld(broker=True) as world:
            told: list[tuple[str, object]] = []
            world.client.add_position_listener(lambda row: told.append((row.instrument.symbol, row.quantity)))
            await world.broker.wait((await world.broker.place(limit("k1", 10, "270"))).key, 5)
            await world.client.settled()
            await asyncio.sleep(60)
            (closing,) = await world.broker.flatten("AAPL")
            await world.broker.wait(closing.key, 5)
            await world.until(lambda: told and told[-1] == ("AAPL", 0), "the end of the position")

    virtually(story())
