"""Quote lines that stopped telling: a gap when they stop, one of them asked again now and then, and the end of the gap
with the first value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ..ib_transport import LinkEventKind
from .quote_line import Line

#: Seconds until one of the lines is asked for again, doubled up to the longest; the others follow once it tells.
FIRST_RETRY, LONGEST_RETRY = 5.0, 60.0
#: A value this soon after the line was said to be silent was on its way already.
IN_FLIGHT = 1.0


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
    """The lines of one client whose data another session has (10197), or that a watch found silent (D01)."""

    def __init__(self, ask_again: Callable[[Line], None], tell: Tell) -> None:
        self._ask_again = ask_again
        self._tell = tell
        #: Line -> its request when it fell silent, and when that was (monotonic).
        self._silent: dict[Line, tuple[int, float]] = {}
        self._told: list[Line] = []
        self._reason: tuple[str, int | None] = ("", None)
        self._wait = FIRST_RETRY
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._silent)

    def add(self, lines: Iterable[Line], text: str, code: int | None = None) -> None:
        """These lines tell nothing any more; those that were known to are not told of again."""
        loop = asyncio.get_running_loop()
        for line in lines:
            if line in self._silent:
                continue
            if not self._told:
                # the messages of one packet make one gap
                loop.call_soon(self._tell_gap)
            self._told.append(line)
            self._silent[line] = line.request_id, loop.time()
        self._reason = text, code
        if self._silent and self._timer is None:
            self._wait = FIRST_RETRY
            self._timer = loop.call_later(self._wait, self._on_timer)

    def _tell_gap(self) -> None:
        symbols = tuple(line.instrument.symbol for line in self._told)
        self._told.clear()
        if symbols:
            text, code = self._reason
            self._tell(LinkEventKind.FARM_DOWN, text, code=code, symbols=symbols)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._silent:
            return
        line = next(iter(self._silent))
        # the next time it is another's turn: this one may have nothing to tell
        self._silent[line] = self._silent.pop(line)
        self._ask_again(line)
        self._wait = min(self._wait * 2, LONGEST_RETRY)
        self._timer = asyncio.get_running_loop().call_later(self._wait, self._on_timer)

    def look(self, changed: Sequence[Line]) -> None:
        """Lines that have a new value."""
        now = asyncio.get_running_loop().time()
        back = [line for line in changed if line in self._silent and self._is_back(line, now)]
        if not back:
            return
        for line in back:
            del self._silent[line]
        symbols = tuple(line.instrument.symbol for line in back)
        self._tell(LinkEventKind.SUBSCRIPTIONS_RESTORED, "market data is back", restored=len(symbols), symbols=symbols)
        for line, (request, _) in list(self._silent.items()):
            if line.request_id == request:
                self._ask_again(line)
        self._stop_when_done()

    def _is_back(self, line: Line, now: float) -> bool:
        request, since = self._silent[line]
        return line.has_price and (line.request_id != request or now - since > IN_FLIGHT)

    def forget(self, line: Line) -> None:
        """It was given up, or ended with an error."""
        self._silent.pop(line, None)
        if line in self._told:
            self._told.remove(line)
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
