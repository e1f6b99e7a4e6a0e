"""What streams subscribe beside quote lines, each once for all of its consumers: two subscriptions would tell every
consumer everything twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Contract number, and what is told of it.
FeedKey = tuple[int, str]


@dataclass(slots=True)
class _Feed:
    handle: int
    users: int = 1


class SharedFeeds:
    """Handles at the transport with their users counted. `unsubscribe` ends one."""

    def __init__(self, unsubscribe: Callable[[int], None]) -> None:
        self._unsubscribe = unsubscribe
        self._feeds: dict[FeedKey, _Feed] = {}

    def __contains__(self, key: FeedKey) -> bool:
        return key in self._feeds

    def take(self, key: FeedKey, subscribe: Callable[[], int]) -> FeedKey:
        """`subscribe` answers the handle, and is called for the first user alone."""
        feed = self._feeds.get(key)
        if feed is None:
            self._feeds[key] = _Feed(subscribe())
        else:
            feed.users += 1
        return key

    def give_back(self, key: FeedKey) -> bool:
        """Whether it was the last user, and the feed has ended."""
        feed = self._feeds[key]
        feed.users -= 1
        if not feed.users:
            del self._feeds[key]
            self._unsubscribe(feed.handle)
        return not feed.users
