"""What leaves the link is byte for byte what ib_async's own client would send, for every request it knows."""

from __future__ import annotations

import asyncio
import inspect
import math
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from ib_async import (
    Bag,
    ComboLeg,
    Contract,
    DeltaNeutralContract,
    ExecutionFilter,
    LimitOrder,
    Option,
    Order,
    ScannerSubscription,
    Stock,
    TagValue,
)
from ib_async.client import Client
from ib_async.objects import WshEventData
from ib_async.order import OrderComboLeg, PriceCondition, TimeCondition
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.encoding import encode
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.lanes import (
    CANCELS_OF,
    MESSAGE_LANES,
    SUBJECT_FIELD,
)
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.link import TwsLink
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.send_queue import SendQueue

STOCK = Stock("AAPL", "SMART", "USD", conId=265598)
OPTION = Option("SPY", "20260619", 412.5, "C", "SMART", multiplier="100", currency="USD")
BAG = Bag(
    symbol="AAPL,MSFT",
    exchange="SMART",
    currency="USD",
    comboLegs=[ComboLeg(265598, 1, "BUY", "SMART"), ComboLeg(272093, 2, "SELL", "SMART", 1, 0, "", -1)],
)
HEDGED = Contract(secType="STK", symbol="X", strike=math.inf, deltaNeutralContract=DeltaNeutralContract(1, 0.5, 12.25))

PLAIN = LimitOrder("BUY", 100, 150.25, orderRef="k-1", transmit=False)
RICH = Order(
    orderType="PEG BENCH",
    action="SELL",
    totalQuantity=12.5,
    lmtPrice=None,
    minQty=3,
    volatility=0.25,
    deltaNeutralOrderType="MKT",
    scalePriceIncrement=0.05,
    scaleInitPosition=7,
    hedgeType="D",
    hedgeParam="0.5",
    algoStrategy="Adaptive",
    algoParams=[TagValue("adaptivePriority", "Normal")],
    smartComboRoutingParams=[TagValue("NonGuaranteed", "1")],
    orderComboLegs=[OrderComboLeg(1.5), OrderComboLeg()],
    orderMiscOptions=[TagValue("a", "b"), TagValue("c", "d")],
    conditions=[PriceCondition(price=1.5, conId=8, exch="SMART"), TimeCondition(time="20260101 09:30:00")],
)
VOLATILE = Order(orderType="VOL", action="BUY", totalQuantity=1, volatility=0.3, whatIf=True)
PEGGED = Order(orderType="PEG BEST", action="BUY", totalQuantity=1, competeAgainstBestOffset=math.inf, minTradeQty=5)

#: Values by parameter name; several values make several calls.
VALUES: dict[str, list[Any]] = {
    "contract": [STOCK, OPTION, BAG, HEDGED],
    "order": [PLAIN, RICH, VOLATILE, PEGGED],
    "execFilter": [ExecutionFilter(), ExecutionFilter(clientId=7, symbol="AAPL", time="20260101-00:00:00")],
    "subscription": [ScannerSubscription(instrument="STK", scanCode="HOT_BY_VOLUME", abovePrice=5.0)],
    "data": [WshEventData(conId=8314), WshEventData(filter='{"a":1}', totalLimit=5)],
    "subscribe": [True, False],
    "snapshot": [False, True],
    "strike": [12.5],
}
LISTS = {"mktDataOptions", "chartOptions", "implVolOptions", "optPrcOptions", "fundamentalDataOptions", "miscOptions"}


def values_of(name: str) -> list[Any]:
    if name in VALUES:
        return VALUES[name]
    if name in LISTS or name.endswith("Options"):
        return [[], [TagValue("k", "v")]]
    if name.lower() in {"reqid", "orderid", "tickerid", "numrows", "numids", "conid", "underlyingconid"}:
        return [41, 2**31 - 1]
    if name in {"optionPrice", "underPrice", "volatility"}:
        return [1.25, 1.7976931348623157e308]
    if name.startswith(("use", "is", "ignore", "keep", "ledger", "all", "bAuto", "api")):
        return [True, False]
    return ["text ü", ""]


def request_methods() -> list[str]:
    skipped = {"placeOrder", "send", "sendMsg"}
    found = []
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if name not in skipped and "self.send(" in inspect.getsource(method):
            found.append(name)
    return [*found, "placeOrder"]


def recording_link() -> tuple[TwsLink, list[bytes]]:
    sent: list[bytes] = []
    link = TwsLink(SimpleNamespace())
    link.connState = Client.CONNECTED

    def write(payload: bytes) -> bool:
        sent.append(payload)
        return True

    now = iter(range(10**9))
    link._queue = SendQueue(write, lambda: float(next(now)) * 10, lambda when, call: pytest.fail("throttled"))
    return link, sent


def recording_stock() -> tuple[Client, list[bytes]]:
    sent: list[bytes] = []
    client = Client(SimpleNamespace())
    client.connState = Client.CONNECTED
    client.MaxRequests = 0
    client.conn = SimpleNamespace(sendMsg=sent.append)
    return client, sent


def calls_of(name: str) -> list[list[Any]]:
    parameters = list(inspect.signature(getattr(Client, name)).parameters)[1:]
    choices = [values_of(parameter) for parameter in parameters]
    widest = max((len(choice) for choice in choices), default=1)
    return [[choice[index % len(choice)] for choice in choices] for index in range(widest)]


@pytest.mark.parametrize("version", [157, 163, 170, 176, 178])
@pytest.mark.parametrize("name", request_methods())
async def test_every_request_is_byte_identical(name: str, version: int) -> None:
    await asyncio.sleep(0)
    link, ours = recording_link()
    stock, theirs = recording_stock()
    link._serverVersion = stock._serverVersion = version
    for arguments in calls_of(name):
        getattr(link, name)(*arguments)
        getattr(stock, name)(*arguments)
    assert ours == theirs
    assert ours


def test_the_lane_table_holds_every_message_that_the_client_can_send() -> None:
    ids = set()
    for name in request_methods():
        link, sent = recording_link()
        link._serverVersion = 178
        for arguments in calls_of(name):
            getattr(link, name)(*arguments)
        ids |= {int(payload[4:].split(b"\0")[0]) for payload in sent}
    assert ids == set(MESSAGE_LANES)


def test_subjects_stand_where_the_table_says() -> None:
    for name in request_methods():
        link, sent = recording_link()
        link._serverVersion = 178
        parameters = list(inspect.signature(getattr(Client, name)).parameters)[1:]
        arguments = [
            4711 if parameter.lower() in {"reqid", "orderid", "tickerid"} else values_of(parameter)[0]
            for parameter in parameters
        ]
        getattr(link, name)(*arguments)
        fields = sent[0][4:].split(b"\0")
        at = SUBJECT_FIELD.get(int(fields[0]))
        if at is not None:
            assert fields[at] == b"4711", name
    assert set(SUBJECT_FIELD) == set(CANCELS_OF) | set(CANCELS_OF.values())


def test_placing_leaves_the_callers_order_alone() -> None:
    link, _ = recording_link()
    link._serverVersion = 178
    order = LimitOrder("BUY", 1, 2.0, volatility=0.5)
    before = dict(vars(order))
    receipt = link.placeOrder(5, STOCK, order)
    assert vars(order) == before
    assert receipt.subject == 5
    assert receipt.sent_at is not None


def test_unset_numbers_can_be_spelt_out() -> None:
    payload = encode((1, 2**31 - 1, 1.7976931348623157e308, math.inf, True, None), make_empty=False)
    assert payload[4:] == b"1\x002147483647\x001.7976931348623157e+308\0Infinite\x001\0\0"
    assert struct.unpack(">I", payload[:4])[0] == len(payload) - 4
