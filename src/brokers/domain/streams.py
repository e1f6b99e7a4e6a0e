"""What one consumer of a stream may choose, and what can be told about streams in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from ..errors import InvalidRequest
from .instrument import Instrument
from .market_data import BidAsk, Depth, MarketEvent, Quote, Trade


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How one consumer takes its stream; None is the profile's value (docs/streams.md).

    `conflation` seconds lie at least between two quotes of one symbol; 0 passes every change. `buffer_size` trades and
    other single events may wait, and the oldest gives way. `batch_events` and `batch_seconds` are what `batches()` and
    callbacks end a batch by. A quote whose bid, ask and last all moved less than `min_change_bps` since the last one
    delivered is filtered, and so is a trade below `min_size` shares, and whatever `where` answers False for. `where`
    is called on the event loop and must be quick; an event that it fails on is delivered. `columns` keeps trades in
    numpy arrays for `take_columns` (kind TRADES alone).
    """

    conflation: float | None = None
    buffer_size: int | None = None
    batch_events: int | None = None
    batch_seconds: float | None = None
    min_change_bps: float = 0.0
    min_size: float = 0.0
    where: Callable[[MarketEvent], bool] | None = None
    columns: bool = False

    def __post_init__(self) -> None:
        """Raises InvalidRequest for a number that cannot be."""
        least = {
            "conflation": 0,
            "buffer_size": 1,
            "batch_events": 1,
            "batch_seconds": 0,
            "min_change_bps": 0,
            "min_size": 0,
        }
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and not value >= lowest:
                raise InvalidRequest("stream options", f"{name} is {value}", f"give {lowest} or more")

    @property
    def filters(self) -> bool:
        return self.where is not None or self.min_change_bps > 0 or self.min_size > 0


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """What became of everything that one consumer's stream received, markers Gap and Resumed included.

    `conflated` quotes were replaced by a later one of the same symbol, `filtered` events the consumer did not want,
    `dropped` events fell off a full buffer, `waiting` are not taken yet. Lost is told in addition and counts nowhere.
    """

    received: int = 0
    delivered: int = 0
    conflated: int = 0
    filtered: int = 0
    dropped: int = 0
    waiting: int = 0

    @property
    def unaccounted(self) -> int:
        """0, or the stream has a fault."""
        return self.received - (self.delivered + self.conflated + self.filtered + self.dropped + self.waiting)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the line of an instrument last said, of any age: `age` is market time since its quote changed, None without
    a quote. Parts that never came are None; `bid_ask`, `trade` and `depth` come only while somebody streams them."""

    instrument: Instrument
    quote: Quote | None = None
    age: timedelta | None = None
    trade: Trade | None = None
    bid_ask: BidAsk | None = None
    depth: Depth | None = None

    @property
    def is_delayed(self) -> bool:
        return self.quote is not None and self.quote.is_delayed


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """One consumer. `high_water` is the most that ever waited for it at once, `failures` how often its handler or its
    `where` raised."""

    symbols: int
    kinds: tuple[str, ...]
    counts: StreamCounts
    buffer_size: int
    high_water: int
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """Events of one kind as the broker sent them, whoever wants them: in total, and per second over the window."""

    total: int
    per_second: float


@dataclass(frozen=True, slots=True)
class BrokerStatistics:
    """`rates` by kind over the last `window` seconds; `counts` over all consumers, ended ones included; `streams` are
    the open ones; `latency` as `latency_report` gives it, milliseconds."""

    at: datetime
    window: float
    rates: Mapping[str, Rate]
    counts: StreamCounts
    streams: tuple[StreamStatistics, ...]
    failures: int
    latency: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Plain values that `json.dumps` takes; the time as ISO text in UTC."""
        return {**asdict(self), "at": self.at.isoformat()}
