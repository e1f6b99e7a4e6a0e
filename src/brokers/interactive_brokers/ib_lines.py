"""Market-data lines of one session under the account's allowance: who uses them, and which is given up for another."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from ..domain.instrument import Instrument
from ..errors import DeadlineExceeded, InvalidRequest
from .ib_transport import IbTransport, QuoteLine


class LineKeeper:
    """Opens and shares the quote lines of one transport.

    A contract that was asked for once keeps its line until the allowance needs it for another: the least recently used
    goes first; lines that a stream holds or somebody waits for stay. `on_dropped(number)` tells of a line given up.
    """

    def __init__(self, transport: IbTransport, allowance: int, on_dropped: Callable[[int], object]) -> None:
        self._transport = transport
        self.allowance = allowance
        self._on_dropped = on_dropped
        self._open: OrderedDict[int, QuoteLine] = OrderedDict()
        #: Contract number -> how many streams hold its line.
        self._held: Counter[int] = Counter()
        #: Contract number -> how many wait for its line's first value.
        self._awaited: Counter[int] = Counter()
        #: Lines of their own, which no quote shares: of running questions, and of streams of news.
        self._questions = 0
        self._news = 0
        self._waiting: list[asyncio.Future[None]] = []

    def get(self, number: int) -> QuoteLine | None:
        """The open line of a contract; None when it has none. Does not count as use."""
        return self._open.get(number)

    def lines(self) -> list[QuoteLine]:
        """Every line that is open."""
        return list(self._open.values())

    async def take(self, instrument: Instrument, deadline: float) -> QuoteLine:
        """The line of a contract, opened when it has none; a line that failed is asked for again.

        Raises InvalidRequest when streams hold every line, DeadlineExceeded when there is no room for long.
        """
        number = instrument.con_id or 0
        line = self._open.get(number)
        if line is None or line.error is not None:
            self.let_go(number)
            await self.room(deadline)
            line = self._open.get(number)  # somebody else may have asked meanwhile
        if line is None:
            line = self._open[number] = self._transport.subscribe_quotes(instrument)
        self._open.move_to_end(number)
        return line

    def hold(self, number: int) -> None:
        """A stream needs this line until it says `unhold`."""
        self._held[number] += 1

    def unhold(self, number: int) -> None:
        self._held[number] -= 1
        if self._held[number] <= 0:
            del self._held[number]

    @asynccontextmanager
    async def awaiting(self, number: int) -> AsyncIterator[None]:
        """Somebody waits for this line's first value."""
        self._awaited[number] += 1
        try:
            yield
        finally:
            self._awaited[number] -= 1
            self.wake()

    @asynccontextmanager
    async def lent(self, deadline: float) -> AsyncIterator[None]:
        """One line of the allowance for a question of its own, once there is room. Raises InvalidRequest when streams
        hold all lines, DeadlineExceeded when other questions do for long."""
        await self.room(deadline)
        self._questions += 1
        try:
            yield
        finally:
            self._questions -= 1
            self.wake()

    async def take_news(self, deadline: float) -> None:
        """A line for one symbol's news, until `give_news`."""
        await self.room(deadline)
        self._news += 1

    def give_news(self, count: int) -> None:
        self._news -= count

    async def room(self, deadline: float) -> None:
        """Wait until one more line may be opened."""
        try:
            async with asyncio.timeout(deadline):
                while not self._has_room():
                    self._waiting.append(asyncio.get_running_loop().create_future())
                    await self._waiting[-1]
        except TimeoutError:
            what = "one more market-data line"
            raise DeadlineExceeded(what, timedelta(seconds=deadline), "ask for less at once") from None

    def wake(self) -> None:
        """A line came free, or may be given up from now on."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _has_room(self) -> bool:
        """Give up the least recently used line that nobody needs, while the allowance is used up (D12). False while
        questions that will end hold the rest; InvalidRequest when streams do."""
        while len(set(self._open) | set(self._held)) + self._questions + self._news >= self.allowance:
            idle = next((one for one in self._open if one not in self._held and not self._awaited[one]), None)
            if idle is not None:
                self.let_go(idle)
            elif self._questions or any(one not in self._held for one in self._open):
                return False
            else:
                raise InvalidRequest(
                    "one more market-data line",
                    f"all {self.allowance} lines of the account are in use by streams",
                    "close a stream, or raise the number of lines if the account has more",
                )
        return True

    def let_go(self, number: int) -> None:
        line = self._open.pop(number, None)
        self._on_dropped(number)
        if line is not None:
            self._transport.unsubscribe_quotes(line.instrument)

    def close(self) -> None:
        for number in tuple(self._open):
            self.let_go(number)
