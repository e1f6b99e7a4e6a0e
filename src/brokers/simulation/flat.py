"""A market that stands still: one price a symbol, printed again and again. For tests, and to look at orders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from ..domain.instrument import InstrumentDetails, normalize_symbol
from ..domain.sessions import TradingDay
from .contracts import listed
from .history import SessionCalendar
from .tapes import WalkedPrices
from .walk import Grid, RawStep, SourceBar, WalkStyle

_PAST = timedelta(days=300)


class FlatTape:
    """One symbol at one price on every trading day from 300 days before the start, without end."""

    def __init__(
        self, symbol: str, price: float, calendar: SessionCalendar, start: date, prints: int, volume: int
    ) -> None:
        symbol = normalize_symbol(symbol)
        self._details = listed(symbol)
        self._grid = Grid(self._details.increments)
        self._price = self._grid.units(price)
        self._calendar = calendar
        self._first = calendar.trading_days(start - _PAST, start)[0].day
        self._style = WalkStyle(prints, u_shaped=False, lot=1 if symbol == "MES" else 100)
        self._volume = volume

    @property
    def details(self) -> InstrumentDetails:
        return self._details

    @property
    def grid(self) -> Grid:
        return self._grid

    @property
    def first_day(self) -> date:
        return self._first

    @property
    def last_day(self) -> date | None:
        return None

    def bars_on(self, day: TradingDay) -> Sequence[SourceBar]:
        price = self._price
        return (SourceBar(day.open, day.close, price, price, price, price, self._volume),)

    def day_before(self, day: date) -> date | None:
        days = self._calendar.trading_days(max(self._first, day - timedelta(days=14)), day - timedelta(days=1))
        return days[-1].day if days else None

    def style_on(self, day: date) -> WalkStyle:
        return self._style

    def adjustment(self, day: date) -> float:
        return 1.0

    def disturb(self, day: TradingDay, steps: list[RawStep]) -> list[RawStep]:
        """A quote one tick either side of the price, which the flat bar itself has no room for."""
        tick = self._grid.step_at(self._price)
        return [(raw[0], self._price - tick, self._price + tick, *raw[3:]) for raw in steps]


class FlatPrices(WalkedPrices):
    """An endless PriceSource that never moves. `prices` in dollars by symbol; `start` as the first market moment.

    `prints` a session and symbol, `volume` shares a session. `start` must lie inside a regular session.
    """

    def __init__(
        self,
        prices: Mapping[str, float],
        calendar: SessionCalendar,
        start: datetime,
        *,
        seed: int = 0,
        prints: int = 390,
        volume: int = 10_000_000,
    ) -> None:
        tapes = [FlatTape(symbol, price, calendar, start.date(), prints, volume) for symbol, price in prices.items()]
        super().__init__(tapes, calendar, start, seed=seed)
