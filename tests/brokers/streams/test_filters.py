"""Each consumer filters for itself, and a filter that fails keeps nobody's data back."""

from __future__ import annotations

from moondev_ibkr.brokers.domain.market_data import Gap
from moondev_ibkr.brokers.domain.streams import StreamOptions
from moondev_ibkr.brokers.streams.hub import StreamHub

from tests.brokers.streams.feeds import AAPL, MSFT, NOW, QUOTES, TRADES, Line, open_stream, trade


async def test_small_trades_are_filtered_for_the_one_who_asked_for_that():
    hub = StreamHub()
    choosy, _ = open_stream(hub, AAPL, kinds=(TRADES,), options=StreamOptions(min_size=100))
    plain, _ = open_stream(hub, AAPL, kinds=(TRADES,))
    for size in (50, 100, 99, 500):
        hub.on_trade(trade(1, size=size))
    assert [event.size for event in choosy.take_all()] == [100, 500]
    assert choosy.counts.filtered == 2
    assert len(plain.take_all()) == 4


async def test_a_quote_that_hardly_moved_is_filtered_until_the_move_adds_up():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL, MSFT, options=StreamOptions(min_change_bps=10))
    seen = []
    line = Line(AAPL, 100.0)
    for last in (100.0, 100.05, 100.09, 100.11, 100.02, 99.9):
        line.last = last
        hub.on_lines([line])
        seen += [event.last for event in stream.take_all()]
    assert seen == [100.0, 100.11, 99.9]
    assert stream.counts.filtered == 3
    hub.on_lines([Line(MSFT, 100.05)])
    assert len(stream.take_all()) == 1, "another symbol's first quote is its own"


async def test_a_side_that_appears_or_goes_passes_any_filter_of_change():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL, options=StreamOptions(min_change_bps=10))
    line = Line(AAPL, 100.0)
    seen = []
    for bid in (None, 99.0, 99.0, None):
        line.bid = bid
        hub.on_lines([line])
        seen += [event.bid for event in stream.take_all()]
    assert seen == [None, 99.0, None]


async def test_a_condition_of_the_consumer_s_own_and_markers_pass_it():
    hub = StreamHub()
    stream, _ = open_stream(
        hub, AAPL, kinds=(QUOTES, TRADES), options=StreamOptions(where=lambda event: getattr(event, "price", 0) > 2)
    )
    hub.mark(Gap(NOW, "tws", "1101"))
    hub.on_lines([Line(AAPL, 5.0)])
    for price in (1, 2, 3):
        hub.on_trade(trade(price))
    assert [type(event).__name__ for event in stream.take_all()] == ["Gap", "Trade"]
    assert stream.counts.filtered == 3


async def test_a_condition_that_fails_delivers_is_counted_and_harms_nobody(caplog):
    hub = StreamHub()
    broken, _ = open_stream(hub, AAPL, kinds=(TRADES,), options=StreamOptions(where=lambda event: 1 / 0))
    other, _ = open_stream(hub, AAPL, kinds=(TRADES,))
    for price in (1, 2):
        hub.on_trade(trade(price))
    assert (len(broken.take_all()), len(other.take_all())) == (2, 2)
    assert (broken.failures, other.failures, hub.failures()) == (2, 0, 2)
    assert len([row for row in caplog.records if "filter failed" in row.message]) == 1


async def test_a_filtered_quote_starts_no_pause():
    hub = StreamHub()
    stream, _ = open_stream(hub, AAPL, options=StreamOptions(conflation=60.0, where=lambda event: event.last != 1.0))
    line = Line(AAPL, 1.0)
    hub.on_lines([line])
    assert stream.take_all() == []
    line.last = 2.0
    hub.on_lines([line])
    assert [event.last for event in stream.take_all()] == [2.0]
