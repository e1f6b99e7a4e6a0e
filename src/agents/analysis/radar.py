"""The radar: which of a list trade unusually much, have gapped, or range unusually wide, in one batched round."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ...brokers.domain.market_data import BarSize, Quote
from ...brokers.domain.sessions import Session
from ...brokers.errors import BrokerError
from .collecting import spelling
from .extended_hours import ExtendedQuote, QuoteReader, extended_quote
from .stream.day_figures import DayFigures, load_days
from .stream.detectors import DETECTORS, MICROSECOND, DetectorRow
from .stream.events import StreamEvent, StreamEventKind

#: Bars of the usual volume. IB gives a month of these in one request, so that a long list stays within its pacing; a
#: minute inside of one is read on a straight line.
RADAR_BARS = BarSize.M30
MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class RadarRow:
    """One symbol's measures at `quote.time`.

    `rvol` is times the usual volume by now, `range_atr` the session's range in ATR14, the gap signed percent. What is
    None has its reason in `missing`. `events` are the measures beyond the table's thresholds.
    """

    symbol: str
    quote: ExtendedQuote
    rvol: float | None
    range_atr: float | None
    events: tuple[StreamEvent, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def gap_pct(self) -> float | None:
        return self.quote.gap_pct


@dataclass(frozen=True, slots=True)
class RadarReport:
    """`rows` hold those with most events first, then by volume; `left_out` tells why the others are not here."""

    time: datetime
    rows: tuple[RadarRow, ...]
    left_out: Mapping[str, str]


async def run_ibkr_radar(
    broker: QuoteReader,
    symbols: Iterable[str],
    *,
    table: Mapping[StreamEventKind, DetectorRow] = DETECTORS,
    volume_bars: BarSize = RADAR_BARS,
) -> RadarReport:
    """Look once at a list: quotes, daily bars and bars of the day in one round each. Raises LinkError."""
    names = list(dict.fromkeys(spelling(symbol) for symbol in symbols))
    now = await broker.market_time()
    quotes, days = await asyncio.gather(broker.quotes(names), load_days(broker, names, volume_bars, at=now))
    rows: list[RadarRow] = []
    left_out: dict[str, str] = {}
    for name in names:
        day, quote = days[name], quotes.get(name)
        if isinstance(day, BrokerError):
            left_out[name] = str(day)
        elif quote is None:
            left_out[name] = "the broker left its quote out"
        else:
            rows.append(radar_row(quote, day, now, table))
    rows.sort(key=lambda row: (-len(row.events), -(row.rvol or 0.0), row.symbol))
    return RadarReport(now, tuple(rows), left_out)


def radar_row(
    quote: Quote, day: DayFigures, now: datetime, table: Mapping[StreamEventKind, DetectorRow] = DETECTORS
) -> RadarRow:
    """The measures of one symbol, by the definitions of the stream's detectors."""
    seen = extended_quote(quote, day, now)
    missing: dict[str, str] = {} if seen.missing is None else {"gap": seen.missing}
    rvol, why = relative_volume(day, now, table[StreamEventKind.VOLUME_SPIKE])
    missing |= {} if why is None else {"rvol": why}
    wide, why = range_in_atr(quote, day)
    missing |= {} if why is None else {"range_atr": why}
    events = []
    measured = (
        (StreamEventKind.VOLUME_SPIKE, rvol, f"{day.traded:,.0f} shares since the open"),
        (StreamEventKind.GAP, seen.gap_pct, f"{seen.price} against {seen.base}"),
        (StreamEventKind.VOLATILITY_SURGE, wide, f"range {quote.low} to {quote.high}, ATR14 {day.atr}"),
    )
    for kind, value, detail in measured:
        row = table[kind]
        if value is None or seen.session not in row.sessions:
            continue
        beyond = abs(value) >= row.threshold if kind is StreamEventKind.GAP else value > row.threshold
        if beyond:
            events.append(
                StreamEvent(kind, day.symbol, quote.time, value, row.threshold, detail, seen.session, quote.data_type)
            )
    return RadarRow(day.symbol, seen, rvol, wide, tuple(events), missing)


def relative_volume(day: DayFigures, now: datetime, row: DetectorRow) -> tuple[float | None, str | None]:
    """(today's volume since the open in times of the usual by now, why there is none). Both are volumes of bars."""
    hours = day.hours.day
    if day.hours.session is not Session.REGULAR or hours is None:
        return None, f"its session is {day.hours.session}"
    if (now - hours.open) // MICROSECOND < row.warm_up // MICROSECOND:
        return None, "the session has only just begun"
    usual = day.usual_volume(int((now - hours.open).total_seconds()) // MINUTE_SECONDS)
    if usual is None:
        return None, day.missing.get("usual", "usually nothing has traded by now")
    return day.traded / usual, None


def range_in_atr(quote: Quote, day: DayFigures) -> tuple[float | None, str | None]:
    """(the regular session's range in ATR14 of the days before, why there is none)."""
    if day.hours.session is not Session.REGULAR:
        return None, f"its session is {day.hours.session}"
    if day.atr is None:
        return None, day.missing.get("atr", "ATR14 is not known")
    if quote.high is None or quote.low is None:
        return None, "the quote has no high and low"
    return (quote.high - quote.low) / day.atr, None
