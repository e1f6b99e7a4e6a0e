"""Accounts of the brokerage session: which there are, which is chosen, their balances and P&L."""

from __future__ import annotations

from ..account_rows import account_summary, accounts_answer, pnl_rows
from ..chosen_account import Chosen
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier
from ..session import PortalSession


class Partitions:
    """P&L by partition is empty at the first request of a session."""

    def __init__(self, session: PortalSession) -> None:
        self.warm = False

    def close(self) -> None:
        """Nothing runs by itself."""

    def cool(self) -> None:
        self.warm = False


def known_account(session: PortalSession, account: str) -> str:
    """`account`, or a PortalRefusal."""
    if account not in session.door.exchange.accounts:
        raise PortalRefusal(f"Bad Request: invalid account {account}")
    return account


def accounts(session: PortalSession, request: PortalRequest) -> Answer:
    """What every other call about orders and market data waits for."""
    answer = Answer(accounts_answer(session, session.brokerage(Chosen).account))
    session.accounts_asked = True
    return answer


def switch(session: PortalSession, request: PortalRequest) -> Answer:
    wanted, chosen = known_account(session, request.text("acctId")), session.brokerage(Chosen)
    if wanted == chosen.account:
        return Answer({"success": "Account already set"})
    chosen.account = wanted
    return Answer({"set": True, "acctId": wanted})


def summary(session: PortalSession, request: PortalRequest) -> Answer:
    account = known_account(session, request.parts["account"])
    return Answer(account_summary(session.door.exchange.summary(account)))


def partitioned_pnl(session: PortalSession, request: PortalRequest) -> Answer:
    partitions = session.brokerage(Partitions)
    was_warm, partitions.warm = partitions.warm, True
    return Answer({"upnl": pnl_rows(session.door, session.door.exchange.accounts) if was_warm else {}})


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/iserver/accounts", accounts, Tier.BROKERAGE, "The accounts; to be asked for first."),
    Route(("POST",), "/iserver/account", switch, Tier.BROKERAGE, "Chooses an account."),
    Route(("GET",), "/iserver/account/{account}/summary", summary, Tier.BROKERAGE, "Balances of an account."),
    Route(
        ("GET",),
        "/iserver/account/pnl/partitioned",
        partitioned_pnl,
        Tier.BROKERAGE,
        "P&L of every account; empty at first.",
        pace="pnl",
    ),
)
