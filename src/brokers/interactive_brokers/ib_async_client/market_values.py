"""Bars, quotes and order books out of ib_async's objects. No state, no talk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import cast

from ib_async.objects import BarData, DOMLevel
from ib_async.ticker import Ticker

from ...domain.instrument import Instrument
from ...domain.market_data import Bar, DataType, Depth, DepthLevel, Quote
from ...errors import InvalidData
from ..ib_vocabulary import (
    DATA_TYPES,
    UNSET_DOUBLE,
    UNSET_INTEGER,
    to_halted,
    to_market_price,
    to_market_size,
)


def to_bar(bar: BarData) -> Bar:
    """A bar in aware UTC; `complete` is for whoever knows the time. Raises InvalidData for a price that is none."""
    stamp = bar.date
    time = stamp if isinstance(stamp, datetime) else datetime(stamp.year, stamp.month, stamp.day, tzinfo=UTC)
    opening, high, low, close = (to_market_price(value) for value in (bar.open, bar.high, bar.low, bar.close))
    if opening is None or high is None or low is None or close is None:
        raise InvalidData(f"bar of {time.isoformat()}", f"prices {bar.open} {bar.high} {bar.low} {bar.close}")
    count = to_market_size(bar.barCount)
    return Bar(
        time,
        opening,
        high,
        low,
        close,
        to_market_size(bar.volume),
        to_market_price(bar.average),
        None if count is None else int(count),
    )


class _Draft:
    """A Quote that is being filled in. A frozen dataclass sets each field by a call of its own, which is most of the
    cost of making one; a draft's are plain assignments, and its last is to become a Quote."""

    __slots__ = Quote.__slots__

    instrument: Instrument
    time: datetime
    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    last: float | None
    last_size: float | None
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    halted: bool | None
    data_type: DataType
    source: str
    suspect: str | None
    polled: bool


#: (ticker, instrument, market time, source) -> the quote. `fast_frames.quote_maker` answers one.
QuoteMaker = Callable[[Ticker, Instrument, datetime, str], Quote]


def to_quote(ticker: Ticker, instrument: Instrument, time: datetime, source: str) -> Quote:
    """The ticker's present state; every sentinel is None (fault D06), the data type is what was delivered (D10)."""
    draft = _Draft()
    draft.instrument, draft.time, draft.source = instrument, time, source
    draft.suspect, draft.polled = None, False
    # to_market_price and to_market_size written out: twelve calls would cost more than all the rest
    value = ticker.bid
    draft.bid = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.ask
    draft.ask = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.last
    draft.last = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.open
    draft.open = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.high
    draft.high = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.low
    draft.low = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.close
    draft.close = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.bidSize
    draft.bid_size = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.askSize
    draft.ask_size = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.lastSize
    draft.last_size = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.volume
    draft.volume = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.halted
    # NaN, the only value that differs from itself, is what nearly every ticker has
    draft.halted = to_halted(value) if value == value else None
    draft.data_type = DATA_TYPES.get(ticker.marketDataType, DataType.LIVE)
    draft.__class__ = Quote  # type: ignore[assignment]
    return cast(Quote, draft)


def to_depth(ticker: Ticker, instrument: Instrument, time: datetime, source: str = "") -> Depth:
    return Depth(
        instrument,
        time,
        _levels(ticker.domBids, best_is_high=True),
        _levels(ticker.domAsks, best_is_high=False),
        source,
    )


def _levels(told: Sequence[DOMLevel], *, best_is_high: bool) -> tuple[DepthLevel, ...]:
    """By price: ib_async keeps rows as they came, so that one out of its place would stand before a better one
    (fault D11)."""
    levels = [
        DepthLevel(row.price, row.size, row.marketMaker) for row in told if to_market_price(row.price) is not None
    ]
    levels.sort(key=lambda level: level.price, reverse=best_is_high)
    return tuple(levels)
