"""A seeded, endless market that never was: geometric Brownian days with a common factor, walked like replayed bars.

The past (at least 300 days before the start) and the days to come are made the same way, so a strategy that reads
history and then trades sees one market. Levels pass through plausible prices at the start; everything is synthetic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from math import exp, log
from random import Random

from ..domain.instrument import InstrumentDetails, normalize_symbol
from ..domain.sessions import TradingDay
from ..errors import InvalidRequest
from .contracts import listed
from .history import SessionCalendar
from .tapes import WalkedPrices
from .walk import Grid, RawStep, SourceBar, WalkStyle, seed_for

#: A Wednesday in the regular session of the recordings' week; market time of a synthetic market begins here by default.
DEFAULT_START = date(2026, 4, 15)
DEFAULT_START_AFTER_OPEN = timedelta(minutes=30)
PAST_DAYS = 320
LIVE_PRINTS = 2340  #: a print about every ten seconds of a full session
PAST_PRINTS = 390  #: days before the start are never streamed: one print a minute is enough

_REVERSION = 0.003  #: share of the distance to its level that a price gives up a day, so that years do not carry it off
_SHOCK_CHANCE, _SHOCK = 0.03, 3.0  #: some days move three times as far (AEGS looks for such)
_OVERNIGHT = 0.35  #: share of a day's variance that lies between close and open
_COMMON = 0.6  #: correlation with the common factor
_HALT_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Character:
    """How a symbol moves: price at the start, daily volatility, shares a day, width of its market in ticks."""

    price: float
    volatility: float = 0.018
    volume: int = 5_000_000
    spread: int = 2


CHARACTERS: dict[str, Character] = {
    "AAPL": Character(254.0, 0.016, 48_000_000, 1),
    "MSFT": Character(372.0, 0.015, 22_000_000, 2),
    "IBM": Character(246.0, 0.014, 4_200_000, 4),
    "GOOG": Character(295.0, 0.018, 18_000_000, 2),
    "AMZN": Character(209.0, 0.019, 40_000_000, 1),
    "META": Character(575.0, 0.021, 14_000_000, 6),
    "NVDA": Character(177.0, 0.027, 180_000_000, 1),
    "TSLA": Character(360.0, 0.035, 75_000_000, 3),
    "NFLX": Character(98.0, 0.020, 30_000_000, 1),
    "AMD": Character(217.0, 0.031, 38_000_000, 2),
    "INTC": Character(50.0, 0.030, 80_000_000, 1),
    "SPY": Character(655.0, 0.010, 70_000_000, 1),
    "MES": Character(7039.5, 0.010, 1_200_000, 1),
}
DEFAULT_SYMBOLS = tuple(CHARACTERS)


#: What chance decides of a day: log returns overnight and in the session, reach above and below (0 to 1), and a
#: standard normal number for its volume.
_Draws = tuple[float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Company:
    """What a tape shares with the bars of other symbols beside it.

    Its days begin PAST_DAYS before `first`, whatever the start, so that a day has one price for every start; none
    follow `last`. `prints` a session, on past and coming days alike.
    """

    first: date
    last: date
    prints: int


class SyntheticTape:
    """One symbol's days, made when asked for and the same whenever asked.

    `company` None: endless, and at its character's price the day before `start`.
    """

    def __init__(
        self,
        symbol: str,
        calendar: SessionCalendar,
        start: date,
        seed: int,
        *,
        halts: float = 0.0,
        company: Company | None = None,
    ) -> None:
        self._symbol = normalize_symbol(symbol)
        self._character = CHARACTERS.get(self._symbol) or _character_of(self._symbol)
        self._details = listed(self._symbol)
        if company is not None:
            name = f"{self._details.long_name} (SYNTHETIC PRICES)"
            self._details = replace(self._details, long_name=name)
        self._grid = Grid(self._details.increments)
        self._calendar, self._start, self._seed, self._halts = calendar, start, seed, halts
        self._company = company
        first = (start if company is None else company.first) - timedelta(days=PAST_DAYS * 8 // 5)
        self._days = [day.day for day in calendar.trading_days(first, start)]
        if len(self._days) < PAST_DAYS or self._days[-1] != start:
            raise InvalidRequest(f"a synthetic market from {start}", "the calendar has too few trading days before it")
        self._stream: tuple[int, Random] | None = None
        #: Log price at the open, and what chance decided, by day.
        self._drawn: dict[date, tuple[float, _Draws]] = {}
        self._bars: dict[date, tuple[int, int, int, int, int]] = {}
        draws = [self._draws(day) for day in self._days]
        self._level = log(self._character.price) - (0.0 if company else _drift(draws[:-1]))
        self._close = self._level
        for day, drawn in zip(self._days, draws, strict=True):
            self._lead_on(day, drawn)

    @property
    def details(self) -> InstrumentDetails:
        return self._details

    @property
    def grid(self) -> Grid:
        return self._grid

    @property
    def first_day(self) -> date:
        return self._days[0]

    @property
    def last_day(self) -> date | None:
        return None if self._company is None else self._company.last

    def bars_on(self, day: TradingDay) -> Sequence[SourceBar]:
        self._reach(day.day)
        if day.day not in self._drawn:
            return ()
        prices = self._bars.get(day.day)
        if prices is None:
            prices = self._bars[day.day] = self._bar(day.day)
        return (SourceBar(day.open, day.close, *prices),)

    def day_before(self, day: date) -> date | None:
        self._reach(day)
        at = bisect_left(self._days, day)
        return self._days[at - 1] if at else None

    def style_on(self, day: date) -> WalkStyle:
        prints = LIVE_PRINTS if day >= self._start else PAST_PRINTS
        if self._company is not None:
            prints = self._company.prints
        return WalkStyle(prints, self._character.spread, 1 if self._symbol == "MES" else 100)

    def adjustment(self, day: date) -> float:
        return 1.0

    def disturb(self, day: TradingDay, steps: list[RawStep]) -> list[RawStep]:
        """Perhaps one halt of five minutes; what would have printed meanwhile prints in a burst when it ends."""
        rng = Random(seed_for("halt", self._seed, self._symbol, day.day))
        if day.day < self._start or not steps or rng.random() >= self._halts:
            return steps
        begins = day.open + (day.close - day.open) * (0.1 + 0.7 * rng.random())
        ends = begins + timedelta(minutes=_HALT_MINUTES)
        before = [raw for raw in steps if raw[0] < begins]
        during = [raw for raw in steps if begins <= raw[0] < ends]
        after = [raw for raw in steps if raw[0] >= ends]
        gap = ((after[0][0] if after else ends) - ends) / (len(during) + 1)
        burst = [(ends + gap * at, *raw[1:]) for at, raw in enumerate(during)]
        last = before[-1]
        return [*before, (begins, *last[1:5], None, 0, True), *burst, *after]

    def _reach(self, day: date) -> None:
        """Make the days up to `day`, each from the one before; none after the last."""
        final = self.last_day
        day = day if final is None else min(day, final)
        while self._days[-1] < day:
            first = self._days[-1] + timedelta(days=1)
            until = max(day, first + timedelta(days=30))
            days = self._calendar.trading_days(first, until if final is None else min(until, final))
            if not days:
                return
            for each in days:
                self._days.append(each.day)
                self._lead_on(each.day, self._draws(each.day))

    def _rng(self, day: date) -> Random:
        """Chance of this day; in company the year's, since seeding costs more than all draws of a day."""
        if self._company is None:
            return Random(seed_for("day", self._seed, self._symbol, day))
        if self._stream is None or self._stream[0] != day.year:
            self._stream = (day.year, Random(seed_for("year", self._seed, self._symbol, day.year)))
        return self._stream[1]

    def _draws(self, day: date) -> _Draws:
        """Asked for once a day, in the order of days."""
        rng = self._rng(day)
        chance, common_night, common_session = _factor(self._seed, day)
        shock = _SHOCK if chance < _SHOCK_CHANCE or rng.random() < _SHOCK_CHANCE else 1.0
        own = (1 - _COMMON**2) ** 0.5
        scale = self._character.volatility * shock
        night = _COMMON * common_night + own * rng.gauss(0, 1)
        session = _COMMON * common_session + own * rng.gauss(0, 1)
        overnight, within = scale * _OVERNIGHT**0.5 * night, scale * (1 - _OVERNIGHT) ** 0.5 * session
        return overnight, within, rng.random(), rng.random(), rng.gauss(0, 1)

    def _lead_on(self, day: date, drawn: _Draws) -> None:
        opened = self._close + (drawn[0] - _REVERSION * (self._close - self._level))
        self._drawn[day] = (opened, drawn)
        self._close = opened + drawn[1]

    def _bar(self, day: date) -> tuple[int, int, int, int, int]:
        """Open, high, low, close in grid units, and volume."""
        opened, (_, session, above, below, busy) = self._drawn[day]
        closed = opened + session
        reach = self._character.volatility * 0.5
        high = max(opened, closed) + reach * above
        low = min(opened, closed) - reach * below
        units = self._grid.units
        volume = int(self._character.volume * exp(0.25 * busy) * (1 + 20 * abs(session)))
        floor = self._grid.step_at(0)
        prices = [max(floor, units(exp(value))) for value in (opened, high, low, closed)]
        # A day always has room for a bid and an ask.
        return prices[0], max(prices[1], max(prices) + floor), prices[2], prices[3], volume


def _drift(days: Sequence[_Draws]) -> float:
    """How far these days move a price that begins at its level."""
    offset = 0.0
    for night, session, *_ in days:
        offset += night + session - _REVERSION * offset
    return offset


@lru_cache(maxsize=8192)
def _factor(seed: int, day: date) -> tuple[float, float, float]:
    """What all symbols share on a day: the chance of a shock, and two standard normal moves."""
    common = Random(seed_for("factor", seed, day))
    return common.random(), common.gauss(0, 1), common.gauss(0, 1)


def _character_of(symbol: str) -> Character:
    """A plausible stock for a symbol without a row."""
    rng = Random(seed_for("character", symbol))
    return Character(
        round(15 * exp(rng.random() * 2.7), 2), 0.012 + 0.02 * rng.random(), 1_000_000 + rng.randrange(9_000_000)
    )


class SyntheticPrices(WalkedPrices):
    """An endless PriceSource. `start` is the first day (None: 2026-04-15), or the next trading day after it.

    Market time begins half an hour into the session. `halts` is the chance of a trading halt per symbol and day. MES
    trades in the stock market's hours here, and all symbols in US dollars.
    """

    def __init__(
        self,
        calendar: SessionCalendar,
        *,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        start: date | None = None,
        seed: int = 0,
        halts: float = 0.0,
        quiet: int = 0,
    ) -> None:
        day = _session_from(calendar, start or DEFAULT_START)
        names = list(dict.fromkeys(normalize_symbol(symbol) for symbol in symbols))
        if not names:
            raise InvalidRequest("a synthetic market", "it has no symbols", "name at least one")
        tapes = [SyntheticTape(name, calendar, day.day, seed, halts=halts) for name in names]
        super().__init__(tapes, calendar, day.open + DEFAULT_START_AFTER_OPEN, seed=seed, quiet=quiet)


def _session_from(calendar: SessionCalendar, start: date) -> TradingDay:
    """The first trading day at or after `start`."""
    days = calendar.trading_days(start, start + timedelta(days=14))
    if not days:
        raise InvalidRequest(f"a synthetic market from {start}", "the calendar has no trading day there")
    return days[0]
