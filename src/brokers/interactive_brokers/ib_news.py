"""News of one IB session: who may be asked, headlines of a symbol, articles."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..base_broker import Symbol
from ..domain.news import Article, Headline, NewsProvider, check_headlines
from ..errors import NoPermission
from .ib_contracts import ContractBook
from .ib_transport import IbTransport, LinkEvent, LinkEventKind


class IBNews:
    """The providers are asked for once a session."""

    def __init__(self, transport: IbTransport, contracts: ContractBook) -> None:
        self._transport = transport
        self._contracts = contracts
        self._providers: list[NewsProvider] | None = None
        transport.add_link_listener(self._on_link)

    def _on_link(self, event: LinkEvent) -> None:
        if event.kind is LinkEventKind.LOST:
            self._providers = None

    async def providers(self) -> list[NewsProvider]:
        if self._providers is None:
            self._providers = list(await self._transport.news_providers())
        return list(self._providers)

    async def headlines(
        self, symbol: Symbol, start: datetime | None, end: datetime | None, count: int, providers: Iterable[str]
    ) -> list[Headline]:
        """See `BaseBroker.headlines`. Raises InvalidRequest for a count that IB does not take or a naive time."""
        check_headlines(f"headlines of {symbol}", start, end, count)
        instrument = await self._contracts.qualify(symbol)
        mine = [row.code for row in await self.providers()]
        wanted = list(providers) or mine
        missing = [code for code in wanted if code not in mine]
        if missing or not wanted:
            why = f"this login has no {', '.join(missing)}" if missing else "this login has no news provider"
            raise NoPermission(f"headlines of {symbol}", why, "subscribe to one for the API")
        return list(await self._transport.headlines(instrument, wanted, start, end, count))

    async def article(self, provider: str, article_id: str) -> Article:
        return await self._transport.article(provider, article_id)
