"""A ring of places made beforehand: the newest always finds room, and the oldest gives way."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class RingBuffer(Generic[T]):
    """First in, first out, at most `size` at once."""

    __slots__ = ("_places", "_popped", "_pushed", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._places: list[T | None] = [None] * size
        #: How many were ever pushed, and how many have left; the remainder by `size` is the place.
        self._pushed = self._popped = 0

    def __len__(self) -> int:
        return self._pushed - self._popped

    def push(self, item: T) -> T | None:
        """Put `item` behind the others; the oldest, when it had to give way for it."""
        pushed, size, places = self._pushed, self.size, self._places
        place = pushed % size
        self._pushed = pushed + 1
        if pushed - self._popped < size:
            places[place] = item
            return None
        gone = places[place]
        places[place] = item
        self._popped += 1
        return gone

    def pop(self) -> T:
        """The oldest. Raises IndexError when there is none."""
        popped = self._popped
        if popped == self._pushed:
            raise IndexError("the ring is empty")
        place, places = popped % self.size, self._places
        item, places[place] = places[place], None
        self._popped = popped + 1
        return item  # type: ignore[return-value]  # a used place holds an item
