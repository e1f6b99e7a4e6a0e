"""Lines and streams that stopped telling: a gap when they stop, one of them asked again now and then, and the end of
the gap with the first value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ...domain.instrument import Instrument
from ..ib_transport import LinkEventKind

#: Seconds until one of the lines is asked for again, doubled up to the longest; the others follow once it tells.
FIRST_RETRY, LONGEST_RETRY = 5.0, 60.0
#: A value this soon after the line was said to be silent was on its way already.
IN_FLIGHT = 1.0


class Feed(Protocol):
    """A quote line or a stream. `request_id` changes whenever it is asked for; `has_price` tells whether it told
    anything since. One that `is_rare` (news) may have nothing to tell for days."""

    @property
    def instrument(self) -> Instrument: ...
    @property
    def request_id(self) -> int: ...
    @property
    def has_price(self) -> bool: ...
    @property
    def is_rare(self) -> bool: ...


class Tell(Protocol):
    """How the session's listeners are told."""

    def __call__(
        self,
        kind: LinkEventKind,
        text: str,
        *,
        code: int | None = None,
        symbols: tuple[str, ...] = (),
        restored: int = 0,
    ) -> None: ...


class SilentLines:
    """The feeds of one client whose data another session has (10197), or that a watch found silent (D01).

    The first value of a feed ends the gap of its symbol. All others are asked for again with it; those of the same
    symbol, and those that are rare, count as back when they are not refused.
    """

    def __init__(self, ask_again: Callable[[Feed], None], tell: Tell) -> None:
        self._ask_again = ask_again
        self._tell = tell
        #: Feed -> its request when it fell silent or was refused last, and when that was (monotonic).
        self._silent: dict[Feed, tuple[int, float]] = {}
        self._told: list[Feed] = []
        self._reason: tuple[str, int | None] = ("", None)
        self._wait = FIRST_RETRY
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._silent)

    def add(self, feeds: Iterable[Feed], text: str, code: int | None = None) -> None:
        """These tell nothing any more; of symbols that were known to be silent nothing is told again."""
        loop = asyncio.get_running_loop()
        known = {feed.instrument.symbol for feed in self._silent}
        for feed in feeds:
            self._silent[feed] = feed.request_id, loop.time()
            if feed.instrument.symbol in known:
                continue
            known.add(feed.instrument.symbol)
            if not self._told:
                # the messages of one packet make one gap
                loop.call_soon(self._tell_gap)
            self._told.append(feed)
        self._reason = text, code
        if self._silent and self._timer is None:
            self._wait = FIRST_RETRY
            self._timer = loop.call_later(self._wait, self._on_timer)

    def _tell_gap(self) -> None:
        symbols = tuple(feed.instrument.symbol for feed in self._told)
        self._told.clear()
        if symbols:
            text, code = self._reason
            self._tell(LinkEventKind.FARM_DOWN, text, code=code, symbols=symbols)

    def _on_timer(self) -> None:
        self._timer = None
        unrefused = [feed for feed, (request, _) in self._silent.items() if feed.is_rare and feed.request_id != request]
        self._end(unrefused)
        if not self._silent:
            return
        feed = next(iter(self._silent))
        # the next time it is another's turn: this one may have nothing to tell
        self._silent[feed] = self._silent.pop(feed)
        self._ask_again(feed)
        self._wait = min(self._wait * 2, LONGEST_RETRY)
        self._timer = asyncio.get_running_loop().call_later(self._wait, self._on_timer)

    def look(self, changed: Sequence[Feed]) -> None:
        """Feeds that have a new value."""
        now = asyncio.get_running_loop().time()
        back = [feed for feed in changed if feed in self._silent and self._is_back(feed, now)]
        if not back:
            return
        symbols = {feed.instrument.symbol for feed in back}
        others = {feed: request for feed, (request, _) in self._silent.items() if feed not in back}
        self._end([*back, *(feed for feed in others if feed.is_rare or feed.instrument.symbol in symbols)])
        for feed, request in others.items():
            if feed.request_id == request:
                self._ask_again(feed)

    def _end(self, back: Sequence[Feed]) -> None:
        if not back:
            return
        for feed in back:
            del self._silent[feed]
        # a rare feed says nothing of a symbol whose quotes are still silent
        still = {feed.instrument.symbol for feed in self._silent}
        symbols = tuple(dict.fromkeys(one.instrument.symbol for one in back if one.instrument.symbol not in still))
        if symbols:
            self._tell(LinkEventKind.SUBSCRIPTIONS_RESTORED, "market data is back", restored=len(back), symbols=symbols)
        self._stop_when_done()

    def _is_back(self, feed: Feed, now: float) -> bool:
        request, since = self._silent[feed]
        return feed.has_price and (feed.request_id != request or now - since > IN_FLIGHT)

    def forget(self, feed: Feed) -> None:
        """It was given up, or ended with an error."""
        self._silent.pop(feed, None)
        if feed in self._told:
            self._told.remove(feed)
        self._stop_when_done()

    def clear(self) -> None:
        """The link is lost, and with it what was silent."""
        self._silent.clear()
        self._told.clear()
        self._stop_when_done()

    def _stop_when_done(self) -> None:
        if not self._silent and self._timer is not None:
            self._timer.cancel()
            self._timer = None
