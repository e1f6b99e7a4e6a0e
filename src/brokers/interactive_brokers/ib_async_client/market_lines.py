"""Streams of market data: one line per contract, an intent registry that outlives links, and no sentinels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from ib_async.ticker import Ticker

from ...domain.clock import Clock
from ...domain.instrument import Instrument, SecType
from ...domain.market_data import Bar, DataType, Quote
from ...errors import BrokerError, DeadlineExceeded, InvalidData, LinkError, NoPermission, UsageError
from ..ib_error_codes import PERMISSION_CODES, RequestEffect, request_effect
from ..ib_transport import BarListener, BarRequest, MarketListener
from ..ib_vocabulary import DATA_TYPE_CODES
from .api import TwsApi
from .contracts import to_contract
from .index_prints import drop_early_print
from .listener import ErrorMessage
from .market_streams import BARS, DEPTH, NEWS, MarketStreams, Stream
from .market_values import QuoteMaker, to_quote
from .pending import request_failure
from .quote_line import IndexLine, Line
from .silent_lines import Feed, SilentLines, Tell

logger = logging.getLogger(__name__)

#: Generic ticks asked for with a quote line: 236 shortable shares. IB refuses one that the kind does not have (321).
GENERIC_TICKS = {SecType.STOCK: "236"}
#: IB's code for "another session of this user name has the market data".
COMPETING_SESSION = 10197
#: IB's codes for "no live data; delayed data could be had".
DELAYED_POSSIBLE = frozenset({354, 10089, 10168})


class MarketLines:
    """Every running stream of one client. All calls on the loop."""

    def __init__(
        self,
        api: TwsApi,
        clock: Clock,
        source: str,
        tell: Tell,
        *,
        delayed_data: bool,
        quote_of: QuoteMaker = to_quote,
    ) -> None:
        self._api = api
        self._clock = clock
        self._source = source
        self._delayed_allowed = delayed_data
        self._quote_of = quote_of
        self._data_type = DataType.LIVE
        self._lines: dict[int, Line] = {}
        self._by_ticker: dict[int, Line] = {}
        self._listeners: list[MarketListener] = []
        self._snapshots: dict[int, Callable[[], None]] = {}
        self._silent = SilentLines(self._ask_again, tell)
        self._streams = MarketStreams(api, clock, source, self._listeners, self._silent, tell)
        api.wrapper.on_packet = self._on_packet

    def add_listener(self, listener: MarketListener) -> None:
        self._listeners.append(listener)

    def remove_listener(self, listener: MarketListener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def lines(self) -> Sequence[Line]:
        return tuple(self._lines.values())

    # Quotes

    def subscribe(self, instrument: Instrument) -> Line:
        number = _number(instrument)
        line = self._lines.get(number)
        if line is None:
            kind = IndexLine if instrument.sec_type is SecType.INDEX else Line
            line = self._lines[number] = kind(instrument, self._clock, self._source, self._quote_of)
            if self._api.client.isReady():
                self._ask_line(line)
        line.users += 1
        return line

    def unsubscribe(self, instrument: Instrument) -> None:
        line = self._lines.get(_number(instrument))
        if line is None:
            return
        line.users -= 1
        if line.users <= 0:
            del self._lines[_number(instrument)]
            self._silent.forget(line)
            self._end_line(line)

    def _ask_line(self, line: Line) -> None:
        client = self._api.client
        contract = to_contract(line.instrument)
        line.request_id = client.getReqId()
        line.error = None
        line.ticker = Ticker(contract=contract, defaults=self._api.wrapper.defaults)
        # a ticker of its own, so that depth or tick-by-tick of the same contract cannot disturb it
        self._api.wrapper.reqId2Ticker[line.request_id] = line.ticker
        self._api.wrapper._reqId2Contract[line.request_id] = contract
        self._api.wrapper.quoted[b"%d" % line.request_id] = line
        self._by_ticker[id(line.ticker)] = line
        generics = GENERIC_TICKS.get(line.instrument.sec_type, "")
        client.reqMktData(line.request_id, contract, generics, False, False, [])

    def _end_line(self, line: Line) -> None:
        self._forget_line(line)
        if self._api.client.isReady() and line.request_id and line.error is None:
            self._api.client.cancelMktData(line.request_id)

    def _ask_again(self, feed: Feed) -> None:
        if not self._api.client.isReady():
            return
        if isinstance(feed, Stream):
            self._streams.ask_again(feed)
        elif isinstance(feed, Line):
            self._end_line(feed)
            self._ask_line(feed)

    def _forget_line(self, line: Line) -> None:
        if line.ticker is not None:
            self._by_ticker.pop(id(line.ticker), None)
        # what the present packet brought before it ended the line is nobody's any more
        line.is_changed = False
        self._api.wrapper.quoted.pop(b"%d" % line.request_id, None)
        self._api.wrapper.reqId2Ticker.pop(line.request_id, None)
        self._api.wrapper._reqId2Contract.pop(line.request_id, None)

    def set_data_type(self, kind: DataType) -> None:
        self._data_type = kind
        self._api.client.reqMarketDataType(DATA_TYPE_CODES[kind])

    async def snapshot(self, instrument: Instrument, deadline: float) -> Quote:
        """One quote, asked for anew; complete at IB's end marker, or as soon as both sides and a last are there."""
        client, wrapper = self._api.client, self._api.wrapper
        contract = to_contract(instrument)
        request_id = client.getReqId()
        ticker = Ticker(contract=contract, defaults=wrapper.defaults)
        ended = wrapper.startReq(request_id, contract)
        enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look() -> None:
            quote = to_quote(ticker, instrument, self._clock.now(), self._source)
            if quote.is_two_sided and quote.last is not None and not enough.done():
                enough.set_result(None)

        wrapper.reqId2Ticker[request_id] = ticker
        self.watch(ticker, look)
        client.reqMktData(request_id, contract, "", True, False, [])
        try:
            await asyncio.wait({ended, enough}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
            elif not enough.done():
                raise DeadlineExceeded(f"snapshot of {instrument}", timedelta(seconds=deadline), "ask again")
        finally:
            self.unwatch(ticker)
            wrapper.reqId2Ticker.pop(request_id, None)
            ended.cancel()
        now = self._clock.now()
        drop_early_print(ticker, instrument, now)
        return to_quote(ticker, instrument, now, self._source)

    def watch(self, ticker: Ticker, look: Callable[[], None]) -> None:
        """`look` is called after each packet that changed this ticker, which no line has; until the link is lost."""
        self._snapshots[id(ticker)] = look

    def unwatch(self, ticker: Ticker) -> None:
        self._snapshots.pop(id(ticker), None)

    def fall_back_to_delayed(self, code: int | None) -> bool:
        """After a refusal with this code: True when delayed data may be had and is asked for from now on."""
        if code not in DELAYED_POSSIBLE or not self._delayed_allowed or self._data_type is not DataType.LIVE:
            return False
        self.set_data_type(DataType.DELAYED)
        return True

    # Tick by tick, depth, news, live bars

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        return self._streams.open(Stream(kind, instrument))

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        return self._streams.open(Stream(DEPTH, instrument, rows))

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        return self._streams.open(Stream(NEWS, instrument, providers=tuple(providers)))

    def unsubscribe_stream(self, handle: int) -> None:
        stream = self._streams.close(handle)
        if stream is not None:
            self._silent.forget(stream)

    async def live_bars(self, request: BarRequest, listener: BarListener, deadline: float) -> tuple[int, list[Bar]]:
        return await self._streams.live_bars(request, listener, deadline)

    # What arrives

    def _on_packet(self, quoted: Sequence[Line], tickers: Iterable[Ticker]) -> None:
        """One packet's changes: lines whose bid or ask was written in place, and Tickers of every kind."""
        now, time = self._api.client.last_received, self._clock.now()
        changed: list[Line] = []
        for line in quoted:
            if line.is_changed:
                line.touch(now, time)
                changed.append(line)
        if tickers:
            self._on_tickers(tickers, changed, now, time)
        if changed:
            if self._silent:
                self._silent.look(changed)
            for listener in self._listeners:
                listener.on_lines(changed)

    def _on_tickers(self, tickers: Iterable[Ticker], changed: list[Line], now: float, time: datetime) -> None:
        told = set(map(id, changed))
        for ticker in tickers:
            line = self._by_ticker.get(id(ticker))
            if line is not None:
                if id(line) not in told:
                    line.touch(now, time)
                    changed.append(line)
            elif not self._streams.on_ticker(ticker, now, time):
                look = self._snapshots.get(id(ticker))
                if look is not None:
                    look()

    def on_error(self, message: ErrorMessage) -> None:
        """An error that names a stream: an advisory changes nothing, a terminal one ends it with its reason."""
        line = next((row for row in self._lines.values() if row.request_id == message.request_id), None)
        stream = self._streams.find(message.request_id) if line is None else None
        ends = request_effect(message.code, message.text) is RequestEffect.STREAM_ENDS
        if not ends and message.code not in PERMISSION_CODES:
            if line is not None:
                line.advice = message
            feed = line or stream
            if message.code == COMPETING_SESSION and feed is not None and not (stream and stream.kind == BARS):
                self._silent.add([feed], message.row.meaning, message.code)
            return
        error = request_failure(message.request_id, message.code, message.text, message.contract)
        if line is not None:
            self._line_failed(line, message.code, error)
        elif stream is not None:
            self._silent.forget(stream)
            self._streams.fail(stream, error)

    def _line_failed(self, line: Line, code: int, error: BrokerError) -> None:
        self._forget_line(line)
        if self.fall_back_to_delayed(code):
            logger.info("no live data for %s; asking for delayed data from now on", line.instrument)
            self._ask_line(line)
            return
        self._silent.forget(line)
        line.fail(error)

    # Links

    def on_link_lost(self, error: LinkError) -> None:
        """Lines and ticks stay intended; bars end here and are asked for again by whoever reads them."""
        self._by_ticker.clear()
        self._snapshots.clear()
        self._silent.clear()
        self._streams.on_link_lost(error)

    def restore(self) -> tuple[int, int]:
        """Ask for everything that is intended again: (asked, failed)."""
        if self._data_type is not DataType.LIVE:
            self.set_data_type(self._data_type)
        asked = failed = 0
        for line in self._lines.values():
            self._forget_line(line)
            if isinstance(line.error, NoPermission | UsageError):
                failed += 1
                continue
            self._ask_line(line)
            asked += 1
        return asked + self._streams.restore(), failed

    def restore_silent(self, since: float) -> tuple[str, ...]:
        silent = self._feeds_quiet_since(since)
        for feed in silent:
            self._silent.forget(feed)
            self._ask_again(feed)
        return tuple(dict.fromkeys(feed.instrument.symbol for feed in silent))

    def resubscribe_silent(self, since: float, why: str, only: frozenset[int] | None = None) -> None:
        """As `restore_silent`; the gap ends when the lines tell again."""
        silent = [feed for feed in self._feeds_quiet_since(since) if only is None or feed.instrument.con_id in only]
        self._silent.add(silent, why)
        for feed in silent:
            self._ask_again(feed)

    def _feeds_quiet_since(self, since: float) -> list[Feed]:
        lines = [line for line in self._lines.values() if line.last_update is None or line.last_update <= since]
        return [*lines, *self._streams.quiet_since(since)]


def _number(instrument: Instrument) -> int:
    if instrument.con_id is None:
        raise InvalidData(f"instrument {instrument}", "it has no contract number", "qualify it first")
    return instrument.con_id
