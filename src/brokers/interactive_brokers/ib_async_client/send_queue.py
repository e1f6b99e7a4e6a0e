"""Messages on their way out, in lanes under IB's message rate: the more urgent lane leaves first."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from .lanes import CANCELS_OF, GLOBAL_CANCEL, MESSAGE_LANES, Lane, Outgoing, SendState
from .message_rate import RateLimit, ReadingPeer

_CANCELLABLE = frozenset(CANCELS_OF.values())
#: reqCurrentTime
QUESTION = 49
#: So many messages that nothing tells of are asked about so many monotonic seconds after the first of them.
_MANY, _ASK_AFTER = 8, 0.3
#: As `_MANY` where orders and cancels alone were sent: they wait for no answer, and questions take from their rate.
_MANY_ORDERS = 24


class Timer(Protocol):
    def cancel(self) -> None: ...


class SendQueue:
    """Lanes under one rate limit. Constant work per message and one timer at a time.

    `write(bytes)` hands bytes to the transport and returns False when it cannot take any. `clock` is monotonic
    seconds; `call_at(when, callback)` is a timer on the same clock (an event loop's `call_at`). `question` is a framed
    reqCurrentTime: it is sent behind requests that reach the limit, and `on_answer` is told of its answer. None holds
    requests to the plain window alone.
    """

    def __init__(
        self,
        write: Callable[[bytes], bool],
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], Timer],
        limit: RateLimit | None = None,
        question: bytes | None = None,
    ) -> None:
        self._write = write
        self._clock = clock
        self._call_at = call_at
        self.limit = limit or RateLimit()
        self._lanes: tuple[deque[Outgoing], ...] = tuple(deque() for _ in Lane)
        self._ceilings = tuple(self.limit.ceiling(lane) for lane in Lane)
        self._times: deque[float] = deque()
        self._question = question
        self._peer = ReadingPeer(self.limit)
        #: Requests sent since the last question.
        self._unasked = 0
        self._timer: Timer | None = None
        self._waiting: dict[tuple[int, int | None], int] = {}
        self._paused = False
        #: Messages handed to the transport since creation.
        self.sent = 0
        #: Messages reported NOT_SENT since creation.
        self.dropped = 0

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    @property
    def throttled(self) -> bool:
        """True while at least one message waits for the rate limit or for the transport."""
        return any(self._lanes)

    def depth(self, lane: Lane) -> int:
        return len(self._lanes[lane])

    def put(self, message_id: int, payload: bytes, subject: int | None = None) -> Outgoing:
        """Queue one framed message and send whatever may leave now. KeyError on an id outside the table."""
        outgoing = Outgoing(message_id, self._lane_of(message_id, subject), payload, self._clock(), subject)
        self._lanes[outgoing.lane].append(outgoing)
        if message_id in _CANCELLABLE:
            key = (message_id, subject)
            self._waiting[key] = self._waiting.get(key, 0) + 1
        self.flush()
        return outgoing

    def _lane_of(self, message_id: int, subject: int | None) -> Lane:
        lane = MESSAGE_LANES[message_id]
        request = CANCELS_OF.get(message_id)
        if request is not None and (request, subject) in self._waiting:
            return MESSAGE_LANES[request]
        if message_id == GLOBAL_CANCEL and self._lanes[Lane.ORDER]:
            return Lane.ORDER
        return lane

    def withdraw(self, outgoing: Outgoing) -> bool:
        """Take back a message that has not left; True when it is now NOT_SENT, False when it was too late."""
        if outgoing.state is not SendState.QUEUED:
            return False
        self._lanes[outgoing.lane].remove(outgoing)
        self._forget_waiting(outgoing)
        self.dropped += 1
        outgoing._settle(SendState.NOT_SENT, None)
        self.flush()
        return True

    def _forget_waiting(self, outgoing: Outgoing) -> None:
        key = (outgoing.message_id, outgoing.subject)
        count = self._waiting.get(key)
        if count == 1:
            del self._waiting[key]
        elif count is not None:
            self._waiting[key] = count - 1

    def pause(self) -> None:
        """The transport's buffer is full: keep messages here, where they are still known not to have left."""
        self._paused = True

    def resume(self) -> None:
        if self._paused and self._times:
            self._times[-1] = self._clock()  # its last byte left only now
        self._paused = False
        self.flush()

    def on_answer(self) -> bool:
        """The answer to a reqCurrentTime has come. True when the queue asked it, and nobody waits for the answer."""
        is_own = self._peer.on_answer(self._clock())
        self.flush()
        return is_own

    def flush(self) -> None:
        """Send every message that may leave now; set the one timer for the next that may not."""
        if self._paused:
            return
        self._expire(self._clock())
        for lane, queue in enumerate(self._lanes):
            while queue and self._has_room(lane):
                if self._paused or not self._send(queue[0]):
                    return
            if queue:
                # a lower lane has a lower ceiling, so nothing behind this one may leave either
                break
        if self._question is not None and not self._paused:
            self._ask(self._question)
        self._arm()

    def _expire(self, now: float) -> None:
        times, window = self._times, self.limit.window
        while times and times[0] + window <= now:
            times.popleft()
        self._peer.expire(now)

    def _has_room(self, lane: int) -> bool:
        if self._question is None:
            return len(self._times) < self._ceilings[lane]
        if lane <= Lane.ORDER:
            return self._for_orders() < self._ceilings[lane]
        # one place is for the question behind them
        return len(self._peer) < self._ceilings[lane] - 1

    def _for_orders(self) -> int:
        """What counts against orders and cancels: what was heard to be read is forgotten, what was not is no reason."""
        return min(len(self._times), len(self._peer))

    def _send(self, outgoing: Outgoing) -> bool:
        if not self._write(outgoing.payload):
            return False
        now = self._clock()  # a write takes a while on a busy machine, and the peer counts from its end
        self._lanes[outgoing.lane].popleft()
        self._forget_waiting(outgoing)
        self._unasked += outgoing.lane >= Lane.QUERY
        self._count(now, outgoing.message_id)
        outgoing._settle(SendState.SENT, now)
        return True

    def _count(self, now: float, message_id: int, *, is_own: bool = False) -> None:
        self._times.append(now)
        self.sent += 1
        if message_id == QUESTION:
            self._unasked = 0
        if self._question is not None:
            self._peer.on_sent(now, is_question=message_id == QUESTION, is_own=is_own)

    def _ask(self, question: bytes) -> None:
        """Ask whether the peer reads, at once when requests wait for it, else behind many messages and a while."""
        now = self._clock()
        is_due = any(self._lanes[Lane.QUERY :]) or self._ask_at() <= now
        may = self._peer.may_be_asked(now) and self._for_orders() < self._ceilings[Lane.ORDER]
        if is_due and may and self._write(question):
            self._count(self._clock(), QUESTION, is_own=True)

    def _ask_at(self) -> float:
        """When the peer is to be asked though nothing waits; infinity while it need not be."""
        enough = _MANY if self._unasked >= _MANY else _MANY_ORDERS
        return self._peer.unheard_since + _ASK_AFTER if self._peer.unheard >= enough else math.inf

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        lane = next((lane for lane, queue in enumerate(self._lanes) if queue), None)
        due = math.inf if lane is None else self._due(lane)
        if self._question is not None and self._peer.may_be_asked(now):
            ask_at = self._ask_at()
            due = min(due, ask_at if ask_at > now else math.inf)
        if due < math.inf:
            self._timer = self._call_at(due, self._on_timer)

    def _due(self, lane: int) -> float:
        """When the first message of this lane, which has no room now, should be tried again."""
        due = math.inf if self._question is None else self._peer.next_change()
        if lane <= Lane.ORDER or self._question is None:
            # room comes when the oldest of the `ceiling` latest sends is out of the window
            due = min(due, self._times[len(self._times) - self._ceilings[lane]] + self.limit.window)
        return due

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()

    def fail_all(self) -> list[Outgoing]:
        """The link is gone: report every queued message NOT_SENT, first lane first, and return them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lost = [outgoing for queue in self._lanes for outgoing in queue]
        for queue in self._lanes:
            queue.clear()
        self._waiting.clear()
        self._times.clear()
        self._peer = ReadingPeer(self.limit)
        self._paused = False
        self.dropped += len(lost)
        for outgoing in lost:
            outgoing._settle(SendState.NOT_SENT, None)
        return lost
