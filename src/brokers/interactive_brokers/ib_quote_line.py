"""What a market-data line of either door is: who uses it, when it last changed, and who waits for its first price."""

from __future__ import annotations

import abc
import asyncio
from datetime import datetime, timedelta
from typing import Any

from ..domain.instrument import Instrument
from ..domain.market_data import Quote
from ..errors import DeadlineExceeded


class WaitedLine(abc.ABC):
    """Base of both doors' lines (a QuoteLine). It survives links and sessions."""

    __slots__ = (
        "_source",
        "_waiters",
        "error",
        "instrument",
        "is_row_current",
        "last_update",
        "rows",
        "time",
        "updates",
        "users",
    )

    def __init__(self, instrument: Instrument, time: datetime, source: str) -> None:
        self.instrument = instrument
        self.users = 0
        self.updates = 0
        self.last_update: float | None = None
        #: Market time of the last update.
        self.time = time
        self.error: Exception | None = None
        #: What the compiled reader writes in tables of quotes, and whether it did for the present packet.
        self.rows: tuple[Any, ...] = ()
        self.is_row_current = False
        self._source = source
        self._waiters: list[asyncio.Future[None]] = []

    @abc.abstractmethod
    def quote(self) -> Quote: ...

    @property
    def has_price(self) -> bool:
        """Whether a two-sided quote or a last price is there."""
        if self.last_update is None:
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
        return DeadlineExceeded(what, waited, "the market may be closed")

    def attach_row(self, cells: Any, updates: Any, changed: Any, row: int) -> None:
        """Have a row of a `QuoteTable` written by the reader itself; for doors whose reader cannot, nothing to do."""
        return

    def detach_rows(self, cells: Any) -> None:
        """Have no row of that table written any more."""
        return

    def touch(self, now: float, time: datetime) -> None:
        """A value is new: `now` is monotonic, `time` market time."""
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
