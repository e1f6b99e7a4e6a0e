"""Bars of the past. Source: client-portal.md section 2.2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..charts import NO_CHART, ChartQuery, Charts, read_source
from ..conids import known
from ..market_lines import MarketLines
from ..periods import bar_of, read_period
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier

if TYPE_CHECKING:
    from ..session import PortalSession


def history(session: PortalSession, request: PortalRequest) -> Answer:
    """`startTime` is the end of the window, UTC; the window before it is all that IB serves (direction -1)."""
    details = known(session, request.text("conid"))
    exchange = request.text("exchange")
    if exchange and exchange not in details.valid_exchanges:
        raise PortalRefusal(NO_CHART, 500)
    if request.text("direction", "-1") == "1":
        raise PortalRefusal(NO_CHART, 500)
    period = read_period(request.text("period"))
    query = ChartQuery(
        details,
        period,
        bar_of(request.text("bar"), period),
        read_source(request.text("source")),
        _moment(request.text("startTime")),
        request.flag("outsideRth"),
    )
    session.brokerage(MarketLines).learn([details])
    return Answer(session.brokerage(Charts).draw(query))


def _moment(text: str) -> datetime | None:
    """None for no text. Raises PortalRefusal for any other form than YYYYMMDD-HH:mm:ss."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise PortalRefusal(f"Invalid startTime {text!r}: YYYYMMDD-HH:mm:ss", 500) from None


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/iserver/marketdata/history", history, Tier.BROKERAGE, "bars before a moment", pace="history"),
)
