"""Market scans over the catalogue: what can be ranked, where, with which filters; and the ranking itself.

Codes are IB's, and both doors rank by them. Everything is computed from this exchange's own market and the source's
past; an instrument that lacks the figure of a scan is not in it. Source: client-portal.md section 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..domain.instrument import InstrumentDetails, SecType
from .companies import company_of
from .hours import trade_date
from .market_stats import WeekStats, week_stats
from .models import MarketView
from .options.market import Activity, OptionMarket

if TYPE_CHECKING:
    from .exchange import Exchange

MOST_ROWS = 50


class Candidate:
    """One instrument and its figures now; None where there is none. Slow ones are computed when first asked for."""

    def __init__(self, exchange: Exchange, options: OptionMarket, details: InstrumentDetails) -> None:
        self._exchange = exchange
        self._options = options
        self.details = details
        self.con_id = details.instrument.con_id or 0
        self.view: MarketView = exchange.market(self.con_id)

    @property
    def price(self) -> float | None:
        """The last trade of today, else the close before."""
        view = self.view
        today = view.last_time is not None and trade_date(view.last_time) == trade_date(self._exchange.now)
        price = view.last if today else view.close
        return None if price is None else float(price)

    @property
    def change_percent(self) -> float | None:
        return _percent(self.price, self.view.close)

    @property
    def open_gap(self) -> float | None:
        """Today's open against the close before, in per cent."""
        return _percent(self.view.open, self.view.close)

    @property
    def since_open(self) -> float | None:
        return None if self.view.open is None else _percent(self.price, self.view.open)

    @property
    def volume(self) -> float:
        return float(self.view.volume)

    @property
    def turnover(self) -> float | None:
        """Today's volume at the present price, in the instrument's currency."""
        return None if self.price is None else self.volume * self.price * float(self.details.instrument.multiplier)

    @cached_property
    def _weeks(self) -> WeekStats:
        return week_stats(self._exchange.prices, self.con_id, self._exchange.now)

    @property
    def average_volume(self) -> float | None:
        return self._weeks.average_volume

    @property
    def relative_volume(self) -> float | None:
        """Today's volume over the average day's."""
        return self.volume / self.average_volume if self.average_volume else None

    def in_range(self, weeks: int) -> float | None:
        """Where the price stands between the low (0) and the high (100) of so many weeks."""
        found = self._weeks.ranges.get(weeks)
        if found is None or self.price is None or found[1] <= found[0]:
            return None
        return 100 * (self.price - found[0]) / (found[1] - found[0])

    @property
    def market_value(self) -> float | None:
        """Millions of USD; None for a fund and for what is no stock."""
        exchange, price = self._exchange, self.price
        company = company_of(exchange.prices, self.details, exchange.settings.seed)
        return None if company is None or price is None else company.market_value(price) / 1e6

    @cached_property
    def options(self) -> Activity | None:
        """All contracts on it, None for what has no options."""
        return self._options.activity(self.con_id)

    @property
    def option_volume(self) -> float | None:
        found = self.options
        return None if found is None else float(found.call_volume + found.put_volume)

    @property
    def hot_options(self) -> float | None:
        """Today's option volume over a usual day's."""
        found = self.options
        return None if found is None or not found.average_volume else (self.option_volume or 0) / found.average_volume

    @property
    def put_call_volume(self) -> float | None:
        found = self.options
        return None if found is None or not found.call_volume else found.put_volume / found.call_volume

    @property
    def put_call_interest(self) -> float | None:
        found = self.options
        return (
            None
            if found is None or not found.call_open_interest
            else (found.put_open_interest / found.call_open_interest)
        )

    @property
    def implied_volatility(self) -> float | None:
        """Per cent a year."""
        return None if self.options is None else 100 * self.options.implied_volatility

    @property
    def implied_over_historical(self) -> float | None:
        found = self.options
        return (
            None
            if found is None or not found.historical_volatility
            else (found.implied_volatility / found.historical_volatility)
        )


def _percent(value: object, base: object) -> float | None:
    if value is None or base is None or not float(base):  # type: ignore[arg-type]
        return None
    return 100 * (float(value) / float(base) - 1)  # type: ignore[arg-type]


Figure = Callable[[Candidate], float | None]


@dataclass(frozen=True, slots=True)
class Scan:
    """`column` heads the figure that the portal's answer shows, which is a per cent or ratio unless `is_amount`.
    `on_options` scans rank stocks by their options."""

    code: str
    name: str
    figure: Figure
    column: str
    highest_first: bool = True
    is_amount: bool = False
    on_options: bool = False


def _range_figure(weeks: int) -> Figure:
    return lambda one: one.in_range(weeks)


def _range_scans() -> list[Scan]:
    scans = []
    for weeks in (13, 26, 52):
        figure = _range_figure(weeks)
        scans.append(Scan(f"HIGH_VS_{weeks}W_HL", f"{weeks}-Week High", figure, "% of Range"))
        scans.append(Scan(f"LOW_VS_{weeks}W_HL", f"{weeks}-Week Low", figure, "% of Range", False))
    return scans


def _option_scan(code: str, name: str, figure: Figure, column: str, *, is_amount: bool = False) -> Scan:
    return Scan(code, name, figure, column, is_amount=is_amount, on_options=True)


_PUT_CALL = "Put/Call"
SCANS: dict[str, Scan] = {
    row.code: row
    for row in (
        Scan("TOP_PERC_GAIN", "Top % Gainers", lambda c: c.change_percent, "Chg %"),
        Scan("TOP_PERC_LOSE", "Top % Losers", lambda c: c.change_percent, "Chg %", False),
        Scan("MOST_ACTIVE", "Most Active", lambda c: c.volume, "Volume", is_amount=True),
        Scan("MOST_ACTIVE_USD", "Most Active ($)", lambda c: c.turnover, "Value", is_amount=True),
        Scan("HOT_BY_VOLUME", "Hot by Volume", lambda c: c.relative_volume, "Rel. Volume"),
        Scan("TOP_OPEN_PERC_GAIN", "Top % Gainers Since Open", lambda c: c.since_open, "Chg Since Open %"),
        Scan("TOP_OPEN_PERC_LOSE", "Top % Losers Since Open", lambda c: c.since_open, "Chg Since Open %", False),
        Scan("HIGH_OPEN_GAP", "Top Close-to-Open % Gainers", lambda c: c.open_gap, "Open Gap %"),
        Scan("LOW_OPEN_GAP", "Top Close-to-Open % Losers", lambda c: c.open_gap, "Open Gap %", False),
        *_range_scans(),
        _option_scan(
            "OPT_VOLUME_MOST_ACTIVE",
            "Most Active by Opt Volume",
            lambda c: c.option_volume,
            "Opt Volume",
            is_amount=True,
        ),
        _option_scan("HOT_BY_OPT_VOLUME", "Hot by Option Volume", lambda c: c.hot_options, "Rel. Opt Volume"),
        _option_scan(
            "HIGH_OPT_VOLUME_PUT_CALL_RATIO", "High Option Volume P/C Ratio", lambda c: c.put_call_volume, _PUT_CALL
        ),
        _option_scan(
            "HIGH_OPT_OPEN_INTEREST_PUT_CALL_RATIO",
            "High Option Open Interest P/C Ratio",
            lambda c: c.put_call_interest,
            _PUT_CALL,
        ),
        _option_scan("HIGH_OPT_IMP_VOLAT", "Highest Option Imp Vol", lambda c: c.implied_volatility, "Imp Vol %"),
        _option_scan(
            "HIGH_OPT_IMP_VOLAT_OVER_HIST",
            "High Option Imp Vol Over Historical",
            lambda c: c.implied_over_historical,
            "Imp/Hist",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Keeps what is at or `above` the value, or at or below it. What lacks the figure is left out."""

    code: str
    group: str
    name: str
    figure: Figure
    above: bool

    def keeps(self, one: Candidate, value: float) -> bool:
        figure = self.figure(one)
        return figure is not None and (figure >= value if self.above else figure <= value)


_FILTERED: tuple[tuple[str, str, str, str, Figure], ...] = (
    ("price", "", "Price", "price", lambda c: c.price),
    ("volume", "", "Volume", "volume", lambda c: c.volume),
    ("changePerc", "", "Change %", "changePerc", lambda c: c.change_percent),
    ("openGapPerc", "", "Open Gap %", "openGapPerc", lambda c: c.open_gap),
    ("avgVolume", "", "Average Volume", "avgVolume", lambda c: c.average_volume),
    ("usdVolume", "", "Volume ($)", "usdVolume", lambda c: c.turnover),
    ("marketCap", "1e6", "Market Cap (millions)", "marketCap", lambda c: c.market_value),
    ("optVolume", "", "Option Volume", "optVolume", lambda c: c.option_volume),
)
FILTERS: dict[str, Filter] = {
    row.code: row
    for stem, unit, name, group, figure in _FILTERED
    for row in (
        Filter(f"{stem}Above{unit}", group, f"{name} Above", figure, True),
        Filter(f"{stem}Below{unit}", group, f"{name} Below", figure, False),
    )
}


@dataclass(frozen=True, slots=True)
class Place:
    """A location: instruments of `instrument` listed on `exchanges` (() all)."""

    code: str
    name: str
    instrument: str
    exchanges: tuple[str, ...] = ()

    def holds(self, details: InstrumentDetails) -> bool:
        listed = details.instrument.primary_exchange or details.instrument.exchange
        return not self.exchanges or listed in self.exchanges


#: Instrument code -> security type, name.
INSTRUMENTS: dict[str, tuple[SecType, str]] = {
    "STK": (SecType.STOCK, "US Stocks"),
    "FUT.US": (SecType.FUTURE, "US Futures"),
}
PLACES: dict[str, Place] = {
    row.code: row
    for row in (
        Place("STK.US", "US Stocks", "STK"),
        Place("STK.US.MAJOR", "Listed/NASDAQ", "STK", ("NYSE", "NASDAQ", "ARCA", "AMEX", "BATS")),
        Place("STK.NYSE", "NYSE", "STK", ("NYSE",)),
        Place("STK.NASDAQ", "NASDAQ", "STK", ("NASDAQ",)),
        Place("STK.ARCA", "ARCA", "STK", ("ARCA",)),
        Place("FUT.US", "US Futures", "FUT.US"),
        Place("FUT.CME", "CME", "FUT.US", ("CME",)),
    )
}


class Scanner:
    """Ranks what this exchange lists; `options` is its option market."""

    def __init__(self, exchange: Exchange, options: OptionMarket) -> None:
        self._exchange = exchange
        self._options = options

    def rank(
        self, scan: Scan, place: Place, filters: Iterable[tuple[Filter, float]], rows: int = MOST_ROWS
    ) -> list[tuple[Candidate, float]]:
        """The instruments of `place` that pass all filters, best first, equal ones by symbol, with their figures."""
        kind, kept = INSTRUMENTS[place.instrument][0], tuple(filters)
        found: list[tuple[Candidate, float]] = []
        for details in self._exchange.catalogue():
            if details.instrument.sec_type is not kind or not place.holds(details):
                continue
            one = Candidate(self._exchange, self._options, details)
            figure = scan.figure(one)
            if figure is not None and all(row.keeps(one, value) for row, value in kept):
                found.append((one, figure))
        found.sort(key=lambda row: row[0].details.instrument.symbol)
        found.sort(key=lambda row: row[1], reverse=scan.highest_first)
        return found[: min(rows, MOST_ROWS)]


def offered(instrument: str) -> list[Scan]:
    """The scans that can be run of instruments of this code."""
    return [row for row in SCANS.values() if instrument == "STK" or not row.on_options]
