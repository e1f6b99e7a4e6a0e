"""The message rate as a gateway counts it: when it reads, however it and the network bunch what was sent."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.lanes import Outgoing, SendState
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.message_rate import RateLimit
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.send_queue import SendQueue
from moondev_ibkr.brokers.simulation.tws.pacing import MessageRate, Verdict

CANCEL, PLACE, CONTRACT, MARKET_DATA, TIME = 4, 3, 9, 1, 49


class Timeline:
    """A clock and what is to happen by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._cancelled: set[int] = set()

    def __call__(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]):
        number = next(self._number)
        heapq.heappush(self._due, (when, number, callback))
        cancelled = self._cancelled

        class Handle:
            def cancel(self) -> None:
                cancelled.add(number)

        return Handle()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            when, number, callback = heapq.heappop(self._due)
            if number not in self._cancelled:
                self.now = max(self.now, when)
                callback()
        self.now = max(self.now, end)


class SlowGateway:
    """Reads every message late, in order; `stalls` are the seconds of each. It answers reqCurrentTime, and counts as
    IB does: the limiter is the paper gateway's own."""

    def __init__(self, stalls: Iterable[float] = (), *, limit: RateLimit | None = None, answers: bool = True) -> None:
        self.time = Timeline()
        self.answers = answers
        self.rate = MessageRate(50)
        self.verdicts: list[Verdict] = []
        self.read: list[int] = []
        #: Of each question that was answered: whether the queue asked it itself, and what it said to the answer.
        self.asked_itself: list[bool] = []
        self.swallowed: list[bool] = []
        self.write_seconds = 0.0
        self._stalls: Iterator[float] = chain(stalls, repeat(0.0))
        self._free_at = 0.0
        self.queue = SendQueue(self._write, self.time, self.time.call_at, limit, b"049")

    def _write(self, payload: bytes) -> bool:
        self.time.now += self.write_seconds
        self._free_at = max(self._free_at, self.time.now + next(self._stalls))
        self.time.call_at(self._free_at, lambda: self._read(payload))
        return True

    def _read(self, payload: bytes) -> None:
        message_id = int(payload)
        self.read.append(message_id)
        self.verdicts.append(self.rate.admit(self.time.now))
        if message_id == TIME and self.answers:
            self.asked_itself.append(payload == b"049")
            self.time.call_at(self.time.now + 0.001, lambda: self.swallowed.append(self.queue.on_answer()))

    def put(self, message_id: int, subject: int | None = None) -> Outgoing:
        return self.queue.put(message_id, b"%d" % message_id, subject)

    @property
    def warnings(self) -> int:
        return sum(verdict is not Verdict.ADMITTED for verdict in self.verdicts)


def test_c22_a_gateway_that_stood_still_reads_two_bursts_in_one_second_and_warns_of_none() -> None:
    """Found with 60 symbols on a busy machine: the first burst was read 400 ms late, the second at once."""
    gateway = SlowGateway([0.4])
    for index in range(120):
        gateway.put(MARKET_DATA, index)
    gateway.time.advance(10)
    assert gateway.read.count(MARKET_DATA) == 120
    assert gateway.warnings == 0


def test_without_hearing_the_gateway_the_same_two_bursts_are_one_too_many() -> None:
    gateway = SlowGateway([0.4])
    gateway.queue = SendQueue(gateway._write, gateway.time, gateway.time.call_at)
    for index in range(120):
        gateway.put(MARKET_DATA, index)
    gateway.time.advance(10)
    assert gateway.warnings > 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.2), st.sampled_from([MARKET_DATA, CONTRACT, TIME])), max_size=250),
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.3, 0.9, 1.4]), max_size=250),
)
def test_c22_no_bunching_of_what_was_sent_brings_a_warning(steps: list[tuple[float, int]], stalls: list[float]) -> None:
    gateway = SlowGateway(stalls)
    sent = []
    for index, (pause, message_id) in enumerate(steps):
        gateway.time.advance(pause if index % 60 == 0 else 0)
        sent.append(gateway.put(message_id, index))
    gateway.time.advance(len(steps) + 10)
    assert all(outgoing.state is SendState.SENT for outgoing in sent)
    assert gateway.warnings == 0


def test_a_gateway_that_reads_at_once_is_asked_as_fast_as_before() -> None:
    gateway = SlowGateway()
    for index in range(400):
        gateway.put(MARKET_DATA, index)
    began = gateway.time.now
    while gateway.queue.throttled:
        gateway.time.advance(0.01)
    assert gateway.read.count(MARKET_DATA) >= 390
    plain = 9 * RateLimit().window  # 400 requests in bursts of 40
    assert gateway.time.now - began <= plain * 1.1
    assert gateway.read.count(TIME) <= 11


def test_a_steady_flow_loses_little() -> None:
    gateway = SlowGateway()
    for index in range(600):
        gateway.put(MARKET_DATA, index)
        gateway.time.advance(0.02)
    assert gateway.read.count(MARKET_DATA) >= 12 * 40 / RateLimit().window * 0.93
    assert gateway.warnings == 0


def test_a_gateway_that_answers_no_question_gets_bursts_further_apart() -> None:
    gateway = SlowGateway(answers=False)
    last = [gateway.put(MARKET_DATA, index) for index in range(100)][-1]
    gateway.time.advance(20)
    assert last.sent_at == pytest.approx(100 + 2 * RateLimit().unheard_window, abs=0.1)


def test_cancels_and_orders_wait_for_no_answer() -> None:
    gateway = SlowGateway([2.0], answers=False)
    for index in range(100):
        gateway.put(MARKET_DATA, index)
    assert gateway.put(PLACE, 1).state is gateway.put(CANCEL, 9).state is SendState.SENT
    gateway.time.advance(1.1)
    orders = [gateway.put(PLACE, index) for index in range(2, 40)]
    assert {order.state for order in orders} == {SendState.SENT}


def test_only_the_queues_own_question_is_kept_from_whoever_asked_the_time() -> None:
    gateway = SlowGateway()
    gateway.put(TIME)
    gateway.time.advance(0.5)
    for index in range(60):
        gateway.put(MARKET_DATA, index)
    gateway.put(TIME)
    gateway.time.advance(5)
    assert gateway.swallowed == gateway.asked_itself
    assert set(gateway.swallowed) == {True, False}


def test_an_answer_that_was_lost_keeps_nobody_from_a_later_one() -> None:
    gateway = SlowGateway(answers=False)
    for index in range(60):
        gateway.put(MARKET_DATA, index)
    gateway.time.advance(10)
    gateway.answers = True
    gateway.put(TIME)
    gateway.time.advance(1)
    assert gateway.swallowed == [False]


def test_few_requests_bring_no_question() -> None:
    gateway = SlowGateway()
    for index in range(200):
        gateway.put(MARKET_DATA, index)
        gateway.time.advance(0.5)
    assert gateway.read.count(TIME) == 0


def test_a_burst_that_nobody_waits_behind_is_asked_about_too_and_leaves_room_for_the_next() -> None:
    """Found with two rounds of a scan: the end of the first counted for three seconds, and held up the second."""
    gateway = SlowGateway()
    for index in range(39):
        gateway.put(MARKET_DATA, index)
    gateway.time.advance(1.5)
    second = [gateway.put(MARKET_DATA, index) for index in range(39)]
    assert {outgoing.state for outgoing in second} == {SendState.SENT}


def test_a_message_counts_from_the_end_of_its_own_write() -> None:
    """A busy machine takes a while for each write: the tenth order of a burst leaves later than the first."""
    gateway = SlowGateway()
    limit = RateLimit(messages=10, order_reserve=0, cancel_reserve=0)
    gateway.queue = SendQueue(gateway._write, gateway.time, gateway.time.call_at, limit)
    gateway.write_seconds = 0.05
    sent = [gateway.put(CANCEL, index) for index in range(25)]
    gateway.time.advance(10)
    times = [outgoing.sent_at or 0.0 for outgoing in sent]
    assert min(later - earlier for earlier, later in zip(times, times[10:], strict=False)) >= 1.05
    assert times[9] - times[0] == pytest.approx(0.45)


def test_what_the_transport_held_back_counts_from_when_it_left() -> None:
    gateway = SlowGateway(limit=RateLimit(messages=1, order_reserve=0, cancel_reserve=0))
    gateway.put(CANCEL, 1)
    gateway.queue.pause()
    gateway.time.advance(0.8)
    gateway.queue.resume()
    later = gateway.put(CANCEL, 2)
    gateway.time.advance(3)
    assert later.sent_at == pytest.approx(100.8 + 1.05)


def test_a_new_link_owes_nothing_to_the_old_one() -> None:
    gateway = SlowGateway(answers=False)
    for index in range(100):
        gateway.put(MARKET_DATA, index)
    gateway.queue.fail_all()
    assert gateway.put(MARKET_DATA, 1000).state is SendState.SENT


def test_a_steady_run_of_orders_and_cancels_never_waits_for_its_own_questions() -> None:
    gateway = SlowGateway()
    sent: list[Outgoing] = []
    for _ in range(100):
        sent.append(gateway.put(PLACE))
        gateway.time.advance(0.0243)
        sent.append(gateway.put(CANCEL))
        gateway.time.advance(0.0243)
    assert [message.sent_at for message in sent] == [message.queued_at for message in sent]
