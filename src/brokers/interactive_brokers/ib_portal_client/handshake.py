"""Logging on to both layers of the portal: tickle, status, ssodh/init, accounts, suppressions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ...errors import ConnectFailed, NotConnected
from ..config.ib_config import PortalSettings
from .answers import Trouble, expect_object, failure, judge, told
from .limits import Priority
from .wire import HttpCall, HttpReply

TICKLE = "/tickle"
STATUS = "/iserver/auth/status"
INIT = "/iserver/auth/ssodh/init"
ACCOUNTS = "/iserver/accounts"
SUPPRESS = "/iserver/questions/suppress"


def is_usable(status: dict[str, Any]) -> bool:
    """The gate for trading. Builds without `established` tell it by the other three (P 1.3)."""
    return (
        status.get("authenticated") is True
        and status.get("connected") is True
        and status.get("established", True) is True
        and not status.get("competing")
    )


def shortcoming(status: dict[str, Any]) -> str:
    """Why a status does not pass the gate, in words."""
    missing = [name for name in ("authenticated", "connected", "established") if status.get(name, True) is not True]
    words = [f"not {name}" for name in missing]
    if status.get("competing"):
        words.append("another session of this user competes")
    told_words = [str(status[name]) for name in ("message", "fail") if status.get(name)]
    return ", ".join([*words, *told_words]) or "not usable"


class NoBridge(NotConnected):
    """The gateway answers, and has no brokerage session behind it."""


class Handshake:
    """`exchange` makes one reading exchange, or raises NotConnected or LinkLost. Refusals are ConnectFailed or
    RequestFailed and change nothing here."""

    def __init__(
        self, settings: PortalSettings, exchange: Callable[[HttpCall, Priority], Awaitable[HttpReply]]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        #: Whether the next brokerage session is taken from whoever holds it.
        self.compete = settings.compete
        #: Names the login to the stream; "" before the first tickle.
        self.session_id = ""
        self.accounts: tuple[str, ...] = ()
        #: Loop time of the last tickle, and the round trips of the latest thousand in seconds.
        self.tickled = float("-inf")
        self.round_trips: list[float] = []
        #: Brokerage sessions begun.
        self.inits = 0

    async def begin(self) -> bool:
        """Both layers, the accounts and the suppressions; True when the brokerage session was begun here."""
        await self.tickle()
        status = await self._status()
        if not is_usable(status):
            # the first answer of a new gateway session can lie
            await self.tickle()
            await asyncio.sleep(self._settings.status_again)
            status = await self._status()
        began = not is_usable(status)
        if began:
            await self._init()
        try:
            self.accounts = await self._ask_accounts()
        except NoBridge:
            if began:
                raise
            # the status does not always know that the bridge behind it is gone (fault P05)
            await self._init()
            began = True
            self.accounts = await self._ask_accounts()
        if self._settings.confirm:
            call = HttpCall("POST", SUPPRESS, body={"messageIds": sorted(self._settings.confirm)}, what="suppressions")
            await self.plain(call)
        await self.plain(HttpCall("GET", "/portfolio/accounts", what="portfolio accounts"))
        return began

    async def _ask_accounts(self) -> tuple[str, ...]:
        body = await self.plain(HttpCall("GET", ACCOUNTS, what="accounts"))
        accounts = body.get("accounts") if isinstance(body, dict) else None
        if not isinstance(accounts, list) or not accounts:
            raise ConnectFailed(
                "connecting",
                "the brokerage session tells no accounts; another session of this user may hold it",
                kind="account",
            )
        return tuple(str(account) for account in accounts if account != "All")

    async def plain(self, call: HttpCall) -> Any:
        """As `ask`, but refusals are of the session that is being established and change no state."""
        reply = await self._exchange(call, Priority.SESSION)
        row = judge(reply)
        if row is None:
            return reply.json()
        if row.trouble is Trouble.NO_LOGIN:
            raise ConnectFailed(
                str(call), told(reply), f"log in at {self._settings.url} with a browser", kind="account"
            )
        if row.trouble is Trouble.NO_BRIDGE:
            raise NoBridge(str(call), f"{row.trouble}: {told(reply)}", "it is begun again")
        raise failure(call, reply, row)

    async def _status(self) -> dict[str, Any]:
        call = HttpCall("POST", STATUS, what="authentication status")
        return expect_object(call, await self.plain(call))

    async def _init(self) -> None:
        """Begin the brokerage session; without `compete` never at another's cost. Raises ConnectFailed."""
        self.inits += 1
        body = {"publish": True, "compete": self.compete}
        call = HttpCall("POST", INIT, body=body, what="ssodh/init", deadline=self._settings.order_deadline)
        status = expect_object(call, await self.plain(call))
        while not is_usable(status):
            if status.get("competing") or status.get("connected") is False:
                raise ConnectFailed(
                    "brokerage session",
                    shortcoming(status),
                    "end the other session of this user, use a second user name, or set IB_PORTAL_COMPETE=true",
                    kind="account",
                )
            await asyncio.sleep(self._settings.status_again)
            status = await self._status()

    async def tickle(self) -> dict[str, Any]:
        """Keeps both layers alive and tells the id that the stream needs. Raises ConnectFailed when logged out."""
        loop = asyncio.get_running_loop()
        started = self.tickled = loop.time()
        call = HttpCall("POST", TICKLE, what="tickle", deadline=self._settings.probe_deadline)
        body = expect_object(call, await self.plain(call))
        self.round_trips.append(loop.time() - started)
        del self.round_trips[:-1000]
        self.session_id = str(body.get("session") or self.session_id)
        status = body.get("iserver", {}).get("authStatus")
        return status if isinstance(status, dict) else {}
