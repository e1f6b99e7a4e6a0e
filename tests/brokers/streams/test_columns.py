"""Trades as numpy columns are the trades, in order, and what fell off is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.market_data import Gap
from moondev_ibkr.brokers.domain.streams import StreamOptions
from moondev_ibkr.brokers.errors import InvalidRequest, UsageError
from moondev_ibkr.brokers.streams.hub import StreamHub
from moondev_ibkr.brokers.streams.open_stream import OpenStream

from tests.brokers.streams.feeds import AAPL, MSFT, NOW, QUOTES, TRADES, open_stream, run_virtually, trade


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.lists(st.one_of(st.just(None), st.integers(1, 12)), max_size=20))
def test_columns_hold_the_latest_trades_and_count_the_rest(size, steps):
    """A number offers so many trades, None takes."""

    async def story() -> None:
        hub = StreamHub()
        options = StreamOptions(columns=True, buffer_size=size, min_size=1.0)
        stream, _ = open_stream(hub, AAPL, MSFT, kinds=(TRADES,), options=options)
        number, waiting, lost = 0, [], 0
        for step in [*steps, None]:
            if step is not None:
                for _ in range(step):
                    number += 1
                    row = trade(number, AAPL if number % 2 else MSFT, size=float(number % 4), at=number / 7)
                    hub.on_trade(row)
                    if row.size >= 1:
                        waiting.append(row)
                        lost += len(waiting) > size
                        waiting = waiting[-size:]
            else:
                columns = stream.take_columns()
                assert columns.lost == lost
                assert columns.price.tolist() == [row.price for row in waiting]
                assert columns.size.tolist() == [row.size for row in waiting]
                times = [np.datetime64(row.time.replace(tzinfo=None), "us") for row in waiting]
                assert columns.time.tolist() == [moment.tolist() for moment in times]
                assert [columns.names[one] for one in columns.number] == [row.instrument.symbol for row in waiting]
                waiting, lost = [], 0
            assert stream.counts.received == number
            assert stream.counts.unaccounted == 0
            assert stream.counts.waiting == len(waiting)

    run_virtually(story())


async def test_what_was_taken_is_the_caller_s_own_and_markers_come_by_the_iterator():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL, kinds=(TRADES,), options=StreamOptions(columns=True, buffer_size=2))
    hub.on_trade(trade(1))
    taken = stream.take_columns()
    gap = Gap(NOW, "tws", "1101")
    hub.mark(gap)
    for price in (2, 3):
        hub.on_trade(trade(price))
    assert taken.price.tolist() == [1.0]
    assert await anext(stream) == gap
    assert len(stream.take_columns()) == 2


async def test_columns_are_for_trades_and_for_those_who_asked():
    hub = StreamHub()
    with pytest.raises(InvalidRequest):
        open_stream(hub, AAPL, kinds=(QUOTES, TRADES), options=StreamOptions(columns=True))
    assert hub.streams == ()
    plain, _ = open_stream(hub, AAPL, kinds=(TRADES,))
    with pytest.raises(UsageError):
        plain.take_columns()

    async def subscribe():
        return plain

    with pytest.raises(UsageError):
        OpenStream(subscribe).take_columns()
