"""Volatilities of the past, day by day: what ticks 24 and 23 of a stock told on each day, as daily bars of it.

A day's volatilities are settled when it begins, so that its bar is flat and never changes.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

from ...domain.instrument import InstrumentDetails, SecType
from ...domain.market_data import Bar, BarSize, BarSource
from ...errors import BrokerError
from ..exchange import Exchange
from ..market_stats import historical_volatility
from ..models import TradingCalendar
from .surface import surface_of

#: Days before the first bar in which the session before it is looked for.
_LOOKBACK = timedelta(days=14)


class VolatilityHistory:
    """Of the stocks of one exchange; a day once worked out is kept."""

    def __init__(self, exchange: Exchange, calendar: TradingCalendar) -> None:
        self._exchange = exchange
        self._calendar = calendar
        self._days: dict[tuple[int, date], tuple[float, float | None]] = {}

    def bars(self, details: InstrumentDetails, source: BarSource, start: datetime, end: datetime) -> list[Bar]:
        """Daily bars that begin in [start, end), ascending, a year's volatility each (0.25 is 25 %); empty for what has
        no options and where the past does not reach."""
        con_id, now = details.instrument.con_id or 0, self._exchange.now
        if details.instrument.sec_type is not SecType.STOCK:
            return []
        try:
            prices = self._exchange.prices.history(
                con_id, BarSize.D1, BarSource.TRADES, start=start - _LOOKBACK, end=end, now=now
            )
        except BrokerError:
            return []
        found = []
        for before, bar in pairwise(prices):
            if bar.time < start:
                continue
            implied, historical = self._day(details, bar.time.date(), before.time.date())
            value = implied if source is BarSource.IMPLIED_VOLATILITY else historical
            if value is not None:
                found.append(Bar(bar.time, value, value, value, value, complete=bar.complete))
        return found

    def _day(self, details: InstrumentDetails, day: date, before: date) -> tuple[float, float | None]:
        """(implied, historical), from what was known when the session `before` had ended."""
        key = details.instrument.con_id or 0, day
        known = self._days.get(key)
        if known is None:
            session = self._calendar.trading_day(before)
            morning = self._exchange.now if session is None else session.post_close
            historical = historical_volatility(self._exchange.prices, key[0], morning)
            surface = surface_of(details.instrument.symbol, self._exchange.settings.seed, historical)
            known = self._days[key] = (surface.thirty_days, historical)
        return known
