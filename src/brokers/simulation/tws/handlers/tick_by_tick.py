"""Tick-by-tick data: every print or every change of the quote, none of them merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....domain.instrument import InstrumentDetails
from ....errors import NoData
from ...events import ExchangeEvent, Printed, QuoteChanged
from ...market import TickKind
from .. import requests as r
from ..pacing import TICK_BY_TICK_TOO_SOON
from ..request import Request
from ..session import Refusal, Session
from ..ticks import bid_ask_tick, last_tick, mid_point_tick
from ..times import epoch
from .history import send_ticks
from .quotes import require_live

#: tickType of the request -> (number in message 99, historical ticks of the same kind)
KINDS: dict[str, tuple[int, TickKind]] = {
    "Last": (1, TickKind.TRADES),
    "AllLast": (2, TickKind.TRADES),
    "BidAsk": (3, TickKind.BID_ASK),
    "MidPoint": (4, TickKind.MIDPOINT),
}
EARLIER_TICKS = 1000
NO_OPTIONS = Refusal(10189, "Failed to request tick-by-tick data:Tick-by-tick is not available for options")


class TickStream:
    """One subscription. `ignore_size`: changes of the size alone are left out."""

    def __init__(self, session: Session, request: r.ReqTickByTickData, details: InstrumentDetails) -> None:
        self._session = session
        self._number = KINDS[request.tickType][0]
        self._ignore_size = request.ignoreSize
        self._exchange = details.instrument.primary_exchange or details.instrument.exchange
        version, req_id = session.version, request.reqId
        self._last = last_tick(version, req_id, self._number)
        self._bid_ask = bid_ask_tick(version, req_id)
        self._mid = mid_point_tick(req_id)
        self._told: object = None
        self._stop = session.door.watch(details.instrument.con_id or 0, self._on_event)

    def _on_event(self, event: ExchangeEvent) -> None:
        if isinstance(event, Printed) and self._number in (1, 2):
            frame = self._last(epoch(event.time), float(event.price), event.size or 0, 0, self._exchange, "")
            self._session.write(frame)
        elif isinstance(event, QuoteChanged) and self._number in (3, 4):
            self._on_quote(event)

    def _on_quote(self, event: QuoteChanged) -> None:
        bid, ask, moment = float(event.bid), float(event.ask), epoch(event.time)
        state: object
        if self._number == 4:
            state, frame = bid + ask, self._mid(moment, (bid + ask) / 2)
        else:
            sizes = () if self._ignore_size else (event.bid_size, event.ask_size)
            state, frame = (bid, ask, *sizes), self._bid_ask(moment, bid, ask, event.bid_size, event.ask_size, 0)
        if state != self._told:
            self._told = state
            self._session.write(frame)

    def close(self) -> None:
        self._stop()


def tick_by_tick(session: Session, request: r.ReqTickByTickData) -> None:
    door = session.door
    if request.tickType not in KINDS:
        raise Refusal(321, "Error validating request.-'cu' : cause - Invalid tick-by-tick type")
    details = door.resolve(request.contract, NO_OPTIONS)
    require_live(session, details)
    if session.count("tickByTick") >= door.settings.tick_by_tick_lines:
        raise Refusal(10190, "Max number of tick-by-tick requests has been reached")
    if session.subscription("tickByTick", request.reqId) is not None:
        raise Refusal(102, "Duplicate ticker ID.")
    if not session.tick_by_tick_pacing.admit(door.monotonic(), (details.instrument.con_id, request.tickType)):
        raise Refusal(*TICK_BY_TICK_TOO_SOON)
    if request.numberOfTicks > 0:
        _earlier(session, request, details)
    stream = TickStream(session, request, details)
    session.subscribe("tickByTick", request.reqId, stream, Refusal(102, "Duplicate ticker ID."))


def _earlier(session: Session, request: r.ReqTickByTickData, details: InstrumentDetails) -> None:
    """The ticks before the stream begins, as historical ticks under the same id."""
    kind = KINDS[request.tickType][1]
    try:
        steps = session.door.source.ticks(
            details.instrument.con_id or 0,
            kind,
            end=session.door.now,
            now=session.door.now,
            number=min(request.numberOfTicks, EARLIER_TICKS),
            regular_hours=False,
        )
    except NoData:
        steps = []
    send_ticks(session, request.reqId, kind, steps, details)


def cancel_tick_by_tick(session: Session, request: r.CancelTickByTickData) -> None:
    if not session.unsubscribe("tickByTick", request.reqId):
        raise Refusal(300, f"Can't find EId with tickerId:{request.reqId}")


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqTickByTickData: tick_by_tick,
    r.CancelTickByTickData: cancel_tick_by_tick,
}
