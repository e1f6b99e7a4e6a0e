"""Options of one IB session, as data: chains kept for the day, quotes and activity in rounds within the allowance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import date
from typing import TypeVar

from ..base_broker import Symbol, spelling
from ..calendar import MarketCalendar
from ..domain.clock import Clock
from ..domain.instrument import Instrument, SecType
from ..domain.options import OptionActivity, OptionChain, OptionQuote
from ..errors import BrokerError, InvalidRequest, NoData, RequestFailed, UnknownInstrument
from .ib_contracts import ContractBook
from .ib_data_manager import IBDataManager
from .ib_transport import IbTransport, LinkEvent, LinkEventKind

#: IB's code for "no security definition".
_NO_CONTRACT = 200
_Answer = TypeVar("_Answer")
_Asked = TypeVar("_Asked")


class IBOptions:
    """Chains, option quotes and the activity of underlyings over one transport. A question takes one market-data line
    of the data manager's allowance while it runs, `lines_for_questions` of them at once."""

    def __init__(
        self,
        transport: IbTransport,
        contracts: ContractBook,
        data: IBDataManager,
        clock: Clock,
        calendar: MarketCalendar,
    ) -> None:
        self._transport = transport
        self._contracts = contracts
        self._data = data
        self._clock = clock
        self._calendar = calendar
        self._lines = asyncio.Semaphore(min(data.policy.lines_for_questions, data.policy.lines))
        #: Contract number of the underlying -> (exchange's date, chains).
        self._chains: dict[int, tuple[date, list[OptionChain]]] = {}
        self._asking: dict[int, asyncio.Task[list[OptionChain]]] = {}
        transport.add_link_listener(self._on_link)

    def _on_link(self, event: LinkEvent) -> None:
        if event.kind is LinkEventKind.LOST:
            self._chains.clear()

    async def chain(self, symbol: Symbol) -> list[OptionChain]:
        """Asked for once a session and day; callers at the same time share the question."""
        underlying = await self._contracts.qualify(symbol)
        number = underlying.con_id or 0
        today = self._clock.now().astimezone(self._calendar.zone).date()
        known = self._chains.get(number)
        if known is not None and known[0] == today:
            return list(known[1])
        task = self._asking.get(number)
        if task is None:
            task = self._asking[number] = asyncio.ensure_future(self._ask(underlying))
            task.add_done_callback(lambda done: self._asked(number, today, done))
        return list(await asyncio.shield(task))

    async def _ask(self, underlying: Instrument) -> list[OptionChain]:
        found = list(await self._transport.option_chains(underlying))
        if not found:
            raise NoData(f"option chain of {underlying}", "the broker lists no options on it", "choose another symbol")
        return found

    def _asked(self, number: int, today: date, done: asyncio.Task[list[OptionChain]]) -> None:
        self._asking.pop(number, None)
        if not done.cancelled() and done.exception() is None:
            self._chains[number] = (today, done.result())

    async def quotes(self, options: Iterable[Instrument]) -> dict[Instrument, OptionQuote | BrokerError]:
        """See `BaseBroker.option_quotes`. A contract is quoted as it was described, so that a chain of a hundred
        costs no hundred look-ups."""
        wanted = list(dict.fromkeys(options))
        answers = await asyncio.gather(*(_settled(self._quote, one) for one in wanted))
        return dict(zip(wanted, answers, strict=True))

    async def _quote(self, option: Instrument) -> OptionQuote:
        if option.sec_type is not SecType.OPTION:
            raise InvalidRequest(f"option quote of {option}", "it is no option", "take contracts from a chain")
        try:
            return await self._with_line(lambda: self._transport.option_quote(option, self._data.policy.quote_deadline))
        except RequestFailed as error:
            if error.code != _NO_CONTRACT:
                raise
            why = "the broker lists no such contract; a chain is a cross product, not every pair exists"
            raise UnknownInstrument(f"contract {option}", why, "take another strike or expiry") from error

    async def activity(self, symbols: Iterable[Symbol]) -> dict[str, OptionActivity | BrokerError]:
        """See `BaseBroker.option_activity`."""
        wanted = {spelling(symbol): symbol for symbol in symbols}
        answers = await asyncio.gather(*(_settled(self._activity, symbol) for symbol in wanted.values()))
        return dict(zip(wanted, answers, strict=True))

    async def _activity(self, symbol: Symbol) -> OptionActivity:
        underlying = await self._contracts.qualify(symbol)
        deadline = self._data.policy.quote_deadline
        return await self._with_line(lambda: self._transport.option_activity(underlying, deadline))

    async def _with_line(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        async with self._lines, self._data.lent_line():
            return await ask()


async def _settled(ask: Callable[[_Asked], Awaitable[_Answer]], what: _Asked) -> _Answer | BrokerError:
    """The answer, or the refusal in its place. It asks when it runs: a task cancelled before that leaves nothing."""
    try:
        return await ask(what)
    except BrokerError as error:
        return error
