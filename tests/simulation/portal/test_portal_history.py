"""Charts at the portal door: periods, bars, the window's end, and what is never shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.market_data import BarSize, BarSource
from moondev_ibkr.brokers.simulation.portal.market_faults import MarketFaults
from moondev_ibkr.brokers.simulation.portal.periods import STEPS, bar_of, read_period

from ..tws.rig import moving
from .rig import AAPL_ID, MES_ID, Rig


def chart(rig: Rig, **query: Any) -> dict[str, Any]:
    answer = rig.get("/iserver/marketdata/history", **{"conid": AAPL_ID, "period": "1d", "bar": "1min", **query})
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.fixture
def market() -> Rig:
    """A market that moves, 11:00 in New York."""
    made = Rig(source=moving())
    made.advance(3600)
    return made


def test_a_day_of_minutes_is_what_the_exchange_traded_until_now(market: Rig) -> None:
    shown = chart(market)
    bars = market.gateway.prices.history(
        AAPL_ID,
        BarSize.M1,
        BarSource.TRADES,
        start=market.gateway.now - timedelta(hours=2),
        end=market.gateway.now + timedelta(minutes=1),
        now=market.gateway.now,
    )
    assert [bar["t"] for bar in shown["data"]] == [
        milliseconds(bar.time) for bar in bars if bar.time < market.gateway.now
    ]
    first, last = shown["data"][0], shown["data"][-1]
    assert (first["o"], first["h"], first["l"], first["c"]) == (bars[0].open, bars[0].high, bars[0].low, bars[0].close)
    assert first["v"] * shown["volumeFactor"] == pytest.approx(bars[0].volume)
    assert last["t"] <= milliseconds(market.gateway.now)
    assert (shown["timePeriod"], shown["barLength"], shown["points"]) == ("1d", 60, len(shown["data"]))
    assert shown["startTime"] == "20260415-13:30:00"


def test_high_and_low_carry_price_volume_and_minute(market: Rig) -> None:
    shown = chart(market)
    price, volume, minute = shown["high"].split("/")
    best = max(shown["data"], key=lambda bar: bar["h"])
    assert int(price) == round(best["h"] * shown["priceFactor"])
    assert float(volume) == pytest.approx(best["v"], rel=1e-4)
    assert shown["data"][0]["t"] + int(minute) * 60_000 == best["t"]
    low = min(bar["l"] for bar in shown["data"])
    assert int(shown["low"].split("/")[0]) == round(low * shown["priceFactor"])


def test_start_time_is_the_end_of_the_window(market: Rig) -> None:
    end = datetime(2026, 4, 14, 15, 0, tzinfo=UTC)
    shown = chart(market, period="2h", bar="5min", startTime="20260414-15:00:00")
    assert shown["data"][-1]["t"] == milliseconds(end - timedelta(minutes=5))
    assert len(shown["data"]) >= 18
    assert all(bar["t"] < milliseconds(end) for bar in shown["data"])
    forward = market.get(
        "/iserver/marketdata/history", conid=AAPL_ID, period="2h", startTime="20260414-15:00:00", direction=1
    )
    assert (forward.status, forward.body) == (500, {"error": "Chart data unavailable"})


def test_nothing_ahead_of_market_time_is_served(market: Rig) -> None:
    shown = chart(market, startTime="20260501-15:00:00")
    assert shown["data"][-1]["t"] < milliseconds(market.gateway.now)
    now = chart(market)
    assert now["data"] == shown["data"]


def test_a_day_bar_begins_with_its_session(market: Rig) -> None:
    shown = chart(market, period="1w", bar="1d")
    assert shown["barLength"] == 86_400
    times = [datetime.fromtimestamp(bar["t"] / 1000, UTC) for bar in shown["data"]]
    assert times[-1] == datetime(2026, 4, 15, 13, 30, tzinfo=UTC)
    assert [moment.day for moment in times] == [8, 9, 10, 13, 14, 15]
    extended = chart(market, period="1w", bar="1d", outsideRth="true")
    assert datetime.fromtimestamp(extended["data"][-1]["t"] / 1000, UTC).hour == 8
    assert extended["outsideRth"] is True


def test_at_most_a_thousand_points_the_newest(market: Rig) -> None:
    shown = chart(market, period="7d", bar="1min")
    assert len(shown["data"]) <= 1000
    long = chart(market, period="1000d", bar="1d")
    assert len(long["data"]) <= 1000
    assert long["data"][-1]["t"] == milliseconds(datetime(2026, 4, 15, 13, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("period", "asked", "served"),
    [
        ("1d", "1min", BarSize.M1),
        ("1d", "1d", BarSize.H8),
        ("1w", "1min", BarSize.M10),
        ("1w", "", BarSize.M15),
        ("1m", "1min", BarSize.H1),
        ("3m", "1h", BarSize.H2),
        ("6m", "1d", BarSize.D1),
        ("1y", "1h", BarSize.H8),
        ("3y", "1h", BarSize.D1),
        ("15y", "1d", BarSize.W1),
        ("30min", "1h", BarSize.M1),
        ("1d", "5MIN", BarSize.M1),
    ],
)
def test_bars_follow_the_step_size_table(period: str, asked: str, served: BarSize) -> None:
    assert bar_of(asked, read_period(period)) is served


def test_the_step_size_table_ascends() -> None:
    assert [row.minutes for row in STEPS] == sorted(row.minutes for row in STEPS)
    for row in STEPS:
        assert row.finest.seconds <= row.usual.seconds <= row.coarsest.seconds


def test_upper_case_is_not_refused_but_served_as_something_else(market: Rig) -> None:
    shown = chart(market, period="1D", bar="1Min")
    assert (shown["timePeriod"], shown["barLength"]) == ("1w", 900)


@pytest.mark.parametrize("period", ["31min", "9h", "1001d", "793w", "183m", "16y", "0d"])
def test_a_period_beyond_its_limit_is_refused(rig: Rig, period: str) -> None:
    answer = rig.get("/iserver/marketdata/history", conid=AAPL_ID, period=period, bar="1d")
    assert answer.status == 500
    assert f"Invalid period '{period}'" in answer.body["error"]


def test_quotes_have_no_volume_and_other_sources_do_not_exist(market: Rig) -> None:
    shown = chart(market, source="Midpoint")
    assert {bar["v"] for bar in shown["data"]} == {0.0}
    refused = market.get("/iserver/marketdata/history", conid=AAPL_ID, period="1d", source="Volatility")
    assert refused.status == 500


def test_a_future_counts_contracts_and_quarter_points() -> None:
    rig = Rig()
    shown = chart(rig, conid=MES_ID, period="1d", bar="1h")
    assert (shown["volumeFactor"], shown["priceFactor"], shown["tradingDayDuration"]) == (1, 100, 1380)
    assert shown["high"].startswith("703950/")
    rig.check()


def test_an_unsubscribed_symbol_is_charted_up_to_fifteen_minutes_ago() -> None:
    rig = Rig(source=moving(), not_subscribed=frozenset({"AAPL"}))
    rig.advance(3600)
    shown = chart(rig)
    assert (shown["mdAvailability"], shown["mktDataDelay"]) == ("D", 15)
    assert shown["data"][-1]["t"] < milliseconds(rig.gateway.now - timedelta(minutes=15))
    rig.check()


def test_there_is_no_chart_where_there_is_no_data() -> None:
    rig = Rig(no_data=frozenset({"AAPL"}))
    before = rig.get("/iserver/marketdata/history", conid=AAPL_ID, period="1d", startTime="19900101-15:00:00")
    assert (before.status, before.body) == (500, {"error": "No data."})
    assert rig.get("/iserver/marketdata/history", conid=AAPL_ID, period="1d").body == {"error": "No data."}
    assert rig.get("/iserver/marketdata/history", conid=1, period="1d").status == 500
    rig.check()


def test_a_cold_chart_service_fails_once_a_session(rig: Rig) -> None:
    rig.door.state(MarketFaults).cold_charts = True
    rig.session.begin_brokerage(compete=True)
    rig.warm()
    first = rig.get("/iserver/marketdata/history", conid=AAPL_ID, period="1d", bar="1h")
    assert (first.status, first.body) == (500, {"error": "Chart data unavailable"})
    assert chart(rig, bar="1h")["data"]
    rig.session.cool()
    assert rig.get("/iserver/marketdata/history", conid=AAPL_ID, period="1d", bar="1h").status == 500
