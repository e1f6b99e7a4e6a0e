"""IB's message rate, kept where IB counts it: at the moment when the gateway reads a message, not when it was sent.

A gateway that stands still for half a second reads what was sent meanwhile in one go, together with what is sent
next. Only its answers tell when it read: to `reqCurrentTime`, sent behind a burst, it answers in its turn.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from .lanes import Lane


@dataclass(frozen=True)
class RateLimit:
    """IB allows 50 messages a second (error 100, three strikes and it disconnects). Times are monotonic seconds.

    At most `messages` leave in any window of `window` seconds; the window is a little longer than IB's second, so
    that messages squeezed together on the network still pass. `order_reserve` of them are kept for orders and
    cancels, and `cancel_reserve` of those for cancels alone: a burst of requests cannot use them up.

    Requests are held to more than orders and cancels, which never wait for an answer: a message counts against them
    until `heard_window` after the gateway was heard to have read it, or for `unheard_window` where it is not heard.
    """

    messages: int = 49
    window: float = 1.05
    order_reserve: int = 7
    cancel_reserve: int = 3
    heard_window: float = 1.02
    unheard_window: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.cancel_reserve <= self.order_reserve < self.messages:
            raise ValueError("0 <= cancel_reserve <= order_reserve < messages must hold")
        if min(self.window, self.heard_window, self.unheard_window) <= 0:
            raise ValueError("window must be positive seconds")

    def ceiling(self, lane: Lane) -> int:
        """How many messages may be in the window, this one included, for it to leave in this lane."""
        if lane is Lane.CANCEL:
            return self.messages
        if lane is Lane.ORDER:
            return self.messages - self.cancel_reserve
        return self.messages - self.order_reserve


class ReadingPeer:
    """How many of our messages the peer may still count in its last second. Constant work per message."""

    __slots__ = ("_asked", "_heard", "_in_heard", "_limit", "_read", "_sent", "_unheard")

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        #: When each message left that the peer was not heard to have read.
        self._unheard: deque[float] = deque()
        #: (when it stops counting, how many messages), oldest first.
        self._heard: deque[tuple[float, int]] = deque()
        self._in_heard = 0
        #: Messages sent, and those read by the peer or given up.
        self._sent = self._read = 0
        #: (the message's number, when it left, whether the queue asked it itself) of questions that owe an answer.
        self._asked: deque[tuple[int, float, bool]] = deque()

    def __len__(self) -> int:
        return len(self._unheard) + self._in_heard

    @property
    def unheard(self) -> int:
        """Messages that the peer was not heard to have read."""
        return len(self._unheard)

    @property
    def unheard_since(self) -> float:
        """When the first of them left; infinity while there is none."""
        return self._unheard[0] if self._unheard else math.inf

    def may_be_asked(self, now: float) -> bool:
        """Whether there is something to ask about, and no question of the queue's own is under way."""
        still = now - self._limit.unheard_window
        return bool(self._unheard) and not any(own and at > still for _, at, own in self._asked)

    def on_sent(self, now: float, *, is_question: bool = False, is_own: bool = False) -> None:
        """A message has left; `is_question` when its answer tells that it, and all before it, were read."""
        self._unheard.append(now)
        self._sent += 1
        if is_question:
            self._asked.append((self._sent, now, is_own))

    def on_answer(self, now: float) -> bool:
        """The oldest question is answered. True when the queue asked it itself, and nobody waits for the answer."""
        while self._asked and self._asked[0][1] + self._limit.unheard_window <= now:
            # lost, or so late that somebody may wait for this one
            self._asked.popleft()
        if not self._asked:
            return False
        number, _, is_own = self._asked.popleft()
        count = number - self._read
        if count > 0:
            for _ in range(count):
                self._unheard.popleft()
            self._read = number
            self._heard.append((now + self._limit.heard_window, count))
            self._in_heard += count
        return is_own

    def expire(self, now: float) -> None:
        """Forget what the peer cannot count any more."""
        while self._heard and self._heard[0][0] <= now:
            self._in_heard -= self._heard.popleft()[1]
        while self._unheard and self._unheard[0] + self._limit.unheard_window <= now:
            self._unheard.popleft()
            self._read += 1

    def next_change(self) -> float:
        """When the first message stops counting; infinity while none counts."""
        heard = self._heard[0][0] if self._heard else math.inf
        return min(heard, self._unheard[0] + self._limit.unheard_window if self._unheard else math.inf)
