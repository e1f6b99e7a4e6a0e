"""Which gateway of a pool carries which quote line or stream, and what moves when one is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..domain.instrument import Instrument
from ..domain.market_data import Bar
from ..errors import BrokerError
from .ib_pool_member import PoolMember
from .ib_shared_lines import SharedLine
from .ib_transport import BarListener, BarRequest, IbTransport

logger = logging.getLogger(__name__)

_Opened = TypeVar("_Opened")
#: Members that may carry one more line (True) or stream (False), the best first; never empty.
Candidates = Callable[[bool], Sequence[PoolMember]]


@dataclass(slots=True)
class _PlacedLine:
    line: SharedLine
    member: PoolMember


@dataclass(slots=True)
class _PlacedStream:
    """A tick-by-tick or depth subscription as it was intended; `inner` is its handle at `member`."""

    subscribe: Callable[[IbTransport], int]
    instrument: Instrument
    member: PoolMember
    inner: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Symbols that have a new place, and those that could not be had anywhere else and stay where they were."""

    moved: tuple[str, ...]
    stayed: tuple[str, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.moved, *self.stayed)))


class PoolLines:
    """Every line and stream of one pool, each at one member."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._lines: dict[int, _PlacedLine] = {}
        self._streams: dict[int, _PlacedStream] = {}
        self._bars: dict[int, tuple[PoolMember, int]] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._lines) + len(self._streams) + len(self._bars)

    def symbols_at(self, member: PoolMember) -> tuple[str, ...]:
        """What `member` carries; live bars left out, whose readers ask anew by themselves."""
        lines = [row.line.instrument.symbol for row in self._lines.values() if row.member is member]
        streams = [row.instrument.symbol for row in self._streams.values() if row.member is member]
        return tuple(dict.fromkeys(lines + streams))

    # Quotes

    def subscribe(self, instrument: Instrument) -> SharedLine:
        """Raises what the last candidate raised when none of them takes it."""
        number = instrument.con_id or 0
        placed = self._lines.get(number)
        if placed is None:
            member, line = self._open(True, lambda door: door.subscribe_quotes(instrument))
            placed = self._lines[number] = _PlacedLine(SharedLine(instrument, line), member)
            member.lines += 1
        placed.line.users += 1
        return placed.line

    def unsubscribe(self, instrument: Instrument) -> None:
        placed = self._lines.get(instrument.con_id or 0)
        if placed is None:
            return
        placed.line.users -= 1
        if placed.line.users <= 0:
            del self._lines[instrument.con_id or 0]
            placed.member.lines -= 1
            placed.member.transport.unsubscribe_quotes(instrument)

    def _open(self, is_line: bool, subscribe: Callable[[IbTransport], _Opened]) -> tuple[PoolMember, _Opened]:
        """At the first candidate that takes it; the last one's refusal is raised."""
        *others, last = self._candidates(is_line)
        for member in others:
            try:
                return member, subscribe(member.transport)
            except BrokerError as error:
                logger.info("gateway %s refuses a subscription: %s", member.name, error)
        return last, subscribe(last.transport)

    # Streams

    def open_stream(self, instrument: Instrument, subscribe: Callable[[IbTransport], int]) -> int:
        member, inner = self._open(False, subscribe)
        member.streams += 1
        handle = self._take_handle()
        self._streams[handle] = _PlacedStream(subscribe, instrument, member, inner)
        return handle

    async def open_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        """At the best candidate; the client that loses its link ends them, and whoever reads them asks anew."""
        member = self._candidates(False)[0]
        handle = self._take_handle()
        relay = _BarRelay(listener, lambda: self._forget_bars(handle))
        inner, bars = await member.ask(lambda door: door.live_bars(request, relay))
        if not relay.has_ended:
            self._bars[handle] = (member, inner)
            member.streams += 1
        return handle, bars

    def _forget_bars(self, handle: int) -> tuple[PoolMember, int] | None:
        found = self._bars.pop(handle, None)
        if found is not None:
            found[0].streams -= 1
        return found

    def close(self, handle: int) -> None:
        stream = self._streams.pop(handle, None)
        if stream is not None:
            stream.member.streams -= 1
            stream.member.transport.unsubscribe(stream.inner)
        bars = self._forget_bars(handle)
        if bars is not None:
            bars[0].transport.unsubscribe(bars[1])

    def _take_handle(self) -> int:
        handle, self._next = self._next, self._next + 1
        return handle

    # Moving

    def leave(self, members: Iterable[PoolMember]) -> Moved:
        """Ask for everything of `members` at better places; what none of them takes stays intended where it was."""
        left = frozenset(members)
        moved: list[str] = []
        stayed: list[str] = []
        for line in tuple(self._lines.values()):
            if line.member in left:
                (moved if self._move_line(line, left) else stayed).append(line.line.instrument.symbol)
        for stream in tuple(self._streams.values()):
            if stream.member in left:
                (moved if self._move_stream(stream, left) else stayed).append(stream.instrument.symbol)
        return Moved(tuple(dict.fromkeys(moved)), tuple(dict.fromkeys(stayed)))

    def ask_again(self, member: PoolMember) -> None:
        """Ask for everything of `member` anew: its session is not the one that knew of it."""
        for line in tuple(self._lines.values()):
            if line.member is member:
                member.transport.unsubscribe_quotes(line.line.instrument)
                line.line.move(member.transport.subscribe_quotes(line.line.instrument))
        for stream in tuple(self._streams.values()):
            if stream.member is member:
                member.transport.unsubscribe(stream.inner)
                stream.inner = stream.subscribe(member.transport)

    def _move_line(self, placed: _PlacedLine, left: frozenset[PoolMember]) -> bool:
        instrument = placed.line.instrument
        for member in self._candidates(True):
            if member in left or not member.is_ready or not member.has_room:
                continue
            try:
                line = member.transport.subscribe_quotes(instrument)
            except BrokerError as error:
                logger.info("%s cannot be had through %s: %s", instrument, member.name, error)
                continue
            placed.member.transport.unsubscribe_quotes(instrument)
            placed.member.lines -= 1
            member.lines += 1
            placed.member = member
            placed.line.move(line)
            return True
        return False

    def _move_stream(self, stream: _PlacedStream, left: frozenset[PoolMember]) -> bool:
        for member in self._candidates(False):
            if member in left or not member.is_ready:
                continue
            try:
                inner = stream.subscribe(member.transport)
            except BrokerError as error:
                logger.info("a stream of %s cannot be had through %s: %s", stream.instrument, member.name, error)
                continue
            stream.member.transport.unsubscribe(stream.inner)
            stream.member.streams -= 1
            member.streams += 1
            stream.member, stream.inner = member, inner
            return True
        return False


class _BarRelay:
    """Hands bars on, and forgets the subscription with its end."""

    def __init__(self, listener: BarListener, on_end: Callable[[], object]) -> None:
        self._listener = listener
        self._on_end = on_end
        self.has_ended = False

    def on_bar(self, bar: Bar) -> None:
        self._listener.on_bar(bar)

    def on_bars_ended(self, error: Exception) -> None:
        self.has_ended = True
        self._on_end()
        self._listener.on_bars_ended(error)
