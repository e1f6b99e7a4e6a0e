"""Who is told what: the queue between what happens and its listeners."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import timedelta

from .events import ExchangeEvent
from .order_faults import OrderFaults

Listener = Callable[[ExchangeEvent], None]


class Announcer:
    """Events wait here until the state is whole; a listener that acts adds to the end of the queue.

    `later` runs an action after a delay of market time, for delayed events.
    """

    def __init__(self, faults: OrderFaults, later: Callable[[timedelta, Callable[[], None]], None]) -> None:
        self._faults = faults
        self._later = later
        self._listeners: list[tuple[Listener, frozenset[type[ExchangeEvent]]]] = []
        self._wanted: dict[type[ExchangeEvent], bool] = {}
        self._queue: deque[ExchangeEvent] = deque()
        self._delivering = False
        #: How many events were told since the start.
        self.told = 0
        faults.connect(self._post)

    def subscribe(self, callback: Listener, kinds: frozenset[type[ExchangeEvent]]) -> Callable[[], None]:
        """See Exchange.subscribe."""
        row = (callback, kinds)
        self._listeners.append(row)
        self._wanted.clear()

        def unsubscribe() -> None:
            if row in self._listeners:
                self._listeners.remove(row)
                self._wanted.clear()

        return unsubscribe

    def wants(self, kind: type[ExchangeEvent]) -> bool:
        """Whether anybody listens to `kind`; saves making events for nobody."""
        if kind not in self._wanted:
            self._wanted[kind] = any(not kinds or kind in kinds for _, kinds in self._listeners)
        return self._wanted[kind]

    def tell(self, event: ExchangeEvent) -> None:
        """Queue `event`, as the scripted faults would have it."""
        if not self._faults.active:
            self._queue.append(event)
            return
        for told, delay in self._faults.pass_on(event):
            if delay:
                self._tell_later(told, delay)
            else:
                self._queue.append(told)

    def _tell_later(self, event: ExchangeEvent, delay: timedelta) -> None:
        self._later(delay, lambda: self._queue.append(event))

    def _post(self, event: ExchangeEvent) -> None:
        """A held event is let go."""
        self._queue.append(event)
        self.deliver()

    def deliver(self) -> None:
        """Tell everything that waits. Called again from a listener it does nothing: the outer call goes on."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._queue:
                event = self._queue.popleft()
                self.told += 1
                kind = type(event)
                for callback, kinds in tuple(self._listeners):
                    if not kinds or kind in kinds:
                        callback(event)
        finally:
            self._delivering = False
