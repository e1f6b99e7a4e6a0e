"""Requests for news: who may be asked, headlines of a contract, articles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ...news.stories import PROVIDERS
from .. import requests as r
from ..messages_out import NewsProvider
from ..news_line import marked
from ..request import Request
from ..session import Refusal, Session
from ..times import parse_moment

NOT_ALLOWED = Refusal(10276, "News feed is not allowed.")
#: As many as IB answers at most.
MOST_HEADLINES = 300
_TEXT = 0


def allowed(session: Session, codes: tuple[str, ...]) -> tuple[str, ...]:
    """The providers asked for; all that the login has when none is named. Raises Refusal 10276."""
    own = session.door.settings.news_providers
    if not own or any(code not in own for code in codes):
        raise Refusal(NOT_ALLOWED.code, NOT_ALLOWED.text)
    return codes or own


def providers(session: Session, request: r.ReqNewsProviders) -> None:
    rows = [NewsProvider(code, PROVIDERS[code]) for code in session.door.settings.news_providers]
    session.send("newsProviders", newsProviders=rows)


def headlines(session: Session, request: r.ReqHistoricalNews) -> None:
    """Newest first. IB takes the start as outside of the range and the end as inside."""
    door = session.door
    codes = allowed(session, tuple(code for code in request.providerCodes.split("+") if code))
    if door.exchange.details(request.conId) is None:
        raise Refusal(321, "Error validating request.-'cl' : cause - Invalid contract id")
    start, end = (_moment(session, text) for text in (request.startDateTime, request.endDateTime))
    count = min(max(request.totalResults, 1), MOST_HEADLINES)
    found, more = door.news.headlines(request.conId, codes, start=start, end=end, count=count)
    for story in found:
        session.send(
            "historicalNews",
            reqId=request.reqId,
            time=f"{story.time.astimezone(UTC):%Y-%m-%d %H:%M:%S}.0",
            providerCode=story.provider,
            articleId=story.article_id,
            headline=marked(story),
        )
    session.send("historicalNewsEnd", reqId=request.reqId, hasMore=more)


def _moment(session: Session, text: str) -> datetime | None:
    """`yyyy-MM-dd HH:mm:ss[.0]` is UTC; IB's other forms as everywhere. Raises Refusal 321."""
    if not text:
        return None
    try:
        if text[4:5] == "-":
            return datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return parse_moment(text, session.door.now)
    except ValueError as problem:
        raise Refusal(321, f"Error validating request.-'cl' : cause - {problem}") from None


def article(session: Session, request: r.ReqNewsArticle) -> None:
    allowed(session, (request.providerCode,))
    story = session.door.news.article(request.providerCode, request.articleId)
    if story is None:
        raise Refusal(10172, "Failed to request news article:No article with this id")
    session.send("newsArticle", reqId=request.reqId, articleType=_TEXT, articleText=story.body)


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqNewsProviders: providers,
    r.ReqHistoricalNews: headlines,
    r.ReqNewsArticle: article,
}
