"""yfinance's calls answered from IB: its shapes, its words, and no silence where something is not known."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from moondev_ibkr.agents.hooks.host_bars import HostBars
from moondev_ibkr.agents.hooks.yfinance_facade import YFinanceFacade
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource
from moondev_ibkr.brokers.errors import (
    BrokerError,
    DeadlineExceeded,
    InvalidRequest,
    LinkLost,
    NoData,
    NoPermission,
    NotConnected,
    NotSupported,
    UnknownInstrument,
)
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.sync import LoopThread, SyncBroker

#: Tuesday, 2 June 2009, 13:07 in New York.
NOW = datetime(2009, 6, 2, 17, 7, tzinfo=UTC)
FIELDS = ["Open", "High", "Low", "Close", "Volume"]


class Recorder:
    """The paper market's reads; `instead` stands in for a symbol's answer, `asked` are the rounds."""

    def __init__(self, broker: SyncBroker) -> None:
        self._broker = broker
        self.timeout = broker.timeout
        self.instead: dict[str, list[Bar] | BrokerError] = {}
        self.asked: list[tuple[tuple[str, ...], BarSize, BarSource, bool]] = []
        self.deadlines: list[float] = []

    def within(self, timeout: float) -> Recorder:
        self.deadlines.append(timeout)
        return self

    def market_time(self) -> datetime:
        return self._broker.market_time()

    def many_bars(self, symbols: list[str], size: BarSize, **words: Any) -> dict[str, list[Bar] | BrokerError]:
        self.asked.append((tuple(symbols), size, words["source"], words["regular_hours"]))
        answers = self._broker.many_bars(symbols, size, **words)
        return {symbol: self.instead.get(symbol, answer) for symbol, answer in answers.items()}


class RealTicker:
    """What the installed yfinance would answer for a coin."""

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self.info = {"shortName": ticker}

    def history(self, **words: Any) -> pd.DataFrame:
        if self.ticker == "ES=F":
            raise RuntimeError("rate limited")
        index = pd.DatetimeIndex(["2009-06-01", "2009-06-02"], tz="UTC", name="Date")
        rows = 0 if self.ticker == "^NONE" else 2
        return pd.DataFrame({field: [1.0, 2.0] for field in FIELDS}, index=index).iloc[:rows]


@pytest.fixture(scope="module")
def paper() -> Iterator[SyncBroker]:
    with LoopThread("yfinance") as loop:
        broker = PaperBroker.from_bars(start=date(2009, 6, 2), speed=None)
        with SyncBroker(broker, loop) as sync:
            loop.call(broker.advance_to(NOW))
            yield sync


@pytest.fixture
def market(paper: SyncBroker) -> Recorder:
    return Recorder(paper)


@pytest.fixture
def yf(market: Recorder) -> YFinanceFacade:
    return YFinanceFacade(HostBars(lambda: market))  # type: ignore[arg-type, return-value]


@pytest.fixture
def real() -> ModuleType:
    module = ModuleType("yfinance")
    module.__dict__.update(Ticker=RealTicker, Search=object, __version__="1.7.0", __all__=["Search", "download"])
    return module


def days(frame: pd.DataFrame) -> list[date]:
    return [stamp.date() for stamp in frame.index]


def test_one_ticker_downloaded(yf: YFinanceFacade, market: Recorder) -> None:
    data = yf.download("aapl", period="200d", progress=False)
    assert list(data.columns) == [(field, "AAPL") for field in ("Close", "High", "Low", "Open", "Volume")]
    assert list(data.columns.names) == ["Price", "Ticker"]
    assert len(data) == 200
    assert data.index.name == "Date"
    assert data.index.tz is None
    assert data.index[-1] == pd.Timestamp("2009-06-02")
    assert str(data["Volume"]["AAPL"].dtype) == "int64"
    assert market.asked == [(("AAPL",), BarSize.D1, BarSource.ADJUSTED_LAST, True)]


def test_several_tickers_are_one_round(yf: YFinanceFacade, market: Recorder) -> None:
    data = yf.download(["MSFT", "AAPL"], period="5d", group_by="ticker")
    assert list(data.columns) == [(ticker, field) for ticker in ("MSFT", "AAPL") for field in FIELDS]
    assert list(data.columns.names) == ["Ticker", "Price"]
    assert list(data["AAPL"].columns) == FIELDS
    assert len(market.asked) == 1
    by_column = yf.download("AAPL, MSFT", period="5d")
    assert list(by_column["Close"].columns) == ["AAPL", "MSFT"]


def test_flat_columns_for_one_ticker(yf: YFinanceFacade) -> None:
    for group_by in ("column", "ticker"):
        data = yf.download("AAPL", period="5d", multi_level_index=False, group_by=group_by)
        assert sorted(data.columns) == sorted(FIELDS)
        assert data.columns.name is None


def test_history_of_days(yf: YFinanceFacade) -> None:
    data = yf.Ticker("AAPL").history(period="200d")
    assert list(data.columns) == FIELDS
    assert len(data) == 200
    assert (data.index.name, str(data.index.tz)) == ("Date", "America/New_York")
    assert data.index[-1] == pd.Timestamp("2009-06-02", tz="America/New_York")


def test_history_inside_a_day(yf: YFinanceFacade, market: Recorder) -> None:
    data = yf.Ticker("AAPL").history(period="2d", interval="1h")
    assert (data.index.name, str(data.index.tz)) == ("Datetime", "America/New_York")
    assert [f"{stamp:%d %H:%M}" for stamp in data.index] == [
        *(f"01 {hour:02}:30" for hour in range(9, 16)),
        *(f"02 {hour:02}:30" for hour in range(9, 13)),
    ]
    assert {source for _, _, source, _ in market.asked} == {BarSource.TRADES}
    wide = yf.Ticker("AAPL").history(period="2d", interval="30m", prepost=True)
    assert market.asked[-1][3] is False
    assert not wide.empty
    assert yf.download("AAPL", period="1d", interval="5m").index.tz is not None
    assert yf.download("AAPL", period="1d", interval="5m", ignore_tz=True).index.tz is None


@pytest.mark.parametrize(
    ("words", "first", "last"),
    [
        ({"period": "5d"}, date(2009, 5, 27), date(2009, 6, 2)),
        ({"period": "1d"}, date(2009, 6, 2), date(2009, 6, 2)),
        ({}, date(2009, 5, 4), date(2009, 6, 2)),
        ({"period": None}, date(2009, 5, 4), date(2009, 6, 2)),
        ({"period": "3mo"}, date(2009, 3, 2), date(2009, 6, 2)),
        ({"period": "1Y"}, date(2008, 6, 2), date(2009, 6, 2)),
        ({"period": "2wk"}, date(2009, 5, 19), date(2009, 6, 2)),
        ({"period": "ytd"}, date(2009, 1, 2), date(2009, 6, 2)),
        ({"period": "max"}, date(2006, 1, 3), date(2009, 6, 2)),
        ({"start": "2009-05-01", "end": "2009-05-08"}, date(2009, 5, 1), date(2009, 5, 7)),
        ({"start": date(2009, 5, 1)}, date(2009, 5, 1), date(2009, 6, 2)),
        ({"start": pd.Timestamp("2009-05-01 15:00")}, date(2009, 5, 4), date(2009, 6, 2)),
        ({"start": pd.Timestamp("2009-05-01 08:00")}, date(2009, 5, 1), date(2009, 6, 2)),
        ({"end": "2009-03-01"}, date(2009, 2, 2), date(2009, 2, 27)),
        ({"start": "2009-03-01", "period": "1mo"}, date(2009, 3, 2), date(2009, 3, 31)),
        ({"end": "2009-03-02", "period": "2mo"}, date(2009, 1, 2), date(2009, 2, 27)),
        ({"start": pd.Timestamp("2009-05-29", tz="UTC"), "end": 1_300_000_000}, date(2009, 5, 29), date(2009, 6, 2)),
        ({"period": "1mo", "interval": "1wk"}, date(2009, 4, 27), date(2009, 6, 1)),
        ({"period": "6mo", "interval": "1mo"}, date(2008, 12, 1), date(2009, 6, 1)),
        ({"period": "1y", "interval": "3mo"}, date(2008, 4, 1), date(2009, 4, 1)),
        ({"period": "5d", "interval": "1wk"}, date(2009, 5, 25), date(2009, 6, 1)),
    ],
    ids=str,
)
def test_spans(yf: YFinanceFacade, words: dict[str, Any], first: date, last: date) -> None:
    found = days(yf.Ticker("AAPL").history(**words))
    assert (found[0], found[-1]) == (first, last)


def test_a_closed_span_of_minutes_is_cut_at_both_ends(yf: YFinanceFacade) -> None:
    data = yf.Ticker("AAPL").history(start="2009-05-04", end="2009-05-05", interval="30m")
    assert days(data) == [date(2009, 5, 4)] * 13


@pytest.mark.parametrize(
    "words",
    [
        {"period": "foo"},
        {"interval": "7m"},
        {"interval": "5d"},
        {"period": "5d", "start": "2009-01-01", "end": "2009-02-01"},
        {"start": "yesterday-ish"},
        {"start": ("2009", "01")},
    ],
    ids=str,
)
def test_words_that_nobody_knows_are_refused(yf: YFinanceFacade, words: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        yf.Ticker("AAPL").history(**words)


def test_as_traded_beside_adjusted(yf: YFinanceFacade, market: Recorder) -> None:
    data = yf.Ticker("IBM").history(start="2006-06-01", end="2006-06-10", auto_adjust=False)
    assert list(data.columns) == ["Open", "High", "Low", "Close", "Adj Close", "Volume"]
    adjusted = yf.Ticker("IBM").history(start="2006-06-01", end="2006-06-10")
    assert data["Adj Close"].tolist() == adjusted["Close"].tolist()
    assert {source for _, _, source, _ in market.asked} == {BarSource.TRADES, BarSource.ADJUSTED_LAST}


def test_an_unknown_ticker_is_an_empty_frame_and_a_line(yf: YFinanceFacade, caplog: pytest.LogCaptureFixture) -> None:
    data = yf.Ticker("HMNY").history(period="200d")
    assert data.empty
    assert list(data.columns) == ["Open", "High", "Low", "Close", "Adj Close", "Volume"]
    assert [(record.name, record.levelno) for record in caplog.records] == [("yfinance", logging.ERROR)]
    assert "HMNY" in caplog.text
    assert len(yf.download("HMNY", period="200d", progress=False)) == 0
    assert "HMNY" in yf.shared._ERRORS
    with pytest.raises(UnknownInstrument):
        yf.Ticker("HMNY").history(period="5d", raise_errors=True)
    yf.download("AAPL", period="5d")
    assert yf.shared._ERRORS == {}


def test_one_unknown_among_several_keeps_its_columns_without_numbers(yf: YFinanceFacade) -> None:
    data = yf.download(["AAPL", "HMNY"], period="5d")
    assert data["Close"]["HMNY"].isna().all()
    assert data["Volume"]["HMNY"].isna().all()
    assert data["Close"]["AAPL"].notna().all()
    assert list(yf.shared._ERRORS) == ["HMNY"]


def test_a_span_in_the_future_of_the_market_is_empty(yf: YFinanceFacade) -> None:
    assert yf.Ticker("AAPL").history(start="2026-01-01").empty
    assert "market time" in yf.shared._ERRORS["AAPL"]


@pytest.mark.parametrize(
    "error",
    [
        LinkLost("bars"),
        DeadlineExceeded("bars", timedelta(seconds=30)),
        NoPermission("bars of AAPL", "no market data"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_not_knowing_is_never_an_empty_frame(yf: YFinanceFacade, market: Recorder, error: BrokerError) -> None:
    market.instead["AAPL"] = error
    asks: list[Callable[[], Any]] = [
        lambda: yf.download("AAPL", period="5d"),
        lambda: yf.Ticker("AAPL").history(period="5d"),
        lambda: yf.Ticker("AAPL").history(period="5d", interval="15m"),
        lambda: yf.download(["AAPL", "HMNY"], period="5d"),
    ]
    for ask in asks:
        with pytest.raises(type(error)):
            ask()


def test_a_lost_link_stops_a_list_and_another_failure_does_not(yf: YFinanceFacade, market: Recorder) -> None:
    market.instead["MSFT"] = NoPermission("bars of MSFT", "no market data")
    data = yf.download(["AAPL", "MSFT"], period="5d")
    assert data["Close"]["MSFT"].isna().all()
    assert "no market data" in yf.shared._ERRORS["MSFT"]
    market.instead["GOOG"] = LinkLost("bars of GOOG")
    with pytest.raises(LinkLost):
        yf.download(["AAPL", "GOOG"], period="5d")


def test_a_broker_that_is_gone_raises() -> None:
    with LoopThread("gone") as loop:
        broker = SyncBroker(PaperBroker.from_bars(start=date(2009, 6, 2), speed=None), loop)
        facade = YFinanceFacade(HostBars(lambda: broker))
        with broker:
            assert not facade.download("AAPL", period="5d").empty
        for ask in (facade.download, lambda ticker: facade.Ticker(ticker).history()):
            with pytest.raises(NotConnected):
                ask("AAPL")


def test_a_list_read_beforehand_is_a_scan_of_one_round(yf: YFinanceFacade, market: Recorder) -> None:
    yf.prefetch(["AAPL", "MSFT", "GOOG", "HMNY", "SOL-USD"], period="200d")
    assert len(market.asked) == 1
    for ticker in ("AAPL", "MSFT", "GOOG"):
        assert len(yf.download(ticker, period="200d")) == 200
        assert len(yf.Ticker(ticker).history(period="200d")) == 200
    assert yf.Ticker("HMNY").history(period="200d").empty
    assert len(market.asked) == 1


@pytest.mark.parametrize("ticker", ["SOL-USD", "^VIX", "ES=F", "EURUSD=X", "VOD.L", "SHOP.TO", "US0378331005"])
def test_what_is_not_ibs_is_not_asked_there(yf: YFinanceFacade, market: Recorder, ticker: str) -> None:
    assert yf.Ticker(ticker).history(period="5d").empty
    assert market.asked == []
    assert "install yfinance" in yf.shared._ERRORS[ticker]


@pytest.mark.parametrize(
    ("ticker", "symbol"), [("BRK-B", "BRK B"), ("brk.b", "BRK B"), ("BAC-PL", "BAC PRL"), ("F", "F")]
)
def test_share_classes_are_ibs(yf: YFinanceFacade, market: Recorder, ticker: str, symbol: str) -> None:
    yf.Ticker(ticker).history(period="5d")
    assert market.asked[0][0] == (symbol,)


def test_the_real_one_answers_for_coins_and_says_so_once(
    market: Recorder, real: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    yf = YFinanceFacade(HostBars(lambda: market), real)  # type: ignore[arg-type, return-value]
    for _ in range(2):
        data = yf.download("SOL-USD AAPL", period="5d")
        assert data["Close"]["SOL-USD"].dropna().tolist() == [1.0, 2.0]
        assert data["Close"]["AAPL"].iloc[-1] == 138.64
    assert [record.message for record in caplog.records] == [
        "SOL-USD is a cryptocurrency: its prices come from Yahoo, not from IB (data only)"
    ]
    assert yf.Ticker("^NONE").history().empty
    with pytest.raises(NotSupported, match="rate limited"):
        yf.Ticker("ES=F").history()


def test_fundamentals_come_from_the_real_one_or_are_an_error(
    yf: YFinanceFacade, market: Recorder, real: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NotSupported, match="info of AAPL"):
        _ = yf.Ticker("AAPL").info
    with pytest.raises(AttributeError, match=r"yfinance\.Search"):
        _ = yf.Search
    both = YFinanceFacade(HostBars(lambda: market), real)  # type: ignore[arg-type, return-value]
    assert both.Ticker("AAPL").info == {"shortName": "AAPL"}
    assert both.Ticker("MSFT").info == {"shortName": "MSFT"}
    assert both.Search is object
    assert len(caplog.records) == 2


def test_options_without_effect_are_told_once(yf: YFinanceFacade, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        yf.download("AAPL", period="5d", progress=False, repair=True, proxy="x")
        yf.Ticker("AAPL").history(period="5d", actions=True)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "yfinance option repair",
        "yfinance option proxy is unknown here and has no effect",
        "yfinance option actions",
    ]


def test_rounding(yf: YFinanceFacade, market: Recorder) -> None:
    market.instead["AAPL"] = [Bar(datetime(2009, 6, 1, tzinfo=UTC), 1.23456, 1.23456, 1.23456, 1.23456, 10.0)]
    assert yf.download("AAPL", period="5d")["Close"]["AAPL"].tolist() == [1.23456]
    assert yf.download("AAPL", period="5d", rounding=True)["Close"]["AAPL"].tolist() == [1.23]
    assert yf.Ticker("AAPL").history(period="5d", rounding=True)["Close"].tolist() == [1.23]


def test_the_callers_deadline_is_the_rounds(yf: YFinanceFacade, market: Recorder) -> None:
    yf.download("AAPL", period="5d", interval="15m", timeout=7)
    yf.Ticker("AAPL").history(period="5d", timeout=8)
    assert market.deadlines == [7, 7, 8]


def test_several_names_in_one_object(yf: YFinanceFacade) -> None:
    several = yf.Tickers("aapl msft")
    assert several.symbols == ["AAPL", "MSFT"]
    assert several.tickers["AAPL"].ticker == "AAPL"
    assert list(several.history(period="2d")["Close"].columns) == ["AAPL", "MSFT"]


def test_it_stands_where_the_module_stood(yf: YFinanceFacade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", yf)
    namespace: dict[str, Any] = {}
    exec("import yfinance as yf\nfrom yfinance import Ticker, download\nfrom yfinance import *", namespace)
    assert namespace["yf"] is yf
    assert isinstance(yf, ModuleType)
    assert isinstance(namespace["Ticker"]("AAPL"), yf.Ticker)
    assert len(namespace["download"]("AAPL", period="5d")) == 5
    assert importlib.util.find_spec("yfinance") is not None
    with pytest.raises(ImportError):
        exec("from yfinance import Sector", {})


def test_two_facades_do_not_share_their_tickers(yf: YFinanceFacade, market: Recorder) -> None:
    other = YFinanceFacade(HostBars(lambda: market))  # type: ignore[arg-type, return-value]
    assert other.Ticker is not yf.Ticker
    other.Ticker("HMNY").history(period="5d")
    assert yf.shared._ERRORS == {}


def test_no_ticker_is_refused(yf: YFinanceFacade) -> None:
    with pytest.raises(InvalidRequest):
        yf.download([])
    with pytest.raises(InvalidRequest):
        yf.download(5)  # type: ignore[arg-type]
    with pytest.raises(NoData):
        yf.Ticker("AAPL").history(start="2009-05-30", end="2009-05-31", raise_errors=True)
