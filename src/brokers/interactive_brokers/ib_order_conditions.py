"""Which orders IB takes, and when: type x TIF x session x security type x cut-off, as tables.

Checked before the wire, because IB answers some of these at the close, and some never (faults O33, O45, O46, O47).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ..domain.instrument import Instrument, SecType
from ..domain.order import NewOrder, OrderType, TimeInForce
from ..domain.sessions import Session, TradingDay

_T, _F = OrderType, TimeInForce

#: Which TIF each type takes. IB: MOC and LOC with another TIF are error 113; OPG is for market and limit orders.
TIFS: dict[OrderType, frozenset[TimeInForce]] = {
    _T.MARKET: frozenset({_F.DAY, _F.GTC, _F.GTD, _F.IOC, _F.OPG}),
    _T.LIMIT: frozenset({_F.DAY, _F.GTC, _F.GTD, _F.IOC, _F.OPG}),
    _T.STOP: frozenset({_F.DAY, _F.GTC, _F.GTD}),
    _T.STOP_LIMIT: frozenset({_F.DAY, _F.GTC, _F.GTD}),
    _T.TRAIL: frozenset({_F.DAY, _F.GTC, _F.GTD}),
    _T.MARKET_ON_CLOSE: frozenset({_F.DAY}),
    _T.LIMIT_ON_CLOSE: frozenset({_F.DAY}),
    _T.MIDPRICE: frozenset({_F.DAY}),
}

_ANYTHING = frozenset(SecType) - {SecType.INDEX}
#: Which securities each type is for. IB: MOC and LOC on options are error 387; MIDPRICE is for US stocks on SMART.
SEC_TYPES: dict[OrderType, frozenset[SecType]] = {
    _T.MARKET: _ANYTHING,
    _T.LIMIT: _ANYTHING,
    _T.STOP: _ANYTHING,
    _T.STOP_LIMIT: _ANYTHING,
    _T.TRAIL: _ANYTHING - {SecType.BOND},
    _T.MARKET_ON_CLOSE: frozenset({SecType.STOCK, SecType.FUTURE}),
    _T.LIMIT_ON_CLOSE: frozenset({SecType.STOCK, SecType.FUTURE}),
    _T.MIDPRICE: frozenset({SecType.STOCK}),
}

#: What may be marked to work outside regular hours; IB refuses the rest with 111, or ignores the mark with 2109.
OUTSIDE_RTH_TYPES = frozenset({_T.LIMIT, _T.STOP, _T.STOP_LIMIT, _T.TRAIL})
OUTSIDE_RTH_TIFS = frozenset({_F.DAY, _F.GTC, _F.GTD})

#: How long before the close an on-close order must be in, by listing exchange; others are held to the earliest.
CLOSE_CUT_OFFS: dict[str, timedelta] = {
    "NYSE": timedelta(minutes=10),
    "AMEX": timedelta(minutes=10),
    "NASDAQ": timedelta(minutes=5),
    "ISLAND": timedelta(minutes=5),
    "BATS": timedelta(minutes=5),
    "ARCA": timedelta(minutes=1),
}
EARLIEST_CLOSE_CUT_OFF = max(CLOSE_CUT_OFFS.values())
#: The same for the opening auction (Nasdaq takes on-open orders until 09:28).
OPEN_CUT_OFF = timedelta(minutes=2)


class Window(StrEnum):
    """When an order means to trade."""

    AT_ONCE = "AT_ONCE"  #: now or not at all, in regular hours
    OPENING = "OPENING"  #: in the next opening auction
    CLOSING = "CLOSING"  #: in today's closing auction
    DAY_REGULAR = "DAY_REGULAR"  #: in today's regular session
    DAY_EXTENDED = "DAY_EXTENDED"  #: in today's sessions, extended hours included
    RESTING = "RESTING"  #: until cancelled, or until a date


def window_of(type: OrderType, tif: TimeInForce, outside_rth: bool) -> Window:
    """The window of an order; total over types and TIFs."""
    if type in (_T.MARKET_ON_CLOSE, _T.LIMIT_ON_CLOSE):
        return Window.CLOSING
    if tif is _F.OPG:
        return Window.OPENING
    if tif is _F.IOC or type is _T.MIDPRICE:
        return Window.AT_ONCE
    if tif in (_F.GTC, _F.GTD):
        return Window.RESTING
    return Window.DAY_EXTENDED if outside_rth else Window.DAY_REGULAR


@dataclass(frozen=True, slots=True)
class Refused:
    """Why IB would not take the order: what it has, what would do, and what to do about it."""

    why: str
    next: str
    value: str
    limit: str


_QUEUED = "IB would queue it unnoticed until the next session"
_LATER = "send it in the session, or make it GTC to let it rest"
_QUEUEING = "turn queue_outside_session on (IB_RISK__QUEUE_OUTSIDE_SESSION) for a limit order"
_UNKNOWN = "the calendar does not know the session"
_REGULAR_ONLY = "it works in regular hours only"
_AUCTION_PAST = "today's auction is past"

#: Every window in every session: None when IB takes it, else (why, next).
SESSIONS: dict[tuple[Window, Session], tuple[str, str] | None] = {
    (Window.AT_ONCE, Session.PRE): (_REGULAR_ONLY, "wait for the open"),
    (Window.AT_ONCE, Session.REGULAR): None,
    (Window.AT_ONCE, Session.POST): (_REGULAR_ONLY, "wait for the open"),
    (Window.AT_ONCE, Session.OVERNIGHT): (_REGULAR_ONLY, "wait for the open"),
    (Window.AT_ONCE, Session.CLOSED): (_REGULAR_ONLY, "wait for the open"),
    (Window.AT_ONCE, Session.UNKNOWN): (_UNKNOWN, "ask the contract's hours"),
    (Window.OPENING, Session.PRE): None,
    (Window.OPENING, Session.REGULAR): (_AUCTION_PAST, "use TIF DAY"),
    (Window.OPENING, Session.POST): None,
    (Window.OPENING, Session.OVERNIGHT): None,
    (Window.OPENING, Session.CLOSED): None,
    (Window.OPENING, Session.UNKNOWN): (_UNKNOWN, "ask the contract's hours"),
    (Window.CLOSING, Session.PRE): None,
    (Window.CLOSING, Session.REGULAR): None,
    (Window.CLOSING, Session.POST): (_AUCTION_PAST, "send it in the next session"),
    (Window.CLOSING, Session.OVERNIGHT): (_QUEUED, "send it in the next session"),
    (Window.CLOSING, Session.CLOSED): (_QUEUED, "send it in the next session"),
    (Window.CLOSING, Session.UNKNOWN): (_UNKNOWN, "ask the contract's hours"),
    (Window.DAY_REGULAR, Session.PRE): None,
    (Window.DAY_REGULAR, Session.REGULAR): None,
    (Window.DAY_REGULAR, Session.POST): (_QUEUED, f"{_LATER}, or set outside_rth, or {_QUEUEING}"),
    (Window.DAY_REGULAR, Session.OVERNIGHT): (_QUEUED, f"{_LATER}, or {_QUEUEING}"),
    (Window.DAY_REGULAR, Session.CLOSED): (_QUEUED, f"{_LATER}, or {_QUEUEING}"),
    (Window.DAY_REGULAR, Session.UNKNOWN): (_UNKNOWN, _LATER),
    (Window.DAY_EXTENDED, Session.PRE): None,
    (Window.DAY_EXTENDED, Session.REGULAR): None,
    (Window.DAY_EXTENDED, Session.POST): None,
    (Window.DAY_EXTENDED, Session.OVERNIGHT): (_QUEUED, _LATER),
    (Window.DAY_EXTENDED, Session.CLOSED): (_QUEUED, _LATER),
    (Window.DAY_EXTENDED, Session.UNKNOWN): (_UNKNOWN, _LATER),
    (Window.RESTING, Session.PRE): None,
    (Window.RESTING, Session.REGULAR): None,
    (Window.RESTING, Session.POST): None,
    (Window.RESTING, Session.OVERNIGHT): None,
    (Window.RESTING, Session.CLOSED): None,
    (Window.RESTING, Session.UNKNOWN): None,
}


def check_conditions(
    order: NewOrder,
    instrument: Instrument,
    *,
    now: datetime,
    session: Session,
    day: TradingDay | None,
    waits: bool = False,
) -> Refused | None:
    """Whether IB takes `order` for the qualified `instrument` at `now`; None when it does.

    `day` is today's trading day (None when there is none, or it is not known). Moments are aware. `waits`: the order
    is meant to be held until the next open.
    """
    window = window_of(order.type, order.tif, order.outside_rth)
    return (
        _by_contract(order, instrument)
        or _by_type(order)
        or (None if waits else _by_session(window, session))
        or _by_cut_off(window, instrument, now, day)
        or _by_date(order, now)
    )


def _by_contract(order: NewOrder, instrument: Instrument) -> Refused | None:
    kinds = SEC_TYPES[order.type]
    if instrument.sec_type not in kinds:
        allowed = ", ".join(sorted(kinds))
        return Refused(
            f"{order.type} is not for {instrument.sec_type}", "use a limit order", instrument.sec_type, allowed
        )
    if order.type is _T.MIDPRICE and (instrument.exchange, instrument.currency) != ("SMART", "USD"):
        value = f"{instrument.exchange} {instrument.currency}"
        return Refused("MIDPRICE is for US stocks routed by SMART", "use a limit order", value, "SMART USD")
    if order.quantity != order.quantity.to_integral_value():
        whole = str(order.quantity.to_integral_value(rounding="ROUND_FLOOR"))
        return Refused("the TWS socket takes whole units only (10243)", f"order {whole}", str(order.quantity), whole)
    return None


def _by_type(order: NewOrder) -> Refused | None:
    tifs = TIFS[order.type]
    if order.tif not in tifs:
        why = f"{order.type} does not take TIF {order.tif}"
        return Refused(why, f"use {_words(tifs)}", order.tif, _words(tifs))
    if not order.outside_rth:
        return None
    if order.type not in OUTSIDE_RTH_TYPES:
        allowed = ", ".join(sorted(OUTSIDE_RTH_TYPES))
        return Refused(
            f"{order.type} does not work outside regular hours", "leave outside_rth out", order.type, allowed
        )
    if order.tif not in OUTSIDE_RTH_TIFS:
        allowed = ", ".join(sorted(OUTSIDE_RTH_TIFS))
        return Refused(
            f"TIF {order.tif} does not go with outside_rth (111)", "leave outside_rth out", order.tif, allowed
        )
    return None


def _by_session(window: Window, session: Session) -> Refused | None:
    verdict = SESSIONS[window, session]
    if verdict is None:
        return None
    why, next = verdict
    taken = [where for (kind, where), answer in SESSIONS.items() if kind is window and answer is None]
    return Refused(f"the session is {session}: {why}", next, session, _words(taken))


def _by_cut_off(window: Window, instrument: Instrument, now: datetime, day: TradingDay | None) -> Refused | None:
    if window is Window.CLOSING:
        if day is None:
            why = f"today's close is not known: {_QUEUED}"
            return Refused(why, "send it in the next session", "unknown", "a close")
        return _too_late("on-close", now, day.close - close_cut_off(instrument), "use a limit order now")
    if window is Window.OPENING and day is not None and now < day.open:
        return _too_late("on-open", now, day.open - OPEN_CUT_OFF, "use TIF DAY")
    return None


def _too_late(kind: str, now: datetime, cut_off: datetime, next: str) -> Refused | None:
    if now < cut_off:
        return None
    limit = f"{cut_off:%H:%M} UTC"
    return Refused(f"{kind} orders must be in before {limit}", next, f"{now:%H:%M:%S} UTC", limit)


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def close_cut_off(instrument: Instrument) -> timedelta:
    """How long before the close an on-close order must be in."""
    listing = instrument.primary_exchange or instrument.exchange
    return CLOSE_CUT_OFFS.get(listing, EARLIEST_CLOSE_CUT_OFF)


def _by_date(order: NewOrder, now: datetime) -> Refused | None:
    if order.good_till is None or order.good_till > now:
        return None
    return Refused("good_till is past", "give a later moment", order.good_till.isoformat(), f"after {now.isoformat()}")
