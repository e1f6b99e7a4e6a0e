"""The detectors, tick by tick, against the same definitions over the whole day in plain pandas: the same events at the
same ticks, on made-up days with breaks in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.agents.analysis.stream.day_figures import DayFigures
from moondev_ibkr.agents.analysis.stream.events import StreamEventKind as Kind
from moondev_ibkr.agents.analysis.stream.symbol_watch import SymbolWatch
from moondev_ibkr.brokers.calendar import MarketCalendar, hours_of
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Quote

from tests.agents.analysis.stream.plain_pandas import expected

AAA = Instrument("AAA")
OPEN = datetime(2026, 4, 15, 13, 30, tzinfo=UTC)
HOURS = hours_of(InstrumentDetails(AAA), OPEN, MarketCalendar())
FIGURES = DayFigures(
    "AAA",
    date(2026, 4, 15),
    HOURS,
    loaded_at=OPEN - timedelta(hours=6),
    previous_close=100.0,
    regular_close=99.0,
    atr=2.5,
    usual=tuple(1_000.0 * (minute + 1) for minute in range(390)),
)
#: (milliseconds after the quote before, cents that the last price moves, shares traded, half the spread in cents; 0:
#: one-sided).
Step = tuple[int, int, int, int]


def day_of(start: timedelta, steps: Sequence[Step]) -> list[Quote]:
    quotes = []
    time, last, volume, high, low = OPEN + start, 10_000, 0, 10_000, 10_000
    for wait, move, traded, half in steps:
        time += timedelta(milliseconds=wait)
        last = max(100, last + move)
        volume += traded
        high, low = max(high, last), min(low, last)
        quotes.append(
            Quote(
                AAA,
                time,
                bid=(last - half) / 100,
                ask=(last + half) / 100 if half else None,
                last=last / 100,
                high=high / 100,
                low=low / 100,
                volume=float(volume),
            )
        )
    return quotes


def watched(quotes: Sequence[Quote], breaks: frozenset[int] = frozenset()) -> list[tuple[int, Kind, float]]:
    watch = SymbolWatch("AAA")
    watch.set_day(FIGURES)
    found = []
    for index, quote in enumerate(quotes):
        if index in breaks:
            watch.on_gap()
            watch.set_day(FIGURES)
        found += [(index, event.kind, event.value) for event in watch.on_quote(quote)]
    assert not watch.skipped
    return found


def same(found: list[tuple[int, Kind, float]], wanted: list[tuple[int, Kind, float]]) -> None:
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in wanted])


STEPS = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 250, 5_000, 9_999, 60_000, 299_999, 300_000)),
        st.integers(-60, 60) | st.sampled_from((-400, 350)),
        st.sampled_from((0, 0, 100, 5_000)),
        st.sampled_from((0, 1, 2, 4, 8)),
    ),
    max_size=120,
)


@settings(max_examples=80, deadline=None)
@given(
    start=st.sampled_from([timedelta(minutes=minutes) for minutes in (-300, -20, -1, 0, 7, 120, 360, 388, 395)]),
    steps=STEPS,
    breaks=st.frozensets(st.integers(1, 119), max_size=3),
)
def test_any_series_gives_the_events_that_pandas_finds(
    start: timedelta, steps: list[Step], breaks: frozenset[int]
) -> None:
    quotes = [quote for quote in day_of(start, steps) if quote.time < OPEN + timedelta(hours=10)]
    breaks = frozenset(index for index in breaks if index < len(quotes))
    # a break before the open leaves the volume before it unknown, which pandas cannot be told: see test_detectors
    breaks = frozenset(index for index in breaks if quotes[index - 1].time >= OPEN)
    same(watched(quotes, breaks), expected(quotes, FIGURES, breaks))


@pytest.mark.parametrize("seed", range(6))
def test_a_busy_day_gives_the_events_that_pandas_finds(seed: int) -> None:
    dice = random.Random(seed)
    steps: list[Step] = []
    for index in range(6_000):
        busy = index // 500 % 3 == 1
        steps.append(
            (
                dice.randrange(0, 4_000 if busy else 9_000),
                dice.choice((0, 0, *range(-9, 10))) * (2 if busy else 1),
                dice.choice((0, 100, 300)) * (40 if busy else 1),
                dice.choice((1, 2)) if busy else dice.choice((0, 3, 4, 5)),
            )
        )
    breaks = frozenset(dice.randrange(1_500, 6_000) for _ in range(2)) if seed % 2 else frozenset()
    quotes = [quote for quote in day_of(timedelta(minutes=-30), steps) if quote.time < OPEN + timedelta(hours=10)]
    breaks = frozenset(index for index in breaks if index < len(quotes) and quotes[index - 1].time >= OPEN)
    found = watched(quotes, breaks)
    same(found, expected(quotes, FIGURES, breaks))
    assert {Kind.VOLUME_SPIKE, Kind.PRICE_SURGE, Kind.SPREAD_TIGHTENING} <= {kind for _index, kind, _value in found}
