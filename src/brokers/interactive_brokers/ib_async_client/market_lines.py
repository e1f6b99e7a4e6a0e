"""Streams of market data: one line per contract, an intent registry that outlives links, and no sentinels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ib_async.objects import BarDataList, TickByTickAllLast, TickByTickBidAsk
from ib_async.ticker import Ticker

from ...domain.clock import Clock
from ...domain.instrument import Instrument, SecType
from ...domain.market_data import Bar, BidAsk, DataType, Quote, Trade
from ...domain.news import Headline
from ...errors import BrokerError, DeadlineExceeded, InvalidData, LinkError, NoPermission, UsageError
from ..ib_error_codes import PERMISSION_CODES, RequestEffect, request_effect
from ..ib_transport import BarListener, BarRequest, LinkEventKind, MarketListener
from ..ib_vocabulary import BAR_SIZE_WORDS, DATA_TYPE_CODES, WHAT_TO_SHOW
from .api import TwsApi
from .index_prints import drop_early_print
from .listener import ErrorMessage
from .news import without_remarks
from .pending import request_failure
from .quote_line import IndexLine, Line
from .silent_lines import SilentLines, Tell
from .translate import to_bar, to_contract, to_depth, to_quote

logger = logging.getLogger(__name__)

#: Generic ticks asked for with a quote line: 236 shortable shares. IB refuses one that the kind does not have (321).
GENERIC_TICKS = {SecType.STOCK: "236"}
#: News alone, without quotes.
NEWS_TICKS = "mdoff,292"
#: IB's code for "another session of this user name has the market data".
COMPETING_SESSION = 10197
#: IB's codes for "no live data; delayed data could be had".
DELAYED_POSSIBLE = frozenset({354, 10089, 10168})


@dataclass(slots=True)
class _Stream:
    """A tick-by-tick, depth, news or bar subscription as it was intended."""

    handle: int
    kind: str
    instrument: Instrument
    rows: int = 0
    providers: tuple[str, ...] = ()
    request_id: int = 0
    listener: BarListener | None = None
    bars: BarDataList = field(default_factory=BarDataList)


class MarketLines:
    """Every running stream of one client. All calls on the loop."""

    def __init__(self, api: TwsApi, clock: Clock, source: str, tell: Tell, *, delayed_data: bool) -> None:
        self._api = api
        self._clock = clock
        self._source = source
        self._delayed_allowed = delayed_data
        self._data_type = DataType.LIVE
        self._lines: dict[int, Line] = {}
        self._by_ticker: dict[int, Line] = {}
        self._streams: dict[int, _Stream] = {}
        self._next_handle = 1
        self._listeners: list[MarketListener] = []
        self._snapshots: dict[int, Callable[[], None]] = {}
        self._silent = SilentLines(self._ask_again, tell)
        self._tell = tell
        #: Seconds from the packet's arrival to the end of its dispatch, the latest thousand.
        self.dispatch_times: list[float] = []
        api.wrapper.on_packet = self._on_packet
        api.wrapper.on_news = self._on_news

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
            line = self._lines[number] = kind(instrument, self._clock, self._source)
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

    def _ask_again(self, line: Line) -> None:
        if self._api.client.isReady():
            self._end_line(line)
            self._ask_line(line)

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

    # Tick by tick, depth, live bars

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        return self._open(_Stream(0, kind, instrument))

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        return self._open(_Stream(0, "Depth", instrument, rows))

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        return self._open(_Stream(0, "News", instrument, providers=tuple(providers)))

    def _open(self, stream: _Stream) -> int:
        stream.handle = self._next_handle
        self._next_handle += 1
        self._streams[stream.handle] = stream
        if self._api.client.isReady():
            self._ask_stream(stream)
        return stream.handle

    def _ask_stream(self, stream: _Stream) -> None:
        client, wrapper = self._api.client, self._api.wrapper
        contract = to_contract(stream.instrument)
        stream.request_id = client.getReqId()
        ticker = Ticker(contract=contract, defaults=wrapper.defaults)
        wrapper.reqId2Ticker[stream.request_id] = ticker
        wrapper._reqId2Contract[stream.request_id] = contract
        self._by_ticker[id(ticker)] = self._lines.get(_number(stream.instrument)) or Line(
            stream.instrument, self._clock, self._source
        )
        if stream.kind == "Depth":
            client.reqMktDepth(stream.request_id, contract, stream.rows, True, [])
        elif stream.kind == "News":
            generics = f"{NEWS_TICKS}:{'+'.join(stream.providers)}"
            client.reqMktData(stream.request_id, contract, generics, False, False, [])
        else:
            client.reqTickByTickData(stream.request_id, contract, stream.kind, 0, False)

    async def live_bars(self, request: BarRequest, listener: BarListener, deadline: float) -> tuple[int, list[Bar]]:
        client, wrapper = self._api.client, self._api.wrapper
        contract = to_contract(request.instrument)
        stream = _Stream(self._next_handle, "Bars", request.instrument, listener=listener)
        self._next_handle += 1
        stream.request_id = stream.bars.reqId = client.getReqId()
        answer = wrapper.startReq(stream.request_id, contract, container=stream.bars)
        wrapper.startSubscription(stream.request_id, stream.bars, contract)
        self._streams[stream.handle] = stream
        send_bars_request(self._api, stream.request_id, request, keep=True)
        try:
            async with asyncio.timeout(deadline):
                await answer
        except TimeoutError:
            self.unsubscribe_stream(stream.handle)
            what = f"live bars of {request.instrument}"
            raise DeadlineExceeded(what, timedelta(seconds=deadline), "ask again") from None
        except BaseException:
            self.unsubscribe_stream(stream.handle)
            raise
        bars = read_bars(stream.bars)
        stream.bars.updateEvent += lambda _bars, added: self._on_bar(stream, added)
        return stream.handle, bars

    def _on_bar(self, stream: _Stream, added: bool) -> None:
        if stream.listener is None:
            return
        # the one before may have been corrected as it ended
        for bar in read_bars(stream.bars[-2:] if added else stream.bars[-1:]):
            stream.listener.on_bar(bar)
        del stream.bars[:-3]

    def unsubscribe_stream(self, handle: int) -> None:
        stream = self._streams.pop(handle, None)
        if stream is None:
            return
        client, wrapper = self._api.client, self._api.wrapper
        self._forget_stream(stream)
        if not client.isReady():
            return
        if stream.kind == "Bars":
            wrapper.reqId2Subscriber.pop(stream.request_id, None)
            client.cancelHistoricalData(stream.request_id)
        elif stream.kind == "Depth":
            client.cancelMktDepth(stream.request_id, True)
        elif stream.kind == "News":
            client.cancelMktData(stream.request_id)
        else:
            client.cancelTickByTickData(stream.request_id)

    def _forget_stream(self, stream: _Stream) -> None:
        wrapper = self._api.wrapper
        ticker = wrapper.reqId2Ticker.pop(stream.request_id, None)
        wrapper._reqId2Contract.pop(stream.request_id, None)
        if ticker is not None:
            self._by_ticker.pop(id(ticker), None)

    # What arrives

    def _on_packet(self, quoted: Sequence[Line], tickers: Iterable[Ticker]) -> None:
        """One packet's changes: lines whose bid or ask was written in place, and Tickers of every kind."""
        now, time = asyncio.get_running_loop().time(), self._clock.now()
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
            if line is None:
                look = self._snapshots.get(id(ticker))
                if look is not None:
                    look()
                continue
            if line.ticker is ticker and id(line) not in told:
                line.touch(now, time)
                changed.append(line)
            if ticker.tickByTicks:
                self._give_ticks(line.instrument, ticker.tickByTicks, time)
            if ticker.domTicks:
                depth = to_depth(ticker, line.instrument, time, self._source)
                for listener in self._listeners:
                    listener.on_depth(depth)

    def _give_ticks(self, instrument: Instrument, ticks: Iterable[Any], at: datetime) -> None:
        """`at` is market time of the packet: ib_async dates ticks by the machine's clock, and IB by whole seconds."""
        for tick in ticks:
            if isinstance(tick, TickByTickAllLast):
                attributes = tick.tickAttribLast
                trade = Trade(
                    instrument,
                    at,
                    tick.price,
                    tick.size,
                    tick.exchange,
                    tick.specialConditions,
                    attributes.pastLimit,
                    attributes.unreported,
                    self._source,
                )
                for listener in self._listeners:
                    listener.on_trade(trade)
            elif isinstance(tick, TickByTickBidAsk):
                both = BidAsk(instrument, at, tick.bidPrice, tick.askPrice, tick.bidSize, tick.askSize, self._source)
                for listener in self._listeners:
                    listener.on_bid_ask(both)

    def _on_news(self, request_id: int, published: int, provider: str, article_id: str, text: str) -> None:
        """`published` in milliseconds since 1970."""
        stream = next((row for row in self._streams.values() if row.request_id == request_id), None)
        if stream is None:
            return
        time = datetime.fromtimestamp(published / 1000, UTC)
        headline = Headline(stream.instrument, time, provider, article_id, without_remarks(text))
        for listener in self._listeners:
            listener.on_news(headline)

    def on_error(self, message: ErrorMessage) -> None:
        """An error that names a stream: an advisory changes nothing, a terminal one ends it with its reason."""
        if request_effect(message.code, message.text) is not RequestEffect.STREAM_ENDS and (
            message.code not in PERMISSION_CODES
        ):
            for line in self._lines.values():
                if line.request_id == message.request_id:
                    line.advice = message
                    if message.code == COMPETING_SESSION:
                        self._silent.add([line], message.row.meaning, message.code)
            return
        error = request_failure(message.request_id, message.code, message.text, message.contract)
        for line in self._lines.values():
            if line.request_id == message.request_id:
                self._line_failed(line, message.code, error)
                return
        for stream in self._streams.values():
            if stream.request_id == message.request_id:
                self._stream_failed(stream, error)
                return

    def _line_failed(self, line: Line, code: int, error: BrokerError) -> None:
        self._forget_line(line)
        if self.fall_back_to_delayed(code):
            logger.info("no live data for %s; asking for delayed data from now on", line.instrument)
            self._ask_line(line)
            return
        self._silent.forget(line)
        line.fail(error)

    def _stream_failed(self, stream: _Stream, error: BrokerError) -> None:
        if stream.kind == "Bars":
            self._streams.pop(stream.handle, None)
            self._api.wrapper.reqId2Subscriber.pop(stream.request_id, None)
            if stream.listener is not None:
                stream.listener.on_bars_ended(error)
        else:
            logger.warning("%s of %s ended: %s", stream.kind, stream.instrument, error)
            self._forget_stream(stream)
            code, symbols = error.data.get("code"), (stream.instrument.symbol,)
            self._tell(LinkEventKind.STREAM_REFUSED, str(error), code=code, symbols=symbols)

    # Links

    def on_link_lost(self, error: LinkError) -> None:
        """Lines and ticks stay intended; bars end here and are asked for again by whoever reads them."""
        self._by_ticker.clear()
        self._snapshots.clear()
        self._silent.clear()
        for stream in [row for row in self._streams.values() if row.kind == "Bars"]:
            del self._streams[stream.handle]
            if stream.listener is not None:
                stream.listener.on_bars_ended(error)

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
        for stream in self._streams.values():
            if stream.kind != "Bars":
                self._forget_stream(stream)
                self._ask_stream(stream)
                asked += 1
        return asked, failed

    def restore_silent(self, since: float) -> tuple[str, ...]:
        silent = self._quiet_since(since)
        for line in silent:
            self._silent.forget(line)
            self._ask_again(line)
        return tuple(line.instrument.symbol for line in silent)

    def resubscribe_silent(self, since: float, why: str) -> None:
        """As `restore_silent`; the gap ends when the lines tell again."""
        silent = self._quiet_since(since)
        self._silent.add(silent, why)
        for line in silent:
            self._ask_again(line)

    def _quiet_since(self, since: float) -> list[Line]:
        return [line for line in self._lines.values() if line.last_update is None or line.last_update <= since]


def _number(instrument: Instrument) -> int:
    if instrument.con_id is None:
        raise InvalidData(f"instrument {instrument}", "it has no contract number", "qualify it first")
    return instrument.con_id


def send_bars_request(api: TwsApi, request_id: int, request: BarRequest, *, keep: bool = False) -> None:
    """formatDate 2: epoch seconds, so that no time zone is ever guessed (H06)."""
    end = "" if request.end is None else request.end.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
    api.client.reqHistoricalData(
        request_id,
        to_contract(request.instrument),
        end,
        request.duration,
        BAR_SIZE_WORDS[request.size],
        WHAT_TO_SHOW[request.source],
        request.regular_hours,
        2,
        keep,
        [],
    )


def read_bars(bars: Iterable[Any]) -> list[Bar]:
    """Bars with prices; one that has none is left out, logged (a bar of -1 is IB's "nothing here")."""
    found = []
    for bar in bars:
        try:
            found.append(to_bar(bar))
        except InvalidData as error:
            logger.warning("left out: %s", error)
    return found
