"""openOrder and completedOrder: what the real ib_async reads equals what its client placed."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.tws import orders_out

from .wire_samples import (
    CALL,
    ORDERS,
    PEG_TAILS,
    SUBMITTED,
    VERSIONS,
    WHAT_IF,
    fields_of,
    order,
    samples,
)
from .wire_witness import plain, read

#: openOrder does not carry these of placeOrder
NOT_ECHOED = {
    *("secIdType", "secId", "transmit", "scaleTable", "activeStartTime", "activeStopTime", "algoId"),
    *("orderMiscOptions", "extOperator", "advancedErrorOverride", "manualOrderTime"),
    *("mifid2DecisionMaker", "mifid2DecisionAlgo", "mifid2ExecutionTrader", "mifid2ExecutionAlgo"),
    "overridePercentageConstraints",
}


GATES = {"faProfile": range(157, 177), "duration": range(159, 179), "postToAts": range(160, 179)} | {
    name: range(170, 179)
    for name in (*("minTradeQty", "minCompeteSize", "competeAgainstBestOffset", "midOffsetAtWhole", "midOffsetAtHalf"),)
}


#: (our name -> ib_async's) within an order
ORDER_ALIASES = {"softDollarTierName": "name", "softDollarTierValue": "val"}


def compare_order(version: int, placed: Any, found: dict[str, Any], not_echoed: set[str]) -> int:
    """Compares every attribute of the order with what ib_async read; the number compared."""
    compared = 0
    scaled = placed.scalePriceIncrement is not None
    for field in dataclasses.fields(placed):
        name = field.name
        value = getattr(placed, name)
        if not field.init or name in not_echoed or name == "contract" or version not in GATES.get(name, range(179)):
            continue
        if name == "autoCancelParent" and version < 162:
            continue
        if not value and name in orders_out.TWS_DEFAULTS:
            value = orders_out.TWS_DEFAULTS[name]
        if name in ("lmtPrice", "auxPrice") and value is None:
            value = Decimal(0)
        if name in ("adjustedOrderType", "deltaNeutralOrderType") and not value:
            value = "None"
        if name.startswith("scale") and name != "scaleTable" and not scaled:
            continue
        if name == "conditions":
            mine = [[plain(item) for item in dataclasses.astuple(each)] for each in value]
            assert [list(each.values())[1:] for each in found[name]] == mine
            continue
        if name == "orderComboLegs":
            assert [leg["price"] for leg in found[name]] == plain(value)
            continue
        theirs = found["softDollarTier"] if name in ORDER_ALIASES else found
        assert theirs[ORDER_ALIASES.get(name, name)] == plain(value), name
        compared += 1
    return compared


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("label", [*ORDERS, *PEG_TAILS])
def test_open_order_echoes_every_field(version: int, label: str, caplog: pytest.LogCaptureFixture) -> None:
    placed = {**ORDERS, **PEG_TAILS}[label]
    found = read(version, samples(version)[f"openOrder_{label}"], caplog)
    assert compare_order(version, placed, found, NOT_ECHOED) > 70
    assert (found["clientId"], found["permId"], found["status"]) == (7, 1999000001, "Submitted")
    assert found["localSymbol"] == placed.contract.localSymbol
    assert found["softDollarTier"]["displayName"] == "tier"


#: completedOrder leaves these out too
NOT_COMPLETED = NOT_ECHOED | {
    *("orderId", "parentId", "blockOrder", "eTradeOnly", "firmQuoteOnly", "nbboPriceCap", "auctionStrategy"),
    *("deltaNeutralSettlingFirm", "deltaNeutralClearingAccount", "deltaNeutralClearingIntent"),
    *("deltaNeutralOpenClose", "optOutSmartRouting", "whatIf", "adjustedOrderType", "triggerPrice"),
    *("adjustedStopPrice", "adjustedStopLimitPrice", "adjustedTrailingAmount", "adjustableTrailingUnit"),
    *("softDollarTierName", "softDollarTierValue", "discretionaryUpToLimitPrice", "usePriceMgmtAlgo"),
    *("duration", "postToAts"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("label", [*ORDERS, *PEG_TAILS])
def test_completed_order_echoes_every_field(version: int, label: str, caplog: pytest.LogCaptureFixture) -> None:
    placed = {**ORDERS, **PEG_TAILS}[label]
    found = read(version, samples(version)[f"completedOrder_{label}"], caplog)
    # autoCancelParent has no gate in completedOrder
    assert compare_order(178 if version > 176 else version, placed, found, NOT_COMPLETED) > 50
    assert (found["permId"], found["filledQuantity"], found["parentPermId"]) == (1999000001, 99.5, 77)
    assert (found["status"], found["completedStatus"]) == ("Filled", "Filled Size: 100")
    assert found["autoCancelParent"] == placed.autoCancelParent


@pytest.mark.parametrize("version", VERSIONS)
def test_what_if_answer_carries_margins(version: int, caplog: pytest.LogCaptureFixture) -> None:
    found = read(version, samples(version)["openOrder_whatIf"], caplog)
    for field in dataclasses.fields(WHAT_IF):
        value = getattr(WHAT_IF, field.name)
        if value is not None and not field.name.startswith("completed"):
            theirs = found[field.name]
            assert theirs == value or float(theirs) == float(value), field.name


def test_what_if_answer_without_margins_is_refused() -> None:
    with pytest.raises(ValueError, match="initMarginChange"):
        orders_out.open_order(178, order(whatIf=True), SUBMITTED, clientId=7, permId=1)


def test_margins_of_an_ordinary_order_are_unset_not_empty(caplog: pytest.LogCaptureFixture) -> None:
    found = read(178, samples(178)["openOrder_plain"], caplog)
    assert found["initMarginChange"] == "1.7976931348623157E308"


def test_exchange_may_state_what_it_knows_better(caplog: pytest.LogCaptureFixture) -> None:
    frame = orders_out.open_order(
        178, ORDERS["trail"], SUBMITTED, clientId=7, permId=1, contract=CALL, trailStopPrice=Decimal("99.75")
    )
    found = read(178, frame, caplog)
    assert (found["trailStopPrice"], found["conId"], found["right"]) == (99.75, 700001, "C")


def test_plain_order_has_the_field_counts_of_tws() -> None:
    counts = {label: len(fields_of(samples(178)[label])) for label in ("openOrder_plain", "completedOrder_plain")}
    assert counts == {"openOrder_plain": 135, "completedOrder_plain": 100}
    assert len(fields_of(samples(157)["openOrder_plain"])) == 128
    assert len(fields_of(samples(178)["execDetails"])) == 32
