"""What a market has behind it when market time begins: the close before, and what today has printed so far."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from ..domain.instrument import Rounding
from ..domain.market_data import BarSize, BarSource
from ..errors import NoData
from .hours import midnight_after
from .market import PriceSource, TickKind
from .market_state import MarketState

#: How far back the previous close is looked for.
_CLOSE_LOOKBACK = timedelta(days=14)
#: Prints read at a time.
_PAGE = 100_000


def recall(market: MarketState, prices: PriceSource, now: datetime) -> None:
    """Give `market` what a client that joins at `now` finds: the close before, and today's figures before `now`."""
    today = midnight_after(now) - timedelta(days=1)
    market.close = _previous_close(market, prices, today, now)
    until = now - timedelta(microseconds=1)  # what prints at `now` is the first step
    if until < today:
        return
    for step in prices.ticks(
        market.con_id, TickKind.TRADES, start=today, end=until, now=now, number=_PAGE, regular_hours=False
    ):
        market.recall(step)


def _previous_close(market: MarketState, prices: PriceSource, today: datetime, now: datetime) -> Decimal | None:
    try:
        bars = prices.history(
            market.con_id, BarSize.D1, BarSource.TRADES, start=now - _CLOSE_LOOKBACK, end=today, now=now
        )
    except NoData:
        return None
    closed = [bar.close for bar in bars if bar.complete]
    return market.details.round_price(Decimal(str(closed[-1])), Rounding.NEAREST) if closed else None
