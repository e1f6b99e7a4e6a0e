"""placeOrder: our samples through ib_async's encoder and back, and the spellings of other clients."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal
from typing import Any

import ib_async
import pytest
from moondev_ibkr.brokers.simulation.tws.messages_in import parse, write
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest

from .wire_calls import as_sent_at, client_at, place_with, sent
from .wire_samples import LEGS, ORDERS, PEG_TAILS

SAME_NAME = {field.name for field in dataclasses.fields(ib_async.Order)}


def their_number(value: Decimal | None, unset: Any) -> Any:
    if value is None:
        return unset
    return math.inf if value.is_infinite() else float(value)


def their_condition(condition: Any) -> Any:
    values = [float(v) if isinstance(v, Decimal) else v for v in dataclasses.astuple(condition)]
    return ib_async.OrderCondition.createClass(condition.condType)(condition.condType, *values)


def as_ib_async(placed: PlaceOrderRequest) -> tuple[ib_async.Contract, ib_async.Order]:
    theirs = ib_async.Contract(**{**dataclasses.asdict(placed.contract), "strike": float(placed.contract.strike)})
    theirs.secIdType, theirs.secId = placed.secIdType, placed.secId
    theirs.comboLegs = [ib_async.ComboLeg(**dataclasses.asdict(leg)) for leg in placed.comboLegs]
    if placed.deltaNeutralContract is not None:
        theirs.deltaNeutralContract = ib_async.DeltaNeutralContract(*placed.deltaNeutralContract)
    order = ib_async.Order()
    for field in dataclasses.fields(placed):
        if field.name not in SAME_NAME or not field.init:
            continue
        value = getattr(placed, field.name)
        if value is None:
            continue  # ib_async's own default says unset
        if isinstance(value, Decimal):
            value = their_number(value, None)
        setattr(order, field.name, value)
    order.orderComboLegs = [
        ib_async.OrderComboLeg(their_number(price, ib_async.util.UNSET_DOUBLE)) for price in placed.orderComboLegs
    ]
    order.conditions = [their_condition(condition) for condition in placed.conditions]
    order.orderMiscOptions = [ib_async.TagValue(*pair) for pair in placed.orderMiscOptions]
    order.softDollarTier = ib_async.SoftDollarTier(placed.softDollarTierName, placed.softDollarTierValue)
    return theirs, order


@pytest.mark.parametrize("version", [157, 159, 160, 162, 163, 166, 169, 170, 176, 177, 178])
@pytest.mark.parametrize("label", [*ORDERS, *PEG_TAILS])
async def test_ib_async_order_is_read_into_equal_values(version: int, label: str) -> None:
    placed = {**ORDERS, **PEG_TAILS}[label]
    contract, order = as_ib_async(placed)
    client = client_at(version)
    client.placeOrder(placed.orderId, contract, order)
    if label == "full":  # ib_async strips the volatility of every order that is not a volatility order
        placed = dataclasses.replace(placed, volatility=None)
    assert parse(version, sent(client)) == as_sent_at(version, placed)


@pytest.mark.parametrize("label", [*ORDERS, *PEG_TAILS])
def test_nothing_of_an_order_is_lost_at_178(label: str) -> None:
    placed = {**ORDERS, **PEG_TAILS}[label]
    again = as_sent_at(178, placed)
    gone = {"faProfile"}
    if label == "full":
        gone |= {"comboLegs", "smartComboRoutingParams", "minTradeQty", "minCompeteSize"}
        gone |= {"competeAgainstBestOffset", "midOffsetAtWhole", "midOffsetAtHalf"}
    for field in dataclasses.fields(placed):
        if field.name not in gone:
            assert getattr(again, field.name) == getattr(placed, field.name), field.name


@pytest.mark.parametrize(("version", "count"), [(157, 110), (159, 111), (160, 112), (162, 113), (166, 114), (177, 114)])
def test_plain_order_has_the_field_count_of_tws(version: int, count: int) -> None:
    assert len(write(version, ORDERS["plain"])) == count


def test_bag_carries_all_eight_fields_of_a_leg() -> None:
    request = as_sent_at(178, ORDERS["bag"])
    assert request.comboLegs == LEGS
    assert request.orderComboLegs == (Decimal("1.5"), None)


def test_unset_is_read_alike_in_every_spelling() -> None:
    for unset in ("", "1.7976931348623157e+308", "1.7976931348623157E308"):
        assert place_with(lmtPrice=unset, trailStopPrice=unset).lmtPrice is None
    for unset in ("", "2147483647"):
        request = place_with(minQty=unset, displaySize=unset, exemptCode=unset)
        assert (request.minQty, request.displaySize, request.exemptCode) == (None, 0, -1)


def test_unset_transmit_is_not_transmitted() -> None:
    assert place_with(transmit="").transmit is False
    assert place_with(transmit="1").transmit is True


def test_numbers_keep_every_digit() -> None:
    assert place_with(lmtPrice="150.10").lmtPrice == Decimal("150.1")
    assert place_with(lmtPrice="1e-05").lmtPrice == Decimal("0.00001")
