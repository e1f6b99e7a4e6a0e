"""News of the in-process paper broker, read straight from the news desk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..domain.instrument import Instrument
from ..domain.news import Article, Headline, NewsProvider, check_headlines, headline_text
from ..errors import NoData, NoPermission
from .exchange import Exchange
from .models import TradingCalendar
from .news.desk import NewsDesk
from .news.stories import PROVIDERS


class PaperNews:
    """`desk` is the one news desk of this exchange."""

    def __init__(self, exchange: Exchange, calendar: TradingCalendar) -> None:
        self.desk = NewsDesk(exchange, calendar)

    def providers(self) -> list[NewsProvider]:
        return [NewsProvider(code, name) for code, name in PROVIDERS.items()]

    def headlines(
        self, instrument: Instrument, start: datetime | None, end: datetime | None, count: int, providers: Iterable[str]
    ) -> list[Headline]:
        """Of a qualified instrument, newest first. Raises InvalidRequest for a range or count that cannot be,
        NoPermission for a provider that there is not."""
        what, wanted = f"headlines of {instrument}", tuple(providers) or tuple(PROVIDERS)
        check_headlines(what, start, end, count)
        if missing := [code for code in wanted if code not in PROVIDERS]:
            known = ", ".join(PROVIDERS)
            raise NoPermission(what, f"there is no provider {', '.join(missing)}", f"choose among {known}")
        found, _ = self.desk.headlines(instrument.con_id or 0, wanted, start=start, end=end, count=count)
        return [
            Headline(instrument, row.time, row.provider, row.article_id, headline_text(row.headline)) for row in found
        ]

    def article(self, provider: str, article_id: str) -> Article:
        """Raises NoData for what was not published by now."""
        story = self.desk.article(provider, article_id)
        if story is None:
            raise NoData(f"article {article_id}", f"{provider} has none of this number", "take it from a headline")
        return Article(provider, article_id, story.body)
