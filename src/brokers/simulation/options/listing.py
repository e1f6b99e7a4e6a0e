"""What options are listed on a stock on a day: expiries, strikes, contracts and their numbers.

Fridays of the next six weeks, the third Fridays of the months after, and two Januaries beyond. Strikes stand around
the price where the day began, dense near it and wide on monthly expiries: not every pair of the chain is a contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from math import log
from typing import NamedTuple

from ...domain.instrument import Instrument, InstrumentDetails, SecType
from ..contracts import MARKET_RULES
from ..models import TradingCalendar
from ..walk import seed_for

#: Numbers of our own, above all that IB has given out and above those of our stocks.
OPTION_CON_IDS = range(1_000_000_000, 2_000_000_000)
OPTION_EXCHANGES = ("SMART", "AMEX", "CBOE", "ISE", "PHLX")
MULTIPLIER = Decimal(100)
#: The market rule of every option: the steps of the penny programme.
OPTION_RULE = 9002

_WEEKS, _MONTHS, _JANUARIES = 6, 6, 2
#: Price below which strikes stand this far apart.
_STEPS: tuple[tuple[float, str], ...] = (
    (25, "0.5"),
    (100, "1"),
    (200, "2.5"),
    (500, "5"),
    (1_000, "10"),
    (5_000, "25"),
    (20_000, "100"),
    (100_000, "500"),
    (1_000_000, "5000"),
)
_WIDEST = Decimal(50_000)
#: Share of the price on either side: every strike, and on monthly expiries every second one.
_NEAR, _FAR = 0.2, 0.5
#: Strikes stay while the price moves less than about this much.
_BUCKET = log(1.05)


class OptionKey(NamedTuple):
    expiry: date
    strike: Decimal
    right: str


@dataclass(frozen=True, slots=True)
class Expiry:
    day: date
    monthly: bool


def third_friday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def expiries(calendar: TradingCalendar, today: date) -> list[Expiry]:
    """Last trading days from `today` on, ascending; the day before where the exchange rests on the Friday."""
    friday = today + timedelta(days=(4 - today.weekday()) % 7)
    fridays = {friday + timedelta(weeks=week) for week in range(_WEEKS)}
    ahead = (divmod(today.month - 1 + months, 12) for months in range(_MONTHS + 1))
    fridays |= {third_friday(today.year + years, month + 1) for years, month in ahead}
    fridays |= {third_friday(today.year + years, 1) for years in range(1, _JANUARIES + 1)}
    found = [(_last_trading_day(calendar, day), day) for day in sorted(fridays) if day >= today]
    return [Expiry(last, day == third_friday(day.year, day.month)) for last, day in found if last >= today]


def _last_trading_day(calendar: TradingCalendar, friday: date) -> date:
    thursday = friday - timedelta(days=1)
    rests = calendar.trading_day(friday) is None and calendar.trading_day(thursday) is not None
    return thursday if rests else friday


def strikes(price: float, *, monthly: bool) -> list[Decimal]:
    """Strikes around `price`, ascending."""
    centre = 1.05 ** round(log(price) / _BUCKET)
    step = next((Decimal(step) for edge, step in _STEPS if centre < edge), _WIDEST)
    near = set(_grid(centre, _NEAR, step))
    return sorted(near | set(_grid(centre, _FAR, 2 * step)) if monthly else near)


def _grid(centre: float, reach: float, step: Decimal) -> Iterator[Decimal]:
    first, last = int(Decimal(centre * (1 - reach)) / step), int(Decimal(centre * (1 + reach)) / step)
    return (number * step for number in range(max(1, first), last + 1))


class Listing:
    """The contracts on one stock on one day; `price` is where the stock stood when the day began."""

    def __init__(self, underlying: InstrumentDetails, calendar: TradingCalendar, day: date, price: float) -> None:
        self.underlying = underlying
        self.day = day
        self.price = price
        self.symbol = underlying.instrument.symbol
        self.trading_class = self.symbol.replace(" ", "")
        self.expiries = expiries(calendar, day)
        #: Ordered by expiry, strike and right.
        self.keys = tuple(
            OptionKey(expiry.day, strike, right)
            for expiry in self.expiries
            for strike in strikes(price, monthly=expiry.monthly)
            for right in ("C", "P")
        )
        self.monthly = frozenset(expiry.day for expiry in self.expiries if expiry.monthly)
        self._details: dict[OptionKey, InstrumentDetails] = {}

    @cached_property
    def days(self) -> tuple[date, ...]:
        """Last trading days, ascending."""
        return tuple(sorted({key.expiry for key in self.keys}))

    @cached_property
    def strikes(self) -> tuple[Decimal, ...]:
        """Of any expiry, ascending."""
        return tuple(sorted({key.strike for key in self.keys}))

    @cached_property
    def numbers(self) -> dict[OptionKey, int]:
        """Contract numbers: the same in every run."""
        taken: dict[int, OptionKey] = {}
        for key in self.keys:
            number = seed_for("option", self.symbol, *key) % len(OPTION_CON_IDS)
            while number in taken:
                number = (number + 1) % len(OPTION_CON_IDS)
            taken[number] = key
        return {key: OPTION_CON_IDS.start + number for number, key in taken.items()}

    @cached_property
    def by_number(self) -> dict[int, OptionKey]:
        return {number: key for key, number in self.numbers.items()}

    def details(self, key: OptionKey) -> InstrumentDetails:
        """Contract details of one of `keys`, without trading hours."""
        found = self._details.get(key)
        if found is None:
            found = self._details[key] = self._make(key)
        return found

    def _make(self, key: OptionKey) -> InstrumentDetails:
        stock = self.underlying
        return InstrumentDetails(
            Instrument(
                self.symbol,
                SecType.OPTION,
                stock.instrument.currency,
                con_id=self.numbers[key],
                local_symbol=f"{self.trading_class:<6}{key.expiry:%y%m%d}{key.right}{int(key.strike * 1000):08d}",
                trading_class=self.trading_class,
                expiry=key.expiry,
                strike=key.strike,
                right=key.right,
                multiplier=MULTIPLIER,
            ),
            long_name=stock.long_name,
            market_name=self.trading_class,
            increments=MARKET_RULES[OPTION_RULE],
            valid_exchanges=OPTION_EXCHANGES,
            contract_month=f"{key.expiry:%Y%m}",
            under_con_id=stock.instrument.con_id,
            market_rule_ids=(OPTION_RULE,) * len(OPTION_EXCHANGES),
        )
