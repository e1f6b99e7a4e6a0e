"""Feeds beside the quote line: asked for once, told once to each consumer, ended with the last of them."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.interactive_brokers.ib_stream_feeds import SharedFeeds

TRADES = (265598, "AllLast")


class Door:
    """Counts subscriptions and remembers which have ended."""

    def __init__(self) -> None:
        self.opened = 0
        self.ended: list[int] = []

    def subscribe(self) -> int:
        self.opened += 1
        return self.opened


def test_consumers_of_one_feed_share_one_subscription() -> None:
    door = Door()
    feeds = SharedFeeds(door.ended.append)
    first, second = feeds.take(TRADES, door.subscribe), feeds.take(TRADES, door.subscribe)
    assert door.opened == 1
    assert feeds.give_back(first) is False
    assert door.ended == []
    assert feeds.give_back(second) is True
    assert door.ended == [1]
    feeds.take(TRADES, door.subscribe)
    assert door.opened == 2


def test_another_contract_or_kind_is_another_subscription() -> None:
    door = Door()
    feeds = SharedFeeds(door.ended.append)
    for key in (TRADES, (265598, "BidAsk"), (8314, "AllLast")):
        feeds.take(key, door.subscribe)
    assert door.opened == 3


def test_a_subscription_that_fails_leaves_nothing_behind() -> None:
    door = Door()
    feeds = SharedFeeds(door.ended.append)

    def fails() -> int:
        raise ConnectionError("no link")

    with pytest.raises(ConnectionError):
        feeds.take(TRADES, fails)
    assert TRADES not in feeds
    feeds.take(TRADES, door.subscribe)
    assert door.opened == 1
