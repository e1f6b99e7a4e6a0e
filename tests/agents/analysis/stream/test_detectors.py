"""What one symbol's watch does at the edges: breaks, late starts, quotes that tell nothing, and its cost per tick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from moondev_ibkr.agents.analysis.stream.day_figures import DayFigures, usual_volumes
from moondev_ibkr.agents.analysis.stream.detectors import DETECTORS
from moondev_ibkr.agents.analysis.stream.events import StreamEvent
from moondev_ibkr.agents.analysis.stream.events import StreamEventKind as Kind
from moondev_ibkr.agents.analysis.stream.symbol_watch import SymbolWatch
from moondev_ibkr.brokers.calendar import MarketCalendar, hours_of
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, DataType, Quote

AAA = Instrument("AAA")
OPEN = datetime(2026, 4, 15, 13, 30, tzinfo=UTC)
HOURS = hours_of(InstrumentDetails(AAA), OPEN, MarketCalendar())
ZONE = MarketCalendar().zone
FIGURES = DayFigures(
    "AAA",
    date(2026, 4, 15),
    HOURS,
    loaded_at=OPEN - timedelta(hours=6),
    previous_close=100.0,
    atr=50.0,
    usual=tuple(1_000.0 * (minute + 1) for minute in range(390)),
)


def quote(minutes: float, **values: object) -> Quote:
    return Quote(AAA, OPEN + timedelta(minutes=minutes), **values)  # type: ignore[arg-type]


def run(watch: SymbolWatch, *quotes: Quote) -> list[StreamEvent]:
    return [event for each in quotes for event in watch.on_quote(each)]


def watch(figures: DayFigures | None = FIGURES) -> SymbolWatch:
    made = SymbolWatch("AAA")
    if figures is not None:
        made.set_day(figures)
    return made


def test_volume_before_the_open_is_no_part_of_the_sessions() -> None:
    before, after = quote(-1, volume=900_000.0), quote(10, volume=905_000.0)
    assert run(watch(), before, after) == []
    (event,) = run(watch(), before, quote(10, volume=934_000.0))
    assert (event.kind, event.value) == (Kind.VOLUME_SPIKE, pytest.approx(34_000 / 11_000))


def test_a_gap_before_the_open_waits_for_new_figures_before_it_tells_of_volume() -> None:
    made = watch()
    run(made, quote(-1, volume=1_000.0))
    made.on_gap()
    # a million more traded before the open, unseen
    assert run(made, quote(10, volume=1_010_000.0)) == []
    made.set_day(replace(FIGURES, loaded_at=OPEN + timedelta(minutes=11), traded=11_000.0))
    assert run(made, quote(11, volume=1_012_000.0)) == []
    assert [event.kind for event in run(made, quote(12, volume=1_050_000.0))] == [Kind.VOLUME_SPIKE]


def test_a_late_start_takes_what_traded_from_the_bars() -> None:
    made = watch(replace(FIGURES, loaded_at=OPEN + timedelta(hours=1), traded=200_000.0))
    (event,) = run(made, quote(60, volume=999_000.0))
    assert event.value == pytest.approx(200_000 / 61_000)


@pytest.mark.parametrize(("high", "told"), [(101.0, True), (None, False)])
def test_a_new_high_is_told_only_where_the_sessions_high_is_known(high: float | None, told: bool) -> None:
    made = watch()
    low = None if high is None else 99.0
    found = run(made, *(quote(60 + n, last=100.0 + n % 2 / 10, high=high, low=low) for n in range(17)))
    found += run(made, quote(80, last=100.9, high=high, low=low), quote(81, last=101.1, high=high, low=low))
    assert [event.time for event in found if event.kind is Kind.NEW_HIGH] == ([OPEN + timedelta(minutes=81)] * told)


def test_after_hours_a_gap_is_from_todays_close_once_it_is_told() -> None:
    made = watch()
    found = run(made, quote(385, last=108.0), quote(389, last=110.0), quote(390.1, last=111.0))
    assert not made.needs_day
    # the last print before the auction was 110: nothing is measured from it
    found += run(made, quote(391, last=115.0))
    assert made.needs_day
    made.set_day(replace(FIGURES, loaded_at=OPEN + timedelta(minutes=392), regular_close=111.0))
    found += run(made, quote(395, last=112.0), quote(396, last=114.5))
    gaps = [event for event in found if event.kind is Kind.GAP]
    assert [(event.session.value, round(event.value, 2)) for event in gaps] == [("RTH", 10.0), ("POST", 3.15)]
    assert not made.needs_day


@pytest.mark.parametrize("what", [{"halted": True}, {"suspect": "another source says 90"}])
def test_a_halted_or_suspect_quote_shows_nothing(what: dict[str, object]) -> None:
    made = watch()
    assert run(made, quote(1, last=100.0), quote(2, last=100.1), quote(3, last=110.0, **what)) == []
    assert sum(made.skipped.values()) == 1


def test_time_that_goes_back_is_left_out_and_counted() -> None:
    made = watch()
    assert run(made, quote(2, last=100.0), quote(1, last=110.0), quote(0, last=120.0)) == []
    assert made.skipped == {"older than the quote before it": 2}


def test_a_print_exactly_five_minutes_old_is_no_longer_in_the_window() -> None:
    start = (quote(20, last=100.0), quote(21, last=100.1))
    assert run(watch(None), *start, quote(26, last=103.2)) == []
    assert [event.kind for event in run(watch(None), *start, quote(25.9999, last=103.2))] == [Kind.PRICE_SURGE]


def test_a_last_price_that_only_stands_is_no_print() -> None:
    start = (quote(20, last=100.0, volume=1.0), quote(21, last=100.1, volume=2.0))
    standing = (quote(24, last=100.1, volume=2.0, bid=100.0), quote(25, last=100.1, volume=2.0, bid=100.05))
    assert run(watch(None), *start, *standing, quote(26.5, last=104.0, volume=3.0)) == []
    # the same price again, with volume, is one
    traded = replace(standing[1], volume=3.0)
    (event,) = run(watch(None), *start, traded, quote(26.5, last=104.0, volume=4.0))
    assert event.kind is Kind.PRICE_SURGE


def test_without_figures_a_surge_is_still_one_and_nothing_else_is() -> None:
    made = watch(None)
    found = run(made, quote(1, last=100.0), quote(2, last=100.1), quote(3, last=110.0, data_type=DataType.DELAYED))
    assert [(event.kind, event.data_type) for event in found] == [(Kind.PRICE_SURGE, DataType.DELAYED)]
    assert made.needs_day


@pytest.mark.parametrize("size", [BarSize.M1, BarSize.M5, BarSize.M30])
def test_the_usual_volume_is_the_median_at_the_same_minute(size: BarSize) -> None:
    width = size.seconds // 60
    sessions = [
        [
            Bar(day.open + timedelta(minutes=minute), 1, 1, 1, 1, 100.0 * (number + 1) * width)
            for minute in range(0, 390, width)
        ]
        for number, day in enumerate(MarketCalendar().trading_days(date(2026, 2, 23), date(2026, 3, 20)))
    ]
    # over the change to summer time, too
    usual = usual_volumes(sessions, ZONE, 570, 390, size)
    assert usual == pytest.approx([100.0 * 10.5 * (minute + 1) for minute in range(390)])
    assert usual_volumes(sessions[:9], ZONE, 570, 390, size) == ()


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python `work` runs: a cost that no busy machine blurs."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_the_cost_of_a_tick_does_not_grow_with_the_window() -> None:
    cents = (0, 3, -2, 5, 1, -4, 2, 4, -1, 0, -5, -3)
    quotes = [
        quote(
            1 + n / 60,
            last=100 + cents[n % 12] / 100,
            bid=99.9 - cents[n % 7] / 100,
            ask=100.1,
            volume=float(n),
            high=101.0,
            low=99.0,
        )
        for n in range(4_000)
    ]

    def cost(times: int) -> float:
        made = SymbolWatch("AAA", {kind: replace(row, window=row.window * times) for kind, row in DETECTORS.items()})
        made.set_day(FIGURES)
        run(made, *quotes[:2_000])
        return lines_run(lambda: run(made, *quotes[2_000:])) / 2_000

    short, long = cost(1), cost(12)
    assert long < short * 1.05
