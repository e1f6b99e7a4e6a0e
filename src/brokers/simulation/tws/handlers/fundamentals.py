"""Requests for fundamental reports, as a gateway before TWS API 10.47 served them; later ones by the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import requests as r
from ..contract import Contract
from ..fundamentals_xml import REPORTS
from ..request import Request
from ..session import Refusal, Session
from ..settings import FundamentalService

_NONE = "We are sorry, but fundamentals data for the security specified is not available."


def report(session: Session, request: r.ReqFundamentalData) -> None:
    door = session.door
    service = door.settings.fundamentals
    if service is FundamentalService.SILENT:
        return
    if service is FundamentalService.REFUSED:
        raise Refusal(10358, "Fundamentals data is not allowed.")
    write = REPORTS.get(request.reportType)
    if write is None:
        raise Refusal(430, f"{_NONE}:Missing reportType")
    wanted = Contract(
        conId=request.conId,
        symbol=request.symbol,
        secType=request.secType,
        exchange=request.exchange,
        primaryExchange=request.primaryExchange,
        currency=request.currency,
        localSymbol=request.localSymbol,
    )
    details = door.resolve(wanted, Refusal(430, _NONE))
    told = door.reports.of(details)
    if told is None:
        raise Refusal(430, _NONE)
    session.send("fundamentalData", reqId=request.reqId, data=write(details, told))


def cancel(session: Session, request: r.CancelFundamentalData) -> None:
    """Every report is answered at once, so that none is left to cancel; a silent gateway is silent of this too."""
    if session.door.settings.fundamentals is not FundamentalService.SILENT:
        raise Refusal(300, f"Can't find EId with tickerId:{request.reqId}")


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqFundamentalData: report,
    r.CancelFundamentalData: cancel,
}
