"""Owned positions as they move: marks, profit and loss, exits that are due. All from the broker, nothing made up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Hashable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from ...brokers.base_broker import BaseBroker
from ...brokers.domain.account import Position
from ...brokers.domain.instrument import Instrument
from ...brokers.domain.market_data import Gap, MarketEvent, Quote, Resumed
from ...brokers.domain.order import Order, Side
from ...brokers.domain.reports import OrderEvent, OrderEventKind
from ...brokers.errors import BrokerError, DeadlineExceeded, LinkError, NotOwned, StaleData
from .exits import ExitDue, ExitRules, Held, exit_due, mark_of
from .lots import average_price, contract_key, entered, match, owned_fills
from .position_sources import PositionSources, QuotesEnded

log = logging.getLogger(__name__)

#: After these a position may be another one.
_MOVES = frozenset({OrderEventKind.FILL, OrderEventKind.FILL_CORRECTED, OrderEventKind.POSITION})
#: Reads that failed for the moment: tried again, while nothing is told.
_PASSING = (LinkError, DeadlineExceeded, StaleData)


@dataclass(frozen=True, slots=True)
class PositionUpdate:
    """An owned position at `time` (market time). `position.quantity` is signed, and 0 once it is closed.

    `mark` is what it can be left at now, None when there is no such price; `unpriced` then says why. `unrealized_pnl`
    is in the instrument's currency without fees, above 0 in profit; `gain` is the same as a fraction of the entry
    price. `exit` is the exit condition that holds, None when none does.
    """

    time: datetime
    position: Position
    entry_price: Decimal
    mark: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    gain: Decimal | None = None
    exit: ExitDue | None = None
    unpriced: str = ""

    @property
    def symbol(self) -> str:
        return self.position.instrument.symbol


@dataclass(frozen=True, slots=True)
class ExitReport:
    """`due` are positions to be left. `unchecked` are those whose price conditions could not be looked at, and why."""

    due: tuple[PositionUpdate, ...]
    unchecked: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """The orders that close a symbol, and the reason given."""

    symbol: str
    reason: str
    orders: tuple[Order, ...]


class PositionManager:
    """Watches what this journal owns. It closes only when told to: `check_exits` says, `close` does."""

    def __init__(self, broker: BaseBroker, rules: ExitRules | None = None) -> None:
        self.broker = broker
        self.rules = rules or ExitRules()
        #: (account, contract, sign) -> the best mark seen.
        self._best: dict[Hashable, Decimal] = {}
        self._closing = asyncio.Lock()

    async def stream_positions(self) -> AsyncGenerator[PositionUpdate | Gap | Resumed, None]:
        """Every owned position once, then an update with each of its quotes and with each fill that changes it.

        Gap and Resumed are passed on in their place. Between them no update comes for what they name; positions are
        read again before the first one after. A symbol whose quotes fail is told unpriced, and the others go on. Ends
        with the broker's session. Close it with `contextlib.aclosing`.
        """
        sources = PositionSources(self.broker)
        watch = _Watch(self)
        try:
            for update in await watch.read():
                yield update
            await sources.follow(watch.instruments)
            while (event := await sources.next()) is not None:
                if isinstance(event, Gap | Resumed):
                    yield event
                for update in await watch.take(event):
                    yield update
                await sources.follow(watch.instruments)
        finally:
            await sources.aclose()

    async def check_exits(self) -> ExitReport:
        """What is due now, by one fresh quote a symbol. Raises when the positions cannot be read."""
        due, unchecked = [], []
        for held in await self.holdings():
            try:
                quote = await self.broker.quote(held.position.instrument, max_age=self.rules.quote_age)
                update = self.look(held, quote)
            except BrokerError as error:
                update = self.look(held, None, str(error))
            if update.mark is None and self.rules.needs_mark:
                unchecked.append((update.symbol, update.unpriced))
            if update.exit is not None:
                due.append(update)
        return ExitReport(tuple(due), tuple(unchecked))

    async def close(self, symbol: str | Instrument, reason: str) -> Closing:
        """Cancel this journal's orders in the symbol and close what it owns of it by a collared limit.

        Raises NotOwned when it owns nothing of it, and StaleData without a two-sided quote: before anything is
        cancelled, so that a position that cannot be closed keeps its stop.
        """
        async with self._closing:
            instrument = (await self.broker.details(symbol)).instrument
            number = contract_key(instrument)
            owned = [p for p in await self.broker.owned_positions() if contract_key(p.instrument) == number]
            what = f"close {instrument}"
            if not owned:
                raise NotOwned(what, "this journal owns none of it", "adopt it first where a stranger opened it")
            quote = await self.broker.quote(instrument, max_age=self.rules.quote_age)
            if not quote.is_two_sided:
                side = Side.SELL if owned[0].quantity > 0 else Side.BUY
                raise StaleData(
                    what, f"no two-sided quote to {side} at (bid {quote.bid}, ask {quote.ask})", "wait for the open"
                )
            orders = await self.broker.flatten(instrument)
        log.info("closing %s: %s", instrument, reason)
        return Closing(instrument.symbol, reason, tuple(orders))

    async def holdings(self) -> list[Held]:
        """What this journal owns, without marks; raises rather than answer with an old list."""
        now = await self.broker.market_time()
        positions = await self.broker.owned_positions()
        lots, _ = match(owned_fills(self.broker.orders(), self.broker.fills()))
        found = []
        for position in positions:
            where = (position.account, contract_key(position.instrument))
            own = [lot for lot in lots if (lot.opened.account, contract_key(lot.opened.instrument)) == where]
            paid = average_price((lot.quantity, lot.price) for lot in own)
            explained = sum((lot.quantity for lot in own), Decimal(0)) == position.quantity
            if paid is None or not explained:
                paid = position.average_cost / position.instrument.multiplier
            found.append(Held(position, paid, entered(own), now))
        self._forget_others(found)
        return found

    def look(self, held: Held, quote: Quote | None, unpriced: str = "no quote yet") -> PositionUpdate:
        """`held` at a quote: its mark, profit and loss, and the exit that is due. None: no quote, and why."""
        mark = None
        if quote is not None:
            mark, unpriced = mark_of(quote, held.position.quantity, held.now, self.rules)
        if mark is not None:
            key = _key(held)
            better = max if held.sign > 0 else min
            self._best[key] = better(self._best.get(key, mark), mark)
            held = replace(held, mark=mark, best=self._best[key])
        return PositionUpdate(
            held.now,
            held.position,
            held.entry_price,
            mark,
            held.unrealized_pnl,
            held.gain,
            exit_due(held, self.rules),
            "" if mark is not None else unpriced,
        )

    def _forget_others(self, present: list[Held]) -> None:
        keys = {_key(held) for held in present}
        for key in [key for key in self._best if key not in keys]:
            del self._best[key]


class _Watch:
    """What a stream of positions knows: the positions as last read, their quotes, and what is cut off."""

    def __init__(self, manager: PositionManager) -> None:
        self._manager = manager
        self._held: dict[Hashable, Held] = {}
        self._quotes: dict[Hashable, Quote] = {}
        #: Symbols between Gap and Resumed; "" stands for all.
        self._cut_off: set[str] = set()
        self._unread = False

    @property
    def instruments(self) -> list[Instrument]:
        return [held.position.instrument for held in self._held.values()]

    async def take(self, event: OrderEvent | MarketEvent | QuotesEnded) -> list[PositionUpdate]:
        """What there is to tell after `event`."""
        if isinstance(event, Gap):
            self._cut_off |= set(event.symbols) or {""}
            self._quotes.clear()
            return []
        if isinstance(event, Resumed):
            self._cut_off = self._cut_off - {"", *event.symbols} if event.symbols else set()
            self._unread = True
        elif isinstance(event, QuotesEnded):
            self._quotes.pop(contract_key(event.instrument), None)
        elif isinstance(event, OrderEvent):
            self._unread = self._unread or event.kind in _MOVES
        elif isinstance(event, Quote) and not self._cut_off & {"", event.instrument.symbol}:
            self._quotes[contract_key(event.instrument)] = event
        if "" in self._cut_off:
            return []
        if self._unread:
            try:
                return await self.read()
            except _PASSING as error:
                log.warning("positions could not be read, nothing is told of them until they are: %s", error)
                return []
        if isinstance(event, QuotesEnded):
            return self._marked(event.instrument, event.why)
        return self._marked(event.instrument) if isinstance(event, Quote) else []

    async def read(self) -> list[PositionUpdate]:
        """Read the positions; answers an update for each that is new, changed or gone."""
        before = self._held
        now = {_key(held): held for held in await self._manager.holdings()}
        self._unread = False
        self._held = now
        # A symbol that was closed while it was cut off begins anew: its Resumed may have had nobody to hear it.
        self._cut_off -= {held.symbol for key, held in now.items() if key not in before}
        updates = [self._look(held) for key, held in now.items() if not _same(before.get(key), held)]
        for key, held in before.items():
            if key not in now:
                time = await self._manager.broker.market_time()
                updates.append(PositionUpdate(time, _emptied(held.position), held.entry_price, unpriced="closed"))
        return updates

    def _marked(self, instrument: Instrument, unpriced: str = "no quote yet") -> list[PositionUpdate]:
        if instrument.symbol in self._cut_off:
            return []
        number = contract_key(instrument)
        found = [held for held in self._held.values() if contract_key(held.position.instrument) == number]
        return [self._look(held, unpriced) for held in found]

    def _look(self, held: Held, unpriced: str = "no quote yet") -> PositionUpdate:
        held = replace(held, now=max(held.now, self._manager.broker.clock.now()))
        return self._manager.look(held, self._quotes.get(contract_key(held.position.instrument)), unpriced)


def _key(held: Held) -> Hashable:
    return held.position.account, contract_key(held.position.instrument), held.sign


def _same(before: Held | None, now: Held) -> bool:
    return before is not None and (before.position.quantity, before.entry_price) == (
        now.position.quantity,
        now.entry_price,
    )


def _emptied(position: Position) -> Position:
    zero = Decimal(0)
    return replace(position, quantity=zero, market_value=None, unrealized_pnl=None)
