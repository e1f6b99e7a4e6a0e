"""A second opinion on prices: a quote that another source contradicts is marked suspect."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Protocol

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.market_data import Quote
from ..errors import BrokerError

logger = logging.getLogger(__name__)


class QuoteSource(Protocol):
    """Another opinion on a price; no broker's word in it."""

    name: str

    async def price(self, instrument: Instrument) -> float | None:
        """The last known price, None when it has none. May raise BrokerError."""
        ...


@dataclass(frozen=True, slots=True)
class _Opinion:
    price: float | None
    told_at: float


class SecondOpinion:
    """Asks `source` (None: nobody) at most once in `life` seconds a contract, and waits `deadline` seconds for it.

    A source that is silent or has no price contradicts nothing. `tolerance_bps`: how far apart two prices may be.
    """

    def __init__(
        self, source: QuoteSource | None, clock: Clock, *, deadline: float, life: float, tolerance_bps: float
    ) -> None:
        self._source = source
        self._clock = clock
        self._deadline = deadline
        self._life = life
        self._tolerance = tolerance_bps
        self._opinions: dict[int, _Opinion] = {}

    async def ask(self, instrument: Instrument) -> None:
        """Bring the opinion on this contract up to date."""
        source = self._source
        if source is None:
            return
        number = instrument.con_id or 0
        held = self._opinions.get(number)
        if held is not None and self._clock.monotonic() - held.told_at < self._life:
            return
        try:
            async with asyncio.timeout(self._deadline):
                price = await source.price(instrument)
        except (TimeoutError, BrokerError) as error:
            logger.info("second source %s has no price of %s: %s", source.name, instrument, error)
            price = None
        self._opinions[number] = _Opinion(price, self._clock.monotonic())

    def mark(self, quote: Quote) -> Quote:
        """The quote, `suspect` when the opinion held contradicts it. Asks nobody."""
        if self._source is None:
            return quote
        held = self._opinions.get(quote.instrument.con_id or 0)
        ours = quote.mid or quote.last or quote.close
        if held is None or held.price is None or ours is None or held.price <= 0:
            return quote
        if self._clock.monotonic() - held.told_at > self._life:
            return quote
        apart = abs(ours - held.price) / held.price * 10_000
        if apart <= self._tolerance:
            return quote
        return replace(quote, suspect=f"{self._source.name} says {held.price:g}, {apart:.0f} bps away")
