"""Market events of one instrument for whoever watches it: one listener at the exchange, many at the door."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..events import DayStarted, ExchangeEvent, Halted, Printed, QuoteChanged, SessionChanged
from .market_faults import MarketFaults

if TYPE_CHECKING:
    from .door import PortalDoor

log = logging.getLogger(__name__)

Listener = Callable[[ExchangeEvent], None]
_MARKET = (QuoteChanged, Printed, Halted)


class MarketWatch:
    """Lives as long as the door. A listener that fails is counted, and the others go on."""

    def __init__(self, door: PortalDoor) -> None:
        self._door = door
        self._listeners: dict[int, dict[Listener, None]] = {}
        self._stop: Callable[[], None] | None = None

    def watch(self, con_id: int, listener: Listener) -> Callable[[], None]:
        """Every QuoteChanged, Printed and Halted of `con_id` from now on, and each session and day that begins; returns
        how to stop it."""
        if self._stop is None:
            self._stop = self._door.exchange.subscribe(self._on_event, *_MARKET, SessionChanged, DayStarted)
        listeners = self._listeners.setdefault(con_id, {})
        listeners[listener] = None

        def stop() -> None:
            listeners.pop(listener, None)

        return stop

    def close(self) -> None:
        self._listeners.clear()
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _on_event(self, event: ExchangeEvent) -> None:
        if self._door.state(MarketFaults).silent_feed:
            return
        if isinstance(event, QuoteChanged | Printed | Halted):
            self._tell(event, self._listeners.get(event.con_id, {}))
        else:
            for listeners in tuple(self._listeners.values()):
                self._tell(event, listeners)

    def _tell(self, event: ExchangeEvent, listeners: Iterable[Listener]) -> None:
        for listener in tuple(listeners):
            try:
                listener(event)
            except Exception:  # the boundary of one subscription
                self._door.failures["subscription"] += 1
                log.exception("a subscription of the portal failed on %s", type(event).__name__)
