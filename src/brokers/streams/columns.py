"""Trades as columns: written into numpy arrays made beforehand, and read many at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..domain.market_data import Trade
from ..errors import UsageError
from .market_stream import MarketStream, PlainEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Trades in order, one place of each array per trade: `time` (UTC, datetime64 of microseconds), `number` (contract
    number; `names` has its symbol), `price` and `size`. `lost` fell off the buffer before the first of them."""

    names: dict[int, str]
    time: NDArray[np.datetime64]
    number: NDArray[np.int64]
    price: NDArray[np.float64]
    size: NDArray[np.float64]
    lost: int = 0

    def __len__(self) -> int:
        return len(self.price)


class ColumnStream(MarketStream):
    """A stream whose trades are taken by `take_columns` alone; the iterator has Gap and Resumed. Where the arrays are
    full the oldest trade gives way and is counted in `lost`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        size = self.settings.buffer_size
        self._columns: tuple[NDArray[Any], ...] = tuple(np.empty(size, kind) for kind in ("i8", "i8", "f8", "f8"))
        # writing one value through a memoryview costs half of what it costs through the array
        views: list[Any] = [column.data for column in self._columns]
        self._times, self._numbers, self._prices, self._sizes = views
        self._written = self._read = 0
        self._lost_rows = 0

    def offer(self, event: PlainEvent) -> None:
        if not isinstance(event, Trade):
            raise UsageError("a stream of columns", f"a {type(event).__name__} has none", "stream TRADES alone")
        self._received += 1
        if self._filter is not None and not self._filter.wants(event):
            self._filtered += 1
            return
        written, size = self._written, self.settings.buffer_size
        place = written % size
        self._times[place] = (event.time - _EPOCH) // _MICROSECOND
        self._numbers[place] = event.instrument.con_id or 0
        self._prices[place] = event.price
        self._sizes[place] = event.size
        self._written = written + 1
        if self._written - self._read > size:
            self._read += 1
            self._dropped += 1
            self._lost_rows += 1

    def take_columns(self) -> TradeColumns:
        """Every trade that waits, as arrays of the caller's own."""
        first, last, size = self._read, self._written, self.settings.buffer_size
        self._high_water = max(self._high_water, last - first)
        begin, end = first % size, (last - 1) % size + 1
        if first == last:
            taken = [column[:0].copy() for column in self._columns]
        elif begin < end:
            taken = [column[begin:end].copy() for column in self._columns]
        else:
            taken = [np.concatenate((column[begin:], column[:end])) for column in self._columns]
        self._read = last
        self._delivered += last - first
        lost, self._lost_rows = self._lost_rows, 0
        time, number, price, quantity = taken
        return TradeColumns(self.names, time.view("datetime64[us]"), number, price, quantity, lost)

    @property
    def waiting(self) -> int:
        return super().waiting + self._written - self._read
