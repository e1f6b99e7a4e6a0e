"""Quotes of many symbols as columns of numbers: millions of ticks a second, and no object for any."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..base_broker import Symbol
from ..domain.instrument import Instrument
from ..domain.market_data import BidAsk, Depth, Quote, Trade
from ..domain.news import Headline
from ..errors import InvalidRequest, UsageError
from .ib_contracts import ContractBook
from .ib_lines import LineKeeper
from .ib_quote_line import WaitedLine
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, LinkScope, QuoteLine

#: The columns in their order, as fields of a Quote; the compiled reader writes them by number.
COLUMNS = ("bid", "ask", "bid_size", "ask_size", "last", "last_size", "volume")
_TIME = len(COLUMNS)
_UPDATES = _TIME + 1


class QuoteTable:
    """``async with broker.quote_table(symbols) as table:`` one row a symbol, in the order given.

    Columns are read-only numpy views that go on changing. A missing value is NaN here, None in `quote()`. Everything is
    written on the event loop, one packet of the socket at once: between two awaits nothing changes, and `copy()` is of
    one moment. Another thread may see a row half written; give it copies. From a lost link on the rows are NaN until
    new values come. A symbol has its line as long as the table is open; closing gives the lines back.
    """

    def __init__(
        self,
        symbols: Iterable[Symbol],
        contracts: ContractBook,
        lines: LineKeeper,
        open_tables: set[QuoteTable],
    ) -> None:
        self._wanted = tuple(symbols)
        if not self._wanted:
            raise InvalidRequest("quote table", "no symbol was named")
        self._contracts, self._keeper, self._open_tables = contracts, lines, open_tables
        count = len(self._wanted)
        self._cells: NDArray[np.float64] = np.full((len(COLUMNS) + 1, count), np.nan)
        self._updates: NDArray[np.int64] = np.zeros(count, np.int64)
        self._changed: NDArray[np.uint8] = np.zeros(count, np.uint8)
        self._instruments: list[Instrument] = []
        self._rows: dict[int, int] = {}
        self._lines: dict[int, QuoteLine] = {}
        #: Those of them that their reader may write into the rows itself.
        self._attached: set[QuoteLine | None] = set()
        #: Whether a row changed since `take_changed`, and who waits for one.
        self._has_news = False
        self._waiter: asyncio.Future[None] | None = None
        self._is_open = False
        self._views = tuple(_read_only(column) for column in (*self._cells, self._updates))
        #: What ended the values, while the link is lost; None while they come.
        self.gap: str | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def open(self) -> None:
        """Qualify the symbols and take their lines.

        Symbols beyond the account's lines are polled. Raises what qualifying raises, and InvalidRequest for a symbol
        named twice or where not even a poll is possible; no line is kept then.
        """
        found = await asyncio.gather(*(self._contracts.qualify(symbol) for symbol in self._wanted))
        if len({instrument.con_id for instrument in found}) < len(found):
            raise InvalidRequest("quote table", "a symbol is named twice", "name each once")
        self._instruments, self._is_open = list(found), True
        self._open_tables.add(self)
        try:
            for row, instrument in enumerate(found):
                line = self._keeper.keep(instrument)
                number = instrument.con_id or 0
                self._rows[number] = row
                self._attach(number, row, line)
                if line.last_update is not None:
                    self._copy(row, line)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the lines back. The columns keep what they last said; `changes` ends."""
        if not self._is_open:
            return
        self._is_open = False
        self._open_tables.discard(self)
        for number, line in self._lines.items():
            if isinstance(line, WaitedLine):
                line.detach_rows(self._cells)
            self._keeper.unhold(number)
        self._rows.clear()
        self._lines.clear()
        self._attached.clear()
        self._tell_news()

    # Reading

    @property
    def symbols(self) -> Sequence[str]:
        return tuple(instrument.symbol for instrument in self._instruments)

    def row(self, symbol: str) -> int:
        """Raises InvalidRequest for a symbol that has none."""
        for row, instrument in enumerate(self._instruments):
            if instrument.symbol == symbol:
                return row
        raise InvalidRequest(f"row of {symbol}", "the table has none", "name it when the table is made")

    @property
    def bid(self) -> NDArray[np.float64]:
        return self._views[0]

    @property
    def ask(self) -> NDArray[np.float64]:
        return self._views[1]

    @property
    def bid_size(self) -> NDArray[np.float64]:
        return self._views[2]

    @property
    def ask_size(self) -> NDArray[np.float64]:
        return self._views[3]

    @property
    def last(self) -> NDArray[np.float64]:
        return self._views[4]

    @property
    def last_size(self) -> NDArray[np.float64]:
        return self._views[5]

    @property
    def volume(self) -> NDArray[np.float64]:
        """Shares of the day so far."""
        return self._views[6]

    @property
    def time(self) -> NDArray[np.float64]:
        """When this machine read the row's last change: seconds since 1970, UTC."""
        return self._views[_TIME]

    @property
    def updates(self) -> NDArray[np.int64]:
        """How many packets of the socket changed the row."""
        return self._views[_UPDATES]

    def copy(self) -> dict[str, NDArray[Any]]:
        """Every column by its name, of one moment; the reader's own."""
        columns: dict[str, NDArray[Any]] = {name: self._cells[at].copy() for at, name in enumerate((*COLUMNS, "time"))}
        columns["updates"] = self._updates.copy()
        return columns

    def quote(self, symbol: str) -> Quote | None:
        """The row as an object, with None for what is missing; None before the first value and without a line."""
        line = self._lines.get(self._instruments[self.row(symbol)].con_id or 0)
        return line.quote() if line is not None and line.last_update is not None and self.gap is None else None

    @property
    def errors(self) -> Mapping[str, Exception]:
        """Why the symbols whose lines ended get no values."""
        return {line.instrument.symbol: line.error for line in self._lines.values() if line.error is not None}

    def take_changed(self) -> NDArray[np.intp]:
        """Numbers of the rows that changed since the last call."""
        self._has_news = False
        rows: NDArray[np.intp] = self._changed.nonzero()[0]
        self._changed[rows] = 0
        return rows

    async def changes(self) -> AsyncIterator[NDArray[np.intp]]:
        """The numbers of the rows that changed, as soon as any did; what changes meanwhile comes together. For one
        reader: UsageError for a second one while the first waits. Ends when the table is closed."""
        loop = asyncio.get_running_loop()
        while self._is_open:
            if self._has_news:
                rows = self.take_changed()
                if len(rows):
                    yield rows
                continue
            if self._waiter is not None and not self._waiter.done():
                raise UsageError("next changes", "another task waits for them already", "open a table for each reader")
            self._waiter = waiter = loop.create_future()
            await waiter

    # Filling

    def _attach(self, number: int, row: int, line: QuoteLine) -> None:
        self._attached.discard(self._lines.get(number))
        self._lines[number] = line
        if isinstance(line, WaitedLine):
            line.attach_row(self._cells, self._updates, self._changed, row)
            self._attached.add(line)

    def on_lines(self, lines: Sequence[QuoteLine]) -> None:
        """What the compiled reader did not write itself is copied."""
        attached = self._attached
        # only a WaitedLine is ever attached
        others = [line for line in lines if line not in attached or not line.is_row_current]  # type: ignore[attr-defined]
        has_news = len(others) < len(lines)
        for line in others:
            number = line.instrument.con_id or 0
            row = self._rows.get(number)
            if row is None:
                continue
            has_news = True
            if self._lines[number] is not line:
                self._attach(number, row, line)
            self._copy(row, line)
        if has_news:
            self._tell_news()

    def _copy(self, row: int, line: QuoteLine) -> None:
        quote = line.quote()
        for column, name in enumerate(COLUMNS):
            value = getattr(quote, name)
            self._cells[column, row] = np.nan if value is None else value
        self._cells[_TIME, row] = time.time()
        self._updates[row] += 1
        self._changed[row] = 1
        self._has_news = True

    def _tell_news(self) -> None:
        self._has_news = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def begin_gap(self, text: str) -> None:
        """The link is lost: nothing of before may be taken for the present."""
        self.gap = text
        self._cells[: len(COLUMNS)] = np.nan
        self._changed[:] = 1
        self._tell_news()

    def end_gap(self) -> None:
        self.gap = None


def _read_only(column: NDArray[Any]) -> NDArray[Any]:
    view = column.view()
    view.flags.writeable = False
    return view


class QuoteTables:
    """The open tables of one session, and what they are told. It fulfils the doors' MarketListener."""

    def __init__(self, contracts: ContractBook, lines: LineKeeper, transport: IbTransport) -> None:
        self._contracts, self._lines = contracts, lines
        self._open: set[QuoteTable] = set()
        transport.add_market_listener(self)
        lines.add_listener(self)
        transport.add_link_listener(self._on_link)

    def table(self, symbols: Iterable[Symbol]) -> QuoteTable:
        """A table that is not open yet. Raises InvalidRequest without a symbol."""
        return QuoteTable(symbols, self._contracts, self._lines, self._open)

    def close(self) -> None:
        for table in tuple(self._open):
            table.close()

    def _on_link(self, event: LinkEvent) -> None:
        if event.scope is LinkScope.ORDERS:
            return
        for table in self._open:
            if event.kind is LinkEventKind.LOST:
                table.begin_gap(event.text)
            elif event.kind is LinkEventKind.SUBSCRIPTIONS_RESTORED and not event.symbols:
                table.end_gap()

    def on_lines(self, lines: Sequence[QuoteLine]) -> None:
        for table in self._open:
            table.on_lines(lines)

    def on_trade(self, trade: Trade) -> None: ...

    def on_bid_ask(self, tick: BidAsk) -> None: ...

    def on_depth(self, depth: Depth) -> None: ...

    def on_news(self, headline: Headline) -> None: ...
