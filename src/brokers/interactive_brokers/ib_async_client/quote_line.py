"""One live market-data line over an ib_async Ticker."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ib_async.ticker import Ticker

from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...domain.market_data import DataType, Quote
from ...errors import DeadlineExceeded
from ..ib_quote_line import WaitedLine
from ..ib_vocabulary import DATA_TYPES, to_market_size
from .fast_frames import row_writer
from .index_prints import drop_early_print
from .listener import ErrorMessage
from .market_values import QuoteMaker, to_quote


class Line(WaitedLine):
    """One market-data line; the ticker is replaced with the link, the line stays."""

    __slots__ = ("_made", "_made_of", "_quote_of", "advice", "is_changed", "request_id", "ticker")
    #: It tells something as soon as it is asked for.
    is_rare = False

    def __init__(self, instrument: Instrument, clock: Clock, source: str, quote_of: QuoteMaker = to_quote) -> None:
        super().__init__(instrument, clock.now(), source)
        self._quote_of = quote_of
        self.ticker: Ticker | None = None
        self.request_id = 0
        #: Whether the packet that is being read wrote its bid or ask. The wrapper's to set and clear.
        self.is_changed = False
        #: The last message about this line that did not end it (10197: another session has its data).
        self.advice: ErrorMessage | None = None
        #: The quote as it was made last, which every consumer of one change shares, and what it was made of.
        self._made: Quote | None = None
        self._made_of: tuple[int, Ticker | None, int] = (0, None, 0)

    @property
    def data_type(self) -> DataType:
        code = self.ticker.marketDataType if self.ticker is not None else 1
        return DATA_TYPES.get(code, DataType.LIVE)

    def quote(self) -> Quote:
        ticker = self.ticker
        if ticker is None:
            return Quote(self.instrument, self.time, source=self._source)
        made_of = self.updates, ticker, ticker.marketDataType
        made = self._made
        if made is None or made_of != self._made_of:
            made = self._made = self._quote_of(ticker, self.instrument, self.time, self._source)
            self._made_of = made_of
        return made

    def attach_row(self, cells: Any, updates: Any, changed: Any, row: int) -> None:
        writer = row_writer(cells, updates, changed, row)
        if writer is not None:
            self.detach_rows(cells)
            self.rows = (*self.rows, writer)

    def detach_rows(self, cells: Any) -> None:
        self.rows = tuple(writer for writer in self.rows if writer.table is not cells)

    def shortable(self) -> tuple[float | None, float | None]:
        if self.ticker is None:
            return None, None
        return to_market_size(self.ticker.shortable), to_market_size(self.ticker.shortableShares)

    def _silent(self, deadline: float) -> DeadlineExceeded:
        if self.advice is None:
            return super()._silent(deadline)
        row = self.advice.row
        what, waited = f"first tick of {self.instrument}", timedelta(seconds=deadline)
        return DeadlineExceeded(what, waited, f"{row.meaning}: {row.action}", code=self.advice.code)


class IndexLine(Line):
    """The line of an index: what is printed before its session is no price."""

    __slots__ = ()

    def touch(self, now: float, time: datetime) -> None:
        if self.ticker is not None:
            drop_early_print(self.ticker, self.instrument, time)
        super().touch(now, time)
