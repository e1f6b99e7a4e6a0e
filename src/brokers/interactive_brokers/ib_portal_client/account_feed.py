"""Accounts, positions and P&L, asked for again and again; last known values outlive a session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ...domain.account import AccountSummary, PnL, Position
from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...errors import BrokerError, InvalidInstrument
from ..config.ib_config import PortalSettings
from ..ib_transport import PositionListener
from .answers import expect_list, expect_object
from .contracts import Contracts
from .session import Session
from .wire import HttpCall
from .words import to_number

logger = logging.getLogger(__name__)

#: Positions of one page, and the pages that are read at most.
PAGE, MOST_PAGES = 100, 100
#: Field of AccountSummary -> key of /portfolio/{id}/summary (P 2.4).
SUMMARY_KEYS: Mapping[str, str] = {
    "net_liquidation": "netliquidation",
    "total_cash": "totalcashvalue",
    "settled_cash": "settledcash",
    "buying_power": "buyingpower",
    "available_funds": "availablefunds",
    "excess_liquidity": "excessliquidity",
    "initial_margin": "initmarginreq",
    "maintenance_margin": "maintmarginreq",
    "gross_position_value": "grosspositionvalue",
    "equity_with_loan": "equitywithloanvalue",
}
#: Field of AccountSummary -> key of the ledger's BASE row.
LEDGER_KEYS: Mapping[str, str] = {"realized_pnl": "realizedpnl", "unrealized_pnl": "unrealizedpnl"}


class AccountFeed:
    """What /portfolio told, and when."""

    def __init__(self, session: Session, contracts: Contracts, clock: Clock, settings: PortalSettings) -> None:
        self._session = session
        self._contracts = contracts
        self._clock = clock
        self._settings = settings
        self._listeners: list[PositionListener] = []
        self._positions: dict[str, dict[int, Position]] = {}
        self._summaries: dict[str, AccountSummary] = {}
        self._ledgers: dict[str, dict[str, Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._refreshing: asyncio.Task[None] | None = None

    def add_listener(self, listener: PositionListener) -> None:
        self._listeners.append(listener)

    def startup(self, accounts: tuple[str, ...]) -> dict[str, Callable[[], Awaitable[Any]]]:
        queries: dict[str, Callable[[], Awaitable[Any]]] = {"positions": self.ask_positions}
        for account in accounts:
            queries[f"account {account}"] = lambda account=account: self._ask_account(account)  # type: ignore[misc]
        return queries

    # Positions

    async def ask_positions(self) -> list[Position]:
        """Every account's, read anew: the portal keeps pages until it is told to forget them."""
        found: list[Position] = []
        for account in self._session.accounts:
            found += await self._ask_positions(account)
        return found

    async def _ask_positions(self, account: str) -> list[Position]:
        forget = HttpCall("POST", f"/portfolio/{account}/positions/invalidate", what=f"positions of {account}")
        await self._session.ask(forget)
        rows: list[dict[str, Any]] = []
        for page in range(MOST_PAGES):
            call = HttpCall("GET", f"/portfolio/{account}/positions/{page}", what=f"positions of {account}")
            more = expect_list(call, await self._session.ask(call))
            rows += more
            if len(more) < PAGE:
                break
        await self._contracts.learn(rows)
        positions: dict[int, Position] = {}
        for row in rows:
            position = self._to_position(account, row)
            if position is not None and position.quantity:
                positions[position.instrument.con_id or 0] = position
        self._take_positions(account, positions)
        return list(positions.values())

    def _to_position(self, account: str, row: Mapping[str, Any]) -> Position | None:
        try:
            instrument = self._contracts.of_row(row)
        except InvalidInstrument as error:
            logger.error("a position cannot be told: %s", error)
            return None
        cost = to_number(row.get("avgCost"))
        return Position(
            account,
            instrument,
            to_number(row.get("position")) or Decimal(0),
            Decimal(0) if cost is None else cost,
            to_number(row.get("mktPrice")),
            to_number(row.get("mktValue")),
            to_number(row.get("unrealizedPnl")),
            to_number(row.get("realizedPnl")),
        )

    def _take_positions(self, account: str, positions: dict[int, Position]) -> None:
        before = self._positions.get(account, {})
        self._positions[account] = positions
        gone = [replace(row, quantity=Decimal(0)) for number, row in before.items() if number not in positions]
        for position in (*positions.values(), *gone):
            for listener in self._listeners:
                listener(position)

    def positions(self) -> list[Position] | None:
        """The last complete lists; None while one of the accounts has not told its own."""
        accounts = self._session.accounts
        if not accounts or any(account not in self._positions for account in accounts):
            return None
        return [position for account in accounts for position in self._positions[account].values()]

    # Accounts

    async def _ask_account(self, account: str) -> AccountSummary:
        call = HttpCall("GET", f"/portfolio/{account}/summary", what=f"summary of {account}")
        ledger = HttpCall("GET", f"/portfolio/{account}/ledger", what=f"ledger of {account}")
        values, rows = await asyncio.gather(self._session.ask(call), self._session.ask(ledger))
        self._ledgers[account] = expect_object(ledger, rows)
        summary = self._to_summary(account, expect_object(call, values))
        self._summaries[account] = summary
        return summary

    def _to_summary(self, account: str, values: Mapping[str, Any]) -> AccountSummary:
        """Amounts in the base currency, which is that of the net liquidation."""
        base = self._ledgers.get(account, {}).get("BASE") or {}
        net = values.get("netliquidation")
        kind = values.get("accounttype")
        days = _amount(values.get("daytradesremaining"))
        return AccountSummary(
            account=account,
            time=self._clock.now(),
            currency=str((net or {}).get("currency") or "USD") if isinstance(net, dict) else "USD",
            day_trades_remaining=int(days) if days is not None and days >= 0 else None,
            account_type=str(kind.get("value") or "") if isinstance(kind, dict) else "",
            **{name: _amount(values.get(key)) for name, key in SUMMARY_KEYS.items()},
            **{name: to_number(base.get(key)) for name, key in LEDGER_KEYS.items()},
        )

    async def ask_summaries(self) -> list[AccountSummary]:
        return [await self._ask_account(account) for account in self._session.accounts]

    def summary(self, account: str) -> AccountSummary | None:
        return self._summaries.get(account)

    def exchange_rate(self, account: str, currency: str) -> Decimal | None:
        """Base-currency units for one of `currency`, by the ledger; None when not told."""
        row = self._ledgers.get(account, {}).get(currency)
        return to_number(row.get("exchangerate")) if isinstance(row, dict) else None

    # P&L

    async def pnl(self, account: str, con_id: int | None, deadline: float) -> PnL:
        """The account's is empty until it is warm, so that it is asked for until the deadline; a contract's comes from
        its position, and its daily figure is not told."""
        if con_id is not None:
            return await self._pnl_of(account, con_id)
        row = await self._session.within(f"P&L of {account}", self._warm_pnl(account), deadline)
        base = self._ledgers.get(account, {}).get("BASE") or {}
        return PnL(
            account,
            self._clock.now(),
            to_number(row.get("dpl")),
            to_number(row.get("upl")),
            to_number(base.get("realizedpnl")),
        )

    async def _warm_pnl(self, account: str) -> dict[str, Any]:
        call = HttpCall("GET", "/iserver/account/pnl/partitioned", what=f"P&L of {account}")
        while True:
            body = expect_object(call, await self._session.ask(call))
            rows = body.get("upnl")
            for name, row in (rows if isinstance(rows, dict) else {}).items():
                if str(name).partition(".")[0] == account and isinstance(row, dict):
                    return row
            await asyncio.sleep(self._settings.status_again)

    async def _pnl_of(self, account: str, con_id: int) -> PnL:
        held = next((row for row in await self._ask_positions(account) if row.instrument.con_id == con_id), None)
        now = self._clock.now()
        if held is None:
            instrument = self._contracts.known(con_id) or Instrument(f"CON{con_id}", con_id=con_id)
            return PnL(account, now, instrument=instrument, quantity=Decimal(0))
        return PnL(
            account,
            now,
            None,
            held.unrealized_pnl,
            held.realized_pnl,
            held.instrument,
            held.quantity,
            held.market_value,
        )

    # Keeping up

    def refresh(self) -> None:
        """Read everything once more, now; one reading at a time."""
        if self._session.is_connected and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = self._session.spawn(self._refresh(), "accounts")

    async def _refresh(self) -> None:
        try:
            await self.ask_positions()
            await self.ask_summaries()
        except BrokerError as error:
            logger.info("reading accounts: %s", error)

    async def settled(self) -> None:
        """Until the reading under way has ended."""
        if self._refreshing is not None and not self._refreshing.done():
            await asyncio.wait({self._refreshing})

    def start(self) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._settings.account_every, self._on_timer)

    def _on_timer(self) -> None:
        self.refresh()
        self.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _amount(value: Any) -> Decimal | None:
    """The amount of a summary's entry; None for one that is null or absent."""
    if not isinstance(value, dict) or value.get("isNull") is True:
        return None
    told = value.get("value")
    exact = to_number(told) if isinstance(told, str) else None
    return exact if exact is not None else to_number(value.get("amount"))
