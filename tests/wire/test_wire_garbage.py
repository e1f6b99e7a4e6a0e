"""Whatever fields or bytes come: a request, or a MalformedRequest that names message and field."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.simulation.tws.codec import unpack
from moondev_ibkr.brokers.simulation.tws.messages_in import REQUESTS, MalformedRequest, parse, write
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest
from moondev_ibkr.brokers.simulation.tws.request import Request

from .wire_calls import as_sent_at, place_with
from .wire_samples import ORDERS, PEG_TAILS, VERSIONS


@pytest.mark.parametrize(
    ("fields", "message", "field", "subject"),
    [
        ([], "message", "id", -1),
        (["x"], "message", "id", -1),
        (["-1"], "message", "id", -1),
        (["²"], "message", "id", -1),
        (["999"], "message 999", "id", -1),
        (["49"], "reqCurrentTime", "version", -1),
        (["2", "2"], "cancelMktData", "reqId", -1),
        (["2", "2", ""], "cancelMktData", "reqId", -1),
        (["2", "2", "1_0"], "cancelMktData", "reqId", -1),
        (["2", "2", "99999999999"], "cancelMktData", "reqId", -1),
        (["1", "11", "9", "1", "AAPL"], "reqMktData", "contract.secType", 9),
        (["1", "11", "9", "one"], "reqMktData", "contract.conId", 9),
        (["4", "1", "5"][:2], "cancelOrder", "orderId", -1),
    ],
)
def test_malformed_request_names_message_field_and_subject(
    fields: list[str], message: str, field: str, subject: int
) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse(178, fields)
    assert (caught.value.message, caught.value.field, caught.value.subject) == (message, field, subject)


@pytest.mark.parametrize(
    "text", ["1e999", "NaN", "1e18000", "Infinity", "1_0", "0x10", "--1", "١", "9" * 5000, "1e-300"]
)
def test_no_number_is_taken_that_no_amount_has(text: str) -> None:
    with pytest.raises(MalformedRequest, match="lmtPrice"):
        place_with(lmtPrice=text)


def test_a_hostile_count_is_named_not_allocated() -> None:
    fields = write(178, ORDERS["bag"])
    fields[fields.index("2", 20)] = "2000000000"
    with pytest.raises(MalformedRequest, match="comboLegs"):
        parse(178, fields)


def test_unknown_condition_type_is_named() -> None:
    fields = write(178, ORDERS["conditions"])
    at = fields.index("6", 80) + 1
    assert fields[at] == "1"
    fields[at] = "2"
    with pytest.raises(MalformedRequest, match="2 is no condition type"):
        parse(178, fields)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("label", [*ORDERS, *PEG_TAILS])
def test_an_order_cut_anywhere_is_malformed(version: int, label: str) -> None:
    fields = write(version, {**ORDERS, **PEG_TAILS}[label])
    for end in range(1, len(fields)):
        with pytest.raises(MalformedRequest):
            parse(version, fields[:end])


FIELD = st.one_of(
    st.sampled_from(
        ["", "0", "1", "-1", "2", "3", "BAG", "SMART", "1.5", "1.7976931348623157E308", "2147483647", "NaN"]
    ),
    st.integers(-5, 200).map(str),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=6),
)


def outcome(version: int, fields: list[str]) -> Request | MalformedRequest:
    try:
        return parse(version, fields)
    except MalformedRequest as malformed:
        return malformed


@given(st.sampled_from(VERSIONS), st.sampled_from(sorted(REQUESTS)), st.lists(FIELD, max_size=140))
def test_any_fields_are_a_request_or_malformed(version: int, number: int, fields: list[str]) -> None:
    result = outcome(version, [str(number), *fields])
    if isinstance(result, MalformedRequest):
        assert result.message == REQUESTS[number].name
        assert result.field
    else:
        assert type(result) is REQUESTS[number].cls


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_malformed(payload: bytes) -> None:
    assert isinstance(outcome(178, unpack(payload)), Request | MalformedRequest)


@given(st.data(), st.sampled_from(VERSIONS))
def test_an_order_with_one_field_replaced_is_read_or_malformed(data: st.DataObject, version: int) -> None:
    fields = write(version, data.draw(st.sampled_from([*ORDERS.values(), *PEG_TAILS.values()])))
    fields[data.draw(st.integers(1, len(fields) - 1))] = data.draw(FIELD)
    result = outcome(version, fields)
    if isinstance(result, MalformedRequest):
        assert result.message == "placeOrder"
    else:
        assert isinstance(result, PlaceOrderRequest)


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=12)


PRICE = st.none() | st.decimals(Decimal("0.0001"), Decimal(999999), places=4)


@given(
    st.sampled_from(VERSIONS),
    st.builds(
        dataclasses.replace,
        st.sampled_from([*ORDERS.values(), *PEG_TAILS.values()]),
        orderId=st.integers(0, 2**31 - 2),
        totalQuantity=st.decimals(0, 10**9, places=4),
        lmtPrice=PRICE,
        auxPrice=PRICE,
        triggerPrice=PRICE,
        orderRef=TEXT,
        ocaGroup=TEXT,
        hidden=st.booleans(),
        minQty=st.none() | st.integers(0, 10**6),
    ),
)
def test_what_is_written_is_read_back(version: int, placed: PlaceOrderRequest) -> None:
    once = as_sent_at(version, placed)
    assert as_sent_at(version, once) == once
    for name in ("orderId", "totalQuantity", "lmtPrice", "auxPrice", "triggerPrice", "orderRef", "hidden", "minQty"):
        assert getattr(once, name) == getattr(placed, name)
