"""Market-data lines of one session under the account's allowance: who uses them, and which symbols are polled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.subscriptions import Subscriptions
from ..errors import BrokerError, DeadlineExceeded, InvalidRequest, NoPermission, RequestFailed
from .ib_line_budget import LineBudget
from .ib_line_budget_terms import TERMS, BudgetTerms
from .ib_line_budget_wants import Changes, Turn
from .ib_line_report import subscriptions
from .ib_polled_line import PolledLine
from .ib_transport import IbTransport, MarketListener, QuoteLine

logger = logging.getLogger(__name__)

#: IB's code for more lines than the account has.
TOO_MANY_LINES = 101
#: Seconds between two looks at the lines.
LOOK_EVERY = 1.0


class LineKeeper:
    """Opens, shares, demotes and polls for one transport, as `LineBudget` says.

    A contract that was asked for once keeps its line until the budget needs it for another. `on_dropped(number)` tells
    of a line given up. Polled values go to the listeners as any line's do. Everything runs on the loop.
    """

    def __init__(
        self,
        transport: IbTransport,
        allowance: int,
        on_dropped: Callable[[int], object],
        clock: Clock,
        terms: BudgetTerms = TERMS,
        *,
        share_for_questions: float = 0.3,
    ) -> None:
        self._transport = transport
        self._on_dropped = on_dropped
        self._clock = clock
        self.budget = LineBudget(allowance, clock.monotonic, terms, share_for_questions=share_for_questions)
        #: Instruments of positions and open orders; None while they are not known, and then the last ones stay.
        self.pinned: Callable[[], Iterable[Instrument] | None] | None = None
        #: Called after each look at the lines.
        self.after_look: Callable[[], object] | None = None
        self._instruments: dict[int, Instrument] = {}
        self._open: dict[int, QuoteLine] = {}
        self._polled: dict[int, PolledLine] = {}
        #: Line -> `updates` when it was last looked at.
        self._seen: dict[int, int] = {}
        self._pins: frozenset[int] = frozenset()
        self._listeners: list[MarketListener] = []
        self._polls: set[asyncio.Task[None]] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def allowance(self) -> int:
        """Lines that the session is believed to have."""
        return self.budget.allowance.believed

    @allowance.setter
    def allowance(self, lines: int) -> None:
        self.budget.allowance.configure(lines)

    def add_listener(self, listener: MarketListener) -> None:
        self._listeners.append(listener)

    def remove_listener(self, listener: MarketListener) -> None:
        self._listeners.remove(listener)

    def get(self, number: int) -> QuoteLine | None:
        """The line of a contract, or what was last polled of it; None when it has neither. Does not count as use."""
        line = self._open.get(number)
        if line is None or line.last_update is None:
            return self._polled.get(number, line)
        return line

    def lines(self) -> list[QuoteLine]:
        """Every market-data line that is open."""
        return list(self._open.values())

    def report(self) -> Subscriptions:
        return subscriptions(self.budget, self._instruments, self.get, self._clock)

    def start(self) -> None:
        """Look at the lines from now on until `close`; the first use of a line starts it too."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._on_timer)

    # One value

    async def take(self, instrument: Instrument, deadline: float) -> QuoteLine:
        """The line of a contract, opened when it has none; a line that failed is asked for again. Where streams have
        every line it is polled: the answer then has a new value.

        Raises InvalidRequest when not even a poll is possible, DeadlineExceeded when there is no room for long, and
        what a snapshot raises.
        """
        number = self._know(instrument)
        line = self._open.get(number)
        if line is not None and line.error is not None:
            self._end_failed(number, line)
            line = self._open.get(number)
        if line is not None:
            self.budget.use(number)
            return line
        ends = self._clock.monotonic() + deadline
        async with self._within(deadline):
            while True:
                turn, changes = self.budget.ask(number)
                self._carry_out(changes)
                if turn is not Turn.WAIT:
                    break
                await self._freed()
        if turn is Turn.NEVER:
            raise self._impossible("one more market-data line")
        if number in self._open:
            return self._open[number]
        polled = self._polled_line(number)
        if turn is Turn.LINE and polled.error is not None:
            raise polled.error
        await self._next_poll(polled, max(ends - self._clock.monotonic(), 0.0))
        return polled

    async def _next_poll(self, line: PolledLine, deadline: float) -> None:
        waiting = asyncio.ensure_future(line.next(deadline))
        await asyncio.sleep(0)
        self._start_polls()
        await waiting

    def failed(self, instrument: Instrument, error: RequestFailed) -> bool:
        """The line of a caller failed and is given up: whether its value may be had by `take` all the same."""
        number = self._know(instrument)
        line = self._open.get(number)
        if error.code == TOO_MANY_LINES and line is not None:
            self._end_failed(number, line)
            return True
        self.let_go(number)
        return False

    @asynccontextmanager
    async def awaiting(self, number: int) -> AsyncIterator[None]:
        """Somebody waits for this line's first value."""
        self.budget.begin_waiting(number)
        try:
            yield
        finally:
            self._carry_out(self.budget.end_waiting(number))
            self.wake()

    # Consumers

    def keep(self, instrument: Instrument) -> QuoteLine:
        """A consumer wants this contract until `unhold`: its line, or the polled one. Never waits.

        Raises InvalidRequest when not even a poll is possible.
        """
        number = self._know(instrument)
        self.hold(number)
        line = self._open.get(number)
        if line is not None:
            return line
        if self.budget.is_full:
            self.unhold(number)
            raise self._impossible(f"quotes of {instrument}")
        return self._polled_line(number)

    def hold(self, number: int) -> None:
        """As `keep`, of a contract that was taken."""
        self._carry_out(self.budget.hold(number))
        self._start_polls()

    def unhold(self, number: int) -> None:
        self._carry_out(self.budget.unhold(number))
        self.wake()

    def promote(self, instrument: Instrument, why: str) -> bool:
        """HOT for a while; False when the budget has no room for more, or its line was refused."""
        promoted, changes = self.budget.promote(self._know(instrument), why)
        self._carry_out(changes)
        return promoted

    # Lines of their own

    @asynccontextmanager
    async def lent(self, deadline: float) -> AsyncIterator[None]:
        """One line of the allowance for a question of its own, once there is room. Raises InvalidRequest when HOT
        symbols have all lines, DeadlineExceeded when other questions do for long."""
        await self._lease(self.budget.lend, deadline)
        try:
            yield
        except RequestFailed as error:
            if error.code == TOO_MANY_LINES:
                self._carry_out(self.budget.too_many(self.budget.used - 1))
            raise
        finally:
            self._carry_out(self.budget.give_back(questions=1))
            self.wake()

    async def take_news(self, deadline: float) -> None:
        """A line for one symbol's news, until `give_news`. Raises as `lent` does."""
        await self._lease(self.budget.lend_news, deadline)

    def give_news(self, count: int) -> None:
        self._carry_out(self.budget.give_back(news=count))
        self.wake()

    async def _lease(self, lend: Callable[[], tuple[Turn, Changes]], deadline: float) -> None:
        async with self._within(deadline):
            while True:
                turn, changes = lend()
                self._carry_out(changes)
                if turn is not Turn.WAIT:
                    break
                await self._freed()
        if turn is Turn.NEVER:
            raise self._impossible("one more market-data line")

    @asynccontextmanager
    async def _within(self, deadline: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(deadline):
                yield
        except TimeoutError:
            what = "one more market-data line"
            raise DeadlineExceeded(what, timedelta(seconds=deadline), "ask for less at once") from None

    def _impossible(self, what: str) -> InvalidRequest:
        return InvalidRequest(
            what,
            f"all {self.allowance} lines of the account are in use by positions, open orders, events and news",
            "close a stream of news, or raise the number of lines if the account has more",
        )

    async def _freed(self) -> None:
        self._waiting.append(asyncio.get_running_loop().create_future())
        await self._waiting[-1]

    def wake(self) -> None:
        """A line came free, or may be given up from now on."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    # Carrying out

    def _know(self, instrument: Instrument) -> int:
        number = instrument.con_id or 0
        self._instruments[number] = instrument
        self.start()
        return number

    def _carry_out(self, changes: Changes) -> None:
        for number in changes.close:
            self._close_line(number)
        for number in changes.open:
            try:
                self._open[number] = self._transport.subscribe_quotes(self._instruments[number])
            except BrokerError as error:
                self._polled_line(number).failed(error)
                self._carry_out(self.budget.barred(number, self.budget.terms.retry))
        if changes.close:
            self.wake()

    def _close_line(self, number: int) -> None:
        line = self._open.pop(number, None)
        self._seen.pop(number, None)
        self._on_dropped(number)
        if line is None:
            return
        self._transport.unsubscribe_quotes(line.instrument)
        want = self.budget.want(number)
        if want is not None and want.is_wanted and line.last_update is not None:
            self._polled_line(number).begin(line.quote(), line.last_update)

    def _polled_line(self, number: int) -> PolledLine:
        line = self._polled.get(number)
        if line is None:
            made = PolledLine(self._instruments[number], self._clock.now(), self._transport.name)
            line = self._polled[number] = made
        return line

    def let_go(self, number: int) -> None:
        """Give up the line of a contract, whoever holds it."""
        self._close_line(number)
        self._carry_out(self.budget.closed(number))
        self.wake()

    def _end_failed(self, number: int, line: QuoteLine) -> None:
        """IB ended or refused this line: what wants it is polled, and the line is asked for again later."""
        want, error, terms = self.budget.want(number), line.error, self.budget.terms
        self._close_line(number)
        if isinstance(error, RequestFailed) and error.code == TOO_MANY_LINES:
            self._carry_out(self.budget.refused(number))
            logger.warning("IB gives no more lines (101); %d are believed in from now on", self.allowance)
        elif want is not None and want.is_wanted:
            wait = terms.permission_retry if isinstance(error, NoPermission) else terms.retry
            self._carry_out(self.budget.barred(number, wait))
            self._polled_line(number).failed(error)
        else:
            self._carry_out(self.budget.closed(number))
        self.wake()

    # Looking

    def _on_timer(self) -> None:
        self.look()
        delay = self.budget.terms.poll_spacing if self.budget.slots else LOOK_EVERY
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def look(self) -> None:
        """Follow what happened to the lines, bring lines and wants together, and start what polls are due."""
        now = self._clock.monotonic()
        for number, line in list(self._open.items()):
            want = self.budget.want(number)
            if line.error is not None and want is not None and want.is_wanted:
                self._end_failed(number, line)
            elif line.updates != self._seen.get(number):
                self._seen[number] = line.updates
                self.budget.changed(number, now)
                self._polled.pop(number, None)
        self._follow_pins()
        self._carry_out(self.budget.settle())
        self._start_polls()
        self._forget()
        if self.after_look is not None:
            self.after_look()

    def _follow_pins(self) -> None:
        held = self.pinned() if self.pinned is not None else None
        if held is None:
            return
        pins = frozenset(self._know(instrument) for instrument in held if instrument.con_id)
        if pins != self._pins:
            self._pins = pins
            self._carry_out(self.budget.pin(pins))

    def _forget(self) -> None:
        for number in [one for one in self._instruments if self.budget.want(one) is None]:
            del self._instruments[number]
            self._polled.pop(number, None)

    # Polls

    def _start_polls(self) -> None:
        while (number := self.budget.next_poll()) is not None:
            task = asyncio.get_running_loop().create_task(self._poll(number), name=f"snapshot of {number}")
            self._polls.add(task)
            task.add_done_callback(self._polls.discard)

    async def _poll(self, number: int) -> None:
        line, changed = self._polled_line(number), False
        try:
            quote = await self._transport.snapshot(line.instrument, self.budget.terms.snapshot_life)
            changed = line.tell(quote, self._clock.monotonic())
            if number not in self._open:
                for listener in self._listeners:
                    listener.on_lines([line])
        except RequestFailed as error:
            self._poll_refused(number, line, error)
        except BrokerError as error:
            line.failed(error)
        finally:
            self._carry_out(self.budget.poll_ended(number, changed=changed))
            self.wake()

    def _poll_refused(self, number: int, line: PolledLine, error: RequestFailed) -> None:
        terms = self.budget.terms
        if error.code == TOO_MANY_LINES:
            self._carry_out(self.budget.too_many(self.budget.used - 1))
        else:
            wait = terms.permission_retry if isinstance(error, NoPermission) else terms.retry
            self._carry_out(self.budget.barred(number, wait, polls_too=True))
        line.failed(error)

    def close(self) -> None:
        """Give up every line and end what runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in tuple(self._polls):
            task.cancel()
        for number in tuple(self._open):
            self._close_line(number)
        self._pins = frozenset()
        self._polled.clear()
        self._instruments.clear()
        self.budget.end()
