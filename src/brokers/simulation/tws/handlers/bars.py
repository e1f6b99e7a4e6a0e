"""Requests for bars: history, history that stays up to date, schedules, real-time bars."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ....domain.instrument import InstrumentDetails
from ....domain.market_data import VOLATILITY_SOURCES, Bar, BarSize, BarSource
from ....domain.sessions import Session as MarketSession
from ....errors import InvalidRequest, NoData
from ...bar_spans import Span, span_before
from ...events import ExchangeEvent, Printed, QuoteChanged, SessionChanged
from ...history import LiveBar
from ...timers import Timer
from .. import requests as r
from ..bar_requests import (
    bar_size,
    bar_source,
    check_step,
    invalid,
    no_data,
    parse_duration,
    parse_end,
)
from ..messages_out import HistoricalBar, HistoricalSession
from ..pacing import OPEN_HISTORY_REQUESTS, SMALL_BAR_SECONDS
from ..request import Request
from ..session import Refusal, Session
from ..times import epoch, local, stamp, zone_text
from .quotes import require_live

#: Market time between two updates of one bar.
UPDATE_INTERVAL = timedelta(seconds=5)
_FIVE_SECONDS = 5
_SCHEDULE_SINCE = 165


def historical_data(session: Session, request: r.ReqHistoricalData) -> None:
    door = session.door
    details = door.resolve(request.contract)
    if request.whatToShow == "SCHEDULE":
        schedule(session, request, details)
        return
    what = _what(request, details)
    size = bar_size(request.barSizeSetting)
    source = bar_source(request.whatToShow, what)
    number, unit = parse_duration(request.durationStr)
    check_step(size, number, unit)
    _check_end(request, source)
    parse_end(request.endDateTime, door.now, details)
    _pace(session, request, details, size)
    if session.subscription("bars", request.reqId) is not None:
        raise _duplicate()
    if door.settings.history_seconds:
        late = LateBars(session, request, door.settings.history_seconds)
        session.subscribe("bars", request.reqId, late, _duplicate())
    else:
        send_bars(session, request)


def _duplicate() -> Refusal:
    return Refusal(102, "Duplicate ticker ID.")


class LateBars:
    """A request on its way to IB's historical data farm and back: open until it is answered or cancelled."""

    def __init__(self, session: Session, request: r.ReqHistoricalData, seconds: float) -> None:
        self._session = session
        self._request = request
        self._timer = asyncio.get_running_loop().call_later(seconds, self._answer)

    def close(self) -> None:
        self._timer.cancel()

    def _answer(self) -> None:
        session = self._session
        session.unsubscribe("bars", self._request.reqId)
        session.door.attempt(session, self._request, send_bars)
        session.door.flush()


def send_bars(session: Session, request: r.ReqHistoricalData) -> None:
    """The answer to a request that was judged already, with the bars as they stand now."""
    door = session.door
    details = door.resolve(request.contract)
    what = _what(request, details)
    size = bar_size(request.barSizeSetting)
    source = bar_source(request.whatToShow, what)
    number, unit = parse_duration(request.durationStr)
    end = parse_end(request.endDateTime, door.now, details)
    con_id = details.instrument.con_id or 0
    span = span_before(door.source, con_id, number, unit, end, intraday=size.is_intraday, regular_hours=request.useRTH)
    if source in VOLATILITY_SOURCES:
        # settled once a day: there is nothing finer to serve
        daily = size is BarSize.D1
        bars = door.options.volatility.bars(details, source, span.start, span.end) if daily else []
    else:
        bars = _bars(session, con_id, size, source, span, request)
    if not bars and not request.keepUpToDate:
        raise no_data(what, request.whatToShow)
    writer = BarWriter(size, request.formatDate, details.time_zone)
    session.send(
        "historicalData",
        reqId=request.reqId,
        startDate=stamp(span.start, details.time_zone),
        endDate=stamp(span.end, details.time_zone),
        bars=[writer.bar(bar) for bar in bars],
    )
    if request.keepUpToDate:
        current = bars[-1] if bars and not bars[-1].complete else None
        stream = BarStream(session, request, details, size, source, writer, current)
        session.subscribe("bars", request.reqId, stream, _duplicate())


def _what(request: r.ReqHistoricalData, details: InstrumentDetails) -> str:
    return f"{details.instrument.symbol}@{request.contract.exchange or details.instrument.exchange}"


def _check_end(request: r.ReqHistoricalData, source: BarSource) -> None:
    if request.endDateTime and request.keepUpToDate:
        raise invalid("End date not supported with keep up to date")
    if request.endDateTime and source is BarSource.ADJUSTED_LAST:
        raise invalid("End Date not supported with adjusted last")
    if request.keepUpToDate and source is BarSource.BID_ASK:
        raise invalid("Keep up to date is not supported for BID_ASK")
    if request.keepUpToDate and source in VOLATILITY_SOURCES:
        raise invalid(f"Keep up to date is not supported for {source}")


def _pace(session: Session, request: r.ReqHistoricalData, details: InstrumentDetails, size: BarSize) -> None:
    if session.count("bars") >= OPEN_HISTORY_REQUESTS:
        raise Refusal(
            322,
            f"Error processing request.-'bP' : cause - Only {OPEN_HISTORY_REQUESTS} simultaneous API historical data "
            "requests allowed.",
        )
    if size.seconds > SMALL_BAR_SECONDS:
        return
    identity = replace(request, reqId=0)
    series = (details.instrument.con_id, request.contract.exchange, request.whatToShow)
    weight = 2 if request.whatToShow == "BID_ASK" else 1
    broken = session.history_pacing.admit(session.door.monotonic(), identity, series, weight)
    if broken:
        raise Refusal(
            162, f"Historical Market Data Service error message:Historical data request pacing violation:{broken}"
        )


def _bars(
    session: Session, con_id: int, size: BarSize, source: BarSource, span: Span, request: r.ReqHistoricalData
) -> list[Bar]:
    try:
        return session.door.source.history(
            con_id, size, source, start=span.start, end=span.end, now=session.door.now, regular_hours=request.useRTH
        )
    except (NoData, InvalidRequest):
        return []


class BarWriter:
    """Bars with dates as the client wants them: text in the exchange's zone (1), epoch seconds (2); days stay days."""

    def __init__(self, size: BarSize, format_date: int, time_zone: str) -> None:
        self._intraday = size.is_intraday
        self._epoch = format_date == 2
        self._zone = time_zone

    def date(self, bar: Bar) -> str:
        if not self._intraday:
            # A daily bar carries midnight UTC of its day, whatever the exchange's zone.
            return f"{bar.time:%Y%m%d}"
        return str(epoch(bar.time)) if self._epoch else stamp(bar.time, self._zone)

    def bar(self, bar: Bar) -> HistoricalBar:
        return HistoricalBar(self.date(bar), bar.open, bar.high, bar.low, bar.close, *volume_fields(bar))


def volume_fields(bar: Bar) -> tuple[float, float, int]:
    """Volume, average and count; IB's -1 where there are none (bid, ask, midpoint)."""
    if bar.volume is None:
        return -1, -1, -1
    average = bar.close if bar.average is None else round(bar.average, 6)
    return bar.volume, average, bar.count or 0


class BarStream:
    """keepUpToDate: message 90 for the bar that is being made, and for a bar when it ends."""

    def __init__(
        self,
        session: Session,
        request: r.ReqHistoricalData,
        details: InstrumentDetails,
        size: BarSize,
        source: BarSource,
        writer: BarWriter,
        current: Bar | None,
    ) -> None:
        door = session.door
        self._session = session
        self._req_id = request.reqId
        self._writer = writer
        self._trades = source in (BarSource.TRADES, BarSource.ADJUSTED_LAST)
        self._live = LiveBar(size, source, door.source.calendar, regular_hours=request.useRTH, current=current)
        self._told: Bar | None = current
        self._told_at = door.now
        self._timer: Timer | None = None
        self._stops = (
            door.watch(details.instrument.con_id or 0, self._on_event),
            door.exchange.subscribe(door.guarded(self._on_session), SessionChanged),
        )

    def close(self) -> None:
        for stop in self._stops:
            stop()
        if self._timer is not None:
            self._timer.cancel()

    def _on_event(self, event: ExchangeEvent) -> None:
        if isinstance(event, Printed) and self._trades:
            closed = self._live.take(event.time, 0.0, 0.0, float(event.price), float(event.size or 0))
        elif isinstance(event, QuoteChanged) and not self._trades:
            closed = self._live.take(event.time, float(event.bid), float(event.ask), None, 0.0)
        else:
            return
        for bar in closed:
            self._tell(bar)
        self._plan(event.time, at_once=bool(closed))

    def _on_session(self, event: ExchangeEvent) -> None:
        for bar in self._live.advance(event.time):
            self._tell(bar)
        self._tell_current()

    def _plan(self, now: datetime, *, at_once: bool) -> None:
        if at_once or now - self._told_at >= UPDATE_INTERVAL:
            self._tell_current()
        elif self._timer is None or self._timer.cancelled:
            self._timer = self._session.door.timers.at(self._told_at + UPDATE_INTERVAL, self._tell_current)

    def _tell_current(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._told_at = self._session.door.now
        if self._live.bar is not None:
            self._tell(self._live.bar)

    def _tell(self, bar: Bar) -> None:
        if self._told is not None and replace(self._told, complete=bar.complete) == bar:
            return
        self._told = bar
        volume, average, count = volume_fields(bar)
        self._session.send(
            "historicalDataUpdate",
            reqId=self._req_id,
            barCount=count,
            date=self._writer.date(bar),
            open=bar.open,
            close=bar.close,
            high=bar.high,
            low=bar.low,
            wap=average,
            volume=volume,
        )


def cancel_historical_data(session: Session, request: r.CancelHistoricalData) -> None:
    if not session.unsubscribe("bars", request.reqId):
        raise Refusal(366, f"No historical data query found for ticker id:{request.reqId}")
    raise Refusal(
        162,
        f"Historical Market Data Service error message:API historical data query cancelled: {request.reqId}",
    )


def schedule(session: Session, request: r.ReqHistoricalData, details: InstrumentDetails) -> None:
    """Trading sessions instead of bars (message 106)."""
    if session.version < _SCHEDULE_SINCE:
        raise invalid("Historical schedules need a newer client")
    if bar_size(request.barSizeSetting) is not BarSize.D1:
        raise invalid("Schedules come with bars of 1 day")
    number, unit = parse_duration(request.durationStr)
    source, zone = session.door.source, details.time_zone
    end = parse_end(request.endDateTime, session.door.now, details)
    con_id = details.instrument.con_id or 0
    span = span_before(source, con_id, number, unit, end, intraday=True, regular_hours=request.useRTH)
    rows = [
        row
        for row in source.schedule(span.start.date(), end.date(), regular_hours=request.useRTH)
        if span.start <= row.start < end
    ]
    if not rows:
        raise no_data(_what(request, details), "SCHEDULE")
    session.send(
        "historicalSchedule",
        reqId=request.reqId,
        startDateTime=local(rows[0].start, zone),
        endDateTime=local(rows[-1].end, zone),
        timeZone=zone_text(zone),
        sessions=[HistoricalSession(local(row.start, zone), local(row.end, zone), f"{row.day:%Y%m%d}") for row in rows],
    )


#: What real-time bars may be made of.
REAL_TIME_SOURCES = frozenset({BarSource.TRADES, BarSource.MIDPOINT, BarSource.BID, BarSource.ASK})


class RealTimeBars:
    """A bar every five seconds of an open session, traded or not."""

    def __init__(
        self, session: Session, request: r.ReqRealTimeBars, details: InstrumentDetails, source: BarSource
    ) -> None:
        door = session.door
        self._session = session
        self._req_id = request.reqId
        self._con_id = details.instrument.con_id or 0
        self._trades = source is BarSource.TRADES
        self._regular = request.useRTH
        self._live = LiveBar(BarSize.S5, source, door.source.calendar, regular_hours=request.useRTH, fill=True)
        self._timer: Timer | None = None
        self._stops = (
            door.watch(self._con_id, self._on_event),
            door.exchange.subscribe(door.guarded(self._on_session), SessionChanged),
        )
        self._plan()

    def close(self) -> None:
        for stop in self._stops:
            stop()
        if self._timer is not None:
            self._timer.cancel()

    def _open(self) -> bool:
        now = self._session.door.exchange.session(self._con_id)
        if self._regular:
            return now is MarketSession.REGULAR
        return now not in (MarketSession.CLOSED, MarketSession.UNKNOWN)

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._open():
            now = self._session.door.now
            beyond = _FIVE_SECONDS - now.timestamp() % _FIVE_SECONDS
            self._timer = self._session.door.timers.at(now + timedelta(seconds=beyond), self._on_boundary)

    def _on_boundary(self) -> None:
        self._tell(self._live.advance(self._session.door.now))
        self._plan()

    def _on_session(self, event: ExchangeEvent) -> None:
        self._tell(self._live.advance(event.time))
        self._plan()

    def _on_event(self, event: ExchangeEvent) -> None:
        if isinstance(event, Printed) and self._trades:
            self._tell(self._live.take(event.time, 0.0, 0.0, float(event.price), float(event.size or 0)))
        elif isinstance(event, QuoteChanged) and not self._trades:
            self._tell(self._live.take(event.time, float(event.bid), float(event.ask), None, 0.0))

    def _tell(self, bars: list[Bar]) -> None:
        for bar in bars:
            volume, average, count = volume_fields(bar)
            self._session.send(
                "realtimeBar",
                reqId=self._req_id,
                time=epoch(bar.time),
                open=bar.open,
                high=bar.high,
                low=bar.low,
                close=bar.close,
                volume=volume,
                wap=average,
                barCount=count,
            )


def real_time_bars(session: Session, request: r.ReqRealTimeBars) -> None:
    details = session.door.resolve(request.contract)
    require_live(session, details)
    source = bar_source(request.whatToShow, details.instrument.symbol)
    if source not in REAL_TIME_SOURCES:
        raise Refusal(420, f"Invalid Real-time Query:Real-time bars of {request.whatToShow} are not available")
    if session.subscription("realTimeBars", request.reqId) is not None:
        raise Refusal(102, "Duplicate ticker ID.")
    bars = RealTimeBars(session, request, details, source)
    session.subscribe("realTimeBars", request.reqId, bars, Refusal(102, "Duplicate ticker ID."))


def cancel_real_time_bars(session: Session, request: r.CancelRealTimeBars) -> None:
    if not session.unsubscribe("realTimeBars", request.reqId):
        raise Refusal(300, f"Can't find EId with tickerId:{request.reqId}")


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqHistoricalData: historical_data,
    r.CancelHistoricalData: cancel_historical_data,
    r.ReqRealTimeBars: real_time_bars,
    r.CancelRealTimeBars: cancel_real_time_bars,
}
