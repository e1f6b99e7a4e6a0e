"""The table of timeframes, and where a bar of several begins and ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from moondev_ibkr.agents.hooks.host_timeframes import TIMEFRAMES, Grouping, Timeframe, midnight, timeframe
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize

ZONE = ZoneInfo("America/New_York")
LATER = datetime(2030, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2024, month, day, hour, minute, tzinfo=ZONE).astimezone(UTC)


def session(month: int, day: int, until: datetime | None = None) -> list[Bar]:
    """Half hours from 09:30 on; the n-th opens at n and closes at n + 1."""
    bars = []
    for number in range(13):
        start = at(month, day, 9, 30) + number * timedelta(minutes=30)
        if until is not None and start >= until:
            break
        complete = until is None or start + timedelta(minutes=30) <= until
        bars.append(Bar(start, number, number + 2, number - 1, number + 1, 10, complete=complete))
    return bars


def days(first: date, count: int) -> list[Bar]:
    found: list[Bar] = []
    day = first
    while len(found) < count:
        if day.weekday() < 5:
            found.append(Bar(midnight(day), len(found), len(found) + 1, 0, len(found) + 1, 1))
        day += timedelta(days=1)
    return found


@pytest.mark.parametrize(
    ("word", "name"),
    [("1h", "1H"), ("2h", "2H"), ("12h", "12H"), ("1d", "1D"), ("3d", "3D"), ("1w", "1W"), ("1month", "1M")]
    + [(name, name) for name in TIMEFRAMES],
)
def test_every_spelling_of_the_host_finds_its_row(word: str, name: str) -> None:
    assert timeframe(word).name == name


def test_a_month_is_no_minute() -> None:
    assert timeframe("1M").size is BarSize.MONTH1
    assert timeframe("1m").size is BarSize.M1
    assert timeframe("1month").size is BarSize.MONTH1


def test_what_ib_has_is_not_put_together() -> None:
    built = {row.name for row in TIMEFRAMES.values() if row.together > 1}
    assert built == {"6H", "12H", "3D"}


def test_six_hours_begin_at_the_open_and_end_with_the_session() -> None:
    made = timeframe("6H").reaching(session(5, 2) + session(5, 3), LONG_AGO, LATER)
    assert [bar.time for bar in made] == [at(5, 2, 9, 30), at(5, 2, 15, 30), at(5, 3, 9, 30), at(5, 3, 15, 30)]
    first, rest = made[0], made[1]
    assert (first.open, first.high, first.low, first.close, first.volume) == (0, 13, -1, 12, 120)
    assert (rest.open, rest.close, rest.volume) == (12, 13, 10)
    assert all(bar.complete for bar in made)


def test_twelve_hours_are_a_session() -> None:
    made = timeframe("12H").reaching(session(5, 2) + session(5, 3), LONG_AGO, LATER)
    assert [bar.volume for bar in made] == [130, 130]


def test_a_missing_first_half_hour_does_not_move_the_rest() -> None:
    made = timeframe("6H").reaching(session(5, 2)[1:], LONG_AGO, LATER)
    assert [bar.time for bar in made] == [at(5, 2, 9, 30), at(5, 2, 15, 30)]


def test_a_group_runs_until_its_last_moment_has_passed() -> None:
    # At 15:00 every half hour so far is closed, and six hours are not.
    now = at(5, 2, 15, 0)
    bars = session(5, 2, until=now)
    assert all(bar.complete for bar in bars)
    assert not timeframe("6H").reaching(bars, LONG_AGO, now)[-1].complete
    now = at(5, 2, 15, 30)
    assert timeframe("6H").reaching(session(5, 2, until=now), LONG_AGO, now)[-1].complete


def test_a_group_with_a_running_bar_in_it_runs() -> None:
    bars = session(5, 2)
    late = [*bars[:11], replace(bars[11], complete=False)]
    assert not timeframe("6H").reaching(late, LONG_AGO, at(5, 2, 15, 31))[-1].complete


def test_a_group_that_reaches_into_the_span_is_whole() -> None:
    row, start = timeframe("6H"), at(5, 2, 12, 0)
    assert row.fetch_start(start) <= at(5, 2, 9, 30)
    assert row.reaching(session(5, 2), start, LATER)[0].volume == 120
    assert row.reaching(session(5, 2), at(5, 2, 15, 30), LATER)[0].time == at(5, 2, 15, 30)


def test_three_days_are_the_same_whenever_they_are_asked_for() -> None:
    row = timeframe("3D")
    year = days(date(2024, 1, 2), 100)
    early = row.reaching(year[:50], LONG_AGO, LATER)
    late = row.reaching(year, LONG_AGO, LATER)
    assert [bar.time for bar in late[:16]] == [bar.time for bar in early[:16]]
    assert late[0].time == midnight(date(2024, 1, 2))
    assert (late[1].open, late[1].close, late[1].volume) == (3, 6, 3)
    assert row.fetch_start(datetime(2024, 6, 5, 14, tzinfo=UTC)) == midnight(date(2024, 1, 1))


def test_three_days_that_are_not_full_say_that_they_run() -> None:
    row = timeframe("3D")
    now = datetime(2024, 1, 9, 1, tzinfo=UTC)
    made = row.reaching(days(date(2024, 1, 2), 5), LONG_AGO, now)
    assert [bar.complete for bar in made] == [True, False]
    # The year's end closes its last bar, and a new count begins.
    turn = row.reaching(days(date(2023, 12, 28), 3), LONG_AGO, datetime(2024, 1, 2, 23, tzinfo=UTC))
    assert [(bar.time.date(), bar.complete) for bar in turn] == [(date(2023, 12, 28), True), (date(2024, 1, 1), False)]


def test_three_days_over_a_week_end_reach_past_their_third_calendar_day() -> None:
    bars = days(date(2024, 1, 2), 6)  # Tue-Thu, Fri-Tue
    made = timeframe("3D").reaching(bars, datetime(2024, 1, 9, 12, tzinfo=UTC), LATER)
    assert [bar.time.date() for bar in made] == [date(2024, 1, 5)]


@pytest.mark.parametrize(
    ("grouping", "labels"),
    [
        (Grouping.WEEK, [date(2024, 3, 25), date(2024, 4, 1), date(2024, 4, 8)]),
        (Grouping.MONTH, [date(2024, 3, 1), date(2024, 4, 1)]),
        (Grouping.QUARTER, [date(2024, 1, 1), date(2024, 4, 1)]),
    ],
)
def test_calendar_groups_begin_where_the_calendar_does(grouping: Grouping, labels: list[date]) -> None:
    row = Timeframe("x", BarSize.D1, 7, grouping)
    made = row.reaching(days(date(2024, 3, 28), 8), LONG_AGO, datetime(2024, 4, 8, 22, tzinfo=UTC))
    assert [bar.time.date() for bar in made] == labels
    assert [bar.complete for bar in made] == [True] * (len(labels) - 1) + [False]


def test_an_hour_that_the_close_cuts_ends_there() -> None:
    row = timeframe("8H")
    assert row.end_of(Bar(at(5, 2, 9, 30), 1, 1, 1, 1)) == at(5, 2, 16)
    assert row.end_of(Bar(at(5, 2, 9, 30), 1, 1, 1, 1), regular_hours=False) == at(5, 2, 17, 30)


def test_summer_time_keeps_the_open_at_half_past_nine() -> None:
    for month, day in ((3, 8), (3, 11)):  # the Friday before and the Monday after
        assert timeframe("6H").reaching(session(month, day), LONG_AGO, LATER)[0].time == at(month, day, 9, 30)


@pytest.mark.parametrize("name", ["1W", "1M"])
def test_the_estimated_span_of_weeks_and_months_holds_them(name: str) -> None:
    row = TIMEFRAMES[name]
    assert 200 * row.length < row.span_for(200) < 230 * row.length
