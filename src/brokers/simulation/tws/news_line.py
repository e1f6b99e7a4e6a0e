"""News as it comes: message 84 for every story of one stock, on a market data line that asked for generic tick 292."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from ..news.desk import Story
from ..timers import Timer
from .session import Session


def marked(story: Story) -> str:
    """A headline as IB sends it, its own remarks before it: contracts, language, and two scores that nobody gave."""
    return f"{{A:{story.con_id}:L:en:K:n/a:C:n/a}}{story.headline}"


class NewsLine:
    """From `start` on; what was published before is not told again."""

    def __init__(self, session: Session, req_id: int, con_id: int, providers: Collection[str]) -> None:
        self._session = session
        self._req_id = req_id
        self._con_id = con_id
        self._providers = providers
        self._timer: Timer | None = None
        self._stop: Callable[[], None] | None = None

    def start(self) -> None:
        self._stop = self._session.door.news.subscribe(self._on_story)
        self._await_next(self._session.door.now)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _await_next(self, moment: datetime) -> None:
        door = self._session.door
        due = door.news.next_time(self._con_id, moment)
        self._timer = None if due is None else door.timers.at(due, lambda: self._came(due))

    def _came(self, moment: datetime) -> None:
        for story in self._session.door.news.at(self._con_id, moment):
            self._on_story(story)
        self._await_next(moment)

    def _on_story(self, story: Story) -> None:
        door = self._session.door
        if story.con_id != self._con_id or story.provider not in self._providers:
            return
        if not (door.faults.silent_feed or door.offline.now):
            self._session.send(
                "tickNews",
                reqId=self._req_id,
                timeStamp=int(story.time.timestamp() * 1000),
                providerCode=story.provider,
                articleId=story.article_id,
                headline=marked(story),
                extraData="",
            )
