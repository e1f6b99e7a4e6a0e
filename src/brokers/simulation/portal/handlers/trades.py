"""Executions of up to a week. The first request of a session only warms them up."""

from __future__ import annotations

from ..order_rows import trade_row
from ..order_sight import LONGEST_DAYS, Fills
from ..request import Answer, PortalRefusal, PortalRequest, whole_number
from ..routes import Route, Tier
from ..session import PortalSession
from .accounts import known_account


class Trades:
    """Cold until it was asked for once."""

    def __init__(self, session: PortalSession) -> None:
        self.warm = False

    def close(self) -> None:
        """Nothing runs by itself."""

    def cool(self) -> None:
        self.warm = False


def days_of(text: str) -> int:
    """1 to 7; 1 when not given. Raises PortalRefusal for anything else."""
    if not text:
        return 1
    days = whole_number(text)
    if days is None or not 1 <= days <= LONGEST_DAYS:
        raise PortalRefusal(f"Bad Request: days {text} is not between 1 and {LONGEST_DAYS}")
    return days


def trades(session: PortalSession, request: PortalRequest) -> Answer:
    days, account = days_of(request.text("days")), request.text("accountId")
    if account:
        known_account(session, account)
    state = session.brokerage(Trades)
    was_warm, state.warm = state.warm, True
    if not was_warm:
        return Answer([])
    return Answer([trade_row(session.door, row) for row in session.door.state(Fills).rows(days, account)])


ROUTES: tuple[Route, ...] = (
    Route(
        ("GET",),
        "/iserver/account/trades",
        trades,
        Tier.ACCOUNTS,
        "Executions of the last days; empty at first.",
        pace="trades",
    ),
)
