"""The send queue: money first, never too fast, and no message lost without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.lanes import (
    MESSAGE_LANES,
    Lane,
    Outgoing,
    SendState,
)
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.message_rate import RateLimit
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.send_queue import SendQueue

CANCEL, PLACE, CONTRACT, MARKET_DATA, HISTORY = 4, 3, 9, 1, 20
STOP_HISTORY, GLOBAL_CANCEL = 25, 58


class Line:
    """A queue with a clock moved by hand; records what was written and when."""

    def __init__(self, limit: RateLimit | None = None) -> None:
        self.now = 100.0
        self.written: list[tuple[float, bytes]] = []
        self.open = True
        self.timers: list[list] = []
        self.timers_set = 0
        self.queue = SendQueue(self.write, lambda: self.now, self.call_at, limit)

    def write(self, payload: bytes) -> bool:
        if self.open:
            self.written.append((self.now, payload))
        return self.open

    def call_at(self, when: float, callback: Callable[[], None]):
        self.timers_set += 1
        entry = [when, callback, True]
        self.timers.append(entry)

        class Handle:
            def cancel(self) -> None:
                entry[2] = False

        return Handle()

    def live_timers(self) -> int:
        return sum(1 for entry in self.timers if entry[2])

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [entry for entry in self.timers if entry[2] and entry[0] <= end]
            if not due:
                break
            first = min(due, key=lambda entry: entry[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end

    def put(self, message_id: int, subject: int | None = None) -> Outgoing:
        return self.queue.put(message_id, b"%d" % message_id, subject)

    def ids(self) -> list[int]:
        return [int(payload) for _, payload in self.written]


def test_c23_a_cancel_and_an_order_leave_at_once_behind_200_requests() -> None:
    line = Line()
    for index in range(200):
        line.put(MARKET_DATA, index)
    waiting = line.queue.depth(Lane.SUBSCRIPTION)
    assert waiting > 150
    order, cancel = line.put(PLACE, 1), line.put(CANCEL, 99)
    assert order.state is cancel.state is SendState.SENT
    assert cancel.sent_at == order.sent_at == line.now
    assert line.queue.depth(Lane.SUBSCRIPTION) == waiting


def test_the_reserve_holds_for_several_orders_and_more_cancels() -> None:
    line = Line(RateLimit(messages=48, order_reserve=8, cancel_reserve=3))
    for index in range(200):
        line.put(MARKET_DATA, index)
    orders = [line.put(PLACE, index) for index in range(8)]
    cancels = [line.put(CANCEL, 1000 + index) for index in range(4)]
    assert [order.state for order in orders].count(SendState.SENT) == 5
    assert [cancel.state for cancel in cancels].count(SendState.SENT) == 3


def test_q14_the_probe_of_the_link_is_not_held_up_by_requests() -> None:
    line = Line()
    for index in range(200):
        line.put(MARKET_DATA, index)
    assert line.put(49).state is SendState.SENT


def test_lanes_leave_in_order_of_priority() -> None:
    line = Line(RateLimit(messages=5, order_reserve=0, cancel_reserve=0))
    for index in range(5):
        line.put(HISTORY, index)
    for message_id in (HISTORY, MARKET_DATA, CONTRACT, PLACE, CANCEL):
        line.put(message_id, 900 + message_id)
    line.advance(2)
    assert line.ids()[5:] == [CANCEL, PLACE, CONTRACT, MARKET_DATA, HISTORY]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.sampled_from(sorted(MESSAGE_LANES))), max_size=300),
    st.sampled_from([RateLimit(), RateLimit(10, 1.0, 4, 1), RateLimit(3, 0.5, 2, 2)]),
)
def test_c22_no_window_ever_holds_more_than_the_limit(steps: list[tuple[float, int]], limit: RateLimit) -> None:
    line = Line(limit)
    sent = [
        line.put(message_id, index) for index, (pause, message_id) in enumerate(steps) if line.advance(pause) is None
    ]
    line.advance(len(steps) * limit.window + 1)
    assert all(outgoing.state is SendState.SENT for outgoing in sent)
    times = [when for when, _ in line.written]
    for index in range(len(times) - limit.messages):
        assert times[index + limit.messages] - times[index] >= limit.window - 1e-9
    for lane in Lane:
        own = [
            outgoing.sent_at
            for outgoing in sent
            if outgoing.lane is lane and MESSAGE_LANES[outgoing.message_id] is lane
        ]
        assert own == sorted(own)


def test_one_timer_at_a_time_and_few_wake_ups() -> None:
    line = Line()
    for index in range(500):
        line.put(MARKET_DATA, index)
        assert line.live_timers() <= 1
    line.timers_set = 0
    line.advance(20)
    assert not line.queue.throttled
    assert len(line.written) == 500
    assert line.timers_set <= 500 // 40 + 1


def test_c24_what_did_not_leave_is_reported_and_never_leaves() -> None:
    line = Line(RateLimit(messages=2, order_reserve=1, cancel_reserve=0))
    orders = [line.put(PLACE, index) for index in range(4)]
    assert [order.state for order in orders] == [SendState.SENT, SendState.SENT, SendState.QUEUED, SendState.QUEUED]
    assert line.queue.fail_all() == orders[2:]
    assert [order.state for order in orders[2:]] == [SendState.NOT_SENT, SendState.NOT_SENT]
    line.advance(10)
    assert len(line.written) == 2
    assert len(line.queue) == 0
    assert line.live_timers() == 0


async def test_a_sender_can_await_the_fate_of_its_message() -> None:
    line = Line(RateLimit(messages=1, order_reserve=0, cancel_reserve=0))
    first, second = line.put(PLACE, 1), line.put(PLACE, 2)
    assert await first.settled() is SendState.SENT
    waiter = asyncio.ensure_future(second.settled())
    await asyncio.sleep(0)
    assert not waiter.done()
    line.queue.fail_all()
    assert await waiter is SendState.NOT_SENT


def test_a_cancel_never_overtakes_its_own_order() -> None:
    line = Line(RateLimit(messages=4, order_reserve=3, cancel_reserve=2))
    line.put(PLACE, 1)
    line.put(PLACE, 2)
    waiting = line.put(PLACE, 3)
    own, other = line.put(CANCEL, 3), line.put(CANCEL, 1)
    assert waiting.state is own.state is SendState.QUEUED
    assert other.state is SendState.SENT
    line.advance(3)
    assert waiting.sent_at is not None
    assert own.sent_at is not None
    assert line.ids()[-2:] == [PLACE, CANCEL]


def test_a_cancel_of_a_request_follows_the_request() -> None:
    line = Line(RateLimit(messages=3, order_reserve=1, cancel_reserve=0))
    for subject in (1, 2, 3):
        line.put(HISTORY, subject)
    line.put(STOP_HISTORY, 3)
    line.put(STOP_HISTORY, 1)
    line.advance(10)
    assert line.ids() == [HISTORY, HISTORY, STOP_HISTORY, HISTORY, STOP_HISTORY]


def test_a_global_cancel_goes_behind_the_orders_that_wait() -> None:
    line = Line(RateLimit(messages=3, order_reserve=2, cancel_reserve=1))
    line.put(PLACE, 1)
    line.put(PLACE, 2)
    line.put(PLACE, 3)
    assert line.put(GLOBAL_CANCEL).lane is Lane.ORDER
    line.advance(5)
    assert line.ids() == [PLACE, PLACE, PLACE, GLOBAL_CANCEL]
    assert line.put(GLOBAL_CANCEL).lane is Lane.CANCEL


def test_a_waiting_message_can_be_withdrawn() -> None:
    line = Line(RateLimit(messages=1, order_reserve=0, cancel_reserve=0))
    first, second, third = line.put(PLACE, 1), line.put(PLACE, 2), line.put(CONTRACT)
    assert not line.queue.withdraw(first)
    assert line.queue.withdraw(second)
    assert second.state is SendState.NOT_SENT
    line.advance(3)
    assert line.ids() == [PLACE, CONTRACT]
    assert third.state is SendState.SENT
    assert line.put(CANCEL, 2).lane is Lane.CANCEL


def test_a_full_transport_keeps_messages_here() -> None:
    line = Line()
    line.queue.pause()
    order = line.put(PLACE, 1)
    line.advance(5)
    assert order.state is SendState.QUEUED
    assert line.written == []
    line.queue.resume()
    assert order.state is SendState.SENT


def test_a_closed_transport_takes_nothing() -> None:
    line = Line()
    line.open = False
    order = line.put(PLACE, 1)
    assert order.state is SendState.QUEUED
    assert line.queue.fail_all() == [order]


def test_an_id_outside_the_table_is_refused() -> None:
    with pytest.raises(KeyError):
        Line().put(60)


@pytest.mark.parametrize("wrong", [(1, 1.0, 1, 0), (10, 1.0, 2, 3), (10, 0.0, 2, 1)])
def test_a_limit_without_room_is_refused(wrong: tuple) -> None:
    with pytest.raises(ValueError, match="must"):
        RateLimit(*wrong)
