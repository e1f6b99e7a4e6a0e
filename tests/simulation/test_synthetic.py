"""The synthetic and the flat market: endless, seeded, of one piece with their own past."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from math import log
from statistics import stdev

import pytest
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import InvalidRequest
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.history import midnight
from moondev_ibkr.brokers.simulation.market import PriceStep, TickKind
from moondev_ibkr.brokers.simulation.synthetic import CHARACTERS, DEFAULT_SYMBOLS, LIVE_PRINTS, SyntheticPrices

from .price_fakes import WeekdayCalendar, at

CALENDAR = WeekdayCalendar()
AAPL, MES = 265598, 770561194
EARLY = datetime.min.replace(tzinfo=at(date(2024, 1, 1), "00:00").tzinfo) + timedelta(days=700_000)


def market(seed: int = 0, symbols: tuple[str, ...] = ("AAPL",), **more: float) -> SyntheticPrices:
    return SyntheticPrices(CALENDAR, symbols=symbols, seed=seed, **more)  # type: ignore[arg-type]


def test_market_time_begins_inside_a_session_with_a_past_behind_it() -> None:
    prices = market()
    day = CALENDAR.trading_day(prices.start.date())
    assert day is not None
    assert day.session_at(prices.start) is Session.REGULAR
    assert prices.end is None
    past = prices.history(AAPL, BarSize.D1, BarSource.TRADES, start=EARLY, end=prices.start, now=prices.start)
    assert len(past) >= 300
    assert [bar.complete for bar in past[-2:]] == [True, False]
    # It arrives at its level: yesterday closed at the plausible price.
    assert past[-2].close == pytest.approx(CHARACTERS["AAPL"].price, rel=0.001)
    moves = [log(after.close / before.close) for before, after in pairwise(past[:-1])]
    assert 0.5 * CHARACTERS["AAPL"].volatility < stdev(moves) < 2.5 * CHARACTERS["AAPL"].volatility


def test_a_start_on_a_weekend_moves_to_the_next_session() -> None:
    assert SyntheticPrices(CALENDAR, symbols=["AAPL"], start=date(2024, 3, 9)).start == at(date(2024, 3, 11), "10:00")


def test_a_calendar_that_ends_is_refused() -> None:
    empty = WeekdayCalendar(closed=[date(2024, 3, 1) + timedelta(days=n) for n in range(40)])
    with pytest.raises(InvalidRequest, match="no trading day there"):
        SyntheticPrices(empty, symbols=["AAPL"], start=date(2024, 3, 9))


def test_same_seed_same_market_other_seed_other_market() -> None:
    first, same, other = (list(islice(market(seed).steps(), 3000)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_what_history_was_read_changes_nothing_in_what_is_streamed() -> None:
    plain, asked = market(), market()
    later = asked.start + timedelta(days=90)
    asked.history(AAPL, BarSize.D1, BarSource.TRADES, start=later - timedelta(days=30), end=later, now=later)
    assert list(islice(plain.steps(), 3000)) == list(islice(asked.steps(), 3000))


def test_streamed_days_become_the_past() -> None:
    prices = market()
    steps = list(islice(prices.steps(), 3 * LIVE_PRINTS))
    day = CALENDAR.trading_days(prices.start.date(), prices.start.date() + timedelta(days=5))[1]
    today = [step.last for step in steps if day.open <= step.time <= day.close and step.last is not None]
    (bar,) = prices.history(AAPL, BarSize.D1, BarSource.TRADES, start=midnight(day.day), end=day.close, now=day.close)
    assert (bar.open, bar.high, bar.low, bar.close) == (
        float(today[0]),
        float(max(today)),
        float(min(today)),
        float(today[-1]),
    )
    assert bar.count == len(today)
    assert prices.ticks(AAPL, TickKind.TRADES, end=day.close, now=day.close, number=10)[-1].last == today[-1]


def test_volume_is_u_shaped() -> None:
    prices = market()
    steps = [step for step in islice(prices.steps(), 2 * LIVE_PRINTS) if step.last_size is not None]
    day = CALENDAR.trading_days(prices.start.date(), prices.start.date() + timedelta(days=5))[1]
    third = (day.close - day.open) / 3
    parts = [
        sum(step.last_size or 0 for step in steps if day.open + third * n <= step.time <= day.open + third * (n + 1))
        for n in range(3)
    ]
    assert parts[1] < parts[0]
    assert parts[1] < parts[2]


def test_every_price_is_on_its_tick_and_every_market_has_two_sides() -> None:
    prices = market(symbols=DEFAULT_SYMBOLS)
    increments = {row.instrument.con_id: row for row in prices.catalogue()}
    steps = list(islice(prices.steps(), 5000))
    assert {step.con_id for step in steps} == set(increments)
    for step in steps:
        row = increments[step.con_id]
        assert row.on_tick(step.bid)
        assert row.on_tick(step.ask)
        assert step.last is None or row.on_tick(step.last)
        assert step.bid < step.ask
    first = {step.con_id: step.time for step in reversed(steps)}
    assert set(first.values()) == {prices.start}
    assert all(before.time <= after.time for before, after in pairwise(steps))


def test_symbols_share_a_common_factor() -> None:
    prices = market(symbols=("MSFT", "AAPL"))
    now = prices.start
    moves = []
    for row in prices.catalogue():
        bars = prices.history(row.instrument.con_id or 0, BarSize.D1, BarSource.TRADES, start=EARLY, end=now, now=now)
        moves.append([log(after.close / before.close) for before, after in pairwise(bars[:-1])])
    together = sum((a > 0) == (b > 0) for a, b in zip(*moves, strict=True)) / len(moves[0])
    assert together > 0.55


def test_a_halt_stops_prints_for_five_minutes_and_loses_no_volume() -> None:
    calm, halted = market(seed=3), market(seed=3, halts=1.0)
    day = CALENDAR.trading_days(calm.start.date(), calm.start.date() + timedelta(days=5))[1]

    def of_day(prices: SyntheticPrices) -> list[PriceStep]:
        return [step for step in islice(prices.steps(), 3 * LIVE_PRINTS) if day.open <= step.time <= day.close]

    before, after = of_day(calm), of_day(halted)
    assert sum(step.last_size or 0 for step in before) == sum(step.last_size or 0 for step in after)
    assert [step.last for step in before if step.last is not None] == [
        step.last for step in after if step.last is not None
    ]
    (at_halt,) = [place for place, step in enumerate(after) if step.halted]
    assert after[at_halt + 1].time - after[at_halt].time >= timedelta(minutes=5)
    assert all(first.time <= second.time for first, second in pairwise(after))
    assert not any(step.halted for step in before)


def test_the_micro_future_moves_in_quarter_points_with_its_real_number() -> None:
    prices = market(symbols=("MES",))
    (row,) = prices.catalogue()
    assert (row.instrument.con_id, row.instrument.local_symbol, row.instrument.multiplier) == (MES, "MESM6", Decimal(5))
    step = next(iter(prices.steps()))
    assert (step.ask - step.bid) % Decimal("0.25") == 0
    assert 6000 < step.bid < 8000


def test_a_symbol_of_ones_own_gets_a_plausible_market() -> None:
    prices = market(symbols=("ZZTOP",))
    assert next(iter(prices.steps())).bid > 1
    assert prices.catalogue()[0].instrument.con_id in range(900_000_000, 990_000_000)


def test_no_symbols_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="no symbols"):
        market(symbols=())


def test_a_flat_market_stands_still() -> None:
    start = at(date(2024, 3, 13), "11:00")
    flat = FlatPrices({"AAPL": 200.0, "MES": 7039.5}, CALENDAR, start)
    steps = list(islice(flat.steps(), 2000))
    assert {step.time for step in steps[:2]} == {start}
    assert {(step.con_id, step.bid, step.ask) for step in steps} == {
        (AAPL, Decimal("199.99"), Decimal("200.01")),
        (MES, Decimal("7039.25"), Decimal("7039.75")),
    }
    assert {step.last for step in steps if step.last is not None} == {Decimal("200.00"), Decimal("7039.50")}
    bars = flat.history(AAPL, BarSize.D1, BarSource.TRADES, start=EARLY, end=start, now=start)
    assert len(bars) > 200
    assert {(bar.open, bar.close) for bar in bars} == {(200.0, 200.0)}
