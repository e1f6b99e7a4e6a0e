"""What analysis may ask of a broker: to look, and nothing else. Every broker fits it; none of its verbs can trade."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from ...brokers.domain.account import AccountSummary, PnL, Position
from ...brokers.domain.fundamentals import Fundamentals
from ...brokers.domain.instrument import Instrument, InstrumentDetails
from ...brokers.domain.market_data import Bar, BarSize, BarSource, Quote
from ...brokers.domain.news import Headline
from ...brokers.domain.options import OptionActivity, OptionChain, OptionQuote
from ...brokers.errors import BrokerError


class MarketReader(Protocol):
    """The reading verbs of `BaseBroker`, with the same meaning and the same errors."""

    async def market_time(self) -> datetime: ...

    async def details(self, symbol: str | Instrument) -> InstrumentDetails: ...

    async def quotes(self, symbols: Iterable[str | Instrument]) -> dict[str, Quote]: ...

    async def many_bars(
        self,
        symbols: Iterable[str | Instrument],
        size: BarSize = BarSize.D1,
        *,
        count: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
    ) -> dict[str, list[Bar] | BrokerError]: ...

    async def option_activity(self, symbols: Iterable[str | Instrument]) -> dict[str, OptionActivity | BrokerError]: ...

    async def option_chain(self, symbol: str | Instrument) -> list[OptionChain]: ...

    async def option_quotes(self, options: Iterable[Instrument]) -> dict[Instrument, OptionQuote | BrokerError]: ...

    async def headlines(
        self,
        symbol: str | Instrument,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        count: int = 50,
        providers: Iterable[str] = (),
    ) -> list[Headline]: ...

    async def fundamentals(self, symbol: str | Instrument) -> Fundamentals: ...

    async def positions(self, account: str | None = None) -> list[Position]: ...

    async def account(self, account: str | None = None) -> AccountSummary: ...

    async def pnl(self, account: str | None = None, symbol: str | Instrument | None = None) -> PnL: ...
