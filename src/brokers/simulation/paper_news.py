"""News of the in-process paper broker, read straight from the news desk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from ..domain.instrument import Instrument
from ..domain.news import Article, Headline, NewsProvider, check_headlines, headline_text
from ..errors import NoData, NoPermission
from .events import DayStarted, ExchangeEvent, Printed, QuoteChanged, SessionChanged
from .exchange import Exchange
from .models import TradingCalendar
from .news.desk import NewsDesk, Story
from .news.stories import PROVIDERS

#: Whatever shows that market time has gone on.
_MOVES = (QuoteChanged, Printed, SessionChanged, DayStarted)


class PaperNews:
    """`desk` is the one news desk of this exchange."""

    def __init__(self, exchange: Exchange, calendar: TradingCalendar) -> None:
        self.desk = NewsDesk(exchange, calendar)
        self._exchange = exchange

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
        return [_headline(instrument, row) for row in found]

    def follow(self, instruments: Iterable[Instrument], tell: Callable[[Headline], None]) -> Callable[[], None]:
        """`tell` gets what is published from now on, at the market's next move after its time; returns how to stop."""
        wanted = {instrument.con_id or 0: instrument for instrument in instruments}
        due = {number: self.desk.next_time(number, self._exchange.now) for number in wanted}

        def on_story(story: Story) -> None:
            if story.con_id in wanted:
                tell(_headline(wanted[story.con_id], story))

        def on_event(_: ExchangeEvent) -> None:
            came: list[Story] = []
            for number, moment in due.items():
                while moment is not None and moment <= self._exchange.now:
                    came += self.desk.at(number, moment)
                    due[number] = moment = self.desk.next_time(number, moment)
            for story in sorted(came, key=lambda row: row.time):
                on_story(story)

        stops = (self.desk.subscribe(on_story), self._exchange.subscribe(on_event, *_MOVES))

        def stop() -> None:
            for each in stops:
                each()

        return stop

    def article(self, provider: str, article_id: str) -> Article:
        """Raises NoData for what was not published by now."""
        story = self.desk.article(provider, article_id)
        if story is None:
            raise NoData(f"article {article_id}", f"{provider} has none of this number", "take it from a headline")
        return Article(provider, article_id, story.body)


def _headline(instrument: Instrument, story: Story) -> Headline:
    return Headline(instrument, story.time, story.provider, story.article_id, headline_text(story.headline))
