"""Which lane each message to TWS travels in, and the receipt that its sender keeps.

A cancel never waits behind market-data requests, and a message that did not leave before the link broke is
reported NOT_SENT, so that its owner knows it is safe to send again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType


class Lane(IntEnum):
    """Lower value leaves first."""

    CANCEL = 0
    ORDER = 1
    QUERY = 2
    SUBSCRIPTION = 3
    HISTORY = 4


#: Every client-to-server message id (tws-protocol.md §2.2) and the lane it travels in. Ending a stream or a
#: history query is SUBSCRIPTION work at most: it frees lines, but no money depends on it.
MESSAGE_LANES: Mapping[int, Lane] = MappingProxyType(
    {
        1: Lane.SUBSCRIPTION,  # reqMktData
        2: Lane.SUBSCRIPTION,  # cancelMktData
        3: Lane.ORDER,  # placeOrder (a modify too)
        4: Lane.CANCEL,  # cancelOrder
        5: Lane.QUERY,  # reqOpenOrders
        6: Lane.QUERY,  # reqAccountUpdates
        7: Lane.QUERY,  # reqExecutions
        8: Lane.QUERY,  # reqIds
        9: Lane.QUERY,  # reqContractDetails
        10: Lane.SUBSCRIPTION,  # reqMktDepth
        11: Lane.SUBSCRIPTION,  # cancelMktDepth
        12: Lane.SUBSCRIPTION,  # reqNewsBulletins
        13: Lane.SUBSCRIPTION,  # cancelNewsBulletins
        14: Lane.QUERY,  # setServerLogLevel
        15: Lane.QUERY,  # reqAutoOpenOrders
        16: Lane.QUERY,  # reqAllOpenOrders
        17: Lane.QUERY,  # reqManagedAccts
        18: Lane.QUERY,  # requestFA
        19: Lane.QUERY,  # replaceFA
        20: Lane.HISTORY,  # reqHistoricalData
        21: Lane.ORDER,  # exerciseOptions
        22: Lane.SUBSCRIPTION,  # reqScannerSubscription
        23: Lane.SUBSCRIPTION,  # cancelScannerSubscription
        24: Lane.HISTORY,  # reqScannerParameters
        25: Lane.SUBSCRIPTION,  # cancelHistoricalData
        49: Lane.ORDER,  # reqCurrentTime: the probe that an order may wait for
        50: Lane.SUBSCRIPTION,  # reqRealTimeBars
        51: Lane.SUBSCRIPTION,  # cancelRealTimeBars
        52: Lane.HISTORY,  # reqFundamentalData
        53: Lane.SUBSCRIPTION,  # cancelFundamentalData
        54: Lane.QUERY,  # calculateImpliedVolatility
        55: Lane.QUERY,  # calculateOptionPrice
        56: Lane.QUERY,  # cancelCalculateImpliedVolatility
        57: Lane.QUERY,  # cancelCalculateOptionPrice
        58: Lane.CANCEL,  # reqGlobalCancel
        59: Lane.SUBSCRIPTION,  # reqMarketDataType; same lane as reqMktData, so that their order is kept
        61: Lane.QUERY,  # reqPositions
        62: Lane.QUERY,  # reqAccountSummary
        63: Lane.QUERY,  # cancelAccountSummary
        64: Lane.QUERY,  # cancelPositions
        65: Lane.QUERY,  # verifyRequest
        66: Lane.QUERY,  # verifyMessage
        67: Lane.QUERY,  # queryDisplayGroups
        68: Lane.SUBSCRIPTION,  # subscribeToGroupEvents
        69: Lane.SUBSCRIPTION,  # updateDisplayGroup
        70: Lane.SUBSCRIPTION,  # unsubscribeFromGroupEvents
        71: Lane.CANCEL,  # startApi: nothing may overtake it
        72: Lane.QUERY,  # verifyAndAuthRequest
        73: Lane.QUERY,  # verifyAndAuthMessage
        74: Lane.QUERY,  # reqPositionsMulti
        75: Lane.QUERY,  # cancelPositionsMulti
        76: Lane.QUERY,  # reqAccountUpdatesMulti
        77: Lane.QUERY,  # cancelAccountUpdatesMulti
        78: Lane.QUERY,  # reqSecDefOptParams
        79: Lane.QUERY,  # reqSoftDollarTiers
        80: Lane.QUERY,  # reqFamilyCodes
        81: Lane.QUERY,  # reqMatchingSymbols
        82: Lane.QUERY,  # reqMktDepthExchanges
        83: Lane.QUERY,  # reqSmartComponents
        84: Lane.HISTORY,  # reqNewsArticle
        85: Lane.QUERY,  # reqNewsProviders
        86: Lane.HISTORY,  # reqHistoricalNews
        87: Lane.HISTORY,  # reqHeadTimeStamp
        88: Lane.HISTORY,  # reqHistogramData
        89: Lane.SUBSCRIPTION,  # cancelHistogramData
        90: Lane.SUBSCRIPTION,  # cancelHeadTimeStamp
        91: Lane.QUERY,  # reqMarketRule
        92: Lane.QUERY,  # reqPnL
        93: Lane.QUERY,  # cancelPnL
        94: Lane.QUERY,  # reqPnLSingle
        95: Lane.QUERY,  # cancelPnLSingle
        96: Lane.HISTORY,  # reqHistoricalTicks
        97: Lane.SUBSCRIPTION,  # reqTickByTickData
        98: Lane.SUBSCRIPTION,  # cancelTickByTickData
        99: Lane.QUERY,  # reqCompletedOrders
        100: Lane.HISTORY,  # reqWshMetaData
        101: Lane.SUBSCRIPTION,  # cancelWshMetaData
        102: Lane.HISTORY,  # reqWshEventData
        103: Lane.SUBSCRIPTION,  # cancelWshEventData
        104: Lane.QUERY,  # reqUserInfo
    }
)

#: Cancel -> the request that it ends, where the lanes alone would let the cancel overtake it. The peer would then
#: answer "unknown id" and start the request afterwards, so such a cancel follows in its request's own lane.
CANCELS_OF: Mapping[int, int] = MappingProxyType({4: 3, 25: 20, 53: 52, 89: 88, 90: 87, 101: 100, 103: 102})

#: Where the order id or request id stands among the fields of the messages of `CANCELS_OF`.
SUBJECT_FIELD: Mapping[int, int] = MappingProxyType(
    {3: 1, 4: 2, 20: 1, 25: 2, 52: 2, 53: 2, 87: 1, 90: 1, 88: 1, 89: 1, 100: 1, 101: 1, 102: 1, 103: 1}
)

GLOBAL_CANCEL = 58


class SendState(Enum):
    QUEUED = "queued"
    #: The bytes were handed to the transport. They may have reached the peer, or not.
    SENT = "sent"
    #: The bytes never left this process, and never will.
    NOT_SENT = "not_sent"


class Outgoing:
    """One message on its way out: the receipt that its sender keeps."""

    __slots__ = ("_state", "_waiters", "lane", "message_id", "payload", "queued_at", "sent_at", "subject")

    def __init__(
        self, message_id: int, lane: Lane, payload: bytes, queued_at: float, subject: int | None = None
    ) -> None:
        self.message_id = message_id
        #: Order id or request id, for the messages of `SUBJECT_FIELD`.
        self.subject = subject
        self.lane = lane
        self.payload = payload
        #: Monotonic seconds of the queue's clock.
        self.queued_at = queued_at
        #: Monotonic seconds; None until SENT.
        self.sent_at: float | None = None
        self._state = SendState.QUEUED
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    @property
    def state(self) -> SendState:
        return self._state

    async def settled(self) -> SendState:
        """Wait until the message is SENT or NOT_SENT."""
        if self._state is SendState.QUEUED:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters = (*self._waiters, waiter)
            await waiter
        return self._state

    def _settle(self, state: SendState, at: float | None) -> None:
        self._state = state
        self.sent_at = at
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
