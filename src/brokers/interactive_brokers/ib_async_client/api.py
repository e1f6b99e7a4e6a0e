"""ib_async's request methods on top of the mended link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ib_async.contract import Contract
from ib_async.ib import IB
from ib_async.objects import IBDefaults
from ib_async.order import Order, OrderState

from ...errors import BrokerError
from .connection import Opener, open_tcp
from .frames import FrameReader
from .lanes import Outgoing
from .link import TwsLink
from .listener import Listener
from .message_rate import RateLimit
from .wrapper import LinkWrapper

#: What nobody may learn from a question that left before he asked: its answer can be older than an order sent since.
_OF_A_MOMENT = frozenset({"currentTime", "openOrders", "completedOrders"})


class TwsApi(IB):
    """`client` is the link, `wrapper` the state; the `…Async` methods of ib_async's IB ask questions over them.

    It places no deadline on anything, does not reconnect, and keeps no Trades: the session does these. A failed
    question raises RequestFailed or one of its kinds, a lost link LinkLost.
    """

    RaiseRequestErrors = True

    def __init__(
        self,
        listener: Listener | None = None,
        *,
        naive_zone: str = "",
        rate: RateLimit | None = None,
        opener: Opener = open_tcp,
        defaults: IBDefaults | None = None,
        reader: type[FrameReader] | None = None,
    ) -> None:
        self._createEvents()
        self._logger = logging.getLogger(__name__)
        self._questions: dict[str, Any] = {}
        self.TimezoneTWS = naive_zone
        self.wrapper = LinkWrapper(self, listener, naive_zone, defaults)
        self.client = TwsLink(self.wrapper, rate=rate, opener=opener, reader=reader)
        self.client.apiEnd += self.disconnectedEvent

    def __del__(self) -> None:
        """The session closes the link; a garbage collector on some thread must not."""

    def disconnect(self) -> None:
        """Close the link. Waiting questions raise LinkLost; known values stay, marked stale."""
        self.client.disconnect()

    def placeOrder(self, contract: Contract, order: Order) -> Outgoing:
        """Send a new order, or a change when `order.orderId` names a live one. The order object is not changed."""
        return self.client.placeOrder(order.orderId or self.client.next_order_id(), contract, order)

    def cancelOrder(self, order: Order, manualCancelOrderTime: str = "") -> Outgoing:
        return self.client.cancelOrder(order.orderId, manualCancelOrderTime)

    def whatIfOrderAsync(self, contract: Contract, order: Order) -> asyncio.Future[OrderState]:
        """Ask for margin and commission of an order without placing it."""
        question = Order(**{name: value for name, value in vars(order).items() if not name.startswith("_")})
        question.whatIf = True
        order_id = self.client.next_order_id()
        answer: asyncio.Future[OrderState] = self.wrapper.startReq(order_id, contract)
        self.client.placeOrder(order_id, contract, question)
        return answer

    async def reqTickersAsync(self, *contracts: Contract, regulatorySnapshot: bool = False) -> list[Any]:
        """Snapshots. The streams are forgotten however it ends; the first failure is raised when all have ended."""
        asked = []
        for contract in contracts:
            request_id = self.client.getReqId()
            answer = self.wrapper.startReq(request_id, contract)
            ticker = self.wrapper.startTicker(request_id, contract, f"snapshot {request_id}")
            asked.append((answer, ticker, f"snapshot {request_id}"))
            self.client.reqMktData(request_id, contract, "", True, regulatorySnapshot, [])
        try:
            ends = await asyncio.gather(*(answer for answer, _, _ in asked), return_exceptions=True)
        finally:
            for _, ticker, kind in asked:
                self.wrapper.endTicker(ticker, kind)
                self.wrapper.ticker2ReqId.pop(kind, None)
        failures = [end for end in ends if isinstance(end, BaseException)]
        if failures:
            raise failures[0]
        return [ticker for _, ticker, _ in asked]

    async def _ask(self, key: str, question: Any, send: Callable[[], Any]) -> Any:
        """Ask what carries no request id. Callers with the same question share its answer; another question of the
        same kind waits, since nothing in an answer says which question it belongs to. So does whoever asks for what
        is so at one moment (`_OF_A_MOMENT`) behind a question that has left already."""
        wrapper = self.wrapper
        running = wrapper.in_flight(key)
        if running is not None and key in _OF_A_MOMENT and wrapper.waiters(key) > 0:
            await asyncio.wait([running])
        while (running := wrapper.in_flight(key)) is not None and self._questions.get(key) != question:
            await asyncio.wait([running])
        is_sent = running is not None and wrapper.waiters(key) > 0
        self._questions[key] = question
        answer = wrapper.startReq(key)
        if not is_sent:
            try:
                send()
            except BrokerError as error:
                # it did not leave: nobody may wait for its answer, on the next link least of all
                wrapper.fail_request(key, error)
                raise
        return await answer

    async def reqCurrentTimeAsync(self) -> Any:
        return await self._ask("currentTime", None, self.client.reqCurrentTime)

    async def reqPositionsAsync(self) -> Any:
        return await self._ask("positions", None, self.client.reqPositions)

    async def reqOpenOrdersAsync(self) -> Any:
        return await self._ask("openOrders", "own", self.client.reqOpenOrders)

    async def reqAllOpenOrdersAsync(self) -> Any:
        return await self._ask("openOrders", "all", self.client.reqAllOpenOrders)

    async def reqCompletedOrdersAsync(self, apiOnly: bool) -> Any:
        return await self._ask("completedOrders", apiOnly, lambda: self.client.reqCompletedOrders(apiOnly))

    async def reqAccountUpdatesAsync(self, account: str) -> Any:
        return await self._ask("accountValues", account, lambda: self.client.reqAccountUpdates(True, account))

    async def reqMarketRuleAsync(self, marketRuleId: int) -> Any:
        key = f"marketRule-{marketRuleId}"
        return await self._ask(key, None, lambda: self.client.reqMarketRule(marketRuleId))

    async def reqMktDepthExchangesAsync(self) -> Any:
        return await self._ask("mktDepthExchanges", None, self.client.reqMktDepthExchanges)

    async def reqScannerParametersAsync(self) -> Any:
        return await self._ask("scannerParams", None, self.client.reqScannerParameters)

    async def reqNewsProvidersAsync(self) -> Any:
        return await self._ask("newsProviders", None, self.client.reqNewsProviders)

    async def requestFAAsync(self, faDataType: int) -> Any:
        return await self._ask("requestFA", faDataType, lambda: self.client.requestFA(faDataType))
