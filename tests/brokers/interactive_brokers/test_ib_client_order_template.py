"""The fast way of encoding an order gives ib_async's own bytes, for every type, price and server version."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.order import TYPE_RULES, NewOrder, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.reports import WireOrder
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.order_template import place_message, reference_message

STOCK = Instrument("AAPL", con_id=265598, primary_exchange="NASDAQ", local_symbol="AAPL", trading_class="NMS")
OPTION = Instrument(
    "AAPL",
    SecType.OPTION,
    con_id=700001,
    expiry=datetime(2026, 6, 19, tzinfo=UTC).date(),
    strike=Decimal("200.5"),
    right="C",
    multiplier=Decimal(100),
)
PRICES = st.decimals(min_value="0.0001", max_value="99999", places=4)


@st.composite
def wire_orders(draw):
    kind = draw(st.sampled_from(list(OrderType)))
    rule = TYPE_RULES[kind]
    chosen = set(rule.required) | {field for field in rule.optional if draw(st.booleans())}
    if rule.one_of:
        chosen.add(draw(st.sampled_from(sorted(rule.one_of))))
    tif = draw(st.sampled_from(list(TimeInForce)))
    intent = NewOrder(
        draw(st.sampled_from([STOCK, OPTION])),
        draw(st.sampled_from(list(Side))),
        draw(st.decimals(min_value="0.5", max_value="100000", places=1)),
        kind,
        tif=tif,
        good_till=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC) if tif is TimeInForce.GTD else None,
        outside_rth=draw(st.booleans()),
        oca_group=draw(st.sampled_from([None, "oca-1"])),
        key=draw(st.sampled_from(["a", "0123456789abcdef0123456789abcdef"])),
        **{field.value: draw(PRICES) for field in chosen},
    )
    order_id = draw(st.integers(1, 2**31 - 2))
    parent_id = draw(st.sampled_from([0, 17]))
    return WireOrder(order_id, intent, draw(st.sampled_from(["DU1", "U7654321"])), draw(st.booleans()), parent_id)


@settings(deadline=None)
@given(wire_orders(), st.integers(157, 178))
def test_the_bytes_are_ib_asyncs(order, version):
    assert place_message(order, version) == reference_message(order, version)


@pytest.mark.parametrize("version", [157, 177, 178])
def test_one_order_does_not_leak_into_the_next(version):
    full = WireOrder(
        9, NewOrder(STOCK, Side.SELL, Decimal(3), OrderType.LIMIT, Decimal(7), oca_group="x"), "DU2", False, 4
    )
    plain = WireOrder(10, NewOrder(OPTION, Side.BUY, Decimal(1)), "DU1")
    before = place_message(plain, version)
    place_message(full, version)
    assert place_message(plain, version) == before == reference_message(plain, version)
