"""Notices a feed that fell silent while the market trades, and asks for it again (faults D01, Q15)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.sessions import Session
from .ib_transport import IbTransport, LinkState, QuoteLine

logger = logging.getLogger(__name__)

#: Silence of every line at once, in the machine's seconds and in the market's, before it counts; looked at every
#: `LOOK_EVERY`, so that a silent feed is noticed within half a minute.
SILENCE = 25.0
LOOK_EVERY = 4.0
#: Before the same silence is acted upon again.
AGAIN_AFTER = 300.0


class FeedWatch:
    """Watches the lines of one transport. A line alone may be quiet for long; all of them together may not.

    Both clocks must have gone on: in a replay that is told when to move, nothing is silent while market time stands.
    `session()` tells the market's session now; outside the regular one nothing is ever flagged.
    """

    def __init__(
        self,
        transport: IbTransport,
        lines: Callable[[], list[QuoteLine]],
        session: Callable[[], Session],
        clock: Clock,
        alarm: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._lines = lines
        self._session = session
        self._clock = clock
        self._alarm = alarm
        self._timer: asyncio.TimerHandle | None = None
        #: When it was acted upon, and how many values the lines had told by then.
        self._acted: tuple[float, int] | None = None
        #: Silences noticed.
        self.noticed = 0

    def start(self) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._on_timer)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self.look()
        self.start()

    def look(self) -> bool:
        """Whether the feed is silent now; if so, it was reported and asked for again."""
        lines = [line for line in self._lines() if line.error is None and line.last_update is not None]
        if not lines or self._transport.state is not LinkState.READY or self._session() is not Session.REGULAR:
            return False
        now = self._clock.monotonic()
        last = max(line.last_update or 0.0 for line in lines)
        market = min(line.quote().age(self._clock.now()) for line in lines)
        if now - last < SILENCE or market < timedelta(seconds=SILENCE):
            return False
        told = sum(line.updates for line in lines)
        if self._acted is not None and now - self._acted[0] < AGAIN_AFTER and told <= self._acted[1]:
            return True
        self._acted = (now, told)
        self.noticed += 1
        self._alarm(f"no market data for {now - last:.0f} s in the regular session; {len(lines)} lines asked for again")
        self._transport.resubscribe_silent(now - SILENCE)
        return True
