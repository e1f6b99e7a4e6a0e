"""The index of orders: what a row without a reference can be."""

from __future__ import annotations

from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.order import NewOrder, Order, OrderType, Side, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import WireOrder
from moondev_ibkr.brokers.orders.book import OrderBook, Record

from .conftest import ACCOUNT, Held, stock


@pytest.mark.parametrize(("leg", "is_found"), [(1, True), (3, False)])
def test_a_row_without_a_reference_is_an_asked_exit_and_never_one_put_in_its_place(leg, is_found):
    """Found by the simulation: the old stop's end was taken for the new one's, which had left with a reference."""
    intent = NewOrder(stock(), Side.SELL, Decimal(10), OrderType.STOP, stop_price=Decimal(95), key=leg_key("b1", leg))
    order = Order(intent, OrderState.UNKNOWN, order_id=4, client_id=7, parent_key="b1", leg=leg)
    book = OrderBook()
    book.add(Record(order, intent, ACCOUNT, door="portal"))
    told = Held(WireOrder(0, intent, ACCOUNT), perm_id=-526, client_id=-1, key=None).told(order_id=0, parent_id=0)
    assert (book.unnamed_exit(told) is not None) is is_found
