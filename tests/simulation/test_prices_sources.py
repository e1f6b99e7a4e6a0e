"""Where prices come from: the shipped bars are what they are said to be, and every source is made in one place."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from datetime import date, timedelta
from itertools import islice, pairwise
from pathlib import Path

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource
from moondev_ibkr.brokers.errors import InvalidData, UnknownInstrument
from moondev_ibkr.brokers.simulation import bundled
from moondev_ibkr.brokers.simulation.prices import DEFAULT_REPLAY_START, PriceKind, make_prices, shipped_series
from moondev_ibkr.brokers.simulation.replay import ReplayPrices
from moondev_ibkr.brokers.simulation.synthetic import DEFAULT_SYMBOLS, SyntheticPrices

from .price_fakes import WeekdayCalendar, at

DOC = Path(__file__).parents[2] / "docs" / "shipped-bars.md"
CALENDAR = MarketCalendar()
# pandas_market_calendars calls what pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Series.dt.weekday is deprecated")


@pytest.mark.parametrize("symbol", bundled.SYMBOLS)
def test_the_shipped_bars_are_the_ones_in_the_document(symbol: str) -> None:
    digest = hashlib.sha256(bundled.read(symbol).encode()).hexdigest()
    assert f"| {symbol}.csv | {digest} |" in DOC.read_text(encoding="utf-8")


def test_the_shipped_bars_are_small_and_cover_every_session() -> None:
    series = shipped_series()
    sessions = [day.day for day in CALENDAR.trading_days(date(2006, 1, 3), date(2013, 3, 1))]
    for one in series:
        assert [row.start.date() for row in one.rows] == sessions
        assert all(row.volume > 0 for row in one.rows)
    assert sum(len(bundled.read(symbol)) for symbol in bundled.SYMBOLS) < 400_000


def test_no_split_lies_in_the_shipped_bars() -> None:
    for one in shipped_series():
        closes = [row.close for row in one.rows]
        assert all(0.75 < after / before < 1.34 for before, after in pairwise(closes))


def test_the_document_quotes_the_record_that_says_public_domain() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert re.search(r"`recorded_license` \| Public domain", text)
    assert "tools/extract_bars.py" in text


def test_the_default_is_a_stretch_of_the_shipped_bars_with_two_hundred_days_behind_it() -> None:
    prices = make_prices(CALENDAR)
    assert isinstance(prices, ReplayPrices)
    assert prices.start == at(DEFAULT_REPLAY_START, "09:30")
    assert [row.instrument.symbol for row in prices.catalogue()] == list(bundled.SYMBOLS)
    for row in prices.catalogue():
        now = prices.start
        past = prices.history(
            row.instrument.con_id or 0,
            BarSize.D1,
            BarSource.TRADES,
            start=now - timedelta(days=300),
            end=now,
            now=now,
        )
        assert len(past) > 200
    first = list(islice(prices.steps(), 4))
    assert {step.time for step in first} == {prices.start}
    # AAPL opened at 142.60 on 19 September 2008.
    assert str(first[0].last) == "142.60"


def test_the_default_stretch_is_the_one_that_the_scan_finds() -> None:
    spec = importlib.util.spec_from_file_location("scan_signals", DOC.parents[1] / "tools" / "scan_signals.py")
    assert spec is not None
    assert spec.loader is not None
    scan = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = scan
    spec.loader.exec_module(scan)
    bars = scan.read_bars()
    best = scan.best_stretch(bars, {name: scan.score(frame) for name, frame in bars.items()})
    assert best.start == str(DEFAULT_REPLAY_START)
    assert (len(best.entries), len(best.exits)) == (9, 5)
    assert {entry.split()[1] for entry in best.entries} == set(bundled.SYMBOLS)


def test_half_days_of_the_real_calendar_end_early() -> None:
    prices = make_prices(CALENDAR, symbols=["AAPL"], start=date(2008, 11, 28))
    day = [step for step in islice(prices.steps(), 30) if step.time.date() == date(2008, 11, 28)]
    assert day[-1].time == at(date(2008, 11, 28), "13:00")


def test_files_are_chosen_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "XYZ.csv").write_text(
        "Date,Open,High,Low,Close,Volume\n" + "".join(f"2024-03-{d},10,11,9,10,100\n" for d in (11, 12, 13, 14))
    )
    prices = make_prices(WeekdayCalendar(), paths=[tmp_path])
    assert [row.instrument.symbol for row in prices.catalogue()] == ["XYZ"]
    with pytest.raises(UnknownInstrument, match="choose among XYZ"):
        make_prices(WeekdayCalendar(), paths=[tmp_path], symbols=["AAPL"])
    with pytest.raises(InvalidData):
        make_prices(WeekdayCalendar(), paths=[tmp_path / "nothing.csv"])


def test_a_symbol_that_does_not_ship_is_named_with_those_that_do() -> None:
    with pytest.raises(UnknownInstrument, match="choose among AAPL, MSFT, IBM, GOOG"):
        make_prices(WeekdayCalendar(), symbols=["TSLA"])


def test_a_synthetic_market_lists_a_dozen_names() -> None:
    prices = make_prices(WeekdayCalendar(), kind=PriceKind.SYNTHETIC, seed=7)
    assert isinstance(prices, SyntheticPrices)
    assert len(prices.catalogue()) == len(DEFAULT_SYMBOLS) >= 12
    assert prices.end is None
    chosen = make_prices(WeekdayCalendar(), kind="synthetic", symbols=["brk-b"])
    assert [row.instrument.symbol for row in chosen.catalogue()] == ["BRK B"]
