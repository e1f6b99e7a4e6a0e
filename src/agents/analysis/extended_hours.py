"""Quotes outside regular hours, and gaps: before the open against the previous close, after it against today's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ...brokers.domain.instrument import Symbol
from ...brokers.domain.market_data import DataType, Quote
from ...brokers.domain.sessions import Session
from ...brokers.errors import BrokerError, LinkError, NoData, NotConnected
from .collecting import spelling
from .stream.day_figures import DayFigures, DayReader, load_hours_and_closes
from .stream.detectors import DETECTORS
from .stream.events import StreamEventKind

#: Percent from which a move is a gap.
GAP = DETECTORS[StreamEventKind.GAP].threshold


class QuoteReader(DayReader, Protocol):
    """The verbs of a broker that quotes outside regular hours are read by."""

    async def quotes(self, symbols: Iterable[Symbol]) -> dict[str, Quote]: ...


@dataclass(frozen=True, slots=True)
class ExtendedQuote:
    """A quote with the session of its moment.

    `price` is the last one, held inside a two-sided quote: before the open a last price may be yesterday's. None where
    the broker tells neither. `base` is the close that `gap_pct` (signed percent) is measured from: the previous day's,
    and after hours today's regular close; both None where `missing` says why. `early_close` marks a half day.
    """

    symbol: str
    time: datetime
    session: Session
    price: float | None
    base: float | None
    gap_pct: float | None
    bid: float | None
    ask: float | None
    volume: float | None
    early_close: bool
    age: timedelta
    data_type: DataType
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class GapScan:
    """`found` are the gaps of at least `threshold` percent, the widest first; `quiet` had less. `left_out` tells for
    each other symbol why nothing can be said of it."""

    session: Session
    time: datetime
    threshold: float
    found: tuple[ExtendedQuote, ...]
    quiet: tuple[ExtendedQuote, ...]
    left_out: Mapping[str, str]


async def get_extended_quote(broker: QuoteReader, symbol: str) -> ExtendedQuote:
    """The quote of one symbol with its session and gap. Raises what the broker raises for the symbol, and NoData when
    it left the quote out."""
    name = spelling(symbol)
    found = (await _extended_quotes(broker, [name]))[name]
    if isinstance(found, BrokerError):
        raise found
    return found


async def scan_premarket_gaps(broker: QuoteReader, symbols: Iterable[str], threshold: float = GAP) -> GapScan:
    """Gaps before the open against the previous close, for a list in one round. Raises LinkError."""
    return await _scan(broker, symbols, threshold, Session.PRE)


async def scan_afterhours_gaps(broker: QuoteReader, symbols: Iterable[str], threshold: float = GAP) -> GapScan:
    """Gaps after the close against today's regular close, for a list in one round. Raises LinkError."""
    return await _scan(broker, symbols, threshold, Session.POST)


async def _scan(broker: QuoteReader, symbols: Iterable[str], threshold: float, session: Session) -> GapScan:
    now = await broker.market_time()
    rows: list[ExtendedQuote] = []
    left_out: dict[str, str] = {}
    for name, row in (await _extended_quotes(broker, [spelling(symbol) for symbol in symbols])).items():
        if isinstance(row, BrokerError):
            left_out[name] = str(row)
        elif row.session is not session:
            left_out[name] = f"its session is {row.session}, not {session}"
        elif row.gap_pct is None:
            left_out[name] = row.missing or "no gap is known"
        else:
            rows.append(row)
    rows.sort(key=lambda row: -abs(row.gap_pct or 0.0))
    wide = tuple(row for row in rows if abs(row.gap_pct or 0.0) >= threshold)
    return GapScan(session, now, threshold, wide, tuple(rows[len(wide) :]), left_out)


async def _extended_quotes(broker: QuoteReader, names: list[str]) -> dict[str, ExtendedQuote | BrokerError]:
    names = list(dict.fromkeys(names))
    if not names:
        return {}
    now = await broker.market_time()
    quotes, days = await asyncio.gather(broker.quotes(names), load_hours_and_closes(broker, names, now))
    if not quotes and all(isinstance(day, LinkError) for day in days.values()):
        raise NotConnected("extended quotes", "the broker's link was lost during the round", "try again")
    found: dict[str, ExtendedQuote | BrokerError] = {}
    for name in names:
        day, quote = days[name], quotes.get(name)
        if isinstance(day, BrokerError):
            found[name] = day
        elif quote is None:
            found[name] = NoData(f"quote of {name}", "the broker left it out", "see its quote errors")
        else:
            found[name] = extended_quote(quote, day, now)
    return found


def extended_quote(quote: Quote, day: DayFigures, now: datetime) -> ExtendedQuote:
    """A quote read in the light of its day, at market time `now`."""
    session, price = day.hours.session, held_price(quote)
    base, missing = _base(session, quote, day)
    if price is None:
        missing = "neither a last price nor a two-sided quote"
    gap = None if price is None or base is None or missing is not None else (price / base - 1) * 100
    return ExtendedQuote(
        day.symbol,
        quote.time,
        session,
        price,
        base,
        gap,
        quote.bid,
        quote.ask,
        quote.volume,
        day.hours.day is not None and day.hours.day.early_close,
        quote.age(now),
        quote.data_type,
        missing,
    )


def held_price(quote: Quote) -> float | None:
    """The last price moved to the nearer side of a two-sided quote that it lies outside of; the mid without one."""
    last = quote.last if quote.last is not None and quote.last > 0 else None
    if last is None or not quote.is_two_sided or quote.bid is None or quote.ask is None:
        return quote.mid if last is None else last
    return min(max(last, quote.bid), quote.ask)


def _base(session: Session, quote: Quote, day: DayFigures) -> tuple[float | None, str | None]:
    """(the close that a gap is measured from, why there is none)."""
    if session is Session.UNKNOWN:
        return None, "its session is not known"
    if session is Session.CLOSED:
        return None, "it does not trade now"
    if session is Session.POST:
        # not the quote's own close: that is the day before's until midnight
        return day.regular_close, None if day.regular_close else "today's regular close is not known"
    base = day.previous_close if day.previous_close is not None else quote.close
    return base, None if base else day.missing.get("previous_close", "the previous close is not known")
