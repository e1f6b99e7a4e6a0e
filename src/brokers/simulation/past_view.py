"""One instrument's market as it was at an earlier moment: what a delayed line shows."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from ..domain.instrument import InstrumentDetails, Rounding
from ..domain.market_data import Bar, BarSize, BarSource
from ..errors import BrokerError
from .hours import trade_date
from .market import PriceStep, TickKind
from .market_source import MarketSource
from .models import MarketView

#: How far back the close of the day before is looked for.
_LOOKBACK = timedelta(days=14)
#: Ticks of one kind that are read at a time.
_MOST_CHANGES = 10_000


def past_view(source: MarketSource, details: InstrumentDetails, moment: datetime) -> MarketView:
    """Nothing in it is younger than `moment`; what the source has not kept is None."""
    con_id = details.instrument.con_id or 0
    quote = _last_tick(source, con_id, TickKind.BID_ASK, moment)
    trade = _last_tick(source, con_id, TickKind.TRADES, moment)
    today, before = _days(source, con_id, moment)
    return MarketView(
        con_id=con_id,
        time=quote.time if quote else None,
        bid=quote.bid if quote else None,
        ask=quote.ask if quote else None,
        bid_size=quote.bid_size if quote else None,
        ask_size=quote.ask_size if quote else None,
        last=trade.last if trade else None,
        last_size=trade.last_size if trade else None,
        last_time=trade.time if trade else None,
        open=_price(details, today.open if today else None),
        high=_price(details, today.high if today else None),
        low=_price(details, today.low if today else None),
        close=_price(details, before.close if before else None),
        volume=Decimal(str(today.volume or 0)) if today else Decimal(0),
        halted=bool(quote and quote.halted),
    )


def past_changes(source: MarketSource, con_id: int, since: datetime, until: datetime) -> list[datetime]:
    """When quote or trade moved after `since`, up to `until`, ascending; the last of them where there are very many."""
    moments: set[datetime] = set()
    for kind in (TickKind.BID_ASK, TickKind.TRADES):
        try:
            rows = source.ticks(con_id, kind, end=until, now=until, number=_MOST_CHANGES, regular_hours=False)
        except BrokerError:
            continue
        moments.update(row.time for row in rows if row.time > since)
    return sorted(moments)


def _last_tick(source: MarketSource, con_id: int, kind: TickKind, moment: datetime) -> PriceStep | None:
    try:
        rows = source.ticks(con_id, kind, end=moment, now=moment, number=1, regular_hours=False)
    except BrokerError:
        return None
    return rows[-1] if rows else None


def _days(source: MarketSource, con_id: int, moment: datetime) -> tuple[Bar | None, Bar | None]:
    """The day of `moment` as it stood then (None before its first print), and the day before it."""
    start = moment - _LOOKBACK
    try:
        bars = source.history(con_id, BarSize.D1, BarSource.TRADES, start=start, end=moment, now=moment)
    except BrokerError:
        return None, None
    today = bars[-1] if bars and bars[-1].time.date() == trade_date(moment) else None
    earlier = [bar for bar in bars if bar is not today and bar.complete]
    return today, earlier[-1] if earlier else None


def _price(details: InstrumentDetails, price: float | None) -> Decimal | None:
    return None if price is None else details.round_price(Decimal(str(price)), Rounding.NEAREST)
