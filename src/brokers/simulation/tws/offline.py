"""TWS without its brokerage session: another session of the same user name has it (client-portal.md section 1.2).

Clients stay connected. They are told 1100, market data ends with 10197, orders and queries reach nobody, and nothing is
told of orders and fills; the books go on. 1102 or 1101 tells that the session is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import requests as r
from .orders_in import PlaceOrderRequest
from .request import Request
from .session import Session

if TYPE_CHECKING:
    from .door import TwsDoor

LOST = "Connectivity between IBKR and Trader Workstation has been lost."
BACK = {
    1101: "Connectivity between IBKR and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IBKR and Trader Workstation has been restored - data maintained.",
}
BROKEN = "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
COMPETING = "No market data during competing live session"
#: Families of subscriptions that carry market data.
MARKET_FAMILIES = ("quotes", "tickByTick", "depth", "bars", "realTimeBars")
#: What TWS answers by itself, connected or not.
LOCAL = (
    r.ReqCurrentTime,
    r.ReqManagedAccts,
    r.ReqIds,
    r.SetServerLogLevel,
    r.ReqNewsBulletins,
    r.CancelNewsBulletins,
    r.CancelMktData,
    r.CancelMktDepth,
    r.CancelTickByTickData,
    r.CancelRealTimeBars,
    r.CancelHistoricalData,
)
_MARKET_DATA = (r.ReqMktData, r.ReqMktDepth, r.ReqTickByTickData, r.ReqRealTimeBars, r.ReqHistoricalData)


class Offline:
    """Whether the door is cut off, and what waits for its return."""

    def __init__(self, door: TwsDoor) -> None:
        self._door = door
        self._queue: list[tuple[Session, Request]] | None = None
        self.now = False

    def begin(self, *, queue_orders: bool) -> None:
        """Nothing when it is cut off already. `queue_orders`: orders are sent when the session is back, else lost."""
        if self.now:
            return
        self.now = True
        self._queue = [] if queue_orders else None
        for session in self._door.sessions.values():
            for number in session.numbers(*MARKET_FAMILIES):
                session.error(number, 10197, COMPETING)
            session.error(-1, 1100, LOST)
        self._door.flush()

    def end(self, code: int) -> None:
        """`code` 1101: market data subscriptions are gone; 1102: they go on."""
        if not self.now:
            return
        self.now = False
        queue, self._queue = self._queue, None
        for session in self._door.sessions.values():
            if code == 1101:
                session.drop_subscriptions(*MARKET_FAMILIES)
            session.error(-1, code, BACK[code])
        self._door.accounts.catch_up()
        for session, request in queue or ():
            if not session.closed:
                self._door.serve(session, request)
        self._door.flush()

    def take(self, session: Session, request: Request) -> bool:
        """Whether the request ends here."""
        if not self.now or isinstance(request, LOCAL):
            return False
        if isinstance(request, _MARKET_DATA):
            session.error(request.subject, 10197, COMPETING)
        elif self._queue is not None and isinstance(request, (PlaceOrderRequest, r.CancelOrder)):
            self._queue.append((session, request))
        return True
