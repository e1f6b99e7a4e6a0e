"""ib_async's wrapper with the state machine taken out: raw messages to a listener, futures that always end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ib_async.contract import Contract
from ib_async.objects import (
    IBDefaults,
    MktDepthData,
    OptionComputation,
    PortfolioItem,
    Position,
)
from ib_async.wrapper import (
    GENERIC_TICK_MAP,
    GREEKS_TICK_MAP,
    PRICE_TICK_MAP,
    RT_VOLUME_TICK_MAP,
    SIZE_TICK_MAP,
    STRING_TICK_MAP,
    TIMESTAMP_TICK_MAP,
)

from ...errors import LinkError, LinkLost
from ..ib_error_codes import error_code
from .lanes import Outgoing
from .listener import ErrorMessage, Listener, MalformedMessage, Subject
from .order_wrapper import OrderWrapper
from .sentinels import greek_or_none

if TYPE_CHECKING:
    from .quote_line import Line

logger = logging.getLogger(__name__)

NEWS_MEMORY = 1_000

_PRICE_TYPES = frozenset(PRICE_TICK_MAP) | {1, 2, 4, 66, 67, 68}
_SIZE_TYPES = frozenset(SIZE_TICK_MAP) | {0, 3, 5, 69, 70, 71}
_STRING_TYPES = frozenset(STRING_TICK_MAP) | frozenset(TIMESTAMP_TICK_MAP) | frozenset(RT_VOLUME_TICK_MAP) | {47, 59}
_COMPUTATION_FIELDS = ("impliedVol", "delta", "optPrice", "pvDividend", "gamma", "vega", "theta", "undPrice")


class LinkWrapper(OrderWrapper):
    """Answers end their futures, ticks update ib_async's Tickers, everything about orders goes to the listener.

    ib_async's Trade and Fill collections stay empty: orders and fills are kept by the journal, not by the link.
    Values known of accounts and positions survive a lost link with `stale` set.
    """

    def __init__(
        self, ib: Any, listener: Listener | None = None, naive_zone: str = "", defaults: IBDefaults | None = None
    ) -> None:
        #: The zone that TWS runs in, for times that come without one; "" for UTC.
        self.naive_zone = naive_zone
        #: True from the loss of a link until the session has compared state with the broker and clears it.
        self.stale = False
        #: Messages for request ids that are no longer awaited, by message kind.
        self.late_answers: Counter[str] = Counter()
        #: Ticks for streams that have ended.
        self.stray_ticks = 0
        #: Ticks of types that ib_async has no field for, by type.
        self.unknown_ticks: Counter[int] = Counter()
        #: Request id as it is on the wire -> the line whose Ticker gets bid and ask without any event of ib_async.
        self.quoted: dict[bytes, Line] = {}
        #: Lines that the present packet changed in that way; each is in here once.
        self.changed: list[Line] = []
        #: Called once a packet with the lines and the Tickers that it changed; ib_async's own events are for whoever
        #: listens to them.
        self.on_packet: Callable[[list[Line], set[Any]], None] | None = None
        #: Called with request id, milliseconds since 1970, provider, article id and headline of each piece of news.
        self.on_news: Callable[[int, int, str, str, str], None] | None = None
        self._last_time: datetime | None = None
        self._waiters: Counter[str] = Counter()
        self._futures: dict[Any, asyncio.Future[Any]] = {}
        super().__init__(ib, listener, defaults)

    def reset(self) -> None:
        """Forget everything; requests still waiting end with LinkLost."""
        self._fail_pending(LinkLost("the request", "the session was closed", "connect again"))
        super().reset()
        self.newsTicks: Any = deque(maxlen=NEWS_MEMORY)

    def link_lost(self, error: LinkError) -> None:
        """The link ended: every waiting request ends with `error`, every stream is forgotten, values are stale."""
        self._fail_pending(error)
        self.stale = True
        self.pendingTickers: set[Any] = set()
        self._forget_changes()
        for table in (
            self.quoted,
            self.reqId2Ticker,
            self.ticker2ReqId,
            self.reqId2Subscriber,
            self.reqId2PnL,
            self.reqId2PnlSingle,
            self.pnlKey2ReqId,
            self.pnlSingleKey2ReqId,
            self._reqId2Contract,
        ):
            table.clear()
        self.wshMetaReqId = self.wshEventReqId = 0

    def announce_up(self, server_version: int, connection_time: str, accounts: Sequence[str]) -> None:
        self._tell(self.listener.on_link_up, server_version, connection_time, list(accounts))

    def announce_down(self, error: LinkError, not_sent: Sequence[Outgoing]) -> None:
        self._tell(self.listener.on_link_down, error, not_sent)

    def announce_malformed(self, message: MalformedMessage) -> None:
        self._tell(self.listener.on_malformed, message)

    def connectionClosed(self) -> None:
        self.link_lost(LinkLost("the request", "the connection was closed", "it is made again by the session"))

    def setEventsDone(self) -> None:
        """A lost link does not end a Ticker: the session subscribes it again."""

    def endTicker(self, ticker: Any, tickType: int | str) -> int:
        """Forget a stream. A Ticker that no stream feeds any more is forgotten too."""
        request_id: int = super().endTicker(ticker, tickType)
        self.reqId2Ticker.pop(request_id, None)
        if not any(ticker in requests for requests in self.ticker2ReqId.values()):
            self.tickers.pop(hash(ticker.contract), None)
            self.pendingTickers.discard(ticker)
        return request_id

    @property
    def lastTime(self) -> datetime:
        """When the present packet arrived; made when somebody asks, since a packet of quotes alone needs none."""
        if self._last_time is None:
            self._last_time = datetime.fromtimestamp(self.time, self.defaultTimezone)
        return self._last_time

    @lastTime.setter
    def lastTime(self, moment: datetime) -> None:
        self._last_time = moment

    def tcpDataArrived(self) -> None:
        self.time = time.time()
        self._last_time = None
        if self.pendingTickers:
            for ticker in self.pendingTickers:
                ticker.ticks = []
                # most Tickers never have these two
                if ticker.tickByTicks:
                    ticker.tickByTicks = []
                if ticker.domTicks:
                    ticker.domTicks = []
            self.pendingTickers = set()

    def tcpDataProcessed(self) -> None:
        """Tell of the packet as ib_async does, but an event that nobody listens to costs a look instead of a call."""
        ib, pending, changed = self.ib, self.pendingTickers, self.changed
        # eventkit's bool() of an event is always True, and its len() costs as much as the call to be saved
        if ib.updateEvent._slots.slots:
            ib.updateEvent.emit()
        if pending:
            time, timestamp = self.lastTime, self.time
            for ticker in pending:
                ticker.time, ticker.timestamp = time, timestamp
                if ticker.updateEvent._slots.slots:
                    ticker.updateEvent.emit(ticker)
        elif not changed:
            return
        if self.on_packet is not None:
            try:
                self.on_packet(changed, pending)
            except Exception:  # as in `_tell`, whose call would cost a tenth of a tick
                logger.exception("%s failed", self._count_failure(self.on_packet))
        self._forget_changes()
        if pending and ib.pendingTickersEvent._slots.slots:
            ib.pendingTickersEvent.emit(pending)

    def _forget_changes(self) -> None:
        for line in self.changed:
            line.is_changed = line.is_row_current = False
        self.changed.clear()

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:
        if tickType in _PRICE_TYPES:
            super().priceSizeTick(reqId, tickType, price, size)
        else:
            self.unknown_ticks[tickType] += 1

    def tickSize(self, reqId: int, tickType: int, size: float) -> None:
        if tickType in _SIZE_TYPES:
            super().tickSize(reqId, tickType, size)
        else:
            self.unknown_ticks[tickType] += 1

    def tickGeneric(self, reqId: int, tickType: int, value: float) -> None:
        if tickType in GENERIC_TICK_MAP:
            super().tickGeneric(reqId, tickType, value)
        else:
            self.unknown_ticks[tickType] += 1

    def tickString(self, reqId: int, tickType: int, value: str) -> None:
        if tickType in _STRING_TYPES:
            super().tickString(reqId, tickType, value)
        elif (ticker := self.reqId2Ticker.get(reqId)) is not None:
            self.unknown_ticks[tickType] += 1
            self.pendingTickers.add(ticker)

    def optionComputation(
        self, request_id: int, tick_type: int, attribute: int, numbers: Sequence[float | None]
    ) -> None:
        """Message 21, its "not computed" numbers as None."""
        values = [greek_or_none(name, value) for name, value in zip(_COMPUTATION_FIELDS, numbers, strict=True)]
        computation = OptionComputation(attribute, *values)
        ticker = self.reqId2Ticker.get(request_id)
        if ticker is None:
            if request_id in self._futures:
                self._endReq(request_id, computation)
            else:
                self.count_stray(request_id)
        elif tick_type in GREEKS_TICK_MAP:
            setattr(ticker, GREEKS_TICK_MAP[tick_type], computation)
            self.pendingTickers.add(ticker)
        else:
            self.unknown_ticks[tick_type] += 1

    def updatePortfolio(
        self,
        contract: Contract,
        posSize: float,
        marketPrice: float,
        marketValue: float,
        averageCost: float,
        unrealizedPNL: float,
        realizedPNL: float,
        account: str,
    ) -> None:
        item = PortfolioItem(
            contract, posSize, marketPrice, marketValue, averageCost, unrealizedPNL, realizedPNL, account
        )
        if posSize == 0:
            self.portfolio[account].pop(contract.conId, None)
        else:
            self.portfolio[account][contract.conId] = item
        self.ib.updatePortfolioEvent.emit(item)

    def position(self, account: str, contract: Contract, posSize: float, avgCost: float) -> None:
        position = Position(account, contract, posSize, avgCost)
        if posSize == 0:
            self.positions[account].pop(contract.conId, None)
        else:
            self.positions[account][contract.conId] = position
        results = self._results.get("positions")
        if results is not None:
            results.append(position)
        self._tell(self.listener.on_position, account, contract, posSize, avgCost)
        self.ib.positionEvent.emit(position)

    def positionEnd(self) -> None:
        """The list is complete: a position that is not in it was closed while nobody listened."""
        results = self._results.get("positions")
        if results is not None:
            self.positions.clear()
            for position in results:
                if position.position != 0:
                    self.positions[position.account][position.contract.conId] = position
        if self.in_flight("positions") is not None:
            self._endReq("positions")
        self._tell(self.listener.on_positions_end)

    def updateNewsBulletin(self, msgId: int, msgType: int, message: str, origExchange: str) -> None:
        super().updateNewsBulletin(msgId, msgType, message, origExchange)
        while len(self.msgId2NewsBulletin) > NEWS_MEMORY:
            del self.msgId2NewsBulletin[next(iter(self.msgId2NewsBulletin))]

    def tickNews(
        self, reqId: int, timeStamp: int, providerCode: str, articleId: str, headline: str, extraData: str
    ) -> None:
        super().tickNews(reqId, timeStamp, providerCode, articleId, headline, extraData)
        if self.on_news is not None:
            self._tell(self.on_news, reqId, timeStamp, providerCode, articleId, headline)

    def error(self, reqId: int, errorCode: int, errorString: str, advancedOrderRejectJson: str = "") -> None:
        """Message 4: end the request it names when its row says so; whatever concerns orders is the listener's."""
        row = error_code(errorCode)
        subject = self._subject_of(reqId)
        contract = self._reqId2Contract.get(reqId)
        if subject is Subject.REQUEST:
            self.end_by_error(reqId, errorCode, errorString, contract)
        elif errorCode == 317:
            self._reset_depth(reqId)
        message = ErrorMessage(reqId, errorCode, errorString, advancedOrderRejectJson, row, subject, contract)
        self._tell(self.listener.on_error, message)
        self.ib.errorEvent.emit(reqId, errorCode, errorString, contract)

    def _subject_of(self, request_id: int) -> Subject:
        if request_id < 0:
            return Subject.SESSION
        if request_id in self._futures:
            return Subject.REQUEST
        tables = (self.reqId2Ticker, self.reqId2Subscriber, self.reqId2PnL, self.reqId2PnlSingle)
        if any(request_id in table for table in tables):
            return Subject.STREAM
        return Subject.ORDER_OR_ENDED if request_id > 0 else Subject.SESSION

    def _reset_depth(self, request_id: int) -> None:
        ticker = self.reqId2Ticker.get(request_id)
        if ticker is None:
            return
        for side, levels in ((0, ticker.domAsks), (1, ticker.domBids)):
            ticker.domTicks += [MktDepthData(self.lastTime, 0, "", 2, side, level.price, 0) for level in levels]
        ticker.domAsks, ticker.domBids = [], []
        ticker.domAsksDict.clear()
        ticker.domBidsDict.clear()
        self.pendingTickers.add(ticker)
