"""One live market-data line over an ib_async Ticker."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from ib_async.ticker import Ticker

from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...domain.market_data import DataType, Quote
from ...errors import DeadlineExceeded
from ..ib_vocabulary import DATA_TYPES, to_market_size
from .listener import ErrorMessage
from .translate import to_quote


class Line:
    """One market-data line (a QuoteLine). It survives links: the ticker is replaced, the line stays."""

    __slots__ = (
        "_clock",
        "_source",
        "_waiters",
        "advice",
        "error",
        "instrument",
        "is_changed",
        "last_update",
        "request_id",
        "ticker",
        "time",
        "updates",
        "users",
    )

    def __init__(self, instrument: Instrument, clock: Clock, source: str) -> None:
        self.instrument = instrument
        self.ticker: Ticker | None = None
        self.request_id = 0
        #: Whether the packet that is being read wrote its bid or ask. The wrapper's to set and clear.
        self.is_changed = False
        self.users = 0
        self.updates = 0
        self.last_update: float | None = None
        #: Market time of the last update.
        self.time = clock.now()
        self.error: Exception | None = None
        #: The last message about this line that did not end it (10197: another session has its data).
        self.advice: ErrorMessage | None = None
        self._clock = clock
        self._source = source
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def data_type(self) -> DataType:
        code = self.ticker.marketDataType if self.ticker is not None else 1
        return DATA_TYPES.get(code, DataType.LIVE)

    def quote(self) -> Quote:
        if self.ticker is None:
            return Quote(self.instrument, self.time, source=self._source)
        return to_quote(self.ticker, self.instrument, self.time, self._source)

    def shortable(self) -> tuple[float | None, float | None]:
        if self.ticker is None:
            return None, None
        return to_market_size(self.ticker.shortable), to_market_size(self.ticker.shortableShares)

    @property
    def has_price(self) -> bool:
        """Whether a two-sided quote or a last price is there."""
        if self.ticker is None or self.last_update is None:
            return False
        quote = self.quote()
        return quote.last is not None or (quote.bid is not None and quote.ask is not None)

    async def first(self, deadline: float) -> Quote:
        if self.error is None and not self.has_price:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout(deadline):
                    await waiter
            except TimeoutError:
                if self.last_update is None:
                    raise self._silent(deadline) from None
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if self.error is not None:
            raise self.error
        return self.quote()

    def _silent(self, deadline: float) -> DeadlineExceeded:
        what, waited = f"first tick of {self.instrument}", timedelta(seconds=deadline)
        if self.advice is None:
            return DeadlineExceeded(what, waited, "the market may be closed")
        row = self.advice.row
        return DeadlineExceeded(what, waited, f"{row.meaning}: {row.action}", code=self.advice.code)

    def touch(self, now: float, time: datetime) -> None:
        self.updates += 1
        self.last_update = now
        self.time = time
        if self._waiters and self.has_price:
            self.wake()

    def wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.wake()
