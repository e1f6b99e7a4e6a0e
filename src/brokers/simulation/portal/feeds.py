"""What keeps the account and order topics going: the exchange's events, and market time.

listen(door, listener, *kinds)          events; a listener that fails is counted, and the others go on
Repeated(door, seconds, tell)           `tell` at once, then every so many seconds of market time, and after bookings
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ..events import AccountChanged, ExchangeEvent
from ..timers import Timer

if TYPE_CHECKING:
    from .door import PortalDoor

log = logging.getLogger(__name__)


def listen(
    door: PortalDoor, listener: Callable[[ExchangeEvent], None], *kinds: type[ExchangeEvent]
) -> Callable[[], None]:
    """Returns how to stop it."""

    def guard(event: ExchangeEvent) -> None:
        try:
            listener(event)
        except Exception:  # the boundary of one subscription
            door.failures["subscription"] += 1
            log.exception("a subscription of the portal failed on %s", type(event).__name__)

    return door.exchange.subscribe(guard, *kinds)


class Repeated:
    """`on_booking`: also at the moment of a booking, after everything that the fill itself told."""

    def __init__(self, door: PortalDoor, seconds: float, tell: Callable[[], None], *, on_booking: bool = False) -> None:
        self._door = door
        self._interval = timedelta(seconds=seconds)
        self._tell = tell
        self._timer: Timer | None = None
        self._stop = listen(door, self._on_booking, AccountChanged) if on_booking else None
        self._run()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._stop is not None:
            self._stop()

    def _run(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._door.timers.at(self._door.now + self._interval, self._run)
        self._tell()

    def _on_booking(self, event: ExchangeEvent) -> None:
        if self._timer is not None and self._timer.at > self._door.now:
            self._timer.cancel()
            self._timer = self._door.timers.at(self._door.now, self._run)
