"""Streams beside quote lines: tick by tick, depth, news and live bars. All but bars outlive links."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ib_async.objects import BarDataList, TickByTickAllLast, TickByTickBidAsk
from ib_async.ticker import Ticker

from ...domain.clock import Clock
from ...domain.instrument import Instrument
from ...domain.market_data import Bar, BidAsk, Trade
from ...domain.news import Headline
from ...errors import BrokerError, DeadlineExceeded, InvalidData, LinkError
from ..ib_pacing import RepeatPacer
from ..ib_transport import BarListener, BarRequest, LinkEventKind, MarketListener
from ..ib_vocabulary import BAR_SIZE_WORDS, WHAT_TO_SHOW
from .api import TwsApi
from .contracts import to_contract
from .market_values import to_bar, to_depth
from .news import without_remarks
from .silent_lines import SilentLines, Tell

logger = logging.getLogger(__name__)

#: Kinds that are no tick-by-tick kind of IB's.
DEPTH, NEWS, BARS = "Depth", "News", "Bars"
#: Generic ticks of news alone, without quotes.
NEWS_TICKS = "mdoff,292"


@dataclass(slots=True, eq=False)
class Stream:
    """A tick-by-tick (`kind` in IB's word), depth, news or bar subscription as it was intended."""

    kind: str
    instrument: Instrument
    rows: int = 0
    providers: tuple[str, ...] = ()
    listener: BarListener | None = None
    handle: int = 0
    request_id: int = 0
    #: Whether it told anything since it was last asked for, and when (monotonic seconds, 0 before the first).
    has_price: bool = False
    last_told: float = 0.0
    bars: BarDataList = field(default_factory=BarDataList)

    @property
    def key(self) -> tuple[int | None, str]:
        return self.instrument.con_id, self.kind

    @property
    def is_rare(self) -> bool:
        return self.kind == NEWS


class MarketStreams:
    """Every running stream of one client that is no quote line. All calls on the loop."""

    def __init__(
        self,
        api: TwsApi,
        clock: Clock,
        source: str,
        listeners: Sequence[MarketListener],
        silent: SilentLines,
        tell: Tell,
    ) -> None:
        self._api = api
        self._clock = clock
        self._source = source
        self._listeners = listeners
        self._silent = silent
        self._tell = tell
        self._streams: dict[int, Stream] = {}
        self._by_ticker: dict[int, Stream] = {}
        self._next_handle = 1
        self.pacer = RepeatPacer(clock.monotonic)
        #: Those that may be asked for a little later.
        self._due: dict[Stream, asyncio.TimerHandle] = {}
        api.wrapper.on_news = self._on_news

    def __len__(self) -> int:
        return len(self._streams)

    def find(self, request_id: int) -> Stream | None:
        return next((row for row in self._streams.values() if row.request_id == request_id), None)

    def quiet_since(self, since: float) -> list[Stream]:
        """Those that told something once, and nothing after this moment (monotonic)."""
        return [row for row in self._streams.values() if row.kind not in (NEWS, BARS) and 0 < row.last_told <= since]

    # Asking and ending

    def open(self, stream: Stream) -> int:
        """The handle that ends it."""
        self._keep(stream)
        if self._api.client.isReady():
            self.ask_again(stream)
        return stream.handle

    def _keep(self, stream: Stream) -> None:
        stream.handle = self._next_handle
        self._next_handle += 1
        self._streams[stream.handle] = stream

    def _ask(self, stream: Stream) -> None:
        client, wrapper = self._api.client, self._api.wrapper
        contract = to_contract(stream.instrument)
        stream.request_id, stream.has_price = client.getReqId(), False
        ticker = Ticker(contract=contract, defaults=wrapper.defaults)
        wrapper.reqId2Ticker[stream.request_id] = ticker
        wrapper._reqId2Contract[stream.request_id] = contract
        self._by_ticker[id(ticker)] = stream
        if stream.kind == DEPTH:
            client.reqMktDepth(stream.request_id, contract, stream.rows, True, [])
        elif stream.kind == NEWS:
            generics = f"{NEWS_TICKS}:{'+'.join(stream.providers)}"
            client.reqMktData(stream.request_id, contract, generics, False, False, [])
        else:
            self.pacer.asked(stream.key)
            client.reqTickByTickData(stream.request_id, contract, stream.kind, 0, False)

    def ask_again(self, stream: Stream) -> None:
        """As soon as IB allows it; in the meantime what there is stays."""
        wait = self.pacer.wait(stream.key)
        if not wait:
            self._end(stream)
            self._ask(stream)
        elif stream not in self._due:
            told = stream.last_told
            self._due[stream] = asyncio.get_running_loop().call_later(wait, self._on_due, stream, told)

    def _on_due(self, stream: Stream, told: float) -> None:
        del self._due[stream]
        if stream.last_told == told and self._api.client.isReady():
            self.ask_again(stream)

    def close(self, handle: int) -> Stream | None:
        """The stream that was ended; None where it had ended already."""
        stream = self._streams.pop(handle, None)
        if stream is not None:
            self._end(stream)
        return stream

    def _end(self, stream: Stream) -> None:
        client, wrapper = self._api.client, self._api.wrapper
        self._forget(stream)
        if not client.isReady() or not stream.request_id:
            return
        if stream.kind == BARS:
            wrapper.reqId2Subscriber.pop(stream.request_id, None)
            client.cancelHistoricalData(stream.request_id)
        elif stream.kind == DEPTH:
            client.cancelMktDepth(stream.request_id, True)
        elif stream.kind == NEWS:
            client.cancelMktData(stream.request_id)
        else:
            client.cancelTickByTickData(stream.request_id)

    def _forget(self, stream: Stream) -> None:
        timer = self._due.pop(stream, None)
        if timer is not None:
            timer.cancel()
        wrapper = self._api.wrapper
        ticker = wrapper.reqId2Ticker.pop(stream.request_id, None)
        wrapper._reqId2Contract.pop(stream.request_id, None)
        if ticker is not None:
            self._by_ticker.pop(id(ticker), None)

    # Bars

    async def live_bars(self, request: BarRequest, listener: BarListener, deadline: float) -> tuple[int, list[Bar]]:
        client, wrapper = self._api.client, self._api.wrapper
        contract = to_contract(request.instrument)
        stream = Stream(BARS, request.instrument, listener=listener)
        stream.request_id = stream.bars.reqId = client.getReqId()
        answer = wrapper.startReq(stream.request_id, contract, container=stream.bars)
        wrapper.startSubscription(stream.request_id, stream.bars, contract)
        self._keep(stream)
        send_bars_request(self._api, stream.request_id, request, keep=True)
        try:
            async with asyncio.timeout(deadline):
                await answer
        except TimeoutError:
            self.close(stream.handle)
            what = f"live bars of {request.instrument}"
            raise DeadlineExceeded(what, timedelta(seconds=deadline), "ask again") from None
        except BaseException:
            self.close(stream.handle)
            raise
        bars = read_bars(stream.bars)
        stream.bars.updateEvent += lambda _bars, added: self._on_bar(stream, added)
        return stream.handle, bars

    def _on_bar(self, stream: Stream, added: bool) -> None:
        if stream.listener is None:
            return
        # the one before may have been corrected as it ended
        for bar in read_bars(stream.bars[-2:] if added else stream.bars[-1:]):
            stream.listener.on_bar(bar)
        del stream.bars[:-3]

    # What arrives

    def on_ticker(self, ticker: Ticker, now: float, time: datetime) -> bool:
        """One packet's changes of a Ticker, `now` monotonic, `time` market time; False where it is no stream's."""
        stream = self._by_ticker.get(id(ticker))
        if stream is None:
            return False
        if ticker.tickByTicks:
            self._told(stream, now)
            self._give_ticks(stream.instrument, ticker.tickByTicks, time)
        if ticker.domTicks:
            self._told(stream, now)
            depth = to_depth(ticker, stream.instrument, time, self._source)
            for listener in self._listeners:
                listener.on_depth(depth)
        return True

    def _told(self, stream: Stream, now: float) -> None:
        stream.has_price, stream.last_told = True, now
        if self._silent:
            self._silent.look([stream])

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
        stream = self.find(request_id)
        if stream is None:
            return
        self._told(stream, asyncio.get_running_loop().time())
        time = datetime.fromtimestamp(published / 1000, UTC)
        headline = Headline(stream.instrument, time, provider, article_id, without_remarks(text))
        for listener in self._listeners:
            listener.on_news(headline)

    def fail(self, stream: Stream, error: BrokerError) -> None:
        if stream.kind == BARS:
            self._streams.pop(stream.handle, None)
            self._api.wrapper.reqId2Subscriber.pop(stream.request_id, None)
            if stream.listener is not None:
                stream.listener.on_bars_ended(error)
        else:
            logger.warning("%s of %s ended: %s", stream.kind, stream.instrument, error)
            self._forget(stream)
            code, symbols = error.data.get("code"), (stream.instrument.symbol,)
            self._tell(LinkEventKind.STREAM_REFUSED, str(error), code=code, symbols=symbols)

    # Links

    def on_link_lost(self, error: LinkError) -> None:
        """Bars end here and are asked for again by whoever reads them; the others stay intended."""
        self._by_ticker.clear()
        for timer in self._due.values():
            timer.cancel()
        self._due.clear()
        for stream in [row for row in self._streams.values() if row.kind == BARS]:
            del self._streams[stream.handle]
            if stream.listener is not None:
                stream.listener.on_bars_ended(error)

    def restore(self) -> int:
        """How many were asked for again. IB has none of them, so nothing has to wait."""
        self.pacer.clear()
        intended = [row for row in self._streams.values() if row.kind != BARS]
        for stream in intended:
            self._forget(stream)
            self._ask(stream)
        return len(intended)


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
