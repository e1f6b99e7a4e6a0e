"""The portal's lists of orders and of trades: warmed up before they are believed (faults P08, O39).

No filter is ever sent: one would poison later answers and the stream (P 2.5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ProtocolViolation
from .answers import expect_list, expect_object
from .session import Session
from .wire import HttpCall

logger = logging.getLogger(__name__)

LIVE_ORDERS = "/iserver/account/orders"
TRADES = "/iserver/account/trades"
#: Trades go back a week at most.
DAYS = "7"

Rows = list[dict[str, Any]]


class OrderLists:
    """One reading of each list at a time. Readings raise what asking raises, and ProtocolViolation."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._orders_warm = self._trades_warm = False
        self._orders_lock, self._trades_lock = asyncio.Lock(), asyncio.Lock()

    def cool(self) -> None:
        """A new brokerage session: its caches are cold."""
        self._orders_warm = self._trades_warm = False

    async def warm_up(self) -> None:
        """The first calls, whose answers say nothing."""
        await asyncio.gather(self._warm_orders(), self._warm_trades())

    async def _warm_orders(self) -> None:
        async with self._orders_lock:
            if not self._orders_warm:
                await self._force()

    async def _warm_trades(self) -> None:
        async with self._trades_lock:
            if not self._trades_warm:
                await self._ask_trades()

    async def orders(self, lacks_known: Callable[[Rows], bool]) -> Rows:
        """Every live order. An answer of which `lacks_known` says that it misses one is asked for anew, once."""
        async with self._orders_lock:
            if not self._orders_warm:
                await self._force()
            rows = await self._ask_orders()
            if lacks_known(rows):
                logger.warning("live orders lack orders known to work; they are warmed up again")
                await self._force()
                rows = await self._ask_orders()
            return rows

    async def trades(self) -> Rows:
        """Every execution of a week."""
        async with self._trades_lock:
            if not self._trades_warm:
                await self._ask_trades()
            return await self._ask_trades()

    async def _force(self) -> None:
        """Subscribes the list anew, without a filter; its answer is not believed."""
        for account in self._each_account():
            query = {"force": "true", **account}
            await self._session.ask(HttpCall("GET", LIVE_ORDERS, query, what="live orders (warm-up)"))
        self._orders_warm = True

    async def _ask_orders(self) -> Rows:
        found: Rows = []
        for account in self._each_account():
            call = HttpCall("GET", LIVE_ORDERS, account, what="live orders")
            body = expect_object(call, await self._session.ask(call))
            if not isinstance(body.get("orders"), list):
                raise ProtocolViolation(str(call), "the answer holds no list of orders", "ask again")
            found += expect_list(call, body["orders"])
        return found

    async def _ask_trades(self) -> Rows:
        found: Rows = []
        for account in self._each_account():
            call = HttpCall("GET", TRADES, {"days": DAYS, **account}, what="trades")
            found += expect_list(call, await self._session.ask(call))
        self._trades_warm = True
        return found

    def _each_account(self) -> Sequence[dict[str, str]]:
        """The query of each account; none for a login of one, whose lists are its own."""
        accounts = self._session.accounts
        return [{"accountId": account} for account in accounts] if len(accounts) > 1 else [{}]
