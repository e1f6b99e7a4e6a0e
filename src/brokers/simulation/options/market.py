"""The market of options beside the exchange's: who is listed, at what quote, how busy. Read only; nothing trades here.

options = OptionMarket(exchange, calendar)
options.listing(con_id of the stock)           the contracts of today, None where there are none
options.quote(details, …)                      one contract now, or as it stood at an earlier moment
options.activity(con_id of the stock)          all its contracts together
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import log
from random import Random

from ...domain.instrument import InstrumentDetails, SecType, normalize_symbol
from ...domain.market_data import Bar, BarSize, BarSource
from ...domain.sessions import Session
from ...errors import BrokerError, InvalidRequest
from ..exchange import Exchange
from ..hours import trade_date
from ..market_stats import historical_volatility, week_stats
from ..models import TradingCalendar
from ..walk import seed_for
from .crowd import Crowd, Surge
from .listing import OPTION_CON_IDS, Listing, OptionKey
from .pricing import Valuation, implied_volatility, valuation
from .surface import Surface, surface_of
from .volatility import VolatilityHistory

_YEAR = timedelta(days=365)
#: An option in its last moments is priced as if it had this long to live.
_LAST_MOMENTS = timedelta(minutes=1)
_LOOKBACK = timedelta(days=14)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Computation:
    """Greeks at one price: of a side, of the last trade, or of the model. `volatility` None: no volatility fits."""

    price: float
    volatility: float | None
    value: Valuation | None


@dataclass(frozen=True, slots=True)
class OptionState:
    """One contract at one moment. Prices on the tick grid; None where there is none. Sizes in contracts.

    `bid` and `ask` are those of the session, whether or not it is open now.
    """

    spot: float
    bid: Decimal | None
    ask: Decimal | None
    bid_size: int
    ask_size: int
    last: Decimal | None
    close: Decimal | None
    volume: int
    open_interest: int
    model: Computation
    of_bid: Computation | None
    of_ask: Computation | None
    of_last: Computation | None


@dataclass(frozen=True, slots=True)
class Activity:
    """All contracts of a stock: today's volume, last night's open interest, contracts a usual day, volatilities."""

    call_volume: int
    put_volume: int
    call_open_interest: int
    put_open_interest: int
    average_volume: int
    implied_volatility: float
    historical_volatility: float | None


@dataclass(frozen=True, slots=True)
class _Day:
    """What is settled about one stock when the day begins."""

    listing: Listing
    surface: Surface
    crowd: Crowd
    historical: float | None
    #: when the close of the day before was, None where the past does not reach
    closed: datetime | None
    #: what surges of earlier days added to the open interest
    inherited: dict[OptionKey, int]


class OptionMarket:
    """Options on every stock that the exchange lists. `seed` is the exchange's."""

    def __init__(self, exchange: Exchange, calendar: TradingCalendar) -> None:
        self._exchange = exchange
        self._calendar = calendar
        self._seed = exchange.settings.seed
        self.volatility = VolatilityHistory(exchange, calendar)
        self._days: dict[int, _Day] = {}
        self._minutes: dict[int, tuple[datetime, int, Activity]] = {}
        #: Contract -> the volume at which it traded last, and the price.
        self._trades: dict[int, tuple[int, Decimal]] = {}
        self.surges: list[Surge] = []

    # what is listed

    def underlying(self, symbol: str) -> InstrumentDetails | None:
        """The stock of this symbol, None when the exchange lists none."""
        return next((row for row in self._stocks() if row.instrument.symbol == symbol), None)

    def _stocks(self) -> Iterable[InstrumentDetails]:
        return (row for row in self._exchange.catalogue() if row.instrument.sec_type is SecType.STOCK)

    def listing(self, con_id: int) -> Listing | None:
        """Today's contracts on a stock; None for what has no options, or no price yet."""
        day = self._day(con_id)
        return None if day is None else day.listing

    def candidates(self, *, symbol: str = "", con_id: int = 0, local_symbol: str = "") -> list[InstrumentDetails]:
        """Listed contracts of this number, else of this underlying (named by the OCC symbol too)."""
        if con_id and con_id not in OPTION_CON_IDS:
            return []
        wanted = symbol or local_symbol[:6].strip()
        stocks = [row for row in self._stocks() if wanted in ("", row.instrument.symbol, _class_of(row))]
        if not con_id and not wanted:
            return []
        listings = [listing for row in stocks if (listing := self.listing(row.instrument.con_id or 0)) is not None]
        if not con_id:
            return [listing.details(key) for listing in listings for key in listing.keys]
        return [listing.details(key) for listing in listings if (key := listing.by_number.get(con_id)) is not None]

    # what it is worth

    def is_open(self, under_con_id: int) -> bool:
        """Whether options on this stock trade now: in regular hours only."""
        return self._exchange.session(under_con_id) is Session.REGULAR

    def spot(self, con_id: int) -> float | None:
        """The middle of the stock's quote, else its last price; None before the first."""
        view = self._exchange.market(con_id)
        if view.bid is not None and view.ask is not None:
            return float(view.bid + view.ask) / 2
        return None if view.last is None else float(view.last)

    def quote(
        self, option: InstrumentDetails, *, moment: datetime | None = None, spot: float | None = None
    ) -> OptionState | None:
        """One listed contract at `moment` (None: now) with its stock at `spot` (None: where it is now); None before
        the stock's first price and after the contract's last day."""
        now = moment or self._exchange.now
        under = option.under_con_id or 0
        spot = self.spot(under) if spot is None else spot
        day, key = self._day(under), key_of(option)
        if day is None or spot is None or key.expiry < day.listing.day:
            return None
        model = self._model(day, key, spot, now)
        bid, ask = _quoted(option, model.price, spot, float(key.strike))
        chance = Random(seed_for("sizes", self._seed, option.instrument.con_id, int(now.timestamp()) // 60))
        volume = day.crowd.volume(key, now, self._surges(day.listing.symbol))
        last = self._last(option, volume, bid, ask, chance) if moment is None else None
        value = self._compute(day, key, spot, now)
        return OptionState(
            spot=spot,
            bid=bid,
            ask=ask,
            bid_size=chance.randint(1, 80) if bid is not None else 0,
            ask_size=chance.randint(1, 80),
            last=last,
            close=self._close(day, option, key),
            volume=volume,
            open_interest=self._open_interest(day, key),
            model=model,
            of_bid=None if bid is None else value(bid),
            of_ask=value(ask),
            of_last=None if last is None else value(last),
        )

    def value(self, option: InstrumentDetails, spot: float, volatility: float) -> Valuation:
        """The model's value now at a stock price and volatility of the caller's choice."""
        key = key_of(option)
        years = self._years(key, self._exchange.now)
        return valuation(key.right, spot, float(key.strike), years, volatility)

    def implied(self, option: InstrumentDetails, spot: float, price: float) -> float | None:
        """The volatility that gives `price` now; None where none does."""
        key = key_of(option)
        return implied_volatility(key.right, spot, float(key.strike), self._years(key, self._exchange.now), price)

    def _model(self, day: _Day, key: OptionKey, spot: float, moment: datetime) -> Computation:
        strike, years = float(key.strike), self._years(key, moment)
        volatility = day.surface.volatility(strike, spot, years)
        value = valuation(key.right, spot, strike, years, volatility)
        return Computation(value.price, volatility, value)

    def _compute(self, day: _Day, key: OptionKey, spot: float, moment: datetime) -> Callable[[Decimal], Computation]:
        strike, years = float(key.strike), self._years(key, moment)

        def at(price: Decimal) -> Computation:
            volatility = implied_volatility(key.right, spot, strike, years, float(price))
            value = None if volatility is None else valuation(key.right, spot, strike, years, volatility)
            return Computation(float(price), volatility, value)

        return at

    def _years(self, key: OptionKey, moment: datetime) -> float:
        session = self._calendar.trading_day(key.expiry)
        ends = session.close if session is not None else moment + (key.expiry - trade_date(moment))
        return max(ends - moment, _LAST_MOMENTS) / _YEAR

    def _last(
        self, option: InstrumentDetails, volume: int, bid: Decimal | None, ask: Decimal, chance: Random
    ) -> Decimal | None:
        """At one side of the quote, anew whenever the volume has grown."""
        number = option.instrument.con_id or 0
        if not volume:
            return None
        known = self._trades.get(number)
        if known is None or known[0] != volume:
            price = ask if bid is None or chance.random() < 0.5 else bid
            known = self._trades[number] = (volume, price)
        return known[1]

    def _close(self, day: _Day, option: InstrumentDetails, key: OptionKey) -> Decimal | None:
        if day.closed is None:
            return None
        model = self._model(day, key, day.listing.price, day.closed)
        step = option.increment_at(Decimal(model.price))
        return max(step, (Decimal(model.price) / step).to_integral_value() * step)

    # how busy it is

    def activity(self, con_id: int) -> Activity | None:
        """As of the last whole minute; None for what has no options."""
        day = self._day(con_id)
        if day is None:
            return None
        minute = self._exchange.now.replace(second=0, microsecond=0)
        known = self._minutes.get(con_id)
        if known is None or known[:2] != (minute, len(self.surges)):
            known = self._minutes[con_id] = (minute, len(self.surges), self._sum(day))
        return known[2]

    def _sum(self, day: _Day) -> Activity:
        now, surges = self._exchange.now, self._surges(day.listing.symbol)
        volume, interest = {"C": 0, "P": 0}, {"C": 0, "P": 0}
        for key in day.listing.keys:
            volume[key.right] += day.crowd.volume(key, now, surges)
            interest[key.right] += self._open_interest(day, key)
        return Activity(
            volume["C"],
            volume["P"],
            interest["C"],
            interest["P"],
            round(day.crowd.average),
            day.surface.thirty_days,
            day.historical,
        )

    def _open_interest(self, day: _Day, key: OptionKey) -> int:
        return day.crowd.open_interest.get(key, 0) + day.inherited.get(key, 0)

    def _inherited(self, con_id: int, stock: InstrumentDetails, today: date) -> dict[OptionKey, int]:
        """Worked out from the surges' own days, whether or not anybody looked at them."""
        found: dict[OptionKey, int] = {}
        for surge in self._surges(stock.instrument.symbol):
            when = trade_date(surge.begun)
            while when < today:
                session = self._calendar.trading_day(when)
                day = self._begin(con_id, stock, when) if session is not None else None
                if day is not None and session is not None:
                    for key in day.listing.keys:
                        found[key] = found.get(key, 0) + day.crowd.left_open(key, session.close, [surge])
                when += timedelta(days=1)
        return found

    def surge(self, symbol: str, first: int, last: int, factor: float, right: str | None = None) -> Surge:
        """Unusual activity from now on, in contracts that expire `first` to `last` days ahead. Raises InvalidRequest
        for what is not listed, a factor not above 1 or below 1 000, or a right that is none."""
        name = normalize_symbol(symbol)
        if self.underlying(name) is None:
            raise InvalidRequest(f"options of {symbol}", "the exchange lists no such stock", "name one that it lists")
        if not 1 < factor <= 1_000 or not 0 <= first <= last or right not in (None, "C", "P"):
            why = "days must be 0 or more and ascend, the factor lie above 1 and up to 1000, the right be C or P"
            raise InvalidRequest(f"unusual options of {symbol}", why, "as in AAPL:0-14:8:P")
        made = Surge(name, first, last, factor, self._exchange.now, right)
        self.surges.append(made)
        return made

    def end_surges(self) -> None:
        """What was traded stays traded; from now on volume is usual again."""
        for surge in self.surges:
            surge.ended = surge.ended or self._exchange.now

    def _surges(self, symbol: str) -> list[Surge]:
        return [surge for surge in self.surges if surge.symbol == symbol]

    # the day

    def _day(self, con_id: int) -> _Day | None:
        stock = self._exchange.details(con_id)
        if stock is None or stock.instrument.sec_type is not SecType.STOCK:
            return None
        today = trade_date(self._exchange.now)
        day = self._days.get(con_id)
        if day is None or day.listing.day != today:
            made = self._begin(con_id, stock, today, self._inherited(con_id, stock, today))
            if made is None:
                return None
            day = self._days[con_id] = made
        return day

    def _begin(
        self, con_id: int, stock: InstrumentDetails, today: date, inherited: dict[OptionKey, int] | None = None
    ) -> _Day | None:
        """From what was known when the day began, so that no look at the day changes it."""
        before = self._day_before(con_id, today)
        price = before.close if before is not None else self.spot(con_id)
        if not price:
            return None
        session = None if before is None else self._calendar.trading_day(before.time.date())
        morning = self._exchange.now if session is None else session.post_close
        source, symbol = self._exchange.prices, stock.instrument.symbol
        historical = historical_volatility(source, con_id, morning)
        listing = Listing(stock, self._calendar, today, price)
        if not listing.keys:
            return None
        shares = week_stats(source, con_id, morning).average_volume
        return _Day(
            listing,
            surface_of(symbol, self._seed, historical),
            Crowd(listing, self._calendar.trading_day(today), self._seed, shares),
            historical,
            None if session is None else session.close,
            inherited or {},
        )

    def _day_before(self, con_id: int, today: date) -> Bar | None:
        now = self._exchange.now
        try:
            bars = self._exchange.prices.history(
                con_id, BarSize.D1, BarSource.TRADES, start=now - _LOOKBACK, end=now, now=now
            )
        except BrokerError:
            return None
        return next((bar for bar in reversed(bars) if bar.complete and bar.time.date() < today), None)


def key_of(option: InstrumentDetails) -> OptionKey:
    """Raises InvalidRequest for what is no option."""
    instrument = option.instrument
    if instrument.expiry is None or instrument.strike is None or instrument.right is None:
        raise InvalidRequest(f"option {instrument}", "it has no expiry, strike or right")
    return OptionKey(instrument.expiry, instrument.strike, instrument.right)


def _class_of(stock: InstrumentDetails) -> str:
    return stock.instrument.symbol.replace(" ", "")


def _quoted(option: InstrumentDetails, price: float, spot: float, strike: float) -> tuple[Decimal | None, Decimal]:
    """Bid and ask about the model's price, wider far from the money; no bid where it would be nothing."""
    half = max(0.005, 0.006 * price + 0.01 + 0.05 * abs(log(strike / spot)))
    low, high = Decimal(max(0.0, price - half)), Decimal(price + half)
    bid = _on_grid(option, low, ROUND_FLOOR)
    ask = max(_on_grid(option, high, ROUND_CEILING), option.increment_at(_ZERO))
    return (bid if bid > 0 else None), ask


def _on_grid(option: InstrumentDetails, price: Decimal, rounding: str) -> Decimal:
    step = option.increment_at(price)
    return (price / step).to_integral_value(rounding=rounding) * step
