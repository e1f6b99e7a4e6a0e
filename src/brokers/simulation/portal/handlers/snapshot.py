"""Market data snapshots, and the end of what they opened. Source: client-portal.md section 2.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..conids import read_conid
from ..market_lines import MarketLines
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier

if TYPE_CHECKING:
    from ..session import PortalSession

MOST_CONIDS = 100
MOST_FIELDS = 50


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def snapshot(session: PortalSession, request: PortalRequest) -> Answer:
    """A row a contract, in the order asked for. Raises PortalRefusal for too many of anything."""
    conids = [read_conid(session, text) for text in _list(request.text("conids"))]
    codes = _list(request.text("fields"))
    if not conids:
        raise PortalRefusal("Bad Request: conids is required")
    if len(conids) > MOST_CONIDS:
        raise PortalRefusal(f"Bad Request: at most {MOST_CONIDS} conids")
    if len(codes) > MOST_FIELDS:
        raise PortalRefusal(f"Bad Request: at most {MOST_FIELDS} fields")
    lines = session.brokerage(MarketLines)
    return Answer([lines.snapshot(conid, frozenset(codes)) for conid in conids])


def unsubscribe(session: PortalSession, request: PortalRequest) -> Answer:
    """Raises PortalRefusal (500 "unknown") when no data of the contract is open."""
    conid = read_conid(session, request.parts.get("conid") or request.text("conid"))
    if not session.brokerage(MarketLines).unsubscribe(conid.number):
        raise PortalRefusal("unknown", 500)
    return Answer({"success": True})


def unsubscribe_all(session: PortalSession, request: PortalRequest) -> Answer:
    session.brokerage(MarketLines).unsubscribe_all()
    return Answer({"unsubscribed": True})


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/iserver/marketdata/snapshot", snapshot, Tier.ACCOUNTS, "market data by conid", pace="snapshot"),
    Route(("POST",), "/iserver/marketdata/unsubscribe", unsubscribe, Tier.BROKERAGE, "end one contract's data"),
    # the older spelling, which clients still use
    Route(("GET",), "/iserver/marketdata/{conid}/unsubscribe", unsubscribe, Tier.BROKERAGE, "end one contract's data"),
    Route(
        ("GET", "DELETE"), "/iserver/marketdata/unsubscribeall", unsubscribe_all, Tier.BROKERAGE, "end all market data"
    ),
)
