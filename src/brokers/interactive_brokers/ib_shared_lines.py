"""Quote lines and streams that outlive a change of doors: what was asked for is asked for again at the new one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..domain.instrument import Instrument
from ..domain.market_data import Bar, DataType, Quote
from ..errors import BrokerError, LinkLost
from .ib_transport import BarListener, BarRequest, IbTransport, QuoteLine

logger = logging.getLogger(__name__)


class SharedLine:
    """One contract's line, whichever door it comes through (a QuoteLine). `updates` only ever grows."""

    def __init__(self, instrument: Instrument, line: QuoteLine) -> None:
        self.instrument = instrument
        self.users = 0
        self._line = line
        self._before = 0
        #: Done when the line has moved; None while nobody waits.
        self._moved: asyncio.Future[None] | None = None

    def move(self, line: QuoteLine) -> None:
        self._before += self._line.updates
        self._line = line
        moved, self._moved = self._moved, None
        if moved is not None:
            moved.set_result(None)

    @property
    def updates(self) -> int:
        return self._before + self._line.updates

    @property
    def last_update(self) -> float | None:
        return self._line.last_update

    @property
    def error(self) -> Exception | None:
        return self._line.error

    @property
    def data_type(self) -> DataType:
        return self._line.data_type

    def quote(self) -> Quote:
        return self._line.quote()

    def shortable(self) -> tuple[float | None, float | None]:
        return self._line.shortable()

    async def first(self, deadline: float) -> Quote:
        """A line that moves while somebody waits goes on with what is left of the deadline."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + deadline
        while True:
            self._moved = moved = self._moved or loop.create_future()
            waiting = asyncio.ensure_future(self._line.first(max(ends - loop.time(), 0.0)))
            try:
                await asyncio.wait({waiting, moved}, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    return waiting.result()
            finally:
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait({waiting})


class SharedLines:
    """Every quote line of one session, by contract number."""

    def __init__(self, door: IbTransport) -> None:
        self._door = door
        self._lines: dict[int, SharedLine] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def subscribe(self, instrument: Instrument) -> SharedLine:
        number = instrument.con_id or 0
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = SharedLine(instrument, self._door.subscribe_quotes(instrument))
        line.users += 1
        return line

    def unsubscribe(self, instrument: Instrument) -> None:
        line = self._lines.get(instrument.con_id or 0)
        if line is None:
            return
        line.users -= 1
        if line.users <= 0:
            del self._lines[instrument.con_id or 0]
            self._door.unsubscribe_quotes(instrument)

    def move(self, door: IbTransport) -> tuple[int, int]:
        """Ask for every line at `door`: (asked, failed). A line that cannot be had there keeps its last value."""
        old, self._door = self._door, door
        moved = failed = 0
        for line in self._lines.values():
            old.unsubscribe_quotes(line.instrument)
            try:
                line.move(door.subscribe_quotes(line.instrument))
                moved += 1
            except BrokerError as error:
                failed += 1
                logger.warning("%s cannot be had through %s: %s", line.instrument, door.name, error)
        return moved, failed


@dataclass(slots=True)
class _Stream:
    """A tick-by-tick or depth subscription as it was intended; `inner` is its handle at the door, None while it has
    none there."""

    subscribe: Callable[[IbTransport], int]
    about: str
    door: IbTransport
    inner: int | None


class SharedStreams:
    """Handles of tick-by-tick, depth and live-bar subscriptions over doors.

    Live bars end with a change of doors: whoever reads them asks anew and fills the gap, as after any lost link.
    """

    def __init__(self, door: IbTransport) -> None:
        self._door = door
        self._streams: dict[int, _Stream] = {}
        self._bars: dict[int, tuple[IbTransport, int, BarListener]] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._streams) + len(self._bars)

    def _take_handle(self) -> int:
        handle, self._next = self._next, self._next + 1
        return handle

    def open(self, subscribe: Callable[[IbTransport], int], about: str) -> int:
        inner = subscribe(self._door)
        handle = self._take_handle()
        self._streams[handle] = _Stream(subscribe, about, self._door, inner)
        return handle

    async def open_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        door, handle = self._door, self._take_handle()
        relay = _Bars(listener, lambda: self._bars.pop(handle, None))
        inner, bars = await door.live_bars(request, relay)
        if door is not self._door:
            door.unsubscribe(inner)
            raise LinkLost(
                f"live bars of {request.instrument}", "the data moved to another door meanwhile", "ask again"
            )
        self._bars[handle] = (door, inner, relay)
        return handle, bars

    def close(self, handle: int) -> None:
        stream = self._streams.pop(handle, None)
        if stream is not None and stream.inner is not None:
            stream.door.unsubscribe(stream.inner)
        bars = self._bars.pop(handle, None)
        if bars is not None:
            bars[0].unsubscribe(bars[1])

    def move(self, door: IbTransport) -> tuple[int, int]:
        """(asked again, failed or ended)."""
        self._door = door
        moved = failed = 0
        for stream in self._streams.values():
            if stream.inner is not None:
                stream.door.unsubscribe(stream.inner)
            stream.door, stream.inner = door, None
            try:
                stream.inner = stream.subscribe(door)
                moved += 1
            except BrokerError as error:
                failed += 1
                logger.warning("%s cannot be had through %s: %s", stream.about, door.name, error)
        for old, inner, listener in list(self._bars.values()):
            old.unsubscribe(inner)
            listener.on_bars_ended(LinkLost("live bars", f"the data comes through {door.name} now", "ask again"))
        return moved, failed


class _Bars:
    """Hands bars on, and forgets the subscription with its end."""

    def __init__(self, listener: BarListener, on_end: Callable[[], object]) -> None:
        self._listener = listener
        self._on_end = on_end
        self._ended = False

    def on_bar(self, bar: Bar) -> None:
        if not self._ended:
            self._listener.on_bar(bar)

    def on_bars_ended(self, error: Exception) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()
            self._listener.on_bars_ended(error)
