"""Bars of the past and of the present, schedules, ticks and head time stamps."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

from .rig import AAPL, RawClient, joined, moving, running


def bars(size: str = "1 day", duration: str = "5 D", **fields: Any) -> r.ReqHistoricalData:
    values: dict[str, Any] = {
        "reqId": 4,
        "contract": AAPL,
        "includeExpired": False,
        "endDateTime": "",
        "useRTH": True,
        "whatToShow": "TRADES",
        "formatDate": 1,
        "keepUpToDate": False,
        **fields,
    }
    return r.ReqHistoricalData(barSizeSetting=size, durationStr=duration, **values)


async def ask(client: RawClient, request: r.ReqHistoricalData) -> list[Any]:
    client.send(request)
    return list((await client.until("historicalData", reqId=request.reqId))["bars"])


async def test_days_are_trading_days_and_the_last_is_today() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        rows = await ask(client, bars())
        assert [row.date for row in rows] == ["20260409", "20260410", "20260413", "20260414", "20260415"]
        assert all(row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high for row in rows)
        assert len(await ask(client, bars(duration="200 D"))) == 200


@pytest.mark.parametrize(
    ("size", "duration", "count", "first", "last"),
    [
        ("1 hour", "2 D", 8, "20260414 09:30:00 US/Eastern", "20260415 09:30:00 US/Eastern"),
        ("15 mins", "1 D", 2, "20260415 09:30:00 US/Eastern", "20260415 09:45:00 US/Eastern"),
        ("5 mins", "1800 S", 6, "20260415 09:30:00 US/Eastern", "20260415 09:55:00 US/Eastern"),
        ("1 day", "1 W", 6, "20260408", "20260415"),
        ("1 day", "1 M", 22, "20260316", "20260415"),
        ("1 week", "1 M", 5, "20260316", "20260413"),
        ("1 month", "1 Y", 12, "20250501", "20260401"),
    ],
)
async def test_spans(size: str, duration: str, count: int, first: str, last: str) -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        rows = await ask(client, bars(size, duration))
        assert (rows[0].date, rows[-1].date) == (first, last)
        assert abs(len(rows) - count) <= 1


async def test_dates_as_epoch_and_an_end_in_the_past() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        rows = await ask(client, bars("1 hour", "1 D", formatDate=2, endDateTime="20260414 16:00:00 US/Eastern"))
        assert next(int(row.date) for row in rows) == 1776173400
        assert len(rows) == 7
        same = await ask(client, bars("1 hour", "1 D", formatDate=2, endDateTime="20260414-20:00:00"))
        assert same == rows
        assert [row.date for row in await ask(client, bars(formatDate=2))][-1] == "20260415"


async def test_what_lies_ahead_is_never_served() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        now_rows = await ask(client, bars("1 min", "1 D"))
        ahead = await ask(client, bars("1 min", "1 D", endDateTime="20260415 16:00:00 US/Eastern"))
        assert ahead == now_rows
        assert now_rows[-1].date <= "20260415 10:00:00 US/Eastern"


async def test_quotes_as_bars_have_no_volume() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        for what in ("MIDPOINT", "BID", "ASK", "BID_ASK"):
            rows = await ask(client, bars("1 hour", "1 D", whatToShow=what))
            assert (rows[0].volume, rows[0].barCount) == (-1, -1)


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (bars("7 mins"), 321, "Legal ones are"),
        (bars(duration="5 X"), 321, "duration"),
        (bars(duration="0 D"), 321, "duration"),
        (bars(duration="400 D"), 321, "must be made in years"),
        (bars(endDateTime="yesterday"), 10314, "yyyymmdd hh:mm:ss"),
        (bars(whatToShow="GOSSIP"), 321, "GOSSIP"),
        (bars("1 hour", whatToShow="HISTORICAL_VOLATILITY"), 162, "no data"),
        (bars(whatToShow="FEE_RATE"), 162, "no data"),
        (bars(whatToShow="OPTION_IMPLIED_VOLATILITY", keepUpToDate=True), 321, "up to date is not supported"),
        (bars("1 secs", "1 D"), 162, "invalid step"),
        (bars(endDateTime="20000103 16:00:00 US/Eastern"), 162, "HMDS query returned no data: AAPL@SMART Trades"),
        (bars(contract=replace(AAPL, symbol="NOPE")), 200, "No security definition"),
        (bars(keepUpToDate=True, endDateTime="20260414 16:00:00"), 321, "up to date"),
        (bars(whatToShow="ADJUSTED_LAST", endDateTime="20260414 16:00:00"), 321, "adjusted last"),
        (bars("1 hour", whatToShow="SCHEDULE"), 321, "1 day"),
    ],
)
async def test_what_cannot_be_is_refused_in_ibs_words(request_: r.ReqHistoricalData, code: int, words: str) -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(request_)
        error = await client.error(code)
        assert error["reqId"] == 4
        assert words in error["errorString"]


async def test_small_bars_are_paced_and_long_ones_are_not() -> None:
    clock = [100.0]
    async with running(source=moving(), monotonic=lambda: clock[0]) as gateway, joined(gateway) as client:
        await ask(client, bars("30 secs", "600 S"))
        client.send(bars("30 secs", "600 S"))
        assert "pacing violation" in (await client.error(162))["errorString"]
        clock[0] += 15
        await ask(client, bars("30 secs", "600 S"))
        for _ in range(3):
            await ask(client, bars("1 min", "600 S"))


async def test_fifty_live_histories_and_no_more() -> None:
    async with running() as gateway, joined(gateway) as client:
        for number in range(51):
            client.send(bars(keepUpToDate=True, reqId=100 + number))
        assert (await client.error(322))["reqId"] == 150


async def collect(gateway: Gateway, client: RawClient, until: datetime) -> list[dict[str, Any]]:
    await client.quiet()
    begin = len(client.seen)
    await gateway.advance_to(until)
    await client.quiet()
    return [values for name, values in client.seen[begin:] if name in ("historicalDataUpdate", "realtimeBar")]


async def test_a_live_daily_bar_ends_as_history_has_it() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        await ask(client, bars(keepUpToDate=True))
        close = gateway.calendar.trading_day(gateway.now.date()).close  # type: ignore[union-attr]
        updates = await collect(gateway, client, close)
        assert {values["date"] for values in updates} == {"20260415"}
        assert len(updates) > 100
        final, history = updates[-1], (await ask(client, bars(reqId=5)))[-1]
        mine = [final[name] for name in ("open", "high", "low", "close", "volume", "wap", "barCount")]
        theirs = [history.open, history.high, history.low, history.close, history.volume, history.wap, history.barCount]
        assert mine == pytest.approx(theirs)


async def test_live_minutes_begin_anew_and_each_ends_as_history_has_it() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        await ask(client, bars("1 min", "600 S", keepUpToDate=True))
        updates = await collect(gateway, client, gateway.now + timedelta(minutes=5))
        last = {values["date"]: values for values in updates}
        assert len(last) >= 5
        rows = {row.date: row for row in await ask(client, bars("1 min", "1 D", reqId=5))}
        for date in sorted(last)[:-1]:
            row = rows[date]
            values = last[date]
            assert [values["open"], values["high"], values["low"], values["close"], float(values["volume"])] == (
                pytest.approx([row.open, row.high, row.low, row.close, float(row.volume)])
            )


async def test_a_cancelled_history_says_so_and_is_silent() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        await ask(client, bars(keepUpToDate=True))
        client.send(r.CancelHistoricalData(reqId=4))
        assert "query cancelled: 4" in (await client.error(162))["errorString"]
        assert await collect(gateway, client, gateway.now + timedelta(minutes=2)) == []
        client.send(r.CancelHistoricalData(reqId=4))
        await client.error(366)


def real_time(what: str = "TRADES", *, rth: bool = True) -> r.ReqRealTimeBars:
    return r.ReqRealTimeBars(reqId=6, contract=AAPL, barSize=5, whatToShow=what, useRTH=rth)


@pytest.mark.parametrize("what", ["TRADES", "MIDPOINT", "BID", "ASK"])
async def test_real_time_bars_come_every_five_seconds(what: str) -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(real_time(what))
        rows = await collect(gateway, client, gateway.now + timedelta(minutes=2))
        times = [values["time"] for values in rows]
        assert len(times) >= 20
        assert {after - before for before, after in itertools.pairwise(times)} == {5}
        assert all(values["low"] <= values["close"] <= values["high"] for values in rows)


async def test_real_time_bars_stop_when_cancelled_and_refuse_nonsense() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(real_time())
        client.send(real_time())
        await client.error(102)
        client.send(r.CancelRealTimeBars(reqId=6))
        assert await collect(gateway, client, gateway.now + timedelta(minutes=1)) == []
        client.send(r.CancelRealTimeBars(reqId=6))
        await client.error(300)
        client.send(real_time("BID_ASK"))
        await client.error(420)


async def test_real_time_bars_rest_overnight_and_come_back_at_the_open() -> None:
    async with running(start=datetime.fromisoformat("2026-04-15T19:59:00+00:00")) as gateway, joined(gateway) as client:
        client.send(real_time())
        night = await collect(gateway, client, gateway.now + timedelta(hours=17))
        assert len(night) < 40
        morning = await collect(gateway, client, gateway.now + timedelta(minutes=35))
        assert len(morning) >= 5


async def test_schedule_has_a_session_a_day_in_the_exchanges_zone() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(bars(whatToShow="SCHEDULE", duration="3 D"))
        answer = await client.until("historicalSchedule")
        assert answer["timeZone"] == "US/Eastern"
        assert [row.refDate for row in answer["sessions"]] == ["20260413", "20260414", "20260415"]
        assert answer["sessions"][0].startDateTime == "20260413-09:30:00"
    async with running() as gateway, joined(gateway, version=163) as old:
        old.send(bars(whatToShow="SCHEDULE"))
        await old.error(321)


def head(format_date: int, what: str = "TRADES") -> r.ReqHeadTimeStamp:
    return r.ReqHeadTimeStamp(
        reqId=8, contract=AAPL, includeExpired=False, useRTH=True, whatToShow=what, formatDate=format_date
    )


async def test_head_time_stamp_in_both_forms() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(head(1))
        text = (await client.until("headTimestamp"))["headTimestamp"]
        client.send(head(2))
        seconds = int((await client.until("headTimestamp"))["headTimestamp"])
        assert datetime.strptime(text + "+0000", "%Y%m%d-%H:%M:%S%z").timestamp() == seconds
        client.send(r.CancelHeadTimeStamp(reqId=8))
        assert await client.quiet() == []
        client.send(head(1, "GOSSIP"))
        await client.error(321)


def past_ticks(what: str, **fields: Any) -> r.ReqHistoricalTicks:
    values: dict[str, Any] = {
        "startDateTime": "",
        "endDateTime": "",
        "numberOfTicks": 50,
        "useRth": True,
        "ignoreSize": False,
        "includeExpired": False,
        **fields,
    }
    return r.ReqHistoricalTicks(reqId=9, contract=AAPL, whatToShow=what, **values)


@pytest.mark.parametrize(
    ("what", "name"),
    [("TRADES", "historicalTicksLast"), ("BID_ASK", "historicalTicksBidAsk"), ("MIDPOINT", "historicalTicks")],
)
async def test_historical_ticks_of_each_kind(what: str, name: str) -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        client.send(past_ticks(what, endDateTime="20260414 12:00:00 US/Eastern"))
        answer = await client.until(name)
        assert (len(answer["ticks"]), answer["done"]) == (50, True)
        times = [tick.time for tick in answer["ticks"]]
        assert times == sorted(times)
        assert times[-1] <= 1776182400
        client.send(past_ticks(what, startDateTime="20260414 12:00:00 US/Eastern"))
        assert (await client.until(name))["ticks"][0].time >= 1776182400


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (past_ticks("TRADES"), 10187),
        (past_ticks("TRADES", startDateTime="20260414 12:00:00", endDateTime="20260414 13:00:00"), 10187),
        (past_ticks("GOSSIP", endDateTime="20260414 12:00:00"), 10187),
        (past_ticks("TRADES", endDateTime="20260414 12:00:00", numberOfTicks=1001), 10187),
        (past_ticks("TRADES", endDateTime="noon"), 10314),
    ],
)
async def test_impossible_tick_requests(request_: r.ReqHistoricalTicks, code: int) -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send(request_)
        assert (await client.error(code))["reqId"] == 9


async def test_bars_may_take_as_long_as_ib_takes() -> None:
    async with running(source=moving()) as gateway, joined(gateway) as client:
        at_once = await ask(client, bars())
    loop = asyncio.get_running_loop()
    async with running(source=moving(), tws={"history_seconds": 0.2}) as gateway, joined(gateway) as client:
        asked_at = loop.time()
        client.send(bars(keepUpToDate=True))
        client.send(bars(reqId=5))
        first = await client.until("historicalData", reqId=4)
        second = await client.until("historicalData", reqId=5)
        assert loop.time() - asked_at >= 0.2
        assert list(first["bars"]) == list(second["bars"]) == at_once
        assert await collect(gateway, client, gateway.now + timedelta(minutes=2))


async def test_bars_on_their_way_are_open_requests() -> None:
    async with running(source=moving(), tws={"history_seconds": 60.0}) as gateway, joined(gateway) as client:
        for number in range(50):
            client.send(bars(reqId=number + 1))
        client.send(bars(reqId=51))
        assert (await client.error(322))["reqId"] == 51
        client.send(r.CancelHistoricalData(reqId=7))
        assert "query cancelled: 7" in (await client.error(162))["errorString"]
        client.send(bars(reqId=8))
        assert (await client.error(102))["reqId"] == 8
        client.send(bars(reqId=52))
        assert await client.quiet() == []


@pytest.mark.parametrize("seconds", [-0.1, 61.0])
def test_an_answer_that_no_client_waits_for_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="history_seconds"):
        TwsSettings(history_seconds=seconds)
