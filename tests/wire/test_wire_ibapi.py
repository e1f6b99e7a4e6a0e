"""A second witness, where it is installed: IB's own Python client 9.81.1, at its highest version 157.

It is not a dependency: its licence is not an open one. `pip install ibapi==9.81.1.post1` adds these tests.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("ibapi", reason="IB's own client is not installed")

from ibapi.client import EClient
from ibapi.contract import ComboLeg, Contract, DeltaNeutralContract
from ibapi.decoder import Decoder
from ibapi.order import Order
from ibapi.tag_value import TagValue
from ibapi.wrapper import EWrapper
from moondev_ibkr.brokers.simulation.tws.codec import unpack
from moondev_ibkr.brokers.simulation.tws.messages_in import parse
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest
from moondev_ibkr.brokers.simulation.tws.requests import ReqHistoricalData, ReqMktData

from .wire_samples import SIMPLE, fields_of, samples

VERSION = 157
SAMPLES = samples(VERSION)


class Recorder(EWrapper):  # type: ignore[misc]
    """Records the callbacks of the real EWrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []


def _recording(name: str) -> Any:
    def record(self: Recorder, *args: Any) -> None:
        self.calls.append((name, args))

    return record


for _name in [name for name in vars(EWrapper) if not name.startswith("_") and name != "logAnswer"]:
    setattr(Recorder, _name, _recording(_name))


def read(label: str) -> list[tuple[str, tuple[Any, ...]]]:
    recorder = Recorder()
    Decoder(recorder, VERSION).interpret(tuple(field.encode() for field in fields_of(SAMPLES[label])))
    return recorder.calls


@pytest.mark.parametrize("label", SAMPLES)
def test_it_reads_every_message(label: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        calls = read(label)
    assert [record.getMessage() for record in caplog.records] == []
    assert calls


def leaves(value: Any) -> set[Any]:
    """The values in a sample, for those that both sides name alike whatever their callback's shape."""
    if isinstance(value, tuple):
        return set().union(*map(leaves, value)) if value else set()
    return {float(value) if isinstance(value, (int, float, Decimal)) else value}


FLAT = [
    label
    for label, (name, values) in SIMPLE.items()
    if label in SAMPLES
    and all(isinstance(value, (int, float, str, Decimal)) for value in values.values())
    and name not in {"tickPrice", "tickByTick", "execDetails", "commissionReport", "historicalDataUpdate"}
]


@pytest.mark.parametrize("label", FLAT)
def test_it_reads_the_same_values(label: str) -> None:
    _, values = SIMPLE[label]
    (found,) = [args for _, args in read(label)]
    seen = {float(value) if isinstance(value, (int, float)) else value for value in found}
    gated = {"advancedOrderRejectJson"}
    sent = set().union(*(leaves(value) for key, value in values.items() if key not in gated), set())
    assert sent <= seen


class Wire:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def isConnected(self) -> bool:
        return True

    def sendMsg(self, data: bytes) -> int:
        self.frames.append(data)
        return len(data)


def client() -> EClient:
    made = EClient(EWrapper())
    made.conn = Wire()
    made.setConnState(EClient.CONNECTED)
    made.serverVersion_ = VERSION
    return made


def apple(sec_type: str = "STK") -> Contract:
    contract = Contract()
    contract.conId, contract.symbol, contract.secType = 265598, "AAPL", sec_type
    contract.exchange, contract.currency, contract.primaryExchange = "SMART", "USD", "NASDAQ"
    return contract


def test_its_market_data_request_is_read() -> None:
    ours = client()
    contract = apple("BAG")
    leg = ComboLeg()
    leg.conId, leg.ratio, leg.action, leg.exchange = 272093, 2, "SELL", "ISLAND"
    contract.comboLegs = [leg]
    neutral = DeltaNeutralContract()
    neutral.conId, neutral.delta, neutral.price = 8314, 0.5, 12.5
    contract.deltaNeutralContract = neutral
    ours.reqMktData(9, contract, "233", True, False, [])
    request = parse(VERSION, unpack(ours.conn.frames[-1][4:]))
    assert isinstance(request, ReqMktData)
    assert (request.comboLegs[0].conId, request.comboLegs[0].exchange) == (272093, "ISLAND")
    assert request.deltaNeutralContract == (8314, 0.5, 12.5)
    assert (request.genericTickList, request.snapshot, request.regulatorySnapshot) == ("233", True, False)


def test_its_history_request_is_read() -> None:
    ours = client()
    ours.reqHistoricalData(9, apple(), "", "2 D", "1 min", "TRADES", 1, 2, True, [])
    request = parse(VERSION, unpack(ours.conn.frames[-1][4:]))
    assert isinstance(request, ReqHistoricalData)
    assert (request.durationStr, request.barSizeSetting, request.keepUpToDate) == ("2 D", "1 min", True)


def test_its_order_is_read() -> None:
    ours = client()
    order = Order()
    order.action, order.totalQuantity, order.orderType, order.lmtPrice = "BUY", 100, "LMT", 150.25
    order.tif, order.orderRef, order.outsideRth = "GTC", "ref-1", True
    order.algoStrategy, order.algoParams = "Adaptive", [TagValue("adaptivePriority", "Normal")]
    order.hedgeType, order.hedgeParam, order.whatIf = "D", "0.5", True
    ours.placeOrder(5, apple(), order)
    request = parse(VERSION, unpack(ours.conn.frames[-1][4:]))
    assert isinstance(request, PlaceOrderRequest)
    assert (request.orderId, request.lmtPrice, request.auxPrice) == (5, Decimal("150.25"), None)
    assert (request.tif, request.orderRef, request.outsideRth, request.transmit) == ("GTC", "ref-1", True, True)
    assert request.algoParams == (("adaptivePriority", "Normal"),)
    assert (request.hedgeParam, request.whatIf, request.minQty, request.triggerPrice) == ("0.5", True, None, None)
