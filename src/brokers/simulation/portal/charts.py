"""Charts: the bars of a period before a moment, as the history endpoint and the smh topic send them.

Nothing ahead of market time is in one; for a symbol without live data, nothing younger than 15 minutes.
Source: client-portal.md section 2.2 and the recording of /iserver/marketdata/history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ...domain.instrument import InstrumentDetails, SecType
from ...domain.market_data import Bar, BarSize, BarSource
from ...errors import InvalidRequest, NoData
from ..bar_spans import span_before
from ..hours import Venue, venue_of
from .figures import price_digits
from .market_faults import MarketFaults
from .periods import MOST_POINTS, Period
from .request import PortalRefusal
from .sheet import DELAY

if TYPE_CHECKING:
    from .session import PortalSession

SOURCES = {"trades": BarSource.TRADES, "midpoint": BarSource.MIDPOINT, "bid_ask": BarSource.BID_ASK}
NO_CHART = "Chart data unavailable"
NO_DATA = "No data."
#: Shares in one unit of a stock bar's volume.
STOCK_VOLUME_FACTOR = 100
#: Minutes of a regular session.
DAY_MINUTES = {Venue.STOCKS: 390, Venue.FUTURES: 1_380}


@dataclass(frozen=True, slots=True)
class ChartQuery:
    """`end` None means now. `outside` adds the hours outside the regular session."""

    details: InstrumentDetails
    period: Period
    size: BarSize
    source: BarSource = BarSource.TRADES
    end: datetime | None = None
    outside: bool = False


class Charts:
    """What one brokerage session has of charts: server ids, and whether the service is warm."""

    def __init__(self, session: PortalSession) -> None:
        self._session = session
        self._next_id = 6_571_225
        self.warm = not session.door.state(MarketFaults).cold_charts

    def close(self) -> None:
        self.warm = False

    def cool(self) -> None:
        """The next chart fails, the one after it comes."""
        self.warm = False

    def next_id(self) -> str:
        self._next_id += 1
        return str(self._next_id)

    def draw(self, query: ChartQuery) -> dict[str, Any]:
        """The answer to `query`. Raises PortalRefusal: the service is cold, or there are no bars."""
        if not self.warm:
            self.warm = True
            raise PortalRefusal(NO_CHART, 500)
        symbol = query.details.instrument.symbol
        door = self._session.door
        if symbol in door.settings.no_data or door.state(MarketFaults).no_data:
            raise PortalRefusal(NO_DATA, 500)
        bars = self._bars(query)
        if not bars:
            raise PortalRefusal(NO_DATA, 500)
        return self._answer(query, bars)

    def _delayed(self, details: InstrumentDetails) -> bool:
        return details.instrument.symbol in self._session.door.settings.not_subscribed

    def _bars(self, query: ChartQuery) -> list[Bar]:
        door, con_id = self._session.door, query.details.instrument.con_id or 0
        now = door.now - DELAY if self._delayed(query.details) else door.now
        end = now if query.end is None else min(query.end, now)
        number, unit = query.period.span
        span = span_before(
            door.source, con_id, number, unit, end, intraday=query.size.is_intraday, regular_hours=not query.outside
        )
        try:
            bars = door.source.history(
                con_id,
                query.size,
                query.source,
                start=span.start,
                end=span.end,
                now=now,
                regular_hours=not query.outside,
            )
        except (NoData, InvalidRequest):
            return []
        return bars[-MOST_POINTS:]

    def _answer(self, query: ChartQuery, bars: Sequence[Bar]) -> dict[str, Any]:
        details = query.details
        digits = price_digits(details)
        stock = details.instrument.sec_type is SecType.STOCK
        factor, volume_factor = 10**digits, STOCK_VOLUME_FACTOR if stock else 1
        times = [self._begin(query, bar) for bar in bars]
        points = [_point(bar, at, digits, volume_factor) for bar, at in zip(bars, times, strict=True)]
        highest = max(range(len(bars)), key=lambda at: bars[at].high)
        lowest = min(range(len(bars)), key=lambda at: bars[at].low)
        delayed = self._delayed(details)
        return {
            "serverId": self.next_id(),
            "symbol": details.instrument.symbol,
            "text": details.long_name,
            "priceFactor": factor,
            "startTime": f"{times[0].astimezone(UTC):%Y%m%d-%H:%M:%S}",
            "high": _extreme(points[highest], "h", factor, times[highest] - times[0]),
            "low": _extreme(points[lowest], "l", factor, times[lowest] - times[0]),
            "timePeriod": query.period.text,
            "barLength": query.size.seconds,
            "mdAvailability": "D" if delayed else "S",
            "mktDataDelay": int(DELAY.total_seconds()) // 60 if delayed else 0,
            "outsideRth": query.outside,
            "tradingDayDuration": DAY_MINUTES[venue_of(details.instrument)],
            "volumeFactor": volume_factor,
            "priceDisplayRule": 1,
            "priceDisplayValue": str(digits),
            "negativeCapable": False,
            "messageVersion": 2,
            "data": points,
            "points": len(points),
            "travelTime": 0,
        }

    def _begin(self, query: ChartQuery, bar: Bar) -> datetime:
        """When the bar begins; a bar of a day or more with the session of its first day."""
        if query.size.is_intraday:
            return bar.time
        rows = self._session.door.source.schedule(bar.time.date(), bar.time.date(), regular_hours=not query.outside)
        return rows[0].start if rows else bar.time


def _point(bar: Bar, begin: datetime, digits: int, volume_factor: int) -> dict[str, Any]:
    """Prices in the instrument's currency; v times volumeFactor are shares, 0 where bars have no volume."""
    return {
        "o": round(bar.open, digits + 2),
        "c": round(bar.close, digits + 2),
        "h": round(bar.high, digits + 2),
        "l": round(bar.low, digits + 2),
        "v": (bar.volume or 0.0) / volume_factor,
        "t": int(begin.timestamp() * 1000),
    }


def _extreme(point: dict[str, Any], key: str, factor: int, since: timedelta) -> str:
    """ "65820/26572.9/67": price times priceFactor, the volume of its bar, minutes since the first bar."""
    minutes = int(since.total_seconds()) // 60
    return f"{round(point[key] * factor)}/{point['v']:g}/{minutes}"


def read_source(text: str) -> BarSource:
    """Any case; empty means trades. Raises PortalRefusal."""
    source = SOURCES.get(text.strip().lower() or "trades")
    if source is None:
        raise PortalRefusal(f"Invalid source {text!r}", 500)
    return source
