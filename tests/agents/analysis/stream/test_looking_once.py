"""Extended hours and the radar: over made-up quotes, and over the paper broker's replayed bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from moondev_ibkr.agents.analysis.extended_hours import get_extended_quote, scan_afterhours_gaps, scan_premarket_gaps
from moondev_ibkr.agents.analysis.radar import run_ibkr_radar
from moondev_ibkr.agents.analysis.stream.events import StreamEventKind as Kind
from moondev_ibkr.brokers.calendar import MarketCalendar, hours_of
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, Quote
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import LinkLost, NotConnected, UnknownInstrument
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker

CALENDAR = MarketCalendar()
DAY = datetime(2026, 4, 15, tzinfo=UTC)
OPEN = datetime(2026, 4, 15, 13, 30, tzinfo=UTC)
#: Yesterday closed at 100, and today at 110.
PREVIOUS, TODAY = 100.0, 110.0


class Market:
    """A broker whose quotes the test writes down; every day ranges 2 dollars and trades 1 000 shares a minute."""

    def __init__(self, now: datetime, **quotes: Quote) -> None:
        self.now, self._quotes = now, quotes
        self.rounds: list[BarSize | str] = []
        self.today_volume = 1_000.0
        self.lost = False

    async def market_time(self) -> datetime:
        return self.now

    async def market_hours(self, symbol, at=None):
        if self.lost:
            raise LinkLost("hours", "cable")
        if symbol == "NONE":
            raise UnknownInstrument("contract NONE", "there is none")
        return hours_of(InstrumentDetails(Instrument(symbol)), at or self.now, CALENDAR)

    async def quotes(self, symbols):
        self.rounds.append("quotes")
        return {} if self.lost else {name: self._quotes[name] for name in symbols if name in self._quotes}

    async def many_bars(self, symbols, size, *, count=None, start=None, **_: object):
        self.rounds.append(size)
        if self.lost:
            return {symbol: LinkLost("bars", "cable") for symbol in symbols}
        days = CALENDAR.trading_days((self.now - timedelta(days=40)).date(), self.now.date())
        bars = []
        for day in days:
            midnight = datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC)
            close = TODAY if day.day == DAY.date() else PREVIOUS
            if not size.is_intraday:
                bars.append(Bar(midnight, 100, 101, 99, close, 1_000_000))
                continue
            for minute in range(0, 390, size.seconds // 60):
                time = day.open + timedelta(minutes=minute)
                each = self.today_volume if day.day == DAY.date() else 1_000.0
                if time < self.now:
                    bars.append(Bar(time, 100, 101, 99, 100, each * size.seconds / 60))
        return dict.fromkeys(symbols, bars)


def quote(symbol: str = "AAA", **values: float) -> Quote:
    return Quote(Instrument(symbol), OPEN, **values)


async def test_before_the_open_the_gap_is_from_the_previous_close() -> None:
    market = Market(OPEN - timedelta(hours=1), AAA=quote(last=104.0, close=90.0, bid=103.9, ask=104.1))
    seen = await get_extended_quote(market, "aaa")
    assert (seen.session, seen.base, seen.gap_pct) == (Session.PRE, PREVIOUS, pytest.approx(4.0))


async def test_yesterdays_last_price_is_held_inside_todays_quote() -> None:
    market = Market(OPEN - timedelta(hours=1), AAA=quote(last=100.0, bid=104.0, ask=104.2))
    assert (await get_extended_quote(market, "AAA")).gap_pct == pytest.approx(4.0)


async def test_after_hours_the_gap_is_from_todays_close_not_from_the_day_befores() -> None:
    market = Market(OPEN + timedelta(hours=7), AAA=quote(last=112.2, close=100.0))
    seen = await get_extended_quote(market, "AAA")
    assert (seen.session, seen.base, seen.gap_pct) == (Session.POST, TODAY, pytest.approx(2.0))
    scan = await scan_afterhours_gaps(market, ["AAA"])
    assert (scan.found, [row.symbol for row in scan.quiet]) == ((), ["AAA"])


async def test_a_scan_ranks_gaps_and_tells_what_it_cannot_say() -> None:
    market = Market(
        OPEN - timedelta(hours=1),
        AAA=quote("AAA", last=104.0),
        BBB=quote("BBB", last=90.0),
        CCC=quote("CCC", last=101.0),
        DDD=quote("DDD"),
    )
    scan = await scan_premarket_gaps(market, ["AAA", "BBB", "CCC", "DDD", "EEE", "NONE"])
    assert [(row.symbol, round(row.gap_pct or 0)) for row in scan.found] == [("BBB", -10), ("AAA", 4)]
    assert [row.symbol for row in scan.quiet] == ["CCC"]
    assert set(scan.left_out) == {"DDD", "EEE", "NONE"}
    late = await scan_afterhours_gaps(market, ["AAA"])
    assert "PRE" in late.left_out["AAA"]


async def test_an_unknown_session_is_not_a_closed_one() -> None:
    market = Market(datetime(2040, 1, 3, 15, tzinfo=UTC), AAA=quote(last=104.0))
    market.many_bars = _nothing  # type: ignore[method-assign]
    seen = await get_extended_quote(market, "AAA")
    assert (seen.session, seen.gap_pct) == (Session.UNKNOWN, None)


async def _nothing(symbols, *_: object, **__: object):
    return {symbol: [] for symbol in symbols}


@pytest.mark.parametrize("look", [scan_premarket_gaps, run_ibkr_radar])
async def test_a_lost_link_fails_the_round(look) -> None:
    market = Market(OPEN - timedelta(hours=1), AAA=quote(last=104.0))
    market.lost = True
    with pytest.raises((NotConnected, LinkLost)):
        await look(market, ["AAA"])


async def test_the_radar_measures_a_list_in_three_rounds() -> None:
    market = Market(
        OPEN + timedelta(hours=1),
        AAA=quote("AAA", last=103.5, high=104.0, low=99.5),
        BBB=quote("BBB", last=100.5, high=101.0, low=100.0),
    )
    market.today_volume = 4_000.0
    report = await run_ibkr_radar(market, ["BBB", "AAA", "EEE"])
    assert sorted(map(str, market.rounds)) == ["1 day", "30 mins", "quotes"]
    first, second = report.rows
    assert [event.kind for event in first.events] == [Kind.VOLUME_SPIKE, Kind.GAP, Kind.VOLATILITY_SURGE]
    assert first.rvol == pytest.approx(4_000 * 60 / (1_000 * 61))
    assert first.range_atr == pytest.approx(4.5 / 2.0)
    assert (second.symbol, [event.kind for event in second.events]) == ("BBB", [Kind.VOLUME_SPIKE])
    assert list(report.left_out) == ["EEE"]


async def test_before_the_open_the_radar_knows_gaps_alone_and_says_so() -> None:
    market = Market(OPEN - timedelta(hours=1), AAA=quote(last=104.0, high=104.0, low=99.0))
    (row,) = (await run_ibkr_radar(market, ["AAA"])).rows
    assert [event.kind for event in row.events] == [Kind.GAP]
    assert set(row.missing) == {"rvol", "range_atr"}


async def test_over_replayed_bars_the_radar_agrees_with_pandas() -> None:
    async with PaperBroker.from_bars(speed=None, symbols=["AAPL", "MSFT", "IBM"]) as broker:
        day = CALENDAR.next_day(await broker.market_time())
        await broker.advance_to(day.open + timedelta(hours=3))
        report = await run_ibkr_radar(broker, ["AAPL", "MSFT", "IBM"])
        assert len(report.rows) == 3
        for row in report.rows:
            daily = await broker.bars_frame(row.symbol, count=70)
            daily = daily[daily.index.date < day.day].tail(60)
            before = daily["Close"].shift()
            wide = pd.concat([daily["High"], before], axis=1).max(axis=1) - pd.concat(
                [daily["Low"], before], axis=1
            ).min(axis=1)
            ranges = wide[1:]
            seeded = pd.concat([pd.Series([ranges[:14].mean()]), ranges[14:]])
            atr = seeded.ewm(alpha=1 / 14, adjust=False).mean().iloc[-1]
            quote = await broker.quote(row.symbol)
            assert quote.high is not None
            assert quote.low is not None
            assert row.range_atr == pytest.approx((quote.high - quote.low) / atr)
            assert row.gap_pct == pytest.approx(((row.quote.price or 0) / daily["Close"].iloc[-1] - 1) * 100)
            assert row.rvol is not None
            assert row.rvol > 0


async def test_halves_of_days_and_sessions_come_from_the_broker() -> None:
    async with PaperBroker.from_bars(speed=None, symbols=["AAPL"]) as broker:
        day = CALENDAR.next_day(await broker.market_time())
        for moment, session in ((day.pre_open, Session.PRE), (day.open, Session.REGULAR), (day.close, Session.POST)):
            assert (await broker.market_hours("AAPL", moment)).session is session
        seen = await get_extended_quote(broker, "AAPL")
        assert replace(seen, price=None).early_close is False
