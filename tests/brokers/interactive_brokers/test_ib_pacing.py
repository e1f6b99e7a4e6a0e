"""IB's limits on historical requests: no sequence that the pacer admits breaks a row."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.errors import InvalidRequest, PacingViolation
from moondev_ibkr.brokers.interactive_brokers.ib_pacing import (
    HISTORICAL_ROWS,
    LIMITS,
    HistoricalPacer,
    HistoricalRequest,
    HistoryKind,
    RepeatPacer,
    depth_limit,
    tick_by_tick_limit,
)


class FakeTime:
    """A clock and its timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[list] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]):
        entry = [self.now + seconds, callback, True]
        self.timers.append(entry)

        class Handle:
            def cancel(self) -> None:
                entry[2] = False

        return Handle()

    async def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [entry for entry in self.timers if entry[2] and entry[0] <= end]
            if not due:
                break
            first = min(due, key=lambda entry: entry[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self.now = end


def small(name: str, identity: object = None, what: str = "TRADES") -> HistoricalRequest:
    return HistoricalRequest(name, identity if identity is not None else object(), what, bar_seconds=5)


requests = st.builds(
    HistoricalRequest,
    contract=st.sampled_from(["AAPL", "MSFT", "SPY"]),
    identity=st.integers(0, 6),
    what=st.sampled_from(["TRADES", "BID_ASK", "MIDPOINT"]),
    exchange=st.sampled_from(["SMART", "NYSE"]),
    kind=st.sampled_from(HistoryKind),
    bar_seconds=st.sampled_from([1, 5, 30, 60, 3600]),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), requests), max_size=150))
def test_no_admitted_sequence_breaks_a_row(steps: list[tuple[float, HistoricalRequest]]) -> None:
    now = 0.0
    pacer = HistoricalPacer(lambda: now, open_limit=10_000, margin=0.0)
    admitted: list[tuple[float, HistoricalRequest]] = []
    for pause, request in steps:
        now += pause
        if pacer.delay(request) == 0:
            pacer.admit(request)
            admitted.append((now, request))
    for row in HISTORICAL_ROWS:
        for at, request in admitted:
            if not row.applies(request):
                continue
            same = [
                row.cost(other)
                for when, other in admitted
                if row.applies(other) and row.key(other) == row.key(request) and at <= when < at + row.window
            ]
            assert sum(same) <= row.limit, row.name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), requests), min_size=1, max_size=120))
def test_a_delay_is_exact_admitted_when_it_is_over_and_not_before(steps) -> None:
    now = 0.0
    pacer = HistoricalPacer(lambda: now, open_limit=10_000, margin=0.0)
    for pause, request in steps:
        now += pause
        wait = pacer.delay(request)
        if wait > 0.01:
            start = now
            now = start + wait - 0.005
            assert pacer.delay(request) > 0
            now = start + wait + 1e-6
        elif wait > 0:
            now += wait + 1e-6
        pacer.admit(request)


def test_h01_the_sixth_request_of_one_contract_waits_two_seconds() -> None:
    now = 0.0
    pacer = HistoricalPacer(lambda: now, margin=0.0)
    for _ in range(5):
        pacer.admit(small("AAPL"))
    assert pacer.delay(small("AAPL")) == pytest.approx(2.0)
    assert pacer.delay(small("MSFT")) == 0
    assert pacer.delay(small("AAPL", what="MIDPOINT")) == 0
    with pytest.raises(PacingViolation) as refused:
        pacer.admit(small("AAPL"))
    assert refused.value.data["seconds"] == pytest.approx(2.0)


def test_h01_the_same_question_waits_fifteen_seconds() -> None:
    now = 0.0
    pacer = HistoricalPacer(lambda: now, margin=0.0)
    pacer.admit(small("AAPL", "1 D of 5 secs"))
    assert pacer.delay(small("AAPL", "1 D of 5 secs")) == pytest.approx(15.0)
    assert pacer.delay(small("AAPL", "2 D of 5 secs")) == 0


def test_h01_bid_ask_counts_twice() -> None:
    now = 0.0
    pacer = HistoricalPacer(lambda: now, margin=0.0)
    for index in range(30):
        pacer.admit(small(f"S{index}", what="BID_ASK"))
        pacer.open = 0
    assert pacer.delay(small("X")) == pytest.approx(600.0)


def test_large_bars_are_free_of_the_rates_but_not_of_the_open_limit() -> None:
    pacer = HistoricalPacer(lambda: 0.0)
    day = HistoricalRequest("AAPL", "1 Y", bar_seconds=86400)
    tickets = [pacer.admit(day) for _ in range(50)]
    assert pacer.delay(day) == math.inf
    tickets[0].close()
    assert pacer.delay(day) == 0


@pytest.mark.parametrize("kind", [HistoryKind.HEAD_TIMESTAMP, HistoryKind.REALTIME_BARS, HistoryKind.TICKS])
def test_other_kinds_draw_on_the_same_bucket(kind: HistoryKind) -> None:
    pacer = HistoricalPacer(lambda: 0.0, open_limit=100)
    for index in range(60):
        pacer.admit(HistoricalRequest(f"S{index}", index, kind=kind, bar_seconds=None))
    assert pacer.delay(small("X")) > 599


async def test_turns_come_in_the_order_of_asking() -> None:
    clock = FakeTime()
    pacer = HistoricalPacer(clock, call_later=clock.call_later, margin=0.0)
    order: list[int] = []

    async def ask(number: int) -> None:
        (await pacer.turn(small("AAPL"))).close()
        order.append(number)

    tasks = [asyncio.create_task(ask(number)) for number in range(13)]
    await asyncio.sleep(0)
    await clock.advance(0)
    await asyncio.sleep(0)
    assert order == [0, 1, 2, 3, 4]
    await clock.advance(2.0)
    assert order == list(range(10))
    await clock.advance(2.0)
    assert order == list(range(13))
    await asyncio.gather(*tasks)
    assert pacer.open == 0
    assert pacer.waiting == 0


async def test_a_costly_request_is_not_overtaken_for_ever() -> None:
    clock = FakeTime()
    pacer = HistoricalPacer(clock, call_later=clock.call_later, margin=0.0)
    for index in range(59):
        pacer.admit(small(f"S{index}")).close()
    costly = asyncio.create_task(pacer.turn(small("X", what="BID_ASK")))
    cheap = asyncio.create_task(pacer.turn(small("Y")))
    await asyncio.sleep(0)
    assert pacer.waiting == 2
    await clock.advance(600.1)
    await asyncio.sleep(0)
    assert costly.done()
    assert cheap.done()


async def test_a_cancelled_caller_gives_its_turn_to_the_next() -> None:
    pacer = HistoricalPacer(lambda: 0.0, open_limit=1)
    held = await pacer.turn(small("A"))
    first, second = asyncio.create_task(pacer.turn(small("B"))), asyncio.create_task(pacer.turn(small("C")))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    held.close()
    assert (await asyncio.wait_for(second, 1)).request.contract == "C"
    assert pacer.waiting == 0


async def test_a_turn_that_was_won_and_cancelled_is_given_back() -> None:
    pacer = HistoricalPacer(lambda: 0.0, open_limit=1)
    held = await pacer.turn(small("A"))
    task = asyncio.create_task(pacer.turn(small("B")))
    await asyncio.sleep(0)
    held.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pacer.open == 0


async def test_what_can_never_fit_is_refused() -> None:
    pacer = HistoricalPacer(lambda: 0.0)
    with pytest.raises(InvalidRequest):
        await pacer.turn(HistoricalRequest("AAPL", "x", weight=6))


def test_a_late_send_counts_from_when_it_left() -> None:
    now = 0.0
    pacer = HistoricalPacer(lambda: now, margin=0.0)
    tickets = [pacer.admit(small("AAPL")) for _ in range(5)]
    now = 1.5
    for ticket in tickets:
        ticket.sent()
    now = 2.0
    assert pacer.delay(small("AAPL")) == pytest.approx(1.5)


def test_memory_is_bounded_over_many_contracts() -> None:
    now = 0.0
    pacer = HistoricalPacer(lambda: now)
    for index in range(3000):
        now += 20.0
        pacer.admit(small(f"S{index}")).close()
    assert len(pacer._seen) < 60


def test_limits_follow_the_number_of_lines() -> None:
    assert depth_limit(100) == 3
    assert [depth_limit(lines) for lines in (400, 401, 500, 501, 700)] == [3, 4, 4, 5, 6]
    assert depth_limit(100_000) == 60
    assert tick_by_tick_limit(100) == 5
    assert tick_by_tick_limit(300) == 15
    assert LIMITS["messages"].value == 50


def test_a_tick_by_tick_stream_is_asked_for_again_after_fifteen_seconds_and_each_kind_for_itself():
    now = [100.0]
    pacer = RepeatPacer(lambda: now[0])
    pacer.asked((1, "AllLast"))
    assert pacer.wait((1, "BidAsk")) == pacer.wait((2, "AllLast")) == 0
    assert pacer.wait((1, "AllLast")) == 15.25
    now[0] = 115.0
    assert pacer.wait((1, "AllLast")) > 0
    now[0] = 115.25
    assert pacer.wait((1, "AllLast")) == 0
    pacer.asked((1, "AllLast"))
    pacer.clear()
    assert pacer.wait((1, "AllLast")) == 0
