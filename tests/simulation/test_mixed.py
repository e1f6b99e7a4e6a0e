"""Synthetic symbols beside replayed bars: listed when asked for, marked, and of one piece with the bars' days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource
from moondev_ibkr.brokers.errors import ConfigurationError, InvalidRequest, UnknownInstrument
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.market import PriceStep
from moondev_ibkr.brokers.simulation.mixed import MixedPrices, listing_of
from moondev_ibkr.brokers.simulation.prices import Others, PriceKind, make_prices, market_listing
from moondev_ibkr.brokers.simulation.tapes import WalkedPrices

from .price_fakes import WeekdayCalendar, at, weekdays

CALENDAR = MarketCalendar()
# pandas_market_calendars calls what pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Series.dt.weekday is deprecated")


def mixed(*symbols: str, start: date | None = None, seed: int = 0) -> WalkedPrices:
    return make_prices(CALENDAR, symbols=symbols, others=Others.SYNTHETIC, start=start, seed=seed)


def number(prices: WalkedPrices, symbol: str) -> int:
    return next(row.instrument.con_id or 0 for row in prices.catalogue() if row.instrument.symbol == symbol)


def days(
    prices: WalkedPrices, symbol: str, now: datetime | None = None, source: BarSource = BarSource.TRADES
) -> list[Bar]:
    now = now or prices.start
    return prices.history(number(prices, symbol), BarSize.D1, source, start=now - timedelta(days=450), end=now, now=now)


def first_session(prices: WalkedPrices, symbol: str) -> list[PriceStep]:
    wanted = number(prices, symbol)
    end = prices.start.replace(hour=23)
    steps = islice(prices.steps(), 500)
    return [step for step in steps if step.con_id == wanted and step.time < end]


def test_symbols_without_bars_are_refused_unless_asked_for() -> None:
    with pytest.raises(UnknownInstrument, match="bars of TSLA: there are none"):
        make_prices(CALENDAR, symbols=["AAPL", "TSLA"])


def test_a_mixed_market_starts_where_the_bars_do_and_has_a_year_behind_every_symbol() -> None:
    prices, plain = mixed("AAPL", "GME", "brk-b"), make_prices(CALENDAR, symbols=["AAPL"])
    assert (prices.start, prices.end) == (plain.start, plain.end)
    assert [row.instrument.symbol for row in prices.catalogue()] == ["AAPL", "GME", "BRK B"]
    for symbol in ("GME", "BRK B"):
        past = days(prices, symbol)
        assert len(past) >= 300
        assert [bar.complete for bar in past[-2:]] == [True, False]
        assert all(1 < bar.low <= bar.high < 1000 for bar in past)
        assert days(prices, symbol, source=BarSource.ADJUSTED_LAST) == past


def test_the_details_tell_that_prices_are_synthetic() -> None:
    names = {row.instrument.symbol: row.long_name for row in mixed("AAPL", "TSLA").catalogue()}
    assert names == {"AAPL": "APPLE INC", "TSLA": "TESLA INC (SYNTHETIC PRICES)"}


def test_real_bars_are_what_they_are_without_others() -> None:
    prices, plain = mixed("AAPL", "GME"), make_prices(CALENDAR, symbols=["AAPL"])
    assert first_session(prices, "AAPL") == first_session(plain, "AAPL")
    assert days(prices, "AAPL") == days(plain, "AAPL")


def test_a_synthetic_price_depends_on_symbol_and_seed_alone() -> None:
    later = date(2008, 12, 1)
    now = at(later, "12:00")
    alone = days(mixed("GME"), "GME", now)
    assert alone == days(mixed("IBM", "RIOT", "GME"), "GME", now)
    # an account that goes on at a later day finds the same prices, past and present
    assert alone == days(mixed("GME", start=later), "GME", now)
    assert alone != days(mixed("GME", seed=1), "GME", now)
    assert [bar.close for bar in alone] != [bar.close for bar in days(mixed("RIOT"), "RIOT", now)]


def test_same_seed_same_steps() -> None:
    first, same, other = (list(islice(mixed("AAPL", "GME", seed=seed).steps(), 400)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_what_is_no_us_ticker_is_left_out_and_told() -> None:
    listing = listing_of(
        ["aapl", "SOL-USD", "GME", "gme", "BRK-B", "0700.HK", "ES=F", "MES", "no$symbol", ""], {"AAPL"}
    )
    assert listing.bars == ("AAPL",)
    assert listing.synthetic == ("GME", "BRK B")
    assert listing.left_out == ("SOL-USD", "0700.HK", "ES=F", "MES", "no$symbol", "")
    told = listing.notes()
    assert told[0] == "synthetic prices, none of them real (2): GME, BRK B"
    assert "SOL-USD, 0700.HK" in told[1]
    assert listing_of(["AAPL"], {"AAPL"}).notes() == []
    with pytest.raises(InvalidRequest, match="a market of SOL-USD: there is no ticker"):
        listing_of(["SOL-USD"], {"AAPL"})


def test_the_prices_carry_their_listing() -> None:
    prices = mixed("AAPL", "GME", "SOL-USD")
    assert isinstance(prices, MixedPrices)
    assert prices.listing == market_listing(["AAPL", "GME", "SOL-USD"])
    assert prices.listing.left_out == ("SOL-USD",)


def write_bars(path: Path, count: int) -> None:
    rows = "".join(f"{day},10,11,9,10,100000\n" for day in weekdays(count))
    path.write_text("Date,Open,High,Low,Close,Volume\n" + rows)


@pytest.mark.parametrize("symbols", [("XYZ", "GME"), ("GME",)])
def test_beside_files_synthetic_days_are_those_of_the_files(tmp_path: Path, symbols: tuple[str, ...]) -> None:
    write_bars(tmp_path / "XYZ.csv", 10)
    prices = make_prices(WeekdayCalendar(), paths=[tmp_path], symbols=symbols, others="synthetic")
    assert [row.instrument.symbol for row in prices.catalogue()] == list(symbols)
    assert prices.start == at(weekdays(10)[5], "09:30")
    assert prices.end == at(weekdays(10)[-1], "16:00")
    steps = list(prices.steps())
    assert {step.con_id for step in steps} == {row.instrument.con_id for row in prices.catalogue()}
    assert steps[-1].time == prices.end


@pytest.mark.parametrize(
    "fields",
    [
        {"symbols": ()},
        {"symbols": ("GME",), "price_kind": PriceKind.SYNTHETIC},
        {"symbols": ("GME",), "clock": ClockMode.WALL},
    ],
)
def test_an_option_that_would_do_nothing_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="others synthetic"):
        GatewaySettings(others=Others.SYNTHETIC, **fields)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="leave --others out"):
        market_listing(["GME"], kind="synthetic")


def kept(path: Path, *symbols: str, others: Others = Others.SYNTHETIC) -> GatewaySettings:
    return GatewaySettings(clock=ClockMode.CONTROL, state_file=path, symbols=symbols, others=others)


def test_an_account_goes_on_when_symbols_are_added(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    first = Gateway(kept(path, "AAPL", "GME"))
    first.exchange.advance_to(datetime(2008, 9, 24, 16, 0, tzinfo=UTC))
    quote = first.exchange.market(number(first.prices, "GME"))  # type: ignore[arg-type]
    first.save()
    again = Gateway(kept(path, "AAPL", "RIOT", "GME"))
    assert again.now == first.now
    same = again.exchange.market(number(again.prices, "GME"))  # type: ignore[arg-type]
    assert (same.bid, same.ask, same.open, same.close) == (quote.bid, quote.ask, quote.open, quote.close)
    with pytest.raises(ConfigurationError, match="other prices"):
        Gateway(kept(path, "AAPL", others=Others.REFUSED))
