"""Bars in the host's words: whole spans, nothing invented, one round for a list, no answer to another question."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from moondev_ibkr.agents.hooks.bar_cache import LIFE
from moondev_ibkr.agents.hooks.host_bars import HostBars
from moondev_ibkr.agents.hooks.host_timeframes import TIMEFRAMES
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource
from moondev_ibkr.brokers.errors import (
    BrokerError,
    DeadlineExceeded,
    InvalidInstrument,
    InvalidRequest,
    LinkLost,
    NoData,
    NotConnected,
    UnknownInstrument,
)
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.sync import LoopThread, SyncBroker

ZONE = ZoneInfo("America/New_York")
#: Friday, 3 May 2024, 12:10 in New York.
FRIDAY_NOON = datetime(2024, 5, 3, 16, 10, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)


class Market:
    """A SyncBroker's reads over a market that trades 09:30-16:00 on weekdays; a price is the minutes since 2024."""

    name, timeout = "market", 30.0

    def __init__(self, now: datetime = FRIDAY_NOON) -> None:
        self.now = now
        self.requests: list[tuple[tuple[str, ...], BarSize, datetime, datetime | None, BarSource, bool]] = []
        self.deadlines: list[float] = []
        self.errors: dict[str, BrokerError] = {}
        self.first_day = date(2023, 11, 1)
        self.factor = 1.0
        self.trades_on: Callable[[date], bool] = lambda day: day.weekday() < 5

    def within(self, timeout: float) -> Market:
        self.deadlines.append(timeout)
        return self

    def market_time(self) -> datetime:
        return self.now

    def many_bars(self, symbols, size, *, count=None, start=None, end=None, source=None, regular_hours=True):
        assert count is None
        self.requests.append((tuple(symbols), size, start, end, source, regular_hours))
        bars = self.bars(size, start, end)
        return {symbol: self.errors.get(symbol) or list(bars) for symbol in symbols}

    def bars(self, size: BarSize, start: datetime, end: datetime | None) -> list[Bar]:
        until = min(end or self.now, self.now)
        return [bar for bar in self._all(size) if start <= bar.time < until]

    def _all(self, size: BarSize) -> Iterator[Bar]:
        day = self.first_day
        if size.is_intraday:
            day = max(day, self.now.date() - timedelta(days=90))
        while day <= self.now.astimezone(ZONE).date():
            if self.trades_on(day):
                yield from self._day(day, size)
            day += timedelta(days=1)

    def _day(self, day: date, size: BarSize) -> Iterator[Bar]:
        opened = datetime.combine(day, time(9, 30), ZONE).astimezone(UTC)
        closed = datetime.combine(day, time(16), ZONE).astimezone(UTC)
        if not size.is_intraday:
            if opened <= self.now:
                yield self._bar(datetime.combine(day, time(), UTC), opened, closed)
            return
        start = opened
        while start < closed and start <= self.now:
            end = min(start + timedelta(seconds=size.seconds), closed)
            yield self._bar(start, start, end)
            start = end

    def _bar(self, label: datetime, start: datetime, end: datetime) -> Bar:
        low = (start - datetime(2024, 1, 1, tzinfo=UTC)) / timedelta(minutes=1) * self.factor
        reached = (min(end, self.now) - start) / timedelta(minutes=1)
        return Bar(label, low, low + reached, low - 1, low + reached, reached, complete=end <= self.now)


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def bars(market: Market, clock: list[float]) -> HostBars:
    return HostBars(lambda: market, monotonic=lambda: clock[0])  # type: ignore[return-value]


def local(*when: int) -> pd.Timestamp:
    return pd.Timestamp(datetime(*when, tzinfo=ZONE)).tz_convert("UTC")


def test_a_frame_is_utc_ascending_floats_and_reaches_back_calendar_days(bars: HostBars) -> None:
    frame = bars.frame("AAPL", "30m", 2)
    assert list(frame.columns) == ["Open", "High", "Low", "Close", "Volume"]
    assert set(frame.dtypes.astype(str)) == {"float64"}
    assert frame.index.name == "Date"
    assert str(frame.index.tz) == "UTC"
    assert frame.index.is_monotonic_increasing
    # From Wednesday 12:10: its bar of 12:00 reaches into the span and comes whole.
    assert frame.index[0] == local(2024, 5, 1, 12, 0)
    assert frame.index[-1] == local(2024, 5, 3, 12, 0)
    assert frame.attrs["running"] is True
    assert frame.attrs["note"] is None


def test_a_few_bars_stay_a_few(bars: HostBars) -> None:
    assert len(bars.frame("AAPL", "1D", 3)) == 4
    assert len(bars.frame("AAPL", "15m", 0.083)) == 9


def test_two_hours_at_night_are_the_last_two_that_were_traded(bars: HostBars, market: Market) -> None:
    market.now = datetime(2024, 5, 5, 3, 0, tzinfo=UTC)  # Saturday evening
    frame = bars.frame("AAPL", "15m", 2 / 24)
    assert list(frame.index) == [local(2024, 5, 3, 14, 0) + timedelta(minutes=15 * k) for k in range(8)]
    assert frame.attrs["running"] is False
    assert "the last 2:00:00 that were traded" in frame.attrs["note"]
    daily = bars.frame("AAPL", "1D", 0.5)
    assert [stamp.date() for stamp in daily.index] == [date(2024, 5, 3)]
    assert daily.attrs["note"]


def test_the_last_stretch_goes_over_a_night_when_it_is_longer_than_a_session(bars: HostBars, market: Market) -> None:
    market.now = datetime(2024, 5, 6, 11, 0, tzinfo=UTC)  # Monday before the open
    frame = bars.frame("AAPL", "1H", 2.5)
    assert frame.attrs["note"]
    assert frame.index[0] == local(2024, 5, 1, 9, 30)
    assert frame.index[-1] == local(2024, 5, 3, 15, 30)


def test_a_symbol_that_has_not_traded_for_weeks_has_no_data(bars: HostBars, market: Market) -> None:
    market.first_day = date(2024, 5, 6)
    with pytest.raises(NoData, match="1H bars of AAPL"):
        bars.frame("AAPL", "1H", 1)


@pytest.mark.parametrize("word", ["1x", "m", "60m", "", "1MONTH"])
def test_a_wrong_timeframe_names_the_fifteen(bars: HostBars, word: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        bars.frame("AAPL", word, 3)
    assert ", ".join(TIMEFRAMES) in str(caught.value)
    assert len(TIMEFRAMES) == 15


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf"), 1e9])
def test_an_impossible_span_is_refused_before_asking(bars: HostBars, market: Market, days: float) -> None:
    with pytest.raises(InvalidRequest):
        bars.frame("AAPL", "1D", days)
    assert market.requests == []


def test_a_list_is_one_round_and_a_failing_symbol_keeps_its_error(bars: HostBars, market: Market) -> None:
    market.errors = {"HMNY": UnknownInstrument("contract HMNY"), "???": InvalidInstrument("symbol '???'")}
    answers = bars.frames(["AAPL", "HMNY", "brk-b", "???"], "1D", 10)
    assert len(market.requests) == 1
    assert market.requests[0][0] == ("AAPL", "HMNY", "BRK B", "???")
    assert list(answers) == ["AAPL", "HMNY", "brk-b", "???"]
    assert isinstance(answers["HMNY"], UnknownInstrument)
    assert isinstance(answers["brk-b"], pd.DataFrame)
    with pytest.raises(UnknownInstrument):
        bars.frame("HMNY", "1D", 10)


def test_at_night_a_list_stays_a_few_rounds(bars: HostBars, market: Market) -> None:
    market.now = datetime(2024, 5, 4, 3, 0, tzinfo=UTC)
    symbols = [f"S{number}" for number in range(97)]
    answers = bars.frames(symbols, "5m", 0.083)
    assert all(isinstance(answer, pd.DataFrame) and len(answer) == 24 for answer in answers.values())
    assert len(market.requests) <= 3


def test_a_scan_after_prefetch_asks_nothing(bars: HostBars, market: Market) -> None:
    symbols = [f"S{number}" for number in range(97)]
    market.errors["S5"] = UnknownInstrument("contract S5")
    assert list(bars.prefetch(symbols, "1D", 300)) == ["S5"]
    asked = len(market.requests)
    for symbol in symbols:
        if symbol != "S5":
            assert len(bars.frame(symbol, "1D", 300)) > 120
    with pytest.raises(UnknownInstrument):
        bars.frame("S5", "1D", 300)
    assert len(market.requests) == asked


def test_no_cached_answer_serves_another_question(bars: HostBars, market: Market) -> None:
    bars.frame("AAPL", "15m", 1)
    for other in (
        lambda: bars.frame("MSFT", "15m", 1),
        lambda: bars.frame("AAPL", "5m", 1),
        lambda: bars.frame("AAPL", "15m", 3),
        lambda: bars.frame("AAPL", "15m", 1, source=BarSource.MIDPOINT),
        lambda: bars.frame("AAPL", "15m", 1, regular_hours=False),
    ):
        before = len(market.requests)
        other()
        assert len(market.requests) > before
    before = len(market.requests)
    assert len(bars.frame("AAPL", "15m", 1)) < len(bars.frame("AAPL", "15m", 3))
    assert len(market.requests) == before


def test_only_the_running_bar_is_asked_again_after_its_life(bars: HostBars, market: Market, clock: list[float]) -> None:
    first = bars.frame("AAPL", "30m", 1)
    clock[0] += LIFE - 1
    bars.frame("AAPL", "30m", 1)
    assert len(market.requests) == 1
    clock[0] += 2
    market.now += timedelta(seconds=LIFE + 1)
    second = bars.frame("AAPL", "30m", 1)
    assert len(market.requests) == 2
    assert market.requests[1][2] == local(2024, 5, 3, 11, 30)  # the last closed bar, to see that they fit
    assert second["Close"].iloc[-1] > first["Close"].iloc[-1]
    assert second["Close"].iloc[:-1].equals(first["Close"].iloc[:-1])


def test_market_time_alone_makes_the_running_bar_old(bars: HostBars, market: Market) -> None:
    bars.frame("AAPL", "30m", 1)
    market.now += timedelta(hours=1)
    assert bars.frame("AAPL", "30m", 1).index[-1] == local(2024, 5, 3, 13, 0)


def test_a_past_that_changed_is_read_anew(bars: HostBars, market: Market, clock: list[float]) -> None:
    before = bars.frame("AAPL", "1D", 30)
    clock[0] += LIFE + 1
    market.factor = 0.5  # a split
    after = bars.frame("AAPL", "1D", 30)
    assert after["Open"].iloc[0] == before["Open"].iloc[0] / 2
    assert len(after) == len(before)


def test_the_next_day_starts_from_nothing(bars: HostBars, market: Market) -> None:
    bars.daily(["AAPL"], days=5)
    market.now += timedelta(days=3)
    bars.daily(["AAPL"], days=5)
    assert market.requests[1][2] < local(2024, 5, 1)


def test_callers_get_copies(bars: HostBars) -> None:
    mine = bars.frame("AAPL", "1D", 10)
    mine["Close"] = 0.0
    mine.attrs["note"] = "mine"
    assert bars.frame("AAPL", "1D", 10).attrs["note"] is None
    assert (bars.frame("AAPL", "1D", 10)["Close"] > 0).all()


@pytest.mark.parametrize("lost", [LinkLost("bars"), NotConnected("bars")])
def test_a_lost_link_is_raised_even_when_only_one_met_it(bars: HostBars, market: Market, lost: BrokerError) -> None:
    market.errors["MSFT"] = lost
    for ask in (
        lambda: bars.frames(["AAPL", "MSFT"], "1D", 5),
        lambda: bars.daily(["AAPL", "MSFT"], days=5),
        lambda: bars.last("MSFT", "1h", 5),
        lambda: bars.prefetch(["AAPL", "MSFT"], "1D", 5),
    ):
        with pytest.raises(type(lost)):
            ask()


def test_a_failure_is_not_kept(bars: HostBars, market: Market) -> None:
    market.errors["AAPL"] = DeadlineExceeded("bars", timedelta(seconds=30))
    with pytest.raises(DeadlineExceeded):
        bars.frame("AAPL", "1D", 5)
    del market.errors["AAPL"]
    assert len(bars.frame("AAPL", "1D", 5)) == 5


def test_last_counts_traded_bars(bars: HostBars, market: Market) -> None:
    frame = bars.last("AAPL", "1h", 72)
    assert len(frame) == 72
    assert frame.index[-1] == local(2024, 5, 3, 11, 30)
    assert frame.attrs["note"] is None
    market.first_day = date(2024, 4, 30)
    fresh = bars.last("NEWCO", "1D", 100)
    assert len(fresh) == 4
    assert "no more than 4 of 100" in fresh.attrs["note"]
    with pytest.raises(InvalidRequest):
        bars.last("AAPL", "1h", 0)


def test_the_last_bars_of_a_list_are_one_round(bars: HostBars, market: Market) -> None:
    market.errors["HMNY"] = UnknownInstrument("contract HMNY")
    answers = bars.lasts(["AAPL", "HMNY", "MSFT"], "1h", 72)
    assert len(market.requests) == 1
    assert isinstance(answers["HMNY"], UnknownInstrument)
    assert len(bars.last("MSFT", "1h", 72)) == 72
    assert len(market.requests) == 1


def test_last_looks_further_back_for_a_share_that_trades_seldom(bars: HostBars, market: Market) -> None:
    market.trades_on = lambda day: day.day == 2
    assert [stamp.month for stamp in bars.last("SELDM", "1D", 4).index] == [2, 3, 4, 5]


def test_a_volume_that_the_source_does_not_give_is_no_number(
    bars: HostBars, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = market.bars(BarSize.D1, market.now - timedelta(days=3), None)
    monkeypatch.setattr(market, "bars", lambda *_: [*made[:-1], replace(made[-1], volume=None)])
    assert bars.frame("AAPL", "1D", 3)["Volume"].isna().tolist() == [False] * (len(made) - 1) + [True]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("5m", 700), ("30m", 300), ("1H", 200), ("2H", 100), ("4H", 50), ("6H", 50), ("8H", 40), ("12H", 40)),
        *(("1D", 100), ("3D", 20)),
    ],
)
def test_last_asks_for_enough_the_first_time(bars: HostBars, market: Market, name: str, number: int) -> None:
    assert len(bars.last("AAPL", name, number)) == number
    assert len(market.requests) == 1


def test_daily_bars_are_adjusted_and_cut_afterwards(bars: HostBars, market: Market) -> None:
    counted = bars.daily(["AAPL", "MSFT"], days=100)
    assert {len(frame) for frame in counted.values()} == {100}
    assert len(market.requests) == 1
    cut = bars.daily(["AAPL"], start=datetime(2024, 4, 1, tzinfo=UTC), end=datetime(2024, 4, 4, tzinfo=UTC))["AAPL"]
    assert [stamp.day for stamp in cut.index] == [1, 2, 3]
    assert {(end, source) for _, _, _, end, source, _ in market.requests} == {(None, BarSource.ADJUSTED_LAST)}
    with pytest.raises(InvalidRequest):
        bars.daily(["AAPL"])
    future = bars.daily(["AAPL"], start=market.now + timedelta(days=1))["AAPL"]
    assert isinstance(future, NoData)


def test_a_closed_span_is_asked_as_such_and_kept(bars: HostBars, market: Market, clock: list[float]) -> None:
    start, end = local(2024, 4, 1, 9, 30).to_pydatetime(), local(2024, 4, 2).to_pydatetime()
    first = bars.span(["AAPL"], TIMEFRAMES["30m"], start, end)["AAPL"]
    assert isinstance(first, pd.DataFrame)
    assert len(first) == 13
    assert market.requests[0][3] == end
    clock[0] += 10 * LIFE
    bars.span(["AAPL"], TIMEFRAMES["30m"], start, end)
    assert len(market.requests) == 1


def test_every_round_has_a_deadline_that_grows_with_the_list(bars: HostBars, market: Market) -> None:
    bars.frame("AAPL", "1D", 5)
    bars.frames([f"S{number}" for number in range(97)], "1D", 5)
    bars.frame("AAPL", "1D", 5, timeout=3)
    assert market.deadlines == [30.0, 194.0, 3]


def test_threads_share_one_cache(bars: HostBars, market: Market) -> None:
    found: list[int] = []

    def read(number: int) -> None:
        for _ in range(20):
            found.append(len(bars.frame(f"S{number % 3}", "1D", 10)))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [9] * 120
    assert len(market.requests) <= 6


def test_the_paper_broker_answers_all_fifteen() -> None:
    with LoopThread("host-bars") as loop:
        paper = PaperBroker.from_bars(start=date(2009, 6, 2), speed=None)
        broker = SyncBroker(paper, loop)
        bars = HostBars(lambda: broker)
        with broker:
            loop.call(paper.advance_to(datetime(2009, 6, 2, 17, 7, tzinfo=UTC)))
            frames = {name: bars.frame("AAPL", name, 60) for name in TIMEFRAMES if name not in ("1m", "3m")}
            daily = bars.frame("AAPL", "1D", 20)
            for frame in frames.values():
                assert frame["Close"].iloc[-1] == daily["Close"].iloc[-1]
            whole = frames["6H"].groupby(frames["6H"].index.date).agg({"Open": "first", "High": "max", "Volume": "sum"})
            assert whole["Volume"].iloc[-5:].tolist() == daily["Volume"].iloc[-5:].tolist()
            assert whole["High"].iloc[-5:].tolist() == daily["High"].iloc[-5:].tolist()
            assert len(bars.daily(["MSFT"], days=200)["MSFT"]) == 200
        with pytest.raises(NotConnected):
            bars.frame("AAPL", "1D", 20)
