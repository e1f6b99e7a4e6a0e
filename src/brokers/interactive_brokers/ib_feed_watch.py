"""Notices a feed that fell silent while the market trades, and asks for it again (faults D01, Q15)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.instrument import Instrument, SecType
from ..domain.sessions import Session
from .ib_transport import IbTransport, LinkState, QuoteLine

logger = logging.getLogger(__name__)

#: Silence of every line at once, in the machine's seconds and in the market's, before it counts; looked at every
#: `LOOK_EVERY`, so that a silent feed is noticed within half a minute.
SILENCE = 25.0
LOOK_EVERY = 4.0
#: Before the same silence is acted upon again.
AGAIN_AFTER = 300.0


#: A group counts with this many lines that usually talk: they told something in this share of the looks, weighted to
#: the latest `1 / WEIGHT`, after so many looks with a value.
LEAST_LINES, USUALLY, WEIGHT, KNOWN_AFTER = 5, 0.8, 0.05, 30


@dataclass(slots=True)
class _Habit:
    """How often a line talks, by looks; frozen while it is silent, so that a silence does not excuse itself."""

    updates: int
    share: float = 0.0
    talked: int = 0
    quiet: int = 0

    def look(self, updates: int) -> None:
        if updates == self.updates:
            self.quiet += 1
            return
        self.share = self.share * (1 - WEIGHT) ** (self.quiet + 1) + WEIGHT
        self.updates, self.quiet, self.talked = updates, 0, self.talked + 1

    @property
    def is_talkative(self) -> bool:
        # the share grows from 0: it is told of the looks that there were
        return self.talked >= KNOWN_AFTER and self.share >= USUALLY * (1 - (1 - WEIGHT) ** self.talked)


def _group(instrument: Instrument) -> str | None:
    """Where its data comes from, as far as is known: messages name farms, and no contracts. None where the session
    that is watched may not be its own."""
    if instrument.sec_type is not SecType.STOCK or instrument.currency != "USD":
        return None
    return instrument.primary_exchange or instrument.exchange


class FeedWatch:
    """Watches the lines of one transport. A line alone may be quiet for long; all of them together may not, nor all
    that usually talk of the US stocks of one exchange while others talk.

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
        self._habits: dict[QuoteLine, _Habit] = {}
        #: Group -> when its silence was acted upon.
        self._groups_acted: dict[str, float] = {}
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
        """Whether the feed, or a group of it, is silent now; if so, it was reported and asked for again."""
        lines = [line for line in self._lines() if line.error is None and line.last_update is not None]
        if not lines or self._transport.state is not LinkState.READY or self._session() is not Session.REGULAR:
            return False
        now = self._clock.monotonic()
        self._learn(lines)
        last = max(line.last_update or 0.0 for line in lines)
        market = min(line.quote().age(self._clock.now()) for line in lines)
        if now - last < SILENCE or market < timedelta(seconds=SILENCE):
            return self._look_at_groups(lines, now)
        told = sum(line.updates for line in lines)
        if self._acted is not None and now - self._acted[0] < AGAIN_AFTER and told <= self._acted[1]:
            return True
        self._acted = (now, told)
        self.noticed += 1
        self._alarm(f"no market data for {now - last:.0f} s in the regular session; {len(lines)} lines asked for again")
        self._transport.resubscribe_silent(now - SILENCE)
        return True

    def _learn(self, lines: list[QuoteLine]) -> None:
        self._habits = {line: self._habits.get(line) or _Habit(line.updates) for line in lines}
        for line, habit in self._habits.items():
            habit.look(line.updates)

    def _look_at_groups(self, lines: list[QuoteLine], now: float) -> bool:
        groups: dict[str, list[QuoteLine]] = {}
        for line in lines:
            name = _group(line.instrument)
            if name is not None and self._habits[line].is_talkative:
                groups.setdefault(name, []).append(line)
        silent = [name for name, members in groups.items() if self._is_silent(members, now)]
        for name in silent:
            if now - self._groups_acted.get(name, -AGAIN_AFTER) < AGAIN_AFTER:
                continue
            self._groups_acted[name] = now
            self.noticed += 1
            members = groups[name]
            self._alarm(f"no market data of {name} for {SILENCE:.0f} s; {len(members)} lines asked for again")
            numbers = frozenset(line.instrument.con_id or 0 for line in members)
            self._transport.resubscribe_silent(now - SILENCE, numbers)
        return bool(silent)

    def _is_silent(self, members: list[QuoteLine], now: float) -> bool:
        if len(members) < LEAST_LINES or any(now - (line.last_update or 0.0) < SILENCE for line in members):
            return False
        market = self._clock.now()
        return all(line.quote().age(market) >= timedelta(seconds=SILENCE) for line in members)
