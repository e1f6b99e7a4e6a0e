"""Questions about news, and what their texts are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from ...domain.instrument import Instrument
from ...domain.news import Article, ArticleKind, Headline, NewsProvider, headline_text
from ...errors import NoData, RequestFailed
from ..config.ib_config import TwsSettings
from .api import TwsApi
from .session import Session

#: IB's code for an article that cannot be had.
NO_ARTICLE = 10172
#: IB's own remarks before a headline: `{A:265598:L:en:K:n/a:C:0.93}` and the like.
_REMARKS = re.compile(r"^\s*(?:\{[^{}]*\}!?)+")
#: What message 83 says of its text.
_ARTICLE_KINDS = {0: ArticleKind.TEXT, 1: ArticleKind.PDF}


def without_remarks(text: str) -> str:
    return headline_text(_REMARKS.sub("", text))


class NewsQuestions:
    """Raises NotConnected, LinkLost, DeadlineExceeded, NoPermission, NoData and RequestFailed."""

    def __init__(self, api: TwsApi, session: Session, settings: TwsSettings) -> None:
        self._api = api
        self._session = session
        self._settings = settings

    async def providers(self) -> list[NewsProvider]:
        self._session.require("news providers")
        question = self._api.reqNewsProvidersAsync()
        rows = await self._session.within("news providers", question, self._settings.request_deadline)
        return [NewsProvider(row.code, row.name) for row in rows]

    async def headlines(
        self,
        instrument: Instrument,
        providers: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        count: int,
    ) -> list[Headline]:
        what = f"headlines of {instrument}"
        self._session.require(what)
        request_id = self._api.client.getReqId()
        answer = self._api.wrapper.startReq(request_id)
        self._api.client.reqHistoricalNews(
            request_id, instrument.con_id or 0, "+".join(providers), _moment(start), _moment(end), count, []
        )
        rows = await self._session.within(what, answer, self._settings.history_deadline)
        found = [
            Headline(
                instrument, row.time.astimezone(UTC), row.providerCode, row.articleId, without_remarks(row.headline)
            )
            for row in rows
        ]
        return sorted(found, key=lambda one: one.time, reverse=True)[:count]

    async def article(self, provider: str, article_id: str) -> Article:
        what = f"article {article_id}"
        self._session.require(what)
        request_id = self._api.client.getReqId()
        answer = self._api.wrapper.startReq(request_id)
        self._api.client.reqNewsArticle(request_id, provider, article_id, [])
        try:
            row = await self._session.within(what, answer, self._settings.history_deadline)
        except RequestFailed as error:
            if error.code != NO_ARTICLE:
                raise
            raise NoData(
                what, f"{provider} has none of this number", "take it from a headline", code=NO_ARTICLE
            ) from error
        return Article(provider, article_id, row.articleText, _ARTICLE_KINDS.get(row.articleType, ArticleKind.TEXT))


def _moment(moment: datetime | None) -> str:
    """IB reads this form as UTC."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}.0"
