"""A silent feed is noticed within half a minute in session, and never out of it or while market time stands."""

from datetime import timedelta

import pytest
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import NoPermission
from moondev_ibkr.brokers.interactive_brokers.ib_feed_watch import LOOK_EVERY, SILENCE, FeedWatch
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState


@pytest.fixture
async def watch(transport, book, clock):
    line = transport.subscribe_quotes(await book.qualify("AAPL"))
    line.tell(bid=1.0, ask=2.0)
    transport.state = LinkState.READY
    made = FeedWatch(transport, lambda: [line], lambda: made.session, clock, transport.alarms.append)
    made.session = Session.REGULAR
    made.line = line
    return made


def test_q15_the_promise_of_thirty_seconds_is_kept():
    assert SILENCE + LOOK_EVERY <= 30


async def test_q15_silence_is_reported_once_and_the_lines_asked_again(watch, transport, clock):
    clock.advance(SILENCE - 1)
    assert not watch.look()
    clock.advance(1)
    assert watch.look()
    clock.advance(60)
    assert watch.look()
    assert len(transport.alarms) == 1
    assert transport.asked["silent"] == 1
    clock.advance(300)
    watch.look()
    assert len(transport.alarms) == 2


async def test_a_tick_ends_the_silence_and_the_next_one_counts_anew(watch, transport, clock):
    clock.advance(SILENCE)
    watch.look()
    watch.line.tell(bid=1.0, ask=2.0)
    clock.advance(1)
    assert not watch.look()
    clock.advance(SILENCE)
    assert watch.look()
    assert len(transport.alarms) == 2


@pytest.mark.parametrize("session", [one for one in Session if one is not Session.REGULAR])
async def test_q15_nothing_is_flagged_out_of_session(watch, transport, clock, session):
    watch.session = session
    clock.advance(3600)
    assert not watch.look()
    assert not transport.alarms


async def test_nothing_is_silent_while_market_time_stands(watch, transport, clock):
    watch.line.tell(bid=1.0, ask=2.0)
    moment = clock.now()
    clock.advance(600)
    watch.line.value = type(watch.line.value)(watch.line.instrument, moment + timedelta(seconds=600), bid=1.0, ask=2.0)
    assert not watch.look()


async def test_a_link_that_is_down_or_a_line_that_failed_is_not_silent(watch, transport, clock):
    clock.advance(600)
    transport.state = LinkState.WAITING
    assert not watch.look()
    transport.state = LinkState.READY
    watch.line.error = NoPermission("line", "354")
    assert not watch.look()
