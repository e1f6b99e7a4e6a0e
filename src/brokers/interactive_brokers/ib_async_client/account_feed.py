"""Accounts, positions and P&L as the broker keeps telling them; last known values outlive a link, marked stale."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ib_async.contract import Contract
from ib_async.objects import AccountValue, PortfolioItem
from ib_async.objects import PnL as IbPnL
from ib_async.objects import PnLSingle as IbPnLSingle

from ...domain.account import AccountSummary, PnL, Position
from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...errors import InvalidInstrument
from ..ib_transport import PositionListener
from ..ib_vocabulary import to_decimal
from .api import TwsApi
from .session import Session
from .translate import SUMMARY_TAGS, to_account_summary, to_position

logger = logging.getLogger(__name__)


class AccountFeed:
    """What reqPositions, reqAccountUpdates and reqPnL told, and when."""

    def __init__(self, api: TwsApi, session: Session, clock: Clock) -> None:
        self._api = api
        self._session = session
        self._clock = clock
        self._listeners: list[PositionListener] = []
        self._positions: dict[tuple[str, int], Position] = {}
        self._arriving: dict[tuple[str, int], Position] | None = None
        self._positions_known = False
        self._portfolio: dict[tuple[str, int], PortfolioItem] = {}
        self._values: dict[str, dict[tuple[str, str], str]] = {}
        self._summaries: dict[str, AccountSummary] = {}
        self._told_at: dict[str, datetime] = {}
        self._pnl_waiters: dict[int, list[asyncio.Future[None]]] = {}
        self._pnl_requests: dict[tuple[str, int | None], int] = {}
        api.accountValueEvent += self._on_value
        api.updatePortfolioEvent += self._on_portfolio
        api.pnlEvent += self._on_pnl
        api.pnlSingleEvent += self._on_pnl

    def add_listener(self, listener: PositionListener) -> None:
        self._listeners.append(listener)

    # Positions

    async def ask_positions(self) -> list[Position]:
        """The whole list again; a position that is not in it is gone."""
        if self._arriving is None:
            # a second caller shares the answer under way: its first rows must not be forgotten
            self._arriving = {}
        await self._api.reqPositionsAsync()
        return [self._valued(key, position) for key, position in self._positions.items()]

    def positions(self) -> list[Position] | None:
        """The last complete list with every change since; None before the first one."""
        if not self._positions_known:
            return None
        return [self._valued(key, position) for key, position in self._positions.items()]

    def _valued(self, key: tuple[str, int], position: Position) -> Position:
        """With the market figures that reqAccountUpdates told; value and P&L follow the quantity held now."""
        item = self._portfolio.get(key)
        price = to_decimal(item.marketPrice) if item is not None else None
        if item is None or price is None:
            return position
        value = price * position.quantity * position.instrument.multiplier
        return replace(
            position,
            market_price=price,
            market_value=value,
            unrealized_pnl=value - position.average_cost * position.quantity,
            realized_pnl=to_decimal(item.realizedPNL),
        )

    def on_position(self, account: str, contract: Contract, quantity: float, average_cost: float) -> None:
        try:
            position = to_position(account, contract, quantity, average_cost)
        except InvalidInstrument as error:
            logger.error("a position cannot be told: %s", error)
            return
        key = (account, contract.conId)
        for table in (self._positions, self._arriving):
            if table is not None:
                if position.quantity:
                    table[key] = position
                else:
                    table.pop(key, None)
        for listener in self._listeners:
            listener(position)

    def on_positions_end(self) -> None:
        if self._arriving is not None:
            self._positions, self._arriving = self._arriving, None
        self._positions_known = True

    # Account values

    def startup(self, accounts: tuple[str, ...]) -> dict[str, Callable[[], Awaitable[Any]]]:
        """One subscription of reqAccountUpdates serves one account; the others go by reqAccountUpdatesMulti."""
        queries: dict[str, Callable[[], Awaitable[Any]]] = {}
        for place, account in enumerate(accounts):
            if place == 0:
                queries[f"account {account}"] = lambda account=account: self._api.reqAccountUpdatesAsync(account)  # type: ignore[misc]
            else:
                queries[f"account {account}"] = lambda account=account: self._ask_multi(account)  # type: ignore[misc]
        return queries

    async def _ask_multi(self, account: str) -> None:
        request_id = self._api.client.getReqId()
        answer = self._api.wrapper.startReq(request_id)
        self._api.client.reqAccountUpdatesMulti(request_id, account, "", False)
        await answer

    def _on_value(self, value: AccountValue) -> None:
        if value.modelCode:
            return
        self._values.setdefault(value.account, {})[value.tag, value.currency] = value.value
        self._told_at[value.account] = self._clock.now()
        self._summaries.pop(value.account, None)

    def summary(self, account: str) -> AccountSummary | None:
        """What the subscription told last; None before it told anything."""
        held = self._summaries.get(account)
        if held is None and account in self._values:
            held = to_account_summary(account, self._values[account], self._told_at[account])
            self._summaries[account] = held
        return held

    def exchange_rate(self, account: str, currency: str) -> str | None:
        """IB's own rate of a currency in the account's base (key ExchangeRate)."""
        return self._values.get(account, {}).get(("ExchangeRate", currency))

    def _on_portfolio(self, item: PortfolioItem) -> None:
        self._portfolio[item.account, item.contract.conId] = item

    async def ask_summaries(self, deadline: float) -> list[AccountSummary]:
        """reqAccountSummary of every account, asked for now."""
        self._session.require("account summary")
        client, wrapper = self._api.client, self._api.wrapper
        request_id = client.getReqId()
        answer = wrapper.startReq(request_id)
        wrapper.acctSummary.clear()
        client.reqAccountSummary(request_id, "All", ",".join(SUMMARY_TAGS))
        try:
            await self._session.within("account summary", answer, deadline)
        finally:
            if client.isReady():
                client.cancelAccountSummary(request_id)
        told: dict[str, dict[tuple[str, str], str]] = {}
        for row in wrapper.acctSummary.values():
            told.setdefault(row.account, {})[row.tag, row.currency] = row.value
        now = self._clock.now()
        return [to_account_summary(account, values, now) for account, values in told.items()]

    # P&L

    async def pnl(self, account: str, con_id: int | None, deadline: float) -> PnL:
        """One subscription per account and contract; the first call waits for its first value."""
        self._session.require(f"P&L of {account}")
        request_id = self._pnl_requests.get((account, con_id))
        if request_id is None:
            request_id = self._subscribe_pnl(account, con_id)
        table = self._api.wrapper.reqId2PnL if con_id is None else self._api.wrapper.reqId2PnlSingle
        waiters = self._pnl_waiters.get(request_id)
        if waiters is not None:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiters.append(told)
            await self._session.within(f"P&L of {account}", told, deadline)
        return self._to_pnl(table[request_id])

    def _subscribe_pnl(self, account: str, con_id: int | None) -> int:
        client, wrapper = self._api.client, self._api.wrapper
        request_id: int = client.getReqId()
        self._pnl_requests[account, con_id] = request_id
        self._pnl_waiters[request_id] = []
        if con_id is None:
            wrapper.reqId2PnL[request_id] = IbPnL(account, "")
            client.reqPnL(request_id, account, "")
        else:
            wrapper.reqId2PnlSingle[request_id] = IbPnLSingle(account, "", con_id)
            client.reqPnLSingle(request_id, account, "", con_id)
        return request_id

    def _on_pnl(self, told: Any) -> None:
        for table in (self._api.wrapper.reqId2PnL, self._api.wrapper.reqId2PnlSingle):
            for request_id, row in table.items():
                if row is told:
                    for waiter in self._pnl_waiters.pop(request_id, []):
                        if not waiter.done():
                            waiter.set_result(None)
                    return

    def _to_pnl(self, row: Any) -> PnL:
        now = self._clock.now()
        daily, unrealized, realized = (
            to_decimal(value) for value in (row.dailyPnL, row.unrealizedPnL, row.realizedPnL)
        )
        if not isinstance(row, IbPnLSingle):
            return PnL(row.account, now, daily, unrealized, realized)
        held = self._positions.get((row.account, row.conId))
        quantity, value = to_decimal(row.position), to_decimal(row.value)
        if held is not None and are_swapped(held.average_cost, quantity, value, unrealized, realized):
            logger.warning("P&L of %s: realised and unrealised are swapped; neither is believed", held.instrument)
            unrealized = realized = None
        return PnL(
            row.account,
            now,
            daily,
            unrealized,
            realized,
            held.instrument if held is not None else Instrument(f"CON{row.conId}", con_id=row.conId),
            quantity,
            value,
        )

    # Links

    def on_link_lost(self, error: Exception) -> None:
        """Values stay, as last known; P&L subscriptions are made again when they are asked for."""
        self._arriving = None
        self._pnl_requests.clear()
        waiting, self._pnl_waiters = self._pnl_waiters, {}
        for waiters in waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)


def are_swapped(
    cost: Decimal | None,
    quantity: Decimal | None,
    value: Decimal | None,
    unrealized: Decimal | None,
    realized: Decimal | None,
) -> bool:
    """Whether the realised figure is the one that value less cost comes to, and the unrealised one is not (fault
    D18). False where any of them is not known. All in the account's currency; `cost` is of one unit."""
    if cost is None or quantity is None or value is None or unrealized is None or realized is None:
        return False
    expected, slack = value - cost * quantity, abs(value) / 2000
    return abs(unrealized - expected) > slack >= abs(realized - expected)
