"""Histogram, ring and rates against plain counting."""

from __future__ import annotations

import sys
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.streams import Rate
from moondev_ibkr.brokers.histogram import Histogram
from moondev_ibkr.brokers.streams.rates import RateMeter
from moondev_ibkr.brokers.streams.ring import RingBuffer


@given(st.lists(st.floats(0, 3_000), min_size=1), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_at_most_a_thirty_second_too_high(durations, share):
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    exact = sorted(durations)[max(1, round(share * len(durations))) - 1]
    found = histogram.quantile(share)
    if exact < 1_000:  # beyond 18 minutes only the maximum is exact
        assert exact - 1e-9 <= found <= exact * (1 + 1 / 32) + 1e-9
    assert histogram.report()["max"] == max(durations) * 1000
    assert histogram.count == len(durations)


def test_a_histogram_does_not_grow_and_knows_nothing_of_nothing():
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    assert histogram.report() == {}
    before = sys.getsizeof(histogram._buckets)
    for number in range(10_000):
        histogram.add(number * 1e-6)
    histogram.add(-1.0)
    histogram.add(1e9)
    assert sys.getsizeof(histogram._buckets) == before < 20_000
    assert histogram.report()["p50"] == pytest.approx(5.0, rel=1 / 32)


@given(st.integers(1, 5), st.lists(st.one_of(st.just(None), st.integers()), max_size=60))
def test_a_ring_is_a_deque_that_tells_what_gave_way(size, steps):
    """A number is pushed, None pops."""
    ring, plain = RingBuffer(size), deque()
    for step in steps:
        if step is not None:
            gone = plain.popleft() if len(plain) == size else None
            plain.append(step)
            assert ring.push(step) == gone
        elif plain:
            assert ring.pop() == plain.popleft()
        else:
            with pytest.raises(IndexError):
                ring.pop()
        assert len(ring) == len(plain)


def test_a_rate_is_of_the_last_seconds_and_the_total_of_ever():
    meter = RateMeter(["QUOTES", "TRADES"], window=10)
    now = 1_000.0
    meter.look(now)
    for second in range(60):
        meter.totals["QUOTES"] += 100 if second < 50 else 20
        now += 1.0
        meter.look(now)
    assert meter.report(now) == {"QUOTES": Rate(5_200, 20.0), "TRADES": Rate(0, 0.0)}
    assert meter.report(now + 20)["QUOTES"].per_second < 20


def test_a_rate_before_the_window_is_full_is_over_what_there_is():
    meter = RateMeter(["QUOTES"], window=10)
    assert meter.report(5.0) == {"QUOTES": Rate(0, 0.0)}
    meter.totals["QUOTES"] += 30
    assert meter.report(8.0)["QUOTES"] == Rate(30, 10.0)
