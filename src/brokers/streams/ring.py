"""A ring of places made beforehand: the newest always finds room, and the oldest gives way."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class RingBuffer(Generic[T]):
    """First in, first out, at most `size` at once."""

    __slots__ = ("_first", "_places", "_used", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._places: list[T | None] = [None] * size
        self._first = 0
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def push(self, item: T) -> T | None:
        """Put `item` behind the others; the oldest, when it had to give way for it."""
        places, size, first = self._places, self.size, self._first
        if self._used < size:
            last = first + self._used
            places[last - size if last >= size else last] = item
            self._used += 1
            return None
        gone = places[first]
        places[first] = item
        self._first = first + 1 if first + 1 < size else 0
        return gone

    def pop(self) -> T:
        """The oldest. Raises IndexError when there is none."""
        if not self._used:
            raise IndexError("the ring is empty")
        first = self._first
        item = self._places[first]
        self._places[first] = None
        self._first = first + 1 if first + 1 < self.size else 0
        self._used -= 1
        return item  # type: ignore[return-value]  # a used place holds an item
