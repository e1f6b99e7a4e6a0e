"""Questions that always end: the futures behind ib_async's request methods, and the answers without side effects."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ib_async.contract import Contract, ContractDetails
from ib_async.objects import BarData, HistoricalNews, OptionChain
from ib_async.wrapper import Wrapper

from ...errors import (
    BrokerError,
    LinkError,
    LinkLost,
    NoData,
    NoPermission,
    PacingViolation,
    ProtocolViolation,
    RequestFailed,
)
from ..ib_error_codes import NO_DATA_CODES, PERMISSION_CODES, RequestEffect, error_code, is_pacing, request_effect
from .timestamps import parse_bar_time, parse_ib_time


class AnsweringWrapper(Wrapper):
    """ib_async's wrapper with requests that leave nothing behind, however they end."""

    #: The zone that TWS runs in, for times that come without one; "" for UTC.
    naive_zone: str
    #: Messages for request ids that are no longer awaited, by message kind.
    late_answers: Counter[str]
    #: How many callers wait for the answer of a shared key.
    _waiters: Counter[str]
    #: Messages for streams that have ended.
    stray_ticks: int
    _futures: dict[Any, asyncio.Future[Any]]

    def count_stray(self, request_id: int) -> None:
        """A message for a stream that has ended: normal for a moment after a cancel."""
        self.stray_ticks += 1

    def _fail_pending(self, error: LinkError) -> None:
        pending, self._futures = self._futures, {}
        self._results: dict[Any, Any] = {}
        for future in pending.values():
            if not future.done():
                future.set_exception(error)

    def startReq(self, key: Any, contract: Contract | None = None, container: Any = None) -> asyncio.Future[Any]:
        """The future of an answer. A key that is no number is shared: whoever asks while it is open gets one of his
        own, ended by the same answer, so that one caller's timeout does not end the others'."""
        loop = asyncio.get_running_loop()
        future = self._futures.get(key)
        if future is None or future.done():
            future = self._futures[key] = loop.create_future()
            self._results[key] = [] if container is None else container
            future.add_done_callback(lambda done: self._settled(key, done))
        if contract is not None:
            self._reqId2Contract[key] = contract
        return self._join(key, future) if isinstance(key, str) else future

    def _settled(self, key: Any, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()  # marks it as seen: a caller that left must not cause a warning
        if self._futures.get(key) is future:
            self._forget(key)

    def _forget(self, key: Any) -> None:
        self._futures.pop(key, None)
        self._results.pop(key, None)
        self._reqId2Contract.pop(key, None)

    def _join(self, key: str, shared: asyncio.Future[Any]) -> asyncio.Future[Any]:
        own: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiters[key] += 1

        def pass_on(done: asyncio.Future[Any]) -> None:
            if own.done():
                return
            error = done.exception() if not done.cancelled() else LinkLost("the request", "it was withdrawn")
            if error is None:
                own.set_result(done.result())
            else:
                own.set_exception(error)
                own.exception()

        def left(_: asyncio.Future[Any]) -> None:
            self._waiters[key] -= 1
            if self._waiters[key] <= 0:
                del self._waiters[key]

        shared.add_done_callback(pass_on)
        own.add_done_callback(left)
        return own

    def in_flight(self, key: Any) -> asyncio.Future[Any] | None:
        """The open request of this key, None when there is none."""
        future = self._futures.get(key)
        return None if future is None or future.done() else future

    def waiters(self, key: str) -> int:
        """How many callers still wait for a shared key."""
        return self._waiters[key]

    def _endReq(self, key: Any, result: Any = None, success: bool = True) -> None:
        future = self._futures.pop(key, None)
        stored = self._results.pop(key, None)
        self._reqId2Contract.pop(key, None)
        if future is None:
            self.late_answers["end"] += 1
        elif not future.done():
            if not success:
                future.set_exception(result)
            else:
                future.set_result(result if result is not None else [] if stored is None else stored)

    def fail_request(self, key: Any, error: BrokerError) -> bool:
        """End a waiting request with `error`; False when none waits under this key."""
        if self.in_flight(key) is None:
            return False
        self._endReq(key, error, success=False)
        return True

    def malformed_answer(self, request_text: str, name: str, error: Exception) -> None:
        """An answer to this request could not be read: it will not become complete any more."""
        if request_text.lstrip("-").isdigit():
            key = int(request_text)
            why = f"a {name} message could not be read: {error}"
            self.fail_request(key, ProtocolViolation(f"request {key}", why, "ask again"))

    def _collect(self, kind: str, key: Any, item: Any) -> None:
        results = self._results.get(key)
        if results is None:
            self.late_answers[kind] += 1
        else:
            results.append(item)

    def end_by_error(self, request_id: int, code: int, text: str, contract: Contract | None) -> None:
        """End a waiting request as the code's row says; a warning leaves it open."""
        effect = request_effect(code, text)
        if effect is RequestEffect.EMPTY_RESULT:
            self._endReq(request_id)
        elif effect in (RequestEffect.FAILS, RequestEffect.STREAM_ENDS):
            self._endReq(request_id, request_failure(request_id, code, text, contract), success=False)

    def contractDetails(self, reqId: int, contractDetails: ContractDetails) -> None:
        self._collect("contractDetails", reqId, contractDetails)

    bondContractDetails = contractDetails

    def securityDefinitionOptionParameter(
        self,
        reqId: int,
        exchange: str,
        underlyingConId: int,
        tradingClass: str,
        multiplier: str,
        expirations: list[str],
        strikes: list[float],
    ) -> None:
        chain = OptionChain(exchange, int(underlyingConId), tradingClass, multiplier, expirations, strikes)
        self._collect("optionChain", reqId, chain)

    def historicalNews(self, reqId: int, time: str, providerCode: str, articleId: str, headline: str) -> None:
        moment = parse_ib_time(time, "UTC")
        self._collect("historicalNews", reqId, HistoricalNews(moment, providerCode, articleId, headline))

    def headTimestamp(self, reqId: int, headTimestamp: str) -> None:
        self._endReq(reqId, parse_ib_time(headTimestamp, "UTC"))

    def historicalData(self, reqId: int, bar: BarData) -> None:
        bar.date = parse_bar_time(bar.date, self.naive_zone)
        self._collect("historicalData", reqId, bar)

    def historicalDataUpdate(self, reqId: int, bar: BarData) -> None:
        """A running bar; also the first one of an empty history, and a correction of an earlier one."""
        bars = self.reqId2Subscriber.get(reqId)
        if bars is None:
            self.count_stray(reqId)
            return
        bar.date = parse_bar_time(bar.date, self.naive_zone)
        place = len(bars)
        while place > 0 and bars[place - 1].date > bar.date:
            place -= 1
        if place > 0 and bars[place - 1].date == bar.date:
            if bars[place - 1] == bar:
                return
            bars[place - 1] = bar
            is_added = False
        else:
            bars.insert(place, bar)
            is_added = True
        self.ib.barUpdateEvent.emit(bars, is_added)
        bars.updateEvent.emit(bars, is_added)


def request_failure(request_id: int, code: int, text: str, contract: Contract | None = None) -> RequestFailed:
    """The error for a query that message 4 ended."""
    row = error_code(code)
    if is_pacing(code, text):
        cls: type[RequestFailed] = PacingViolation
    elif code in NO_DATA_CODES or "no head time stamp" in text.lower():
        cls = NoData
    elif code in PERMISSION_CODES:
        cls = NoPermission
    else:
        cls = RequestFailed
    what = f"request {request_id}"
    if contract is not None:
        what += f" for {contract.symbol or contract.localSymbol or contract.conId} {contract.secType}".rstrip()
    return cls(what, f"IB error {code}: {text}", row.action, code=code, request_id=request_id)
