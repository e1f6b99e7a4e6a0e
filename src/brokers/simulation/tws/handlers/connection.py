"""Requests about the connection itself: time, ids, log level, bulletins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import requests as r
from ..messages_out import FamilyCode
from ..request import Request
from ..session import Refusal, Session
from ..times import epoch


def current_time(session: Session, request: r.ReqCurrentTime) -> None:
    """Market time, in whole epoch seconds."""
    session.send("currentTime", time=epoch(session.door.now))


def managed_accounts(session: Session, request: r.ReqManagedAccts) -> None:
    session.send("managedAccounts", accountsList=",".join(session.door.exchange.accounts))


def ids(session: Session, request: r.ReqIds) -> None:
    session.send("nextValidId", orderId=session.door.next_order_id(session))


def log_level(session: Session, request: r.SetServerLogLevel) -> None:
    """TWS answers nothing to a level that it has."""
    if not 1 <= request.logLevel <= 5:
        raise Refusal(321, f"Error validating request.-'ao' : cause - Invalid log level {request.logLevel}")


def bulletins(session: Session, request: r.ReqNewsBulletins) -> None:
    """Bulletins come when the exchange has any; `allMsgs` asks for today's earlier ones too."""
    session.bulletins = True
    if request.allMsgs:
        for values in session.door.bulletins:
            session.send("updateNewsBulletin", **values)


def no_bulletins(session: Session, request: r.CancelNewsBulletins) -> None:
    session.bulletins = False


def family_codes(session: Session, request: r.ReqFamilyCodes) -> None:
    session.send("familyCodes", familyCodes=[FamilyCode(account, "") for account in session.door.exchange.accounts])


def soft_dollar_tiers(session: Session, request: r.ReqSoftDollarTiers) -> None:
    """A paper account has none."""
    session.send("softDollarTiers", reqId=request.reqId, tiers=[])


def start_api_again(session: Session, request: r.StartApi) -> None:
    raise Refusal(321, "Error validating request.-'ag' : cause - The API connection has been started already", -1)


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.StartApi: start_api_again,
    r.ReqCurrentTime: current_time,
    r.ReqManagedAccts: managed_accounts,
    r.ReqIds: ids,
    r.SetServerLogLevel: log_level,
    r.ReqNewsBulletins: bulletins,
    r.CancelNewsBulletins: no_bulletins,
    r.ReqFamilyCodes: family_codes,
    r.ReqSoftDollarTiers: soft_dollar_tiers,
}
