"""What one consumer does not want of its stream."""

from __future__ import annotations

import logging

from ..domain.market_data import MarketEvent, Quote, Trade
from ..domain.streams import StreamOptions

log = logging.getLogger(__name__)
_Prices = tuple[float | None, float | None, float | None]


class EventFilter:
    """Tells whether an event is wanted. `failures` counts exceptions of `where`, after which the event is wanted."""

    def __init__(self, options: StreamOptions) -> None:
        self._where = options.where
        self._least_size = options.min_size
        self._least_change = options.min_change_bps / 10_000
        #: Contract number -> bid, ask and last of the quote that was last wanted.
        self._prices: dict[int, _Prices] = {}
        self.failures = 0

    def wants(self, event: MarketEvent) -> bool:
        if isinstance(event, Trade) and event.size < self._least_size:
            return False
        if self._where is not None:
            try:
                if not self._where(event):
                    return False
            except Exception:  # the consumer's own code, which must not end everybody's data
                if not self.failures:
                    log.exception("a stream's filter failed on %s; such events are delivered", type(event).__name__)
                self.failures += 1
        return not (self._least_change and isinstance(event, Quote) and self._is_still(event))

    def _is_still(self, quote: Quote) -> bool:
        """Whether no price moved far enough; the prices of a quote that is wanted are kept."""
        number, prices = quote.instrument.con_id or 0, (quote.bid, quote.ask, quote.last)
        before = self._prices.get(number)
        if before is not None and not any(map(self._moved, before, prices)):
            return True
        self._prices[number] = prices
        return False

    def _moved(self, before: float | None, now: float | None) -> bool:
        if before is None or now is None:
            return before is not now
        return abs(now - before) >= self._least_change * abs(before)
