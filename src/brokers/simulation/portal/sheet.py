"""One instrument's market at one moment, as the fields of a snapshot or an smd frame are made of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from ...domain.account import PnL, Position
from ...domain.instrument import InstrumentDetails
from ...domain.sessions import Session as MarketSession
from ..depth_levels import ASK, BID, Level, depth_levels
from ..hours import trade_date
from ..market_stats import WeekStats, historical_volatility, week_stats
from ..models import MarketView
from ..past_view import past_view
from .figures import price_digits

if TYPE_CHECKING:
    from .door import PortalDoor

#: How old delayed data is.
DELAY = timedelta(minutes=15)


class Sheet:
    """The market is read when the sheet is made; slow figures (history, positions) when they are first asked for.

    `account` is whose position fields 73 to 80 tell. `delayed`: nothing in it is younger than 15 minutes.
    """

    def __init__(self, door: PortalDoor, details: InstrumentDetails, account: str, server_id: str) -> None:
        self._door = door
        self.details = details
        self.account = account
        self.server_id = server_id
        self.time: datetime = door.now
        self.con_id = details.instrument.con_id or 0
        self.digits = price_digits(details)
        self.delayed = details.instrument.symbol in door.settings.not_subscribed
        self.open = door.exchange.session(self.con_id) not in (MarketSession.CLOSED, MarketSession.UNKNOWN)
        self.view: MarketView = self._past if self.delayed else door.exchange.market(self.con_id)

    @property
    def _past(self) -> MarketView:
        return past_view(self._door.source, self.details, self.time - DELAY)

    @property
    def availability(self) -> str:
        """Field 6509: R live, D delayed, Z and Y the same while the market is closed; then P or p, and B."""
        first = ("D" if self.open else "Y") if self.delayed else ("R" if self.open else "Z")
        return f"{first}pB"

    @property
    def updated(self) -> int:
        """Milliseconds of the epoch, market time, at which the quote or the last trade moved."""
        moments = [moment for moment in (self.view.time, self.view.last_time) if moment is not None]
        return int(max(moments, default=self.time).timestamp() * 1000)

    @property
    def traded_today(self) -> bool:
        moment = self.view.last_time
        return self.view.last is not None and moment is not None and trade_date(moment) == trade_date(self.time)

    @property
    def last(self) -> Decimal | None:
        """The last trade of today, else the close before; None without either."""
        return self.view.last if self.traded_today else self.view.close

    @property
    def change(self) -> Decimal | None:
        """Last less the close before."""
        if self.view.close is None or self.last is None:
            return None
        return self.last - self.view.close

    @property
    def mark(self) -> Decimal | None:
        """The last price held inside the quote."""
        view, last = self.view, self.last
        if view.bid is None or view.ask is None:
            return last
        return min(max(last, view.bid), view.ask) if last is not None else view.bid

    @property
    def best_bid(self) -> Level | None:
        return self._best(BID, self.view.bid, self.view.bid_size)

    @property
    def best_ask(self) -> Level | None:
        return self._best(ASK, self.view.ask, self.view.ask_size)

    def _best(self, side: int, price: Decimal | None, size: Decimal | None) -> Level | None:
        levels = [] if price is None else depth_levels(self.details, side, price, size or Decimal(0), 1)
        return levels[0] if levels else None

    @cached_property
    def weeks(self) -> WeekStats:
        return week_stats(self._door.source, self.con_id, self.time)

    @cached_property
    def volatility(self) -> float | None:
        """Of 30 days, a year's fraction; None without history."""
        return historical_volatility(self._door.source, self.con_id, self.time)

    @cached_property
    def position(self) -> Position | None:
        """None while the account holds none."""
        rows = self._door.exchange.positions(self.account)
        return next((row for row in rows if row.instrument.con_id == self.con_id), None)

    @cached_property
    def pnl(self) -> PnL:
        return self._door.exchange.pnl_single(self.account, self.con_id)

    @property
    def shortable_shares(self) -> int:
        hard = self.details.instrument.symbol in self._door.exchange.hard_to_borrow
        return 0 if hard else 10_000_000
