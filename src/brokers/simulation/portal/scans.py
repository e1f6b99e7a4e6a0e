"""Market scans over the catalogue: what can be ranked, where, with which filters; and the ranking itself.

Codes are IB's. Everything is computed from this exchange's own market and the source's past; an instrument that lacks
the figure of a scan is not in it. Source: client-portal.md section 2.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ...domain.instrument import InstrumentDetails, SecType
from ..hours import trade_date
from ..market_stats import WeekStats, week_stats
from ..models import MarketView
from .contract_rows import listing_exchange
from .figures import percent_text, short_text

if TYPE_CHECKING:
    from .door import PortalDoor

MOST_ROWS = 50


class Candidate:
    """One instrument and its figures now; None where there is none. Slow ones are computed when first asked for."""

    def __init__(self, door: PortalDoor, details: InstrumentDetails) -> None:
        self._door = door
        self.details = details
        self.con_id = details.instrument.con_id or 0
        self.view: MarketView = door.exchange.market(self.con_id)

    @property
    def price(self) -> float | None:
        """The last trade of today, else the close before."""
        view = self.view
        today = view.last_time is not None and trade_date(view.last_time) == trade_date(self._door.now)
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
        return week_stats(self._door.source, self.con_id, self._door.now)

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


def _percent(value: object, base: object) -> float | None:
    if value is None or base is None or not float(base):  # type: ignore[arg-type]
        return None
    return 100 * (float(value) / float(base) - 1)  # type: ignore[arg-type]


Figure = Callable[[Candidate], float | None]


@dataclass(frozen=True, slots=True)
class Scan:
    """`column` heads the figure that the answer shows; `write` makes its text."""

    code: str
    name: str
    figure: Figure
    column: str
    write: Callable[[float], str | None]
    highest_first: bool = True


def _range_figure(weeks: int) -> Figure:
    return lambda one: one.in_range(weeks)


def _range_scans() -> list[Scan]:
    scans = []
    for weeks in (13, 26, 52):
        figure = _range_figure(weeks)
        scans.append(Scan(f"HIGH_VS_{weeks}W_HL", f"{weeks}-Week High", figure, "% of Range", percent_text))
        scans.append(Scan(f"LOW_VS_{weeks}W_HL", f"{weeks}-Week Low", figure, "% of Range", percent_text, False))
    return scans


SCANS: dict[str, Scan] = {
    row.code: row
    for row in (
        Scan("TOP_PERC_GAIN", "Top % Gainers", lambda c: c.change_percent, "Chg %", percent_text),
        Scan("TOP_PERC_LOSE", "Top % Losers", lambda c: c.change_percent, "Chg %", percent_text, False),
        Scan("MOST_ACTIVE", "Most Active", lambda c: c.volume, "Volume", lambda n: short_text(n, 6)),
        Scan("MOST_ACTIVE_USD", "Most Active ($)", lambda c: c.turnover, "Value", lambda n: short_text(n, 6)),
        Scan("HOT_BY_VOLUME", "Hot by Volume", lambda c: c.relative_volume, "Rel. Volume", percent_text),
        Scan(
            "TOP_OPEN_PERC_GAIN", "Top % Gainers Since Open", lambda c: c.since_open, "Chg Since Open %", percent_text
        ),
        Scan(
            "TOP_OPEN_PERC_LOSE",
            "Top % Losers Since Open",
            lambda c: c.since_open,
            "Chg Since Open %",
            percent_text,
            False,
        ),
        Scan("HIGH_OPEN_GAP", "Top Close-to-Open % Gainers", lambda c: c.open_gap, "Open Gap %", percent_text),
        Scan("LOW_OPEN_GAP", "Top Close-to-Open % Losers", lambda c: c.open_gap, "Open Gap %", percent_text, False),
        *_range_scans(),
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


_FILTERED: tuple[tuple[str, str, str, Figure], ...] = (
    ("price", "Price", "price", lambda c: c.price),
    ("volume", "Volume", "volume", lambda c: c.volume),
    ("changePerc", "Change %", "changePerc", lambda c: c.change_percent),
    ("openGapPerc", "Open Gap %", "openGapPerc", lambda c: c.open_gap),
    ("avgVolume", "Average Volume", "avgVolume", lambda c: c.average_volume),
    ("usdVolume", "Volume ($)", "usdVolume", lambda c: c.turnover),
)
FILTERS: dict[str, Filter] = {
    row.code: row
    for stem, name, group, figure in _FILTERED
    for row in (
        Filter(f"{stem}Above", group, f"{name} Above", figure, True),
        Filter(f"{stem}Below", group, f"{name} Below", figure, False),
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
        return not self.exchanges or listing_exchange(details) in self.exchanges


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


def rank(
    door: PortalDoor, scan: Scan, place: Place, filters: list[tuple[Filter, float]]
) -> list[tuple[Candidate, float]]:
    """The instruments of `place` that pass all filters, best first; at most 50. Equal ones by symbol."""
    kind = INSTRUMENTS[place.instrument][0]
    found: list[tuple[Candidate, float]] = []
    for details in door.exchange.catalogue():
        if details.instrument.sec_type is not kind or not place.holds(details):
            continue
        one = Candidate(door, details)
        figure = scan.figure(one)
        if figure is not None and all(row.keeps(one, value) for row, value in filters):
            found.append((one, figure))
    found.sort(key=lambda row: row[0].details.instrument.symbol)
    found.sort(key=lambda row: row[1], reverse=scan.highest_first)
    return found[:MOST_ROWS]
