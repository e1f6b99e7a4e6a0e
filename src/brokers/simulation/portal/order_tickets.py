"""A portal order as JSON, read into the exchange's ticket. Source: client-portal.md section 2.5.

read_tickets(session, account, rows)   the tickets of one POST, parents first
read_change(session, view, row)        the one bare ticket of a modify

Numbers are taken as numbers or as text. What cannot be read is a PortalRefusal; what the exchange does not do is
refused with its own words and never translated (fault O48).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...domain.instrument import InstrumentDetails, SecType
from ...domain.order import OrderType, Side, TimeInForce
from ..refusals import Reason, refuse
from ..tickets import OcaType, OrderTicket, OrderView
from .order_words import SIDES_TAKEN, TYPES_TAKEN
from .request import PortalRefusal, whole_number

if TYPE_CHECKING:
    from .session import PortalSession

#: The client id of every order that the portal places. No TWS client has one below zero.
PORTAL_CLIENT_ID = -1
LONGEST_COID = 64
#: Digits of a number, and places of its point.
MOST_DIGITS = 15
BAD_TYPE = refuse(Reason.BAD_TYPE).text

#: Fields that ask for what the exchange does not do -> the answer.
UNSUPPORTED: tuple[tuple[str, str], ...] = (
    ("cashQty", "Cash quantity cannot be used for this order"),
    ("fxQty", "Cash quantity cannot be used for this order"),
    ("isCcyConv", "Currency conversion orders are not supported"),
    ("useAdaptive", "The order processing failed. Algo definition not found."),
    ("strategy", "The order processing failed. Algo definition not found."),
)
#: What US futures orders must carry (rules of the CME).
FUTURES_FIELDS = ("manualIndicator", "extOperator")


@dataclass(frozen=True, slots=True)
class Draft:
    """A ticket as read. `coid` "" when none was given; `parent` is the parentId as the client wrote it; `place` is
    where the ticket stood in the request, from 0."""

    ticket: OrderTicket
    details: InstrumentDetails
    coid: str = ""
    parent: str = ""
    place: int = 0


def rejected(text: str) -> PortalRefusal:
    """The third shape of an answer to an order: HTTP 200, {"error": text}."""
    return PortalRefusal(text, 200)


def read_tickets(session: PortalSession, account: str, rows: Sequence[Any], new_group: UUID) -> list[Draft]:
    """`account` is the one of the path. Several rows must be one bracket or one group. Raises PortalRefusal.

    `new_group` names the group of rows with isSingleGroup. Order ids are not given out yet.
    """
    drafts = [replace(read_ticket(session, account, row), place=place) for place, row in enumerate(rows)]
    if len(rows) > 1 and not any(draft.parent for draft in drafts):
        if not all(_flag(row, "isSingleGroup") for row in rows):
            raise PortalRefusal("Only brackets and groups may send several orders in one request")
        return [_grouped(draft, f"portal-{new_group.hex[:12]}") for draft in drafts]
    return sorted(drafts, key=lambda draft: bool(draft.parent))


def _grouped(draft: Draft, name: str) -> Draft:
    ticket = replace(draft.ticket, oca_group=name, oca_type=OcaType.CANCEL_WITH_BLOCK)
    return replace(draft, ticket=ticket)


def read_ticket(session: PortalSession, account: str, row: Any) -> Draft:
    if not isinstance(row, Mapping):
        raise PortalRefusal("Bad Request: an order is a JSON object")
    details, exchange = _contract(session, row)
    named = str(row.get("acctId") or account)
    if named != account:
        raise PortalRefusal(f"Bad Request: acctId {named} is not the account of the request")
    _refuse_unsupported(row, details)
    coid = str(row.get("cOID") or "")
    if len(coid) > LONGEST_COID or not coid.isprintable():
        raise PortalRefusal(f"Bad Request: cOID is longer than {LONGEST_COID} characters, or not text")
    kind = _kind(row)
    ticket = OrderTicket(
        client_id=PORTAL_CLIENT_ID,
        order_id=0,
        con_id=details.instrument.con_id or 0,
        side=_side(row),
        quantity=_number(row, "quantity", needed=True) or Decimal(0),
        type=kind,
        tif=_tif(row),
        outside_rth=_flag(row, "outsideRTH"),
        account=account,
        order_ref=coid,
        all_or_none=_flag(row, "allOrNone"),
        exchange=exchange,
        **_prices(row, kind),
    )
    return Draft(ticket, details, coid, str(row.get("parentId") or ""))


def read_change(session: PortalSession, view: OrderView, row: Any) -> Draft:
    """The ticket that replaces `view`'s. What a portal ticket cannot say stays as it was. Raises PortalRefusal."""
    draft = read_ticket(session, view.account, row)
    old, new = view.ticket, draft.ticket
    told_alike = (old.type, old.tif, old.outside_rth) == (new.type, new.tif, new.outside_rth)
    changed = replace(
        old,
        con_id=new.con_id,
        side=new.side,
        quantity=new.quantity,
        type=new.type,
        type_text=old.type_text if old.type is new.type else "",
        limit_price=new.limit_price,
        stop_price=new.stop_price,
        trail_amount=new.trail_amount,
        trail_percent=new.trail_percent,
        tif=new.tif,
        outside_rth=new.outside_rth,
        all_or_none=new.all_or_none,
        transmit=True,
        # A door's own picture of the order holds only while the words in it do.
        echo=old.echo if told_alike else {},
    )
    return replace(draft, ticket=changed)


def _contract(session: PortalSession, row: Mapping[str, Any]) -> tuple[InstrumentDetails, str]:
    """The instrument and the exchange asked for: `conid`, or `conidex` "265598@NASDAQ"."""
    if row.get("conid") and row.get("conidex"):
        raise PortalRefusal("Bad Request: conid and conidex are not to be used together")
    number, _, exchange = str(row.get("conidex") or row.get("conid") or "").partition("@")
    if not number:
        raise PortalRefusal("Bad Request: conid is missing")
    conid = whole_number(number)
    details = session.door.exchange.details(conid) if conid is not None else None
    if details is None:
        raise rejected(refuse(Reason.NO_CONTRACT).text)
    instrument = details.instrument
    wanted = exchange or str(row.get("listingExchange") or instrument.exchange)
    if wanted not in (*details.valid_exchanges, instrument.exchange, instrument.primary_exchange):
        raise rejected(refuse(Reason.NO_CONTRACT).text)
    return details, wanted


def _refuse_unsupported(row: Mapping[str, Any], details: InstrumentDetails) -> None:
    for name, text in UNSUPPORTED:
        if row.get(name) and _flag(row, name, default=True):
            raise rejected(text)
    if details.instrument.sec_type is SecType.FUTURE:
        missing = [name for name in FUTURES_FIELDS if row.get(name) in (None, "")]
        if missing:
            raise rejected(f"Orders for US futures need {' and '.join(missing)}")


def _kind(row: Mapping[str, Any]) -> OrderType:
    text = str(row.get("orderType") or "").strip().upper()
    if not text:
        raise PortalRefusal("Bad Request: orderType is missing")
    kind = TYPES_TAKEN.get(text)
    if kind is None:
        raise rejected(BAD_TYPE)
    return kind


def _side(row: Mapping[str, Any]) -> Side:
    side = SIDES_TAKEN.get(str(row.get("side") or "").strip().upper())
    if side is None:
        raise PortalRefusal("Bad Request: side is BUY or SELL")
    return side


def _tif(row: Mapping[str, Any]) -> TimeInForce | None:
    """None for a word that the exchange does not have (PAX, OVT, OND …): it says so."""
    text = str(row.get("tif") or "").strip().upper()
    if not text:
        raise PortalRefusal("Bad Request: tif is missing")
    return TimeInForce(text) if text in TimeInForce.__members__ and text != TimeInForce.GTD else None


def _prices(row: Mapping[str, Any], kind: OrderType) -> dict[str, Any]:
    """What `price` and `auxPrice` mean depends on the type: a stop's price is its stop. 0 leaves a price out."""
    price, aux = _number(row, "price") or None, _number(row, "auxPrice") or None
    match kind:
        case OrderType.STOP:
            return {"stop_price": price or aux}
        case OrderType.STOP_LIMIT:
            return {"limit_price": price, "stop_price": aux}
        case OrderType.TRAIL:
            amount = _number(row, "trailingAmt")
            by_percent = str(row.get("trailingType") or "amt").strip() == "%"
            return {
                "stop_price": price,
                "trail_amount": None if by_percent else amount,
                "trail_percent": amount if by_percent else None,
            }
        case OrderType.LIMIT | OrderType.LIMIT_ON_CLOSE | OrderType.MIDPRICE:
            return {"limit_price": price}
        case _:
            return {}


def _number(row: Mapping[str, Any], name: str, *, needed: bool = False) -> Decimal | None:
    value = row.get(name)
    if value is None or value == "":
        if needed:
            raise PortalRefusal(f"Bad Request: {name} is missing")
        return None
    try:
        number = Decimal(str(value).replace(",", ""))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or not _is_sane(number):
        raise PortalRefusal(f"Bad Request: {name} {value!r} is not a number")
    return number


def _is_sane(number: Decimal) -> bool:
    """Within what any price or size can be; beyond it, arithmetic would not be exact."""
    digits = number.as_tuple()
    return len(digits.digits) <= MOST_DIGITS and abs(int(digits.exponent)) <= MOST_DIGITS


def _flag(row: Any, name: str, *, default: bool = False) -> bool:
    """True for true, "true", 1. `default` is what other values that are not false mean."""
    value = row.get(name) if isinstance(row, Mapping) else None
    text = str(value).strip().lower() if value is not None else ""
    if text in ("", "false", "0", "no"):
        return False
    return default or text in ("true", "1", "yes")
