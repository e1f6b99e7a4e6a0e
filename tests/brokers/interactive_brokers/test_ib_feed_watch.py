"""A silent feed is noticed within half a minute in session, and never out of it or while market time stands."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.clock import ManualClock
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


async def test_q15_one_line_may_be_silent_all_day_while_others_talk(transport, book, clock):
    lines = [transport.subscribe_quotes(await book.qualify(symbol)) for symbol in ("AAPL", "MSFT")]
    transport.state = LinkState.READY
    watch = FeedWatch(transport, lambda: lines, lambda: Session.REGULAR, clock, transport.alarms.append)
    for line in lines:
        line.tell(bid=1.0, ask=2.0)
    for _ in range(600):
        clock.advance(LOOK_EVERY)
        lines[0].tell(bid=1.0, ask=2.0)
        assert not watch.look()
    assert not transport.alarms


@pytest.mark.parametrize(
    ("moment", "flagged"),
    [
        ("2026-11-27 17:30", True),  # half day, open until 18:00 UTC
        ("2026-11-27 18:30", False),  # half day, closed
        ("2026-11-26 16:00", False),  # Thanksgiving
        ("2026-11-25 14:00", False),  # before the open
        ("2026-11-25 21:30", False),  # after the close
        ("2026-11-28 16:00", False),  # Saturday
        ("2026-11-25 16:00", True),
    ],
)
async def test_q15_the_calendar_says_when_silence_counts(transport, book, moment, flagged):
    clock = transport.clock = ManualClock(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    calendar = MarketCalendar()
    line = transport.subscribe_quotes(await book.qualify("AAPL"))
    transport.state = LinkState.READY
    line.tell(bid=1.0, ask=2.0)
    alarms = transport.alarms
    watch = FeedWatch(transport, lambda: [line], lambda: calendar.session_at(clock.now()), clock, alarms.append)
    for _ in range(8):
        clock.advance(LOOK_EVERY)
        watch.look()
    assert bool(alarms) is flagged


async def test_q15_one_exchange_that_falls_silent_while_others_talk_is_asked_again_and_no_illiquid_name(
    transport, book, clock
):
    aapl = await book.qualify("AAPL")
    lines = []
    for number in range(12):
        exchange = "NASDAQ" if number < 6 else "NYSE"
        made = replace(aapl, symbol=f"S{number}", con_id=9000 + number, primary_exchange=exchange)
        lines.append(transport.subscribe_quotes(made))
        lines[-1].tell(bid=1.0, ask=2.0)
    transport.state = LinkState.READY
    watch = FeedWatch(transport, lambda: lines, lambda: Session.REGULAR, clock, transport.alarms.append)
    for look in range(60):
        clock.advance(LOOK_EVERY)
        for line in lines if look % 9 == 0 else lines[1:]:
            line.tell(bid=1.0, ask=2.0)
        assert not watch.look()
    for _ in range(30):
        clock.advance(LOOK_EVERY)
        for line in lines[3:]:
            line.tell(bid=1.0, ask=2.0)
        assert not watch.look(), "three names of an exchange may be quiet"
    for _ in range(60):
        clock.advance(LOOK_EVERY)
        for line in lines[1:]:
            line.tell(bid=1.0, ask=2.0)
        assert not watch.look()
    found = []
    for _ in range(8):
        clock.advance(LOOK_EVERY)
        for line in lines[6:]:
            line.tell(bid=1.0, ask=2.0)
        found.append(watch.look())
    assert found == [False] * 6 + [True] * 2
    assert len(transport.alarms) == 1
    assert "NASDAQ" in transport.alarms[0]
    assert transport.asked["silent"] == 1
    assert transport.asked["silent_only"] == {9001, 9002, 9003, 9004, 9005}
