"""Requests for market data: streaming lines, snapshots, the kind of data wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....domain.instrument import InstrumentDetails, SecType
from .. import requests as r
from ..market_data import MarketDataLine
from ..news_line import NewsLine
from ..offline import COMPETING
from ..option_line import OptionLine
from ..request import Request
from ..session import Refusal, Session
from ..tick_types import NEWS, extras, generic_ticks
from .news import allowed

NOT_SUBSCRIBED = (
    "Requested market data requires additional subscription for API. "
    "See link in 'Market Data Connections' dialog for more details."
)
NO_DATA = (
    "Requested market data is not subscribed.Check API status by selecting the Account menu then under Management "
    "choose Market Data Subscription Manager and/or availability of delayed data is not enabled."
)
DELAYED_OFF = "Requested market data is not subscribed. Delayed market data is not enabled."
DELAYED_SHOWN = "Requested market data is not subscribed. Displaying delayed market data."


def market_data(session: Session, request: r.ReqMktData) -> None:
    door = session.door
    details = door.resolve_any(request.contract)
    generics, complaint = generic_ticks(request.genericTickList, details.instrument.sec_type)
    if complaint:
        raise Refusal(321, complaint)
    if request.snapshot and generics:
        raise Refusal(
            321,
            "Error validating request.-'bX' : cause - Snapshot market data subscription is not applicable to "
            "generic ticks",
        )
    if session.subscription("quotes", request.reqId) is not None:
        raise Refusal(102, "Duplicate ticker ID.")
    if session.count("quotes") >= door.settings.market_data_lines:
        raise Refusal(101, "Max number of tickers has been reached.")
    told = extras(request.genericTickList)
    news = None
    if NEWS in generics and not request.snapshot:
        news = NewsLine(session, request.reqId, details.instrument.con_id or 0, allowed(session, told.providers))
        if told.quiet:
            refuse_competing(session)
            session.subscribe("quotes", request.reqId, news, Refusal(102, "Duplicate ticker ID."))
            news.start()
            return
    delayed = check_permission(session, details, request.reqId)
    snapshot = request.snapshot or request.regulatorySnapshot
    kind = OptionLine if details.instrument.sec_type is SecType.OPTION else MarketDataLine
    line = kind(session, request.reqId, details, generics, snapshot=snapshot, delayed=delayed)
    line.news = news
    if not snapshot:
        session.subscribe("quotes", request.reqId, line, Refusal(102, "Duplicate ticker ID."))
    line.start()


def refuse_competing(session: Session) -> None:
    """Raises Refusal while another session has the data."""
    if session.door.faults.competing:
        raise Refusal(10197, COMPETING)


def check_permission(session: Session, details: InstrumentDetails, req_id: int) -> bool:
    """Whether only delayed data may be shown (10167 is sent). Raises Refusal where there is none at all."""
    settings, symbol = session.door.settings, details.instrument.symbol
    wants_delayed = session.data_type in (3, 4)
    refuse_competing(session)
    if symbol in settings.no_data or session.door.faults.no_market_data:
        raise Refusal(10168, DELAYED_OFF) if wants_delayed else Refusal(354, NO_DATA)
    if symbol in settings.not_subscribed:
        if not wants_delayed:
            raise Refusal(10089, NOT_SUBSCRIBED)
        session.error(req_id, 10167, DELAYED_SHOWN)
        return True
    return False


def require_live(session: Session, details: InstrumentDetails) -> None:
    """For data that is never delayed: depth, ticks, real-time bars. Raises Refusal."""
    settings, symbol = session.door.settings, details.instrument.symbol
    refuse_competing(session)
    if session.door.faults.no_market_data or symbol in settings.no_data:
        raise Refusal(354, NO_DATA)
    if symbol in settings.not_subscribed:
        raise Refusal(10089, NOT_SUBSCRIBED)


def cancel_market_data(session: Session, request: r.CancelMktData) -> None:
    if not session.unsubscribe("quotes", request.reqId):
        raise Refusal(300, f"Can't find EId with tickerId:{request.reqId}")


def market_data_type(session: Session, request: r.ReqMarketDataType) -> None:
    """Holds for the lines that are asked for from now on; answered by 58 with each of them."""
    if request.marketDataType not in (1, 2, 3, 4):
        raise Refusal(321, "Error validating request.-'bs' : cause - Market data type must be 1, 2, 3 or 4", -1)
    session.data_type = request.marketDataType


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqMktData: market_data,
    r.CancelMktData: cancel_market_data,
    r.ReqMarketDataType: market_data_type,
}
