"""A market that walks by seed: three stocks, a step each second or so, thin enough that orders fill in parts."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.instrument import InstrumentDetails
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource
from moondev_ibkr.brokers.simulation.contracts import ContractBook, stock
from moondev_ibkr.brokers.simulation.history import ScheduleRow, schedule
from moondev_ibkr.brokers.simulation.market import PriceStep, TickKind

#: A Wednesday, 10:30 in New York.
START = datetime(2026, 4, 15, 14, 30, tzinfo=UTC)
PRICES = {"AAPL": 25_000, "MSFT": 37_000, "KO": 7_000}
CENT = Decimal("0.01")


class WalkingPrices:
    """A MarketSource. Prices in cents; sizes 100 to 600 shares; now and then a jump of half a per cent."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.start = START
        self.end: datetime | None = None
        self.calendar = calendar_for()
        self._details = tuple(stock(symbol) for symbol in PRICES)
        self.contracts = ContractBook(self._details)

    def catalogue(self) -> Sequence[InstrumentDetails]:
        return self._details

    def steps(self) -> Iterator[PriceStep]:
        return heapq.merge(*(self._walk(details) for details in self._details), key=lambda step: step.time)

    def _walk(self, details: InstrumentDetails) -> Iterator[PriceStep]:
        symbol = details.instrument.symbol
        random = Random(f"{self._seed} {symbol}")
        moment, price = START, PRICES[symbol]
        while True:
            bid, ask = price - random.randint(1, 2), price + random.randint(1, 2)
            sizes = [Decimal(100 * random.randint(1, 6)) for _ in range(3)]
            yield PriceStep(
                moment, details.instrument.con_id or 0, bid * CENT, ask * CENT, *sizes[:2], price * CENT, sizes[2]
            )
            moment += timedelta(milliseconds=random.randint(400, 1_600))
            price += random.randint(-price // 200, price // 200) if random.random() < 0.03 else random.randint(-3, 3)

    def schedule(self, start: date, end: date, *, regular_hours: bool = True) -> Sequence[ScheduleRow]:
        return schedule(self.calendar, start, end, regular_hours=regular_hours)

    def history(
        self,
        con_id: int,
        size: BarSize,
        source: BarSource,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        regular_hours: bool = True,
    ) -> list[Bar]:
        """Yesterday, so that there is a close."""
        price = next(PRICES[row.instrument.symbol] for row in self._details if row.instrument.con_id == con_id) / 100
        bar = Bar(datetime(2026, 4, 14, tzinfo=UTC), price, price, price, price, 1_000)
        return [bar] if size is BarSize.D1 and start <= bar.time < end else []

    def ticks(self, con_id: int, kind: TickKind, **query: object) -> list[PriceStep]:
        return []

    def head_timestamp(self, con_id: int) -> datetime | None:
        return START - timedelta(days=1)
