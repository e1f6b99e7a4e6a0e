"""Requests for market depth."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ....domain.instrument import InstrumentDetails, SecType
from ...depth_levels import ASK, BID, Level, depth_levels
from ...events import ExchangeEvent, QuoteChanged
from .. import requests as r
from ..request import Request
from ..session import Refusal, Session
from ..ticks import depth, depth_l2
from .quotes import require_live

MOST_ROWS = 20
NO_OPTIONS = Refusal(10092, "Deep market data is not supported for this combination of security type/exchange")
INSERT, UPDATE, DELETE = 0, 1, 2


class DepthBook:
    """One subscription; `smart` books name the exchange of each level (message 13)."""

    def __init__(self, session: Session, request: r.ReqMktDepth, details: InstrumentDetails) -> None:
        self._session = session
        self._details = details
        self._con_id = details.instrument.con_id or 0
        self._rows = min(request.numRows, MOST_ROWS)
        stock = details.instrument.sec_type is SecType.STOCK
        self._smart = request.isSmartDepth or (stock and request.contract.exchange in ("", "SMART"))
        self._plain = depth(session.version, request.reqId)
        self._named = depth_l2(session.version, request.reqId, self._smart)
        self._shown: dict[int, list[Level]] = {ASK: [], BID: []}
        self._stop = session.door.watch(self._con_id, self._on_event)

    def start(self) -> None:
        if self._session.door.faults.silent_feed:
            return
        view = self._session.door.exchange.market(self._con_id)
        if view.bid is not None and view.ask is not None:
            self._show(view.bid, view.bid_size or Decimal(0), view.ask, view.ask_size or Decimal(0))

    def restart(self) -> None:
        """The whole book again, for a client that was told to empty its own (317)."""
        self._shown = {ASK: [], BID: []}
        self.start()

    def close(self) -> None:
        self._stop()

    def _on_event(self, event: ExchangeEvent) -> None:
        if isinstance(event, QuoteChanged):
            self._show(event.bid, event.bid_size, event.ask, event.ask_size)

    def _show(self, bid: Decimal, bid_size: Decimal, ask: Decimal, ask_size: Decimal) -> None:
        for side, price, size in ((ASK, ask, ask_size), (BID, bid, bid_size)):
            book = depth_levels(self._details, side, price, size, self._rows)
            shown = self._shown[side]
            for position, level in enumerate(book):
                if position >= len(shown):
                    self._tell(position, INSERT, side, level)
                elif shown[position] != level:
                    self._tell(position, UPDATE, side, level)
            for position in range(len(shown) - 1, len(book) - 1, -1):
                self._tell(position, DELETE, side, shown[position])
            self._shown[side] = book

    def _tell(self, position: int, operation: int, side: int, level: Level) -> None:
        price = float(level.price)
        if self._smart:
            frame = self._named(position, level.maker, operation, side, price, level.size)
        else:
            frame = self._plain(position, operation, side, price, level.size)
        # Positions shift with inserts and deletes, so none of these may be left out.
        self._session.write(frame)


def market_depth(session: Session, request: r.ReqMktDepth) -> None:
    door = session.door
    details = door.resolve(request.contract, NO_OPTIONS)
    require_live(session, details)
    if request.numRows < 1:
        raise Refusal(321, "Error validating request.-'bF' : cause - The number of rows must be above zero")
    if session.subscription("depth", request.reqId) is not None:
        raise Refusal(102, "Duplicate ticker ID.")
    if session.count("depth") >= door.settings.depth_lines:
        raise Refusal(309, f"Max number ({door.settings.depth_lines}) of market depth requests has been reached")
    book = DepthBook(session, request, details)
    session.subscribe("depth", request.reqId, book, Refusal(102, "Duplicate ticker ID."))
    book.start()


def cancel_market_depth(session: Session, request: r.CancelMktDepth) -> None:
    if not session.unsubscribe("depth", request.reqId):
        raise Refusal(310, f"Can't find the subscribed market depth with tickerId:{request.reqId}")


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqMktDepth: market_depth,
    r.CancelMktDepth: cancel_market_depth,
}
