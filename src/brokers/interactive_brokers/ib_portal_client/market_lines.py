"""Streams of market data: one line per contract, renewed before it ends, polled while there is no stream."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...domain.market_data import Depth, DepthLevel, Quote
from ...errors import BrokerError, DeadlineExceeded, NoPermission, NotSupported, RequestFailed, UsageError
from ..config.ib_config import PortalSettings
from ..ib_transport import LinkEventKind, MarketListener
from .answers import expect_list
from .limits import Priority
from .quote_line import FIELDS, PRICES, Line, is_withheld, to_quote
from .session import Session
from .wire import HttpCall
from .words import to_float, to_int

logger = logging.getLogger(__name__)

SNAPSHOT = "/iserver/marketdata/snapshot"
#: Contracts of one snapshot.
MOST_CONIDS = 100
#: Seconds between looks at the lines, and between two snapshots of one question.
LOOK_EVERY, AGAIN = 1.0, 0.5
#: Seconds after which a line without a first value is asked for by snapshot.
NO_FRAME = 2.0
#: Seconds that a snapshot waits for the rest of its prices once one is there.
REST_OF_PRICES = 1.5
_WITHHELD = ("not subscribed", "no market data", "max number of tickers")
_NUMBER = re.compile(r"\d+")


class MarketLines:
    """Every running stream of one client. All calls on the loop."""

    def __init__(self, session: Session, clock: Clock, settings: PortalSettings, source: str) -> None:
        self._session = session
        self._clock = clock
        self._settings = settings
        self._source = source
        self._lines: dict[int, Line] = {}
        self._listeners: list[MarketListener] = []
        #: Lines that were found silent, and have told nothing since.
        self._silent: set[int] = set()
        #: Handle -> the instrument of its price ladder and how many rows are wanted.
        self._ladders: dict[int, tuple[Instrument, int]] = {}
        self._next_handle = 1
        self._snapshotted: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._polling: asyncio.Task[None] | None = None
        stream = session.stream
        stream.handle("smd", self._on_smd)
        stream.handle("sbd", self._on_sbd)
        stream.handle("error", self._on_error)

    def add_listener(self, listener: MarketListener) -> None:
        self._listeners.append(listener)

    def remove_listener(self, listener: MarketListener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(line.instrument.symbol for line in self._lines.values() if line.error is None)

    # Quotes

    def subscribe(self, instrument: Instrument) -> Line:
        number = _number(instrument)
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = Line(instrument, self._clock, self._source)
            self._ask_line(line)
        line.users += 1
        return line

    def unsubscribe(self, instrument: Instrument) -> None:
        number = _number(instrument)
        line = self._lines.get(number)
        if line is None:
            return
        line.users -= 1
        if line.users > 0:
            return
        del self._lines[number]
        self._silent.discard(number)
        self._session.stream.unsubscribe(f"smd+{number}", f"umd+{number}+{{}}")
        if number in self._snapshotted and self._session.is_connected:
            self._session.spawn(self._end_snapshots(number), "end of a snapshot's line")

    def _ask_line(self, line: Line) -> None:
        line.error = None
        line.asked_at = asyncio.get_running_loop().time()
        fields = json.dumps({"fields": list(FIELDS)}, separators=(",", ":"))
        self._session.stream.subscribe(f"smd+{line.con_id}", f"smd+{line.con_id}+{fields}")
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """Renew what would end by itself, and ask by snapshot where no stream tells."""
        self._timer = None
        if not self._lines:
            return
        loop = asyncio.get_running_loop()
        now, stream = loop.time(), self._session.stream
        mute = []
        for line in self._lines.values():
            if line.error is not None:
                continue
            if stream.is_open and now - line.asked_at >= self._settings.renew_after:
                line.asked_at = now
                stream.again(f"smd+{line.con_id}")
            if not stream.is_open or (line.last_update is None and now - line.asked_at >= NO_FRAME):
                mute.append(line.con_id)
        if mute and self._session.is_connected and (self._polling is None or self._polling.done()):
            self._polling = self._session.spawn(self._poll(mute), "quotes by snapshot")
        self._timer = loop.call_later(LOOK_EVERY, self._look)

    async def _poll(self, numbers: Sequence[int]) -> None:
        try:
            for first in range(0, len(numbers), MOST_CONIDS):
                for row in await self._ask_snapshot(numbers[first : first + MOST_CONIDS]):
                    self._take(to_int(row.get("conid")) or 0, row)
        except BrokerError as error:
            logger.info("quotes by snapshot: %s", error)

    async def _ask_snapshot(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        query = {"conids": ",".join(map(str, numbers)), "fields": ",".join(FIELDS)}
        call = HttpCall("GET", SNAPSHOT, query, what=f"snapshot of {len(numbers)} contracts")
        self._snapshotted.update(numbers)
        return expect_list(call, await self._session.ask(call))

    async def _end_snapshots(self, number: int) -> None:
        """A snapshot keeps a line open at the portal, which counts; one that is not open is 500 "unknown"."""
        self._snapshotted.discard(number)
        call = HttpCall("POST", "/iserver/marketdata/unsubscribe", body={"conid": number}, what="unsubscribe")
        try:
            await self._session.ask(call, Priority.DATA)
        except BrokerError as error:
            logger.debug("unsubscribe of %d: %s", number, error)

    async def snapshot(self, instrument: Instrument, deadline: float) -> Quote:
        """One quote, asked for until its prices are there: the first answer is a pre-flight, and slow fields come
        later (fault P09). Raises NoPermission, DeadlineExceeded, and what asking raises."""
        number, loop = _number(instrument), asyncio.get_running_loop()
        until = loop.time() + deadline
        fields: dict[str, Any] = {}
        enough_at = float("inf")
        while True:
            for row in await self._ask_snapshot([number]):
                if to_int(row.get("conid")) == number:
                    fields.update(row)
            if is_withheld(fields):
                raise _no_permission(instrument)
            if all(name in fields for name in PRICES):
                break
            now = loop.time()
            if enough_at == float("inf") and any(name in fields for name in PRICES):
                enough_at = now + REST_OF_PRICES
            if now >= min(until, enough_at):
                break
            await asyncio.sleep(min(AGAIN, max(until - now, 0.0)))
        self._take(number, fields)
        if not any(name in fields for name in PRICES):
            raise DeadlineExceeded(f"snapshot of {instrument}", timedelta(seconds=deadline), "ask again")
        return to_quote(fields, instrument, self._clock.now(), self._source)

    # What arrives

    def _on_smd(self, frame: dict[str, Any]) -> None:
        number = to_int(frame.get("conid")) or to_int(str(frame.get("topic")).split("+")[1].partition("@")[0])
        self._take(number or 0, frame)

    def _take(self, number: int, fields: Mapping[str, Any]) -> None:
        line = self._lines.get(number)
        if line is None:
            return
        if is_withheld(fields):
            self._fail(line, _no_permission(line.instrument))
            return
        if line.take(fields, asyncio.get_running_loop().time(), self._clock.now()):
            if number in self._silent:
                self._silent.discard(number)
                kind = LinkEventKind.SUBSCRIPTIONS_RESTORED
                self._session.tell(kind, "market data is back", restored=1, symbols=(line.instrument.symbol,))
            for listener in self._listeners:
                listener.on_lines([line])

    def _fail(self, line: Line, error: Exception) -> None:
        self._session.stream.unsubscribe(f"smd+{line.con_id}", f"umd+{line.con_id}+{{}}")
        self._silent.discard(line.con_id)
        line.fail(error)

    def _on_error(self, frame: dict[str, Any]) -> None:
        """Error frames name no topic; a refusal of a line is told by the number in its words."""
        text = str(frame.get("error"))
        words = text.lower()
        named = {int(number) for number in _NUMBER.findall(text)}
        for line in [one for one in self._lines.values() if one.con_id in named and one.last_update is None]:
            if any(word in words for word in _WITHHELD):
                self._fail(line, _no_permission(line.instrument, text))
                return
        logger.warning("the stream tells an error: %s", text)

    # Depth

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        """One ladder an account. Raises NotSupported for a second contract."""
        for held, _ in self._ladders.values():
            if held.con_id != instrument.con_id:
                raise NotSupported(
                    f"depth of {instrument}", "the portal streams one price ladder an account", "ask through TWS"
                )
        handle = self._next_handle
        self._next_handle += 1
        self._ladders[handle] = (instrument, rows)
        account = self._session.accounts[0] if self._session.accounts else ""
        self._session.stream.subscribe("sbd", f"sbd+{account}+{_number(instrument)}")
        return handle

    def unsubscribe_depth(self, handle: int) -> None:
        if self._ladders.pop(handle, None) is not None and not self._ladders:
            account = self._session.accounts[0] if self._session.accounts else ""
            self._session.stream.unsubscribe("sbd", f"ubd+{account}")

    def _on_sbd(self, frame: dict[str, Any]) -> None:
        rows = frame.get("data")
        if not isinstance(rows, list) or not self._ladders:
            return
        instrument, wanted = next(iter(self._ladders.values()))
        bids = _levels(rows, "bid")
        asks = _levels(rows, "ask")
        bids.sort(key=lambda level: -level.price)
        asks.sort(key=lambda level: level.price)
        depth = Depth(instrument, self._clock.now(), tuple(bids[:wanted]), tuple(asks[:wanted]), self._source)
        for listener in self._listeners:
            listener.on_depth(depth)

    # Links

    def restore(self) -> tuple[int, int]:
        """Lines whose topics a new stream carries, and those that have ended with an error."""
        self._silent.clear()
        now = asyncio.get_running_loop().time()
        running = [line for line in self._lines.values() if line.error is None]
        for line in running:
            line.asked_at = now
        return len(running) + bool(self._ladders), len(self._lines) - len(running)

    def restore_silent(self, since: float, only: frozenset[int] | None = None) -> None:
        """Ask again for lines (`only` these contract numbers) with no value since that loop time. Their gap is told
        once, and ends with their first value."""
        now = asyncio.get_running_loop().time()
        silent = [
            line
            for line in self._lines.values()
            if (only is None or line.con_id in only)
            and line.error is None
            and (line.last_update is None or line.last_update < since)
        ]
        for line in silent:
            line.asked_at = now
            self._session.stream.again(f"smd+{line.con_id}")
        symbols = tuple(line.instrument.symbol for line in silent if line.con_id not in self._silent)
        self._silent.update(line.con_id for line in silent)
        if symbols:
            self._session.tell(LinkEventKind.FARM_DOWN, "market data fell silent", symbols=symbols)

    def on_stream(self, is_open: bool, why: str) -> None:
        """The stream alone came or went: a gap in the lines, and no more."""
        symbols = self.symbols
        if not symbols:
            return
        if is_open:
            restored, failed = self.restore()
            kind = LinkEventKind.SUBSCRIPTIONS_RESTORED
            self._session.tell(kind, f"stream: {why}", restored=restored, failed=failed, symbols=symbols)
        else:
            self._session.tell(LinkEventKind.FARM_DOWN, f"stream: {why}", symbols=symbols)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _levels(rows: Sequence[Any], side: str) -> list[DepthLevel]:
    """Prices may come with the size of the last trade: "100 @ 168.42"."""
    found = []
    for row in rows:
        size = to_float(row.get(side)) if isinstance(row, dict) and row.get(side) else None
        price = to_float(str(row.get("price", "")).rpartition("@")[2]) if size is not None else None
        if size is not None and price is not None:
            found.append(DepthLevel(price, size))
    return found


def _no_permission(instrument: Instrument, text: str = "") -> RequestFailed:
    return NoPermission(
        f"market data of {instrument}",
        text or "the portal says that this user has none (6509 N)",
        "subscribe to it for this user name, or ask through TWS",
        code=354,
    )


def _number(instrument: Instrument) -> int:
    if instrument.con_id is None:
        raise UsageError(f"market data of {instrument}", "it has no contract number", "qualify it first")
    return instrument.con_id
