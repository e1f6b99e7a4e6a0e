"""Questions about the market, for every transport with others behind it: each goes to whichever should answer it."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from ..domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from ..domain.market_data import Bar, BarSource, Quote, Trade
from ..domain.news import Article, Headline, NewsProvider
from ..domain.options import OptionActivity, OptionChain, OptionQuote
from ..domain.scan import ScanParameters, ScanRequest
from .ib_transport import BarRequest, IbTransport, ScheduledSession, SymbolMatch

Answer = TypeVar("Answer")


class QuestionHalf(abc.ABC):
    """Every question of an IbTransport, by `_read`."""

    @abc.abstractmethod
    async def _read(self, ask: Callable[[IbTransport], Awaitable[Answer]]) -> Answer:
        """Ask one of the transports behind this one, and another where that one cannot answer."""

    async def contract_details(self, instrument: Instrument) -> Sequence[InstrumentDetails]:
        return await self._read(lambda door: door.contract_details(instrument))

    async def market_rule(self, rule_id: int) -> tuple[PriceIncrement, ...]:
        return await self._read(lambda door: door.market_rule(rule_id))

    async def matching_symbols(self, pattern: str) -> Sequence[SymbolMatch]:
        return await self._read(lambda door: door.matching_symbols(pattern))

    async def option_chains(self, underlying: Instrument) -> Sequence[OptionChain]:
        return await self._read(lambda door: door.option_chains(underlying))

    async def option_quote(self, option: Instrument, deadline: float) -> OptionQuote:
        return await self._read(lambda door: door.option_quote(option, deadline))

    async def option_activity(self, underlying: Instrument, deadline: float) -> OptionActivity:
        return await self._read(lambda door: door.option_activity(underlying, deadline))

    async def news_providers(self) -> Sequence[NewsProvider]:
        return await self._read(lambda door: door.news_providers())

    async def headlines(
        self,
        instrument: Instrument,
        providers: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        count: int,
    ) -> Sequence[Headline]:
        return await self._read(lambda door: door.headlines(instrument, providers, start, end, count))

    async def article(self, provider: str, article_id: str) -> Article:
        return await self._read(lambda door: door.article(provider, article_id))

    async def scan(self, request: ScanRequest) -> Sequence[Instrument]:
        return await self._read(lambda door: door.scan(request))

    async def scan_parameters(self) -> ScanParameters:
        return await self._read(lambda door: door.scan_parameters())

    async def fundamental_report(self, instrument: Instrument, report: str) -> str:
        return await self._read(lambda door: door.fundamental_report(instrument, report))

    async def snapshot(self, instrument: Instrument, deadline: float) -> Quote:
        return await self._read(lambda door: door.snapshot(instrument, deadline))

    async def historical_bars(self, request: BarRequest) -> list[Bar]:
        return await self._read(lambda door: door.historical_bars(request))

    async def head_timestamp(self, instrument: Instrument, source: BarSource, regular_hours: bool) -> datetime:
        return await self._read(lambda door: door.head_timestamp(instrument, source, regular_hours))

    async def schedule(self, instrument: Instrument, days: int, end: datetime | None) -> list[ScheduledSession]:
        return await self._read(lambda door: door.schedule(instrument, days, end))

    async def historical_ticks(
        self, instrument: Instrument, start: datetime | None, end: datetime | None, count: int, regular_hours: bool
    ) -> list[Trade]:
        return await self._read(lambda door: door.historical_ticks(instrument, start, end, count, regular_hours))
