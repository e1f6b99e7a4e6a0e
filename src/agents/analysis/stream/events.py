"""What a stream of quotes can tell an agent: a typed event, or that some were lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ....brokers.domain.market_data import DataType
from ....brokers.domain.sessions import Session


class StreamEventKind(StrEnum):
    VOLUME_SPIKE = "VOLUME_SPIKE"
    PRICE_SURGE = "PRICE_SURGE"
    SPREAD_TIGHTENING = "SPREAD_TIGHTENING"
    NEW_HIGH = "NEW_HIGH"
    GAP = "GAP"
    VOLATILITY_SURGE = "VOLATILITY_SURGE"


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something out of the ordinary in one symbol at `time` (market time of the quote, aware UTC).

    `value` and `threshold` are in the unit of the kind's row in `detectors.DETECTORS`; percentages carry their sign.
    `data_type` is that of the quote: an event of delayed data is as late as they are.
    """

    kind: StreamEventKind
    symbol: str
    time: datetime
    value: float
    threshold: float
    detail: str
    session: Session = Session.UNKNOWN
    data_type: DataType = DataType.LIVE


@dataclass(frozen=True, slots=True)
class EventsLost:
    """This agent was too slow: `count` events, the oldest of its queue, fell off since `since` (market time)."""

    agent: str
    count: int
    since: datetime
