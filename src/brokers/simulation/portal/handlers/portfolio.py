"""Portfolios: accounts, positions, balances. They need the login alone, not the brokerage session."""

from __future__ import annotations

from typing import Any

from ..account_rows import allocation as allocation_of
from ..account_rows import ledger_rows, portfolio_account, position_row, summary_rows, uncached_row
from ..request import Answer, PortalRefusal, PortalRequest, whole_number
from ..routes import Route, Tier
from ..session import PortalSession
from .accounts import known_account

PAGE = 100
#: Seconds of monotonic time that a page of positions is kept; IB tells no number.
CACHE_SECONDS = 300.0


class PositionCache:
    """Positions as they were when first asked for."""

    def __init__(self, session: PortalSession) -> None:
        self._door = session.door
        self._kept: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def close(self) -> None:
        self._kept.clear()

    def cool(self) -> None:
        self._kept.clear()

    def rows(self, account: str) -> list[dict[str, Any]]:
        now = self._door.monotonic()
        kept_at, rows = self._kept.get(account, (now - CACHE_SECONDS, []))
        if now - kept_at >= CACHE_SECONDS:
            rows = [position_row(row) for row in self._door.exchange.positions(account)]
            self._kept[account] = (now, rows)
        return rows

    def forget(self, account: str) -> None:
        self._kept.pop(account, None)


def accounts(session: PortalSession, request: PortalRequest) -> Answer:
    session.portfolio_asked = True
    return Answer([portfolio_account(session.door, account) for account in session.door.exchange.accounts])


def metadata(session: PortalSession, request: PortalRequest) -> Answer:
    return Answer(portfolio_account(session.door, _account(session, request)))


def _account(session: PortalSession, request: PortalRequest) -> str:
    return known_account(session, request.parts["account"])


def positions(session: PortalSession, request: PortalRequest) -> Answer:
    """One page of 100, from 0; an empty list beyond the last."""
    account, page = _account(session, request), request.parts.get("page", "0")
    number = whole_number(page)
    if number is None:
        raise PortalRefusal(f"Bad Request: page {page} is not a number")
    begin = number * PAGE
    return Answer(session.login(PositionCache).rows(account)[begin : begin + PAGE])


def invalidate(session: PortalSession, request: PortalRequest) -> Answer:
    session.login(PositionCache).forget(_account(session, request))
    return Answer({"message": "success"})


def uncached_positions(session: PortalSession, request: PortalRequest) -> Answer:
    door = session.door
    return Answer([uncached_row(row, door.now) for row in door.exchange.positions(_account(session, request))])


def position(session: PortalSession, request: PortalRequest) -> Answer:
    """The position in one contract, in a list; not cached."""
    return Answer(_positions_in(session, _account(session, request), request.parts["conid"]))


def position_everywhere(session: PortalSession, request: PortalRequest) -> Answer:
    """The position in one contract by account."""
    found = {
        account: _positions_in(session, account, request.parts["conid"]) for account in session.door.exchange.accounts
    }
    return Answer({account: rows for account, rows in found.items() if rows})


def _positions_in(session: PortalSession, account: str, conid: str) -> list[dict[str, Any]]:
    rows = session.door.exchange.positions(account)
    return [position_row(row) for row in rows if str(row.instrument.con_id) == conid]


def summary(session: PortalSession, request: PortalRequest) -> Answer:
    return Answer(summary_rows(session.door.exchange.summary(_account(session, request))))


def ledger(session: PortalSession, request: PortalRequest) -> Answer:
    return Answer(ledger_rows(session.door, _account(session, request)))


def allocation(session: PortalSession, request: PortalRequest) -> Answer:
    return Answer(allocation_of(session.door, _account(session, request)))


ROUTES: tuple[Route, ...] = (
    Route(
        ("GET",),
        "/portfolio/accounts",
        accounts,
        Tier.LOGIN,
        "The accounts; to be asked for before other portfolio calls.",
        pace="portfolio-accounts",
    ),
    Route(
        ("GET",),
        "/portfolio/subaccounts",
        accounts,
        Tier.LOGIN,
        "The same list: there are no subaccounts.",
        pace="portfolio-subaccounts",
    ),
    Route(("GET",), "/portfolio/{account}/meta", metadata, Tier.PORTFOLIO, "One account."),
    Route(("GET",), "/portfolio/{account}/positions", positions, Tier.PORTFOLIO, "Positions, the first page."),
    Route(("GET",), "/portfolio/{account}/positions/{page}", positions, Tier.PORTFOLIO, "Positions, 100 a page."),
    Route(
        ("POST",),
        "/portfolio/{account}/positions/invalidate",
        invalidate,
        Tier.PORTFOLIO,
        "Forgets the kept pages of positions.",
    ),
    Route(("GET",), "/portfolio2/{account}/positions", uncached_positions, Tier.PORTFOLIO, "Positions, not cached."),
    Route(("GET",), "/portfolio/{account}/position/{conid}", position, Tier.PORTFOLIO, "One position."),
    Route(("GET",), "/portfolio/positions/{conid}", position_everywhere, Tier.PORTFOLIO, "One position by account."),
    Route(("GET",), "/portfolio/{account}/summary", summary, Tier.PORTFOLIO, "Balances of an account."),
    Route(("GET",), "/portfolio/{account}/ledger", ledger, Tier.PORTFOLIO, "Cash and values by currency."),
    Route(("GET",), "/portfolio/{account}/allocation", allocation, Tier.PORTFOLIO, "Values by asset class."),
)
