"""Requests about accounts, positions and P&L."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import requests as r
from ..account_values import check_tags
from ..accounts_feed import (
    AccountSummaryFeed,
    AccountUpdates,
    AccountUpdatesMulti,
    PnlFeed,
    PositionsMulti,
    Standing,
    tell_position,
)
from ..request import Request
from ..session import Refusal, Session

#: IB allows two reqAccountSummary at once.
SUMMARIES = 2


def account_of(session: Session, name: str, *, family: str) -> str:
    """The account that a request names; empty and "All" mean the only one. Raises Refusal 321."""
    accounts = session.door.exchange.accounts
    if name in accounts:
        return name
    if name in ("", "All") and accounts:
        return accounts[0]
    raise Refusal(321, f"Error validating request.-'{family}' : cause - Invalid account code '{name}'.")


def _duplicate(code: str) -> Refusal:
    return Refusal(322, f"Error processing request.-'{code}' : cause - Duplicate ticker ID for API request")


def account_updates(session: Session, request: r.ReqAccountUpdates) -> None:
    """A subscription to one account at a time: another takes the place of the first."""
    if not request.subscribe:
        session.unsubscribe("accountUpdates", 0)
        return
    account = account_of(session, request.acctCode, family="bN")
    session.unsubscribe("accountUpdates", 0)
    updates = AccountUpdates(session, account)
    session.subscribe("accountUpdates", 0, updates, _duplicate("bN"))
    updates.start()


def account_updates_multi(session: Session, request: r.ReqAccountUpdatesMulti) -> None:
    account = account_of(session, request.account, family="cj")
    updates = AccountUpdatesMulti(session, request.reqId, account, request.modelCode, request.ledgerAndNLV)
    session.subscribe("accountUpdatesMulti", request.reqId, updates, _duplicate("cj"))
    updates.start()


def account_summary(session: Session, request: r.ReqAccountSummary) -> None:
    if request.groupName not in ("All", ""):
        raise Refusal(321, f"Error validating request.-'bI' : cause - Invalid group name '{request.groupName}'")
    tags = check_tags(request.tags)
    if session.count("accountSummary") >= SUMMARIES:
        raise Refusal(
            322,
            "Error processing request.-'bI' : cause - Maximum number of account summary requests exceeded",
        )
    feed = AccountSummaryFeed(session, request.reqId, tags)
    session.subscribe("accountSummary", request.reqId, feed, _duplicate("bI"))
    feed.start()


def positions(session: Session, request: r.ReqPositions) -> None:
    """All positions, the end mark, then every change; asked again, all of it again."""
    session.unsubscribe("positions", 0)
    session.subscribe("positions", 0, Standing(), _duplicate("bG"))
    for position in session.door.exchange.positions():
        tell_position(session, position)
    session.send("positionEnd")


def cancel_positions(session: Session, request: r.CancelPositions) -> None:
    session.unsubscribe("positions", 0)


def positions_multi(session: Session, request: r.ReqPositionsMulti) -> None:
    account = account_of(session, request.account, family="ch")
    feed = PositionsMulti(session, request.reqId, account, request.modelCode)
    session.subscribe("positionsMulti", request.reqId, feed, _duplicate("ch"))
    feed.start()


def pnl(session: Session, request: r.ReqPnL) -> None:
    feed = PnlFeed(session, request.reqId, account_of(session, request.account, family="cq"))
    session.subscribe("pnl", request.reqId, feed, _duplicate("cq"))
    feed.start()


def pnl_single(session: Session, request: r.ReqPnLSingle) -> None:
    account = account_of(session, request.account, family="cs")
    if session.door.exchange.details(request.conId) is None:
        raise Refusal(321, f"Error validating request.-'cs' : cause - Invalid contract id {request.conId}")
    feed = PnlFeed(session, request.reqId, account, request.conId)
    session.subscribe("pnlSingle", request.reqId, feed, _duplicate("cs"))
    feed.start()


def _cancel(family: str) -> Callable[[Session, r.ByReqId], None]:
    """Cancels in silence, as TWS does; 300 for a number that it does not know."""

    def cancel(session: Session, request: r.ByReqId) -> None:
        if not session.unsubscribe(family, request.reqId):
            raise Refusal(300, f"Can't find EId with tickerId:{request.reqId}")

    return cancel


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqAccountUpdates: account_updates,
    r.ReqAccountUpdatesMulti: account_updates_multi,
    r.CancelAccountUpdatesMulti: _cancel("accountUpdatesMulti"),
    r.ReqAccountSummary: account_summary,
    r.CancelAccountSummary: _cancel("accountSummary"),
    r.ReqPositions: positions,
    r.CancelPositions: cancel_positions,
    r.ReqPositionsMulti: positions_multi,
    r.CancelPositionsMulti: _cancel("positionsMulti"),
    r.ReqPnL: pnl,
    r.CancelPnL: _cancel("pnl"),
    r.ReqPnLSingle: pnl_single,
    r.CancelPnLSingle: _cancel("pnlSingle"),
}
