"""Subscriptions to accounts, positions and P&L: told when they begin, then again when something changed.

Prices refresh them at most once per interval of market time; a fill refreshes them at once, after the messages of
the fill itself. IB's intervals: portfolio 3 minutes (here 3 s, as a position changes), P&L one second.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...domain.account import Position
from ...domain.instrument import SecType
from ..events import AccountChanged, ExchangeEvent, PositionChanged
from ..timers import Timer
from .account_values import AccountRow, account_values, summary_values
from .contract import Contract
from .session import Session
from .times import DEFAULT_ZONE, zone
from .wire_contract import wire_contract

if TYPE_CHECKING:
    from .door import TwsDoor

UPDATES_INTERVAL = timedelta(seconds=3)
SUMMARY_INTERVAL = timedelta(minutes=3)
PNL_INTERVAL = timedelta(seconds=1)


class Refresher:
    """Calls `tell` at once, then after changes, at most once per `interval` of market time for price moves."""

    def __init__(self, feed: AccountsFeed, interval: timedelta, tell: Callable[[], None], con_id: int = 0) -> None:
        self._feed = feed
        self._interval = interval
        self._tell = tell
        #: 0: every instrument that is held matters
        self.con_id = con_id
        self._last = feed.door.now
        self._timer: Timer | None = None
        feed.refreshers[self] = None

    def start(self) -> None:
        self._last = self._feed.door.now
        self._tell()

    def price_moved(self) -> None:
        self._plan(max(self._last + self._interval, self._feed.door.now))

    def booked(self) -> None:
        self._plan(self._feed.door.now)

    def _plan(self, moment: datetime) -> None:
        if self._timer is not None and not self._timer.cancelled:
            if self._timer.at <= moment:
                return
            self._timer.cancel()
        self._timer = self._feed.door.timers.at(moment, self.start)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._feed.refreshers.pop(self, None)


class AccountsFeed:
    """What the door needs to know about accounts; one per door."""

    def __init__(self, door: TwsDoor) -> None:
        self.door = door
        self.refreshers: dict[Refresher, None] = {}
        self._held: set[int] | None = None

    def on_price(self, con_id: int) -> None:
        if not self.refreshers:
            return
        if self._held is None:
            self._held = {position.instrument.con_id or 0 for position in self.door.exchange.positions()}
        if con_id in self._held:
            for refresher in tuple(self.refreshers):
                if refresher.con_id in (0, con_id):
                    refresher.price_moved()

    def on_position(self, event: ExchangeEvent) -> None:
        assert isinstance(event, PositionChanged)
        self._held = None
        position = event.position
        for session in self.door.sessions.values():
            if session.subscription("positions", 0) is not None:
                tell_position(session, position)
            for subscription in session.subscriptions("positionsMulti"):
                if isinstance(subscription, PositionsMulti) and position.account == subscription.account:
                    subscription.tell(position)

    def catch_up(self) -> None:
        """Events were missed: every subscription is told anew."""
        self._held = None
        for refresher in tuple(self.refreshers):
            refresher.booked()

    def on_account(self, event: ExchangeEvent) -> None:
        assert isinstance(event, AccountChanged)
        for refresher in tuple(self.refreshers):
            refresher.booked()


def position_contract(position: Position) -> Contract:
    """As TWS shows positions: on the primary exchange."""
    instrument = position.instrument
    return wire_contract(instrument, instrument.primary_exchange or instrument.exchange)


def tell_position(session: Session, position: Position) -> None:
    session.send(
        "position",
        account=position.account,
        contract=position_contract(position),
        position=position.quantity,
        avgCost=position.average_cost,
    )


class Standing:
    """A subscription that only stands in the session's list: reqPositions."""

    def close(self) -> None:
        """Nothing runs by itself."""


class PositionsMulti:
    """One reqPositionsMulti."""

    def __init__(self, session: Session, req_id: int, account: str, model: str) -> None:
        self._session = session
        self._req_id = req_id
        self.account = account
        self._model = model

    def start(self) -> None:
        for position in self._session.door.exchange.positions(self.account):
            self.tell(position)
        self._session.send("positionMultiEnd", reqId=self._req_id)

    def tell(self, position: Position) -> None:
        self._session.send(
            "positionMulti",
            reqId=self._req_id,
            account=position.account,
            contract=position_contract(position),
            position=position.quantity,
            avgCost=position.average_cost,
            modelCode=self._model,
        )

    def close(self) -> None:
        """Position changes find the session's own list."""


class Changing:
    """Sends rows that are new or changed since they were last told."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], str] = {}

    def changed(self, rows: list[AccountRow]) -> list[AccountRow]:
        fresh = [row for row in rows if self._told.get((row.key, row.currency)) != row.value]
        self._told.update({(row.key, row.currency): row.value for row in fresh})
        return fresh


class AccountUpdates:
    """reqAccountUpdates: account values, portfolio, time; one account per client at a time."""

    def __init__(self, session: Session, account: str) -> None:
        self._session = session
        self.account = account
        self._values = Changing()
        self._portfolio: dict[int, Position] = {}
        self._first = True
        self._refresher = Refresher(session.door.accounts, UPDATES_INTERVAL, self._tell)

    def start(self) -> None:
        self._refresher.start()

    def _tell(self) -> None:
        session, exchange = self._session, self._session.door.exchange
        for row in self._values.changed(account_values(exchange.summary(self.account))):
            session.send("updateAccountValue", **row._asdict(), account=self.account)
        held = {position.instrument.con_id or 0: position for position in exchange.positions(self.account)}
        for con_id, position in held.items():
            if self._portfolio.get(con_id) != position:
                self._tell_portfolio(position)
        for con_id, position in self._portfolio.items():
            if con_id not in held and position.quantity:
                held[con_id] = closed = _closed(position)
                self._tell_portfolio(closed)
        self._portfolio = held
        clock = session.door.now.astimezone(zone(DEFAULT_ZONE))
        session.send("updateAccountTime", timeStamp=f"{clock:%H:%M}")
        if self._first:
            session.send("accountDownloadEnd", account=self.account)
            self._first = False

    def _tell_portfolio(self, position: Position) -> None:
        contract = position_contract(position)
        right = "0" if position.instrument.sec_type is SecType.STOCK else contract.right
        self._session.send(
            "updatePortfolio",
            contract=Contract(**{name: getattr(contract, name) for name in Contract.__slots__} | {"right": right}),
            position=position.quantity,
            marketPrice=float(position.market_price or 0),
            marketValue=position.market_value or 0,
            averageCost=position.average_cost,
            unrealizedPNL=position.unrealized_pnl or 0,
            realizedPNL=position.realized_pnl or 0,
            account=position.account,
        )

    def close(self) -> None:
        self._refresher.close()


def _closed(position: Position) -> Position:
    """What TWS shows once of a position that was closed: quantity 0."""
    zero = position.quantity * 0
    return Position(
        position.account,
        position.instrument,
        zero,
        zero,
        position.market_price,
        zero,
        zero,
        position.realized_pnl,
    )


class AccountUpdatesMulti:
    """reqAccountUpdatesMulti."""

    def __init__(self, session: Session, req_id: int, account: str, model: str, ledger_only: bool) -> None:
        self._session = session
        self._req_id = req_id
        self._account = account
        self._model = model
        self._ledger_only = ledger_only
        self._values = Changing()
        self._refresher = Refresher(session.door.accounts, UPDATES_INTERVAL, self._tell)

    def start(self) -> None:
        self._refresher.start()
        self._session.send("accountUpdateMultiEnd", reqId=self._req_id)

    def _tell(self) -> None:
        summary = self._session.door.exchange.summary(self._account)
        for row in self._values.changed(account_values(summary, ledger_only=self._ledger_only)):
            self._session.send(
                "accountUpdateMulti",
                reqId=self._req_id,
                account=self._account,
                modelCode=self._model,
                **row._asdict(),
            )

    def close(self) -> None:
        self._refresher.close()


class AccountSummaryFeed:
    """reqAccountSummary, for every account."""

    def __init__(self, session: Session, req_id: int, tags: tuple[str, ...]) -> None:
        self._session = session
        self._req_id = req_id
        self._tags = tags
        self._values = {account: Changing() for account in session.door.exchange.accounts}
        self._refresher = Refresher(session.door.accounts, SUMMARY_INTERVAL, self._tell)

    def start(self) -> None:
        self._refresher.start()
        self._session.send("accountSummaryEnd", reqId=self._req_id)

    def _tell(self) -> None:
        for account, values in self._values.items():
            rows = summary_values(self._session.door.exchange.summary(account), self._tags)
            for row in values.changed(rows):
                self._session.send(
                    "accountSummary",
                    reqId=self._req_id,
                    account=account,
                    tag=row.key,
                    value=row.value,
                    currency=row.currency,
                )

    def close(self) -> None:
        self._refresher.close()


class PnlFeed:
    """reqPnL (con_id 0) and reqPnLSingle; told when a figure changed."""

    def __init__(self, session: Session, req_id: int, account: str, con_id: int = 0) -> None:
        self._session = session
        self._req_id = req_id
        self._account = account
        self._con_id = con_id
        self._told: dict[str, object] | None = None
        self._refresher = Refresher(session.door.accounts, PNL_INTERVAL, self._tell, con_id)

    def start(self) -> None:
        self._refresher.start()

    def _tell(self) -> None:
        exchange = self._session.door.exchange
        if self._con_id:
            single = exchange.pnl_single(self._account, self._con_id)
            values: dict[str, object] = {
                "pos": single.quantity or 0,
                "dailyPnL": single.daily,
                "unrealizedPnL": single.unrealized,
                "realizedPnL": single.realized,
                "value": single.market_value,
            }
        else:
            total = exchange.pnl(self._account)
            values = {"dailyPnL": total.daily, "unrealizedPnL": total.unrealized, "realizedPnL": total.realized}
        values = _misreported(values, self._session.door.faults.pnl)
        if values != self._told:
            self._told = values
            self._session.send("pnlSingle" if self._con_id else "pnl", reqId=self._req_id, **values)

    def close(self) -> None:
        self._refresher.close()


def _misreported(values: dict[str, object], how: str) -> dict[str, object]:
    """What is told instead while the fault `pnl` is armed (D18)."""
    if how == "unset":
        return values | dict.fromkeys(("dailyPnL", "unrealizedPnL", "realizedPnL"))
    if how == "swapped":
        return values | {"unrealizedPnL": values["realizedPnL"], "realizedPnL": values["unrealizedPnL"]}
    return values
