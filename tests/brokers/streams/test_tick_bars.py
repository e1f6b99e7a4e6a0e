"""Bars of trades against pandas, and what a bar says about what it did not see."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.market_data import Gap, Resumed, Trade
from moondev_ibkr.brokers.domain.tick_bars import BarRule
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.streams.hub import StreamHub
from moondev_ibkr.brokers.streams.open_stream import OpenStream
from moondev_ibkr.brokers.streams.tick_bars import BarBuilder, TickBars

from tests.brokers.streams.feeds import AAPL, MSFT, NOW, TRADES, open_stream, run_virtually, trade

#: Milliseconds since the trade before, price in cents, shares.
PRINT = st.tuples(st.integers(0, 9_000), st.integers(1, 50_000), st.integers(1, 900))
PRINTS = st.lists(PRINT, min_size=1, max_size=80)
COLUMNS = ["Open", "High", "Low", "Close", "Volume", "Average", "Count"]


def trades_of(prints) -> list[Trade]:
    moment, found = 0.0, []
    for pause, cents, size in prints:
        moment += pause / 1000
        found.append(trade(cents / 100, size=float(size), at=moment))
    return found


def frame_of(trades: list[Trade]) -> pd.DataFrame:
    return pd.DataFrame(
        {"price": [row.price for row in trades], "size": [row.size for row in trades]},
        index=pd.DatetimeIndex([row.time for row in trades]),
    ).assign(money=lambda frame: frame["price"] * frame["size"])


def by_pandas(groups) -> pd.DataFrame:
    bars = groups["price"].agg(["first", "max", "min", "last"])
    bars["volume"] = groups["size"].sum()
    bars["average"] = groups["money"].sum() / bars["volume"]
    bars["count"] = groups["price"].count()
    bars = bars[bars["count"] > 0]
    bars.columns = COLUMNS
    return bars


def by_us(rule: BarRule, trades: list[Trade]) -> pd.DataFrame:
    builder = BarBuilder(rule)
    bars = [row.bar for row in (bar for one in trades for bar in builder.add(one))]
    assert all(bar.complete for bar in bars)
    last = [row.bar for row in builder.running()]
    assert not any(bar.complete for bar in last)
    rows = [(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.average, bar.count) for bar in bars + last]
    return pd.DataFrame(rows, columns=COLUMNS, index=pd.DatetimeIndex([bar.time for bar in bars + last]))


def same(ours: pd.DataFrame, theirs: pd.DataFrame, *, times: bool = True) -> None:
    if not times:
        ours, theirs = ours.reset_index(drop=True), theirs.reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, check_freq=False, check_index_type=False)


@settings(max_examples=60, deadline=None)
@given(PRINTS, st.sampled_from([1, 5, 60, 300]))
def test_bars_of_time_are_those_of_pandas_resample(prints, seconds):
    trades = trades_of(prints)
    groups = frame_of(trades).resample(f"{seconds}s", origin="epoch")
    ours = by_us(BarRule(seconds=seconds), trades)
    theirs = by_pandas(groups)
    theirs.index = theirs.index.as_unit("us")
    ours.index = ours.index.as_unit("us")
    same(ours, theirs)


@settings(max_examples=40, deadline=None)
@given(PRINTS, st.integers(1, 9))
def test_bars_of_ticks_are_groups_of_so_many(prints, ticks):
    trades = trades_of(prints)
    places = [place // ticks for place in range(len(trades))]
    same(by_us(BarRule(ticks=ticks), trades), by_pandas(frame_of(trades).groupby(places)), times=False)


@settings(max_examples=40, deadline=None)
@given(PRINTS, st.integers(1, 2_000))
def test_bars_of_volume_end_with_the_trade_that_fills_them(prints, volume):
    trades = trades_of(prints)
    number, held, places = 0, 0.0, []
    for row in trades:
        places.append(number)
        held += row.size
        if held >= volume:
            number, held = number + 1, 0.0
    same(by_us(BarRule(volume=volume), trades), by_pandas(frame_of(trades).groupby(places)), times=False)


def test_an_interval_without_trades_has_no_bar_and_a_late_trade_is_in_none():
    builder = BarBuilder(BarRule(seconds=10))
    assert builder.add(trade(1, at=1)) == []
    (first,) = builder.add(trade(2, at=35))
    assert (first.bar.time, first.bar.close) == (NOW, 1)
    assert builder.add(trade(9, at=5)) == []
    (second,) = builder.close_until(NOW + timedelta(seconds=40))
    assert (second.bar.time, second.bar.high) == (NOW + timedelta(seconds=30), 2)
    assert builder.add(trade(9, at=39)) == []
    assert builder.late == 2
    assert builder.running() == []


def test_what_the_tape_does_not_count_is_in_no_bar():
    builder = BarBuilder(BarRule(ticks=1))
    assert builder.add(Trade(AAPL, NOW, 1.0, 1.0, unreported=True)) == []
    assert builder.unreported == 1


def test_a_bar_that_had_begun_before_anybody_listened_is_not_complete():
    builder = BarBuilder(BarRule(seconds=60), since=NOW + timedelta(seconds=20))
    builder.add(trade(1, at=30))
    (first,) = builder.add(trade(2, at=70))
    (second,) = builder.add(trade(3, at=130))
    assert (first.bar.complete, second.bar.complete) == (False, True)


def test_a_rule_names_one_measure():
    for wrong in ({}, {"seconds": 1, "ticks": 1}, {"ticks": 0}, {"volume": -1}):
        with pytest.raises(InvalidRequest):
            BarRule(**wrong)


class MarketTime:
    """Market time that runs with the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()

    def now(self):
        return NOW + timedelta(seconds=self._loop.time() - self._start)

    def monotonic(self) -> float:
        return self._loop.time()


def test_a_stream_s_bars_end_by_the_clock_and_a_gap_cuts_them():
    async def story() -> None:
        hub, clock = StreamHub(), MarketTime()
        stream, _ = open_stream(hub, AAPL, MSFT, kinds=(TRADES,))
        bars = TickBars(stream, BarRule(seconds=10), clock)
        got = []

        async def consume() -> None:
            async for row in bars:
                got.append((clock.now() - NOW, row.instrument.symbol, row.bar.close, row.bar.complete))

        consumer = asyncio.ensure_future(consume())
        await asyncio.sleep(1)
        hub.on_trade(trade(1, at=1))
        await asyncio.sleep(8.95)
        hub.on_trade(trade(1.5, at=9.95))
        await asyncio.sleep(2.05)
        assert [row[1:] for row in got] == [("AAPL", 1.5, True)], "its batch waited until after the end"
        assert timedelta(seconds=10) <= got[0][0] <= timedelta(seconds=10.5)
        hub.on_trade(trade(2, at=12))
        hub.on_trade(trade(3, MSFT, at=12))
        hub.mark(Gap(clock.now(), "tws", "10182", ("AAPL",)))
        await asyncio.sleep(0.01)
        assert [row[1:] for row in got[1:]] == [("AAPL", 2, False)]
        hub.mark(Resumed(clock.now(), "tws", 1, 0, None, ("AAPL",)))
        hub.on_trade(trade(4, at=13))
        await asyncio.sleep(9)
        assert [row[1:] for row in got[2:]] == [("MSFT", 3, True), ("AAPL", 4, False)]
        hub.on_trade(trade(5, at=21))
        await asyncio.sleep(0.5)
        await bars.aclose()
        await consumer
        assert [row[1:] for row in got[4:]] == [("AAPL", 5, False)]

    run_virtually(story())


def test_a_stream_that_subscribes_late_has_no_whole_bar_before():
    async def story() -> None:
        hub, clock = StreamHub(), MarketTime()

        async def subscribe():
            await asyncio.sleep(3)
            return open_stream(hub, AAPL, kinds=(TRADES,))[0]

        bars = TickBars(OpenStream(subscribe), BarRule(seconds=10), clock)
        await asyncio.sleep(9)
        following = asyncio.ensure_future(anext(bars))
        await asyncio.sleep(4)
        hub.on_trade(trade(1, at=13))
        hub.on_trade(trade(2, at=21))
        hub.on_trade(trade(3, at=31))
        assert [(await following).bar.complete, (await anext(bars)).bar.complete] == [False, True]
        await bars.aclose()

    run_virtually(story())
