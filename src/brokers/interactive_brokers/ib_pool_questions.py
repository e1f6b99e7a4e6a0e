"""The half of a pool that is spread: questions about the market, each at the gateway that should get the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from ..domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from ..domain.market_data import Bar, BarSource, Quote, Trade
from ..domain.news import Article, Headline, NewsProvider
from ..domain.options import OptionActivity, OptionChain, OptionQuote
from ..domain.scan import ScanParameters, ScanRequest
from ..errors import BrokerError, LinkError, NoPermission, NotSupported
from .ib_pool_lines import PoolLines
from .ib_pool_member import PoolMember
from .ib_shared_lines import SharedLine
from .ib_transport import BarListener, BarRequest, IbTransport, ScheduledSession, SymbolMatch

_Answer = TypeVar("_Answer")
#: Refusals for a gateway's own reasons: another user, or another kind of gateway, may have the answer.
ELSEWHERE = (LinkError, NoPermission, NotSupported)


class QuestionHalf:
    """Market data over `candidates`: those who may be asked now, the best first, and never none."""

    lines: PoolLines

    def candidates(self, is_line: bool = False) -> Sequence[PoolMember]:
        raise NotImplementedError

    async def _read(self, ask: Callable[[IbTransport], Awaitable[_Answer]]) -> _Answer:
        """One question; at another gateway, once each, when one is lost meanwhile or may not answer. The first refusal
        is raised when none does."""
        asked: list[PoolMember] = []
        refusal: BrokerError | None = None
        while True:
            left = [member for member in self.candidates() if member not in asked and (member.is_ready or not asked)]
            if not left:
                assert refusal is not None  # there always is a first candidate, and it refused
                raise refusal
            asked.append(left[0])
            try:
                return await left[0].ask(ask)
            except ELSEWHERE as error:
                refusal = refusal or error

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

    # Quotes and streams

    def subscribe_quotes(self, instrument: Instrument) -> SharedLine:
        return self.lines.subscribe(instrument)

    def unsubscribe_quotes(self, instrument: Instrument) -> None:
        self.lines.unsubscribe(instrument)

    async def snapshot(self, instrument: Instrument, deadline: float) -> Quote:
        return await self._read(lambda door: door.snapshot(instrument, deadline))

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        return self.lines.open_stream(instrument, lambda door: door.subscribe_ticks(instrument, kind))

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        return self.lines.open_stream(instrument, lambda door: door.subscribe_depth(instrument, rows))

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        return self.lines.open_stream(instrument, lambda door: door.subscribe_news(instrument, providers))

    def unsubscribe(self, handle: int) -> None:
        self.lines.close(handle)

    # History

    async def historical_bars(self, request: BarRequest) -> list[Bar]:
        return await self._read(lambda door: door.historical_bars(request))

    async def live_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        return await self.lines.open_bars(request, listener)

    async def head_timestamp(self, instrument: Instrument, source: BarSource, regular_hours: bool) -> datetime:
        return await self._read(lambda door: door.head_timestamp(instrument, source, regular_hours))

    async def schedule(self, instrument: Instrument, days: int, end: datetime | None) -> list[ScheduledSession]:
        return await self._read(lambda door: door.schedule(instrument, days, end))

    async def historical_ticks(
        self, instrument: Instrument, start: datetime | None, end: datetime | None, count: int, regular_hours: bool
    ) -> list[Trade]:
        return await self._read(lambda door: door.historical_ticks(instrument, start, end, count, regular_hours))
