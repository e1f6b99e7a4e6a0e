"""Requests about the past other than bars: historical ticks and head time stamps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ....domain.instrument import InstrumentDetails
from ....errors import InvalidRequest, NoData
from ...market import PriceStep, TickKind
from .. import requests as r
from ..bar_requests import DATE_COMPLAINT, bar_source, no_data
from ..messages_out import HistoricalTick, HistoricalTickBidAsk, HistoricalTickLast
from ..request import Request
from ..session import Refusal, Session
from ..times import epoch, parse_moment, utc_text

MOST_TICKS = 1000


def head_timestamp(session: Session, request: r.ReqHeadTimeStamp) -> None:
    """`formatDate` 1: UTC text, 2: epoch seconds."""
    details = session.door.resolve(request.contract)
    bar_source(request.whatToShow, details.instrument.symbol)
    head = session.door.source.head_timestamp(details.instrument.con_id or 0)
    if head is None or head > session.door.now:
        raise no_data(details.instrument.symbol, request.whatToShow)
    session.send(
        "headTimestamp",
        reqId=request.reqId,
        headTimestamp=str(epoch(head)) if request.formatDate == 2 else utc_text(head),
    )


def cancel_head_timestamp(session: Session, request: r.CancelHeadTimeStamp) -> None:
    """The answer has been sent by now: nothing is left to cancel, and TWS says nothing."""


def historical_ticks(session: Session, request: r.ReqHistoricalTicks) -> None:
    door = session.door
    details = door.resolve(request.contract)
    if request.whatToShow not in TickKind.__members__:
        raise Refusal(10187, f"Failed to request historical ticks:Invalid what to show '{request.whatToShow}'")
    if not 1 <= request.numberOfTicks <= MOST_TICKS:
        raise Refusal(10187, f"Failed to request historical ticks:The number of ticks must be 1 to {MOST_TICKS}")
    if bool(request.startDateTime) == bool(request.endDateTime):
        raise Refusal(10187, "Failed to request historical ticks:One of start and end time must be given")
    kind = TickKind(request.whatToShow)
    try:
        steps = door.source.ticks(
            details.instrument.con_id or 0,
            kind,
            start=_moment(request.startDateTime, door.now, details),
            end=_moment(request.endDateTime, door.now, details),
            now=door.now,
            number=request.numberOfTicks,
            regular_hours=request.useRth,
        )
    except (NoData, InvalidRequest):
        raise no_data(details.instrument.symbol, request.whatToShow) from None
    send_ticks(session, request.reqId, kind, steps, details)


def _moment(text: str, now: datetime, details: InstrumentDetails) -> datetime | None:
    if not text:
        return None
    try:
        return parse_moment(text, now, details.time_zone)
    except ValueError:
        raise Refusal(10314, f"End Date/Time: {DATE_COMPLAINT}") from None


def send_ticks(
    session: Session, req_id: int, kind: TickKind, steps: Sequence[PriceStep], details: InstrumentDetails
) -> None:
    """One message with all of them, marked as the last."""
    exchange = details.instrument.primary_exchange or details.instrument.exchange
    ticks: list[tuple[Any, ...]]
    if kind is TickKind.TRADES:
        name = "historicalTicksLast"
        ticks = [
            HistoricalTickLast(epoch(s.time), 0, float(s.last or 0), s.last_size or 0, exchange, "") for s in steps
        ]
    elif kind is TickKind.BID_ASK:
        name = "historicalTicksBidAsk"
        ticks = [
            HistoricalTickBidAsk(epoch(s.time), 0, float(s.bid), float(s.ask), s.bid_size, s.ask_size) for s in steps
        ]
    else:
        name = "historicalTicks"
        ticks = [HistoricalTick(epoch(s.time), float(s.bid + s.ask) / 2, 0) for s in steps]
    session.send(name, reqId=req_id, ticks=ticks, done=True)


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqHeadTimeStamp: head_timestamp,
    r.CancelHeadTimeStamp: cancel_head_timestamp,
    r.ReqHistoricalTicks: historical_ticks,
}
