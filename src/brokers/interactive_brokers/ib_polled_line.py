"""A quote line without a market-data line: its value is asked for now and then."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from ..domain.instrument import Instrument
from ..domain.market_data import DataType, Quote
from ..errors import DeadlineExceeded
from .ib_quote_line import WaitedLine


class PolledLine(WaitedLine):
    """The last snapshot of one contract (a QuoteLine). `error` is why the last one could not be had, None when it
    could."""

    __slots__ = ("_next", "_quote")

    def __init__(self, instrument: Instrument, time: datetime, source: str) -> None:
        super().__init__(instrument, time, source)
        self._quote = Quote(instrument, time, source=source, polled=True)
        self._next: list[asyncio.Future[None]] = []

    def quote(self) -> Quote:
        return self._quote

    @property
    def data_type(self) -> DataType:
        return self._quote.data_type

    def shortable(self) -> tuple[float | None, float | None]:
        """Snapshots do not tell."""
        return None, None

    def begin(self, quote: Quote, last_update: float | None) -> None:
        """What its market-data line said last."""
        self._quote = replace(quote, polled=True)
        self.last_update, self.time = last_update, quote.time

    def tell(self, quote: Quote, now: float) -> bool:
        """A snapshot came, at `now` (monotonic): whether it differs from the one before."""
        before, self._quote, self.error = self._quote, replace(quote, polled=True), None
        self.touch(now, quote.time)
        self._answer()
        return _values(before) != _values(quote)

    def failed(self, error: Exception | None) -> None:
        """A snapshot could not be had: whoever waits for it gets the error."""
        self.error = error
        self.wake()
        self._answer()

    def _answer(self) -> None:
        waiting, self._next = self._next, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def next(self, deadline: float) -> Quote:
        """The next snapshot. Raises what it failed with, or DeadlineExceeded."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next.append(answer)
        try:
            async with asyncio.timeout(deadline):
                await answer
        except TimeoutError:
            what, waited = f"snapshot of {self.instrument}", timedelta(seconds=deadline)
            raise DeadlineExceeded(what, waited, "the lines for snapshots are busy; ask for less at once") from None
        if self.error is not None:
            raise self.error
        return self._quote


def _values(quote: Quote) -> tuple[float | None, ...]:
    return quote.bid, quote.ask, quote.bid_size, quote.ask_size, quote.last, quote.volume
