"""What is due when: one queue in time order, and within one moment in a fixed order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime
from enum import IntEnum


class Due(IntEnum):
    """Order within one moment: sessions open before prices move, prices move before orders arrive, the closing
    auction comes after the last price, and days end last."""

    OPEN = 0
    PRICE = 10
    ORDER = 20
    CLOSE = 30
    EXPIRY = 40
    DAY = 50


class Agenda:
    """A heap of actions; equal moments and kinds keep the order in which they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, int, Callable[[], None]]] = []
        self._count = 0

    def add(self, moment: datetime, due: Due, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, due, self._count, action))

    def head(self) -> tuple[datetime, int] | None:
        """When and of which kind the next action is; None when there is none."""
        return self._heap[0][:2] if self._heap else None

    def pop(self) -> Callable[[], None]:
        return heapq.heappop(self._heap)[3]
