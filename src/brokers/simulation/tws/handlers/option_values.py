"""Requests to value an option at prices of the client's own: answered once, by message 21 with tick type 53."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....domain.instrument import InstrumentDetails, SecType
from ...options.pricing import Valuation
from .. import requests as r
from ..request import Request
from ..session import Refusal, Session
from ..tick_types import CUSTOM_COMPUTATION

_INVALID = "Error validating request.-'cC' : cause - {}"


def implied_volatility(session: Session, request: r.CalculateImpliedVolatility) -> None:
    """No volatility where none gives this price: its fields are then those of "not computed"."""
    option = _option(session, request)
    price, spot = _positive(request.optionPrice, "option price"), _positive(request.underPrice, "underlying price")
    volatility = session.door.options.implied(option, spot, price)
    value = None if volatility is None else session.door.options.value(option, spot, volatility)
    _answer(session, request.reqId, price, spot, volatility, value)


def option_price(session: Session, request: r.CalculateOptionPrice) -> None:
    option = _option(session, request)
    volatility, spot = _positive(request.volatility, "volatility"), _positive(request.underPrice, "underlying price")
    value = session.door.options.value(option, spot, volatility)
    _answer(session, request.reqId, value.price, spot, volatility, value)


def cancel(session: Session, request: Request) -> None:
    """Every calculation has been answered already; clients cancel it all the same."""


def _option(session: Session, request: r.CalculateImpliedVolatility | r.CalculateOptionPrice) -> InstrumentDetails:
    details = session.door.resolve_any(request.contract)
    if details.instrument.sec_type is not SecType.OPTION:
        raise Refusal(321, _INVALID.format("Option calculations are for options"))
    return details


def _positive(number: float | None, what: str) -> float:
    if number is None or not 0 < number < 1e9:
        raise Refusal(321, _INVALID.format(f"Invalid {what}"))
    return number


def _answer(
    session: Session, req_id: int, price: float, spot: float, volatility: float | None, value: Valuation | None
) -> None:
    session.send(
        "tickOptionComputation",
        reqId=req_id,
        tickType=CUSTOM_COMPUTATION,
        tickAttrib=1,
        impliedVol=volatility,
        delta=None if value is None else value.delta,
        optPrice=price,
        pvDividend=0.0,
        gamma=None if value is None else value.gamma,
        vega=None if value is None else value.vega,
        theta=None if value is None else value.theta,
        undPrice=spot,
    )


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.CalculateImpliedVolatility: implied_volatility,
    r.CalculateOptionPrice: option_price,
    r.CancelCalculateImpliedVolatility: cancel,
    r.CancelCalculateOptionPrice: cancel,
}
